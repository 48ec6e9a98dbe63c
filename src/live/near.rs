//! [`Near`]: what this process knows of sessions, and how it comes to know more.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clock::{Clock, SystemClock};
use crate::near::{Endings, Moment, PATIENCE, Questions, ROUNDS, micros};
use crate::session::{Record, SessionId, SubjectDigest};
use crate::store::{DynStore, Listen, SessionChange, SessionStore, StoreError};
use crate::timer;

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
    questions: Questions<SessionId, Seen>,
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

/// What was seen of a session: as small as can be, as there may be a million.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Of the subject's name, so that a session is nobody else's; none where the store told of it.
    subject: Option<u64>,
    /// The place of the subject among the endings.
    place: u16,
    /// How many endings were told when the store was asked.
    told: u64,
    /// When the store was asked that answered.
    asked_at: Moment,
    /// When the store was asked that did not answer.
    failed_at: Option<Moment>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The store has not said yet.
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
            // One that holds nothing could not even note that a token is in use.
            seen: Cache::new(settings.capacity.max(1)),
            questions: Questions::default(),
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
        self.decide(&seen, claimed, self.now()).inspect(|sight| self.note_use(*sight, &seen, claimed))
    }

    /// `came` is when the request did: what was asked for then need not be younger because the answer took long.
    fn decide(&self, seen: &Seen, claimed: Claimed<'_>, came: Moment) -> Option<Sight> {
        let age = Duration::from_micros(came.saturating_sub(seen.asked_at));
        // Who ended all sessions of the subject since has to be asked which this one is of.
        let certain = self.sight(seen, claimed, came).filter(|_| !self.is_outdated(seen));
        if let Some(sight) = certain
            && age < self.settings.max_staleness
        {
            return Some(sight);
        }
        let is_patient = self.now().saturating_sub(seen.failed_at?) < micros(PATIENCE);
        let trusted = certain.filter(|_| age < self.settings.trust);
        is_patient.then_some(trusted.unwrap_or(Sight::Unavailable))
    }

    /// What was seen says of a token; `None` if it says nothing: of another subject, of a newer token, of a session that may
    /// have been prolonged.
    fn sight(&self, seen: &Seen, claimed: Claimed<'_>, now: Moment) -> Option<Sight> {
        if seen.subject.is_some_and(|subject| subject != self.subject(claimed.subject)) {
            return None;
        }
        match seen.state {
            State::Live(newest) if now >= newest.until || claimed.issue > newest.issue => None,
            State::Live(newest) if claimed.issue < newest.issue => Some(Sight::Replaced),
            State::Live(_) => Some(Sight::Live),
            State::Ended => Some(Sight::Ended),
            State::Unknown => None,
        }
    }

    /// What the store's own answer to the question says of a token. One that is newer than the store knows is of a store that
    /// lost writes.
    fn answer(&self, seen: &Seen, claimed: Claimed<'_>) -> Sight {
        match seen.state {
            State::Live(newest) if self.now() >= newest.until => Sight::Ended,
            State::Live(newest) if claimed.issue < newest.issue => Sight::Replaced,
            State::Live(_) => Sight::Live,
            State::Ended => Sight::Ended,
            State::Unknown => Sight::Unavailable,
        }
    }

    /// Tells the store, behind the request, that a token is in use which was not seen before.
    fn note_use(self: &Arc<Self>, sight: Sight, seen: &Seen, claimed: Claimed<'_>) {
        let (true, Sight::Live, State::Live(newest)) = (self.settings.reports_use, sight, seen.state) else {
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
            let told = near.settings.store.mark_used(&subject, &session_id, generation, issue).await;
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
        self.settings.max_staleness.is_zero()
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
        let changed = self.seen.entry(session_id, Some(Duration::ZERO), |_, seen| {
            EntryAction::Retain(match &mut seen.state {
                State::Live(newest) => change(newest),
                State::Unknown | State::Ended => false,
            })
        });
        matches!(changed, EntryResult::Retained(true))
    }

    /// Whether more was told of its subject since the store was asked.
    fn is_outdated(&self, seen: &Seen) -> bool {
        self.endings.since(seen.place, seen.told)
    }

    fn subject(&self, subject: &str) -> u64 {
        self.subjects.hash_one(subject)
    }

    /// Asks the store, once for all who want to know of the same session.
    pub(super) async fn ask(self: &Arc<Self>, claimed: Claimed<'_>) -> Sight {
        if self.settings.max_staleness.is_zero() {
            // Each for itself: a question that began earlier may have an answer of before.
            let seen = self.look(claimed).await;
            return self.decided(self.answer(&seen, claimed), &seen, claimed);
        }
        let came = self.now();
        // What is told meanwhile may be later than an answer, which is then asked for again; not for ever.
        for _ in 0..ROUNDS {
            let known = self.seen.get(&claimed.session_id);
            if let Some(seen) = &known
                && let Some(sight) = self.decide(seen, claimed, came)
            {
                return self.decided(sight, seen, claimed);
            }
            match self.questions.join(&claimed.session_id) {
                // It looks again, for an end that came meanwhile. One that was given up is asked by the next.
                Err(mut theirs) => {
                    if theirs.changed().await.is_ok()
                        && let Some(seen) = *theirs.borrow()
                        && seen.asked_at >= came
                        && seen.failed_at.is_none()
                        && seen.subject == Some(self.subject(claimed.subject))
                        && !self.is_outdated(&seen)
                        && !self.is_ended(&claimed.session_id)
                    {
                        return self.decided(self.answer(&seen, claimed), &seen, claimed);
                    }
                }
                Ok(ours) => {
                    let question = Question {
                        near: self,
                        session_id: claimed.session_id,
                        begun: self.now(),
                        ours: Some(ours),
                    };
                    let seen = self.keep(&claimed.session_id, self.look(claimed).await);
                    question.answer(seen);
                    let sight = match seen.failed_at {
                        Some(_) => self.decide(&seen, claimed, came).unwrap_or(Sight::Unavailable),
                        None if self.is_outdated(&seen) => continue,
                        None => self.answer(&seen, claimed),
                    };
                    return self.decided(sight, &seen, claimed);
                }
            }
        }
        Sight::Unavailable
    }

    fn decided(self: &Arc<Self>, sight: Sight, seen: &Seen, claimed: Claimed<'_>) -> Sight {
        self.note_use(sight, seen, claimed);
        sight
    }

    fn is_ended(&self, session_id: &SessionId) -> bool {
        self.seen.get(session_id).is_some_and(|seen| seen.state == State::Ended)
    }

    /// Puts an answer into the memory, but for what was told since it was asked for. What holds now.
    fn keep(&self, session_id: &SessionId, new: Seen) -> Seen {
        let kept = self.seen.entry(session_id, Some(Duration::ZERO), |_, seen| {
            if new.failed_at.is_some() {
                // What was seen before may be trusted.
                if seen.subject.is_none() || seen.subject == new.subject {
                    seen.failed_at = new.failed_at;
                } else {
                    *seen = new;
                }
            } else if seen.told <= new.told {
                *seen = new;
            }
            EntryAction::Retain(*seen)
        });
        if let EntryResult::Retained(seen) = kept {
            return seen;
        }
        if let EntryResult::Vacant(place) = kept
            && place.insert(new).is_ok()
        {
            return new;
        }
        // Something was told in this very moment.
        self.seen.get(session_id).unwrap_or(new)
    }

    /// What the store says; it is asked once more where it does not answer.
    async fn look(&self, claimed: Claimed<'_>) -> Seen {
        let (asked_at, told) = (self.now(), self.endings.told());
        let digest = SubjectDigest::of(claimed.subject);
        let unknown = Seen {
            subject: Some(self.subject(claimed.subject)),
            place: Endings::place_of(digest.as_bytes()),
            told,
            asked_at,
            failed_at: None,
            state: State::Unknown,
        };
        let mut found = self.settings.store.get(&digest, &claimed.session_id).await;
        if found.is_err() {
            found = self.settings.store.get(&digest, &claimed.session_id).await;
        }
        match found {
            Ok(found) => Seen { state: self.state(found.as_ref(), asked_at), ..unknown },
            Err(error) => {
                report(&error);
                Seen { failed_at: Some(self.now()), ..unknown }
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
                // Whoever asks later is told by the store; whoever asks now may have an answer of before.
                if self.questions.is_asked(session_id) {
                    self.endings.note(subject.as_bytes());
                } else if self.seen.get(session_id).is_none() {
                    return;
                }
                let ended = Seen {
                    subject: None,
                    place: Endings::place_of(subject.as_bytes()),
                    told: self.endings.tell(),
                    asked_at: self.now(),
                    failed_at: None,
                    state: State::Ended,
                };
                self.seen.insert(*session_id, ended);
            }
            SessionChange::AllEnded { subject, .. }
            | SessionChange::Replaced { subject, .. }
            | SessionChange::Uncertain { subject } => self.endings.note(subject.as_bytes()),
            SessionChange::TokensRevoked { .. } | SessionChange::TokensUncertain { .. } => {}
        }
    }
}

/// Makes room for the next question when it is given up: a client may go away while it waits.
struct Question<'n> {
    near: &'n Near,
    session_id: SessionId,
    begun: Moment,
    /// Taken by the answer.
    ours: Option<watch::Sender<Option<Seen>>>,
}

impl Question<'_> {
    /// Tells those who wait. Whoever comes from now on does not find it any more.
    fn answer(mut self, seen: Seen) {
        let ours = self.ours.take();
        self.near.questions.close(&self.session_id);
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
        let near = self.near;
        let now = near.now();
        if now.saturating_sub(self.begun) >= micros(PATIENCE) {
            // It was waited for as long as one waits: as good as no answer.
            near.seen.entry(&self.session_id, Some(Duration::ZERO), |_, seen| {
                seen.failed_at = Some(now);
                EntryAction::Retain(())
            });
        }
        near.questions.close(&self.session_id);
    }
}
