//! The clean-up of the tables, in small steps.

use tokio_postgres::types::Type;

use super::PostgresStore;
use super::codec::unsigned;
use super::error::store_error;
use super::operation::{Parameter, on_connection};
use crate::store::StoreError;

/// Pages of a table that one statement of the clean-up looks at: about a thousand sessions.
const PAGES: i64 = 128;

impl PostgresStore {
    /// Goes through all tables, and counts the sessions that go.
    pub(super) async fn purge(&self) -> Result<u64, StoreError> {
        let statements = &self.settings.statements;
        let pages = on_connection!(self, |client| {
            let names: [Parameter<'_>; 3] = [
                (&statements.sessions, Type::TEXT),
                (&statements.subjects, Type::TEXT),
                (&statements.revocations, Type::TEXT),
            ];
            let row = self.row(client, statements.pages, &names).await?;
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        });
        let (sessions, subjects, revocations): (i64, i64, Option<i64>) = pages.await?;
        let purged = self.purge_pages(&statements.purge_sessions, sessions).await?;
        self.purge_pages(&statements.purge_subjects, subjects).await?;
        self.purge_pages(&statements.purge_revocations, revocations.unwrap_or_default()).await?;
        Ok(purged)
    }

    /// Runs a statement on all pages of its table.
    async fn purge_pages(&self, sql: &str, pages: i64) -> Result<u64, StoreError> {
        let (mut from, mut purged) = (0, 0);
        while from < pages {
            let (first, end) = (format!("({from},0)"), format!("({},0)", from.saturating_add(PAGES)));
            let clock = self.clock();
            let rows = on_connection!(self, |client| {
                let parameters: [Parameter<'_>; 3] =
                    [(&first, Type::TEXT), (&end, Type::TEXT), (&clock, Type::INT8)];
                self.rows(client, sql, &parameters).await
            });
            if let Some(row) = rows.await?.first() {
                purged += unsigned(row.try_get(0).map_err(|error| store_error(error.into()))?);
            }
            from = from.saturating_add(PAGES);
        }
        Ok(purged)
    }
}
