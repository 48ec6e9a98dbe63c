//! `Authorization` headers, one a line; the byte 1 stands for the good token. A request reaches the service if, and
//! only if, it has one header, and that is the scheme, spaces and the good token.
#![no_main]

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use http::header::{AUTHORIZATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response};
use libfuzzer_sys::{Corpus, fuzz_target};
use tower_jwt_auth::{JwtAuthLayer, NoClaims, Verified};
use tower_jwt_auth_fuzz::oracles::status_of_credentials;
use tower_jwt_auth_fuzz::{GOOD_TOKEN, SUBJECT, config};
use tower_layer::Layer;
use tower_service::Service;

const MAX_TOKEN_BYTES: usize = 8 * 1024;

static LAYER: LazyLock<JwtAuthLayer<NoClaims>> = LazyLock::new(|| {
    let layer = JwtAuthLayer::new(config().verifier());
    let good = HeaderValue::from_str(&format!("Bearer {}", *GOOD_TOKEN)).expect("ASCII");
    assert_eq!(send(&layer, &[good]).0, 200);
    layer
});

thread_local!(static CALLS: Cell<u32> = const { Cell::new(0) });

struct Inner;

impl Service<Request<()>> for Inner {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        CALLS.set(CALLS.get() + 1);
        let verified = Verified::<NoClaims>::of(request.extensions()).expect("the layer's context");
        assert_eq!(verified.subject(), SUBJECT);
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        ready(Ok(Response::new(())))
    }
}

/// The status, and how often the inner service was called.
fn send(layer: &JwtAuthLayer<NoClaims>, values: &[HeaderValue]) -> (u16, u32) {
    let mut request = Request::new(());
    for value in values {
        request.headers_mut().append(AUTHORIZATION, value.clone());
    }
    CALLS.set(0);
    let future = pin!(layer.layer(Inner).call(request));
    let Poll::Ready(Ok(response)) = future.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the layer waits for something");
    };
    let headers = response.headers();
    assert!(!headers.contains_key(SET_COOKIE));
    let challenges: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
    if response.status() == 200 {
        assert!(challenges.is_empty());
    } else {
        assert_eq!(challenges.len(), 1);
        assert!(challenges[0].to_str().expect("ASCII").starts_with("Bearer realm=\"api\""));
    }
    (response.status().as_u16(), CALLS.get())
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut values = Vec::new();
    if !data.is_empty() {
        for line in data.split(|byte| *byte == b'\n') {
            let mut bytes = Vec::new();
            for byte in line {
                if *byte == 1 { bytes.extend_from_slice(GOOD_TOKEN.as_bytes()) } else { bytes.push(*byte) }
            }
            match HeaderValue::from_bytes(&bytes) {
                Ok(value) => values.push(value),
                Err(_) => return Corpus::Reject,
            }
        }
    }
    let (status, calls) = send(&LAYER, &values);
    assert_eq!(status, status_of_credentials(&values, &GOOD_TOKEN, MAX_TOKEN_BYTES));
    assert_eq!(calls, u32::from(status == 200));
    Corpus::Keep
});
