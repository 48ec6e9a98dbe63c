//! A scripted server and a storage for tests of the client, both by tokio's paused time.

// Each test file compiles its own copy of this module and uses a part of it; a helper that fails fails its test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, DATE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_jwt_auth::client::{
    BoxError, Event, Events, MemoryStorage, Session, SessionBuilder, SessionLayer, SessionService,
    TokenStorage, Tokens,
};
use tower_jwt_auth::{Clock, Timestamp};

pub const BASE: &str = "https://app.example/auth";
pub const ME: &str = "https://app.example/api/me";
pub const LIFETIME: u64 = 900;

/// The clock of the session: tokio's, which the tests hold.
pub struct TokioClock(pub Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_800_000_000_000).saturating_add(self.0.elapsed())
    }
}

/// What the server does with the next request to the session service.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers as it should.
    Serve,
    /// Does what it should, and the answer is lost: the connection breaks.
    LoseAnswer,
    /// The request is lost: the connection breaks.
    LoseRequest,
    /// Never answers.
    Hang,
    /// Answers this late.
    Late(Duration),
    Status(u16, &'static str),
    RetryAfter(u64),
}

/// A server with one session whose tokens are numbers: `access-3` goes with `refresh-3`.
#[derive(Clone, Default)]
pub struct Server(pub Arc<Inner>);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

#[derive(Default)]
pub struct Inner {
    pub acts: Mutex<VecDeque<Act>>,
    /// Path, body, cookie of each request to the session service.
    pub asked: Mutex<Vec<(String, Value, Option<String>)>>,
    /// `Authorization` of each request to anything else, and what else it had.
    pub seen: Mutex<Vec<Seen>>,
    pub generation: AtomicUsize,
    pub refuses: AtomicBool,
    pub date: Mutex<Option<&'static str>>,
    pub lifetime: Mutex<Option<u64>>,
    pub by_cookie: AtomicBool,
}

#[derive(Debug, Clone)]
pub struct Seen {
    pub authorization: Option<HeaderValue>,
    pub body: Bytes,
    pub method: Method,
}

impl Server {
    pub fn will(&self, acts: impl IntoIterator<Item = Act>) {
        self.0.acts.lock().unwrap().extend(acts);
    }

    pub fn asked(&self, path: &str) -> usize {
        self.0.asked.lock().unwrap().iter().filter(|(asked, ..)| asked == path).count()
    }

    pub fn tokens(&self) -> Vec<Option<String>> {
        let seen = self.0.seen.lock().unwrap();
        let text = |value: &HeaderValue| value.to_str().unwrap().trim_start_matches("Bearer ").to_owned();
        seen.iter().map(|seen| seen.authorization.as_ref().map(text)).collect()
    }

    async fn answer(self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path().to_owned();
        let Some(route) = path.strip_prefix("/auth/") else {
            return Ok(self.resource(&parts, body));
        };
        let cookie = parts.headers.get(COOKIE).map(|cookie| cookie.to_str().unwrap().to_owned());
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.0.asked.lock().unwrap().push((route.to_owned(), json, cookie));
        assert_eq!(parts.headers["x-session-request"], "1");
        let act = self.0.acts.lock().unwrap().pop_front().unwrap_or(Act::Serve);
        match act {
            Act::Serve => Ok(self.serve(route)),
            Act::LoseAnswer => {
                self.serve(route);
                Err("connection reset".into())
            }
            Act::LoseRequest => Err("connection refused".into()),
            Act::Hang => pending().await,
            Act::Late(wait) => {
                sleep(wait).await;
                Ok(self.serve(route))
            }
            Act::Status(status, body) => {
                Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
            }
            Act::RetryAfter(seconds) => Ok(Response::builder()
                .status(503)
                .header(RETRY_AFTER, seconds)
                .body(Full::default())
                .unwrap()),
        }
    }

    fn serve(&self, route: &str) -> Response<Full<Bytes>> {
        if route.starts_with("logout") {
            return Response::builder().status(204).body(Full::default()).unwrap();
        }
        let generation = self.0.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let lifetime = self.0.lifetime.lock().unwrap().unwrap_or(LIFETIME);
        let mut body = json!({
            "access_token": format!("access-{generation}"),
            "token_type": "Bearer",
            "expires_in": lifetime,
            "user": { "email": "ada@app.example" },
        });
        let mut response = Response::builder();
        if self.0.by_cookie.load(Ordering::SeqCst) {
            let cookie = format!("__Secure-refresh_token=refresh-{generation}; HttpOnly; Secure; Path=/auth");
            response = response.header(SET_COOKIE, cookie);
        } else {
            body["refresh_token"] = format!("refresh-{generation}").into();
        }
        if let Some(date) = *self.0.date.lock().unwrap() {
            response = response.header(DATE, date);
        }
        response.body(Full::from(body.to_string())).unwrap()
    }

    /// Anything else: who asks, and who is refused.
    fn resource(&self, parts: &http::request::Parts, body: Bytes) -> Response<Full<Bytes>> {
        let authorization = parts.headers.get(AUTHORIZATION).cloned();
        let current = format!("Bearer access-{}", self.0.generation.load(Ordering::SeqCst));
        let good = authorization.as_ref().is_some_and(|value| value.as_bytes() == current.as_bytes());
        let refused = self.0.refuses.load(Ordering::SeqCst) || !good;
        let text = format!("{} {}", parts.uri.path(), String::from_utf8_lossy(&body));
        let seen = Seen { authorization, body, method: parts.method.clone() };
        self.0.seen.lock().unwrap().push(seen);
        let status = if refused { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        Response::builder().status(status).body(Full::from(text)).unwrap()
    }
}

impl Service<Request<Full<Bytes>>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// A storage that a test looks into, and that fails when told to.
#[derive(Clone, Default)]
pub struct Storage(pub Arc<StorageInner>);

#[derive(Default)]
pub struct StorageInner {
    pub tokens: Mutex<Option<Tokens>>,
    pub fails: AtomicBool,
    pub hangs: AtomicBool,
    pub saves: AtomicUsize,
    pub loads: AtomicUsize,
}

impl Storage {
    pub fn refresh_token(&self) -> Option<String> {
        self.0.tokens.lock().unwrap().as_ref().map(|tokens| tokens.expose_refresh_token().to_owned())
    }

    pub fn put(&self, access: &str, refresh: &str, clock: &TokioClock, left: Duration) {
        let expires_at = clock.now().saturating_add(left);
        let tokens = Tokens::new(access, refresh, expires_at, Duration::from_secs(LIFETIME));
        *self.0.tokens.lock().unwrap() = Some(tokens);
    }
}

impl TokenStorage for Storage {
    async fn load(&self) -> Result<Option<Tokens>, BoxError> {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        if self.0.hangs.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        if self.0.fails.load(Ordering::SeqCst) {
            return Err("the disk is gone".into());
        }
        Ok(self.0.tokens.lock().unwrap().clone())
    }

    async fn save(&self, tokens: Option<&Tokens>) -> Result<(), BoxError> {
        self.0.saves.fetch_add(1, Ordering::SeqCst);
        if self.0.fails.load(Ordering::SeqCst) {
            return Err("the disk is full".into());
        }
        *self.0.tokens.lock().unwrap() = tokens.cloned();
        Ok(())
    }
}

pub fn builder(server: &Server, storage: impl TokenStorage) -> SessionBuilder {
    Session::builder(BASE, storage, server.clone()).clock(TokioClock(Instant::now()))
}

pub async fn signed_in(server: &Server) -> Session {
    let session = builder(server, MemoryStorage::new()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    session
}

pub fn credentials() -> Value {
    json!({ "user": "ada", "password": "correct horse" })
}

pub fn client(server: &Server, session: &Session) -> SessionService<Server> {
    ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(server.clone())
}

pub fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

pub async fn status(client: &SessionService<Server>, request: Request<Full<Bytes>>) -> u16 {
    client.clone().oneshot(request).await.unwrap().status().as_u16()
}

pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

pub fn names(events: &mut Events) -> Vec<&'static str> {
    let mut names = Vec::new();
    while let Some(event) = events.try_next() {
        names.push(match event {
            Event::SignedIn => "signed in",
            Event::Refreshed => "refreshed",
            Event::RefreshFailed(_) => "failed",
            Event::Expired => "expired",
            Event::SignedOut => "signed out",
            Event::StorageFailed(_) => "storage failed",
            _ => "another",
        });
    }
    names
}

pub const SOON: Duration = Duration::from_secs(1);
pub const EXPIRED: Duration = Duration::from_secs(901);
