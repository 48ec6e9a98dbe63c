//! A [`MokaStore`] whose operations can be stopped in the middle.
//!
//! Left alone, no operation of it ever waits, so a dropped future would always be one that was never polled. An
//! operation waits when moka's queue of writes is full, and that takes a maintenance that does not end. [`stall`] holds
//! one up where moka calls the store, to report an eviction: at the clock.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use tower_jwt_auth::{Clock, MokaStore, NewSession, SessionPolicy, SessionStore, SubjectDigest, Timestamp};

use super::{ManualClock, new_session, unique};

/// So many that what is made during a stall, some hundreds, evicts none that was used shortly before it.
const SUBJECTS: u64 = 1_000;

pub type Operation = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static AT_NEXT_LOOK: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Has `hook` run when this thread next looks at a [`HookedClock`].
pub fn at_next_look(hook: impl FnOnce() + 'static) {
    AT_NEXT_LOOK.set(Some(Box::new(hook)));
}

#[derive(Clone)]
pub struct HookedClock(pub ManualClock);

impl Clock for HookedClock {
    fn now(&self) -> Timestamp {
        if let Some(hook) = AT_NEXT_LOOK.take() {
            hook();
        }
        self.0.now()
    }
}

/// Polls once. True if the operation has ended.
pub fn poll(operation: &mut Operation) -> bool {
    matches!(operation.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
}

/// Runs an operation to its end, with other threads' help.
pub fn finish<F: Future>(operation: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(operation)
}

pub fn create(store: &MokaStore, session: &NewSession) -> Operation {
    let (store, session) = (store.clone(), session.clone());
    Box::pin(async move {
        store.create(&session, &SessionPolicy::default()).await.unwrap();
    })
}

fn create_a_filler(store: &MokaStore) -> Operation {
    create(store, &new_session(&format!("filler-{}", unique()), ManualClock::START))
}

/// A store that is full, so that each further subject evicts one.
pub fn full_store(clock: &ManualClock) -> (MokaStore, NewSession) {
    let store = MokaStore::builder().max_subjects(SUBJECTS).clock(HookedClock(clock.clone())).build();
    let first = new_session("the longest unused", ManualClock::START);
    finish(create(&store, &first));
    for _ in 1..SUBJECTS {
        finish(create_a_filler(&store));
    }
    do_maintenance(&store);
    (store, first)
}

/// So many reads that moka does the maintenance that is due, on this thread.
pub fn do_maintenance(store: &MokaStore) {
    for _ in 0..200 {
        finish(store.list(&SubjectDigest::from_bytes([0; 16]))).unwrap();
    }
}

/// A thread in the middle of the store's maintenance, until it is released.
pub struct Stall {
    gate: Arc<Barrier>,
    thread: JoinHandle<()>,
}

impl Stall {
    pub fn release(self) {
        self.gate.wait();
        self.thread.join().unwrap();
    }
}

/// Holds up the maintenance of a full store while it reports the first subject that it evicts.
pub fn stall(store: &MokaStore) -> Stall {
    let (store, gate) = (store.clone(), Arc::new(Barrier::new(2)));
    let thread = thread::spawn({
        let gate = Arc::clone(&gate);
        move || {
            loop {
                finish(create_a_filler(&store));
                let gate = Arc::clone(&gate);
                at_next_look(move || {
                    gate.wait();
                    gate.wait();
                });
                // On this thread nothing but a report looks at the clock now: the reads find no subject.
                do_maintenance(&store);
                if AT_NEXT_LOOK.take().is_none() {
                    return;
                }
            }
        }
    });
    gate.wait();
    Stall { gate, thread }
}

/// Makes subjects until moka's queue of writes is full. The last of these operations, which waits for room.
pub fn fill_the_queue(store: &MokaStore) -> Operation {
    for _ in 0..SUBJECTS / 2 {
        let mut operation = create_a_filler(store);
        if !poll(&mut operation) {
            return operation;
        }
    }
    panic!(
        "the queue does not fill: moka has changed, and these tests need another way to stop an operation"
    );
}
