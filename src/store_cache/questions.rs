//! [`Questions`]: one question under way for each thing, whose answer all wait for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The questions that are under way, one for each `K`, with answers `A`.
pub(crate) struct Questions<K, A>(Mutex<Asked<K, A>>);

type Asked<K, A> = HashMap<K, watch::Receiver<Option<A>>>;

impl<K: Copy + Eq + Hash, A> Questions<K, A> {
    fn lock(&self) -> MutexGuard<'_, Asked<K, A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The question to be asked, or else the one that somebody asks already.
    pub(crate) fn join(&self, what: &K) -> Result<watch::Sender<Option<A>>, watch::Receiver<Option<A>>> {
        match self.lock().entry(*what) {
            Entry::Occupied(theirs) => Err(theirs.get().clone()),
            Entry::Vacant(place) => {
                let (ours, theirs) = watch::channel(None);
                place.insert(theirs);
                Ok(ours)
            }
        }
    }

    /// The next to join asks anew.
    pub(crate) fn close(&self, what: &K) {
        self.lock().remove(what);
    }

    pub(crate) fn is_asked(&self, what: &K) -> bool {
        self.lock().contains_key(what)
    }
}

// By hand, as a derive would ask for `K: Default`.
impl<K, A> Default for Questions<K, A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
