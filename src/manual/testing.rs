//! Testing: how to test a service that uses the crate.
//!
//! The feature `test-util` brings what a test needs, as a dev-dependency only: its keys are known to everybody.
//!
//! ```toml
//! [dev-dependencies]
//! # From where your [dependencies] have it: until it is published, `path = "../tower-jwt-auth"` at both places.
//! tower-jwt-auth = { version = "0.1", features = ["test-util"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! tower = { version = "0.5", features = ["util"] }
//! # And what the blocks below and in the guide import, if it is not there already:
//! axum = "0.8"
//! bytes = "1"
//! http = "1"
//! http-body-util = "0.1"
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tower-test = "0.4"
//! ```
//!
//! No test needs a server, a key or a pause. Services are called as values, by `oneshot` of tower; tokens come from a
//! [`TestIssuer`], time from a [`ManualClock`], outages from a [`FaultStore`].
//!
//! | what to test | with | in the [guide] |
//! |---|---|---|
//! | a handler alone | [`AuthContext::for_test`](crate::AuthContext::for_test) | [a handler alone](crate::test_util::guide#a-handler-alone) |
//! | a service, and who may use it | [`TestIssuer::token_for`](crate::test_util::TestIssuer::token_for) | [a service behind the layer](crate::test_util::guide#a-service-behind-the-layer) |
//! | that nothing bad gets in | [`TestIssuer::bad_tokens`](crate::test_util::TestIssuer::bad_tokens), `tower_test::mock` | [bad tokens never get in](crate::test_util::guide#bad-tokens-never-get-in) |
//! | expiry | [`ManualClock`] | [tokens that expire](crate::test_util::guide#tokens-that-expire) |
//! | your [`Authenticator`](crate::Authenticator) | [`AuthService`](crate::AuthService) over a [`MokaStore`](crate::MokaStore) | [login, refresh, logout](crate::test_util::guide#login-refresh-logout) |
//! | the end of sessions | the same, and [`FaultStore`] for another node | [sessions that end](crate::test_util::guide#sessions-that-end), [that another node ends](crate::test_util::guide#sessions-that-another-node-ends) |
//! | DPoP | [`ProofKey`](crate::ProofKey) | [tokens that are bound to a key](crate::test_util::guide#tokens-that-are-bound-to-a-key) |
//! | outages | [`FaultStore`] | [an outage of the store](crate::test_util::guide#an-outage-of-the-store) |
//! | a store of your own | [`store_contract!`](crate::store_contract) | [a store of your own](crate::test_util::guide#a-store-of-your-own) |
//!
//! Three tests find most faults of wiring. Each block is the body of a `#[tokio::test]`.
//!
//! # The door is shut
//!
//! All routes, all bad tokens, and none at all. This is the test that finds a route which was added behind the layer's
//! back: write the list of paths by hand, and let `app` be the function that makes your whole service.
//!
//! ```
//! use axum::body::Body;
//! use axum::http::{Request, StatusCode};
//! use axum::routing::get;
//! use axum::Router;
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceExt;
//! use tower_jwt_auth::test_util::{TestIssuer, bearer};
//! use tower_jwt_auth::{JwtAuthLayer, Verified, Verifier};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { email: String }
//!
//! // In the service. The verifier is an argument, so that a test can give another one.
//! fn app(verifier: Verifier<User>) -> Router {
//!     Router::new()
//!         .route("/api/me", get(async |user: Verified<User>| user.email.clone()))
//!         .route("/api/orders", get(async || "orders"))
//!         .route_layer(JwtAuthLayer::new(verifier))
//!         .route("/health", get(async || "well"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let issuer = TestIssuer::new();
//! let user = User { email: "ada@example.com".into() };
//! let status = async |path: &str, token: Option<&str>| {
//!     let mut request = Request::get(path);
//!     if let Some(token) = token {
//!         request = request.header("authorization", bearer(token));
//!     }
//!     app(issuer.verifier()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
//! };
//!
//! for path in ["/api/me", "/api/orders"] {
//!     assert_eq!(status(path, None).await, StatusCode::UNAUTHORIZED, "{path}");
//!     for (fault, token) in issuer.bad_tokens(&user) {
//!         assert_eq!(status(path, Some(&token)).await, StatusCode::UNAUTHORIZED, "{path}: {fault}");
//!     }
//!     assert_eq!(status(path, Some(&issuer.token(&user))).await, StatusCode::OK, "{path}");
//! }
//! assert_eq!(status("/health", None).await, StatusCode::OK);
//! # }
//! ```
//!
//! # A stolen cookie ends the session
//!
//! The [rule](crate::manual::rotation) is tested in the crate. What your test shows is that the settings are what you
//! meant, that the hook is called, and that no proxy or layer of yours loses the cookie.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::Full;
//! use tower::ServiceExt;
//! use tower_jwt_auth::test_util::{ManualClock, TestIssuer};
//! use tower_jwt_auth::{
//!     AuthService, ClientInfo, CookiePolicy, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys, SessionEvent,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let clock = ManualClock::new();
//! let issuer = TestIssuer::new().with_clock(clock.clone());
//! let store = MokaStore::builder().clock(clock.clone()).build();
//! let seen = Arc::new(Mutex::new(Vec::new()));
//! let told = Arc::clone(&seen);
//! let keys = RefreshKeys::new([7; 32]).unwrap();
//! let auth = AuthService::builder(issuer.config(), keys, store, NoLogin::<NoClaims>::new())
//!     .add_origin("https://app.example")
//!     .events(move |event: &SessionEvent<'_>| told.lock().unwrap().push(event.kind().as_str()))
//!     .build()
//!     .unwrap();
//!
//! // Sends the cookie; gives the status, and the cookie that the browser has from then on.
//! let refresh = async |token: &str| {
//!     let name = CookiePolicy::default().name();
//!     let request = Request::post("/auth/refresh")
//!         .header("origin", "https://app.example")
//!         .header("cookie", format!("{name}={token}"))
//!         .body(Full::<Bytes>::default())
//!         .unwrap();
//!     let answer = auth.clone().oneshot(request).await.unwrap();
//!     let set = answer.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap());
//!     let value = set.and_then(|cookie| cookie.split(['=', ';']).nth(1)).unwrap_or(token);
//!     (answer.status(), value.to_owned())
//! };
//!
//! let identity = Identity::new("ada", NoClaims {});
//! let granted = auth.sessions().open(identity, &ClientInfo::default()).await.unwrap();
//! let copied = granted.refresh_token().to_owned();
//!
//! clock.advance(Duration::from_secs(600));
//! let (status, owners) = refresh(&copied).await;
//! assert_eq!(status, StatusCode::OK);
//! assert_ne!(owners, copied);
//!
//! // Within 30 seconds this would be a second tab. Ten minutes later it is a thief.
//! clock.advance(Duration::from_secs(600));
//! assert_eq!(refresh(&copied).await.0, StatusCode::UNAUTHORIZED);
//! assert_eq!(refresh(&owners).await.0, StatusCode::UNAUTHORIZED);
//! assert_eq!(*seen.lock().unwrap(), ["opened", "rotated", "superseded", "unknown"]);
//! # }
//! ```
//!
//! # An outage logs nobody out
//!
//! ```
//! use tower_jwt_auth::test_util::{FaultStore, TestIssuer};
//! use tower_jwt_auth::{
//!     AuthService, ClientInfo, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys, SessionErrorKind,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let issuer = TestIssuer::new();
//! let store = FaultStore::new(MokaStore::new());
//! let faults = store.faults();
//! let keys = RefreshKeys::new([7; 32]).unwrap();
//! let auth = AuthService::builder(issuer.config(), keys, store, NoLogin::<NoClaims>::new())
//!     .add_origin("https://app.example")
//!     .build()
//!     .unwrap();
//! let identity = Identity::new("ada", NoClaims {});
//! let granted = auth.sessions().open(identity, &ClientInfo::default()).await.unwrap();
//!
//! faults.outage();
//! let error = auth.sessions().refresh(granted.refresh_token()).await.unwrap_err();
//! assert_eq!(error.kind(), SessionErrorKind::Unavailable);
//!
//! faults.recover();
//! assert!(auth.sessions().refresh(granted.refresh_token()).await.is_ok());
//! # }
//! ```
//!
//! # What else is worth a test
//!
//! - The settings of the deployed service: build it from the real configuration, and look at `Set-Cookie`.
//! - A browser against the real page, with two tabs. Cookies, `SameSite` and origins are rules of browsers, and no mock
//!   has them.
//! - Against Redis or PostgreSQL, one login, refresh and logout: that the address, the rights and the time-outs are
//!   right. What the store does is tested in the crate.
//!
//! [`FaultStore`]: crate::test_util::FaultStore
//! [`ManualClock`]: crate::test_util::ManualClock
//! [`TestIssuer`]: crate::test_util::TestIssuer
//! [guide]: crate::test_util::guide
