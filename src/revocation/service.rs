//! [`Revoked`]: the service that the layer makes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::context::Asked;
use crate::gate::{self, Ahead, GatedFuture, Refusal};
use crate::metrics;
use crate::reject::{Refuser, RejectionKind, ResponseBody};
use crate::revocation::is_revoked::{Named, Sight};
use crate::revocation::known_revocations::Near;

/// A service behind a look at revocations. Made by [`RevocationsLayer`](crate::RevocationsLayer).
///
/// Where the store has to be asked, the inner service is called after the wait, so it must be `Clone`; the clone that
/// was polled ready is the one that is called.
#[derive(Clone)]
pub struct Revoked<S> {
    inner: S,
    near: Arc<Near>,
    issuer: Option<Arc<str>>,
}

impl<S> Revoked<S> {
    pub(super) fn new(inner: S, near: &Arc<Near>, issuer: Option<Arc<str>>) -> Self {
        Self { inner, near: Arc::clone(near), issuer }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn look(&self, asked: Asked<'_>) -> Ahead {
        let verified = match asked.verified_if_good() {
            Ok(Some(verified)) => verified,
            // Whether a token must be there is for others to say.
            Ok(None) => return Ahead::Pass,
            Err(rejection) => return Ahead::Refuse(rejection),
        };
        let registered = verified.registered();
        if self.issuer.as_deref().is_some_and(|issuer| issuer != registered.issuer()) {
            return Ahead::Pass;
        }
        let named = Named::of(registered);
        match self.near.recall(&named) {
            Some(Sight::Good) => Ahead::Pass,
            Some(sight) => Ahead::Refuse(refusal(sight).of(asked)),
            None => {
                let near = Arc::clone(&self.near);
                Ahead::Ask(Box::pin(async move {
                    match near.ask(&named).await {
                        Sight::Good => Ok(()),
                        sight => Err(refusal(sight)),
                    }
                }))
            }
        }
    }
}

fn refusal(sight: Sight) -> Refusal {
    match sight {
        Sight::Unavailable => {
            metrics::unavailable("revocations");
            Refusal::new(RejectionKind::Unavailable, "unavailable")
        }
        Sight::Revoked | Sight::Good => Refusal::new(RejectionKind::InvalidToken, "revoked"),
    }
}

impl<S, B, R> Service<Request<B>> for Revoked<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = GatedFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ahead = self.look(Asked::in_request(&request));
        gate::pass(&mut self.inner, request, ahead, Refuser::Revocation)
    }
}

impl<S: fmt::Debug> fmt::Debug for Revoked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoked").field("inner", &self.inner).finish_non_exhaustive()
    }
}
