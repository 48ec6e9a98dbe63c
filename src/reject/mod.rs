//! Refusals: the reason, and the answer in the protocol of the request.
//!
//! | kind | HTTP | challenge (RFC 6750, section 3) | gRPC status |
//! |---|---|---|---|
//! | [`Missing`](RejectionKind::Missing) | 401 | `Bearer realm=".."` | 16 |
//! | [`InvalidRequest`](RejectionKind::InvalidRequest) | 400 | with `error="invalid_request"` | 16 |
//! | [`InvalidToken`](RejectionKind::InvalidToken) | 401 | with `error="invalid_token"` | 16 |
//! | [`InsufficientScope`](RejectionKind::InsufficientScope) | 403 | with `error="insufficient_scope"` and `scope` | 7 |
//! | [`NoBearerLayer`](RejectionKind::NoBearerLayer) | 500 | | 13 |
//!
//! The client sees one of a few fixed texts. The reason in full is in the event `rejected`, and for outer layers in
//! the response's extensions.

mod body;
mod challenge;
mod future;
mod grpc;
mod json;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};

pub use body::ResponseBody;
pub(crate) use challenge::Challenge;
pub use future::ResponseFuture;
pub(crate) use json::{json_response, never_store};

use crate::extract::BadCredential;
use crate::token::{TokenError, TokenErrorKind};

/// Why a request was refused, and how: it makes the answer.
///
/// The answer to a refused request has a `Rejection` in its extensions.
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    protocol: Protocol,
    reason: &'static str,
    challenge: Arc<Challenge>,
    scope: Option<Arc<str>>,
}

/// The classes of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// No bearer credential was sent.
    Missing,
    /// The credential is malformed, sent twice, or too long.
    InvalidRequest,
    /// The token is not good: the one answer to each [`TokenErrorKind`] but the too long.
    InvalidToken,
    /// The token is good, but lacks a scope.
    InsufficientScope,
    /// A fault of the wiring: no bearer layer ran before a layer that needs one.
    NoBearerLayer,
}

impl RejectionKind {
    /// The `error` of the challenge, and of the body; `None` where nothing was sent.
    pub const fn error_code(self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::NoBearerLayer => Some("server_error"),
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Missing => "an access token is required",
            Self::InvalidRequest => "the credentials are malformed",
            Self::InvalidToken => "the access token is not valid",
            Self::InsufficientScope => "the access token lacks a scope",
            Self::NoBearerLayer => "the service is not set up correctly",
        }
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
        challenge: &Arc<Challenge>,
    ) -> Self {
        Self { kind, protocol, reason, challenge: Arc::clone(challenge), scope: None }
    }

    pub(crate) fn of_credential(bad: BadCredential, protocol: Protocol, challenge: &Arc<Challenge>) -> Self {
        Self::new(RejectionKind::InvalidRequest, bad.as_str(), protocol, challenge)
    }

    pub(crate) fn of_token(error: &TokenError, protocol: Protocol, challenge: &Arc<Challenge>) -> Self {
        let kind = match error.kind() {
            TokenErrorKind::TooLarge => RejectionKind::InvalidRequest,
            _ => RejectionKind::InvalidToken,
        };
        Self::new(kind, error.kind().as_str(), protocol, challenge)
    }

    /// The scopes that are needed, for the challenge.
    pub(crate) fn with_scope(mut self, scope: Arc<str>) -> Self {
        self.scope = Some(scope);
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

    /// The reason in a word, for logs and metrics: `missing`, `malformed_credential`, or the name of a
    /// [`TokenErrorKind`]. Not for the client.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The HTTP status of the answer to an HTTP request; a gRPC call is answered with 200 and its own status.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            RejectionKind::InvalidRequest => StatusCode::BAD_REQUEST,
            RejectionKind::Missing | RejectionKind::InvalidToken => StatusCode::UNAUTHORIZED,
            RejectionKind::InsufficientScope => StatusCode::FORBIDDEN,
            RejectionKind::NoBearerLayer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer, in the protocol of the request.
    pub fn to_response(&self) -> Response<Bytes> {
        match self.protocol {
            Protocol::Http => {
                let error = self.kind.error_code().unwrap_or("unauthorized");
                let mut response = json_response(self.status(), error, self.kind.description());
                if let Some(challenge) = self.challenge.bearer(self.kind, self.scope.as_deref()) {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                response
            }
            protocol => grpc::response(protocol, self.kind),
        }
    }
}

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
