//! [`AuthContext`]: the one thing that the bearer layer puts into a request's extensions.

use std::sync::Arc;

use http::Extensions;

use crate::reject::{Challenge, Rejection};
use crate::token::{AnyVerified, Verified};

/// What the bearer layer found out about a request, and how layers behind it are to refuse. Cheap to clone.
///
/// Most code asks for [`Verified::<C>::of(extensions)`](Verified::of) instead.
#[derive(Debug, Clone)]
pub struct AuthContext {
    outcome: Outcome,
    challenge: Arc<Challenge>,
}

/// What the bearer layer found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// A token, and it is good.
    Verified(AnyVerified),
    /// No token, and the layer lets such requests pass.
    Anonymous,
    /// A token that is not good, and the layer lets such requests pass.
    Refused(Rejection),
}

impl AuthContext {
    pub(crate) fn new(outcome: Outcome, challenge: Arc<Challenge>) -> Self {
        Self { outcome, challenge }
    }

    /// The context that a bearer layer left.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// What the bearer layer found.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The challenges of the bearer layer's realm.
    pub(crate) fn challenge(&self) -> &Arc<Challenge> {
        &self.challenge
    }

    /// The token, if there is a good one.
    pub fn verified(&self) -> Option<&AnyVerified> {
        match &self.outcome {
            Outcome::Verified(verified) => Some(verified),
            Outcome::Anonymous | Outcome::Refused(_) => None,
        }
    }
}

impl<C: Send + Sync + 'static> Verified<C> {
    /// The token that the bearer layer verified, from the extensions of the request.
    ///
    /// `None` when no bearer layer ran, when it let the request pass without a good token, or when it reads other
    /// claims than `C`.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let Some(context) = AuthContext::of(extensions) else {
            tracing::warn!(
                name: "no_bearer_layer", target: "tower_jwt_auth::bearer",
                "a verified token was asked for, but no bearer layer ran: put `JwtAuthLayer` around this service"
            );
            return None;
        };
        let verified = context.verified()?;
        let found = verified.downcast();
        if found.is_none() {
            tracing::warn!(
                name: "other_claims", target: "tower_jwt_auth::bearer",
                asked = std::any::type_name::<C>(), layer = verified.claims_type(),
                "a verified token was asked for with other claims than the bearer layer reads"
            );
        }
        found
    }
}
