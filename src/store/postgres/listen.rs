//! What other nodes end, heard by LISTEN.

use std::future::poll_fn;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::store::ListenTask;
use crate::store::listen::{BoxError, Ear, QUIET, soon};
use crate::store::postgres::PostgresStore;

impl PostgresStore {
    /// Hears what other nodes end, over a connection of its own, without TLS, to the server of this URL. It must be the
    /// one that takes writes, and no pooler in transaction mode.
    ///
    /// # Errors
    ///
    /// The text is no URL, nor a `key=value` text.
    ///
    /// # Errors
    ///
    /// It is not called within a tokio runtime.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_jwt_auth::{LiveSessionsLayer, PostgresStore};
    ///
    /// let store = PostgresStore::open("postgres://app@127.0.0.1:5433/app")?;
    /// let _until_dropped = store.listen("postgres://app@127.0.0.1:5433/app")?;
    /// let layer = LiveSessionsLayer::new(store.clone(), Duration::from_secs(30));
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(&self, url: &str) -> Result<ListenTask, ConfigError> {
        // The error may quote the text, and with it a password.
        let config = Config::from_str(url).map_err(|_| {
            ConfigError::new(
                ConfigErrorKind::Store,
                "the URL of PostgreSQL must be postgres://USER@HOST:PORT/DATABASE, or `host=.. user=.. dbname=..`",
            )
        })?;
        self.listen_with(move || {
            let config = config.clone();
            async move { config.connect(NoTls).await }
        })
    }

    /// As [`listen`](Self::listen), over connections that `connect` makes: with TLS, for instance.
    ///
    /// # Errors
    ///
    /// It is not called within a tokio runtime.
    pub fn listen_with<F, S, T>(
        &self,
        connect: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<ListenTask, ConfigError>
    where
        F: Future<Output = Result<(Client, Connection<S, T>), tokio_postgres::Error>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let listen = format!("LISTEN {}", self.settings.statements.channel);
        ListenTask::spawn(self.settings.feed.clone(), move |ear| {
            let (connection, listen) = (connect(), listen.clone());
            async move {
                match hear(connection, &listen, ear).await {
                    Ok(()) => "the connection was closed".into(),
                    Err(error) => error,
                }
            }
        })
    }
}

/// Ends its task with itself.
struct Driver(JoinHandle<Result<(), tokio_postgres::Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn hear<S, T>(
    connection: impl Future<Output = Result<(Client, Connection<S, T>), tokio_postgres::Error>>,
    listen: &str,
    ear: Ear,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, mut connection) = soon(connection).await?;
    let told = ear.clone();
    let mut driver = Driver(tokio::spawn(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message? {
                told.hear(notification.payload());
            }
        }
        Ok(())
    }));
    soon(client.batch_execute(listen)).await?;
    ear.joined();
    loop {
        match timeout(QUIET, &mut driver.0).await {
            Ok(ended) => return Ok(ended??),
            Err(_) => soon(client.batch_execute("")).await?,
        }
    }
}
