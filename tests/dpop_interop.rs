//! Proofs of possession, exchanged with libraries that share no code with this one: dpop, oauth4webapi and jose on Node.js.
//!
//! dpop makes proofs that the layer takes, oauth4webapi is a client of the service and of a resource over sockets, and jose
//! and oauth4webapi judge proofs of ours. In each direction there are some that must be refused, and for the right reason.
//!
//! Where a library is missing the tests say so and pass; with `REQUIRE_PARTS=1` they fail instead. `scripts/test.sh`
//! installs them.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/program.rs"]
mod program;
mod support;

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_jwt_auth::test_util::TestIssuer;
use tower_jwt_auth::{
    AccessGrant, Algorithm, ClientInfo, Clock, Delivery, Dpop, DpopBuilder, Identity, Issuer, JwtAuthLayer,
    KeyForm, KeySet, NoClaims, NonceKeys, ProofKey, Rejection, SigningKey, SystemClock, Thumbprint,
    TokenConfig, Verified,
};

use crate::peer::Peer;
use crate::program::skip;
use crate::support::ManualClock;
use crate::support::service::{Accounts, User, World, config, strict};
use crate::support::tokens::{base64url, from_base64url};

const URL: &str = "https://api.example/orders";

/// A resource at `https://api.example`, by the clock of the system, as the libraries know no other.
struct Site {
    issuer: TestIssuer,
    dpop: Dpop,
}

/// What the resource makes of a proof: the status, the reason, and the nonce that it gives.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    reason: &'static str,
    nonce: Option<String>,
}

impl Site {
    fn new(change: impl FnOnce(DpopBuilder) -> DpopBuilder) -> Self {
        let dpop = change(Dpop::builder("https://api.example")).build().unwrap();
        Self { issuer: TestIssuer::new(), dpop }
    }

    fn token(&self, subject: &str, key: Thumbprint) -> String {
        self.issuer.token_for(&AccessGrant::new(subject).with_key(key), &NoClaims {})
    }

    async fn send(&self, method: &str, path: &str, token: &str, proof: &str) -> Seen {
        let layer = JwtAuthLayer::new(self.issuer.verifier::<NoClaims>()).dpop(&self.dpop).unwrap();
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof)
            .body(Full::default())
            .unwrap();
        let answer = layer.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(answer.headers().contains_key(WWW_AUTHENTICATE), answer.status() == 401);
        Seen {
            status: answer.status().as_u16(),
            reason: answer.extensions().get::<Rejection>().map_or("none", Rejection::reason),
            nonce: answer.headers().get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned()),
        }
    }
}

fn passed() -> Seen {
    Seen { status: 200, reason: "none", nonce: None }
}

fn refused(reason: &'static str) -> Seen {
    Seen { status: 401, reason, nonce: None }
}

/// With another bit in its signature.
fn flipped(proof: &str) -> String {
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    let mut signature = from_base64url(signature);
    signature[20] ^= 1;
    format!("{signed}.{}", base64url(signature))
}

fn prove(peer: &mut Peer, alg: &str, method: &str, url: &str, token: &str, nonce: Option<&str>) -> String {
    peer.ask(&json!({
        "do": "prove", "alg": alg, "method": method, "url": url, "token": token, "nonce": nonce,
    }))
}

#[tokio::test]
async fn the_layer_takes_proofs_of_the_library_dpop() {
    let mut peer = match Peer::dpop() {
        Ok(peer) => peer,
        Err(missing) => return skip(&missing),
    };
    for alg in ["ES256", "Ed25519", "RS256", "PS256"] {
        let site = Site::new(|builder| builder);
        let key: Thumbprint =
            peer.ask::<String>(&json!({ "do": "key", "alg": alg })).parse().expect("a thumbprint");
        let (token, other_token) = (site.token("ada", key), site.token("bob", key));
        let thiefs = site.token("ada", ProofKey::generate().unwrap().thumbprint());
        let mut prove =
            |method: &str, url: &str, token: &str| prove(&mut peer, alg, method, url, token, None);

        let proof = prove("GET", URL, &token);
        assert_eq!(site.send("GET", "/orders?page=2", &token, &proof).await, passed(), "{alg}");
        assert_eq!(
            site.send("GET", "/orders", &token, &proof).await,
            refused("proof_replayed"),
            "{alg}, again"
        );
        let proof = prove("PROPFIND", &format!("{URL}/a%20b"), &token);
        assert_eq!(site.send("PROPFIND", "/orders/a%20b", &token, &proof).await, passed(), "{alg}");

        let flipped = flipped(&prove("GET", URL, &token));
        for (row, proof, token, reason) in [
            ("a flipped bit", flipped, &token, "proof_signature"),
            ("another method", prove("POST", URL, &token), &token, "proof_method"),
            ("another path", prove("GET", "https://api.example/", &token), &token, "proof_target"),
            ("another token", prove("GET", URL, &other_token), &token, "proof_token_hash"),
            ("a token of another key", prove("GET", URL, &thiefs), &thiefs, "other_key"),
        ] {
            assert_eq!(site.send("GET", "/orders", token, &proof).await, refused(reason), "{alg}, {row}");
        }
    }
}

#[tokio::test]
async fn the_layer_takes_proofs_of_the_library_dpop_with_nonces() {
    let mut peer = match Peer::dpop() {
        Ok(peer) => peer,
        Err(missing) => return skip(&missing),
    };
    let site = Site::new(|builder| builder.nonces(NonceKeys::new([7; 32]).unwrap()));
    for alg in ["ES256", "Ed25519", "RS256", "PS256"] {
        let key: Thumbprint = peer.ask::<String>(&json!({ "do": "key", "alg": alg })).parse().unwrap();
        let token = site.token("ada", key);
        let proof = prove(&mut peer, alg, "GET", URL, &token, None);
        let seen = site.send("GET", "/orders", &token, &proof).await;
        let nonce = seen.nonce.expect("the nonce for the next one");
        assert_eq!((seen.status, seen.reason), (401, "proof_nonce_missing"), "{alg}");
        let proof = prove(&mut peer, alg, "GET", URL, &token, Some(&nonce));
        // At the end of a span the answer brings the next nonce.
        let seen = site.send("GET", "/orders", &token, &proof).await;
        assert_eq!((seen.status, seen.reason), (200, "none"), "{alg}");
        let proof = prove(&mut peer, alg, "GET", URL, &token, Some("made-up"));
        let seen = site.send("GET", "/orders", &token, &proof).await;
        assert_eq!((seen.status, seen.reason), (401, "proof_nonce_unknown"), "{alg}");
    }
}

/// Serves until the test's runtime ends.
fn serve<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let service = TowerToHyperService::new(service);
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
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Refreshes with a key and calls a resource, where each asks for nonces of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth4webapi_refreshes_and_calls_with_its_key() {
    for (alg, name) in [
        ("ES256", "ES256"),
        ("Ed25519", "Ed25519"),
        ("Ed25519", "EdDSA"),
        ("RS256", "RS256"),
        ("PS256", "PS256"),
    ] {
        let mut peer = match Peer::dpop() {
            Ok(peer) => peer,
            Err(missing) => return skip(&missing),
        };
        let ((auth_listener, auth_url), (listener, url)) = (listen().await, listen().await);
        let dpop =
            |url: &str, byte| Dpop::builder(url).nonces(NonceKeys::new([byte; 32]).unwrap()).build().unwrap();
        let clock = ManualClock::at(SystemClock.now());
        let accounts = Arc::new(Accounts::default());
        // With `Strict` every refresh rotates.
        let world = World::build(clock.clone(), config(&clock), Arc::clone(&accounts), accounts, |builder| {
            builder.delivery(Delivery::Body).policy(strict()).dpop(&dpop(&auth_url, 1))
        });
        serve(auth_listener, world.auth.clone());
        let layer = JwtAuthLayer::new(world.config.verifier::<User>()).dpop(&dpop(&url, 2)).unwrap();
        let orders = service_fn(async |request: Request<Incoming>| {
            let verified = Verified::<User>::of(request.extensions()).unwrap();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(verified.subject().to_owned()))))
        });
        serve(listener, layer.layer(orders));

        let key: Thumbprint =
            peer.ask::<String>(&json!({ "do": "client", "alg": alg, "name": name })).parse().unwrap();
        let ada = Identity::new("ada", User::named("ada")).with_key(key);
        let granted = world.auth.sessions().open(ada, &ClientInfo::default()).await.unwrap();
        let ask = json!({
            "do": "visit", "alg": alg, "name": name, "auth": auth_url, "resource": url,
            "token": granted.refresh_token(),
        });
        let mut seen: Value = spawn_blocking(move || peer.ask(&ask)).await.unwrap();

        for answer in ["first", "second"] {
            let answer = seen[answer].as_object_mut().unwrap_or_else(|| panic!("{name}: {answer}"));
            let access = answer.remove("access_token").unwrap_or_else(|| panic!("{name}: {answer:?}"));
            answer.remove("refresh_token").unwrap();
            let claims = access.as_str().unwrap().split('.').nth(1).unwrap();
            assert_eq!(support::tokens::json_of(claims)["cnf"], json!({ "jkt": key.to_string() }), "{name}");
        }
        let user = json!({ "email": "ada@app.example", "role": "member" });
        let given = json!({ "token_type": "dpop", "expires_in": 900, "user": user });
        let at_token =
            |error: &str| json!({ "status": 400, "error": error, "nonce": error == "use_dpop_nonce" });
        let algs = "ES256 ES384 EdDSA Ed25519 RS256 PS256";
        let challenged = |error: &str| {
            json!({
                "status": 401, "challenges": [["dpop", error, algs]], "nonce": error == "use_dpop_nonce",
            })
        };
        let expected = json!({
            "without a key": at_token("invalid_grant"),
            "without a nonce": at_token("use_dpop_nonce"),
            "first": given,
            "second": given,
            "another key, without a nonce": at_token("use_dpop_nonce"),
            "another key": at_token("invalid_grant"),
            "resource without a nonce": challenged("use_dpop_nonce"),
            "resource": { "status": 200, "body": "ada" },
            "resource again": { "status": 200, "body": "ada" },
            "resource as bearer": {
                "status": 401, "challenges": [["bearer", "invalid_token", null], ["dpop", null, algs]],
                "nonce": false,
            },
            "resource with another key, without a nonce": challenged("use_dpop_nonce"),
            "resource with another key": challenged("invalid_token"),
        });
        assert_eq!(seen, expected, "{name}");
        assert_eq!(world.generation("ada").await, Some(2), "{name}: the session goes on");
    }
}

#[test]
fn jose_takes_proofs_of_ours() {
    let mut peer = match Peer::dpop() {
        Ok(peer) => peer,
        Err(missing) => return skip(&missing),
    };
    for (algorithm, kind, members) in [
        (Algorithm::Es256, "EC", &["crv", "kty", "x", "y"][..]),
        (Algorithm::Es384, "EC", &["crv", "kty", "x", "y"]),
        (Algorithm::EdDsa, "OKP", &["crv", "kty", "x"]),
    ] {
        let alg = algorithm.as_str();
        let key = ProofKey::generate_with(algorithm).unwrap();
        for (token, nonce) in [(None, None), (Some("a.b-c~d"), None), (Some("ä"), Some("n"))] {
            let now = SystemClock.now();
            let proof = key.prove("POST", &format!("{URL}?page=2#top"), token, nonce, now).unwrap();
            let mut seen: Value = peer.ask(&json!({ "do": "check", "proof": proof, "token": token }));
            assert_eq!(seen["thumbprint"], key.thumbprint().to_string(), "{alg}: {seen}");
            let jwk = seen["header"]["jwk"].take();
            let mut names: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(
                (jwk["kty"].as_str().unwrap(), &*names),
                (kind, members),
                "nothing of the private half"
            );
            assert_eq!(seen["header"], json!({ "typ": "dpop+jwt", "alg": alg, "jwk": null }));
            let ath = seen["ath"].take();
            let claims = seen["claims"].as_object_mut().unwrap();
            assert!(claims.remove("jti").unwrap().as_str().unwrap().len() >= 16);
            let mut expected = json!({ "htm": "POST", "htu": URL, "iat": now.as_unix_seconds() });
            if token.is_some() {
                expected["ath"] = ath;
            }
            if let Some(nonce) = nonce {
                expected["nonce"] = nonce.into();
            }
            assert_eq!(seen["claims"], expected, "{alg}");
        }
        let proof = key.prove("POST", URL, None, None, SystemClock.now()).unwrap();
        let seen: Value = peer.ask(&json!({ "do": "check", "proof": flipped(&proof) }));
        assert_eq!(seen, json!({ "refused": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" }), "{alg}");
    }
}

/// Token and proof together, as a resource server of somebody else's judges them.
#[test]
fn a_resource_server_of_oauth4webapi_takes_tokens_and_proofs_of_ours() {
    let mut peer = match Peer::dpop() {
        Ok(peer) => peer,
        Err(missing) => return skip(&missing),
    };
    let pem = include_bytes!("fixtures/keys/p256.pkcs8.pem");
    let signing = SigningKey::read(Algorithm::Es256, KeyForm::Pem(pem)).unwrap();
    let jwks = KeySet::new([signing.verifying_key().clone()]).unwrap().to_jwks();
    let (issuer, audience) = ("https://i.example", "https://api.example");
    let config = TokenConfig::builder().key(signing).issuer(issuer).audience(audience).build().unwrap();
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        let key = ProofKey::generate_with(algorithm).unwrap();
        let thief = ProofKey::generate_with(algorithm).unwrap();
        let grant = AccessGrant::new("ada").with_client_id("interop").with_key(key.thumbprint());
        let token = || {
            let token = Issuer::new(&config).unwrap().issue(&grant, &NoClaims {}).unwrap();
            token.expose().to_owned()
        };
        let (token, other_token) = (token(), token());
        let prove = |key: &ProofKey, method: &str, url: &str, token: &str| {
            key.prove(method, url, Some(token), None, SystemClock.now()).unwrap()
        };
        let good = prove(&key, "GET", &format!("{URL}?page=2"), &token);
        let (signed, _) = good.rsplit_once('.').unwrap();
        let other = prove(&key, "GET", URL, &token);
        let spliced = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
        let accepted = json!({ "subject": "ada" });
        let mismatch = |claim| json!({ "refused": format!("OAUTH_JWT_CLAIM_COMPARISON_FAILED {claim}") });
        for (row, proof, expected) in [
            ("good", good.clone(), accepted),
            ("another method", prove(&key, "POST", URL, &token), mismatch("htm")),
            ("another path", prove(&key, "GET", "https://api.example/", &token), mismatch("htu")),
            ("another token", prove(&key, "GET", URL, &other_token), mismatch("ath")),
            ("another key", prove(&thief, "GET", URL, &token), mismatch("cnf.jkt")),
            ("another signature", spliced, json!({ "refused": "OAUTH_INVALID_RESPONSE" })),
        ] {
            let seen: Value = peer.ask(&json!({
                "do": "resource", "jwks": jwks, "issuer": issuer, "audience": audience, "method": "GET",
                "url": format!("{URL}?page=3"), "authorization": format!("DPoP {token}"), "proof": proof,
            }));
            assert_eq!(seen, expected, "{algorithm:?}, {row}");
        }
    }
}
