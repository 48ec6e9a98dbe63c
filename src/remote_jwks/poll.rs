//! The task that fetches keys, as long as anybody holds the handle.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll as Polled;
use std::time::Duration;

use http::Uri;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::metrics;
use crate::remote_jwks::Status;
use crate::remote_jwks::discovery::{Origin, keys_location, metadata_location};
use crate::remote_jwks::error::{FetchError, FetchErrorKind};
use crate::remote_jwks::fetch::{Conditions, Fetched, Fetcher, Validators};
use crate::remote_jwks::schedule::Schedule;
use crate::secret::random;
use crate::timer;
use crate::token::{Algorithm, KeySet, Skipped, WeakKeySet, report};

pub(super) struct Poll {
    pub(super) fetcher: Fetcher,
    pub(super) origin: Origin,
    pub(super) rsa: Algorithm,
    pub(super) schedule: Schedule,
    /// Weak: the task must not be what keeps itself going.
    pub(super) keys: WeakKeySet,
    pub(super) status: watch::Sender<Status>,
}

/// What is known of the last good answer.
#[derive(Default)]
struct Known {
    /// Where the keys are.
    location: String,
    /// Where redirects led from there: what the validators are of.
    end: Uri,
    validators: Validators,
    max_age: Option<Duration>,
}

impl Poll {
    /// Until `wake` is closed, which the last handle does.
    pub(super) async fn run(self, mut wake: mpsc::Receiver<()>) {
        // Those of the last set that were not used are told when they change.
        let (mut known, mut skipped) = (Known::default(), Skipped::default());
        let mut failures = 0_u32;
        loop {
            // Who asked before is answered by this fetch.
            loop {
                match wake.try_recv() {
                    Ok(()) => {}
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let begun = timer::now();
            let chance = random::<1>().map_or(0, |[byte]| byte);
            // A client that panics must not be the end of all fetching.
            let Some((outcome, is_woken)) =
                while_wanted(&mut wake, caught(self.fetch(&mut known, &mut skipped))).await
            else {
                return;
            };
            let outcome = outcome
                .unwrap_or_else(|| Err(FetchError::new(FetchErrorKind::Unreachable, "the client panicked")));
            let wait = match outcome {
                Ok(max_age) => {
                    failures = 0;
                    self.status.send_modify(|status| (status.is_ready, status.error) = (true, None));
                    self.schedule.after_success(max_age, chance)
                }
                Err(error) => {
                    metrics::keys_fetched(error.kind().as_str());
                    failures = failures.saturating_add(1);
                    tracing::warn!(
                        name: "keys_not_fetched", target: "tower_jwt_auth::remote_jwks",
                        of = self.origin.name(), reason = error.kind().as_str(), detail = %error, cause = error.cause(), failures,
                        "the keys of an issuer could not be fetched: those that are held, if any, are kept"
                    );
                    // Whatever went wrong, all is asked for again.
                    known = Known::default();
                    let wait = self.schedule.after_failure(failures, error.retry_after(), chance);
                    self.status.send_modify(|status| status.error = Some(error));
                    wait
                }
            };
            // From beginning to beginning; but a failure may have taken long, and is to be followed by a pause.
            let (gone, asleep) = match failures {
                0 => (timer::since(begun), self.schedule.when_woken(chance).min(wait)),
                _ => (Duration::ZERO, wait),
            };
            if !sleep(&mut wake, is_woken, gone, asleep, wait).await {
                return;
            }
        }
    }

    /// Fetches and stores. For how long the answer says that it is good.
    async fn fetch(&self, known: &mut Known, skipped: &mut Skipped) -> Result<Option<Duration>, FetchError> {
        let location = match &self.origin {
            Origin::Keys(location) => location.clone(),
            // Read each time: keys may move while their old place still answers.
            Origin::Issuer { issuer, form } => {
                let place = metadata_location(issuer, *form).unwrap_or_default();
                match self.fetcher.get(&place, None).await? {
                    Fetched::Document { text, .. } => keys_location(&text, issuer)?,
                    // Nothing was asked that could be unmodified.
                    Fetched::NotModified { .. } => return Err(stray()),
                }
            }
        };
        if known.location != location {
            *known = Known { location, ..Known::default() };
        }
        let conditions = Some(Conditions { of: &known.end, validators: &known.validators });
        let (text, end, validators, max_age) = match self.fetcher.get(&known.location, conditions).await? {
            Fetched::NotModified { max_age } => {
                metrics::keys_fetched("not_modified");
                // What it does not say again still holds (RFC 9111, section 4.3.4).
                return Ok(max_age.or(known.max_age));
            }
            Fetched::Document { text, end, validators, max_age } => (text, end, validators, max_age),
        };
        let read = KeySet::read_jwks(&text, self.rsa);
        let unused = match &read {
            Ok(set) => Some(set.skipped()),
            Err((unused, _)) => unused.as_deref(),
        };
        if let Some(unused) = unused
            && *unused != **skipped
        {
            report(unused);
            *skipped = unused.into();
        }
        let set = read.map_err(|(_, source)| {
            FetchError::new(FetchErrorKind::Document, "the document is no key set that can be used")
                .with_source(source)
        })?;
        metrics::keys_fetched("ok");
        tracing::info!(
            name: "keys_fetched", target: "tower_jwt_auth::remote_jwks",
            of = self.origin.name(), keys = set.keys().len(), skipped = set.skipped().len(), "the keys of an issuer were fetched"
        );
        if let Some(keys) = self.keys.upgrade() {
            keys.store(set);
        }
        (known.end, known.validators, known.max_age) = (end, validators, max_age);
        Ok(max_age)
    }
}

/// Until the time has come, or an unknown key was asked for, but not before the end of the interval. `false` if nobody
/// is left to fetch for.
async fn sleep(
    wake: &mut mpsc::Receiver<()>,
    mut is_woken: bool,
    gone: Duration,
    asleep: Duration,
    wait: Duration,
) -> bool {
    let begun = timer::now();
    loop {
        let end = if is_woken { asleep } else { wait };
        let left = end.saturating_sub(gone + timer::since(begun));
        if left.is_zero() {
            return true;
        }
        match timeout(left, wake.recv()).await {
            Ok(Some(())) => is_woken = true,
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// What comes of a future, and whether somebody asked meanwhile; `None` if nobody is left to wait for it.
async fn while_wanted<F: Future>(wake: &mut mpsc::Receiver<()>, future: F) -> Option<(F::Output, bool)> {
    let mut future = pin!(future);
    let mut is_woken = false;
    poll_fn(|cx| {
        if let Polled::Ready(output) = future.as_mut().poll(cx) {
            return Polled::Ready(Some((output, is_woken)));
        }
        loop {
            match wake.poll_recv(cx) {
                Polled::Ready(Some(())) => is_woken = true,
                Polled::Ready(None) => return Polled::Ready(None),
                Polled::Pending => return Polled::Pending,
            }
        }
    })
    .await
}

fn stray() -> FetchError {
    FetchError::new(FetchErrorKind::Status, "nothing was asked that could be unmodified")
}

/// The outcome of a future, or `None` if it panicked.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Polled::Ready(value)) => Polled::Ready(Some(value)),
        Ok(Polled::Pending) => Polled::Pending,
        Err(_) => Polled::Ready(None),
    })
    .await
}
