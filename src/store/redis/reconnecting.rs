//! [`ReconnectingConnection`]: a connection to one Redis at a time, which is made anew when it has failed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo as _, Pipeline, RedisError, RedisFuture,
    RedisResult, ServerErrorKind, Value,
};

use crate::error::{ConfigError, ConfigErrorKind};

/// Less than the store's, so that a connection that hangs is noticed here, and replaced.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// A connection that is given up takes what was not sent along. The system would go on sending for minutes, and a
/// command that arrives so late, after others of newer connections, undoes what was done meanwhile.
fn abandoned_at_once() -> TcpSettings {
    let settings = TcpSettings::default().set_linger_time(Duration::ZERO);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    settings
}

/// A connection that is made with the first command, shared by all clones, and made anew after it was lost, after it
/// did not answer in time (the other end may be gone without a word), and after the server said that it takes no
/// writes (it is a replica now). A command that failed is not sent again.
///
/// `redis::aio::ConnectionManager` does not replace a connection for the last two reasons, and knows no Sentinel.
///
/// ```no_run
/// use std::sync::Arc;
/// use tokio::sync::Mutex;
/// use tower_jwt_auth::{ReconnectingConnection, RedisStore};
///
/// # fn example(sentinel: redis::sentinel::SentinelClient) -> Result<(), Box<dyn std::error::Error>> {
/// // `redis::sentinel::SentinelClient::build(..)` finds the primary each time it is asked.
/// let sentinel = Arc::new(Mutex::new(sentinel));
/// let connection = ReconnectingConnection::new(move || {
///     let sentinel = Arc::clone(&sentinel);
///     // How long an answer may take is for the connection around it to say.
///     let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
///     async move { sentinel.lock().await.get_async_connection_with_config(&config).await }
/// });
/// let store = RedisStore::builder(connection).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReconnectingConnection {
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    connect: Box<dyn Fn() -> BoxFuture<'static, RedisResult<MultiplexedConnection>> + Send + Sync>,
    current: Mutex<Current>,
    /// One task connects, the others wait.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    /// Told apart, so that many failures of one connection replace it once.
    number: u64,
    connection: Option<MultiplexedConnection>,
}

impl ReconnectingConnection {
    /// Connects by calling `connect`. Answers may take 1.5 seconds.
    pub fn new<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = RedisResult<MultiplexedConnection>> + Send + 'static,
    {
        let shared = Shared {
            connect: Box::new(move || connect().boxed()),
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared), timeout: TIMEOUT }
    }

    /// Connects to one server by its URL.
    ///
    /// # Errors
    ///
    /// The URL is none.
    pub fn open(url: &str) -> Result<Self, ConfigError> {
        // The error may quote the URL, and with it a password.
        let server = url.into_connection_info().map(|server| server.set_tcp_settings(abandoned_at_once()));
        let client = server.and_then(Client::open).map_err(|_| {
            ConfigError::new(
                ConfigErrorKind::Store,
                "the URL of Redis must be redis://HOST:PORT/DATABASE, or rediss:// with a TLS feature of `redis`",
            )
        })?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        Ok(Self::new(move || {
            let (client, config) = (client.clone(), config.clone());
            async move { client.get_multiplexed_async_connection_with_config(&config).await }
        }))
    }

    /// Replaces how long an answer, and a connection to be made, may take: by default 1.5 seconds. Should be less than
    /// the store's time, or the store gives up before the connection is known to be lost.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.connection.clone().map(|connection| (current.number, connection))
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let _one_at_a_time = self.shared.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        // Less than the others wait, so that one that hangs does not take the time of all.
        let connecting = tokio::time::timeout(self.timeout / 2, (self.shared.connect)());
        let connection = connecting.await.unwrap_or_else(|_| Err(timed_out()))?;
        let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok((current.number, connection))
    }

    fn discard(&self, number: u64) {
        let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number == number {
            current.connection = None;
        }
    }

    async fn send<T>(
        &self,
        command: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
        is_refusal: impl Fn(&T) -> bool,
    ) -> RedisResult<T> {
        let mut used = None;
        let answer = async {
            let (number, mut connection) = self.connection().await?;
            used = Some(number);
            command(&mut connection).await
        };
        let answer = tokio::time::timeout(self.timeout, answer).await.unwrap_or_else(|_| Err(timed_out()));
        let has_failed = match &answer {
            Ok(answer) => is_refusal(answer),
            Err(error) => has_failed(error),
        };
        if let (Some(number), true) = (used, has_failed) {
            self.discard(number);
        }
        answer
    }
}

fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into()
}

fn has_failed(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}

/// Whether the server says that it is not the one to write to. At this place an error reply is a value.
fn is_refusal(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else { return false };
    matches!(error.kind(), Some(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}

impl ConnectionLike for ReconnectingConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let send =
            async |connection: &mut MultiplexedConnection| connection.send_packed_command(command).await;
        self.send(send, is_refusal).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let send = async move |connection: &mut MultiplexedConnection| {
            connection.send_packed_commands(commands, offset, count).await
        };
        self.send(send, |answers| answers.iter().any(is_refusal)).boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for ReconnectingConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingConnection").finish_non_exhaustive()
    }
}
