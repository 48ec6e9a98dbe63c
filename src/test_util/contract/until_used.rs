//! The use of tokens, and retries that are answered until a token is in use.

use super::bench::{Bench, DAY, HOLD, MARGIN, MINUTE, RETRY, ShiftTime, policy, subject, until_used};
use crate::session::{Decision, RotationState};
use crate::store::SessionStore;
use crate::test_util::{new_session, present};

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
