//! [`SessionLayer`] and [`SessionService`]: the access token on outgoing requests.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::client::future::{Again, SessionFuture};
use crate::client::origin::Origin;
use crate::client::proof::Route;
use crate::client::replay::{NoReplay, Replay, ReplayEmpty, ReplayWith};
use crate::client::session::Session;
use crate::client::shared_state::Look;
use crate::error::ConfigError;

/// Sends the access token of a [`Session`] with requests; see the [module's rules](crate::client).
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct SessionLayer<P = ReplayEmpty> {
    session: Session,
    relative: Option<Arc<Origin>>,
    replay: P,
}

impl SessionLayer {
    /// A layer for this session. After a 401 it sends requests without a body again, once; with DPoP once more if it is
    /// a nonce that was missing.
    pub fn new(session: Session) -> Self {
        Self { session, relative: None, replay: ReplayEmpty }
    }
}

impl<P> SessionLayer<P> {
    /// Says where the wrapped service sends requests whose URI names no host, as those of tonic's generated clients.
    /// The origin must be one of the session's, or they go without the token.
    ///
    /// # Errors
    ///
    /// An origin that is not of the form `scheme://host[:port]`.
    pub fn with_relative_origin(self, origin: &str) -> Result<Self, ConfigError> {
        // Whether it may see the token is decided by the session's own list.
        Ok(Self { relative: Some(Arc::new(Origin::parse(origin, true)?)), ..self })
    }

    /// Replaces which requests are sent again after a 401: those that this function makes another body for. It is asked
    /// before each request is sent, `|body: &Full<Bytes>| Some(body.clone())` for instance.
    pub fn with_replay<F>(self, replay: F) -> SessionLayer<ReplayWith<F>> {
        SessionLayer { session: self.session, relative: self.relative, replay: ReplayWith(replay) }
    }

    /// Sends no request again.
    pub fn without_replay(self) -> SessionLayer<NoReplay> {
        SessionLayer { session: self.session, relative: self.relative, replay: NoReplay }
    }
}

impl<S, P: Clone> Layer<S> for SessionLayer<P> {
    type Service = SessionService<S, P>;

    fn layer(&self, inner: S) -> SessionService<S, P> {
        SessionService {
            inner,
            session: self.session.clone(),
            relative: self.relative.clone(),
            replay: self.replay.clone(),
        }
    }
}

/// The service of [`SessionLayer`]. Its answers and errors are those of the wrapped service.
#[derive(Debug, Clone)]
pub struct SessionService<S, P = ReplayEmpty> {
    inner: S,
    session: Session,
    relative: Option<Arc<Origin>>,
    replay: P,
}

impl<S, P> SessionService<S, P> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, B, R> Service<Request<B>> for SessionService<S, P>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    P: Replay<B>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SessionFuture<S, P, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = &self.session.shared;
        let place = if request.headers().contains_key(AUTHORIZATION) {
            None
        } else {
            shared.place(request.uri(), self.relative.as_deref())
        };
        let Some(place) = place else { return SessionFuture::plain(self.inner.call(request)) };
        let route = Route { shared: Arc::clone(shared), place: Arc::clone(place) };
        match shared.look() {
            Look::SignedOut => SessionFuture::plain(self.inner.call(request)),
            Look::Good(held) => {
                let copy = replay(&self.replay, &request);
                match (route.authorize(&mut request, &held), copy) {
                    (Ok(with), Some(copy)) => {
                        let mut inner = self.take_ready();
                        let future = inner.call(request);
                        let again = Again { inner, request: copy, replay: self.replay.clone() };
                        SessionFuture::sent(route, future, with, Some(again))
                    }
                    (Ok(with), None) => SessionFuture::sent(route, self.inner.call(request), with, None),
                    (Err(error), _) => SessionFuture::without_token(self.inner.call(request), error),
                }
            }
            Look::Wait(_, epoch) => {
                let replay = self.replay.clone();
                SessionFuture::waiting(route, self.take_ready(), request, (replay, epoch))
            }
        }
    }
}

impl<S: Clone, P> SessionService<S, P> {
    /// The one that was polled ready; a clone stays, and is polled before it is called.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

/// A copy of a request, if its body can be sent again.
pub(super) fn replay<P: Replay<B>, B>(replay: &P, request: &Request<B>) -> Option<Request<B>> {
    let mut copy = Request::new(replay.replay(request.body())?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}
