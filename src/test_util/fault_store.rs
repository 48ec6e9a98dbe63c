//! [`FaultStore`]: a session store that fails when a test says so.

use std::fmt;
use std::time::Duration;

use super::faults::{Faults, StoreOperation};
use crate::clock::Timestamp;
use crate::session::{
    Attempt, NewSession, Presented, Record, SecretDigest, SessionId, SessionPolicy, SubjectDigest,
};
use crate::store::{
    Creation, RevocationKey, RevocationStore, Rotation, SessionFeed, SessionStore, StoreError,
};

/// A session store around another one, which it asks unless its [`Faults`] say otherwise. Told nothing, it is the
/// store it wraps, and counts the calls. It keeps revocations if that one does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_jwt_auth::test_util::{Fault, FaultStore, StoreOperation};
/// use tower_jwt_auth::{MokaStore, SessionStore};
///
/// let store = FaultStore::new(MokaStore::new());
/// let faults = store.faults();
///
/// faults.next(1, [StoreOperation::Now], Fault::Fail);
/// assert!(store.now().await.is_err());
/// assert!(store.now().await.is_ok());
///
/// faults.outage();
/// assert!(store.now().await.is_err());
/// faults.recover();
/// assert!(store.now().await.is_ok());
/// assert_eq!(faults.count(StoreOperation::Now), 4);
/// # }
/// ```
#[derive(Clone)]
pub struct FaultStore<S> {
    inner: S,
    faults: Faults,
    is_told: bool,
}

impl<S> FaultStore<S> {
    /// A store that does what `inner` does, until it is told otherwise.
    pub fn new(inner: S) -> Self {
        Self { inner, faults: Faults::default(), is_told: true }
    }

    /// A store that tells nobody of the sessions that are ended and the tokens that are revoked: as a node sees it
    /// where other nodes do that.
    #[must_use]
    pub fn without_feed(mut self) -> Self {
        self.is_told = false;
        self
    }

    /// Tells it what to do, and how often it was asked; also when the store is in the hands of a service.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The store inside, which does not fail.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

/// Not the store inside, which need not be printable.
impl<S> fmt::Debug for FaultStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl<S: SessionStore> SessionStore for FaultStore<S> {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.faults.run(StoreOperation::Now, self.inner.now()).await
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        self.faults.run(StoreOperation::Create, self.inner.create(session, policy)).await
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        self.faults.run(StoreOperation::Rotate, self.inner.rotate(presented, policy)).await
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        self.faults.run(StoreOperation::Get, self.inner.get(subject, session_id)).await
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        self.faults.run(StoreOperation::List, self.inner.list(subject)).await
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        self.faults.run(StoreOperation::Revoke, self.inner.revoke(subject, session_id, proof, attempt)).await
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        let work = self.inner.revoke_subject(subject, except, policy, attempt);
        self.faults.run(StoreOperation::RevokeSubject, work).await
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        let work = self.inner.mark_used(subject, session_id, generation, issue);
        self.faults.run(StoreOperation::MarkUsed, work).await
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        self.faults.run(StoreOperation::PurgeExpired, self.inner.purge_expired()).await
    }

    fn feed(&self) -> Option<&SessionFeed> {
        if self.is_told { self.inner.feed() } else { None }
    }
}

impl<S: RevocationStore> RevocationStore for FaultStore<S> {
    async fn revoke_issued_before(
        &self,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        let work = self.inner.revoke_issued_before(key, not_before, keep_for);
        self.faults.run(StoreOperation::RevokeIssuedBefore, work).await
    }

    async fn not_before(&self, key: &RevocationKey) -> Result<Option<Timestamp>, StoreError> {
        self.faults.run(StoreOperation::NotBefore, self.inner.not_before(key)).await
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        if self.is_told { self.inner.revocation_feed() } else { None }
    }
}
