//! [`RevocationsLayer`]: its settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::revocation::known_revocations::{Near, Settings};
use crate::revocation::service::Revoked;
use crate::store::RevocationStore;

/// Refuses access tokens that were revoked by their `jti` or their subject; see the
/// [module's rules](crate::revocation). Cheap to clone; clones, and the services of all of them, share what they know.
///
/// It stands behind a [`JwtAuthLayer`](crate::JwtAuthLayer), and beside others that ask for more. Requests without a
/// token pass. The inner service must be `Clone`, as it is called after the store was asked.
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower_jwt_auth::{JwtAuthLayer, MokaStore, NoClaims, RevocationsLayer, SigningKey, TokenConfig};
///
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// # let config = TokenConfig::builder()
/// #     .key(SigningKey::ed25519_seed(&[1; 32])?)
/// #     .issuer("https://issuer.example")
/// #     .audience("api")
/// #     .build()?;
/// // Clones of it go to `Revocations`.
/// let store = MokaStore::new();
/// let stack = ServiceBuilder::new()
///     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
///     .layer(RevocationsLayer::new(store.clone(), Duration::from_secs(10)));
/// # let _ = stack;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct RevocationsLayer {
    near: Arc<Near>,
    issuer: Option<Arc<str>>,
}

impl RevocationsLayer {
    /// Asks this store, which should be a clone of the one that [`Revocations`](crate::Revocations) of this process
    /// has.
    ///
    /// What it has said of a token is good for `max_staleness`; with zero it is asked at each request. The time is that
    /// of the runtime, which may stand still while a machine is suspended.
    pub fn new(store: impl RevocationStore, max_staleness: Duration) -> Self {
        Self { near: Near::new(Settings::new(store, max_staleness)), issuer: None }
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.near.settings().clone();
        change(&mut settings);
        Self { near: Near::new(settings), ..self }
    }

    /// Lets the last answer count for so long while the store does not answer. By default such requests are refused
    /// with 503 (gRPC: 14). A token of which the store never said anything is refused in any case; with a
    /// `max_staleness` of zero nothing is remembered, so nothing is trusted.
    pub fn trust_for(self, bound: Duration) -> Self {
        self.with(|settings| settings.bounds.trust = bound)
    }

    /// How many names are remembered, of tokens and of subjects: 100,000 by default. The store is asked for others each
    /// time.
    pub fn with_capacity(self, names: usize) -> Self {
        self.with(|settings| settings.bounds.capacity = names)
    }

    /// Looks only at the tokens of this issuer, where a verifier of [several](crate::Verifier::several) accepts more.
    pub fn for_issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into().into()), ..self }
    }
}

impl<S> Layer<S> for RevocationsLayer {
    type Service = Revoked<S>;

    fn layer(&self, inner: S) -> Revoked<S> {
        Revoked::new(inner, &self.near, self.issuer.clone())
    }
}

impl fmt::Debug for RevocationsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = &self.near.settings().bounds;
        f.debug_struct("RevocationsLayer")
            .field("max_staleness", &bounds.max_staleness)
            .field("trust", &bounds.trust)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
