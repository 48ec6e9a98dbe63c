//! The examples on stores of many nodes, run as programs against real servers.

#![cfg(all(feature = "redis", feature = "postgres"))]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;

use std::process::Command;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use engines::postgres::Postgres;
use engines::redis::Redis;
use program::{Program, built, run, skip};

const ADA: &str = r#"{"email":"ada@example.com","password":"correct horse"}"#;
const SECRET: &str = "one secret for all nodes of the site";

async fn post(demo: &Program, path: &str, cookie: &str, body: &str) -> Response<Bytes> {
    let request = Request::post(format!("{}{path}", demo.url))
        .header("x-session-request", "1")
        .header(CONTENT_TYPE, "application/json")
        .header(COOKIE, cookie)
        .body(Full::from(body.to_owned()))
        .unwrap();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Two demos that start at once share the sessions; what one ends the other refuses.
async fn demos_share_sessions(store: &str) {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    let start = || Program::start(&demo, &[("STORE", store), ("SECRET", SECRET)]);
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(start);
        let two = start();
        (one.join().unwrap(), two)
    });
    let login = post(&one, "/auth/login", "", ADA).await;
    assert_eq!(login.status(), StatusCode::OK, "{login:?}");
    let cookie = login.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(post(&two, "/auth/refresh", &cookie, "").await.status(), StatusCode::OK);
    assert_eq!(post(&two, "/auth/logout", &cookie, "").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(post(&one, "/auth/refresh", &cookie, "").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn two_demos_on_redis() {
    if engines::has_redis() {
        demos_share_sessions(&Redis::start().url()).await;
    }
}

#[tokio::test]
async fn two_demos_on_postgres() {
    if engines::has_postgres() {
        demos_share_sessions(&Postgres::start_fast().url()).await;
    }
}

fn two_nodes_tell_their_story(store: &str) {
    let Ok(program) = built("two_nodes") else { return skip("the example two_nodes is not built") };
    let output = Command::new(program).env("STORE", store).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("one: her access token is refused"), "{told}");
}

#[test]
fn two_nodes_on_redis() {
    if engines::has_redis() {
        two_nodes_tell_their_story(&Redis::start().url());
    }
}

#[test]
fn two_nodes_on_postgres() {
    if engines::has_postgres() {
        two_nodes_tell_their_story(&Postgres::start_fast().url());
    }
}

#[test]
fn a_store_that_is_not_there_or_not_known_is_named_without_its_password() {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    for (store, told) in [
        ("mysql://app:hunter2@127.0.0.1/", "STORE must be redis://.. or postgres://.."),
        ("redis://app:hunter2@127.0.0.1:1/", "Redis cannot be reached"),
        ("postgres://app:hunter2@127.0.0.1:1/app", "PostgreSQL cannot be reached"),
        ("postgres://app:hunter2@", "PostgreSQL cannot be reached"),
        ("redis://app:hunter2@127.0.0.1:none/", "the URL of Redis must be"),
    ] {
        let output = run(&demo, &[("STORE", store)]);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(!output.status.success() && said.contains(told), "{store}: {said}");
        assert!(!said.contains("hunter2"), "{store}: {said}");
    }
}
