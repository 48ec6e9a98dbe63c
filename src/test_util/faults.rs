//! [`Faults`]: what happens to the calls of a [`FaultStore`](crate::test_util::FaultStore), as a test says it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::store::{StoreError, StoreErrorKind};

/// What a [`SessionStore`](crate::SessionStore) and a [`RevocationStore`](crate::RevocationStore) can be asked, one for
/// each of their methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreOperation {
    /// [`SessionStore::now`](crate::SessionStore::now).
    Now,
    /// [`SessionStore::create`](crate::SessionStore::create).
    Create,
    /// [`SessionStore::rotate`](crate::SessionStore::rotate).
    Rotate,
    /// [`SessionStore::get`](crate::SessionStore::get).
    Get,
    /// [`SessionStore::list`](crate::SessionStore::list).
    List,
    /// [`SessionStore::revoke`](crate::SessionStore::revoke).
    Revoke,
    /// [`SessionStore::revoke_subject`](crate::SessionStore::revoke_subject).
    RevokeSubject,
    /// [`SessionStore::mark_used`](crate::SessionStore::mark_used).
    MarkUsed,
    /// [`SessionStore::purge_expired`](crate::SessionStore::purge_expired).
    PurgeExpired,
    /// [`RevocationStore::revoke_issued_before`](crate::RevocationStore::revoke_issued_before).
    RevokeIssuedBefore,
    /// [`RevocationStore::not_before`](crate::RevocationStore::not_before).
    NotBefore,
}

impl StoreOperation {
    /// All of them.
    pub const ALL: &'static [Self] = &[
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

/// What happens to a call of a [`FaultStore`](crate::test_util::FaultStore).
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

/// The faults of a [`FaultStore`](crate::test_util::FaultStore), and its calls. Clones are about the same store.
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
        self.each(StoreOperation::ALL.iter().copied(), Fault::Fail);
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

    /// Runs `work`, a call of this operation, as the test wants it.
    pub(super) async fn run<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.meet(operation) {
            None => work.await,
            Some(Met::Fail) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, "the test lets the store fail"))
            }
            Some(Met::LoseAnswer) => {
                work.await?;
                Err(StoreError::new(StoreErrorKind::Timeout, "the test loses the store's answer"))
            }
            Some(Met::Hang(mut recovery)) => {
                let hanging = Hanging::enter(self);
                // An error means that nobody can call `recover` any more, which this very store could.
                let _ = recovery.changed().await;
                drop(hanging);
                work.await
            }
            Some(Met::HoldAnswer(mut recovery)) => {
                let outcome = work.await;
                let hanging = Hanging::enter(self);
                let _ = recovery.changed().await;
                drop(hanging);
                outcome
            }
        }
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
