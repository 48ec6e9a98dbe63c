//! Ends sessions: one, those that refresh tokens are of, or all of a subject.

use std::sync::Arc;

use crate::service::core::{Core, no_randomness, twice};
use crate::service::error::SessionError;
use crate::service::events;
use crate::service::hook::{SessionEvent, SessionEventKind};
use crate::session::{Attempt, ClientInfo, RefreshToken, SessionId, SubjectDigest};

impl Core {
    /// Ends the sessions that these tokens are of, whatever their generation. Says how many there were.
    pub(in crate::service) async fn end_by_tokens(
        self: Arc<Self>,
        tokens: Vec<RefreshToken>,
        client: Option<ClientInfo>,
    ) -> Result<usize, SessionError> {
        self.finish(move |core| async move {
            let mut ended = 0;
            for token in tokens {
                let (proof, attempt) = (token.secret_digest(), Attempt::random().map_err(no_randomness)?);
                let revoke = || core.store.revoke(&token.subject, &token.session_id, Some(&proof), &attempt);
                if twice(revoke).await? {
                    core.ended(token.session_id, None, "logout", client.as_ref());
                    ended += 1;
                }
            }
            Ok(ended)
        })
        .await
    }

    pub(in crate::service) async fn end(
        self: Arc<Self>,
        subject: String,
        session_id: SessionId,
        why: &'static str,
        client: Option<ClientInfo>,
    ) -> Result<bool, SessionError> {
        self.finish(move |core| async move {
            let (digest, attempt) = (SubjectDigest::of(&subject), Attempt::random().map_err(no_randomness)?);
            let ended = twice(|| core.store.revoke(&digest, &session_id, None, &attempt)).await?;
            if ended {
                core.ended(session_id, Some(&subject), why, client.as_ref());
            }
            Ok(ended)
        })
        .await
    }

    pub(in crate::service) async fn end_all(
        self: Arc<Self>,
        subject: String,
        except: Option<SessionId>,
        client: Option<ClientInfo>,
    ) -> Result<u64, SessionError> {
        self.finish(move |core| async move {
            let (digest, attempt) = (SubjectDigest::of(&subject), Attempt::random().map_err(no_randomness)?);
            let revoke = || core.store.revoke_subject(&digest, except.as_ref(), &core.policy, &attempt);
            let ended = twice(revoke).await?;
            events::ended_all(&subject, ended);
            core.hook.call(&SessionEvent {
                subject: Some(&subject),
                client: client.as_ref(),
                sessions: Some(ended),
                ..SessionEvent::new(SessionEventKind::EndedAll)
            });
            Ok(ended)
        })
        .await
    }

    pub(super) fn ended(
        &self,
        session: SessionId,
        subject: Option<&str>,
        why: &'static str,
        client: Option<&ClientInfo>,
    ) {
        events::ended(session, why);
        let (session, why) = (Some(session), Some(why));
        let event = SessionEvent::new(SessionEventKind::Ended);
        self.hook.call(&SessionEvent { session, subject, client, why, ..event });
    }
}
