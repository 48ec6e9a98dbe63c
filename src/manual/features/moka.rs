//! `moka`: sessions in the memory of one process.
//!
//! Brings [`MokaStore`], which keeps sessions and revocations of tokens, over the cache `moka` (its feature `future`).
//!
//! Take it for one process whose users may be logged out by a restart: development, tests, an internal tool. It is no
//! cache before another store. A second process knows none of its sessions.
//!
//! ```
//! use std::time::Duration;
//! use tower_jwt_auth::{LiveSessionsLayer, MokaStore, PurgeTask};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! // One million users at most. Without this line there is no limit.
//! let store = MokaStore::builder().max_subjects(1_000_000).build();
//! let _purge = PurgeTask::spawn(store.clone(), Duration::from_secs(600))?;
//!
//! // Clones are the same store: one for the service, one for the layer that refuses ended sessions.
//! let live = LiveSessionsLayer::new(store.clone(), Duration::from_secs(10));
//! # let _ = live;
//! assert_eq!(store.evicted_sessions(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # In operation
//!
//! - A session weighs about 1,434 bytes at a million of them, one a subject (`STORES=moka scripts/bench.sh bytes`).
//! - A subject goes some time after its last session has expired. A [`PurgeTask`] is not needed for that; it drops the
//!   expired sessions of subjects that have others.
//! - With [`max_subjects`], the subject that was not touched for the longest time goes when there are too many, with
//!   its live sessions: those users are logged out, and the end of all its sessions is forgotten with it. Each loss is
//!   the event `session_evicted`, and counts in [`evicted_sessions`]. Choose a number that is never reached.
//! - Whoever may open accounts without end can fill the memory, where there is no limit. Revocations of tokens are not
//!   limited in number at all; each stays for 25 hours.
//! - There is no outage: an operation never fails.
//! - Everything of a subject is behind one lock, held for the length of a decision. Users do not wait for each other.
//! - A restart ends all sessions, and forgets revocations: a token that was revoked by name is good again until it
//!   expires. So do the clients of this crate log in again, and nothing else happens.
//!
//! There is nothing to hear of other nodes, so it has no `listen`; what this process ends is known to its layers at
//! once. It is no [`ReplayStore`](crate::ReplayStore): one process needs none.
//!
//! The examples `demo`, `axum`, `hyper` and `tls` run on it. `tests/moka_store.rs` and `tests/store_equality.rs` test
//! it, the second beside the other stores.
//!
//! [`MokaStore`]: crate::MokaStore
//! [`PurgeTask`]: crate::PurgeTask
//! [`evicted_sessions`]: crate::MokaStore::evicted_sessions
//! [`max_subjects`]: crate::MokaStoreBuilder::max_subjects
