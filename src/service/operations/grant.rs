//! What a session that was opened or refreshed is given, and what its access tokens say.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::service::authenticator::ErasedIdentity;
use crate::service::core::Core;
use crate::service::error::SessionError;
use crate::service::events;
use crate::session::{Record, RefreshToken, SessionFacts, SessionId};
use crate::thumbprint::Thumbprint;
use crate::token::{AccessGrant, AccessToken, ClaimsJson};

/// A granted access token, and the refresh token it came with.
pub(in crate::service) struct Grant {
    pub(in crate::service) access: AccessToken,
    pub(in crate::service) user: ClaimsJson,
    refresh: SecretString,
    /// The remaining idle life, if the client is to keep the refresh token; `None` if it has it already.
    pub(in crate::service) keep_for: Option<Duration>,
    pub(in crate::service) session_id: SessionId,
    /// Whether whoever sends the access token must prove to have a key.
    pub(in crate::service) is_bound: bool,
}

impl Grant {
    pub(in crate::service) fn refresh_token(&self) -> &str {
        self.refresh.expose_secret()
    }
}

impl Core {
    pub(super) fn grant(
        &self,
        token: &RefreshToken,
        record: &Record,
        user: ClaimsJson,
        key: Option<Thumbprint>,
        hands_out: bool,
        now: Timestamp,
    ) -> Result<Grant, SessionError> {
        let facts = &*record.facts;
        // This node's clock may be ahead of the store's, by which the session still lives.
        if self.issuer.now() >= facts.absolute_expires_at {
            return Err(SessionError::refused());
        }
        // It was asked before the rotation, and never changes.
        if facts.key.is_some() && facts.key != key {
            events::fault("a session changed its key", "something else writes to the store");
            return Err(SessionError::refused());
        }
        // A session without a key may be refreshed with one: then the access token is bound.
        let grant = Access { key, ..Access::from(facts) }
            .grant(facts.session_id, token.generation, record.state.issue)
            .with_not_after(facts.absolute_expires_at);
        Ok(Grant {
            access: self.issuer.issue_json(&grant, &user)?,
            user,
            refresh: self.codec.encode(token),
            keep_for: hands_out.then(|| record.expires_at().saturating_duration_since(now)),
            session_id: facts.session_id,
            is_bound: key.is_some(),
        })
    }

    /// Signs in vain: what cannot be signed must not become a session, and must not rotate one. The grant is to be
    /// [`Access::longest`].
    pub(super) fn try_to_sign(&self, grant: &AccessGrant, claims: &ClaimsJson) -> Result<(), SessionError> {
        self.issuer.issue_json(grant, claims)?;
        Ok(())
    }
}

/// What the access tokens of a session have in common.
pub(super) struct Access<'a> {
    subject: &'a str,
    scopes: &'a [String],
    client_id: Option<&'a str>,
    acr: Option<&'a str>,
    authenticated_at: Timestamp,
    key: Option<Thumbprint>,
}

impl<'a> Access<'a> {
    /// Of a session that is to be opened.
    pub(super) fn of(identity: &'a ErasedIdentity, authenticated_at: Timestamp) -> Self {
        Self {
            subject: &identity.subject,
            scopes: &identity.scopes,
            client_id: identity.client_id.as_deref(),
            acr: identity.acr.as_deref(),
            authenticated_at,
            key: identity.key,
        }
    }

    /// With the longest numbers that the session can come to.
    pub(super) fn longest(&self, session_id: SessionId) -> AccessGrant {
        self.grant(session_id, u32::MAX, u32::MAX)
    }

    fn grant(&self, session_id: SessionId, generation: u32, issue: u32) -> AccessGrant {
        let mut grant = AccessGrant::new(self.subject)
            .with_scopes(self.scopes)
            .with_session(session_id.to_string(), generation)
            .with_reissue(issue)
            // A store's clock may stand before 1970, which no claim can name.
            .with_authenticated_at(self.authenticated_at.max(Timestamp::from_unix_seconds(0)));
        if let Some(client_id) = self.client_id {
            grant = grant.with_client_id(client_id);
        }
        if let Some(acr) = self.acr {
            grant = grant.with_acr(acr);
        }
        if let Some(key) = self.key {
            grant = grant.with_key(key);
        }
        grant
    }
}

impl<'a> From<&'a SessionFacts> for Access<'a> {
    fn from(facts: &'a SessionFacts) -> Self {
        Self {
            subject: &facts.subject,
            scopes: &facts.scopes,
            client_id: facts.client_id.as_deref(),
            acr: facts.acr.as_deref(),
            authenticated_at: facts.authenticated_at,
            key: facts.key,
        }
    }
}
