//! The live sessions layer: what it refuses and when, how often it asks, and what it does while nobody answers.

#![cfg(all(feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use support::SECOND;
use support::events::Events;
use support::readiness::OneShotReadiness;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_jwt_auth::test_util::{
    Fault, FaultStore, Faults, ManualClock, StoreOperation, TestIssuer, created, fresh_attempt, new_session,
    present,
};
use tower_jwt_auth::{
    AccessGrant, JwtAuthLayer, LiveSessionsLayer, MokaStore, NewSession, NoClaims, OnReuse, ResponseBody,
    Retry, SessionChange, SessionId, SessionPolicy, SessionStore, SubjectDigest,
};

const STALENESS: Duration = Duration::from_secs(10);

type Answer = Response<ResponseBody<Full<Bytes>>>;

/// A node: the store as it sees it, and the faults of that view.
struct Node {
    layer: LiveSessionsLayer,
    faults: Faults,
    issuer: TestIssuer,
}

impl Node {
    fn new(store: &MokaStore, change: impl FnOnce(LiveSessionsLayer) -> LiveSessionsLayer) -> Self {
        Self::over(FaultStore::new(store.clone()), STALENESS, change)
    }

    /// It is told nothing of what others end.
    fn elsewhere(store: &MokaStore, change: impl FnOnce(LiveSessionsLayer) -> LiveSessionsLayer) -> Self {
        Self::over(FaultStore::new(store.clone()).without_feed(), STALENESS, change)
    }

    fn over<S: SessionStore>(
        store: FaultStore<S>,
        staleness: Duration,
        change: impl FnOnce(LiveSessionsLayer) -> LiveSessionsLayer,
    ) -> Self {
        let faults = store.faults();
        let layer = change(LiveSessionsLayer::new(store, staleness));
        Self { layer, faults, issuer: TestIssuer::new() }
    }

    async fn send(&self, token: &str) -> Answer {
        self.send_request(Request::get("/"), token).await
    }

    async fn send_request(&self, request: http::request::Builder, token: &str) -> Answer {
        let inner =
            service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::default())));
        let service = JwtAuthLayer::new(self.issuer.verifier::<NoClaims>()).layer(self.layer.layer(inner));
        let request = request.header(AUTHORIZATION, format!("Bearer {token}")).body(Full::default()).unwrap();
        service.oneshot(request).await.unwrap().map(flatten)
    }

    async fn status(&self, token: &str) -> u16 {
        self.send(token).await.status().as_u16()
    }

    fn token(&self, session: &NewSession) -> String {
        self.token_of(&session.subject, session.session_id)
    }

    /// Of a generation, and of a replacement of it.
    fn newer(&self, session: &NewSession, generation: u32, issue: u32) -> String {
        let grant =
            AccessGrant::new(&session.subject).with_session(session.session_id.to_string(), generation);
        self.issuer.token_for(&grant.with_reissue(issue), &NoClaims {})
    }

    fn token_of(&self, subject: &str, session_id: SessionId) -> String {
        self.issuer
            .token_for(&AccessGrant::new(subject).with_session(session_id.to_string(), 0), &NoClaims {})
    }

    fn questions(&self) -> usize {
        self.faults.count(StoreOperation::Get)
    }
}

/// The body of a refusal of either layer.
fn flatten(body: ResponseBody<ResponseBody<Full<Bytes>>>) -> ResponseBody<Full<Bytes>> {
    drop(body);
    ResponseBody::from(Bytes::new())
}

fn as_it_is(layer: LiveSessionsLayer) -> LiveSessionsLayer {
    layer
}

async fn open(store: &MokaStore, subject: &str, policy: &SessionPolicy) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, policy).await.unwrap());
    session
}

async fn revoke(store: &MokaStore, session: &NewSession) {
    let subject = SubjectDigest::of(&session.subject);
    assert!(store.revoke(&subject, &session.session_id, None, &fresh_attempt()).await.unwrap());
}

#[tokio::test]
async fn what_this_process_ends_is_refused_at_once() {
    let policy = SessionPolicy::default();
    let strict = policy.clone().with_retry(Retry::Strict);
    let one = strict.clone().with_on_reuse(OnReuse::Session);
    let store = MokaStore::new();
    let node = Node::new(&store, as_it_is);
    for row in ["revoked", "all revoked", "superseded", "reused", "reused, that session alone", "evicted"] {
        let session = open(&store, row, &policy).await;
        let (token, digest) = (node.token(&session), SubjectDigest::of(row));
        let other = open(&store, row, &policy).await;
        let token_of_other = node.token(&other);
        assert_eq!((node.status(&token).await, node.status(&token_of_other).await), (200, 200), "{row}");
        let mut other_lives = true;
        match row {
            "revoked" => revoke(&store, &session).await,
            "all revoked" => {
                let except = Some(&other.session_id);
                assert_eq!(
                    store.revoke_subject(&digest, except, &policy, &fresh_attempt()).await.unwrap(),
                    1
                );
            }
            "superseded" => {
                store.rotate(&present(&session, 0), &strict).await.unwrap();
                assert_eq!(node.status(&token).await, 200);
                let rotation = store.rotate(&present(&session, 0), &strict).await.unwrap();
                assert_eq!(rotation.decision.as_str(), "superseded");
            }
            "reused" | "reused, that session alone" => {
                other_lives = row != "reused";
                let policy = if other_lives { &one } else { &strict };
                store.rotate(&present(&session, 0), policy).await.unwrap();
                store.rotate(&present(&session, 1), policy).await.unwrap();
                assert_eq!(node.status(&token).await, 200);
                assert_eq!(
                    store.rotate(&present(&session, 0), policy).await.unwrap().decision.as_str(),
                    "reused"
                );
            }
            _ => {
                store.rotate(&present(&other, 0), &strict).await.unwrap();
                open(&store, row, &policy.clone().with_sessions_per_subject(2)).await;
            }
        }
        assert_eq!(node.status(&token).await, 401, "{row}");
        assert_eq!(node.status(&token_of_other).await, if other_lives { 200 } else { 401 }, "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_ended_elsewhere_is_refused_after_the_bound_and_not_asked_for_more_often() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Node::elsewhere(&store, as_it_is);
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    for _ in 0..50 {
        assert_eq!(node.status(&token).await, 200);
        tokio::time::advance(STALENESS / 60).await;
    }
    assert_eq!(node.questions(), 1);
    revoke(&store, &session).await;
    tokio::time::advance(STALENESS / 5).await;
    for _ in 0..50 {
        assert_eq!(node.status(&token).await, 401);
    }
    assert_eq!(node.questions(), 2);
    tokio::time::advance(STALENESS).await;
    assert_eq!((node.status(&token).await, node.questions()), (401, 3));
}

#[tokio::test]
async fn with_zero_it_is_asked_each_time() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Node::over(FaultStore::new(store.clone()).without_feed(), Duration::ZERO, as_it_is);
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    for asked in 1..=5 {
        assert_eq!((node.status(&token).await, node.questions()), (200, asked));
    }
    revoke(&store, &session).await;
    assert_eq!((node.status(&token).await, node.questions()), (401, 6));
    node.faults.outage();
    assert_eq!(node.status(&token).await, 503);
}

#[tokio::test(start_paused = true)]
async fn one_question_is_asked_for_all_who_want_to_know() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let inner = FaultStore::new(store.clone()).without_feed();
    let behind = inner.faults();
    let node = Arc::new(Node::over(FaultStore::new(inner), STALENESS, as_it_is));
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    for (is_down, expected) in [(false, 200), (true, 503)] {
        tokio::time::advance(STALENESS * 2).await;
        node.faults.take_calls();
        // A slow answer, or a slow failure.
        node.faults.next(1, [StoreOperation::Get], Fault::Hang);
        let mut all = JoinSet::new();
        for _ in 0..100 {
            let (node, token) = (Arc::clone(&node), token.clone());
            all.spawn(async move { node.status(&token).await });
        }
        node.faults.until_hanging().await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        if is_down {
            behind.outage();
        }
        node.faults.recover();
        while let Some(status) = all.join_next().await {
            assert_eq!(status.unwrap(), expected);
        }
        // One that fails is asked once more.
        assert_eq!(node.questions(), if is_down { 2 } else { 1 });
    }
}

/// As a client goes away, whose request was the one that asked.
#[tokio::test]
async fn a_question_that_is_given_up_is_asked_by_the_next_who_waits() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Arc::new(Node::elsewhere(&store, as_it_is));
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    node.faults.next(1, [StoreOperation::Get], Fault::Hang);
    let ask = || {
        let (node, token) = (Arc::clone(&node), token.clone());
        tokio::spawn(async move { node.status(&token).await })
    };
    let first = ask();
    node.faults.until_hanging().await;
    let others: Vec<_> = (0..10).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    first.abort();
    for other in others {
        assert_eq!(other.await.unwrap(), 200);
    }
    assert_eq!(node.questions(), 2);
}

#[tokio::test]
async fn an_answer_of_before_the_end_is_not_taken() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    for all in [false, true] {
        let node = Arc::new(Node::new(&store, as_it_is));
        let session = open(&store, "ada", &policy).await;
        let token = node.token(&session);
        // It is carried out, and its answer waits.
        node.faults.next(1, [StoreOperation::Get], Fault::HoldAnswer);
        let (asking, sent) = (Arc::clone(&node), token.clone());
        let request = tokio::spawn(async move { asking.status(&sent).await });
        node.faults.until_hanging().await;
        if all {
            let digest = SubjectDigest::of(&session.subject);
            store.revoke_subject(&digest, None, &policy, &fresh_attempt()).await.unwrap();
        } else {
            revoke(&store, &session).await;
        }
        node.faults.recover();
        assert_eq!(request.await.unwrap(), 401, "all: {all}");
        assert_eq!(node.status(&token).await, 401, "all: {all}");
    }
}

/// An end is held against an answer that is under way even where the memory has no room for it.
#[tokio::test]
async fn an_end_counts_though_it_is_forgotten_at_once() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Arc::new(Node::new(&store, |layer| layer.with_capacity(100)));
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    let fill = async |name: &str| {
        for number in 0..300 {
            let other = open(&store, &format!("{name}-{number}"), &policy).await;
            assert_eq!(node.status(&node.token(&other)).await, 200);
        }
    };
    fill("earlier").await;
    node.faults.next(1, [StoreOperation::Get], Fault::HoldAnswer);
    let (asking, sent) = (Arc::clone(&node), token.clone());
    let request = tokio::spawn(async move { asking.status(&sent).await });
    node.faults.until_hanging().await;
    revoke(&store, &session).await;
    fill("later").await;
    node.faults.recover();
    assert_eq!(request.await.unwrap(), 401);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_503_and_asked_once_a_second() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Node::elsewhere(&store, as_it_is);
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    let (events, _guard) = Events::start();
    node.faults.outage();
    for _ in 0..10 {
        let answer = node.send(&token).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
    }
    assert_eq!(node.questions(), 2, "once, and once more");
    let told = events.take_own();
    assert_eq!(told.iter().filter(|event| event.contains("tower_jwt_auth::live unavailable")).count(), 1);
    assert_eq!(
        told.iter()
            .filter(|event| event.contains(r#"tower_jwt_auth::live rejected reason="unavailable""#))
            .count(),
        10
    );
    node.faults.recover();
    assert_eq!((node.status(&token).await, node.questions()), (503, 2));
    tokio::time::advance(SECOND).await;
    assert_eq!((node.status(&token).await, node.questions()), (200, 3));

    // What was known is good until its time is over, and not longer.
    node.faults.outage();
    tokio::time::advance(SECOND * 9).await;
    assert_eq!(node.status(&token).await, 200);
    tokio::time::advance(SECOND).await;
    assert_eq!(node.status(&token).await, 503);
}

#[tokio::test(start_paused = true)]
async fn trust_lasts_for_its_bound_and_not_for_what_ended() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let trusting = |layer: LiveSessionsLayer| layer.trust_for(STALENESS * 6);
    let (told, elsewhere) = (Node::new(&store, trusting), Node::elsewhere(&store, trusting));
    let (ada, bob, eve) = (
        open(&store, "ada", &policy).await,
        open(&store, "bob", &policy).await,
        open(&store, "eve", &policy).await,
    );
    let (of_ada, of_bob, of_eve) = (told.token(&ada), told.token(&bob), told.token(&eve));
    for node in [&told, &elsewhere] {
        assert_eq!((node.status(&of_ada).await, node.status(&of_bob).await), (200, 200));
        node.faults.outage();
    }
    revoke(&store, &bob).await;
    tokio::time::advance(STALENESS * 2).await;
    for node in [&told, &elsewhere] {
        assert_eq!(node.status(&of_ada).await, 200);
        assert_eq!(node.status(&of_eve).await, 503, "never heard of");
    }
    assert_eq!(told.status(&of_bob).await, 401, "it is known to have ended");
    assert_eq!(elsewhere.status(&of_bob).await, 200, "what trust costs");
    // All of ada's sessions end: which of them goes on would have to be asked.
    store
        .revoke_subject(&SubjectDigest::of("ada"), Some(&ada.session_id), &policy, &fresh_attempt())
        .await
        .unwrap();
    assert_eq!(told.status(&of_ada).await, 503);
    tokio::time::advance(STALENESS * 4).await;
    assert_eq!(elsewhere.status(&of_ada).await, 503, "the bound");
    for node in [&told, &elsewhere] {
        node.faults.recover();
    }
    tokio::time::advance(SECOND).await;
    for node in [&told, &elsewhere] {
        assert_eq!((node.status(&of_ada).await, node.status(&of_bob).await), (200, 401));
    }
}

/// A client that goes away takes nothing along of what is trusted.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_leaves_what_is_known() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Arc::new(Node::elsewhere(&store, |layer| layer.trust_for(STALENESS * 6)));
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    assert_eq!(node.status(&token).await, 200);
    tokio::time::advance(STALENESS).await;
    node.faults.each([StoreOperation::Get], Fault::Hang);
    let (asking, sent) = (Arc::clone(&node), token.clone());
    let request = tokio::spawn(async move { asking.status(&sent).await });
    node.faults.until_hanging().await;
    tokio::time::advance(SECOND).await;
    request.abort();
    assert!(request.await.is_err());
    // It was waited for a second: as good as no answer, for a second.
    assert_eq!((node.status(&token).await, node.questions()), (200, 2));
    node.faults.recover();
    node.faults.outage();
    tokio::time::advance(SECOND).await;
    assert_eq!(node.status(&token).await, 200);
}

/// Each of whom would ask a store that hangs anew, and be waited for.
#[tokio::test(start_paused = true)]
async fn behind_a_client_that_went_away_nobody_waits_longer_than_for_a_store() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    for (trust, is_known, expected) in [(0, false, 503), (6, false, 503), (0, true, 503), (6, true, 200)] {
        let node = Arc::new(Node::elsewhere(&store, |layer| layer.trust_for(STALENESS * trust)));
        let session = open(&store, "ada", &policy).await;
        let token = node.token(&session);
        if is_known {
            assert_eq!(node.status(&token).await, 200);
            tokio::time::advance(STALENESS).await;
        }
        node.faults.take_calls();
        node.faults.each([StoreOperation::Get], Fault::Hang);
        let ask = || {
            let (node, token) = (Arc::clone(&node), token.clone());
            tokio::spawn(async move { node.status(&token).await })
        };
        let first = ask();
        node.faults.until_hanging().await;
        let second = ask();
        tokio::task::yield_now().await;
        tokio::time::advance(SECOND).await;
        first.abort();
        let answer = tokio::time::timeout(SECOND, second).await;
        assert_eq!(answer.expect("it does not ask again").unwrap(), expected, "{trust} {is_known}");
        assert_eq!(node.questions(), 1);
        node.faults.recover();
    }
}

/// As a login does that was not answered, and may have ended the oldest session of its subject.
#[tokio::test(start_paused = true)]
async fn a_login_or_a_refresh_that_failed_is_asked_about_unless_what_is_known_is_trusted() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let change = SessionChange::Unanswered { subject: SubjectDigest::of("ada") };
    for (trust, questions) in [(0, 2), (6, 1)] {
        let node = Node::new(&store, |layer| layer.trust_for(STALENESS * trust));
        let session = open(&store, "ada", &policy).await;
        let token = node.token(&session);
        assert_eq!((node.status(&token).await, node.questions()), (200, 1));
        store.feed().unwrap().send(&change);
        assert_eq!((node.status(&token).await, node.questions()), (200, questions));
    }
}

/// As with Redis, whose replicas did not confirm it.
#[tokio::test]
async fn an_end_that_failed_is_asked_for() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Node::new(&store, as_it_is);
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    assert_eq!((node.status(&token).await, node.questions()), (200, 1));
    store.feed().unwrap().send(&SessionChange::Uncertain { subject: SubjectDigest::of("ada") });
    assert_eq!((node.status(&token).await, node.questions()), (200, 2));
    assert_eq!((node.status(&token).await, node.questions()), (200, 2));
}

/// Nothing that is said lets a request ask for ever.
#[tokio::test]
async fn a_store_that_always_tells_of_something_is_503() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Arc::new(Node::new(&store, as_it_is));
    let session = open(&store, "ada", &policy).await;
    let token = node.token(&session);
    node.faults.each([StoreOperation::Get], Fault::HoldAnswer);
    let (asking, sent) = (Arc::clone(&node), token.clone());
    let request = tokio::spawn(async move { asking.status(&sent).await });
    for asked in 1..=4 {
        while node.questions() < asked {
            tokio::task::yield_now().await;
        }
        node.faults.until_hanging().await;
        store.feed().unwrap().send(&SessionChange::Uncertain { subject: SubjectDigest::of("ada") });
        node.faults.recover();
        node.faults.each([StoreOperation::Get], Fault::HoldAnswer);
    }
    assert_eq!(request.await.unwrap(), 503);
    node.faults.recover();
    assert_eq!(node.status(&token).await, 200);
}

#[tokio::test]
async fn tokens_that_are_of_no_session_of_this_store() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let session = open(&store, "ada", &policy).await;
    let node = Node::new(&store, as_it_is);
    let grant = AccessGrant::new("ada");
    assert_eq!(node.status(&node.issuer.token_for(&grant, &NoClaims {})).await, 200, "no session");
    let foreign = node.issuer.token_for(&grant.clone().with_session("2f6e5bd4-c3f5", 0), &NoClaims {});
    assert_eq!(node.status(&foreign).await, 401, "no id of ours");
    assert_eq!(node.questions(), 0);
    for _ in 0..3 {
        assert_eq!(
            node.status(&node.token_of("ada", SessionId::from_bytes([9; 16]))).await,
            401,
            "no session"
        );
        assert_eq!(node.status(&node.token_of("eve", session.session_id)).await, 401, "another's, first");
    }
    let store = MokaStore::new();
    let session = open(&store, "ada", &policy).await;
    let node = Node::new(&store, as_it_is);
    assert_eq!(node.status(&node.token(&session)).await, 200);
    assert_eq!(
        node.status(&node.token_of("eve", session.session_id)).await,
        401,
        "another's, while it is known"
    );
    assert_eq!(node.status(&node.token(&session)).await, 200);

    let node = Node::new(&store, |layer| layer.for_issuer("https://other.example"));
    assert_eq!(node.status(&foreign).await, 200, "the session of another issuer");
    let node = Node::new(&store, |layer| layer.for_issuer(TestIssuer::ISSUER));
    assert_eq!(node.status(&foreign).await, 401);
}

const MINUTE: Duration = Duration::from_secs(60);

fn until_used() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::UntilUsed { retry: SECOND * 30, hold: SECOND * 20 })
}

/// Presents a refresh token a minute after the last one, by a call of its own.
async fn refresh(
    store: &MokaStore,
    clock: &ManualClock,
    session: &NewSession,
    generation: u32,
) -> &'static str {
    clock.advance(MINUTE);
    store.rotate(&present(session, generation), &until_used()).await.unwrap().decision.as_str()
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_is_refused() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().clock(clock.clone()).build();
    let told = Node::new(&store, |layer| layer.with_clock(clock.clone()));
    let elsewhere = Node::elsewhere(&store, |layer| layer.with_clock(clock.clone()));
    let session = open(&store, "ada", &until_used()).await;
    assert_eq!(refresh(&store, &clock, &session, 0).await, "current");
    assert_eq!(refresh(&store, &clock, &session, 0).await, "rotated");
    let (first, withheld, given) =
        (told.newer(&session, 0, 0), told.newer(&session, 1, 0), told.newer(&session, 1, 1));
    for node in [&told, &elsewhere] {
        assert_eq!((node.status(&first).await, node.status(&withheld).await), (200, 200));
    }
    let (events, _guard) = Events::start();
    assert_eq!(refresh(&store, &clock, &session, 0).await, "reissued");
    assert_eq!(told.status(&withheld).await, 401, "at once");
    assert_eq!(told.status(&given).await, 200);
    assert!(events.take_own().iter().any(|event| event.contains(r#"live rejected reason="replaced""#)));
    assert_eq!(elsewhere.status(&withheld).await, 200, "not heard of yet");
    assert_eq!(elsewhere.status(&given).await, 200);
    assert_eq!(elsewhere.status(&withheld).await, 401, "seen by the later token");
    tokio::time::advance(STALENESS).await;
    for node in [&told, &elsewhere] {
        // Of the older generation, too: whose it is, nobody knows any more.
        assert_eq!((node.status(&first).await, node.status(&withheld).await), (401, 401));
        assert_eq!(node.status(&given).await, 200);
    }
}

/// As after a failover that lost writes: what the tag and the signature prove counts.
#[tokio::test]
async fn a_token_that_is_newer_than_the_store_knows_passes() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let session = open(&store, "ada", &policy).await;
    let node = Node::new(&store, LiveSessionsLayer::report_use);
    for _ in 0..3 {
        assert_eq!(node.status(&node.newer(&session, 3, 2)).await, 200);
        assert_eq!(node.status(&node.newer(&session, 0, 0)).await, 200);
    }
}

async fn used_at(store: &MokaStore, session: &NewSession) -> Option<u32> {
    // The report runs behind the request.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let record = store.get(&SubjectDigest::of(&session.subject), &session.session_id).await.unwrap().unwrap();
    record.state.used_at.map(|_| record.state.generation)
}

#[tokio::test(start_paused = true)]
async fn each_generation_is_reported_once_when_it_is_seen_in_use() {
    for (staleness, most) in [(STALENESS, 1), (Duration::ZERO, 1)] {
        let clock = ManualClock::new();
        let store = MokaStore::builder().clock(clock.clone()).build();
        let over = FaultStore::new(store.clone()).without_feed();
        let node = Node::over(over, staleness, |layer| layer.with_clock(clock.clone()).report_use());
        let marks = || node.faults.count(StoreOperation::MarkUsed);
        let session = open(&store, "ada", &until_used()).await;
        assert_eq!(used_at(&store, &session).await, None);
        for generation in 0..4 {
            node.faults.take_calls();
            for _ in 0..20 {
                assert_eq!(node.status(&node.newer(&session, generation, 0)).await, 200);
                assert_eq!(used_at(&store, &session).await, Some(generation));
            }
            assert_eq!(marks(), most, "generation {generation}");
            // It is used, so its predecessor is a late one, and it is rotated.
            assert_eq!(refresh(&store, &clock, &session, generation).await, "rotated");
            assert_eq!(used_at(&store, &session).await, None);
            // A token of before says nothing of the new one.
            assert_eq!(node.status(&node.newer(&session, generation, 0)).await, 200);
            assert_eq!(used_at(&store, &session).await, None);
        }
        assert_eq!(refresh(&store, &clock, &session, 3).await, "reissued", "the last one was not used");
        node.faults.take_calls();
        tokio::time::advance(STALENESS).await;
        assert_eq!(node.status(&node.newer(&session, 4, 0)).await, 401);
        assert_eq!(used_at(&store, &session).await, None, "a replaced token is no use");
        assert_eq!(node.status(&node.newer(&session, 4, 1)).await, 200);
        assert_eq!(used_at(&store, &session).await, Some(4));
        assert_eq!(refresh(&store, &clock, &session, 3).await, "superseded", "a thief, as it was used");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_fails_is_made_by_a_later_request() {
    let store = MokaStore::new();
    let node = Node::new(&store, |layer| layer.report_use().trust_for(STALENESS * 6));
    let session = open(&store, "ada", &until_used()).await;
    let token = node.token(&session);
    node.faults.each([StoreOperation::MarkUsed], Fault::Fail);
    for reports in 1..4 {
        // What is known of the session stays, and one report is made a second.
        for _ in 0..5 {
            assert_eq!(node.status(&token).await, 200);
            assert_eq!(used_at(&store, &session).await, None);
        }
        assert_eq!((node.faults.count(StoreOperation::MarkUsed), node.questions()), (reports, 1));
        tokio::time::advance(SECOND).await;
        used_at(&store, &session).await;
    }
    node.faults.recover();
    assert_eq!(node.status(&token).await, 200);
    assert_eq!(used_at(&store, &session).await, Some(0));
}

#[tokio::test]
async fn without_being_told_to_it_writes_nothing() {
    let store = MokaStore::new();
    let node = Node::new(&store, as_it_is);
    let session = open(&store, "ada", &until_used()).await;
    assert_eq!(node.status(&node.token(&session)).await, 200);
    assert_eq!(used_at(&store, &session).await, None);
    assert_eq!(node.faults.count(StoreOperation::MarkUsed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_expired_is_refused() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().clock(clock.clone()).build();
    let policy = SessionPolicy::default().with_idle_lifetime(SECOND * 5);
    let session = open(&store, "ada", &policy).await;
    let node = Node::new(&store, |layer| layer.with_clock(clock.clone()));
    let token = node.token(&session);
    assert_eq!(node.status(&token).await, 200);
    let pass = async |time| {
        clock.advance(time);
        tokio::time::advance(time).await;
    };
    pass(SECOND * 4).await;
    assert_eq!((node.status(&token).await, node.questions()), (200, 1));
    // A refresh prolongs it, of which nobody is told: it is asked for.
    store.rotate(&present(&session, 0), &policy.clone().with_retry(Retry::Strict)).await.unwrap();
    pass(SECOND).await;
    assert_eq!((node.status(&token).await, node.questions()), (200, 2));
    pass(SECOND * 4).await;
    assert_eq!((node.status(&token).await, node.questions()), (401, 3));
    assert_eq!((node.status(&token).await, node.questions()), (401, 3));
}

#[tokio::test]
async fn answers_in_the_protocol_of_the_request_and_in_the_words_of_the_bearer_layer() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let session = open(&store, "ada", &policy).await;
    let node = Node::new(&store, as_it_is);
    let token = node.token(&session);
    let grpc = || Request::post("/").header(CONTENT_TYPE, "application/grpc");
    revoke(&store, &session).await;
    let answer = node.send(&token).await;
    assert!(answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains(r#"error="invalid_token""#));
    assert_eq!(node.send_request(grpc(), &token).await.headers()["grpc-status"], "16");
    let session = open(&store, "ada", &policy).await;
    node.faults.outage();
    assert_eq!(node.send_request(grpc(), &node.token(&session)).await.headers()["grpc-status"], "14");
}

#[tokio::test]
async fn requests_without_a_token_pass_and_without_a_bearer_layer_none_does() {
    let store = MokaStore::new();
    let node = Node::new(&store, as_it_is);
    let inner = || {
        service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        })
    };
    let bearer = || JwtAuthLayer::new(node.issuer.verifier::<NoClaims>());
    let bad = Request::get("/").header(AUTHORIZATION, "Bearer x.y.z").body(Full::default()).unwrap();
    let none = || Request::new(Full::<Bytes>::default());
    let answer = bearer().optional().layer(node.layer.layer(inner())).oneshot(none()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = bearer().observe().layer(node.layer.layer(inner())).oneshot(bad).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = node.layer.layer(inner()).oneshot(none()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(node.questions(), 0);
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let session = open(&store, "ada", &policy).await;
    let node = Node::new(&store, as_it_is);
    let token = node.token(&session);
    let mut service = JwtAuthLayer::new(node.issuer.verifier::<NoClaims>())
        .layer(node.layer.layer(OneShotReadiness::default()));
    // The first asks the store, the second does not.
    for _ in 0..2 {
        let request =
            Request::get("/").header(AUTHORIZATION, format!("Bearer {token}")).body(Full::default()).unwrap();
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert_eq!(node.questions(), 1);
}

#[tokio::test]
async fn readiness_asks_nobody() {
    let store = MokaStore::new();
    let node = Node::new(&store, as_it_is);
    node.faults.outage();
    let mut service = node.layer.layer(OneShotReadiness::default());
    let ready =
        std::future::poll_fn(|cx| Poll::Ready(Service::<Request<Full<Bytes>>>::poll_ready(&mut service, cx)));
    assert!(matches!(ready.await, Poll::Ready(Ok(()))));
    assert_eq!(node.questions(), 0);
}

#[tokio::test]
async fn of_more_sessions_than_it_remembers_some_are_asked_for_again() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Node::new(&store, |layer| layer.with_capacity(10));
    let mut tokens = Vec::new();
    for number in 0..100 {
        let subject = format!("user-{number}");
        tokens.push(node.token(&open(&store, &subject, &policy).await));
    }
    for _ in 0..3 {
        for token in &tokens {
            assert_eq!(node.status(token).await, 200);
        }
    }
    assert!((200..=300).contains(&node.questions()), "{}", node.questions());
}

/// Once an end has returned, no request that begins later passes, whatever is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_and_many_requests_at_once() {
    let (store, policy) = (MokaStore::new(), SessionPolicy::default());
    let node = Arc::new(Node::over(FaultStore::new(store.clone()), Duration::from_millis(2), as_it_is));
    for round in 0..100 {
        let passed = Arc::new(AtomicUsize::new(0));
        let subject = format!("user-{round}");
        let session = open(&store, &subject, &policy).await;
        let token = node.token(&session);
        let (ended, watch) = tokio::sync::watch::channel(false);
        let mut all = JoinSet::new();
        for _ in 0..8 {
            let (node, token, watch, passed) =
                (Arc::clone(&node), token.clone(), watch.clone(), Arc::clone(&passed));
            all.spawn(async move {
                for _ in 0..200 {
                    let before = *watch.borrow();
                    let status = node.status(&token).await;
                    assert!(status == 401 || !before, "{status} after the end");
                    if status == 401 {
                        return;
                    }
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Of at most 1,600.
        while passed.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            revoke(&store, &session).await;
        } else {
            store
                .revoke_subject(&SubjectDigest::of(&subject), None, &policy, &fresh_attempt())
                .await
                .unwrap();
        }
        ended.send(true).unwrap();
        while let Some(outcome) = all.join_next().await {
            outcome.unwrap();
        }
        assert_eq!(node.status(&token).await, 401);
    }
}
