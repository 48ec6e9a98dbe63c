//! How an operation goes to the server, and its statements with it.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::PostgresStore;
use super::error::{Failure, store_error, timed_out};
use crate::store::StoreError;

/// How often an operation is begun again that the server ended so that another one could go on.
pub(super) const RETRIES: u32 = 3;

/// Runs an operation on a connection, in time, and anew where the server asks for it.
///
/// A macro, as the future of a closure that borrows is not known to be `Send`.
macro_rules! on_connection {
    ($store:ident, |$client:ident| $operation:block) => {
        $store.in_time(async {
            let mut retries = 0;
            loop {
                let lease = $crate::store::postgres::lease::Lease::of(&$store.pool).await?;
                let Some($client) = lease.client() else { continue };
                let answer: Result<_, $crate::store::postgres::error::Failure> = async { $operation }.await;
                match answer {
                    Ok(answer) => {
                        lease.give_back();
                        return Ok(answer);
                    }
                    Err(failure)
                        if failure.is_conflict() && retries < $crate::store::postgres::operation::RETRIES =>
                    {
                        retries += 1;
                    }
                    Err(failure) => return Err(failure),
                }
            }
        })
    };
}
pub(super) use on_connection;

/// A value for a statement, and its type there.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl PostgresStore {
    pub(super) async fn in_time<T>(
        &self,
        operation: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        if let Ok(answer) = tokio::time::timeout(self.settings.timeout, operation).await {
            return answer.map_err(store_error);
        }
        // The network may have dropped all connections without a word: only those that were of use lately stay.
        self.pool.retain(|_, metrics| metrics.last_used() < self.settings.timeout);
        Err(timed_out())
    }

    pub(super) async fn rows(
        &self,
        client: &ClientWrapper,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        if !self.settings.prepared {
            return Ok(client.query_typed(sql, parameters).await?);
        }
        let types: Vec<Type> = parameters.iter().map(|(_, kind)| kind.clone()).collect();
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|(value, _)| *value).collect();
        let statement = client.prepare_typed_cached(sql, &types).await?;
        Ok(client.query(&statement, &values).await?)
    }

    /// The one row of a statement that always gives one.
    pub(super) async fn row(
        &self,
        client: &ClientWrapper,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, Failure> {
        let rows = self.rows(client, sql, parameters).await?;
        rows.into_iter().next().ok_or(Failure::Corrupt("a statement that gives one row gave none"))
    }

    /// The time that statements decide by: none, and they ask the server; in tests the one given.
    pub(super) fn clock(&self) -> Option<i64> {
        self.settings.clock.as_ref().map(|clock| clock.now().as_unix_millis())
    }
}
