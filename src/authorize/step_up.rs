//! [`StepUpLayer`]: how, and how long ago, the user must have authenticated (RFC 9470).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::authorize::require::{Require, lacks, sealed};
use crate::authorize::scope::words;
use crate::clock::{Clock, SystemClock};
use crate::context::Asked;
use crate::error::ConfigError;
use crate::reject::{Demand, Rejection, RejectionKind};
use crate::token::AnyVerified;

/// How far the issuer's clock may be ahead: an authentication that is yet to come is none.
const LEEWAY: Duration = Duration::from_secs(30);

/// Lets only requests pass whose user authenticated recently, or in one of some ways (RFC 9470). Cheap to clone.
///
/// The others are answered with 401 and `error="insufficient_user_authentication"`; the challenge names what is needed,
/// and the client lets the user log in anew. Judged by the claims `auth_time` and `acr` (RFC 9068, section 2.2.1): a
/// token without them is refused. Tokens of [`AuthService`](crate::AuthService) have the `auth_time` of the login, also
/// after refreshes, and the `acr` of [`Identity::with_acr`](crate::Identity::with_acr).
///
/// ```
/// use std::time::Duration;
/// use tower_jwt_auth::StepUpLayer;
///
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// // For transfers of money: a login of the last five minutes, with a second factor.
/// let layer = StepUpLayer::max_age(Duration::from_secs(300)).with_acr_values(["urn:example:two-factor"])?;
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct StepUpLayer {
    rule: Arc<Authentication>,
}

/// The service of [`StepUpLayer`].
pub type StepUp<S> = Require<S, Authentication>;

/// The rule of [`StepUpLayer`].
#[derive(Clone)]
pub struct Authentication {
    max_age: Option<Duration>,
    acr_values: Box<[Box<str>]>,
    clock: Arc<dyn Clock>,
    demand: Arc<Demand>,
}

impl StepUpLayer {
    /// Asks for an authentication that is at most so old; whole seconds, a part of one is left out.
    pub fn max_age(max_age: Duration) -> Self {
        Self::of(Some(max_age), Box::default(), Arc::new(SystemClock))
    }

    /// Asks for one of these authentication contexts, the preferred one first.
    ///
    /// # Errors
    ///
    /// There is none, or one is no word of printable ASCII without quote and backslash.
    pub fn acr_values<I: IntoIterator<Item: AsRef<str>>>(values: I) -> Result<Self, ConfigError> {
        Ok(Self::of(None, words(values)?, Arc::new(SystemClock)))
    }

    /// Asks for an age, too.
    pub fn with_max_age(self, max_age: Duration) -> Self {
        let rule = &self.rule;
        Self::of(Some(max_age), rule.acr_values.clone(), Arc::clone(&rule.clock))
    }

    /// Asks for an authentication context, too.
    ///
    /// # Errors
    ///
    /// As [`acr_values`](Self::acr_values).
    pub fn with_acr_values<I: IntoIterator<Item: AsRef<str>>>(self, values: I) -> Result<Self, ConfigError> {
        let rule = &self.rule;
        Ok(Self::of(rule.max_age, words(values)?, Arc::clone(&rule.clock)))
    }

    /// Replaces the clock that ages are judged by; the system's by default.
    pub fn with_clock(self, clock: impl Clock) -> Self {
        let rule = &self.rule;
        Self::of(rule.max_age, rule.acr_values.clone(), Arc::new(clock))
    }

    fn of(max_age: Option<Duration>, acr_values: Box<[Box<str>]>, clock: Arc<dyn Clock>) -> Self {
        let max_age = max_age.map(|age| Duration::from_secs(age.as_secs()));
        let demand = Arc::new(Demand {
            scope: None,
            acr_values: (!acr_values.is_empty()).then(|| acr_values.join(" ").into()),
            max_age,
        });
        Self { rule: Arc::new(Authentication { max_age, acr_values, clock, demand }) }
    }
}

impl sealed::Rule for Authentication {
    #[allow(private_interfaces)] // Nobody outside can name the trait.
    fn check(&self, verified: &AnyVerified, asked: Asked<'_>) -> Result<(), Rejection> {
        let registered = verified.registered();
        let is_recent = self.max_age.is_none_or(|max_age| {
            let now = self.clock.now();
            registered.authenticated_at().is_some_and(|at| {
                now.saturating_duration_since(at) <= max_age && at <= now.saturating_add(LEEWAY)
            })
        });
        let is_strong = self.acr_values.is_empty()
            || registered.acr().is_some_and(|acr| self.acr_values.iter().any(|value| **value == *acr));
        if is_recent && is_strong {
            return Ok(());
        }
        let kind = RejectionKind::InsufficientAuthentication;
        Err(lacks(asked, kind, "insufficient_user_authentication", Some(&self.demand)))
    }
}

impl<S> Layer<S> for StepUpLayer {
    type Service = StepUp<S>;

    fn layer(&self, inner: S) -> StepUp<S> {
        Require::new(inner, &self.rule)
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("max_age", &self.max_age)
            .field("acr_values", &self.acr_values)
            .finish_non_exhaustive()
    }
}
