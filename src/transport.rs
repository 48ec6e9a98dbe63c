//! [`Transport`]: a client that is a tower service, without its type. For requests of the crate's own.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use tower_service::Service;

/// Errors of clients, transports and storages, whatever they are.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Exchange = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send>>;

pub(crate) struct Transport {
    send: Box<dyn Fn(Request<Bytes>, usize) -> Exchange + Send + Sync>,
}

impl Transport {
    pub(crate) fn new<T, B, R>(service: T) -> Self
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
        let send = move |request: Request<Bytes>, max_bytes| -> Exchange {
            let mut service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(request.map(B::from)).await.map_err(Into::into)?;
                let (parts, body) = response.into_parts();
                let body = Limited::new(body, max_bytes).collect().await?.to_bytes();
                Ok(Response::from_parts(parts, body))
            })
        };
        Self { send: Box::new(send) }
    }

    /// The answer, if its body is no longer than `max_bytes`.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, BoxError> {
        (self.send)(request, max_bytes).await
    }
}
