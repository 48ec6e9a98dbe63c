//! The crate on plain hyper, HTTP/1 and HTTP/2, without a framework: the service in front, the layer behind it, and
//! around both what a server on the internet needs.
//!
//! ```text
//! cargo run --example hyper
//! curl -i --http2-prior-knowledge -X POST http://127.0.0.1:3001/auth/login -H 'X-Session-Request: 1' \
//!      -H 'Content-Type: application/json' -d '{"name":"ada","password":"correct horse"}'
//! curl -i http://127.0.0.1:3001/ -H 'Authorization: Bearer ...'
//! curl -i http://127.0.0.1:3001/ -H 'Authorization: Bearer ...' -d 'a note'
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_jwt_auth::{
    AuthLayer, AuthService, Authenticator, AuthnError, ClientAddress, ClientInfo, Identity, JwtAuthLayer,
    MokaStore, PurgeTask, RefreshKeys, SigningKey, TokenConfig, Verified,
};
use tracing_subscriber::EnvFilter;

/// What a client may take its time with: to ask for anything, to send the head of a request, to have it answered. And
/// what it is given when the server stops.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a handler is given of a body at most. The service of the crate reads 16 KiB at most by itself.
const MAX_BODY: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

struct Accounts;

impl Authenticator for Accounts {
    type Credentials = Login;
    type Claims = User;

    async fn authenticate(&self, login: Login, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
        // An application compares with a slow hash here: see examples/demo/accounts.rs.
        if login.name == "ada" && login.password == "correct horse" {
            Ok(Identity::new("user-ada", User { name: login.name }))
        } else {
            Err(AuthnError::Refused)
        }
    }
}

/// Behind the layer: who asks is in the extensions.
async fn hello(request: Request<Limited<Incoming>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let user = match Verified::<User>::from_parts(&parts) {
        Ok(user) => user,
        // Only without a layer in front: a 500, and the log says so.
        Err(rejection) => return Ok(rejection.respond(&parts).map(Full::new)),
    };
    let (status, text) = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/") => {
            let session = user.session_id().unwrap_or("none");
            (StatusCode::OK, format!("Hello {}, your session is {session}\n", user.name))
        }
        (&Method::POST, "/") => match body.collect().await {
            Ok(body) => (StatusCode::OK, format!("{} noted {} bytes\n", user.name, body.to_bytes().len())),
            Err(error) if error.is::<LengthLimitError>() => (StatusCode::PAYLOAD_TOO_LARGE, String::new()),
            Err(_) => (StatusCode::BAD_REQUEST, String::new()),
        },
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let address: SocketAddr = std::env::var("ADDR").unwrap_or("127.0.0.1:3001".to_owned()).parse()?;
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;

    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&seed)?)
        .issuer("https://hyper.example")
        .audience("hello")
        .build()?;
    getrandom::fill(&mut seed)?;
    let store = MokaStore::new();
    let _purge = PurgeTask::spawn(store.clone(), Duration::from_secs(600))?;
    let auth = AuthService::builder(&config, RefreshKeys::new(seed)?, store, Accounts)
        .add_origin(&format!("http://{address}"))
        .build()?;

    let guarded = ServiceBuilder::new()
        // Outside of the crate's layers, so that a refused request gives its permit back.
        .layer(GlobalConcurrencyLimitLayer::new(1_000))
        .map_request(|request: Request<Incoming>| request.map(|body| Limited::new(body, MAX_BODY)))
        // The login carries no token, so the service stands in front of the layer.
        .layer(AuthLayer::new(auth))
        .layer(JwtAuthLayer::new(config.verifier::<User>()))
        .service(service_fn(hello));
    let stack = ServiceBuilder::new()
        // First of all: what is printed further in leaves them out.
        .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE]))
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE))
        // The wait for a permit is part of the call, and ends by the time-out as the wait for a body does.
        .service(service_fn(move |request| guarded.clone().oneshot(request)));

    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    server
        .http2()
        .timer(TokioTimer::new())
        // Clients that went away without a word.
        .keep_alive_interval(PATIENCE)
        .keep_alive_timeout(PATIENCE)
        .max_header_list_size(32 * 1024);
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop()?);

    println!("listening on http://{address}");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // That of one connection, or too many files are open: no reason to stop serving the others.
                tracing::warn!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let stack = stack.clone();
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&has_asked);
        let service = service_fn(move |mut request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            // What the session list shows. Behind a proxy it would be the proxy's.
            request.extensions_mut().insert(ClientAddress(peer.ip()));
            stack.clone().oneshot(request)
        });
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let served = match timeout(PATIENCE, connection.as_mut()).await {
                Ok(served) => served,
                Err(_) if has_asked.load(Ordering::Relaxed) => connection.await,
                // Not even enough to tell HTTP/1 from HTTP/2.
                Err(_) => return,
            };
            if let Err(error) = served {
                tracing::debug!(%peer, error, "a connection ended");
            }
        });
    }
    drop(listener);
    // Requests that are under way are answered.
    if timeout(PATIENCE, graceful.shutdown()).await.is_err() {
        tracing::warn!("stopped with requests unanswered");
    }
    Ok(())
}

/// Ends at Ctrl-C, and when a supervisor says so. From here on neither kills the program.
#[cfg(unix)]
fn stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends at Ctrl-C.
#[cfg(not(unix))]
fn stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async { _ = tokio::signal::ctrl_c().await })
}
