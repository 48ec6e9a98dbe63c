//! gRPC by tonic: the layer around all services, a scope in front of one, and the login on the same port.
//!
//! ```text
//! cargo run --example tonic
//! curl --http2-prior-knowledge -X POST http://127.0.0.1:3003/auth/login -H 'X-Session-Request: 1' \
//!      -H 'Content-Type: application/json' -d '{"name":"ada","password":"correct horse"}'
//! grpcurl -plaintext -H 'authorization: Bearer ...' ... 127.0.0.1:3003 example.Greeter/Greet
//! ```
//!
//! Ada has the scope `admin`, Bob (`battery staple`) has not. The services need nothing from the crate but
//! `Verified::of(request.extensions())`; refusals are gRPC statuses by themselves.

mod greeter;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::service::LayerExt as _;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Request, Response, Status, Streaming};
use tower::util::MapRequestLayer;
use tower_jwt_auth::{
    AuthLayer, AuthService, Authenticator, AuthnError, ClientAddress, ClientInfo, Identity, JwtAuthLayer,
    MokaStore, PurgeTask, RefreshKeys, RequireScopeLayer, SigningKey, TokenConfig, Verified,
};
use tracing_subscriber::EnvFilter;

use crate::greeter::{Admin, AdminServer, Greeter, GreeterServer, Text, Texts};

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
        let scopes = match (&*login.name, &*login.password) {
            ("ada", "correct horse") => vec!["greet", "admin"],
            ("bob", "battery staple") => vec!["greet"],
            _ => return Err(AuthnError::Refused),
        };
        Ok(Identity::new(format!("user-{}", login.name), User { name: login.name }).with_scopes(scopes))
    }
}

struct Polite;

/// The user of a call. The layer refused all calls without one.
fn user<T>(request: &Request<T>) -> Result<Verified<User>, Status> {
    Verified::of(request.extensions()).ok_or_else(|| Status::internal("there is no bearer layer"))
}

/// An interceptor behind the layers: what administrators call goes to the log.
fn audit(request: Request<()>) -> Result<Request<()>, Status> {
    tracing::info!(subject = user(&request)?.subject(), "an administrator calls");
    Ok(request)
}

/// Tells the login the address that the session list shows.
fn note_address(mut request: http::Request<Body>) -> http::Request<Body> {
    let peer = request.extensions().get().and_then(TcpConnectInfo::remote_addr);
    if let Some(peer) = peer {
        request.extensions_mut().insert(ClientAddress(peer.ip()));
    }
    request
}

impl Greeter for Polite {
    async fn greet(&self, request: Request<Text>) -> Result<Response<Text>, Status> {
        let user = user(&request)?;
        Ok(Response::new(Text::new(format!("{}, {}!", request.get_ref().text, user.name))))
    }

    async fn repeat(&self, request: Request<Text>) -> Result<Response<Texts>, Status> {
        let name = user(&request)?.name.clone();
        let text = request.into_inner().text;
        let texts = (1..=3).map(move |time| Ok(Text::new(format!("{text}, {name} ({time})"))));
        Ok(Response::new(Box::pin(tokio_stream::iter(texts))))
    }

    /// The token was checked when the call began. A stream that outlives it ends when the service says so.
    async fn chat(&self, request: Request<Streaming<Text>>) -> Result<Response<Texts>, Status> {
        let name = user(&request)?.name.clone();
        let answers = request.into_inner().map(move |text| Ok(Text::new(format!("{}, {name}!", text?.text))));
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Admin for Polite {
    async fn stop(&self, request: Request<Text>) -> Result<Response<Text>, Status> {
        Ok(Response::new(Text::new(format!("stopped by {}", user(&request)?.name))))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let address: SocketAddr = std::env::var("ADDR").unwrap_or("127.0.0.1:3003".to_owned()).parse()?;
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;

    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&seed)?)
        .issuer("https://tonic.example")
        .audience("greeter")
        .build()?;
    getrandom::fill(&mut seed)?;
    let store = MokaStore::new();
    let _purge = PurgeTask::spawn(store.clone(), Duration::from_secs(600))?;
    let auth = AuthService::builder(&config, RefreshKeys::new(seed)?, store, Accounts)
        .add_origin(&format!("http://{address}"))
        .build()?;

    // In front of one service only.
    let admin = InterceptedService::new(AdminServer::new(Polite), audit);
    let admin = RequireScopeLayer::all(["admin"])?.named_layer(admin);

    println!("listening on http://{address}");
    Server::builder()
        // For clients of the login that speak no HTTP/2.
        .accept_http1(true)
        .layer(MapRequestLayer::new(note_address))
        // Outside of the bearer layer: a login carries no token yet.
        .layer(AuthLayer::new(auth))
        .layer(JwtAuthLayer::new(config.verifier::<User>()))
        .add_service(GreeterServer::new(Polite))
        .add_service(admin)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
