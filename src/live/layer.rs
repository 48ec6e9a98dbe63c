//! [`LiveSessionsLayer`]: its settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::clock::Clock;
use crate::live::known_sessions::{Near, Settings};
use crate::live::service::LiveSessions;
use crate::store::SessionStore;

/// Refuses the access tokens of sessions that have ended. Cheap to clone; clones, and the services of all of them,
/// share what they know.
///
/// It stands behind a [`JwtAuthLayer`](crate::JwtAuthLayer), and beside others that ask for more. Requests without a
/// token pass, as do tokens without a session (`sid`). The inner service must be `Clone`, as it is called after the
/// store was asked.
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower_jwt_auth::{JwtAuthLayer, LiveSessionsLayer, MokaStore, NoClaims, SigningKey, TokenConfig};
///
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// # let config = TokenConfig::builder()
/// #     .key(SigningKey::ed25519_seed(&[1; 32])?)
/// #     .issuer("https://app.example")
/// #     .audience("api")
/// #     .build()?;
/// // The store that the `AuthService` has, too.
/// let store = MokaStore::new();
/// let stack = ServiceBuilder::new()
///     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
///     .layer(LiveSessionsLayer::new(store.clone(), Duration::from_secs(10)));
/// # let _ = stack;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct LiveSessionsLayer {
    near: Arc<Near>,
    issuer: Option<Arc<str>>,
}

impl LiveSessionsLayer {
    /// Asks this store, which should be a clone of the one that the [`AuthService`](crate::AuthService) of this process
    /// has.
    ///
    /// What it has said of a session is good for `max_staleness`; with zero it is asked at each request. The time is
    /// that of the runtime, which may stand still while a machine is suspended. What this process ends is refused at
    /// once by those clones of a store that have one [feed](SessionStore::feed), as those of this crate.
    pub fn new(store: impl SessionStore, max_staleness: Duration) -> Self {
        Self { near: Near::new(Settings::new(store, max_staleness)), issuer: None }
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.near.settings().clone();
        change(&mut settings);
        Self { near: Near::new(settings), ..self }
    }

    /// Lets the last answer count for so long while the store does not answer. By default such requests are refused
    /// with 503 (gRPC: 14). A session of which this process never heard is refused in any case; with a `max_staleness`
    /// of zero nothing is remembered, so nothing is trusted.
    ///
    /// A login or a refresh in this process that the store did not answer may have ended other sessions of its subject;
    /// these are trusted, too. Those that a logout was to end are not.
    pub fn trust_for(self, bound: Duration) -> Self {
        self.with(|settings| settings.bounds.trust = bound)
    }

    /// Tells the store of each generation of tokens that is seen in use: one write per rotation and node, behind the
    /// request (with a `max_staleness` of zero, each request until it is noted). This is what
    /// [`Retry::UntilUsed`](crate::Retry::UntilUsed) goes by, and all verifiers of the tokens must do it: only then
    /// [`use_is_reported`](crate::AuthServiceBuilder::use_is_reported).
    ///
    /// A write that fails is tried again by a request a second later. Until it succeeds, the refresh token before
    /// counts as one whose successor never arrived.
    pub fn report_use(self) -> Self {
        self.with(|settings| settings.reports_use = true)
    }

    /// How many sessions are remembered: 100,000 by default. The store is asked for others each time. One takes about
    /// 130 bytes.
    pub fn with_capacity(self, sessions: usize) -> Self {
        self.with(|settings| settings.bounds.capacity = sessions)
    }

    /// Looks only at the tokens of this issuer. Behind a verifier of [several](crate::Verifier::several), the `sid` of
    /// the others is none of this store's.
    pub fn for_issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into().into()), ..self }
    }

    /// The clock by which sessions expire; the system's by default. In tests with a clock that is set by hand, that of
    /// the store.
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.with(|settings| settings.clock = Arc::new(clock))
    }
}

impl<S> Layer<S> for LiveSessionsLayer {
    type Service = LiveSessions<S>;

    fn layer(&self, inner: S) -> LiveSessions<S> {
        LiveSessions::new(inner, &self.near, self.issuer.clone())
    }
}

impl fmt::Debug for LiveSessionsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = &self.near.settings().bounds;
        f.debug_struct("LiveSessionsLayer")
            .field("max_staleness", &bounds.max_staleness)
            .field("trust", &bounds.trust)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
