//! The rotation rule.
