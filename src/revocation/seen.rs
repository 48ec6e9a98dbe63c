//! [`Seen`]: what is remembered of one of the names under which tokens are revoked.

use crate::clock::Timestamp;
use crate::store_cache::{Moment, Remembered};

/// What was seen under a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Before which time tokens must have been issued to be refused.
    pub(super) not_before: Option<Timestamp>,
    /// When that was told, by the store's own process or by a message. Who sent a message is not known: it is believed
    /// for as long as an answer.
    pub(super) told_at: Option<Moment>,
    /// How many revocations were told when the store was asked.
    pub(super) told: u64,
    /// When the store was asked that answered.
    pub(super) asked_at: Option<Moment>,
    /// When the store was asked that did not answer.
    pub(super) failed_at: Option<Moment>,
}

impl Seen {
    pub(super) fn refuses(&self, issued_at: Timestamp) -> bool {
        self.not_before.is_some_and(|not_before| issued_at < not_before)
    }

    /// Takes in what was told.
    pub(super) fn revoke(&mut self, not_before: Timestamp, now: Moment) {
        (self.not_before, self.told_at) = (self.not_before.max(Some(not_before)), Some(now));
    }

    /// Takes in an answer of the store; `is_outdated` if more was told of this name since the store was asked.
    pub(super) fn merge(&mut self, answer: Self, is_outdated: bool) {
        if answer.asked_at.is_none() {
            self.failed_at = answer.failed_at;
        } else if is_outdated {
            // What was told meanwhile may be later than the answer.
            self.not_before = self.not_before.max(answer.not_before);
            (self.asked_at, self.told, self.failed_at) = (answer.asked_at, answer.told, None);
        } else {
            *self = answer;
        }
    }
}

impl Remembered for Seen {
    fn asked_at(&self) -> Option<Moment> {
        self.asked_at
    }

    fn failed_at(&self) -> Option<Moment> {
        self.failed_at
    }

    fn fail(&mut self, at: Moment) {
        self.failed_at = Some(at);
    }
}
