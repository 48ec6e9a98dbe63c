//! [`Events`]: what happens to a session, for whoever shows it.

use std::fmt;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::client::error::{ClientError, ClientErrorKind};

/// What happened to a [`Session`](crate::client::Session).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A login was answered.
    SignedIn,
    /// New tokens are held.
    Refreshed,
    /// A refresh was not answered. The session is kept, and the refresh is tried again.
    RefreshFailed(ClientError),
    /// The server refused the refresh for good: the session has ended, or was ended. Log in again.
    Expired,
    /// A logout, here or by another process with the same storage.
    SignedOut,
    /// The tokens could not be saved, or not be read. The session goes on with those in memory.
    StorageFailed(ClientError),
}

/// The events of a session from the moment that it was asked for them.
///
/// One that does not keep up misses the oldest: 64 are kept.
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// The next event, or `None` when the session is gone. May be dropped at any time without a loss.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.0.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// To the log as well.
pub(super) fn log(event: &Event) {
    match event {
        Event::SignedIn => {
            tracing::info!(name: "signed_in", target: "tower_jwt_auth::client", "signed in");
        }
        Event::Refreshed => {
            tracing::debug!(name: "refreshed", target: "tower_jwt_auth::client", "the tokens were refreshed");
        }
        Event::RefreshFailed(error) if error.kind() == ClientErrorKind::Unexpected => tracing::error!(
            name: "refresh_failed", target: "tower_jwt_auth::client", error = error as &dyn std::error::Error,
            "an answer that no session service gives: is the base URL right?"
        ),
        Event::RefreshFailed(error) => tracing::warn!(
            name: "refresh_failed", target: "tower_jwt_auth::client", error = error as &dyn std::error::Error,
            "the tokens could not be refreshed now; the session is kept"
        ),
        Event::Expired => {
            tracing::info!(name: "expired", target: "tower_jwt_auth::client", "the server has ended the session");
        }
        Event::SignedOut => {
            tracing::info!(name: "signed_out", target: "tower_jwt_auth::client", "signed out");
        }
        Event::StorageFailed(error) => tracing::error!(
            name: "storage_failed", target: "tower_jwt_auth::client", error = error as &dyn std::error::Error,
            "the token storage failed; the session goes on with the tokens in memory"
        ),
    }
}
