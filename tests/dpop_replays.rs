//! Proofs on several nodes: one that a node has seen is refused by all that share a store.

#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "redis")]
#[path = "support/engines/mod.rs"]
mod engines;
#[cfg(feature = "redis")]
#[path = "support/program.rs"]
mod program;
mod support;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use support::events::Events;
use support::readiness::OneShotReadiness;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_jwt_auth::test_util::TestIssuer;
use tower_jwt_auth::{
    AccessGrant, Clock, Dpop, JwtAuthLayer, NoClaims, ProofId, ProofKey, Rejection, ReplayLayer, ReplayStore,
    StoreError, StoreErrorKind, SystemClock,
};

const URL: &str = "https://api.example/orders";

/// What nodes share, in this process.
#[derive(Clone, Default)]
struct Shared(Arc<Inner>);

#[derive(Default)]
struct Inner {
    seen: Mutex<HashSet<ProofId>>,
    questions: AtomicUsize,
    is_down: AtomicBool,
}

impl ReplayStore for Shared {
    async fn remember(&self, proof: &ProofId, keep_for: Duration) -> Result<bool, StoreError> {
        assert!(keep_for > Duration::ZERO && keep_for < Duration::from_secs(120), "{keep_for:?}");
        self.0.questions.fetch_add(1, Ordering::SeqCst);
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "down"));
        }
        Ok(self.0.seen.lock().unwrap().insert(*proof))
    }
}

/// A client, and what it is served by.
struct Client {
    issuer: TestIssuer,
    key: ProofKey,
    token: String,
}

impl Client {
    fn new() -> Self {
        let (issuer, key) = (TestIssuer::new(), ProofKey::generate().unwrap());
        let token = issuer.token_for(&AccessGrant::new("ada").with_key(key.thumbprint()), &NoClaims {});
        Self { issuer, key, token }
    }

    /// Nodes know nothing of each other but what a store says.
    fn node(&self) -> JwtAuthLayer<NoClaims> {
        let dpop = Dpop::builder("https://api.example").build().unwrap();
        JwtAuthLayer::new(self.issuer.verifier::<NoClaims>()).dpop(&dpop).unwrap()
    }

    fn proof(&self) -> String {
        self.key.prove("GET", URL, Some(&self.token), None, SystemClock.now()).unwrap()
    }

    fn request(&self, proof: &str) -> Request<Full<Bytes>> {
        let request = Request::get("/orders").header(AUTHORIZATION, format!("DPoP {}", self.token));
        request.header("dpop", proof).body(Full::default()).unwrap()
    }

    async fn send(
        &self,
        node: &JwtAuthLayer<NoClaims>,
        replays: &ReplayLayer,
        proof: &str,
    ) -> (u16, &'static str) {
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let answer = node.layer(replays.layer(inner)).oneshot(self.request(proof)).await.unwrap();
        (answer.status().as_u16(), answer.extensions().get::<Rejection>().map_or("none", Rejection::reason))
    }
}

async fn two_nodes<S: ReplayStore>(one: S, two: S) {
    let client = Client::new();
    let (one, two) = ((client.node(), ReplayLayer::new(one)), (client.node(), ReplayLayer::new(two)));
    for _ in 0..3 {
        let proof = client.proof();
        assert_eq!(client.send(&one.0, &one.1, &proof).await, (200, "none"));
        for node in [&one, &two] {
            assert_eq!(client.send(&node.0, &node.1, &proof).await, (401, "proof_replayed"));
        }
    }
}

#[tokio::test]
async fn what_one_node_has_seen_the_other_refuses() {
    let shared = Shared::default();
    two_nodes(shared.clone(), shared).await;
    // Nothing shared, nothing known.
    let client = Client::new();
    let proof = client.proof();
    for _ in 0..2 {
        let layer = ReplayLayer::new(Shared::default());
        assert_eq!(client.send(&client.node(), &layer, &proof).await, (200, "none"));
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_503_and_asked_once() {
    let (shared, client) = (Shared::default(), Client::new());
    shared.0.is_down.store(true, Ordering::SeqCst);
    let (events, _guard) = Events::start();
    let layer = ReplayLayer::new(shared.clone());
    assert_eq!(client.send(&client.node(), &layer, &client.proof()).await, (503, "unavailable"));
    assert_eq!(shared.0.questions.load(Ordering::SeqCst), 1);
    let told = events.take_own();
    for name in ["tower_jwt_auth::replay unavailable", "tower_jwt_auth::replay rejected"] {
        assert_eq!(told.iter().filter(|event| event.contains(name)).count(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn requests_without_a_proof_ask_nobody_and_without_a_bearer_layer_none_passes() {
    let (shared, client) = (Shared::default(), Client::new());
    let replays = ReplayLayer::new(shared.clone());
    let inner = || {
        service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        })
    };
    let token = client.issuer.token_for(&AccessGrant::new("ada"), &NoClaims {});
    let request = Request::get("/orders").header(AUTHORIZATION, format!("Bearer {token}"));
    let service = client.node().layer(replays.layer(inner()));
    assert_eq!(service.oneshot(request.body(Full::default()).unwrap()).await.unwrap().status(), 200);
    let service = client.node().optional().layer(replays.layer(inner()));
    assert_eq!(service.oneshot(Request::new(Full::default())).await.unwrap().status(), 200);
    let answer = replays.layer(inner()).oneshot(Request::new(Full::<Bytes>::default())).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(shared.0.questions.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let client = Client::new();
    let mut service =
        client.node().layer(ReplayLayer::new(Shared::default()).layer(OneShotReadiness::default()));
    for _ in 0..2 {
        let request = client.request(&client.proof());
        assert_eq!(service.ready().await.unwrap().call(request).await.unwrap().status(), 200);
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn two_nodes_over_redis() {
    use tower_jwt_auth::RedisStore;

    if !engines::has_redis() {
        return;
    }
    let server = engines::redis::Redis::start();
    let store = || RedisStore::open(&server.url()).unwrap();
    two_nodes(store(), store()).await;

    let keys = server.command(&["KEYS", "jwt-sessions:proof:*"]);
    let key = keys.split_whitespace().next().unwrap();
    let left: i64 = server.command(&["PTTL", key]).trim().parse().unwrap();
    assert!((1..=90_000).contains(&left), "it goes by itself: {left}");

    // Of many at once one is new, and it is new again when it was forgotten.
    let (store, proof) = (store(), ProofId::from_bytes([7; 16]));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.remember(&proof, Duration::from_millis(1500)).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for one in all {
        new += usize::from(one.await.unwrap());
    }
    assert_eq!(new, 1);
    while !store.remember(&proof, Duration::from_millis(1500)).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.kill();
    store.remember(&ProofId::from_bytes([8; 16]), Duration::from_secs(1)).await.unwrap_err();
}
