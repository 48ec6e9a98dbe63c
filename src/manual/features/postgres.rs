//! `postgres`: sessions on PostgreSQL, for any number of nodes.
//!
//! Brings [`PostgresStore`] for sessions and revocations of tokens, and [`ListenTask`], by which a node hears what
//! others end. Pulls in `tokio-postgres` and `deadpool-postgres`. It is no [`ReplayStore`](crate::ReplayStore): proofs
//! of possession that are to be good once on all nodes need Redis, or a store of your own.
//!
//! Take it where the application has a PostgreSQL anyway: one thing less to run, and back-ups that exist already.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower_jwt_auth::{LiveSessionsLayer, PostgresStore, PurgeTask};
//!
//! let url = "postgres://app@127.0.0.1:5433/app";
//! let store = PostgresStore::open(url)?;
//! store.migrate().await?;                                             // from any number of nodes at once
//! let _purge = PurgeTask::spawn(store.clone(), Duration::from_secs(600))?;
//! let _hears = store.listen(url)?;                                    // keep both as long as the server runs
//! let live = LiveSessionsLayer::new(store.clone(), Duration::from_secs(30));
//! # let _ = live;
//! # Ok(())
//! # }
//! ```
//!
//! # A pool of your own
//!
//! [`open`] has 16 connections at most, no TLS, and tells the server its limits of time. For anything else:
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use deadpool_postgres::{Manager, Pool, Runtime};
//! use tokio_postgres::{Config, NoTls};
//! use tower_jwt_auth::PostgresStore;
//!
//! let mut config: Config = "host=db.internal user=app dbname=app".parse()?;
//! config.options("-c lock_timeout=2s -c statement_timeout=2s -c idle_in_transaction_session_timeout=2s");
//! // For TLS: `MakeRustlsConnect` of tokio-postgres-rustls, for instance, in place of `NoTls`.
//! let pool = Pool::builder(Manager::new(config, NoTls)).max_size(32).runtime(Runtime::Tokio1).build()?;
//! let store = PostgresStore::builder(pool).schema("auth").table_prefix("shop_").build()?;
//! # let _ = store;
//! # Ok(())
//! # }
//! ```
//!
//! [`listen`] has no TLS either; [`listen_with`] takes a connection of your making. It must go to the server that takes
//! writes, and not through a pooler in transaction mode.
//!
//! | what | setting |
//! |---|---|
//! | PgBouncer in transaction mode | [`unprepared`]; the limits go to the role, as the pooler refuses `options`: `ALTER ROLE app SET statement_timeout = '2s'` |
//! | several hosts | `target_session_attrs=read-write` |
//! | durability | `synchronous_commit` not `off`, and a synchronous standby if one may be promoted: an end that is lost is undone |
//! | nobody listens | [`without_notify`]: commits with a NOTIFY wait for each other, in the whole server |
//!
//! # Tables and rights
//!
//! Three tables and one of migrations, in the schema `tower_jwt_auth` unless [`schema`] says otherwise. If migrations
//! are not the program's: [`schema_sql`] is the text. The role of the program needs no more than this
//! (`tests/postgres_tables.rs`):
//!
//! ```sql
//! GRANT USAGE ON SCHEMA tower_jwt_auth TO app;
//! GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tower_jwt_auth TO app;
//! ```
//!
//! # Failure modes
//!
//! | what happens | what follows |
//! |---|---|
//! | no answer, or no connection is free | each try is given up after 2 seconds ([`timeout`]); the service tries twice: 503 |
//! | a conflict or a deadlock | the operation begins again, up to three times |
//! | a client vanishes in a transaction | the server's own limits free its locks after 2 seconds |
//! | the network drops connections without a word | after a time-out those that were not of use lately leave the pool |
//! | this server is a standby now | 503, and the message says what to set |
//! | no tables | [`Corrupt`], and the message says to call [`migrate`] |
//! | no [`PurgeTask`] | the tables grow |
//! | the listening connection is lost (`push_lost`) | ends of other nodes count after `max_staleness`, until `push_joined` |
//!
//! # Limits
//!
//! - About 701 bytes a session at a million of them, indexes included (`STORES=postgres scripts/bench.sh bytes`), and
//!   the JSON of the claims. [Operation](crate::manual::operation#postgresql) has more on vacuum.
//! - Opening a session, and ending all of a subject, lock the subject's row. Users do not wait for each other.
//! - Times are by the clock of the server.
//!
//! Shown by `cargo run --example two_nodes --features postgres` and by the demo with `STORE=postgres://..`. Tested
//! against real servers: `tests/postgres_*.rs`, among them PgBouncer, a pool and a server without a free connection,
//! and a server that is killed.
//!
//! [`Corrupt`]: crate::StoreErrorKind::Corrupt
//! [`ListenTask`]: crate::ListenTask
//! [`PostgresStore`]: crate::PostgresStore
//! [`PurgeTask`]: crate::PurgeTask
//! [`listen`]: crate::PostgresStore::listen
//! [`listen_with`]: crate::PostgresStore::listen_with
//! [`migrate`]: crate::PostgresStore::migrate
//! [`open`]: crate::PostgresStore::open
//! [`schema`]: crate::PostgresStoreBuilder::schema
//! [`schema_sql`]: crate::PostgresStore::schema_sql
//! [`timeout`]: crate::PostgresStoreBuilder::timeout
//! [`unprepared`]: crate::PostgresStoreBuilder::unprepared
//! [`without_notify`]: crate::PostgresStoreBuilder::without_notify
