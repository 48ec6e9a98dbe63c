//! [`MokaStore`]: the contract of every store, by its own clock to the millisecond; operations at once, operations
//! dropped in the middle, and what happens when it is full.

#![cfg(feature = "moka")]
// In the helpers too: clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use tokio::sync::Barrier;
use tower_jwt_auth::{
    Clock, Creation, Decision, MokaStore, NewSession, OnReuse, Presented, Record, Retry, RevocationKey,
    RevocationStore, Rotation, SessionPolicy, SessionStore, SubjectDigest, Timestamp, Unknown,
};

use support::stalled_moka::{
    Operation, at_next_look, create, do_maintenance, fill_the_queue, finish, full_store, poll, stall,
};
use tower_jwt_auth::test_util::{Bench, revocation_contract};

use support::{DAY, HOUR, MINUTE, ManualClock, SECOND, created, fresh_attempt, new_session, present, unique};

static POLICY: LazyLock<SessionPolicy> = LazyLock::new(SessionPolicy::default);
static STRICT: LazyLock<SessionPolicy> = LazyLock::new(|| SessionPolicy::default().with_retry(Retry::Strict));

async fn open() -> Bench<MokaStore, ManualClock> {
    let clock = ManualClock::new();
    Bench { store: MokaStore::builder().clock(clock.clone()).build(), clock }
}

tower_jwt_auth::store_contract!(open);

/// The store behind an `Arc` is the same store.
mod shared {
    use super::{Arc, Bench, ManualClock, MokaStore};

    async fn open() -> Bench<Arc<MokaStore>, ManualClock> {
        let Bench { store, clock } = super::open().await;
        Bench { store: Arc::new(store), clock }
    }

    tower_jwt_auth::store_contract!(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revocations_of_tokens() {
    revocation_contract(MokaStore::new()).await;
    // There is no limit to them, where there is one to subjects.
    let store = MokaStore::builder().max_subjects(1).build();
    revocation_contract(store.clone()).await;
    let keys: Vec<_> = (0..1_000).map(|number| RevocationKey::token("issuer", &number.to_string())).collect();
    for key in &keys {
        store.revoke_issued_before(key, ManualClock::START, HOUR).await.unwrap();
    }
    for key in &keys {
        assert_eq!(store.not_before(key).await.unwrap(), Some(ManualClock::START));
    }
}

/// A mark that was set while the clock was hours ahead says nothing about logins after it was put right.
#[tokio::test]
async fn a_clock_that_was_ahead_hides_no_revocation() {
    let Bench { store, clock } = open().await;
    let revoke = async |subject: &str| {
        store.revoke_subject(&SubjectDigest::of(subject), None, &POLICY, &fresh_attempt()).await.unwrap()
    };
    clock.advance(HOUR * 2);
    revoke("somebody").await;
    clock.step_back(HOUR * 2);

    let began = store.now().await.unwrap();
    assert_eq!(began, clock.now(), "the time is that of the clock again");
    revoke("ada").await;
    let under_way = new_session("ada", began);
    assert_eq!(store.create(&under_way, &POLICY).await.unwrap(), Creation::RevokedMeanwhile);
    // In the very millisecond of the revocation.
    let after = new_session("ada", store.now().await.unwrap());
    created(store.create(&after, &POLICY).await.unwrap());
    revoke("ada").await;
    assert_eq!(record(&store, &after).await, None);
}

fn digest(session: &NewSession) -> SubjectDigest {
    SubjectDigest::of(&session.subject)
}

async fn record(store: &MokaStore, session: &NewSession) -> Option<Record> {
    store.get(&digest(session), &session.session_id).await.unwrap()
}

async fn opened(store: &MokaStore, subject: &str) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, &POLICY).await.unwrap());
    session
}

async fn rotate(store: &MokaStore, presented: &Presented, policy: &SessionPolicy) -> Rotation {
    store.rotate(presented, policy).await.unwrap()
}

// By a clock that stands still: the very millisecond at which a window ends.

#[tokio::test]
async fn windows_end_to_the_millisecond() {
    // By default a token is held for 20 seconds, and its predecessor answered for 30.
    for (name, generation, after, decision) in [
        ("held to the last", 1, 19_999, "current"),
        ("held no more", 1, 20_000, "rotated"),
        ("held though the clock stepped back", 1, -19_999, "current"),
        ("not held by a clock far back", 1, -20_000, "rotated"),
        ("answered to the last", 0, 29_999, "reissued"),
        ("answered no more", 0, 30_000, "superseded"),
        ("answered though the clock stepped back", 0, -29_999, "reissued"),
        ("not answered by a clock far back", 0, -30_000, "superseded"),
        ("alive to the last", 1, 604_799_999, "rotated"),
        ("alive no more", 1, 604_800_000, "expired"),
        ("dead before it is superseded", 0, 604_800_000, "expired"),
    ] {
        let Bench { store, clock } = open().await;
        let session = opened(&store, "ada").await;
        clock.advance(HOUR);
        let minted = rotate(&store, &present(&session, 0), &POLICY).await.now;
        clock.set(Timestamp::from_unix_millis(minted.as_unix_millis() + after));
        let rotation = rotate(&store, &present(&session, generation), &POLICY).await;
        assert_eq!(rotation.decision.as_str(), decision, "{name}");
        assert_eq!(rotation.now, clock.now(), "{name}");
    }
}

#[tokio::test]
async fn a_login_of_the_very_moment_of_the_revocation_loses() {
    let Bench { store, clock } = open().await;
    let revoked = clock.now();
    store.revoke_subject(&SubjectDigest::of("ada"), None, &POLICY, &fresh_attempt()).await.unwrap();
    let create = async |at| store.create(&new_session("ada", at), &POLICY).await.unwrap();
    assert_eq!(create(revoked).await, Creation::RevokedMeanwhile);
    created(create(revoked.saturating_add(Duration::from_millis(1))).await);
}

#[tokio::test]
async fn a_purge_waits_for_the_end_of_the_day() {
    let Bench { store, clock } = open().await;
    let session = opened(&store, "ada").await;
    let end = record(&store, &session).await.unwrap().expires_at().saturating_add(DAY);
    clock.set(end.saturating_sub(Duration::from_millis(1)));
    assert_eq!(store.purge_expired().await.unwrap(), 0);
    clock.set(end);
    assert_eq!(store.purge_expired().await.unwrap(), 1);
}

#[tokio::test]
async fn a_resent_end_is_known_for_a_minute_whatever_else_ends() {
    let Bench { store, clock } = open().await;
    let end_one = async || {
        let session = opened(&store, "ada").await;
        rotate(&store, &present(&session, 0), &STRICT).await;
        let presented = present(&session, 0);
        assert_eq!(rotate(&store, &presented, &STRICT).await.decision, Decision::Superseded);
        presented
    };
    let first = end_one().await;
    clock.advance(59 * SECOND);
    end_one().await;
    assert_eq!(rotate(&store, &first, &STRICT).await.decision, Decision::Superseded);
    // Not for ever, or every theft of a subject would be kept as long as the subject is.
    clock.advance(SECOND);
    end_one().await;
    assert_eq!(rotate(&store, &first, &STRICT).await.decision, Decision::Unknown(Unknown::NoSession));
}

#[tokio::test]
async fn lifetimes_without_end_are_no_fault() {
    let Bench { store, clock } = open().await;
    let for_ever = POLICY.clone().with_idle_lifetime(Duration::MAX).with_absolute_lifetime(Duration::MAX);
    let session = new_session("ada", clock.now());
    created(store.create(&session, &for_ever).await.unwrap());
    clock.set(Timestamp::from_unix_millis(i64::MAX - 1));
    assert_eq!(rotate(&store, &present(&session, 0), &for_ever).await.decision.as_str(), "rotated");
    store.revoke_subject(&digest(&session), None, &for_ever, &fresh_attempt()).await.unwrap();
    assert_eq!(record(&store, &session).await, None);
}

// At once.

/// Longer than any of these tests takes, on any machine: only what hangs is still running then.
const HUNG: Duration = Duration::from_secs(120);

/// Runs `test`, and fails if it hangs. A hanging operation may hold its thread, so the thread is left behind.
fn unless_it_hangs<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(test()));
    match receiver.recv_timeout(HUNG) {
        Ok(output) => output,
        Err(RecvTimeoutError::Timeout) => panic!("hung"),
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
    }
}

fn on_four_workers<T: Send + 'static>(test: impl Future<Output = T> + Send + 'static) -> T {
    unless_it_hangs(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap().block_on(test)
    })
}

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

/// A clock that shows no time twice: what is decided at a later time was decided later.
#[derive(Clone)]
struct TickingClock(Arc<AtomicI64>);

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

impl TickingClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(ManualClock::START.as_unix_millis())))
    }
}

fn ticking_store() -> MokaStore {
    MokaStore::builder().clock(TickingClock::new()).build()
}

#[test]
fn a_thousand_rotations_at_once_give_one_successor() {
    const ROUNDS: usize = 10;
    const CALLS: usize = 1_000;
    for (name, policy, age, expected) in [
        ("handed out long ago", &*POLICY, MINUTE, &[("rotated", 1), ("reissued", CALLS - 1)][..]),
        ("just handed out", &*POLICY, SECOND, &[("current", CALLS)]),
        ("strict", &*STRICT, MINUTE, &[("rotated", 1), ("superseded", 1), ("unknown", CALLS - 2)]),
    ] {
        on_four_workers(async move {
            for round in 0..ROUNDS {
                let Bench { store, clock } = open().await;
                let session = opened(&store, "ada").await;
                clock.advance(age);
                let call = |store: MokaStore| {
                    let presented = present(&session, 0);
                    async move { store.rotate(&presented, policy).await.unwrap().decision }
                };
                let decisions = at_once((0..CALLS).map(|_| call(store.clone()))).await;

                let mut counts = BTreeMap::new();
                for decision in &decisions {
                    *counts.entry(decision.as_str()).or_insert(0) += 1;
                }
                assert_eq!(counts, expected.iter().copied().collect(), "{name}, round {round}");
                let generations: BTreeSet<_> =
                    decisions.iter().filter_map(Decision::state).map(|state| state.generation).collect();
                assert_eq!(generations.len(), 1, "{name}, round {round}: {generations:?}");
            }
        });
    }
}

#[test]
fn a_thousand_creations_at_once_make_one_session() {
    on_four_workers(async {
        for _ in 0..5 {
            let store = open().await.store;
            let session = new_session("ada", store.now().await.unwrap());
            let call = |store: MokaStore, session: NewSession| async move {
                created(store.create(&session, &POLICY).await.unwrap())
            };
            let records = at_once((0..1_000).map(|_| call(store.clone(), session.clone()))).await;
            assert_eq!(store.list(&digest(&session)).await.unwrap(), [records[0].clone()]);
        }
    });
}

/// What ends a session for good.
#[derive(Debug, Clone, Copy)]
enum End {
    Logout,
    RevokeSubject,
    Reuse,
}

impl End {
    async fn of(self, store: &MokaStore, session: &NewSession) {
        match self {
            Self::Logout => {
                assert!(
                    store
                        .revoke(&digest(session), &session.session_id, None, &fresh_attempt())
                        .await
                        .unwrap()
                );
            }
            Self::RevokeSubject => {
                assert_eq!(
                    store.revoke_subject(&digest(session), None, &POLICY, &fresh_attempt()).await.unwrap(),
                    1
                );
            }
            Self::Reuse => {
                assert_eq!(rotate(store, &present(session, 0), &POLICY).await.decision, Decision::Reused);
            }
        }
    }
}

#[test]
fn no_rotation_in_flight_outlives_the_end_of_its_session() {
    const ROUNDS: usize = 100;
    for end in [End::Logout, End::RevokeSubject, End::Reuse] {
        on_four_workers(async move {
            for round in 0..ROUNDS {
                let store = ticking_store();
                let session = opened(&store, "ada").await;
                for generation in 0..2 {
                    assert!(
                        rotate(&store, &present(&session, generation), &STRICT).await.decision.hands_out()
                    );
                }
                // One call ends the session, the others rotate until they are refused.
                let call = |number: usize| {
                    let (store, session) = (store.clone(), session.clone());
                    async move {
                        let mut granted = Vec::new();
                        if number == 0 {
                            end.of(&store, &session).await;
                            return (store.now().await.unwrap(), granted);
                        }
                        loop {
                            let rotation = rotate(&store, &present(&session, 2), &POLICY).await;
                            if rotation.decision.state().is_none() {
                                return (rotation.now, granted);
                            }
                            granted.push(rotation.now);
                            tokio::task::yield_now().await;
                        }
                    }
                };
                let outcomes = at_once((0..8).map(call)).await;
                let ended = outcomes[0].0;
                for granted in outcomes.iter().flat_map(|(_, granted)| granted) {
                    assert!(*granted < ended, "{end:?}, round {round}: granted after it had ended");
                }
                assert_eq!(record(&store, &session).await, None, "{end:?}, round {round}");
                let rotation = rotate(&store, &present(&session, 2), &POLICY).await;
                assert_eq!(
                    rotation.decision,
                    Decision::Unknown(Unknown::NoSession),
                    "{end:?}, round {round}"
                );
            }
        });
    }
}

#[test]
fn no_login_in_flight_outlives_the_revocation_of_its_subject() {
    on_four_workers(async {
        for round in 0..300 {
            let store = ticking_store();
            // Half of the rounds begin with a subject that the store has never seen.
            let kept = if round % 2 == 0 { Some(opened(&store, "ada").await) } else { None };
            let checked_at = store.now().await.unwrap();
            let call = |number: usize| {
                let (store, except) = (store.clone(), kept.as_ref().map(|kept| kept.session_id));
                async move {
                    if number == 0 {
                        let subject = SubjectDigest::of("ada");
                        store
                            .revoke_subject(&subject, except.as_ref(), &POLICY, &fresh_attempt())
                            .await
                            .unwrap();
                    } else {
                        store.create(&new_session("ada", checked_at), &POLICY).await.unwrap();
                    }
                }
            };
            at_once((0..8).map(call)).await;
            let survivors = store.list(&SubjectDigest::of("ada")).await.unwrap();
            let survivors: Vec<_> = survivors.iter().map(|record| record.facts.session_id).collect();
            assert_eq!(
                survivors,
                kept.iter().map(|kept| kept.session_id).collect::<Vec<_>>(),
                "round {round}"
            );
            opened(&store, "ada").await;
        }
    });
}

// Dropped in the middle.

/// What a service does to a store in the name of a user. Done twice it is done once.
#[derive(Debug, Clone, Copy)]
enum Call {
    Create,
    CreateFirst,
    Rotate,
    Supersede,
    Revoke,
    RevokeSubject,
    MarkUsed,
}

const CALLS: [Call; 7] = [
    Call::Create,
    Call::CreateFirst,
    Call::Rotate,
    Call::Supersede,
    Call::Revoke,
    Call::RevokeSubject,
    Call::MarkUsed,
];

/// A session whose token of generation 1 is due for rotation, in a full store, and calls about it.
struct Desk {
    store: MokaStore,
    session: NewSession,
    /// Another session of the subject, which is still to be made.
    second: NewSession,
    /// A session of a subject that the store has never seen.
    first_of_another: NewSession,
    due: Presented,
    late: Presented,
}

impl Desk {
    fn new() -> Self {
        let clock = ManualClock::new();
        let (store, _) = full_store(&clock);
        let session = new_session("ada", clock.now());
        finish(async {
            created(store.create(&session, &POLICY).await.unwrap());
            rotate(&store, &present(&session, 0), &STRICT).await;
        });
        do_maintenance(&store);
        clock.advance(MINUTE);
        Self {
            second: new_session("ada", clock.now()),
            first_of_another: new_session("bob", clock.now()),
            due: present(&session, 1),
            late: present(&session, 0),
            session,
            store,
        }
    }

    fn start(&self, call: Call) -> Operation {
        let (store, session, due, late) = (self.store.clone(), self.session.clone(), self.due, self.late);
        let subject = digest(&session);
        match call {
            Call::Create => create(&store, &self.second),
            Call::CreateFirst => create(&store, &self.first_of_another),
            Call::Rotate => Box::pin(async move { drop(rotate(&store, &due, &POLICY).await) }),
            Call::Supersede => Box::pin(async move { drop(rotate(&store, &late, &POLICY).await) }),
            Call::Revoke => Box::pin(async move {
                drop(store.revoke(&subject, &session.session_id, None, &fresh_attempt()).await);
            }),
            Call::RevokeSubject => Box::pin(async move {
                drop(store.revoke_subject(&subject, None, &POLICY, &fresh_attempt()).await);
            }),
            Call::MarkUsed => {
                Box::pin(async move { store.mark_used(&subject, &session.session_id, 1, 0).await.unwrap() })
            }
        }
    }

    /// Whether `call` has happened, and nothing else. If it neither happened nor not, that is a panic.
    fn has_happened(&self, call: Call) -> bool {
        finish(async {
            let get = async |session| record(&self.store, session).await;
            let state = get(&self.session).await.map(|record| record.state);
            let alive = state.is_some();
            let rotated = state.is_some_and(|state| state.generation == 2);
            let used = state.is_some_and(|state| state.used_at.is_some());
            let (second, another) =
                (get(&self.second).await.is_some(), get(&self.first_of_another).await.is_some());
            let seen = (alive, rotated, used, second, another);
            let before = (true, false, false, false, false);
            let after = match call {
                Call::Create => (true, false, false, true, false),
                Call::CreateFirst => (true, false, false, false, true),
                Call::Rotate => (true, true, false, false, false),
                Call::Supersede | Call::Revoke | Call::RevokeSubject => (false, false, false, false, false),
                Call::MarkUsed => (true, false, true, false, false),
            };
            assert!(seen == before || seen == after, "{call:?} happened in part: {seen:?}");
            seen == after
        })
    }

    /// After the operation was dropped: all or nothing, and it can be done again.
    fn check(&self, call: Call, happened: bool, where_: &str) {
        do_maintenance(&self.store);
        assert_eq!(self.has_happened(call), happened, "{call:?}, dropped {where_}");
        finish(self.start(call));
        assert!(self.has_happened(call), "{call:?}, dropped {where_}, and done again");
        if let Call::RevokeSubject = call {
            let creation = finish(self.store.create(&self.second, &POLICY)).unwrap();
            assert_eq!(creation, Creation::RevokedMeanwhile, "dropped {where_}");
        }
        finish(opened(&self.store, "carol"));
    }
}

#[test]
fn an_operation_that_is_never_polled_does_not_happen() {
    unless_it_hangs(|| {
        for call in CALLS {
            let desk = Desk::new();
            drop(desk.start(call));
            desk.check(call, false, "unpolled");
        }
    });
}

#[test]
fn an_operation_dropped_before_the_decision_has_not_happened() {
    unless_it_hangs(|| {
        for call in CALLS {
            for polls in [1, 2, 3] {
                let desk = Desk::new();
                let stalled = stall(&desk.store);
                // The next to come has to put the write of the dropped one into the full queue.
                drop(fill_the_queue(&desk.store));
                let mut operation = desk.start(call);
                for _ in 0..polls {
                    assert!(!poll(&mut operation), "{call:?} did not wait");
                }
                drop(operation);
                stalled.release();
                desk.check(call, false, "before the decision");
            }
        }
    });
}

#[test]
fn an_operation_dropped_after_the_decision_has_happened() {
    unless_it_hangs(|| {
        for call in CALLS {
            // The entry of a new subject is put into the full queue before the decision, not after it.
            if let Call::CreateFirst = call {
                continue;
            }
            for polls in [1, 2, 3] {
                let desk = Desk::new();
                let stalled = stall(&desk.store);
                let waiting = fill_the_queue(&desk.store);
                // The decision looks at the clock; what the operation does after it then has to wait.
                at_next_look(move || drop(waiting));
                let mut operation = desk.start(call);
                for _ in 0..polls {
                    assert!(!poll(&mut operation), "{call:?} did not wait");
                }
                drop(operation);
                stalled.release();
                desk.check(call, true, "after the decision");
            }
        }
    });
}

#[test]
fn a_creation_dropped_while_its_entry_waits_has_not_happened() {
    unless_it_hangs(|| {
        let desk = Desk::new();
        let stalled = stall(&desk.store);
        let waiting = fill_the_queue(&desk.store);
        let mut creation = desk.start(Call::CreateFirst);
        assert!(!poll(&mut creation), "it did not wait");
        drop(creation);
        stalled.release();
        drop(waiting);
        desk.check(Call::CreateFirst, false, "with its entry in the queue");
    });
}

#[test]
fn a_creation_waits_while_its_subject_is_evicted_and_may_be_dropped() {
    unless_it_hangs(|| {
        for dropped in [true, false] {
            let (store, evicted) = full_store(&ManualClock::new());
            let stalled = stall(&store);
            let again = new_session(&evicted.subject, ManualClock::START);
            let mut creation = create(&store, &again);
            assert!(!poll(&mut creation), "it did not wait for the eviction");
            assert_eq!(finish(record(&store, &evicted)), None, "already gone");
            if dropped {
                drop(creation);
                stalled.release();
            } else {
                stalled.release();
                finish(creation);
            }
            do_maintenance(&store);
            assert_eq!(finish(record(&store, &again)).is_some(), !dropped);
            finish(opened(&store, &evicted.subject));
        }
    });
}

/// A number that looks random, and is the same in each run.
fn scrambled(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 8
}

#[test]
fn dropped_operations_leave_no_lock_behind() {
    on_four_workers(async {
        let store = MokaStore::builder().max_subjects(3).clock(TickingClock::new()).build();
        let call = |task: u64| {
            let store = store.clone();
            async move {
                for step in 0..300 {
                    let number = scrambled(task * 1_000 + step);
                    let session = new_session(&format!("user-{}", number % 8), store.now().await.unwrap());
                    let operation = async {
                        store.create(&session, &POLICY).await.unwrap();
                        rotate(&store, &present(&session, 0), &STRICT).await;
                        store
                            .revoke_subject(&digest(&session), None, &POLICY, &fresh_attempt())
                            .await
                            .unwrap();
                    };
                    let polls = usize::try_from(number / 8 % 3).unwrap();
                    support::poll_then_drop(operation, polls);
                    tokio::task::yield_now().await;
                }
            }
        };
        at_once((0..16).map(call)).await;
        for user in 0..8 {
            opened(&store, &format!("user-{user}")).await;
        }
    });
}

// Full.

#[test]
fn a_full_store_drops_the_subject_not_used_for_the_longest_time() {
    unless_it_hangs(|| {
        let clock = ManualClock::new();
        let store = MokaStore::builder().max_subjects(3).clock(clock.clone()).build();
        let short = POLICY.clone().with_idle_lifetime(SECOND);
        let expired = new_session("bob", clock.now());
        finish(store.create(&expired, &short)).unwrap();
        clock.advance(MINUTE);
        let sessions = ["ada", "bob", "bob", "carol"].map(|subject| finish(opened(&store, subject)));
        do_maintenance(&store);
        finish(rotate(&store, &present(&sessions[0], 0), &POLICY));
        do_maintenance(&store);
        assert_eq!(store.evicted_sessions(), 0);

        finish(opened(&store, "dave"));
        do_maintenance(&store);
        assert_eq!(store.evicted_sessions(), 2, "Bob's, without the one that had expired");
        for (session, lives) in sessions.iter().zip([true, false, false, true]) {
            let rotation = finish(rotate(&store, &present(session, 0), &POLICY));
            assert_eq!(rotation.decision.state().is_some(), lives, "{}", session.subject);
            if !lives {
                assert_eq!(rotation.decision, Decision::Unknown(Unknown::NoSession));
                assert_eq!(rotation.record, None);
            }
        }

        finish(store.revoke_subject(&SubjectDigest::of("ada"), None, &POLICY, &fresh_attempt())).unwrap();
        do_maintenance(&store);
        finish(opened(&store, "erin"));
        finish(opened(&store, "frank"));
        finish(opened(&store, "grace"));
        do_maintenance(&store);
        assert_eq!(store.evicted_sessions(), 4, "Carol's and Dave's; Ada had none left");
        assert_eq!(finish(opened(&store, "bob")).subject, "bob", "and may log in again");
    });
}

#[test]
fn nothing_is_done_in_an_entry_that_was_just_dropped() {
    // A read does the maintenance that is due, and so may drop the very entry that it gives. By the number of reads
    // before it, that happens in one of these rounds.
    unless_it_hangs(|| {
        for reads in 0..100 {
            let store = MokaStore::builder().max_subjects(1).clock(ManualClock::new()).build();
            finish(opened(&store, "ada"));
            do_maintenance(&store);
            finish(opened(&store, "bob"));
            for _ in 0..reads {
                finish(store.list(&SubjectDigest::of("nobody"))).unwrap();
            }
            finish(opened(&store, "ada"));
            do_maintenance(&store);
            let live = |subject| finish(store.list(&SubjectDigest::of(subject))).unwrap().len() as u64;
            let accounted_for = live("ada") + live("bob") + store.evicted_sessions();
            assert_eq!(accounted_for, 3, "after {reads} reads");
        }
    });
}

#[test]
fn a_limit_of_none_is_a_limit_of_one() {
    // With a cache that keeps nothing, the search for the entry just made never ended.
    unless_it_hangs(|| {
        let store = MokaStore::builder().max_subjects(0).build();
        let session = finish(opened(&store, "ada"));
        assert!(finish(record(&store, &session)).is_some());
        finish(store.revoke_subject(&SubjectDigest::of("bob"), None, &POLICY, &fresh_attempt())).unwrap();
        let store = MokaStore::builder().max_subjects(u64::MAX).build();
        finish(opened(&store, "ada"));
    });
}

#[test]
fn a_crowded_store_answers_everybody_and_counts_what_it_drops() {
    const TASKS: u64 = 16;
    const LOGINS: u64 = 200;
    for max_subjects in [1, 2, 5] {
        on_four_workers(async move {
            let store = MokaStore::builder().max_subjects(max_subjects).clock(ManualClock::new()).build();
            let policy = POLICY.clone().with_sessions_per_subject(1_000);
            let call = |task: u64| {
                let (store, policy) = (store.clone(), policy.clone());
                async move {
                    let mut evicted_by_the_cap = 0;
                    for login in 0..LOGINS {
                        let subject = format!("user-{}", scrambled(task * LOGINS + login) % 8);
                        let session = new_session(&subject, ManualClock::START);
                        match store.create(&session, &policy).await.unwrap() {
                            Creation::Created { evicted, .. } => evicted_by_the_cap += evicted.len(),
                            refused => panic!("{refused:?}"),
                        }
                        // Whether it is still there or not: an answer, and never one about another session.
                        match rotate(&store, &present(&session, 0), &policy).await.decision {
                            Decision::Current(_) | Decision::Unknown(Unknown::NoSession) => {}
                            other => panic!("{other:?}"),
                        }
                        store.list(&digest(&session)).await.unwrap();
                        if login % 50 == 0 {
                            store.purge_expired().await.unwrap();
                        }
                    }
                    evicted_by_the_cap
                }
            };
            let evicted_by_the_cap: usize = at_once((0..TASKS).map(call)).await.into_iter().sum();
            assert_eq!(evicted_by_the_cap, 0);

            let mut live = 0;
            tokio::task::spawn_blocking({
                let store = store.clone();
                move || do_maintenance(&store)
            })
            .await
            .unwrap();
            for user in 0..8 {
                live += store.list(&SubjectDigest::of(&format!("user-{user}"))).await.unwrap().len() as u64;
            }
            let evicted = store.evicted_sessions();
            assert!(evicted > 0, "the store was never full");
            // A session may be counted twice, when it was made in an entry that was just being dropped.
            assert!(
                live + evicted >= TASKS * LOGINS,
                "{live} live and {evicted} evicted: some are unaccounted for"
            );
        });
    }
}

#[test]
fn a_reuse_in_a_crowded_store_ends_what_is_there() {
    unless_it_hangs(|| {
        let store = MokaStore::builder().max_subjects(1).clock(ManualClock::new()).build();
        for _ in 0..50 {
            let session = finish(opened(&store, &format!("user-{}", unique())));
            for generation in [0, 1, 0] {
                finish(rotate(
                    &store,
                    &present(&session, generation),
                    &STRICT.clone().with_on_reuse(OnReuse::Session),
                ));
            }
            assert_eq!(finish(record(&store, &session)), None);
        }
    });
}
