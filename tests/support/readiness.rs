//! [`OneShotReadiness`]: a service that knows whether it was asked before it was called.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;

/// As `ConcurrencyLimit` and `Buffer` do: what `poll_ready` got belongs to this instance, and a clone has nothing.
#[derive(Debug, Default)]
pub struct OneShotReadiness {
    ready: bool,
    pub calls: usize,
}

impl Clone for OneShotReadiness {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<Full<Bytes>>> for OneShotReadiness {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called an instance that was not polled ready");
        self.calls += 1;
        ready(Ok(Response::default()))
    }
}
