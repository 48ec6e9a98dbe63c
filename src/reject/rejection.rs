//! [`Rejection`]: one refused request, and its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::extract::{BadCredential, Scheme};
use crate::reject::{Demand, Protocol, RejectionKind, Responder, grpc, json};
use crate::token::{TokenError, TokenErrorKind};

/// The nonce for the next proof (RFC 9449, section 8).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Why a request was refused, and how: it makes the answer.
///
/// The answer to a refused request has a `Rejection` in its extensions.
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    protocol: Protocol,
    reason: &'static str,
    responder: Arc<Responder>,
    demand: Option<Arc<Demand>>,
    /// How the token was sent, if one was.
    scheme: Scheme,
    /// For the next proof.
    nonce: Option<HeaderValue>,
    /// What the application's answer is made from, where the request is no longer at hand when it is made.
    #[cfg(feature = "axum")]
    request: Option<Arc<Parts>>,
}

impl Rejection {
    pub(crate) fn new(
        kind: RejectionKind,
        reason: &'static str,
        protocol: Protocol,
        responder: &Arc<Responder>,
    ) -> Self {
        Self {
            kind,
            protocol,
            reason,
            responder: Arc::clone(responder),
            demand: None,
            scheme: Scheme::Bearer,
            nonce: None,
            #[cfg(feature = "axum")]
            request: None,
        }
    }

    pub(crate) fn of_credential(bad: BadCredential, protocol: Protocol, responder: &Arc<Responder>) -> Self {
        let kind = match bad {
            BadCredential::CrossSite(_) => RejectionKind::CrossSite,
            _ => RejectionKind::InvalidRequest,
        };
        Self::new(kind, bad.as_str(), protocol, responder)
    }

    pub(crate) fn of_token(error: &TokenError, protocol: Protocol, responder: &Arc<Responder>) -> Self {
        let kind = match error.kind() {
            TokenErrorKind::TooLarge => RejectionKind::InvalidRequest,
            TokenErrorKind::NoKeys => RejectionKind::Unavailable,
            _ => RejectionKind::InvalidToken,
        };
        Self::new(kind, error.kind().as_str(), protocol, responder)
    }

    /// How the token was sent that is refused.
    pub(crate) fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// The nonce that the next proof needs.
    pub(crate) fn with_nonce(mut self, nonce: Option<HeaderValue>) -> Self {
        self.nonce = nonce;
        self
    }

    /// What is needed, for the challenge.
    pub(crate) fn with_demand(mut self, demand: Option<Arc<Demand>>) -> Self {
        self.demand = demand;
        self
    }

    /// The class of the refusal.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The protocol of the refused request.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The reason in a word, for logs and metrics: `missing`, `malformed_credential`, the name of a
    /// [`TokenErrorKind`], .. (the [table of events](crate::manual::observability#events) lists them). Not for the
    /// client.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The HTTP status of the answer to an HTTP request; a gRPC call is answered with 200 and its own status.
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3), for answers of one's own. A 401 must have it. Where the
    /// scheme `DPoP` is accepted, too, it may hold two challenges.
    pub fn challenge(&self) -> Option<HeaderValue> {
        self.responder.challenge().to(self.kind, self.scheme, self.demand.as_deref())
    }

    /// The value of `DPoP-Nonce` (RFC 9449, section 9), for answers of one's own, which must then not be stored. It is
    /// there where proofs need nonces.
    pub fn dpop_nonce(&self) -> Option<&HeaderValue> {
        self.nonce.as_ref()
    }

    /// The scopes that would have been needed, with spaces between.
    pub fn scope(&self) -> Option<&str> {
        self.demand.as_ref()?.scope.as_deref()
    }

    /// The authentication contexts of which one would have been needed, with spaces between (RFC 9470).
    pub fn acr_values(&self) -> Option<&str> {
        self.demand.as_ref()?.acr_values.as_deref()
    }

    /// How long ago the user may have authenticated at most (RFC 9470).
    pub fn max_age(&self) -> Option<Duration> {
        self.demand.as_ref()?.max_age
    }

    /// The answer that the bearer layer gives to this request: the application's, where
    /// [`map_rejection`](crate::JwtAuthLayer::map_rejection) was told one, or else [`to_response`](Self::to_response).
    /// The rejection is in its extensions.
    pub fn respond(&self, request: &Parts) -> Response<Bytes> {
        self.responder.answer(self, request)
    }

    /// With the request, if the application wants to look at it, for [`into_answer`](Self::into_answer).
    #[cfg(feature = "axum")]
    pub(crate) fn with_request(mut self, request: &Parts) -> Self {
        self.request = self.responder.asks_application().then(|| Arc::new(request.clone()));
        self
    }

    /// A copy that keeps nothing of the request.
    pub(super) fn detached(&self) -> Self {
        Self {
            #[cfg(feature = "axum")]
            request: None,
            ..self.clone()
        }
    }

    /// The answer to the request that it was given, or else the crate's own.
    #[cfg(feature = "axum")]
    pub(crate) fn into_answer(mut self) -> Response<Bytes> {
        if let Some(request) = self.request.take() {
            return self.respond(&request);
        }
        let mut response = self.to_response();
        response.extensions_mut().insert(self);
        response
    }

    /// The crate's own answer, in the protocol of the request.
    pub fn to_response(&self) -> Response<Bytes> {
        let mut response = match self.protocol {
            Protocol::Http => {
                let body = Bytes::from_static(self.kind.body().as_bytes());
                let mut response = json::response(self.status(), body);
                if let Some(challenge) = self.challenge() {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                if self.kind == RejectionKind::Unavailable {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                }
                response
            }
            protocol => grpc::response(protocol, self.kind),
        };
        if let Some(nonce) = &self.nonce {
            response.headers_mut().insert(DPOP_NONCE, nonce.clone());
        }
        response
    }
}

/// What the client is told, too.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.description())
    }
}

impl std::error::Error for Rejection {}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("kind", &self.kind)
            .field("protocol", &self.protocol)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
