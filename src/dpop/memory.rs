//! [`ReplayMemory`]: the proofs that this process has seen.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::store::ProofId;

/// Proofs whose lives end within the same span of this length are forgotten together.
const SPAN_MILLIS: i64 = 8_000;

/// Remembers each proof until it would be refused for its age, and never more of them than its capacity.
///
/// Full means that no new proof is accepted until some have ended; none is forgotten for another, as the one that was
/// forgotten could then be used again.
pub(crate) struct ReplayMemory {
    capacity: usize,
    seen: Mutex<Seen>,
}

/// What became of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// It was not there, and is now.
    New,
    /// It was there, or it may have been.
    Seen,
    /// It was not there, and there is no room for it.
    Full,
}

#[derive(Default)]
struct Seen {
    /// By the span in which their lives end.
    spans: BTreeMap<i64, HashSet<ProofId>>,
    count: usize,
    /// The last span that was forgotten. A proof that ends there or before can be let in only by a clock that went
    /// back, and nobody can tell any more whether it was seen.
    forgotten: Option<i64>,
}

impl Seen {
    /// Forgets the spans that have passed. Each goes as a whole, without a look at the proofs in it.
    fn forget_before(&mut self, span: i64) {
        while let Some(first) = self.spans.first_entry().filter(|first| *first.key() < span) {
            let (ended, proofs) = first.remove_entry();
            self.count -= proofs.len();
            self.forgotten = Some(ended);
        }
    }
}

impl ReplayMemory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, seen: Mutex::default() }
    }

    /// Remembers a proof, which is refused from `until` on.
    pub(crate) fn remember(&self, proof: &ProofId, now: Timestamp, until: Timestamp) -> Remembered {
        let span = |time: Timestamp| time.as_unix_millis().div_euclid(SPAN_MILLIS);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut *seen;
        seen.forget_before(span(now));
        let end = span(until);
        let held = seen.spans.get(&end).is_some_and(|proofs| proofs.contains(proof));
        if held || seen.forgotten.is_some_and(|forgotten| end <= forgotten) {
            return Remembered::Seen;
        }
        if seen.count >= self.capacity {
            return Remembered::Full;
        }
        seen.spans.entry(end).or_default().insert(*proof);
        seen.count += 1;
        Remembered::New
    }

    /// How many proofs are held.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}

impl fmt::Debug for ReplayMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayMemory").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock as _;
    use crate::test_util::ManualClock;

    const LIFE: Duration = Duration::from_secs(70);

    fn id(number: u64) -> ProofId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        ProofId::from_bytes(bytes)
    }

    #[test]
    fn a_proof_is_new_once_in_its_life() {
        let (memory, clock) = (ReplayMemory::new(10), ManualClock::new());
        let until = clock.now().saturating_add(LIFE);
        assert_eq!(memory.remember(&id(1), clock.now(), until), Remembered::New);
        for _ in 0..LIFE.as_secs() {
            assert_eq!(memory.remember(&id(1), clock.now(), until), Remembered::Seen);
            clock.advance(Duration::from_secs(1));
        }
        assert_eq!(memory.remember(&id(2), clock.now(), clock.now()), Remembered::New, "another one");
    }

    #[test]
    fn a_full_memory_takes_no_new_one_and_forgets_none() {
        let (memory, clock) = (ReplayMemory::new(3), ManualClock::new());
        let until = clock.now().saturating_add(LIFE);
        for number in 0..3 {
            assert_eq!(memory.remember(&id(number), clock.now(), until), Remembered::New);
        }
        for _ in 0..LIFE.as_secs() {
            assert_eq!(memory.remember(&id(9), clock.now(), until), Remembered::Full);
            for number in 0..3 {
                assert_eq!(memory.remember(&id(number), clock.now(), until), Remembered::Seen);
            }
            clock.advance(Duration::from_secs(1));
        }
        clock.advance(Duration::from_millis(SPAN_MILLIS.unsigned_abs()));
        let until = clock.now().saturating_add(LIFE);
        assert_eq!(memory.remember(&id(9), clock.now(), until), Remembered::New, "those have ended");
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn no_step_of_the_clock_makes_a_seen_proof_new() {
        for back in [0, 1, 60, 70, 80, 3600, 1_000_000] {
            let (memory, clock) = (ReplayMemory::new(10), ManualClock::new());
            let until = clock.now().saturating_add(LIFE);
            assert_eq!(memory.remember(&id(1), clock.now(), until), Remembered::New);
            clock.advance(Duration::from_secs(100));
            let later = clock.now().saturating_add(LIFE);
            assert_eq!(memory.remember(&id(2), clock.now(), later), Remembered::New);
            assert_eq!(memory.len(), 1, "the first is forgotten");
            clock.step_back(Duration::from_secs(back));
            assert_eq!(memory.remember(&id(1), clock.now(), until), Remembered::Seen, "{back} s");
            assert_eq!(memory.remember(&id(2), clock.now(), later), Remembered::Seen, "{back} s");
        }
    }

    #[test]
    fn new_proofs_are_new_after_the_clock_was_set_right() {
        let (memory, clock) = (ReplayMemory::new(10), ManualClock::new());
        let until = clock.now().saturating_add(LIFE);
        assert_eq!(memory.remember(&id(1), clock.now(), until), Remembered::New);
        clock.advance(Duration::from_secs(86_400));
        let wrong = clock.now().saturating_add(LIFE);
        assert_eq!(memory.remember(&id(2), clock.now(), wrong), Remembered::New);
        clock.step_back(Duration::from_secs(86_400 - 20));
        let until = clock.now().saturating_add(LIFE);
        assert_eq!(memory.remember(&id(3), clock.now(), until), Remembered::New);
        assert_eq!(memory.len(), 2);
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        let memory = ReplayMemory::new(10);
        let (first, last) = (Timestamp::from_unix_millis(i64::MIN), Timestamp::from_unix_millis(i64::MAX));
        assert_eq!(memory.remember(&id(1), first, last), Remembered::New);
        assert_eq!(memory.remember(&id(1), last, last), Remembered::Seen);
        assert_eq!(memory.remember(&id(2), last, first), Remembered::New, "nothing was forgotten yet");
        assert_eq!(memory.remember(&id(2), last, first), Remembered::Seen);
    }

    #[test]
    fn of_many_at_once_one_is_new() {
        let (memory, clock) = (ReplayMemory::new(100), ManualClock::new());
        let until = clock.now().saturating_add(LIFE);
        let barrier = Barrier::new(4);
        let news: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let is_new = |number: &u64| {
                            memory.remember(&id(*number), clock.now(), until) == Remembered::New
                        };
                        (0..100).filter(is_new).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((news, memory.len()), (100, 100));
    }
}
