//! [`RequireAsyncLayer`]: a predicate that waits for something.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::authorize::predicate::naming;
use crate::context::Asked;
use crate::error::ConfigError;
use crate::gate::{self, Ahead, GatedFuture, Refusal};
use crate::metrics;
use crate::reject::{Demand, Refuser, RejectionKind, ResponseBody};
use crate::token::Verified;

type BoxError = Box<dyn Error + Send + Sync>;
type Decision = Pin<Box<dyn Future<Output = Result<bool, BoxError>> + Send>>;
type Ask<C> = dyn Fn(Verified<C>) -> Decision + Send + Sync;

/// As [`RequireLayer`](crate::RequireLayer), for a predicate that waits for something: a table of permissions, another
/// service. An error is answered with 503 (gRPC: 14), and goes to the log; neither a yes nor a no.
///
/// The inner service is called after the wait, so it must be `Clone`; the clone that was polled ready is the one that
/// is called. A client that goes away drops the predicate's future.
///
/// ```
/// use tower_jwt_auth::{NoClaims, RequireAsyncLayer, Verified};
///
/// # #[derive(Clone)] struct Permissions;
/// # impl Permissions { async fn may_order(&self, _: &str) -> Result<bool, std::io::Error> { Ok(true) } }
/// let permissions = Permissions;
/// let layer = RequireAsyncLayer::new(move |user: Verified<NoClaims>| {
///     let permissions = permissions.clone();
///     async move { permissions.may_order(user.subject()).await }
/// });
/// # let _ = layer;
/// ```
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct RequireAsyncLayer<C> {
    ask: Arc<Ask<C>>,
    demand: Option<Arc<Demand>>,
}

impl<C> RequireAsyncLayer<C> {
    /// Asks this predicate.
    pub fn new<P, F, E>(predicate: P) -> Self
    where
        P: Fn(Verified<C>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let ask = move |verified| -> Decision {
            let decision = predicate(verified);
            Box::pin(async move { decision.await.map_err(Into::into) })
        };
        Self { ask: Arc::new(ask), demand: None }
    }

    /// Names the scopes that a client should ask for in the challenge of a refusal (RFC 6750, section 3).
    ///
    /// # Errors
    ///
    /// As [`RequireScopeLayer::all`](crate::RequireScopeLayer::all).
    pub fn with_scopes<I: IntoIterator<Item: AsRef<str>>>(self, scopes: I) -> Result<Self, ConfigError> {
        Ok(Self { demand: Some(naming(scopes)?), ..self })
    }
}

impl<S, C> Layer<S> for RequireAsyncLayer<C> {
    type Service = RequireAsync<S, C>;

    fn layer(&self, inner: S) -> RequireAsync<S, C> {
        RequireAsync { inner, ask: Arc::clone(&self.ask), demand: self.demand.clone() }
    }
}

/// The service of [`RequireAsyncLayer`].
pub struct RequireAsync<S, C> {
    inner: S,
    ask: Arc<Ask<C>>,
    demand: Option<Arc<Demand>>,
}

impl<S, C> RequireAsync<S, C> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C: Send + Sync + 'static> RequireAsync<S, C> {
    fn look(&self, asked: Asked<'_>) -> Ahead {
        let verified = match asked.verified().and_then(|verified| asked.with_claims::<C>(verified)) {
            Ok(verified) => verified,
            Err(rejection) => return Ahead::Refuse(rejection),
        };
        let (decision, demand) = ((self.ask)(verified), self.demand.clone());
        Ahead::Ask(Box::pin(async move {
            match decision.await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Refusal { demand, ..Refusal::new(RejectionKind::Denied, "denied") }),
                Err(error) => {
                    metrics::unavailable("predicate");
                    tracing::error!(
                        name: "unavailable", target: "tower_jwt_auth::authorize",
                        error = &*error as &(dyn Error + 'static),
                        "a predicate could not decide: answered with 503"
                    );
                    Err(Refusal::new(RejectionKind::Unavailable, "unavailable"))
                }
            }
        }))
    }
}

impl<S, C, B, R> Service<Request<B>> for RequireAsync<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: Send + Sync + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = GatedFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ahead = self.look(Asked::in_request(&request));
        gate::pass(&mut self.inner, request, ahead, Refuser::Authorize)
    }
}

impl<C> Clone for RequireAsyncLayer<C> {
    fn clone(&self) -> Self {
        Self { ask: Arc::clone(&self.ask), demand: self.demand.clone() }
    }
}

impl<S: Clone, C> Clone for RequireAsync<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ask: Arc::clone(&self.ask), demand: self.demand.clone() }
    }
}

impl<C> fmt::Debug for RequireAsyncLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireAsyncLayer").field("demand", &self.demand).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, C> fmt::Debug for RequireAsync<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireAsync").field("inner", &self.inner).finish_non_exhaustive()
    }
}
