//! [`About`]: the question whether the session of a token lives.

use crate::live::known_sessions::Near;
use crate::live::seen::{Newest, Seen, State};
use crate::session::{Record, SessionId, SubjectDigest};
use crate::store::StoreError;
use crate::store_cache::{Endings, Finding, Inquiry, Moment, micros, twice};

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

/// A token's question.
pub(super) struct About<'t> {
    pub(super) near: &'t Near,
    pub(super) claimed: Claimed<'t>,
}

impl Inquiry for About<'_> {
    type Key = SessionId;
    type Seen = Seen;
    type Sight = Sight;

    const UNAVAILABLE: Sight = Sight::Unavailable;

    fn key(&self) -> &SessionId {
        &self.claimed.session_id
    }

    /// Nothing of another subject, of a newer token, of a session that may have been prolonged. Who ended all sessions
    /// of the subject since has to be asked which this one is of.
    fn find(&self, seen: &Seen, came: Moment) -> Option<Finding<Sight>> {
        let is_of_another = seen.subject.is_some_and(|subject| subject != self.subject());
        if is_of_another || !self.stands(seen) {
            return None;
        }
        let issue = self.claimed.issue;
        let sight = match seen.state {
            State::Live(newest) if came >= newest.until || issue > newest.issue => return None,
            State::Live(newest) if issue < newest.issue => Sight::Replaced,
            State::Live(_) => Sight::Live,
            State::Ended => Sight::Ended,
            State::Unknown => return None,
        };
        Some(Finding { sight, as_of: seen.asked_at, is_final: false })
    }

    async fn look(&self) -> Seen {
        let cache = &self.near.cache;
        let (asked_at, told) = (cache.now(), cache.endings().told());
        let digest = SubjectDigest::of(self.claimed.subject);
        let unknown = Seen {
            subject: Some(self.subject()),
            place: Endings::place_of(digest.as_bytes()),
            told,
            asked_at,
            failed_at: None,
            state: State::Unknown,
        };
        let store = &self.near.settings().store;
        match twice(|| store.get(&digest, &self.claimed.session_id)).await {
            Ok(found) => Seen { state: self.state(found.as_ref(), asked_at), ..unknown },
            Err(error) => {
                report(&error);
                Seen { failed_at: Some(cache.now()), ..unknown }
            }
        }
    }

    fn merge(&self, seen: &mut Seen, answer: Seen) {
        seen.merge(answer);
    }

    /// Looks again, for an end that came meanwhile.
    fn shares(&self, answer: &Seen) -> bool {
        let known = self.near.cache.get(&self.claimed.session_id);
        answer.subject == Some(self.subject()) && known.is_none_or(|known| known.state != State::Ended)
    }

    /// Unless more was told of its subject since the store was asked.
    fn stands(&self, answer: &Seen) -> bool {
        !self.near.cache.endings().since(answer.place, answer.told)
    }

    /// A token that is newer than the store knows is of a store that lost writes.
    fn read(&self, answer: &Seen) -> Sight {
        match answer.state {
            State::Live(newest) if self.near.cache.now() >= newest.until => Sight::Ended,
            State::Live(newest) if self.claimed.issue < newest.issue => Sight::Replaced,
            State::Live(_) => Sight::Live,
            State::Ended => Sight::Ended,
            State::Unknown => Sight::Unavailable,
        }
    }
}

impl About<'_> {
    fn subject(&self) -> u64 {
        self.near.subject(self.claimed.subject)
    }

    fn state(&self, found: Option<&Record>, asked_at: Moment) -> State {
        let now = self.near.settings().clock.now();
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
