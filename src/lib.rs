#![cfg_attr(docsrs, feature(doc_cfg))]
//! Bearer tokens and sessions for any tower stack: hyper, axum, tonic.
//!
//! Access tokens are JWTs of 15 minutes (RFC 9068), checked without I/O. The refresh token travels in an `HttpOnly`
//! cookie, is good once, and its session lives for 7 days without use and 30 at most. A stolen one is found out when
//! thief and owner have both used it, half a minute apart, and then the session ends. Tabs, retries and lost answers
//! within that half minute do not end it, and a token is not replaced in its first 20 seconds; [`manual::rotation`]
//! draws it.
//!
//! # Where to go
//!
//! | to | start at |
//! |---|---|
//! | let requests with a good access token pass, and read its claims | [`JwtAuthLayer`], [`Verified`] |
//! | log users in, refresh, log out, list sessions | [`AuthService`], [`Authenticator`], [`TokenConfig`] |
//! | do the same from code, for other ways to sign in | [`Sessions`] |
//! | choose where sessions are kept | [`MokaStore`], [`RedisStore`](manual::features::redis), [`PostgresStore`](manual::features::postgres), or a [`SessionStore`] of your own |
//! | ask for a scope, a role, a recent login | [`RequireScopeLayer`], [`RequireLayer`], [`StepUpLayer`] |
//! | refuse the tokens of sessions that have ended, or that were revoked by their own names | [`LiveSessionsLayer`], [`RevocationsLayer`] |
//! | take tokens of an identity provider | [`RemoteJwks`], [`manual::identity_providers`] |
//! | make stolen tokens worthless (DPoP, RFC 9449) | [`Dpop`] |
//! | be found by clients as a protected resource (RFC 9728) | [`ProtectedResourceLayer`] |
//! | send the access token with outgoing requests, always fresh | [`Session`], [`SessionLayer`] |
//! | check a token without HTTP | [`Verifier`] |
//! | test all that | [`test_util`], [`manual::testing`] |
//! | understand it, run it, move to it | the [`manual`] |
//!
//! # Quick start
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceBuilder;
//! use tower_jwt_auth::{
//!     AuthService, Authenticator, AuthnError, ClientInfo, ConfigError, Identity, JwtAuthLayer, MokaStore,
//!     RefreshKeys, SigningKey, TokenConfig,
//! };
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { email: String }
//!
//! #[derive(Deserialize)]
//! struct PasswordLogin { email: String, password: String }
//!
//! struct Accounts;
//!
//! impl Authenticator for Accounts {
//!     type Credentials = PasswordLogin;
//!     type Claims = User;
//!
//!     async fn authenticate(&self, login: PasswordLogin, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
//!         // Look the user up, and check the password's hash.
//!         # let _ = &login.password;
//!         Ok(Identity::new("user-1", User { email: login.email }))
//!     }
//! }
//!
//! fn set_up(key_pem: &str, refresh_secret: &[u8]) -> Result<(AuthService<User>, JwtAuthLayer<User>), ConfigError> {
//!     let config = TokenConfig::builder()
//!         .key(SigningKey::ed25519_pem(key_pem)?)
//!         .issuer("https://app.example")
//!         .audience("api")
//!         .build()?;
//!     let auth = AuthService::builder(&config, RefreshKeys::new(refresh_secret)?, MokaStore::new(), Accounts)
//!         .add_origin("https://app.example")
//!         .build()?;
//!     Ok((auth, JwtAuthLayer::new(config.verifier())))
//! }
//! # let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
//! # let (auth, bearer) = set_up(pem, &[7; 32]).unwrap();
//! ```
//!
//! Mount `auth` at [`auth.path()`](AuthService::path) or put it in front of a service by [`AuthLayer`], put `bearer` in
//! front of what needs a user, and read `Verified::<User>::of(request.extensions())` there; with the feature `axum`,
//! `Verified<User>` is an extractor. The examples `demo` (axum, with a page), `axum`, `tonic`, `hyper` and `tls` show
//! it whole, and `client` the other end.
//!
//! # What is checked
//!
//! The rules stand in order in the documentation of the modules that hold them: [`token`] (an access token), [`bearer`]
//! (a request), [`live`] (its session), [`revocation`] (tokens without one), [`authorize`] (scopes), [`dpop`] (proofs
//! of a key), [`service`] (login, refresh, logout), [`session`] (rotation). What happens is told by stable `tracing`
//! events and counters: [`manual::observability`].
//!
//! # Features
//!
//! All are additive, and any combination compiles. [`manual::features`] has a page for each.
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `aws-lc-rs` | yes | signatures by aws-lc-rs, which needs a C compiler; preferred when both backends are on |
//! | `rust-crypto` | | signatures in pure Rust |
//! | `moka` | yes | [`MokaStore`], sessions in the memory of one process |
//! | `redis` | | `RedisStore`, sessions on Redis for any number of nodes |
//! | `postgres` | | `PostgresStore`, sessions on PostgreSQL for any number of nodes |
//! | `axum` | | [`Verified`], `Option<Verified>` and [`ClientInfo`] as extractors of axum 0.8, [`Rejection`], [`Granted`] and [`SessionError`] as answers |
//! | `client` | | [`client`]: a session for outgoing requests of any tower client |
//! | `reqwest` | | `client`, and reqwest's client as a service for it |
//! | `jwks` | | [`remote_jwks`]: the keys of an issuer elsewhere, kept current through any tower client |
//! | `jwks-hyper` | | `jwks`, and a client for it on hyper and rustls (whose TLS needs a C compiler, whatever signs) |
//! | `metrics` | | counters through the crate `metrics`, see [`manual::observability`] |
//! | `test-util` | | `test_util`: for tests, an issuer of good and bad tokens, a clock to be set by hand, a store that fails on demand, the contract of session stores, and a [guide](test_util::guide) |
//!
//! Without a backend everything compiles, and one is given as an argument: [`Crypto`]. Whatever other crates of the
//! tree switch on in `jsonwebtoken`, the backend is the one that is named here.
//!

pub mod authorize;
#[cfg(feature = "axum")]
mod axum;
pub mod bearer;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
mod clock;
mod context;
mod cookie;
mod csrf;
pub mod dpop;
mod error;
mod extract;
mod gate;
pub mod live;
pub mod manual;
mod metrics;
mod protected_resource;
mod reject;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub mod remote_jwks;
mod replay;
pub mod revocation;
mod secret;
pub mod service;
pub mod session;
mod store;
mod store_cache;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;
mod thumbprint;
mod timer;
pub mod token;
#[cfg(any(feature = "client", feature = "jwks"))]
mod transport;
mod url;

#[doc(no_inline)]
pub use authorize::{
    Require, RequireAsync, RequireAsyncLayer, RequireLayer, RequireScope, RequireScopeLayer, StepUp,
    StepUpLayer,
};
#[doc(no_inline)]
pub use bearer::{JwtAuth, JwtAuthLayer};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
#[doc(no_inline)]
pub use client::{
    ClientError, ClientErrorKind, MemoryStorage, Session, SessionLayer, SessionService, TokenStorage, Tokens,
};
pub use clock::{Clock, SystemClock, Timestamp};
pub use context::{AuthContext, Outcome};
pub use cookie::{CookiePolicy, SameSite};
#[doc(no_inline)]
pub use dpop::{Dpop, DpopBuilder, NonceKeys, ProofKey, ProveError, ProveErrorKind};
pub use error::{ConfigError, ConfigErrorKind};
pub use extract::TokenCookie;
pub use gate::GatedFuture;
pub use live::{LiveSessions, LiveSessionsLayer};
pub use protected_resource::{ProtectedResource, ProtectedResourceLayer, ProtectedResourceService};
pub use reject::{Protocol, Rejection, RejectionKind, ResponseBody, ResponseFuture};
#[cfg(feature = "jwks-hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks-hyper")))]
#[doc(no_inline)]
pub use remote_jwks::JwksClient;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
#[doc(no_inline)]
pub use remote_jwks::{FetchError, FetchErrorKind, MetadataForm, RemoteJwks, RemoteJwksBuilder};
pub use replay::{ReplayLayer, SeenProofs};
#[doc(no_inline)]
pub use revocation::{Revocations, RevocationsLayer, Revoked};
#[doc(no_inline)]
pub use service::{
    AuthBody, AuthFront, AuthFuture, AuthLayer, AuthService, AuthServiceBuilder, Authenticator, AuthnError,
    ClientAddress, Delivery, Events, Granted, Identity, NoCredentials, NoLogin, SessionError,
    SessionErrorKind, SessionEvent, SessionEventKind, SessionInfo, Sessions,
};
#[doc(no_inline)]
pub use session::{
    Attempt, ClientInfo, Decision, NewSession, OnReuse, ParseSessionIdError, Presented, Record, RefreshKeys,
    Retry, RotationState, SecretDigest, SessionFacts, SessionId, SessionPolicy, SubjectDigest, Unknown,
    decide,
};
#[cfg(any(feature = "redis", feature = "postgres"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "redis", feature = "postgres"))))]
pub use store::ListenTask;
pub use store::{
    Creation, ProofId, PurgeTask, ReplayStore, RevocationKey, RevocationStore, Rotation, SessionChange,
    SessionFeed, SessionStore, StoreError, StoreErrorKind, Unsettled,
};
#[cfg(feature = "moka")]
#[cfg_attr(docsrs, doc(cfg(feature = "moka")))]
pub use store::{MokaStore, MokaStoreBuilder};
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use store::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use store::{ReconnectingConnection, RedisStore, RedisStoreBuilder};
pub use thumbprint::{ParseThumbprintError, Thumbprint};
#[doc(no_inline)]
pub use token::{
    AccessGrant, AccessToken, Algorithm, AnyVerified, Claims, Crypto, HasAudience, HasIssuer, HasKey, Issuer,
    KeyForm, KeyRotation, KeyRotationStep, KeySet, KeySetHandle, Missing, NoClaims, ReadClaims, Registered,
    Set, SigningKey, SkippedKey, TokenConfig, TokenConfigBuilder, TokenError, TokenErrorKind, Verified,
    Verifier, VerifyingKey,
};

/// The program in the README compiles.
#[cfg(all(doctest, feature = "moka", feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
