//! What the layers that ask a store share, so that they ask it seldom: one question for all who want to know the same, and an
//! order of what was told meanwhile.

mod endings;
mod questions;

use std::time::Duration;

pub(crate) use endings::Endings;
pub(crate) use questions::Questions;

/// How long a store that did not answer is not asked the same again: what `Retry-After` says.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How often one request asks at most, where each answer is outdated by what is told meanwhile.
pub(crate) const ROUNDS: usize = 4;

/// Microseconds since the start of a layer.
pub(crate) type Moment = u64;

pub(crate) fn micros(duration: Duration) -> Moment {
    Moment::try_from(duration.as_micros()).unwrap_or(Moment::MAX)
}
