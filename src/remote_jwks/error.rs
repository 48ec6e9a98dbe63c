//! [`FetchError`]: why keys could not be fetched.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::transport::BoxError;

/// Why the last fetch of keys failed. Cheap to clone.
#[derive(Clone)]
pub struct FetchError {
    kind: FetchErrorKind,
    detail: &'static str,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The classes of [`FetchError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The metadata names a place for keys that is not https.
    Location,
    /// The server cannot be reached, is not who it should be, sends too much, or takes too long.
    Unreachable,
    /// A redirect to another origin, or one too many.
    Redirect,
    /// An answer with another status than 200 or 304.
    Status,
    /// What came is no key set, or no metadata, or has no key that can be used.
    Document,
    /// The metadata is that of another issuer.
    Issuer,
    /// The task that fetches was ended: its runtime is gone.
    Stopped,
}

impl FetchErrorKind {
    /// A stable name in `snake_case`, the value of the field `reason` in the events of this crate.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::Unreachable => "unreachable",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Document => "document",
            Self::Issuer => "issuer",
            Self::Stopped => "stopped",
        }
    }
}

/// Characters that are told of a cause.
const MAX_CAUSE: usize = 512;

impl FetchError {
    pub(super) fn new(kind: FetchErrorKind, detail: &'static str) -> Self {
        Self { kind, detail, status: None, retry_after: None, source: None }
    }

    /// The task has ended, with its runtime.
    pub(super) fn stopped() -> Self {
        Self::new(FetchErrorKind::Stopped, "the task that fetches the keys has ended, with its runtime")
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    pub(super) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    pub(super) fn with_source(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into().into()), ..self }
    }

    /// What went wrong.
    pub fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    /// The status of the answer, if it was none of success.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// What the client said, and what that says of its own causes.
    pub(super) fn cause(&self) -> Option<String> {
        let mut source = self.source()?;
        let mut text = source.to_string();
        while let Some(next) = source.source() {
            text = format!("{text}: {next}");
            source = next;
        }
        // It is another's text, for a log.
        Some(text.chars().take(MAX_CAUSE).collect())
    }

    /// When the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail)?;
        self.status.map_or(Ok(()), |status| write!(f, " ({status})"))
    }
}

impl fmt::Debug for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchError")
            .field("kind", &self.kind)
            .field("detail", &self.detail)
            .field("status", &self.status)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
