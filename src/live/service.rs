//! [`LiveSessions`]: the service that the layer makes.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::context::Asked;
use crate::live::near::{Claimed, Near, Sight};
use crate::metrics;
use crate::reject::{Refuser, Rejection, RejectionKind, ResponseBody, ResponseFuture};
use crate::session::SessionId;
use crate::token::{AnyVerified, Registered};

type Answer = Pin<Box<dyn Future<Output = Sight> + Send>>;

/// A service behind a look at sessions. Made by [`LiveSessionsLayer`](crate::LiveSessionsLayer).
///
/// Where the store has to be asked, the inner service is called after the wait, so it must be `Clone`; the clone that was
/// polled ready is the one that is called.
#[derive(Clone)]
pub struct LiveSessions<S> {
    inner: S,
    near: Arc<Near>,
    issuer: Option<Arc<str>>,
}

/// What is to be done with a request.
enum Ahead {
    Pass,
    Refuse(Rejection),
    Ask(AnyVerified, SessionId),
}

impl<S> LiveSessions<S> {
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

    fn look<B>(&self, request: &Request<B>) -> Ahead {
        let asked = asked(request);
        let verified = match asked.verified_if_good() {
            Ok(Some(verified)) => verified,
            // Whether a token must be there is for others to say.
            Ok(None) => return Ahead::Pass,
            Err(rejection) => return Ahead::Refuse(rejection),
        };
        let registered = verified.registered();
        let Some(sid) = registered.session_id() else { return Ahead::Pass };
        if self.issuer.as_deref().is_some_and(|issuer| issuer != registered.issuer()) {
            return Ahead::Pass;
        }
        // No session of ours has such a name.
        let Ok(session_id) = sid.parse() else { return Ahead::Refuse(refusal(asked, Sight::Ended)) };
        match self.near.recall(claimed(registered, session_id)) {
            Some(Sight::Live) => Ahead::Pass,
            Some(sight) => Ahead::Refuse(refusal(asked, sight)),
            None => Ahead::Ask(verified.clone(), session_id),
        }
    }
}

fn claimed(registered: &Registered, session_id: SessionId) -> Claimed<'_> {
    let (generation, issue) = (registered.generation(), registered.reissue());
    Claimed { subject: registered.subject(), session_id, generation, issue }
}

fn asked<B>(request: &Request<B>) -> Asked<'_> {
    Asked { method: request.method(), headers: request.headers(), extensions: request.extensions() }
}

fn refusal(asked: Asked<'_>, sight: Sight) -> Rejection {
    match sight {
        Sight::Unavailable => {
            metrics::unavailable("live");
            asked.refuse(RejectionKind::Unavailable, "unavailable")
        }
        Sight::Replaced => asked.refuse(RejectionKind::InvalidToken, "replaced"),
        Sight::Ended | Sight::Live => asked.refuse(RejectionKind::InvalidToken, "session_ended"),
    }
}

fn refused<B, F>(rejection: &Rejection, request: Request<B>) -> ResponseFuture<F> {
    rejection.report(Refuser::Live);
    let (parts, _) = request.into_parts();
    ResponseFuture::refused(rejection.respond(&parts))
}

impl<S, B, R> Service<Request<B>> for LiveSessions<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = LiveSessionsFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match self.look(&request) {
            // The very service that was polled ready.
            Ahead::Pass => State::Decided { future: ResponseFuture::inner(self.inner.call(request)) },
            Ahead::Refuse(rejection) => State::Decided { future: refused(&rejection, request) },
            Ahead::Ask(verified, session_id) => {
                let clone = self.inner.clone();
                // The one that was polled ready goes along; the clone is polled before it is called.
                let inner = mem::replace(&mut self.inner, clone);
                let near = Arc::clone(&self.near);
                let answer =
                    Box::pin(async move { near.ask(claimed(verified.registered(), session_id)).await });
                State::Asking { answer, waiting: Some(Waiting { request, inner }) }
            }
        };
        LiveSessionsFuture { state }
    }
}

struct Waiting<S, B> {
    request: Request<B>,
    inner: S,
}

pin_project! {
    /// The future of [`LiveSessions`].
    pub struct LiveSessionsFuture<S, B>
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

impl<S, B, R> Future for LiveSessionsFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Asking { answer, waiting } => {
                    let sight = ready!(answer.as_mut().poll(cx));
                    // Taken once: the state changes below.
                    let Some(Waiting { request, mut inner }) = waiting.take() else { return Poll::Pending };
                    let future = match sight {
                        Sight::Live => ResponseFuture::inner(inner.call(request)),
                        sight => refused(&refusal(asked(&request), sight), request),
                    };
                    state.set(State::Decided { future });
                }
                StateProj::Decided { future } => return future.poll(cx),
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for LiveSessions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSessions").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for LiveSessionsFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Asking { .. } => "LiveSessionsFuture(asking)",
            State::Decided { .. } => "LiveSessionsFuture(decided)",
        })
    }
}
