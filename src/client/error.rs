//! [`ClientError`]: why a session could not be opened, refreshed or ended.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::client::BoxError;

/// Why a [`Session`](crate::client::Session) could not do what it was asked for. Cheap to clone; holds no token.
///
/// Where a request went out although its token could not be refreshed, the answer has this in its extensions.
#[derive(Clone)]
pub struct ClientError {
    kind: ClientErrorKind,
    detail: &'static str,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The classes of [`ClientError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// The login was refused.
    Credentials,
    /// Nobody is signed in: there was no login, a logout, or the server ended the session.
    SignedOut,
    /// The server could not be reached, did not answer in time, or cannot answer now (5xx, 429). The session is kept.
    Unavailable,
    /// An answer that is not that of a session service: is the base URL right? The session is kept.
    Unexpected,
    /// The token storage failed, or holds something else.
    Storage,
    /// A key or a proof of possession (DPoP) could not be made. No token is sent without its proof.
    Proof,
    /// There is no tokio runtime in which a refresh could run.
    Runtime,
}

impl ClientError {
    pub(super) fn new(kind: ClientErrorKind, detail: &'static str) -> Self {
        Self { kind, detail, status: None, retry_after: None, source: None }
    }

    pub(super) fn signed_out() -> Self {
        Self::new(ClientErrorKind::SignedOut, "nobody is signed in")
    }

    pub(super) fn unavailable(detail: &'static str) -> Self {
        Self::new(ClientErrorKind::Unavailable, detail)
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    pub(super) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    pub(super) fn with_source(self, source: BoxError) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The class of the error.
    pub fn kind(&self) -> ClientErrorKind {
        self.kind
    }

    /// The status of the answer that it is about.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// For how long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientError")
            .field("kind", &self.kind)
            .field("detail", &self.detail)
            .field("status", &self.status)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} (status {})", self.detail, status.as_u16()),
            None => f.write_str(self.detail),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
