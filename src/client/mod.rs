//! The other end: a client that keeps a session with an [`AuthService`](crate::AuthService) alive. Feature `client`.
//!
//! A [`Session`] logs in, holds the tokens, and refreshes them; any number of [`SessionLayer`]s send its access token
//! with the requests of any tower client: hyper-util, tonic's channels, and reqwest through an adapter (feature
//! `reqwest`).
//!
//! For each request, in this order:
//!
//! 1. a request that has an `Authorization` header, goes to an origin that was not named, or is the session's own
//!    (login, refresh, logout) is sent as it is;
//! 2. nobody is signed in: it is sent without a token, and the server's answer is the caller's;
//! 3. the access token is sent with it, marked sensitive. One that is due (the smaller of a minute and a fifth of its
//!    life before it expires, and some jitter earlier) is refreshed beside the request; one that has expired, before
//!    it;
//! 4. a 401 (`UNAUTHENTICATED` in gRPC): once more, if the body can be sent again, with the tokens of a refresh, or
//!    those that another request got meanwhile. Never with those of another login, and not where a step-up is asked for
//!    (RFC 9470).
//!
//! Tokens that are bound to a key ([`SessionBuilder::dpop`], RFC 9449) go out as `DPoP`, with a proof in the
//! header `DPoP` that is made for this one request: a retry has another. If it cannot be made the request goes out
//! without the token, and the answer has the [`ClientError`] in its extensions. The nonce that an origin gave last is
//! in the proofs for it; one that is asked for (`use_dpop_nonce`) is a reason to send a request once more at once,
//! besides the retry of rule 4, and none to refresh. Login and refresh have a proof as well, and the token must be of
//! the type `DPoP`. Without a key all is as if there were no DPoP.
//!
//! Redirects are followed outside the layer, if at all, so that each hop comes through these rules.
//!
//! A refresh is one for all who need it, in a task of its own. An attempt is given up after nine seconds and made again
//! at once; then it is tried again after a second, two, four, and every four seconds for half a minute, as the server
//! repeats a lost answer for so long. Only the server's `invalid_grant` ends a session: no outage, no time-out, no
//! answer of something in between does. Where a token could not be refreshed the request goes out with the old one or
//! without, and the answer has the [`ClientError`] in its extensions.
//!
//! Times are by the server's clock, as far as the header `Date` of its answers tells it, so that processes whose clocks
//! differ can share a [`TokenStorage`].
//!
//! The runtime must be tokio's, with its timer. tower's `Buffer` and limits go outside the layer or inside, as for any
//! other; the session's transport must not share them.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::client::{MemoryStorage, Session, SessionLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In an application: hyper_util::client::legacy::Client, for instance.
//! let http = service_fn(async |request: Request<Full<Bytes>>| {
//!     let is_login = request.uri().path() == "/auth/login";
//!     let body = if is_login {
//!         r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":900,"refresh_token":"r"}"#.to_owned()
//!     } else {
//!         format!("{:?}", request.headers().get("authorization").map(|value| value.as_bytes()))
//!     };
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(body)))
//! });
//!
//! let session = Session::new("https://app.example/auth", MemoryStorage::new(), http.clone())?;
//! session.login(&serde_json::json!({ "email": "ada@example.com", "password": "correct horse" })).await?;
//!
//! let client = ServiceBuilder::new().layer(SessionLayer::new(session)).service(http);
//! let request = Request::get("https://app.example/api/me").body(Full::default())?;
//! let response = client.oneshot(request).await?;
//! # use http_body_util::BodyExt;
//! # assert!(response.into_body().collect().await?.to_bytes().starts_with(b"Some"));
//! # Ok(())
//! # }
//! ```
//!
//! gRPC: `GreeterClient::new(ServiceBuilder::new().layer(layer).service(channel))` with
//! `SessionLayer::new(session).with_relative_origin("https://grpc.example")?`. A call is not sent again, as its body is
//! a stream; the next one refreshes first, or has the nonce that was asked for.

mod answer;
mod builder;
mod endpoint;
mod error;
mod event;
mod flight;
mod future;
mod layer;
mod origin;
mod proof;
mod replay;
#[cfg(feature = "reqwest")]
mod reqwest;
mod schedule;
mod session;
mod shared_state;
mod storage_sync;
mod tokens;
mod tokens_in_use;

pub use builder::SessionBuilder;
pub use error::{ClientError, ClientErrorKind};
pub use event::{Event, Events};
pub use future::SessionFuture;
pub use layer::{SessionLayer, SessionService};
pub use replay::{NoReplay, Replay, ReplayEmpty, ReplayWith};
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use reqwest::ReqwestService;
pub use session::Session;
pub use tokens::{MemoryStorage, TokenStorage, Tokens};

#[doc(inline)]
pub use crate::transport::BoxError;
