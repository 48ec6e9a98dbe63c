//! Tokens that are bound to a key, at the bearer layer: each attack on them is refused, and honest requests pass.

#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use support::SECOND;
use support::events::Events;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::test_util::{ManualClock, TestIssuer};
use tower_jwt_auth::{
    AccessGrant, Algorithm, AuthContext, Clock, Dpop, DpopBuilder, JwtAuthLayer, NoClaims, NonceKeys,
    Outcome, ProofKey, Rejection, RequireScopeLayer, ResponseBody,
};

const URL: &str = "https://api.example/orders";

type Answer = Response<ResponseBody<Full<Bytes>>>;

/// A resource at `https://api.example`, and a client with a key and a token that is bound to it.
struct Site {
    clock: ManualClock,
    issuer: TestIssuer,
    dpop: Dpop,
    key: ProofKey,
    token: String,
}

impl Site {
    fn new(change: impl FnOnce(DpopBuilder) -> DpopBuilder) -> Self {
        Self::with_key(ProofKey::generate().unwrap(), change)
    }

    fn with_key(key: ProofKey, change: impl FnOnce(DpopBuilder) -> DpopBuilder) -> Self {
        let clock = ManualClock::new();
        let issuer = TestIssuer::new().with_clock(clock.clone());
        let dpop = change(Dpop::builder("https://api.example").clock(clock.clone())).build().unwrap();
        let grant = AccessGrant::new("ada").with_scopes(["read"]).with_key(key.thumbprint());
        let token = issuer.token_for(&grant, &NoClaims {});
        Self { clock, issuer, dpop, key, token }
    }

    fn layer(&self) -> JwtAuthLayer<NoClaims> {
        JwtAuthLayer::new(self.issuer.verifier::<NoClaims>()).dpop(&self.dpop).unwrap()
    }

    fn proof(&self) -> String {
        self.prove(&self.key, "GET", URL, Some(&self.token), None)
    }

    fn prove(
        &self,
        key: &ProofKey,
        method: &str,
        url: &str,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> String {
        key.prove(method, url, token, nonce, self.clock.now()).unwrap()
    }

    async fn send(&self, headers: &[(&str, &str)]) -> Answer {
        self.send_request(Request::get("/orders"), headers).await
    }

    async fn send_request(&self, mut request: http::request::Builder, headers: &[(&str, &str)]) -> Answer {
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        self.layer().layer(inner).oneshot(request.body(Full::default()).unwrap()).await.unwrap()
    }

    async fn with_proof(&self, proof: &str) -> Answer {
        self.send(&[("authorization", &format!("DPoP {}", self.token)), ("dpop", proof)]).await
    }
}

fn same(builder: DpopBuilder) -> DpopBuilder {
    builder
}

fn reason(answer: &Answer) -> &'static str {
    answer.extensions().get::<Rejection>().map_or("none", Rejection::reason)
}

fn challenge(answer: &Answer) -> &str {
    answer.headers()[WWW_AUTHENTICATE].to_str().unwrap()
}

#[tokio::test]
async fn a_token_with_a_proof_of_its_key_passes() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        let site = Site::with_key(ProofKey::generate_with(algorithm).unwrap(), same);
        for scheme in ["DPoP", "dpop"] {
            let authorization = format!("{scheme} {}", site.token);
            let answer = site.send(&[("authorization", &authorization), ("dpop", &site.proof())]).await;
            assert_eq!(answer.status(), StatusCode::OK, "{algorithm:?} {}", reason(&answer));
            assert!(!answer.headers().contains_key("dpop-nonce"));
        }
    }
}

/// Row 66, and the attacks that the proofs are there against.
#[allow(clippy::too_many_lines)] // A table.
#[tokio::test]
async fn row_66_each_attack_is_refused() {
    let site = Site::new(same);
    let thief = ProofKey::generate().unwrap();
    let grant = |key: &ProofKey| AccessGrant::new("ada").with_key(key.thumbprint());
    let other_token = site.issuer.token_for(&grant(&site.key), &NoClaims {});
    let thiefs_token = site.issuer.token_for(&grant(&thief), &NoClaims {});
    let unbound = site.issuer.token_for(&AccessGrant::new("ada"), &NoClaims {});
    let (token, prove) =
        (Some(&*site.token), |method, url, token| site.prove(&site.key, method, url, token, None));
    let dpop = format!("DPoP {}", site.token);
    let replayed = site.proof();
    assert_eq!(site.with_proof(&replayed).await.status(), StatusCode::OK);
    let at = |time| site.key.prove("GET", URL, token, None, time).unwrap();
    let now = site.clock.now();
    let (old, ahead) = (at(now.saturating_sub(SECOND * 120)), at(now.saturating_add(SECOND * 60)));
    let cut = site.proof();
    let (spliced, other) = (site.proof(), site.proof());
    let (signed, _) = spliced.rsplit_once('.').unwrap();
    let spliced = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
    let cut = &cut[..cut.len() - 4];

    for (row, headers, status, expected) in [
        ("downgrade to Bearer", vec![("authorization", format!("Bearer {}", site.token))], 401, "bound"),
        (
            "downgrade to Bearer, with the proof",
            vec![("authorization", format!("Bearer {}", site.token)), ("dpop", site.proof())],
            401,
            "bound",
        ),
        ("no proof", vec![("authorization", dpop.clone())], 401, "proof_missing"),
        (
            "an empty proof",
            vec![("authorization", dpop.clone()), ("dpop", String::new())],
            401,
            "proof_malformed",
        ),
        ("no JWT", vec![("authorization", dpop.clone()), ("dpop", "x".into())], 401, "proof_malformed"),
        (
            "a proof that is cut",
            vec![("authorization", dpop.clone()), ("dpop", cut.to_owned())],
            401,
            "proof_malformed",
        ),
        (
            "the signature of another proof",
            vec![("authorization", dpop.clone()), ("dpop", spliced)],
            401,
            "proof_signature",
        ),
        (
            "two proofs",
            vec![("authorization", dpop.clone()), ("dpop", site.proof()), ("dpop", site.proof())],
            401,
            "proof_repeated",
        ),
        ("replay", vec![("authorization", dpop.clone()), ("dpop", replayed)], 401, "proof_replayed"),
        (
            "another method",
            vec![("authorization", dpop.clone()), ("dpop", prove("POST", URL, token))],
            401,
            "proof_method",
        ),
        (
            "the method in lower case",
            vec![("authorization", dpop.clone()), ("dpop", prove("get", URL, token))],
            401,
            "proof_method",
        ),
        (
            "another path",
            vec![
                ("authorization", dpop.clone()),
                ("dpop", prove("GET", "https://api.example/orders/1", token)),
            ],
            401,
            "proof_target",
        ),
        (
            "another host",
            vec![
                ("authorization", dpop.clone()),
                ("dpop", prove("GET", "https://api.example.evil/orders", token)),
            ],
            401,
            "proof_target",
        ),
        (
            "another scheme",
            vec![("authorization", dpop.clone()), ("dpop", prove("GET", "http://api.example/orders", token))],
            401,
            "proof_target",
        ),
        (
            "another port",
            vec![
                ("authorization", dpop.clone()),
                ("dpop", prove("GET", "https://api.example:8443/orders", token)),
            ],
            401,
            "proof_target",
        ),
        (
            "a proof for another token",
            vec![("authorization", dpop.clone()), ("dpop", prove("GET", URL, Some(&*other_token)))],
            401,
            "proof_token_hash",
        ),
        (
            "a proof for no token",
            vec![("authorization", dpop.clone()), ("dpop", prove("GET", URL, None))],
            401,
            "proof_token_hash",
        ),
        (
            "another key",
            vec![("authorization", dpop.clone()), ("dpop", site.prove(&thief, "GET", URL, token, None))],
            401,
            "other_key",
        ),
        (
            "a token of another key",
            vec![
                ("authorization", format!("DPoP {thiefs_token}")),
                ("dpop", prove("GET", URL, Some(&*thiefs_token))),
            ],
            401,
            "other_key",
        ),
        (
            "a token that is bound to none",
            vec![("authorization", format!("DPoP {unbound}")), ("dpop", prove("GET", URL, Some(&*unbound)))],
            401,
            "not_bound",
        ),
        ("a clock behind", vec![("authorization", dpop.clone()), ("dpop", old)], 401, "proof_too_old"),
        ("a clock ahead", vec![("authorization", dpop.clone()), ("dpop", ahead)], 401, "proof_too_new"),
        (
            "two tokens",
            vec![
                ("authorization", dpop.clone()),
                ("authorization", format!("Bearer {unbound}")),
                ("dpop", site.proof()),
            ],
            400,
            "repeated_credential",
        ),
        (
            "a token that is none",
            vec![("authorization", "DPoP x.y.z".into()), ("dpop", site.proof())],
            401,
            "malformed",
        ),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = site.send(&headers).await;
        assert_eq!((answer.status().as_u16(), reason(&answer)), (status, expected), "{row}");
        let scheme = if row.starts_with("downgrade") { "Bearer" } else { "DPoP" };
        if status == 401 {
            assert!(challenge(&answer).starts_with(scheme), "{row}: {}", challenge(&answer));
        }
        let is_proof = expected.starts_with("proof_");
        assert_eq!(challenge(&answer).contains("invalid_dpop_proof"), is_proof, "{row}");
        assert!(challenge(&answer).contains(r#"algs="ES256 "#), "{row}");
    }
    // None of them was a reason to refuse the owner.
    assert_eq!(site.with_proof(&site.proof()).await.status(), StatusCode::OK);
}

/// A replay is one on whichever clone of the settings, and a proof is forgotten when it is refused for its age.
#[tokio::test]
async fn a_proof_is_good_once_in_all_layers_of_the_same_settings() {
    let site = Site::new(same);
    let proof = site.proof();
    assert_eq!(site.with_proof(&proof).await.status(), StatusCode::OK);
    for _ in 0..3 {
        // `send` makes a new layer and a new service each time.
        assert_eq!(reason(&site.with_proof(&proof).await), "proof_replayed");
    }
    site.clock.step_back(SECOND * 5);
    assert_eq!(reason(&site.with_proof(&proof).await), "proof_replayed");
    site.clock.advance(SECOND * 300);
    assert_eq!(reason(&site.with_proof(&proof).await), "proof_too_old");
}

#[tokio::test]
async fn a_full_memory_refuses_new_proofs_and_forgets_none() {
    let site = Site::new(|builder| builder.capacity(3));
    let proofs: Vec<_> = (0..3).map(|_| site.proof()).collect();
    for proof in &proofs {
        assert_eq!(site.with_proof(proof).await.status(), StatusCode::OK);
    }
    let answer = site.with_proof(&site.proof()).await;
    assert_eq!((answer.status(), reason(&answer)), (StatusCode::SERVICE_UNAVAILABLE, "proof_memory_full"));
    assert_eq!(answer.headers()[RETRY_AFTER], "1");
    for proof in &proofs {
        assert_eq!(reason(&site.with_proof(proof).await), "proof_replayed");
    }
    site.clock.advance(SECOND * 300);
    let grant = AccessGrant::new("ada").with_key(site.key.thumbprint());
    let site = Site { token: site.issuer.token_for(&grant, &NoClaims {}), ..site };
    assert_eq!(site.with_proof(&site.proof()).await.status(), StatusCode::OK, "there is room again");
}

#[tokio::test]
async fn row_67_nonces_are_demanded_given_and_exchanged() {
    let period = Duration::from_secs(300);
    let site = Site::new(|builder| builder.nonces(NonceKeys::new([7; 32]).unwrap()).nonce_period(period));
    let answer = site.with_proof(&site.proof()).await;
    assert_eq!((answer.status(), reason(&answer)), (StatusCode::UNAUTHORIZED, "proof_nonce_missing"));
    assert!(challenge(&answer).contains(r#"error="use_dpop_nonce""#), "{}", challenge(&answer));
    assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
    let nonces: Vec<_> = answer.headers().get_all("dpop-nonce").iter().collect();
    assert_eq!(nonces.len(), 1);
    let nonce = nonces[0].to_str().unwrap().to_owned();

    let with = |nonce: &str| site.prove(&site.key, "GET", URL, Some(&site.token), Some(nonce));
    let answer = site.with_proof(&with(&nonce)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("dpop-nonce"), "it is the newest");
    for made_up in ["x", "", &nonce[1..]] {
        let answer = site.with_proof(&with(made_up)).await;
        assert_eq!(reason(&answer), "proof_nonce_unknown", "{made_up}");
        assert_eq!(answer.headers()["dpop-nonce"], nonce);
    }
    // A wrong proof is not told of a nonce.
    let answer = site.with_proof(&site.prove(&site.key, "PUT", URL, Some(&site.token), None)).await;
    assert_eq!(reason(&answer), "proof_method");
    assert!(!answer.headers().contains_key("dpop-nonce"));

    // The one before is good, and the answer brings the new one, past all caches.
    site.clock.advance(period);
    let answer = site.with_proof(&with(&nonce)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let newer = answer.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    assert_ne!(newer, nonce);
    assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(site.with_proof(&with(&newer)).await.status(), StatusCode::OK);
    site.clock.advance(period);
    assert_eq!(reason(&site.with_proof(&with(&nonce)).await), "proof_nonce_unknown");
}

#[tokio::test]
async fn row_24_challenges_where_both_schemes_are_accepted_and_where_one_is() {
    for (required, bare) in [
        (false, r#"Bearer realm="api", DPoP realm="api", algs="ES256 ES384 EdDSA Ed25519 RS256 PS256""#),
        (true, r#"DPoP realm="api", algs="ES256 ES384 EdDSA Ed25519 RS256 PS256""#),
    ] {
        let site = Site::new(|builder| if required { builder.required() } else { builder });
        let answer = site.send(&[]).await;
        assert_eq!(challenge(&answer), bare);
        assert!(!answer.headers().contains_key("dpop-nonce"));
        let unbound = site.issuer.token_for(&AccessGrant::new("ada"), &NoClaims {});
        let answer = site.send(&[("authorization", &format!("Bearer {unbound}"))]).await;
        if required {
            assert_eq!((answer.status(), reason(&answer)), (StatusCode::UNAUTHORIZED, "bearer_scheme"));
            assert!(challenge(&answer).starts_with(r#"DPoP realm="api", error="invalid_token""#));
        } else {
            assert_eq!(answer.status(), StatusCode::OK);
        }
    }
    // The layers behind speak of the scheme that was used.
    let site = Site::new(same);
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = site.layer().layer(RequireScopeLayer::all(["write"]).unwrap().layer(inner));
    let request = Request::get("/orders")
        .header(AUTHORIZATION, format!("DPoP {}", site.token))
        .header("dpop", site.proof())
        .body(Full::default())
        .unwrap();
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let told = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(told.starts_with(r#"DPoP realm="api", error="insufficient_scope""#), "{told}");
}

/// Without the setting nothing is different from what it was.
#[tokio::test]
async fn a18_without_the_setting_the_scheme_is_not_known() {
    let site = Site::new(same);
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = JwtAuthLayer::new(site.issuer.verifier::<NoClaims>()).layer(inner);
    for (authorization, reason) in [("DPoP", "missing"), ("Bearer", "bound")] {
        let request = Request::get("/orders")
            .header(AUTHORIZATION, format!("{authorization} {}", site.token))
            .header("dpop", site.proof());
        let answer = service.clone().oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.extensions().get::<Rejection>().unwrap().reason(), reason);
        assert!(!answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains("DPoP"));
    }
}

/// Bound tokens that were accepted with a proof are remembered, and are still no bearer tokens.
#[tokio::test]
async fn a_remembered_token_needs_a_proof_each_time() {
    let site = Site::new(same);
    let layer = site.layer();
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = layer.layer(inner);
    let send = async |authorization: String, proof: Option<String>| {
        let mut request = Request::get("/orders").header(AUTHORIZATION, authorization);
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        let answer = service.clone().oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        answer.status().as_u16()
    };
    for _ in 0..2 {
        assert_eq!(send(format!("DPoP {}", site.token), Some(site.proof())).await, 200);
        assert_eq!(send(format!("Bearer {}", site.token), None).await, 401);
        assert_eq!(send(format!("DPoP {}", site.token), None).await, 401);
    }
}

#[tokio::test]
async fn urls_are_compared_as_clients_and_proxies_write_them() {
    let site = Site::new(|builder| builder.add_url("https://www.example/api"));
    for (path, url, passes) in [
        ("/orders?page=2", "https://api.example/orders", true),
        ("/orders", "https://api.example/orders?page=2#x", true),
        ("/orders", "HTTPS://API.example:443/orders", true),
        ("/a%2fb", "https://api.example/a%2Fb", true),
        ("/a%2fb", "https://api.example/a/b", false),
        ("/%6Frders", "https://api.example/orders", true),
        ("/orders", "https://api.example/x/../orders", true),
        // Behind a proxy that cuts `/api` off.
        ("/orders", "https://www.example/api/orders", true),
        ("/orders", "https://www.example/orders", false),
        ("/orders/", "https://api.example/orders", false),
    ] {
        let proof = site.prove(&site.key, "GET", url, Some(&site.token), None);
        let headers = [("authorization", &*format!("DPoP {}", site.token)), ("dpop", &*proof)];
        let answer = site.send_request(Request::get(path), &headers).await;
        let expected = if passes { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(answer.status(), expected, "{path} {url}: {}", reason(&answer));
    }
}

#[tokio::test]
async fn grpc_calls_are_refused_in_their_own_way() {
    let site = Site::new(|builder| builder.nonces(NonceKeys::new([7; 32]).unwrap()));
    let proof =
        site.prove(&site.key, "POST", "https://api.example/pkg.Service/Call", Some(&site.token), None);
    let headers = [("authorization", &*format!("DPoP {}", site.token)), ("dpop", &*proof)];
    let call = Request::builder()
        .method(Method::POST)
        .uri("/pkg.Service/Call")
        .header(CONTENT_TYPE, "application/grpc");
    let answer = site.send_request(call, &headers).await;
    assert_eq!((answer.status(), answer.headers()["grpc-status"].as_bytes()), (StatusCode::OK, &b"16"[..]));
    assert!(answer.headers().contains_key("dpop-nonce"));
}

#[tokio::test]
async fn modes_that_let_requests_pass() {
    let site = Site::new(same);
    let outcome = async |layer: JwtAuthLayer<NoClaims>, headers: Vec<(&str, String)>| {
        let inner = service_fn(async |request: Request<Full<Bytes>>| {
            let outcome = match AuthContext::of(request.extensions()).unwrap().outcome() {
                Outcome::Verified(_) => "verified".to_owned(),
                Outcome::Refused(rejection) => rejection.reason().to_owned(),
                _ => "anonymous".to_owned(),
            };
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(outcome)))
        });
        let mut request = Request::get("/orders");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = layer.layer(inner).oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let dpop = format!("DPoP {}", site.token);
    let good = vec![("authorization", dpop.clone()), ("dpop", site.proof())];
    assert_eq!(outcome(site.layer().observe(), good).await, (200, "verified".into()));
    let no_proof = vec![("authorization", dpop.clone())];
    assert_eq!(outcome(site.layer().observe(), no_proof.clone()).await, (200, "proof_missing".into()));
    assert_eq!(outcome(site.layer().optional(), vec![]).await, (200, "anonymous".into()));
    assert_eq!(outcome(site.layer().optional(), no_proof).await.0, 401);
    // A stripped token leaves with its scheme.
    let good = vec![("authorization", dpop), ("dpop", site.proof())];
    let inner = service_fn(async |request: Request<Full<Bytes>>| {
        assert!(!request.headers().contains_key(AUTHORIZATION));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let mut request = Request::get("/orders");
    for (name, value) in good {
        request = request.header(name, value);
    }
    let service = site.layer().strip_token().layer(inner);
    assert_eq!(
        service.oneshot(request.body(Full::default()).unwrap()).await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn no_event_holds_a_proof_or_a_nonce() {
    let (events, _guard) = Events::start();
    let site = Site::new(|builder| builder.nonces(NonceKeys::new([7; 32]).unwrap()));
    let proof = site.proof();
    let answer = site.with_proof(&proof).await;
    let nonce = answer.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    let told = events.take_own();
    assert!(told.iter().any(|event| event.contains("rejected") && event.contains("proof_nonce_missing")));
    for event in &told {
        assert!(
            !event.contains(&proof[..40]) && !event.contains(&nonce) && !event.contains(&site.token),
            "{event}"
        );
    }
    let shown = format!("{:?} {:?} {:?}", site.dpop, site.key, site.layer());
    assert!(!shown.contains(&nonce), "{shown}");
}
