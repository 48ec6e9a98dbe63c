//! [`SessionFuture`]: wait for a token, send, and once more after a 401.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::layer::{replay, with_token};
use crate::client::replay::Replay;
use crate::client::state::{AfterRefusal, Epoch, Held, Shared};

type Access = Pin<Box<dyn Future<Output = Result<Arc<Held>, ClientError>> + Send>>;

pin_project! {
    /// The future of [`SessionService`](crate::client::SessionService).
    pub struct SessionFuture<S, P, B>
    where
        S: Service<Request<B>>,
    {
        shared: Option<Arc<Shared>>,
        // Why the request that is under way has no good token.
        failed: Option<ClientError>,
        #[pin]
        state: State<S, P, B, S::Future, S::Response>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, P, B, F, R> {
        // For a token, with what is to be sent.
        Waiting { access: Access, waiting: Option<Waiting<S, P, B>> },
        // With a token that may be refused.
        Sent { #[pin] future: F, held: Arc<Held>, again: Option<Again<S, B>> },
        // After the refusal, for another token.
        Refreshing { access: Access, held: Arc<Held>, refused: Option<R>, again: Option<Again<S, B>> },
        // For the wrapped service, with the new token.
        Readying { held: Arc<Held>, refused: Option<R>, again: Option<Again<S, B>> },
        // Whatever comes is the answer.
        Last { #[pin] future: F },
    }
}

struct Waiting<S, P, B> {
    inner: S,
    request: Request<B>,
    replay: P,
    epoch: Epoch,
}

/// The second try.
struct Again<S, B> {
    inner: S,
    request: Request<B>,
}

impl<S, P, B> SessionFuture<S, P, B>
where
    S: Service<Request<B>>,
{
    /// A request that goes as it is.
    pub(super) fn plain(future: S::Future) -> Self {
        Self { shared: None, failed: None, state: State::Last { future } }
    }

    /// A request that cannot be sent again.
    pub(super) fn sent_once(shared: Arc<Shared>, future: S::Future, held: Arc<Held>) -> Self {
        Self { shared: Some(shared), failed: None, state: State::Sent { future, held, again: None } }
    }

    pub(super) fn sent(
        shared: Arc<Shared>,
        mut inner: S,
        request: Request<B>,
        held: Arc<Held>,
        copy: Request<B>,
    ) -> Self {
        let future = inner.call(with_token(request, &held));
        let again = Some(Again { inner, request: copy });
        Self { shared: Some(shared), failed: None, state: State::Sent { future, held, again } }
    }

    pub(super) fn waiting(
        shared: Arc<Shared>,
        inner: S,
        request: Request<B>,
        (replay, epoch): (P, Epoch),
    ) -> Self {
        let waiting = Waiting { inner, request, replay, epoch };
        let access = access(&shared);
        Self { shared: Some(shared), failed: None, state: State::Waiting { access, waiting: Some(waiting) } }
    }
}

fn access(shared: &Arc<Shared>) -> Access {
    let shared = Arc::clone(shared);
    Box::pin(async move { shared.access().await })
}

impl<S, P, B, R> Future for SessionFuture<S, P, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    P: Replay<B>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const TWICE: &str = "polled after it was ready";
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Waiting { access, waiting } => {
                    let token = ready!(access.as_mut().poll(cx));
                    let Some(waiting) = waiting.take() else { unreachable!("{TWICE}") };
                    let shared = this.shared.as_ref();
                    send(waiting, token, shared.and_then(|shared| shared.held()), this.failed)
                }
                StateProj::Sent { future, held, again } => {
                    let response = ready!(future.poll(cx))?;
                    if !is_unauthenticated(&response) {
                        return Poll::Ready(Ok(told(response, this.failed)));
                    }
                    let Some(shared) = this.shared.as_ref() else { return Poll::Ready(Ok(response)) };
                    // A token that could not be refreshed was sent for want of a better one.
                    let after = match this.failed {
                        Some(_) => AfterRefusal::Stands,
                        None => shared.refused(held),
                    };
                    let (held, again) = (Arc::clone(held), again.take());
                    match (after, again) {
                        (AfterRefusal::Refresh, Some(again)) => State::Refreshing {
                            access: access(shared),
                            held,
                            refused: Some(response),
                            again: Some(again),
                        },
                        (AfterRefusal::Again(newer), Some(again)) => {
                            State::Readying { held: newer, refused: Some(response), again: Some(again) }
                        }
                        // The next request finds the doubt, and refreshes first.
                        _ => return Poll::Ready(Ok(told(response, this.failed))),
                    }
                }
                StateProj::Refreshing { access, held, refused, again } => {
                    let token = ready!(access.as_mut().poll(cx));
                    let Some(response) = refused.take() else { unreachable!("{TWICE}") };
                    match token {
                        // Of the same login, and another token.
                        Ok(newer) if newer.epoch == held.epoch && !Arc::ptr_eq(&newer, held) => {
                            State::Readying { held: newer, refused: Some(response), again: again.take() }
                        }
                        Ok(_) => return Poll::Ready(Ok(response)),
                        Err(error) => return Poll::Ready(Ok(told(response, &mut kept(error)))),
                    }
                }
                StateProj::Readying { held, refused, again } => {
                    let Some(Again { inner, .. }) = again.as_mut() else { unreachable!("{TWICE}") };
                    let readiness = ready!(inner.poll_ready(cx));
                    let (response, again) = (refused.take(), again.take());
                    match (readiness, response, again) {
                        (Ok(()), _, Some(Again { mut inner, request })) => {
                            State::Last { future: inner.call(with_token(request, held)) }
                        }
                        // There is an answer, if not the one hoped for.
                        (Err(_), Some(response), _) => return Poll::Ready(Ok(response)),
                        _ => unreachable!("{TWICE}"),
                    }
                }
                StateProj::Last { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(told(response, this.failed)));
                }
            };
            this.state.set(next);
        }
    }
}

/// Sends what has waited: with the token, with the old one for want of a better, or without.
fn send<S, P, B>(
    waiting: Waiting<S, P, B>,
    token: Result<Arc<Held>, ClientError>,
    old: Option<Arc<Held>>,
    failed: &mut Option<ClientError>,
) -> State<S, P, B, S::Future, S::Response>
where
    S: Service<Request<B>>,
    P: Replay<B>,
{
    let Waiting { mut inner, request, replay: rule, epoch } = waiting;
    // A login meanwhile is perhaps of somebody else: what one user asked for is not sent in the name of another.
    let same_login = |held: &Arc<Held>| held.epoch == epoch;
    match token {
        Ok(held) if same_login(&held) => {
            let copy = replay(&rule, &request);
            let future = inner.call(with_token(request, &held));
            State::Sent { future, held, again: copy.map(|request| Again { inner, request }) }
        }
        Ok(_) => State::Last { future: inner.call(request) },
        Err(error) => {
            let old = old.filter(|held| same_login(held) && error.kind() != ClientErrorKind::SignedOut);
            *failed = kept(error);
            // The server's clock may be behind, and its leeway not used up.
            match old {
                Some(held) => State::Last { future: inner.call(with_token(request, &held)) },
                None => State::Last { future: inner.call(request) },
            }
        }
    }
}

/// That nobody is signed in is no failure: the answer tells.
fn kept(error: ClientError) -> Option<ClientError> {
    (error.kind() != ClientErrorKind::SignedOut).then_some(error)
}

/// With the reason why its request had no good token.
fn told<R>(mut response: Response<R>, failed: &mut Option<ClientError>) -> Response<R> {
    if let Some(error) = failed.take() {
        response.extensions_mut().insert(error);
    }
    response
}

/// 401, or what stands for it in gRPC: an answer that is refused before it has a body says so in its headers. Not where a
/// login of another kind is asked for (RFC 9470): no refresh is one.
fn is_unauthenticated<R>(response: &Response<R>) -> bool {
    const UNAUTHENTICATED: &str = "16";
    const STEP_UP: &str = "insufficient_user_authentication";
    let headers = response.headers();
    let mut challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    if challenges.any(|challenge| challenge.contains(STEP_UP)) {
        return false;
    }
    let is_grpc = || {
        headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
            && headers.get("grpc-status").is_some_and(|status| status == UNAUTHENTICATED)
    };
    response.status() == StatusCode::UNAUTHORIZED || is_grpc()
}

impl<S, P, B> fmt::Debug for SessionFuture<S, P, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionFuture")
    }
}
