//! A call that is sent again changes nothing more, and gives the same outcome.

use super::bench::{
    Bench, HOLD, MARGIN, RETRY, SECOND, ShiftTime, assert_unknown, generation, policy, subject,
};
use crate::session::{Decision, OnReuse, Retry, SubjectDigest};
use crate::store::{Creation, SessionStore};
use crate::test_util::{created, fresh_attempt, new_session, present};

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
