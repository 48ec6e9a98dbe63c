//! [`SessionError`]: why a session was not opened, refreshed or ended.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::reject::{Challenge, Responder};
use crate::service::{answer, events};
use crate::store::StoreError;
use crate::token::TokenError;

/// Why an operation on sessions failed. For the developer; [`to_response`](Self::to_response) is for the client.
pub struct SessionError {
    kind: SessionErrorKind,
    detail: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// Of the service that it comes from.
    responder: Option<Arc<Responder>>,
}

/// The classes of [`SessionError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionErrorKind {
    /// The refresh token is not good (any more), or the application refused to renew its claims: log in again.
    Refused,
    /// The store or the application cannot answer now. Nothing was ended; try again.
    Unavailable,
    /// All sessions of the subject were ended since its credentials were checked: check them again.
    RevokedMeanwhile,
    /// The subject, a scope or the claims are not of a form that can be kept and signed.
    InvalidIdentity,
}

impl SessionError {
    pub(super) fn new(kind: SessionErrorKind, detail: &'static str) -> Self {
        Self { kind, detail, source: None, responder: None }
    }

    pub(super) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn refused() -> Self {
        Self::new(SessionErrorKind::Refused, "the refresh token is not good")
    }

    pub(super) fn unavailable(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        events::unavailable(what, &*source);
        Self::new(SessionErrorKind::Unavailable, "the operation could not be carried out now")
            .with_source(source)
    }

    /// With the realm of its service, for an answer.
    pub(super) fn at(mut self, responder: &Arc<Responder>) -> Self {
        self.responder = Some(Arc::clone(responder));
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> SessionErrorKind {
        self.kind
    }

    /// The answer that `POST /login` and `POST /refresh` give: 401, 503 or 500. It tells the client nothing of the
    /// cause.
    pub fn to_response(&self) -> Response<Bytes> {
        match &self.responder {
            Some(responder) => answer::session_error(self.kind, responder.challenge()),
            None => answer::session_error(self.kind, &Challenge::standard()),
        }
    }
}

impl fmt::Debug for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionError")
            .field("kind", &self.kind)
            .field("detail", &self.detail)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail)
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::unavailable("store", error)
    }
}

impl From<TokenError> for SessionError {
    fn from(error: TokenError) -> Self {
        let detail = error.describe();
        events::fault("claims", &detail);
        Self::new(SessionErrorKind::InvalidIdentity, "the claims cannot be signed").with_source(detail)
    }
}
