//! [`Session`]: login, logout, and what is known of the user.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tower_service::Service;

use crate::client::BoxError;
use crate::client::answer::{Asked, failure, wants_nonce};
use crate::client::builder::SessionBuilder;
use crate::client::endpoint::Carrier;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::{Event, Events};
use crate::client::flight::Force;
use crate::client::schedule::GIVE_UP;
use crate::client::shared_state::{AfterRefusal, Shared, run};
use crate::client::storage_sync::Login;
use crate::client::tokens::TokenStorage;
use crate::client::tokens_in_use::Held;
use crate::error::ConfigError;
use crate::transport::Transport;

/// A login may hash a password, on purpose slowly.
const LOGIN_PATIENCE: Duration = Duration::from_secs(30);

/// One session with a server's [`AuthService`](crate::AuthService), for any number of clients; see the
/// [module](crate::client). Cheap to clone: all clones are the same session.
///
/// Its own requests go through the transport that it was built with, never through a wrapped service: a refresh that
/// waited for a place under the concurrency limit of those who wait for it would wait for ever.
#[derive(Clone)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
}

impl Session {
    /// A session at the service whose mount point is `base`, such as `https://app.example/auth`, with the refresh token
    /// in bodies, which the service must deliver there (`Delivery::Body` or `Delivery::Both`).
    ///
    /// The transport carries credentials and refresh tokens, so it should follow no redirects, and log no bodies.
    ///
    /// # Errors
    ///
    /// As [`SessionBuilder::build`].
    pub fn new<T, B, R>(base: &str, storage: impl TokenStorage, transport: T) -> Result<Self, ConfigError>
    where
        T: Service<http::Request<B>, Response = Response<R>> + Clone + Send + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: From<Bytes> + Send + 'static,
        R: Body + Send,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        Self::builder(base, storage, transport).build()
    }

    /// As [`new`](Self::new), with settings.
    pub fn builder<T, B, R>(base: &str, storage: impl TokenStorage, transport: T) -> SessionBuilder
    where
        T: Service<http::Request<B>, Response = Response<R>> + Clone + Send + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: From<Bytes> + Send + 'static,
        R: Body + Send,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        SessionBuilder::new(base, Box::new(storage), Transport::new(transport))
    }

    /// Opens a session with these credentials, which must serialize to a JSON object (with a cookie: to any JSON). One
    /// that was held is ended on the server after the new one is there.
    ///
    /// Goes on to its end if the caller goes away.
    ///
    /// # Errors
    ///
    /// [`Credentials`](ClientErrorKind::Credentials) if they are wrong; else as the kinds say. The old session, if
    /// there was one, is then still held.
    pub async fn login<L: Serialize + ?Sized>(&self, credentials: &L) -> Result<(), ClientError> {
        // The serializer's own error may quote a value.
        let credentials = serde_json::to_value(credentials).map_err(|_| {
            ClientError::new(ClientErrorKind::Credentials, "the credentials cannot be written as JSON")
        })?;
        let shared = Arc::clone(&self.shared);
        run(async move { login(&shared, credentials).await }).await
    }

    /// Ends the session on the server, then forgets the tokens. Without a session nothing is done.
    ///
    /// Goes on to its end if the caller goes away.
    ///
    /// # Errors
    ///
    /// If the server could not end it: the session is then still held.
    pub async fn logout(&self) -> Result<(), ClientError> {
        let shared = Arc::clone(&self.shared);
        run(async move { logout(&shared, Whose::This).await }).await
    }

    /// Ends all sessions of the user, this one included. See [`logout`](Self::logout).
    ///
    /// # Errors
    ///
    /// As [`logout`](Self::logout), and [`SignedOut`](ClientErrorKind::SignedOut) if there is no session to do it with.
    pub async fn logout_everywhere(&self) -> Result<(), ClientError> {
        let shared = Arc::clone(&self.shared);
        run(async move { logout(&shared, Whose::All).await }).await
    }

    /// Ends all other sessions of the user.
    ///
    /// # Errors
    ///
    /// As [`logout_everywhere`](Self::logout_everywhere).
    pub async fn logout_others(&self) -> Result<(), ClientError> {
        let shared = Arc::clone(&self.shared);
        run(async move { logout(&shared, Whose::Others).await }).await
    }

    /// Refreshes now, or waits for the refresh under way.
    ///
    /// # Errors
    ///
    /// [`SignedOut`](ClientErrorKind::SignedOut) if there is no session (any more); else the session is kept.
    pub async fn refresh(&self) -> Result<(), ClientError> {
        self.shared.load().await?;
        let held = self.shared.held().ok_or_else(ClientError::signed_out)?;
        self.shared.refresh(Some(&held), Force::Yes).await
    }

    /// The header `Authorization` for a request that no layer makes, such as the opening of a WebSocket. Refreshes
    /// first if it must. The value is marked sensitive; whoever gets it can act for the user until it expires.
    ///
    /// With DPoP it is of use only beside a proof for the request: see [`authorize`](Self::authorize).
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub async fn authorization(&self) -> Result<HeaderValue, ClientError> {
        Ok(self.shared.access().await?.authorization.clone())
    }

    /// Puts the headers into a request that no layer makes, such as the opening of a WebSocket: `Authorization`, and
    /// with DPoP the header `DPoP` with a proof for this method and URL, which must be absolute. Refreshes first if it
    /// must. Where the request goes is the caller's choice, whatever the origins of the session are. A nonce that is
    /// asked for in the answer is not seen.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh), and [`Proof`](ClientErrorKind::Proof). The request is then as it was.
    pub async fn authorize<B>(&self, request: &mut http::Request<B>) -> Result<(), ClientError> {
        let held = self.shared.access().await?;
        self.shared.authorize_alone(request, &held)
    }

    /// Whether there is a session, as far as is known here. Asks the storage the first time, never the server.
    ///
    /// # Errors
    ///
    /// [`Storage`](ClientErrorKind::Storage).
    pub async fn is_signed_in(&self) -> Result<bool, ClientError> {
        self.shared.load().await?;
        Ok(self.shared.held().is_some())
    }

    /// The claims that the server sent with the last tokens; `None` without a session, or if they are no `U`.
    pub fn user<U: DeserializeOwned>(&self) -> Option<U> {
        let held = self.shared.held()?;
        serde_json::from_str(held.tokens.user_json()?).ok()
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events::new(self.shared.events.subscribe())
    }

    /// Refreshes whenever it is time, also when no request is made: to be spawned, or polled beside other work, by
    /// those whose session must not lapse in idle days or who show its state. Without it a refresh waits for the first
    /// request that comes when it is due.
    ///
    /// Ends when the last clone of the session is dropped.
    pub fn keep_alive(&self) -> impl Future<Output = ()> + Send + use<> {
        const LOOK_AGAIN: Duration = Duration::from_secs(30);
        let weak = Arc::downgrade(&self.shared);
        // In a task of its own, as all that waits: without a timer it ends, and does not panic.
        let pause = |wait| {
            run(async move {
                sleep(wait).await;
                Ok(())
            })
        };
        async move {
            while let Some(shared) = weak.upgrade() {
                // An error is told as an event, and tried again.
                let _ = shared.load().await;
                let wait = match shared.held() {
                    Some(held) => {
                        let wait = held.due_in(shared.now());
                        if wait.is_zero() {
                            // Starts the refresh, unless it has just failed.
                            let _ = shared.refresh(Some(&held), Force::No).await;
                            Duration::from_secs(1)
                        } else {
                            wait
                        }
                    }
                    None => LOOK_AGAIN,
                };
                drop(shared);
                // A machine that slept, a clock that was set, a login: all are seen in time.
                if pause(wait.min(LOOK_AGAIN)).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("origin", &self.shared.endpoint.origin()).finish_non_exhaustive()
    }
}

async fn login(shared: &Arc<Shared>, credentials: serde_json::Value) -> Result<(), ClientError> {
    let _door = shared.door.lock().await;
    // What was held is ended afterwards, if it can be read.
    let _ = shared.load().await;
    let old = shared.held();
    // With a cookie the server ends it before it answers.
    let ends_old = old.is_some() && matches!(shared.endpoint.carrier, Carrier::Cookie(_));
    let _leaving = ends_old.then(|| Leaving::new(shared));
    let request = shared.endpoint.login(credentials, old.as_ref().map(|held| &held.tokens))?;
    // A fresh one: nobody can tell by it that two sessions are one client's.
    let key = shared.new_key()?;
    let (answer, sent) = shared.exchange_with_proof(request, key.as_deref(), None, LOGIN_PATIENCE).await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            let error = ClientError::new(ClientErrorKind::Credentials, "the server refused the credentials");
            return Err(error.with_status(answer.status()));
        }
        _ => return Err(failure(&answer)),
    }
    let tokens = shared.endpoint.tokens(&answer, Asked::Login(key), sent)?;
    {
        let _writing = shared.writer.lock().await;
        shared.put(Some(tokens), Login::Another).await;
        shared.tell(Event::SignedIn);
    }
    // With a cookie the server has done it.
    if let (Some(old), Carrier::Body) = (old, &shared.endpoint.carrier) {
        let shared = Arc::clone(shared);
        // It would lapse by itself: whether this succeeds is nobody's concern.
        tokio::spawn(async move {
            if let Ok(request) = shared.endpoint.logout(&old.tokens) {
                let _ = shared.exchange(request, GIVE_UP).await;
            }
        });
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    This,
    All,
    Others,
}

async fn logout(shared: &Arc<Shared>, whose: Whose) -> Result<(), ClientError> {
    let _door = shared.door.lock().await;
    shared.load().await?;
    let held = match whose {
        Whose::This => match shared.held() {
            Some(held) => held,
            None => return Ok(()),
        },
        Whose::All | Whose::Others => shared.access().await?,
    };
    // Until the tokens are forgotten.
    let _leaving = (whose != Whose::Others).then(|| Leaving::new(shared));
    let (answer, held) = match whose {
        Whose::This => (shared.exchange(shared.endpoint.logout(&held.tokens)?, GIVE_UP).await?.0, held),
        Whose::All => logout_many(shared, "/logout/all", held).await?,
        Whose::Others => logout_many(shared, "/logout/others", held).await?,
    };
    if !answer.status().is_success() {
        return Err(failure(&answer));
    }
    if whose != Whose::Others {
        let _writing = shared.writer.lock().await;
        // Another login by another process is not what was logged out.
        let is_another = shared.take_over().await && shared.held().is_none_or(|now| now.epoch != held.epoch);
        if !is_another {
            shared.put(None, Login::Another).await;
            shared.tell(Event::SignedOut);
        }
    }
    Ok(())
}

/// By the access token, and once more with another if it is refused.
async fn logout_many(
    shared: &Arc<Shared>,
    path: &str,
    held: Arc<Held>,
) -> Result<(Response<Bytes>, Arc<Held>), ClientError> {
    let ask = async |held: &Held| {
        let request = shared.endpoint.logout_many(path, held.authorization.clone());
        let token = Some(held.tokens.expose_access_token());
        shared.exchange_with_proof(request, held.tokens.proof_key(), token, GIVE_UP).await
    };
    let (answer, _) = ask(&held).await?;
    // It is not the token that lacks a nonce.
    if answer.status() != StatusCode::UNAUTHORIZED || wants_nonce(&answer) {
        return Ok((answer, held));
    }
    let newer = match shared.refused(&held) {
        AfterRefusal::Refresh => shared.access().await?,
        AfterRefusal::Again(newer) => newer,
        AfterRefusal::Stands => return Ok((answer, held)),
    };
    let (answer, _) = ask(&newer).await?;
    Ok((answer, newer))
}

/// While it lives, a logout is under way.
struct Leaving<'a>(&'a Shared);

impl<'a> Leaving<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.state().leaving = true;
        Self(shared)
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.state().leaving = false;
    }
}
