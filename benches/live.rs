//! What the live sessions layer adds to a request whose session it knows, beside the same request without it, in one run in
//! which both take turns; and what a session weighs in its memory.
//!
//! ```text
//! scripts/bench.sh live
//! ```
//!
//! `SESSIONS` changes the million, `ROUNDS` the 40 turns.

#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::convert::Infallible;
use std::env;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::test_util::new_session;
use tower_jwt_auth::{
    AccessGrant, Attempt, AuthContext, Creation, Issuer, JwtAuthLayer, LiveSessionsLayer, NewSession,
    NoClaims, Presented, Record, Rotation, SecretDigest, SessionId, SessionPolicy, SessionStore, SigningKey,
    StoreError, StoreErrorKind, SubjectDigest, Timestamp, TokenConfig,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A store in which everybody has every session, and which keeps nothing.
struct Everybody(Record);

fn cannot<T>() -> Result<T, StoreError> {
    Err(StoreError::new(StoreErrorKind::Unavailable, "it keeps nothing"))
}

impl SessionStore for Everybody {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        cannot()
    }

    async fn create(&self, _: &NewSession, _: &SessionPolicy) -> Result<Creation, StoreError> {
        cannot()
    }

    async fn rotate(&self, _: &Presented, _: &SessionPolicy) -> Result<Rotation, StoreError> {
        cannot()
    }

    async fn get(&self, _: &SubjectDigest, _: &SessionId) -> Result<Option<Record>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    async fn list(&self, _: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        cannot()
    }

    async fn revoke(
        &self,
        _: &SubjectDigest,
        _: &SessionId,
        _: Option<&SecretDigest>,
        _: &Attempt,
    ) -> Result<bool, StoreError> {
        cannot()
    }

    async fn revoke_subject(
        &self,
        _: &SubjectDigest,
        _: Option<&SessionId>,
        _: &SessionPolicy,
        _: &Attempt,
    ) -> Result<u64, StoreError> {
        cannot()
    }

    async fn mark_used(&self, _: &SubjectDigest, _: &SessionId, _: u32, _: u32) -> Result<(), StoreError> {
        cannot()
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        cannot()
    }
}

/// Of futures that wait for nothing.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[allow(clippy::needless_pass_by_value)] // As a service takes it.
fn answer(request: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    black_box(&request);
    ready(Ok(Response::new(Full::from("[]"))))
}

fn number(name: &str, standard: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(standard)
}

fn grant(number: u64) -> AccessGrant {
    // Every session of a subject of its own.
    let id = SessionId::from_bytes((u128::from(number) << 64 | 1).to_be_bytes());
    AccessGrant::new(format!("user-{number}")).with_session(id.to_string(), 0)
}

/// Nanoseconds of one request, each with the next token.
fn time<S: Service<Request<()>>>(service: &mut S, requests: &[Request<()>]) -> f64 {
    let begun = Instant::now();
    for request in requests {
        drop(black_box(now(service.call(request.clone()))));
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(requests.len()).unwrap())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let (sessions, rounds) = (number("SESSIONS", 1_000_000), number("ROUNDS", 40));
    let config = TokenConfig::builder()
        .key(SigningKey::hs256(*b"not a secret: it is in the source").unwrap())
        .issuer("https://app.example")
        .audience("api")
        .build()
        .unwrap();
    let issuer = Issuer::new(&config).unwrap();
    let policy = SessionPolicy::default();
    let record =
        Record::open(&new_session("everybody", Timestamp::from_unix_seconds(0)), &policy, now_of_day());
    let layer = LiveSessionsLayer::new(Everybody(record), Duration::from_secs(24 * 3600))
        .with_capacity(usize::try_from(sessions).unwrap() * 5 / 4);

    let bearer = || JwtAuthLayer::new(config.verifier::<NoClaims>());
    let (mut without, mut with) =
        (bearer().layer(service_fn(answer)), bearer().layer(layer.layer(service_fn(answer))));
    let request = |number| {
        let token = issuer.issue(&grant(number), &NoClaims {}).unwrap();
        Request::get("/").header(AUTHORIZATION, format!("Bearer {}", token.expose())).body(()).unwrap()
    };

    println!(
        "A request with a repeated token (HS256) behind the bearer layer, with and without the live sessions layer. The requests are of up"
    );
    println!("to 1000 sessions, spread over those that are known.\n");
    println!("| sessions known | with the layer, to without | added |\n| ---: | ---: | ---: |");
    for known in [1, 1000, sessions] {
        // Tokens that the bearer layer has seen, and sessions that this one knows, spread over all of them.
        let used = known.min(1000);
        fill(&layer, &config, known);
        let requests: Vec<_> = (0..10_000).map(|at| request(at % used * (known / used))).collect();
        time(&mut without, &requests);
        time(&mut with, &requests);
        let (mut bare, mut looked) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(time(&mut without, &requests));
            looked.push(time(&mut with, &requests));
        }
        let (bare, looked) = (median(bare), median(looked));
        println!("| {known} | {:.2} | {:.0} ns |", looked / bare, looked - bare);
    }

    let fresh = LiveSessionsLayer::new(
        Everybody(Record::open(
            &new_session("everybody", Timestamp::from_unix_seconds(0)),
            &policy,
            now_of_day(),
        )),
        Duration::from_secs(24 * 3600),
    )
    .with_capacity(usize::try_from(sessions).unwrap() * 5 / 4);
    let region = Region::new(ALLOCATOR);
    fill(&fresh, &config, sessions);
    let change = region.change();
    let bytes = change.bytes_allocated - change.bytes_deallocated;
    println!("\n{sessions} sessions: {} MiB, {} bytes each", bytes >> 20, bytes as u64 / sessions);
}

fn now_of_day() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_unix_millis(i64::try_from(now.as_millis()).unwrap())
}

/// Lets the layer ask for so many sessions, with tokens that nothing but it looks at.
fn fill(layer: &LiveSessionsLayer, config: &TokenConfig, sessions: u64) {
    let mut service = layer.layer(service_fn(answer));
    let (issuer, verifier) = (Issuer::new(config).unwrap(), config.verifier::<NoClaims>());
    for number in 0..sessions {
        let mut request = Request::new(());
        let token = issuer.issue(&grant(number), &NoClaims {}).unwrap();
        let verified = verifier.verify(token.expose()).unwrap();
        request.extensions_mut().insert(AuthContext::for_test(verified));
        let answer = now(service.call(request)).unwrap();
        assert!(answer.status().is_success(), "session {number}");
    }
}
