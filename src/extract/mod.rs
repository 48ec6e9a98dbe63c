//! Finds the token of a request. No token, and a request that is malformed, are different things.
//!
//! [`credential`] reads the header `Authorization`; [`Sources`] knows further places, where an application names some.

mod bearer;
mod sources;

pub(crate) use bearer::{BadCredential, Scheme, credential};
pub use sources::TokenCookie;
pub(crate) use sources::{Found, Place, Sources};
