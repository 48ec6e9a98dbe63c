//! What the integration tests share: a clock to be set by hand, and short ways to sessions and presented tokens.

// Each test file compiles its own copy of this module, private to it, and uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros)]
// A helper that fails fails its test; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "moka")]
pub mod service;
#[cfg(feature = "moka")]
pub mod stalled_moka;
pub mod store_contract;
pub mod tokens;

pub(crate) use store_contract::store_contract;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tower_jwt_auth::{
    Attempt, ClientInfo, Clock, Creation, NewSession, Presented, Record, SecretDigest, SessionId,
    SubjectDigest, Timestamp,
};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Where a new clock stands: long after the epoch, so that a test can step back from it.
    pub const START: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

    pub fn new() -> Self {
        Self::at(Self::START)
    }

    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(time.as_unix_millis())))
    }

    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_unix_millis(), Ordering::SeqCst);
    }

    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }

    pub fn step_back(&self, by: Duration) {
        self.set(self.now().saturating_sub(by));
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A number that no other call in this process got: sessions and attempts must not meet by chance.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn fresh_attempt() -> Attempt {
    Attempt::from_bytes(sixteen(unique()))
}

fn sixteen(number: u64) -> [u8; 16] {
    (u128::from(number) << 8).to_be_bytes()
}

/// A session of `subject` with its own id, secret and attempt, whose credentials were checked at `authenticated_at`.
pub fn new_session(subject: &str, authenticated_at: Timestamp) -> NewSession {
    let number = unique();
    let mut secret = [0xa5; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    NewSession {
        subject: subject.to_owned(),
        session_id: SessionId::from_bytes(sixteen(number)),
        secret_digest: SecretDigest::from_bytes(secret),
        authenticated_at,
        attempt: fresh_attempt(),
        scopes: vec!["orders:read".to_owned(), "orders:write".to_owned()],
        client_id: Some("web".to_owned()),
        claims: b"{}".to_vec(),
        client: ClientInfo::default().with_user_agent("test").with_label("Ada's phone"),
    }
}

/// The token of `session` at `generation`, presented by a new call of the service.
pub fn present(session: &NewSession, generation: u32) -> Presented {
    Presented {
        subject: SubjectDigest::of(&session.subject),
        session_id: session.session_id,
        generation,
        secret_digest: session.secret_digest,
        attempt: fresh_attempt(),
    }
}

/// The record of a creation that must have succeeded.
#[track_caller]
pub fn created(creation: Creation) -> Record {
    match creation {
        Creation::Created { record, .. } => record,
        refused => panic!("not created: {refused:?}"),
    }
}

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
