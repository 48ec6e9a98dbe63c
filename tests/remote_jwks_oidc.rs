//! The keys of an OpenID provider that shares no code with this crate: oidc-provider on Node.js, over a socket. It says
//! where its keys are, rotates them, goes away and comes back.
//!
//! Where it is missing the tests say so and pass; with `REQUIRE_PARTS=1` they fail instead. `scripts/test.sh` installs it.

#![cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/program.rs"]
mod program;

use std::convert::Infallible;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_jwt_auth::{
    FetchErrorKind, JwtAuthLayer, MetadataForm, NoClaims, RemoteJwks, RemoteJwksBuilder, TokenConfig,
    TokenErrorKind, Verified, Verifier,
};

use crate::program::{existing, find_node, manifest_dir, skip, target_dir};

const OURS: &str = "https://api.example";
const OTHER: &str = "https://other.example";
/// What a provider signs with when nothing else is said.
const ALG: &str = "RS256";
/// For what has to happen at some time: the machine may be slow.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// A provider on this machine, and the process that it runs in, if it runs.
struct Provider {
    node: PathBuf,
    script: PathBuf,
    packages: PathBuf,
    issuer: String,
    keys: Value,
    running: Option<Running>,
}

struct Running {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The first line of a provider.
#[derive(Deserialize)]
struct Place {
    issuer: String,
    keys: Value,
}

impl Provider {
    fn start() -> Result<Self, String> {
        let packages =
            env::var_os("INTEROP_NODE_DIR").map_or_else(|| target_dir().join("parts/interop"), PathBuf::from);
        existing(packages.join("node_modules/oidc-provider"))
            .map_err(|path| format!("no oidc-provider at {path}"))?;
        // A packaged crate comes without it.
        let script = existing(manifest_dir().join("tests/interop/oidc_provider.mjs"))
            .map_err(|path| format!("no {path}"))?;
        let (issuer, keys) = (String::new(), Value::Null);
        let mut provider = Self { node: find_node()?, script, packages, issuer, keys, running: None };
        provider.run(&[]);
        Ok(provider)
    }

    fn run(&mut self, settings: &[(&str, &str)]) {
        let mut process = Command::new(&self.node)
            .arg(&self.script)
            .env("INTEROP_NODE_DIR", &self.packages)
            .env_remove("PORT")
            .env_remove("KEYS")
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (requests, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let running = self.running.insert(Running { process, requests, answers: BufReader::new(answers) });
        let Place { issuer, keys } = running.answer();
        (self.issuer, self.keys) = (issuer, keys);
    }

    /// Without a farewell.
    fn kill(&mut self) {
        self.running = None;
    }

    /// At the same place and with the same keys.
    fn start_again(&mut self) {
        let (issuer, keys) = (self.issuer.clone(), self.keys.to_string());
        let (_, port) = issuer.rsplit_once(':').unwrap();
        self.run(&[("PORT", port), ("KEYS", &keys)]);
        assert_eq!(self.issuer, issuer);
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> T {
        let running = self.running.as_mut().expect("the provider runs");
        writeln!(running.requests, "{request}").unwrap();
        running.answer()
    }

    fn token_by(&mut self, alg: &str, resource: &str) -> String {
        self.ask(&json!({ "do": "token", "resource": resource, "scope": "orders:read", "alg": alg }))
    }

    fn token(&mut self) -> String {
        self.token_by(ALG, OURS)
    }

    /// Signs with new keys. The old ones stay in the set only if they are kept.
    fn rotate(&mut self, keep: bool) {
        let mut answer: Value = self.ask(&json!({ "do": "rotate", "keep": keep }));
        self.keys = answer["keys"].take();
    }

    /// Its keys in a verifier, with no more settings than an application would make.
    fn trusted(&self, keys: &RemoteJwks) -> Verifier<NoClaims> {
        let config = TokenConfig::builder().key_source(keys.handle()).issuer(&self.issuer).audience(OURS);
        config.build().unwrap().verifier()
    }
}

impl Running {
    fn answer<T: DeserializeOwned>(&mut self) -> T {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the provider ended; its last lines are above");
        serde_json::from_str(&answer).unwrap()
    }
}

/// A failed assertion leaves no process behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Over hyper's own client, and as often as is allowed.
fn fetching() -> RemoteJwksBuilder {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    RemoteJwks::builder(client).insecure_http().interval(SECOND)
}

async fn ready(builder: RemoteJwksBuilder, issuer: &str) -> RemoteJwks {
    let keys = builder.spawn_for(issuer).unwrap();
    tokio::time::timeout(PATIENCE, keys.wait_ready())
        .await
        .unwrap_or_else(|_| panic!("no keys: {:?}", keys.last_error()))
        .unwrap();
    assert!(keys.is_ready() && keys.last_error().is_none());
    keys
}

/// Polls until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Why a token is refused; `None` if it is not.
fn refusal(verifier: &Verifier<NoClaims>, token: &str) -> Option<TokenErrorKind> {
    verifier.verify(token).err().map(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_providers_tokens_are_accepted_with_its_issuer_alone() {
    let mut provider = match Provider::start() {
        Ok(provider) => provider,
        Err(missing) => return skip(&missing),
    };
    let keys = ready(fetching(), &provider.issuer).await;
    let verifier = provider.trusted(&keys);
    let by_rfc8414 = ready(fetching().metadata_form(MetadataForm::OAuth), &provider.issuer).await;
    let config =
        TokenConfig::builder().key_source(by_rfc8414.handle()).issuer(&provider.issuer).audience(OURS);
    let strict = config.rfc9068_strict().build().unwrap().verifier::<NoClaims>();

    for alg in [ALG, "ES256", "EdDSA"] {
        let token = provider.token_by(alg, OURS);
        let verified = verifier.verify(&token).unwrap_or_else(|error| panic!("{alg}: {error}"));
        let registered = verified.registered();
        assert_eq!(registered.issuer(), provider.issuer, "{alg}");
        // A client that asks for itself is its own subject (RFC 9068, section 2.2).
        assert_eq!((registered.client_id(), registered.subject()), (Some("worker"), "worker"), "{alg}");
        assert_eq!(registered.scopes().collect::<Vec<_>>(), ["orders:read"], "{alg}");
        assert_eq!(refusal(&strict, &token), None, "{alg}: all of RFC 9068");

        let token = provider.token_by(alg, OTHER);
        assert_eq!(refusal(&verifier, &token), Some(TokenErrorKind::Audience), "{alg}");
    }
}

/// The issuer with a slash behind it: the same place, but another issuer (OpenID Connect Discovery, section 4.3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_an_issuer_by_another_spelling_is_not_used() {
    let provider = match Provider::start() {
        Ok(provider) => provider,
        Err(missing) => return skip(&missing),
    };
    let keys = fetching().spawn_for(format!("{}/", provider.issuer)).unwrap();
    until("an error", || keys.last_error().is_some()).await;
    assert_eq!(keys.last_error().unwrap().kind(), FetchErrorKind::Issuer);
    assert!(!keys.is_ready());
}

/// Nothing is fetched by age here: what changes does so by a token of an unknown key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_keys_are_known_after_a_token_of_theirs() {
    let mut provider = match Provider::start() {
        Ok(provider) => provider,
        Err(missing) => return skip(&missing),
    };
    let mut before = vec![provider.token()];
    for keep in [true, false] {
        // Anew, as one that was asked for a key while it fetched would fetch once more.
        let keys = ready(fetching(), &provider.issuer).await;
        let verifier = provider.trusted(&keys);
        let all_before = |expected: Option<TokenErrorKind>, when: &str| {
            for token in &before {
                assert_eq!(refusal(&verifier, token), expected, "{when}, kept: {keep}");
            }
        };
        // The verifier remembers them, which must not help them later.
        all_before(None, "before");

        provider.rotate(keep);
        let token = provider.token();
        assert_eq!(refusal(&verifier, &token), Some(TokenErrorKind::UnknownKey), "kept: {keep}");
        all_before(None, "until the next fetch");
        until("the new key", || refusal(&verifier, &token).is_none()).await;
        all_before((!keep).then_some(TokenErrorKind::UnknownKey), "after it");
        assert!(keys.last_error().is_none());
        before.push(token);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_leaves_the_keys_and_ends_by_itself() {
    let mut provider = match Provider::start() {
        Ok(provider) => provider,
        Err(missing) => return skip(&missing),
    };
    let keys = ready(fetching().standard_age(SECOND), &provider.issuer).await;
    let verifier = provider.trusted(&keys);
    let held = provider.token();
    let later = provider.token();
    assert_eq!(refusal(&verifier, &held), None);

    provider.kill();
    until("an error", || {
        assert_eq!(refusal(&verifier, &held), None);
        keys.last_error().is_some()
    })
    .await;
    assert_eq!(keys.last_error().unwrap().kind(), FetchErrorKind::Unreachable);
    assert!(keys.is_ready());
    // Also one that was not seen before.
    assert_eq!(refusal(&verifier, &later), None);

    provider.start_again();
    until("no error", || {
        assert_eq!(refusal(&verifier, &held), None);
        keys.last_error().is_none()
    })
    .await;
    assert_eq!(refusal(&verifier, &provider.token()), None);

    // Other keys than before the outage.
    provider.kill();
    until("an error", || keys.last_error().is_some()).await;
    provider.start_again();
    provider.rotate(false);
    let token = provider.token();
    until("the new key", || refusal(&verifier, &token).is_none()).await;
    assert_eq!(refusal(&verifier, &held), Some(TokenErrorKind::UnknownKey));
    until("no error", || keys.last_error().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_starts_before_its_provider_answers_503_until_it_is_there() {
    let mut provider = match Provider::start() {
        Ok(provider) => provider,
        Err(missing) => return skip(&missing),
    };
    let token = provider.token();
    provider.kill();

    let keys = fetching().spawn_for(&provider.issuer).unwrap();
    let verifier = provider.trusted(&keys);
    let service =
        JwtAuthLayer::new(verifier.clone()).layer(service_fn(async |request: Request<Full<Bytes>>| {
            assert!(Verified::<NoClaims>::of(request.extensions()).is_some());
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    let ask = async |token: Option<&str>| {
        let mut request = Request::new(Full::default());
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        let response = service.clone().oneshot(request).await.unwrap();
        let retry_after = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        (response.status(), retry_after)
    };

    until("an error", || keys.last_error().is_some()).await;
    assert_eq!(keys.last_error().unwrap().kind(), FetchErrorKind::Unreachable);
    assert!(!keys.is_ready());
    assert_eq!(refusal(&verifier, &token), Some(TokenErrorKind::NoKeys));
    let (status, retry_after) = ask(Some(&token)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(retry_after.is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0)));
    assert_eq!(ask(None).await, (StatusCode::UNAUTHORIZED, None), "this is no matter of keys");

    provider.start_again();
    tokio::time::timeout(PATIENCE, keys.wait_ready()).await.unwrap().unwrap();
    assert!(keys.last_error().is_none());
    assert_eq!(ask(Some(&token)).await, (StatusCode::OK, None));
    assert_eq!(refusal(&verifier, &provider.token()), None);
}
