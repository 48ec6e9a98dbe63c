//! Time, as every other part of the crate sees it.
//!
//! No other file reads the system clock. Everything that depends on time takes a [`Clock`], so a test can move it.
//!
//! ```
//! use std::time::Duration;
//! use tower_jwt_auth::{Clock, SystemClock, Timestamp};
//!
//! let start = Timestamp::from_unix_seconds(1_700_000_000);
//! assert_eq!(start.saturating_add(Duration::from_millis(1500)).as_unix_seconds(), 1_700_000_001);
//! assert!(SystemClock.now() > start);
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z without leap seconds.
///
/// All arithmetic saturates: a clock that steps backwards or a configuration of absurd size cannot cause a panic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch (before it, if negative).
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the epoch (before it, if negative).
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `duration` more. What is below a millisecond is dropped.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This moment and `duration` less. What is below a millisecond is dropped.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The distance between two moments, whichever is the earlier.
    pub fn abs_diff(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is the later one.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        if self > earlier { self.abs_diff(earlier) } else { Duration::ZERO }
    }
}

/// To the whole millisecond towards the epoch.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(millis(since)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({} ms)", self.0)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A source of the current time.
///
/// Implemented by [`SystemClock`]; tests give their own. `now` is called on the path of each request: it must not
/// block. It may step backwards, nothing here relies on it being monotonic.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let far = Timestamp::from_unix_millis(i64::MAX);
        assert_eq!(far.saturating_add(Duration::MAX), far);
        assert_eq!(Timestamp::from_unix_millis(i64::MIN).saturating_sub(Duration::MAX).0, i64::MIN);
        assert_eq!(Timestamp::from_unix_seconds(i64::MAX).0, i64::MAX);
        assert_eq!(far.abs_diff(Timestamp(i64::MIN)), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn seconds_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp(1999).as_unix_seconds(), 1);
        assert_eq!(Timestamp(-1).as_unix_seconds(), -1);
    }

    #[test]
    fn no_time_passes_when_the_clock_steps_back() {
        assert_eq!(Timestamp(5).saturating_duration_since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).saturating_duration_since(Timestamp(5)), Duration::from_millis(4));
    }
}
