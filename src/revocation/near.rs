//! [`Near`]: what this process knows of revocations, and how it comes to know more.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::near::{Endings, Moment, PATIENCE, Questions, ROUNDS, micros};
use crate::store::{DynRevocations, Listen, RevocationKey, RevocationStore, SessionChange, StoreError};
use crate::timer;
use crate::token::Registered;

/// The settings of a [`RevocationsLayer`](crate::RevocationsLayer).
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) store: Arc<dyn DynRevocations>,
    pub(super) max_staleness: Duration,
    pub(super) trust: Duration,
    pub(super) capacity: usize,
}

impl Settings {
    pub(super) fn new(store: impl RevocationStore, max_staleness: Duration) -> Self {
        Self { store: Arc::new(store), max_staleness, trust: Duration::ZERO, capacity: 100_000 }
    }
}

/// What is known of the revocations of a store.
pub(super) struct Near {
    settings: Settings,
    /// What moments are counted from.
    start: Instant,
    seen: Cache<RevocationKey, Seen>,
    questions: Questions<RevocationKey, Seen>,
    endings: Endings,
}

/// The names under which a token may be revoked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    subject: RevocationKey,
    token: Option<RevocationKey>,
    issued_at: Timestamp,
}

impl Named {
    pub(super) fn of(registered: &Registered) -> Self {
        let issuer = registered.issuer();
        Self {
            subject: RevocationKey::subject(issuer, registered.subject()),
            token: registered.token_id().map(|token_id| RevocationKey::token(issuer, token_id)),
            issued_at: registered.issued_at(),
        }
    }
}

/// What is decided over a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Good,
    Revoked,
    /// It cannot be said now.
    Unavailable,
}

impl Sight {
    /// Of the same token under two names.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (Self::Good, Self::Good) => Self::Good,
            _ => Self::Unavailable,
        }
    }
}

/// What was seen under a name.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Before which time tokens must have been issued to be refused.
    not_before: Option<Timestamp>,
    /// When that was told, by the store's own process or by a message. Who sent a message is not known: it is believed for as long
    /// as an answer.
    told_at: Option<Moment>,
    /// How many revocations were told when the store was asked.
    told: u64,
    /// When the store was asked that answered.
    asked_at: Option<Moment>,
    /// When the store was asked that did not answer.
    failed_at: Option<Moment>,
}

impl Seen {
    fn refuses(&self, issued_at: Timestamp) -> bool {
        self.not_before.is_some_and(|not_before| issued_at < not_before)
    }
}

impl Near {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let near = Arc::new(Self {
            start: timer::now(),
            seen: Cache::new(settings.capacity.max(1)),
            questions: Questions::default(),
            endings: Endings::default(),
            settings,
        });
        if let Some(feed) = near.settings.store.revocation_feed() {
            let listener = Arc::downgrade(&near);
            feed.listen(listener);
        }
        near
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn now(&self) -> Moment {
        micros(timer::since(self.start))
    }

    /// What is decided by what is known; `None` if the store must be asked.
    pub(super) fn recall(&self, named: &Named) -> Option<Sight> {
        if self.settings.max_staleness.is_zero() {
            return None;
        }
        let now = self.now();
        let recall = |key: &RevocationKey| self.decide(key, &self.seen.get(key)?, named.issued_at, now);
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

    /// `came` is when the request did: what was asked for then need not be younger because the answer took long.
    fn decide(&self, key: &RevocationKey, seen: &Seen, issued_at: Timestamp, came: Moment) -> Option<Sight> {
        let refuses = seen.refuses(issued_at);
        let since = |at: Moment| Duration::from_micros(came.saturating_sub(at));
        if refuses
            && seen.asked_at.max(seen.told_at).is_some_and(|at| since(at) < self.settings.max_staleness)
        {
            return Some(Sight::Revoked);
        }
        let age = seen.asked_at.filter(|_| !self.is_outdated(key, seen)).map(since);
        if !refuses && age.is_some_and(|age| age < self.settings.max_staleness) {
            return Some(Sight::Good);
        }
        let is_patient = self.now().saturating_sub(seen.failed_at?) < micros(PATIENCE);
        let is_trusted = age.is_some_and(|age| age < self.settings.trust);
        is_patient.then_some(match (refuses, is_trusted) {
            (true, _) => Sight::Revoked,
            (false, true) => Sight::Good,
            (false, false) => Sight::Unavailable,
        })
    }

    /// Whether more was told of it since the store was asked.
    fn is_outdated(&self, key: &RevocationKey, seen: &Seen) -> bool {
        self.endings.since(Endings::place_of(key.as_bytes()), seen.told)
    }

    /// Asks the store, once for all who want to know the same.
    async fn ask_for(&self, key: &RevocationKey, issued_at: Timestamp) -> Sight {
        if self.settings.max_staleness.is_zero() {
            // Each for itself: a question that began earlier may have an answer of before.
            return answer(&self.look(key).await, issued_at);
        }
        let came = self.now();
        // What is told meanwhile may be later than an answer, which is then asked for again; not for ever.
        for _ in 0..ROUNDS {
            let known = self.seen.get(key);
            if let Some(sight) = known.and_then(|seen| self.decide(key, &seen, issued_at, came)) {
                return sight;
            }
            match self.questions.join(key) {
                // It looks again, for what was told meanwhile. One that was given up is asked by the next.
                Err(mut theirs) => {
                    if theirs.changed().await.is_ok()
                        && let Some(seen) = *theirs.borrow()
                        && seen.failed_at.is_none()
                        && seen.asked_at >= Some(came)
                        && !self.is_outdated(key, &seen)
                    {
                        return answer(&seen, issued_at);
                    }
                }
                Ok(ours) => {
                    let question = Question { near: self, key, begun: self.now(), ours: Some(ours) };
                    let seen = self.keep(key, self.look(key).await);
                    question.answer(seen);
                    if seen.failed_at.is_some() {
                        return self.decide(key, &seen, issued_at, came).unwrap_or(Sight::Unavailable);
                    }
                    if seen.refuses(issued_at) || !self.is_outdated(key, &seen) {
                        return answer(&seen, issued_at);
                    }
                }
            }
        }
        Sight::Unavailable
    }

    /// What the store says; it is asked once more where it does not answer.
    async fn look(&self, key: &RevocationKey) -> Seen {
        let (asked_at, told) = (self.now(), self.endings.told());
        let mut found = self.settings.store.not_before(key).await;
        if found.is_err() {
            found = self.settings.store.not_before(key).await;
        }
        match found {
            Ok(not_before) => {
                Seen { not_before, told_at: None, told, asked_at: Some(asked_at), failed_at: None }
            }
            Err(error) => {
                report(&error);
                Seen { not_before: None, told_at: None, told, asked_at: None, failed_at: Some(self.now()) }
            }
        }
    }

    /// Puts an answer into the memory. What holds now.
    fn keep(&self, key: &RevocationKey, new: Seen) -> Seen {
        let kept = self.seen.entry(key, Some(Duration::ZERO), |_, seen| {
            if new.asked_at.is_none() {
                seen.failed_at = new.failed_at;
            } else if self.is_outdated(key, &new) {
                // What was told meanwhile may be later than the answer.
                seen.not_before = seen.not_before.max(new.not_before);
                (seen.asked_at, seen.told, seen.failed_at) = (new.asked_at, new.told, None);
            } else {
                *seen = new;
            }
            EntryAction::Retain(*seen)
        });
        match kept {
            EntryResult::Retained(seen) => seen,
            EntryResult::Vacant(place) => {
                // An error means that there is one by now, which the next question changes.
                let _ = place.insert(new);
                new
            }
            _ => new,
        }
    }

    fn change(&self, key: &RevocationKey, change: impl FnOnce(&mut Seen)) {
        // Whoever asks later is told by the store; whoever asks now, or has just asked, may have an answer of before.
        self.endings.note(key.as_bytes());
        self.seen.entry(key, Some(Duration::ZERO), |_, seen| {
            change(seen);
            EntryAction::Retain(())
        });
    }
}

/// What the store's own answer to the question says of a token.
fn answer(seen: &Seen, issued_at: Timestamp) -> Sight {
    match (seen.refuses(issued_at), seen.failed_at) {
        (true, _) => Sight::Revoked,
        (false, None) => Sight::Good,
        (false, Some(_)) => Sight::Unavailable,
    }
}

fn report(error: &StoreError) {
    tracing::error!(
        name: "unavailable", target: "tower_jwt_auth::revocation",
        error = error as &(dyn std::error::Error + 'static),
        "the store could not say whether a token is revoked"
    );
}

/// What the store has revoked takes effect at once.
impl Listen for Near {
    fn changed(&self, change: &SessionChange) {
        match change {
            SessionChange::TokensRevoked { key, not_before } => {
                let now = Some(self.now());
                self.change(key, |seen| {
                    (seen.not_before, seen.told_at) = (seen.not_before.max(Some(*not_before)), now);
                });
            }
            SessionChange::TokensUncertain { key } => self.change(key, |_| {}),
            SessionChange::Ended { .. }
            | SessionChange::AllEnded { .. }
            | SessionChange::Replaced { .. }
            | SessionChange::Uncertain { .. } => {}
        }
    }
}

/// Makes room for the next question when it is given up: a client may go away while it waits.
struct Question<'n> {
    near: &'n Near,
    key: &'n RevocationKey,
    begun: Moment,
    /// Taken by the answer.
    ours: Option<watch::Sender<Option<Seen>>>,
}

impl Question<'_> {
    /// Tells those who wait. Whoever comes from now on does not find it any more.
    fn answer(mut self, seen: Seen) {
        let ours = self.ours.take();
        self.near.questions.close(self.key);
        if let Some(ours) = ours {
            ours.send_replace(Some(seen));
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if self.ours.is_none() {
            return;
        }
        let now = self.near.now();
        if now.saturating_sub(self.begun) >= micros(PATIENCE) {
            // It was waited for as long as one waits: as good as no answer.
            self.near.seen.entry(self.key, Some(Duration::ZERO), |_, seen| {
                seen.failed_at = Some(now);
                EntryAction::Retain(())
            });
        }
        self.near.questions.close(self.key);
    }
}
