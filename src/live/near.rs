//! [`Near`]: what this process knows of sessions, and how it comes to know more.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use tokio::runtime::Handle;
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
    /// Whether the store is told of tokens that are seen in use.
    pub(super) reports_use: bool,
    pub(super) clock: Arc<dyn Clock>,
}

impl Settings {
    pub(super) fn new(store: impl SessionStore, max_staleness: Duration) -> Self {
        Self {
            store: Arc::new(store),
            max_staleness,
            trust: Duration::ZERO,
            capacity: 100_000,
            reports_use: false,
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
    pub(super) generation: Option<u32>,
    pub(super) issue: u32,
}

/// What is decided over a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Live,
    Ended,
    /// The session lives, and this token of it was replaced by a later one.
    Replaced,
    /// It cannot be said now.
    Unavailable,
}

/// Microseconds since the start.
type Moment = u64;

/// What was seen of a session: as small as can be, as there may be a million.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Of the subject's name, so that a session is nobody else's; none where the store told of it.
    subject: Option<u64>,
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
    Live(Newest),
    Ended,
}

/// What lives of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    /// The end that is certain.
    until: Moment,
    generation: u32,
    issue: u32,
    /// Whether the store knows that this generation is in use.
    is_used: bool,
}

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
    pub(super) fn recall(self: &Arc<Self>, claimed: Claimed<'_>) -> Option<Sight> {
        if self.settings.max_staleness.is_zero() {
            return None;
        }
        let seen = self.seen.get(&claimed.session_id)?;
        self.decide(&seen, claimed).inspect(|sight| self.note_use(*sight, &seen, claimed))
    }

    fn decide(&self, seen: &Seen, claimed: Claimed<'_>) -> Option<Sight> {
        let now = self.now();
        let age = Duration::from_micros(now.saturating_sub(seen.asked_at));
        let sight = self.sight(seen, claimed, now)?;
        // Who ended all sessions of the subject since has to be asked which this one is of.
        let is_certain = sight != Sight::Unavailable && !self.endings.since(seen);
        if is_certain && age < self.settings.max_staleness {
            return Some(sight);
        }
        let failed_at = seen.failed_at?;
        let is_patient = now.saturating_sub(failed_at) < micros(PATIENCE);
        is_patient.then_some(if is_certain && age < self.settings.trust { sight } else { Sight::Unavailable })
    }

    /// What was seen says of a token; `None` if it is of another subject, or the token is newer.
    fn sight(&self, seen: &Seen, claimed: Claimed<'_>, now: Moment) -> Option<Sight> {
        if seen.subject.is_some_and(|subject| subject != self.subject(claimed.subject)) {
            return None;
        }
        Some(match seen.state {
            State::Live(newest) if now >= newest.until => Sight::Ended,
            State::Live(newest) if claimed.issue < newest.issue => Sight::Replaced,
            State::Live(newest) if claimed.issue > newest.issue => return None,
            State::Live(_) => Sight::Live,
            State::Ended => Sight::Ended,
            State::Unknown => Sight::Unavailable,
        })
    }

    /// What the store's own answer to the question says of a token. One that is newer than the store knows is of a store that
    /// lost writes.
    fn answer(&self, seen: &Seen, claimed: Claimed<'_>) -> Sight {
        self.sight(seen, claimed, self.now()).unwrap_or(Sight::Live)
    }

    /// Tells the store, behind the request, that a token is in use which was not seen before.
    fn note_use(self: &Arc<Self>, sight: Sight, seen: &Seen, claimed: Claimed<'_>) {
        let (true, Sight::Live, State::Live(newest)) = (self.settings.reports_use, sight, seen.state) else {
            return;
        };
        let Some(generation) = claimed.generation.filter(|_| newest.is_new(claimed)) else { return };
        if !self.remember_use(claimed, generation) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (near, subject) = (Arc::clone(self), SubjectDigest::of(claimed.subject));
        let (session_id, issue) = (claimed.session_id, claimed.issue);
        runtime.spawn(async move {
            let told = near.settings.store.mark_used(&subject, &session_id, generation, issue).await;
            if let Err(error) = told {
                report(&error);
                // The next request tells it.
                near.seen.remove(&session_id);
            }
        });
    }

    /// Whether this request is the one that tells.
    fn remember_use(&self, claimed: Claimed<'_>, generation: u32) -> bool {
        if self.settings.max_staleness.is_zero() {
            return true;
        }
        // Only what is there, and lives: an end that was told meanwhile must stay.
        let noted = self.seen.entry(&claimed.session_id, Some(Duration::ZERO), |_, seen| {
            let is_new = match &mut seen.state {
                State::Live(newest) if newest.is_new(claimed) => {
                    (newest.generation, newest.is_used) = (generation, true);
                    true
                }
                _ => false,
            };
            EntryAction::Retain(is_new)
        });
        matches!(noted, EntryResult::Retained(true))
    }

    fn subject(&self, subject: &str) -> u64 {
        self.subjects.hash_one(subject)
    }

    /// Asks the store, once for all who want to know of the same session.
    pub(super) async fn ask(self: &Arc<Self>, claimed: Claimed<'_>) -> Sight {
        if self.settings.max_staleness.is_zero() {
            // Each for itself: a question that began earlier may have an answer of before.
            let seen = self.look(claimed, None).await;
            return self.told(&seen, claimed);
        }
        let came = self.now();
        loop {
            let before = self.seen.get(&claimed.session_id);
            if let Some(seen) = &before {
                if let Some(sight) = self.decide(seen, claimed) {
                    self.note_use(sight, seen, claimed);
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
                        return self.told(&seen, claimed);
                    }
                }
            }
        }
    }

    /// What is decided by what the store has just said.
    fn told(self: &Arc<Self>, seen: &Seen, claimed: Claimed<'_>) -> Sight {
        let sight = match seen.failed_at {
            Some(_) => self.decide(seen, claimed).unwrap_or(Sight::Unavailable),
            None => self.answer(seen, claimed),
        };
        self.note_use(sight, seen, claimed);
        sight
    }

    /// What the store says, or else what was seen before.
    async fn look(&self, claimed: Claimed<'_>, before: Option<Seen>) -> Seen {
        let asked_at = self.now();
        let digest = SubjectDigest::of(claimed.subject);
        let unknown = Seen {
            subject: Some(self.subject(claimed.subject)),
            digest: half(&digest),
            asked_at,
            failed_at: None,
            state: State::Unknown,
        };
        match self.settings.store.get(&digest, &claimed.session_id).await {
            Ok(found) => Seen { state: self.state(found.as_ref(), asked_at), ..unknown },
            Err(error) => {
                report(&error);
                // What was seen of somebody else does not help.
                let before =
                    before.filter(|seen| seen.subject.is_none_or(|subject| Some(subject) == unknown.subject));
                Seen { failed_at: Some(self.now()), ..before.unwrap_or(unknown) }
            }
        }
    }

    fn state(&self, found: Option<&Record>, asked_at: Moment) -> State {
        let now = self.settings.clock.now();
        match found {
            Some(record) if !record.is_expired(now) => {
                let left = record.expires_at().saturating_duration_since(now);
                State::Live(Newest {
                    until: asked_at.saturating_add(micros(left)),
                    generation: record.state.generation,
                    issue: record.state.issue,
                    is_used: record.state.used_at.is_some(),
                })
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
                    subject: None,
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
