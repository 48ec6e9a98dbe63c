//! Looks at sessions without refreshing or ending them.

use crate::clock::Timestamp;
use crate::service::core::{Core, twice};
use crate::service::error::SessionError;
use crate::service::events;
use crate::service::identity::SessionInfo;
use crate::session::{Presented, Record, RefreshToken, SessionId, SubjectDigest, decide};
use crate::store::StoreError;
use crate::token::Registered;

impl Core {
    /// A session that has neither ended nor expired.
    pub(in crate::service) async fn live(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let found = self.find(subject, session_id).await?;
        Ok(found.and_then(|(record, now)| (!record.is_expired(now)).then_some(record)))
    }

    /// Whether a token is of a session that has neither ended nor expired.
    pub(in crate::service) async fn is_live(&self, token: &RefreshToken) -> Result<bool, StoreError> {
        let record = self.live(&token.subject, &token.session_id).await?;
        Ok(record.is_some_and(|record| record.facts.secret_digest == token.secret_digest()))
    }

    /// The record, if a refresh with this token would be answered now (rows 3 to 6 of the rule). Changes nothing.
    pub(in crate::service) async fn answered(
        &self,
        presented: &Presented,
    ) -> Result<Option<Record>, StoreError> {
        let Some((record, now)) = self.find(&presented.subject, &presented.session_id).await? else {
            return Ok(None);
        };
        let decision = decide(Some(&record), presented, &self.policy, now);
        Ok(decision.state().is_some().then_some(record))
    }

    pub(in crate::service) async fn list(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionError> {
        let subject = SubjectDigest::of(subject);
        let records = twice(|| self.store.list(&subject)).await?;
        Ok(records.into_iter().map(SessionInfo::new).collect())
    }

    async fn find(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<(Record, Timestamp)>, StoreError> {
        match twice(|| self.store.get(subject, session_id)).await? {
            Some(record) => Ok(Some((record, twice(|| self.store.now()).await?))),
            None => Ok(None),
        }
    }

    /// This service is one of the verifiers that report use, where the rule goes by it. What is not noted is noted by
    /// the next.
    pub(in crate::service) async fn note_use(&self, token: &Registered, record: &Record) {
        let (state, facts) = (&record.state, &record.facts);
        let is_newest = token.generation() == Some(state.generation) && token.reissue() == state.issue;
        if self.policy.is_until_used() && is_newest && state.used_at.is_none() {
            let subject = record.subject_digest();
            let mark = || self.store.mark_used(&subject, &facts.session_id, state.generation, state.issue);
            if let Err(error) = twice(mark).await {
                events::unavailable("store", &error);
            }
        }
    }
}
