//! [`Near`]: what this process knows of the revocations of a store.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::revocation::is_revoked::{About, Named, Sight};
use crate::revocation::seen::Seen;
use crate::store::{DynRevocations, Listen, RevocationKey, RevocationStore, SessionChange};
use crate::store_cache::{Bounds, Cache};

/// The settings of a [`RevocationsLayer`](crate::RevocationsLayer).
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) store: Arc<dyn DynRevocations>,
    pub(super) bounds: Bounds,
}

impl Settings {
    pub(super) fn new(store: impl RevocationStore, max_staleness: Duration) -> Self {
        Self { store: Arc::new(store), bounds: Bounds::new(max_staleness) }
    }
}

/// What is known of the revocations of a store.
pub(super) struct Near {
    settings: Settings,
    pub(super) cache: Cache<RevocationKey, Seen>,
}

impl Near {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let near = Arc::new(Self { cache: Cache::new(settings.bounds), settings });
        if let Some(feed) = near.settings.store.revocation_feed() {
            let listener = Arc::downgrade(&near);
            feed.listen(listener);
        }
        near
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is decided by what is known; `None` if the store must be asked.
    pub(super) fn recall(&self, named: &Named) -> Option<Sight> {
        let recall = |key: &RevocationKey| {
            let about = About { near: self, key, issued_at: named.issued_at };
            self.cache.recall(&about).map(|(sight, _)| sight)
        };
        match (recall(&named.subject), named.token.as_ref().map(recall)) {
            (Some(Sight::Revoked), _) | (_, Some(Some(Sight::Revoked))) => Some(Sight::Revoked),
            (sight, None) => sight,
            (subject, Some(token)) => Some(subject?.and(token?)),
        }
    }

    /// Asks the store for what is not known, under both names at once.
    pub(super) async fn ask(&self, named: &Named) -> Sight {
        let mut subject = pin!(self.ask_for(&named.subject, named.issued_at));
        let mut token = pin!(async {
            match &named.token {
                Some(token) => self.ask_for(token, named.issued_at).await,
                None => Sight::Good,
            }
        });
        let mut sights = (None, None);
        poll_fn(|cx| {
            if sights.0.is_none()
                && let Poll::Ready(sight) = subject.as_mut().poll(cx)
            {
                sights.0 = Some(sight);
            }
            if sights.1.is_none()
                && let Poll::Ready(sight) = token.as_mut().poll(cx)
            {
                sights.1 = Some(sight);
            }
            match sights {
                // Nothing that the other could say would change it.
                (Some(Sight::Revoked), _) | (_, Some(Sight::Revoked)) => Poll::Ready(Sight::Revoked),
                (Some(subject), Some(token)) => Poll::Ready(subject.and(token)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Asks the store, once for all who want to know the same.
    async fn ask_for(&self, key: &RevocationKey, issued_at: Timestamp) -> Sight {
        let decided = self.cache.ask(&About { near: self, key, issued_at }).await;
        decided.map_or(Sight::Unavailable, |(sight, _)| sight)
    }

    fn change(&self, key: &RevocationKey, change: impl FnOnce(&mut Seen)) {
        // Whoever asks later is told by the store; whoever asks now, or has just asked, may have an answer of before.
        self.cache.endings().note(key.as_bytes());
        self.cache.change(key, change);
    }
}

/// What the store has revoked takes effect at once.
impl Listen for Near {
    fn changed(&self, change: &SessionChange) {
        match change {
            SessionChange::TokensRevoked { key, not_before } => {
                let now = self.cache.now();
                self.change(key, |seen| seen.revoke(*not_before, now));
            }
            SessionChange::TokensUncertain { key } => self.change(key, |_| {}),
            SessionChange::Ended { .. }
            | SessionChange::AllEnded { .. }
            | SessionChange::Replaced { .. }
            | SessionChange::Uncertain { .. }
            | SessionChange::Unanswered { .. } => {}
        }
    }
}
