//! The application: its routes, and the layers around them.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_jwt_auth::{
    AuthService, ClientAddress, CookiePolicy, Delivery, Dpop, DpopBuilder, JwtAuthLayer, NonceKeys,
    RefreshKeys, SessionStore, SigningKey, TokenConfig, Verified,
};

use crate::accounts::{Accounts, User};
use crate::pages;
use crate::settings::Settings;
use crate::theft::{self, Thief};
use crate::timeline::{self, Timeline};

/// The routes. `origins` are those that the page is opened under; the sessions are kept in `store`.
pub(crate) fn router(
    settings: &Settings,
    origins: &[String],
    store: impl SessionStore,
) -> Result<Router, Box<dyn Error>> {
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&settings.derive("access token key")?)?.with_kid("demo-1"))
        .issuer("https://demo.example")
        .audience("demo-api")
        .lifetime(settings.access_lifetime)
        .build()?;

    let timeline = Timeline::default();
    let mut auth = AuthService::builder(
        &config,
        RefreshKeys::new(settings.derive("refresh token key")?)?,
        store,
        Accounts::new()?,
    )
    .policy(settings.policy.clone())
    // The page gets a cookie, and the example `client` a refresh token in the body.
    .delivery(Delivery::Both)
    .events(timeline.clone());
    for origin in origins {
        // Plain http, too, for a demo that is shown in a local network.
        auth = auth.insecure_add_origin(origin);
    }
    if settings.insecure_cookies {
        auth = auth.cookie(CookiePolicy::default().insecure_without_secure());
    }
    let mut bearer = JwtAuthLayer::new(config.verifier::<User>());
    if let Some(dpop) = dpop(settings, origins)? {
        auth = auth.dpop(&dpop);
        bearer = bearer.dpop(&dpop)?;
    }
    let auth = auth.build()?;
    let auth_routes = Router::new().nest_service(auth.path(), auth.clone());
    let thief = Thief::new(auth, settings.policy.clone(), timeline.clone());

    let sensitive =
        [header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE, HeaderName::from_static("dpop")];
    Ok(Router::new()
        .route("/api/me", get(me))
        .merge(timeline::router(timeline))
        .merge(theft::router(thief.clone()))
        // Only what stands above needs a token.
        .route_layer(bearer)
        .route("/health", get(async || "ok"))
        .merge(pages::router(settings.dpop))
        // An application merges the routes as they are: nobody watches there.
        .merge(theft::watched(auth_routes, thief))
        .layer(
            ServiceBuilder::new()
                .layer(SetSensitiveHeadersLayer::new(sensitive))
                .layer(TraceLayer::new_for_http())
                .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
                .layer(map_request(note_address)),
        ))
}

/// Proofs for the URLs that the page is opened under; one memory for all layers.
fn dpop(settings: &Settings, origins: &[String]) -> Result<Option<Dpop>, Box<dyn Error>> {
    let Some((first, others)) = origins.split_first().filter(|_| settings.dpop) else { return Ok(None) };
    let builder = Dpop::builder(first).nonces(NonceKeys::new(settings.derive("nonce key")?)?);
    Ok(Some(others.iter().fold(builder, DpopBuilder::add_url).build()?))
}

/// Behind the bearer layer: the verified token is an argument.
async fn me(user: Verified<User>) -> Json<Value> {
    let (sub, sid) = (user.subject(), user.session_id());
    Json(json!({ "sub": sub, "email": user.email, "role": user.role, "sid": sid }))
}

/// Tells the service the address that its session list shows.
async fn note_address(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(ClientAddress(peer.ip()));
    request
}
