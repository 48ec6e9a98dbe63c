//! Deployment: what stands between clients and the service.
//!
//! - [Proxies](#proxies): what they must pass on, a prefix that is taken off, the address of the client
//! - [Layers](#layers): limits, time-outs and CORS in one stack
//! - [CORS](#cors)
//! - [Cookies across sites](#cookies-across-sites): which hosts work together, and which cannot
//! - [HTTPS](#https), and [development](#development)
//!
//! How it runs from day to day, on several nodes, is the page [`operation`](crate::manual::operation), with a list to
//! go through before you go live.
//!
//! # Proxies
//!
//! The crate reads no header that a proxy writes: neither `Forwarded` nor `X-Forwarded-*`, and not `Host`. Where
//! clients find the service is said in settings:
//!
//! | what | setting |
//! |---|---|
//! | the pages that may use the service | [`add_origin`] |
//! | the path of the cookie | [`path`] |
//! | the URL in proofs of possession | [`Dpop::builder`] |
//! | the address in the list of sessions | [`ClientAddress`], which the application puts into the request |
//!
//! A proxy must pass these headers on as they are: `Authorization`, `Cookie`, `Origin`, `Sec-Fetch-Site`,
//! `Content-Type`, `X-Session-Request`, `DPoP`, `User-Agent`; and of the answers `Set-Cookie`, `WWW-Authenticate`,
//! `Retry-After`, `DPoP-Nonce`, `Cache-Control` and `Date`. One that takes `Origin` or `Sec-Fetch-Site` off makes the
//! service refuse browsers, with 403 `cross_site`. One that adds them on its own accord takes the guard away. Of these,
//! `Authorization`, `Cookie`, `Set-Cookie` and `DPoP` are not for its log. An access token may have 8 KiB
//! ([`max_token_bytes`]), and a proof as much: allow headers of that size. As nginx has it, whose own log names no
//! header but `Referer` and `User-Agent`:
//!
//! ```text
//! upstream app { server 10.0.0.11:3000; server 10.0.0.12:3000; server 10.0.0.13:3000; }
//! server {
//!     listen 443 ssl;
//!     server_name www.shop.example;
//!     large_client_header_buffers 4 32k;      # of the default, a line of 8 KiB, a token of that size is a 400
//!     location / {
//!         proxy_pass http://app;
//!         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;    # for ClientAddress, see below
//!     }
//! }
//! ```
//!
//! A proxy that sends `POST /auth/refresh` a second time does no harm in the default mode, where the answer is given
//! again for 30 seconds. With [`Retry::Strict`] it logs the user out.
//!
//! ## A prefix that the proxy takes off
//!
//! The path of the cookie is the one that the *browser* sees. So [`path`] is the whole public path, also where the
//! proxy cuts some of it off, and the router mounts the service at what is left:
//!
//! ```
//! use axum::Router;
//! use axum::body::Body;
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! # use tower_jwt_auth::{AuthService, ClientInfo, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys, SigningKey};
//! # use tower_jwt_auth::TokenConfig;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = TokenConfig::builder()
//! #     .key(SigningKey::ed25519_seed(&[7; 32])?)
//! #     .issuer("https://www.shop.example")
//! #     .audience("api")
//! #     .build()?;
//! # let (keys, store) = (RefreshKeys::new([9; 32])?, MokaStore::new());
//! // The browser asks for https://www.shop.example/api/auth/..; the proxy takes `/api` off.
//! let auth = AuthService::builder(&config, keys, store, NoLogin::<NoClaims>::new())
//!     .path("/api/auth")
//!     .add_origin("https://www.shop.example")
//!     .build()?;
//! let app = Router::<()>::new().nest_service("/auth", auth.clone());
//!
//! let request = Request::get("/auth/jwks.json").body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), StatusCode::OK);
//! let granted = auth.sessions().open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await?;
//! assert!(granted.set_cookie().ok_or("no cookie")?.to_str()?.contains("Path=/api/auth;"));
//! # Ok(())
//! # }
//! ```
//!
//! - [`AuthLayer`] goes by [`path`] alone, so it does not find a path that was cut. Let the proxy leave it whole; or
//!   use the [`host_prefix`] form of the cookie, whose path is `/`, and give the path as it arrives; or let the proxy
//!   rewrite the cookie's path (nginx: `proxy_cookie_path`).
//! - Proofs of possession name the URL that the client has sent. Behind a proxy that takes `/api` off, the base is
//!   `https://www.shop.example/api`; see [`dpop`](crate::dpop). The example above needs a second one, as the service
//!   puts its own [`path`] before what the router has left of the request: `.add_url("https://www.shop.example")`.
//! - A router that cuts a prefix off for what is nested in it is a proxy, too, for a bearer layer inside:
//!   [`JwtAuthLayer::dpop`](crate::JwtAuthLayer::dpop).
//!
//! ## The address of the client
//!
//! It is shown in lists of sessions and to the [`Authenticator`]; nothing is decided by it. A header such as
//! `X-Forwarded-For` is what its sender likes, but for what your own proxy has added at its end:
//!
//! ```
//! use std::net::IpAddr;
//!
//! use axum::extract::{ConnectInfo, Request};
//! use http::HeaderMap;
//! use tower_jwt_auth::ClientAddress;
//!
//! /// Where the proxy is on this machine, and appends the address of its client.
//! fn client_address(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
//!     if !peer.is_loopback() {
//!         return peer;
//!     }
//!     let last = headers.get_all("x-forwarded-for").iter().next_back();
//!     let last = last.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
//!     last.unwrap_or(peer)
//! }
//!
//! /// For `axum::middleware::map_request`, outside of the service.
//! async fn note_address(ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>, mut request: Request) -> Request {
//!     let address = client_address(peer.ip(), request.headers());
//!     request.extensions_mut().insert(ClientAddress(address));
//!     request
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = axum::Router::<()>::new().layer(axum::middleware::map_request(note_address));
//! let mut headers = HeaderMap::new();
//! headers.insert("x-forwarded-for", "203.0.113.9, 198.51.100.7".parse()?);
//! let (proxy, stranger) = ("127.0.0.1".parse()?, "192.0.2.1".parse()?);
//! assert_eq!(client_address(proxy, &headers), "198.51.100.7".parse::<IpAddr>()?);
//! assert_eq!(client_address(stranger, &headers), stranger);
//! # Ok(())
//! # }
//! ```
//!
//! The crate has no limit on attempts to log in. Put one into the proxy, around all that reaches the
//! service, as each route has [two paths](crate::service), or into [`Authenticator::authenticate`], which
//! is given the address.
//!
//! # Layers
//!
//! From the outside in, as `ServiceBuilder` writes them. In axum the last `.layer(..)` is the outermost.
//!
//! 1. what hides headers from logs, then tracing;
//! 2. CORS: a preflight has no token, and pages are to read refusals;
//! 3. the time limit, so that pages can read its answer, too;
//! 4. limits on requests at once, and on bodies: a refused request leaves the permit that `poll_ready` took with the
//!    inner service;
//! 5. the bearer layer, and behind it what asks for a live session, a scope, a role.
//!
//! The service itself reads at most 16 KiB of a body, but waits for it as long as it takes: a time limit is yours to
//! set. Ten seconds are enough for it, and spare its own [time-outs]. What a limit cuts off in the middle of a login or
//! a refresh is finished by a task of its own, and the client's next try is answered.
//!
//! The same in one piece, for pages on `www.shop.example` and this service on `api.shop.example`:
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::body::Body;
//! use axum::extract::DefaultBodyLimit;
//! use axum::routing::get;
//! use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, DATE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
//! use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
//! use tower::limit::GlobalConcurrencyLimitLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_http::cors::CorsLayer;
//! use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
//! use tower_http::timeout::TimeoutLayer;
//! use tower_http::trace::TraceLayer;
//! use tower_jwt_auth::{AuthService, JwtAuthLayer, MokaStore, NoClaims, NoLogin, RefreshKeys, SigningKey, TokenConfig};
//! # use tower_jwt_auth::{ClientInfo, Identity};
//!
//! const PAGES: &str = "https://www.shop.example";
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = TokenConfig::builder()
//! #     .key(SigningKey::ed25519_seed(&[7; 32])?)
//! #     .issuer("https://api.shop.example")
//! #     .audience("api")
//! #     .build()?;
//! # let (keys, store) = (RefreshKeys::new([9; 32])?, MokaStore::new());
//! let auth = AuthService::builder(&config, keys, store, NoLogin::<NoClaims>::new())
//!     .add_origin(PAGES)
//!     .trust_same_site()                              // the pages are on a sibling host
//!     .build()?;
//!
//! let (proof, nonce) = (HeaderName::from_static("dpop"), HeaderName::from_static("dpop-nonce"));
//! let cors = CorsLayer::new()
//!     .allow_origin(HeaderValue::from_static(PAGES))  // never `Any`: it does not go with credentials
//!     .allow_credentials(true)                        // for the cookie
//!     .allow_methods([Method::GET, Method::POST, Method::DELETE])
//!     .allow_headers([AUTHORIZATION, CONTENT_TYPE, proof.clone()])
//!     .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER, DATE, nonce])
//!     .max_age(Duration::from_secs(600));
//! let app = Router::<()>::new()
//!     .route("/api/me", get(async || "ada"))
//!     .route_layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
//!     .nest_service(auth.path(), auth.clone())
//!     .layer(
//!         ServiceBuilder::new()
//!             .layer(SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE, SET_COOKIE, proof]))
//!             .layer(TraceLayer::new_for_http())
//!             .layer(cors)
//!             .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
//!             .layer(GlobalConcurrencyLimitLayer::new(1000))
//!             .layer(DefaultBodyLimit::max(64 * 1024)),
//!     );
//!
//! // What a browser asks before `fetch(.., { method: 'POST', credentials: 'include' })` with JSON.
//! let preflight = Request::options("/auth/login")
//!     .header("origin", PAGES)
//!     .header("access-control-request-method", "POST")
//!     .header("access-control-request-headers", "content-type")
//!     .body(Body::empty())?;
//! let answer = app.clone().oneshot(preflight).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//! assert_eq!(answer.headers()["access-control-allow-origin"], PAGES);
//!
//! let granted = auth.sessions().open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await?;
//! let refresh = |site: &str| {
//!     Request::post("/auth/refresh")
//!         .header("origin", PAGES)
//!         .header("sec-fetch-site", site)
//!         .header("cookie", format!("__Secure-refresh_token={}", granted.refresh_token()))
//!         .body(Body::empty())
//! };
//! assert_eq!(app.clone().oneshot(refresh("same-site")?).await?.status(), StatusCode::OK);
//! // Another site is refused, whatever its `Origin`; and the page that asked may read why.
//! let answer = app.oneshot(refresh("cross-site")?).await?;
//! assert_eq!(answer.status(), StatusCode::FORBIDDEN);
//! assert_eq!(answer.headers()["access-control-allow-origin"], PAGES);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/axum.rs` is a whole application in this order, and `tests/compose.rs` tries the layers of tower and
//! tower-http on both sides of the bearer layer.
//!
//! # CORS
//!
//! Pages of the same origin need none. For others:
//!
//! - The crate answers no preflight: `OPTIONS` on a route of the service is 405, and the bearer layer refuses a request
//!   without a token. So CORS stands outside of both.
//! - With the cookie (`credentials: 'include'`) a browser takes no `*`, for no list. Name origins, headers and methods.
//!   [`CorsLayer`](https://docs.rs/tower-http/latest/tower_http/cors/struct.CorsLayer.html) panics on the combination.
//! - An API that takes the token in `Authorization` only needs no credentials in CORS. Leave `allow_credentials` out
//!   there.
//! - To expose: `WWW-Authenticate`, by which `session.js` tells a step-up; `Retry-After`; with DPoP `DPoP-Nonce`, and
//!   `Date`, by which it learns of a clock that is wrong.
//! - CORS is no guard. It says who may *read*; who may *act* is said by [`add_origin`], and checked first.
//!
//! # Cookies across sites
//!
//! A *site* is the scheme and the registrable domain: `www.shop.example` and `api.shop.example` are one, `shop.example`
//! and `shop-api.example` are two. (`a.github.io` and `b.github.io` are two as well: github.io is on the public suffix
//! list.) The cookie is `SameSite=Strict` by default, and has no `Domain`, so it goes to the one host that has set it.
//!
//! | pages, and service | what to do |
//! |---|---|
//! | same origin | nothing but [`add_origin`] |
//! | same site: `www.shop.example`, `api.shop.example` | [`add_origin`], [`trust_same_site`], CORS with credentials. The cookie stays `Strict`. Whoever takes over a host below `shop.example` whose origin was added can act for the user |
//! | different sites | not possible: browsers say `Sec-Fetch-Site: cross-site`, and login, refresh and logout by cookie are refused, whatever the origins and `SameSite` |
//!
//! What works across sites:
//!
//! - The service on the site of the pages, and the API elsewhere. The API takes bearer tokens, with CORS and without
//!   credentials. `session.js` is told all origins that are given the token: `new Session({ origins: [..] })`.
//! - A proxy: the pages' own host passes `/auth` on to the service.
//! - Programs that are no browser send `X-Session-Request: 1`, and no `Origin`. With [`Delivery::Body`] or
//!   [`Delivery::Both`] they need no cookie. This is no way round for pages: `POST /login` is under the check whatever
//!   the delivery.
//! - A page that is *embedded* in another site and talks to its own host is same-origin to the check. Its cookie needs
//!   [`SameSite::None`], and [`partitioned`] where browsers keep third-party cookies apart. This is all that
//!   [`SameSite::None`] is for.
//!
//! Routes that take the access token as a bearer header, as `GET /sessions` and `DELETE /sessions/{id}`, are open to
//! pages of any site that CORS lets in, as long as the cookie is not sent along: no browser sends that header by
//! itself.
//!
//! ## The name and the path
//!
//! | form | sent with | a sibling host can |
//! |---|---|---|
//! | `__Secure-`, `Path` = the mount point (default) | requests to the service alone | plant a cookie of the name. It is dropped unless its tag is genuine; a genuine one logs the user in as somebody else, or makes two sessions, which is refused |
//! | `__Host-`, `Path=/` ([`host_prefix`]) | every request to the host | not plant one |
//!
//! To change between them is to change the name, so it logs everybody out; a new [`path`] does, too. Methods that begin
//! with `insecure_` loosen something for a reason that they name; none of them belongs into production:
//!
//! | method | what is lost |
//! |---|---|
//! | [`insecure_without_secure`] | the cookie goes over plain http |
//! | [`insecure_add_origin`] | pages that anybody on the way can change may use the service |
//! | [`insecure_issuer`](crate::TokenConfigBuilder::insecure_issuer) | the issuer's name is no https URL; harmless where the name is a fixed one |
//! | [`insecure_lifetime`](crate::TokenConfigBuilder::insecure_lifetime) | a stolen access token is good for up to a day |
//!
//! # HTTPS
//!
//! TLS may end in a proxy or in the program (`examples/tls.rs`); nothing changes for the crate, which looks at no
//! scheme. The cookie is `Secure` because the policy says so, and a browser keeps no such cookie from plain http.
//! Origins are written with `https://`. Between the proxy and the service tokens are in the clear: keep that network to
//! yourself. Redirects from http and `Strict-Transport-Security` are the proxy's, or of a layer of your own; the crate
//! sets neither.
//!
//! The stores have TLS of their own: see [`redis`](crate::manual::features::redis) and
//! [`postgres`](crate::manual::features::postgres).
//!
//! ## Development
//!
//! On this machine http is allowed for origins, issuers and DPoP URLs without an `insecure_` method: `localhost`, names
//! below it, and loopback addresses.
//!
//! - Open the page and the service under one name. `localhost` and `127.0.0.1` are two sites.
//! - Two ports of one host are one site and two origins: a development server on `http://localhost:5173` needs
//!   [`add_origin`], [`trust_same_site`] and CORS, or passes `/auth` on itself, which is simpler.
//! - Chromium takes `Secure` cookies from http on this machine (the browser tests go that way). For one that does not:
//!   [`insecure_without_secure`], which changes the name of the cookie, too.
//! - [`MokaStore`] forgets all sessions at each restart.
//!
//! [`AuthLayer`]: crate::AuthLayer
//! [`Authenticator`]: crate::Authenticator
//! [`Authenticator::authenticate`]: crate::Authenticator::authenticate
//! [`ClientAddress`]: crate::ClientAddress
//! [`Delivery::Body`]: crate::Delivery::Body
//! [`Delivery::Both`]: crate::Delivery::Both
//! [`Dpop::builder`]: crate::Dpop::builder
//! [`MokaStore`]: crate::MokaStore
//! [`Retry::Strict`]: crate::Retry::Strict
//! [`SameSite::None`]: crate::SameSite::None
//! [`add_origin`]: crate::AuthServiceBuilder::add_origin
//! [`host_prefix`]: crate::CookiePolicy::host_prefix
//! [`insecure_add_origin`]: crate::AuthServiceBuilder::insecure_add_origin
//! [`insecure_without_secure`]: crate::CookiePolicy::insecure_without_secure
//! [`max_token_bytes`]: crate::TokenConfigBuilder::max_token_bytes
//! [`partitioned`]: crate::CookiePolicy::partitioned
//! [`path`]: crate::AuthServiceBuilder::path
//! [`trust_same_site`]: crate::AuthServiceBuilder::trust_same_site
//! [time-outs]: crate::manual::operation#time-outs-and-what-a-503-means
