//! [`Require`]: the service of all layers here that decide at once.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::context::Asked;
use crate::gate::refused;
use crate::reject::{Demand, Refuser, Rejection, RejectionKind, ResponseBody, ResponseFuture};

/// A service behind a rule about verified tokens. Made by [`RequireScopeLayer`](crate::RequireScopeLayer),
/// [`RequireLayer`](crate::RequireLayer) and [`StepUpLayer`](crate::StepUpLayer), each with its rule `R`.
pub struct Require<S, R> {
    inner: S,
    rule: Arc<R>,
}

/// What a layer asks of a verified token.
pub trait Rule: sealed::Rule {}

impl<R: sealed::Rule> Rule for R {}

pub(super) mod sealed {
    use super::{Asked, Rejection};
    use crate::token::AnyVerified;

    pub trait Rule {
        /// # Errors
        ///
        /// How the request is refused.
        #[allow(private_interfaces)] // Nobody outside can name the trait.
        fn check(&self, verified: &AnyVerified, asked: Asked<'_>) -> Result<(), Rejection>;
    }
}

/// What a token lacks: the refusal, in the words of the bearer layer.
pub(super) fn lacks(
    asked: Asked<'_>,
    kind: RejectionKind,
    reason: &'static str,
    demand: Option<&Arc<Demand>>,
) -> Rejection {
    asked.refuse(kind, reason).with_demand(demand.map(Arc::clone))
}

impl<S, R> Require<S, R> {
    pub(super) fn new(inner: S, rule: &Arc<R>) -> Self {
        Self { inner, rule: Arc::clone(rule) }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R: sealed::Rule> Require<S, R> {
    fn check<B>(&self, request: &Request<B>) -> Result<(), Rejection> {
        let asked = Asked::in_request(request);
        self.rule.check(asked.verified()?, asked)
    }
}

impl<S, R, B, T> Service<Request<B>> for Require<S, R>
where
    S: Service<Request<B>, Response = Response<T>>,
    R: Rule,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.check(&request) {
            // The very service that was polled ready.
            Ok(()) => ResponseFuture::inner(self.inner.call(request)),
            Err(rejection) => refused(&rejection, request, Refuser::Authorize),
        }
    }
}

impl<S: Clone, R> Clone for Require<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rule: Arc::clone(&self.rule) }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Require<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require").field("inner", &self.inner).finish_non_exhaustive()
    }
}
