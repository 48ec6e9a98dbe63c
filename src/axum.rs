//! Glue for axum: what handlers extract and return. Without decisions of its own.
//!
//! A private module whose items have no names here: it implements axum's traits for types of the crate.

use std::convert::Infallible;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::context::Asked;
use crate::reject::{Refuser, Rejection};
use crate::service::{Granted, SessionError};
use crate::session::ClientInfo;
use crate::token::Verified;

/// The verified token, as [`Verified::from_parts`]; 401 with a challenge when none was sent.
///
/// `Verified` is feature-independent; as an extractor it needs the feature `axum`.
impl<C, S> FromRequestParts<S> for Verified<C>
where
    C: Send + Sync + 'static,
    S: Sync,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let asked = Asked::from(&*parts);
        let found = asked.verified().and_then(|verified| asked.with_claims(verified));
        found.map_err(|rejection| refuse(rejection, parts))
    }
}

/// `None` only when no token was sent, which an optional layer lets pass. A bad one is refused.
impl<C, S> OptionalFromRequestParts<S> for Verified<C>
where
    C: Send + Sync + 'static,
    S: Sync,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        let asked = Asked::from(&*parts);
        let found = asked.verified_if_sent().and_then(|verified| match verified {
            Some(verified) => asked.with_claims(verified).map(Some),
            None => Ok(None),
        });
        found.map_err(|rejection| refuse(rejection, parts))
    }
}

/// What is known here of the request goes into the answer: a handler may wrap the rejection, or return it later.
fn refuse(rejection: Rejection, parts: &Parts) -> Rejection {
    rejection.report(Refuser::Authorize);
    rejection.with_request(parts)
}

/// The device of the client: its user agent, and its [`ClientAddress`](crate::ClientAddress) where a layer outside told
/// it. Never fails.
impl<S: Sync> FromRequestParts<S> for ClientInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::from_request(&parts.headers, &parts.extensions))
    }
}

/// The answer of the bearer layer that refused, or would have; or the crate's own, where the rejection was made without
/// the request at hand.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.into_answer().map(Body::from)
    }
}

/// [`Granted::to_response`]: the tokens, and the cookie.
impl IntoResponse for Granted {
    fn into_response(self) -> Response {
        self.to_response().map(Body::from)
    }
}

/// [`SessionError::to_response`].
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        self.to_response().map(Body::from)
    }
}
