//! `jwt-authorizer`, with its key set as text. It wants answers with the body of axum 0.7.

use std::convert::Infallible;

use axum_core_04::body::Body;
use http::{Extensions, Response};
use jsonwebtoken_9::TokenData;
use jwt_authorizer::{IntoLayer, JwtAuthorizer, Validation};
use tower::{Layer, Service};

use crate::request::{Sent, Who, complete, inner};
use crate::tokens::{AUDIENCE, Claims, ISSUER, Tokens};

pub fn service(tokens: &Tokens) -> impl Service<Sent, Response = Response<Body>, Error = Infallible> + use<> {
    let authorizer = JwtAuthorizer::<Claims>::from_jwks_text(&tokens.jwks())
        .validation(Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]))
        .build();
    complete(authorizer).unwrap().into_layer().layer(inner::<Body>(who))
}

fn who(extensions: &Extensions) -> Option<Who> {
    let claims = &extensions.get::<TokenData<Claims>>()?.claims;
    Some((claims.sub.clone(), claims.email.clone()))
}
