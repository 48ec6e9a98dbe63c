//! The operations on sessions, each on one entry under its lock.

use super::MokaStore;
use crate::clock::Timestamp;
use crate::session::{
    Attempt, NewSession, Presented, Record, SecretDigest, SessionId, SessionPolicy, SubjectDigest, decide,
};
use crate::store::{Creation, Rotation, SessionChange, SessionFeed, SessionStore, StoreError};

impl SessionStore for MokaStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.marks.show(self.clock.now()))
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        let subject = SubjectDigest::of(&session.subject);
        let unsettled = self.feed.unless_settled(SessionChange::Unanswered { subject });
        let created =
            self.with_subject(&subject, true, |state, now| state.create(session, policy, now)).await;
        // With `make` there is always an entry.
        let created = created.unwrap_or(Creation::RevokedMeanwhile);
        unsettled.settle();
        self.feed.tell_created(&created);
        Ok(created)
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        let subject = presented.subject;
        let unsettled = self.feed.unless_settled(SessionChange::Unanswered { subject });
        let rotated = self
            .with_subject(&presented.subject, false, |state, now| state.rotate(presented, policy, now))
            .await;
        let rotated = rotated.unwrap_or_else(|| {
            let now = self.clock.now();
            Rotation { decision: decide(None, presented, policy, now), record: None, now }
        });
        unsettled.settle();
        self.feed.tell_rotation(presented, policy, &rotated);
        Ok(rotated)
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let found = self.with_subject(subject, false, |state, _| {
            state.position(session_id).map(|at| state.sessions[at].clone())
        });
        Ok(found.await.flatten())
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        let found = self.with_subject(subject, false, |state, now| {
            state.sessions.iter().filter(|record| !record.is_expired(now)).cloned().collect::<Vec<_>>()
        });
        let mut records = found.await.unwrap_or_default();
        records.sort_by_key(|record| (std::cmp::Reverse(record.facts.created_at), record.facts.session_id));
        Ok(records)
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let unsettled = self.feed.unless_settled(SessionChange::Uncertain { subject: *subject });
        let ended = self
            .with_subject(subject, false, |state, now| state.revoke(session_id, proof, attempt, now))
            .await;
        let ended = ended.unwrap_or(false);
        unsettled.settle();
        self.feed.tell_revoked(subject, session_id, ended);
        Ok(ended)
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        let unsettled = self.feed.unless_settled(SessionChange::Uncertain { subject: *subject });
        // The mark must stand even where there is no session yet: a login may be under way.
        let ended = self
            .with_subject(subject, true, |state, now| {
                state.revoke_all(except, policy, attempt, now, || self.marks.mark(now))
            })
            .await;
        unsettled.settle();
        self.feed.tell_revoked_subject(subject, except);
        Ok(ended.unwrap_or(0))
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        self.with_subject(subject, false, |state, now| {
            if let Some(at) = state.position(session_id) {
                let state = &mut state.sessions[at].state;
                if (state.generation, state.issue) == (generation, issue) && state.used_at.is_none() {
                    state.used_at = Some(now);
                }
            }
        })
        .await;
        Ok(())
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        // Not through `with_subject`: reading an entry would keep it alive, and a regular purge all of them for ever.
        let now = self.clock.now();
        let purged = self.subjects.iter().map(|(_, entry)| entry.lock().purge(now)).sum();
        Ok(purged)
    }

    fn feed(&self) -> Option<&SessionFeed> {
        Some(&self.feed)
    }
}
