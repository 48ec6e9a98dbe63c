//! The rule of rotation, row by row.

use super::bench::{
    Bench, DAY, HOLD, MARGIN, MINUTE, RETRY, ShiftTime, assert_unknown, generation, policy, subject,
};
use crate::session::{Decision, NewSession, OnReuse, Retry, RotationState, SecretDigest, Unknown};
use crate::store::SessionStore;
use crate::test_util::{created, new_session, present};

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
