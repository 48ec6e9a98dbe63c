//! What each operation does to the tables, inside one transaction.

use std::cmp::Reverse;
use std::time::Duration;

use rusqlite::{OptionalExtension, Result, Transaction, params};
use tower_jwt_auth::{
    Attempt, Creation, Decision, NewSession, OnReuse, Presented, Record, Rotation, SecretDigest, SessionId,
    SessionPolicy, SubjectDigest, Timestamp, decide,
};

use crate::row::{self, End, Kept};

/// How long expired sessions stay: their last token is `Expired` and not `Unknown`.
const KEEP_EXPIRED: Duration = Duration::from_secs(24 * 3600);

/// How long ended sessions stay, for calls that are sent again.
const KEEP_ENDED: Duration = Duration::from_secs(60);

/// The tables in a transaction, and its time: the clock is read once the lock is held.
pub(crate) struct Tables<'a> {
    pub(crate) db: Transaction<'a>,
    pub(crate) now: Timestamp,
}

impl Tables<'_> {
    pub(crate) fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation> {
        let subject = SubjectDigest::of(&session.subject);
        // Is it there? Before all else: the repetition of a call that succeeded succeeds, whatever has happened since.
        if let Some(kept) = self.find(&subject, &session.session_id)? {
            let is_it = kept.end.is_none() && kept.record.facts.secret_digest == session.secret_digest;
            return Ok(if is_it {
                Creation::Created { record: kept.record, evicted: Vec::new() }
            } else {
                Creation::RevokedMeanwhile
            });
        }
        // Were all sessions of the subject ended while the credentials were checked?
        if self.revoked_before(&subject)?.is_some_and(|revoked| session.authenticated_at <= revoked) {
            return Ok(Creation::RevokedMeanwhile);
        }
        // Is there room? Expired sessions go first and are no loss, then the longest unused.
        let mut others = self.alive(&subject)?;
        others.sort_by_key(|other| {
            (!other.is_expired(self.now), other.state.last_used_at, other.facts.session_id)
        });
        let too_many = (others.len() + 1).saturating_sub(policy.sessions_per_subject() as usize);
        let mut evicted = Vec::new();
        for gone in others.iter().take(too_many) {
            self.end(&subject, &gone.facts.session_id, &End::default())?;
            if !gone.is_expired(self.now) {
                evicted.push(gone.facts.session_id);
            }
        }
        let record = Record::open(session, policy, self.now);
        row::insert(&self.db, &record)?;
        Ok(Creation::Created { record, evicted })
    }

    pub(crate) fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation> {
        let (subject, session_id) = (&presented.subject, &presented.session_id);
        let mut record = None;
        match self.find(subject, session_id)? {
            // This very call has ended the session, and is sent again.
            Some(Kept { record, end: Some(End { by: Some(by), decision: Some(decision) }) })
                if by == presented.attempt =>
            {
                return Ok(Rotation { decision, record: Some(record), now: self.now });
            }
            Some(kept) if kept.end.is_none() => record = Some(kept.record),
            _ => {}
        }
        let decision = decide(record.as_ref(), presented, policy, self.now);
        if let (Some(state), Some(record)) = (decision.state(), &mut record) {
            // An answer that changes nothing costs no write.
            if record.state != *state {
                record.state = *state;
                row::update(&self.db, subject, session_id, state)?;
            }
        } else if let Decision::Superseded | Decision::Reused = decision {
            let end = End { by: Some(presented.attempt), decision: Some(decision) };
            self.end(subject, session_id, &end)?;
            if decision == Decision::Reused && policy.on_reuse() == OnReuse::Subject {
                // Without a mark: a login under way has nothing to do with the stolen token.
                self.end_all(subject, None)?;
            }
        }
        Ok(Rotation { decision, record, now: self.now })
    }

    pub(crate) fn get(&self, subject: &SubjectDigest, session_id: &SessionId) -> Result<Option<Record>> {
        Ok(self.find(subject, session_id)?.filter(|kept| kept.end.is_none()).map(|kept| kept.record))
    }

    pub(crate) fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>> {
        let mut records = self.alive(subject)?;
        records.retain(|record| !record.is_expired(self.now));
        records.sort_by_key(|record| (Reverse(record.facts.created_at), record.facts.session_id));
        Ok(records)
    }

    pub(crate) fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool> {
        let Some(kept) = self.find(subject, session_id)? else { return Ok(false) };
        if let Some(end) = kept.end {
            return Ok(end.by == Some(*attempt) && end.decision.is_none());
        }
        // Digests are compared here and not by SQLite: in constant time.
        if proof.is_some_and(|proof| *proof != kept.record.facts.secret_digest) {
            return Ok(false);
        }
        self.end(subject, session_id, &End { by: Some(*attempt), decision: None })?;
        Ok(true)
    }

    pub(crate) fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64> {
        let answered = self
            .db
            .prepare_cached("SELECT ended FROM mark WHERE subject_digest = ?1 AND attempt = ?2")?
            .query_row(params![subject.as_bytes(), attempt.as_bytes()], |row| row.get(0))
            .optional()?;
        if let Some(ended) = answered {
            return Ok(ended);
        }
        let ended = self.end_all(subject, except)?;
        // Also for a subject without sessions: a login may be under way.
        self.db
            .prepare_cached(
                "INSERT INTO mark (subject_digest, attempt, revoked_before, ended, forget_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                subject.as_bytes(),
                attempt.as_bytes(),
                self.now.as_unix_millis(),
                ended,
                self.now.saturating_add(policy.revocation_memory()).as_unix_millis(),
            ])?;
        Ok(ended)
    }

    pub(crate) fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<()> {
        self.db
            .prepare_cached(
                "UPDATE session SET used_at = ?5
                 WHERE subject_digest = ?1 AND session_id = ?2 AND generation = ?3 AND issue = ?4
                 AND used_at IS NULL AND ended_at IS NULL",
            )?
            .execute(params![
                subject.as_bytes(),
                session_id.as_bytes(),
                generation,
                issue,
                self.now.as_unix_millis()
            ])?;
        Ok(())
    }

    pub(crate) fn purge_expired(&self) -> Result<usize> {
        let before = |age| self.now.saturating_sub(age).as_unix_millis();
        // An idle end is never after the absolute end.
        let expired = self.db.execute(
            "DELETE FROM session WHERE idle_expires_at <= ?1 AND ended_at IS NULL",
            [before(KEEP_EXPIRED)],
        )?;
        self.db.execute("DELETE FROM session WHERE ended_at <= ?1", [before(KEEP_ENDED)])?;
        self.db.execute("DELETE FROM mark WHERE forget_at <= ?1", [before(Duration::ZERO)])?;
        Ok(expired)
    }

    fn find(&self, subject: &SubjectDigest, session_id: &SessionId) -> Result<Option<Kept>> {
        self.db
            .prepare_cached("SELECT * FROM session WHERE subject_digest = ?1 AND session_id = ?2")?
            .query_row(params![subject.as_bytes(), session_id.as_bytes()], row::read)
            .optional()
    }

    /// All sessions that have not ended, the expired ones too.
    fn alive(&self, subject: &SubjectDigest) -> Result<Vec<Record>> {
        self.db
            .prepare_cached("SELECT * FROM session WHERE subject_digest = ?1 AND ended_at IS NULL")?
            .query_map([subject.as_bytes()], |row| Ok(row::read(row)?.record))?
            .collect()
    }

    /// The latest mark. It never moves to an earlier time, though the clock may.
    fn revoked_before(&self, subject: &SubjectDigest) -> Result<Option<Timestamp>> {
        let latest: Option<i64> = self
            .db
            .prepare_cached("SELECT max(revoked_before) FROM mark WHERE subject_digest = ?1")?
            .query_row([subject.as_bytes()], |row| row.get(0))?;
        Ok(latest.map(Timestamp::from_unix_millis))
    }

    fn end(&self, subject: &SubjectDigest, session_id: &SessionId, end: &End) -> Result<()> {
        self.db
            .prepare_cached(
                "UPDATE session SET ended_at = ?3, ended_by = ?4, ended_as = ?5
                 WHERE subject_digest = ?1 AND session_id = ?2",
            )?
            .execute(params![
                subject.as_bytes(),
                session_id.as_bytes(),
                self.now.as_unix_millis(),
                end.by.as_ref().map(Attempt::as_bytes),
                end.decision.as_ref().map(Decision::as_str),
            ])?;
        Ok(())
    }

    fn end_all(&self, subject: &SubjectDigest, except: Option<&SessionId>) -> Result<u64> {
        // `IS NOT` holds for every session where none is excepted.
        let ended = self
            .db
            .prepare_cached(
                "UPDATE session SET ended_at = ?3
                 WHERE subject_digest = ?1 AND session_id IS NOT ?2 AND ended_at IS NULL",
            )?
            .execute(params![
                subject.as_bytes(),
                except.map(SessionId::as_bytes),
                self.now.as_unix_millis()
            ])?;
        Ok(ended as u64)
    }
}
