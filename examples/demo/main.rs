//! The whole crate in one small application: axum, a page to try it with, and a store, by default in memory.
//!
//! ```text
//! cargo run --example demo
//! STORE=redis://127.0.0.1:6380/ cargo run --example demo --features redis
//! STORE=postgres://app@127.0.0.1:5433/app cargo run --example demo --features postgres
//! ```
//!
//! Sign in as `ada@example.com` / `correct horse` or `bob@example.com` / `battery staple`. Everything has a default;
//! [`settings`] lists the environment variables that change it.

mod accounts;
mod pages;
mod settings;
mod stores;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_jwt_auth::{
    AuthService, ClientAddress, CookiePolicy, JwtAuthLayer, RefreshKeys, SessionStore, SigningKey,
    TokenConfig, Verified,
};
use tracing_subscriber::EnvFilter;

use crate::accounts::{Accounts, User};
use crate::settings::Settings;
use crate::stores::Store;

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("demo: {error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let settings = Settings::from_env()?;
    let listener = TcpListener::bind(settings.address).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another with ADDR", settings.address)
    })?;
    let address = listener.local_addr()?;
    let (store, _purge) = stores::open(settings.store.as_deref()).await?;
    let app = match store {
        Store::Moka(store) => app(&settings, address, store)?,
        #[cfg(feature = "redis")]
        Store::Redis(store) => app(&settings, address, store)?,
        #[cfg(feature = "postgres")]
        Store::Postgres(store) => app(&settings, address, store)?,
    };

    println!("listening on http://{address}");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}

fn app(settings: &Settings, address: SocketAddr, store: impl SessionStore) -> Result<Router, Box<dyn Error>> {
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&settings.derive("access token key")?)?.with_kid("demo-1"))
        .issuer("https://demo.example")
        .audience("demo-api")
        .lifetime(settings.access_lifetime)
        .build()?;

    let mut auth = AuthService::builder(
        &config,
        RefreshKeys::new(settings.derive("refresh token key")?)?,
        store,
        Accounts::new()?,
    )
    .policy(settings.policy.clone())
    // The page is opened under either name; whoever serves another address names that one, too.
    .add_origin(&format!("http://localhost:{}", address.port()))
    .add_origin(&format!("http://127.0.0.1:{}", address.port()));
    if !address.ip().is_loopback() && !address.ip().is_unspecified() {
        auth = auth.insecure_add_origin(&format!("http://{address}"));
    }
    if settings.insecure_cookies {
        auth = auth.cookie(CookiePolicy::default().insecure_without_secure());
    }
    let auth = auth.build()?;

    let bearer = JwtAuthLayer::new(config.verifier::<User>());
    let sensitive = [header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE];
    Ok(Router::new()
        .route("/api/me", get(me))
        // Only what stands above needs a token.
        .route_layer(bearer)
        .route("/health", get(async || "ok"))
        .merge(pages::router())
        .nest_service(auth.path(), auth.clone())
        .layer(
            ServiceBuilder::new()
                .layer(SetSensitiveHeadersLayer::new(sensitive))
                .layer(TraceLayer::new_for_http())
                .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
                .layer(map_request(note_address)),
        ))
}

#[derive(Serialize)]
struct Me<'a> {
    sub: &'a str,
    email: &'a str,
    role: &'a str,
    sid: Option<&'a str>,
}

/// Behind the bearer layer: the claims are in the request's extensions.
async fn me(request: Request) -> Response {
    let Some(user) = Verified::<User>::of(request.extensions()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let me = Me { sub: user.subject(), email: &user.email, role: &user.role, sid: user.session_id() };
    Json(me).into_response()
}

/// Tells the service the address that its session list shows.
async fn note_address(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(ClientAddress(peer.ip()));
    request
}
