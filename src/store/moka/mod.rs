//! [`MokaStore`]: sessions in the memory of one process.

mod builder;
mod entry;
mod marks;
mod revocations;
mod session_store;
mod subject;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;

pub use builder::MokaStoreBuilder;

use self::entry::Entry;
use self::marks::Marks;
use self::revocations::Revocations;
use crate::clock::Clock;
use crate::session::SubjectDigest;
use crate::store::SessionFeed;

/// 900 years: moka's own bound is 1000.
const LONGEST: Duration = Duration::from_secs(900 * 365 * 24 * 3600);

/// Sessions in the memory of this process, over [`moka`](https://docs.rs/moka). They end when the process ends.
///
/// Everything of a subject is one entry behind one lock, which is held for the length of a decision and never across
/// an `.await`. Entries go by themselves some time after their last session has expired.
///
/// There is no limit to the number of subjects unless [`max_subjects`](MokaStoreBuilder::max_subjects) sets one.
/// Revocations of tokens ([`RevocationStore`](crate::RevocationStore)) are not limited in number: each stays as long as
/// its call said.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{MokaStore, SessionStore, SubjectDigest};
///
/// let store = MokaStore::new();
/// assert!(store.list(&SubjectDigest::of("ada")).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MokaStore {
    subjects: Cache<SubjectDigest, Arc<Entry>>,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
    marks: Arc<Marks>,
    evicted: Arc<AtomicU64>,
    feed: SessionFeed,
    is_limited: bool,
}

impl MokaStore {
    /// A store without a limit, by the system's clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// How many live sessions were lost to the limit of [`max_subjects`](MokaStoreBuilder::max_subjects). Each is a
    /// user who was logged out; each loss is also an event, `session_evicted`.
    pub fn evicted_sessions(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

impl Default for MokaStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MokaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaStore").field("subjects", &self.subjects.entry_count()).finish_non_exhaustive()
    }
}
