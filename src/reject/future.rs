//! [`ResponseFuture`]: the inner future, or a refusal that is ready.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response};
use pin_project_lite::pin_project;

use crate::reject::{DPOP_NONCE, ResponseBody};

pin_project! {
    /// The future of [`JwtAuth`](crate::JwtAuth) and [`Require`](crate::Require): that of the inner service, or a
    /// refusal.
    pub struct ResponseFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F> {
        // Boxed: few answers have one.
        Inner { #[pin] future: F, nonce: Option<Box<HeaderValue>> },
        // Boxed: stored inline, a refusal would make the future of each good request as large.
        Refused { response: Option<Box<Response<Bytes>>> },
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn inner(future: F) -> Self {
        Self { kind: Kind::Inner { future, nonce: None } }
    }

    /// With the nonce for the next proof (RFC 9449, section 8.2).
    pub(crate) fn inner_with_nonce(future: F, nonce: Option<HeaderValue>) -> Self {
        Self { kind: Kind::Inner { future, nonce: nonce.map(Box::new) } }
    }

    pub(crate) fn refused(response: Response<Bytes>) -> Self {
        Self { kind: Kind::Refused { response: Some(Box::new(response)) } }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future, nonce } => {
                let mut response = ready!(future.poll(cx))?;
                if let Some(nonce) = nonce.take() {
                    let headers = response.headers_mut();
                    headers.insert(DPOP_NONCE, *nonce);
                    // From a cache it would be an old one.
                    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                }
                Poll::Ready(Ok(response.map(ResponseBody::inner)))
            }
            // A future that has answered is not polled again; if it is, it stays pending instead of panicking.
            KindProj::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response.map(ResponseBody::from))),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner { .. } => "ResponseFuture(inner)",
            Kind::Refused { .. } => "ResponseFuture(refused)",
        })
    }
}
