//! Migration: from JWTs written by hand, and from session cookies, without logging everybody out.
//!
//! - [The plan](#the-plan)
//! - [From JWTs written by hand](#from-jwts-written-by-hand): [what becomes of what](#what-becomes-of-what),
//!   [taking both kinds of tokens](#taking-both-kinds-of-tokens), [trading old tokens in](#trading-old-tokens-in)
//! - [From session cookies](#from-session-cookies): [what corresponds to what](#what-corresponds-to-what),
//!   [a session from a cookie](#a-session-from-a-cookie)
//! - [Logouts on the way](#logouts-on-the-way)
//! - [Where it gets stuck](#where-it-gets-stuck)
//!
//! # The plan
//!
//! Four deployments. After each of them everything works, and the one before can be put back:
//!
//! 1. **Look.** Put a [`JwtAuthLayer`] with [`observe`](crate::JwtAuthLayer::observe) in front. It lets all requests
//!    pass, and the event `observed` says what it would have refused, and why. Change its settings until it would
//!    refuse nothing good.
//! 2. **Take both.** The layer takes old and new tokens, and takes over from the old check. Nobody issues new ones yet.
//!    All services must have this before the next step.
//! 3. **Issue the new.** Mount [`AuthService`]. New logins get the new kind of session; clients with an old token or
//!    cookie trade it in, once, without asking the user.
//! 4. **Take the new only.** When the old ones have run out, or on a day that you name, remove the old verifier, the
//!    trading-in and the old tables. Who was away for all that time logs in again.
//!
//! Between 3 and 4 lies the longest life of an old token, or whatever part of it you want to wait for. Going back from
//! 3 costs those who have a new session a login, so let it begin with a few users, by a switch in the page.
//!
//! # From JWTs written by hand
//!
//! ## What becomes of what
//!
//! | you have | it becomes |
//! |---|---|
//! | a middleware around `jsonwebtoken::decode` | [`JwtAuthLayer`] with [`TokenConfig::verifier`](crate::TokenConfig::verifier) |
//! | `Validation { iss, aud, leeway, .. }` | [`issuer`](crate::TokenConfigBuilder::issuer), [`audience`](crate::TokenConfigBuilder::audience) (both required), [`leeway`](crate::TokenConfigBuilder::leeway) |
//! | a `Claims` struct with `sub`, `exp`, `email` .. | a type with `email` .. only, read by [`Verified`]; `sub`, `exp`, `scope` and the other registered claims are its methods |
//! | `encode` in the login handler | [`AuthService`] with your check of the password in an [`Authenticator`] |
//! | `request.extensions().get::<Claims>()` | `Verified::<User>::of(request.extensions())`, or the extractor `Verified<User>` with the feature `axum` |
//! | a role in the claims, compared in each handler | [`RequireLayer`], or scopes and [`RequireScopeLayer`] |
//! | tokens of days or weeks | access tokens of 15 minutes, and a session that refreshes them |
//! | the token in `localStorage` | the access token in the page's memory, the refresh token in an `HttpOnly` cookie |
//! | a table of refresh tokens in SQL | `PostgresStore` or `RedisStore`; tables of their own, no column of yours is used |
//! | `DELETE FROM refresh_tokens WHERE user_id = ..` | [`Sessions::end_all`](crate::Sessions::end_all) |
//! | a list of blocked `jti` | [`Revocations`] for tokens without a session, [`LiveSessionsLayer`] for those with one |
//! | `HS256` with a secret that all services share | an asymmetric [`SigningKey`] in one service, public keys in the others |
//!
//! ## Taking both kinds of tokens
//!
//! Give the new tokens an issuer name of their own. Then [`Verifier::several`] tells them apart, each kind has its own
//! keys and rules, and step 4 removes one line:
//!
//! ```
//! use std::time::Duration;
//!
//! use serde::{Deserialize, Serialize};
//! use tower_jwt_auth::{
//!     AccessGrant, ConfigError, Issuer, JwtAuthLayer, SigningKey, TokenConfig, Verifier, VerifyingKey,
//! };
//!
//! /// One type for both. What only one of them has is an `Option`, or has a default.
//! #[derive(Serialize, Deserialize)]
//! struct User {
//!     email: String,
//!     #[serde(default)]
//!     role: Option<String>,
//! }
//!
//! /// Tokens as the old code makes them: HS256, `typ` of `JWT`, good for 8 hours.
//! fn old(secret: &[u8]) -> Result<Verifier<User>, ConfigError> {
//!     let config = TokenConfig::builder()
//!         .add_verifying_key(VerifyingKey::hs256(secret)?)
//!         .insecure_issuer("my-app")
//!         .audience("my-app-users")
//!         .accept_type("JWT")
//!         .accept_lifetime(Duration::from_secs(8 * 3600))
//!         .build()?;
//!     Ok(config.verifier())
//! }
//!
//! fn new(key_pem: &str) -> Result<TokenConfig, ConfigError> {
//!     TokenConfig::builder()
//!         .key(SigningKey::ed25519_pem(key_pem)?)
//!         .issuer("https://app.example")
//!         .audience("api")
//!         .build()
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key_pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
//! # let old_secret = b"the secret of the old tokens, 32 bytes or more";
//! # let an_old_token = {
//! #     use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
//! #     use hmac::Mac;
//! #     let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
//! #     let claims = format!(
//! #         r#"{{"iss":"my-app","aud":"my-app-users","sub":"ada","iat":{now},"exp":{},"email":"ada@example.com"}}"#,
//! #         now + 8 * 3600
//! #     );
//! #     let text = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#), BASE64.encode(claims));
//! #     let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(old_secret)?;
//! #     mac.update(text.as_bytes());
//! #     format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
//! # };
//! let config = new(key_pem)?;
//! let verifier = Verifier::several([config.verifier(), old(old_secret)?])?;
//! let layer = JwtAuthLayer::new(verifier.clone());
//! # let _ = layer;
//!
//! assert_eq!(verifier.verify(&an_old_token)?.subject(), "ada");
//! let user = User { email: "ada@example.com".into(), role: None };
//! let a_new_token = Issuer::new(&config)?.issue(&AccessGrant::new("ada"), &user)?;
//! assert_eq!(verifier.verify(a_new_token.expose())?.subject(), "ada");
//! # Ok(())
//! # }
//! ```
//!
//! An old token that was accepted counts as any other. It has no session (`sid`), so a [`LiveSessionsLayer`] lets it
//! pass; a check of your own ([`add_check`](crate::Verifier::add_check)) on the old verifier can refuse it where that
//! matters.
//!
//! What can be accepted has bounds. `iss`, `sub`, `exp`, `iat` and `aud` (or another claim in its place) must be there,
//! an HMAC secret has at least the length of its hash (32 bytes for HS256), and no token lives longer than 24 hours.
//! Old tokens that do not fit are only traded in, by the check that you have now.
//!
//! ## Trading old tokens in
//!
//! The page sends what it found to `POST /auth/login`, as another kind of credentials. There the service has its check
//! against other sites already, and the answer is that of any login: an access token, and the cookie.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tower_jwt_auth::{Authenticator, AuthnError, ClientInfo, Identity, Timestamp};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { email: String }
//!
//! #[derive(Deserialize)]
//! #[serde(untagged)]
//! enum Credentials {
//!     Password { email: String, password: String },
//!     /// A JWT of the old kind, out of `localStorage`.
//!     OldToken { old_token: String },
//!     /// A refresh token of the old table.
//!     OldRefreshToken { old_refresh_token: String },
//! }
//!
//! /// Somebody whom the old code knows.
//! struct Known { id: String, email: String, logged_in_at: Timestamp }
//!
//! struct Accounts;
//!
//! impl Accounts {
//!     /// Your `jsonwebtoken::decode`, with its `Validation`, as it stands.
//!     fn old_token(&self, token: &str) -> Option<Known> {
//!         # let logged_in_at = Timestamp::from_unix_seconds(1_700_000_000);
//!         # (token == "eyJ..").then(|| Known { id: "ada".into(), email: "ada@example.com".into(), logged_in_at })
//!     }
//!
//!     /// Not a `DELETE`: an answer can be lost, and then the client asks again. So the row is taken for a minute:
//!     /// `UPDATE refresh_tokens SET traded_in_at = coalesce(traded_in_at, now()) WHERE digest = .. AND expires_at >
//!     /// now() AND coalesce(traded_in_at, now()) > now() - interval '1 minute' RETURNING user_id, logged_in_at`.
//!     async fn old_refresh_token(&self, token: &str) -> Result<Option<Known>, AuthnError> {
//!         # let _ = token;
//!         # Ok(None)
//!     }
//!
//!     async fn password(&self, email: &str, password: &str) -> Result<Option<Identity<User>>, AuthnError> {
//!         # let _ = (email, password);
//!         # Ok(None)
//!     }
//! }
//!
//! impl Authenticator for Accounts {
//!     type Credentials = Credentials;
//!     type Claims = User;
//!
//!     async fn authenticate(&self, login: Credentials, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
//!         let known = match login {
//!             Credentials::Password { email, password } => {
//!                 return self.password(&email, &password).await?.ok_or(AuthnError::Refused);
//!             }
//!             Credentials::OldToken { old_token } => self.old_token(&old_token),
//!             Credentials::OldRefreshToken { old_refresh_token } => self.old_refresh_token(&old_refresh_token).await?,
//!         };
//!         let known = known.ok_or(AuthnError::Refused)?;
//!         // No new proof of who it is: the time is that of the old login.
//!         Ok(Identity::new(known.id, User { email: known.email }).with_authenticated_at(known.logged_in_at))
//!     }
//! }
//! # use http::{Request, StatusCode};
//! # use tower::ServiceExt;
//! # use tower_jwt_auth::{AuthService, MokaStore, RefreshKeys, test_util::TestIssuer};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let issuer = TestIssuer::new();
//! # let auth = AuthService::builder(issuer.config(), RefreshKeys::new([7; 32]).unwrap(), MokaStore::new(), Accounts)
//! #     .add_origin("https://app.example")
//! #     .build()
//! #     .unwrap();
//! # let login = async |body: &'static str| {
//! #     let request = Request::post("/auth/login")
//! #         .header("origin", "https://app.example")
//! #         .header("content-type", "application/json")
//! #         .body(http_body_util::Full::<bytes::Bytes>::from(body))
//! #         .unwrap();
//! #     auth.clone().oneshot(request).await.unwrap().status()
//! # };
//! # assert_eq!(login(r#"{"old_token":"eyJ.."}"#).await, StatusCode::OK);
//! # assert_eq!(login(r#"{"old_token":"other"}"#).await, StatusCode::UNAUTHORIZED);
//! # assert_eq!(login(r#"{"old_refresh_token":"other"}"#).await, StatusCode::UNAUTHORIZED);
//! # auth.sessions().end_all("ada", None).await.unwrap();
//! # assert_eq!(login(r#"{"old_token":"eyJ.."}"#).await, StatusCode::SERVICE_UNAVAILABLE);
//! # }
//! ```
//!
//! In the page, with the browser module of the example `demo`:
//!
//! ```js
//! const session = new Session();
//! try {
//!   await session.refresh();                 // has the cookie already
//! } catch {
//!   const old_token = localStorage.getItem('token');
//!   if (old_token) await session.login({ old_token });
//! }
//! localStorage.removeItem('token');          // not reached if the trade failed: it is tried again at the next load
//! ```
//!
//! - **The old login's time** matters. [`with_authenticated_at`](crate::Identity::with_authenticated_at) makes it the
//!   `auth_time` of the new tokens, so that [`StepUpLayer`] does not take the trade for a login. And if all sessions of
//!   the user were ended after it, the trade is refused (with 503, as a login that was overtaken by it: the page goes
//!   on without a session). So a stolen old token does not survive "log out everywhere", for as long as the store
//!   remembers that ([`revocation_memory`](crate::SessionPolicy::revocation_memory), a little more than the idle
//!   lifetime).
//! - **A token that lives for weeks can be traded in for weeks,** by a thief as well. Keep the trade open for as short
//!   as you can bear, and note the `jti` of those that were, if they have one.
//! - **The subject** must be the same in both worlds, or a user has two. A stable id is better than an address of mail;
//!   if the old `sub` is one, look up the id in the trade, and have handlers know both until step 4.
//! - A client that is no browser trades in by the same route; with
//!   [`Delivery::Both`](crate::Delivery::Both) it adds `"delivery":"body"`.
//!
//! # From session cookies
//!
//! As with `tower-sessions`: a cookie with a random id, and the session's data in a store.
//!
//! First, whether. If all pages are rendered on the server and no script asks for anything, a session cookie is the
//! simpler thing, and this crate has nothing to offer that is worth the change. It is for an interface behind a page,
//! for several services that take one login, and for clients that are no browsers.
//!
//! ## What corresponds to what
//!
//! | session cookies | here |
//! |---|---|
//! | the cookie with the session id, sent with every request | the refresh cookie, sent to the mount point only; each request has an access token |
//! | a look-up in the store at each request | none; with a [`LiveSessionsLayer`], one per session and `max_staleness` |
//! | `SessionManagerLayer` | [`JwtAuthLayer`] for the requests, [`AuthService`] for login and logout |
//! | `session.insert("user", ..)` after the login | the claims of the [`Identity`](crate::Identity), at most 4 KiB |
//! | `session.get("user")` | [`Verified`] |
//! | `session.insert("cart", ..)` in any request | a table of yours, by [`Verified::subject`](crate::Verified) or the token's session id: claims change at a refresh only |
//! | `session.cycle_id()` against fixation | each login makes a new session; the one in the cookie ends |
//! | `session.flush()` | `POST /logout`, [`Sessions::end`](crate::Sessions::end) |
//! | `Expiry::OnInactivity(..)` | [`with_idle_lifetime`](crate::SessionPolicy::with_idle_lifetime), counted from the last rotation |
//! | `Expiry::AtDateTime(..)` | [`with_absolute_lifetime`](crate::SessionPolicy::with_absolute_lifetime) |
//! | `Expiry::OnSessionEnd` | none: the refresh cookie has a `Max-Age` |
//! | a CSRF token in each form | not needed where the token is in a header; the crate's own routes check the origin |
//! | a session before the login | none: keep what belongs to nobody in a cookie of your own, and take it over at the login |
//!
//! Pages that the server renders for a user need a token without a script. Either they are empty until a script has
//! asked for the data, or a route of yours sets a short-lived cookie that [`TokenCookie`] reads.
//!
//! ## A session from a cookie
//!
//! A route that takes the old cookie and opens a new session for its user. The browser sends the cookie by itself, so
//! the route has to make sure that no other site is behind the request: [`Sessions::open`](crate::Sessions::open) does
//! not.
//!
//! ```
//! use axum::Router;
//! use axum::extract::State;
//! use axum::http::{HeaderMap, StatusCode};
//! use axum::response::{IntoResponse, Response};
//! use axum::routing::post;
//! use serde::{Deserialize, Serialize};
//! use tower_http::csrf::CsrfLayer;
//! use tower_jwt_auth::{AuthService, ClientInfo, Identity, SessionErrorKind, Sessions, Timestamp};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct User { email: String }
//!
//! /// The sessions of before. With tower-sessions: take the extractor `Session`, and what the login has put into it.
//! #[derive(Clone)]
//! struct OldSessions;
//!
//! struct OldSession { user_id: String, email: String, logged_in_at: Timestamp }
//!
//! impl OldSessions {
//!     async fn find(&self, headers: &HeaderMap) -> Option<OldSession> {
//!         # let cookie = headers.get("cookie")?.to_str().ok()?;
//!         # let logged_in_at = Timestamp::from_unix_seconds(1_700_000_000);
//!         # let (user_id, email) = ("ada".into(), "ada@example.com".into());
//!         # (cookie == "id=old").then_some(OldSession { user_id, email, logged_in_at })
//!     }
//! }
//!
//! #[derive(Clone)]
//! struct App { old: OldSessions, sessions: Sessions<User> }
//!
//! async fn trade_in(State(app): State<App>, client: ClientInfo, headers: HeaderMap) -> Response {
//!     let Some(old) = app.old.find(&headers).await else {
//!         return StatusCode::UNAUTHORIZED.into_response();
//!     };
//!     let identity = Identity::new(old.user_id, User { email: old.email }).with_authenticated_at(old.logged_in_at);
//!     // The answer of a login: the access token in the body, and the refresh cookie.
//!     match app.sessions.open(identity, &client).await {
//!         Ok(granted) => granted.into_response(),
//!         // `RevokedMeanwhile`: logged out everywhere since the old login. Of itself it would be a 503.
//!         Err(error) => match error.kind() {
//!             SessionErrorKind::RevokedMeanwhile => StatusCode::UNAUTHORIZED.into_response(),
//!             _ => error.into_response(),
//!         },
//!     }
//! }
//!
//! fn app(auth: AuthService<User>) -> Result<Router, Box<dyn std::error::Error>> {
//!     let csrf = CsrfLayer::new().add_trusted_origin("https://app.example")?;
//!     Ok(Router::new()
//!         .route("/trade-in", post(trade_in).layer(csrf))
//!         .with_state(App { old: OldSessions, sessions: auth.sessions() })
//!         .nest_service(auth.path(), auth.clone()))
//! }
//! # use tower::ServiceExt;
//! # use tower_jwt_auth::{MokaStore, NoLogin, RefreshKeys, test_util::TestIssuer};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let issuer = TestIssuer::new();
//! # let keys = RefreshKeys::new([7; 32])?;
//! # let auth = AuthService::builder(issuer.config(), keys, MokaStore::new(), NoLogin::<User>::new())
//! #     .add_origin("https://app.example")
//! #     .build()?;
//! # let app = app(auth.clone())?;
//! # let send = async |cookie: &str, origin: &str, site: &str| {
//! #     let request = http::Request::post("/trade-in")
//! #         .header("cookie", cookie)
//! #         .header("origin", origin)
//! #         .header("sec-fetch-site", site)
//! #         .body(axum::body::Body::empty())
//! #         .unwrap();
//! #     app.clone().oneshot(request).await.unwrap()
//! # };
//! # let answer = send("id=old", "https://app.example", "same-origin").await;
//! # assert_eq!(answer.status(), 200);
//! # assert!(answer.headers().contains_key("set-cookie"));
//! # assert_eq!(send("id=other", "https://app.example", "same-origin").await.status(), 401);
//! # assert_eq!(send("id=old", "https://evil.example", "cross-site").await.status(), 403);
//! # auth.sessions().end_all("ada", None).await?;
//! # assert_eq!(send("id=old", "https://app.example", "same-origin").await.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! The page calls it once, when `POST /auth/refresh` says that there is no session, and then refreshes as always. Leave
//! the old session alive until the new one was used, as an answer can be lost: let it run out, or end it at the first
//! refresh ([`Authenticator::renew`](crate::Authenticator::renew) is called there). Two tabs that trade in at once open
//! two sessions; the cookie is of the later one, and the other runs out.
//!
//! # Logouts on the way
//!
//! Between steps 3 and 4 a user can be logged in twice, in the old way and in the new. So whatever ends sessions must
//! end both: the logout, "log out everywhere", the change of a password, the closing of an account. End the old ones
//! first. Otherwise a client that was logged out in the new world trades its old token in, and is back.
//!
//! # Where it gets stuck
//!
//! An event `bad_token` says which rule a token breaks; [`Verifier::verify`](crate::Verifier::verify) says it of one at
//! hand.
//!
//! | `reason` | often it is | then |
//! |---|---|---|
//! | `type` | `typ` is `JWT`, or missing | [`accept_type`](crate::TokenConfigBuilder::accept_type), [`accept_missing_type`](crate::TokenConfigBuilder::accept_missing_type) |
//! | `lifetime` | good for hours | [`accept_lifetime`](crate::TokenConfigBuilder::accept_lifetime), up to 24 hours; else trade in |
//! | `audience` | the tokens are for another name | that name, as [`add_audience`](crate::TokenConfigBuilder::add_audience) |
//! | `claims` | no `aud`, but another claim for it | [`audience_claim`](crate::TokenConfigBuilder::audience_claim) |
//! | `issuer` | another name, or a slash too many | the exact text; [`insecure_issuer`](crate::TokenConfigBuilder::insecure_issuer) for a name that is no URL |
//! | `claims` | no `iat`, `sub` or `iss`; `exp` as a text; a `scope` that is an array | trade in; for the array [`scope_claim`](crate::TokenConfigBuilder::scope_claim) |
//! | `unknown_key` | a `kid` that the key does not have, or none beside several keys | [`VerifyingKey::with_kid`](crate::VerifyingKey::with_kid); one configuration for each issuer |
//! | `algorithm` | the key was read for another algorithm | one key for each algorithm, under ids of their own |
//! | `application_claims` | a claim that only new tokens have | `Option`, or `#[serde(default)]` |
//!
//! [`AuthService`]: crate::AuthService
//! [`Authenticator`]: crate::Authenticator
//! [`JwtAuthLayer`]: crate::JwtAuthLayer
//! [`LiveSessionsLayer`]: crate::LiveSessionsLayer
//! [`RequireLayer`]: crate::RequireLayer
//! [`RequireScopeLayer`]: crate::RequireScopeLayer
//! [`Revocations`]: crate::Revocations
//! [`SigningKey`]: crate::SigningKey
//! [`StepUpLayer`]: crate::StepUpLayer
//! [`TokenCookie`]: crate::TokenCookie
//! [`Verified`]: crate::Verified
//! [`Verifier::several`]: crate::Verifier::several
