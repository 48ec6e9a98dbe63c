//! The live sessions layer: an access token counts only as long as its session.
//!
//! An access token is good by itself until it expires, up to 15 minutes after its session has ended. This layer looks
//! at the session of each token, at the cost of a look-up in memory: the store is asked once per session and
//! `max_staleness`, by one request for all that come meanwhile.
//!
//! | a session that was ended | is refused |
//! |---|---|
//! | by a clone of the same store, in this process | at once |
//! | in this process, by a call whose answer was lost | at once if it was ended by then, as all sessions of the subject are asked for again, else after `max_staleness` at the latest; by a login or a refresh so only without [`trust_for`] |
//! | elsewhere | after `max_staleness` at the latest; within moments where the store listens (`RedisStore::listen`, `PostgresStore::listen`) and the message arrives |
//!
//! | the store | request |
//! |---|---|
//! | has the session | passes |
//! | has none, or it has expired | 401 `invalid_token`, as any bad token |
//! | has given a later token in the place of this one ([`Retry::UntilUsed`](crate::Retry::UntilUsed)) | the same |
//! | does not answer | 503 with `Retry-After` (gRPC: 14), or by the last answer, for as long as [`trust_for`] says |
//!
//! A token without `sid` is of no session, and passes: where each must have one,
//! [`require_claim("sid")`](crate::TokenConfigBuilder::require_claim) in the configuration says so.
//!
//! The store is asked when a request comes, never in `poll_ready`. One that does not answer is asked again for the same
//! session after a second.
//!
//! # Until-used
//!
//! [`Retry::UntilUsed`](crate::Retry::UntilUsed) goes by what these layers see: each service that takes the tokens has
//! one with [`report_use`](LiveSessionsLayer::report_use), and the service that gives them is told so.
//!
//! ```
//! # use std::time::Duration;
//! # use tower_jwt_auth::{AuthService, ConfigError, LiveSessionsLayer, MokaStore, NoClaims, NoLogin, RefreshKeys};
//! # use tower_jwt_auth::{Retry, SessionPolicy, TokenConfig};
//! # fn set_up(config: &TokenConfig, secret: &[u8]) -> Result<(), ConfigError> {
//! let store = MokaStore::new();
//! let retry = Retry::UntilUsed { retry: Duration::from_secs(30), hold: Duration::from_secs(20) };
//! let auth = AuthService::builder(config, RefreshKeys::new(secret)?, store.clone(), NoLogin::<NoClaims>::new())
//!     .policy(SessionPolicy::default().with_retry(retry))
//!     .use_is_reported()
//!     .add_origin("https://app.example")
//!     .build()?;
//! let live = LiveSessionsLayer::new(store, Duration::from_secs(10)).report_use();
//! # let _ = (auth, live);
//! # Ok(())
//! # }
//! ```
//!
//! [`trust_for`]: LiveSessionsLayer::trust_for
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     AccessGrant, Issuer, JwtAuthLayer, LiveSessionsLayer, MokaStore, NoClaims, SessionId, SigningKey, TokenConfig,
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
//!     // Elsewhere a clone of the store that the `AuthService` has: another one knows no session.
//!     .layer(LiveSessionsLayer::new(MokaStore::new(), Duration::from_secs(10)))
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! // The store has no such session.
//! let grant = AccessGrant::new("ada").with_session(SessionId::from_bytes([1; 16]).to_string(), 0);
//! let token = Issuer::new(&config)?.issue(&grant, &NoClaims {})?;
//! let request = Request::get("/")
//!     .header("authorization", format!("Bearer {}", token.expose()))
//!     .body(Full::default())?;
//! assert_eq!(service.oneshot(request).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```

mod is_live;
mod known_sessions;
mod layer;
mod report_use;
mod seen;
mod service;

pub use layer::LiveSessionsLayer;
pub use service::LiveSessions;
