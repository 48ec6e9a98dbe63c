//! Refusals: the reason, and the answer in the protocol of the request.
//!
//! | kind | HTTP | challenge (RFC 6750, section 3) | gRPC status |
//! |---|---|---|---|
//! | [`Missing`](RejectionKind::Missing) | 401 | `Bearer realm=".."` | 16 |
//! | [`InvalidRequest`](RejectionKind::InvalidRequest) | 400 | with `error="invalid_request"` | 16 |
//! | [`InvalidToken`](RejectionKind::InvalidToken) | 401 | with `error="invalid_token"` | 16 |
//! | [`InvalidProof`](RejectionKind::InvalidProof) | 401 | `DPoP` with `error="invalid_dpop_proof"` | 16 |
//! | [`NonceNeeded`](RejectionKind::NonceNeeded) | 401 | `DPoP` with `error="use_dpop_nonce"`, and the header `DPoP-Nonce` | 16 |
//! | [`InsufficientScope`](RejectionKind::InsufficientScope) | 403 | with `error="insufficient_scope"` and `scope` | 7 |
//! | [`Denied`](RejectionKind::Denied) | 403 | with `error="insufficient_scope"`, and `scope` if the layer names some | 7 |
//! | [`InsufficientAuthentication`](RejectionKind::InsufficientAuthentication) | 401 | with `error="insufficient_user_authentication"`, `acr_values` and `max_age` (RFC 9470) | 16 |
//! | [`CrossSite`](RejectionKind::CrossSite) | 403 | | 7 |
//! | [`Unavailable`](RejectionKind::Unavailable) | 503 with `Retry-After` | | 14 |
//! | [`NoBearerLayer`](RejectionKind::NoBearerLayer), [`OtherClaims`](RejectionKind::OtherClaims) | 500 | | 13 |
//!
//! The client sees one of a few fixed texts, or what [`map_rejection`](crate::JwtAuthLayer::map_rejection) makes of the
//! refusal. The reason in full is in the event `rejected`, and for outer layers in the response's extensions.

mod body;
mod challenge;
mod demand;
mod future;
mod grpc;
#[macro_use]
mod json;
mod report;
mod responder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

pub use body::ResponseBody;
pub(crate) use challenge::{Challenge, DpopOffer};
pub(crate) use demand::Demand;
pub use future::ResponseFuture;
pub(crate) use json::{json_response, never_store};
pub(crate) use report::Refuser;
pub(crate) use responder::Responder;

use crate::extract::{BadCredential, Scheme};
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

/// The classes of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// No bearer credential was sent.
    Missing,
    /// The credential is malformed, sent twice, or too long.
    InvalidRequest,
    /// The token is not good: the one answer to each [`TokenErrorKind`] but `TooLarge` and `NoKeys`.
    InvalidToken,
    /// The token came with the scheme `DPoP`, and the proof that its key is there is not good (RFC 9449, section 7.1).
    InvalidProof,
    /// The proof is good but for the nonce of this service, which is in the answer (RFC 9449, section 9).
    NonceNeeded,
    /// The token is good, but lacks a scope.
    InsufficientScope,
    /// The token is good, but a predicate of the application denies the request.
    Denied,
    /// The token is good, but its user must authenticate again, or in a stronger way (RFC 9470).
    InsufficientAuthentication,
    /// The token came in a cookie, with a request that another site may have made.
    CrossSite,
    /// What decides cannot be asked now, or the keys of the issuer are not there yet.
    Unavailable,
    /// A fault of the wiring: no bearer layer ran before a layer or an extractor that needs one.
    NoBearerLayer,
    /// A fault of the wiring: a layer or an extractor asks for other claims than the bearer layer reads.
    OtherClaims,
}

/// What a client is told.
struct Texts {
    error: &'static str,
    description: &'static str,
    body: &'static str,
}

macro_rules! texts {
    ($error:literal, $description:literal) => {
        Texts { error: $error, description: $description, body: body!($error, $description) }
    };
}

impl RejectionKind {
    const fn texts(self) -> Texts {
        match self {
            Self::Missing => texts!("unauthorized", "an access token is required"),
            Self::InvalidRequest => texts!("invalid_request", "the credentials are malformed"),
            Self::InvalidToken => texts!("invalid_token", "the access token is not valid"),
            Self::InvalidProof => texts!("invalid_dpop_proof", "the DPoP proof is not valid"),
            Self::NonceNeeded => texts!("use_dpop_nonce", "the DPoP proof needs the nonce of this answer"),
            Self::InsufficientScope => texts!("insufficient_scope", "the access token lacks a scope"),
            // The code for all that a token does not permit (RFC 6750, section 3.1).
            Self::Denied => texts!("insufficient_scope", "the access token does not permit this"),
            Self::InsufficientAuthentication => {
                texts!("insufficient_user_authentication", "another authentication of the user is required")
            }
            Self::CrossSite => texts!("cross_site", "the request comes from another site"),
            Self::Unavailable => texts!("unavailable", "the service cannot answer now, try again"),
            Self::NoBearerLayer | Self::OtherClaims => {
                texts!("server_error", "the service is not set up correctly")
            }
        }
    }

    /// The `error` of the challenge, and of the body; `None` where nothing was sent.
    pub const fn error_code(self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            _ => Some(self.texts().error),
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        self.texts().description
    }
}

/// The protocol that a request speaks, as far as its refusal depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Anything but the following.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// gRPC-Web in base64.
    GrpcWebText,
}

impl Protocol {
    /// By the method and the content type of a request: gRPC is always POST, and an answer to another method may be
    /// cached by its status. Asked only when refusing.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if method != Method::POST {
            return Self::Http;
        }
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |prefix: &str| {
            essence.len() >= prefix.len()
                && essence[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
                && matches!(essence.get(prefix.len()), None | Some(b'+'))
        };
        if is("application/grpc") {
            Self::Grpc
        } else if is("application/grpc-web") {
            Self::GrpcWeb
        } else if is("application/grpc-web-text") {
            Self::GrpcWebText
        } else {
            Self::Http
        }
    }
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
    /// [`TokenErrorKind`], .. (the [table of events](crate::manual::observability#events) lists them). Not for the client.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The HTTP status of the answer to an HTTP request; a gRPC call is answered with 200 and its own status.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            RejectionKind::InvalidRequest => StatusCode::BAD_REQUEST,
            RejectionKind::Missing
            | RejectionKind::InvalidToken
            | RejectionKind::InvalidProof
            | RejectionKind::NonceNeeded
            | RejectionKind::InsufficientAuthentication => StatusCode::UNAUTHORIZED,
            RejectionKind::InsufficientScope | RejectionKind::Denied | RejectionKind::CrossSite => {
                StatusCode::FORBIDDEN
            }
            RejectionKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectionKind::NoBearerLayer | RejectionKind::OtherClaims => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3), for answers of one's own. A 401 must have it. Where the scheme `DPoP`
    /// is accepted, too, it may hold two challenges.
    pub fn challenge(&self) -> Option<HeaderValue> {
        self.responder.challenge().to(self.kind, self.scheme, self.demand.as_deref())
    }

    /// The value of `DPoP-Nonce` (RFC 9449, section 9), for answers of one's own, which must then not be stored. It is there
    /// where proofs need nonces.
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
    fn detached(&self) -> Self {
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
                let body = Bytes::from_static(self.kind.texts().body.as_bytes());
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn protocols_by_content_type() {
        for (content_type, expected) in [
            ("application/json", Protocol::Http),
            ("", Protocol::Http),
            ("application/grpc", Protocol::Grpc),
            ("application/grpc+proto", Protocol::Grpc),
            ("Application/gRPC; charset=x", Protocol::Grpc),
            ("application/grpcx", Protocol::Http),
            ("application/grpc-web", Protocol::GrpcWeb),
            ("application/grpc-web+proto", Protocol::GrpcWeb),
            ("application/grpc-web-text+proto", Protocol::GrpcWebText),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(Protocol::of(&Method::POST, &headers), expected, "{content_type}");
            assert_eq!(Protocol::of(&Method::GET, &headers), Protocol::Http, "{content_type}");
        }
    }
}
