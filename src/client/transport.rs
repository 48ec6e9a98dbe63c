//! The session's own way to the server, without its type.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use tower_service::Service;

use crate::client::BoxError;

/// No answer of the session service is longer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

type Exchange = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send>>;

pub(super) struct Transport {
    send: Box<dyn Fn(Request<Bytes>) -> Exchange + Send + Sync>,
}

impl Transport {
    pub(super) fn new<T, B, R>(service: T) -> Self
    where
        T: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: From<Bytes> + Send + 'static,
        R: Body + Send,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        // A service need not be `Sync`.
        let service = Mutex::new(service);
        let send = move |request: Request<Bytes>| -> Exchange {
            let mut service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(request.map(B::from)).await.map_err(Into::into)?;
                let (parts, body) = response.into_parts();
                let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
                Ok(Response::from_parts(parts, body))
            })
        };
        Self { send: Box::new(send) }
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        (self.send)(request).await
    }
}
