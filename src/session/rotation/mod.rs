//! The rule of rotation: [`decide`].
//!
//! In this order, with `p` for the presented generation, `g` for the record's, differences signed:
//!
//! | # | case | decision | answer |
//! |---|---|---|---|
//! | 1 | no such session, or the subject or the secret differs | `Unknown` | 401 |
//! | 2 | the session has expired, or the last of 2^32 generations is to be rotated | `Expired` | 401 |
//! | 3 | `p > g`: the store lost writes, the token's tag proves that `p` was made | `Recovered` | 200, no new token |
//! | 4 | `p = g`, handed out less than `hold` ago; until-used also if `g` was not used yet | `Current` | 200, no new token |
//! | 5 | `p = g` otherwise | `Rotated` | 200, the next token |
//! | 6 | `p = g - 1`, and `g` was made less than `retry` ago or by the same attempt; until-used also if `g` was not used yet | `Reissued` | 200, the token of `g` again |
//! | 7 | `p = g - 1` otherwise | `Superseded` | 401, this session ends |
//! | 8 | `p < g - 1` | `Reused` | 401, all sessions of the subject end |
//!
//! Rows 4 and 6 are what keeps honest clients logged in: tabs that refresh together, requests that fan out, an answer
//! lost in a tunnel. Row 4 sets no cookie, as a late answer would put an older token back into the jar. In row 6 the
//! window does not slide, so a thief cannot keep it open.
//!
//! Until-used ([`Retry::UntilUsed`](crate::Retry::UntilUsed)) is the same but for a `g` that nobody was seen to use:
//!
//! - Row 4 notes that `g` is in use now: only who has its refresh token can present it.
//! - Row 6 answers however late, and the window of `retry` begins anew, for requests that are on their way when the
//!   answer is used. Later than `retry`, and by another attempt, the answer is a *replacement*: `issue` goes up, and
//!   the access tokens of an older issue are to be refused. Otherwise a thief who rotates, keeps the access token back
//!   and uses it between two refreshes of the owner would go on beside the owner for ever.
//!
//! A window counted from the first use would open the same way to a thief: so it never is.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::id::{Attempt, SecretDigest, SessionId, SubjectDigest};
use crate::session::policy::SessionPolicy;
use crate::session::record::{Record, RotationState};

/// What a genuine refresh token says: its tag was checked before this was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// The subject that the token names.
    pub subject: SubjectDigest,
    /// The session that the token names.
    pub session_id: SessionId,
    /// The token's generation.
    pub generation: u32,
    /// The digest of the token's secret.
    pub secret_digest: SecretDigest,
    /// The call of the service that presents it.
    pub attempt: Attempt,
}

/// What the rule says. Where it grants a token it carries the state that the record has from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Row 1.
    Unknown(Unknown),
    /// Row 2.
    Expired,
    /// Row 3.
    Recovered(RotationState),
    /// Row 4. The state is unchanged, but for a first use that is noted in until-used.
    Current(RotationState),
    /// Row 5.
    Rotated(RotationState),
    /// Row 6.
    Reissued(RotationState),
    /// Row 7: this session ends.
    Superseded,
    /// Row 8: the sessions that [`SessionPolicy::on_reuse`] names end.
    Reused,
}

/// Why a session is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// There is none of this id, or it has ended.
    NoSession,
    /// There is one, with another subject or another secret: the token was made by a holder of the key who never saw
    /// the session. To be reported.
    Mismatch,
}

impl Decision {
    /// A stable name in `snake_case`: the names of the events are the same.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown",
            Self::Expired => "expired",
            Self::Recovered(_) => "recovered",
            Self::Current(_) => "current",
            Self::Rotated(_) => "rotated",
            Self::Reissued(_) => "reissued",
            Self::Superseded => "superseded",
            Self::Reused => "reused",
        }
    }

    /// The row of the rule, by which a store that decides elsewhere says what it decided. The two of row 1 are 0 where
    /// there is no session, and 1.
    pub const fn row(&self) -> u8 {
        match self {
            Self::Unknown(Unknown::NoSession) => 0,
            Self::Unknown(Unknown::Mismatch) => 1,
            Self::Expired => 2,
            Self::Recovered(_) => 3,
            Self::Current(_) => 4,
            Self::Rotated(_) => 5,
            Self::Reissued(_) => 6,
            Self::Superseded => 7,
            Self::Reused => 8,
        }
    }

    /// The record's state from now on, where a token is granted; `None` where it is refused.
    pub const fn state(&self) -> Option<&RotationState> {
        match self {
            Self::Recovered(state) | Self::Current(state) | Self::Rotated(state) | Self::Reissued(state) => {
                Some(state)
            }
            Self::Unknown(_) | Self::Expired | Self::Superseded | Self::Reused => None,
        }
    }

    /// Whether the client is given a refresh token that it may not have: rows 5 and 6.
    pub const fn hands_out(&self) -> bool {
        matches!(self, Self::Rotated(_) | Self::Reissued(_))
    }
}

/// Decides over a presented token. Pure: a store calls it, or does the same, atomically with reading the record and
/// writing what the decision says.
pub fn decide(
    record: Option<&Record>,
    presented: &Presented,
    policy: &SessionPolicy,
    now: Timestamp,
) -> Decision {
    let Some(record) = record else {
        return Decision::Unknown(Unknown::NoSession);
    };
    let (facts, state) = (&*record.facts, record.state);
    if facts.session_id != presented.session_id
        || record.subject_digest() != presented.subject
        || facts.secret_digest != presented.secret_digest
    {
        return Decision::Unknown(Unknown::Mismatch);
    }
    if record.is_expired(now) {
        return Decision::Expired;
    }

    let (p, g) = (presented.generation, state.generation);
    let within = |window: Duration, since: Timestamp| now.abs_diff(since) < window;
    let is_unused = policy.is_until_used() && state.used_at.is_none();
    if p > g {
        Decision::Recovered(RotationState {
            generation: p,
            minted_at: now,
            handed_at: now,
            used_at: Some(now),
            last_used_at: now,
            ..state
        })
    } else if p == g {
        if is_unused || within(policy.hold_window(), state.handed_at) {
            let used_at = if is_unused { Some(now) } else { state.used_at };
            return Decision::Current(RotationState { used_at, ..state });
        }
        // Out of generations after four thousand million rotations: a new login is due.
        let Some(next) = g.checked_add(1) else { return Decision::Expired };
        Decision::Rotated(RotationState {
            generation: next,
            minted_at: now,
            handed_at: now,
            used_at: None,
            attempt: presented.attempt,
            last_used_at: now,
            idle_expires_at: now.saturating_add(policy.idle_lifetime()).min(facts.absolute_expires_at),
            ..state
        })
    } else if p == g - 1 {
        let in_time = within(policy.retry_window(), state.minted_at) || presented.attempt == state.attempt;
        if is_unused {
            let issue = state.issue.saturating_add(u32::from(!in_time));
            Decision::Reissued(RotationState { minted_at: now, handed_at: now, issue, ..state })
        } else if in_time {
            Decision::Reissued(RotationState { handed_at: now, ..state })
        } else {
            Decision::Superseded
        }
    } else {
        Decision::Reused
    }
}

#[cfg(test)]
mod tests;
