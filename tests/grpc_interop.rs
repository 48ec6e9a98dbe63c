//! The example `tonic`, called by gRPC clients that share no code with it: grpcio on Python, @grpc/grpc-js on Node.js.
//! And the login on its port, by curl.
//!
//! Where a client is missing its test says so and passes; with `REQUIRE_PARTS=1` it fails instead. `scripts/test.sh`
//! installs all.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/curl.rs"]
mod curl;
#[path = "support/program.rs"]
mod program;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::curl::Curl;
use crate::program::{Program, built, existing, find_node, manifest_dir, skip, target_dir};

fn script(name: &str) -> Result<PathBuf, String> {
    // A packaged crate comes without it.
    existing(manifest_dir().join("tests/interop").join(name)).map_err(|path| format!("no {path}"))
}

fn grpcio() -> Result<Command, String> {
    let python = env::var_os("INTEROP_PYTHON")
        .map_or_else(|| target_dir().join("parts/interop-venv/bin/python"), PathBuf::from);
    let import = Command::new(&python).args(["-c", "import grpc"]).stdin(Stdio::null()).output();
    if !import.is_ok_and(|output| output.status.success()) {
        return Err(format!("no grpcio for {}", python.display()));
    }
    let mut command = Command::new(python);
    command.arg(script("grpc_client.py")?);
    Ok(command)
}

fn grpc_js() -> Result<Command, String> {
    let dir =
        env::var_os("INTEROP_NODE_DIR").map_or_else(|| target_dir().join("parts/interop"), PathBuf::from);
    existing(dir.join("node_modules/@grpc/grpc-js")).map_err(|path| format!("no grpc-js at {path}"))?;
    let mut command = Command::new(find_node()?);
    command.arg(script("grpc_client.mjs")?).env("INTEROP_NODE_DIR", dir);
    Ok(command)
}

/// The access token of a login, on the very port of the gRPC services.
fn login(curl: &Curl, server: &Program, name: &str, password: &str) -> String {
    let body = json!({ "name": name, "password": password }).to_string();
    let headers = ["X-Session-Request: 1", "Content-Type: application/json"];
    let answer = curl.post(&format!("{}/auth/login", server.url), &headers, &body);
    assert_eq!((answer.status, &*answer.version), (200, "2"), "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

fn sees_the_statuses(client: Result<Command, String>) {
    let (mut client, curl, example) = match (client, Curl::find(), built("tonic")) {
        (Ok(client), Ok(curl), Ok(example)) => (client, curl, example),
        (Err(missing), ..) | (_, Err(missing), _) | (.., Err(missing)) => return skip(&missing),
    };
    let server = Program::start(&example, &[]);
    let tokens = json!({
        "good": login(&curl, &server, "bob", "battery staple"),
        "admin": login(&curl, &server, "ada", "correct horse"),
    });
    let mut client = client
        .arg(server.url.strip_prefix("http://").unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(tokens.to_string().as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({
        "no token": ["UNAUTHENTICATED", "an access token is required"],
        "a bad token": ["UNAUTHENTICATED", "the access token is not valid"],
        "a good token": ["OK", "Hello, bob!"],
        "no scope": ["PERMISSION_DENIED", "the access token lacks a scope"],
        "the scope": ["OK", "stopped by ada"],
        "a stream": ["OK", ["Hello, bob (1)", "Hello, bob (2)", "Hello, bob (3)"]],
        "a stream without a token": ["UNAUTHENTICATED", "an access token is required"],
        "both sides stream": ["OK", ["one, bob!", "two, bob!"]],
        "both sides stream without a token": ["UNAUTHENTICATED", "an access token is required"],
    });
    assert_eq!(seen, expected);
}

#[test]
fn grpcio_sees_the_statuses() {
    sees_the_statuses(grpcio());
}

#[test]
fn grpc_js_sees_the_statuses() {
    sees_the_statuses(grpc_js());
}
