//! [`MokaStore`]: sessions in the memory of one process.

mod revocations;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;

use self::revocations::{Revocations, revocations};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::session::{
    Attempt, Decision, NewSession, OnReuse, Presented, Record, SecretDigest, SessionId, SessionPolicy,
    SubjectDigest, decide,
};
use crate::store::{Creation, Rotation, SessionFeed, SessionStore, StoreError};

/// An expired session is remembered for a day, so that its last token is `Expired` and not `Unknown`.
const KEEP_EXPIRED: Duration = Duration::from_secs(24 * 3600);

/// 900 years: moka's own bound is 1000.
const LONGEST: Duration = Duration::from_secs(900 * 365 * 24 * 3600);

/// How long it is remembered that a session has ended, and what the rotation answered that ended it.
const KEEP_ENDED: Duration = Duration::from_secs(60);

/// Sessions in the memory of this process, over [`moka`](https://docs.rs/moka). They end when the process ends.
///
/// Everything of a subject is one entry behind one lock, which is held for the length of a decision and never across
/// an `.await`. Entries go by themselves some time after their last session has expired.
///
/// There is no limit to the number of subjects unless [`max_subjects`](MokaStoreBuilder::max_subjects) sets one.
/// Revocations of tokens ([`RevocationStore`](crate::RevocationStore)) are not limited in number: each stays as long as
/// its call said.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{MokaStore, SessionStore, SubjectDigest};
///
/// let store = MokaStore::new();
/// assert!(store.list(&SubjectDigest::of("ada")).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MokaStore {
    subjects: Cache<SubjectDigest, Arc<Entry>>,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
    marks: Arc<Marks>,
    evicted: Arc<AtomicU64>,
    feed: SessionFeed,
    is_limited: bool,
}

/// Settings of a [`MokaStore`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct MokaStoreBuilder {
    max_subjects: Option<u64>,
    clock: Arc<dyn Clock>,
}

impl MokaStore {
    /// A store without a limit, by the system's clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store with settings of one's own.
    pub fn builder() -> MokaStoreBuilder {
        MokaStoreBuilder { max_subjects: None, clock: Arc::new(SystemClock) }
    }

    /// How many live sessions were lost to the limit of [`max_subjects`](MokaStoreBuilder::max_subjects). Each is a
    /// user who was logged out; each loss is also an event, `session_evicted`.
    pub fn evicted_sessions(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Runs `act` on a subject's entry under its lock, and makes sure that the entry was still the one of the map
    /// afterwards: moka removes entries that are too many at any time, and what happens to a removed one is lost.
    ///
    /// With `make` a missing entry is made; otherwise the answer is `None`.
    async fn with_subject<R>(
        &self,
        subject: &SubjectDigest,
        make: bool,
        mut act: impl FnMut(&mut Subject, Timestamp) -> R + Send,
    ) -> Option<R> {
        loop {
            let entry = if make {
                let made = self.subjects.entry_by_ref(subject).or_insert_with(async { Arc::default() }).await;
                made.into_value()
            } else {
                self.subjects.get(subject).await?
            };
            let (result, keeps_longer) = {
                let mut state = entry.lock();
                if state.dead {
                    continue;
                }
                let result = act(&mut state, self.clock.now());
                let keep_for = millis(state.keep_for);
                (result, entry.keep_for.swap(keep_for, Ordering::Relaxed) != keep_for)
            };
            // An old entry that was just read stays, unless there is a limit: only age removes it, and this began anew.
            if !make && !keeps_longer && !self.is_limited {
                return Some(result);
            }
            // This read also lets moka count the entry's life from now on.
            match self.subjects.get(subject).await {
                Some(held) if Arc::ptr_eq(&held, &entry) => return Some(result),
                _ => {}
            }
        }
    }
}

impl Default for MokaStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MokaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaStore").field("subjects", &self.subjects.entry_count()).finish_non_exhaustive()
    }
}

impl MokaStoreBuilder {
    /// Keeps at most about this many subjects, and one at least. When there are more, the one not touched for the
    /// longest time goes, with its live sessions: those users are logged out. With it goes the memory that all its
    /// sessions were ended, so a login under way at that moment may succeed.
    pub fn max_subjects(mut self, subjects: u64) -> Self {
        // A cache of none never holds the entry just made, and the search for it would not end.
        self.max_subjects = Some(subjects.max(1));
        self
    }

    /// Replaces the clock that decides.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the store.
    pub fn build(self) -> MokaStore {
        let evicted = Arc::new(AtomicU64::new(0));
        let (count, clock) = (Arc::clone(&evicted), Arc::clone(&self.clock));
        let feed = SessionFeed::new();
        let told = feed.clone();
        let mut subjects = Cache::builder()
            .expire_after(KeepFor)
            // moka's own default refuses new entries when it is full.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |subject: Arc<SubjectDigest>, entry: Arc<Entry>, cause| {
                let mut state = entry.lock();
                state.dead = true;
                if cause == RemovalCause::Size {
                    told.tell_revoked_subject(&subject, None);
                    let now = clock.now();
                    let live = state.sessions.iter().filter(|record| !record.is_expired(now)).count() as u64;
                    count.fetch_add(live, Ordering::Relaxed);
                    if live > 0 {
                        tracing::warn!(
                            name: "session_evicted", target: "tower_jwt_auth::store", sessions = live,
                            "the store is full: live sessions were dropped, raise `max_subjects`"
                        );
                    }
                }
            });
        if let Some(max) = self.max_subjects {
            subjects = subjects.max_capacity(max);
        }
        let is_limited = self.max_subjects.is_some();
        MokaStore {
            subjects: subjects.build(),
            revocations: revocations(),
            clock: self.clock,
            marks: Arc::default(),
            evicted,
            feed,
            is_limited,
        }
    }
}

impl fmt::Debug for MokaStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaStoreBuilder").field("max_subjects", &self.max_subjects).finish_non_exhaustive()
    }
}

/// Keeps logins and marks of "all sessions ended" apart that fall into one millisecond: the time shown after a mark is
/// later than the mark, and a mark is not earlier than any time shown before it.
struct Marks {
    /// The latest time that [`SessionStore::now`] has shown.
    shown: AtomicI64,
    /// The latest mark.
    marked: AtomicI64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { shown: AtomicI64::new(i64::MIN), marked: AtomicI64::new(i64::MIN) }
    }
}

impl Marks {
    fn show(&self, now: Timestamp) -> Timestamp {
        let (now, marked) = (now.as_unix_millis(), self.marked.load(Ordering::SeqCst));
        let shown = if is_behind(now, marked) { now } else { now.max(marked.saturating_add(1)) };
        raise(&self.shown, shown);
        Timestamp::from_unix_millis(shown)
    }

    fn mark(&self, now: Timestamp) -> Timestamp {
        let (now, shown) = (now.as_unix_millis(), self.shown.load(Ordering::SeqCst));
        let mark = if is_behind(now, shown) { now } else { now.max(shown) };
        raise(&self.marked, mark);
        Timestamp::from_unix_millis(mark)
    }
}

/// Further apart than a second the clock stepped back, and a time of before says nothing.
fn is_behind(now: i64, before: i64) -> bool {
    before.saturating_sub(now) > 1_000
}

/// Never lowers the time, unless the clock stepped back.
fn raise(time: &AtomicI64, to: i64) {
    if is_behind(to, time.load(Ordering::SeqCst)) {
        time.store(to, Ordering::SeqCst);
    } else {
        time.fetch_max(to, Ordering::SeqCst);
    }
}

/// Everything of one subject.
#[derive(Default)]
struct Entry {
    state: Mutex<Subject>,
    /// A copy of `Subject::keep_for` in milliseconds, which moka reads without the lock.
    keep_for: AtomicU64,
}

#[derive(Default)]
struct Subject {
    /// Set under the lock when moka has removed the entry: whoever waited for the lock starts again.
    dead: bool,
    sessions: Vec<Record>,
    ended: Vec<Ended>,
    revoked_all: Option<RevokedAll>,
    /// How long moka must keep the entry when nobody touches it. For memory only: expiry is the record's.
    keep_for: Duration,
}

/// The last time that all sessions were ended.
struct RevokedAll {
    /// Sessions authenticated at or before this moment are refused.
    before: Timestamp,
    at: Timestamp,
    attempt: Attempt,
    ended: u64,
}

/// A session that ended a short while ago: a creation that is sent again must not bring it back.
struct Ended {
    session_id: SessionId,
    at: Timestamp,
    /// The call that ended it, for the case that it is sent again.
    attempt: Attempt,
    /// What was answered, if the call was a rotation.
    by: Option<(Decision, Record)>,
}

impl Ended {
    fn is_recent(&self, now: Timestamp) -> bool {
        now.abs_diff(self.at) < KEEP_ENDED
    }
}

impl Entry {
    fn lock(&self) -> MutexGuard<'_, Subject> {
        // Nothing under the lock panics; if it ever did, each change is one assignment and leaves no half state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct KeepFor;

impl Expiry<SubjectDigest, Arc<Entry>> for KeepFor {
    fn expire_after_create(&self, _: &SubjectDigest, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        // A new entry is empty; the operation that made it reads it again at once.
        Some(Duration::from_millis(entry.keep_for.load(Ordering::Relaxed)).max(KEEP_EXPIRED))
    }

    fn expire_after_read(
        &self,
        key: &SubjectDigest,
        entry: &Arc<Entry>,
        read_at: Instant,
        _: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        self.expire_after_create(key, entry, read_at)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST).as_millis()).unwrap_or(u64::MAX)
}

impl Subject {
    fn position(&self, session_id: &SessionId) -> Option<usize> {
        self.sessions.iter().position(|record| record.facts.session_id == *session_id)
    }

    fn keep_at_least(&mut self, policy: &SessionPolicy) {
        self.keep_for = self.keep_for.max(policy.revocation_memory().saturating_add(KEEP_EXPIRED));
    }

    fn create(&mut self, session: &NewSession, policy: &SessionPolicy, now: Timestamp) -> Creation {
        self.keep_at_least(policy);
        if let Some(at) = self.position(&session.session_id) {
            let record = self.sessions[at].clone();
            return if record.facts.secret_digest == session.secret_digest {
                Creation::Created { record, evicted: Vec::new() }
            } else {
                Creation::RevokedMeanwhile
            };
        }
        self.purge(now);
        if self.revoked_all.as_ref().is_some_and(|revoked| session.authenticated_at <= revoked.before)
            || self.ended.iter().any(|ended| ended.session_id == session.session_id)
        {
            return Creation::RevokedMeanwhile;
        }
        let mut evicted = Vec::new();
        while self.sessions.len() >= policy.sessions_per_subject() as usize {
            let longest_unused = self.sessions.iter().enumerate().min_by_key(|(_, record)| {
                (!record.is_expired(now), record.state.last_used_at, record.facts.session_id)
            });
            let Some((at, _)) = longest_unused else { break };
            let gone = self.sessions.remove(at);
            self.note_end(gone.facts.session_id, session.attempt, None, now);
            if !gone.is_expired(now) {
                evicted.push(gone.facts.session_id);
            }
        }
        let record = Record::open(session, policy, now);
        self.sessions.push(record.clone());
        Creation::Created { record, evicted }
    }

    fn rotate(&mut self, presented: &Presented, policy: &SessionPolicy, now: Timestamp) -> Rotation {
        self.keep_at_least(policy);
        let resent = self.resent(&presented.session_id, &presented.attempt, now);
        if let Some((decision, record)) = resent.and_then(|ended| ended.by.clone()) {
            return Rotation { decision, record: Some(record), now };
        }
        let at = self.position(&presented.session_id);
        let record = at.and_then(|at| self.sessions.get_mut(at));
        let decision = decide(record.as_deref(), presented, policy, now);
        let record = record.map(|record| {
            if let Some(state) = decision.state() {
                record.state = *state;
            }
            record.clone()
        });
        if let (Decision::Superseded | Decision::Reused, Some(at), Some(record)) = (decision, at, &record) {
            self.sessions.remove(at);
            if decision == Decision::Reused && policy.on_reuse() == OnReuse::Subject {
                for sibling in std::mem::take(&mut self.sessions) {
                    self.note_end(sibling.facts.session_id, presented.attempt, None, now);
                }
            }
            self.note_end(presented.session_id, presented.attempt, Some((decision, record.clone())), now);
        }
        Rotation { decision, record, now }
    }

    fn note_end(
        &mut self,
        session_id: SessionId,
        attempt: Attempt,
        by: Option<(Decision, Record)>,
        now: Timestamp,
    ) {
        self.ended.retain(|ended| ended.is_recent(now));
        self.ended.push(Ended { session_id, at: now, attempt, by });
    }

    /// What is remembered of this very call, if it ended the session.
    fn resent(&self, session_id: &SessionId, attempt: &Attempt, now: Timestamp) -> Option<&Ended> {
        self.ended.iter().find(|ended| {
            ended.session_id == *session_id && ended.attempt == *attempt && ended.is_recent(now)
        })
    }

    fn revoke(
        &mut self,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> bool {
        let Some(at) = self.position(session_id) else {
            return self.resent(session_id, attempt, now).is_some_and(|ended| ended.by.is_none());
        };
        if proof.is_some_and(|proof| *proof != self.sessions[at].facts.secret_digest) {
            return false;
        }
        self.sessions.remove(at);
        self.note_end(*session_id, *attempt, None, now);
        true
    }

    fn revoke_all(
        &mut self,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
        now: Timestamp,
        mark: impl FnOnce() -> Timestamp,
    ) -> u64 {
        self.keep_at_least(policy);
        let resent = |last: &&RevokedAll| last.attempt == *attempt && now.abs_diff(last.at) < KEEP_ENDED;
        if let Some(last) = self.revoked_all.as_ref().filter(resent) {
            return last.ended;
        }
        // The clock may have stepped back: a mark never moves to an earlier time.
        let before = self.revoked_all.as_ref().map(|last| last.before).max(Some(mark()));
        let all = self.sessions.len();
        self.sessions.retain(|record| Some(&record.facts.session_id) == except);
        let ended = (all - self.sessions.len()) as u64;
        self.revoked_all = before.map(|before| RevokedAll { before, at: now, attempt: *attempt, ended });
        ended
    }

    fn purge(&mut self, now: Timestamp) -> u64 {
        let before = self.sessions.len();
        self.sessions.retain(|record| now < record.expires_at().saturating_add(KEEP_EXPIRED));
        self.ended.retain(|ended| ended.is_recent(now));
        (before - self.sessions.len()) as u64
    }
}

impl SessionStore for MokaStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.marks.show(self.clock.now()))
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        let subject = SubjectDigest::of(&session.subject);
        let created =
            self.with_subject(&subject, true, |state, now| state.create(session, policy, now)).await;
        // With `make` there is always an entry.
        let created = created.unwrap_or(Creation::RevokedMeanwhile);
        self.feed.tell_created(&created);
        Ok(created)
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        let rotated = self
            .with_subject(&presented.subject, false, |state, now| state.rotate(presented, policy, now))
            .await;
        let rotated = rotated.unwrap_or_else(|| {
            let now = self.clock.now();
            Rotation { decision: decide(None, presented, policy, now), record: None, now }
        });
        self.feed.tell_rotation(presented, policy, &rotated);
        Ok(rotated)
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let found = self.with_subject(subject, false, |state, _| {
            state.position(session_id).map(|at| state.sessions[at].clone())
        });
        Ok(found.await.flatten())
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        let found = self.with_subject(subject, false, |state, now| {
            state.sessions.iter().filter(|record| !record.is_expired(now)).cloned().collect::<Vec<_>>()
        });
        let mut records = found.await.unwrap_or_default();
        records.sort_by_key(|record| (std::cmp::Reverse(record.facts.created_at), record.facts.session_id));
        Ok(records)
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let ended = self
            .with_subject(subject, false, |state, now| state.revoke(session_id, proof, attempt, now))
            .await;
        let ended = ended.unwrap_or(false);
        self.feed.tell_revoked(subject, session_id, ended);
        Ok(ended)
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        // The mark must stand even where there is no session yet: a login may be under way.
        let ended = self
            .with_subject(subject, true, |state, now| {
                state.revoke_all(except, policy, attempt, now, || self.marks.mark(now))
            })
            .await;
        self.feed.tell_revoked_subject(subject, except);
        Ok(ended.unwrap_or(0))
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        self.with_subject(subject, false, |state, now| {
            if let Some(at) = state.position(session_id) {
                let state = &mut state.sessions[at].state;
                if (state.generation, state.issue) == (generation, issue) && state.used_at.is_none() {
                    state.used_at = Some(now);
                }
            }
        })
        .await;
        Ok(())
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        // Not through `with_subject`: reading an entry would keep it alive, and a regular purge all of them for ever.
        let now = self.clock.now();
        let purged = self.subjects.iter().map(|(_, entry)| entry.lock().purge(now)).sum();
        Ok(purged)
    }

    fn feed(&self) -> Option<&SessionFeed> {
        Some(&self.feed)
    }
}
