//! [`RequireScopeLayer`].

use std::sync::Arc;

use tower_layer::Layer;

use crate::authorize::require::{Require, lacks, sealed};
use crate::context::Asked;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::reject::{Demand, Rejection, RejectionKind};
use crate::token::{AnyVerified, is_scope};

/// Lets only requests pass whose token has the scopes. Cheap to clone.
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct RequireScopeLayer {
    rule: Arc<Scopes>,
}

/// The service of [`RequireScopeLayer`].
pub type RequireScope<S> = Require<S, Scopes>;

/// The rule of [`RequireScopeLayer`].
#[derive(Debug)]
pub struct Scopes {
    any: bool,
    needed: Box<[Box<str>]>,
    demand: Arc<Demand>,
}

impl RequireScopeLayer {
    /// Asks for each of these scopes.
    ///
    /// # Errors
    ///
    /// There is none, or one is no word of printable ASCII without quote and backslash (RFC 6749, section 3.3).
    pub fn all<I: IntoIterator<Item: AsRef<str>>>(scopes: I) -> Result<Self, ConfigError> {
        Self::new(false, scopes)
    }

    /// Asks for at least one of these scopes.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn any<I: IntoIterator<Item: AsRef<str>>>(scopes: I) -> Result<Self, ConfigError> {
        Self::new(true, scopes)
    }

    fn new<I: IntoIterator<Item: AsRef<str>>>(any: bool, scopes: I) -> Result<Self, ConfigError> {
        let needed = words(scopes)?;
        let demand = Arc::new(Demand { scope: Some(needed.join(" ").into()), ..Demand::default() });
        Ok(Self { rule: Arc::new(Scopes { any, needed, demand }) })
    }
}

/// Words that can stand in a challenge, at least one.
pub(super) fn words<I: IntoIterator<Item: AsRef<str>>>(words: I) -> Result<Box<[Box<str>]>, ConfigError> {
    let bad = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Limit, message));
    let words: Box<[Box<str>]> = words.into_iter().map(|word| word.as_ref().into()).collect();
    if words.is_empty() {
        return bad("a layer that asks for nothing lets everybody pass: name what is needed");
    }
    if !words.iter().all(|word| is_scope(word)) {
        return bad("each must be a word of printable ASCII without quote and backslash");
    }
    Ok(words)
}

impl sealed::Rule for Scopes {
    #[allow(private_interfaces)] // Nobody outside can name the trait.
    fn check(&self, verified: &AnyVerified, asked: Asked<'_>) -> Result<(), Rejection> {
        let mut needed = self.needed.iter().map(|scope| verified.registered().has_scope(scope));
        let is_allowed = if self.any { needed.any(|has| has) } else { needed.all(|has| has) };
        if is_allowed {
            return Ok(());
        }
        Err(lacks(asked, RejectionKind::InsufficientScope, "insufficient_scope", Some(&self.demand)))
    }
}

impl<S> Layer<S> for RequireScopeLayer {
    type Service = RequireScope<S>;

    fn layer(&self, inner: S) -> RequireScope<S> {
        Require::new(inner, &self.rule)
    }
}
