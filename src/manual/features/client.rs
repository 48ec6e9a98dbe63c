//! `client`, `reqwest`: a program that keeps a session with such a service.
//!
//! `client` brings [`Session`], which logs in, holds tokens and refreshes them, and [`SessionLayer`], which sends the
//! access token with the requests of any tower client: that of hyper-util, a channel of tonic, reqwest. It adds one
//! dependency, `httpdate`, for the header `Date` of answers. `reqwest` is `client`, and [`ReqwestService`], which makes
//! reqwest's client a tower service; it pulls in reqwest 0.13 without its default features.
//!
//! Take it for a command line, a service that acts for a user, a test of load. The [module](crate::client) has all
//! rules.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use serde_json::json;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_jwt_auth::client::{MemoryStorage, Session, SessionLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let http = tower::service_fn(async |request: Request<Full<Bytes>>| {
//! #     let login = r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":900,"refresh_token":"r"}"#;
//! #     let body = if request.uri().path() == "/auth/login" { login } else { "orders" };
//! #     let is_sent = request.headers().contains_key("authorization");
//! #     assert_eq!(is_sent, request.uri().host() == Some("api.shop.example"));
//! #     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(body)))
//! # });
//! // `http`: hyper_util::client::legacy::Client with TLS, for instance. It should follow no redirects.
//! let session = Session::builder("https://www.shop.example/auth", MemoryStorage::new(), http.clone())
//!     .add_origin("https://api.shop.example")     // the token goes there, and to no other host
//!     .user_agent("shop-cli/1.0")
//!     .build()?;
//! session.login(&json!({ "email": "ada@example.com", "password": "correct horse" })).await?;
//! tokio::spawn(session.keep_alive());             // only if it must not lapse while nothing is asked
//!
//! // After a 401 a body is sent again only if there is a way to make it again.
//! let layer = SessionLayer::new(session.clone()).with_replay(|body: &Full<Bytes>| Some(body.clone()));
//! let client = ServiceBuilder::new().layer(layer).service(http);
//! let request = Request::get("https://api.shop.example/orders").body(Full::default())?;
//! assert_eq!(client.oneshot(request).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # The service at the other end
//!
//! | it delivers | the client |
//! |---|---|
//! | [`Delivery::Body`](crate::Delivery::Body) or [`Both`](crate::Delivery::Both) | [`Session::new`](crate::Session::new), or the builder as above |
//! | [`Cookie`](crate::Delivery::Cookie), the default | [`cookie`](crate::client::SessionBuilder::cookie), with the policy of the service |
//! | tokens bound to a key | [`dpop`](crate::client::SessionBuilder::dpop) |
//!
//! # In operation
//!
//! - **Where tokens are kept.** [`MemoryStorage`] ends with the process. For days, implement [`TokenStorage`]:
//!   `examples/client/file_storage.rs` has a file that only its owner can read. Whoever reads it has the session.
//!   Processes that share a storage share the session; the storage must replace its content as a whole.
//! - **Outages.** An attempt to refresh is given up after nine seconds, made again at once, and then for half a minute.
//!   Only the server's `invalid_grant` ends a session. A request whose token could not be refreshed goes out with the
//!   old one or without, and the answer has the [`ClientError`] in its extensions.
//! - **Events.** [`Session::events`](crate::Session::events) tells an application that the user was signed out;
//!   `tracing` has `refresh_failed` and `storage_failed`.
//! - **The runtime** is tokio's, with its timer.
//!
//! # reqwest
//!
//! TLS is for your own `Cargo.toml` to choose: `reqwest = { version = "0.13", features = ["rustls"] }`. Build the
//! client without redirects, so that each hop comes through the layer.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::client::{MemoryStorage, ReqwestService, Session};
//!
//! let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//! let http = ReqwestService::new(http);
//! let session = Session::new("https://www.shop.example/auth", MemoryStorage::new(), http)?;
//! # let _ = session;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! - One session is one user. A service that acts for many has one for each.
//! - It is no OAuth client: it speaks this crate's login, and no authorization code flow.
//! - gRPC calls are not sent again after `UNAUTHENTICATED`, as their bodies are streams; the next one refreshes first.
//!
//! Shown by `cargo run --example client`. Tested: `tests/client.rs`, `tests/client_faults.rs`, `tests/client_chaos.rs`
//! (a bad network over hours of a clock), `tests/client_dpop.rs`, `tests/client_sockets.rs`.
//!
//! [`ClientError`]: crate::client::ClientError
//! [`MemoryStorage`]: crate::client::MemoryStorage
//! [`ReqwestService`]: crate::client::ReqwestService
//! [`Session`]: crate::Session
//! [`SessionLayer`]: crate::SessionLayer
//! [`TokenStorage`]: crate::client::TokenStorage
