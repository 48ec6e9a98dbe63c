//! [`Record`]: what a store keeps of a session.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::session::client_info::ClientInfo;
use crate::session::id::{Attempt, SecretDigest, SessionId, SubjectDigest};
use crate::session::policy::SessionPolicy;
use crate::thumbprint::Thumbprint;

/// A session as a store keeps it: facts that never change, and the state that rotation moves. Cheap to clone.
///
/// It and its parts can be written out field by field, on purpose: a store that did not know of a field would lose it,
/// and with it a check. So a new field is a breaking change, and stores find out when they are compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What was fixed when the session was opened.
    pub facts: Arc<SessionFacts>,
    /// What each refresh may change.
    pub state: RotationState,
}

/// What is fixed when a session is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionFacts {
    /// Who the session belongs to: 1 to 255 bytes.
    pub subject: String,
    /// The session's identifier.
    pub session_id: SessionId,
    /// What the secret of a presented token is compared with.
    pub secret_digest: SecretDigest,
    /// When the store made the record.
    pub created_at: Timestamp,
    /// A moment before the credentials were checked, by the store's clock.
    pub authenticated_at: Timestamp,
    /// The end of the session, however often it is refreshed.
    pub absolute_expires_at: Timestamp,
    /// The scopes of its access tokens.
    pub scopes: Vec<String>,
    /// The OAuth client it was opened for.
    pub client_id: Option<String>,
    /// How the user authenticated (`acr`).
    pub acr: Option<String>,
    /// The key that the session is bound to (RFC 9449, section 5): whoever refreshes it must prove to have it.
    pub key: Option<Thumbprint>,
    /// The application's claims: opaque bytes, to be kept as they are. At most 4 KiB.
    pub claims: Vec<u8>,
    /// The device it was opened from.
    pub client: ClientInfo,
}

/// The state that the rule of rotation reads and writes. All times by the clock that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationState {
    /// The generation of the newest refresh token. The first is 0.
    pub generation: u32,
    /// When this generation first existed.
    pub minted_at: Timestamp,
    /// When this generation was last given to a client.
    pub handed_at: Timestamp,
    /// When this generation was first seen in use, where that is watched: its access token, or in
    /// [`Retry::UntilUsed`](crate::Retry::UntilUsed) its refresh token.
    pub used_at: Option<Timestamp>,
    /// How often this session's access token was replaced for a late retry. Access tokens of an older one are to be
    /// refused.
    pub issue: u32,
    /// The attempt that made this generation.
    pub attempt: Attempt,
    /// When the session was last refreshed. Not each use: that would be a write for each request.
    pub last_used_at: Timestamp,
    /// When the session ends unless it is refreshed.
    pub idle_expires_at: Timestamp,
}

/// What a store is asked to make a session from.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// As [`SessionFacts::subject`].
    pub subject: String,
    /// As [`SessionFacts::session_id`].
    pub session_id: SessionId,
    /// As [`SessionFacts::secret_digest`].
    pub secret_digest: SecretDigest,
    /// As [`SessionFacts::authenticated_at`].
    pub authenticated_at: Timestamp,
    /// The call that makes the session.
    pub attempt: Attempt,
    /// As [`SessionFacts::scopes`].
    pub scopes: Vec<String>,
    /// As [`SessionFacts::client_id`].
    pub client_id: Option<String>,
    /// As [`SessionFacts::acr`].
    pub acr: Option<String>,
    /// As [`SessionFacts::key`].
    pub key: Option<Thumbprint>,
    /// As [`SessionFacts::claims`].
    pub claims: Vec<u8>,
    /// As [`SessionFacts::client`].
    pub client: ClientInfo,
}

impl Record {
    /// The record of a session that begins now.
    pub fn open(session: &NewSession, policy: &SessionPolicy, now: Timestamp) -> Self {
        let absolute_expires_at = now.saturating_add(policy.absolute_lifetime());
        Self {
            facts: Arc::new(SessionFacts {
                subject: session.subject.clone(),
                session_id: session.session_id,
                secret_digest: session.secret_digest,
                created_at: now,
                authenticated_at: session.authenticated_at,
                absolute_expires_at,
                scopes: session.scopes.clone(),
                client_id: session.client_id.clone(),
                acr: session.acr.clone(),
                key: session.key,
                claims: session.claims.clone(),
                client: session.client.clone(),
            }),
            state: RotationState {
                generation: 0,
                minted_at: now,
                handed_at: now,
                used_at: None,
                issue: 0,
                attempt: session.attempt,
                last_used_at: now,
                idle_expires_at: now.saturating_add(policy.idle_lifetime()).min(absolute_expires_at),
            },
        }
    }

    /// The name under which the store keeps the subject.
    pub fn subject_digest(&self) -> SubjectDigest {
        SubjectDigest::of(&self.facts.subject)
    }

    /// When the session ends unless it is refreshed; never after its absolute end.
    pub fn expires_at(&self) -> Timestamp {
        self.state.idle_expires_at.min(self.facts.absolute_expires_at)
    }

    /// Whether the session has ended by its age. From the very millisecond on that [`expires_at`](Self::expires_at)
    /// names.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at()
    }
}
