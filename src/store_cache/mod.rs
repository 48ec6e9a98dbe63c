//! What the layers that ask a store share, so that they ask it seldom: one question for all who want to know the same,
//! answers that count for a while, and an order of what was told meanwhile.

mod cache;
mod endings;
mod inquiry;
mod questions;

use std::time::Duration;

pub(crate) use cache::{Bounds, Cache, PATIENCE};
pub(crate) use endings::Endings;
pub(crate) use inquiry::{Finding, Inquiry, Remembered};
use questions::Questions;

/// Microseconds since the start of a layer.
pub(crate) type Moment = u64;

pub(crate) fn micros(duration: Duration) -> Moment {
    Moment::try_from(duration.as_micros()).unwrap_or(Moment::MAX)
}

/// Asks a store, and once more where it does not answer.
pub(crate) async fn twice<T, E, F>(ask: impl Fn() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    match ask().await {
        Ok(answer) => Ok(answer),
        Err(_) => ask().await,
    }
}
