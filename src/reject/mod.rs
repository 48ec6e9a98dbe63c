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
mod kind;
mod protocol;
mod rejection;
mod report;
mod responder;

pub use body::ResponseBody;
pub(crate) use challenge::{Challenge, DpopOffer};
pub(crate) use demand::Demand;
pub use future::ResponseFuture;
pub(crate) use json::{json_response, never_store};
pub use kind::RejectionKind;
pub use protocol::Protocol;
pub(crate) use rejection::DPOP_NONCE;
pub use rejection::Rejection;
pub(crate) use report::Refuser;
pub(crate) use responder::Responder;
