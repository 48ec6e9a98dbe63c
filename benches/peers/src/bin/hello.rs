//! A hello on axum with a check of bearer tokens in front of it, or none. Prints its address, then a good token.
//!
//! ```text
//! hello <none|ours|fresh|jsonwebtoken> <HS256|RS256|PS256|ES256|EdDSA>
//! ```
//!
//! `ours` is the crate's layer as it comes, `fresh` the same without its memory of tokens, and `jsonwebtoken` a layer as
//! one writes it by hand.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use peers::peers::decode::DecodeLayer;
use peers::peers::ours;
use peers::tokens::{Claims, Tokens, User};
use tokio::net::TcpListener;
use tokio::runtime;
use tower_jwt_auth::{Algorithm, JwtAuthLayer, Verified};

/// The same handler everywhere: it reads whatever claims a layer left.
async fn hello(request: Request) -> &'static str {
    let extensions = request.extensions();
    let email = match Verified::<User>::of(extensions) {
        Some(user) => Some(user.email.len()),
        None => extensions.get::<Arc<Claims>>().map(|claims| claims.email.len()),
    };
    black_box(email);
    "hello"
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layer, algorithm] = &*arguments else { return Err("usage: hello LAYER ALGORITHM".into()) };
    let tokens = Tokens::new(Algorithm::from_name(algorithm).ok_or("there is no such algorithm")?);
    let bare = Router::new().route("/", get(hello));
    let ours = |cache_bytes| JwtAuthLayer::new(ours::verifier(&tokens, cache_bytes));
    let app = match &**layer {
        "none" => bare,
        "ours" => bare.layer(ours(ours::CACHE)),
        "fresh" => bare.layer(ours(0)),
        "jsonwebtoken" => bare.layer(DecodeLayer::new(&tokens)),
        _ => return Err("a layer is none, ours, fresh or jsonwebtoken".into()),
    };

    // One worker, so that a server is busy on one core and what it can do is what is measured.
    runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}\n{}", listener.local_addr()?, tokens.good);
        axum::serve(listener, app).await?;
        Ok(())
    })
}
