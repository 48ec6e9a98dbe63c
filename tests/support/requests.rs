//! Requests with tokens, and what a bearer layer answers to them.

// As the parent module, and compiled into test binaries that export nothing.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{AuthContext, JwtAuthLayer, ReadClaims, Rejection, Verified};

/// A request with these values of `Authorization`.
pub fn request<V: AsRef<[u8]>>(values: &[V]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    for value in values {
        request.headers_mut().append(AUTHORIZATION, HeaderValue::from_bytes(value.as_ref()).unwrap());
    }
    request
}

pub fn bearer(token: &str) -> Request<Full<Bytes>> {
    request(&[format!("Bearer {token}")])
}

/// What came back from a service behind the layer, and what the service saw.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub rejection: Option<Rejection>,
    /// How often the inner service was called.
    pub calls: usize,
    /// The subject that the inner service read from the extensions.
    pub subject: Option<String>,
}

/// Sends one request through the layer to a service that answers 200 with the subject it finds.
pub async fn send<C: ReadClaims>(layer: &JwtAuthLayer<C>, request: Request<Full<Bytes>>) -> Answer {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let inner = service_fn(move |request: Request<Full<Bytes>>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let verified = Verified::<C>::of(request.extensions());
        let subject = verified.map(|verified| verified.subject().to_owned());
        async move {
            let mut response = Response::new(Full::<Bytes>::from("inner"));
            response.extensions_mut().insert(SubjectSeen(subject));
            Ok::<_, Infallible>(response)
        }
    });
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let (mut parts, body) = response.into_parts();
    assert!(parts.extensions.get::<AuthContext>().is_none(), "a context in the extensions of a response");
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
        rejection: parts.extensions.get().cloned(),
        calls: calls.load(Ordering::SeqCst),
        subject: parts.extensions.remove::<SubjectSeen>().and_then(|SubjectSeen(subject)| subject),
    }
}

#[derive(Debug, Clone)]
struct SubjectSeen(Option<String>);

/// Makes a gRPC call of a request.
pub fn as_grpc(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request
}
