//! A store that fails when told to, and a gate to stop tasks at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tower_jwt_auth::{
    Attempt, Creation, MokaStore, NewSession, Presented, Record, Rotation, SecretDigest, SessionId,
    SessionPolicy, SessionStore, StoreError, StoreErrorKind, SubjectDigest, Timestamp, decide,
};

use crate::support::ManualClock;

/// After so long something that should have happened will not happen any more: the test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A place where a task waits until a test lets it go on.
#[derive(Debug, Clone)]
pub struct Gate(Arc<[Semaphore; 2]>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new([Semaphore::new(0), Semaphore::new(0)]))
    }
}

impl Gate {
    pub async fn pass(&self) {
        self.0[0].add_permits(1);
        self.0[1].acquire().await.unwrap().forget();
    }

    /// Returns when somebody waits at the gate.
    pub async fn reached(&self) {
        let reached = tokio::time::timeout(PATIENCE, self.0[0].acquire()).await;
        reached.expect("nobody came to the gate").unwrap().forget();
    }

    pub fn open(&self) {
        self.0[1].add_permits(1);
    }
}

/// The operations of a store that the service calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Now,
    Create,
    Rotate,
    Get,
    List,
    Revoke,
    RevokeSubject,
}

/// What happens to one operation.
pub enum Fault {
    /// An error, and nothing done.
    Before,
    /// Done, and then an error: the answer was lost.
    After,
    /// Waits before anything is done.
    Block(Gate),
    /// Done, and then this.
    Then(Box<dyn FnOnce() + Send>),
    /// A rotation that is answered and forgotten: what a failover loses.
    Lost,
}

/// A [`MokaStore`] that fails as planned, and notes what it was asked.
pub struct FaultStore {
    pub inner: MokaStore,
    down: Mutex<Vec<Op>>,
    plan: Mutex<VecDeque<(Op, Fault)>>,
    calls: Mutex<Vec<Op>>,
}

impl FaultStore {
    pub fn new(clock: &ManualClock) -> Self {
        Self {
            inner: MokaStore::builder().clock(clock.clone()).build(),
            down: Mutex::default(),
            plan: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// The next call of this operation that nothing is planned for.
    pub fn plan(&self, op: Op, fault: Fault) {
        self.plan.lock().unwrap().push_back((op, fault));
    }

    /// These operations fail, however often they are tried, until the next call of this.
    pub fn set_down(&self, operations: &[Op]) {
        *self.down.lock().unwrap() = operations.to_vec();
    }

    pub fn block(&self, op: Op) -> Gate {
        let gate = Gate::default();
        self.plan(op, Fault::Block(gate.clone()));
        gate
    }

    /// Every planned fault came to pass: a test whose fault never happens shows nothing.
    #[track_caller]
    pub fn assert_done(&self) {
        let left: Vec<Op> = self.plan.lock().unwrap().iter().map(|(op, _)| *op).collect();
        assert!(left.is_empty(), "planned faults that never happened: {left:?}");
    }

    /// The operations since the last time.
    pub fn take_calls(&self) -> Vec<Op> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    async fn run<T>(
        &self,
        op: Op,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.calls.lock().unwrap().push(op);
        if self.down.lock().unwrap().contains(&op) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "no connection"));
        }
        let planned = {
            let mut plan = self.plan.lock().unwrap();
            let at = plan.iter().position(|(planned, _)| *planned == op);
            at.and_then(|at| plan.remove(at))
        };
        match planned {
            None | Some((_, Fault::Lost)) => work.await,
            Some((_, Fault::Before)) => Err(StoreError::new(StoreErrorKind::Unavailable, "no connection")),
            Some((_, Fault::After)) => {
                work.await?;
                Err(StoreError::new(StoreErrorKind::Timeout, "no answer in time"))
            }
            Some((_, Fault::Block(gate))) => {
                gate.pass().await;
                work.await
            }
            Some((_, Fault::Then(act))) => {
                let done = work.await;
                act();
                done
            }
        }
    }

    fn loses_the_next_rotation(&self) -> bool {
        matches!(self.plan.lock().unwrap().iter().find(|(op, _)| *op == Op::Rotate), Some((_, Fault::Lost)))
    }
}

impl SessionStore for FaultStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.run(Op::Now, self.inner.now()).await
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        self.run(Op::Create, self.inner.create(session, policy)).await
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        if self.loses_the_next_rotation() {
            return self
                .run(Op::Rotate, async {
                    let mut record = self.inner.get(&presented.subject, &presented.session_id).await?;
                    let now = self.inner.now().await?;
                    let decision = decide(record.as_ref(), presented, policy, now);
                    if let (Some(record), Some(state)) = (&mut record, decision.state()) {
                        record.state = *state;
                    }
                    Ok(Rotation { decision, record, now })
                })
                .await;
        }
        self.run(Op::Rotate, self.inner.rotate(presented, policy)).await
    }

    async fn get(&self, subject: &SubjectDigest, session: &SessionId) -> Result<Option<Record>, StoreError> {
        self.run(Op::Get, self.inner.get(subject, session)).await
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        self.run(Op::List, self.inner.list(subject)).await
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        self.run(Op::Revoke, self.inner.revoke(subject, session, proof, attempt)).await
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        self.run(Op::RevokeSubject, self.inner.revoke_subject(subject, except, policy, attempt)).await
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        self.inner.mark_used(subject, session, generation, issue).await
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        self.inner.purge_expired().await
    }
}
