//! The operations on sessions, each a statement or a short transaction.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::PostgresStore;
use super::codec::{fixed, lifetime, record, unsigned};
use super::error::Failure;
use super::operation::{Parameter, on_connection};
use crate::clock::Timestamp;
use crate::session::{
    Attempt, NewSession, Presented, Record, SecretDigest, SessionId, SessionPolicy, SubjectDigest,
};
use crate::store::{Creation, Rotation, SessionChange, SessionFeed, SessionStore, StoreError, facts};

impl SessionStore for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let clock = self.clock();
        let now = on_connection!(self, |client| {
            let row = self.row(client, self.settings.statements.now, &[(&clock, Type::INT8)]).await?;
            Ok(row.try_get(0)?)
        });
        now.await.map(Timestamp::from_unix_millis)
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        let statements = &self.settings.statements;
        let digest = SubjectDigest::of(&session.subject);
        let (subject, session_id) = (&digest.as_bytes()[..], &session.session_id.as_bytes()[..]);
        let (secret, attempt) = (&session.secret_digest.as_bytes()[..], &session.attempt.as_bytes()[..]);
        let authenticated = session.authenticated_at.as_unix_millis();
        let (idle, absolute) = (lifetime(policy.idle_lifetime()), lifetime(policy.absolute_lifetime()));
        let cap = i64::from(policy.sessions_per_subject());
        let (facts, claims) = (&facts::encode(session)?[..], &session.claims[..]);
        let creation = on_connection!(self, |client| {
            client.batch_execute("BEGIN").await?;
            let last = self.lock(client, &subject).await?;
            let now = last.now;
            let stale: [Parameter<'_>; 2] = [(&subject, Type::BYTEA), (&now, Type::INT8)];
            self.rows(client, &statements.purge_subject, &stale).await?;
            let rows = self
                .rows(
                    client,
                    &statements.create,
                    &[
                        (&subject, Type::BYTEA),
                        (&session_id, Type::BYTEA),
                        (&secret, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&authenticated, Type::INT8),
                        (&idle, Type::INT8),
                        (&absolute, Type::INT8),
                        (&cap, Type::INT8),
                        (&now, Type::INT8),
                        (&facts, Type::BYTEA),
                        (&claims, Type::BYTEA),
                        (&last.before, Type::INT8),
                    ],
                )
                .await?;
            client.batch_execute("COMMIT").await?;
            let Some(row) = rows.first() else { return Ok(Creation::RevokedMeanwhile) };
            let evicted: Vec<Vec<u8>> = row.try_get("evicted")?;
            Ok(Creation::Created {
                record: record(&digest, row)?,
                evicted: evicted
                    .iter()
                    .map(|id| Ok(SessionId::from_bytes(fixed(id)?)))
                    .collect::<Result<_, Failure>>()?,
            })
        });
        let unsettled = self.settings.feed.unless_settled(SessionChange::Unanswered { subject: digest });
        let creation = creation.await?;
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
        let (key, id) = (&subject.as_bytes()[..], &session_id.as_bytes()[..]);
        on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 2] = [(&key, Type::BYTEA), (&id, Type::BYTEA)];
            let rows = self.rows(client, &self.settings.statements.get, &parameters).await?;
            rows.first().map(|row| record(subject, row)).transpose()
        })
        .await
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        let (key, clock) = (&subject.as_bytes()[..], self.clock());
        on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 2] = [(&key, Type::BYTEA), (&clock, Type::INT8)];
            let rows = self.rows(client, &self.settings.statements.list, &parameters).await?;
            rows.iter().map(|row| record(subject, row)).collect()
        })
        .await
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let (key, id) = (&subject.as_bytes()[..], &session_id.as_bytes()[..]);
        let (proof, attempt) = (proof.map(|proof| &proof.as_bytes()[..]), &attempt.as_bytes()[..]);
        let clock = self.clock();
        let ended = on_connection!(self, |client| {
            let row = self
                .row(
                    client,
                    &self.settings.statements.revoke,
                    &[
                        (&key, Type::BYTEA),
                        (&id, Type::BYTEA),
                        (&proof, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&clock, Type::INT8),
                    ],
                )
                .await?;
            Ok(row.try_get(0)?)
        });
        let unsettled = self.settings.feed.unless_settled(SessionChange::Uncertain { subject: *subject });
        let ended = ended.await?;
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
        let (key, except_id) = (&subject.as_bytes()[..], except.map(|id| &id.as_bytes()[..]));
        let (attempt, memory) = (&attempt.as_bytes()[..], lifetime(policy.revocation_memory()));
        let ended = on_connection!(self, |client| {
            client.batch_execute("BEGIN").await?;
            let last = self.lock(client, &key).await?;
            let ended = if last.is_resent(attempt) {
                last.sessions.unwrap_or_default()
            } else {
                let row = self
                    .row(
                        client,
                        &self.settings.statements.revoke_all,
                        &[
                            (&key, Type::BYTEA),
                            (&except_id, Type::BYTEA),
                            (&last.now, Type::INT8),
                            (&attempt, Type::BYTEA),
                            (&memory, Type::INT8),
                        ],
                    )
                    .await?;
                row.try_get(0)?
            };
            client.batch_execute("COMMIT").await?;
            Ok(unsigned(ended))
        });
        let unsettled = self.settings.feed.unless_settled(SessionChange::Uncertain { subject: *subject });
        let ended = ended.await?;
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
        let (subject, session_id) = (&subject.as_bytes()[..], &session_id.as_bytes()[..]);
        let (generation, issue, clock) = (i64::from(generation), i64::from(issue), self.clock());
        on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 5] = [
                (&subject, Type::BYTEA),
                (&session_id, Type::BYTEA),
                (&generation, Type::INT8),
                (&issue, Type::INT8),
                (&clock, Type::INT8),
            ];
            self.rows(client, &self.settings.statements.mark_used, &parameters).await?;
            Ok(())
        })
        .await
    }

    /// Looks through the tables in small steps, each a transaction of its own, and passes over what is in use. May run
    /// on many nodes at once. Revocations of tokens that are no longer needed go, too, and are not counted.
    async fn purge_expired(&self) -> Result<u64, StoreError> {
        self.purge().await
    }

    fn feed(&self) -> Option<&SessionFeed> {
        Some(&self.settings.feed)
    }
}
