//! [`JwtAuthLayer`]: the settings, and the wrapping.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::bearer::service::JwtAuth;
use crate::error::ConfigError;
use crate::reject::Challenge;
use crate::token::Verifier;

/// Wraps a service so that only requests with a good bearer token reach it; see the [module's rules](crate::bearer).
/// Cheap to clone, and good for any number of services and stacks.
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct JwtAuthLayer<C> {
    pub(super) settings: Arc<Settings<C>>,
}

pub(super) struct Settings<C> {
    pub(super) verifier: Verifier<C>,
    pub(super) challenge: Arc<Challenge>,
    pub(super) mode: Mode,
}

/// What becomes of requests without a good token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All are refused.
    Required,
    /// Those without a token pass, those with a bad one are refused.
    Optional,
    /// All pass.
    Observe,
}

impl<C> JwtAuthLayer<C> {
    /// A layer that accepts what this verifier accepts. The realm of its challenges is `api`.
    pub fn new(verifier: Verifier<C>) -> Self {
        let challenge = Arc::new(Challenge::standard());
        Self { settings: Arc::new(Settings { verifier, challenge, mode: Mode::Required }) }
    }

    /// Lets requests without a token pass, as [`Outcome::Anonymous`](crate::Outcome::Anonymous). A bad token is refused.
    pub fn optional(self) -> Self {
        self.with(|settings| settings.mode = Mode::Optional)
    }

    /// Lets all requests pass; what was found is in the [`AuthContext`](crate::AuthContext). For services that decide
    /// themselves, and for a look at what a layer would refuse before it does.
    pub fn observe(self) -> Self {
        self.with(|settings| settings.mode = Mode::Observe)
    }

    /// Replaces the realm of the challenges.
    ///
    /// # Errors
    ///
    /// The text is empty, or has other characters than printable ASCII without quote and backslash.
    pub fn with_realm(self, realm: &str) -> Result<Self, ConfigError> {
        let challenge = Arc::new(Challenge::new(realm)?);
        Ok(self.with(|settings| settings.challenge = challenge))
    }

    fn with(self, change: impl FnOnce(&mut Settings<C>)) -> Self {
        let Settings { verifier, challenge, mode } = &*self.settings;
        let (verifier, challenge, mode) = (verifier.clone(), Arc::clone(challenge), *mode);
        let mut settings = Settings { verifier, challenge, mode };
        change(&mut settings);
        Self { settings: Arc::new(settings) }
    }
}

impl<S, C> Layer<S> for JwtAuthLayer<C> {
    type Service = JwtAuth<S, C>;

    fn layer(&self, inner: S) -> JwtAuth<S, C> {
        JwtAuth::new(inner, Arc::clone(&self.settings))
    }
}

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for JwtAuthLayer<C> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings) }
    }
}

impl<C> fmt::Debug for JwtAuthLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthLayer").field("verifier", &self.settings.verifier).finish_non_exhaustive()
    }
}
