//! A session store that is nothing but its documentation: ordered maps, the crate's pure rule, and a time that each call
//! brings along. Other stores are held against it, call by call.

// As in `mod.rs`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use tower_jwt_auth::{
    Attempt, Creation, Decision, NewSession, OnReuse, Presented, Record, Rotation, SecretDigest, SessionId,
    SessionPolicy, SessionStore, StoreError, SubjectDigest, Timestamp, decide,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// One call of a store.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // A few at a time, in tests.
pub enum Call {
    Create(NewSession),
    Rotate(Presented),
    Revoke { subject: SubjectDigest, session_id: SessionId, proof: Option<SecretDigest>, attempt: Attempt },
    RevokeSubject { subject: SubjectDigest, except: Option<SessionId>, attempt: Attempt },
    MarkUsed { subject: SubjectDigest, session_id: SessionId, generation: u32, issue: u32 },
    Get { subject: SubjectDigest, session_id: SessionId },
    List(SubjectDigest),
    Purge,
}

/// What a store answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Creation(Creation),
    Rotation(Rotation),
    Ended(bool),
    AllEnded(u64),
    Marked,
    Record(Option<Record>),
    Records(Vec<Record>),
    Purged(u64),
}

/// Makes the call.
pub async fn ask(
    store: &impl SessionStore,
    call: &Call,
    policy: &SessionPolicy,
) -> Result<Answer, StoreError> {
    Ok(match call {
        Call::Create(session) => Answer::Creation(store.create(session, policy).await?),
        Call::Rotate(presented) => Answer::Rotation(store.rotate(presented, policy).await?),
        Call::Revoke { subject, session_id, proof, attempt } => {
            Answer::Ended(store.revoke(subject, session_id, proof.as_ref(), attempt).await?)
        }
        Call::RevokeSubject { subject, except, attempt } => {
            Answer::AllEnded(store.revoke_subject(subject, except.as_ref(), policy, attempt).await?)
        }
        Call::MarkUsed { subject, session_id, generation, issue } => {
            store.mark_used(subject, session_id, *generation, *issue).await?;
            Answer::Marked
        }
        Call::Get { subject, session_id } => Answer::Record(store.get(subject, session_id).await?),
        Call::List(subject) => Answer::Records(store.list(subject).await?),
        Call::Purge => Answer::Purged(store.purge_expired().await?),
    })
}

type Key = (SubjectDigest, SessionId);

/// A session that ended, by which call, and what that call was told if it was a rotation.
struct End {
    at: Timestamp,
    attempt: Attempt,
    told: Option<(Decision, Record)>,
}

/// All sessions of a subject were ended.
struct Mark {
    before: Timestamp,
    at: Timestamp,
    forget_at: Timestamp,
    attempt: Attempt,
    ended: u64,
}

#[derive(Default)]
pub struct Reference {
    sessions: BTreeMap<Key, Record>,
    ends: BTreeMap<Key, End>,
    marks: BTreeMap<SubjectDigest, Mark>,
    /// Ends that were once more than a minute away. If the clock comes near them again, a store may or may not know them.
    stale: BTreeMap<Key, Timestamp>,
    /// What was forgotten by its age comes back in a store that forgets by the clock, if that goes back before this.
    floor: Option<Timestamp>,
    /// Credentials that old are not told apart any more from those checked before a mark.
    forgotten_marks: BTreeMap<SubjectDigest, Timestamp>,
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    at.abs_diff(now) < MINUTE
}

fn forget_at(record: &Record) -> Timestamp {
    record.expires_at().saturating_add(DAY)
}

impl Reference {
    /// The clock was moved. Says whether sessions became so old that a purge takes them.
    pub fn time_moved(&mut self, now: Timestamp) -> bool {
        self.marks.retain(|subject, mark| {
            let is_kept = now < mark.forget_at;
            if !is_kept {
                self.floor = self.floor.max(Some(mark.forget_at));
                self.forgotten_marks.insert(*subject, mark.before);
            }
            is_kept
        });
        self.ends.retain(|key, end| {
            let is_kept = is_recent(end.at, now);
            if !is_kept {
                self.stale.insert(*key, end.at);
            }
            is_kept
        });
        let old = self.sessions.values().map(forget_at).filter(|at| now >= *at).max();
        self.floor = self.floor.max(old);
        old.is_some()
    }

    /// The clock must not be set to an earlier time than this.
    pub fn floor(&self) -> Option<Timestamp> {
        self.floor
    }

    /// Whether nothing is promised about this call: what it depends on had to be remembered for a while only.
    pub fn is_unspecified(&self, call: &Call, now: Timestamp) -> bool {
        let (key, marked) = match call {
            Call::Create(session) => {
                let subject = SubjectDigest::of(&session.subject);
                let mark = self.forgotten_marks.get(&subject);
                ((subject, session.session_id), mark.is_some_and(|mark| session.authenticated_at <= *mark))
            }
            Call::Rotate(presented) => ((presented.subject, presented.session_id), false),
            Call::Revoke { subject, session_id, .. } => ((*subject, *session_id), false),
            _ => return false,
        };
        marked || self.stale.get(&key).is_some_and(|at| is_recent(*at, now))
    }

    /// The moments after `now` at which something becomes different, the next first.
    pub fn edges(&self, policy: &SessionPolicy, now: Timestamp) -> Vec<Timestamp> {
        let of_sessions = self.sessions.values().flat_map(|record| {
            [
                record.state.handed_at.saturating_add(policy.hold_window()),
                record.state.minted_at.saturating_add(policy.retry_window()),
                record.expires_at(),
                forget_at(record),
            ]
        });
        let of_ends = self.ends.values().map(|end| end.at.saturating_add(MINUTE));
        let of_marks = self.marks.values().flat_map(|mark| [mark.at.saturating_add(MINUTE), mark.forget_at]);
        let mut edges: Vec<_> =
            of_sessions.chain(of_ends).chain(of_marks).filter(|edge| *edge > now).collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    pub fn generation(&self, subject: SubjectDigest, session_id: SessionId) -> u32 {
        self.sessions.get(&(subject, session_id)).map_or(0, |record| record.state.generation)
    }

    pub fn issue(&self, subject: SubjectDigest, session_id: SessionId) -> u32 {
        self.sessions.get(&(subject, session_id)).map_or(0, |record| record.state.issue)
    }

    pub fn answer(&mut self, call: &Call, policy: &SessionPolicy, now: Timestamp) -> Answer {
        match call {
            Call::Create(session) => Answer::Creation(self.create(session, policy, now)),
            Call::Rotate(presented) => Answer::Rotation(self.rotate(presented, policy, now)),
            Call::Revoke { subject, session_id, proof, attempt } => {
                let key = (*subject, *session_id);
                Answer::Ended(match self.sessions.get(&key) {
                    Some(record) if proof.is_none_or(|proof| proof == record.facts.secret_digest) => {
                        self.end(key, *attempt, None, now);
                        true
                    }
                    Some(_) => false,
                    None => {
                        self.ends.get(&key).is_some_and(|end| end.attempt == *attempt && end.told.is_none())
                    }
                })
            }
            Call::RevokeSubject { subject, except, attempt } => {
                Answer::AllEnded(self.revoke_subject(*subject, *except, *attempt, policy, now))
            }
            Call::MarkUsed { subject, session_id, generation, issue } => {
                if let Some(record) = self.sessions.get_mut(&(*subject, *session_id))
                    && (record.state.generation, record.state.issue) == (*generation, *issue)
                {
                    record.state.used_at.get_or_insert(now);
                }
                Answer::Marked
            }
            Call::Get { subject, session_id } => {
                Answer::Record(self.sessions.get(&(*subject, *session_id)).cloned())
            }
            Call::List(subject) => {
                let mut records = self.of(*subject);
                records.retain(|record| now < record.expires_at());
                records.sort_by_key(|record| (Reverse(record.facts.created_at), record.facts.session_id));
                Answer::Records(records)
            }
            Call::Purge => {
                let all = self.sessions.len();
                self.sessions.retain(|_, record| now < forget_at(record));
                Answer::Purged((all - self.sessions.len()) as u64)
            }
        }
    }

    fn of(&self, subject: SubjectDigest) -> Vec<Record> {
        self.sessions.iter().filter(|(key, _)| key.0 == subject).map(|(_, record)| record.clone()).collect()
    }

    fn end(&mut self, key: Key, attempt: Attempt, told: Option<(Decision, Record)>, now: Timestamp) {
        self.sessions.remove(&key);
        self.stale.remove(&key);
        self.ends.insert(key, End { at: now, attempt, told });
    }

    fn create(&mut self, session: &NewSession, policy: &SessionPolicy, now: Timestamp) -> Creation {
        let subject = SubjectDigest::of(&session.subject);
        let key = (subject, session.session_id);
        if let Some(record) = self.sessions.get(&key) {
            return if record.facts.secret_digest == session.secret_digest {
                Creation::Created { record: record.clone(), evicted: Vec::new() }
            } else {
                Creation::RevokedMeanwhile
            };
        }
        let is_marked = |mark: &Mark| session.authenticated_at <= mark.before;
        if self.marks.get(&subject).is_some_and(is_marked) || self.ends.contains_key(&key) {
            return Creation::RevokedMeanwhile;
        }
        let mut kept = self.of(subject);
        kept.sort_by_key(|record| {
            (!record.is_expired(now), record.state.last_used_at, record.facts.session_id)
        });
        let surplus = (kept.len() + 1).saturating_sub(policy.sessions_per_subject() as usize);
        let mut evicted = Vec::new();
        for record in &kept[..surplus] {
            let session_id = record.facts.session_id;
            self.end((subject, session_id), session.attempt, None, now);
            if !record.is_expired(now) {
                evicted.push(session_id);
            }
        }
        let record = Record::open(session, policy, now);
        self.stale.remove(&key);
        self.sessions.insert(key, record.clone());
        Creation::Created { record, evicted }
    }

    fn rotate(&mut self, presented: &Presented, policy: &SessionPolicy, now: Timestamp) -> Rotation {
        let key = (presented.subject, presented.session_id);
        let told = self.ends.get(&key).filter(|end| end.attempt == presented.attempt);
        if let Some((decision, record)) = told.and_then(|end| end.told.clone()) {
            return Rotation { decision, record: Some(record), now };
        }
        let mut record = self.sessions.get(&key).cloned();
        let decision = decide(record.as_ref(), presented, policy, now);
        if let (Some(record), Some(state)) = (&mut record, decision.state()) {
            record.state = *state;
            self.sessions.insert(key, record.clone());
        }
        if let (Decision::Superseded | Decision::Reused, Some(record)) = (decision, &record) {
            if decision == Decision::Reused && policy.on_reuse() == OnReuse::Subject {
                for sibling in self.of(presented.subject) {
                    self.end((presented.subject, sibling.facts.session_id), presented.attempt, None, now);
                }
            }
            self.end(key, presented.attempt, Some((decision, record.clone())), now);
        }
        Rotation { decision, record, now }
    }

    fn revoke_subject(
        &mut self,
        subject: SubjectDigest,
        except: Option<SessionId>,
        attempt: Attempt,
        policy: &SessionPolicy,
        now: Timestamp,
    ) -> u64 {
        let (mut before, mut forget_at) = (now, now.saturating_add(policy.revocation_memory()));
        if let Some(last) = self.marks.get(&subject) {
            if last.attempt == attempt && is_recent(last.at, now) {
                return last.ended;
            }
            (before, forget_at) = (before.max(last.before), forget_at.max(last.forget_at));
        }
        let all = self.sessions.len();
        self.sessions.retain(|key, _| key.0 != subject || Some(key.1) == except);
        let ended = (all - self.sessions.len()) as u64;
        self.marks.insert(subject, Mark { before, at: now, forget_at, attempt, ended });
        ended
    }
}
