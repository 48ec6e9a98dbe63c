//! [`RequireLayer`]: a predicate of the application's own.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::authorize::require::{Require, lacks, sealed};
use crate::authorize::scope::words;
use crate::context::Asked;
use crate::error::ConfigError;
use crate::reject::{Demand, Rejection, RejectionKind};
use crate::token::{AnyVerified, Verified};

type Holds<C> = dyn Fn(&Verified<C>) -> bool + Send + Sync;

/// Lets only requests pass for whose token a predicate says yes; the others are answered with 403. Cheap to clone.
///
/// `C` are the claims that the bearer layer reads: with others every request is answered with 500, and the log names
/// both types. A predicate that must wait for something is for [`RequireAsyncLayer`](crate::RequireAsyncLayer).
///
/// ```
/// use serde::Deserialize;
/// use tower_jwt_auth::{RequireLayer, Verified};
///
/// #[derive(Deserialize)]
/// struct User { #[serde(default)] roles: Vec<String> }
///
/// let admins = RequireLayer::new(|user: &Verified<User>| user.roles.iter().any(|role| role == "admin"));
/// # let _ = admins;
/// ```
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct RequireLayer<C> {
    rule: Arc<Predicate<C>>,
}

/// The rule of [`RequireLayer`].
pub struct Predicate<C> {
    holds: Arc<Holds<C>>,
    demand: Option<Arc<Demand>>,
}

impl<C> RequireLayer<C> {
    /// Asks this predicate.
    pub fn new(predicate: impl Fn(&Verified<C>) -> bool + Send + Sync + 'static) -> Self {
        Self { rule: Arc::new(Predicate { holds: Arc::new(predicate), demand: None }) }
    }

    /// Names the scopes that a client should ask for in the challenge of a refusal (RFC 6750, section 3).
    ///
    /// # Errors
    ///
    /// As [`RequireScopeLayer::all`](crate::RequireScopeLayer::all).
    pub fn with_scopes<I: IntoIterator<Item: AsRef<str>>>(self, scopes: I) -> Result<Self, ConfigError> {
        let demand = Some(naming(scopes)?);
        Ok(Self { rule: Arc::new(Predicate { holds: Arc::clone(&self.rule.holds), demand }) })
    }
}

pub(super) fn naming<I: IntoIterator<Item: AsRef<str>>>(scopes: I) -> Result<Arc<Demand>, ConfigError> {
    Ok(Arc::new(Demand { scope: Some(words(scopes)?.join(" ").into()), ..Demand::default() }))
}

pub(super) fn denied(asked: Asked<'_>, demand: Option<&Arc<Demand>>) -> Rejection {
    lacks(asked, RejectionKind::Denied, "denied", demand)
}

impl<C: Send + Sync + 'static> sealed::Rule for Predicate<C> {
    #[allow(private_interfaces)] // Nobody outside can name the trait.
    fn check(&self, verified: &AnyVerified, asked: Asked<'_>) -> Result<(), Rejection> {
        let verified = asked.with_claims::<C>(verified)?;
        if (self.holds)(&verified) { Ok(()) } else { Err(denied(asked, self.demand.as_ref())) }
    }
}

impl<S, C> Layer<S> for RequireLayer<C> {
    type Service = Require<S, Predicate<C>>;

    fn layer(&self, inner: S) -> Self::Service {
        Require::new(inner, &self.rule)
    }
}

impl<C> Clone for RequireLayer<C> {
    fn clone(&self) -> Self {
        Self { rule: Arc::clone(&self.rule) }
    }
}

impl<C> fmt::Debug for RequireLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireLayer").field("demand", &self.rule.demand).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Predicate<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predicate").field("demand", &self.demand).finish_non_exhaustive()
    }
}
