//! The tables of a [`PostgresStore`], and their version.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::Type;

use super::error::{Failure, store_error, timed_out};
use super::lease::Lease;
use super::{PostgresStore, statements};
use crate::store::{StoreError, StoreErrorKind};

impl PostgresStore {
    /// Makes the tables, or those that an older version did not have. Any number of nodes may call it at once, and when
    /// all are there it needs no right to make them.
    ///
    /// # Errors
    ///
    /// As any operation; the tables are those of a newer version; or it takes more than 30 seconds.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        const LIMIT: Duration = Duration::from_secs(30);
        let statements = &self.settings.statements;
        let migrate = async {
            let lease = Lease::of(&self.pool).await?;
            let Some(client) = lease.client() else { return Ok(0) };
            if let Some(version @ statements::VERSION..) = self.version(client).await? {
                lease.give_back();
                return Ok(version);
            }
            client.batch_execute("BEGIN").await?;
            client
                .batch_execute("SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '30s'")
                .await?;
            self.rows(
                client,
                "SELECT pg_advisory_xact_lock($1)",
                &[(&statements.migration_lock, Type::INT8)],
            )
            .await?;
            client.batch_execute(&statements.schema).await?;
            let version = self.version(client).await?;
            client.batch_execute("COMMIT").await?;
            lease.give_back();
            Ok(version.unwrap_or_default())
        };
        let version = tokio::time::timeout(LIMIT, migrate).await.map_err(|_| timed_out())?;
        match version.map_err(store_error)? {
            statements::VERSION => Ok(()),
            _ => Err(StoreError::new(
                StoreErrorKind::Corrupt,
                "the tables are of another version of this crate: all nodes must run one that knows them",
            )),
        }
    }

    /// The SQL that [`migrate`](Self::migrate) runs, with the names of this store.
    pub fn schema_sql(&self) -> &str {
        &self.settings.statements.schema
    }

    async fn version(&self, client: &ClientWrapper) -> Result<Option<i32>, Failure> {
        let statements = &self.settings.statements;
        let exists = "SELECT to_regclass($1) IS NOT NULL";
        let exists = self.rows(client, exists, &[(&statements.migrations, Type::TEXT)]).await?;
        if !exists.first().map_or(Ok(false), |row| row.try_get(0))? {
            return Ok(None);
        }
        let newest = self.rows(client, &statements.version, &[]).await?;
        Ok(newest.first().map_or(Ok(None), |row| row.try_get(0))?)
    }
}
