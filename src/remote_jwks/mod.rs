//! Keys from elsewhere (feature `jwks`): those of an identity provider, or of another node, fetched again and again by
//! a task.
//!
//! A request never waits for a fetch. It is verified with the keys that are held; as long as there are none yet, it is
//! answered with 503 and `Retry-After` (gRPC: 14). A token of an unknown key is refused at once, and lets the task ask
//! for the keys behind it, at most once per [`interval`](RemoteJwksBuilder::interval). The last good set is kept
//! through outages and broken documents. A key that is no longer in the set is gone with the fetch, and so are the
//! remembered tokens that it signed.
//!
//! The first request with a new key is refused, and the next one is not, so an issuer should publish a key before it
//! signs with it. Only a key id that is not known makes the task ask. An issuer that has one key without an id, or that
//! gives a new key the id of another, is noticed with the age of its keys.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower_jwt_auth::{NoClaims, RemoteJwks, TokenConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any client that is a tower service; the feature `jwks-hyper` has one ready.
//! let client = tower::service_fn(async |_: Request<Full<Bytes>>| {
//!     let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(keys)))
//! });
//! let keys = RemoteJwks::builder(client).spawn_at("https://idp.example/keys")?;
//! // Only to hold the start back until tokens can be verified.
//! keys.wait_ready().await?;
//!
//! let config = TokenConfig::builder()
//!     .key_source(keys.handle())
//!     .issuer("https://idp.example")
//!     .audience("https://api.example")
//!     .build()?;
//! let verifier = config.verifier::<NoClaims>();
//! # let _ = verifier;
//! # Ok(())
//! # }
//! ```

mod discovery;
mod error;
mod fetch;
#[cfg(feature = "jwks-hyper")]
mod hyper;
mod poll;
mod schedule;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tower_service::Service;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::{Algorithm, KeySetHandle};
use crate::transport::Transport;
use discovery::{Origin, metadata_location};
use fetch::Fetcher;
use poll::Poll;
use schedule::Schedule;

#[doc(inline)]
pub use crate::transport::BoxError;
pub use discovery::MetadataForm;
pub use error::{FetchError, FetchErrorKind};
#[cfg(feature = "jwks-hyper")]
pub use hyper::{JwksBody, JwksClient};

/// The keys of an issuer elsewhere, and the task that keeps them current. Clones are the same.
///
/// The task ends when the last clone, and the last [handle](Self::handle), is dropped.
#[derive(Clone)]
pub struct RemoteJwks {
    keys: KeySetHandle,
    status: watch::Receiver<Status>,
}

#[derive(Debug, Default)]
struct Status {
    is_ready: bool,
    error: Option<FetchError>,
}

impl RemoteJwks {
    /// Starts a builder with this HTTP client: a tower service that takes a `GET` without a body.
    ///
    /// It must not follow redirects, as those that leave the origin would go unseen, and is to check certificates. Time
    /// and size are bounded here.
    pub fn builder<T, B, R>(client: T) -> RemoteJwksBuilder
    where
        T: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: From<Bytes> + Send + 'static,
        R: Body + Send,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        RemoteJwksBuilder {
            fetcher: Fetcher {
                transport: Transport::new(client),
                timeout: Duration::from_secs(10),
                insecure_http: false,
            },
            rsa: Algorithm::Rs256,
            schedule: Schedule {
                interval: Duration::from_secs(30),
                standard: Duration::from_secs(3600),
                longest: Duration::from_secs(24 * 3600),
            },
            form: MetadataForm::OpenId,
        }
    }

    /// The keys, for [`TokenConfigBuilder::key_source`](crate::TokenConfigBuilder::key_source).
    pub fn handle(&self) -> &KeySetHandle {
        &self.keys
    }

    /// Whether there are keys.
    pub fn is_ready(&self) -> bool {
        self.status.borrow().is_ready
    }

    /// Waits until there are keys, however long it takes, and whatever goes wrong meanwhile: put a
    /// `tokio::time::timeout` around it that is longer than that of [a fetch](RemoteJwksBuilder::timeout), and ask
    /// [`last_error`](Self::last_error) afterwards.
    ///
    /// # Errors
    ///
    /// The task ended without keys, with its runtime. The error is the last one of a fetch, if there was any.
    pub async fn wait_ready(&self) -> Result<(), FetchError> {
        let mut status = self.status.clone();
        let outcome = status.wait_for(|status| status.is_ready).await.map(|_| ());
        outcome.map_err(|_| self.status.borrow().error.clone().unwrap_or_else(FetchError::stopped))
    }

    /// Why the last fetch failed, or that the task has ended with its runtime, so that the keys grow old; `None` when
    /// all is well. For an alert: a service that has keys works on, and whether it does [`is_ready`](Self::is_ready)
    /// says.
    pub fn last_error(&self) -> Option<FetchError> {
        // The sender is the task's.
        if self.status.has_changed().is_err() {
            return Some(FetchError::stopped());
        }
        self.status.borrow().error.clone()
    }
}

impl fmt::Debug for RemoteJwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteJwks")
            .field("keys", &self.keys)
            .field("status", &*self.status.borrow())
            .finish()
    }
}

/// How keys are fetched, made by [`RemoteJwks::builder`]. The last step starts the task.
#[must_use = "nothing is fetched before `spawn_at` or `spawn_for`"]
pub struct RemoteJwksBuilder {
    fetcher: Fetcher,
    rsa: Algorithm,
    schedule: Schedule,
    form: MetadataForm,
}

impl RemoteJwksBuilder {
    /// The algorithm of RSA keys that do not name theirs: RS256 by default.
    pub fn rsa_algorithm(self, algorithm: Algorithm) -> Self {
        Self { rsa: algorithm, ..self }
    }

    /// The least time between two fetches, whatever the server's `Cache-Control` says, and however many tokens of
    /// unknown keys come: 30 seconds by default, at least one. Only after a failure it is asked sooner: after one
    /// second, two, four, up to the interval, or as `Retry-After` says, up to ten minutes.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.schedule.interval = interval;
        self
    }

    /// How long keys are kept when the server's `Cache-Control` says nothing: an hour by default.
    pub fn standard_age(mut self, age: Duration) -> Self {
        self.schedule.standard = age;
        self
    }

    /// The longest time between two fetches, whatever the server's `Cache-Control` says: 24 hours by default. For so
    /// long a key may be trusted that its issuer has withdrawn; longer while fetches fail, and a set without any key
    /// that can be used is a failure. [`last_error`](RemoteJwks::last_error) tells of it. The time is that of the
    /// runtime, which stands still while a machine is suspended.
    pub fn longest_age(mut self, age: Duration) -> Self {
        self.schedule.longest = age;
        self
    }

    /// How long the fetch of one document may take, redirects included: 10 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.fetcher.timeout = timeout;
        self
    }

    /// Where [`spawn_for`](Self::spawn_for) looks for the issuer's metadata: OpenID Connect's place by default.
    pub fn metadata_form(self, form: MetadataForm) -> Self {
        Self { form, ..self }
    }

    /// Allows http on this machine, for tests.
    pub fn insecure_http(mut self) -> Self {
        self.fetcher.insecure_http = true;
        self
    }

    /// Starts to fetch the key set at this URL.
    ///
    /// # Errors
    ///
    /// It is no https URL; a time is out of bounds; the algorithm is none for RSA; there is no tokio runtime here. (One
    /// whose time is not enabled is met by the first fetch only, which fails: see [`RemoteJwks::last_error`].)
    pub fn spawn_at(self, location: impl Into<String>) -> Result<RemoteJwks, ConfigError> {
        let location = location.into();
        self.check_location(&location)?;
        self.spawn(Origin::Keys(location))
    }

    /// Starts to fetch the keys of this issuer, whose metadata says where they are. The issuer that is named there must
    /// be this one, byte for byte.
    ///
    /// # Errors
    ///
    /// As [`spawn_at`](Self::spawn_at); or the issuer has a query or a fragment (RFC 8414, section 2).
    pub fn spawn_for(self, issuer: impl Into<String>) -> Result<RemoteJwks, ConfigError> {
        let (issuer, form) = (issuer.into(), self.form);
        if issuer.contains(['?', '#']) {
            let why = "an issuer with metadata has neither query nor fragment: give the place of its keys to `spawn_at`";
            return Err(ConfigError::new(ConfigErrorKind::Issuer, why));
        }
        self.check_location(&metadata_location(&issuer, form).unwrap_or_default())?;
        self.spawn(Origin::Issuer { issuer, form })
    }

    fn check_location(&self, location: &str) -> Result<(), ConfigError> {
        self.fetcher.check(location).map(drop).map_err(|_| {
            ConfigError::new(
                ConfigErrorKind::Issuer,
                "keys come from an https URL without user name; `insecure_http` allows http to this machine alone, for tests",
            )
        })
    }

    fn spawn(self, origin: Origin) -> Result<RemoteJwks, ConfigError> {
        let Self { fetcher, rsa, schedule, .. } = self;
        let limit = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Limit, message));
        if schedule.interval < Duration::from_secs(1) || schedule.interval > schedule.longest {
            return limit(
                "the interval between fetches must be at least a second, and within the longest age",
            );
        }
        if fetcher.timeout.is_zero() || fetcher.timeout > Duration::from_secs(300) {
            return limit("a fetch must be given up to five minutes, and some time");
        }
        if !rsa.is_rsa() {
            return Err(ConfigError::new(ConfigErrorKind::Key, "the algorithm is none for RSA keys"));
        }
        let runtime = Handle::try_current().map_err(|error| {
            let why = "keys are fetched by a task: call this within a tokio runtime";
            ConfigError::new(ConfigErrorKind::Runtime, why).with_source(error)
        })?;
        let (wake, woken) = mpsc::channel(1);
        let keys = KeySetHandle::awaiting(move || {
            // One that is not taken yet is enough.
            let _ = wake.try_send(());
        });
        let (sender, status) = watch::channel(Status::default());
        let poll = Poll { fetcher, origin, rsa, schedule, keys: keys.downgrade(), status: sender };
        runtime.spawn(poll.run(woken));
        Ok(RemoteJwks { keys, status })
    }
}

impl fmt::Debug for RemoteJwksBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteJwksBuilder").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}
