//! [`Told`]: what the feed of a store told.

// The lock is poisoned only where the test has panicked.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use crate::store::{Listen, SessionChange};

/// Listens, and keeps what it hears.
#[derive(Default)]
pub(super) struct Told(pub(super) Mutex<Vec<SessionChange>>);

impl Listen for Told {
    fn changed(&self, change: &SessionChange) {
        self.0.lock().unwrap().push(change.clone());
    }
}
