//! [`Questions`]: one question under way for each session, whose answer all wait for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::session::SessionId;

/// The questions that are under way, one for each session.
pub(super) struct Questions<A>(Mutex<Asked<A>>);

type Asked<A> = HashMap<SessionId, watch::Receiver<Option<A>>>;

impl<A> Questions<A> {
    fn lock(&self) -> MutexGuard<'_, Asked<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The question to be asked, or else the one that somebody asks already.
    pub(super) fn join(
        &self,
        session_id: &SessionId,
    ) -> Result<watch::Sender<Option<A>>, watch::Receiver<Option<A>>> {
        match self.lock().entry(*session_id) {
            Entry::Occupied(theirs) => Err(theirs.get().clone()),
            Entry::Vacant(place) => {
                let (ours, theirs) = watch::channel(None);
                place.insert(theirs);
                Ok(ours)
            }
        }
    }

    /// The next to join asks anew.
    pub(super) fn close(&self, session_id: &SessionId) {
        self.lock().remove(session_id);
    }

    pub(super) fn is_asked(&self, session_id: &SessionId) -> bool {
        self.lock().contains_key(session_id)
    }
}

// By hand, as a derive would ask for `A: Default`.
impl<A> Default for Questions<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
