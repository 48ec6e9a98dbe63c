//! What the benchmarks of the layer and of the verifier share: tokens as applications have them, and a way to drive a
//! service that never waits.

// Each benchmark compiles its own copy of this module and uses a part of it; one that cannot go on should stop.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod layer;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use serde::{Deserialize, Serialize};
use tower::Service;
use tower_jwt_auth::{AccessGrant, Algorithm, Issuer, KeyForm, SigningKey, TokenConfig};

pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

/// The standard size.
pub const CACHE: usize = 32 * 1024 * 1024;

pub const SECRET: [u8; 32] = *b"f3-Kq9_zT1vXw7-Lr2_pYb8sNc5dGh4j";

/// Nine texts: what access tokens of real applications carry, more or less.
#[derive(Clone, Serialize, Deserialize)]
pub struct User {
    pub email: String,
    pub name: String,
    pub role: String,
    pub tenant: String,
    pub department: String,
    pub locale: String,
    pub plan: String,
    pub region: String,
    pub avatar: String,
}

impl User {
    pub fn ada() -> Self {
        let text = str::to_owned;
        Self {
            email: text("ada.lovelace@analytical.example"),
            name: text("Ada Lovelace"),
            role: text("editor"),
            tenant: text("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
            department: text("research"),
            locale: text("en-GB"),
            plan: text("professional"),
            region: text("eu-west-2"),
            avatar: text("https://cdn.analytical.example/avatars/7c9e6679.webp"),
        }
    }
}

pub fn key(algorithm: Algorithm) -> SigningKey {
    let fixture = |name: &str| {
        std::fs::read(format!("{}/tests/fixtures/keys/{name}.pkcs8.pem", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let pem = match algorithm {
        Algorithm::Hs256 => {
            return SigningKey::read(algorithm, KeyForm::Secret(&SECRET)).unwrap().with_kid("key-2026-11");
        }
        Algorithm::Es256 => fixture("p256"),
        Algorithm::EdDsa => fixture("ed25519"),
        _ => fixture("rsa"),
    };
    SigningKey::read(algorithm, KeyForm::Pem(&pem)).unwrap().with_kid("key-2026-11")
}

pub fn config(algorithm: Algorithm, cache_bytes: usize) -> TokenConfig {
    TokenConfig::builder()
        .key(key(algorithm))
        .issuer("https://auth.analytical.example")
        .audience("https://api.analytical.example")
        .cache_bytes(cache_bytes)
        .build()
        .unwrap()
}

/// A token of 600 to 1,000 bytes; another one for each `n`.
pub fn token(config: &TokenConfig, n: usize) -> String {
    let grant =
        AccessGrant::new(format!("user-{n:08}")).with_scopes(["orders:read", "orders:write", "profile"]);
    Issuer::new(config).unwrap().issue(&grant, &User::ada()).unwrap().expose().to_owned()
}

/// With the headers that a browser sends.
pub fn request(authorization: Option<&str>) -> Request<()> {
    let mut request = Request::get("https://api.analytical.example/orders").body(()).unwrap();
    for (name, value) in [
        ("host", "api.analytical.example"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("origin", "https://app.analytical.example"),
        ("sec-fetch-site", "same-site"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Some(authorization) = authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization.parse().unwrap());
    }
    request
}

/// One request through a service that is always ready and answers at once.
pub fn drive<S: Service<Request<()>>>(service: &mut S, request: Request<()>) -> S::Response {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else { panic!("it is always ready") };
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut cx) else {
        panic!("it answers at once")
    };
    response
}

/// Short, as there are many: a run takes minutes, and its ratios are what counts.
pub fn settings() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}
