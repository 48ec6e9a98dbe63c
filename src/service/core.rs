//! What the service does with sessions, before HTTP: open, refresh, end, list. The routes and the handle
//! [`Sessions`](crate::Sessions) both stand on it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::runtime::Handle;
use tracing::Instrument as _;

use crate::clock::Timestamp;
use crate::cookie::CookieTemplate;
use crate::csrf::CsrfPolicy;
use crate::dpop::Proof;
use crate::reject::Responder;
use crate::secret::SecretString;
use crate::service::authenticator::{AuthnError, DynAuthenticator, ErasedError, ErasedIdentity};
use crate::service::delivery::Delivery;
use crate::service::error::{SessionError, SessionErrorKind};
use crate::service::events;
use crate::service::hook::{Hook, SessionEvent, SessionEventKind};
use crate::service::identity::SessionInfo;
use crate::service::proof::Proofs;
use crate::session::{
    Attempt, ClientInfo, NewSession, Presented, Record, RefreshCodec, RefreshToken, SessionFacts, SessionId,
    SessionPolicy, SubjectDigest, decide,
};
use crate::store::{Creation, DynStore, Rotation, StoreError};
use crate::thumbprint::Thumbprint;
use crate::token::{
    AccessGrant, AccessToken, ClaimsJson, Issuer, KeySetHandle, NoClaims, Registered, TokenError, Verifier,
    is_scope,
};

const MAX_SUBJECT_BYTES: usize = 255;
const MAX_CLAIMS_BYTES: usize = 4096;
const MAX_SCOPES_BYTES: usize = 1024;

/// Everything behind an [`AuthService`](crate::AuthService); no type of the application is left in it.
pub(super) struct Core {
    pub(super) issuer: Issuer,
    /// For those who verify the tokens elsewhere.
    pub(super) keys: KeySetHandle,
    /// For the routes that take a bearer token. They need no claims of the application.
    pub(super) verifier: Verifier<NoClaims>,
    pub(super) codec: RefreshCodec,
    pub(super) store: Box<dyn DynStore>,
    pub(super) authenticator: Box<dyn DynAuthenticator>,
    pub(super) policy: SessionPolicy,
    pub(super) delivery: Delivery,
    pub(super) cookie: CookieTemplate,
    pub(super) csrf: CsrfPolicy,
    pub(super) responder: Arc<Responder>,
    pub(super) proofs: Option<Proofs>,
    pub(super) hook: Hook,
    pub(super) path: Box<str>,
}

/// A granted access token, and the refresh token it came with.
pub(super) struct Grant {
    pub(super) access: AccessToken,
    pub(super) user: ClaimsJson,
    pub(super) refresh: SecretString,
    /// The remaining idle life, if the client is to keep the refresh token; `None` if it has it already.
    pub(super) keep_for: Option<Duration>,
    pub(super) session_id: SessionId,
    /// Whether whoever sends the access token must prove to have a key.
    pub(super) is_bound: bool,
}

/// A refresh token, from whoever has the key that its session is bound to.
pub(super) struct Holder {
    token: RefreshToken,
    key: Option<Thumbprint>,
}

impl Holder {
    pub(super) fn present(&self, attempt: Attempt) -> Presented {
        self.token.present(attempt)
    }
}

impl Core {
    /// Opens a session, then ends those that were presented with the login: made first, so that a failure leaves the
    /// user with the old one.
    pub(super) async fn open(
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
            let created = twice(|| core.store.create(&session, &core.policy)).await?;
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
                core.end_replaced(old, &attempt, &record).await;
            }
            let key = record.facts.key;
            core.grant(&token, &record, identity.claims, key, true, record.facts.created_at)
        })
        .await
    }

    /// The old session of a login. That it could not be ended does not undo the login.
    async fn end_replaced(&self, token: &RefreshToken, attempt: &Attempt, by: &Record) {
        let proof = token.secret_digest();
        match twice(|| self.store.revoke(&token.subject, &token.session_id, Some(&proof), attempt)).await {
            Ok(true) => {
                let is_theirs = token.subject == by.subject_digest();
                let subject = is_theirs.then_some(&*by.facts.subject);
                self.ended(token.session_id, subject, "replaced by a login", Some(&by.facts.client));
            }
            Ok(false) => {}
            Err(error) => events::unavailable("store", &error),
        }
    }

    /// Presents a refresh token.
    ///
    /// `client` is the device that it came from, and only told to the application.
    pub(super) async fn refresh(
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

    /// Lets those present a refresh token who have shown the key of its session, before anything happens to that.
    ///
    /// # Errors
    ///
    /// It is bound to another key, or none was shown; or one was shown, and there is no such session.
    pub(super) async fn holder(
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

    /// The record, if a refresh with this token would be answered now (rows 3 to 6 of the rule). Changes nothing.
    pub(super) async fn answered(&self, presented: &Presented) -> Result<Option<Record>, StoreError> {
        let Some((record, now)) = self.find(&presented.subject, &presented.session_id).await? else {
            return Ok(None);
        };
        let decision = decide(Some(&record), presented, &self.policy, now);
        Ok(decision.state().is_some().then_some(record))
    }

    /// A session that has neither ended nor expired.
    pub(super) async fn live(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let found = self.find(subject, session_id).await?;
        Ok(found.and_then(|(record, now)| (!record.is_expired(now)).then_some(record)))
    }

    /// This service is one of the verifiers that report use, where the rule goes by it. What is not noted is noted by the next.
    pub(super) async fn note_use(&self, token: &Registered, record: &Record) {
        let (state, facts) = (&record.state, &record.facts);
        let is_newest = token.generation() == Some(state.generation) && token.reissue() == state.issue;
        if self.policy.is_until_used() && is_newest && state.used_at.is_none() {
            let subject = record.subject_digest();
            let mark = || self.store.mark_used(&subject, &facts.session_id, state.generation, state.issue);
            if let Err(error) = twice(mark).await {
                events::unavailable("store", &error);
            }
        }
    }

    /// Whether a token is of a session that has neither ended nor expired.
    pub(super) async fn is_live(&self, token: &RefreshToken) -> Result<bool, StoreError> {
        let record = self.live(&token.subject, &token.session_id).await?;
        Ok(record.is_some_and(|record| record.facts.secret_digest == token.secret_digest()))
    }

    async fn find(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<(Record, Timestamp)>, StoreError> {
        match twice(|| self.store.get(subject, session_id)).await? {
            Some(record) => Ok(Some((record, twice(|| self.store.now()).await?))),
            None => Ok(None),
        }
    }

    fn grant(
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
    fn try_to_sign(&self, grant: &AccessGrant, claims: &ClaimsJson) -> Result<(), SessionError> {
        self.issuer.issue_json(grant, claims)?;
        Ok(())
    }

    /// Ends the sessions that these tokens are of, whatever their generation. Says how many there were.
    pub(super) async fn end_by_tokens(
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

    pub(super) async fn end(
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

    pub(super) async fn end_all(
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

    pub(super) async fn list(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionError> {
        let subject = SubjectDigest::of(subject);
        let records = twice(|| self.store.list(&subject)).await?;
        Ok(records.into_iter().map(SessionInfo::new).collect())
    }

    /// The nonce for an answer, if the client is to use another one from now on.
    pub(super) fn nonce_after(&self, proof: Option<&Proof>) -> Option<HeaderValue> {
        self.proofs.as_ref()?.nonce_after(proof?)
    }

    fn ended(
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

    /// Runs the store's part to its end in a task of its own: a client that goes away in the middle leaves no
    /// rotation without its answer being made, and no login without the old session being ended.
    async fn finish<T, F, W>(self: Arc<Self>, work: W) -> Result<T, SessionError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SessionError>> + Send + 'static,
        W: FnOnce(Arc<Self>) -> F,
    {
        let runtime =
            Handle::try_current().map_err(|error| SessionError::unavailable("no tokio runtime", error))?;
        let task = runtime.spawn(work(self).in_current_span());
        task.await.unwrap_or_else(|error| Err(SessionError::unavailable("the task of an operation", error)))
    }
}

/// Asks the store once more when it failed: a connection that broke is the most frequent fault, and the next one works.
pub(super) async fn twice<T, F>(mut ask: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    match ask().await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            events::retried(&error);
            ask().await
        }
    }
}

/// What the access tokens of a session have in common.
struct Access<'a> {
    subject: &'a str,
    scopes: &'a [String],
    client_id: Option<&'a str>,
    acr: Option<&'a str>,
    authenticated_at: Timestamp,
    key: Option<Thumbprint>,
}

impl<'a> Access<'a> {
    /// Of a session that is to be opened.
    fn of(identity: &'a ErasedIdentity, authenticated_at: Timestamp) -> Self {
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
    fn longest(&self, session_id: SessionId) -> AccessGrant {
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

/// A fault of the deployment, not of the session, which is kept.
fn unreadable_claims(error: &TokenError) -> SessionError {
    let detail = error.describe();
    events::fault("the claims that a session was opened with do not read as the application's type", &detail);
    SessionError::new(SessionErrorKind::InvalidIdentity, "the stored claims cannot be read")
        .with_source(detail)
}

fn no_randomness(error: crate::secret::NoRandomness) -> SessionError {
    SessionError::unavailable("random bytes", error)
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
