//! [`Bench`]: the store under test with its clock, and the steps that the checks are made of.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::{
    Decision, NewSession, Presented, Record, Retry, SecretDigest, SessionPolicy, SubjectDigest, Unknown,
    decide,
};
use crate::store::{Rotation, SessionStore};
use crate::test_util::{ManualClock, created, fresh_attempt, new_session, present, unique};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// More than any test here takes.
pub(super) const MARGIN: Duration = MINUTE;

pub(super) const HOLD: Duration = Duration::from_secs(240);
pub(super) const RETRY: Duration = Duration::from_secs(480);

/// Moves the clock that a store decides by.
pub trait ShiftTime: Send + Sync + 'static {
    /// Moves it forward.
    fn advance(&self, by: Duration);
    /// Moves it back.
    fn step_back(&self, by: Duration);
}

impl ShiftTime for ManualClock {
    fn advance(&self, by: Duration) {
        ManualClock::advance(self, by);
    }

    fn step_back(&self, by: Duration) {
        ManualClock::step_back(self, by);
    }
}

/// A store that no other test uses, and its clock.
#[derive(Debug)]
pub struct Bench<S, C> {
    /// The store.
    pub store: S,
    /// The clock that it decides by.
    pub clock: C,
}
pub(super) fn policy() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Within { retry: RETRY, hold: HOLD })
}

pub(super) fn until_used() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::UntilUsed { retry: RETRY, hold: HOLD })
}

pub(super) fn subject(name: &str) -> String {
    format!("{name}-{}", unique())
}

pub(super) fn assert_unknown(rotation: &Rotation) {
    assert_eq!(rotation.decision, Decision::Unknown(Unknown::NoSession));
    assert_eq!(rotation.record, None);
}

#[track_caller]
pub(super) fn generation(rotation: &Rotation) -> u32 {
    rotation.decision.state().unwrap_or_else(|| panic!("refused: {rotation:?}")).generation
}

impl<S: SessionStore, C: ShiftTime> Bench<S, C> {
    pub(super) async fn now(&self) -> Timestamp {
        self.store.now().await.unwrap()
    }

    /// A session of `subject` that is kept from now on.
    pub(super) async fn open(&self, subject: &str) -> NewSession {
        let session = new_session(subject, self.now().await);
        created(self.store.create(&session, &policy()).await.unwrap());
        session
    }

    pub(super) async fn record(&self, session: &NewSession) -> Option<Record> {
        self.store.get(&SubjectDigest::of(&session.subject), &session.session_id).await.unwrap()
    }

    pub(super) async fn is_alive(&self, session: &NewSession) -> bool {
        self.record(session).await.is_some()
    }

    pub(super) async fn list(&self, subject: &str) -> Vec<Record> {
        self.store.list(&SubjectDigest::of(subject)).await.unwrap()
    }

    pub(super) async fn mark_used(&self, session: &NewSession, generation: u32, issue: u32) {
        let subject = SubjectDigest::of(&session.subject);
        self.store.mark_used(&subject, &session.session_id, generation, issue).await.unwrap();
    }

    pub(super) async fn revoke(&self, session: &NewSession, proof: Option<&SecretDigest>) -> bool {
        let subject = SubjectDigest::of(&session.subject);
        self.store.revoke(&subject, &session.session_id, proof, &fresh_attempt()).await.unwrap()
    }

    pub(super) async fn revoke_all(&self, subject: &str, except: Option<&NewSession>) -> u64 {
        let except = except.map(|session| &session.session_id);
        let subject = SubjectDigest::of(subject);
        self.store.revoke_subject(&subject, except, &policy(), &fresh_attempt()).await.unwrap()
    }

    /// Presents a token, and holds the answer and what is kept afterwards against the rule: [`decide`] over what was
    /// kept before.
    pub(super) async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Rotation {
        let get = async || self.store.get(&presented.subject, &presented.session_id).await.unwrap();
        let before = get().await;
        let rotation = self.store.rotate(presented, policy).await.unwrap();
        let after = get().await;
        assert_eq!(rotation.decision, decide(before.as_ref(), presented, policy, rotation.now));
        match rotation.decision {
            Decision::Unknown(_) | Decision::Expired => {
                assert_eq!(after, before, "a refusal changes nothing");
                assert_eq!(rotation.record, before);
            }
            Decision::Superseded | Decision::Reused => {
                assert_eq!(after, None, "the session has ended");
                assert_eq!(rotation.record, before);
            }
            granted => {
                assert_eq!(after.as_ref().map(|record| &record.state), granted.state(), "kept as decided");
                assert_eq!(
                    after.as_ref().map(|record| &record.facts),
                    before.as_ref().map(|record| &record.facts)
                );
                assert_eq!(rotation.record, after);
            }
        }
        rotation
    }

    /// A session whose newest token is of generation `generation`, the predecessors out of their windows.
    pub(super) async fn open_at(&self, subject: &str, generation: u32) -> NewSession {
        let session = self.open(subject).await;
        for presented in 0..generation {
            self.clock.advance(HOLD + MARGIN);
            let rotation = self.rotate(&present(&session, presented), &policy()).await;
            assert!(matches!(rotation.decision, Decision::Rotated(_)));
        }
        self.clock.advance(RETRY + MARGIN);
        session
    }

    /// A session whose newest token, of generation 1, was just made and is not in use.
    pub(super) async fn open_unused(&self, subject: &str) -> NewSession {
        let session = self.open(subject).await;
        self.mark_used(&session, 0, 0).await;
        self.clock.advance(HOLD + MARGIN);
        let rotation = self.rotate(&present(&session, 0), &until_used()).await;
        let Decision::Rotated(state) = rotation.decision else { panic!("{rotation:?}") };
        assert_eq!((state.generation, state.used_at, state.issue), (1, None, 0));
        session
    }
}
