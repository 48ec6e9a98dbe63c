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
use crate::client::origin::{Origin, Origins, is_relative};
use crate::client::proof::Place;
use crate::client::tokens::{DynStorage, Tokens};
use crate::client::wire::{self, Endpoint};
use crate::client::{BoxError, schedule};
use crate::clock::{Clock, Timestamp};
use crate::secret::random;
use crate::timer;
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

/// Tokens in use.
pub(super) struct Held {
    pub(super) tokens: Tokens,
    pub(super) authorization: HeaderValue,
    pub(super) epoch: u64,
    /// Whether they came in an answer to this process: then `got` is when they were made.
    is_answer: bool,
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
    Wait(Option<Arc<Held>>, Epoch),
    SignedOut,
}

/// Which login, or that there is none.
pub(super) type Epoch = u64;

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
    pub(super) fn new(tokens: Tokens, epoch: Epoch, is_answer: bool, now: Timestamp) -> Option<Self> {
        let authorization = wire::authorization(tokens.expose_access_token(), tokens.is_bound())?;
        let lifetime = tokens.lifetime();
        let good_for = tokens.expires_at().saturating_duration_since(now).min(lifetime);
        // Without randomness all come at the same, the latest, moment.
        let lead = schedule::lead(lifetime, random::<4>().map_or(0, u32::from_be_bytes));
        Some(Self {
            authorization,
            epoch,
            is_answer,
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
                if held.is_answer && timer::since(held.got) < schedule::fresh(held.tokens.lifetime()) {
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
        const PAUSE: Duration = Duration::from_secs(1);
        let failed_loads = {
            let state = self.state();
            if state.loaded {
                return Ok(());
            }
            if let Some((at, error)) = &state.load_failed
                && timer::since(*at) < PAUSE
            {
                return Err(error.clone());
            }
            state.failed_loads
        };
        let shared = Arc::clone(self);
        run(async move { shared.load_here(failed_loads).await }).await
    }

    async fn load_here(&self, failed_loads: u64) -> Result<(), ClientError> {
        let _writing = self.writer.lock().await;
        {
            let state = self.state();
            if state.loaded {
                return Ok(());
            }
            // One who came at the same time has asked in vain: not all are to wait for it one after the other.
            if state.failed_loads > failed_loads
                && let Some((_, error)) = &state.load_failed
            {
                return Err(error.clone());
            }
        }
        let loaded = bounded(self.storage.load()).await;
        let now = self.now();
        let mut state = self.state();
        match loaded {
            Ok(tokens) => {
                state.loaded = true;
                let held = tokens.clone().and_then(|tokens| Held::new(tokens, state.epoch, false, now));
                state.held = held.map(Arc::new);
                state.stored = tokens;
                Ok(())
            }
            Err(error) => {
                state.failed_loads += 1;
                state.load_failed = Some((timer::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Takes over what another process has put into the storage since it was read or written last, and says so. Call it
    /// with `writer` held.
    ///
    /// Of one login the tokens that expire later are the newer ones: of two, the older must not be presented again, as that
    /// would look like theft. They may be in the storage all the same, put back or written late; then memory counts.
    pub(super) async fn take_over(&self) -> bool {
        let stored = match bounded(self.storage.load()).await {
            Ok(stored) => stored,
            Err(error) => {
                self.tell(Event::StorageFailed(error));
                return false;
            }
        };
        let now = self.now();
        let event = {
            let mut state = self.state();
            let is_known = match (&stored, &state.stored) {
                (Some(stored), Some(known)) => stored.same(known),
                (None, None) => true,
                _ => false,
            };
            if is_known {
                return false;
            }
            state.stored.clone_from(&stored);
            let event = match (&stored, &state.held) {
                (None, _) => Event::SignedOut,
                (Some(stored), Some(held)) if stored.is_of_login(&held.tokens) => {
                    if stored.expires_at() < held.tokens.expires_at() || stored.same(&held.tokens) {
                        return false;
                    }
                    Event::Refreshed
                }
                (Some(_), _) => Event::SignedIn,
            };
            if !matches!(event, Event::Refreshed) {
                state.epoch += 1;
            }
            let held = stored.and_then(|tokens| Held::new(tokens, state.epoch, false, now));
            state.change(held);
            event
        };
        self.tell(event);
        true
    }

    /// Saves, then uses. Call it with `writer` held. What cannot be saved is used all the same: the server has replaced
    /// what came before.
    pub(super) async fn put(&self, tokens: Option<Tokens>, login: Login) {
        let saved = self.save(tokens.as_ref()).await;
        let now = self.now();
        {
            let mut state = self.state();
            if login == Login::Another {
                state.epoch += 1;
            }
            let held = tokens.and_then(|tokens| Held::new(tokens, state.epoch, true, now));
            state.change(held);
        }
        if let Err(error) = saved {
            self.tell(Event::StorageFailed(error));
        }
    }

    /// Writes what is in memory, if the storage holds something older.
    pub(super) async fn catch_up(&self, tokens: &Tokens) {
        let is_saved = self.state().stored.as_ref().is_some_and(|stored| stored.same(tokens));
        if !is_saved && let Err(error) = self.save(Some(tokens)).await {
            self.tell(Event::StorageFailed(error));
        }
    }

    async fn save(&self, tokens: Option<&Tokens>) -> Result<(), ClientError> {
        bounded(self.storage.save(tokens)).await?;
        self.state().stored = tokens.cloned();
        Ok(())
    }
}

/// Whose tokens are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    Same,
    Another,
}

impl State {
    fn change(&mut self, held: Option<Held>) {
        self.held = held.map(Arc::new);
        self.loaded = true;
        self.failures = 0;
        self.failed = None;
        self.quiet_until = None;
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
