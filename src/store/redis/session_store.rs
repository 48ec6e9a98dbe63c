//! The operations on sessions, each a script.

use std::time::Duration;

use ::redis::aio::ConnectionLike;

use super::RedisStore;
use super::codec::{self, Packed};
use super::scripts::SCRIPTS;
use crate::clock::Timestamp;
use crate::session::{
    Attempt, NewSession, Presented, Record, SecretDigest, SessionId, SessionPolicy, SubjectDigest,
};
use crate::store::{Creation, Rotation, SessionChange, SessionFeed, SessionStore, StoreError};

impl<C: ConnectionLike + Clone + Send + Sync + 'static> SessionStore for RedisStore<C> {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let key = format!("{}:now", self.settings.prefix);
        let clock = Packed::default().double(self.clock()).bytes();
        self.run(&SCRIPTS.now, &key, &[&clock]).await.map(Timestamp::from_unix_millis)
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        let subject = SubjectDigest::of(&session.subject);
        let arguments = Packed::default()
            .raw(session.secret_digest.as_bytes())
            .raw(session.attempt.as_bytes())
            .double(codec::double(session.authenticated_at))
            .double(codec::lifetime(policy.idle_lifetime()))
            .double(codec::lifetime(policy.absolute_lifetime()))
            .number(policy.sessions_per_subject())
            .double(self.clock())
            .bytes();
        let id = session.session_id.as_bytes();
        let facts = codec::facts(session)?;
        let unsettled = self.settings.feed.unless_settled(SessionChange::Unanswered { subject });
        let (created, _, value, evicted): (i64, i64, Option<Vec<u8>>, Vec<Vec<u8>>) =
            self.run(&SCRIPTS.create, &self.key(&subject), &[id, &arguments, &facts]).await?;
        let creation = match value {
            Some(value) if created == 1 => Creation::Created {
                record: codec::record(&subject, id, &value)?,
                evicted: evicted.iter().map(|id| codec::session_id(id)).collect::<Result<_, _>>()?,
            },
            _ => Creation::RevokedMeanwhile,
        };
        unsettled.settle();
        self.settings.feed.tell_created(&creation);
        Ok(creation)
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        let feed = &self.settings.feed;
        let unsettled = feed.unless_settled(SessionChange::Unanswered { subject: presented.subject });
        let rotation = self.present(presented, policy).await?;
        unsettled.settle();
        feed.tell_rotation(presented, policy, &rotation);
        Ok(rotation)
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let (_, mut found) = self.read(subject, session_id.as_bytes()).await?;
        Ok(found.pop())
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        let (_, mut records) = self.read(subject, b"").await?;
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
        let proof = proof.map_or(&b""[..], |proof| proof.as_bytes());
        let arguments = Packed::default().raw(attempt.as_bytes()).double(self.clock()).bytes();
        let arguments: [&[u8]; 3] = [session_id.as_bytes(), proof, &arguments];
        let unsettled = self.settings.feed.unless_settled(SessionChange::Uncertain { subject: *subject });
        let ended = self.run_safely(&SCRIPTS.revoke, &self.key(subject), &arguments).await?;
        unsettled.settle();
        self.settings.feed.tell_revoked(subject, session_id, ended);
        Ok(ended)
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        // By the clock that logins are timed by: in a cluster the subject's node may have another.
        let before = self.now().await?;
        let except_id = except.map_or(&b""[..], |id| id.as_bytes());
        let arguments = Packed::default()
            .raw(attempt.as_bytes())
            .double(codec::lifetime(policy.revocation_memory()))
            .double(codec::double(before))
            .double(self.clock())
            .bytes();
        let unsettled = self.settings.feed.unless_settled(SessionChange::Uncertain { subject: *subject });
        let ended =
            self.run_safely(&SCRIPTS.revoke_all, &self.key(subject), &[except_id, &arguments]).await?;
        unsettled.settle();
        self.settings.feed.tell_revoked_subject(subject, except);
        if self.settings.clock.is_none() {
            // A login that begins now must not bear the time of the mark, or it would be refused.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(ended)
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        let arguments = Packed::default().number(generation).number(issue).double(self.clock()).bytes();
        let arguments: [&[u8]; 2] = [session_id.as_bytes(), &arguments];
        let _: i64 = self.run(&SCRIPTS.mark_used, &self.key(subject), &arguments).await?;
        Ok(())
    }

    /// Does nothing: Redis forgets by itself.
    async fn purge_expired(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn feed(&self) -> Option<&SessionFeed> {
        Some(&self.settings.feed)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    async fn read(
        &self,
        subject: &SubjectDigest,
        session_id: &[u8],
    ) -> Result<(Timestamp, Vec<Record>), StoreError> {
        let clock = Packed::default().double(self.clock()).bytes();
        let (now, found): (i64, Vec<Vec<u8>>) =
            self.run(&SCRIPTS.read, &self.key(subject), &[session_id, &clock]).await?;
        let records = found.chunks_exact(2).map(|pair| codec::record(subject, &pair[0], &pair[1]));
        Ok((Timestamp::from_unix_millis(now), records.collect::<Result<_, _>>()?))
    }
}
