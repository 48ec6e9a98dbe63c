//! A protected resource as the Model Context Protocol asks for it: whoever comes without a token is told where the
//! metadata is (RFC 9728), and the metadata names the authorization server.
//!
//! ```text
//! cargo run --example mcp_resource               # issues a token by itself, and prints it
//! curl -i -X POST http://127.0.0.1:3004/mcp      # 401, and the URL of the metadata
//! curl http://127.0.0.1:3004/.well-known/oauth-protected-resource/mcp
//! curl http://127.0.0.1:3004/mcp -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
//!      -d '{"jsonrpc":"2.0","id":1,"method":"ping"}'
//! ISSUER=https://id.example JWKS=keys.json cargo run --example mcp_resource     # trusts an authorization server
//! ```
//!
//! Of the protocol this speaks `ping` alone. The tokens are those of RFC 9068, and their audience is the resource's URL
//! (RFC 8707).

use std::error::Error;
use std::net::SocketAddr;
use std::{env, fs, io};

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    AccessGrant, Issuer, JwtAuthLayer, KeySet, NoClaims, ProtectedResource, ProtectedResourceLayer,
    RequireScopeLayer, SigningKey, TokenConfig, Verified, Verifier,
};
use tracing_subscriber::EnvFilter;

const SCOPE: &str = "mcp:use";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let address: SocketAddr = env::var("ADDR").unwrap_or("127.0.0.1:3004".to_owned()).parse()?;
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    // Behind a proxy: the URL that clients use.
    let identifier = env::var("RESOURCE").unwrap_or_else(|_| format!("{url}/mcp"));

    let (issuer, verifier) = match (env::var("ISSUER"), env::var("JWKS")) {
        (Ok(issuer), Ok(file)) => {
            let verifier = trusting(&issuer, &identifier, &fs::read_to_string(file)?)?;
            (issuer, verifier)
        }
        (Err(_), Err(_)) => {
            ("https://id.example".to_owned(), demonstration("https://id.example", &identifier)?)
        }
        _ => return Err("ISSUER and JWKS go together".into()),
    };
    let resource = ProtectedResource::new(identifier)?
        .add_authorization_server(issuer)?
        .add_scope(SCOPE)?
        .with_name("An example of tower-jwt-auth");

    let guard = ServiceBuilder::new()
        .layer(JwtAuthLayer::new(verifier).resource_metadata(&resource)?)
        .layer(RequireScopeLayer::all([SCOPE])?);
    let app = Router::new()
        .route("/mcp", post(mcp))
        .route_layer(guard)
        // Around all paths, also those without a route: the document needs none, and no token.
        .layer(ProtectedResourceLayer::new(&resource));

    println!("listening on {url}");
    axum::serve(listener, app).await?;
    Ok(())
}

/// Accepts the tokens that an authorization server signs for this resource with one of its keys.
fn trusting(issuer: &str, audience: &str, jwks: &str) -> Result<Verifier<NoClaims>, Box<dyn Error>> {
    let config = TokenConfig::builder()
        .add_key_set(&KeySet::from_jwks(jwks)?)
        .issuer(issuer)
        .audience(audience)
        .build()?;
    Ok(config.verifier())
}

/// Is its own authorization server, with a key that is forgotten at the end.
fn demonstration(issuer: &str, audience: &str) -> Result<Verifier<NoClaims>, Box<dyn Error>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&seed)?)
        .issuer(issuer)
        .audience(audience)
        .build()?;
    let grant = AccessGrant::new("user-ada").with_scopes([SCOPE]);
    let token = Issuer::new(&config)?.issue(&grant, &NoClaims {})?;
    println!("TOKEN={}", token.expose());
    Ok(config.verifier())
}

/// JSON-RPC 2.0, as far as this example speaks it.
async fn mcp(user: Verified<NoClaims>, Json(message): Json<Value>) -> Json<Value> {
    tracing::info!(subject = user.subject(), "a message");
    // A notification, which has no id, would be answered by 202 and no body.
    let id = message.get("id").cloned().unwrap_or_default();
    Json(if message.get("method").is_some_and(|method| method == "ping") {
        json!({"jsonrpc": "2.0", "id": id, "result": {}})
    } else {
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}})
    })
}
