//! The contract of session stores: by one connection, and by two in turn as two processes would have them.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use sqlite_store::SqliteStore;
use tempfile::TempDir;
use tower_jwt_auth::test_util::{Bench, ManualClock, ShiftTime};

/// The clock of one test. It also holds the test's directory, which goes with it.
struct TestClock {
    clock: ManualClock,
    directory: TempDir,
}

impl TestClock {
    fn new() -> Self {
        Self { clock: ManualClock::new(), directory: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.directory.path().join("sessions.sqlite")).unwrap().clock(self.clock.clone())
    }
}

impl ShiftTime for TestClock {
    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn step_back(&self, by: Duration) {
        self.clock.step_back(by);
    }
}

async fn open() -> Bench<SqliteStore, TestClock> {
    let clock = TestClock::new();
    Bench { store: clock.open(), clock }
}

tower_jwt_auth::store_contract!(open);

mod two_processes {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sqlite_store::SqliteStore;
    use tower_jwt_auth::test_util::Bench;
    use tower_jwt_auth::{
        Attempt, Creation, NewSession, Presented, Record, Rotation, SecretDigest, SessionId, SessionPolicy,
        SessionStore, StoreError, SubjectDigest, Timestamp,
    };

    use super::TestClock;

    /// Each call goes to the other store than the call before.
    struct InTurn {
        stores: [SqliteStore; 2],
        calls: AtomicUsize,
    }

    impl InTurn {
        fn next(&self) -> &SqliteStore {
            &self.stores[self.calls.fetch_add(1, Ordering::Relaxed) % 2]
        }
    }

    impl SessionStore for InTurn {
        async fn now(&self) -> Result<Timestamp, StoreError> {
            self.next().now().await
        }

        async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
            self.next().create(session, policy).await
        }

        async fn rotate(
            &self,
            presented: &Presented,
            policy: &SessionPolicy,
        ) -> Result<Rotation, StoreError> {
            self.next().rotate(presented, policy).await
        }

        async fn get(
            &self,
            subject: &SubjectDigest,
            session_id: &SessionId,
        ) -> Result<Option<Record>, StoreError> {
            self.next().get(subject, session_id).await
        }

        async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
            self.next().list(subject).await
        }

        async fn revoke(
            &self,
            subject: &SubjectDigest,
            session_id: &SessionId,
            proof: Option<&SecretDigest>,
            attempt: &Attempt,
        ) -> Result<bool, StoreError> {
            self.next().revoke(subject, session_id, proof, attempt).await
        }

        async fn revoke_subject(
            &self,
            subject: &SubjectDigest,
            except: Option<&SessionId>,
            policy: &SessionPolicy,
            attempt: &Attempt,
        ) -> Result<u64, StoreError> {
            self.next().revoke_subject(subject, except, policy, attempt).await
        }

        async fn mark_used(
            &self,
            subject: &SubjectDigest,
            session_id: &SessionId,
            generation: u32,
            issue: u32,
        ) -> Result<(), StoreError> {
            self.next().mark_used(subject, session_id, generation, issue).await
        }

        async fn purge_expired(&self) -> Result<u64, StoreError> {
            self.next().purge_expired().await
        }
    }

    async fn open() -> Bench<InTurn, TestClock> {
        let clock = TestClock::new();
        let stores = [clock.open(), clock.open()];
        Bench { store: InTurn { stores, calls: AtomicUsize::new(0) }, clock }
    }

    tower_jwt_auth::store_contract!(open);
}
