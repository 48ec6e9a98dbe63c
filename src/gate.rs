//! [`GatedFuture`]: a request before a decision that may have to wait, and the inner service behind it.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::context::Asked;
use crate::reject::{Demand, Refuser, Rejection, RejectionKind, ResponseBody, ResponseFuture};

/// What is to be done with a request.
pub(crate) enum Ahead {
    Pass,
    Refuse(Rejection),
    /// It must be asked for.
    Ask(Answer),
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// Why a request is refused, before the request itself is at hand again.
pub(crate) struct Refusal {
    pub(crate) kind: RejectionKind,
    pub(crate) reason: &'static str,
    pub(crate) demand: Option<Arc<Demand>>,
}

impl Refusal {
    pub(crate) fn new(kind: RejectionKind, reason: &'static str) -> Self {
        Self { kind, reason, demand: None }
    }

    pub(crate) fn of(self, asked: Asked<'_>) -> Rejection {
        asked.refuse(self.kind, self.reason).with_demand(self.demand)
    }
}

/// Does with a request what is ahead of it. The service that was polled ready is the one that is called, now or after
/// the answer.
pub(crate) fn pass<S, B, R>(
    inner: &mut S,
    request: Request<B>,
    ahead: Ahead,
    refuser: Refuser,
) -> GatedFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    let state = match ahead {
        Ahead::Pass => State::Decided { future: ResponseFuture::inner(inner.call(request)) },
        Ahead::Refuse(rejection) => State::Decided { future: refused(&rejection, request, refuser) },
        Ahead::Ask(answer) => {
            let clone = inner.clone();
            // The one that was polled ready goes along; the clone is polled before it is called.
            let inner = mem::replace(inner, clone);
            State::Asking { answer, waiting: Some(Waiting { request, inner, refuser }) }
        }
    };
    GatedFuture { state }
}

/// The answer to a request that is refused.
pub(crate) fn refused<B, F>(
    rejection: &Rejection,
    request: Request<B>,
    refuser: Refuser,
) -> ResponseFuture<F> {
    rejection.report(refuser);
    let (parts, _) = request.into_parts();
    ResponseFuture::refused(rejection.respond(&parts))
}

struct Waiting<S, B> {
    request: Request<B>,
    inner: S,
    refuser: Refuser,
}

pin_project! {
    /// The future of [`RequireAsync`](crate::RequireAsync), [`LiveSessions`](crate::LiveSessions) and
    /// [`Revoked`](crate::Revoked): waits for a decision, where there is one to wait for, and then for the inner
    /// service.
    pub struct GatedFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Asking { answer: Answer, waiting: Option<Waiting<S, B>> },
        Decided { #[pin] future: ResponseFuture<F> },
    }
}

impl<S, B, R> Future for GatedFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Asking { answer, waiting } => {
                    let answer = ready!(answer.as_mut().poll(cx));
                    // Taken once: the state changes below.
                    let Some(Waiting { request, mut inner, refuser }) = waiting.take() else {
                        return Poll::Pending;
                    };
                    let future = match answer {
                        Ok(()) => ResponseFuture::inner(inner.call(request)),
                        Err(refusal) => refused(&refusal.of(Asked::in_request(&request)), request, refuser),
                    };
                    state.set(State::Decided { future });
                }
                StateProj::Decided { future } => return future.poll(cx),
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for GatedFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Asking { .. } => "GatedFuture(asking)",
            State::Decided { .. } => "GatedFuture(decided)",
        })
    }
}
