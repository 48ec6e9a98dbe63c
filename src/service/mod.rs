//! The companion service: login, refresh, logout and the session list over HTTP.
//!
//! Below its mount point, `/auth` unless [`path`](AuthServiceBuilder::path) says otherwise:
//!
//! | request | answer |
//! |---|---|
//! | `POST /login`, JSON credentials | 200 `{"access_token","token_type","expires_in","user"}` and the refresh cookie; 401 `invalid_credentials` |
//! | `POST /refresh`, cookie | 200 as a login, with a new cookie only where the token was rotated; 401 `invalid_grant` |
//! | `POST /logout`, cookie or bearer token | 204, the session ended and the cookie cleared; also without either, or with a dead one; 400 for the cookies of more than eight sessions, unless a bearer token says which |
//! | `POST /logout/all`, `/logout/others`, bearer token or cookie | 204; all sessions of the subject, or all others, ended |
//! | `GET /sessions`, bearer token | 200 `{"sessions":[..]}` |
//! | `DELETE /sessions/{id}`, bearer token | 204; 404 for what is not the subject's own |
//! | `GET /jwks.json` | 200, the public keys of the access tokens as a JWK set, to be cached for five minutes |
//!
//! Where refresh tokens travel in bodies ([`Delivery::Body`] and [`Delivery::Both`]) there is more. None of these sets
//! or clears a cookie, and a request that also carries one is 400:
//!
//! | request | answer |
//! |---|---|
//! | `POST /login`, JSON credentials; with `Both` they have the member `"delivery":"body"`, which the application does not see | 200 with `"refresh_token"` beside the rest; 400 to a browser (`Origin` or `Sec-Fetch-Site`) with `Both` |
//! | `POST /refresh`, JSON `{"refresh_token"}` | 200 with `"refresh_token"`, rotated or not; 401 `invalid_grant` |
//! | `POST /refresh`, form `grant_type=refresh_token&refresh_token=..`, `scope` if need be (RFC 6749, section 6) | the same, with `"scope"` where less was asked for than was granted; 400 `invalid_grant`, `invalid_scope`, `unsupported_grant_type`, or `invalid_request` for a parameter that is missing or repeated |
//! | `POST /logout`, JSON or form with `refresh_token` | 204, the session ended |
//! | `POST /revoke`, form `token=..` (RFC 7009) | 200, the session ended; also for garbage; 400 `unsupported_token_type` for a JWT |
//!
//! With `Body` cookies are not looked at. Client ids, token type hints and unknown parameters are ignored: whoever
//! holds the token may use it.
//!
//! Each request goes this way, and ends at the first refusal:
//!
//! 1. route (404) and method (405 with `Allow`);
//! 2. the cross-site check (403 `cross_site`), for `POST /login` and for every unsafe request that carries the cookie;
//! 3. the tag of the refresh token, without I/O;
//! 4. the body, bounded at 16 KiB (413) and of a type that the route takes where there is one (415);
//! 5. the store. An outage is 503 `unavailable` with `Retry-After`: nothing is revoked, and the cookie stays.
//!
//! The bearer token is looked at as by a [`JwtAuthLayer`](crate::JwtAuthLayer); besides it must be of a session (`sid`)
//! that lives. One that was made without a session, for a script or a device, is 401 here.
//! [`revocations`](AuthServiceBuilder::revocations) and [`require_scope`](AuthServiceBuilder::require_scope) ask for
//! more. The checks of an application's own verifier ([`Verifier::add_check`](crate::Verifier::add_check)) are not
//! made.
//!
//! Routers cut the mount point off, so the service answers both with and without it: nested, the login is at
//! `/auth/login` and at `/auth/auth/login`; alone or as a fallback, at `/auth/login` and at `/login`. So a limit on
//! logins belongs around the service, never on one exact path. Behind an [`AuthLayer`] there is one path for each
//! route.
//!
//! All answers but the key set are `Cache-Control: no-store`. No refusal sets or clears the cookie: a late answer to an
//! old session would wipe the cookie of the new one. A client that is no browser sends `X-Session-Request: 1`.
//!
//! ```
//! use http::{Request, StatusCode};
//! use http_body_util::Full;
//! use tower::ServiceExt;
//! use tower_jwt_auth::{
//!     AuthService, ClientInfo, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys, SigningKey, TokenConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TokenConfig::builder()
//!     .key(SigningKey::ed25519_seed(&[7; 32])?)
//!     .issuer("https://app.example")
//!     .audience("api")
//!     .build()?;
//! let auth = AuthService::builder(&config, RefreshKeys::new([9; 32])?, MokaStore::new(), NoLogin::<NoClaims>::new())
//!     .add_origin("https://app.example")
//!     .build()?;
//!
//! // A login of one's own: the session is opened from code.
//! let granted = auth.sessions().open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await?;
//! assert!(granted.set_cookie().is_some());
//!
//! // The browser refreshes with the cookie that it was given.
//! let request = Request::post("/auth/refresh")
//!     .header("cookie", format!("__Secure-refresh_token={}", granted.refresh_token()))
//!     .header("origin", "https://app.example")
//!     .body(Full::<bytes::Bytes>::default())?;
//! assert_eq!(auth.oneshot(request).await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```

// A request on its way in: beside the application's own, through the service, to its route.
mod auth_service;
mod front;
mod routes;

// What the routes read of a request, and what they answer.
mod answer;
mod body;
mod proof;
mod refresh_token_forms;
mod request;
mod revoked;

// The same from code.
mod sessions;

// Sessions, before HTTP.
mod core;
mod operations;

// What the application says, and what it is told.
mod authenticator;
mod builder;
mod delivery;
mod error;
mod events;
mod hook;
mod identity;

pub use auth_service::{AuthFuture, AuthService};
pub use authenticator::{Authenticator, AuthnError, NoCredentials, NoLogin};
pub use body::AuthBody;
pub use builder::AuthServiceBuilder;
pub use delivery::Delivery;
pub use error::{SessionError, SessionErrorKind};
pub use front::{AuthFront, AuthFrontFuture, AuthLayer};
pub use hook::{Events, SessionEvent, SessionEventKind};
pub use identity::{Identity, SessionInfo};
pub use request::ClientAddress;
pub use sessions::{Granted, Sessions};
