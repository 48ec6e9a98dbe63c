//! The companion service: login, refresh, logout and the session list over HTTP.
//!
//! Below its mount point, `/auth` unless [`path`](AuthServiceBuilder::path) says otherwise:
//!
//! | request | answer |
//! |---|---|
//! | `POST /login`, JSON credentials | 200 `{"access_token","token_type","expires_in","user"}` and the refresh cookie; 401 `invalid_credentials` |
//! | `POST /refresh`, cookie | 200 as a login, with a new cookie only where the token was rotated; 401 `invalid_grant` |
//! | `POST /logout`, cookie or bearer token | 204, the session ended and the cookie cleared; also without either, or with a dead one |
//! | `POST /logout/all`, `/logout/others`, bearer token or cookie | 204; all sessions of the subject, or all others, ended |
//! | `GET /sessions`, bearer token | 200 `{"sessions":[..]}` |
//! | `DELETE /sessions/{id}`, bearer token | 204; 404 for what is not the subject's own |
//! | `GET /jwks.json` | 200, the public keys of the access tokens as a JWK set, to be cached for five minutes |
//!
//! Where refresh tokens travel in bodies ([`Delivery::Body`] and [`Delivery::Both`]) there is more. None of these sets or
//! clears a cookie, and a request that also carries one is 400:
//!
//! | request | answer |
//! |---|---|
//! | `POST /login`, JSON credentials; with `Both` they have the member `"delivery":"body"`, which the application does not see | 200 with `"refresh_token"` beside the rest; 400 to a browser (`Origin` or `Sec-Fetch-Site`) with `Both` |
//! | `POST /refresh`, JSON `{"refresh_token"}` | 200 with `"refresh_token"`, rotated or not; 401 `invalid_grant` |
//! | `POST /refresh`, form `grant_type=refresh_token&refresh_token=..`, `scope` if need be (RFC 6749, section 6) | the same, with `"scope"` where less was asked for than was granted; 400 `invalid_grant`, `invalid_scope`, `unsupported_grant_type`, or `invalid_request` for a parameter that is missing or repeated |
//! | `POST /logout`, JSON or form with `refresh_token` | 204, the session ended |
//! | `POST /revoke`, form `token=..` (RFC 7009) | 200, the session ended; also for garbage; 400 `unsupported_token_type` for a JWT |
//!
//! With `Body` cookies are not looked at. Client ids, token type hints and unknown parameters are ignored: whoever holds
//! the token may use it.
//!
//! Each request goes this way, and ends at the first refusal:
//!
//! 1. route (404) and method (405 with `Allow`);
//! 2. the cross-site check (403 `cross_site`), for `POST /login` and for every unsafe request that carries the cookie;
//! 3. the tag of the refresh token, without I/O;
//! 4. the body, bounded at 16 KiB (413) and of a type that the route takes where there is one (415);
//! 5. the store. An outage is 503 `unavailable` with `Retry-After`: nothing is revoked, and the cookie stays.
//!
//! All answers but the key set are `Cache-Control: no-store`. No refusal sets or clears the cookie: a late answer to an old session
//! would wipe the cookie of the new one. A client that is no browser sends `X-Session-Request: 1`.
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

mod answer;
mod authenticator;
mod body;
mod by_token;
mod core;
mod delivery;
mod error;
mod events;
mod front;
mod handle;
mod hook;
mod identity;
mod presented;
mod proof;
mod request;
mod roads;
mod route;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

pub use authenticator::{Authenticator, AuthnError, NoCredentials, NoLogin};
pub use body::AuthBody;
pub use delivery::Delivery;
pub use error::{SessionError, SessionErrorKind};
pub use front::{AuthFront, AuthFrontFuture, AuthLayer};
pub use handle::{Granted, Sessions};
pub use hook::{Events, SessionEvent, SessionEventKind};
pub use identity::{Identity, SessionInfo};
pub use request::ClientAddress;

use self::core::Core;
use self::hook::Hook;
use self::proof::Proofs;
use crate::cookie::CookiePolicy;
use crate::csrf::{CsrfPolicy, canonical_origin};
use crate::dpop::Dpop;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::reject::Responder;
use crate::session::{RefreshCodec, RefreshKeys, SessionPolicy};
use crate::store::{DynReplays, ReplayStore, SessionStore};
use crate::token::{Claims, Issuer, TokenConfig};

/// The service. A tower `Service` for any request body, `Clone` (one `Arc`), and nameable: neither the store's nor the
/// authenticator's type is part of its own. See the [module](crate::service) for its routes.
#[must_use = "a service does nothing until it is mounted"]
pub struct AuthService<C> {
    core: Arc<Core>,
    claims: PhantomData<fn(C) -> C>,
}

impl<C: Claims> AuthService<C> {
    /// Starts a service that signs with `config`, keeps sessions in `store`, and asks `authenticator` who may log in.
    pub fn builder<A>(
        config: &TokenConfig,
        keys: RefreshKeys,
        store: impl SessionStore,
        authenticator: A,
    ) -> AuthServiceBuilder<C>
    where
        A: Authenticator<Claims = C>,
    {
        AuthServiceBuilder {
            config: config.clone(),
            keys,
            store: Box::new(store),
            authenticator: Box::new(authenticator),
            policy: SessionPolicy::default(),
            delivery: Delivery::default(),
            cookie: CookiePolicy::default(),
            path: "/auth".to_owned(),
            name: String::new(),
            realm: None,
            origins: Vec::new(),
            trust_same_site: false,
            use_is_reported: false,
            dpop: None,
            replays: None,
            hook: Hook::default(),
            claims: PhantomData,
        }
    }

    /// The same sessions from code.
    pub fn sessions(&self) -> Sessions<C> {
        Sessions::new(Arc::clone(&self.core))
    }

    /// The mount point, which is also the cookie's `Path`: mount with `nest_service(auth.path(), auth.clone())`, and
    /// the two cannot differ.
    pub fn path(&self) -> &str {
        &self.core.path
    }
}

impl<C> Clone for AuthService<C> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), claims: PhantomData }
    }
}

impl<C> fmt::Debug for AuthService<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService").field("path", &self.core.path).finish_non_exhaustive()
    }
}

/// Settings of an [`AuthService`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct AuthServiceBuilder<C> {
    config: TokenConfig,
    keys: RefreshKeys,
    store: Box<dyn crate::store::DynStore>,
    authenticator: Box<dyn authenticator::DynAuthenticator>,
    policy: SessionPolicy,
    delivery: Delivery,
    cookie: CookiePolicy,
    path: String,
    name: String,
    realm: Option<String>,
    origins: Vec<Result<String, ConfigError>>,
    trust_same_site: bool,
    use_is_reported: bool,
    dpop: Option<Dpop>,
    replays: Option<Box<dyn DynReplays>>,
    hook: Hook,
    claims: PhantomData<fn(C) -> C>,
}

impl<C: Claims> AuthServiceBuilder<C> {
    /// Replaces the mount point, `/auth` by default: also the cookie's `Path`. Segments of letters, digits and `-._~`.
    pub fn path(mut self, mount: impl Into<String>) -> Self {
        self.path = mount.into();
        self
    }

    /// An origin whose pages may use the service: `https://host[:port]`, or http on this machine. One is required,
    /// that of the application itself, unless the service sets no cookies.
    pub fn add_origin(mut self, origin: &str) -> Self {
        self.origins.push(canonical_origin(origin, false));
        self
    }

    /// As [`add_origin`](Self::add_origin), also for http on another machine.
    pub fn insecure_add_origin(mut self, origin: &str) -> Self {
        self.origins.push(canonical_origin(origin, true));
        self
    }

    /// Lets pages on sibling hosts (`www.app.example` for `auth.app.example`) use the service, if their origin was
    /// added. Any host below the same domain that is taken over can then act for the user.
    pub fn trust_same_site(mut self) -> Self {
        self.trust_same_site = true;
        self
    }

    /// Replaces lifetimes, windows and what happens on reuse.
    pub fn policy(mut self, policy: SessionPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Says that every verifier of these access tokens, in whatever program, reports their use to the same store, by a
    /// `LiveSessionsLayer` with `report_use()`. [`Retry::UntilUsed`](crate::Retry::UntilUsed) needs it: where use is
    /// not seen, a successor stays unused, and a thief of its predecessor is answered for ever.
    pub fn use_is_reported(mut self) -> Self {
        self.use_is_reported = true;
        self
    }

    /// Binds sessions to keys (RFC 9449, section 5): a login that comes with a proof of a key opens a session that nobody can
    /// refresh without, and access tokens that nobody can send without. [`required`](crate::DpopBuilder::required) makes it so for
    /// all. Give the layers of this process the same settings, and each service over one store some: a service without lets nobody
    /// refresh a session that is bound.
    pub fn dpop(mut self, dpop: &Dpop) -> Self {
        self.dpop = Some(dpop.clone());
        self
    }

    /// Remembers proofs in this store, too, so that none is good once on each of several nodes. One node needs none.
    pub fn replays(mut self, store: impl ReplayStore) -> Self {
        self.replays = Some(Box::new(store));
        self
    }

    /// Replaces how clients are given refresh tokens, [`Delivery::Cookie`] by default.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Replaces the form of the refresh cookie.
    pub fn cookie(mut self, cookie: CookiePolicy) -> Self {
        self.cookie = cookie;
        self
    }

    /// A name for this service. Services that share the secret of their refresh tokens accept each other's tokens
    /// only if issuer and name are the same.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Replaces the realm of the challenges, `api` by default.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// Tells the application what happens to sessions.
    pub fn events(mut self, events: impl Events) -> Self {
        self.hook = Hook::new(events);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A configuration that only verifies; no origin where there are cookies, or a malformed one; a mount point, cookie, policy or realm out
    /// of the bounds that their methods name; [`Retry::UntilUsed`](crate::Retry::UntilUsed) without
    /// [`use_is_reported`](Self::use_is_reported); [`replays`](Self::replays) without [`dpop`](Self::dpop).
    pub fn build(self) -> Result<AuthService<C>, ConfigError> {
        if !route::is_mount_point(&self.path) {
            return Err(ConfigError::new(
                ConfigErrorKind::Path,
                "the mount point must be a path such as `/auth`: it begins with a slash, does not end with one, and \
                 has segments of letters, digits and `-._~`",
            ));
        }
        self.policy.check()?;
        if self.policy.is_until_used() && !self.use_is_reported {
            return Err(ConfigError::new(
                ConfigErrorKind::Lifetime,
                "`Retry::UntilUsed` needs every verifier of the access tokens to report their use: say that they do with \
                 `use_is_reported`, or use `Retry::Within`",
            ));
        }
        let origins = self.origins.into_iter().collect::<Result<Vec<_>, _>>()?;
        if origins.is_empty() && self.delivery.uses_cookie() {
            return Err(ConfigError::new(
                ConfigErrorKind::Origin,
                "say with `add_origin` which origin the pages of the application have: without one every browser \
                 would be refused",
            ));
        }
        if self.dpop.is_none() && self.replays.is_some() {
            return Err(ConfigError::new(
                ConfigErrorKind::Store,
                "a store for proofs is of use where there are proofs: say how they are with `dpop`",
            ));
        }
        let mut responder =
            self.realm.as_deref().map_or_else(|| Ok(Responder::standard()), Responder::new)?;
        if let Some(dpop) = &self.dpop {
            responder = responder.with_dpop(dpop.offer())?;
        }
        let core = Core {
            issuer: Issuer::new(&self.config)?,
            keys: self.config.keys().clone(),
            verifier: self.config.verifier(),
            codec: RefreshCodec::new(self.keys, self.config.issuer(), &self.name),
            store: self.store,
            authenticator: self.authenticator,
            delivery: self.delivery,
            cookie: self.cookie.at(&self.path)?,
            policy: self.policy.with_access_lifetime(self.config.lifetime()),
            csrf: CsrfPolicy { origins, trust_same_site: self.trust_same_site },
            responder: Arc::new(responder),
            proofs: self.dpop.map(|dpop| Proofs { dpop, store: self.replays }),
            hook: self.hook,
            path: self.path.into(),
        };
        Ok(AuthService { core: Arc::new(core), claims: PhantomData })
    }
}

impl<C> fmt::Debug for AuthServiceBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthServiceBuilder")
            .field("path", &self.path)
            .field("policy", &self.policy)
            .field("delivery", &self.delivery)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}

impl<C, B> Service<Request<B>> for AuthService<C>
where
    C: Claims,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<AuthBody>;
    type Error = Infallible;
    type Future = AuthFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AuthFuture {
        let core = Arc::clone(&self.core);
        AuthFuture { future: Box::pin(serve(core, request)) }
    }
}

async fn serve<B>(core: Arc<Core>, request: Request<B>) -> Response<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let admitted = match roads::admit(&core, &parts) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let rule = admitted.body_rule(core.delivery);
    if !roads::accepts(&rule, &parts, body.size_hint().lower() > 0) {
        return admitted.unsupported_media_type(&rule);
    }
    let body = match rule {
        roads::BodyRule::Unread => Bytes::new(),
        _ => match body::read(body).await {
            Ok(body) if roads::accepts(&rule, &parts, !body.is_empty()) => body,
            Ok(_) => return admitted.unsupported_media_type(&rule),
            Err(unread) => return admitted.unread(&unread),
        },
    };
    roads::answer(core, admitted, parts, body).await
}

/// The future of [`AuthService`].
pub struct AuthFuture {
    future: Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>,
}

impl Future for AuthFuture {
    type Output = Result<Response<AuthBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx).map(|response| Ok(response.map(AuthBody::from)))
    }
}

impl fmt::Debug for AuthFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthFuture")
    }
}
