//! The crate on plain hyper, HTTP/1 and HTTP/2, without a framework: the service in front, the layer behind it, and
//! around both what a server on the internet needs.
//!
//! ```text
//! cargo run --example hyper
//! curl -i --http2-prior-knowledge -X POST http://127.0.0.1:3001/auth/login -H 'X-Session-Request: 1' \
//!      -H 'Content-Type: application/json' -d '{"name":"ada","password":"correct horse"}'
//! curl -i http://127.0.0.1:3001/ -H 'Authorization: Bearer ...'
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
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
async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, _body) = request.into_parts();
    let user = match Verified::<User>::from_parts(&parts) {
        Ok(user) => user,
        // Only without a layer in front: a 500, and the log says so.
        Err(rejection) => return Ok(rejection.respond(&parts).map(Full::new)),
    };
    if parts.uri.path() != "/" {
        let mut nothing = Response::new(Full::default());
        *nothing.status_mut() = StatusCode::NOT_FOUND;
        return Ok(nothing);
    }
    let session = user.session_id().unwrap_or("none");
    Ok(Response::new(Full::from(format!("Hello {}, your session is {session}\n", user.name))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

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
    let _purge = PurgeTask::spawn(store.clone(), Duration::from_secs(600));
    let auth = AuthService::builder(&config, RefreshKeys::new(seed)?, store, Accounts)
        .add_origin(&format!("http://{address}"))
        .build()?;

    let stack = ServiceBuilder::new()
        // First of all: what is printed further in leaves them out.
        .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE]))
        .layer(TraceLayer::new_for_http())
        // Outside of the crate's layers: a body that drips in is ended, and a refused request gives its permit back.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
        .layer(GlobalConcurrencyLimitLayer::new(1_000))
        // The login carries no token, so the service stands in front of the layer.
        .layer(AuthLayer::new(auth))
        .layer(JwtAuthLayer::new(config.verifier::<User>()))
        .service(service_fn(hello));

    let mut server = auto::Builder::new(TokioExecutor::new());
    // A client that sends half a request holds its connection for so long.
    server.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    server.http2().timer(TokioTimer::new()).max_header_list_size(32 * 1024);
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());

    println!("listening on http://{address}");
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = &mut stop => break,
        };
        let stack = stack.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            // What the session list shows. Behind a proxy it would be the proxy's.
            request.extensions_mut().insert(ClientAddress(peer.ip()));
            stack.clone().oneshot(request)
        });
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error, "a connection ended");
            }
        });
    }
    // Requests that are under way are answered.
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => {}
    }
    Ok(())
}
