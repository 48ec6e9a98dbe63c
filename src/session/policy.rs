//! [`SessionPolicy`]: lifetimes, windows, and what happens when a token is used twice.

use std::time::Duration;

use crate::error::{ConfigError, ConfigErrorKind};

/// What happens to a refresh token that is presented again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Each token rotates at once and is good once. Two tabs, or one lost answer, log the user out: for clients that
    /// are known to send one request at a time and never to lose an answer.
    Strict,
    /// The successor is given again while it is new, and not rotated while it was just handed out.
    ///
    /// With T for the longest request delay plus the longest answer delay: `hold` must be more than T plus the
    /// difference of the nodes' clocks, `retry` more than that and, for each answer lost in a row, the time after
    /// which the client gives up plus one round trip.
    Within {
        /// How long the predecessor of a token is answered with that token. At most 10 minutes.
        retry: Duration,
        /// How long a token, once handed out, is not rotated again. At most `retry`.
        hold: Duration,
    },
    /// As [`Within`](Self::Within), and a token that nobody was seen to use is given again however late, and not
    /// rotated: an honest client that retries an hour later is answered, as it never used what it did not get.
    ///
    /// Only where every verifier of the access tokens reports their use, by a `LiveSessionsLayer`; see
    /// [`use_is_reported`](crate::AuthServiceBuilder::use_is_reported). `hold` must be more than T plus the difference
    /// of the nodes' clocks, and so must `retry`; answers that get lost need not be counted.
    ///
    /// An answer to the predecessor later than `retry` replaces the access tokens of the session that were given
    /// before, which are refused from then on. A token that is presented itself is in use from then on, and rotates at
    /// the next refresh. To begin with it: first all nodes have this version, then all verifiers report use, then the
    /// policy is changed. What is left to a thief: an owner who refreshes and never uses what it gets can be followed,
    /// and the thief's replacement is then the token in use.
    UntilUsed {
        /// How long the predecessor of a token that is in use is answered with that token, counted from when the token
        /// was last given unused. At most 10 minutes.
        retry: Duration,
        /// How long a token, once handed out, is not rotated again. More than zero, and at most `retry`.
        hold: Duration,
    },
}

/// Which sessions end when a token is presented that was replaced more than one rotation ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnReuse {
    /// Every session of the subject: whoever copied one token may have copied others.
    #[default]
    Subject,
    /// The session of the token only.
    Session,
}

/// The rules of sessions. The defaults are the crate's recommendation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy {
    retry: Retry,
    idle_lifetime: Duration,
    absolute_lifetime: Duration,
    on_reuse: OnReuse,
    sessions_per_subject: u32,
    access_lifetime: Duration,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            retry: Retry::Within { retry: Duration::from_secs(30), hold: Duration::from_secs(20) },
            idle_lifetime: 7 * DAY,
            absolute_lifetime: 30 * DAY,
            on_reuse: OnReuse::Subject,
            sessions_per_subject: 50,
            access_lifetime: Duration::from_secs(15 * 60),
        }
    }
}

impl SessionPolicy {
    /// Replaces what happens to a token that is presented again: by default answered for 30 seconds, held for 20.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Replaces how long a session lives without a refresh: by default 7 days.
    #[must_use]
    pub fn with_idle_lifetime(mut self, lifetime: Duration) -> Self {
        self.idle_lifetime = lifetime;
        self
    }

    /// Replaces how long a session lives at most, however often it is refreshed: by default 30 days.
    #[must_use]
    pub fn with_absolute_lifetime(mut self, lifetime: Duration) -> Self {
        self.absolute_lifetime = lifetime;
        self
    }

    /// Replaces which sessions end on reuse: by default all of the subject.
    #[must_use]
    pub fn with_on_reuse(mut self, on_reuse: OnReuse) -> Self {
        self.on_reuse = on_reuse;
        self
    }

    /// Replaces how many sessions a subject can have, 1 to 1000: by default 50. One more ends the longest unused.
    #[must_use]
    pub fn with_sessions_per_subject(mut self, sessions: u32) -> Self {
        self.sessions_per_subject = sessions;
        self
    }

    pub(crate) fn with_access_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_lifetime = lifetime;
        self
    }

    /// What happens to a token that is presented again.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// How long a token's predecessor is answered with it; zero in [`Retry::Strict`].
    pub fn retry_window(&self) -> Duration {
        match self.retry {
            Retry::Strict => Duration::ZERO,
            Retry::Within { retry, .. } | Retry::UntilUsed { retry, .. } => retry,
        }
    }

    /// How long a token, once handed out, is not rotated again; zero in [`Retry::Strict`].
    pub fn hold_window(&self) -> Duration {
        match self.retry {
            Retry::Strict => Duration::ZERO,
            Retry::Within { hold, .. } | Retry::UntilUsed { hold, .. } => hold,
        }
    }

    /// Whether a token is given again as long as nobody was seen to use it: [`Retry::UntilUsed`].
    pub fn is_until_used(&self) -> bool {
        matches!(self.retry, Retry::UntilUsed { .. })
    }

    /// How long a session lives without a refresh.
    pub fn idle_lifetime(&self) -> Duration {
        self.idle_lifetime
    }

    /// How long a session lives at most.
    pub fn absolute_lifetime(&self) -> Duration {
        self.absolute_lifetime
    }

    /// Which sessions end on reuse.
    pub fn on_reuse(&self) -> OnReuse {
        self.on_reuse
    }

    /// How many sessions a subject can have.
    pub fn sessions_per_subject(&self) -> u32 {
        self.sessions_per_subject
    }

    /// How long a store must remember that all sessions of a subject were ended, counted from that moment: longer
    /// than a login that was under way can take, and than an access token can live.
    pub fn revocation_memory(&self) -> Duration {
        self.idle_lifetime.saturating_add(self.access_lifetime).saturating_add(Duration::from_secs(3600))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let error = |kind, message: &'static str| Err(ConfigError::new(kind, message));
        let second = Duration::from_secs(1);
        if self.idle_lifetime < second || self.absolute_lifetime < second {
            return error(
                ConfigErrorKind::Lifetime,
                "a session must live for at least a second, idle and absolute",
            );
        }
        if let Retry::Within { retry, hold } | Retry::UntilUsed { retry, hold } = self.retry {
            if retry > Duration::from_secs(600) {
                return error(ConfigErrorKind::Lifetime, "the retry window must be at most 10 minutes");
            }
            if hold > retry {
                return error(
                    ConfigErrorKind::Lifetime,
                    "the hold window must not be longer than the retry window: a token's predecessor would be refused while the token itself may not be rotated yet",
                );
            }
        }
        if self.is_until_used() && self.hold_window().is_zero() {
            return error(
                ConfigErrorKind::Lifetime,
                "until-used needs a hold window: requests on their way at once would end the session",
            );
        }
        if !(1..=1000).contains(&self.sessions_per_subject) {
            return error(ConfigErrorKind::Limit, "a subject must be allowed from 1 to 1000 sessions");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_counts() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
        let default = SessionPolicy::default();
        assert_eq!((default.idle_lifetime(), default.absolute_lifetime()), (7 * day, 30 * day));
        assert_eq!((default.on_reuse(), default.sessions_per_subject()), (OnReuse::Subject, 50));
        let policy = default
            .with_idle_lifetime(2 * hour)
            .with_absolute_lifetime(day)
            .with_on_reuse(OnReuse::Session)
            .with_sessions_per_subject(3)
            .with_access_lifetime(hour);
        assert_eq!((policy.idle_lifetime(), policy.absolute_lifetime()), (2 * hour, day));
        assert_eq!((policy.on_reuse(), policy.sessions_per_subject()), (OnReuse::Session, 3));
        assert_eq!(policy.revocation_memory(), 4 * hour);
    }

    #[test]
    fn bounds_are_checked() {
        let policy = SessionPolicy::default;
        let within = |retry, hold| {
            let (retry, hold) = (Duration::from_secs(retry), Duration::from_secs(hold));
            policy().with_retry(Retry::Within { retry, hold })
        };
        let until_used = |retry, hold| {
            let (retry, hold) = (Duration::from_secs(retry), Duration::from_secs(hold));
            policy().with_retry(Retry::UntilUsed { retry, hold })
        };
        for (name, policy) in [
            ("no idle life", policy().with_idle_lifetime(Duration::ZERO)),
            ("no absolute life", policy().with_absolute_lifetime(Duration::ZERO)),
            ("hardly an idle life", policy().with_idle_lifetime(Duration::from_millis(999))),
            ("hardly an absolute life", policy().with_absolute_lifetime(Duration::from_millis(999))),
            ("retry too long", within(601, 20)),
            ("hold longer than retry", within(20, 21)),
            ("until-used, retry too long", until_used(601, 20)),
            ("until-used, hold longer than retry", until_used(20, 21)),
            ("until-used, no hold", until_used(20, 0)),
            ("until-used, no windows", until_used(0, 0)),
            ("no session", policy().with_sessions_per_subject(0)),
            ("too many sessions", policy().with_sessions_per_subject(1001)),
        ] {
            assert!(policy.check().is_err(), "{name}");
        }
        for policy in [
            policy(),
            within(600, 600),
            within(0, 0),
            until_used(600, 600),
            until_used(1, 1),
            policy().with_retry(Retry::Strict),
            policy().with_idle_lifetime(Duration::from_secs(1)),
            policy().with_absolute_lifetime(Duration::from_secs(1)),
            policy().with_sessions_per_subject(1),
            policy().with_sessions_per_subject(1000),
        ] {
            assert!(policy.check().is_ok(), "{policy:?}");
            let is_until_used = matches!(policy.retry(), Retry::UntilUsed { .. });
            assert_eq!(policy.is_until_used(), is_until_used, "{policy:?}");
        }
    }
}
