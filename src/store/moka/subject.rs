//! What is kept of a subject, and what each operation makes of it: the decisions, under the lock of its entry.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::{
    Attempt, Decision, NewSession, OnReuse, Presented, Record, SecretDigest, SessionId, SessionPolicy, decide,
};
use crate::store::{Creation, Rotation};

/// An expired session is remembered for a day, so that its last token is `Expired` and not `Unknown`.
pub(super) const KEEP_EXPIRED: Duration = Duration::from_secs(24 * 3600);

/// How long it is remembered that a session has ended, and what the rotation answered that ended it.
const KEEP_ENDED: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Subject {
    /// Set under the lock when moka has removed the entry: whoever waited for the lock starts again.
    pub(super) dead: bool,
    pub(super) sessions: Vec<Record>,
    ended: Vec<Ended>,
    revoked_all: Option<RevokedAll>,
    /// How long moka must keep the entry when nobody touches it. For memory only: expiry is the record's.
    pub(super) keep_for: Duration,
}

/// The last time that all sessions were ended.
struct RevokedAll {
    /// Sessions authenticated at or before this moment are refused.
    before: Timestamp,
    at: Timestamp,
    attempt: Attempt,
    ended: u64,
}

/// A session that ended a short while ago: a creation that is sent again must not bring it back.
struct Ended {
    session_id: SessionId,
    at: Timestamp,
    /// The call that ended it, for the case that it is sent again.
    attempt: Attempt,
    /// What was answered, if the call was a rotation.
    by: Option<(Decision, Record)>,
}

impl Ended {
    fn is_recent(&self, now: Timestamp) -> bool {
        now.abs_diff(self.at) < KEEP_ENDED
    }
}

impl Subject {
    pub(super) fn position(&self, session_id: &SessionId) -> Option<usize> {
        self.sessions.iter().position(|record| record.facts.session_id == *session_id)
    }

    fn keep_at_least(&mut self, policy: &SessionPolicy) {
        self.keep_for = self.keep_for.max(policy.revocation_memory().saturating_add(KEEP_EXPIRED));
    }

    pub(super) fn create(
        &mut self,
        session: &NewSession,
        policy: &SessionPolicy,
        now: Timestamp,
    ) -> Creation {
        self.keep_at_least(policy);
        if let Some(at) = self.position(&session.session_id) {
            let record = self.sessions[at].clone();
            return if record.facts.secret_digest == session.secret_digest {
                Creation::Created { record, evicted: Vec::new() }
            } else {
                Creation::RevokedMeanwhile
            };
        }
        self.purge(now);
        if self.revoked_all.as_ref().is_some_and(|revoked| session.authenticated_at <= revoked.before)
            || self.ended.iter().any(|ended| ended.session_id == session.session_id)
        {
            return Creation::RevokedMeanwhile;
        }
        let mut evicted = Vec::new();
        while self.sessions.len() >= policy.sessions_per_subject() as usize {
            let longest_unused = self.sessions.iter().enumerate().min_by_key(|(_, record)| {
                (!record.is_expired(now), record.state.last_used_at, record.facts.session_id)
            });
            let Some((at, _)) = longest_unused else { break };
            let gone = self.sessions.remove(at);
            self.note_end(gone.facts.session_id, session.attempt, None, now);
            if !gone.is_expired(now) {
                evicted.push(gone.facts.session_id);
            }
        }
        let record = Record::open(session, policy, now);
        self.sessions.push(record.clone());
        Creation::Created { record, evicted }
    }

    pub(super) fn rotate(
        &mut self,
        presented: &Presented,
        policy: &SessionPolicy,
        now: Timestamp,
    ) -> Rotation {
        self.keep_at_least(policy);
        let resent = self.resent(&presented.session_id, &presented.attempt, now);
        if let Some((decision, record)) = resent.and_then(|ended| ended.by.clone()) {
            return Rotation { decision, record: Some(record), now };
        }
        let at = self.position(&presented.session_id);
        let record = at.and_then(|at| self.sessions.get_mut(at));
        let decision = decide(record.as_deref(), presented, policy, now);
        let record = record.map(|record| {
            if let Some(state) = decision.state() {
                record.state = *state;
            }
            record.clone()
        });
        if let (Decision::Superseded | Decision::Reused, Some(at), Some(record)) = (decision, at, &record) {
            self.sessions.remove(at);
            if decision == Decision::Reused && policy.on_reuse() == OnReuse::Subject {
                for sibling in std::mem::take(&mut self.sessions) {
                    self.note_end(sibling.facts.session_id, presented.attempt, None, now);
                }
            }
            self.note_end(presented.session_id, presented.attempt, Some((decision, record.clone())), now);
        }
        Rotation { decision, record, now }
    }

    fn note_end(
        &mut self,
        session_id: SessionId,
        attempt: Attempt,
        by: Option<(Decision, Record)>,
        now: Timestamp,
    ) {
        self.ended.retain(|ended| ended.is_recent(now));
        self.ended.push(Ended { session_id, at: now, attempt, by });
    }

    /// What is remembered of this very call, if it ended the session.
    fn resent(&self, session_id: &SessionId, attempt: &Attempt, now: Timestamp) -> Option<&Ended> {
        self.ended.iter().find(|ended| {
            ended.session_id == *session_id && ended.attempt == *attempt && ended.is_recent(now)
        })
    }

    pub(super) fn revoke(
        &mut self,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> bool {
        let Some(at) = self.position(session_id) else {
            return self.resent(session_id, attempt, now).is_some_and(|ended| ended.by.is_none());
        };
        if proof.is_some_and(|proof| *proof != self.sessions[at].facts.secret_digest) {
            return false;
        }
        self.sessions.remove(at);
        self.note_end(*session_id, *attempt, None, now);
        true
    }

    pub(super) fn revoke_all(
        &mut self,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
        now: Timestamp,
        mark: impl FnOnce() -> Timestamp,
    ) -> u64 {
        self.keep_at_least(policy);
        let resent = |last: &&RevokedAll| last.attempt == *attempt && now.abs_diff(last.at) < KEEP_ENDED;
        if let Some(last) = self.revoked_all.as_ref().filter(resent) {
            return last.ended;
        }
        // The clock may have stepped back: a mark never moves to an earlier time.
        let before = self.revoked_all.as_ref().map(|last| last.before).max(Some(mark()));
        let all = self.sessions.len();
        self.sessions.retain(|record| Some(&record.facts.session_id) == except);
        let ended = (all - self.sessions.len()) as u64;
        self.revoked_all = before.map(|before| RevokedAll { before, at: now, attempt: *attempt, ended });
        ended
    }

    pub(super) fn purge(&mut self, now: Timestamp) -> u64 {
        let before = self.sessions.len();
        self.sessions.retain(|record| now < record.expires_at().saturating_add(KEEP_EXPIRED));
        self.ended.retain(|ended| ended.is_recent(now));
        (before - self.sessions.len()) as u64
    }
}
