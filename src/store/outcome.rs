//! What a store answers where it decided something.

use crate::clock::Timestamp;
use crate::session::{Decision, Record, SessionId};

/// What became of a [`SessionStore::create`](crate::SessionStore::create).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Creation {
    /// The session is kept.
    Created {
        /// As it is kept.
        record: Record,
        /// The sessions that had to go for it.
        evicted: Vec<SessionId>,
    },
    /// All sessions of the subject were ended since the credentials were checked; or this very session was, and its
    /// creation is sent again.
    RevokedMeanwhile,
}

/// What became of a [`SessionStore::rotate`](crate::SessionStore::rotate).
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    /// What the rule said.
    pub decision: Decision,
    /// The session as it is kept from now on, where a token was granted; as it was where it was refused or ended.
    /// `None` where none was found.
    pub record: Option<Record>,
    /// The time by which it was decided.
    pub now: Timestamp,
}
