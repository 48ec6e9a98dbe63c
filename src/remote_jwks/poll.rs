//! The task that fetches keys, as long as anybody holds the handle.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll as Polled;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::metrics;
use crate::remote_jwks::Status;
use crate::remote_jwks::discovery::{Origin, keys_location, metadata_location};
use crate::remote_jwks::error::{FetchError, FetchErrorKind};
use crate::remote_jwks::fetch::{Fetched, Fetcher, Validators};
use crate::remote_jwks::schedule::Schedule;
use crate::secret::random;
use crate::timer;
use crate::token::{Algorithm, KeySet, SkippedKey, WeakKeySet, report};

pub(super) struct Poll {
    pub(super) fetcher: Fetcher,
    pub(super) origin: Origin,
    pub(super) rsa: Algorithm,
    pub(super) schedule: Schedule,
    /// Weak: the task must not be what keeps itself going.
    pub(super) keys: WeakKeySet,
    pub(super) status: watch::Sender<Status>,
    /// Closed when the last handle is dropped.
    pub(super) wake: mpsc::Receiver<()>,
}

/// What is known of the last good answer.
#[derive(Default)]
struct Known {
    location: String,
    validators: Validators,
    max_age: Option<Duration>,
}

/// The keys of the last set that were not used: they are reported when they are others.
type Skipped = Box<[SkippedKey]>;

impl Poll {
    pub(super) async fn run(mut self) {
        let (mut known, mut skipped) = (Known::default(), Skipped::default());
        let mut failures = 0_u32;
        loop {
            // Who asked before is answered by this fetch.
            loop {
                match self.wake.try_recv() {
                    Ok(()) => {}
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let begun = timer::now();
            let chance = random::<1>().map_or(0, |[byte]| byte);
            // A client that panics must not be the end of all fetching.
            let outcome = caught(self.fetch(&mut known, &mut skipped))
                .await
                .unwrap_or_else(|| Err(FetchError::new(FetchErrorKind::Unreachable, "the client panicked")));
            let wait = match outcome {
                Ok(max_age) => {
                    failures = 0;
                    self.status.send_modify(|status| (status.is_ready, status.error) = (true, None));
                    self.schedule.after_success(max_age, chance)
                }
                Err(error) => {
                    metrics::keys_fetched(error.kind().as_str());
                    tracing::warn!(
                        name: "keys_not_fetched", target: "tower_jwt_auth::remote_jwks",
                        reason = error.kind().as_str(), detail = %error, cause = error.cause(), failures,
                        "the keys of an issuer could not be fetched: those that are held are kept"
                    );
                    // Whatever went wrong, all is asked for again.
                    known = Known::default();
                    failures = failures.saturating_add(1);
                    let wait = self.schedule.after_failure(failures, error.retry_after(), chance);
                    self.status.send_modify(|status| status.error = Some(error));
                    wait
                }
            };
            // From beginning to beginning; but a failure may have taken long, and is to be followed by a pause.
            let (gone, asleep) = match failures {
                0 => (timer::since(begun), self.schedule.interval),
                _ => (Duration::ZERO, wait),
            };
            if !self.sleep(gone, asleep, wait).await {
                return;
            }
        }
    }

    /// Until the time has come, or an unknown key was asked for, but not before the end of the interval. `false` if
    /// nobody is left to fetch for.
    async fn sleep(&mut self, gone: Duration, asleep: Duration, wait: Duration) -> bool {
        let begun = timer::now();
        let mut is_woken = false;
        loop {
            let end = if is_woken { asleep } else { wait };
            let left = end.saturating_sub(gone + timer::since(begun));
            if left.is_zero() {
                return true;
            }
            match timeout(left, self.wake.recv()).await {
                Ok(Some(())) => is_woken = true,
                Ok(None) => return false,
                Err(_) => return true,
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
                match self.fetcher.get(&place, &Validators::default()).await? {
                    Fetched::Document { text, .. } => keys_location(&text, issuer)?,
                    Fetched::NotModified { .. } => return Err(unasked()),
                }
            }
        };
        if known.location != location {
            *known = Known { location, ..Known::default() };
        }
        let (text, validators, max_age) = match self.fetcher.get(&known.location, &known.validators).await? {
            Fetched::NotModified { .. } if known.validators == Validators::default() => return Err(unasked()),
            Fetched::NotModified { max_age } => {
                metrics::keys_fetched("not_modified");
                // What it does not say again still holds (RFC 9111, section 4.3.4).
                return Ok(max_age.or(known.max_age));
            }
            Fetched::Document { text, validators, max_age } => (text, validators, max_age),
        };
        let read = KeySet::read_jwks(&text, self.rsa);
        let unused = match &read {
            Ok(set) => set.skipped(),
            Err((unused, _)) => unused,
        };
        if *unused != **skipped {
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
            keys = set.keys().len(), skipped = set.skipped().len(), "the keys of an issuer were fetched"
        );
        if let Some(keys) = self.keys.upgrade() {
            keys.store(set);
        }
        (known.validators, known.max_age) = (validators, max_age);
        Ok(max_age)
    }
}

fn unasked() -> FetchError {
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
