#![cfg_attr(docsrs, feature(doc_cfg))]
//! Bearer tokens and sessions for any tower stack: hyper, axum, tonic.
//!
//! Parts that fit together:
//!
//! - [`JwtAuthLayer`] validates the access token of each request and puts its claims into the request's extensions, and
//!   the layers of [`authorize`] ask more of it;
//! - [`AuthService`] logs users in, refreshes their tokens with rotation, and logs them out;
//! - [`LiveSessionsLayer`] refuses the tokens of sessions that have ended, [`RevocationsLayer`] those that were revoked by
//!   their own names;
//! - [`Dpop`] binds tokens and sessions to a key of the client (RFC 9449), so that stolen ones are of no use;
//! - [`ProtectedResourceLayer`] tells clients which authorization server to ask (RFC 9728);
//! - [`SessionLayer`] sends the access token with outgoing requests, and its [`Session`] keeps it fresh.
//!
//! Access tokens are JWTs of 15 minutes (RFC 9068), checked without I/O. The refresh token travels in an `HttpOnly`
//! cookie, is good once, and its session lives for 7 days without use and 30 at most. A stolen one is found out when
//! thief and owner have both used it, and then the session ends; tabs, retries and lost answers never end it.
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
//! `Verified<User>` is an extractor. The examples `demo` (axum, with a page), `axum`, `tonic`,
//! `hyper` and `tls` show it whole, and `client` the other end.
//!
//! # What is checked
//!
//! The rules stand in order in the documentation of the modules that hold them: [`token`] (an access token),
//! [`bearer`] (a request), [`live`] (its session), [`revocation`] (tokens without one), [`authorize`] (scopes), [`dpop`] (proofs of a key),
//! [`service`] (login, refresh, logout), [`session`] (rotation).
//!
//! # Tokens of identity providers
//!
//! What is checked by default is the profile of RFC 9068. Most providers are older than it: these settings of
//! [`TokenConfigBuilder`] are for their access tokens. `tests/providers.rs` holds tokens of each. Keys come by [`remote_jwks`]
//! from the issuer, and [`accept_lifetime`](TokenConfigBuilder::accept_lifetime), up to 24 hours, is due where tokens live
//! longer than 15 minutes: the last column has what is usual.
//!
//! | provider | issuer | audience | settings | lifetime |
//! |---|---|---|---|---|
//! | Keycloak | `https://host/realms/realm` | the API's name, by an audience mapper; never `account`, which the tokens of other clients have, too | `accept_type("JWT")`, `require_value("typ", "Bearer")` | 5 minutes |
//! | Auth0 | `https://tenant.auth0.com/`, slash included | the identifier of the API | none for an API with the RFC 9068 profile, else `accept_type("JWT")` | 24 hours |
//! | Okta, custom server | `https://org.okta.com/oauth2/default` | `api://default` | `accept_missing_type()`, `scope_claim("scp")`, `require_claim("cid")` | an hour |
//! | Cognito | `https://cognito-idp.region.amazonaws.com/pool` | the id of the app client | `accept_missing_type()`, `audience_claim("client_id")`, `require_value("token_use", "access")` | an hour |
//! | Google, ID tokens of service accounts | `https://accounts.google.com` | the URL of the service | `accept_type("JWT")`, `require_value("sub", ..)` or a check of several | an hour |
//! | Entra, access tokens of version 2 | `https://login.microsoftonline.com/tenant/v2.0` | the id of the application | `accept_type("JWT")`, `scope_claim("scp")`, `require_claim("azp")` | 60 to 90 minutes |
//!
//! - Who may have a token at all is the provider's affair, and often it is *anybody*: on Google anybody gets a token for any
//!   audience, so the subject must be asked for; in Entra any application of the tenant gets one for the API, without `scp`
//!   and `roles`, unless assignment is required there. Ask for a scope or a role on each route.
//! - ID tokens are refused by `typ`, `cid`, `token_use` and `azp` respectively; Auth0's by the audience alone, so an API must
//!   not bear the name of a client. Those of Google are all there is.
//! - Roles are in `realm_access.roles` and `resource_access.<client>.roles` (Keycloak), `permissions` (Auth0, if RBAC adds
//!   them), `cognito:groups` (Cognito), `roles` (Entra), and with Okta in a claim that the server is told to add.
//! - Auth0's `permissions` are what the user may do, and `scope` what the client was granted of it. A service with clients of
//!   others asks for both. (`scope_claim("permissions")` is for one that has none.)
//! - Keycloak writes `sub` only with the scope `basic`. Entra writes version 2 for applications with
//!   `requestedAccessTokenVersion` 2, and its `common` is the issuer of no token.
//! - [`Registered::client_id`] reads `client_id` only: `azp` and `cid` are for the application's type.
//!
//! A token that is refused says why in the event `bad_token`, and [`Verifier::verify`] says it of one that is at hand.
//!
//! Roles are the application's: read them by its claims type, and ask for them by [`RequireLayer`].
//!
//! ```
//! use serde::Deserialize;
//! use tower_jwt_auth::{RequireLayer, Verified};
//!
//! // Both are left out for users without roles. Without a default, their tokens would be refused.
//! #[derive(Default, Deserialize)]
//! struct Roles { #[serde(default)] roles: Vec<String> }
//!
//! /// Claims of Keycloak.
//! #[derive(Deserialize)]
//! struct User { #[serde(default)] realm_access: Roles }
//!
//! let clerks = RequireLayer::new(|user: &Verified<User>| {
//!     user.realm_access.roles.iter().any(|role| role == "clerk")
//! });
//! # let _ = clerks;
//! ```
//!
//! # Features
//!
//! All are additive, and any combination compiles.
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
//! | `metrics` | | counters through the crate `metrics`, see [below](#metrics) |
//! | `test-util` | | `test_util`: for tests, an issuer of good and bad tokens, a clock to be set by hand, a store that fails on demand, the contract of session stores, and a [guide](test_util::guide) |
//!
//! Without a backend everything compiles, and one is given as an argument: [`Crypto`]. Whatever other crates of the tree
//! switch on in `jsonwebtoken`, the backend is the one that is named here.
//!
//! # Events
//!
//! `tracing` events with these targets and names, stable; none holds a token, a key or a secret. (A formatter may print
//! the message of an event and not its name.)
//!
//! | target | name | level | fields |
//! |---|---|---|---|
//! | `tower_jwt_auth::authorize` | `rejected` | debug without a token, error for a fault of the wiring, else info | `reason`: as below, or `insufficient_scope`, `denied`, `insufficient_user_authentication`, `unavailable`, `no_bearer_layer`, `other_claims` |
//! | | `no_bearer_layer` | error | |
//! | | `other_claims` | error | `asked`, `layer` |
//! | | `unavailable` | error | `error` |
//! | `tower_jwt_auth::keys` | `key_skipped` | warn | `position`, `kid`, `reason` |
//! | `tower_jwt_auth::bearer` | `rejected` | debug without a token, else info | `reason`: `missing`, `malformed_credential`, `repeated_credential`, `too_large`, for a cookie `no_origin`, `origin` or `sec_fetch_site`, a [`TokenErrorKind`], or, with [`dpop`], `bearer_scheme`, `not_bound`, `other_key` and the rule that a proof breaks: `proof_missing`, `proof_repeated`, `proof_too_large`, `proof_malformed`, `proof_type`, `proof_algorithm`, `proof_key`, `proof_private_key`, `proof_signature`, `proof_claims`, `proof_method`, `proof_target`, `proof_too_old`, `proof_too_new`, `proof_token_hash`, `proof_nonce_missing`, `proof_nonce_unknown`, `proof_replayed`, `proof_memory_full` |
//! | | `observed` | info | `reason`, as in `rejected` |
//! | | `bad_token` | debug | `reason`: a [`TokenErrorKind`]; `detail`: the rule that it breaks |
//! | | `bad_proof` | debug | `reason`: as in `rejected`; `detail`: the rule that a DPoP proof breaks |
//! | | `application_claims` | warn | `claims`, `detail` |
//! | | `no_bearer_layer` | warn | |
//! | | `other_claims` | warn | `asked`, `layer` |
//! | `tower_jwt_auth::session` | `opened`, `ended`, `evicted` | info | `session`, `why` |
//! | | `ended_all` | info | `subject`, `sessions` |
//! | | `rotated`, `reissued`, `expired`, `unknown` | info | `session`, `generation` |
//! | | `current` | debug | `session` |
//! | | `recovered`, `superseded`, `reused`, `mismatch` | warn | `session`, `subject` |
//! | `tower_jwt_auth::service` | `refused` | info | `route`, `reason`: `body`, `credentials`, `no_origin`, `origin`, `sec_fetch_site`, `no_token`, `several_sessions`, `revoked_meanwhile`, `session_ended`, `browser`, `cookie_and_token`, `invalid_scope`, `unsupported_grant_type`, `unsupported_token_type`, `other_key`, or as in `rejected`; `detail`, `origin` |
//! | | `retried` | warn | `what`, `error` |
//! | | `unavailable`, `fault` | error | `what`, `error` |
//! | | `hook_panicked` | error | `event` |
//! | `tower_jwt_auth::client` | `signed_in`, `signed_out`, `expired` | info | |
//! | | `refreshed` | debug | |
//! | | `refresh_failed` | warn, or error for an answer that is not a session service's | `error` |
//! | | `storage_failed` | error | `error` |
//! | `tower_jwt_auth::remote_jwks` | `keys_fetched` | info | `of`: the issuer, or the place of the keys; `keys`, `skipped` |
//! | | `keys_not_fetched` | warn | `of`; `reason`: a `FetchErrorKind`; `detail`; `cause`: what the HTTP client says, in its own words; `failures`: one after another |
//! | `tower_jwt_auth::live` | `rejected` | info, error for a fault of the wiring | `reason`: `session_ended`, `replaced`, `unavailable`, `no_bearer_layer` |
//! | | `unavailable` | error | `error` |
//! | | `use_not_reported` | warn | `error` |
//! | `tower_jwt_auth::revocation` | `rejected` | info, error for a fault of the wiring | `reason`: `revoked`, `unavailable`, `no_bearer_layer` |
//! | | `unavailable` | error | `error` |
//! | | `revoked` | info | `what`: `token`, `subject` |
//! | | `not_revoked` | error | `what`, `error` |
//! | `tower_jwt_auth::replay` | `rejected` | info, error for a fault of the wiring | `reason`: `proof_replayed`, `unavailable`, `no_bearer_layer` |
//! | | `unavailable` | error | `error` |
//! | `tower_jwt_auth::store` | `session_evicted` | warn | `sessions` |
//! | | `eviction_policy` | warn | `policy` |
//! | | `push_joined` | info | |
//! | | `push_lost` | warn | `error` |
//! | | `purged` | debug | `sessions` |
//! | | `purge_failed` | warn | `error` |
//!
//! # Metrics
//!
//! Counters with the feature `metrics`, stable as well. No label holds an id or what a client can choose.
//!
//! | name | labels |
//! |---|---|
//! | `tower_jwt_auth_requests_rejected_total` | `layer`: `bearer`, `live`, `revocation`, `replay`, or `authorize` (other layers and extractors behind it); `reason`, as in the events `rejected` |
//! | `tower_jwt_auth_session_events_total` | `event`: the names of `tower_jwt_auth::session`; [`SessionEventKind`] lists them, all but `current` |
//! | `tower_jwt_auth_sessions_ended_total` | `why`: as in the event `ended`, or `evicted`, `ended_all`, `superseded`, `reused` (the session itself, of all that it ends) |
//! | `tower_jwt_auth_service_refused_total` | `route`, `reason`, as in the events `refused` |
//! | `tower_jwt_auth_jwks_fetches_total` | `outcome`: `ok`, `not_modified`, or the `reason` of `keys_not_fetched` |
//! | `tower_jwt_auth_store_retries_total` | |
//! | `tower_jwt_auth_unavailable_total` | `what`, as in the events `unavailable` |
//!
//! An application that wants more than counts, as to send a mail when a session was stolen, gives the service a hook:
//! [`AuthServiceBuilder::events`].

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
mod metrics;
mod near;
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
    Attempt, ClientInfo, Decision, NewSession, NoSessionId, OnReuse, Presented, Record, RefreshKeys, Retry,
    RotationState, SecretDigest, SessionFacts, SessionId, SessionPolicy, SubjectDigest, Unknown, decide,
};
#[cfg(any(feature = "redis", feature = "postgres"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "redis", feature = "postgres"))))]
pub use store::ListenTask;
pub use store::{
    Creation, ProofId, PurgeTask, ReplayStore, RevocationKey, RevocationStore, Rotation, SessionChange,
    SessionFeed, SessionStore, StoreError, StoreErrorKind,
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
