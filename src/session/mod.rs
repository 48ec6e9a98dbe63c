//! Sessions: the refresh token, the record that a store keeps of it, and the rule that rotates it.
//!
//! Pure and synchronous: no store, no HTTP, no clock of its own. [`decide`] is the whole rule; every
//! [`SessionStore`](crate::SessionStore) executes it atomically.
//!
//! A session has one secret, drawn once, and a *generation* that goes up with each rotation. So the successor of a
//! presented token can be built from the presented token, and building it twice gives the same token: an answer that
//! was lost on the way can be repeated, though no token is stored anywhere.
//!
//! [`Retry`] says until when:
//!
//! | mode | the successor is given again | for |
//! |---|---|---|
//! | `Strict` | never | one request at a time, and no answer lost |
//! | `Within` (default) | while it is new | browsers and all else that retries at once |
//! | `UntilUsed` | also as long as nobody has used it | clients that retry at any time later, where the use of access tokens is reported |
//!
//! ```
//! use std::time::Duration;
//! use tower_jwt_auth::{Retry, SessionPolicy};
//!
//! let policy = SessionPolicy::default()
//!     .with_idle_lifetime(Duration::from_secs(24 * 3600))
//!     .with_retry(Retry::Within { retry: Duration::from_secs(45), hold: Duration::from_secs(30) });
//! assert_eq!(policy.absolute_lifetime(), Duration::from_secs(30 * 24 * 3600));
//! ```

mod client_info;
mod id;
mod policy;
mod record;
mod refresh_token;
mod rotation;

pub use client_info::ClientInfo;
pub use id::{Attempt, ParseSessionIdError, SecretDigest, SessionId, SubjectDigest};
pub use policy::{OnReuse, Retry, SessionPolicy};
pub use record::{NewSession, Record, RotationState, SessionFacts};
pub use refresh_token::RefreshKeys;
pub(crate) use refresh_token::{RefreshCodec, RefreshToken};
pub use rotation::{Decision, Presented, Unknown, decide};
