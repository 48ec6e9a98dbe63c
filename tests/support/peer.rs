//! The other sides of the interoperability tests: a running library each, and what it says.

// Each test file compiles its own copy of this module and uses a part of it; a helper that fails fails its test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower_jwt_auth::{Algorithm, TokenErrorKind};

use crate::program::{existing, find_node, manifest_dir, target_dir};

/// The names that a library may have for a reason of ours.
type Reasons = fn(TokenErrorKind) -> &'static [&'static str];

/// A running library: one request a line, one answer a line.
pub struct Peer {
    pub name: &'static str,
    /// How the library says that it refused for a reason of ours.
    pub reasons: Reasons,
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub fn jose() -> Result<Self, String> {
        Ok(Self::start("jose", &mut on_node("peer.mjs", &["jose"])?, |kind| match kind {
            TokenErrorKind::Signature => &["ERR_JWS_SIGNATURE_VERIFICATION_FAILED"],
            TokenErrorKind::Algorithm => &["ERR_JWKS_NO_MATCHING_KEY", "ERR_JOSE_ALG_NOT_ALLOWED"],
            TokenErrorKind::Audience => &["ERR_JWT_CLAIM_VALIDATION_FAILED aud"],
            TokenErrorKind::Issuer => &["ERR_JWT_CLAIM_VALIDATION_FAILED iss"],
            TokenErrorKind::Expired => &["ERR_JWT_EXPIRED exp"],
            _ => &[],
        }))
    }

    /// With jose and oauth4webapi beside it.
    pub fn dpop() -> Result<Self, String> {
        let mut command = on_node("dpop.mjs", &["dpop", "jose", "oauth4webapi"])?;
        Ok(Self::start("dpop", &mut command, |_| &[]))
    }

    pub fn joserfc() -> Result<Self, String> {
        let script = find_script("peer.py")?;
        let python = env::var_os("INTEROP_PYTHON")
            .map_or_else(|| target_dir().join("parts/interop-venv/bin/python"), PathBuf::from);
        let import = Command::new(&python).args(["-c", "import joserfc"]).stdin(Stdio::null()).output();
        if !import.is_ok_and(|output| output.status.success()) {
            return Err(format!("no joserfc for {}", python.display()));
        }
        Ok(Self::start("joserfc", Command::new(python).arg(script), |kind| match kind {
            TokenErrorKind::Signature => &["bad_signature"],
            TokenErrorKind::Algorithm => &["invalid_key_id", "unsupported_algorithm"],
            TokenErrorKind::Audience => &["invalid_claim aud"],
            TokenErrorKind::Issuer => &["invalid_claim iss"],
            TokenErrorKind::Expired => &["expired_token exp"],
            _ => &[],
        }))
    }

    fn start(name: &'static str, command: &mut Command, reasons: Reasons) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (requests, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { name, reasons, process, requests, answers: BufReader::new(answers) }
    }

    pub fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> T {
        let mut answer = String::new();
        writeln!(self.requests, "{request}").and_then(|()| self.answers.read_line(&mut answer)).unwrap();
        assert!(!answer.is_empty(), "{} ended at {request}; its last lines are above", self.name);
        serde_json::from_str(&answer).unwrap()
    }
}

/// A failed assertion leaves no process behind.
impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A script that needs these libraries.
fn on_node(script: &str, libraries: &[&str]) -> Result<Command, String> {
    let script = find_script(script)?;
    let node = find_node()?;
    let dir =
        env::var_os("INTEROP_NODE_DIR").map_or_else(|| target_dir().join("parts/interop"), PathBuf::from);
    for name in libraries {
        existing(dir.join("node_modules").join(name)).map_err(|path| format!("no {name} at {path}"))?;
    }
    let mut command = Command::new(node);
    command.arg(script).env("INTEROP_NODE_DIR", dir);
    Ok(command)
}

fn find_script(name: &str) -> Result<PathBuf, String> {
    // A packaged crate comes without it.
    existing(manifest_dir().join("tests/interop").join(name)).map_err(|path| format!("no {path}"))
}

/// The keys that a peer made, public in the set and private one by one, each as the text that its library wrote.
#[derive(Deserialize)]
pub struct Made {
    pub jwks: String,
    pub keys: Vec<TheirKey>,
}

#[derive(Deserialize)]
pub struct TheirKey {
    pub alg: String,
    pub kid: String,
    pub jwk: String,
    pub pem: Option<String>,
    pub thumbprint: Option<String>,
}

impl TheirKey {
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::from_name(&self.alg).unwrap()
    }
}

/// What a peer says of a token: its claims, or why it refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Claims(Value),
    Refused(String),
}
