//! [`AuthServiceBuilder`]: the settings of a service one by one, and which of them go together.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::cookie::CookiePolicy;
use crate::csrf::{CsrfPolicy, canonical_origin};
use crate::dpop::Dpop;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::reject::{Demand, Responder};
use crate::service::auth_service::AuthService;
use crate::service::authenticator::DynAuthenticator;
use crate::service::core::Core;
use crate::service::delivery::Delivery;
use crate::service::hook::{Events, Hook};
use crate::service::proof::Proofs;
use crate::service::routes::is_mount_point;
use crate::session::{RefreshCodec, RefreshKeys, SessionPolicy};
use crate::store::{DynReplays, DynRevocations, DynStore, ReplayStore, RevocationStore};
use crate::token::{Claims, Issuer, TokenConfig, is_scope};

/// Settings of an [`AuthService`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct AuthServiceBuilder<C> {
    config: TokenConfig,
    keys: RefreshKeys,
    store: Box<dyn DynStore>,
    authenticator: Box<dyn DynAuthenticator>,
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
    revocations: Option<Box<dyn DynRevocations>>,
    scope: Option<String>,
    hook: Hook,
    claims: PhantomData<fn(C) -> C>,
}

impl<C: Claims> AuthServiceBuilder<C> {
    pub(super) fn new(
        config: &TokenConfig,
        keys: RefreshKeys,
        store: Box<dyn DynStore>,
        authenticator: Box<dyn DynAuthenticator>,
    ) -> Self {
        Self {
            config: config.clone(),
            keys,
            store,
            authenticator,
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
            revocations: None,
            scope: None,
            hook: Hook::default(),
            claims: PhantomData,
        }
    }

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

    /// Binds sessions to keys (RFC 9449, section 5): a login that comes with a proof of a key opens a session that
    /// nobody can refresh without, and access tokens that nobody can send without.
    /// [`required`](crate::DpopBuilder::required) makes it so for all. Give the layers of this process the same
    /// settings, and each service over one store some: a service without lets nobody refresh a session that is bound.
    pub fn dpop(mut self, dpop: &Dpop) -> Self {
        self.dpop = Some(dpop.clone());
        self
    }

    /// Remembers proofs in this store, too, so that none is good once on each of several nodes. One node needs none.
    pub fn replays(mut self, store: impl ReplayStore) -> Self {
        self.replays = Some(Box::new(store));
        self
    }

    /// Asks this store about the access tokens that come to the service's own routes, as a
    /// [`RevocationsLayer`](crate::RevocationsLayer) does elsewhere: a token that was revoked by its `jti` or its
    /// subject shows and ends no sessions. It is asked each time; 503 if it does not answer. Its refresh tokens are not
    /// looked up here: end the sessions, too.
    pub fn revocations(mut self, store: impl RevocationStore) -> Self {
        self.revocations = Some(Box::new(store));
        self
    }

    /// Asks for this scope where all sessions of a subject are shown or ended: `/sessions`, `/sessions/{id}`,
    /// `/logout/all` and `/logout/others`. Others are answered with 403 `insufficient_scope`. Without it any access
    /// token of a session will do, whatever its scopes: say one where some sessions are given to programs that the user
    /// trusts less.
    pub fn require_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
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
    /// A configuration that only verifies; no origin where there are cookies, or a malformed one; a mount point,
    /// cookie, policy or realm out of the bounds that their methods name; [`Retry::UntilUsed`](crate::Retry::UntilUsed)
    /// without [`use_is_reported`](Self::use_is_reported); [`replays`](Self::replays) without [`dpop`](Self::dpop);
    /// a scope that is no word of printable ASCII without quote and backslash.
    pub fn build(self) -> Result<AuthService<C>, ConfigError> {
        if !is_mount_point(&self.path) {
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
        if self.scope.as_deref().is_some_and(|scope| !is_scope(scope)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Limit,
                "the scope must be one word of printable ASCII without quote and backslash",
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
            revocations: self.revocations,
            scope: self
                .scope
                .map(|scope| Arc::new(Demand { scope: Some(scope.into()), ..Demand::default() })),
            hook: self.hook,
            path: self.path.into(),
        };
        Ok(AuthService::new(core))
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
