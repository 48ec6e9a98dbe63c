//! The revocations layers of two nodes that share a real server: what one revokes the other refuses, by a message within
//! moments, and without messages within the bound.

#![cfg(all(
    any(feature = "redis", feature = "postgres"),
    any(feature = "aws-lc-rs", feature = "rust-crypto")
))]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engines::proxy::Proxy;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::test_util::TestIssuer;
use tower_jwt_auth::{
    AccessGrant, JwtAuthLayer, ListenTask, NoClaims, RevocationStore, Revocations, RevocationsLayer,
};

/// So long that nothing is ever asked for again.
const NEVER: Duration = Duration::from_secs(3600);
/// How long anything may take that a test waits for.
const LIMIT: Duration = Duration::from_secs(30);

/// A layer of the second node.
struct Gate {
    layer: RevocationsLayer,
    issuer: TestIssuer,
}

impl Gate {
    fn new<S: RevocationStore + Clone>(store: &S, max_staleness: Duration) -> Self {
        Self { layer: RevocationsLayer::new(store.clone(), max_staleness), issuer: TestIssuer::new() }
    }

    fn token(&self, subject: &str) -> String {
        self.issuer.token_for(&AccessGrant::new(subject), &NoClaims {})
    }

    async fn status(&self, token: &str) -> u16 {
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = JwtAuthLayer::new(self.issuer.verifier::<NoClaims>()).layer(self.layer.layer(inner));
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        service.oneshot(request.body(Full::default()).unwrap()).await.unwrap().status().as_u16()
    }

    async fn until_refused(&self, token: &str) {
        let begun = Instant::now();
        while self.status(token).await != 401 {
            assert!(begun.elapsed() < LIMIT, "never refused");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn revoke<S: RevocationStore + Clone>(&self, store: &S, token: &str, by_name: bool) {
        let verified = self.issuer.verifier::<NoClaims>().verify(token).unwrap();
        let (registered, revocations) = (verified.registered(), Revocations::new(store.clone()));
        if by_name {
            revocations.revoke_token(registered.issuer(), registered.token_id().unwrap()).await.unwrap();
        } else {
            revocations.revoke_subject(registered.issuer(), registered.subject()).await.unwrap();
        }
    }
}

async fn two_nodes<S: RevocationStore + Clone>(one: &S, two: &S, push: &Proxy, listen: &ListenTask) {
    listen.joined().await;
    for by_name in [true, false] {
        let (patient, bounded) = (Gate::new(two, NEVER), Gate::new(two, Duration::from_millis(200)));
        // Heard of.
        let (token, other) = (patient.token("ada"), patient.token("bob"));
        assert_eq!((patient.status(&token).await, patient.status(&other).await), (200, 200));
        patient.revoke(one, &token, by_name).await;
        patient.until_refused(&token).await;
        assert_eq!(patient.status(&other).await, 200);

        // Not heard of: the bound holds.
        let token = patient.token("eve");
        assert_eq!((patient.status(&token).await, bounded.status(&token).await), (200, 200));
        push.stall();
        patient.revoke(one, &token, by_name).await;
        bounded.until_refused(&token).await;
        assert_eq!(patient.status(&token).await, 200, "no message came");
        // What was held up comes after all.
        push.pass();
        listen.joined().await;
        patient.until_refused(&token).await;
    }
    // A message cut off with its connection is lost, and the bound holds.
    let bounded = Gate::new(two, Duration::from_millis(200));
    let token = bounded.token("zoe");
    assert_eq!(bounded.status(&token).await, 200);
    push.refuse();
    let begun = Instant::now();
    while listen.is_joined() {
        assert!(begun.elapsed() < LIMIT, "the loss is not noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bounded.revoke(one, &token, true).await;
    bounded.until_refused(&token).await;
    push.pass();
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn two_nodes_over_redis() {
    use tower_jwt_auth::RedisStore;

    if !engines::has_redis() {
        return;
    }
    let server = engines::redis::Redis::start();
    let push = Proxy::start(server.port());
    let (one, two) = (RedisStore::open(&server.url()).unwrap(), RedisStore::open(&server.url()).unwrap());
    let listen = two.listen(&format!("redis://127.0.0.1:{}/", push.port())).unwrap();
    two_nodes(&one, &two, &push, &listen).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn two_nodes_over_postgres() {
    use tower_jwt_auth::PostgresStore;

    if !engines::has_postgres() {
        return;
    }
    let server = engines::postgres::Postgres::start_fast();
    let push = Proxy::start(server.port());
    let (one, two) =
        (PostgresStore::open(&server.url()).unwrap(), PostgresStore::open(&server.url()).unwrap());
    one.migrate().await.unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", push.port());
    let listen = two.listen(&url).unwrap();
    two_nodes(&one, &two, &push, &listen).await;
}
