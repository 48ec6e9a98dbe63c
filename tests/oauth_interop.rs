//! The token and the revocation endpoint, used by an OAuth client that shares no code with this crate: oauth4webapi on
//! Node.js, over a socket.
//!
//! Where it is missing the test says so and passes; with `REQUIRE_PARTS=1` it fails instead. `scripts/test.sh` installs it.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/program.rs"]
mod program;
mod support;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_jwt_auth::{ClientInfo, Delivery, Identity};

use crate::program::{existing, find_node, manifest_dir, skip, target_dir};
use crate::support::service::{User, World, strict};

fn oauth4webapi() -> Result<Command, String> {
    let dir =
        env::var_os("INTEROP_NODE_DIR").map_or_else(|| target_dir().join("parts/interop"), PathBuf::from);
    existing(dir.join("node_modules/oauth4webapi")).map_err(|path| format!("no oauth4webapi at {path}"))?;
    // A packaged crate comes without it.
    let script =
        existing(manifest_dir().join("tests/interop/oauth.mjs")).map_err(|path| format!("no {path}"))?;
    let mut command = Command::new(find_node()?);
    command.arg(script).env("INTEROP_NODE_DIR", dir);
    Ok(command)
}

/// Serves until the test's runtime ends. The address.
async fn serve(world: &World) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = TowerToHyperService::new(world.auth.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                // A client that breaks off is an error of the connection.
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    url
}

fn run(mut client: Command, url: &str, token: &str) -> Output {
    let mut client =
        client.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(json!({ "refresh_token": token }).to_string().as_bytes()).unwrap();
    client.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth4webapi_refreshes_and_revokes() {
    let client = match oauth4webapi() {
        Ok(client) => client,
        Err(missing) => return skip(&missing),
    };
    // With `Strict` every refresh rotates.
    let world = World::with(|builder| builder.delivery(Delivery::Both).policy(strict()));
    let url = serve(&world).await;
    let ada = Identity::new("ada", User::named("ada")).with_scopes(["read", "write"]);
    let granted = world.auth.sessions().open(ada, &ClientInfo::default()).await.unwrap();
    let token = granted.refresh_token().to_owned();
    let given = token.clone();
    let output = tokio::task::spawn_blocking(move || run(client, &url, &given)).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen: Value = serde_json::from_slice(&output.stdout).unwrap();

    let mut tokens = vec![token];
    for name in ["first", "narrower"] {
        let answer = seen[name].as_object_mut().unwrap();
        let access = answer.remove("access_token").unwrap();
        assert_eq!(
            world.config.verifier::<User>().verify(access.as_str().unwrap()).unwrap().subject(),
            "ada"
        );
        tokens.push(answer.remove("refresh_token").unwrap().as_str().unwrap().to_owned());
    }
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2], "each refresh rotates");
    let user = json!({ "email": "ada@app.example", "role": "member" });
    let expected = json!({
        "first": { "cookies": 0, "token_type": "bearer", "expires_in": 900, "user": user },
        "narrower": {
            "cookies": 0, "token_type": "bearer", "expires_in": 900, "user": user, "scope": "read write"
        },
        "wider": { "status": 400, "error": "invalid_scope" },
        "another grant": { "status": 400, "error": "unsupported_grant_type" },
        "revoked garbage": { "cookies": 0, "answer": "undefined" },
        "revoked an access token": { "status": 400, "error": "unsupported_token_type" },
        "revoked": { "cookies": 0, "answer": "undefined" },
        "after it": { "status": 400, "error": "invalid_grant" },
    });
    assert_eq!(seen, expected);
    assert!(world.records("ada").await.is_empty());
}
