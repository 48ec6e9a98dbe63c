//! Keeps memory and storage in step: what is read, taken over from other processes, and written.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::Event;
use crate::client::shared_state::{Shared, State, run};
use crate::client::tokens::Tokens;
use crate::client::tokens_in_use::Held;
use crate::client::{BoxError, schedule};
use crate::timer;

/// Whose tokens are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    Same,
    Another,
}

impl Shared {
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
    /// Of one login the tokens that expire later are the newer ones: of two, the older must not be presented again, as
    /// that would look like theft. They may be in the storage all the same, put back or written late; then memory
    /// counts.
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

impl State {
    fn change(&mut self, held: Option<Held>) {
        self.held = held.map(Arc::new);
        self.loaded = true;
        self.failures = 0;
        self.failed = None;
        self.quiet_until = None;
    }
}

/// A storage that hangs must not hang the session.
async fn bounded<T>(storage: impl Future<Output = Result<T, BoxError>>) -> Result<T, ClientError> {
    let error = |detail| ClientError::new(ClientErrorKind::Storage, detail);
    match timeout(schedule::GIVE_UP, storage).await {
        Ok(done) => done.map_err(|source| error("the token storage failed").with_source(source)),
        Err(_) => Err(error("the token storage did not answer in time")),
    }
}
