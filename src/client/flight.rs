//! The one refresh under way: in a task of its own, so that it ends whatever becomes of those who wait for it.
//!
//! 1. The storage is read: what another process got is taken over instead.
//! 2. An attempt that is not answered in nine seconds, whose connection fails, or that is answered by an outage (5xx) without
//!    `Retry-After`, is given up and made again at once.
//! 3. Answered: saved, then used. Refused for good: forgotten. Anything else: those who wait are told, the session is
//!    kept, and the same task tries again after a back-off, for 30 seconds in all; the rotation may have been carried
//!    out, and the server repeats its answer for so long.
//! 4. A login or logout meanwhile: the result is thrown away.
//!
//! If the task is dropped (its runtime ended), the next of those who wait starts another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::Event;
use crate::client::schedule::{GIVE_UP, PERSIST, back_off};
use crate::client::state::{Flight, Held, Outcome, Shared, State, at_server, bounded};
use crate::client::timer;
use crate::client::tokens::Tokens;
use crate::client::wire::{self, Meaning};
use crate::clock::Timestamp;
use crate::secret::random;

/// A refresh under way, from its start on: also if its task is dropped before it runs.
struct InFlight {
    shared: Arc<Shared>,
    id: u64,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Drop for InFlight {
    /// Before the sender goes, so that those who wait find no flight and start one.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.flight.as_ref().is_some_and(|flight| flight.id == self.id) {
            state.flight = None;
        }
    }
}

impl InFlight {
    fn land(self, outcome: Outcome) -> Arc<Shared> {
        self.outcome.send_replace(Some(outcome));
        Arc::clone(&self.shared)
    }
}

/// How an attempt ended.
enum Attempt {
    Granted(Tokens),
    Ended,
    /// No answer, or one of an outage: it may have been carried out. It is made again at once.
    Lost(ClientError),
    /// An answer that another attempt would not change, or not yet.
    Failed(ClientError),
}

/// Whether a back-off is heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Force {
    No,
    Yes,
}

/// What comes of asking for a refresh.
pub(super) enum Boarding {
    /// It is under way.
    Aboard(watch::Receiver<Option<Outcome>>),
    /// There are other tokens already.
    Changed,
}

impl Shared {
    /// Refreshes the tokens that were seen, or waits for the refresh under way.
    pub(super) async fn refresh(self: &Arc<Self>, seen: Option<&Arc<Held>>, force: Force) -> Outcome {
        for _ in 0..3 {
            let Boarding::Aboard(mut outcome) = self.board(seen, force)? else { return Ok(()) };
            // Without one the task was dropped: the next round starts another.
            if let Ok(outcome) = outcome.wait_for(Option::is_some).await
                && let Some(outcome) = &*outcome
            {
                return outcome.clone();
            }
        }
        Err(ClientError::unavailable("the refresh was dropped with its runtime"))
    }

    /// The refresh under way, started if there is none and the tokens are still those that were seen.
    pub(super) fn board(
        self: &Arc<Self>,
        seen: Option<&Arc<Held>>,
        force: Force,
    ) -> Result<Boarding, ClientError> {
        let runtime = Handle::try_current().map_err(|error| {
            ClientError::new(ClientErrorKind::Runtime, "a refresh needs a tokio runtime")
                .with_source(error.into())
        })?;
        let (flight, outcome) = {
            let mut state = self.state();
            let is_seen = match (&state.held, seen) {
                (Some(held), Some(seen)) => Arc::ptr_eq(held, seen),
                (None, None) => true,
                _ => false,
            };
            if !is_seen {
                return Ok(Boarding::Changed);
            }
            if let Some(flight) = &state.flight {
                return Ok(Boarding::Aboard(flight.outcome.clone()));
            }
            if force == Force::No
                && state.quiet_until.is_some_and(|until| timer::now() < until)
                && let Some(failed) = &state.failed
            {
                return Err(failed.clone());
            }
            self.start(&mut state)
        };
        runtime.spawn(fly(flight));
        Ok(Boarding::Aboard(outcome))
    }

    /// Call it when no flight is under way.
    fn start(self: &Arc<Self>, state: &mut State) -> (InFlight, watch::Receiver<Option<Outcome>>) {
        let (sender, outcome) = watch::channel(None);
        state.flights += 1;
        let id = state.flights;
        state.flight = Some(Flight { id, outcome: outcome.clone() });
        (InFlight { shared: Arc::clone(self), id, outcome: sender }, outcome)
    }

    /// One round: two attempts at most.
    async fn round(self: &Arc<Self>) -> Outcome {
        self.load().await?;
        let (held, epoch) = {
            let state = self.state();
            (state.held.clone(), state.epoch)
        };
        let Some(held) = held else { return Err(ClientError::signed_out()) };
        let held = match self.reread(&held, epoch).await? {
            // Another process was here.
            Some(newer) if !newer.is_due(self.now()) => return Ok(()),
            Some(newer) => newer,
            None => held,
        };
        let mut again = true;
        let failed = loop {
            match self.attempt(&held).await {
                Attempt::Granted(tokens) => return self.replace(Some(tokens), epoch, Event::Refreshed).await,
                Attempt::Ended => {
                    self.replace(None, epoch, Event::Expired).await?;
                    return Err(ClientError::signed_out());
                }
                Attempt::Lost(_) if again => again = false,
                Attempt::Lost(error) | Attempt::Failed(error) => break error,
            }
        };
        self.failed(&failed, epoch);
        Err(failed)
    }

    /// The storage is the truth for all processes that share it. `None`: it holds what memory holds.
    async fn reread(&self, held: &Arc<Held>, epoch: u64) -> Result<Option<Arc<Held>>, ClientError> {
        let _writing = self.writer.lock().await;
        if self.epoch() != epoch {
            return Ok(None);
        }
        if self.state().unsaved {
            // Then memory is the truth.
            let saved = bounded(self.storage.save(Some(&held.tokens))).await;
            self.state().unsaved = saved.is_err();
            return Ok(None);
        }
        match bounded(self.storage.load()).await {
            Ok(Some(stored)) if stored.same(&held.tokens) => Ok(None),
            Ok(Some(stored)) => {
                let newer = Held::new(stored, epoch, self.now()).map(Arc::new);
                if newer.is_some() {
                    self.state().held.clone_from(&newer);
                }
                Ok(newer)
            }
            Ok(None) => {
                self.state().held = None;
                self.tell(Event::SignedOut);
                Err(ClientError::signed_out())
            }
            Err(error) => {
                self.tell(Event::StorageFailed(error));
                Ok(None)
            }
        }
    }

    async fn attempt(&self, held: &Held) -> Attempt {
        let request = self.endpoint.refresh(&held.tokens);
        let (answer, sent) = match self.exchange(request, GIVE_UP).await {
            Ok(answered) => answered,
            Err(error) => return Attempt::Lost(error),
        };
        match wire::meaning(&answer) {
            Meaning::Granted => match self.endpoint.tokens(&answer, Some(&held.tokens), sent) {
                Ok(tokens) => Attempt::Granted(tokens),
                Err(error) => Attempt::Failed(error),
            },
            Meaning::Ended => Attempt::Ended,
            Meaning::Failed(error) => {
                let is_outage = error.status().is_some_and(|status| status.is_server_error());
                if is_outage && error.retry_after().is_none() {
                    Attempt::Lost(error)
                } else {
                    Attempt::Failed(error)
                }
            }
        }
    }

    /// Asks the server, and sets the difference of the clocks. Also says when the request left, by the server's clock.
    pub(super) async fn exchange(
        &self,
        request: Request<Bytes>,
        patience: Duration,
    ) -> Result<(Response<Bytes>, Timestamp), ClientError> {
        let sent = self.clock.now();
        match timeout(patience, self.transport.send(request)).await {
            Ok(Ok(answer)) => {
                let mut state = self.state();
                if let Some(skew) = wire::skew(answer.headers(), sent, self.clock.now()) {
                    state.skew = skew;
                }
                Ok((answer, at_server(sent, state.skew)))
            }
            Ok(Err(source)) => {
                Err(ClientError::unavailable("the server could not be reached").with_source(source))
            }
            Err(_) => Err(ClientError::unavailable("the server did not answer in time")),
        }
    }

    /// Ends the refresh that began in `epoch`, unless there was a login or logout meanwhile.
    async fn replace(&self, tokens: Option<Tokens>, epoch: u64, event: Event) -> Outcome {
        let _writing = self.writer.lock().await;
        {
            let state = self.state();
            // A logout under way ends the session by itself, and says so.
            if state.epoch != epoch || (tokens.is_none() && state.leaving) {
                return Ok(());
            }
        }
        self.put(tokens, epoch).await;
        self.tell(event);
        Ok(())
    }

    fn failed(&self, error: &ClientError, epoch: u64) {
        {
            let mut state = self.state();
            if state.epoch != epoch {
                return;
            }
            state.failures = state.failures.saturating_add(1);
            let failing_for = timer::since(*state.failing_since.get_or_insert_with(timer::now));
            let wait = back_off(state.failures, failing_for, random::<4>().map_or(0, u32::from_be_bytes));
            state.quiet_until = Some(timer::now() + wait.max(error.retry_after().unwrap_or_default()));
            state.failed = Some(error.clone());
        }
        self.tell(Event::RefreshFailed(error.clone()));
    }
}

async fn fly(mut flight: InFlight) {
    let began = timer::now();
    let epoch = flight.shared.epoch();
    loop {
        let outcome = flight.shared.round().await;
        let lost = matches!(&outcome, Err(error) if error.kind() == ClientErrorKind::Unavailable);
        let shared = flight.land(outcome);
        let quiet_until = shared.state().quiet_until;
        match quiet_until {
            Some(until) if lost && until < began + PERSIST => sleep_until(until).await,
            _ => return,
        }
        flight = {
            let mut state = shared.state();
            // Settled meanwhile, or about to be.
            if state.failures == 0 || state.epoch != epoch || state.flight.is_some() {
                return;
            }
            shared.start(&mut state).0
        };
    }
}
