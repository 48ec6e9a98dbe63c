//! What a session holds, and what it looks like at a moment. Changes no tokens by itself: [`flight`](super::flight),
//! [`session`](super::session) and [`stored`](super::stored) do.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Uri;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::client::endpoint::Endpoint;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::{self, Event};
use crate::client::flight::Force;
use crate::client::origin::{Origin, Origins, is_relative};
use crate::client::proof::Place;
use crate::client::tokens::{DynStorage, Tokens};
use crate::client::tokens_in_use::{Epoch, Held};
use crate::clock::{Clock, Timestamp};
use crate::transport::Transport;

/// Everything behind a [`Session`](crate::client::Session) and its layers.
pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    /// The session service's own, one of `origins`.
    pub(super) own: Arc<Place>,
    pub(super) origins: Origins,
    /// Whether a login makes a key.
    pub(super) with_dpop: bool,
    pub(super) transport: Transport,
    pub(super) storage: Box<dyn DynStorage>,
    pub(super) clock: Box<dyn Clock>,
    pub(super) events: broadcast::Sender<Event>,
    /// Never held across an await.
    state: Mutex<State>,
    /// Whoever changes the tokens holds it from storage to memory, so that both see the changes in one order.
    pub(super) writer: tokio::sync::Mutex<()>,
    /// Logins and logouts, one after the other.
    pub(super) door: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct State {
    /// Every change puts another `Arc` here, so that whoever waited knows by it whether anything changed.
    pub(super) held: Option<Arc<Held>>,
    /// What the storage holds, unless another process has written since.
    pub(super) stored: Option<Tokens>,
    /// Whether the storage was asked.
    pub(super) loaded: bool,
    /// How often it was asked in vain, and how that ended the last time.
    pub(super) failed_loads: u64,
    pub(super) load_failed: Option<(Instant, ClientError)>,
    /// Goes up with each login and logout: what was asked for in one is not sent in another.
    pub(super) epoch: u64,
    pub(super) flight: Option<Flight>,
    pub(super) flights: u64,
    /// Refreshes that failed in a row, and why the last one did.
    pub(super) failures: u32,
    pub(super) failed: Option<ClientError>,
    pub(super) quiet_until: Option<Instant>,
    /// The server's clock less this one, in milliseconds.
    pub(super) skew: i64,
    /// While a logout is under way, or a login that ends the session before it, a refusal says nothing.
    pub(super) leaving: bool,
}

/// The one refresh under way.
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
}

pub(super) type Outcome = Result<(), ClientError>;

/// The session as a request finds it.
pub(super) enum Look {
    Good(Arc<Held>),
    /// The storage must be read, or these tokens be refreshed, first.
    Wait(Option<Arc<Held>>, Epoch),
    SignedOut,
}

/// What to do about a request that was refused.
pub(super) enum AfterRefusal {
    /// Send it again with these.
    Again(Arc<Held>),
    /// Refresh, then send it again.
    Refresh,
    /// The answer stands.
    Stands,
}

impl Shared {
    pub(super) fn new(
        endpoint: Endpoint,
        (own, origins): (Arc<Place>, Origins),
        with_dpop: bool,
        transport: Transport,
        storage: Box<dyn DynStorage>,
        clock: Box<dyn Clock>,
    ) -> Self {
        Self {
            endpoint,
            own,
            origins,
            with_dpop,
            transport,
            storage,
            clock,
            events: broadcast::channel(64).0,
            state: Mutex::default(),
            writer: tokio::sync::Mutex::default(),
            door: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, by the server's clock.
    pub(super) fn now(&self) -> Timestamp {
        let skew = self.state().skew;
        at_server(self.clock.now(), skew)
    }

    pub(super) fn tell(&self, event: Event) {
        event::log(&event);
        // Nobody need listen.
        let _ = self.events.send(event);
    }

    /// Where a request goes, if it is sent the access token.
    pub(super) fn place(&self, uri: &Uri, relative: Option<&Origin>) -> Option<&Arc<Place>> {
        let own = &self.own.origin;
        let is_own_site = own.is_of(uri) || (is_relative(uri) && relative == Some(own));
        if is_own_site && self.endpoint.is_own(uri) {
            return None;
        }
        self.origins.find(uri, relative)
    }

    /// What a request finds. Starts a refresh that is due, without waiting for it.
    pub(super) fn look(self: &Arc<Self>) -> Look {
        let now = self.now();
        let (held, loaded, epoch) = {
            let state = self.state();
            (state.held.clone(), state.loaded, state.epoch)
        };
        match held {
            Some(held) if held.is_good(now) => {
                if held.is_due(now) {
                    // Without a runtime it is refreshed when it has to be.
                    let _ = self.board(Some(&held), Force::No);
                }
                Look::Good(held)
            }
            None if loaded => Look::SignedOut,
            held => Look::Wait(held, epoch),
        }
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.state().held.clone()
    }

    pub(super) fn is_held(&self, tokens: &Arc<Held>) -> bool {
        self.state().held.as_ref().is_some_and(|held| Arc::ptr_eq(held, tokens))
    }

    /// Good tokens, refreshed if they must be.
    pub(super) async fn access(self: &Arc<Self>) -> Result<Arc<Held>, ClientError> {
        self.load().await?;
        // A refresh that another process made, or one that was thrown away for a login, ends a round without an error.
        for _ in 0..3 {
            match self.look() {
                Look::Good(held) => return Ok(held),
                Look::SignedOut => return Err(ClientError::signed_out()),
                Look::Wait(seen, _) => self.refresh(seen.as_ref(), Force::No).await?,
            }
        }
        Err(ClientError::unavailable("the tokens that were got are not good"))
    }

    /// After a refusal of a request with these tokens.
    pub(super) fn refused(&self, sent: &Arc<Held>) -> AfterRefusal {
        match self.held() {
            Some(held) if Arc::ptr_eq(&held, sent) => {
                // Tokens that were just made would be followed by others that fare no better.
                if held.is_fresh() {
                    return AfterRefusal::Stands;
                }
                held.doubt();
                AfterRefusal::Refresh
            }
            Some(held) if held.epoch == sent.epoch => AfterRefusal::Again(held),
            // Another login, perhaps of somebody else: what one user asked for is not sent in the name of another.
            _ => AfterRefusal::Stands,
        }
    }
}

pub(super) fn at_server(here: Timestamp, skew: i64) -> Timestamp {
    Timestamp::from_unix_millis(here.as_unix_millis().saturating_add(skew))
}

/// In a task of its own, which goes on if the caller goes away.
pub(super) async fn run<T: Send + 'static>(
    task: impl Future<Output = Result<T, ClientError>> + Send + 'static,
) -> Result<T, ClientError> {
    let error = |detail| ClientError::new(ClientErrorKind::Runtime, detail);
    let runtime = Handle::try_current()
        .map_err(|none| error("a session needs a tokio runtime").with_source(none.into()))?;
    let ended = runtime.spawn(task).await;
    ended.unwrap_or_else(|gone| Err(error("the task ended before its time").with_source(gone.into())))
}
