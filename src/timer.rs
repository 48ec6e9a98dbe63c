//! The clock that sleeps are set by: nobody sets it, and it may stand still while the machine sleeps.

use std::time::Duration;

use tokio::time::Instant;

/// A moment of it. Not the time of day, which [`Clock`](crate::Clock) tells.
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn since(moment: Instant) -> Duration {
    now().saturating_duration_since(moment)
}
