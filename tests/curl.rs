//! The example `hyper`, spoken to by curl over HTTP/2 with prior knowledge and over HTTP/1.1.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/curl.rs"]
mod curl;
#[path = "support/program.rs"]
mod program;

use serde_json::Value;

use crate::curl::Curl;
use crate::program::{Program, built, skip};

#[test]
fn login_and_api_over_one_port_in_both_versions() {
    let (curl, example) = match (Curl::find(), built("hyper")) {
        (Ok(curl), Ok(example)) => (curl, example),
        (Err(missing), _) | (_, Err(missing)) => return skip(&missing),
    };
    let server = Program::start(&example, &[]);
    let at = |path: &str| format!("{}{path}", server.url);
    let headers = ["X-Session-Request: 1", "Content-Type: application/json"];

    let wrong = curl.post(&at("/auth/login"), &headers, r#"{"name":"ada","password":"x"}"#);
    assert_eq!((wrong.status, &*wrong.version), (401, "2"), "{wrong:?}");
    let login = curl.post(&at("/auth/login"), &headers, r#"{"name":"ada","password":"correct horse"}"#);
    assert_eq!((login.status, &*login.version), (200, "2"), "{login:?}");
    let body: Value = serde_json::from_str(&login.body).unwrap();
    let bearer = format!("Authorization: Bearer {}", body["access_token"].as_str().unwrap());

    for (name, path, headers, status) in [
        ("a token", "/", &[&*bearer][..], 200),
        ("no token", "/", &[], 401),
        ("a bad token", "/", &["Authorization: Bearer x"], 401),
        ("two tokens", "/", &[&*bearer, &*bearer], 400),
        ("elsewhere", "/nothing", &[&*bearer], 404),
        ("the service", "/auth/jwks.json", &[], 200),
        ("beside the service", "/authors", &[], 401),
        ("the session list", "/auth/sessions", &[&*bearer], 200),
    ] {
        for (answer, version) in
            [(curl.get(&at(path), headers), "2"), (curl.get_http1(&at(path), headers), "1.1")]
        {
            assert_eq!((answer.status, &*answer.version), (status, version), "{name}: {answer:?}");
            match name {
                "a token" => assert!(answer.body.starts_with("Hello ada, your session is "), "{answer:?}"),
                "the session list" => assert!(answer.body.contains("127.0.0.1"), "{answer:?}"),
                _ => {}
            }
        }
    }
}
