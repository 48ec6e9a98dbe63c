//! This crate and its peers, each behind a function that wraps the inner service for the tokens of one algorithm.
//!
//! All check the signature, the issuer, the audience and the expiry with a key that is there from the beginning.

pub mod aliri;
pub mod axum_jwt_auth;
pub mod decode;
pub mod jwt_authorizer;
pub mod ours;
pub mod resource_server;
