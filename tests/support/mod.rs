//! What the integration tests share: a clock to be set by hand, and short ways to sessions and presented tokens.

// Each test file compiles its own copy of this module, private to it, and uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros)]
// A helper that fails fails its test; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod events;
pub mod frames;
pub mod readiness;
pub mod requests;
#[cfg(feature = "moka")]
pub mod service;
#[cfg(feature = "moka")]
pub mod stalled_moka;
pub mod tokens;

pub use tower_jwt_auth::test_util::{ManualClock, created, fresh_attempt, new_session, present, unique};

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Polls `future` at most `polls` times, whether or not it was woken, and then drops it. The output, if it came.
pub fn poll_then_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}
