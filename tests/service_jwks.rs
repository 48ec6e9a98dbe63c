//! `GET /auth/jwks.json`: the public keys of the service's access tokens, for everybody.
#![cfg(all(feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/keys.rs"]
mod fixtures;
mod support;

use std::sync::Arc;

use bytes::Bytes;
use fixtures::{jwk, signing_key};
use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, COOKIE, ORIGIN, PRAGMA,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use support::ManualClock;
use support::service::{Accounts, Ask, NAME, Op, World, bare};
use support::tokens::builder;
use tower::ServiceExt;
use tower_jwt_auth::{Algorithm, KeySet, SigningKey};

use Algorithm::{EdDsa, Es256, Hs256, Rs256};

const PATH: &str = "/auth/jwks.json";

fn world(key: SigningKey) -> World {
    let (clock, accounts) = (ManualClock::new(), Arc::new(Accounts::default()));
    let config = builder(key, &clock).build().unwrap();
    World::build(clock, config, Arc::clone(&accounts), accounts, |builder| builder)
}

async fn send(world: &World, ask: Ask) -> Response<Bytes> {
    let (parts, body) = world.auth.clone().oneshot(ask.request()).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn keys(world: &World) -> Vec<Value> {
    let response = send(world, bare(Method::GET, PATH)).await;
    assert_eq!(response.status(), 200);
    let document: Value = serde_json::from_slice(response.body()).unwrap();
    document["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_answer_may_be_kept_by_everybody_for_five_minutes() {
    let world = world(signing_key(EdDsa).with_kid("a"));
    let response = send(&world, bare(Method::GET, PATH)).await;
    assert_eq!(response.status(), 200);
    for (name, value) in [
        (CONTENT_TYPE, "application/jwk-set+json"),
        (CACHE_CONTROL, "public, max-age=300"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        let values: Vec<_> = response.headers().get_all(&name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    for name in [PRAGMA, SET_COOKIE, ACCESS_CONTROL_ALLOW_ORIGIN] {
        assert!(!response.headers().contains_key(&name), "{name}");
    }
    let x = jwk("ed25519.public.jwk")["x"].clone();
    let expected =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a", "alg": "EdDSA", "use": "sig"}]});
    assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap(), expected);
    let set = KeySet::from_jwks(std::str::from_utf8(response.body()).unwrap()).unwrap();
    assert!(set.skipped().is_empty());
}

#[tokio::test]
async fn it_asks_for_nothing_and_needs_no_store() {
    let world = world(signing_key(Es256));
    let plain = send(&world, bare(Method::GET, PATH)).await.into_body();
    world.store.set_down(&[
        Op::Now,
        Op::Create,
        Op::Rotate,
        Op::Get,
        Op::List,
        Op::Revoke,
        Op::RevokeSubject,
    ]);
    world.store.take_calls();
    for (row, ask) in [
        ("another origin", bare(Method::GET, PATH).header(ORIGIN, "https://evil.example")),
        ("cross-site", bare(Method::GET, PATH).header("sec-fetch-site", "cross-site")),
        ("a cookie of no session", bare(Method::GET, PATH).header(COOKIE, format!("{NAME}=x; {NAME}=y"))),
        ("a bad bearer token", bare(Method::GET, PATH).bearer("x")),
        ("another type wanted", bare(Method::GET, PATH).header(ACCEPT, "text/html")),
        ("a query", bare(Method::GET, "/auth/jwks.json?kid=a")),
        ("the mount point stripped", bare(Method::GET, "/jwks.json")),
    ] {
        let response = send(&world, ask).await;
        assert_eq!((response.status().as_u16(), response.body()), (200, &plain), "{row}");
    }
    assert!(world.store.take_calls().is_empty());
}

#[tokio::test]
async fn only_get_is_allowed() {
    let world = world(signing_key(EdDsa));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let response = send(&world, bare(method.clone(), PATH)).await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()[ALLOW], "GET", "{method}");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{method}");
        assert!(!response.body().windows(4).any(|part| part == b"keys"), "{method}");
    }
    for path in ["/auth/jwks.json/", "/auth/jwks", "/auth/JWKS.json", "/auth/.well-known/jwks.json"] {
        assert_eq!(send(&world, bare(Method::GET, path)).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn an_hmac_key_is_never_shown() {
    let world = world(signing_key(Hs256));
    let response = send(&world, bare(Method::GET, PATH)).await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &br#"{"keys":[]}"#[..]));
}

#[tokio::test]
async fn it_follows_the_keys_of_the_configuration() {
    let world = world(signing_key(EdDsa).with_kid("old"));
    let kids =
        |keys: Vec<Value>| keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kids(keys(&world).await), ["old"]);
    let new = signing_key(Rs256).with_kid("new");
    world.config.add_key(new.verifying_key().clone()).unwrap();
    assert_eq!(kids(keys(&world).await), ["old", "new"]);
    world.config.sign_with(new).unwrap();
    assert_eq!(kids(keys(&world).await), ["old", "new"]);
    world.config.remove_key("old").unwrap();
    let left = keys(&world).await;
    assert_eq!(left.len(), 1);
    let mut names: Vec<_> = left[0].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!((&left[0]["n"], &left[0]["alg"]), (&jwk("rsa.public.jwk")["n"], &json!("RS256")));
}
