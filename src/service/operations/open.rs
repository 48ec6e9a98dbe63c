//! Opens a session: after a login, or for the application.

use std::sync::Arc;

use crate::service::authenticator::ErasedIdentity;
use crate::service::core::{Core, no_randomness, twice};
use crate::service::error::{SessionError, SessionErrorKind};
use crate::service::events;
use crate::service::hook::{SessionEvent, SessionEventKind};
use crate::service::operations::grant::{Access, Grant};
use crate::session::{Attempt, ClientInfo, NewSession, Record, RefreshToken, SessionId, SubjectDigest};
use crate::store::{Creation, SessionChange, StoreError};
use crate::token::is_scope;

const MAX_SUBJECT_BYTES: usize = 255;
const MAX_CLAIMS_BYTES: usize = 4096;
const MAX_SCOPES_BYTES: usize = 1024;

impl Core {
    /// Opens a session, then ends those that were presented with the login: made first, so that a failure leaves the
    /// user with the old one.
    pub(in crate::service) async fn open(
        self: Arc<Self>,
        identity: ErasedIdentity,
        client: ClientInfo,
        presented: Vec<RefreshToken>,
    ) -> Result<Grant, SessionError> {
        check_identity(&identity).inspect_err(|error| events::fault("identity", &error.to_string()))?;
        let token = RefreshToken::first(&identity.subject, identity.key.is_some()).map_err(no_randomness)?;
        let attempt = Attempt::random().map_err(no_randomness)?;
        let now = self.issuer.now();
        let access = Access::of(&identity, identity.authenticated_at.unwrap_or(now));
        self.try_to_sign(&access.longest(token.session_id), &identity.claims)?;
        self.finish(move |core| async move {
            let now = twice(|| core.store.now()).await?;
            let session = NewSession {
                subject: identity.subject,
                session_id: token.session_id,
                secret_digest: token.secret_digest(),
                authenticated_at: identity.authenticated_at.unwrap_or(now),
                attempt,
                scopes: identity.scopes,
                client_id: identity.client_id,
                acr: identity.acr,
                key: identity.key,
                claims: identity.claims.as_str().as_bytes().to_vec(),
                client,
            };
            let mut tries = 0;
            let create = || {
                tries += 1;
                core.store.create(&session, &core.policy)
            };
            let created = twice(create).await?;
            // What the first try evicted the second does not name.
            if let Some(feed) = core.store.feed().filter(|_| tries > 1) {
                feed.send(&SessionChange::Uncertain { subject: SubjectDigest::of(&session.subject) });
            }
            let Creation::Created { record, evicted } = created else {
                events::refused("login", "revoked_meanwhile");
                return Err(SessionError::new(
                    SessionErrorKind::RevokedMeanwhile,
                    "the subject's sessions were ended since the credentials were checked",
                ));
            };
            events::opened(token.session_id, &evicted);
            core.tell_opened(&record, &evicted);
            // One that had to go for the new one is ended already.
            for old in presented.iter().filter(|old| !evicted.contains(&old.session_id)) {
                // That one could not be ended does not undo the login, which waits for no other then.
                if let Err(error) = core.end_replaced(old, &attempt, &record).await {
                    events::unavailable("store", &error);
                    break;
                }
            }
            let key = record.facts.key;
            core.grant(&token, &record, identity.claims, key, true, record.facts.created_at)
        })
        .await
    }

    /// The old session of a login.
    async fn end_replaced(
        &self,
        token: &RefreshToken,
        attempt: &Attempt,
        by: &Record,
    ) -> Result<(), StoreError> {
        let proof = token.secret_digest();
        let revoke = || self.store.revoke(&token.subject, &token.session_id, Some(&proof), attempt);
        if twice(revoke).await? {
            let is_theirs = token.subject == by.subject_digest();
            let subject = is_theirs.then_some(&*by.facts.subject);
            self.ended(token.session_id, subject, "replaced by a login", Some(&by.facts.client));
        }
        Ok(())
    }

    fn tell_opened(&self, record: &Record, evicted: &[SessionId]) {
        let facts = &*record.facts;
        let event = |kind, session| SessionEvent {
            session: Some(session),
            subject: Some(&facts.subject),
            client: Some(&facts.client),
            ..SessionEvent::new(kind)
        };
        let opened = event(SessionEventKind::Opened, facts.session_id);
        self.hook.call(&SessionEvent { opened_from: Some(&facts.client), ..opened });
        for session in evicted {
            self.hook.call(&event(SessionEventKind::Evicted, *session));
        }
    }
}

fn check_identity(identity: &ErasedIdentity) -> Result<(), SessionError> {
    let error = |detail| Err(SessionError::new(SessionErrorKind::InvalidIdentity, detail));
    if identity.subject.is_empty() || identity.subject.len() > MAX_SUBJECT_BYTES {
        return error("a subject must have 1 to 255 bytes");
    }
    if identity.claims.as_str().len() > MAX_CLAIMS_BYTES {
        return error("the claims must have at most 4096 bytes as JSON");
    }
    if identity.scopes.iter().map(|scope| scope.len() + 1).sum::<usize>() > MAX_SCOPES_BYTES {
        return error("the scopes must have at most 1024 bytes together");
    }
    if !identity.scopes.iter().all(|scope| is_scope(scope)) {
        return error("a scope must be a word of printable ASCII without quote and backslash");
    }
    if identity.client_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_SUBJECT_BYTES) {
        return error("a client id must have 1 to 255 bytes");
    }
    if identity.acr.as_ref().is_some_and(|acr| !is_scope(acr) || acr.len() > MAX_SUBJECT_BYTES) {
        return error(
            "an authentication context must be a word of printable ASCII without quote and backslash, at most 255",
        );
    }
    Ok(())
}
