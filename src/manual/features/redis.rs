//! `redis`: sessions on Redis, for any number of nodes.
//!
//! Brings [`RedisStore`] for sessions, revocations of tokens and proofs of possession; [`ReconnectingConnection`]; and
//! [`ListenTask`], by which a node hears what others end. Pulls in the crate `redis` 1 (`script`, `tokio-comp`) and
//! `futures-util`.
//!
//! Take it for several nodes where a Redis is at hand and kept durable. A rotation is one script on one key and one
//! round trip.
//!
//! ```no_run
//! # #[cfg(feature = "redis")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower_jwt_auth::{LiveSessionsLayer, ReconnectingConnection, RedisStore};
//!
//! let url = "redis://app:a-password@127.0.0.1:6380/0";
//! let store = RedisStore::builder(ReconnectingConnection::open(url)?)
//!     .prefix("shop")
//!     // Only where there are replicas that may be promoted.
//!     .wait_for_replicas(1, Duration::from_millis(500))
//!     .build()?;
//! store.check().await?;                                   // is it there, and may it drop sessions?
//! let _hears = store.listen(url)?;                        // keep it as long as the server runs
//! let live = LiveSessionsLayer::new(store.clone(), Duration::from_secs(30));
//! # let _ = live;
//! # Ok(())
//! # }
//! ```
//!
//! # Connections
//!
//! | Redis | connection |
//! |---|---|
//! | one server | [`RedisStore::open`], or [`ReconnectingConnection::open`] |
//! | TLS | the same with `rediss://`, and `redis = { version = "1.8", features = ["tokio-rustls-comp"] }` among your own dependencies |
//! | Sentinel | [`ReconnectingConnection::new`] over a `SentinelClient`; the code is there |
//! | Cluster | `redis::cluster_async::ClusterConnection`. A subject is one key, so no operation crosses slots |
//!
//! A connection that may read from replicas is not for sessions that are to end at once.
//!
//! # What to set on the server
//!
//! Redis 7.0 or newer, without modules: `maxmemory-policy noeviction`, `appendonly yes`; the reasons stand at
//! [`RedisStore`]. An account for the example above, with all that is used there:
//!
//! ```text
//! ACL SETUSER app on >a-password ~shop:* &shop:ended +evalsha +script|load +time +hget +hset +hdel +hgetall +hkeys
//!     +pexpire +pttl +get +set +info +wait +publish +subscribe +ping
//! ```
//!
//! Sessions and revocations need those up to `+set` (`tests/redis_store.rs`, `an_account_that_may_do_nothing_else`).
//! `+info` is for [`check`], `+wait` for [`wait_for_replicas`], and the last three, with the channel, to tell and to
//! hear of ends. An account that may not publish is no failure: then nothing is heard.
//!
//! # Failure modes
//!
//! | what happens | what follows |
//! |---|---|
//! | no answer | each try is given up after 2 seconds ([`timeout`]), and the connection made anew; the service tries twice: 503 |
//! | a connection breaks | the second try works on a new one, and no client notices |
//! | memory full | logins and rotations are 503; sessions can still be ended |
//! | a crash without `appendonly`, or a failover | the last writes are lost. Rotations do no harm (row 3 of [the rule](crate::session::decide)), a new session is a new login. **An end that was lost is undone** |
//! | too few replicas confirm an end | 503, though the primary has done it; the client asks again |
//! | this server is a replica now | its connection is left, and the primary looked for |
//! | scripts were flushed | they are loaded again |
//! | a proof was remembered, and lost in a failover | it is good once more, while it is young |
//! | the subscription is lost (`push_lost`) | ends of other nodes count after `max_staleness`, until `push_joined` |
//! | other software wrote to the keys | [`Corrupt`]; what is there stays |
//!
//! # Limits
//!
//! - About 624 bytes a session at a million of them (`STORES=redis scripts/bench.sh bytes`), and the JSON of the
//!   claims.
//! - Everything of a subject is one hash, read as a whole when sessions are listed; 50 sessions a subject by default,
//!   1000 at most.
//! - Times are by the clock of the server. A failover to one whose clock is wrong moves the ends of sessions by as
//!   much.
//! - Keys that expire need no clean-up: [`purge_expired`] does nothing, and a [`PurgeTask`](crate::PurgeTask) is of no
//!   use.
//!
//! Shown by `cargo run --example two_nodes --features redis` and by the demo with `STORE=redis://..`. Tested against
//! real servers: `tests/redis_store.rs`, `tests/redis_faults.rs`, `tests/redis_connections.rs` (Sentinel, Cluster,
//! replicas), and with other stores in `tests/store_equality.rs` and `tests/live_sessions_nodes.rs`.
//!
//! [`Corrupt`]: crate::StoreErrorKind::Corrupt
//! [`ListenTask`]: crate::ListenTask
//! [`ReconnectingConnection`]: crate::ReconnectingConnection
//! [`ReconnectingConnection::new`]: crate::ReconnectingConnection::new
//! [`ReconnectingConnection::open`]: crate::ReconnectingConnection::open
//! [`RedisStore`]: crate::RedisStore
//! [`RedisStore::open`]: crate::RedisStore::open
//! [`check`]: crate::RedisStore::check
//! [`purge_expired`]: crate::SessionStore::purge_expired
//! [`timeout`]: crate::RedisStoreBuilder::timeout
//! [`wait_for_replicas`]: crate::RedisStoreBuilder::wait_for_replicas
