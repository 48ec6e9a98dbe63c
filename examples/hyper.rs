//! The same layer and the same service on plain hyper, HTTP/1 and HTTP/2, without a framework.
//!
//! ```text
//! cargo run --example hyper
//! curl -i -X POST http://127.0.0.1:3001/auth/login -H 'X-Session-Request: 1' \
//!      -H 'Content-Type: application/json' -d '{"name":"ada","password":"correct horse"}'
//! curl -i http://127.0.0.1:3001/ -H 'Authorization: Bearer ...'
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    AuthService, Authenticator, AuthnError, ClientAddress, ClientInfo, Identity, JwtAuthLayer, MokaStore,
    RefreshKeys, SigningKey, TokenConfig, Verified,
};

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
    let text = match Verified::<User>::of(request.extensions()) {
        Some(user) => {
            format!("Hello {}, your session is {}\n", user.name, user.session_id().unwrap_or("none"))
        }
        None => "There is no bearer layer in front of this service\n".to_owned(),
    };
    Ok(Response::new(Full::from(text)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
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
    let auth = AuthService::builder(&config, RefreshKeys::new(seed)?, MokaStore::new(), Accounts)
        .add_origin(&format!("http://{address}"))
        .build()?;
    let hello =
        ServiceBuilder::new().layer(JwtAuthLayer::new(config.verifier::<User>())).service(service_fn(hello));

    println!("listening on http://{address}");
    loop {
        let (stream, peer) = listener.accept().await?;
        let (auth, hello) = (auth.clone(), hello.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (auth, hello) = (auth.clone(), hello.clone());
            async move {
                request.extensions_mut().insert(ClientAddress(peer.ip()));
                let below_auth =
                    request.uri().path().strip_prefix(auth.path()).is_some_and(|rest| rest.starts_with('/'));
                if below_auth {
                    auth.oneshot(request).await.map(|response| response.map(BodyExt::boxed))
                } else {
                    hello.oneshot(request).await.map(|response| response.map(BodyExt::boxed))
                }
            }
        });
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            let served =
                connection.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
            if let Err(error) = served {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}
