//! A small application on axum: logins, routes with rules of their own, and refusals in words of one's own.
//!
//! An application names the feature `axum` of the crate.
//!
//! ```text
//! cargo run --example axum
//! curl http://127.0.0.1:3002/
//! curl -X POST http://127.0.0.1:3002/auth/login -H 'X-Session-Request: 1' -H 'Content-Type: application/json' \
//!      -d '{"name":"ada","password":"correct horse"}'         # or bob, "battery staple", who may do less
//! TOKEN=...                                                   # the access token of the answer
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3002/api/me       # also /api/orders, /admin/users
//! curl -H "Authorization: Bearer $TOKEN" -X POST http://127.0.0.1:3002/api/transfer    # for 5 minutes after the login
//! curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
//!      -d '{"old":"correct horse","new":"another horse"}' http://127.0.0.1:3002/api/password
//! curl -i -H 'Content-Type: application/json' -d '{"assertion":"key of ada"}' http://127.0.0.1:3002/passkey
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler;
use axum::middleware::map_request;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use http::{Method, StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::cors::CorsLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_jwt_auth::{
    AuthService, Authenticator, AuthnError, ClientAddress, ClientInfo, Granted, Identity, JwtAuthLayer,
    MokaStore, RefreshKeys, Rejection, RequireLayer, RequireScopeLayer, SessionError, Sessions, SigningKey,
    StepUpLayer, TokenConfig, Verified,
};

/// The pages come from a development server, to a browser another origin of the same site.
const PAGES: &str = "http://localhost:5173";

/// What the access tokens carry.
#[derive(Serialize, Deserialize)]
struct User {
    name: String,
    admin: bool,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

/// Passwords by name. An application keeps slow hashes by an id that no rename changes: see examples/demo/accounts.rs.
#[derive(Clone)]
struct Accounts(Arc<Mutex<HashMap<String, String>>>);

impl Accounts {
    fn identity(name: &str) -> Identity<User> {
        let admin = name == "ada";
        let scopes = if admin { vec!["orders:read"] } else { Vec::new() };
        Identity::new(name, User { name: name.to_owned(), admin }).with_scopes(scopes)
    }

    /// Checks a password, and replaces it where there is a new one.
    fn check(&self, name: &str, password: &str, new: Option<String>) -> bool {
        let mut passwords = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = passwords.get_mut(name).filter(|known| *known == password) else { return false };
        *known = new.unwrap_or_else(|| password.to_owned());
        true
    }
}

impl Authenticator for Accounts {
    type Credentials = Login;
    type Claims = User;

    async fn authenticate(&self, login: Login, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
        let good = self.check(&login.name, &login.password, None);
        if good { Ok(Self::identity(&login.name)) } else { Err(AuthnError::Refused) }
    }
}

#[derive(Clone)]
struct App {
    accounts: Accounts,
    sessions: Sessions<User>,
}

/// The errors of handlers. Those of the crate are answers already.
enum AppError {
    Session(SessionError),
    WrongCredentials,
}

impl From<SessionError> for AppError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::WrongCredentials => StatusCode::FORBIDDEN.into_response(),
        }
    }
}

/// A public page that knows its users: `None` is for requests without a token, and a bad token is refused.
async fn home(user: Option<Verified<User>>) -> String {
    format!("Hello {}\n", user.as_ref().map_or("stranger", |user| &user.name))
}

async fn me(user: Verified<User>) -> Json<Value> {
    Json(json!({ "sub": user.subject(), "name": user.name, "sid": user.session_id() }))
}

#[derive(Deserialize)]
struct Passkey {
    assertion: String,
}

/// A login of one's own. An application verifies the assertion with a library for passkeys.
async fn passkey(
    State(app): State<App>,
    client: ClientInfo,
    Json(passkey): Json<Passkey>,
) -> Result<Granted, AppError> {
    let name = passkey.assertion.strip_prefix("key of ").filter(|name| matches!(*name, "ada" | "bob"));
    let identity = Accounts::identity(name.ok_or(AppError::WrongCredentials)?);
    Ok(app.sessions.open(identity, &client).await?)
}

#[derive(Deserialize)]
struct NewPassword {
    old: String,
    new: String,
}

/// Logs out everywhere, here too: the stolen session may be this one. Access tokens stay good until they expire.
async fn change_password(
    State(app): State<App>,
    user: Verified<User>,
    Json(password): Json<NewPassword>,
) -> Result<impl IntoResponse, AppError> {
    if !app.accounts.check(user.subject(), &password.old, Some(password.new)) {
        return Err(AppError::WrongCredentials);
    }
    app.sessions.end_all(user.subject(), None).await?;
    let forget = app.sessions.clear_cookie().map(|cookie| (SET_COOKIE, cookie));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(forget)))
}

/// A problem (RFC 9457) in place of the crate's own body; the status, the challenge and the other headers stay.
fn problem(rejection: &Rejection, _: &Parts) -> http::Response<String> {
    let status = rejection.status();
    let title = rejection.kind().error_code().or(status.canonical_reason());
    let body = json!({ "title": title, "status": status.as_u16() }).to_string();
    let mut response = rejection.to_response().map(|_| body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// The address that the list of sessions shows.
async fn note_address(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(ClientAddress(peer.ip()));
    request
}

fn router(address: SocketAddr) -> Result<Router, Box<dyn Error>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&seed)?)
        .issuer("https://axum.example")
        .audience("shop")
        .build()?;
    getrandom::fill(&mut seed)?;
    let passwords = [("ada", "correct horse"), ("bob", "battery staple")];
    let passwords = passwords.map(|(name, password)| (name.to_owned(), password.to_owned()));
    let accounts = Accounts(Arc::new(Mutex::new(HashMap::from(passwords))));
    let auth = AuthService::builder(&config, RefreshKeys::new(seed)?, MokaStore::new(), accounts.clone())
        .add_origin(&format!("http://{address}"))
        .add_origin(PAGES)
        .trust_same_site()
        .build()?;

    let bearer = JwtAuthLayer::new(config.verifier::<User>()).map_rejection(problem);
    let admin = Router::new()
        .route("/users", get(async || "ada, bob\n"))
        .route_layer(RequireLayer::new(|user: &Verified<User>| user.admin));
    Ok(Router::new()
        .route("/api/me", get(me))
        .route("/api/orders", get(async || "no orders\n").layer(RequireScopeLayer::all(["orders:read"])?))
        .route("/api/transfer", post(async || "sent\n").layer(StepUpLayer::max_age(Duration::from_secs(300))))
        .route("/api/password", post(change_password))
        .nest("/admin", admin)
        // Around the rules above. `route_layer` leaves the routes below alone, and unknown paths a 404.
        .route_layer(bearer.clone())
        .route("/", get(home.layer(bearer.optional())))
        // Who opens a session makes sure that no other site does with a user's browser; `auth` does by itself.
        .route("/passkey", post(passkey).layer(CsrfLayer::new().add_trusted_origin(PAGES)?))
        .with_state(App { accounts, sessions: auth.sessions() })
        .nest_service(auth.path(), auth.clone())
        .layer(
            ServiceBuilder::new()
                // Outside of what prints headers.
                .layer(SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE, SET_COOKIE]))
                // Sees the answers of all layers below.
                .layer(TraceLayer::new_for_http())
                // Outside of the bearer layers: a preflight has no token, and pages of another origin read refusals.
                .layer(
                    CorsLayer::new()
                        .allow_origin(HeaderValue::from_static(PAGES))
                        .allow_methods([Method::GET, Method::POST, Method::DELETE])
                        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
                        .allow_credentials(true)
                        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER]),
                )
                // Limits, too: a refused request keeps nothing that they gave out. Its 408 is readable, and traced.
                .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
                .layer(map_request(note_address)),
        ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let address: SocketAddr = std::env::var("ADDR").unwrap_or("127.0.0.1:3002".to_owned()).parse()?;
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let app = router(address)?.into_make_service_with_connect_info::<SocketAddr>();
    println!("listening on http://{address}");
    axum::serve(listener, app).await?;
    Ok(())
}
