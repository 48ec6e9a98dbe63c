//! Where sessions are kept: the trait [`SessionStore`] and the stores that come with the crate.
//!
//! | store | feature | for |
//! |---|---|---|
//! | [`MokaStore`] | `moka` (default) | one process; sessions end with it |
//! | [`RedisStore`] | `redis` | any number of nodes, on Redis |
//! | [`PostgresStore`] | `postgres` | any number of nodes, on PostgreSQL |
//!
//! Each of them is a folder, and one question has the same file in each:
//!
//! | question | file |
//! |---|---|
//! | How is the store made, and what can be set? | `builder.rs` |
//! | What does each operation do? | `session_store.rs` |
//! | How is a rotation decided and written in one step? | `rotation.rs`; in memory `subject.rs` |
//! | How does an operation go to the server? | `operation.rs` |
//! | How are sessions read from its answers? | `codec.rs` |
//! | What do its errors mean? | `error.rs` |
//! | How do nodes hear of each other? | `push.rs` |
//! | Where are revocations of tokens kept? | `revocations.rs` |

mod dyn_store;
mod error;
#[cfg(any(feature = "redis", feature = "postgres"))]
mod facts;
mod feed;
#[cfg(any(feature = "redis", feature = "postgres"))]
mod listen;
#[cfg(feature = "moka")]
#[cfg_attr(docsrs, doc(cfg(feature = "moka")))]
mod moka;
mod outcome;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
mod postgres;
mod purge;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
mod redis;
mod replay;
mod revocation;
mod runtime;
mod session_store;

pub(crate) use dyn_store::{BoxFuture, DynStore};
pub use error::{StoreError, StoreErrorKind};
pub(crate) use feed::Listen;
pub use feed::{SessionChange, SessionFeed, Unsettled};
#[cfg(any(feature = "redis", feature = "postgres"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "redis", feature = "postgres"))))]
pub use listen::ListenTask;
#[cfg(feature = "moka")]
#[cfg_attr(docsrs, doc(cfg(feature = "moka")))]
pub use moka::{MokaStore, MokaStoreBuilder};
pub use outcome::{Creation, Rotation};
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use postgres::{PostgresStore, PostgresStoreBuilder};
pub use purge::PurgeTask;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use redis::{ReconnectingConnection, RedisStore, RedisStoreBuilder};
pub(crate) use replay::DynReplays;
pub use replay::{ProofId, ReplayStore};
pub(crate) use revocation::DynRevocations;
pub use revocation::{RevocationKey, RevocationStore};
pub use session_store::SessionStore;
