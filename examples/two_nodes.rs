//! Two server processes over one store: what one of them does, the other one knows.
//!
//! ```text
//! STORE=redis://127.0.0.1:6380/ cargo run --example two_nodes --features redis
//! STORE=postgres://app@127.0.0.1:5433/app cargo run --example two_nodes --features postgres
//! ```
//!
//! Starts itself twice as a server, opens a session on the first, and refreshes, lists and ends it on the other. Then the first
//! refuses the access token, too, which is good for a quarter of an hour by itself.

// Without a store for many nodes it says only what it needs.
#![cfg_attr(not(any(feature = "redis", feature = "postgres")), allow(dead_code, clippy::unused_async))]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tower_jwt_auth::{
    AuthService, Authenticator, AuthnError, ClientInfo, Identity, JwtAuthLayer, LiveSessionsLayer,
    RefreshKeys, Retry, SessionPolicy, SessionStore, SigningKey, TokenConfig,
};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() {
    let store = std::env::var("STORE").unwrap_or_default();
    let done =
        if std::env::args().nth(1).as_deref() == Some("node") { node(&store).await } else { story().await };
    if let Err(error) = done {
        eprintln!("two_nodes: {error}");
        std::process::exit(1);
    }
}

// The server.

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

struct Accounts;

impl Authenticator for Accounts {
    type Credentials = Login;
    type Claims = User;

    async fn authenticate(&self, login: Login, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
        // An application asks for a password here: see examples/demo/accounts.rs.
        Ok(Identity::new(format!("user-{}", login.name), User { name: login.name }))
    }
}

async fn node(store: &str) -> Result<(), Failure> {
    match store.split_once("://").map(|(scheme, _)| scheme) {
        #[cfg(feature = "redis")]
        Some("redis" | "rediss") => {
            let url = store;
            let store = tower_jwt_auth::RedisStore::open(url)?;
            let hears = store.listen(url)?;
            serve(store, hears).await
        }
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => {
            let url = store;
            let store = tower_jwt_auth::PostgresStore::open(url)?;
            // Both nodes do this at once: one makes the tables, the other one waits.
            store.migrate().await?;
            let hears = store.listen(url)?;
            serve(store, hears).await
        }
        _ => Err("set STORE to redis://.. or postgres://.., and build with --features redis,postgres".into()),
    }
}

/// `hears` tells the layers of this node what the other one ends, as long as it is held.
async fn serve<S: SessionStore + Clone, T>(store: S, hears: T) -> Result<(), Failure> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    // All nodes of a deployment have the same keys. Real ones are random, and come from its secrets.
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&[7; 32])?)
        .issuer("https://nodes.example")
        .audience("api")
        .build()?;
    // So short that the story need not wait before a token is due.
    let retry = Retry::Within { retry: Duration::from_secs(10), hold: Duration::from_millis(100) };
    let auth = AuthService::builder(&config, RefreshKeys::new([8; 32])?, store.clone(), Accounts)
        .policy(SessionPolicy::default().with_retry(retry))
        .add_origin(&format!("http://{address}"))
        .build()?;
    let api = Router::new()
        .route("/api/me", get(async || "an access token of a session that lives"))
        // The last one is the first to see a request.
        .layer(LiveSessionsLayer::new(store, Duration::from_secs(5)))
        .layer(JwtAuthLayer::new(config.verifier::<User>()));
    println!("listening on http://{address}");
    axum::serve(listener, api.nest_service(auth.path(), auth.clone())).await?;
    drop(hears);
    Ok(())
}

// The story.

async fn story() -> Result<(), Failure> {
    let (one, two) = (Node::start()?, Node::start()?);
    println!("two nodes: {} and {}", one.url()?, two.url()?);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let browser = Browser { client, one, two };

    let login = browser.on_one(Method::POST, "/auth/login", &[], r#"{"name":"ada"}"#).await?;
    let (token, session) = (access_token(&login)?, cookie(&login)?);
    println!("one: ada signed in");

    tokio::time::sleep(Duration::from_millis(200)).await;
    let refresh = browser.on_two(Method::POST, "/auth/refresh", &[(COOKIE, &session)]).await?;
    let next = cookie(&refresh)?;
    expect(next != session, "the token was not rotated")?;
    println!("two: refreshed, the token is a new one");

    let again = browser.on_one(Method::POST, "/auth/refresh", &[(COOKIE, &session)], "").await?;
    expect(cookie(&again)? == next, "the answer was not repeated")?;
    println!("one: the old token came again, as from another tab, and got the same new one");

    let bearer = format!("Bearer {token}");
    let list = browser.on_two(Method::GET, "/auth/sessions", &[(AUTHORIZATION, &bearer)]).await?;
    let list: Value = serde_json::from_slice(list.body())?;
    let sessions = list["sessions"].as_array().map_or(0, Vec::len);
    expect(sessions >= 1, "the session is not listed")?;
    println!("two: ada has {sessions} session(s)");

    browser.on_one(Method::GET, "/api/me", &[(AUTHORIZATION, &bearer)], "").await?;
    println!("one: her access token is good");

    let logout = browser.on_two(Method::POST, "/auth/logout", &[(COOKIE, &next)]).await?;
    expect(logout.status() == StatusCode::NO_CONTENT, "the logout failed")?;
    println!("two: ada signed out");

    let refused =
        browser.send(browser.one.url()?, Method::POST, "/auth/refresh", &[(COOKIE, &next)], "").await?;
    expect(refused.status() == StatusCode::UNAUTHORIZED, "the session goes on")?;
    println!("one: the session has ended here, too");

    let began = Instant::now();
    let me = [(AUTHORIZATION, &*bearer)];
    while browser.send(browser.one.url()?, Method::GET, "/api/me", &me, "").await?.status()
        != StatusCode::UNAUTHORIZED
    {
        expect(began.elapsed() < Duration::from_secs(60), "the access token is still good")?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("one: her access token is refused, {} ms later", began.elapsed().as_millis());
    Ok(())
}

struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    one: Node,
    two: Node,
}

type Headers<'a> = [(http::HeaderName, &'a str)];

impl Browser {
    async fn on_one(
        &self,
        method: Method,
        path: &str,
        headers: &Headers<'_>,
        body: &'static str,
    ) -> Result<Response<Bytes>, Failure> {
        let answer = self.send(self.one.url()?, method, path, headers, body).await?;
        expect(answer.status().is_success(), path)?;
        Ok(answer)
    }

    async fn on_two(
        &self,
        method: Method,
        path: &str,
        headers: &Headers<'_>,
    ) -> Result<Response<Bytes>, Failure> {
        let answer = self.send(self.two.url()?, method, path, headers, "").await?;
        expect(answer.status().is_success(), path)?;
        Ok(answer)
    }

    async fn send(
        &self,
        url: &str,
        method: Method,
        path: &str,
        headers: &Headers<'_>,
        body: &'static str,
    ) -> Result<Response<Bytes>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{url}{path}"))
            .header("x-session-request", "1")
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let (head, body) = self.client.request(request.body(Full::from(body))?).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

/// A process, which ends when this is dropped.
struct Node {
    process: Child,
    url: Option<String>,
}

impl Node {
    fn start() -> Result<Self, Failure> {
        let process = Command::new(std::env::current_exe()?).arg("node").stdout(Stdio::piped()).spawn()?;
        let mut node = Self { process, url: None };
        let output = node.process.stdout.take().ok_or("a node without output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        node.url = line.trim().strip_prefix("listening on ").map(ToOwned::to_owned);
        Ok(node)
    }

    fn url(&self) -> Result<&str, Failure> {
        self.url.as_deref().ok_or_else(|| "a node did not start".into())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn expect(is_so: bool, otherwise: &str) -> Result<(), Failure> {
    if is_so { Ok(()) } else { Err(otherwise.into()) }
}

fn access_token(answer: &Response<Bytes>) -> Result<String, Failure> {
    let body: Value = serde_json::from_slice(answer.body())?;
    Ok(body["access_token"].as_str().ok_or("an answer without an access token")?.to_owned())
}

fn cookie(answer: &Response<Bytes>) -> Result<String, Failure> {
    let cookie = answer.headers().get(SET_COOKIE).ok_or("an answer without a cookie")?.to_str()?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}
