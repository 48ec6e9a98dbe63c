//! The rule of rotation: [`decide`].
//!
//! In this order, with `p` for the presented generation, `g` for the record's, differences signed:
//!
//! | # | case | decision | answer |
//! |---|---|---|---|
//! | 1 | no such session, or the subject or the secret differs | `Unknown` | 401 |
//! | 2 | the session has expired | `Expired` | 401 |
//! | 3 | `p > g`: the store lost writes, the token's tag proves that `p` was made | `Recovered` | 200, no new token |
//! | 4 | `p = g`, handed out less than `hold` ago | `Current` | 200, no new token |
//! | 5 | `p = g` otherwise | `Rotated` | 200, the next token |
//! | 6 | `p = g - 1`, and `g` was made less than `retry` ago or by the same attempt | `Reissued` | 200, the token of `g` again |
//! | 7 | `p = g - 1` otherwise | `Superseded` | 401, this session ends |
//! | 8 | `p < g - 1` | `Reused` | 401, all sessions of the subject end |
//!
//! Rows 4 and 6 are what keeps honest clients logged in: tabs that refresh together, requests that fan out, an answer
//! lost in a tunnel. Row 4 sets no cookie, as a late answer would put an older token back into the jar. In row 6 the
//! window does not slide, so a thief cannot keep it open.

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
    /// Row 4. The state is unchanged.
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
        if within(policy.hold_window(), state.handed_at) {
            return Decision::Current(state);
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
        if within(policy.retry_window(), state.minted_at) || presented.attempt == state.attempt {
            Decision::Reissued(RotationState { handed_at: now, ..state })
        } else {
            Decision::Superseded
        }
    } else {
        Decision::Reused
    }
}
