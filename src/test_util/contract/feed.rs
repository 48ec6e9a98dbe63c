//! What the feed of a store tells.

use std::sync::Arc;

use super::bench::{Bench, MARGIN, MINUTE, RETRY, ShiftTime, policy, subject, until_used};
use crate::session::{Decision, NewSession, OnReuse, Retry, SubjectDigest};
use crate::store::{SessionChange, SessionStore};
use crate::test_util::told::Told;
use crate::test_util::{created, fresh_attempt, new_session, present};

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
            | SessionChange::Unanswered { subject: of }
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
