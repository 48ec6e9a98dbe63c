//! For tests of those who use the crate, behind the feature `test-util`: a clock to be set by hand, sessions and
//! presented tokens without a service, and the contract of session stores.
//!
//! A store of one's own is tested by [`store_contract!`](crate::store_contract).
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
mod sessions;

pub use clock::ManualClock;
pub use contract::{Bench, ShiftTime};
pub use sessions::{created, fresh_attempt, new_session, present, unique};
