//! moka: our entry with a lock in it, and the same decision by `and_compute_with`, on one thread and on two.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;
use moka::ops::compute::Op;
use tower_jwt_auth::test_util::{created, new_session, present, unique};
use tower_jwt_auth::{
    Clock, MokaStore, NewSession, Record, SessionStore, SubjectDigest, SystemClock, decide,
};

use crate::load::seconds_each;
use crate::policy;

/// Of each thread.
const SESSIONS: usize = 10_000;

pub(crate) fn rotations() {
    println!("moka");
    // Threads of their own, not of a runtime: nothing here waits.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rates = [[0.0_f64; 2]; 2];
            for _ in 0..3 {
                for (threads, of) in [1, 2].into_iter().zip(&mut rates) {
                    of[0] = of[0].max(on_threads(threads, ours));
                    of[1] = of[1].max(on_threads(threads, computed));
                }
            }
            let [[one, one_computed], [two, two_computed]] = rates;
            println!("  MokaStore::rotate   {one:>9.0} /s on one thread, {two:>9.0} /s on two");
            println!(
                "  and_compute_with    {one_computed:>9.0} /s on one thread, {two_computed:>9.0} /s on two"
            );
            println!(
                "    to and_compute_with: {:.2}, on two threads {:.2}",
                one / one_computed,
                two / two_computed
            );
            println!("    two threads to one: {:.2}", two / one);
        });
    });
}

type Rotator = Box<dyn FnMut(usize, u32) + Send>;

/// Rotations a second, all threads together.
fn on_threads(threads: usize, make: impl Fn(usize) -> Vec<Rotator>) -> f64 {
    let rotators = make(threads);
    let start = Arc::new(std::sync::Barrier::new(threads));
    let workers: Vec<_> = rotators
        .into_iter()
        .map(|mut rotate| {
            let start = Arc::clone(&start);
            std::thread::spawn(move || {
                start.wait();
                let (begin, mut done, mut generation) = (Instant::now(), 0_u64, 0);
                while begin.elapsed() < seconds_each() {
                    for session in 0..SESSIONS {
                        rotate(session, generation);
                    }
                    done += SESSIONS as u64;
                    generation += 1;
                }
                done as f64 / begin.elapsed().as_secs_f64()
            })
        })
        .collect();
    workers.into_iter().map(|worker| worker.join().unwrap()).sum()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn sessions() -> Vec<NewSession> {
    (0..SESSIONS).map(|_| new_session(&format!("user-{}", unique()), SystemClock.now())).collect()
}

fn ours(threads: usize) -> Vec<Rotator> {
    let store = MokaStore::new();
    (0..threads)
        .map(|_| {
            let (store, sessions, runtime, policy) = (store.clone(), sessions(), runtime(), policy());
            for session in &sessions {
                created(runtime.block_on(store.create(session, &policy)).unwrap());
            }
            Box::new(move |at: usize, generation| {
                let presented = present(&sessions[at], generation);
                let rotation = runtime.block_on(store.rotate(&presented, &policy)).unwrap();
                assert!(rotation.decision.hands_out());
            }) as Rotator
        })
        .collect()
}

fn computed(threads: usize) -> Vec<Rotator> {
    let cache: Cache<SubjectDigest, Record> =
        Cache::builder().time_to_idle(Duration::from_secs(8 * 24 * 3600)).build();
    (0..threads)
        .map(|_| {
            let (cache, sessions, runtime, policy) = (cache.clone(), sessions(), runtime(), policy());
            for session in &sessions {
                let record = Record::open(session, &policy, SystemClock.now());
                runtime.block_on(cache.insert(SubjectDigest::of(&session.subject), record));
            }
            Box::new(move |at: usize, generation| {
                let presented = present(&sessions[at], generation);
                let policy = &policy;
                let computed = cache.entry(presented.subject).and_compute_with(async |entry| {
                    let record = entry.unwrap().into_value();
                    let decision = decide(Some(&record), &presented, policy, SystemClock.now());
                    Op::Put(Record { state: *decision.state().unwrap(), ..record })
                });
                assert!(runtime.block_on(computed).into_entry().is_some());
            }) as Rotator
        })
        .collect()
}
