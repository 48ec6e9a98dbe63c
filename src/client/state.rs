//! What a session holds, and what it looks like at a moment. Changes no tokens by itself: [`flight`](super::flight) and
//! [`session`](super::session) do.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout};

use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::{self, Event};
use crate::client::flight::Force;
use crate::client::origin::{Origin, Origins};
use crate::client::tokens::{DynStorage, Tokens};
use crate::client::transport::Transport;
use crate::client::wire::{self, Endpoint};
use crate::client::{BoxError, schedule, timer};
use crate::clock::{Clock, Timestamp};
use crate::secret::random;

/// Everything behind a [`Session`](crate::client::Session) and its layers.
pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) origin: Origin,
    pub(super) origins: Origins,
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
    pub(super) held: Option<Arc<Held>>,
    /// Whether the storage was asked.
    pub(super) loaded: bool,
    /// Whether memory holds what the storage could not take.
    pub(super) unsaved: bool,
    /// Goes up with each login and logout: what began before changes nothing after.
    pub(super) epoch: u64,
    pub(super) flight: Option<Flight>,
    pub(super) flights: u64,
    /// Failed refreshes in a row, and why the last one did.
    pub(super) failures: u32,
    pub(super) failing_since: Option<Instant>,
    pub(super) failed: Option<ClientError>,
    pub(super) quiet_until: Option<Instant>,
    /// The server's clock less this one, in milliseconds.
    pub(super) skew: i64,
    /// While a logout is under way a refusal says nothing.
    pub(super) leaving: bool,
}

/// The one refresh under way.
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
}

pub(super) type Outcome = Result<(), ClientError>;

/// Tokens in use.
pub(super) struct Held {
    pub(super) tokens: Tokens,
    pub(super) authorization: HeaderValue,
    pub(super) epoch: u64,
    got: Instant,
    /// From `got`, by a clock that nobody sets.
    due_after: Duration,
    good_for: Duration,
    /// The same by the server's clock, which goes on while the machine sleeps.
    due_at: Timestamp,
    /// A server refused it before its time.
    doubted: AtomicBool,
}

/// The session as a request finds it.
pub(super) enum Look {
    Good(Arc<Held>),
    /// The storage must be read, or these tokens be refreshed, first.
    Wait(Option<Arc<Held>>),
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

impl Held {
    /// `now` is by the server's clock.
    pub(super) fn new(tokens: Tokens, epoch: u64, now: Timestamp) -> Option<Self> {
        let authorization = wire::bearer(tokens.expose_access_token())?;
        let lifetime = tokens.lifetime();
        let good_for = tokens.expires_at().saturating_duration_since(now).min(lifetime);
        // Without randomness all come at the same, the latest, moment.
        let lead = schedule::lead(lifetime, random::<4>().map_or(0, u32::from_be_bytes));
        Some(Self {
            authorization,
            epoch,
            got: timer::now(),
            due_after: good_for.saturating_sub(lead),
            good_for,
            due_at: tokens.expires_at().saturating_sub(lead),
            tokens,
            doubted: AtomicBool::new(false),
        })
    }

    fn is_good(&self, now: Timestamp) -> bool {
        !self.doubted.load(Ordering::Relaxed)
            && timer::since(self.got) < self.good_for
            && now < self.tokens.expires_at()
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        timer::since(self.got) >= self.due_after || now >= self.due_at || !self.is_good(now)
    }

    /// How long until it is due.
    pub(super) fn due_in(&self, now: Timestamp) -> Duration {
        if self.is_due(now) {
            return Duration::ZERO;
        }
        self.due_after.saturating_sub(timer::since(self.got)).min(self.due_at.saturating_duration_since(now))
    }
}

impl Shared {
    pub(super) fn new(
        endpoint: Endpoint,
        (origin, origins): (Origin, Origins),
        transport: Transport,
        storage: Box<dyn DynStorage>,
        clock: Box<dyn Clock>,
    ) -> Self {
        Self {
            endpoint,
            origin,
            origins,
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

    /// Whether a request is sent the access token.
    pub(super) fn may_see(&self, uri: &Uri, relative: Option<&Origin>) -> bool {
        self.origins.allow(uri, relative) && !(self.origin.is_of(uri) && self.endpoint.is_own(uri))
    }

    /// What a request finds. Starts a refresh that is due, without waiting for it.
    pub(super) fn look(self: &Arc<Self>) -> Look {
        let now = self.now();
        let (held, loaded) = {
            let state = self.state();
            (state.held.clone(), state.loaded)
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
            held => Look::Wait(held),
        }
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.state().held.clone()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// Good tokens, refreshed if they must be.
    pub(super) async fn access(self: &Arc<Self>) -> Result<Arc<Held>, ClientError> {
        self.load().await?;
        // A refresh that another process made, or one that was thrown away for a login, ends a round without an error.
        for _ in 0..3 {
            match self.look() {
                Look::Good(held) => return Ok(held),
                Look::SignedOut => return Err(ClientError::signed_out()),
                Look::Wait(seen) => self.refresh(seen.as_ref(), Force::No).await?,
            }
        }
        Err(ClientError::unavailable("the tokens that were got are not good"))
    }

    /// After a refusal of a request with these tokens.
    pub(super) fn refused(&self, sent: &Arc<Held>) -> AfterRefusal {
        match self.held() {
            Some(held) if Arc::ptr_eq(&held, sent) => {
                // Tokens that were just got would be followed by others that fare no better.
                if timer::since(held.got) < schedule::fresh(held.tokens.lifetime()) {
                    return AfterRefusal::Stands;
                }
                held.doubted.store(true, Ordering::Relaxed);
                AfterRefusal::Refresh
            }
            Some(held) if held.epoch == sent.epoch => AfterRefusal::Again(held),
            // Another login, perhaps of somebody else: what one user asked for is not sent in the name of another.
            _ => AfterRefusal::Stands,
        }
    }

    /// Asks the storage, the first time. In a task of its own: it ends whatever becomes of the caller.
    pub(super) async fn load(self: &Arc<Self>) -> Result<(), ClientError> {
        if self.state().loaded {
            return Ok(());
        }
        let shared = Arc::clone(self);
        run(async move { shared.load_here().await }).await
    }

    async fn load_here(&self) -> Result<(), ClientError> {
        let _writing = self.writer.lock().await;
        if self.state().loaded {
            return Ok(());
        }
        let tokens = bounded(self.storage.load()).await?;
        let now = self.now();
        let mut state = self.state();
        state.loaded = true;
        state.held = tokens.and_then(|tokens| Held::new(tokens, state.epoch, now)).map(Arc::new);
        Ok(())
    }

    /// Saves, then uses. Call it with `writer` held. What cannot be saved is used all the same: the server has replaced
    /// what came before.
    pub(super) async fn put(&self, tokens: Option<Tokens>, epoch: u64) {
        let saved = bounded(self.storage.save(tokens.as_ref())).await;
        let now = self.now();
        let held = tokens.and_then(|tokens| Held::new(tokens, epoch, now)).map(Arc::new);
        {
            let mut state = self.state();
            state.held = held;
            state.loaded = true;
            state.unsaved = saved.is_err();
            state.failures = 0;
            state.failing_since = None;
            state.failed = None;
            state.quiet_until = None;
        }
        if let Err(error) = saved {
            self.tell(Event::StorageFailed(error));
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

/// A storage that hangs must not hang the session.
pub(super) async fn bounded<T>(storage: impl Future<Output = Result<T, BoxError>>) -> Result<T, ClientError> {
    let error = |detail| ClientError::new(ClientErrorKind::Storage, detail);
    match timeout(schedule::GIVE_UP, storage).await {
        Ok(done) => done.map_err(|source| error("the token storage failed").with_source(source)),
        Err(_) => Err(error("the token storage did not answer in time")),
    }
}
