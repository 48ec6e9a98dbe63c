//! Sessions in a SQLite file, and how to write a [`SessionStore`] of your own in an afternoon.
//!
//! A store decides nothing: the crate brings the rule, [`decide`](tower_jwt_auth::decide). A store is atomic, has one
//! clock, and remembers for a while what it has ended. Write it in this order:
//!
//! 1. **The contract**, `tests/contract.rs`: a function that opens an empty store, and `store_contract!(open)`. Begin
//!    with `todo!()` in every operation; the tests show what is left to do, and each is named after a promise.
//! 2. **What is kept**, `schema.sql`: each [`Record`] by subject digest and session id; how a session ended, for a
//!    minute; when all sessions of a subject were ended, for [`revocation_memory`](SessionPolicy::revocation_memory).
//!    Digests, ids and claims are bytes, times are integers.
//! 3. **A record to a row and back**, `row.rs`. What cannot be read is [`Corrupt`](StoreErrorKind::Corrupt), and never
//!    "no such session".
//! 4. **One function that runs a transaction**, [`SqliteStore`]'s `run`: it takes the lock, *then* reads the clock,
//!    does the work, commits, and is not stopped half-way when the caller goes.
//! 5. **`create` and `get`** (from here on, `tables.rs`): is it there already, was it ended, were all ended since the
//!    credentials were checked, is there room? In this order.
//! 6. **`rotate`**: find the record, `decide`, write what the decision says. A state replaces the state; `Superseded`
//!    ends the session; `Reused` ends it and, if the policy says so, the others of its subject.
//! 7. **`revoke` and `revoke_subject`**. The second leaves a mark, also for a subject without sessions: whoever logs in
//!    at that moment must lose.
//! 8. **Calls that are sent again** get the first answer: compare the attempt with the one kept beside the end.
//! 9. **`list`, `mark_used`, `purge_expired`**: one statement each. The program calls the last every hour or so.
//! 10. **What only your engine can do to you**, `tests/file.rs`: a file opened again, a lock held by another process,
//!     rows that somebody else wrote, a call dropped in the middle.

mod row;
mod tables;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::task::spawn_blocking;
use tower_jwt_auth::{
    Attempt, Clock, Creation, NewSession, Presented, Record, Rotation, SecretDigest, SessionId,
    SessionPolicy, SessionStore, StoreError, StoreErrorKind, SubjectDigest, SystemClock, Timestamp,
};

use crate::tables::Tables;

/// How long a call waits for another process to finish its transaction.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sessions in a SQLite file, for the processes of one machine. Needs the runtime of tokio with its timer.
///
/// All of them decide by the clock of the machine. If that is set back while a login is under way, an end of all
/// sessions in between may miss this login.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlite_store::SqliteStore;
/// use tower_jwt_auth::{SessionStore, SubjectDigest};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("sessions.sqlite");
/// let store = SqliteStore::open(path)?;
/// assert!(store.list(&SubjectDigest::of("ada")).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
    clock: Arc<dyn Clock>,
}

impl SqliteStore {
    /// Opens a file, and makes it if it is not there. It must be on a disk of this machine. Blocks: for the start of a
    /// program.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let connect = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(PATIENCE)?;
            connection.execute_batch(include_str!("schema.sql"))?;
            Ok(connection)
        };
        let connection = connect().map_err(store_error)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), clock: Arc::new(SystemClock) })
    }

    /// Replaces the clock that decides, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Runs `work` in a transaction on a thread that may block. If the future of this is dropped, the thread goes on:
    /// the transaction happens completely.
    async fn run<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let transaction = move || {
            // A thread that panicked has rolled back on its way out.
            let mut connection = store.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let db = connection.transaction_with_behavior(behavior)?;
            // Not before: what was written while this waited for the lock must not be later than its time.
            let tables = Tables { db, now: store.clock.now() };
            let answer = work(&tables)?;
            tables.db.commit()?;
            Ok(answer)
        };
        match spawn_blocking(transaction).await {
            Ok(answer) => answer.map_err(store_error),
            Err(error) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, "a transaction was stopped")
                    .with_source(error))
            }
        }
    }

    /// Looks at a snapshot: waits for no writer.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(TransactionBehavior::Deferred, work).await
    }

    /// Holds the lock of the writer from before the first read: nobody else writes between that and the commit.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(TransactionBehavior::Immediate, work).await
    }
}

impl SessionStore for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.clock.now())
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        let (session, policy) = (session.clone(), policy.clone());
        self.change(move |tables| tables.create(&session, &policy)).await
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        let (presented, policy) = (*presented, policy.clone());
        self.change(move |tables| tables.rotate(&presented, &policy)).await
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let (subject, session_id) = (*subject, *session_id);
        self.look(move |tables| tables.get(&subject, &session_id)).await
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        let subject = *subject;
        self.look(move |tables| tables.list(&subject)).await
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let (subject, session_id, proof, attempt) = (*subject, *session_id, proof.copied(), *attempt);
        self.change(move |tables| tables.revoke(&subject, &session_id, proof.as_ref(), &attempt)).await
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        let (subject, except, policy, attempt) = (*subject, except.copied(), policy.clone(), *attempt);
        let ended = self
            .change(move |tables| tables.revoke_subject(&subject, except.as_ref(), &policy, &attempt))
            .await?;
        // The mark refuses logins that began in its millisecond. One that begins after this has returned is welcome,
        // so it must begin in a later one. All is committed by now, whether the caller stays or goes.
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(ended)
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        let (subject, session_id) = (*subject, *session_id);
        self.change(move |tables| tables.mark_used(&subject, &session_id, generation, issue)).await
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        self.change(|tables| Ok(tables.purge_expired()? as u64)).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

/// An error that does not come from SQLite itself is about a value: it is there, and cannot be read.
fn store_error(error: rusqlite::Error) -> StoreError {
    let (kind, message) = match error.sqlite_error_code() {
        None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (StoreErrorKind::Corrupt, "the database holds what this program did not write")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (StoreErrorKind::Unavailable, "the database is locked by another process")
        }
        Some(_) => (StoreErrorKind::Unavailable, "the database cannot be used"),
    };
    StoreError::new(kind, message).with_source(error)
}
