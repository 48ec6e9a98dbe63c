//! A subject's entry in the map of moka: the lock on it, and how long it stays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;

use super::subject::{KEEP_EXPIRED, Subject};
use super::{LONGEST, MokaStore};
use crate::clock::Timestamp;
use crate::session::SubjectDigest;

/// Everything of one subject.
#[derive(Default)]
pub(super) struct Entry {
    state: Mutex<Subject>,
    /// A copy of `Subject::keep_for` in milliseconds, which moka reads without the lock.
    keep_for: AtomicU64,
}

impl Entry {
    pub(super) fn lock(&self) -> MutexGuard<'_, Subject> {
        // Nothing under the lock panics; if it ever did, each change is one assignment and leaves no half state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long moka keeps an entry that nobody touches.
pub(super) struct KeepFor;

impl Expiry<SubjectDigest, Arc<Entry>> for KeepFor {
    fn expire_after_create(&self, _: &SubjectDigest, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        // A new entry is empty; the operation that made it reads it again at once.
        Some(Duration::from_millis(entry.keep_for.load(Ordering::Relaxed)).max(KEEP_EXPIRED))
    }

    fn expire_after_read(
        &self,
        key: &SubjectDigest,
        entry: &Arc<Entry>,
        read_at: Instant,
        _: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        self.expire_after_create(key, entry, read_at)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST).as_millis()).unwrap_or(u64::MAX)
}

impl MokaStore {
    /// Runs `act` on a subject's entry under its lock, and makes sure that the entry was still the one of the map
    /// afterwards: moka removes entries that are too many at any time, and what happens to a removed one is lost.
    ///
    /// With `make` a missing entry is made; otherwise the answer is `None`.
    pub(super) async fn with_subject<R>(
        &self,
        subject: &SubjectDigest,
        make: bool,
        mut act: impl FnMut(&mut Subject, Timestamp) -> R + Send,
    ) -> Option<R> {
        loop {
            let entry = if make {
                let made = self.subjects.entry_by_ref(subject).or_insert_with(async { Arc::default() }).await;
                made.into_value()
            } else {
                self.subjects.get(subject).await?
            };
            let (result, keeps_longer) = {
                let mut state = entry.lock();
                if state.dead {
                    continue;
                }
                let result = act(&mut state, self.clock.now());
                let keep_for = millis(state.keep_for);
                (result, entry.keep_for.swap(keep_for, Ordering::Relaxed) != keep_for)
            };
            // An old entry that was just read stays, unless there is a limit: only age removes it, and this began anew.
            if !make && !keeps_longer && !self.is_limited {
                return Some(result);
            }
            // This read also lets moka count the entry's life from now on.
            match self.subjects.get(subject).await {
                Some(held) if Arc::ptr_eq(&held, &entry) => return Some(result),
                _ => {}
            }
        }
    }
}
