//! [`Held`]: tokens in use, and for how long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::client::endpoint::authorization;
use crate::client::schedule;
use crate::client::tokens::Tokens;
use crate::clock::Timestamp;
use crate::secret::random;
use crate::timer;

/// Tokens in use.
pub(super) struct Held {
    pub(super) tokens: Tokens,
    pub(super) authorization: HeaderValue,
    pub(super) epoch: u64,
    /// Whether they came in an answer to this process: then `got` is when they were made.
    is_answer: bool,
    got: Instant,
    /// From `got`, by a clock that nobody sets.
    due_after: Duration,
    good_for: Duration,
    /// The same by the server's clock, which goes on while the machine sleeps.
    due_at: Timestamp,
    /// A server refused it before its time.
    doubted: AtomicBool,
}

/// Which login, or that there is none.
pub(super) type Epoch = u64;

impl Held {
    /// `now` is by the server's clock.
    pub(super) fn new(tokens: Tokens, epoch: Epoch, is_answer: bool, now: Timestamp) -> Option<Self> {
        let authorization = authorization(tokens.expose_access_token(), tokens.is_bound())?;
        let lifetime = tokens.lifetime();
        let good_for = tokens.expires_at().saturating_duration_since(now).min(lifetime);
        // Without randomness all come at the same, the latest, moment.
        let lead = schedule::lead(lifetime, random::<4>().map_or(0, u32::from_be_bytes));
        Some(Self {
            authorization,
            epoch,
            is_answer,
            got: timer::now(),
            due_after: good_for.saturating_sub(lead),
            good_for,
            due_at: tokens.expires_at().saturating_sub(lead),
            tokens,
            doubted: AtomicBool::new(false),
        })
    }

    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        !self.doubted.load(Ordering::Relaxed)
            && timer::since(self.got) < self.good_for
            && now < self.tokens.expires_at()
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        timer::since(self.got) >= self.due_after || now >= self.due_at || !self.is_good(now)
    }

    /// How long until it is due.
    pub(super) fn due_in(&self, now: Timestamp) -> Duration {
        if self.is_due(now) {
            return Duration::ZERO;
        }
        self.due_after.saturating_sub(timer::since(self.got)).min(self.due_at.saturating_duration_since(now))
    }

    /// Whether they were just made: others would fare no better.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_answer && timer::since(self.got) < schedule::fresh(self.tokens.lifetime())
    }

    /// Notes that a server refused them before their time.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }
}
