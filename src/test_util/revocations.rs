//! What every store of revocations does, whatever it keeps them in.

// A fault of the store is a panic of the test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::told::Told;
use super::unique;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::store::{RevocationKey, RevocationStore, SessionChange};

const HOUR: Duration = Duration::from_secs(3600);

/// Between two looks at what becomes so by itself.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks for half a minute.
const LOOKS: usize = 1_500;

/// Tests each rule of a [`RevocationStore`]. It may hold other revocations, and must keep them by a real clock: one of
/// the rules is that it forgets. Takes about a second, and is to run on a runtime with several threads.
///
/// ```
/// use tower_jwt_auth::MokaStore;
/// use tower_jwt_auth::test_util::revocation_contract;
///
/// # #[tokio::main]
/// # async fn main() {
/// revocation_contract(MokaStore::new()).await;
/// # }
/// ```
///
/// # Panics
///
/// The store breaks a rule, or does not answer.
pub async fn revocation_contract<S: RevocationStore + Clone>(store: S) {
    a_time_comes_back_as_it_was_given(&store).await;
    keys_are_kept_apart(&store).await;
    a_time_only_grows(&store).await;
    no_length_is_an_error(&store).await;
    the_longest_length_counts(&store).await;
    what_is_kept_is_seen_at_once(&store).await;
    at_once_the_latest_time_stays(&store).await;
    a_feed_is_told(&store).await;
    what_is_over_is_forgotten(&store).await;
}

/// What one store revokes, the feed of another one, which listens, is told within half a minute.
///
/// # Panics
///
/// It is not told.
pub async fn a_revocation_is_heard_of<S: RevocationStore>(one: &S, two: &S) {
    let told = listen(two).unwrap();
    for millis in [1_234, -1, i64::MAX] {
        let (key, not_before) = (key(), time(millis));
        revoke(one, &key, not_before, HOUR).await;
        let expected = [SessionChange::TokensRevoked { key, not_before }];
        let mut looks = 0;
        while of_key(&told, &key) != expected {
            looks += 1;
            assert!(looks < LOOKS, "never told of {not_before:?}");
            sleep(PAUSE).await;
        }
    }
}

/// One that no other test uses, nor another run over the same store.
fn name() -> String {
    format!("{}-{}", SystemClock.now().as_unix_millis(), unique())
}

fn key() -> RevocationKey {
    RevocationKey::token("https://contract.example", &name())
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

async fn revoke<S: RevocationStore>(
    store: &S,
    key: &RevocationKey,
    not_before: Timestamp,
    keep_for: Duration,
) {
    store.revoke_issued_before(key, not_before, keep_for).await.unwrap();
}

async fn kept<S: RevocationStore>(store: &S, key: &RevocationKey) -> Option<i64> {
    store.not_before(key).await.unwrap().map(Timestamp::as_unix_millis)
}

fn listen<S: RevocationStore>(store: &S) -> Option<Arc<Told>> {
    let told = Arc::new(Told::default());
    let weak = Arc::downgrade(&told);
    store.revocation_feed()?.listen(weak);
    Some(told)
}

/// Others of the same server may be heard of at any time.
fn of_key(told: &Told, key: &RevocationKey) -> Vec<SessionChange> {
    let mut all = told.0.lock().unwrap().clone();
    all.retain(|change| match change {
        SessionChange::TokensRevoked { key: of, .. } | SessionChange::TokensUncertain { key: of } => {
            of == key
        }
        _ => false,
    });
    all
}

async fn a_time_comes_back_as_it_was_given<S: RevocationStore>(store: &S) {
    for millis in [
        0,
        1,
        -1,
        999,
        -1_001,
        1_700_000_000_123,
        (1 << 53) - 1,
        (1 << 53) + 1,
        -(1 << 53) - 1,
        i64::MAX - 1,
        i64::MAX,
        i64::MIN + 1,
        i64::MIN,
    ] {
        let key = key();
        assert_eq!(kept(store, &key).await, None, "nothing is kept yet");
        revoke(store, &key, time(millis), HOUR).await;
        assert_eq!(kept(store, &key).await, Some(millis));
    }
}

async fn keys_are_kept_apart<S: RevocationStore>(store: &S) {
    let name = name();
    let keys = [
        RevocationKey::token("https://a.example", &name),
        RevocationKey::subject("https://a.example", &name),
        RevocationKey::token("https://b.example", &name),
        RevocationKey::subject("https://b.example", &name),
    ];
    for (millis, key) in (1..).zip(&keys) {
        assert_eq!(kept(store, key).await, None, "{key:?}");
        revoke(store, key, time(millis), HOUR).await;
    }
    for (millis, key) in (1..).zip(&keys) {
        assert_eq!(kept(store, key).await, Some(millis), "{key:?}");
    }
}

async fn a_time_only_grows<S: RevocationStore>(store: &S) {
    const FAR: i64 = 1 << 53;
    for (earlier, later) in [
        (9, 10),
        (99, 1_000),
        (-10, -9),
        (-1_000, -99),
        (-1, 0),
        (-5, 4),
        (0, 1),
        (FAR, FAR + 1),
        (-FAR - 1, -FAR),
        (i64::MAX - 1, i64::MAX),
        (i64::MIN, i64::MIN + 1),
        (i64::MIN, i64::MAX),
    ] {
        for order in [[earlier, later], [later, earlier]] {
            let key = key();
            for millis in order.into_iter().chain([later, earlier]) {
                revoke(store, &key, time(millis), HOUR).await;
            }
            assert_eq!(kept(store, &key).await, Some(later), "{order:?}");
        }
    }
}

async fn no_length_is_an_error<S: RevocationStore>(store: &S) {
    for length in [Duration::MAX, Duration::from_millis(u64::MAX), Duration::from_secs(10_000 * 366 * 86_400)]
    {
        let key = key();
        for millis in [7, 8] {
            revoke(store, &key, time(millis), length).await;
            assert_eq!(kept(store, &key).await, Some(millis), "{length:?}");
        }
    }
    for length in [Duration::ZERO, Duration::from_nanos(1)] {
        let key = key();
        // It may be gone at once.
        revoke(store, &key, time(7), length).await;
        revoke(store, &key, time(8), HOUR).await;
        assert_eq!(kept(store, &key).await, Some(8), "{length:?}");
    }
}

/// The length of any call counts, whichever time stays.
async fn the_longest_length_counts<S: RevocationStore>(store: &S) {
    let keys = [key(), key(), key()];
    for ((key, millis), length) in keys.iter().zip([7, 6, 8]).zip([0, 1, 1]) {
        revoke(store, key, time(7), HOUR).await;
        revoke(store, key, time(millis), Duration::from_millis(length)).await;
    }
    sleep(PAUSE).await;
    for (key, millis) in keys.iter().zip([7, 7, 8]) {
        assert_eq!(kept(store, key).await, Some(millis), "a shorter length took it away");
    }

    // The second call must come while the first one counts: later it is the first one.
    for length in [1, 2, 4, 8].map(|halves| Duration::from_millis(500) * halves) {
        let key = key();
        revoke(store, &key, time(7), length).await;
        revoke(store, &key, time(6), HOUR).await;
        let met = kept(store, &key).await;
        sleep(length + PAUSE).await;
        assert_eq!(kept(store, &key).await, met, "it was to stay for the longer length");
        if met == Some(7) {
            return;
        }
        assert_eq!(met, Some(6));
    }
    panic!("the earlier of two times stayed");
}

async fn what_is_kept_is_seen_at_once<S: RevocationStore + Clone>(store: &S) {
    let (key, clone) = (key(), store.clone());
    for millis in 0..50 {
        revoke(store, &key, time(millis), HOUR).await;
        assert_eq!(kept(&clone, &key).await, Some(millis), "a clone");
    }
}

async fn at_once_the_latest_time_stays<S: RevocationStore + Clone>(store: &S) {
    const CALLS: i64 = 40;
    for round in 0..5 {
        let key = key();
        let calls: Vec<_> = (0..CALLS)
            .map(|call| {
                let store = store.clone();
                // In no order, and the largest anywhere.
                let millis = (call * 17 + round * 11) % CALLS;
                tokio::spawn(async move {
                    revoke(&store, &key, time(millis), HOUR).await;
                    assert!(kept(&store, &key).await >= Some(millis), "what was kept before is lost");
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(kept(store, &key).await, Some(CALLS - 1), "round {round}");
    }
}

/// Where a store has a feed, a call has told of what it revoked when it returns.
async fn a_feed_is_told<S: RevocationStore + Clone>(store: &S) {
    let Some(told) = listen(store) else { return };
    let (key, not_before) = (key(), time(1_234));
    kept(store, &key).await;
    assert_eq!(of_key(&told, &key), [], "nothing was revoked");
    revoke(&store.clone(), &key, not_before, HOUR).await;
    assert_eq!(of_key(&told, &key).first(), Some(&SessionChange::TokensRevoked { key, not_before }));
}

async fn what_is_over_is_forgotten<S: RevocationStore>(store: &S) {
    let (key, other) = (key(), key());
    revoke(store, &other, time(7), HOUR).await;
    revoke(store, &key, time(7), 5 * PAUSE).await;
    let mut looks = 0;
    while kept(store, &key).await.is_some() {
        looks += 1;
        assert!(looks < LOOKS, "it is never forgotten");
        sleep(PAUSE).await;
    }
    assert_eq!(kept(store, &other).await, Some(7));
    revoke(store, &key, time(5), HOUR).await;
    assert_eq!(kept(store, &key).await, Some(5), "what was forgotten counts no longer");
}
