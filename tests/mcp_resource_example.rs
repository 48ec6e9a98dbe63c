//! The example `mcp_resource` as a client meets it: refused first, led to the metadata, and let in with a token.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use std::{env, fs};

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tower_jwt_auth::{AccessGrant, Issuer, NoClaims, SigningKey, TokenConfig};

use crate::program::{Program, built, skip};

const ISSUER: &str = "https://id.example";
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn config(audience: &str) -> TokenConfig {
    let key = SigningKey::ed25519_seed(&[7; 32]).unwrap();
    TokenConfig::builder().key(key).issuer(ISSUER).audience(audience).build().unwrap()
}

fn token(audience: &str, scopes: &[&str]) -> String {
    let grant = AccessGrant::new("user-ada").with_scopes(scopes);
    Issuer::new(&config(audience)).unwrap().issue(&grant, &NoClaims {}).unwrap().expose().to_owned()
}

async fn send(method: Method, url: &str, token: Option<&str>) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(url).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request.body(Full::<Bytes>::from(PING)).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn the_refusal_leads_to_the_metadata_and_a_token_in() {
    let Ok(example) = built("mcp_resource") else { return skip("the example mcp_resource is not built") };
    // This test is the authorization server.
    let jwks = env::temp_dir().join(format!("mcp_resource_{}.json", std::process::id()));
    fs::write(&jwks, config("any").keys().load().to_jwks()).unwrap();
    let server = Program::start(&example, &[("ISSUER", ISSUER), ("JWKS", jwks.to_str().unwrap())]);
    fs::remove_file(&jwks).unwrap();
    let mcp = format!("{}/mcp", server.url);

    let refused = send(Method::POST, &mcp, None).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    let (_, url) = challenge.split_once(r#"resource_metadata=""#).unwrap();
    let metadata = send(Method::GET, url.trim_end_matches('"'), None).await;
    let metadata: Value = serde_json::from_slice(metadata.body()).unwrap();
    assert_eq!(metadata["resource"], mcp);
    assert_eq!(metadata["scopes_supported"][0], "mcp:use");

    assert_eq!(metadata["authorization_servers"][0], ISSUER);

    let without_scope = send(Method::POST, &mcp, Some(&token(&mcp, &[]))).await;
    assert_eq!(without_scope.status(), StatusCode::FORBIDDEN);
    assert!(without_scope.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains(url.trim_end_matches('"')));
    let of_another = send(Method::POST, &mcp, Some(&token("https://other.example", &["mcp:use"]))).await;
    assert_eq!(of_another.status(), StatusCode::UNAUTHORIZED);

    let answer = send(Method::POST, &mcp, Some(&token(&mcp, &["mcp:use"]))).await;
    assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
    let answer: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((&answer["id"], answer["result"].is_object()), (&1.into(), true));
}
