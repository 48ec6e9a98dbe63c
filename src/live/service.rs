//! [`LiveSessions`]: the service that the layer makes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::context::Asked;
use crate::gate::{self, Ahead, GatedFuture, Refusal};
use crate::live::is_live::{Claimed, Sight};
use crate::live::known_sessions::Near;
use crate::metrics;
use crate::reject::{Refuser, RejectionKind, ResponseBody};
use crate::session::SessionId;
use crate::token::Registered;

/// A service behind a look at sessions. Made by [`LiveSessionsLayer`](crate::LiveSessionsLayer).
///
/// Where the store has to be asked, the inner service is called after the wait, so it must be `Clone`; the clone that
/// was polled ready is the one that is called.
#[derive(Clone)]
pub struct LiveSessions<S> {
    inner: S,
    near: Arc<Near>,
    issuer: Option<Arc<str>>,
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

    fn look(&self, asked: Asked<'_>) -> Ahead {
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
        let Ok(session_id) = sid.parse() else { return Ahead::Refuse(refusal(Sight::Ended).of(asked)) };
        match self.near.recall(claimed(registered, session_id)) {
            Some(Sight::Live) => Ahead::Pass,
            Some(sight) => Ahead::Refuse(refusal(sight).of(asked)),
            None => {
                let (near, verified) = (Arc::clone(&self.near), verified.clone());
                Ahead::Ask(Box::pin(async move {
                    match near.ask(claimed(verified.registered(), session_id)).await {
                        Sight::Live => Ok(()),
                        sight => Err(refusal(sight)),
                    }
                }))
            }
        }
    }
}

fn claimed(registered: &Registered, session_id: SessionId) -> Claimed<'_> {
    let (generation, issue) = (registered.generation(), registered.reissue());
    Claimed { subject: registered.subject(), session_id, generation, issue }
}

fn refusal(sight: Sight) -> Refusal {
    match sight {
        Sight::Unavailable => {
            metrics::unavailable("live");
            Refusal::new(RejectionKind::Unavailable, "unavailable")
        }
        Sight::Replaced => Refusal::new(RejectionKind::InvalidToken, "replaced"),
        Sight::Ended | Sight::Live => Refusal::new(RejectionKind::InvalidToken, "session_ended"),
    }
}

impl<S, B, R> Service<Request<B>> for LiveSessions<S>
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
        gate::pass(&mut self.inner, request, ahead, Refuser::Live)
    }
}

impl<S: fmt::Debug> fmt::Debug for LiveSessions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSessions").field("inner", &self.inner).finish_non_exhaustive()
    }
}
