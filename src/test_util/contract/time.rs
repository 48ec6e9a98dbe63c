//! What time does to sessions: a day after their end, and when the clock steps back.

use super::bench::{Bench, DAY, HOUR, MARGIN, ShiftTime, assert_unknown, generation, policy, subject};
use crate::session::Decision;
use crate::store::SessionStore;
use crate::test_util::present;

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
