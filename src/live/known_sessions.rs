//! [`Near`]: what this process knows of the sessions of a store.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::live::is_live::{About, Claimed, Sight};
use crate::live::seen::Seen;
use crate::session::SessionId;
use crate::store::{DynStore, Listen, SessionChange, SessionStore};
use crate::store_cache::{Bounds, Cache};

/// The settings of a [`LiveSessionsLayer`](crate::LiveSessionsLayer).
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) store: Arc<dyn DynStore>,
    pub(super) bounds: Bounds,
    /// Whether the store is told of tokens that are seen in use.
    pub(super) reports_use: bool,
    pub(super) clock: Arc<dyn Clock>,
}

impl Settings {
    pub(super) fn new(store: impl SessionStore, max_staleness: Duration) -> Self {
        Self {
            store: Arc::new(store),
            bounds: Bounds::new(max_staleness),
            reports_use: false,
            clock: Arc::new(SystemClock),
        }
    }
}

/// What is known of the sessions of a store.
pub(super) struct Near {
    settings: Settings,
    pub(super) cache: Cache<SessionId, Seen>,
    subjects: RandomState,
}

impl Near {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let cache = Cache::new(settings.bounds);
        let near = Arc::new(Self { cache, subjects: RandomState::new(), settings });
        if let Some(feed) = near.settings.store.feed() {
            let listener = Arc::downgrade(&near);
            feed.listen(listener);
        }
        near
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What stands for a subject's name.
    pub(super) fn subject(&self, subject: &str) -> u64 {
        self.subjects.hash_one(subject)
    }

    /// What is decided by what is known; `None` if the store must be asked.
    pub(super) fn recall(self: &Arc<Self>, claimed: Claimed<'_>) -> Option<Sight> {
        let (sight, seen) = self.cache.recall(&About { near: self, claimed })?;
        self.note_use(sight, &seen, claimed);
        Some(sight)
    }

    /// Asks the store, once for all who want to know of the same session.
    pub(super) async fn ask(self: &Arc<Self>, claimed: Claimed<'_>) -> Sight {
        let Some((sight, seen)) = self.cache.ask(&About { near: self, claimed }).await else {
            return Sight::Unavailable;
        };
        self.note_use(sight, &seen, claimed);
        sight
    }
}

/// What the store has ended takes effect at once.
impl Listen for Near {
    fn changed(&self, change: &SessionChange) {
        let (cache, endings) = (&self.cache, self.cache.endings());
        match change {
            SessionChange::Ended { subject, session_id } => {
                // Whoever asks later is told by the store; whoever asks now may have an answer of before.
                if cache.is_asked(session_id) {
                    endings.note(subject.as_bytes());
                } else if cache.get(session_id).is_none() {
                    return;
                }
                cache.insert(*session_id, Seen::ended(subject, endings.tell(), cache.now()));
            }
            SessionChange::AllEnded { subject, .. }
            | SessionChange::Replaced { subject, .. }
            | SessionChange::Uncertain { subject } => endings.note(subject.as_bytes()),
            // Whoever trusts what was known before must not lose it by a refresh in an outage.
            SessionChange::Unanswered { subject } => {
                if self.settings.bounds.trust.is_zero() {
                    endings.note(subject.as_bytes());
                }
            }
            SessionChange::TokensRevoked { .. } | SessionChange::TokensUncertain { .. } => {}
        }
    }
}
