//! What every session store does, whatever it keeps its sessions in: one test a function, which
//! [`store_contract!`](crate::store_contract) makes of it.
//!
//! Nothing here relies on a clock that stands still: a store that decides by a server's clock runs the same tests. So
//! times are compared with the `now` of the answer, and windows are passed by a minute at least.

// A fault of the store is a panic of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Barrier;

use super::{ManualClock, created, fresh_attempt, new_session, present, unique};
use crate::clock::Timestamp;
use crate::session::{
    ClientInfo, Decision, NewSession, OnReuse, Presented, Record, Retry, RotationState, SecretDigest,
    SessionPolicy, SubjectDigest, Unknown, decide,
};
use crate::store::{Creation, Listen, Rotation, SessionChange, SessionStore};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// More than any test here takes.
const MARGIN: Duration = MINUTE;

const HOLD: Duration = Duration::from_secs(240);
const RETRY: Duration = Duration::from_secs(480);

/// Moves the clock that a store decides by.
pub trait ShiftTime: Send + Sync + 'static {
    /// Moves it forward.
    fn advance(&self, by: Duration);
    /// Moves it back.
    fn step_back(&self, by: Duration);
}

impl ShiftTime for ManualClock {
    fn advance(&self, by: Duration) {
        ManualClock::advance(self, by);
    }

    fn step_back(&self, by: Duration) {
        ManualClock::step_back(self, by);
    }
}

/// A store that no other test uses, and its clock.
#[derive(Debug)]
pub struct Bench<S, C> {
    /// The store.
    pub store: S,
    /// The clock that it decides by.
    pub clock: C,
}

/// Makes a test of each part of the contract that every [`SessionStore`](crate::SessionStore) keeps.
///
/// The argument is an async function without arguments that gives a [`Bench`](crate::test_util::Bench): a store that no
/// other test uses, and the clock that it decides by. It may give an `Option` of it: with `None`, where there is no
/// server to test with, the tests do nothing. The program needs tokio with `macros` and `rt-multi-thread`.
///
/// ```
/// use tower_jwt_auth::MokaStore;
/// use tower_jwt_auth::test_util::{Bench, ManualClock};
///
/// async fn open() -> Bench<MokaStore, ManualClock> {
///     let clock = ManualClock::new();
///     Bench { store: MokaStore::builder().clock(clock.clone()).build(), clock }
/// }
///
/// tower_jwt_auth::store_contract!(open);
/// ```
#[macro_export]
macro_rules! store_contract {
    ($open:path) => {
        $crate::store_contract!(@one $open:
            a_session_comes_back_as_it_was_given
            odd_values_come_back_as_they_were_given
            a_repeated_create_makes_one_session
            a_session_id_is_looked_up_under_its_subject_only
            the_list_has_the_live_sessions_the_latest_first
            row_1_tokens_of_no_session_are_unknown
            row_2_expired_sessions_are_refused_and_kept
            row_3_writes_that_were_lost_are_recovered
            row_4_a_token_just_handed_out_is_not_rotated
            row_5_a_token_rotates
            row_5_the_absolute_end_does_not_move
            row_6_the_window_does_not_slide
            row_7_a_late_predecessor_ends_its_session_only
            row_8_a_reused_token_ends_what_the_policy_names
            a_reuse_does_not_refuse_logins_under_way
            a_strict_token_is_good_once
            generations_run_out_quietly
            a_resent_rotation_gets_the_same_token
            a_resent_end_is_reported_again_and_ends_nothing_more
            a_session_ends_by_its_proof_only
            all_sessions_of_a_subject_end_but_one
            logins_checked_before_a_revocation_lose
            the_longest_unused_session_makes_room
            a_lower_cap_ends_several
            use_is_marked_once_and_for_the_newest_token
            until_used_a_late_retry_of_an_unused_token_is_answered
            until_used_a_token_in_use_supersedes_its_predecessor
            until_used_an_unused_token_that_is_presented_is_in_use
            until_used_a_resent_replacement_counts_once
            expired_sessions_are_forgotten_a_day_later
            a_clock_that_steps_back_harms_nobody
            a_resent_create_does_not_undo_a_logout
            a_resent_create_does_not_undo_an_end_beside_another
            a_resent_logout_is_answered_again
            a_resent_end_of_all_spares_later_logins
            a_feed_is_told_of_each_end
        );
        $crate::store_contract!(@many $open:
            at_once_a_token_has_one_successor
            at_once_a_strict_token_is_good_once
            at_once_late_retries_are_one_replacement
            at_once_a_creation_makes_one_session
            at_once_logins_keep_to_the_cap
            at_once_no_rotation_outlives_the_end_of_its_session
            at_once_no_login_outlives_the_end_of_all_sessions
            at_once_a_reuse_ends_all_and_is_reported_once
        );
    };
    (@one $open:path: $($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            if let Some(bench) = $crate::test_util::contract::opened($open().await) {
                $crate::test_util::contract::$case(&bench).await;
            }
        }
    )*};
    (@many $open:path: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            if let Some(bench) = $crate::test_util::contract::opened($open().await) {
                $crate::test_util::contract::$case(bench).await;
            }
        }
    )*};
}

/// What a test was given to open.
pub fn opened<S, C>(opened: impl Into<Option<Bench<S, C>>>) -> Option<Bench<S, C>> {
    opened.into()
}

fn policy() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Within { retry: RETRY, hold: HOLD })
}

fn until_used() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::UntilUsed { retry: RETRY, hold: HOLD })
}

fn subject(name: &str) -> String {
    format!("{name}-{}", unique())
}

fn assert_unknown(rotation: &Rotation) {
    assert_eq!(rotation.decision, Decision::Unknown(Unknown::NoSession));
    assert_eq!(rotation.record, None);
}

#[track_caller]
fn generation(rotation: &Rotation) -> u32 {
    rotation.decision.state().unwrap_or_else(|| panic!("refused: {rotation:?}")).generation
}

impl<S: SessionStore, C: ShiftTime> Bench<S, C> {
    async fn now(&self) -> Timestamp {
        self.store.now().await.unwrap()
    }

    /// A session of `subject` that is kept from now on.
    async fn open(&self, subject: &str) -> NewSession {
        let session = new_session(subject, self.now().await);
        created(self.store.create(&session, &policy()).await.unwrap());
        session
    }

    async fn record(&self, session: &NewSession) -> Option<Record> {
        self.store.get(&SubjectDigest::of(&session.subject), &session.session_id).await.unwrap()
    }

    async fn is_alive(&self, session: &NewSession) -> bool {
        self.record(session).await.is_some()
    }

    async fn list(&self, subject: &str) -> Vec<Record> {
        self.store.list(&SubjectDigest::of(subject)).await.unwrap()
    }

    async fn mark_used(&self, session: &NewSession, generation: u32, issue: u32) {
        let subject = SubjectDigest::of(&session.subject);
        self.store.mark_used(&subject, &session.session_id, generation, issue).await.unwrap();
    }

    async fn revoke(&self, session: &NewSession, proof: Option<&SecretDigest>) -> bool {
        let subject = SubjectDigest::of(&session.subject);
        self.store.revoke(&subject, &session.session_id, proof, &fresh_attempt()).await.unwrap()
    }

    async fn revoke_all(&self, subject: &str, except: Option<&NewSession>) -> u64 {
        let except = except.map(|session| &session.session_id);
        let subject = SubjectDigest::of(subject);
        self.store.revoke_subject(&subject, except, &policy(), &fresh_attempt()).await.unwrap()
    }

    /// Presents a token, and holds the answer and what is kept afterwards against the rule: [`decide`] over what was
    /// kept before.
    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Rotation {
        let get = async || self.store.get(&presented.subject, &presented.session_id).await.unwrap();
        let before = get().await;
        let rotation = self.store.rotate(presented, policy).await.unwrap();
        let after = get().await;
        assert_eq!(rotation.decision, decide(before.as_ref(), presented, policy, rotation.now));
        match rotation.decision {
            Decision::Unknown(_) | Decision::Expired => {
                assert_eq!(after, before, "a refusal changes nothing");
                assert_eq!(rotation.record, before);
            }
            Decision::Superseded | Decision::Reused => {
                assert_eq!(after, None, "the session has ended");
                assert_eq!(rotation.record, before);
            }
            granted => {
                assert_eq!(after.as_ref().map(|record| &record.state), granted.state(), "kept as decided");
                assert_eq!(
                    after.as_ref().map(|record| &record.facts),
                    before.as_ref().map(|record| &record.facts)
                );
                assert_eq!(rotation.record, after);
            }
        }
        rotation
    }

    /// A session whose newest token is of generation `generation`, the predecessors out of their windows.
    async fn open_at(&self, subject: &str, generation: u32) -> NewSession {
        let session = self.open(subject).await;
        for presented in 0..generation {
            self.clock.advance(HOLD + MARGIN);
            let rotation = self.rotate(&present(&session, presented), &policy()).await;
            assert!(matches!(rotation.decision, Decision::Rotated(_)));
        }
        self.clock.advance(RETRY + MARGIN);
        session
    }

    /// A session whose newest token, of generation 1, was just made and is not in use.
    async fn open_unused(&self, subject: &str) -> NewSession {
        let session = self.open(subject).await;
        self.mark_used(&session, 0, 0).await;
        self.clock.advance(HOLD + MARGIN);
        let rotation = self.rotate(&present(&session, 0), &until_used()).await;
        let Decision::Rotated(state) = rotation.decision else { panic!("{rotation:?}") };
        assert_eq!((state.generation, state.used_at, state.issue), (1, None, 0));
        session
    }
}

pub async fn a_session_comes_back_as_it_was_given<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let before = bench.now().await;
    let session = new_session(&subject("ada"), before);
    let creation = bench.store.create(&session, &policy()).await.unwrap();
    let record = bench.record(&session).await.unwrap();
    assert_eq!(creation, Creation::Created { record: record.clone(), evicted: Vec::new() });

    let now = record.facts.created_at;
    assert!(before <= now && now <= bench.now().await);
    assert_eq!(record, Record::open(&session, &policy(), now));
    assert_eq!(bench.list(&session.subject).await, [record]);
}

pub async fn odd_values_come_back_as_they_were_given<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let plain = async |name: &str| new_session(&subject(name), bench.now().await);
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    for (name, session) in [
        ("every byte", NewSession { claims: every_byte.clone(), ..plain("a").await }),
        ("no claims", NewSession { claims: Vec::new(), ..plain("b").await }),
        ("4 KiB of claims", NewSession { claims: every_byte.repeat(16), ..plain("c").await }),
        (
            "large numbers",
            NewSession { claims: b"{\"n\":9007199254740993,\"l\":[]}".to_vec(), ..plain("d").await },
        ),
        ("no scopes", NewSession { scopes: Vec::new(), ..plain("e").await }),
        ("quotes in scopes", NewSession { scopes: vec!["a'b".into(), "\"c\\".into()], ..plain("f").await }),
        ("no OAuth client", NewSession { client_id: None, ..plain("g").await }),
        ("no authentication context", NewSession { acr: None, ..plain("n").await }),
        ("no key", NewSession { key: None, ..plain("k").await }),
        ("an empty OAuth client", NewSession { client_id: Some(String::new()), ..plain("h").await }),
        ("no device", NewSession { client: ClientInfo::default(), ..plain("i").await }),
        (
            "an IPv6 address",
            NewSession { client: ClientInfo::default().with_address(v6), ..plain("j").await },
        ),
        ("a long subject", NewSession { subject: "é".repeat(127) + "!", ..plain("k").await }),
        ("a subject like a pattern", NewSession { subject: "{a}:*?%'\n".into(), ..plain("l").await }),
        (
            "a time before the epoch",
            NewSession { authenticated_at: Timestamp::from_unix_millis(-1), ..plain("m").await },
        ),
    ] {
        let record = created(bench.store.create(&session, &policy()).await.unwrap());
        assert_eq!(record, Record::open(&session, &policy(), record.facts.created_at), "{name}");
        assert_eq!(bench.record(&session).await, Some(record), "{name}");
    }
}

pub async fn a_repeated_create_makes_one_session<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = new_session(&subject("ada"), bench.now().await);
    let first = bench.store.create(&session, &policy()).await.unwrap();
    bench.clock.advance(MINUTE);
    assert_eq!(bench.store.create(&session, &policy()).await.unwrap(), first);
    assert_eq!(bench.list(&session.subject).await, [created(first)]);

    let stranger = NewSession { secret_digest: SecretDigest::from_bytes([1; 32]), ..session.clone() };
    let taken = bench.store.create(&stranger, &policy()).await.unwrap();
    assert_eq!(taken, Creation::RevokedMeanwhile, "the same id with another secret");
    assert_eq!(bench.list(&session.subject).await.len(), 1);

    // At the cap it must not take itself, or another session, for one too many.
    let other = bench.open(&session.subject).await;
    let full = policy().with_sessions_per_subject(2);
    let Creation::Created { evicted, .. } = bench.store.create(&session, &full).await.unwrap() else {
        panic!("a resend is refused");
    };
    assert!(evicted.is_empty() && bench.is_alive(&session).await && bench.is_alive(&other).await);
}

pub async fn a_session_id_is_looked_up_under_its_subject_only<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let (ada, bob) = (bench.open(&subject("ada")).await, bench.open(&subject("bob")).await);
    let confused = NewSession { subject: bob.subject.clone(), ..ada.clone() };
    assert_eq!(bench.record(&confused).await, None);
    assert!(!bench.revoke(&confused, None).await);
    assert_unknown(&bench.rotate(&present(&confused, 0), &policy()).await);
    assert!(bench.is_alive(&ada).await && bench.is_alive(&bob).await);
}

pub async fn the_list_has_the_live_sessions_the_latest_first<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let name = subject("ada");
    assert_eq!(bench.list(&name).await, []);
    let short = policy().with_idle_lifetime(HOUR);
    let expiring = new_session(&name, bench.now().await);
    created(bench.store.create(&expiring, &short).await.unwrap());
    let mut sessions = Vec::new();
    for _ in 0..3 {
        bench.clock.advance(MINUTE);
        sessions.push(bench.open(&name).await.session_id);
    }
    let ids =
        async || bench.list(&name).await.iter().map(|record| record.facts.session_id).collect::<Vec<_>>();
    sessions.reverse();
    assert_eq!(ids().await, [&sessions[..], &[expiring.session_id]].concat());

    bench.clock.advance(HOUR);
    assert_eq!(ids().await, sessions);
    assert!(bench.is_alive(&expiring).await, "`get` gives expired sessions too");
}

pub async fn row_1_tokens_of_no_session_are_unknown<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let never_kept = new_session(&subject("ada"), bench.now().await);
    assert_unknown(&bench.rotate(&present(&never_kept, 0), &policy()).await);

    let session = bench.open(&never_kept.subject).await;
    assert_unknown(&bench.rotate(&present(&never_kept, 0), &policy()).await);

    let other_secret = NewSession { secret_digest: SecretDigest::from_bytes([1; 32]), ..session.clone() };
    for generation in [0, 1, u32::MAX] {
        let rotation = bench.rotate(&present(&other_secret, generation), &policy()).await;
        assert_eq!(rotation.decision, Decision::Unknown(Unknown::Mismatch), "generation {generation}");
    }
}

pub async fn row_2_expired_sessions_are_refused_and_kept<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let idle = bench.open_at(&subject("idle"), 2).await;
    bench.clock.advance(policy().idle_lifetime());
    for generation in [0, 1, 2, 3] {
        let rotation = bench.rotate(&present(&idle, generation), &policy()).await;
        assert_eq!(rotation.decision, Decision::Expired, "generation {generation}");
    }
    assert!(bench.is_alive(&idle).await);

    let absolute = bench.open(&subject("absolute")).await;
    let mut generation = 0;
    for _ in 0..4 {
        bench.clock.advance(6 * DAY);
        let rotation = bench.rotate(&present(&absolute, generation), &policy()).await;
        assert!(matches!(rotation.decision, Decision::Rotated(_)));
        generation += 1;
    }
    bench.clock.advance(6 * DAY);
    let rotation = bench.rotate(&present(&absolute, generation), &policy()).await;
    assert_eq!(rotation.decision, Decision::Expired, "used all the time, but 30 days old");
}

pub async fn row_3_writes_that_were_lost_are_recovered<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open_at(&subject("ada"), 1).await;
    let rotation = bench.rotate(&present(&session, 4), &policy()).await;
    let Decision::Recovered(state) = rotation.decision else { panic!("{rotation:?}") };
    let now = rotation.now;
    assert_eq!((state.generation, state.minted_at, state.handed_at), (4, now, now));
    assert_eq!((state.used_at, state.last_used_at), (Some(now), now));
    let rotation = bench.rotate(&present(&session, 4), &policy()).await;
    assert_eq!(rotation.decision, Decision::Current(state));
}

pub async fn row_4_a_token_just_handed_out_is_not_rotated<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let session = bench.open(&subject("ada")).await;
    let state = bench.record(&session).await.unwrap().state;
    for _ in 0..3 {
        let rotation = bench.rotate(&present(&session, 0), &policy()).await;
        assert_eq!(rotation.decision, Decision::Current(state));
        bench.clock.advance(MINUTE);
    }
}

pub async fn row_5_a_token_rotates<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open(&subject("ada")).await;
    let before = bench.record(&session).await.unwrap();
    bench.clock.advance(HOLD + MARGIN);
    let presented = present(&session, 0);
    let rotation = bench.rotate(&presented, &policy()).await;
    let Decision::Rotated(state) = rotation.decision else { panic!("{rotation:?}") };
    let now = rotation.now;
    assert_eq!((state.generation, state.attempt, state.used_at), (1, presented.attempt, None));
    assert_eq!((state.minted_at, state.handed_at, state.last_used_at), (now, now, now));
    assert_eq!(state.idle_expires_at, now.saturating_add(policy().idle_lifetime()));
    assert!(state.idle_expires_at > before.state.idle_expires_at);
}

pub async fn row_5_the_absolute_end_does_not_move<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let policy = policy().with_absolute_lifetime(10 * DAY);
    let session = new_session(&subject("ada"), bench.now().await);
    let record = created(bench.store.create(&session, &policy).await.unwrap());
    let end = record.facts.absolute_expires_at;
    assert_eq!(end, record.facts.created_at.saturating_add(10 * DAY));
    bench.clock.advance(5 * DAY);
    let rotation = bench.rotate(&present(&session, 0), &policy).await;
    assert_eq!(rotation.record.unwrap().state.idle_expires_at, end);
}

pub async fn row_6_the_window_does_not_slide<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open(&subject("ada")).await;
    bench.clock.advance(HOLD + MARGIN);
    let rotation = bench.rotate(&present(&session, 0), &policy()).await;
    let Decision::Rotated(minted) = rotation.decision else { panic!("{rotation:?}") };
    for step in 1..=4 {
        bench.clock.advance(RETRY / 6);
        let rotation = bench.rotate(&present(&session, 0), &policy()).await;
        let Decision::Reissued(state) = rotation.decision else { panic!("step {step}: {rotation:?}") };
        assert_eq!(state.handed_at, rotation.now);
        assert_eq!(RotationState { handed_at: minted.handed_at, ..state }, minted, "nothing else");
    }
    // Two sixths after the last reissue, but all six after the rotation.
    bench.clock.advance(RETRY / 3);
    let rotation = bench.rotate(&present(&session, 0), &policy()).await;
    assert_eq!(rotation.decision, Decision::Superseded);
}

pub async fn row_7_a_late_predecessor_ends_its_session_only<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let name = subject("ada");
    let (session, sibling) = (bench.open_at(&name, 1).await, bench.open(&name).await);
    let rotation = bench.rotate(&present(&session, 0), &policy()).await;
    assert_eq!(rotation.decision, Decision::Superseded);
    for generation in [0, 1, 2] {
        assert_unknown(&bench.rotate(&present(&session, generation), &policy()).await);
    }
    assert!(bench.is_alive(&sibling).await);
    assert_eq!(bench.list(&name).await.len(), 1);
}

pub async fn row_8_a_reused_token_ends_what_the_policy_names<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    for (on_reuse, sibling_lives) in [(OnReuse::Subject, false), (OnReuse::Session, true)] {
        let name = subject("ada");
        let session = bench.open_at(&name, 2).await;
        let (sibling, stranger) = (bench.open(&name).await, bench.open(&subject("bob")).await);
        let rotation = bench.rotate(&present(&session, 0), &policy().with_on_reuse(on_reuse)).await;
        assert_eq!(rotation.decision, Decision::Reused);
        assert_unknown(&bench.rotate(&present(&session, 2), &policy()).await);
        assert_eq!(bench.is_alive(&sibling).await, sibling_lives, "{on_reuse:?}");
        assert_eq!(bench.list(&name).await.len(), usize::from(sibling_lives), "{on_reuse:?}");
        assert!(bench.is_alive(&stranger).await, "{on_reuse:?}");
    }
}

pub async fn a_reuse_does_not_refuse_logins_under_way<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open_at(&subject("ada"), 2).await;
    let under_way = new_session(&session.subject, bench.now().await);
    let rotation = bench.rotate(&present(&session, 0), &policy()).await;
    assert_eq!(rotation.decision, Decision::Reused);
    created(bench.store.create(&under_way, &policy()).await.unwrap());
}

pub async fn a_strict_token_is_good_once<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let strict = policy().with_retry(Retry::Strict);
    let session = bench.open(&subject("ada")).await;
    for generation in 0..3 {
        let rotation = bench.rotate(&present(&session, generation), &strict).await;
        assert!(matches!(rotation.decision, Decision::Rotated(_)), "{rotation:?}");
    }
    let rotation = bench.rotate(&present(&session, 2), &strict).await;
    assert_eq!(rotation.decision, Decision::Superseded);
}

pub async fn generations_run_out_quietly<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open(&subject("ada")).await;
    let rotation = bench.rotate(&present(&session, u32::MAX), &policy()).await;
    assert_eq!(generation(&rotation), u32::MAX);
    bench.clock.advance(HOLD + MARGIN);
    let rotation = bench.rotate(&present(&session, u32::MAX), &policy()).await;
    assert_eq!(rotation.decision, Decision::Expired);
}

pub async fn a_resent_rotation_gets_the_same_token<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    for (name, policy) in [("within", policy()), ("strict", policy().with_retry(Retry::Strict))] {
        let session = bench.open(&subject(name)).await;
        bench.clock.advance(HOLD + MARGIN);
        let presented = present(&session, 0);
        let first = bench.rotate(&presented, &policy).await;
        assert!(matches!(first.decision, Decision::Rotated(_)), "{name}");
        // Also when the window of the rotation has long been over.
        for _ in 0..3 {
            bench.clock.advance(RETRY);
            let again = bench.rotate(&presented, &policy).await;
            assert!(matches!(again.decision, Decision::Reissued(_)), "{name}: {again:?}");
            assert_eq!(generation(&again), 1, "{name}");
        }
    }
}

pub async fn a_resent_end_is_reported_again_and_ends_nothing_more<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let strict = policy().with_retry(Retry::Strict);
    let one = policy().with_on_reuse(OnReuse::Session);
    for (name, newest, policy, decision) in [
        ("superseded", 1, policy(), Decision::Superseded),
        ("superseded, strict", 1, strict, Decision::Superseded),
        ("reused", 2, policy(), Decision::Reused),
        ("reused, one session", 2, one, Decision::Reused),
    ] {
        let session = bench.open_at(&subject("ada"), newest).await;
        let presented = present(&session, 0);
        let first = bench.rotate(&presented, &policy).await;
        assert_eq!(first.decision, decision, "{name}");

        let next_login = bench.open(&session.subject).await;
        for _ in 0..5 {
            bench.clock.advance(10 * SECOND);
            let again = bench.store.rotate(&presented, &policy).await.unwrap();
            assert_eq!((again.decision, &again.record), (decision, &first.record), "{name}");
            assert_unknown(&bench.rotate(&present(&session, 0), &policy).await);
        }
        assert!(bench.is_alive(&next_login).await, "{name}");
    }
}

pub async fn a_session_ends_by_its_proof_only<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let wrong = SecretDigest::from_bytes([1; 32]);
    for (name, with_proof) in [("with a proof", true), ("without", false)] {
        let session = bench.open(&subject("ada")).await;
        let sibling = bench.open(&session.subject).await;
        assert!(!bench.revoke(&session, Some(&wrong)).await, "{name}");
        assert!(bench.is_alive(&session).await, "{name}");

        assert!(bench.revoke(&session, with_proof.then_some(&session.secret_digest)).await, "{name}");
        assert_eq!(bench.record(&session).await, None, "{name}");
        assert!(!bench.revoke(&session, None).await, "{name}: it has ended");
        assert_unknown(&bench.rotate(&present(&session, 0), &policy()).await);
        assert!(bench.is_alive(&sibling).await, "{name}");
    }
    let stranger = new_session(&subject("nobody"), bench.now().await);
    assert!(!bench.revoke(&stranger, None).await);
}

pub async fn all_sessions_of_a_subject_end_but_one<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let name = subject("ada");
    let bob = bench.open(&subject("bob")).await;
    let sessions = [bench.open(&name).await, bench.open(&name).await, bench.open(&name).await];
    assert_eq!(bench.revoke_all(&name, Some(&sessions[1])).await, 2);
    for (session, lives) in sessions.iter().zip([false, true, false]) {
        assert_eq!(bench.is_alive(session).await, lives);
    }
    bench.clock.advance(HOLD + MARGIN);
    assert_eq!(generation(&bench.rotate(&present(&sessions[1], 0), &policy()).await), 1);
    let again = bench.store.create(&sessions[1], &policy()).await.unwrap();
    assert_eq!(created(again).state.generation, 1, "the resend of the one that was kept");

    assert_eq!(bench.revoke_all(&name, Some(&bob)).await, 1, "the excepted one is another subject's");
    assert_eq!(bench.list(&name).await, []);
    assert_eq!(bench.revoke_all(&name, None).await, 0);
    assert!(bench.is_alive(&bob).await);
}

pub async fn logins_checked_before_a_revocation_lose<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    for (name, has_session) in [("of a subject with a session", true), ("of a subject without", false)] {
        let subject = subject("ada");
        let except = if has_session { Some(bench.open(&subject).await) } else { None };
        let checked_at = bench.now().await;
        bench.revoke_all(&subject, except.as_ref()).await;

        // A login takes its time; a purge in between must not forget the mark, nor a revocation by a clock put back.
        bench.clock.advance(59 * MINUTE);
        bench.store.purge_expired().await.unwrap();
        bench.clock.step_back(HOUR);
        bench.revoke_all(&subject, except.as_ref()).await;
        bench.clock.advance(HOUR);
        let late = new_session(&subject, checked_at);
        for _ in 0..2 {
            let creation = bench.store.create(&late, &policy()).await.unwrap();
            assert_eq!(creation, Creation::RevokedMeanwhile, "{name}");
        }
        assert_eq!(bench.record(&late).await, None, "{name}");

        bench.clock.advance(SECOND);
        assert!(bench.is_alive(&bench.open(&subject).await).await, "{name}: a later login is welcome");
        let bob = new_session(&self::subject("bob"), checked_at);
        created(bench.store.create(&bob, &policy()).await.unwrap());
    }
}

pub async fn the_longest_unused_session_makes_room<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let name = subject("ada");
    let oldest = bench.open(&name).await;
    bench.clock.advance(MINUTE);
    let unused = bench.open(&name).await;
    bench.clock.advance(MINUTE);
    let expired = new_session(&name, bench.now().await);
    created(bench.store.create(&expired, &policy().with_idle_lifetime(HOUR)).await.unwrap());
    bench.clock.advance(HOUR);
    assert_eq!(generation(&bench.rotate(&present(&oldest, 0), &policy()).await), 1);

    let cap = policy().with_sessions_per_subject(3);
    for (name, evicted) in [
        ("an expired one goes first, though used later, and is no loss", vec![]),
        ("then the one not used for the longest time", vec![unused.session_id]),
        ("which is not the oldest", vec![oldest.session_id]),
    ] {
        bench.clock.advance(MINUTE);
        let session = new_session(&expired.subject, bench.now().await);
        let creation = bench.store.create(&session, &cap).await.unwrap();
        let record = bench.record(&session).await.unwrap();
        assert_eq!(creation, Creation::Created { record, evicted }, "{name}");
    }
    for gone in [&expired, &unused, &oldest] {
        assert_unknown(&bench.rotate(&present(gone, 1), &policy()).await);
    }
    assert_eq!(bench.list(&name).await.len(), 3);
}

pub async fn a_lower_cap_ends_several<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let name = subject("ada");
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(bench.open(&name).await.session_id);
        bench.clock.advance(SECOND);
    }
    let session = new_session(&name, bench.now().await);
    let cap = policy().with_sessions_per_subject(2);
    let Creation::Created { evicted, .. } = bench.store.create(&session, &cap).await.unwrap() else {
        panic!("not created");
    };
    assert_eq!(evicted, sessions[..3]);
    assert_eq!(bench.list(&name).await.len(), 2);
}

pub async fn use_is_marked_once_and_for_the_newest_token<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open_unused(&subject("ada")).await;
    bench.clock.advance(RETRY + MARGIN);
    let rotation = bench.rotate(&present(&session, 0), &until_used()).await;
    assert_eq!(rotation.decision.state().unwrap().issue, 1);
    let used_at = async || bench.record(&session).await.unwrap().state.used_at;
    for (generation, issue) in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 1)] {
        bench.mark_used(&session, generation, issue).await;
        assert_eq!(used_at().await, None, "generation {generation}, issue {issue}");
    }
    let before = bench.record(&session).await.unwrap();
    let now = bench.now().await;
    bench.mark_used(&session, 1, 1).await;
    let first = used_at().await.unwrap();
    assert!(now <= first && first <= bench.now().await);
    bench.clock.advance(MINUTE);
    bench.mark_used(&session, 1, 1).await;
    assert_eq!(used_at().await, Some(first));
    let mut after = bench.record(&session).await.unwrap();
    after.state.used_at = None;
    assert_eq!(after, before, "nothing else");

    let nobody = new_session(&subject("nobody"), now);
    bench.mark_used(&nobody, 0, 0).await;
    assert!(!bench.is_alive(&nobody).await);
}

pub async fn until_used_a_late_retry_of_an_unused_token_is_answered<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let session = bench.open_unused(&subject("ada")).await;
    for issue in [1, 2, 3] {
        for (late, name) in [(true, "late"), (false, "soon after")] {
            bench.clock.advance(if late { RETRY + MARGIN } else { MARGIN });
            let before = bench.record(&session).await.unwrap().state;
            let rotation = bench.rotate(&present(&session, 0), &until_used()).await;
            let Decision::Reissued(state) = rotation.decision else {
                panic!("{name}, {issue}: {rotation:?}")
            };
            let now = rotation.now;
            assert_eq!((state.issue, state.minted_at, state.handed_at), (issue, now, now), "{name}");
            let (minted_at, handed_at) = (before.minted_at, before.handed_at);
            let same = RotationState { minted_at, handed_at, issue: before.issue, ..state };
            assert_eq!(same, before, "{name}: nothing else");
        }
    }
    bench.clock.advance(RETRY + MARGIN);
    let rotation = bench.rotate(&present(&session, 0), &policy()).await;
    assert_eq!(rotation.decision, Decision::Superseded, "within");
}

pub async fn until_used_a_token_in_use_supersedes_its_predecessor<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    for by_access_token in [true, false] {
        let session = bench.open_unused(&subject("ada")).await;
        if by_access_token {
            bench.mark_used(&session, 1, 0).await;
        } else {
            bench.rotate(&present(&session, 1), &until_used()).await;
        }
        let used = bench.record(&session).await.unwrap().state;
        assert!(used.used_at.is_some());
        for _ in 0..2 {
            bench.clock.advance(MINUTE);
            let rotation = bench.rotate(&present(&session, 0), &until_used()).await;
            let state = RotationState { handed_at: rotation.now, ..used };
            assert_eq!(rotation.decision, Decision::Reissued(state), "the window does not slide any more");
        }
        bench.clock.advance(RETRY);
        let rotation = bench.rotate(&present(&session, 0), &until_used()).await;
        assert_eq!(rotation.decision, Decision::Superseded);
    }
}

pub async fn until_used_an_unused_token_that_is_presented_is_in_use<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let session = bench.open_unused(&subject("ada")).await;
    bench.clock.advance(RETRY + MARGIN);
    bench.rotate(&present(&session, 0), &until_used()).await;
    bench.clock.advance(DAY);
    let unused = bench.record(&session).await.unwrap().state;
    let rotation = bench.rotate(&present(&session, 1), &until_used()).await;
    let state = RotationState { used_at: Some(rotation.now), ..unused };
    assert_eq!(rotation.decision, Decision::Current(state), "however long it was not used");

    let rotation = bench.rotate(&present(&session, 1), &until_used()).await;
    let Decision::Rotated(state) = rotation.decision else { panic!("{rotation:?}") };
    assert_eq!((state.generation, state.used_at, state.issue), (2, None, 1), "the issue stays");
    assert_eq!(bench.rotate(&present(&session, 0), &until_used()).await.decision, Decision::Reused);
}

pub async fn until_used_a_resent_replacement_counts_once<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open_unused(&subject("ada")).await;
    bench.clock.advance(RETRY + MARGIN);
    let presented = present(&session, 0);
    for _ in 0..3 {
        let rotation = bench.rotate(&presented, &until_used()).await;
        let Decision::Reissued(state) = rotation.decision else { panic!("{rotation:?}") };
        assert_eq!((state.generation, state.issue), (1, 1));
        bench.clock.advance(MINUTE);
    }
    // What made the token itself replaces nothing either, however late it is sent again.
    let session = bench.open(&subject("bob")).await;
    bench.mark_used(&session, 0, 0).await;
    bench.clock.advance(HOLD + MARGIN);
    let presented = present(&session, 0);
    for step in 0..3 {
        let rotation = bench.rotate(&presented, &until_used()).await;
        assert_eq!(rotation.decision.state().unwrap().issue, 0, "step {step}");
        bench.clock.advance(RETRY + MARGIN);
    }
}

pub async fn expired_sessions_are_forgotten_a_day_later<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let (ada, bob) = (bench.open(&subject("ada")).await, bench.open(&subject("bob")).await);
    bench.clock.advance(policy().idle_lifetime().saturating_sub(MARGIN));
    let fresh = bench.open(&ada.subject).await;
    bench.clock.advance(DAY);
    assert_eq!(bench.store.purge_expired().await.unwrap(), 0, "expired for less than a day");
    assert_eq!(bench.rotate(&present(&ada, 0), &policy()).await.decision, Decision::Expired);

    bench.clock.advance(2 * MARGIN);
    let purged = bench.store.purge_expired().await.unwrap();
    assert!(purged == 2 || purged == 0, "all that had expired, or 0 where the engine forgets by itself");
    for gone in [&ada, &bob] {
        assert_unknown(&bench.rotate(&present(gone, 0), &policy()).await);
    }
    assert!(bench.is_alive(&fresh).await);
    assert_eq!(bench.store.purge_expired().await.unwrap(), 0);
}

pub async fn a_clock_that_steps_back_harms_nobody<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let name = subject("ada");
    let session = bench.open_at(&name, 1).await;
    bench.clock.step_back(HOUR);
    let rotation = bench.rotate(&present(&session, 1), &policy()).await;
    assert_eq!(generation(&rotation), 2, "further away than `hold`, if into the past");
    assert_eq!(bench.list(&name).await.len(), 1);
    bench.mark_used(&session, 2, 0).await;
    let login = bench.open(&name).await;
    assert_eq!(bench.store.purge_expired().await.unwrap(), 0);
    assert!(bench.revoke(&login, None).await);

    bench.clock.step_back(HOUR);
    let rotation = bench.rotate(&present(&session, 1), &policy()).await;
    assert_eq!(rotation.decision, Decision::Superseded, "no window is open for ever");
    assert_eq!(bench.revoke_all(&name, None).await, 0);
}

pub async fn a_resent_create_does_not_undo_a_logout<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = bench.open(&subject("ada")).await;
    let sibling = bench.open(&session.subject).await;
    assert!(bench.revoke(&session, None).await);
    for _ in 0..5 {
        bench.clock.advance(10 * SECOND);
        let resent = bench.store.create(&session, &policy()).await.unwrap();
        assert_eq!(resent, Creation::RevokedMeanwhile);
        assert!(!bench.is_alive(&session).await && bench.is_alive(&sibling).await);
    }
}

pub async fn a_resent_create_does_not_undo_an_end_beside_another<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let reused = bench.open_at(&subject("ada"), 2).await;
    let sibling = bench.open(&reused.subject).await;
    bench.rotate(&present(&reused, 0), &policy()).await;

    let evicted = bench.open(&subject("bob")).await;
    bench.clock.advance(SECOND);
    let login = new_session(&evicted.subject, bench.now().await);
    created(bench.store.create(&login, &policy().with_sessions_per_subject(1)).await.unwrap());

    for (name, session) in [("the sibling of a reused one", sibling), ("an evicted one", evicted)] {
        assert!(!bench.is_alive(&session).await, "{name}");
        let resent = bench.store.create(&session, &policy()).await.unwrap();
        assert_eq!(resent, Creation::RevokedMeanwhile, "{name}");
    }
    assert!(bench.is_alive(&login).await);
}

pub async fn a_resent_logout_is_answered_again<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let (session, attempt) = (bench.open(&subject("ada")).await, fresh_attempt());
    let digest = SubjectDigest::of(&session.subject);
    for _ in 0..5 {
        let proof = Some(&session.secret_digest);
        assert!(bench.store.revoke(&digest, &session.session_id, proof, &attempt).await.unwrap());
        assert!(!bench.revoke(&session, None).await, "another call finds none");
        assert_unknown(&bench.rotate(&present(&session, 0), &policy()).await);
        bench.clock.advance(10 * SECOND);
    }
}

pub async fn a_resent_end_of_all_spares_later_logins<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let (session, attempt) = (bench.open(&subject("ada")).await, fresh_attempt());
    bench.open(&session.subject).await;
    let digest = SubjectDigest::of(&session.subject);
    let end_all = async || bench.store.revoke_subject(&digest, None, &policy(), &attempt).await.unwrap();
    assert_eq!(end_all().await, 2);
    bench.clock.advance(SECOND);
    let (login, under_way) = (bench.open(&session.subject).await, bench.now().await);
    for _ in 0..5 {
        assert_eq!(end_all().await, 2);
        assert!(bench.is_alive(&login).await);
        bench.clock.advance(10 * SECOND);
    }
    created(bench.store.create(&new_session(&session.subject, under_way), &policy()).await.unwrap());
}

/// What the feed of a store told.
#[derive(Default)]
pub(super) struct Told(pub(super) Mutex<Vec<SessionChange>>);

impl Listen for Told {
    fn changed(&self, change: &SessionChange) {
        self.0.lock().unwrap().push(change.clone());
    }
}

/// Where a store has a feed, an operation has told of what it ended when it returns.
pub async fn a_feed_is_told_of_each_end<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let Some(feed) = bench.store.feed() else { return };
    let told = Arc::new(Told::default());
    let weak = Arc::downgrade(&told);
    feed.listen(weak);
    // Others of the same server may be heard of at any time.
    let take = |subject: &SubjectDigest| {
        let mut all = std::mem::take(&mut *told.0.lock().unwrap());
        all.retain(|change| match change {
            SessionChange::Ended { subject: of, .. }
            | SessionChange::AllEnded { subject: of, .. }
            | SessionChange::Uncertain { subject: of }
            | SessionChange::Replaced { subject: of, .. } => of == subject,
            SessionChange::TokensRevoked { .. } | SessionChange::TokensUncertain { .. } => false,
        });
        all
    };
    let (strict, until_used) = (policy().with_retry(Retry::Strict), until_used());
    let name = subject("told");
    let digest = SubjectDigest::of(&name);
    let ended =
        |session: &NewSession| SessionChange::Ended { subject: digest, session_id: session.session_id };

    let session = bench.open(&name).await;
    bench.rotate(&present(&session, 0), &strict).await;
    assert_eq!(take(&digest), [], "nothing has ended");
    assert_eq!(bench.rotate(&present(&session, 0), &strict).await.decision, Decision::Superseded);
    assert_eq!(take(&digest), [ended(&session)]);

    for on_reuse in [OnReuse::Session, OnReuse::Subject] {
        let policy = strict.clone().with_on_reuse(on_reuse);
        let session = bench.open(&name).await;
        bench.rotate(&present(&session, 0), &policy).await;
        bench.rotate(&present(&session, 1), &policy).await;
        assert_eq!(bench.rotate(&present(&session, 0), &policy).await.decision, Decision::Reused);
        let all = SessionChange::AllEnded { subject: digest, except: None };
        assert_eq!(take(&digest), [if on_reuse == OnReuse::Session { ended(&session) } else { all }]);
    }

    let session = bench.open(&name).await;
    let revoke = || bench.store.revoke(&digest, &session.session_id, None, &session.attempt);
    assert!(revoke().await.unwrap());
    assert_eq!(take(&digest), [ended(&session)]);

    let (first, second) = (bench.open(&name).await, bench.open(&name).await);
    let except = Some(&second.session_id);
    bench.store.revoke_subject(&digest, except, &strict, &fresh_attempt()).await.unwrap();
    assert_eq!(take(&digest), [SessionChange::AllEnded { subject: digest, except: Some(second.session_id) }]);
    let _ = first;

    bench.clock.advance(MINUTE);
    let login = new_session(&name, bench.now().await);
    created(bench.store.create(&login, &policy().with_sessions_per_subject(1)).await.unwrap());
    assert_eq!(take(&digest), [ended(&second)]);

    let session = bench.open(&name).await;
    bench.rotate(&present(&session, 0), &until_used).await;
    for _ in 0..2 {
        bench.clock.advance(RETRY + MARGIN);
        bench.rotate(&present(&session, 0), &until_used).await;
    }
    assert_eq!(take(&digest), [SessionChange::Replaced { subject: digest, session_id: session.session_id }]);
}

// At once. Times stand still if the clock does, so order is told by what has returned.

const CALLS: usize = 24;

/// Runs all of `calls`, each in its task, none before all are ready. Their outputs, in the order of the calls.
async fn at_once<F>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let calls: Vec<F> = calls.into_iter().collect();
    let start = Arc::new(Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                call.await
            })
        })
        .collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

/// What the rotations of one token, presented by many calls at once, were decided.
async fn decisions_at_once<S: SessionStore, C: ShiftTime>(
    bench: &Arc<Bench<S, C>>,
    session: &NewSession,
    generation: u32,
    policy: &SessionPolicy,
) -> Vec<Decision> {
    let call = || {
        let (bench, presented, policy) = (Arc::clone(bench), present(session, generation), policy.clone());
        async move { bench.store.rotate(&presented, &policy).await.unwrap().decision }
    };
    at_once((0..CALLS).map(|_| call())).await
}

fn count(decisions: &[Decision]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for decision in decisions {
        *counts.entry(decision.as_str()).or_insert(0) += 1;
    }
    counts
}

pub async fn at_once_a_token_has_one_successor<S: SessionStore, C: ShiftTime>(bench: Bench<S, C>) {
    let bench = Arc::new(bench);
    for _ in 0..3 {
        let session = bench.open(&subject("ada")).await;
        bench.clock.advance(HOLD + MARGIN);
        let decisions = decisions_at_once(&bench, &session, 0, &policy()).await;
        assert_eq!(count(&decisions), BTreeMap::from([("rotated", 1), ("reissued", CALLS - 1)]));
        assert!(decisions.iter().filter_map(Decision::state).all(|state| state.generation == 1));
    }
}

pub async fn at_once_a_strict_token_is_good_once<S: SessionStore, C: ShiftTime>(bench: Bench<S, C>) {
    let (bench, strict) = (Arc::new(bench), policy().with_retry(Retry::Strict));
    for _ in 0..3 {
        let session = bench.open(&subject("ada")).await;
        let decisions = decisions_at_once(&bench, &session, 0, &strict).await;
        let expected = BTreeMap::from([("rotated", 1), ("superseded", 1), ("unknown", CALLS - 2)]);
        assert_eq!(count(&decisions), expected);
    }
}

pub async fn at_once_late_retries_are_one_replacement<S: SessionStore, C: ShiftTime>(bench: Bench<S, C>) {
    let bench = Arc::new(bench);
    for _ in 0..3 {
        let session = bench.open_unused(&subject("ada")).await;
        bench.clock.advance(RETRY + MARGIN);
        let decisions = decisions_at_once(&bench, &session, 0, &until_used()).await;
        assert_eq!(count(&decisions), BTreeMap::from([("reissued", CALLS)]));
        assert!(decisions.iter().filter_map(Decision::state).all(|state| state.issue == 1));
    }
}

pub async fn at_once_a_reuse_ends_all_and_is_reported_once<S: SessionStore, C: ShiftTime>(
    bench: Bench<S, C>,
) {
    let bench = Arc::new(bench);
    let session = bench.open_at(&subject("ada"), 2).await;
    for _ in 0..3 {
        bench.open(&session.subject).await;
    }
    let decisions = decisions_at_once(&bench, &session, 0, &policy()).await;
    assert_eq!(count(&decisions), BTreeMap::from([("reused", 1), ("unknown", CALLS - 1)]));
    assert_eq!(bench.list(&session.subject).await, []);
}

pub async fn at_once_a_creation_makes_one_session<S: SessionStore, C: ShiftTime>(bench: Bench<S, C>) {
    let bench = Arc::new(bench);
    let session = new_session(&subject("ada"), bench.now().await);
    let call = || {
        let (bench, session) = (Arc::clone(&bench), session.clone());
        async move { bench.store.create(&session, &policy()).await.unwrap() }
    };
    let records: Vec<Record> = at_once((0..CALLS).map(|_| call())).await.into_iter().map(created).collect();
    assert_eq!(bench.list(&session.subject).await, [records[0].clone()]);
    assert!(records.iter().all(|record| *record == records[0]));
}

pub async fn at_once_logins_keep_to_the_cap<S: SessionStore, C: ShiftTime>(bench: Bench<S, C>) {
    const CAP: usize = 5;
    let bench = Arc::new(bench);
    let name = subject("ada");
    let now = bench.now().await;
    let cap = policy().with_sessions_per_subject(5);
    let call = || {
        let (bench, session, cap) = (Arc::clone(&bench), new_session(&name, now), cap.clone());
        async move { bench.store.create(&session, &cap).await.unwrap() }
    };
    let mut gone = BTreeSet::new();
    for creation in at_once((0..CALLS).map(|_| call())).await {
        let Creation::Created { evicted, .. } = creation else { panic!("refused") };
        for session_id in evicted {
            assert!(gone.insert(session_id), "evicted twice");
        }
    }
    let kept = bench.list(&name).await;
    assert_eq!((kept.len(), gone.len()), (CAP, CALLS - CAP));
    assert!(kept.iter().all(|record| !gone.contains(&record.facts.session_id)));
}

pub async fn at_once_no_rotation_outlives_the_end_of_its_session<S: SessionStore, C: ShiftTime>(
    bench: Bench<S, C>,
) {
    let bench = Arc::new(bench);
    let no_hold = policy().with_retry(Retry::Within { retry: RETRY, hold: Duration::ZERO });
    for end in ["logout", "all", "reuse"].repeat(4) {
        let session = bench.open(&subject("ada")).await;
        for generation in 0..2 {
            assert!(bench.rotate(&present(&session, generation), &no_hold).await.decision.hands_out());
        }
        let has_ended = Arc::new(AtomicBool::new(false));
        let call = |number: usize| {
            let (bench, session, no_hold) = (Arc::clone(&bench), session.clone(), no_hold.clone());
            let has_ended = Arc::clone(&has_ended);
            async move {
                if number == 0 {
                    match end {
                        "logout" => assert!(bench.revoke(&session, None).await),
                        "all" => assert_eq!(bench.revoke_all(&session.subject, None).await, 1),
                        _ => {
                            let reuse = bench.store.rotate(&present(&session, 0), &no_hold).await.unwrap();
                            assert_eq!(reuse.decision, Decision::Reused);
                        }
                    }
                    has_ended.store(true, Ordering::SeqCst);
                    return;
                }
                for generation in 2.. {
                    let was_ended = has_ended.load(Ordering::SeqCst);
                    let rotation =
                        bench.store.rotate(&present(&session, generation), &no_hold).await.unwrap();
                    if rotation.decision.state().is_none() {
                        break;
                    }
                    assert!(!was_ended, "{end}: granted after it had ended");
                    tokio::task::yield_now().await;
                }
            }
        };
        at_once((0..2).map(call)).await;
        assert!(!bench.is_alive(&session).await, "{end}");
    }
}

pub async fn at_once_no_login_outlives_the_end_of_all_sessions<S: SessionStore, C: ShiftTime>(
    bench: Bench<S, C>,
) {
    let bench = Arc::new(bench);
    for _ in 0..4 {
        let name = subject("ada");
        let checked_at = bench.now().await;
        let call = |number: usize| {
            let (bench, session) = (Arc::clone(&bench), new_session(&name, checked_at));
            async move {
                if number == CALLS / 2 {
                    bench.revoke_all(&session.subject, None).await;
                } else {
                    bench.store.create(&session, &policy()).await.unwrap();
                }
            }
        };
        at_once((0..CALLS).map(call)).await;
        assert_eq!(bench.list(&name).await, [], "a login checked before has survived");
    }
}
