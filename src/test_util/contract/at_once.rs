//! Many calls at once. Times stand still if the clock does, so order is told by what has returned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Barrier;

use super::bench::{Bench, HOLD, MARGIN, RETRY, ShiftTime, policy, subject, until_used};
use crate::session::{Decision, NewSession, Record, Retry, SessionPolicy};
use crate::store::{Creation, SessionStore};
use crate::test_util::{created, new_session, present};

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
