//! [`Sessions`]: the same sessions from code, without HTTP.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response};

use crate::clock::Timestamp;
use crate::service::answer;
use crate::service::core::Core;
use crate::service::delivery::{Delivery, Handover};
use crate::service::error::SessionError;
use crate::service::events;
use crate::service::identity::{Identity, SessionInfo};
use crate::service::operations::Grant;
use crate::session::{ClientInfo, SessionId};
use crate::thumbprint::Thumbprint;
use crate::token::{AccessToken, Claims};

/// Opens, refreshes, ends and lists sessions from code: for logins by passkey or OAuth callback, for "log out
/// everywhere" when a password changes, for administration. Cheap to clone; handlers keep it in their state.
///
/// Made by [`AuthService::sessions`](crate::AuthService::sessions). All methods need a tokio runtime.
pub struct Sessions<C> {
    core: Arc<Core>,
    claims: PhantomData<fn(C) -> C>,
}

impl<C: Claims> Sessions<C> {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, claims: PhantomData }
    }

    /// Opens a session for somebody whose credentials were checked. Works for cross-site requests too: protecting
    /// the route that calls this is up to that route.
    ///
    /// # Errors
    ///
    /// [`InvalidIdentity`](crate::SessionErrorKind::InvalidIdentity),
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable), or
    /// [`RevokedMeanwhile`](crate::SessionErrorKind::RevokedMeanwhile).
    pub async fn open(&self, identity: Identity<C>, client: &ClientInfo) -> Result<Granted, SessionError> {
        let identity = identity.erase().map_err(|error| self.at_home(error))?;
        let grant = Arc::clone(&self.core).open(identity, client.clone(), Vec::new()).await;
        grant.map(|grant| self.granted(grant)).map_err(|error| self.at_home(error))
    }

    /// The time by the store's clock, for [`Identity::with_authenticated_at`].
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable).
    pub async fn now(&self) -> Result<Timestamp, SessionError> {
        self.core.store.now().await.map_err(|error| self.at_home(error))
    }

    /// Presents a refresh token, as `POST /refresh` does. One of a session that is bound to a key is refused.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::SessionErrorKind::Refused) for any token that is not good, or
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable).
    pub async fn refresh(&self, refresh_token: &str) -> Result<Granted, SessionError> {
        self.present(refresh_token, None).await
    }

    /// As [`refresh`](Self::refresh), where the client has shown a proof of this key (RFC 9449, section 5). A session
    /// that is bound to another one is refused, and goes on.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub async fn refresh_with_key(
        &self,
        refresh_token: &str,
        thumbprint: Thumbprint,
    ) -> Result<Granted, SessionError> {
        self.present(refresh_token, Some(thumbprint)).await
    }

    async fn present(&self, refresh_token: &str, key: Option<Thumbprint>) -> Result<Granted, SessionError> {
        let token = self.core.codec.parse(refresh_token).map_err(|why| {
            events::refused("refresh", why.as_str());
            self.at_home(SessionError::refused())
        })?;
        let holder = self.core.holder(token, key).await.map_err(|error| self.at_home(error))?;
        let grant = Arc::clone(&self.core).refresh(holder, None).await;
        grant.map(|grant| self.granted(grant)).map_err(|error| self.at_home(error))
    }

    /// Ends one session of a subject. Says whether there was one to end.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable).
    pub async fn end(&self, subject: &str, session_id: SessionId) -> Result<bool, SessionError> {
        let ended =
            Arc::clone(&self.core).end(subject.to_owned(), session_id, "by the application", None).await;
        ended.map_err(|error| self.at_home(error))
    }

    /// Ends the session that a refresh token is of, whatever its generation: a logout. A token that is not genuine
    /// ends nothing. Says whether there was one to end.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable).
    pub async fn end_by_token(&self, refresh_token: &str) -> Result<bool, SessionError> {
        let tokens = self.core.codec.parse(refresh_token).into_iter().collect();
        let ended = Arc::clone(&self.core).end_by_tokens(tokens, None).await;
        ended.map(|ended| ended > 0).map_err(|error| self.at_home(error))
    }

    /// Ends all sessions of a subject but the one excepted, and makes logins lose that were under way. Says how many
    /// it ended.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable).
    pub async fn end_all(&self, subject: &str, except: Option<SessionId>) -> Result<u64, SessionError> {
        let ended = Arc::clone(&self.core).end_all(subject.to_owned(), except, None).await;
        ended.map_err(|error| self.at_home(error))
    }

    /// The sessions of a subject, the latest opened first.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable).
    pub async fn list(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionError> {
        self.core.list(subject).await.map_err(|error| self.at_home(error))
    }

    /// How many sessions a subject has.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::SessionErrorKind::Unavailable).
    pub async fn count(&self, subject: &str) -> Result<usize, SessionError> {
        self.list(subject).await.map(|sessions| sessions.len())
    }

    /// The `Set-Cookie` value that makes a browser forget the refresh cookie; `None` where none is ever set.
    pub fn clear_cookie(&self) -> Option<HeaderValue> {
        if self.core.delivery.uses_cookie() { self.core.cookie.clear() } else { None }
    }

    /// With the realm of this service.
    fn at_home(&self, error: impl Into<SessionError>) -> SessionError {
        error.into().at(&self.core.responder)
    }

    fn granted(&self, grant: Grant) -> Granted {
        let delivery = self.core.delivery;
        let set_cookie = grant
            .keep_for
            .filter(|_| delivery.uses_cookie())
            .and_then(|age| self.core.cookie.set(grant.refresh_token(), age));
        let handover = if delivery.uses_cookie() { Handover::Cookie } else { Handover::Body };
        Granted { grant, set_cookie, handover, delivery }
    }
}

impl<C> Clone for Sessions<C> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), claims: PhantomData }
    }
}

impl<C> fmt::Debug for Sessions<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// A session that was opened or refreshed: its tokens, and the cookie to set.
pub struct Granted {
    grant: Grant,
    set_cookie: Option<HeaderValue>,
    handover: Handover,
    delivery: Delivery,
}

impl Granted {
    /// The access token.
    pub fn access_token(&self) -> &AccessToken {
        &self.grant.access
    }

    /// The text of the refresh token that is the session's newest now. A secret.
    pub fn refresh_token(&self) -> &str {
        self.grant.refresh_token()
    }

    /// Hands the refresh token over in the JSON of the answer, and sets no cookie: for a client that is no browser,
    /// where the service delivers in [`Both`](Delivery::Both) ways. With [`Cookie`](Delivery::Cookie) alone nothing
    /// changes, as no route would take the token from a body.
    #[must_use]
    pub fn in_body(mut self) -> Self {
        if self.delivery.uses_body() {
            self.handover = Handover::Body;
            self.set_cookie = None;
        }
        self
    }

    /// The `Set-Cookie` value; `None` where the client has the token already, and must not be given it again, and
    /// where the body has it.
    pub fn set_cookie(&self) -> Option<&HeaderValue> {
        self.set_cookie.as_ref()
    }

    /// The session.
    pub fn session_id(&self) -> SessionId {
        self.grant.session_id
    }

    /// The answer that `POST /login` and `POST /refresh` give, with the cookie or with the refresh token in the body.
    pub fn to_response(&self) -> Response<Bytes> {
        match self.handover {
            Handover::Cookie => answer::granted(&self.grant, self.set_cookie.clone()),
            Handover::Body => answer::granted_in_body(&self.grant, None),
        }
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("session_id", &self.grant.session_id)
            .field("access_token", &self.grant.access)
            .finish_non_exhaustive()
    }
}
