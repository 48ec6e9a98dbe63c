//! Authorization behind the bearer layer: what a good token must allow.
//!
//! | layer | lets pass | else |
//! |---|---|---|
//! | [`RequireScopeLayer`] | a token with all scopes, or any of them; compared as a whole and with case | 403 `insufficient_scope`, which names them (RFC 6750, section 3.1) |
//! | [`RequireLayer`] | what a predicate over the token says yes to | 403 `insufficient_scope` |
//! | [`RequireAsyncLayer`] | the same, for a predicate that waits | 403, or 503 if it cannot tell |
//! | [`StepUpLayer`] | a user who authenticated recently or strongly enough | 401 `insufficient_user_authentication` (RFC 9470) |
//!
//! For each request, in this order: without a bearer layer before it 500, and the log names the mistake; what an
//! observing layer let pass is refused as it would have been there; without a token 401; then the rule. Refusals are in
//! the realm, the protocol and the words ([`map_rejection`](crate::JwtAuthLayer::map_rejection)) of the bearer layer.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     AccessGrant, Issuer, JwtAuthLayer, NoClaims, RequireScopeLayer, SigningKey, TokenConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TokenConfig::builder()
//!     .key(SigningKey::ed25519_seed(&[7; 32])?)
//!     .issuer("https://app.example")
//!     .audience("api")
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
//!     .layer(RequireScopeLayer::all(["orders:write"])?)
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! let token = Issuer::new(&config)?.issue(&AccessGrant::new("ada").with_scopes(["orders:read"]), &NoClaims {})?;
//! let request = Request::get("/")
//!     .header("authorization", format!("Bearer {}", token.expose()))
//!     .body(Full::default())?;
//! let refused = service.oneshot(request).await?;
//! assert_eq!(refused.status(), StatusCode::FORBIDDEN);
//! # Ok(())
//! # }
//! ```

mod predicate;
mod predicate_async;
mod require;
mod scope;
mod step_up;

pub use predicate::{Predicate, RequireLayer};
pub use predicate_async::{RequireAsync, RequireAsyncLayer};
pub use require::{Require, Rule};
pub use scope::{RequireScope, RequireScopeLayer, Scopes};
pub use step_up::{Authentication, StepUp, StepUpLayer};
