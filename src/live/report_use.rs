//! Tells the store, behind the request, that a token is in use which was not seen before.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::live::is_live::{Claimed, Sight};
use crate::live::known_sessions::Near;
use crate::live::seen::{Newest, Seen, State};
use crate::session::{SessionId, SubjectDigest};
use crate::store_cache::PATIENCE;

impl Newest {
    /// Whether the store is to be told that this token is in use.
    fn is_new(&self, claimed: Claimed<'_>) -> bool {
        claimed.issue == self.issue
            && claimed.generation.is_some_and(|generation| {
                generation > self.generation || generation == self.generation && !self.is_used
            })
    }
}

impl Near {
    /// After a decision by what was seen.
    pub(super) fn note_use(self: &Arc<Self>, sight: Sight, seen: &Seen, claimed: Claimed<'_>) {
        let (true, Sight::Live, State::Live(newest)) = (self.settings().reports_use, sight, seen.state)
        else {
            return;
        };
        let Some(generation) = claimed.generation.filter(|_| newest.is_new(claimed)) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.remember_use(claimed, generation) {
            return;
        }
        let (near, subject) = (Arc::clone(self), SubjectDigest::of(claimed.subject));
        let (session_id, issue) = (claimed.session_id, claimed.issue);
        runtime.spawn(async move {
            let told = near.settings().store.mark_used(&subject, &session_id, generation, issue).await;
            if let Err(error) = told {
                tracing::warn!(
                    name: "use_not_reported", target: "tower_jwt_auth::live",
                    error = &error as &(dyn std::error::Error + 'static),
                    "the store was not told that a token is in use: a later request tells it"
                );
                sleep(PATIENCE).await;
                near.forget_use(&session_id, generation, issue);
            }
        });
    }

    /// Whether this request is the one that tells.
    fn remember_use(&self, claimed: Claimed<'_>, generation: u32) -> bool {
        // Asked each time, nothing is remembered.
        self.settings().bounds.asks_each_time()
            || self.change(&claimed.session_id, |newest| {
                let is_new = newest.is_new(claimed);
                if is_new {
                    (newest.generation, newest.is_used) = (generation, true);
                }
                is_new
            })
    }

    fn forget_use(&self, session_id: &SessionId, generation: u32, issue: u32) {
        self.change(session_id, |newest| {
            if (newest.generation, newest.issue) == (generation, issue) {
                newest.is_used = false;
            }
            false
        });
    }

    /// Changes what is there, and lives: an end that was told meanwhile must stay.
    fn change(&self, session_id: &SessionId, change: impl FnOnce(&mut Newest) -> bool) -> bool {
        let changed = self.cache.change(session_id, |seen| match &mut seen.state {
            State::Live(newest) => change(newest),
            State::Unknown | State::Ended => false,
        });
        changed.unwrap_or(false)
    }
}
