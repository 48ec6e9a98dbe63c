//! Headers `DPoP`, one a line; the byte 1 stands for the good proof. After a first byte 2 the rest is a claims set, which is
//! sent under a genuine signature: whoever has a key can sign what he likes. A request reaches the service only with one
//! proof over what is signed in the good one, or with claims that are those of the request; and once.
#![no_main]

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use http::header::{AUTHORIZATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, Response};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tower_jwt_auth::{Dpop, JwtAuthLayer, NoClaims, Verified};
use tower_jwt_auth_fuzz::{BOUND_TOKEN, NOW, SUBJECT, StoppedClock, config, prove, token_hash};
use tower_layer::Layer;
use tower_service::Service;

const DPOP: HeaderName = HeaderName::from_static("dpop");
const MAX_AGE: f64 = 60.0;
const LEEWAY: f64 = 10.0;

static GOOD_PROOF: LazyLock<String> = LazyLock::new(|| {
    let claims = format!(
        r#"{{"jti":"j","htm":"GET","htu":"https://api.example/orders","iat":{NOW},"ath":"{}"}}"#,
        token_hash()
    );
    let proof = prove(claims.as_bytes());
    let (layer, good) = (layer(), HeaderValue::from_str(&proof).expect("ASCII"));
    assert_eq!(send(&layer, &[good.clone()]), (200, 1));
    assert_eq!(send(&layer, &[good]), (401, 0));
    proof
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
        ready(Ok(Response::new(())))
    }
}

/// One that has seen no proof.
fn layer() -> JwtAuthLayer<NoClaims> {
    let dpop = Dpop::builder("https://api.example").clock(StoppedClock).capacity(4).build();
    let layer = JwtAuthLayer::new(config().verifier()).dpop(&dpop.expect("a good configuration"));
    layer.expect("a good configuration")
}

/// The status, and how often the inner service was called.
fn send(layer: &JwtAuthLayer<NoClaims>, values: &[HeaderValue]) -> (u16, u32) {
    let mut request = Request::get("/orders").body(()).expect("a good request");
    let authorization = format!("DPoP {}", *BOUND_TOKEN).parse().expect("ASCII");
    request.headers_mut().insert(AUTHORIZATION, authorization);
    for value in values {
        request.headers_mut().append(DPOP, value.clone());
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
        assert!(challenges[0].to_str().expect("ASCII").starts_with("DPoP realm=\"api\""));
    }
    (response.status().as_u16(), CALLS.get())
}

/// Whether it is the signing input of the good proof with something that could be a signature.
fn is_good(values: &[HeaderValue]) -> bool {
    let [value] = values else { return false };
    let (signing_input, _) = GOOD_PROOF.rsplit_once('.').expect("three segments");
    let signature = value.as_bytes().strip_prefix(signing_input.as_bytes());
    let Some(signature) = signature.and_then(|rest| rest.strip_prefix(b".")) else { return false };
    signature.len() == 86
        && signature.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether the claims could be those of the request.
fn are_good(claims: &[u8]) -> bool {
    let Ok(Value::Object(claims)) = serde_json::from_slice(claims) else { return false };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let Some(iat) = claims.get("iat").and_then(Value::as_f64) else { return false };
    let age = NOW as f64 - iat;
    text("jti").is_some_and(|jti| (1..=256).contains(&jti.len()))
        && text("htm") == Some("GET")
        && text("htu").is_some_and(|htu| htu.to_ascii_lowercase().starts_with("https://api.example"))
        && text("ath") == Some(&token_hash())
        && age < MAX_AGE + LEEWAY
        && age >= -LEEWAY
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut values = Vec::new();
    let claims = data.strip_prefix(&[2]);
    if let Some(claims) = claims {
        values.push(HeaderValue::from_str(&prove(claims)).expect("ASCII"));
    } else if !data.is_empty() {
        for line in data.split(|byte| *byte == b'\n') {
            let mut bytes = Vec::new();
            for byte in line {
                if *byte == 1 { bytes.extend_from_slice(GOOD_PROOF.as_bytes()) } else { bytes.push(*byte) }
            }
            match HeaderValue::from_bytes(&bytes) {
                Ok(value) => values.push(value),
                Err(_) => return Corpus::Reject,
            }
        }
    }
    let layer = layer();
    let (status, calls) = send(&layer, &values);
    assert_eq!(calls, u32::from(status == 200));
    if status == 200 {
        assert!(claims.map_or_else(|| is_good(&values), are_good), "it is not good");
        assert_eq!(send(&layer, &values), (401, 0), "it passed twice");
    } else {
        assert_eq!(status, 401);
        let is_the_one = matches!(&*values, [value] if value.as_bytes() == GOOD_PROOF.as_bytes());
        assert!(!is_the_one, "the good proof was refused");
    }
    Corpus::Keep
});
