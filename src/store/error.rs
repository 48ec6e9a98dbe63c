//! [`StoreError`]: why a store did not answer.

use std::error::Error;
use std::fmt;

/// A store did not answer. Nothing was revoked by it; the request is answered with 503.
pub struct StoreError {
    kind: StoreErrorKind,
    message: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kept a store from answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It could not be reached, or has no connection free.
    Unavailable,
    /// It did not answer in time, or waited for a lock in vain. The operation may still happen.
    Timeout,
    /// It answered something that is no answer: other software wrote to its data, or an older version did.
    Corrupt,
}

impl StoreError {
    /// An error of this kind. `message` is for the developer; it must hold no secret.
    pub fn new(kind: StoreErrorKind, message: &'static str) -> Self {
        Self { kind, message, source: None }
    }

    /// The error behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kept the store from answering.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
