//! Refreshes a session: whoever may present a refresh token, what the application says, the rotation, the new tokens.

use std::sync::Arc;

use crate::service::authenticator::{AuthnError, ErasedError};
use crate::service::core::{Core, no_randomness, twice};
use crate::service::error::{SessionError, SessionErrorKind};
use crate::service::events;
use crate::service::hook::{SessionEvent, SessionEventKind};
use crate::service::identity::SessionInfo;
use crate::service::operations::grant::{Access, Grant};
use crate::session::{Attempt, ClientInfo, Presented, RefreshToken, SessionId};
use crate::store::Rotation;
use crate::thumbprint::Thumbprint;
use crate::token::{ClaimsJson, TokenError};

/// A refresh token, from whoever has the key that its session is bound to.
pub(in crate::service) struct Holder {
    token: RefreshToken,
    key: Option<Thumbprint>,
}

impl Holder {
    pub(in crate::service) fn present(&self, attempt: Attempt) -> Presented {
        self.token.present(attempt)
    }
}

impl Core {
    /// Lets those present a refresh token who have shown the key of its session, before anything happens to that.
    ///
    /// # Errors
    ///
    /// It is bound to another key, or none was shown; or one was shown, and there is no such session.
    pub(in crate::service) async fn holder(
        &self,
        token: RefreshToken,
        key: Option<Thumbprint>,
    ) -> Result<Holder, SessionError> {
        let refused = |reason| {
            events::refused("refresh", reason);
            Err(SessionError::refused())
        };
        let Some(shown) = key else {
            return if token.is_bound { refused("other_key") } else { Ok(Holder { token, key }) };
        };
        let record = self.live(&token.subject, &token.session_id).await?;
        // What would be refused anyway must not use up the proof.
        match record.filter(|record| record.facts.secret_digest == token.secret_digest()) {
            None => refused("session_ended"),
            Some(record) if record.facts.key.is_some_and(|key| key != shown) => refused("other_key"),
            Some(_) => Ok(Holder { token, key }),
        }
    }

    /// Presents a refresh token.
    ///
    /// `client` is the device that it came from, and only told to the application.
    pub(in crate::service) async fn refresh(
        self: Arc<Self>,
        Holder { token, key }: Holder,
        client: Option<ClientInfo>,
    ) -> Result<Grant, SessionError> {
        let attempt = Attempt::random().map_err(no_randomness)?;
        let presented = token.present(attempt);
        // Whatever can fail outside comes first: between rotation and answer nothing does.
        let renews = self.authenticator.renews();
        let renewed = if renews { self.renew(&presented, client.as_ref()).await? } else { None };
        self.finish(move |core| async move {
            // The same attempt twice: if the first was carried out after all, the second is answered as it was.
            let rotation = twice(|| core.store.rotate(&presented, &core.policy)).await?;
            events::rotation(&rotation.decision, presented.session_id, rotation.record.as_ref());
            core.tell_rotation(&rotation, presented.session_id, client.as_ref());
            let (Some(state), Some(record)) = (rotation.decision.state(), &rotation.record) else {
                return Err(SessionError::refused());
            };
            let claims = match renewed {
                Some(claims) => claims,
                // The rule would have refused when the application was to be asked, and grants now: a clock stepped
                // back, or a replica lagged. The client's next try asks the application.
                None if renews => {
                    return Err(SessionError::unavailable(
                        "renewal",
                        "the session changed while it was refreshed",
                    ));
                }
                None => {
                    ClaimsJson::from_bytes(&record.facts.claims).map_err(|error| unreadable_claims(&error))?
                }
            };
            let successor = token.at(state.generation);
            core.grant(&successor, record, claims, key, rotation.decision.hands_out(), rotation.now)
        })
        .await
    }

    /// Asks the application about the claims, if the rule would grant a token now. `None` where it would not: then
    /// the rotation says so, with its consequences.
    async fn renew(
        self: &Arc<Self>,
        presented: &Presented,
        client: Option<&ClientInfo>,
    ) -> Result<Option<ClaimsJson>, SessionError> {
        let Some(record) = self.answered(presented).await? else { return Ok(None) };
        let facts = Arc::clone(&record.facts);
        let info = SessionInfo::new(record);
        match self.authenticator.renew(&info, info.claims()).await {
            Ok(claims) => {
                self.try_to_sign(&Access::from(&*facts).longest(facts.session_id), &claims)?;
                Ok(Some(claims))
            }
            Err(ErasedError::Authn(AuthnError::Refused)) => {
                let why = "the application refused to renew it";
                let (core, subject) = (Arc::clone(self), facts.subject.clone());
                core.end(subject, presented.session_id, why, client.cloned()).await?;
                Err(SessionError::refused())
            }
            Err(ErasedError::Authn(AuthnError::Unavailable(error))) => {
                Err(SessionError::unavailable("authenticator", error))
            }
            Err(ErasedError::Claims(error)) => Err(unreadable_claims(&error)),
            Err(ErasedError::NotCredentials(_)) => Err(SessionError::refused()),
        }
    }

    fn tell_rotation(&self, rotation: &Rotation, session: SessionId, client: Option<&ClientInfo>) {
        let Some(kind) = SessionEventKind::of(&rotation.decision) else { return };
        let facts = rotation.record.as_ref().map(|record| &*record.facts);
        self.hook.call(&SessionEvent {
            session: Some(session),
            subject: facts.map(|facts| facts.subject.as_str()),
            opened_from: facts.map(|facts| &facts.client),
            client,
            ..SessionEvent::new(kind)
        });
    }
}

/// A fault of the deployment, not of the session, which is kept.
fn unreadable_claims(error: &TokenError) -> SessionError {
    let detail = error.describe();
    events::fault("the claims that a session was opened with do not read as the application's type", &detail);
    SessionError::new(SessionErrorKind::InvalidIdentity, "the stored claims cannot be read")
        .with_source(detail)
}
