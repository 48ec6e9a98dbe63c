//! The lock on a subject's row, with which a transaction begins that opens a session or ends all of them.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::error::Failure;
use super::operation::Parameter;

impl PostgresStore {
    pub(super) async fn lock(
        &self,
        client: &ClientWrapper,
        subject: &&[u8],
    ) -> Result<LastRevocation, Failure> {
        let clock = self.clock();
        let parameters: [Parameter<'_>; 2] = [(subject, Type::BYTEA), (&clock, Type::INT8)];
        let row = self.row(client, &self.settings.statements.lock_subject, &parameters).await?;
        Ok(LastRevocation {
            now: row.try_get("now")?,
            before: row.try_get("revoked_before")?,
            at: row.try_get("revoked_at")?,
            by: row.try_get("revoked_by")?,
            sessions: row.try_get("revoked_sessions")?,
        })
    }
}

/// What the locked row of a subject says, and the time.
pub(super) struct LastRevocation {
    pub(super) now: i64,
    pub(super) before: Option<i64>,
    at: Option<i64>,
    by: Option<Vec<u8>>,
    pub(super) sessions: Option<i64>,
}

impl LastRevocation {
    pub(super) fn is_resent(&self, attempt: &[u8]) -> bool {
        self.by.as_deref() == Some(attempt) && self.at.is_some_and(|at| self.now.abs_diff(at) < 60_000)
    }
}
