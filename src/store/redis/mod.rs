//! [`RedisStore`]: sessions on Redis, for any number of nodes. Needs the feature `redis`.

mod builder;
mod codec;
mod error;
mod eviction;
mod listen;
mod operation;
mod reconnecting;
mod replays;
mod revocations;
mod rotation;
mod scripts;
mod session_store;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use builder::RedisStoreBuilder;
pub use reconnecting::ReconnectingConnection;

use crate::clock::Clock;
use crate::store::SessionFeed;

/// Sessions on [Redis](https://redis.io) 7.0 or newer (no module is needed), or on what speaks its protocol and knows
/// its scripts.
///
/// `C` is the connection: any of the `redis` crate's that is asynchronous and cheap to clone. All nodes that share the
/// database and the prefix share the sessions.
///
/// | Redis | connection |
/// |---|---|
/// | one server, plain or TLS | [`ReconnectingConnection`], or `redis::aio::ConnectionManager` with a `max_delay` |
/// | Sentinel | [`ReconnectingConnection`] over a `redis::sentinel::SentinelClient` |
/// | Cluster | `redis::cluster_async::ClusterConnection` |
///
/// Everything of a subject is one hash, `PREFIX:DIGEST`, which goes by itself when its last session has been expired
/// for a day. Each operation is one script on that key and one round trip. Times are by the clock of the server.
///
/// A revocation of tokens ([`RevocationStore`](crate::RevocationStore)) is one text, `PREFIX:revoked:KEY`, which goes
/// by itself when it is no longer needed.
///
/// # What Redis must be told
///
/// - `maxmemory-policy noeviction`: with another one Redis drops sessions, and the memory of revocations, when it is
///   full. The store warns, once, with the event `eviction_policy`.
/// - `appendonly yes`, or a crash loses what was written since the last snapshot; `appendfsync everysec` loses a
///   second. Rotations that are lost do no harm (row 3 of [the rule](crate::session)). A session that is lost is a new
///   login. **A revocation that is lost brings the session back.**
/// - A replica that is promoted lacks the last writes of its primary, too:
///   [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas) makes a revocation wait for replicas, and fail when
///   they do not answer.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::RedisStore;
///
/// let store = RedisStore::open("redis://127.0.0.1:6380/")?;
/// store.check().await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisStore<C = ReconnectingConnection> {
    connection: C,
    settings: Arc<Settings>,
}

struct Settings {
    prefix: Box<str>,
    timeout: Duration,
    replicas: Option<Replicas>,
    clock: Option<Arc<dyn Clock>>,
    checked: AtomicBool,
    feed: SessionFeed,
}

#[derive(Clone, Copy)]
struct Replicas {
    count: u32,
    timeout: Duration,
}

impl<C: Clone> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), settings: Arc::clone(&self.settings) }
    }
}

/// Shows nothing of the connection, whose own output may hold a password.
impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.settings.prefix).finish_non_exhaustive()
    }
}
