//! Both ends ours, in two processes: one issues tokens with EdDSA and publishes its keys, the other fetches them and
//! verifies. The signing key is exchanged again and again, while tokens are verified without a pause.
//!
//! ```text
//! cargo run --example issuer_and_resource --features jwks-hyper
//! ```
//!
//! `ROTATIONS` says after how many it ends (3). The issuer is started as a process of its own:
//! `issuer_and_resource issuer`.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_jwt_auth::{
    AccessGrant, Clock, Issuer, JwksClient, JwtAuthLayer, KeyRotation, KeyRotationStep, NoClaims, RemoteJwks,
    SigningKey, SystemClock, TokenConfig, Verified,
};

type BoxError = Box<dyn Error + Send + Sync>;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://resource.example";

/// How long the resource keeps a key set, so that the new key is not used sooner. A real one has minutes or hours.
const PROPAGATION: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    match env::args().nth(1).as_deref() {
        Some("issuer") => issuer().await,
        _ => resource().await,
    }
}

/// Serves `GET /jwks.json`, and `GET /token` to anybody: how users prove who they are is for other examples.
async fn issuer() -> Result<(), BoxError> {
    let config = TokenConfig::builder()
        .key(new_key(0)?)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .lifetime(Duration::from_secs(3))
        .leeway(Duration::from_secs(1))
        .build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    tokio::spawn(rotate(config.clone()));

    let issuer = Issuer::new(&config)?;
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (issuer, config) = (issuer.clone(), config.clone());
        async move {
            let (status, body) = match request.uri().path() {
                "/jwks.json" => (StatusCode::OK, config.keys().load().to_jwks()),
                "/token" => match issuer.issue(&AccessGrant::new("ada"), &NoClaims {}) {
                    Ok(token) => (StatusCode::OK, token.expose().to_owned()),
                    Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
                },
                _ => (StatusCode::NOT_FOUND, String::new()),
            };
            let mut response = Response::new(Full::<Bytes>::from(body));
            *response.status_mut() = status;
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
            Ok::<_, Infallible>(response)
        }
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn new_key(number: u8) -> Result<SigningKey, BoxError> {
    // A real one comes from a file: `openssl genpkey -algorithm ed25519`.
    Ok(SigningKey::ed25519_seed(&[number; 32])?.with_kid(format!("key-{number}")))
}

/// Publish, wait until all know it, sign with it, wait until no token of the old one is left, remove that.
async fn rotate(config: TokenConfig) -> Result<(), BoxError> {
    for number in 1.. {
        let (old, new) = (format!("key-{}", number - 1), new_key(number)?);
        config.add_key(new.verifying_key().clone())?;
        let mut rotation = KeyRotation::begin(&config, SystemClock.now(), PROPAGATION);
        loop {
            match rotation.next_step(SystemClock.now()) {
                KeyRotationStep::Sign => {
                    config.sign_with(new.clone())?;
                    rotation = rotation.signing_since(SystemClock.now());
                    println!("signs with key-{number}");
                }
                KeyRotationStep::Remove => break,
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
        config.remove_key(&old)?;
        println!("removed {old}");
    }
    Ok(())
}

/// Starts the issuer, and verifies its tokens until its key was exchanged a few times.
async fn resource() -> Result<(), BoxError> {
    let rotations = env::var("ROTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut issuer =
        Command::new(env::current_exe()?).arg("issuer").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = issuer.stdout.take().ok_or("the issuer has no output")?;
    let mut lines = BufReader::new(output).lines();
    let place = lines.next_line().await?.ok_or("the issuer did not start")?;

    let client = JwksClient::new()?;
    let keys = RemoteJwks::builder(client.clone())
        .insecure_http()
        .interval(Duration::from_secs(1))
        .spawn_at(format!("{place}/jwks.json"))?;
    keys.wait_ready().await?;
    let config = TokenConfig::builder()
        .key_source(keys.handle())
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .leeway(Duration::from_secs(1))
        .build()?;
    let service = JwtAuthLayer::new(config.verifier::<NoClaims>()).layer(service_fn(hello));

    let (accepted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let load = load(client, place, service, Arc::clone(&accepted), Arc::clone(&refused));
    let watch = async {
        let mut removed = 0;
        while removed < rotations {
            let line = lines.next_line().await?.ok_or("the issuer has ended")?;
            removed += u32::from(line.starts_with("removed"));
            let (accepted, refused) = (accepted.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
            println!("{line}; accepted {accepted}, refused {refused}");
        }
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        outcome = watch => outcome,
        outcome = load => outcome,
    }
}

async fn hello(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let user = Verified::<NoClaims>::of(request.extensions()).map(|token| token.subject().to_owned());
    Ok(Response::new(Full::from(user.unwrap_or_default())))
}

/// A new token, and a request with it, one after another.
async fn load<S, R>(
    mut client: JwksClient,
    issuer: String,
    mut service: S,
    accepted: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
) -> Result<(), BoxError>
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    loop {
        let request = Request::get(format!("{issuer}/token")).body(Bytes::new().into())?;
        let token = client.ready().await?.call(request).await?.into_body().collect().await?.to_bytes();
        let token = format!("Bearer {}", String::from_utf8_lossy(&token));
        let request = Request::get("/hello").header(AUTHORIZATION, token).body(())?;
        let answer = service.ready().await?.call(request).await?;
        let counter = if answer.status() == StatusCode::OK { &accepted } else { &refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
