//! Deployment.
