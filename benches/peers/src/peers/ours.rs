//! This crate.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Extensions, Response};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_jwt_auth::{JwtAuthLayer, ResponseBody, Verified, Verifier};

use crate::request::{Sent, Who, inner};
use crate::tokens::{Tokens, User};

/// The default of the crate.
pub const CACHE: usize = 32 * 1024 * 1024;

pub fn verifier(tokens: &Tokens, cache_bytes: usize) -> Verifier<User> {
    tokens.config(cache_bytes).verifier()
}

pub fn service(
    tokens: &Tokens,
    cache_bytes: usize,
) -> impl Service<Sent, Response = Response<ResponseBody<Full<Bytes>>>, Error = Infallible> + use<> {
    JwtAuthLayer::new(verifier(tokens, cache_bytes)).layer(inner::<Full<Bytes>>(who))
}

fn who(extensions: &Extensions) -> Option<Who> {
    let verified = Verified::<User>::of(extensions)?;
    Some((verified.subject().to_owned(), verified.claims().email.clone()))
}
