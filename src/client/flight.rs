//! The one refresh under way: in a task of its own, so that it ends whatever becomes of those who wait for it.
//!
//! 1. The storage is read: what another process got is taken over instead.
//! 2. An attempt that is not answered in nine seconds, whose connection fails, or that is answered by an outage (5xx)
//!    without `Retry-After`, is given up and made again at once. One whose proof lacks a nonce is sent once more with
//!    it, within the same nine seconds, and counts as one.
//! 3. Answered: saved, then used. Refused for good: forgotten. Anything else: those who wait are told, the session is
//!    kept, and the same task tries again after a back-off, for 30 seconds in all. An attempt that was lost may have
//!    been carried out, and the server repeats its answer for so long: then nothing keeps the task from asking again
//!    every four seconds at least, whatever is answered meanwhile.
//! 4. Other tokens meanwhile, by a login, a logout or another process: the result is thrown away.
//!
//! If the task is dropped (its runtime ended) or stands still (its runtime is not driven), those who wait start
//! another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::answer::{Asked, Meaning, meaning, skew};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::Event;
use crate::client::schedule::{GIVE_UP, PERSIST, SOON, STANDSTILL, back_off};
use crate::client::shared_state::{Flight, Outcome, Shared, State, at_server, run};
use crate::client::storage_sync::Login;
use crate::client::tokens::Tokens;
use crate::client::tokens_in_use::Held;
use crate::clock::Timestamp;
use crate::secret::random;
use crate::timer;

/// No answer of the session service is longer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A refresh under way, from its start on: also if its task is dropped before it runs.
struct InFlight {
    shared: Arc<Shared>,
    id: u64,
    /// The tokens that it refreshes; `None` before the storage was read.
    seen: Option<Arc<Held>>,
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
    Aboard(u64, watch::Receiver<Option<Outcome>>),
    /// There are other tokens already.
    Changed,
}

impl Shared {
    /// Refreshes the tokens that were seen, or waits for the refresh under way.
    pub(super) async fn refresh(self: &Arc<Self>, seen: Option<&Arc<Held>>, force: Force) -> Outcome {
        for _ in 0..3 {
            let Boarding::Aboard(id, outcome) = self.board(seen, force)? else { return Ok(()) };
            match wait_for(outcome).await? {
                // That of tokens before these was thrown away.
                Some(Ok(())) if seen.is_some_and(|seen| self.is_held(seen)) => {}
                Some(outcome) => return outcome,
                // Dropped, or standing still: the next round starts another.
                None => {
                    let mut state = self.state();
                    if state.flight.as_ref().is_some_and(|flight| flight.id == id) {
                        state.flight = None;
                    }
                }
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
                return Ok(Boarding::Aboard(flight.id, flight.outcome.clone()));
            }
            if force == Force::No
                && state.quiet_until.is_some_and(|until| timer::now() < until)
                && let Some(failed) = &state.failed
            {
                return Err(failed.clone());
            }
            self.start(&mut state)
        };
        let id = flight.id;
        runtime.spawn(fly(flight));
        Ok(Boarding::Aboard(id, outcome))
    }

    /// Call it when no flight is under way.
    fn start(self: &Arc<Self>, state: &mut State) -> (InFlight, watch::Receiver<Option<Outcome>>) {
        let (sender, outcome) = watch::channel(None);
        state.flights += 1;
        let id = state.flights;
        state.flight = Some(Flight { id, outcome: outcome.clone() });
        let seen = state.held.clone();
        (InFlight { shared: Arc::clone(self), id, seen, outcome: sender }, outcome)
    }

    /// Two attempts at most. `lost` becomes true with the first that may have been carried out.
    async fn round(self: &Arc<Self>, seen: Option<&Arc<Held>>, lost: &mut bool) -> Outcome {
        self.load().await?;
        let held = {
            let _writing = self.writer.lock().await;
            if seen.is_some_and(|seen| !self.is_held(seen)) {
                return self.outcome();
            }
            if self.take_over().await && self.held().is_none_or(|held| !held.is_due(self.now())) {
                return self.outcome();
            }
            let held = self.held().ok_or_else(ClientError::signed_out)?;
            self.catch_up(&held.tokens).await;
            held
        };
        let mut again = true;
        let failed = loop {
            match self.attempt(&held).await {
                Attempt::Granted(tokens) => return self.replace(&held, Some(tokens), Event::Refreshed).await,
                Attempt::Ended => return self.replace(&held, None, Event::Expired).await,
                Attempt::Lost(_) if again => (again, *lost) = (false, true),
                Attempt::Lost(error) => {
                    *lost = true;
                    break error;
                }
                Attempt::Failed(error) => break error,
            }
        };
        // A login has made it pointless.
        if self.is_held(&held) { Err(failed) } else { self.outcome() }
    }

    /// For those who wait: whether there is a session to look at.
    fn outcome(&self) -> Outcome {
        self.held().map(drop).ok_or_else(ClientError::signed_out)
    }

    async fn attempt(&self, held: &Held) -> Attempt {
        let request = match self.endpoint.refresh(&held.tokens) {
            Ok(request) => request,
            Err(error) => return Attempt::Failed(error),
        };
        let (answer, sent) =
            match self.exchange_with_proof(request, held.tokens.proof_key(), None, GIVE_UP).await {
                Ok(answered) => answered,
                // It was not sent.
                Err(error) if error.kind() == ClientErrorKind::Proof => return Attempt::Failed(error),
                Err(error) => return Attempt::Lost(error),
            };
        match meaning(&answer) {
            Meaning::Granted => match self.endpoint.tokens(&answer, Asked::Refresh(&held.tokens), sent) {
                Ok(tokens) => Attempt::Granted(tokens),
                // It says that it was carried out.
                Err(error) => Attempt::Lost(error),
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
        match timeout(patience, self.transport.send(request, MAX_ANSWER_BYTES)).await {
            Ok(Ok(answer)) => {
                let mut state = self.state();
                if let Some(skew) = skew(answer.headers(), sent, self.clock.now()) {
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

    /// Ends the refresh of these tokens, unless there are others meanwhile.
    async fn replace(&self, presented: &Arc<Held>, tokens: Option<Tokens>, event: Event) -> Outcome {
        let _writing = self.writer.lock().await;
        if !self.is_held(presented) || self.take_over().await {
            return self.outcome();
        }
        // A logout under way ends the session by itself, and says so.
        if tokens.is_none() && self.state().leaving {
            return Err(ClientError::signed_out());
        }
        self.put(tokens, Login::Same).await;
        self.tell(event);
        self.outcome()
    }

    /// Notes a failed round, and says when there may be another.
    fn failed(&self, error: &ClientError, wait: Duration) -> Instant {
        let until = timer::now() + wait;
        {
            let mut state = self.state();
            state.failures = state.failures.saturating_add(1);
            state.quiet_until = Some(until);
            state.failed = Some(error.clone());
        }
        self.tell(Event::RefreshFailed(error.clone()));
        until
    }
}

/// The outcome of a flight; `None` if it was dropped, or stands still. In a task of its own, as a caller's runtime may
/// have no timer.
async fn wait_for(mut flight: watch::Receiver<Option<Outcome>>) -> Result<Option<Outcome>, ClientError> {
    run(async move {
        let landed = timeout(STANDSTILL, flight.wait_for(Option::is_some)).await;
        Ok(landed.ok().and_then(|landed| landed.ok().and_then(|outcome| (*outcome).clone())))
    })
    .await
}

async fn fly(mut flight: InFlight) {
    let began = timer::now();
    // Of this task, however long others have failed before: it is from its own attempts that a rotation may be pending.
    let (mut rounds, mut lost) = (0, false);
    loop {
        let outcome = flight.shared.round(flight.seen.as_ref(), &mut lost).await;
        rounds += 1;
        let error = match &outcome {
            Err(error) if error.kind() != ClientErrorKind::SignedOut => error.clone(),
            _ => {
                flight.land(outcome);
                return;
            }
        };
        let random = random::<4>().map_or(0, u32::from_be_bytes);
        let (soon, asked) = (back_off(rounds, random).min(SOON), error.retry_after().unwrap_or_default());
        let wait = if lost { soon } else { soon.max(asked) };
        let goes_on = (lost || error.kind() == ClientErrorKind::Unavailable)
            && timer::since(began).saturating_add(wait) < PERSIST;
        let failures = flight.shared.state().failures.saturating_add(1);
        let wait = if goes_on { wait } else { back_off(failures, random).max(asked) };
        let until = flight.shared.failed(&error, wait);
        let shared = flight.land(outcome);
        if !goes_on {
            return;
        }
        sleep_until(until).await;
        flight = {
            let mut state = shared.state();
            // Settled meanwhile, or about to be; or another has failed since, and goes on by itself.
            if state.quiet_until != Some(until) || state.flight.is_some() {
                return;
            }
            shared.start(&mut state).0
        };
    }
}
