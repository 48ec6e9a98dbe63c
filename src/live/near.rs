//! [`Near`]: what this process knows of sessions, and how it comes to know more.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::session::{Record, SessionId, SubjectDigest};
use crate::store::{DynStore, Listen, SessionChange, SessionStore, StoreError};
use crate::timer;

/// How long a store that did not answer is not asked again for the same session: what `Retry-After` says.
const PATIENCE: Duration = Duration::from_secs(1);

/// The settings of a [`LiveSessionsLayer`](crate::LiveSessionsLayer).
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) store: Arc<dyn DynStore>,
    pub(super) max_staleness: Duration,
    pub(super) trust: Duration,
    pub(super) capacity: usize,
    pub(super) clock: Arc<dyn Clock>,
}

impl Settings {
    pub(super) fn new(store: impl SessionStore, max_staleness: Duration) -> Self {
        Self {
            store: Arc::new(store),
            max_staleness,
            trust: Duration::ZERO,
            capacity: 100_000,
            clock: Arc::new(SystemClock),
        }
    }
}

/// What is known of the sessions of a store.
pub(super) struct Near {
    settings: Settings,
    /// What moments are counted from.
    start: Instant,
    seen: Cache<SessionId, Seen>,
    endings: Endings,
    subjects: RandomState,
}

/// What a token says of its session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimed<'t> {
    pub(super) subject: &'t str,
    pub(super) session_id: SessionId,
}

/// What is decided over a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Live,
    Ended,
    /// It cannot be said now.
    Unavailable,
}

/// Microseconds since the start.
type Moment = u64;

/// What was seen of a session: as small as can be, as there may be a million.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Of the subject's name, so that a session is nobody else's.
    subject: u64,
    /// The first half of the subject's digest.
    digest: u64,
    /// When the store was asked that answered.
    asked_at: Moment,
    /// When the store was asked that did not answer.
    failed_at: Option<Moment>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The store was never heard of it.
    Unknown,
    Live {
        /// The end that is certain.
        until: Moment,
    },
    Ended,
}

impl Near {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let near = Arc::new(Self {
            start: timer::now(),
            seen: Cache::new(settings.capacity),
            endings: Endings::default(),
            subjects: RandomState::new(),
            settings,
        });
        if let Some(feed) = near.settings.store.feed() {
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
    pub(super) fn recall(&self, claimed: Claimed<'_>) -> Option<Sight> {
        if self.settings.max_staleness.is_zero() {
            return None;
        }
        let seen = self.seen.get(&claimed.session_id)?;
        self.decide(&seen, claimed)
    }

    fn decide(&self, seen: &Seen, claimed: Claimed<'_>) -> Option<Sight> {
        let now = self.now();
        let age = Duration::from_micros(now.saturating_sub(seen.asked_at));
        // Who ended all sessions of the subject since has to be asked which this one is of.
        let is_certain = seen.state != State::Unknown && !self.endings.since(seen);
        let sight = match seen.state {
            State::Live { until } if now < until && seen.subject == self.subject(claimed.subject) => {
                Sight::Live
            }
            _ => Sight::Ended,
        };
        if is_certain && age < self.settings.max_staleness {
            return Some(sight);
        }
        let failed_at = seen.failed_at?;
        let is_patient = now.saturating_sub(failed_at) < micros(PATIENCE);
        is_patient.then_some(if is_certain && age < self.settings.trust { sight } else { Sight::Unavailable })
    }

    fn subject(&self, subject: &str) -> u64 {
        self.subjects.hash_one(subject)
    }

    /// Asks the store, once for all who want to know of the same session.
    pub(super) async fn ask(&self, claimed: Claimed<'_>) -> Sight {
        if self.settings.max_staleness.is_zero() {
            // Each for itself: a question that began earlier may have an answer of before.
            let seen = self.look(claimed, None).await;
            return if seen.failed_at.is_some() { Sight::Unavailable } else { self.sight(&seen) };
        }
        let came = self.now();
        loop {
            let before = self.seen.get(&claimed.session_id);
            if let Some(seen) = &before {
                if let Some(sight) = self.decide(seen, claimed) {
                    return sight;
                }
                // Not one that somebody else has put there meanwhile.
                let (asked_at, failed_at) = (seen.asked_at, seen.failed_at);
                self.seen.remove_if(&claimed.session_id, |held| {
                    (held.asked_at, held.failed_at) == (asked_at, failed_at)
                });
            }
            match self.seen.get_value_or_guard_async(&claimed.session_id).await {
                // What has come of somebody else's question is looked at again, for an end that came meanwhile.
                Ok(seen) if seen.failed_at.is_some_and(|failed_at| failed_at >= came) => {
                    return self.decide(&seen, claimed).unwrap_or(Sight::Unavailable);
                }
                Ok(_) => {}
                Err(guard) => {
                    let seen = self.look(claimed, before).await;
                    // What was told meanwhile may be later than the answer: then it is asked again.
                    if guard.insert(seen).is_ok() && !self.endings.since(&seen) {
                        return self.decide(&seen, claimed).unwrap_or_else(|| self.sight(&seen));
                    }
                }
            }
        }
    }

    fn sight(&self, seen: &Seen) -> Sight {
        match seen.state {
            State::Live { until } if self.now() < until => Sight::Live,
            State::Live { .. } | State::Ended => Sight::Ended,
            State::Unknown => Sight::Unavailable,
        }
    }

    /// What the store says, or else what was seen before.
    async fn look(&self, claimed: Claimed<'_>, before: Option<Seen>) -> Seen {
        let asked_at = self.now();
        let digest = SubjectDigest::of(claimed.subject);
        let unknown = Seen {
            subject: self.subject(claimed.subject),
            digest: half(&digest),
            asked_at,
            failed_at: None,
            state: State::Unknown,
        };
        match self.settings.store.get(&digest, &claimed.session_id).await {
            Ok(found) => Seen { state: self.state(found.as_ref(), asked_at), ..unknown },
            Err(error) => {
                report(&error);
                Seen { failed_at: Some(self.now()), ..before.unwrap_or(unknown) }
            }
        }
    }

    fn state(&self, found: Option<&Record>, asked_at: Moment) -> State {
        let now = self.settings.clock.now();
        match found {
            Some(record) if !record.is_expired(now) => {
                let left = record.expires_at().saturating_duration_since(now);
                State::Live { until: asked_at.saturating_add(micros(left)) }
            }
            _ => State::Ended,
        }
    }
}

fn micros(duration: Duration) -> Moment {
    Moment::try_from(duration.as_micros()).unwrap_or(Moment::MAX)
}

fn half(digest: &SubjectDigest) -> u64 {
    digest.as_bytes().first_chunk().map(|half| u64::from_be_bytes(*half)).unwrap_or_default()
}

fn report(error: &StoreError) {
    tracing::error!(
        name: "unavailable", target: "tower_jwt_auth::live",
        error = error as &(dyn std::error::Error + 'static),
        "the store could not say whether a session lives"
    );
}

/// What the store has ended takes effect at once.
impl Listen for Near {
    fn changed(&self, change: &SessionChange) {
        match change {
            SessionChange::Ended { subject, session_id } => {
                // Over a question that is under way, too: its answer is then not taken.
                let ended = Seen {
                    subject: 0,
                    digest: half(subject),
                    asked_at: self.now(),
                    failed_at: None,
                    state: State::Ended,
                };
                self.seen.insert(*session_id, ended);
            }
            SessionChange::AllEnded { subject, .. } => {
                self.endings.note(half(subject), self.now());
            }
            SessionChange::Replaced { session_id, .. } => {
                self.seen.remove(session_id);
            }
        }
    }
}

/// When all sessions of a subject ended last, by a few bits of its digest: of two that share a place both are asked for
/// again. So nothing grows, and nobody waits.
struct Endings(Box<[AtomicU64]>);

impl Endings {
    /// A power of two: 32 KiB.
    const PLACES: usize = 4096;

    fn place(&self, digest: u64) -> Option<&AtomicU64> {
        self.0.get(usize::try_from(digest % Self::PLACES as u64).unwrap_or_default())
    }

    fn note(&self, digest: u64, now: Moment) {
        if let Some(place) = self.place(digest) {
            // 0 is never.
            place.fetch_max(now.saturating_add(1), Ordering::SeqCst);
        }
    }

    /// Whether all sessions of its subject may have ended since the store was asked.
    fn since(&self, seen: &Seen) -> bool {
        self.place(seen.digest).is_some_and(|place| place.load(Ordering::SeqCst) > seen.asked_at)
    }
}

impl Default for Endings {
    fn default() -> Self {
        Self((0..Self::PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}
