//! `test-util`: for tests of your own service. It adds no dependency.
//!
//! | for | there is |
//! |---|---|
//! | tokens, good and bad | [`TestIssuer`] |
//! | time | [`ManualClock`] |
//! | outages of the store | [`FaultStore`] |
//! | a handler alone | [`AuthContext::for_test`](crate::AuthContext::for_test) |
//! | a store of your own | [`store_contract!`](crate::store_contract), [`revocation_contract`] |
//! | Redis and PostgreSQL by a clock set by hand | `clock` on their builders |
//!
//! Switch it on for tests only. Its keys are known to everybody, and what cannot go on panics:
//!
//! ```toml
//! [dev-dependencies]
//! tower-jwt-auth = { version = "0.1", features = ["test-util"] }
//! ```
//!
//! ```
//! use http::{Request, StatusCode};
//! use http_body_util::Full;
//! use tower::ServiceExt;
//! use tower_jwt_auth::test_util::{FaultStore, ManualClock};
//! use tower_jwt_auth::{AuthService, ClientInfo, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys};
//! # use tower_jwt_auth::{SigningKey, TokenConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One clock for tokens and sessions.
//! let clock = ManualClock::new();
//! let config = TokenConfig::builder()
//!     .clock(clock.clone())
//! #     .key(SigningKey::ed25519_seed(&[7; 32])?)
//! #     .issuer("https://www.shop.example")
//! #     .audience("api")
//!     // .. key, issuer, audience
//!     .build()?;
//! let store = FaultStore::new(MokaStore::builder().clock(clock.clone()).build());
//! let faults = store.faults();
//! let auth = AuthService::builder(&config, RefreshKeys::new([9; 32])?, store, NoLogin::<NoClaims>::new())
//!     .add_origin("https://www.shop.example")
//!     .build()?;
//! let granted = auth.sessions().open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await?;
//! let refresh = || {
//!     Request::post("/auth/refresh")
//!         .header("cookie", format!("__Secure-refresh_token={}", granted.refresh_token()))
//!         .header("x-session-request", "1")
//!         .body(Full::<bytes::Bytes>::default())
//! };
//!
//! // An outage logs nobody out.
//! faults.outage();
//! assert_eq!(auth.clone().oneshot(refresh()?).await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//! faults.recover();
//! assert_eq!(auth.clone().oneshot(refresh()?).await?.status(), StatusCode::OK);
//!
//! // Eight days of nobody.
//! clock.advance(std::time::Duration::from_secs(8 * 24 * 3600));
//! assert_eq!(auth.oneshot(refresh()?).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! - Layers that remember answers of a store ([`LiveSessionsLayer`](crate::LiveSessionsLayer),
//!   [`RevocationsLayer`](crate::RevocationsLayer)) count `max_staleness` by tokio's time, which a test moves by
//!   `tokio::time::pause`, and not by the [`ManualClock`].
//! - The contract of session stores needs a way to move the store's time: [`ShiftTime`](crate::test_util::ShiftTime).
//! - There is no double of the whole service. Build the real one on [`MokaStore`](crate::MokaStore), as above: it takes
//!   no I/O.
//!
//! [`test_util::guide`](crate::test_util::guide) shows each of these in a test that runs, and
//! [`testing`](crate::manual::testing) goes further. `tests/test_util.rs` tests the tools, and the package
//! `examples/sqlite_store` is a store with its contract.
//!
//! [`FaultStore`]: crate::test_util::FaultStore
//! [`ManualClock`]: crate::test_util::ManualClock
//! [`TestIssuer`]: crate::test_util::TestIssuer
//! [`revocation_contract`]: crate::test_util::revocation_contract
