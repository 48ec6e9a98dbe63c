//! Sessions that are ended: one, or all of a subject with the logins under way.

use super::bench::{
    Bench, HOLD, HOUR, MARGIN, MINUTE, SECOND, ShiftTime, assert_unknown, generation, policy, subject,
};
use crate::session::SecretDigest;
use crate::store::{Creation, SessionStore};
use crate::test_util::{created, new_session, present};

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
