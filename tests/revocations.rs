//! The revocations layer: what it refuses and when, how often it asks, and what it does while nobody answers.

#![cfg(all(feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
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
use tower_jwt_auth::test_util::{Fault, FaultStore, Faults, ManualClock, StoreOperation, TestIssuer};
use tower_jwt_auth::{
    AccessGrant, JwtAuthLayer, MokaStore, NoClaims, ResponseBody, RevocationKey, RevocationStore,
    Revocations, RevocationsLayer, SessionChange, SessionFeed, StoreError, Timestamp, Verifier,
};

const STALENESS: Duration = Duration::from_secs(10);

type Answer = Response<ResponseBody<ResponseBody<Full<Bytes>>>>;

/// A node: the store as it sees it, and the faults of that view.
struct Node {
    layer: RevocationsLayer,
    faults: Faults,
    issuer: TestIssuer,
}

impl Node {
    fn new(store: &MokaStore) -> Self {
        Self::over(FaultStore::new(store.clone()), STALENESS)
    }

    /// It is told nothing of what others revoke.
    fn elsewhere(store: &MokaStore) -> Self {
        Self::over(FaultStore::new(store.clone()).without_feed(), STALENESS)
    }

    fn over<S: RevocationStore>(store: FaultStore<S>, staleness: Duration) -> Self {
        let faults = store.faults();
        Self { layer: RevocationsLayer::new(store, staleness), faults, issuer: TestIssuer::new() }
    }

    async fn send_request(&self, request: http::request::Builder, token: &str) -> Answer {
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = JwtAuthLayer::new(self.issuer.verifier::<NoClaims>()).layer(self.layer.layer(inner));
        let request = request.header(AUTHORIZATION, format!("Bearer {token}")).body(Full::default()).unwrap();
        service.oneshot(request).await.unwrap()
    }

    async fn status(&self, token: &str) -> u16 {
        self.send_request(Request::get("/"), token).await.status().as_u16()
    }

    fn token(&self, subject: &str) -> String {
        self.issuer.token_for(&AccessGrant::new(subject), &NoClaims {})
    }

    fn token_id(&self, token: &str) -> String {
        let verified = self.issuer.verifier::<NoClaims>().verify(token).unwrap();
        verified.registered().token_id().unwrap().to_owned()
    }

    fn questions(&self) -> usize {
        self.faults.count(StoreOperation::NotBefore)
    }
}

fn revocations(store: &MokaStore) -> Revocations {
    Revocations::new(store.clone())
}

#[tokio::test]
async fn row_65_c16_what_this_process_revokes_is_refused_at_once() {
    let store = MokaStore::new();
    let node = Node::new(&store);
    let (one, other, bob) = (node.token("ada"), node.token("ada"), node.token("bob"));
    for token in [&one, &other, &bob] {
        assert_eq!(node.status(token).await, 200);
    }
    // A name is good within its issuer only.
    revocations(&store).revoke_token("https://other.example", &node.token_id(&one)).await.unwrap();
    revocations(&store).revoke_subject("https://other.example", "ada").await.unwrap();
    assert_eq!(node.status(&one).await, 200);

    revocations(&store).revoke_token(TestIssuer::ISSUER, &node.token_id(&one)).await.unwrap();
    assert_eq!((node.status(&one).await, node.status(&other).await), (401, 200));
    revocations(&store).revoke_subject(TestIssuer::ISSUER, "ada").await.unwrap();
    assert_eq!((node.status(&other).await, node.status(&bob).await), (401, 200));
    // What was revoked before it was ever seen.
    let late = Node::new(&store);
    for (token, expected) in [(&one, 401), (&other, 401), (&bob, 200)] {
        assert_eq!(late.status(token).await, expected);
    }
}

/// A token counts again that was issued after the time, and whatever the order, the latest time stays.
#[tokio::test]
async fn a_time_of_issue_divides_the_tokens_of_a_subject() {
    let store = MokaStore::new();
    let clock = ManualClock::new();
    let mut node = Node::new(&store);
    node.issuer = TestIssuer::new().with_clock(clock.clone());
    let revocations = revocations(&store).with_clock(clock.clone());
    let before = node.token("ada");
    assert_eq!(node.status(&before).await, 200);
    revocations.revoke_subject(TestIssuer::ISSUER, "ada").await.unwrap();
    clock.advance(SECOND);
    let after = node.token("ada");
    assert_eq!((node.status(&before).await, node.status(&after).await), (401, 200));

    let issued = node.issuer.verifier::<NoClaims>().verify(&after).unwrap().registered().issued_at();
    let of = |millis: i64| Timestamp::from_unix_millis(issued.as_unix_millis() + millis);
    for (time, expected) in [(of(0), 200), (of(1), 401), (of(-60_000), 401)] {
        revocations.revoke_subject_before(TestIssuer::ISSUER, "ada", time).await.unwrap();
        assert_eq!(node.status(&after).await, expected, "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_elsewhere_is_refused_after_the_bound_and_not_asked_for_more_often() {
    let store = MokaStore::new();
    let node = Node::elsewhere(&store);
    for by_name in [true, false] {
        let token = node.token("ada");
        node.faults.take_calls();
        assert_eq!(node.status(&token).await, 200);
        let first = node.questions();
        if by_name {
            revocations(&store).revoke_token(TestIssuer::ISSUER, &node.token_id(&token)).await.unwrap();
        } else {
            revocations(&store).revoke_subject(TestIssuer::ISSUER, "ada").await.unwrap();
        }
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(node.status(&token).await, 200);
        assert_eq!(node.questions(), first);
        tokio::time::advance(Duration::from_millis(1)).await;
        for _ in 0..10 {
            assert_eq!(node.status(&token).await, 401);
        }
        assert!(node.questions() <= first + 2, "{}", node.questions());
        tokio::time::advance(STALENESS * 2).await;
        assert_eq!(node.status(&token).await, 401);
    }
}

#[tokio::test]
async fn with_zero_it_is_asked_each_time() {
    let store = MokaStore::new();
    let node = Node::over(FaultStore::new(store.clone()).without_feed(), Duration::ZERO);
    let token = node.token("ada");
    for asked in 1..=3 {
        assert_eq!(node.status(&token).await, 200);
        assert_eq!(node.questions(), 2 * asked, "of the token and of its subject");
    }
    revocations(&store).revoke_subject(TestIssuer::ISSUER, "ada").await.unwrap();
    assert_eq!(node.status(&token).await, 401);
    node.faults.outage();
    assert_eq!(node.status(&token).await, 503);
}

#[tokio::test(start_paused = true)]
async fn one_question_is_asked_for_all_who_want_to_know() {
    let store = MokaStore::new();
    let inner = FaultStore::new(store.clone()).without_feed();
    let behind = inner.faults();
    let node = Arc::new(Node::over(FaultStore::new(inner), STALENESS));
    let token = node.token("ada");
    for (is_down, expected) in [(false, 200), (true, 503)] {
        tokio::time::advance(STALENESS * 2).await;
        node.faults.take_calls();
        // A slow answer, or a slow failure, to both questions.
        node.faults.next(2, [StoreOperation::NotBefore], Fault::Hang);
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
        assert_eq!(node.questions(), if is_down { 4 } else { 2 });
    }
}

/// As a client goes away, whose request was the one that asked.
#[tokio::test]
async fn a_question_that_is_given_up_is_asked_by_the_next_who_waits() {
    let store = MokaStore::new();
    let node = Arc::new(Node::elsewhere(&store));
    let token = node.token("ada");
    node.faults.next(2, [StoreOperation::NotBefore], Fault::Hang);
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
    assert_eq!(node.questions(), 4);
}

#[tokio::test]
async fn an_answer_of_before_the_revocation_is_not_taken() {
    let store = MokaStore::new();
    for by_name in [true, false] {
        let node = Arc::new(Node::new(&store));
        let token = node.token("ada");
        // They are carried out, and their answers wait.
        node.faults.next(2, [StoreOperation::NotBefore], Fault::HoldAnswer);
        let (asking, sent) = (Arc::clone(&node), token.clone());
        let request = tokio::spawn(async move { asking.status(&sent).await });
        node.faults.until_hanging().await;
        if by_name {
            revocations(&store).revoke_token(TestIssuer::ISSUER, &node.token_id(&token)).await.unwrap();
        } else {
            revocations(&store).revoke_subject(TestIssuer::ISSUER, "ada").await.unwrap();
        }
        node.faults.recover();
        assert_eq!(request.await.unwrap(), 401, "by name: {by_name}");
        assert_eq!(node.status(&token).await, 401, "by name: {by_name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_503_and_asked_once_a_second() {
    let store = MokaStore::new();
    let node = Node::elsewhere(&store);
    let token = node.token("ada");
    let (events, _guard) = Events::start();
    node.faults.outage();
    for _ in 0..10 {
        let answer = node.send_request(Request::get("/"), &token).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
    }
    assert_eq!(node.questions(), 4, "each once, and once more");
    let told = events.take_own();
    let count = |what: &str| told.iter().filter(|event| event.contains(what)).count();
    assert_eq!(count("tower_jwt_auth::revocation unavailable"), 2);
    assert_eq!(count("tower_jwt_auth::revocation rejected"), 10);
    tokio::time::advance(SECOND).await;
    node.faults.recover();
    assert_eq!(node.status(&token).await, 200);
}

#[tokio::test(start_paused = true)]
async fn trust_lasts_for_its_bound_and_not_for_what_was_revoked() {
    let store = MokaStore::new();
    let mut node = Node::new(&store);
    let inner = FaultStore::new(store.clone());
    node.faults = inner.faults();
    node.layer = RevocationsLayer::new(inner, STALENESS).trust_for(STALENESS * 6);
    let (token, gone, unseen) = (node.token("ada"), node.token("bob"), node.token("eve"));
    assert_eq!((node.status(&token).await, node.status(&gone).await), (200, 200));
    revocations(&store).revoke_subject(TestIssuer::ISSUER, "bob").await.unwrap();
    node.faults.outage();
    for (after, expected) in [(STALENESS * 2, 200), (STALENESS * 3, 200), (STALENESS, 503)] {
        tokio::time::advance(after).await;
        assert_eq!(node.status(&token).await, expected);
        assert_eq!(node.status(&gone).await, 401);
        assert_eq!(node.status(&unseen).await, 503);
    }
}

/// Of a revocation whose answer was lost nobody knows whether it came to pass: the store is asked.
#[tokio::test]
async fn a_revocation_that_failed_is_asked_for() {
    let store = MokaStore::new();
    for fault in [Fault::Fail, Fault::LoseAnswer] {
        let shared = FaultStore::new(store.clone());
        let faults = shared.faults();
        let mut node = Node::new(&store);
        node.layer = RevocationsLayer::new(shared.clone(), STALENESS);
        let token = node.token("ada");
        assert_eq!(node.status(&token).await, 200);
        let (events, _guard) = Events::start();
        faults.each([StoreOperation::RevokeIssuedBefore], fault);
        let failing = Revocations::new(shared);
        failing.revoke_subject(TestIssuer::ISSUER, "ada").await.unwrap_err();
        assert_eq!(faults.count(StoreOperation::RevokeIssuedBefore), 2, "sent a second time");
        assert!(events.take_own().iter().any(|event| event.contains("revocation not_revoked")));
        assert_eq!(node.status(&token).await, if fault == Fault::Fail { 200 } else { 401 });
    }
}

/// A store that revokes, tells nobody and never answers.
#[derive(Clone)]
struct Mute {
    store: MokaStore,
    feed: SessionFeed,
}

impl RevocationStore for Mute {
    async fn revoke_issued_before(
        &self,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        self.store.revoke_issued_before(key, not_before, keep_for).await?;
        std::future::pending().await
    }

    async fn not_before(&self, key: &RevocationKey) -> Result<Option<Timestamp>, StoreError> {
        self.store.not_before(key).await
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        Some(&self.feed)
    }
}

/// As a client goes away, whose request was the one that revoked.
#[tokio::test]
async fn a_revocation_that_is_dropped_is_asked_for() {
    let mute = Mute { store: MokaStore::new(), feed: SessionFeed::new() };
    let mut node = Node::new(&mute.store);
    node.layer = RevocationsLayer::new(mute.clone(), STALENESS);
    let token = node.token("ada");
    assert_eq!(node.status(&token).await, 200);
    let revocations = Revocations::new(mute);
    let dropped = support::poll_then_drop(revocations.revoke_subject(TestIssuer::ISSUER, "ada"), 3);
    assert!(dropped.is_none());
    assert_eq!(node.status(&token).await, 401);
}

/// A message is believed for as long as an answer: whoever can send one locks nobody out for longer.
#[tokio::test(start_paused = true)]
async fn a_message_of_nobody_is_believed_until_the_store_is_asked() {
    let feed = SessionFeed::new();
    let quiet = Mute { store: MokaStore::new(), feed: feed.clone() };
    let mut node = Node::new(&quiet.store);
    node.layer = RevocationsLayer::new(quiet, STALENESS);
    let token = node.token("ada");
    assert_eq!(node.status(&token).await, 200);
    let key = RevocationKey::subject(TestIssuer::ISSUER, "ada");
    feed.send(&SessionChange::TokensRevoked { key, not_before: Timestamp::from_unix_millis(i64::MAX) });
    assert_eq!(node.status(&token).await, 401);
    tokio::time::advance(STALENESS).await;
    assert_eq!(node.status(&token).await, 200);
}

#[tokio::test]
async fn answers_in_the_protocol_of_the_request_and_in_the_words_of_the_bearer_layer() {
    let store = MokaStore::new();
    let node = Node::new(&store);
    let token = node.token("ada");
    revocations(&store).revoke_token(TestIssuer::ISSUER, &node.token_id(&token)).await.unwrap();
    let (events, _guard) = Events::start();
    let answer = node.send_request(Request::get("/"), &token).await;
    assert_eq!(
        answer.headers()[WWW_AUTHENTICATE],
        r#"Bearer realm="api", error="invalid_token", error_description="the access token is not valid""#
    );
    assert!(events.take_own().iter().any(|event| {
        event.contains("tower_jwt_auth::revocation rejected") && event.contains("reason=\"revoked\"")
    }));
    let call = Request::post("/pkg.Service/Call").header(CONTENT_TYPE, "application/grpc");
    let answer = node.send_request(call, &token).await;
    assert_eq!((answer.status(), answer.headers()["grpc-status"].as_bytes()), (StatusCode::OK, &b"16"[..]));
}

#[tokio::test]
async fn tokens_of_other_issuers_where_one_is_named() {
    let store = MokaStore::new();
    let mut node = Node::new(&store);
    let (ours, theirs) = (TestIssuer::new(), TestIssuer::new().with_issuer("https://partner.example"));
    let verifier = Verifier::several([ours.verifier::<NoClaims>(), theirs.verifier()]).unwrap();
    node.layer = node.layer.for_issuer("https://partner.example");
    let grant = AccessGrant::new("ada");
    for issuer in [TestIssuer::ISSUER, "https://partner.example"] {
        revocations(&store).revoke_subject(issuer, "ada").await.unwrap();
    }
    for (issuer, expected) in [(&ours, 200), (&theirs, 401)] {
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = JwtAuthLayer::new(verifier.clone()).layer(node.layer.layer(inner));
        let token = issuer.token_for(&grant, &NoClaims {});
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = service.oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected);
    }
}

#[tokio::test]
async fn requests_without_a_token_pass_and_without_a_bearer_layer_none_does() {
    let store = MokaStore::new();
    let node = Node::new(&store);
    let inner = || {
        service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        })
    };
    let none = || Request::new(Full::<Bytes>::default());
    let bearer = JwtAuthLayer::new(node.issuer.verifier::<NoClaims>()).optional();
    let answer = bearer.layer(node.layer.layer(inner())).oneshot(none()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = node.layer.layer(inner()).oneshot(none()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(node.questions(), 0);
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let node = Node::new(&MokaStore::new());
    let token = node.token("ada");
    let mut service = JwtAuthLayer::new(node.issuer.verifier::<NoClaims>())
        .layer(node.layer.layer(OneShotReadiness::default()));
    // The first asks the store, the second does not.
    for _ in 0..2 {
        let request =
            Request::get("/").header(AUTHORIZATION, format!("Bearer {token}")).body(Full::default()).unwrap();
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert_eq!(node.questions(), 2);
}

/// Once a revocation has returned, no request that begins later passes, whatever is under way and however little is remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revocation_and_many_requests_at_once() {
    let store = MokaStore::new();
    for capacity in [1, 100_000] {
        let mut node = Node::new(&store);
        node.layer = RevocationsLayer::new(store.clone(), STALENESS).with_capacity(capacity);
        let node = Arc::new(node);
        for round in 0..15 {
            let subject = format!("user-{capacity}-{round}");
            let token = node.token(&subject);
            let mut all = JoinSet::new();
            for _ in 0..8 {
                let (node, token) = (Arc::clone(&node), token.clone());
                all.spawn(async move {
                    for _ in 0..20 {
                        node.status(&token).await;
                        tokio::task::yield_now().await;
                    }
                });
            }
            tokio::task::yield_now().await;
            revocations(&store).revoke_subject(TestIssuer::ISSUER, &subject).await.unwrap();
            for _ in 0..5 {
                assert_eq!(node.status(&token).await, 401, "{subject}");
            }
            all.join_all().await;
            assert_eq!(node.status(&token).await, 401, "{subject}");
        }
    }
}
