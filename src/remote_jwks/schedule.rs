//! When keys are fetched again.

use std::time::Duration;

/// A server may ask for patience, but not for a day without keys.
const MOST_PATIENCE: Duration = Duration::from_secs(600);

/// How often keys are fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Never sooner than this, whoever asks.
    pub(super) interval: Duration,
    /// Where the answer says nothing about it.
    pub(super) standard: Duration,
    /// Never later than this.
    pub(super) longest: Duration,
}

impl Schedule {
    /// After an answer that may be kept for so long. A part of it goes by chance, so that many that began together do
    /// not ask together.
    pub(super) fn after_success(&self, max_age: Option<Duration>, chance: u8) -> Duration {
        let wait = max_age.unwrap_or(self.standard).min(self.longest);
        let less = wait.mul_f64(0.1 * f64::from(chance) / 255.0);
        wait.saturating_sub(less).max(self.interval)
    }

    /// The least time between two fetches, where a token of an unknown key asks for the second one. Some more goes by
    /// chance: such a token may come to many nodes at once.
    pub(super) fn when_woken(&self, chance: u8) -> Duration {
        self.interval.saturating_add(self.interval.mul_f64(0.1 * f64::from(chance) / 255.0))
    }

    /// After so many failures one after another: twice as long each time, and as the server asks for.
    pub(super) fn after_failure(&self, failures: u32, retry_after: Option<Duration>, chance: u8) -> Duration {
        let wait = Duration::from_secs(1) * 2_u32.saturating_pow(failures.min(20).saturating_sub(1));
        let wait = wait.min(self.interval).mul_f64(0.75 + 0.25 * f64::from(chance) / 255.0);
        wait.max(retry_after.unwrap_or_default().min(MOST_PATIENCE)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule() -> Schedule {
        Schedule { interval: 30 * SECOND, standard: 3600 * SECOND, longest: 86_400 * SECOND }
    }

    #[test]
    fn who_wakes_waits_for_the_interval_and_a_little_more() {
        assert_eq!(schedule().when_woken(0), 30 * SECOND);
        assert_eq!(schedule().when_woken(255), 33 * SECOND);
    }

    #[test]
    fn an_answer_is_kept_within_bounds() {
        for (max_age, chance, expected) in [
            (None, 0, 3600),
            (None, 255, 3240),
            (Some(0), 0, 30),
            (Some(30), 255, 30),
            (Some(100), 255, 90),
            (Some(u64::from(u32::MAX)), 0, 86_400),
        ] {
            let max_age = max_age.map(Duration::from_secs);
            assert_eq!(schedule().after_success(max_age, chance).as_secs(), expected, "{max_age:?} {chance}");
        }
    }

    #[test]
    fn failures_are_repeated_ever_later() {
        for (failures, retry_after, expected) in [
            (1, None, 1),
            (2, None, 2),
            (5, None, 16),
            (6, None, 30),
            (u32::MAX, None, 30),
            (1, Some(120), 120),
            (1, Some(u64::from(u32::MAX)), 600),
        ] {
            let retry_after = retry_after.map(Duration::from_secs);
            let wait = schedule().after_failure(failures, retry_after, 255);
            assert_eq!(wait.as_secs(), expected, "{failures} {retry_after:?}");
            assert!(schedule().after_failure(failures, retry_after, 0) >= wait.mul_f64(0.75));
        }
    }
}
