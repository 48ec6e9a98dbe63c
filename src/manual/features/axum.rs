//! `axum`: extractors and answers for handlers of axum 0.8.
//!
//! The layers and the service work on axum without it: they are tower layers and a tower service. The feature lets
//! handlers name what they need and return what they got:
//!
//! | type | in a handler |
//! |---|---|
//! | [`Verified<C>`](crate::Verified) | an argument: the verified token. Without one it answers 401 with a challenge |
//! | `Option<Verified<C>>` | an argument: `None` if no token was sent, which an optional layer lets pass. A bad one is refused |
//! | [`ClientInfo`](crate::ClientInfo) | an argument: user agent, and address where a layer told it. Never fails |
//! | [`Rejection`](crate::Rejection) | an answer: that of the layer |
//! | [`Granted`](crate::Granted) | an answer: the tokens and the cookie of a session that was opened from code |
//! | [`SessionError`](crate::SessionError) | an answer: 401, 503 or 500, as it is |
//!
//! It pulls in `axum-core` 0.5, and not axum: no router, no server.
//!
//! ```
//! use axum::extract::State;
//! use axum::routing::{get, post};
//! use axum::{Router, body::Body};
//! use http::{Request, StatusCode};
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceExt;
//! use tower_jwt_auth::{
//!     AuthService, ClientInfo, Granted, Identity, JwtAuthLayer, MokaStore, NoLogin, RefreshKeys, SessionError,
//!     Sessions, SigningKey, TokenConfig, Verified,
//! };
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { email: String }
//!
//! async fn me(user: Verified<User>) -> String {
//!     user.email.clone()
//! }
//!
//! /// A login of your own, by passkey for instance. Protect it against other sites as `examples/axum.rs` does.
//! async fn passkey(State(sessions): State<Sessions<User>>, client: ClientInfo) -> Result<Granted, SessionError> {
//!     // .. once the answer of the passkey was checked:
//!     sessions.open(Identity::new("user-1", User { email: "ada@example.com".to_owned() }), &client).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = TokenConfig::builder()
//! #     .key(SigningKey::ed25519_seed(&[7; 32])?)
//! #     .issuer("https://www.shop.example")
//! #     .audience("api")
//! #     .build()?;
//! # let (keys, store) = (RefreshKeys::new([9; 32])?, MokaStore::new());
//! let auth = AuthService::builder(&config, keys, store, NoLogin::<User>::new())
//!     .add_origin("https://www.shop.example")
//!     .build()?;
//! let app = Router::new()
//!     .route("/api/me", get(me))
//!     .route_layer(JwtAuthLayer::new(config.verifier::<User>()))  // for the routes above it
//!     .route("/passkey", post(passkey))
//!     .with_state(auth.sessions())
//!     .nest_service(auth.path(), auth.clone());
//!
//! let refused = app.clone().oneshot(Request::get("/api/me").body(Body::empty())?).await?;
//! assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//! let granted = app.oneshot(Request::post("/passkey").body(Body::empty())?).await?;
//! assert!(granted.headers().contains_key("set-cookie"));
//! # Ok(())
//! # }
//! ```
//!
//! # Mistakes that are found
//!
//! | mistake | answer, and event |
//! |---|---|
//! | an extractor without a bearer layer around it | 500, `no_bearer_layer` |
//! | `Verified<A>` behind a layer of `B` | 500, `other_claims`, with both names |
//! | `.layer(bearer)` on the whole router, logins included | logins are 401: put `route_layer` on what needs a user |
//! | [`LiveSessionsLayer`](crate::LiveSessionsLayer) added after the bearer layer, and so outside of it | 500, `no_bearer_layer` |
//! | `nest` around a bearer layer with DPoP | the proof's URL lacks what was cut: [`JwtAuthLayer::dpop`](crate::JwtAuthLayer::dpop) |
//!
//! The extractor takes what the layer has verified; it verifies nothing by itself. Scopes and roles are asked for by
//! layers ([`authorize`](crate::authorize)), or in the handler by [`Verified`](crate::Verified) and a
//! [`Rejection`](crate::Rejection) that it returns.
//!
//! `examples/axum.rs` has scopes, roles, step-up, passkeys, problems in JSON and CORS; `tests/axum.rs` tests the
//! extractors and answers, and the order of layers.
