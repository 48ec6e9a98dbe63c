//! How a [`MokaStore`] is made: its settings, and what the cache of subjects does when it is full.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;

use super::MokaStore;
use super::entry::{Entry, KeepFor};
use super::revocations::revocations;
use crate::clock::{Clock, SystemClock};
use crate::session::SubjectDigest;
use crate::store::SessionFeed;

/// Settings of a [`MokaStore`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct MokaStoreBuilder {
    max_subjects: Option<u64>,
    clock: Arc<dyn Clock>,
}

impl MokaStore {
    /// A store with settings of one's own.
    pub fn builder() -> MokaStoreBuilder {
        MokaStoreBuilder { max_subjects: None, clock: Arc::new(SystemClock) }
    }
}

impl MokaStoreBuilder {
    /// Keeps at most about this many subjects, and one at least. When there are more, the one not touched for the
    /// longest time goes, with its live sessions: those users are logged out. With it goes the memory that all its
    /// sessions were ended, so a login under way at that moment may succeed.
    pub fn max_subjects(mut self, subjects: u64) -> Self {
        // A cache of none never holds the entry just made, and the search for it would not end.
        self.max_subjects = Some(subjects.max(1));
        self
    }

    /// Replaces the clock that decides.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the store.
    pub fn build(self) -> MokaStore {
        let evicted = Arc::new(AtomicU64::new(0));
        let (count, clock) = (Arc::clone(&evicted), Arc::clone(&self.clock));
        let feed = SessionFeed::new();
        let told = feed.clone();
        let mut subjects = Cache::builder()
            .expire_after(KeepFor)
            // moka's own default refuses new entries when it is full.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |subject: Arc<SubjectDigest>, entry: Arc<Entry>, cause| {
                let mut state = entry.lock();
                state.dead = true;
                if cause == RemovalCause::Size {
                    told.tell_revoked_subject(&subject, None);
                    let now = clock.now();
                    let live = state.sessions.iter().filter(|record| !record.is_expired(now)).count() as u64;
                    count.fetch_add(live, Ordering::Relaxed);
                    if live > 0 {
                        tracing::warn!(
                            name: "session_evicted", target: "tower_jwt_auth::store", sessions = live,
                            "the store is full: live sessions were dropped, raise `max_subjects`"
                        );
                    }
                }
            });
        if let Some(max) = self.max_subjects {
            subjects = subjects.max_capacity(max);
        }
        let is_limited = self.max_subjects.is_some();
        MokaStore {
            subjects: subjects.build(),
            revocations: revocations(),
            clock: self.clock,
            marks: Arc::default(),
            evicted,
            feed,
            is_limited,
        }
    }
}

impl fmt::Debug for MokaStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaStoreBuilder").field("max_subjects", &self.max_subjects).finish_non_exhaustive()
    }
}
