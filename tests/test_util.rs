//! What the crate offers to tests of others: good and bad tokens, and a store that fails on demand.
#![cfg(all(feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::requests::{bearer, send};
use support::tokens::json_of;
use support::{DAY, HOUR, MINUTE, SECOND, new_session, poll_then_drop, present};
use tower_jwt_auth::test_util::{
    Bench, Fault, FaultStore, Faults, ManualClock, StoreOperation, TestIssuer, bearer as authorization,
    revocation_contract,
};
use tower_jwt_auth::{
    AccessGrant, Attempt, AuthContext, Clock, JwtAuthLayer, MokaStore, NoClaims, Outcome, RejectionKind,
    RevocationKey, RevocationStore, SessionPolicy, SessionStore, StoreError, StoreErrorKind, SubjectDigest,
    Timestamp, TokenConfig, TokenErrorKind, Verified, Verifier,
};

/// With a number that loses digits on its way through a float.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    email: String,
    number: u64,
}

fn user() -> User {
    User { email: "ada@app.example".to_owned(), number: u64::MAX - 1 }
}

/// Its tokens are the same each time, but for `jti`.
fn issuer() -> (TestIssuer, ManualClock) {
    let clock = ManualClock::new();
    (TestIssuer::new().with_clock(clock.clone()), clock)
}

fn kind(issuer: &TestIssuer, token: &str) -> TokenErrorKind {
    issuer.verifier::<User>().verify(token).unwrap_err().kind()
}

// ── good tokens ──

#[test]
fn good_tokens_are_accepted_and_say_what_they_were_given() {
    let (issuer, clock) = issuer();
    let grant = AccessGrant::new("ada").with_scopes(["orders:read"]).with_session("s-1", 3);
    let verifier = issuer.verifier::<User>();
    let scopes = |verified: &Verified<User>| {
        verified.registered().scopes().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (row, verified, subject, scope, session) in [
        ("token", verifier.verify(&issuer.token(&user())).unwrap(), TestIssuer::SUBJECT, "", None),
        ("verified", issuer.verified(&user()), TestIssuer::SUBJECT, "", None),
        (
            "token_for",
            verifier.verify(&issuer.token_for(&grant, &user())).unwrap(),
            "ada",
            "orders:read",
            Some("s-1"),
        ),
        ("verified_for", issuer.verified_for(&grant, &user()), "ada", "orders:read", Some("s-1")),
    ] {
        assert_eq!(*verified.claims(), user(), "{row}");
        assert_eq!((verified.subject(), &*scopes(&verified)), (subject, scope), "{row}");
        assert_eq!(verified.session_id(), session, "{row}");
        assert_eq!(verified.registered().issuer(), TestIssuer::ISSUER, "{row}");
        assert_eq!(verified.registered().issued_at(), clock.now(), "{row}");
    }
    // By the clock of the system, too.
    let issuer = TestIssuer::default();
    assert!(issuer.verifier::<NoClaims>().verify(&issuer.token(&NoClaims {})).is_ok());
}

/// The same each time: a token that a test printed can be looked at in the next run.
#[test]
fn the_key_belongs_to_the_name_of_the_issuer() {
    let keys = |issuer: &TestIssuer| issuer.config().keys().load().to_jwks();
    assert_eq!(keys(&TestIssuer::new()), keys(&TestIssuer::new()));
    let other = TestIssuer::new().with_issuer("https://other.test").with_audience("other-api");
    assert_ne!(keys(&TestIssuer::new()), keys(&other));
    assert_eq!(keys(&other), keys(&other.clone().with_audience("a third")));
    assert_eq!(kind(&TestIssuer::new(), &other.token(&user())), TokenErrorKind::UnknownKey);
    let verified = other.verified(&user());
    assert_eq!(verified.registered().issuer(), "https://other.test");
    assert_eq!(json_of(other.token(&user()).split('.').nth(1).unwrap())["aud"], "other-api");
}

#[test]
fn a_test_that_cannot_go_on_is_told_why() {
    #[derive(Serialize, Deserialize)]
    struct Clash {
        sub: String,
    }
    let told = |work: fn()| {
        let payload = std::panic::catch_unwind(work).unwrap_err();
        payload.downcast_ref::<String>().unwrap().clone()
    };
    for (row, message, part) in [
        ("claims", told(|| drop(TestIssuer::new().token(&Clash { sub: "x".into() }))), "have `sub`"),
        ("subject", told(|| drop(TestIssuer::new().token_for(&AccessGrant::new(""), &user()))), "subject"),
        ("issuer", told(|| drop(TestIssuer::new().with_issuer("http://issuer.example"))), "https"),
        ("audience", told(|| drop(TestIssuer::new().with_audience(""))), "audience"),
        ("header", told(|| drop(authorization("a\nb"))), "header"),
    ] {
        assert!(message.contains(part), "{row}: {message}");
    }
}

#[test]
fn the_value_of_authorization() {
    let value = authorization("a.b.c");
    assert_eq!(value, "Bearer a.b.c");
    assert!(value.is_sensitive());
}

// ── bad tokens ──

/// What of a token may differ from a good one.
type Differences = &'static [&'static str];

/// The name of each bad token, how it is refused, and what it changes: the header's members with a slash.
const BAD: [(&str, TokenErrorKind, Differences); 14] = [
    ("expired", TokenErrorKind::Expired, &["exp", "iat"]),
    ("not_yet_valid", TokenErrorKind::NotYetValid, &["nbf"]),
    ("long_lived", TokenErrorKind::Lifetime, &["exp"]),
    ("without_expiry", TokenErrorKind::Claims, &["exp"]),
    ("without_subject", TokenErrorKind::Claims, &["sub"]),
    ("wrong_audience", TokenErrorKind::Audience, &["aud"]),
    ("wrong_issuer", TokenErrorKind::Issuer, &["iss"]),
    ("wrong_type", TokenErrorKind::Type, &["/typ"]),
    ("wrong_algorithm", TokenErrorKind::Algorithm, &["/alg"]),
    ("unsigned", TokenErrorKind::Algorithm, &["/alg"]),
    ("unknown_key", TokenErrorKind::UnknownKey, &["/kid"]),
    ("forged", TokenErrorKind::Signature, &[]),
    ("tampered", TokenErrorKind::Signature, &["sub"]),
    ("garbage", TokenErrorKind::Malformed, &[]),
];

/// Header and claims in one, without what no two tokens share.
fn members(token: &str) -> BTreeMap<String, Value> {
    let mut segments = token.split('.').map(json_of);
    let (header, claims) = (segments.next().unwrap(), segments.next().unwrap());
    let header =
        header.as_object().unwrap().clone().into_iter().map(|(name, value)| (format!("/{name}"), value));
    let claims = claims.as_object().unwrap().clone().into_iter();
    header.chain(claims).filter(|(name, _)| name != "jti").collect()
}

#[test]
fn each_bad_token_has_its_one_fault() {
    let (issuer, _) = issuer();
    let good = members(&issuer.token(&user()));
    let bad = issuer.bad_tokens(&user());
    let names: Vec<_> = bad.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, BAD.map(|(name, ..)| name));
    for ((name, token), (_, expected, differences)) in bad.iter().zip(BAD) {
        assert_eq!(kind(&issuer, token), expected, "{name}");
        if *name == "garbage" {
            continue;
        }
        let found = members(token);
        let all: BTreeSet<_> = good.keys().chain(found.keys()).collect();
        let differing: Vec<_> = all.into_iter().filter(|name| good.get(*name) != found.get(*name)).collect();
        assert_eq!(differing, differences, "{name}");
        assert_eq!(found["number"], json!(u64::MAX - 1), "{name}");
    }
}

/// No fault hides another: mended, each is good.
#[test]
fn times_are_the_only_fault_of_tokens_refused_for_a_time() {
    let (issuer, clock) = issuer();
    let refused = |token: &str| issuer.verifier::<User>().verify(token).err().map(|error| error.kind());
    for (name, token, mended) in [
        ("expired", issuer.expired(&user()), ManualClock::START.saturating_sub(20 * MINUTE)),
        ("not_yet_valid", issuer.not_yet_valid(&user()), ManualClock::START.saturating_add(10 * MINUTE)),
    ] {
        clock.set(ManualClock::START);
        assert!(refused(&token).is_some(), "{name}");
        clock.set(mended);
        assert_eq!(refused(&token), None, "{name}, mended");
    }
    // Nor does a slow test mend it.
    clock.set(ManualClock::START);
    let early = issuer.not_yet_valid(&user());
    clock.advance(9 * MINUTE);
    assert_eq!(refused(&early), Some(TokenErrorKind::NotYetValid));
}

/// The signature is good: whoever knows the key accepts the token.
#[test]
fn a_token_of_an_unknown_key_is_by_that_key() {
    let (issuer, clock) = issuer();
    let other = issuer.clone().with_issuer(format!("{}.other", TestIssuer::ISSUER));
    let config = TokenConfig::builder()
        .add_key_set(&other.config().keys().load())
        .issuer(TestIssuer::ISSUER)
        .audience(TestIssuer::AUDIENCE)
        .clock(clock)
        .build()
        .unwrap();
    assert!(config.verifier::<User>().verify(&issuer.unknown_key(&user())).is_ok());
}

#[test]
fn a_token_with_the_wrong_audience_is_good_there() {
    let (issuer, _) = issuer();
    let audience = format!("{}-other", TestIssuer::AUDIENCE);
    let other = issuer.clone().with_audience(audience);
    assert_eq!(*other.verifier::<User>().verify(&issuer.wrong_audience(&user())).unwrap().claims(), user());
}

/// Two issuers, of which each is trusted for its own tokens only.
#[test]
fn a_verifier_of_several_issuers_refuses_the_bad_tokens_of_each() {
    let (one, _) = issuer();
    let other = one.clone().with_issuer(format!("{}.other", TestIssuer::ISSUER));
    let verifier = Verifier::several([one.verifier::<User>(), other.verifier()]).unwrap();
    for issuer in [one, other] {
        assert!(verifier.verify(&issuer.token(&user())).is_ok());
        for (name, token) in issuer.bad_tokens(&user()) {
            assert!(verifier.verify(&token).is_err(), "{name}");
        }
    }
}

/// The layer refuses them all alike, and none of them reaches the service.
#[tokio::test]
async fn the_layer_refuses_all_bad_tokens() {
    let (issuer, _) = issuer();
    let layer = JwtAuthLayer::new(issuer.verifier::<User>());
    let tokens = issuer.bad_tokens(&user());
    assert_eq!(tokens.len(), BAD.len());
    for (name, token) in tokens {
        let answer = send(&layer, bearer(&token)).await;
        assert_eq!((answer.status, answer.calls), (StatusCode::UNAUTHORIZED, 0), "{name}");
        assert_eq!(answer.rejection.unwrap().kind(), RejectionKind::InvalidToken, "{name}");
    }
    let answer = send(&layer, bearer(&issuer.token(&user()))).await;
    assert_eq!((answer.status, answer.calls), (StatusCode::OK, 1));
    assert_eq!(answer.subject.as_deref(), Some(TestIssuer::SUBJECT));
}

#[test]
fn a_handler_finds_the_context_of_a_test() {
    let mut extensions = http::Extensions::new();
    extensions.insert(AuthContext::for_test(TestIssuer::new().verified(&user())));
    assert_eq!(*Verified::<User>::of(&extensions).unwrap(), user());
    extensions.insert(AuthContext::anonymous_for_test());
    assert!(Verified::<User>::of(&extensions).is_none());
    assert!(matches!(AuthContext::of(&extensions).unwrap().outcome(), Outcome::Anonymous));
}

// ── a store that fails on demand ──

/// Told nothing, it is the store that it wraps.
mod told_nothing {
    use super::*;

    async fn open() -> Bench<FaultStore<MokaStore>, ManualClock> {
        let (store, _, clock) = store();
        Bench { store, clock }
    }

    tower_jwt_auth::store_contract!(open);
}

fn store() -> (FaultStore<MokaStore>, Faults, ManualClock) {
    let clock = ManualClock::new();
    let store = FaultStore::new(MokaStore::builder().clock(clock.clone()).build());
    let faults = store.faults();
    (store, faults, clock)
}

fn ada() -> SubjectDigest {
    SubjectDigest::of("ada")
}

/// Calls one operation, for a session that may or may not be there.
async fn ask(
    store: &(impl SessionStore + RevocationStore),
    operation: StoreOperation,
) -> Result<(), StoreError> {
    let policy = SessionPolicy::default();
    let session = new_session("ada", ManualClock::START);
    let (subject, id, attempt) = (ada(), session.session_id, Attempt::from_bytes([7; 16]));
    match operation {
        StoreOperation::Now => store.now().await.map(drop),
        StoreOperation::Create => store.create(&session, &policy).await.map(drop),
        StoreOperation::Rotate => store.rotate(&present(&session, 0), &policy).await.map(drop),
        StoreOperation::Get => store.get(&subject, &id).await.map(drop),
        StoreOperation::List => store.list(&subject).await.map(drop),
        StoreOperation::Revoke => store.revoke(&subject, &id, None, &attempt).await.map(drop),
        StoreOperation::RevokeSubject => {
            store.revoke_subject(&subject, None, &policy, &attempt).await.map(drop)
        }
        StoreOperation::MarkUsed => store.mark_used(&subject, &id, 0, 0).await,
        StoreOperation::PurgeExpired => store.purge_expired().await.map(drop),
        StoreOperation::RevokeIssuedBefore => {
            store.revoke_issued_before(&RevocationKey::token("issuer", "1"), ManualClock::START, HOUR).await
        }
        StoreOperation::NotBefore => store.not_before(&RevocationKey::token("issuer", "1")).await.map(drop),
        other => panic!("no way to ask for {other:?}"),
    }
}

fn failed(result: Result<(), StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind())
}

/// How many sessions Ada has, whatever the faults.
async fn sessions(store: &FaultStore<MokaStore>) -> usize {
    store.inner().list(&ada()).await.unwrap().len()
}

/// A fault of one operation is met by this one, and by no other.
#[tokio::test]
async fn each_operation_has_its_faults_and_its_count() {
    for &faulty in StoreOperation::ALL {
        let (store, faults, _) = store();
        faults.next(1, [faulty], Fault::Fail);
        for &operation in StoreOperation::ALL {
            let expected = (operation == faulty).then_some(StoreErrorKind::Unavailable);
            assert_eq!(failed(ask(&store, operation).await), expected, "{operation:?}, {faulty:?} fails");
            assert_eq!(failed(ask(&store, operation).await), None, "{operation:?}, a second time");
        }
        faults.each([faulty], Fault::Fail);
        for &operation in StoreOperation::ALL {
            let expected = (operation == faulty).then_some(StoreErrorKind::Unavailable);
            for _ in 0..2 {
                assert_eq!(failed(ask(&store, operation).await), expected, "{operation:?}, {faulty:?} down");
            }
            assert_eq!(faults.count(operation), 4, "{operation:?}");
        }
        let calls = faults.take_calls();
        assert_eq!(calls.len(), 4 * StoreOperation::ALL.len());
        assert_eq!(calls[..2], [StoreOperation::Now; 2]);
        assert_eq!(calls[calls.len() - 2..], [StoreOperation::NotBefore; 2]);
        assert_eq!(faults.count(faulty), 0, "counted anew");
    }
}

#[tokio::test]
async fn the_next_calls_fail_and_those_behind_do_not() {
    let (store, faults, _) = store();
    faults.next(2, StoreOperation::ALL.iter().copied(), Fault::Fail);
    assert_eq!(faults.pending(), 2);
    for (operation, expected, pending) in [
        (StoreOperation::Create, Some(StoreErrorKind::Unavailable), 1),
        (StoreOperation::List, Some(StoreErrorKind::Unavailable), 0),
        (StoreOperation::Create, None, 0),
    ] {
        assert_eq!(failed(ask(&store, operation).await), expected, "{operation:?}");
        assert_eq!(faults.pending(), pending, "{operation:?}");
    }
    assert_eq!(sessions(&store).await, 1, "what failed did nothing");
}

#[tokio::test]
async fn an_answer_that_is_lost_was_one() {
    let (store, faults, _) = store();
    faults.next(1, [StoreOperation::Create], Fault::LoseAnswer);
    assert_eq!(failed(ask(&store, StoreOperation::Create).await), Some(StoreErrorKind::Timeout));
    assert_eq!(sessions(&store).await, 1);
}

/// The first told come first, and what lasts comes last.
#[tokio::test]
async fn faults_come_in_order() {
    let (store, faults, _) = store();
    faults.outage();
    faults.next(1, [StoreOperation::Create], Fault::LoseAnswer);
    faults.next(1, StoreOperation::ALL.iter().copied(), Fault::LoseAnswer);
    faults.next(1, StoreOperation::ALL.iter().copied(), Fault::Fail);
    for (row, expected, kept) in [
        ("the first", StoreErrorKind::Timeout, 1),
        ("the second", StoreErrorKind::Timeout, 2),
        ("the third", StoreErrorKind::Unavailable, 2),
        ("the outage", StoreErrorKind::Unavailable, 2),
        ("the outage, still", StoreErrorKind::Unavailable, 2),
    ] {
        assert_eq!(failed(ask(&store, StoreOperation::Create).await), Some(expected), "{row}");
        assert_eq!(sessions(&store).await, kept, "{row}");
    }
}

#[tokio::test]
async fn recovery_takes_back_all_faults() {
    let (store, faults, _) = store();
    faults.outage();
    faults.next(3, [StoreOperation::Create], Fault::Fail);
    assert!(ask(&store, StoreOperation::Get).await.is_err());
    faults.recover();
    assert_eq!(faults.pending(), 0);
    for &operation in StoreOperation::ALL {
        assert_eq!(failed(ask(&store, operation).await), None, "{operation:?}");
    }
}

/// Nothing is done while it hangs, and then all of it; what was dropped meanwhile never happens.
#[tokio::test]
async fn a_call_that_hangs_goes_on_after_the_recovery() {
    let (store, faults, _) = store();
    faults.each([StoreOperation::Create], Fault::Hang);
    let dropped = Box::pin(ask(&store, StoreOperation::Create));
    assert!(poll_then_drop(dropped, 3).is_none());
    assert!(poll_then_drop(faults.until_hanging(), 3).is_none(), "it was dropped: nobody hangs");

    let waiting = tokio::spawn({
        let store = store.clone();
        async move { ask(&store, StoreOperation::Create).await }
    });
    tokio::time::timeout(HOUR, faults.until_hanging()).await.unwrap();
    assert!(!waiting.is_finished());
    assert_eq!(sessions(&store).await, 0);
    assert_eq!(failed(ask(&store, StoreOperation::Get).await), None, "others do not hang");

    faults.recover();
    assert_eq!(failed(waiting.await.unwrap()), None);
    assert_eq!(sessions(&store).await, 1);
    assert_eq!(faults.count(StoreOperation::Create), 2);
    assert!(poll_then_drop(faults.until_hanging(), 3).is_none(), "it went on");

    // The recovery before is none of its business.
    faults.next(1, [StoreOperation::Now], Fault::Hang);
    assert!(poll_then_drop(Box::pin(ask(&store, StoreOperation::Now)), 3).is_none());
    assert_eq!(faults.pending(), 0);
}

/// An error of the store inside is its own.
#[tokio::test]
async fn errors_of_the_store_inside_come_through() {
    let inner = FaultStore::new(MokaStore::new());
    inner.faults().outage();
    let store = FaultStore::new(inner);
    store.faults().next(1, [StoreOperation::Now], Fault::LoseAnswer);
    for row in ["with its answer lost", "without a fault"] {
        assert_eq!(
            failed(ask(&store, StoreOperation::Now).await),
            Some(StoreErrorKind::Unavailable),
            "{row}"
        );
    }
    assert!(format!("{store:?}").contains("FaultStore"));
}

/// Told nothing, it keeps revocations as the store that it wraps.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revocations_go_through() {
    let store = FaultStore::new(MokaStore::new());
    revocation_contract(store.clone()).await;
    assert!(store.faults().count(StoreOperation::RevokeIssuedBefore) > 0);
    assert!(store.revocation_feed().is_some() && store.feed().is_some());
    let silent = store.without_feed();
    assert!(silent.revocation_feed().is_none() && silent.feed().is_none());
    revocation_contract(silent).await;
}

/// What a clone is told, its original does.
#[tokio::test]
async fn clones_share_faults_and_calls() {
    let (store, faults, clock) = store();
    let (clone, handle) = (store.clone(), faults.clone());
    handle.next(1, [StoreOperation::Now], Fault::Fail);
    assert!(clone.now().await.is_err());
    assert_eq!(store.now().await.unwrap(), clock.now());
    clock.advance(DAY + SECOND);
    let later: Timestamp = clone.now().await.unwrap();
    assert_eq!(later, ManualClock::START.saturating_add(DAY + SECOND));
    assert_eq!((faults.count(StoreOperation::Now), handle.count(StoreOperation::Now)), (3, 3));
}
