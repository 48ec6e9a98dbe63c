//! The checkable requirements of sections A and B, row by row: taking the token from the request, and challenges. Each
//! test is named after its row. More inputs of each kind are in `bearer_bad_input.rs`.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use support::ManualClock;
use support::requests::{Answer, as_grpc, bearer, request, send};
use support::tokens::{NOW, Signer, claims, config, quoted};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tower_jwt_auth::{ConfigErrorKind, JwtAuthLayer, NoClaims, RequireScopeLayer};

fn signer() -> Signer {
    Signer::ed25519()
}

fn layer() -> JwtAuthLayer<NoClaims> {
    JwtAuthLayer::new(config(&signer(), &ManualClock::new()).verifier())
}

async fn ask<V: AsRef<[u8]>>(values: &[V]) -> Answer {
    send(&layer(), request(values)).await
}

async fn ask_good(prefix: &str, suffix: &str) -> Answer {
    ask(&[format!("{prefix}{}{suffix}", signer().good())]).await
}

fn challenge(answer: &Answer) -> &str {
    let mut challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    let challenge = challenges.next().map_or("", |value| value.to_str().unwrap());
    assert!(challenges.next().is_none(), "one challenge");
    challenge
}

#[track_caller]
fn assert_passes(answer: &Answer) {
    assert_eq!((answer.status, answer.calls), (StatusCode::OK, 1), "{:?}", answer.rejection);
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, error: Option<&str>) {
    assert_eq!((answer.status.as_u16(), answer.calls), (status, 0), "{answer:?}");
    match error {
        Some(error) => {
            assert!(challenge(answer).contains(&format!(r#"error="{error}""#)), "{}", challenge(answer));
        }
        None => assert!(!challenge(answer).contains("error"), "{}", challenge(answer)),
    }
}

// ── A. taking the token from the request ──

#[tokio::test]
async fn row_01_the_header_is_the_one_method() {
    assert_passes(&ask_good("Bearer ", "").await);
}

#[tokio::test]
async fn row_02_the_scheme_has_no_case() {
    for scheme in ["bearer ", "BEARER ", "bEaReR "] {
        assert_passes(&ask_good(scheme, "").await);
    }
}

#[tokio::test]
async fn row_03_credentials_match_the_grammar() {
    assert_passes(&ask_good("Bearer   ", "").await);
    for (prefix, suffix) in [("Bearer\t", ""), ("Bearer ", ","), ("Bearer \"", "\""), ("Bearer ", " x")] {
        assert_refused(&ask_good(prefix, suffix).await, 400, Some("invalid_request"));
    }
}

#[tokio::test]
async fn row_04_no_credentials_no_error() {
    assert_refused(&ask::<&str>(&[]).await, 401, None);
    for other in ["Basic dTpw", "Digest username=\"u\""] {
        assert_refused(&ask(&[other]).await, 401, None);
    }
}

#[tokio::test]
async fn row_05_malformed_credentials() {
    for value in ["Bearer", "Bearer ", "Bearer ä", "Bearer a:b"] {
        assert_refused(&ask(&[value]).await, 400, Some("invalid_request"));
    }
}

#[tokio::test]
async fn row_06_two_headers() {
    let good = format!("Bearer {}", signer().good());
    for values in [[good.clone(), good.clone()], [good.clone(), "Basic dTpw".to_owned()]] {
        assert_refused(&ask(&values).await, 400, Some("invalid_request"));
    }
}

#[tokio::test]
async fn row_07_and_row_08_the_query_and_the_body_are_not_read() {
    let token = signer().good();
    let form = format!("access_token={token}");
    let request = Request::post(format!("/?access_token={token}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from(form))
        .unwrap();
    assert_refused(&send(&layer(), request).await, 401, None);
}

#[tokio::test]
async fn row_09_over_the_limit() {
    assert_refused(&ask(&[format!("Bearer {}", "a".repeat(8193))]).await, 400, Some("invalid_request"));
}

#[test]
fn row_10_control_characters_reach_no_answer() {
    // The type of header values has no room for them, on the way in and on the way out.
    for value in ["Bearer a\rb", "Bearer a\nb", "Bearer a\0b"] {
        assert!(HeaderValue::from_str(value).is_err());
        assert!(layer().with_realm(value).is_err());
    }
}

#[tokio::test]
async fn row_11_proxy_authorization() {
    let mut request = request::<&str>(&[]);
    let value = format!("Bearer {}", signer().good()).parse().unwrap();
    request.headers_mut().insert("proxy-authorization", value);
    assert_refused(&send(&layer(), request).await, 401, None);
}

#[tokio::test]
async fn row_12_and_row_25_cors_outside() {
    let cors = CorsLayer::new()
        .allow_origin("https://app.example".parse::<HeaderValue>().unwrap())
        .expose_headers([WWW_AUTHENTICATE]);
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = ServiceBuilder::new().layer(cors).layer(layer()).service(inner);
    let ask = |method: Method| {
        Request::builder()
            .method(method)
            .header(ORIGIN, "https://app.example")
            .header("access-control-request-method", "GET")
            .body(Full::default())
            .unwrap()
    };
    assert_eq!(service.clone().oneshot(ask(Method::OPTIONS)).await.unwrap().status(), StatusCode::OK);
    let refused = service.oneshot(ask(Method::GET)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()[ACCESS_CONTROL_EXPOSE_HEADERS], "www-authenticate");
}

// ── B. challenge and error answers ──

#[tokio::test]
async fn rows_13_to_16_the_challenge() {
    let layer = layer().with_realm("my api").unwrap();
    let expired = signer().with_claims(claims().with("exp", (NOW - 31).to_string()).with("iat", "1").json());
    for (request, expected) in [
        (request::<&str>(&[]), r#"Bearer realm="my api""#),
        (
            request(&["Bearer"]),
            r#"Bearer realm="my api", error="invalid_request", error_description="the credentials are malformed""#,
        ),
        (
            bearer(&expired),
            r#"Bearer realm="my api", error="invalid_token", error_description="the access token is not valid""#,
        ),
    ] {
        assert_eq!(challenge(&send(&layer, request).await), expected);
    }
}

#[tokio::test]
async fn row_17_and_row_19_one_answer_for_every_bad_token() {
    let other = claims().with("iss", quoted("https://other.example"));
    let (head, signature) = (signer().header(), signer().good());
    let mut answers = Vec::new();
    for token in [
        "x".to_owned(),
        signer().with_claims(other.json()),
        signer().with_claims(claims().with("aud", quoted("other")).json()),
        signer().with_claims(claims().with("exp", (NOW - 600).to_string()).with("iat", "1").json()),
        signer().with_header(head.with("typ", quoted("JWT")).json()),
        format!("{}A", &signature[..signature.len() - 1]),
    ] {
        let answer = send(&layer(), bearer(&token)).await;
        assert_refused(&answer, 401, Some("invalid_token"));
        answers.push((answer.headers.clone(), answer.body.clone()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

async fn with_scope(layer: &RequireScopeLayer, scope: &str, grpc: bool) -> Response<Bytes> {
    use http_body_util::BodyExt as _;
    let bearer_layer = JwtAuthLayer::<NoClaims>::new(config(&signer(), &ManualClock::new()).verifier());
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("in")))
    });
    let service = bearer_layer.layer(layer.layer(inner));
    let request = bearer(&signer().with_claims(claims().with("scope", scope).json()));
    let (parts, body) =
        service.oneshot(if grpc { as_grpc(request) } else { request }).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn row_18_and_c12_insufficient_scope() {
    let all = RequireScopeLayer::all(["read", "write"]).unwrap();
    let any = RequireScopeLayer::any(["read", "write"]).unwrap();
    for (name, scope, passes_all, passes_any) in [
        ("both", "write read more", true, true),
        ("one", "read", false, true),
        ("none", "", false, false),
        ("a longer name", "read:all write:all", false, false),
        ("other case", "READ WRITE", false, false),
        ("a tab between", "read\\twrite", false, false),
    ] {
        for (layer, passes) in [(&all, passes_all), (&any, passes_any)] {
            let answer = with_scope(layer, &format!("\"{scope}\""), false).await;
            let expected = if passes { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status(), expected, "{name}");
            if !passes {
                let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
                assert_eq!(
                    challenge,
                    r#"Bearer realm="api", error="insufficient_scope", error_description="the access token lacks a scope", scope="read write""#,
                    "{name}"
                );
            }
        }
    }
    // An array is not taken for a scope.
    assert_eq!(with_scope(&any, r#"["read"]"#, false).await.status(), StatusCode::UNAUTHORIZED);
    // Row 112.
    let call = with_scope(&all, r#""read""#, true).await;
    assert_eq!(
        (call.status(), &call.headers()["grpc-status"]),
        (StatusCode::OK, &HeaderValue::from_static("7"))
    );
    for scopes in [&[][..], &[""], &["a b"], &["a\"b"], &["é"]] {
        assert_eq!(RequireScopeLayer::all(scopes).unwrap_err().kind(), ConfigErrorKind::Limit, "{scopes:?}");
    }
    // Behind a layer that lets all pass it refuses as that layer would have.
    let verifier = config(&signer(), &ManualClock::new()).verifier::<NoClaims>();
    for (request, status, error) in [
        (request::<&str>(&[]), 401, None),
        (bearer("bad"), 401, Some("invalid_token")),
        (request(&["Bearer"]), 400, Some("invalid_request")),
    ] {
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = JwtAuthLayer::new(verifier.clone()).observe().layer(all.layer(inner));
        let refused = service.oneshot(request).await.unwrap();
        let challenge = refused.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert_eq!(refused.status(), status, "{challenge}");
        assert_eq!(error.is_some_and(|error| challenge.contains(error)), error.is_some(), "{challenge}");
    }
    // Nobody verified a token.
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let alone = all.layer(inner).oneshot(request::<&str>(&[])).await.unwrap();
    assert_eq!(alone.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!alone.headers().contains_key(WWW_AUTHENTICATE));
}

#[tokio::test]
async fn row_26_an_answer_is_not_made_cacheable() {
    assert!(!ask_good("Bearer ", "").await.headers.contains_key(CACHE_CONTROL));
}
