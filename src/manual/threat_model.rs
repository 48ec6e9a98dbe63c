//! Threat model.
