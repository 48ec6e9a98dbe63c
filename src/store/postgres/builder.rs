//! How a [`PostgresStore`] is made: its settings, and the pool that it opens.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls};

use super::statements::Statements;
use super::{PostgresStore, Settings};
use crate::clock::Clock;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::store::SessionFeed;

/// One try of an operation. The service tries twice, so that a client has its 503 within 5 seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// For the server, which may not notice that a client is gone.
const LIMITS: &str = "-c lock_timeout=2s -c statement_timeout=2s -c idle_in_transaction_session_timeout=2s";

/// Settings of a [`PostgresStore`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct PostgresStoreBuilder {
    pool: Pool,
    schema: String,
    prefix: String,
    prepared: bool,
    notifies: bool,
    timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
}

impl PostgresStore {
    /// A store on the server that a URL or a `key=value` text names, over 16 connections at most and without TLS, with
    /// time limits on the server. Connects with the first operation.
    ///
    /// # Errors
    ///
    /// The text is neither.
    pub fn open(url: &str) -> Result<Self, ConfigError> {
        Self::builder(pool(url, 16)?).build()
    }

    /// A store over a pool, with settings of one's own.
    pub fn builder(pool: Pool) -> PostgresStoreBuilder {
        PostgresStoreBuilder {
            pool,
            schema: "tower_jwt_auth".to_owned(),
            prefix: String::new(),
            prepared: true,
            notifies: true,
            timeout: TIMEOUT,
            clock: None,
        }
    }
}

impl PostgresStoreBuilder {
    /// Replaces the schema of the tables: by default `tower_jwt_auth`. 1 to 48 lower-case letters, digits and `_`, not
    /// beginning with a digit.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Puts a prefix before the names of the tables `sessions`, `subjects`, `revocations` and `migrations`: by default
    /// none. As the schema, or empty.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Prepares no statement: for poolers in transaction mode, where the next statement may run on another connection.
    /// PostgreSQL then plans each statement anew.
    pub fn unprepared(mut self) -> Self {
        self.prepared = false;
        self
    }

    /// Tells other nodes nothing of what this one ends: for deployments where none [listens](PostgresStore::listen).
    ///
    /// PostgreSQL lets the commits of all transactions with a NOTIFY wait for each other, those of other applications,
    /// too. Only ends of sessions and revocations of tokens have one.
    pub fn without_notify(mut self) -> Self {
        self.notifies = false;
        self
    }

    /// Replaces how long one try of an operation may take, waiting for a connection included: by default 2 seconds.
    /// The service tries twice.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
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
    /// A name has another form.
    pub fn build(self) -> Result<PostgresStore, ConfigError> {
        let settings = Settings {
            statements: Statements::new(&self.schema, &self.prefix, self.notifies)?,
            prepared: self.prepared,
            timeout: self.timeout,
            clock: self.clock,
            feed: SessionFeed::new(),
        };
        Ok(PostgresStore { pool: self.pool, settings: Arc::new(settings) })
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn pool(url: &str, connections: usize) -> Result<Pool, ConfigError> {
    // The error may quote the text, and with it a password.
    let error = || {
        ConfigError::new(
            ConfigErrorKind::Store,
            "the URL of PostgreSQL must be postgres://USER@HOST:PORT/DATABASE, or `host=.. user=.. dbname=..`",
        )
    };
    let mut config = Config::from_str(url).map_err(|_| error())?;
    // The last word counts, so that those of the URL win.
    let options = config.get_options().map_or_else(|| LIMITS.to_owned(), |own| format!("{LIMITS} {own}"));
    config.options(options);
    if config.get_application_name().is_none() {
        config.application_name("tower-jwt-auth");
    }
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build().map_err(|_| error())
}
