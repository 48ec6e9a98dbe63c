//! `axum-jwt-auth` is an extractor and no layer: it stands in the handler of an axum service, and is compared with the
//! same handler without it.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum_jwt_auth::{Claims as Extracted, Decoder, LocalDecoder};
use jsonwebtoken_10::{Algorithm, DecodingKey, Validation};
use tower::Service;

use crate::request::{Sent, answer};
use crate::tokens::{AUDIENCE, Claims, ISSUER, Tokens};

pub fn service(tokens: &Tokens) -> impl Service<Sent, Response = Response, Error = Infallible> + use<> {
    let algorithm: Algorithm = tokens.algorithm.as_str().parse().unwrap();
    let jwk = serde_json::from_value(tokens.jwk()).unwrap();
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    let decoder = LocalDecoder::new(vec![DecodingKey::from_jwk(&jwk).unwrap()], validation).unwrap();
    let decoder: Decoder<Claims> = Arc::new(decoder);
    with_claims.with_state(decoder)
}

/// Axum's handler alone.
pub fn bare() -> impl Service<Sent, Response = Response, Error = Infallible> {
    without_claims.with_state(())
}

async fn with_claims(Extracted { claims, .. }: Extracted<Claims>, request: Request) -> Response {
    black_box(&request);
    answer::<Body>(|| Some((claims.sub.clone(), claims.email.clone())))
}

async fn without_claims(request: Request) -> Response {
    black_box(&request);
    answer::<Body>(|| None)
}
