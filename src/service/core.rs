//! [`Core`]: what a service is made of, and how it asks its store.

use std::sync::Arc;

use http::HeaderValue;
use tokio::runtime::Handle;
use tracing::Instrument as _;

use crate::cookie::CookieTemplate;
use crate::csrf::CsrfPolicy;
use crate::dpop::Proof;
use crate::reject::{Demand, Responder};
use crate::secret::NoRandomness;
use crate::service::authenticator::DynAuthenticator;
use crate::service::delivery::Delivery;
use crate::service::error::SessionError;
use crate::service::events;
use crate::service::hook::Hook;
use crate::service::proof::Proofs;
use crate::session::{RefreshCodec, SessionPolicy};
use crate::store::{DynRevocations, DynStore, StoreError};
use crate::token::{Issuer, KeySetHandle, NoClaims, Verifier};

/// Everything behind an [`AuthService`](crate::AuthService); no type of the application is left in it.
pub(super) struct Core {
    pub(super) issuer: Issuer,
    /// For those who verify the tokens elsewhere.
    pub(super) keys: KeySetHandle,
    /// For the routes that take a bearer token. They need no claims of the application.
    pub(super) verifier: Verifier<NoClaims>,
    pub(super) codec: RefreshCodec,
    pub(super) store: Box<dyn DynStore>,
    pub(super) authenticator: Box<dyn DynAuthenticator>,
    pub(super) policy: SessionPolicy,
    pub(super) delivery: Delivery,
    pub(super) cookie: CookieTemplate,
    pub(super) csrf: CsrfPolicy,
    pub(super) responder: Arc<Responder>,
    pub(super) proofs: Option<Proofs>,
    /// Of access tokens, for the routes that take one.
    pub(super) revocations: Option<Box<dyn DynRevocations>>,
    /// The scope without which nobody sees or ends all sessions of a subject.
    pub(super) scope: Option<Arc<Demand>>,
    pub(super) hook: Hook,
    pub(super) path: Box<str>,
}

impl Core {
    /// The nonce for an answer, if the client is to use another one from now on.
    pub(super) fn nonce_after(&self, proof: Option<&Proof>) -> Option<HeaderValue> {
        self.proofs.as_ref()?.nonce_after(proof?)
    }

    /// Runs the store's part to its end in a task of its own: a client that goes away in the middle leaves no
    /// rotation without its answer being made, and no login without the old session being ended.
    pub(super) async fn finish<T, F, W>(self: Arc<Self>, work: W) -> Result<T, SessionError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SessionError>> + Send + 'static,
        W: FnOnce(Arc<Self>) -> F,
    {
        let runtime =
            Handle::try_current().map_err(|error| SessionError::unavailable("no tokio runtime", error))?;
        let task = runtime.spawn(work(self).in_current_span());
        task.await.unwrap_or_else(|error| Err(SessionError::unavailable("the task of an operation", error)))
    }
}

/// Asks the store once more when it failed: a connection that broke is the most frequent fault, and the next one works.
pub(super) async fn twice<T, F>(mut ask: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    match ask().await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            events::retried(&error);
            ask().await
        }
    }
}

pub(super) fn no_randomness(error: NoRandomness) -> SessionError {
    SessionError::unavailable("random bytes", error)
}
