//! [`Cache`]: what this process knows of a store, how long that counts, and who asks for more.

use std::hash::Hash;
use std::time::Duration;

use quick_cache::sync::{Cache as Memory, EntryAction, EntryResult};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::store_cache::{Endings, Inquiry, Moment, Questions, Remembered, micros};
use crate::timer;

/// How long a store that did not answer is not asked the same again: what `Retry-After` says.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How often one request asks at most, where each answer is outdated by what is told meanwhile.
const ROUNDS: usize = 4;

/// How long answers count, and how many are remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How old an answer may be; with zero the store is asked each time.
    pub(crate) max_staleness: Duration,
    /// The same while the store does not answer.
    pub(crate) trust: Duration,
    pub(crate) capacity: usize,
}

impl Bounds {
    pub(crate) fn new(max_staleness: Duration) -> Self {
        Self { max_staleness, trust: Duration::ZERO, capacity: 100_000 }
    }

    /// Whether nothing is remembered, as nothing would count.
    pub(crate) fn asks_each_time(&self) -> bool {
        self.max_staleness.is_zero()
    }
}

/// What was seen, `S`, under each name, `K`; which questions are under way; and what was told meanwhile.
pub(crate) struct Cache<K, S> {
    bounds: Bounds,
    /// What moments are counted from.
    start: Instant,
    seen: Memory<K, S>,
    questions: Questions<K, Told<S>>,
    endings: Endings,
}

impl<K: Copy + Eq + Hash, S: Remembered> Cache<K, S> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            start: timer::now(),
            // One that holds nothing could not even note what was told.
            seen: Memory::new(bounds.capacity.max(1)),
            questions: Questions::default(),
            endings: Endings::default(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        micros(timer::since(self.start))
    }

    pub(crate) fn endings(&self) -> &Endings {
        &self.endings
    }

    pub(crate) fn is_asked(&self, key: &K) -> bool {
        self.questions.is_asked(key)
    }

    pub(crate) fn get(&self, key: &K) -> Option<S> {
        self.seen.get(key)
    }

    /// Puts what was told in the place of what was seen, and of an answer that is about to be remembered.
    pub(crate) fn insert(&self, key: K, seen: S) {
        self.seen.insert(key, seen);
    }

    /// Changes what is there, in one step; `None` if nothing is.
    pub(crate) fn change<T>(&self, key: &K, change: impl FnOnce(&mut S) -> T) -> Option<T> {
        let entry = |_: &K, seen: &mut S| EntryAction::Retain(change(seen));
        match self.seen.entry(key, Some(Duration::ZERO), entry) {
            EntryResult::Retained(changed) => Some(changed),
            _ => None,
        }
    }

    /// What is decided by what is known, and what that is; `None` if the store must be asked.
    pub(crate) fn recall<I>(&self, inquiry: &I) -> Option<(I::Sight, S)>
    where
        I: Inquiry<Key = K, Seen = S>,
    {
        if self.bounds.asks_each_time() {
            return None;
        }
        let seen = self.get(inquiry.key())?;
        self.decide(inquiry, &seen, self.now()).map(|sight| (sight, seen))
    }

    /// `came` is when the request did: what was asked for then need not be younger because the answer took long.
    fn decide<I>(&self, inquiry: &I, seen: &S, came: Moment) -> Option<I::Sight>
    where
        I: Inquiry<Key = K, Seen = S>,
    {
        let found = inquiry.find(seen, came);
        let is_younger = |as_of: Moment, bound| Duration::from_micros(came.saturating_sub(as_of)) < bound;
        if let Some(found) = found
            && is_younger(found.as_of, self.bounds.max_staleness)
        {
            return Some(found.sight);
        }
        let is_patient = !self.has_waited(seen.failed_at()?);
        let trusted = found.filter(|found| found.is_final || is_younger(found.as_of, self.bounds.trust));
        is_patient.then(|| trusted.map_or(I::UNAVAILABLE, |found| found.sight))
    }

    /// Whether it was waited since then for as long as one waits.
    fn has_waited(&self, since: Moment) -> bool {
        self.now().saturating_sub(since) >= micros(PATIENCE)
    }

    /// Asks the store, once for all who want to know the same. What is decided, and by what; `None` if each answer was
    /// outdated by what was told meanwhile, or if those gave up who asked before while nothing was known.
    pub(crate) async fn ask<I>(&self, inquiry: &I) -> Option<(I::Sight, S)>
    where
        I: Inquiry<Key = K, Seen = S>,
    {
        if self.bounds.asks_each_time() {
            // Each for itself: a question that began earlier may have an answer of before.
            let answer = inquiry.look().await;
            return Some((inquiry.read(&answer), answer));
        }
        let key = inquiry.key();
        let came = self.now();
        // What is told meanwhile may be later than an answer, which is then asked for again; not for ever.
        for _ in 0..ROUNDS {
            if let Some(seen) = self.get(key)
                && let Some(sight) = self.decide(inquiry, &seen, came)
            {
                return Some((sight, seen));
            }
            match self.questions.join(key) {
                Err(mut theirs) => {
                    // One that was given up early is asked by the next.
                    if theirs.changed().await.is_err() {
                        continue;
                    }
                    let told = *theirs.borrow();
                    match told {
                        Some(Told::Answer(answer))
                            if answer.asked_at() >= Some(came)
                                && answer.failed_at().is_none()
                                && inquiry.stands(&answer)
                                && inquiry.shares(&answer) =>
                        {
                            return Some((inquiry.read(&answer), answer));
                        }
                        Some(Told::GaveUp) if self.get(key).is_none() => return None,
                        // It looks again, for what was told meanwhile.
                        _ => {}
                    }
                }
                Ok(ours) => {
                    let question = Question { cache: self, key, begun: self.now(), ours: Some(ours) };
                    let answer = self.keep(inquiry, inquiry.look().await);
                    question.answer(answer);
                    if answer.failed_at().is_some() {
                        let sight = self.decide(inquiry, &answer, came).unwrap_or(I::UNAVAILABLE);
                        return Some((sight, answer));
                    }
                    if inquiry.stands(&answer) {
                        return Some((inquiry.read(&answer), answer));
                    }
                }
            }
        }
        let seen = self.get(key)?;
        self.decide(inquiry, &seen, came).map(|sight| (sight, seen))
    }

    /// Puts an answer into the memory, but for what was told since it was asked for. What holds now.
    fn keep<I>(&self, inquiry: &I, answer: S) -> S
    where
        I: Inquiry<Key = K, Seen = S>,
    {
        let kept = self.seen.entry(inquiry.key(), Some(Duration::ZERO), |_, seen| {
            inquiry.merge(seen, answer);
            EntryAction::Retain(*seen)
        });
        if let EntryResult::Retained(seen) = kept {
            return seen;
        }
        if let EntryResult::Vacant(place) = kept
            && place.insert(answer).is_ok()
        {
            return answer;
        }
        // Something was told in this very moment.
        self.get(inquiry.key()).unwrap_or(answer)
    }
}

/// What those hear who wait for a question of somebody else.
#[derive(Clone, Copy)]
enum Told<S> {
    Answer(S),
    /// Whoever asked went away, after as long as one waits: as good as no answer.
    GaveUp,
}

/// Makes room for the next question when it is given up: a client may go away while it waits.
struct Question<'c, K: Copy + Eq + Hash, S: Remembered> {
    cache: &'c Cache<K, S>,
    key: &'c K,
    begun: Moment,
    /// Taken by the answer.
    ours: Option<watch::Sender<Option<Told<S>>>>,
}

impl<K: Copy + Eq + Hash, S: Remembered> Question<'_, K, S> {
    /// Tells those who wait. Whoever comes from now on does not find it any more.
    fn answer(mut self, answer: S) {
        let ours = self.ours.take();
        self.cache.questions.close(self.key);
        if let Some(ours) = ours {
            ours.send_replace(Some(Told::Answer(answer)));
        }
    }
}

impl<K: Copy + Eq + Hash, S: Remembered> Drop for Question<'_, K, S> {
    fn drop(&mut self) {
        let Some(ours) = self.ours.take() else { return };
        let has_waited = self.cache.has_waited(self.begun);
        if has_waited {
            self.cache.change(self.key, |seen| seen.fail(self.cache.now()));
        }
        self.cache.questions.close(self.key);
        if has_waited {
            ours.send_replace(Some(Told::GaveUp));
        }
    }
}
