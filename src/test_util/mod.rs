//! For tests of those who use the crate, behind the feature `test-util`. Not for production: keys are known, and what
//! cannot go on panics.
//!
//! | for tests of | there is |
//! |---|---|
//! | a service behind the layer | [`TestIssuer`]: good tokens, and for each rule of verification a bad one; [`bearer`] |
//! | a handler alone | [`AuthContext::for_test`](crate::AuthContext::for_test), with [`TestIssuer::verified`] |
//! | what depends on time | [`ManualClock`], for tokens and for sessions |
//! | outages | [`FaultStore`], which fails, hangs and loses answers when told to |
//! | a store of one's own | [`store_contract!`](crate::store_contract); [`new_session`], [`present`] and others for single steps |
//! | a store of revocations of one's own | [`revocation_contract`] |
//!
//! The [`guide`] shows each of them in a test.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower_jwt_auth::test_util::{ManualClock, new_session, present};
//! use tower_jwt_auth::{Clock, MokaStore, SessionPolicy, SessionStore};
//!
//! let clock = ManualClock::new();
//! let store = MokaStore::builder().clock(clock.clone()).build();
//! let session = new_session("ada", clock.now());
//! store.create(&session, &SessionPolicy::default()).await?;
//!
//! clock.advance(Duration::from_secs(60));
//! let rotation = store.rotate(&present(&session, 0), &SessionPolicy::default()).await?;
//! assert_eq!(rotation.decision.as_str(), "rotated");
//! # Ok(())
//! # }
//! ```

mod clock;
#[doc(hidden)]
pub mod contract;
mod fault_store;
mod faults;
mod issuer;
mod revocations;
mod sessions;
mod told;

#[doc = include_str!("guide.md")]
pub mod guide {}

pub use clock::ManualClock;
pub use contract::{Bench, ShiftTime};
pub use fault_store::FaultStore;
pub use faults::{Fault, Faults, StoreOperation};
pub use issuer::{TestIssuer, bearer};
#[doc(hidden)]
pub use revocations::a_revocation_is_heard_of;
pub use revocations::revocation_contract;
pub use sessions::{created, fresh_attempt, new_session, present, unique};
