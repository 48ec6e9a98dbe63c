//! [`Seen`]: what is remembered of a session.

use crate::session::SubjectDigest;
use crate::store_cache::{Endings, Moment, Remembered};

/// What was seen of a session: as small as can be, as there may be a million.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Of the subject's name, so that a session is nobody else's; none where the store told of it.
    pub(super) subject: Option<u64>,
    /// The place of the subject among the endings.
    pub(super) place: u16,
    /// How many endings were told when the store was asked.
    pub(super) told: u64,
    /// When the store was asked that answered.
    pub(super) asked_at: Moment,
    /// When the store was asked that did not answer.
    pub(super) failed_at: Option<Moment>,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The store has not said yet.
    Unknown,
    Live(Newest),
    Ended,
}

/// What lives of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    /// The end that is certain.
    pub(super) until: Moment,
    pub(super) generation: u32,
    pub(super) issue: u32,
    /// Whether the store knows that this generation is in use.
    pub(super) is_used: bool,
}

impl Seen {
    /// What the store tells of a session: the ending of this number.
    pub(super) fn ended(subject: &SubjectDigest, told: u64, now: Moment) -> Self {
        Self {
            subject: None,
            place: Endings::place_of(subject.as_bytes()),
            told,
            asked_at: now,
            failed_at: None,
            state: State::Ended,
        }
    }

    /// Takes in an answer of the store to a question about this session.
    pub(super) fn merge(&mut self, answer: Self) {
        if answer.failed_at.is_some() {
            // What was seen before may be trusted.
            if self.subject.is_none() || self.subject == answer.subject {
                self.failed_at = answer.failed_at;
            } else {
                *self = answer;
            }
        } else if self.told <= answer.told {
            *self = answer;
        }
    }
}

impl Remembered for Seen {
    fn asked_at(&self) -> Option<Moment> {
        Some(self.asked_at)
    }

    fn failed_at(&self) -> Option<Moment> {
        self.failed_at
    }

    fn fail(&mut self, at: Moment) {
        self.failed_at = Some(at);
    }
}
