//! Who logged in, and the sessions that came of it: what the application gives and is given.

use crate::clock::Timestamp;
use crate::session::{ClientInfo, Record, SessionId};
use crate::thumbprint::Thumbprint;
use crate::token::{Claims, ClaimsJson, TokenError};

/// Somebody whose credentials were checked, and the claims of their access tokens.
#[derive(Debug, Clone)]
pub struct Identity<C> {
    pub(super) subject: String,
    pub(super) scopes: Vec<String>,
    pub(super) client_id: Option<String>,
    pub(super) authenticated_at: Option<Timestamp>,
    pub(super) acr: Option<String>,
    pub(super) key: Option<Thumbprint>,
    pub(super) claims: C,
}

impl<C> Identity<C> {
    /// `subject` (1 to 255 bytes) names the user for ever: an id, rather than an email address that can change.
    pub fn new(subject: impl Into<String>, claims: C) -> Self {
        let subject = subject.into();
        Self {
            subject,
            scopes: Vec::new(),
            client_id: None,
            authenticated_at: None,
            acr: None,
            key: None,
            claims,
        }
    }

    /// Who it is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The claims of the access tokens.
    pub fn claims(&self) -> &C {
        &self.claims
    }

    /// The scopes of the access tokens; together at most 1024 bytes.
    #[must_use]
    pub fn with_scopes<I: IntoIterator<Item: Into<String>>>(mut self, scopes: I) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The OAuth client that the session is for.
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// How the user authenticated: the `acr` of the access tokens, which [`StepUpLayer`](crate::StepUpLayer) asks for.
    /// A word of printable ASCII without quote and backslash, at most 255 bytes.
    #[must_use]
    pub fn with_acr(mut self, acr: impl Into<String>) -> Self {
        self.acr = Some(acr.into());
        self
    }

    /// Binds the session and its access tokens to a key, of which the client has shown a proof (RFC 9449, section 5).
    /// With a login over HTTP the service does this by itself.
    #[must_use]
    pub fn with_key(mut self, thumbprint: Thumbprint) -> Self {
        self.key = Some(thumbprint);
        self
    }

    /// A moment before the credentials were checked, taken from [`Sessions::now`](crate::Sessions::now): if all
    /// sessions of the subject are ended after it, this one is not opened. Without it, the moment of opening counts. It
    /// is also the `auth_time` of the access tokens.
    #[must_use]
    pub fn with_authenticated_at(mut self, moment: Timestamp) -> Self {
        self.authenticated_at = Some(moment);
        self
    }
}

impl<C: Claims> Identity<C> {
    /// With the claims type forgotten.
    pub(super) fn erase(self) -> Result<Identity<ClaimsJson>, TokenError> {
        let claims = ClaimsJson::of(&self.claims)?;
        let Self { subject, scopes, client_id, authenticated_at, acr, key, .. } = self;
        Ok(Identity { subject, scopes, client_id, authenticated_at, acr, key, claims })
    }
}

/// A session as its owner may see it.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    record: Record,
}

impl SessionInfo {
    pub(super) fn new(record: Record) -> Self {
        Self { record }
    }

    /// The session's identifier: the `sid` of its access tokens.
    pub fn id(&self) -> SessionId {
        self.record.facts.session_id
    }

    /// The claims that it was opened with, as JSON.
    pub(super) fn claims(&self) -> &[u8] {
        &self.record.facts.claims
    }

    /// Who it belongs to.
    pub fn subject(&self) -> &str {
        &self.record.facts.subject
    }

    /// The scopes of its access tokens.
    pub fn scopes(&self) -> &[String] {
        &self.record.facts.scopes
    }

    /// The OAuth client it is for.
    pub fn client_id(&self) -> Option<&str> {
        self.record.facts.client_id.as_deref()
    }

    /// When the user authenticated: the `auth_time` of its access tokens.
    pub fn authenticated_at(&self) -> Timestamp {
        self.record.facts.authenticated_at
    }

    /// How the user authenticated: the `acr` of its access tokens.
    pub fn acr(&self) -> Option<&str> {
        self.record.facts.acr.as_deref()
    }

    /// The key that it is bound to.
    pub fn key(&self) -> Option<Thumbprint> {
        self.record.facts.key
    }

    /// When it was opened.
    pub fn created_at(&self) -> Timestamp {
        self.record.facts.created_at
    }

    /// When it was last refreshed: requests with its access tokens cost no write, so this is as coarse as their
    /// lifetime.
    pub fn last_used_at(&self) -> Timestamp {
        self.record.state.last_used_at
    }

    /// When it ends unless it is refreshed.
    pub fn expires_at(&self) -> Timestamp {
        self.record.expires_at()
    }

    /// The device it was opened from.
    pub fn client(&self) -> &ClientInfo {
        &self.record.facts.client
    }
}
