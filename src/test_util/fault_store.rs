//! [`FaultStore`]: a session store that fails when a test says so.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::session::{
    Attempt, NewSession, Presented, Record, SecretDigest, SessionId, SessionPolicy, SubjectDigest,
};
use crate::store::{
    Creation, RevocationKey, RevocationStore, Rotation, SessionFeed, SessionStore, StoreError, StoreErrorKind,
};

/// What a [`SessionStore`] and a [`RevocationStore`] can be asked, one for each of their methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreOperation {
    /// [`SessionStore::now`].
    Now,
    /// [`SessionStore::create`].
    Create,
    /// [`SessionStore::rotate`].
    Rotate,
    /// [`SessionStore::get`].
    Get,
    /// [`SessionStore::list`].
    List,
    /// [`SessionStore::revoke`].
    Revoke,
    /// [`SessionStore::revoke_subject`].
    RevokeSubject,
    /// [`SessionStore::mark_used`].
    MarkUsed,
    /// [`SessionStore::purge_expired`].
    PurgeExpired,
    /// [`RevocationStore::revoke_issued_before`].
    RevokeIssuedBefore,
    /// [`RevocationStore::not_before`].
    NotBefore,
}

impl StoreOperation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Now,
        Self::Create,
        Self::Rotate,
        Self::Get,
        Self::List,
        Self::Revoke,
        Self::RevokeSubject,
        Self::MarkUsed,
        Self::PurgeExpired,
        Self::RevokeIssuedBefore,
        Self::NotBefore,
    ];
}

/// What happens to a call of a [`FaultStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is done, and the call fails ([`StoreErrorKind::Unavailable`]): no connection.
    Fail,
    /// The operation is carried out, and the call fails all the same ([`StoreErrorKind::Timeout`]): the answer was
    /// lost.
    LoseAnswer,
    /// The operation is carried out, and its outcome is told at [`Faults::recover`]: a slow answer.
    HoldAnswer,
    /// Nothing is done until [`Faults::recover`]; then the operation is carried out.
    Hang,
}

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

    /// A store that tells nobody of the sessions that are ended and the tokens that are revoked: as a node sees it where
    /// other nodes do that.
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

    async fn run<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.faults.meet(operation) {
            None => work.await,
            Some(Met::Fail) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, "the test lets the store fail"))
            }
            Some(Met::LoseAnswer) => {
                work.await?;
                Err(StoreError::new(StoreErrorKind::Timeout, "the test loses the store's answer"))
            }
            Some(Met::Hang(mut recovery)) => {
                let hanging = Hanging::enter(&self.faults);
                // An error means that nobody can call `recover` any more, which this very store could.
                let _ = recovery.changed().await;
                drop(hanging);
                work.await
            }
            Some(Met::HoldAnswer(mut recovery)) => {
                let outcome = work.await;
                let hanging = Hanging::enter(&self.faults);
                let _ = recovery.changed().await;
                drop(hanging);
                outcome
            }
        }
    }
}

/// Not the store inside, which need not be printable.
impl<S> fmt::Debug for FaultStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// The faults of a [`FaultStore`], and its calls. Clones are about the same store.
///
/// A service asks a store twice before it answers 503: one fault is not seen from outside, two in a row are.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// How many calls hang.
    hanging: watch::Sender<usize>,
    /// Changes with each recovery.
    recoveries: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    planned: Vec<Planned>,
    /// By the position of the operation.
    lasting: [Option<Fault>; StoreOperation::ALL.len()],
    calls: Vec<StoreOperation>,
}

#[derive(Debug)]
struct Planned {
    operations: Vec<StoreOperation>,
    fault: Fault,
    calls: usize,
}

/// A fault that a call has met.
enum Met {
    Fail,
    LoseAnswer,
    HoldAnswer(watch::Receiver<()>),
    Hang(watch::Receiver<()>),
}

impl Faults {
    /// The next `calls` calls of any of these operations. Those told first come first, and all of them before what
    /// [`each`](Self::each) says.
    pub fn next(&self, calls: usize, operations: impl IntoIterator<Item = StoreOperation>, fault: Fault) {
        let operations = operations.into_iter().collect();
        self.state().planned.push(Planned { operations, fault, calls });
    }

    /// Each call of any of these operations, until [`recover`](Self::recover).
    pub fn each(&self, operations: impl IntoIterator<Item = StoreOperation>, fault: Fault) {
        let mut state = self.state();
        for operation in operations {
            state.lasting[operation as usize] = Some(fault);
        }
    }

    /// Each call fails, until [`recover`](Self::recover).
    pub fn outage(&self) {
        self.each(StoreOperation::ALL, Fault::Fail);
    }

    /// Takes back all faults, those that have not happened yet, too. Calls that hang go on.
    pub fn recover(&self) {
        let mut state = self.state();
        state.planned.clear();
        state.lasting = Default::default();
        // Under the lock: a call that meets `Hang` after this one does not go on by it.
        self.shared.recoveries.send_replace(());
    }

    /// How many faults given to [`next`](Self::next) have not happened yet. A test whose fault never happens shows
    /// nothing.
    pub fn pending(&self) -> usize {
        self.state().planned.iter().map(|planned| planned.calls).sum()
    }

    /// Returns as soon as a call hangs, at once if one does: what the test does next, it does meanwhile.
    pub async fn until_hanging(&self) {
        // An error means that the sender is gone, which is held here.
        let _ = self.shared.hanging.subscribe().wait_for(|hanging| *hanging > 0).await;
    }

    /// How many calls of this operation there were, failed ones too, since [`take_calls`](Self::take_calls).
    pub fn count(&self, operation: StoreOperation) -> usize {
        self.state().calls.iter().filter(|call| **call == operation).count()
    }

    /// All calls in order, failed ones too, since the last time.
    pub fn take_calls(&self) -> Vec<StoreOperation> {
        std::mem::take(&mut self.state().calls)
    }

    fn meet(&self, operation: StoreOperation) -> Option<Met> {
        let mut state = self.state();
        state.calls.push(operation);
        let planned = state
            .planned
            .iter_mut()
            .find(|planned| planned.calls > 0 && planned.operations.contains(&operation));
        let fault = match planned {
            Some(planned) => {
                planned.calls -= 1;
                Some(planned.fault)
            }
            None => state.lasting[operation as usize],
        };
        fault.map(|fault| match fault {
            Fault::Fail => Met::Fail,
            Fault::LoseAnswer => Met::LoseAnswer,
            Fault::HoldAnswer => Met::HoldAnswer(self.shared.recoveries.subscribe()),
            Fault::Hang => Met::Hang(self.shared.recoveries.subscribe()),
        })
    }

    /// A test that panics while it holds the lock has failed already.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that hangs, until it goes on or is dropped.
struct Hanging<'a>(&'a watch::Sender<usize>);

impl<'a> Hanging<'a> {
    fn enter(faults: &'a Faults) -> Self {
        let hanging = &faults.shared.hanging;
        hanging.send_modify(|hanging| *hanging += 1);
        Self(hanging)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|hanging| *hanging -= 1);
    }
}

impl<S: SessionStore> SessionStore for FaultStore<S> {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.run(StoreOperation::Now, self.inner.now()).await
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        self.run(StoreOperation::Create, self.inner.create(session, policy)).await
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        self.run(StoreOperation::Rotate, self.inner.rotate(presented, policy)).await
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        self.run(StoreOperation::Get, self.inner.get(subject, session_id)).await
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        self.run(StoreOperation::List, self.inner.list(subject)).await
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        self.run(StoreOperation::Revoke, self.inner.revoke(subject, session_id, proof, attempt)).await
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        let work = self.inner.revoke_subject(subject, except, policy, attempt);
        self.run(StoreOperation::RevokeSubject, work).await
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        let work = self.inner.mark_used(subject, session_id, generation, issue);
        self.run(StoreOperation::MarkUsed, work).await
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        self.run(StoreOperation::PurgeExpired, self.inner.purge_expired()).await
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
        self.run(StoreOperation::RevokeIssuedBefore, work).await
    }

    async fn not_before(&self, key: &RevocationKey) -> Result<Option<Timestamp>, StoreError> {
        self.run(StoreOperation::NotBefore, self.inner.not_before(key)).await
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        if self.is_told { self.inner.revocation_feed() } else { None }
    }
}
