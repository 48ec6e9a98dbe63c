//! [`SessionFuture`]: wait for a token, send, and once more after a 401; and once more for the nonce of a proof.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::layer::replay;
use crate::client::proof::{Route, With, is_nonce_challenge};
use crate::client::replay::Replay;
use crate::client::shared_state::{AfterRefusal, Shared};
use crate::client::tokens_in_use::{Epoch, Held};

type Access = Pin<Box<dyn Future<Output = Result<Arc<Held>, ClientError>> + Send>>;

pin_project! {
    /// The future of [`SessionService`](crate::client::SessionService).
    pub struct SessionFuture<S, P, B>
    where
        S: Service<Request<B>>,
    {
        route: Option<Route>,
        // Why the request that is under way has no good token.
        failed: Option<ClientError>,
        tried: Tried,
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
        Sent { #[pin] future: F, with: With, again: Option<Again<S, P, B>> },
        // After the refusal, for another token.
        Refreshing { access: Access, held: Arc<Held>, refused: Option<R>, again: Option<Again<S, P, B>> },
        // For the wrapped service, with the token to be sent.
        Readying { held: Arc<Held>, refused: Option<R>, again: Option<Again<S, P, B>> },
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

/// The next try.
pub(super) struct Again<S, P, B> {
    pub(super) inner: S,
    pub(super) request: Request<B>,
    pub(super) replay: P,
}

/// What was tried a second time.
#[derive(Debug, Clone, Copy, Default)]
struct Tried {
    /// With another token.
    token: bool,
    /// With the nonce that was asked for.
    nonce: bool,
}

impl<S, P, B> SessionFuture<S, P, B>
where
    S: Service<Request<B>>,
{
    fn new(
        route: Option<Route>,
        failed: Option<ClientError>,
        state: State<S, P, B, S::Future, S::Response>,
    ) -> Self {
        Self { route, failed, tried: Tried::default(), state }
    }

    /// A request that goes as it is.
    pub(super) fn plain(future: S::Future) -> Self {
        Self::new(None, None, State::Last { future })
    }

    /// One that goes as it is, as its token cannot be sent.
    pub(super) fn without_token(future: S::Future, error: ClientError) -> Self {
        Self::new(None, Some(error), State::Last { future })
    }

    /// A request with a token, and what to send again, if it can be.
    pub(super) fn sent(route: Route, future: S::Future, with: With, again: Option<Again<S, P, B>>) -> Self {
        Self::new(Some(route), None, State::Sent { future, with, again })
    }

    pub(super) fn waiting(route: Route, inner: S, request: Request<B>, (replay, epoch): (P, Epoch)) -> Self {
        let access = access(&route.shared);
        let waiting = Waiting { inner, request, replay, epoch };
        Self::new(Some(route), None, State::Waiting { access, waiting: Some(waiting) })
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
                    let Some(route) = this.route.as_ref() else { unreachable!("{TWICE}") };
                    send(route, waiting, token, this.failed)
                }
                StateProj::Sent { future, with, again } => {
                    let response = ready!(future.poll(cx))?;
                    let Some(route) = this.route.as_ref() else { return Poll::Ready(Ok(response)) };
                    let (held, again) = (Arc::clone(&with.held), again.take());
                    if held.tokens.is_bound() {
                        let given = route.place.note(response.headers());
                        // Not the token's fault: no reason to refresh, whether it can be sent again or not.
                        if wants_nonce(&response, given.as_deref(), with.nonce.as_deref()) {
                            let (true, Some(again), false) = (given.is_some(), again, this.tried.nonce)
                            else {
                                return Poll::Ready(Ok(told(response, this.failed)));
                            };
                            this.tried.nonce = true;
                            let next = State::Readying { held, refused: Some(response), again: Some(again) };
                            this.state.set(next);
                            continue;
                        }
                    }
                    if this.tried.token || !is_unauthenticated(&response) {
                        return Poll::Ready(Ok(told(response, this.failed)));
                    }
                    // A token that could not be refreshed was sent for want of a better one.
                    let after = match this.failed {
                        Some(_) => AfterRefusal::Stands,
                        None => route.shared.refused(&held),
                    };
                    this.tried.token = true;
                    match (after, again) {
                        (AfterRefusal::Refresh, Some(again)) => State::Refreshing {
                            access: access(&route.shared),
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
                    let (Some(response), Some(again), Some(route)) = (response, again, this.route.as_ref())
                    else {
                        unreachable!("{TWICE}")
                    };
                    // There is an answer, if not the one hoped for.
                    if readiness.is_err() {
                        return Poll::Ready(Ok(told(response, this.failed)));
                    }
                    let Again { inner, mut request, replay } = again;
                    // With a proof the other of the two reasons may come.
                    let is_last = !held.tokens.is_bound() || (this.tried.token && this.tried.nonce);
                    match authorize(route, &mut request, held, (!is_last).then_some(replay)) {
                        Ok(with) => sent(inner, request, with),
                        Err(error) => return Poll::Ready(Ok(told(response, &mut Some(error)))),
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

type Next<S, P, B> = State<S, P, B, <S as Service<Request<B>>>::Future, <S as Service<Request<B>>>::Response>;

/// A second request, and the rule for a third.
type Copied<P, B> = Option<(Request<B>, P)>;

/// Puts the token into a request, and makes a copy without it if the rule does. If there can be no proof the request is
/// left as it is.
fn authorize<P, B>(
    route: &Route,
    request: &mut Request<B>,
    held: &Arc<Held>,
    rule: Option<P>,
) -> Result<(With, Copied<P, B>), ClientError>
where
    P: Replay<B>,
{
    let copy = rule.and_then(|rule| Some((replay(&rule, request)?, rule)));
    Ok((route.authorize(request, held)?, copy))
}

fn sent<S, P, B>(mut inner: S, request: Request<B>, (with, copy): (With, Copied<P, B>)) -> Next<S, P, B>
where
    S: Service<Request<B>>,
{
    let future = inner.call(request);
    let again = copy.map(|(request, replay)| Again { inner, request, replay });
    State::Sent { future, with, again }
}

/// Sends what has waited: with the token, with the old one for want of a better, or without.
fn send<S, P, B>(
    route: &Route,
    waiting: Waiting<S, P, B>,
    token: Result<Arc<Held>, ClientError>,
    failed: &mut Option<ClientError>,
) -> Next<S, P, B>
where
    S: Service<Request<B>>,
    P: Replay<B>,
{
    let Waiting { mut inner, mut request, replay: rule, epoch } = waiting;
    // A login meanwhile is perhaps of somebody else: what one user asked for is not sent in the name of another.
    let same_login = |held: &Arc<Held>| held.epoch == epoch;
    let (held, rule) = match token {
        Ok(held) => (Some(held).filter(same_login), Some(rule)),
        Err(error) => {
            let is_signed_out = error.kind() == ClientErrorKind::SignedOut;
            *failed = kept(error);
            // The server's clock may be behind, and its leeway not used up.
            let old = route.shared.held().filter(|held| same_login(held) && !is_signed_out);
            // Once, but for a nonce.
            let rule = old.as_ref().is_some_and(|held| held.tokens.is_bound()).then_some(rule);
            (old, rule)
        }
    };
    let Some(held) = held else { return State::Last { future: inner.call(request) } };
    match authorize(route, &mut request, &held, rule) {
        Ok(with) => sent(inner, request, with),
        Err(error) => {
            failed.get_or_insert(error);
            State::Last { future: inner.call(request) }
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

/// That a login of another kind is asked for (RFC 9470): no refresh is one.
const STEP_UP: &str = "insufficient_user_authentication";

/// 401, or what stands for it in gRPC: an answer that is refused before it has a body says so in its headers. Not where
/// a login of another kind is asked for.
fn is_unauthenticated<R>(response: &Response<R>) -> bool {
    let is_step_up = challenges(response).any(|challenge| challenge.contains(STEP_UP));
    !is_step_up && (response.status() == StatusCode::UNAUTHORIZED || is_unauthenticated_call(response))
}

/// Whether a proof was refused for the want of a nonce (RFC 9449, section 9). In gRPC the answer need not say why: then
/// it is so if it has another nonce than the proof had.
fn wants_nonce<R>(response: &Response<R>, given: Option<&str>, sent: Option<&str>) -> bool {
    let is_call = is_unauthenticated_call(response);
    if response.status() != StatusCode::UNAUTHORIZED && !is_call {
        return false;
    }
    let says_why = response.headers().contains_key(WWW_AUTHENTICATE);
    challenges(response).any(is_nonce_challenge) || (is_call && !says_why && given.is_some() && given != sent)
}

fn challenges<R>(response: &Response<R>) -> impl Iterator<Item = &str> {
    response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok())
}

fn is_unauthenticated_call<R>(response: &Response<R>) -> bool {
    const UNAUTHENTICATED: &str = "16";
    let headers = response.headers();
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
        && headers.get("grpc-status").is_some_and(|status| status == UNAUTHENTICATED)
}

impl<S, P, B> fmt::Debug for SessionFuture<S, P, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionFuture")
    }
}
