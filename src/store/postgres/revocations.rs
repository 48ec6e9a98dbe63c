//! Revocations of access tokens on PostgreSQL: for each key one row.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::PostgresStore;
use super::codec::window;
use super::operation::{Parameter, on_connection};
use crate::clock::Timestamp;
use crate::store::{RevocationKey, RevocationStore, SessionChange, SessionFeed, StoreError};

impl RevocationStore for PostgresStore {
    async fn revoke_issued_before(
        &self,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        let (key_bytes, time) = (&key.as_bytes()[..], not_before.as_unix_millis());
        let (length, clock) = (window(keep_for), self.clock());
        let outcome = on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 4] =
                [(&key_bytes, Type::BYTEA), (&time, Type::INT8), (&length, Type::INT8), (&clock, Type::INT8)];
            self.row(client, &self.settings.statements.revoke_tokens, &parameters).await.map(drop)
        });
        let unsettled = self.settings.feed.unless_settled(SessionChange::TokensUncertain { key: *key });
        outcome.await?;
        unsettled.settle();
        self.settings.feed.tell_tokens_revoked(key, not_before);
        Ok(())
    }

    async fn not_before(&self, key: &RevocationKey) -> Result<Option<Timestamp>, StoreError> {
        let (key, clock) = (&key.as_bytes()[..], self.clock());
        on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 2] = [(&key, Type::BYTEA), (&clock, Type::INT8)];
            let rows = self.rows(client, &self.settings.statements.not_before, &parameters).await?;
            let row = rows.first();
            row.map(|row| Ok(Timestamp::from_unix_millis(row.try_get(0)?))).transpose()
        })
        .await
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        Some(&self.settings.feed)
    }
}
