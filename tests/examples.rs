//! The examples as a user runs them: started as programs, spoken to over real sockets.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, SET_COOKIE, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use program::{Program, built, run, skip};
use serde_json::{Value, json};

const ADA: &str = r#"{"email":"ada@example.com","password":"correct horse"}"#;
const SECRET: &str = "a secret that two processes share, long enough";

/// A client that is no browser: it sends no `Origin`, so it says so.
async fn send(
    program: &Program,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", program.url))
        .header("x-session-request", "1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request.body(Full::<Bytes>::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn set_cookie(response: &Response<Bytes>) -> &str {
    response.headers()[SET_COOKIE].to_str().unwrap()
}

/// What a browser sends back: name and value.
fn cookie(response: &Response<Bytes>) -> String {
    set_cookie(response).split(';').next().unwrap().to_owned()
}

async fn login(program: &Program, credentials: &str) -> Response<Bytes> {
    let response =
        send(program, Method::POST, "/auth/login", &[("content-type", "application/json")], credentials)
            .await;
    assert_eq!(response.status(), StatusCode::OK, "{response:?}");
    response
}

async fn refresh(program: &Program, cookie: &str) -> Response<Bytes> {
    send(program, Method::POST, "/auth/refresh", &[("cookie", cookie)], "").await
}

async fn me(program: &Program, login: &Response<Bytes>) -> Response<Bytes> {
    let bearer = format!("Bearer {}", json_of(login)["access_token"].as_str().unwrap());
    send(program, Method::GET, "/api/me", &[("authorization", &bearer)], "").await
}

#[tokio::test]
async fn the_demo_serves_what_it_says() {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    let demo = Program::start(&demo, &[]);

    assert_eq!(send(&demo, Method::GET, "/health", &[], "").await.body(), "ok");
    let page = send(&demo, Method::GET, "/", &[], "").await;
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    assert!(page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'self'"));
    assert_eq!(send(&demo, Method::GET, "/nothing", &[], "").await.status(), StatusCode::NOT_FOUND);

    let refused = send(&demo, Method::GET, "/api/me", &[], "").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], r#"Bearer realm="api""#);

    let granted = login(&demo, ADA).await;
    assert!(set_cookie(&granted).starts_with("__Secure-refresh_token="));
    assert!(
        set_cookie(&granted).ends_with("; HttpOnly; SameSite=Strict; Secure; Path=/auth; Max-Age=604800")
    );
    let body = json_of(&granted);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 60);
    assert_eq!(body["user"], json!({"email": "ada@example.com", "role": "admin"}));

    let answer = json_of(&me(&demo, &granted).await);
    assert_eq!(answer["email"], "ada@example.com");
    assert_eq!(answer["role"], "admin");
    assert!(answer["sub"].is_string() && answer["sid"].is_string(), "{answer}");

    let bob = login(&demo, r#"{"email":"bob@example.com","password":"battery staple"}"#).await;
    assert_eq!(json_of(&bob)["user"]["role"], "user");
}

#[tokio::test]
async fn the_demo_shows_each_user_the_own_time_line_and_stolen_tokens_but_no_token() {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    let demo = Program::start(&demo, &[("RETRY_WINDOW_MS", "0")]);
    let ada = login(&demo, ADA).await;
    let bob = login(&demo, r#"{"email":"bob@example.com","password":"battery staple"}"#).await;
    let (first, second) = (cookie(&ada), cookie(&refresh(&demo, &cookie(&ada)).await));
    let bearer =
        |login: &Response<Bytes>| format!("Bearer {}", json_of(login)["access_token"].as_str().unwrap());
    let (ada, bob) = (bearer(&ada), bearer(&bob));
    let get = async |path: &str, bearer: &str| {
        json_of(&send(&demo, Method::GET, path, &[("authorization", bearer)], "").await)
    };
    let kinds = |line: &Value| -> Vec<String> {
        let entries = line["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {}", entry["kind"].as_str().unwrap(), entry["generation"]))
            .collect()
    };

    let line = get("/api/timeline", &ada).await;
    assert_eq!(kinds(&line), ["opened 0", "rotated 1"]);
    assert_eq!(kinds(&get("/api/timeline?after=1", &ada).await), ["rotated 1"]);
    assert_eq!(
        kinds(&get("/api/timeline?after=1000", &ada).await),
        ["opened 0", "rotated 1"],
        "after a restart"
    );
    assert_eq!(kinds(&get("/api/timeline", &bob).await), ["opened 0"]);
    let stolen = get("/api/stolen", &ada).await;
    let fates: Vec<_> =
        stolen["tokens"].as_array().unwrap().iter().map(|token| token["fate"].as_str().unwrap()).collect();
    assert_eq!(fates, ["rotated", "superseded"]);

    let replay = async |bearer: &str, generation: u32| {
        let headers = [("authorization", bearer), ("content-type", "application/json")];
        let body = json!({ "generation": generation }).to_string();
        send(&demo, Method::POST, "/api/stolen/replay", &headers, &body).await
    };
    for (path, method) in
        [("/api/timeline", Method::GET), ("/api/stolen", Method::GET), ("/api/stolen/replay", Method::POST)]
    {
        let refused = send(&demo, method, path, &[("cookie", &second)], "").await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(replay(&bob, 1).await.status(), StatusCode::NOT_FOUND, "another's token");
    let replayed = replay(&ada, 0).await;
    let told = json_of(&replayed);
    assert_eq!((&told["status"], &told["outcome"]), (&json!(401), &json!("superseded")));
    assert!(replayed.headers().get(SET_COOKIE).is_none());
    assert_eq!(json_of(&replay(&ada, 0).await)["outcome"], "unknown");
    assert_eq!(refresh(&demo, &second).await.status(), StatusCode::UNAUTHORIZED);

    let told = format!("{line}{stolen}{told}");
    for cookie in [first, second] {
        assert!(!told.contains(cookie.split_once('=').unwrap().1));
    }
}

#[tokio::test]
async fn processes_with_one_secret_accept_each_others_tokens() {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    let (one, two) =
        (Program::start(&demo, &[("SECRET", SECRET)]), Program::start(&demo, &[("SECRET", SECRET)]));
    let other = Program::start(&demo, &[]);
    let granted = login(&one, ADA).await;
    assert_eq!(me(&two, &granted).await.status(), StatusCode::OK);
    assert_eq!(me(&other, &granted).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_retry_window_of_nothing_is_strict() {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    let demo = Program::start(&demo, &[("RETRY_WINDOW_MS", "0")]);
    let first = cookie(&login(&demo, ADA).await);
    let second = cookie(&refresh(&demo, &first).await);
    assert_ne!(first, second);
    assert_eq!(refresh(&demo, &first).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(&demo, &second).await.status(), StatusCode::UNAUTHORIZED, "the session has ended");
}

#[tokio::test]
async fn lifetimes_come_from_the_environment() {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    let settings = [("ACCESS_TTL_SECS", "60"), ("IDLE_TTL_SECS", "50"), ("ABSOLUTE_TTL_SECS", "40")];
    let demo = Program::start(&demo, &[&settings[..], &[("INSECURE_COOKIES", "1")]].concat());
    let granted = login(&demo, ADA).await;
    let expires_in = json_of(&granted)["expires_in"].as_u64().unwrap();
    assert!((38..=40).contains(&expires_in), "no token outlives its session: {expires_in}");
    let set_cookie = set_cookie(&granted);
    assert!(set_cookie.starts_with("refresh_token=") && !set_cookie.contains("Secure"), "{set_cookie}");
    let max_age: u64 = set_cookie.rsplit_once("Max-Age=").unwrap().1.parse().unwrap();
    assert!((38..=40).contains(&max_age), "{set_cookie}");
    // The window of the default: the session's own token is held, and no cookie is set.
    let held = refresh(&demo, &cookie(&granted)).await;
    assert_eq!(held.status(), StatusCode::OK);
    assert!(!held.headers().contains_key(SET_COOKIE));
}

#[test]
fn settings_that_cannot_work_say_so() {
    let Ok(demo) = built("demo") else { return skip("the example demo is not built") };
    for (name, value, told) in [
        ("SECRET", "short", "SECRET must have 32 bytes or more"),
        ("ADDR", "nowhere", "ADDR is not understood"),
        ("RETRY_WINDOW_MS", "-1", "RETRY_WINDOW_MS is not understood"),
        ("RETRY_WINDOW_MS", "600001", "the retry window must be at most 10 minutes"),
        ("ACCESS_TTL_SECS", "901", "an access token must live from 1 second to 15 minutes"),
        ("ABSOLUTE_TTL_SECS", "0", "a session must live for at least a second"),
    ] {
        let output = run(&demo, &[(name, value)]);
        let told_in = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told_in.contains(told), "{name}={value}: {told_in}");
    }
}

#[tokio::test]
async fn the_hyper_example_needs_no_framework() {
    let Ok(hyper) = built("hyper") else { return skip("the example hyper is not built") };
    let hyper = Program::start(&hyper, &[]);
    assert_eq!(send(&hyper, Method::GET, "/", &[], "").await.status(), StatusCode::UNAUTHORIZED);
    let granted = login(&hyper, r#"{"name":"ada","password":"correct horse"}"#).await;
    let bearer = format!("Bearer {}", json_of(&granted)["access_token"].as_str().unwrap());
    let hello = send(&hyper, Method::GET, "/", &[("authorization", &bearer)], "").await;
    assert!(hello.body().starts_with(b"Hello ada"), "{hello:?}");
    let logout = send(&hyper, Method::POST, "/auth/logout", &[("cookie", &cookie(&granted))], "").await;
    assert_eq!(logout.status(), StatusCode::NO_CONTENT);
    assert_eq!(refresh(&hyper, &cookie(&granted)).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_axum_example_has_a_rule_for_each_route() {
    let Ok(axum) = built("axum") else { return skip("the example axum is not built") };
    let axum = Program::start(&axum, &[]);
    let typed = ("content-type", "application/json");
    let bearer =
        |login: &Response<Bytes>| format!("Bearer {}", json_of(login)["access_token"].as_str().unwrap());
    let ada = login(&axum, r#"{"name":"ada","password":"correct horse"}"#).await;
    let bob = login(&axum, r#"{"name":"bob","password":"battery staple"}"#).await;
    let (ada_bearer, bob_bearer) = (bearer(&ada), bearer(&bob));
    let (none, bad) = ("", "Bearer a.b.c");
    for (method, path, authorization, status) in [
        (Method::GET, "/", none, 200),
        (Method::GET, "/", &*bob_bearer, 200),
        (Method::GET, "/", bad, 401),
        (Method::GET, "/api/me", none, 401),
        (Method::GET, "/api/me", bad, 401),
        (Method::GET, "/api/me", &*bob_bearer, 200),
        (Method::GET, "/api/orders", none, 401),
        (Method::GET, "/api/orders", &*bob_bearer, 403),
        (Method::GET, "/api/orders", &*ada_bearer, 200),
        (Method::GET, "/admin/users", none, 401),
        (Method::GET, "/admin/users", &*bob_bearer, 403),
        (Method::GET, "/admin/users", &*ada_bearer, 200),
        (Method::POST, "/api/transfer", none, 401),
        (Method::POST, "/api/transfer", &*ada_bearer, 200),
        (Method::GET, "/api/nothing", none, 404),
    ] {
        let headers = [("authorization", authorization)];
        let headers = if authorization.is_empty() { &[][..] } else { &headers[..] };
        let answer = send(&axum, method, path, headers, "").await;
        assert_eq!(answer.status(), status, "{path} with {authorization:?}: {answer:?}");
        let is_refusal = matches!(status, 401 | 403);
        assert_eq!(answer.headers().contains_key(WWW_AUTHENTICATE), is_refusal, "{path}");
        if is_refusal {
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json", "{path}");
            assert_eq!(json_of(&answer)["status"], status, "{path}");
        }
    }
    let hello = async |headers: &[(&str, &str)]| send(&axum, Method::GET, "/", headers, "").await.into_body();
    assert_eq!(hello(&[]).await, "Hello stranger\n");
    assert_eq!(hello(&[("authorization", &ada_bearer)]).await, "Hello ada\n");

    // Pages of another origin: asked about first, and read refusals.
    let origin = ("origin", "http://localhost:5173");
    let ask = [
        origin,
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization"),
    ];
    let preflight = send(&axum, Method::OPTIONS, "/api/me", &ask, "").await;
    assert_eq!(preflight.status(), StatusCode::OK);
    assert_eq!(preflight.headers()["access-control-allow-origin"], origin.1);
    let refused = send(&axum, Method::GET, "/api/me", &[origin], "").await;
    assert_eq!(refused.headers()["access-control-allow-origin"], origin.1);
    assert_eq!(refused.headers()["access-control-expose-headers"], "www-authenticate,retry-after");
    let headers = [("cookie", &*cookie(&bob)), origin, ("sec-fetch-site", "same-site")];
    assert_eq!(send(&axum, Method::POST, "/auth/refresh", &headers, "").await.status(), StatusCode::OK);

    // A login of the application's own, from pages of its own only.
    let passkey = r#"{"assertion":"key of bob"}"#;
    for (name, headers, body, status) in [
        ("good", vec![typed], passkey, 200),
        ("from the pages", vec![typed, origin, ("sec-fetch-site", "same-site")], passkey, 200),
        (
            "another site",
            vec![typed, ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
            passkey,
            403,
        ),
        ("a wrong key", vec![typed], r#"{"assertion":"key of eve"}"#, 403),
    ] {
        let answer = send(&axum, Method::POST, "/passkey", &headers, body).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers().contains_key(SET_COOKIE)),
            (status, status == 200),
            "{name}"
        );
    }
    let list = send(&axum, Method::GET, "/auth/sessions", &[("authorization", &bob_bearer)], "").await;
    let list = json_of(&list)["sessions"].as_array().unwrap().clone();
    assert!(list.len() == 3 && list.iter().all(|session| session["address"] == "127.0.0.1"), "{list:?}");

    // Whoever changes the password is logged out everywhere.
    let change = async |old: &str| {
        let body = json!({ "old": old, "new": "another horse" }).to_string();
        send(&axum, Method::POST, "/api/password", &[typed, ("authorization", &ada_bearer)], &body).await
    };
    assert_eq!(change("a guess").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(refresh(&axum, &cookie(&ada)).await.status(), StatusCode::OK);
    let changed = change("correct horse").await;
    assert_eq!(changed.status(), StatusCode::NO_CONTENT);
    assert!(set_cookie(&changed).contains("Max-Age=0"), "{changed:?}");
    assert_eq!(refresh(&axum, &cookie(&ada)).await.status(), StatusCode::UNAUTHORIZED);
    // A login of the millisecond of the change is told to try again: it is let in, or 503.
    for (password, is_good) in [("correct horse", false), ("another horse", true)] {
        let body = json!({ "name": "ada", "password": password }).to_string();
        let answer = send(&axum, Method::POST, "/auth/login", &[typed], &body).await;
        assert_eq!(answer.status() != StatusCode::UNAUTHORIZED, is_good, "{password}: {answer:?}");
    }
}
