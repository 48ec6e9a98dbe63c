//! Revocation of access tokens by their own names: one by `iss` and `jti`, all of a subject by the time of their issue.
//!
//! For tokens that have no session of this crate: those of an issuer elsewhere, of scripts and devices. A token with a
//! session (`sid`) ends with it behind a [`LiveSessionsLayer`](crate::LiveSessionsLayer).
//!
//! | it was said | is refused |
//! |---|---|
//! | [`Revocations::revoke_token`] | the token of this issuer and `jti` |
//! | [`Revocations::revoke_subject`] | what this issuer issued for this subject up to now |
//! | [`Revocations::revoke_subject_before`] | what it issued for it before a time: as `iat` says, in whole seconds with most issuers |
//!
//! A [`RevocationsLayer`] stands behind a [`JwtAuthLayer`](crate::JwtAuthLayer) and asks the store about each token,
//! once per token and `max_staleness`, by one request for all that come meanwhile.
//!
//! | revoked | the token is refused |
//! |---|---|
//! | through a clone of the same store, in this process | at once |
//! | elsewhere | after `max_staleness` at the latest; within moments where the store listens (`RedisStore::listen`, `PostgresStore::listen`) and the message arrives |
//!
//! The answer to a revoked token is that to any bad one: 401 `invalid_token`. If the store does not answer, it is 503
//! with `Retry-After` (gRPC: 14), or for as long as [`trust_for`](RevocationsLayer::trust_for) says by what it answered
//! last.
//!
//! The routes of an [`AuthService`](crate::AuthService) look at sessions instead. Where tokens with a session are
//! revoked by name, tell it, too: [`revocations`](crate::AuthServiceBuilder::revocations).
//!
//! A revocation is kept for 25 hours: no token is accepted that lives longer than 24 (and the leeway at both ends).
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     AccessGrant, Issuer, JwtAuthLayer, MokaStore, NoClaims, Revocations, RevocationsLayer, SigningKey, TokenConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TokenConfig::builder()
//!     .key(SigningKey::ed25519_seed(&[7; 32])?)
//!     .issuer("https://issuer.example")
//!     .audience("api")
//!     .build()?;
//! let store = MokaStore::new();
//! let service = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
//!     .layer(RevocationsLayer::new(store.clone(), Duration::from_secs(10)))
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! let token = Issuer::new(&config)?.issue(&AccessGrant::new("ada"), &NoClaims {})?;
//! let request = || {
//!     Request::get("/")
//!         .header("authorization", format!("Bearer {}", token.expose()))
//!         .body(Full::default())
//! };
//! assert_eq!(service.clone().oneshot(request()?).await?.status(), 200);
//!
//! Revocations::new(store).revoke_subject("https://issuer.example", "ada").await?;
//! assert_eq!(service.oneshot(request()?).await?.status(), 401);
//! # Ok(())
//! # }
//! ```

mod is_revoked;
mod known_revocations;
mod layer;
mod revocations;
mod seen;
mod service;

pub use layer::RevocationsLayer;
pub use revocations::Revocations;
pub use service::Revoked;
