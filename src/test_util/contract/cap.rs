//! How many sessions a subject may have, and which go for a new one.

use super::bench::{Bench, HOUR, MINUTE, SECOND, ShiftTime, assert_unknown, generation, policy, subject};
use crate::store::{Creation, SessionStore};
use crate::test_util::{created, new_session, present};

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
