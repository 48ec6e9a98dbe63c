//! Random histories of a session store: what is done, and under which policy.

// As in `mod.rs`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tower_jwt_auth::{OnReuse, Retry, SessionPolicy};

use super::support::{DAY, HOUR, MINUTE, SECOND};

const HOLD: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_secs(30);
pub const SUBJECTS: usize = 2;
pub const SLOTS: usize = 4;

/// What happens next. A slot holds the session that was last opened in it; slots take turns with the subjects.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The credentials were checked so many milliseconds ago.
    Login {
        slot: usize,
        checked: i64,
    },
    /// A session with the id of one that there may be, but another secret.
    Impostor {
        slot: usize,
    },
    /// The token so many generations behind the newest.
    Rotate {
        slot: usize,
        behind: i64,
        twist: Twist,
    },
    Logout {
        slot: usize,
        proof: Proof,
    },
    EndAll {
        subject: usize,
        except: Option<usize>,
    },
    /// The access token so many generations and issues behind the newest.
    Use {
        slot: usize,
        behind: i64,
        issues: i64,
    },
    /// The call so many before the last is sent again.
    Again {
        back: usize,
    },
    /// So many milliseconds from one of the next moments at which something changes.
    ToEdge {
        edge: usize,
        offset: i64,
    },
    /// In milliseconds, in either direction.
    Time {
        by: i64,
    },
    Purge,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Twist {
    None,
    OtherSecret,
    OtherSubject,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Proof {
    None,
    Right,
    Wrong,
}

pub fn step() -> impl Strategy<Value = Step> {
    // Most goes on in one session, so that it lives through much.
    let slot = || prop_oneof![2 => Just(0), 3 => 0..SLOTS];
    let behind = || select(vec![0, 0, 0, 0, 0, 1, 1, 2, 2, 3, -1, -3]);
    let twist = prop_oneof![
        10 => Just(Twist::None),
        1 => Just(Twist::OtherSecret),
        1 => Just(Twist::OtherSubject),
    ];
    let lengths = [Duration::from_millis(1), SECOND, HOLD, HOLD, HOLD, RETRY, MINUTE, HOUR, DAY];
    let length = select(lengths.map(|length| i64::try_from(length.as_millis()).unwrap()).to_vec());
    prop_oneof![
        4 => (slot(), select(vec![0, 0, 0, 1, 61_000, -1]))
            .prop_map(|(slot, checked)| Step::Login { slot, checked }),
        1 => slot().prop_map(|slot| Step::Impostor { slot }),
        12 => (slot(), behind(), twist)
            .prop_map(|(slot, behind, twist)| Step::Rotate { slot, behind, twist }),
        2 => (slot(), select(vec![Proof::None, Proof::Right, Proof::Wrong]))
            .prop_map(|(slot, proof)| Step::Logout { slot, proof }),
        1 => (0..SUBJECTS, proptest::option::of(slot()))
            .prop_map(|(subject, except)| Step::EndAll { subject, except }),
        2 => (slot(), behind(), select(vec![0, 0, 0, 1, -1]))
            .prop_map(|(slot, behind, issues)| Step::Use { slot, behind, issues }),
        4 => (0..4_usize).prop_map(|back| Step::Again { back }),
        5 => (select(vec![0, 0, 0, 1, 1, 2, 3, 9]), -1..=1_i64).prop_map(|(edge, offset)| Step::ToEdge { edge, offset }),
        6 => (length, select(vec![1, 1, 1, -1])).prop_map(|(by, sign)| Step::Time { by: by * sign }),
        1 => Just(Step::Purge),
    ]
}

/// What seldom comes by chance: a token rotates, and its predecessor, or the one before, is presented late.
fn late_retry() -> impl Strategy<Value = Vec<Step>> {
    let length = |length: Duration| Step::Time { by: i64::try_from(length.as_millis()).unwrap() };
    let rotate = |slot, behind| Step::Rotate { slot, behind, twist: Twist::None };
    (0..SLOTS, select(vec![1, 1, 2])).prop_map(move |(slot, behind)| {
        vec![rotate(slot, 0), length(HOLD), rotate(slot, 0), length(RETRY), rotate(slot, behind)]
    })
}

pub fn policies() -> [SessionPolicy; 4] {
    let within = SessionPolicy::default()
        .with_retry(Retry::Within { retry: RETRY, hold: HOLD })
        .with_idle_lifetime(3 * HOUR)
        .with_absolute_lifetime(7 * HOUR)
        .with_sessions_per_subject(3);
    let strict = within.clone().with_retry(Retry::Strict).with_sessions_per_subject(2);
    // One that lives shorter than it may stand idle, too.
    let gentle =
        within.clone().with_on_reuse(OnReuse::Session).with_idle_lifetime(DAY).with_absolute_lifetime(HOUR);
    let until_used = within.clone().with_retry(Retry::UntilUsed { retry: RETRY, hold: HOLD });
    [within, strict, gentle, until_used]
}

pub fn history() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let steps = prop_oneof![20 => step().prop_map(|step| vec![step]), 1 => late_retry()];
    (0..policies().len(), vec(steps, 1..60)).prop_map(|(policy, steps)| {
        let logins = (0..SLOTS).rev().map(|slot| Step::Login { slot, checked: 0 });
        (policy, logins.chain(steps.into_iter().flatten()).collect())
    })
}
