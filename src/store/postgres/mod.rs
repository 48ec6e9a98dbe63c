//! [`PostgresStore`]: sessions on PostgreSQL, for any number of nodes. Needs the feature `postgres`.

mod builder;
mod codec;
mod error;
mod lease;
mod listen;
mod migrate;
mod operation;
mod purge;
mod revocations;
mod rotation;
mod session_store;
mod statements;
mod subject_lock;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;

pub use builder::PostgresStoreBuilder;

use self::statements::Statements;
use crate::clock::Clock;
use crate::store::SessionFeed;

/// Sessions on [PostgreSQL](https://www.postgresql.org) 14 or newer.
///
/// All nodes that share the database, the schema and the prefix of the tables share the sessions, and the revocations
/// of tokens ([`RevocationStore`](crate::RevocationStore)). Times are by the clock of the server. A rotation is one
/// statement (two, where the token is not due); opening a session and ending all of a subject are short transactions
/// that begin with a lock on the subject's row.
///
/// Before the first use [`migrate`](Self::migrate) makes the tables; or apply the file `src/store/postgres/schema.sql`
/// of this crate by your own means. Call [`purge_expired`](crate::SessionStore::purge_expired) now and then, or let
/// [`PurgeTask`](crate::PurgeTask) do it: PostgreSQL does not forget by itself.
///
/// # What the connections must be told
///
/// [`open`](Self::open) does all of this. For a pool of your own (for TLS, for instance):
///
/// - Limit what a lock, a statement and a pause in a transaction may take on the server, or a client that is gone still
///   holds its locks there: `options=-c lock_timeout=2s -c statement_timeout=2s -c
///   idle_in_transaction_session_timeout=2s`. Behind a pooler that refuses `options`, set them on the role: `ALTER ROLE
///   app SET statement_timeout = '2s'`.
/// - Behind a pooler in transaction mode, such as `PgBouncer`, use [`unprepared`](PostgresStoreBuilder::unprepared).
/// - With several hosts, `target_session_attrs=read-write` finds the one that takes writes.
/// - `synchronous_commit` must not be `off`: **a revocation that is lost in a crash brings the session back.** For the
///   same reason a standby that may be promoted should be synchronous.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_jwt_auth::{PostgresStore, PurgeTask};
///
/// let store = PostgresStore::open("postgres://app@127.0.0.1:5433/app")?;
/// store.migrate().await?;
/// let _until_dropped = PurgeTask::spawn(store.clone(), Duration::from_secs(600))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool,
    settings: Arc<Settings>,
}

struct Settings {
    statements: Statements,
    prepared: bool,
    timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
    feed: SessionFeed,
}

impl PostgresStore {
    /// The pool of [`open`](Self::open), or of one's own.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

/// Shows nothing of the pool, whose own output may hold a password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("statements", &self.settings.statements).finish_non_exhaustive()
    }
}
