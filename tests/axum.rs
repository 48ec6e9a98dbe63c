//! The crate in axum: what handlers extract and answer with, the layers and the service wherever a router takes one.

#![cfg(all(feature = "axum", feature = "moka"))]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::connect_info::MockConnectInfo;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_extractor, from_fn, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_TYPE, SET_COOKIE,
    USER_AGENT, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::cors::CorsLayer;
use tower_jwt_auth::{
    AccessGrant, AuthContext, ClientAddress, ClientInfo, Granted, Identity, Issuer, JwtAuthLayer, NoClaims,
    Outcome, Rejection, RejectionKind, RequireLayer, RequireScopeLayer, SessionError, SessionErrorKind,
    Sessions, Verified,
};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::ManualClock;
use crate::support::service::{
    Answer, Ask, HOLD, NAME, Op, User, World, bare, config, credentials, post as ask,
};

// ── tokens, layers and handlers ──

fn bearer() -> JwtAuthLayer<User> {
    JwtAuthLayer::new(config(&ManualClock::new()).verifier())
}

fn token_of(role: &str, scopes: &[&str]) -> String {
    let issuer = Issuer::new(&config(&ManualClock::new())).unwrap();
    let user = User { role: role.to_owned(), ..User::named("ada") };
    issuer.issue(&AccessGrant::new("ada").with_scopes(scopes.to_vec()), &user).unwrap().expose().to_owned()
}

fn good() -> String {
    token_of("member", &[])
}

fn admins() -> RequireLayer<User> {
    RequireLayer::new(|user: &Verified<User>| user.role == "admin")
}

fn scope(scope: &str) -> RequireScopeLayer {
    RequireScopeLayer::all([scope]).unwrap()
}

async fn who(user: Verified<User>) -> String {
    user.subject().to_owned()
}

async fn who_if_any(user: Option<Verified<User>>) -> String {
    user.map_or("nobody".to_owned(), |user| user.subject().to_owned())
}

/// What a request may bring instead of a good token, and how a required layer refuses it.
fn bad_credentials(method: &Method, path: &str) -> [(&'static str, Ask, RejectionKind, u16); 4] {
    let here = || bare(method.clone(), path);
    [
        ("none", here(), RejectionKind::Missing, 401),
        ("a token that is none", here().bearer("a.b.c"), RejectionKind::InvalidToken, 401),
        (
            "a malformed credential",
            here().header(AUTHORIZATION, "Bearer"),
            RejectionKind::InvalidRequest,
            400,
        ),
        ("two tokens", here().bearer(&good()).bearer(&good()), RejectionKind::InvalidRequest, 400),
    ]
}

/// An answer, read to its end.
#[derive(Debug)]
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: String,
    rejection: Option<Rejection>,
}

async fn send(router: &Router, ask: Ask) -> Seen {
    let (parts, body) = router.clone().oneshot(ask.request()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Seen {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.into()).unwrap(),
        rejection: parts.extensions.get().cloned(),
    }
}

impl Seen {
    fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into()).map(|value| value.to_str().unwrap())
    }

    fn kind(&self) -> Option<RejectionKind> {
        self.rejection.as_ref().map(Rejection::kind)
    }

    /// All that a client and an outer layer can tell one refusal from another by.
    fn refusal(&self) -> (u16, &HeaderMap, &str, Option<(RejectionKind, &str)>) {
        let reason = self.rejection.as_ref().map(|rejection| (rejection.kind(), rejection.reason()));
        (self.status, &self.headers, &self.body, reason)
    }
}

/// The text of every event of the thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        support::events::on_every_thread();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .with_max_level(LevelFilter::TRACE)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines of the crate since the last time, without their time.
    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
        let lines = text.lines().filter(|line| line.contains(" tower_jwt_auth::"));
        lines.map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// ── the extractors ──

/// Counts the requests that the layer lets pass.
fn counting(handler: MethodRouter) -> (Router, Arc<AtomicUsize>) {
    let passed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&passed);
    let note = from_fn(move |request: Request, next: Next| {
        count.fetch_add(1, Ordering::SeqCst);
        next.run(request)
    });
    (Router::new().route("/here", handler.layer(note)), passed)
}

#[tokio::test]
async fn a_good_token_is_an_argument() {
    for (name, layer) in
        [("required", bearer()), ("optional", bearer().optional()), ("observe", bearer().observe())]
    {
        for handler in [get(who), get(who_if_any)] {
            let router = Router::new().route("/here", handler).layer(layer.clone());
            let seen = send(&router, bare(Method::GET, "/here").bearer(&good())).await;
            assert_eq!((seen.status, &*seen.body), (200, "ada"), "{name}");
        }
    }
}

/// Who refuses what: the layer, before anything behind it runs, or the extractor.
#[tokio::test]
async fn none_is_only_for_requests_without_a_token() {
    for (mode, layer, refuses) in [
        ("required", bearer(), [true, true, true, true]),
        ("optional", bearer().optional(), [false, true, true, true]),
        ("observe", bearer().observe(), [false; 4]),
    ] {
        for ((what, ask, kind, status), layer_refuses) in
            bad_credentials(&Method::GET, "/here").into_iter().zip(refuses)
        {
            let (router, passed) = counting(get(who));
            let seen = send(&router.layer(layer.clone()), ask.clone()).await;
            assert_eq!((seen.status, seen.kind()), (status, Some(kind)), "{mode}, {what}");
            assert!(seen.header(WWW_AUTHENTICATE).unwrap().starts_with(r#"Bearer realm="api""#), "{mode}");
            assert_eq!(passed.load(Ordering::SeqCst), usize::from(!layer_refuses), "{mode}, {what}");

            let (router, passed) = counting(get(who_if_any));
            let seen = send(&router.layer(layer.clone()), ask).await;
            if !layer_refuses && kind == RejectionKind::Missing {
                assert_eq!((seen.status, &*seen.body, seen.kind()), (200, "nobody", None), "{mode}, {what}");
            } else {
                assert_eq!((seen.status, seen.kind()), (status, Some(kind)), "{mode}, {what}, optional");
            }
            assert_eq!(passed.load(Ordering::SeqCst), usize::from(!layer_refuses), "{mode}, {what}");
        }
    }
}

/// Asks for the token by itself, in a handler.
async fn by_hand(request: Request) -> Result<String, Rejection> {
    let (parts, _) = request.into_parts();
    Ok(Verified::<User>::from_parts(&parts)?.subject().to_owned())
}

/// In every protocol, to the last header; also where a handler looks for the token by itself.
#[tokio::test]
async fn the_answer_is_that_of_a_required_layer() {
    let layer = || bearer().with_realm("shop").unwrap();
    let router = |layer| Router::new().route("/here", any(who)).route("/by-hand", any(by_hand)).layer(layer);
    let required = router(layer());
    for (mode, other) in [("optional", layer().optional()), ("observe", layer().observe())] {
        let router = router(other);
        for content_type in ["", "application/json", "application/grpc", "application/grpc-web-text"] {
            for path in ["/here", "/by-hand"] {
                for (what, ask, ..) in bad_credentials(&Method::POST, path) {
                    let ask = ask.header(CONTENT_TYPE, content_type);
                    let (expected, seen) = (send(&required, ask.clone()).await, send(&router, ask).await);
                    assert_eq!(
                        seen.refusal(),
                        expected.refusal(),
                        "{mode}, {what}, {path}, {content_type:?}"
                    );
                }
            }
        }
    }
    let grpc = bare(Method::POST, "/here").header(CONTENT_TYPE, "application/grpc");
    let seen = send(&router(layer().optional()), grpc).await;
    assert_eq!((seen.status, seen.headers["grpc-status"].to_str().unwrap(), &*seen.body), (200, "16", ""));
}

/// The context itself is an extension like any other.
#[tokio::test]
async fn the_outcome_is_an_extension() {
    async fn outcome(axum::Extension(context): axum::Extension<AuthContext>) -> String {
        match context.outcome() {
            Outcome::Verified(verified) => verified.registered().subject().to_owned(),
            Outcome::Refused(rejection) => rejection.reason().to_owned(),
            _ => "anonymous".to_owned(),
        }
    }
    let router = Router::new().route("/here", get(outcome)).layer(bearer().observe());
    for (ask, body) in [
        (bare(Method::GET, "/here"), "anonymous"),
        (bare(Method::GET, "/here").bearer(&good()), "ada"),
        (bare(Method::GET, "/here").bearer("a.b.c"), "malformed"),
    ] {
        assert_eq!(send(&router, ask).await.body, body);
    }
}

/// Claims that the layer does not read.
#[derive(Debug, Serialize, Deserialize)]
struct Other {}

#[tokio::test]
async fn other_claims_are_500_and_the_log_names_both_types() {
    let (log, _guard) = Log::start();
    let handlers: [(&str, MethodRouter); 3] = [
        ("Verified", get(async |_: Verified<Other>| "in")),
        ("Option", get(async |_: Option<Verified<Other>>| "in")),
        ("Result", get(async |user: Result<Verified<Other>, Rejection>| user.map(|_| "in"))),
    ];
    for (name, handler) in handlers {
        let router = Router::new().route("/here", handler).layer(bearer().optional());
        log.take();
        let seen = send(&router, bare(Method::GET, "/here").bearer(&good())).await;
        assert_eq!((seen.status, seen.kind()), (500, Some(RejectionKind::OtherClaims)), "{name}");
        assert_eq!(seen.header(WWW_AUTHENTICATE), None, "{name}: no other token would help");
        assert!(!seen.body.contains("claims") && !seen.body.contains("Other"), "{name}: {}", seen.body);
        let log = log.take();
        let [named, rejected] = &log[..] else { panic!("{name}: {log:?}") };
        assert!(named.starts_with("ERROR tower_jwt_auth::authorize: "), "{name}: {named}");
        for ty in [std::any::type_name::<Other>(), std::any::type_name::<User>()] {
            assert!(named.contains(&format!("{ty:?}")), "{name}: {named}");
        }
        assert!(rejected.ends_with(r#"reason="other_claims""#), "{name}: {rejected}");
    }
}

#[tokio::test]
async fn no_layer_is_500_and_the_log_names_the_mistake() {
    let (log, _guard) = Log::start();
    let handlers: [(&str, MethodRouter); 3] = [
        ("Verified", get(who)),
        ("Option", get(who_if_any)),
        ("a scope layer", get(|| async {}).layer(scope("a"))),
    ];
    for (name, handler) in handlers {
        let router = Router::new().route("/here", handler);
        for (what, ask) in [
            ("no token", bare(Method::GET, "/here")),
            ("a good one", bare(Method::GET, "/here").bearer(&good())),
        ] {
            log.take();
            let seen = send(&router, ask).await;
            assert_eq!(
                (seen.status, seen.kind()),
                (500, Some(RejectionKind::NoBearerLayer)),
                "{name}, {what}"
            );
            assert_eq!(seen.header(WWW_AUTHENTICATE), None, "{name}, {what}");
            let log = log.take();
            let [named, rejected] = &log[..] else { panic!("{name}, {what}: {log:?}") };
            assert!(named.starts_with("ERROR tower_jwt_auth::authorize: "), "{name}, {what}: {named}");
            assert!(named.contains("put `JwtAuthLayer` outside of this"), "{name}, {what}: {named}");
            assert!(rejected.ends_with(r#"reason="no_bearer_layer""#), "{name}, {what}: {rejected}");
        }
    }
}

/// One event for a refusal, wherever it is made.
#[tokio::test]
async fn a_refusal_of_the_extractor_is_one_event() {
    let (log, _guard) = Log::start();
    let router = Router::new().route("/here", get(who)).layer(bearer().observe());
    for (ask, expected) in [
        (
            bare(Method::GET, "/here"),
            vec!["DEBUG tower_jwt_auth::authorize: a request was refused reason=\"missing\""],
        ),
        (
            bare(Method::GET, "/here").bearer("a.b.c"),
            vec![
                "DEBUG tower_jwt_auth::bearer: a token is not good reason=\"malformed\" detail=\"a segment is not canonical base64url\"",
                "INFO tower_jwt_auth::bearer: a request passed that would be refused reason=\"malformed\"",
                "INFO tower_jwt_auth::authorize: a request was refused reason=\"malformed\"",
            ],
        ),
        (bare(Method::GET, "/here").bearer(&good()), vec![]),
    ] {
        log.take();
        send(&router, ask).await;
        assert_eq!(log.take(), expected);
    }
}

// ── answers of the application's own ──

/// The errors of an application's handlers.
enum AppError {
    Refused(Rejection),
    Session(SessionError),
}

impl From<Rejection> for AppError {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<SessionError> for AppError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(rejection) => rejection.into_response(),
            Self::Session(error) => error.into_response(),
        }
    }
}

/// An extractor of the application around ours, which refuses with the application's error.
struct CurrentUser(Verified<User>);

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AppError> {
        Ok(Self(<Verified<User> as FromRequestParts<S>>::from_request_parts(parts, state).await?))
    }
}

/// The same, with the rejection left as it is.
struct Email(String);

impl<S: Sync> FromRequestParts<S> for Email {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let user = <Verified<User> as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(Self(user.email.clone()))
    }
}

/// Says of which request it is the answer.
fn problem(rejection: &Rejection, request: &Parts) -> Response<String> {
    let text = format!("{:?} of {} {}", rejection.kind(), request.method, request.uri);
    let mut response = rejection.to_response().map(|_| text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// Every place in axum where a request can be refused: the answer is the application's, made once and with the request
/// at hand, and a layer outside finds the reason.
#[tokio::test]
async fn map_rejection_answers_for_all() {
    async fn handed_on(user: Result<Verified<User>, Rejection>) -> Result<String, Rejection> {
        Ok(user?.subject().to_owned())
    }
    async fn wrapped(user: Result<Verified<User>, Rejection>) -> Result<String, AppError> {
        Ok(user?.subject().to_owned())
    }
    async fn gate(_: Verified<User>, request: Request, next: Next) -> Response {
        next.run(request).await
    }
    type Noted = Arc<Mutex<Option<RejectionKind>>>;
    type Row = (&'static str, JwtAuthLayer<User>, MethodRouter, Option<&'static str>, RejectionKind);
    async fn note(State(noted): State<Noted>, request: Request, next: Next) -> Response {
        let response = next.run(request).await;
        *noted.lock().unwrap() = response.extensions().get().map(Rejection::kind);
        response
    }
    let open = || get(|| async { "in" });
    let (optional, observe) = (bearer().optional(), bearer().observe());
    let rows: [Row; 15] = [
        ("the layer", bearer(), get(who), None, RejectionKind::Missing),
        ("a look at the request", optional.clone(), get(by_hand), None, RejectionKind::Missing),
        ("an optional layer", optional.clone(), get(who), Some("a.b.c"), RejectionKind::InvalidToken),
        ("the extractor", optional.clone(), get(who), None, RejectionKind::Missing),
        ("behind an observing layer", observe.clone(), get(who), Some("a.b.c"), RejectionKind::InvalidToken),
        (
            "the optional extractor",
            observe.clone(),
            get(who_if_any),
            Some("a.b.c"),
            RejectionKind::InvalidToken,
        ),
        ("an argument, handed on", optional.clone(), get(handed_on), None, RejectionKind::Missing),
        ("an argument, wrapped", optional.clone(), get(wrapped), None, RejectionKind::Missing),
        (
            "an extractor with the application's error",
            optional.clone(),
            get(async |CurrentUser(user): CurrentUser| user.subject().to_owned()),
            None,
            RejectionKind::Missing,
        ),
        (
            "an extractor with ours",
            optional.clone(),
            get(async |Email(email): Email| email),
            None,
            RejectionKind::Missing,
        ),
        (
            "an extractor as a layer",
            optional.clone(),
            open().layer(from_extractor::<Verified<User>>()),
            None,
            RejectionKind::Missing,
        ),
        (
            "an extractor of a middleware",
            optional.clone(),
            open().layer(from_fn(gate)),
            None,
            RejectionKind::Missing,
        ),
        ("other claims", bearer(), get(async |_: Verified<Other>| ""), Some(""), RejectionKind::OtherClaims),
        ("a scope layer", bearer(), open().layer(scope("a")), Some(""), RejectionKind::InsufficientScope),
        ("a predicate", bearer(), open().layer(admins()), Some(""), RejectionKind::Denied),
    ];
    for (name, layer, handler, token, kind) in rows {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let layer = layer.map_rejection(move |rejection, request| {
            count.fetch_add(1, Ordering::SeqCst);
            problem(rejection, request)
        });
        let noted = Noted::default();
        let outer = from_fn_with_state(Arc::clone(&noted), note);
        let router = Router::new().route("/here", handler).layer(layer).layer(outer);
        let mut ask = bare(Method::GET, "/here?a=b");
        if let Some(token) = token {
            ask = ask.bearer(if token.is_empty() { good() } else { token.to_owned() }.as_str());
        }
        let seen = send(&router, ask).await;
        assert_eq!(seen.body, format!("{kind:?} of GET /here?a=b"), "{name}");
        assert_eq!(seen.header(CONTENT_TYPE), Some("application/problem+json"), "{name}");
        assert_eq!(seen.headers.contains_key(WWW_AUTHENTICATE), seen.status != 500, "{name}");
        assert_eq!(*noted.lock().unwrap(), Some(kind), "{name}");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{name}");
    }
}

/// A handler that can do without the token goes on, whatever was refused.
#[tokio::test]
async fn a_refused_argument_need_not_be_the_answer() {
    async fn greet(user: Result<Verified<User>, Rejection>) -> String {
        match user {
            Ok(user) => format!("hello {}", user.email),
            Err(rejection) => format!("hello stranger ({})", rejection.reason()),
        }
    }
    let router = Router::new().route("/here", get(greet)).layer(bearer().observe());
    for (what, ask, _, _) in bad_credentials(&Method::GET, "/here") {
        let seen = send(&router, ask).await;
        assert!(seen.status == 200 && seen.body.starts_with("hello stranger ("), "{what}: {seen:?}");
        assert!(seen.rejection.is_none(), "{what}");
    }
    let seen = send(&router, bare(Method::GET, "/here").bearer(&good())).await;
    assert_eq!(seen.body, "hello ada@app.example");
}

// ── beside other extractors, and middleware ──

#[tokio::test]
async fn the_token_is_asked_for_beside_state_path_and_body() {
    #[derive(Deserialize)]
    struct Order {
        item: String,
    }
    async fn order(
        State(shop): State<&'static str>,
        user: Verified<User>,
        Path(table): Path<u32>,
        Json(order): Json<Order>,
    ) -> String {
        format!("{shop}: {} for {} at {table}", order.item, user.subject())
    }
    let router = Router::new()
        .route("/orders/{table}", post(order))
        .route_layer(bearer().optional())
        .with_state("shop");
    let good_body = || bare(Method::POST, "/orders/7").json(&json!({ "item": "tea" }));
    let seen = send(&router, good_body().bearer(&good())).await;
    assert_eq!((seen.status, &*seen.body), (200, "shop: tea for ada at 7"));
    // The extractors go from left to right: without a user nothing of the body is looked at.
    let bad_body = || bare(Method::POST, "/orders/7").json(&json!({}));
    assert_eq!(send(&router, bad_body()).await.status, 401);
    assert_eq!(send(&router, bad_body().bearer(&good())).await.status, 422);
}

#[tokio::test]
async fn middleware_behind_the_layer_reads_the_token() {
    async fn read(request: Request, next: Next) -> Response {
        let user = Verified::<User>::of(request.extensions());
        let mut response = next.run(request).await;
        let name = user.map_or("nobody".to_owned(), |user| user.email.clone());
        response.headers_mut().insert("x-user", name.parse().unwrap());
        response
    }
    async fn audit(
        State(log): State<Arc<Mutex<Vec<String>>>>,
        user: Verified<User>,
        request: Request,
        next: Next,
    ) -> Response {
        log.lock().unwrap().push(format!("{} {}", user.subject(), request.uri()));
        next.run(request).await
    }
    let log = Arc::default();
    let router = Router::new()
        .route("/here", get(who))
        .layer(from_fn_with_state(Arc::clone(&log), audit))
        .layer(from_fn(read))
        .layer(bearer());
    let seen = send(&router, bare(Method::GET, "/here").bearer(&good())).await;
    assert_eq!(
        (seen.status, &*seen.body, seen.headers["x-user"].to_str().unwrap()),
        (200, "ada", "ada@app.example")
    );
    assert_eq!(send(&router, bare(Method::GET, "/here")).await.status, 401);
    assert_eq!(*log.lock().unwrap(), ["ada /here"]);

    // Outside of the layer there is no token yet, and nothing is refused.
    let outside = Router::new().route("/here", get(who)).layer(bearer()).layer(from_fn(read));
    let seen = send(&outside, bare(Method::GET, "/here").bearer(&good())).await;
    assert_eq!((seen.status, seen.headers["x-user"].to_str().unwrap()), (200, "nobody"));
}

// ── layers, wherever a router takes one ──

/// Whose token a request brings: that of a member, of one with the scope `orders:read`, of an admin.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Nobody,
    Member,
    Reader,
    Admin,
}

impl By {
    fn ask(self, method: &Method, path: &str) -> Ask {
        let ask = bare(method.clone(), path);
        match self {
            Self::Nobody => ask,
            Self::Member => ask.bearer(&good()),
            Self::Reader => ask.bearer(&token_of("member", &["orders:read"])),
            Self::Admin => ask.bearer(&token_of("admin", &[])),
        }
    }
}

/// What a route answers to whom.
type Route = (Method, &'static str, By, u16);

const fn get_by(path: &'static str, by: By, status: u16) -> Route {
    (Method::GET, path, by, status)
}

const fn post_by(path: &'static str, by: By, status: u16) -> Route {
    (Method::POST, path, by, status)
}

async fn answers(name: &str, router: &Router, routes: &[Route]) {
    for (method, path, by, status) in routes {
        let seen = send(router, by.ask(method, path)).await;
        assert_eq!(seen.status, *status, "{name}: {method} {path} by {by:?}");
        assert_eq!(seen.rejection.is_some(), matches!(status, 401 | 403 | 500), "{name}: {method} {path}");
        if *status == 200 && *by != By::Nobody {
            assert_eq!(seen.body, "ada", "{name}: {method} {path} by {by:?}");
        }
    }
}

fn open() -> MethodRouter {
    get(|| async { "open" })
}

#[tokio::test]
async fn the_layer_at_every_place_of_a_router() {
    use By::{Member, Nobody};
    let one = |handler: MethodRouter| Router::new().route("/a", handler);
    let unknown = |status: u16| vec![get_by("/unknown", Nobody, status), get_by("/unknown", Member, 404)];
    let other_method = |status: u16| vec![post_by("/a", Nobody, status), post_by("/a", Member, 405)];
    let rows: [(&str, Router, Vec<Route>); 7] = [
        ("Router::layer", one(get(who)).layer(bearer()), [unknown(401), other_method(401)].concat()),
        (
            "Router::route_layer",
            one(get(who)).route_layer(bearer()),
            [unknown(404), other_method(401)].concat(),
        ),
        ("MethodRouter::layer", one(get(who).layer(bearer())), [unknown(404), other_method(401)].concat()),
        (
            "MethodRouter::route_layer",
            one(get(who).route_layer(bearer())),
            [unknown(404), other_method(405)].concat(),
        ),
        (
            "Handler::layer, and another method without",
            one(get(who.layer(bearer())).post(|| async { "ada" })),
            [unknown(404), vec![post_by("/a", Nobody, 200)]].concat(),
        ),
        (
            "a route added after route_layer",
            one(get(who)).route_layer(bearer()).route("/open", open()),
            vec![get_by("/open", Nobody, 200)],
        ),
        (
            "around a fallback",
            Router::new().fallback(who).layer(bearer()),
            vec![get_by("/any", Nobody, 401), get_by("/any", Member, 200)],
        ),
    ];
    for (name, router, routes) in rows {
        answers(name, &router, &[get_by("/a", Nobody, 401), get_by("/a", Member, 200)]).await;
        answers(name, &router, &routes).await;
    }
}

#[tokio::test]
async fn rules_behind_the_layer_at_every_place_of_a_router() {
    use By::{Member, Nobody, Reader};
    let one = |handler: MethodRouter| Router::new().route("/a", handler);
    let both = || (bearer(), scope("orders:read"));
    let stack = || ServiceBuilder::new().layer(bearer()).layer(scope("orders:read"));
    for (name, router) in [
        ("a tuple on a route", one(get(who).layer(both()))),
        ("a tuple on a route, as route_layer", one(get(who).route_layer(both()))),
        ("a tuple on a handler", one(get(who.layer(both())))),
        ("a tuple on a router", one(get(who)).layer(both())),
        ("a tuple on a router, as route_layer", one(get(who)).route_layer(both())),
        ("ServiceBuilder on a route", one(get(who).layer(stack()))),
        ("ServiceBuilder on a router", one(get(who)).layer(stack())),
        ("ServiceBuilder as route_layer", one(get(who)).route_layer(stack())),
        ("one layer after the other", one(get(who)).layer(scope("orders:read")).layer(bearer())),
        ("a rule on the route", one(get(who).layer(scope("orders:read"))).route_layer(bearer())),
        ("a rule on the handler", one(get(who.layer(scope("orders:read")))).route_layer(bearer())),
    ] {
        let routes = [get_by("/a", Nobody, 401), get_by("/a", Member, 403), get_by("/a", Reader, 200)];
        answers(name, &router, &routes).await;
    }
    // The wrong way round: nobody gets in, and the log says why.
    let router = one(get(who)).layer(bearer()).layer(scope("orders:read"));
    answers("a rule outside", &router, &[get_by("/a", Nobody, 500), get_by("/a", Reader, 500)]).await;
}

#[tokio::test]
async fn nested_routers_have_rules_of_their_own() {
    use By::{Admin, Member, Nobody, Reader};
    let all = || Router::new().route("/a", get(who)).route("/orders", get(who).layer(scope("orders:read")));
    let admin = || Router::new().route("/users", get(who)).route_layer(admins());
    for (name, router) in [
        ("one layer around all", all().nest("/admin", admin()).route_layer(bearer()).route("/open", open())),
        (
            "each with a layer",
            all()
                .route_layer(bearer())
                .nest("/admin", admin().route_layer(bearer()))
                .merge(Router::new().route("/open", open())),
        ),
    ] {
        let routes = [
            get_by("/a", Nobody, 401),
            get_by("/a", Member, 200),
            get_by("/orders", Nobody, 401),
            get_by("/orders", Admin, 403),
            get_by("/orders", Reader, 200),
            get_by("/admin/users", Nobody, 401),
            get_by("/admin/users", Reader, 403),
            get_by("/admin/users", Admin, 200),
            get_by("/admin/unknown", Nobody, 404),
            get_by("/open", Nobody, 200),
        ];
        answers(name, &router, &routes).await;
    }
}

#[tokio::test]
async fn of_two_bearer_layers_the_inner_one_counts() {
    let users = |realm: &str| bearer().with_realm(realm).unwrap();
    let others = |realm: &str| {
        let layer = JwtAuthLayer::<NoClaims>::new(config(&ManualClock::new()).verifier());
        layer.with_realm(realm).unwrap()
    };
    let router = || Router::new().route("/here", get(who));
    for (name, router, has_token, status, realm) in [
        ("the claims", router().layer(users("inner")).layer(others("outer")), true, 200, None),
        ("other claims inside", router().layer(others("inner")).layer(users("outer")), true, 500, None),
        (
            "both would refuse",
            router().layer(users("inner")).layer(others("outer")),
            false,
            401,
            Some("outer"),
        ),
        (
            "what the outer lets pass",
            router().layer(users("inner")).layer(others("outer").optional()),
            false,
            401,
            Some("inner"),
        ),
        (
            "the extractor's answer",
            router().layer(users("inner").optional()).layer(others("outer").observe()),
            false,
            401,
            Some("inner"),
        ),
    ] {
        let mut ask = bare(Method::GET, "/here");
        if has_token {
            ask = ask.bearer(&good());
        }
        let seen = send(&router, ask).await;
        let challenge = realm.map(|realm| format!(r#"Bearer realm="{realm}""#));
        assert_eq!((seen.status, seen.header(WWW_AUTHENTICATE)), (status, challenge.as_deref()), "{name}");
    }
}

/// A browser asks first, without credentials; and a page of another origin reads the refusal.
#[tokio::test]
async fn cors_stands_outside() {
    let origin = "https://pages.example";
    let cors = || {
        CorsLayer::new()
            .allow_origin(HeaderValue::from_static("https://pages.example"))
            .allow_headers([AUTHORIZATION])
            .expose_headers([WWW_AUTHENTICATE])
    };
    let preflight = || {
        bare(Method::OPTIONS, "/here")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization")
    };
    let router = || Router::new().route("/here", get(who));
    for (name, router) in [
        ("around a layer", router().layer(bearer()).layer(cors())),
        ("around a route_layer", router().route_layer(bearer()).layer(cors())),
        ("around a layer of one route", Router::new().route("/here", get(who).layer(bearer())).layer(cors())),
        ("where the extractor refuses", router().layer(bearer().optional()).layer(cors())),
    ] {
        let seen = send(&router, preflight()).await;
        let allowed = seen.header(ACCESS_CONTROL_ALLOW_HEADERS);
        assert_eq!((seen.status, allowed), (200, Some("authorization")), "{name}");
        let seen = send(&router, bare(Method::GET, "/here").header("origin", origin)).await;
        assert_eq!((seen.status, seen.header(ACCESS_CONTROL_ALLOW_ORIGIN)), (401, Some(origin)), "{name}");
        let exposed = seen.headers["access-control-expose-headers"].to_str().unwrap();
        assert_eq!(exposed, "www-authenticate", "{name}");
    }
}

// ── sessions in handlers ──

async fn note_address(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(ClientAddress(peer.ip()));
    request
}

#[tokio::test]
async fn the_client_is_an_argument() {
    async fn device(client: ClientInfo) -> String {
        format!("{:?} {:?} {:?}", client.user_agent, client.address, client.label)
    }
    let plain = || Router::new().route("/here", get(device));
    let peer = MockConnectInfo(SocketAddr::from(([192, 0, 2, 7], 9)));
    let told = || plain().layer(map_request(note_address)).layer(peer);
    let long = "é".repeat(200);
    let cut = format!("Some({:?}) None None", "é".repeat(128));
    for (name, router, agent, expected) in [
        ("nothing is known", plain(), None, "None None None"),
        ("an agent", plain(), Some("curl/8".as_bytes()), r#"Some("curl/8") None None"#),
        ("a long agent", plain(), Some(long.as_bytes()), &*cut),
        ("no text", plain(), Some(&b"a\xff"[..]), "Some(\"a\u{fffd}\") None None"),
        ("a server that nobody asks", plain().layer(peer), None, "None None None"),
        ("an address", told(), None, "None Some(192.0.2.7) None"),
        ("both", told(), Some(&b"curl/8"[..]), r#"Some("curl/8") Some(192.0.2.7) None"#),
    ] {
        let mut ask = bare(Method::GET, "/here");
        if let Some(agent) = agent {
            ask = ask.header(USER_AGENT, agent);
        }
        let seen = send(&router, ask).await;
        assert_eq!((seen.status, &*seen.body), (200, expected), "{name}");
    }
}

#[derive(Clone)]
struct App {
    sessions: Sessions<User>,
}

#[derive(Deserialize)]
struct Passkey {
    subject: String,
}

/// A login of the application's own.
async fn passkey(
    State(app): State<App>,
    client: ClientInfo,
    Json(passkey): Json<Passkey>,
) -> Result<Granted, SessionError> {
    app.sessions.open(Identity::new(passkey.subject, User::named("ada")), &client).await
}

async fn passkey_with_own_error(
    State(app): State<App>,
    client: ClientInfo,
    Json(passkey): Json<Passkey>,
) -> Result<(StatusCode, [(&'static str, &'static str); 1], Granted), AppError> {
    let granted = app.sessions.open(Identity::new(passkey.subject, User::named("ada")), &client).await?;
    Ok((StatusCode::CREATED, [("x-login", "passkey")], granted))
}

async fn end_all(State(app): State<App>, user: Verified<User>) -> Result<StatusCode, SessionError> {
    app.sessions.end_all(user.subject(), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The routes of an application, and the service below its mount point.
fn app(world: &World) -> Router {
    Router::new()
        .route("/me", get(who))
        .route("/end-all", post(end_all))
        .route_layer(JwtAuthLayer::new(world.config.verifier::<User>()))
        .route("/passkey", post(passkey))
        .route("/passkey/own", post(passkey_with_own_error))
        .with_state(App { sessions: world.auth.sessions() })
        .nest_service(world.auth.path(), world.auth.clone())
}

async fn answer(router: &Router, ask: Ask) -> Answer {
    Answer::of(router.clone().oneshot(ask.request()).await.unwrap()).await
}

#[tokio::test]
async fn a_session_opened_by_a_handler_is_an_answer() {
    let world = World::new();
    let router = app(&world);
    let login = answer(&router, ask("/auth/login").json(&credentials("ada"))).await.expect(200);
    for (path, status) in [("/passkey", 200), ("/passkey/own", 201)] {
        let passkey = ask(path).header(USER_AGENT, "curl/8").json(&json!({ "subject": "eve" }));
        let mut opened = answer(&router, passkey).await.expect(status);
        assert_eq!(opened.headers.get("x-login").is_some(), status == 201);
        // As a login answers, but for the tokens.
        opened.status = StatusCode::OK;
        let names =
            |answer: &Answer| -> Vec<_> { answer.value().as_object().unwrap().keys().cloned().collect() };
        assert_eq!(names(&opened), names(&login), "{path}");
        let attributes = |answer: &Answer| {
            let set = answer.set_cookie().expect("a cookie");
            assert_eq!(set.name, NAME);
            set.attributes
        };
        assert_eq!(attributes(&opened), attributes(&login), "{path}");
        assert!(opened.headers[SET_COOKIE].is_sensitive(), "{path}");
        assert_eq!(opened.claims()["sub"], "eve");

        let seen = send(&router, bare(Method::GET, "/me").bearer(&opened.access())).await;
        assert_eq!((seen.status, &*seen.body), (200, "eve"), "{path}");
        let list = answer(&router, bare(Method::GET, "/auth/sessions").bearer(&opened.access())).await;
        assert_eq!(list.value()["sessions"][0]["user_agent"], "curl/8", "{path}");
        let refresh = || ask("/auth/refresh").cookie(&opened.refresh());
        answer(&router, refresh()).await.expect(200);
        world.clock.advance(HOLD);
        assert_eq!(send(&router, ask("/end-all").bearer(&opened.access())).await.status, 204, "{path}");
        answer(&router, refresh()).await.refused(401, "invalid_grant");
    }
}

#[tokio::test]
async fn a_failed_opening_is_an_answer() {
    for path in ["/passkey", "/passkey/own"] {
        let world = World::new();
        let router = app(&world);
        let open = |subject: &str| ask(path).json(&json!({ "subject": subject }));
        answer(&router, open("")).await.refused(500, "server_error");
        world.store.set_down(&[Op::Create]);
        answer(&router, open("eve")).await.refused(503, "unavailable");
        world.store.set_down(&[]);
        answer(&router, open("eve")).await.expect(if path == "/passkey" { 200 } else { 201 });
    }
    // Of a token that is not good any more.
    let error = World::new().auth.sessions().refresh("none").await.unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::Refused);
    Answer::of(error.into_response()).await.refused(401, "invalid_grant");
}

// ── the service, wherever a router takes one ──

#[tokio::test]
async fn the_service_mounts_anywhere() {
    type Mount = fn(Router, &World) -> Router;
    let mounts: [(&str, &str, Mount); 7] = [
        ("nest_service", "/auth", |router, world| router.nest_service(world.auth.path(), world.auth.clone())),
        ("nest_service, deeper", "/api/v1/session", |router, world| {
            router.nest_service(world.auth.path(), world.auth.clone())
        }),
        ("route_service", "/auth", |router, world| {
            router.route_service("/auth/{*below}", world.auth.clone())
        }),
        ("fallback_service", "/auth", |router, world| router.fallback_service(world.auth.clone())),
        ("a router of its own, merged", "/auth", |router, world| {
            router.merge(Router::new().nest_service(world.auth.path(), world.auth.clone()))
        }),
        ("a router of its own, nested", "/auth", |router, world| {
            router.nest("/auth", Router::new().fallback_service(world.auth.clone()))
        }),
        ("nested twice", "/api/session", |router, world| {
            router.nest("/api", Router::new().nest_service("/session", world.auth.clone()))
        }),
    ];
    for (name, path, mount) in mounts {
        let world = World::with(|builder| builder.path(path));
        let bearer = JwtAuthLayer::new(world.config.verifier::<User>());
        let router = mount(Router::new().route("/me", get(who)).route_layer(bearer), &world);
        let at = |route: &str| format!("{path}{route}");
        let login = answer(&router, ask(&at("/login")).json(&credentials("ada"))).await.expect(200);
        assert_eq!(login.set_cookie().unwrap().attribute("path"), Some(path), "{name}");
        let seen = send(&router, bare(Method::GET, "/me").bearer(&login.access())).await;
        assert_eq!((seen.status, &*seen.body), (200, "ada"), "{name}");
        assert_eq!(send(&router, bare(Method::GET, "/me")).await.status, 401, "{name}");
        world.clock.advance(HOLD);
        let next = answer(&router, ask(&at("/refresh")).cookie(&login.refresh())).await.expect(200).refresh();
        let list =
            answer(&router, bare(Method::GET, &at("/sessions")).bearer(&login.access())).await.expect(200);
        assert_eq!(list.value()["sessions"].as_array().unwrap().len(), 1, "{name}");
        answer(&router, bare(Method::GET, &at("/login"))).await.refused(405, "method_not_allowed");
        answer(&router, bare(Method::GET, &at("/unknown"))).await.refused(404, "not_found");
        answer(&router, ask(&at("/logout")).cookie(&next)).await.expect(204);
        answer(&router, ask(&at("/refresh")).cookie(&next)).await.refused(401, "invalid_grant");
        let keys = send(&router, bare(Method::GET, &at("/jwks.json"))).await;
        assert_eq!((keys.status, &*keys.body), (200, r#"{"keys":[]}"#), "{name}");
    }
}

/// `axum::serve`, with the address of the connection in the session list.
#[tokio::test]
async fn it_is_served_over_both_versions() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let world = World::new();
        let router = app(&world).layer(map_request(note_address));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });

        let http2_only = version == Version::HTTP_2;
        let client = Client::builder(TokioExecutor::new()).http2_only(http2_only).build_http();
        let call = async |ask: Ask| {
            let response = client.request(ask.request()).await.unwrap();
            assert_eq!(response.version(), version);
            response
        };
        let url = |path: &str| format!("{origin}{path}");
        let passkey = ask(&url("/passkey")).header(USER_AGENT, "hyper").json(&json!({ "subject": "eve" }));
        let opened = Answer::of(call(passkey).await).await.expect(200);
        let refused =
            Answer::of(call(bare(Method::GET, &url("/me"))).await).await.refused(401, "unauthorized");
        assert_eq!(refused.headers[WWW_AUTHENTICATE], r#"Bearer realm="api""#);
        let me = call(bare(Method::GET, &url("/me")).bearer(&opened.access())).await;
        assert_eq!(me.into_body().collect().await.unwrap().to_bytes(), Bytes::from("eve"));
        let list = call(bare(Method::GET, &url("/auth/sessions")).bearer(&opened.access())).await;
        let list = Answer::of(list).await.expect(200).value();
        assert_eq!(list["sessions"][0]["address"], "127.0.0.1");
        assert_eq!(list["sessions"][0]["user_agent"], "hyper");
    }
}
