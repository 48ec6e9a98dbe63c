//! What other nodes end, heard by pub/sub.

use ::redis::aio::{ConnectionLike, PubSub};
use ::redis::{Client, RedisResult, Value};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::store::ListenTask;
use crate::store::listen::{BoxError, Ear, QUIET, soon};
use crate::store::redis::RedisStore;

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// Hears what other nodes end, over a connection of its own to the server of this URL, which is the store's, or one
    /// that has its messages: a replica, any node of a cluster.
    ///
    /// The scripts publish on the channel `PREFIX:ended`. An account that may not is no failure: then nothing is heard.
    /// Channels know no database number: stores of one prefix in several databases hear each other, and ask a little
    /// more.
    ///
    /// # Errors
    ///
    /// The URL is none.
    ///
    /// # Errors
    ///
    /// It is not called within a tokio runtime.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_jwt_auth::{LiveSessionsLayer, RedisStore};
    ///
    /// let store = RedisStore::open("redis://127.0.0.1:6380/")?;
    /// let _until_dropped = store.listen("redis://127.0.0.1:6380/")?;
    /// let layer = LiveSessionsLayer::new(store.clone(), Duration::from_secs(30));
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(&self, url: &str) -> Result<ListenTask, ConfigError> {
        // The error may quote the text, and with it a password.
        let client = Client::open(url).map_err(|_| {
            ConfigError::new(
                ConfigErrorKind::Store,
                "the URL of Redis must be redis://HOST:PORT/ or rediss://..",
            )
        })?;
        self.listen_with(move || {
            let client = client.clone();
            async move { client.get_async_pubsub().await }
        })
    }

    /// As [`listen`](Self::listen), over connections that `connect` makes: with Sentinel, for instance.
    ///
    /// # Errors
    ///
    /// It is not called within a tokio runtime.
    pub fn listen_with<F>(
        &self,
        connect: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<ListenTask, ConfigError>
    where
        F: Future<Output = RedisResult<PubSub>> + Send + 'static,
    {
        let channel = format!("{}:ended", self.settings.prefix);
        ListenTask::spawn(self.settings.feed.clone(), move |ear| {
            let (connection, channel) = (connect(), channel.clone());
            async move {
                match hear(connection, &channel, &ear).await {
                    Ok(()) => "the connection was closed".into(),
                    Err(error) => error,
                }
            }
        })
    }
}

async fn hear(
    connection: impl Future<Output = RedisResult<PubSub>>,
    channel: &str,
    ear: &Ear,
) -> Result<(), BoxError> {
    let (mut sink, mut messages) = soon(connection).await?.split();
    soon(sink.subscribe(channel)).await?;
    ear.joined();
    loop {
        match timeout(QUIET, messages.next()).await {
            Ok(Some(message)) => {
                ear.hear(std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default());
            }
            Ok(None) => return Ok(()),
            Err(_) => {
                soon(sink.ping::<Value>()).await?;
            }
        }
    }
}
