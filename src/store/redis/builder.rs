//! How a [`RedisStore`] is made, and its settings.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::redis::aio::ConnectionLike;

use super::{ReconnectingConnection, RedisStore, Replicas, Settings};
use crate::clock::Clock;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::store::SessionFeed;

/// One try of an operation. The service tries twice, so that a client has its 503 within 5 seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of a [`RedisStore`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct RedisStoreBuilder<C> {
    connection: C,
    prefix: String,
    timeout: Duration,
    replicas: Option<Replicas>,
    clock: Option<Arc<dyn Clock>>,
}

impl RedisStore {
    /// A store on one server, by its URL: `redis://` or `rediss://` (TLS, needs a feature of the crate `redis`), with
    /// user, password and database as the crate `redis` reads them. Connects with the first operation, and again
    /// whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// The URL is none.
    pub fn open(url: &str) -> Result<Self, ConfigError> {
        Self::builder(ReconnectingConnection::open(url)?).build()
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// A store over a connection, with settings of one's own.
    pub fn builder(connection: C) -> RedisStoreBuilder<C> {
        RedisStoreBuilder {
            connection,
            prefix: "jwt-sessions".to_owned(),
            timeout: TIMEOUT,
            replicas: None,
            clock: None,
        }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStoreBuilder<C> {
    /// Replaces what the keys start with: by default `jwt-sessions`. 1 to 64 letters, digits, `-`, `_`, `.` or `:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Replaces how long one try of an operation may take: by default 2 seconds. The service tries twice. The
    /// connection may have a shorter time of its own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes an operation that revokes sessions or tokens wait until this many replicas have it, for `timeout` at most,
    /// which should be shorter than [the one of the operation](Self::timeout). If they do not answer, the operation
    /// fails (503), though it is done on the primary.
    ///
    /// Redis holds up all operations on the same connection meanwhile. The connection must wait for answers at least as
    /// long: 1.5 seconds by default in [`ReconnectingConnection`], half a second in those of the crate `redis`.
    ///
    /// While Sentinel is asked to fail over by hand, the old primary takes writes that are lost;
    /// `min-replicas-to-write` makes it refuse them.
    pub fn wait_for_replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.replicas = Some(Replicas { count, timeout });
        self
    }

    /// Decides by this clock and not by the server's: for tests. The nodes of a deployment must share one clock.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Makes the store.
    ///
    /// # Errors
    ///
    /// The prefix has another form.
    pub fn build(self) -> Result<RedisStore<C>, ConfigError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.bytes().all(is_plain) {
            return Err(ConfigError::new(
                ConfigErrorKind::Store,
                "the prefix of the keys must be 1 to 64 letters, digits, `-`, `_`, `.` or `:`",
            ));
        }
        let settings = Settings {
            prefix: self.prefix.into(),
            timeout: self.timeout,
            replicas: self.replicas,
            clock: self.clock,
            checked: AtomicBool::new(false),
            feed: SessionFeed::new(),
        };
        Ok(RedisStore { connection: self.connection, settings: Arc::new(settings) })
    }
}

impl<C> fmt::Debug for RedisStoreBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
