//! The HTTP contract of the service, route by route. Delivery in bodies is in `body_delivery.rs`, `jwks.json` in
//! `service_jwks.rs`.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{ClientAddress, JwtAuthLayer, SessionPolicy, Verified};

use crate::support::service::{Answer, Ask, NAME, Op, User, World, bare, credentials, post};
use crate::support::{MINUTE, SECOND};

const CLEARED: &str =
    "__Secure-refresh_token=; HttpOnly; SameSite=Strict; Secure; Path=/auth; Max-Age=0; Expires=";

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[track_caller]
fn cleared(answer: &Answer) {
    assert_eq!(answer.set_cookies().len(), 1, "{answer:?}");
    assert!(answer.set_cookies()[0].starts_with(CLEARED), "{answer:?}");
}

#[tokio::test]
async fn a_login_gives_tokens_user_and_cookie() {
    let world = World::new();
    let answer = world.login("ada").await;
    let body = answer.value();
    assert_eq!(keys(&body), ["access_token", "expires_in", "token_type", "user"]);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 900);
    assert_eq!(body["user"], json!({ "email": "ada@app.example", "role": "member" }));

    let claims = answer.claims();
    let id = world.records("ada").await[0].facts.session_id.to_string();
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 900);
    assert_eq!((&claims["sub"], &claims["sid"], &claims["gen"]), (&json!("ada"), &json!(id), &json!(0)));
    assert_eq!((&claims["email"], &claims["role"]), (&json!("ada@app.example"), &json!("member")));
    let verified: Verified<User> = world.config.verifier().verify(&answer.access()).unwrap();
    assert_eq!(*verified.claims(), User::named("ada"));

    let token = answer.refresh();
    assert_eq!(token.len(), 140);
    let expected = format!("{NAME}={token}; HttpOnly; SameSite=Strict; Secure; Path=/auth; Max-Age=604800");
    assert_eq!(answer.set_cookies(), [expected]);
}

#[tokio::test]
async fn wrong_credentials_have_one_answer() {
    let world = World::new();
    let mut bodies = Vec::new();
    for (name, body) in [
        ("wrong password", json!({ "user": "ada", "password": "battery staple" })),
        ("unknown user", json!({ "user": "eve", "password": "battery staple" })),
        ("nothing in it", json!({ "user": "", "password": "" })),
    ] {
        let answer = world.send(post("/auth/login").json(&body)).await.refused(401, "invalid_credentials");
        assert_eq!(answer.headers[WWW_AUTHENTICATE], r#"Bearer realm="api""#, "{name}");
        bodies.push((answer.headers, answer.body));
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "they differ: {bodies:?}");
    assert_eq!(world.accounts.calls.load(Ordering::SeqCst), 3);
    assert!(world.records("ada").await.is_empty());
}

#[tokio::test]
async fn a_refresh_answers_as_a_login_and_keeps_the_claims() {
    let world = World::new();
    let login = world.login("ada").await;
    let answer = world.rotate(&login.refresh()).await.expect(200);
    assert_eq!(keys(&answer.value()), keys(&login.value()));
    assert_eq!(answer.value()["user"], login.value()["user"]);
    let (first, second) = (login.claims(), answer.claims());
    assert_eq!((&second["sub"], &second["sid"], &second["gen"]), (&first["sub"], &first["sid"], &json!(1)));
    assert_ne!(answer.refresh(), login.refresh());
    assert_ne!(second["jti"], first["jti"]);
}

#[tokio::test]
async fn a_refresh_needs_no_body_and_takes_a_json_one() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    let ask = || post("/auth/refresh").cookie(&token);
    for (name, ask, status) in [
        ("no body", ask(), 200),
        ("no body, a type", ask().body("text/plain", ""), 200),
        ("an empty object", ask().json(&json!({})), 200),
        ("bytes without a type", ask().untyped("{}"), 415),
    ] {
        assert_eq!(world.send(ask).await.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_dead_refresh_token_is_one_401() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.send(post("/auth/logout").cookie(&token)).await.expect(204);
    let answer = world.refresh(&token).await.refused(401, "invalid_grant");
    assert_eq!(answer.headers[WWW_AUTHENTICATE], r#"Bearer realm="api""#);
}

#[tokio::test]
async fn logout_is_always_204_and_clears_the_cookie() {
    let world = World::new();
    let first = world.login("ada").await.refresh();
    let second = world.rotate(&first).await.refresh();
    let newest = world.rotate(&second).await.refresh();
    for (name, ask) in [
        ("without a cookie", post("/auth/logout")),
        ("garbage", post("/auth/logout").cookie("garbage")),
        ("a cut token", post("/auth/logout").cookie(&newest[..139])),
    ] {
        cleared(&world.send(ask).await.expect(204));
        assert_eq!(world.generation("ada").await, Some(2), "{name}: the session lives");
    }
    // Any genuine token of the session will do, whatever its generation.
    cleared(&world.send(post("/auth/logout").cookie(&first)).await.expect(204));
    assert_eq!(world.generation("ada").await, None);
    // A dead one.
    cleared(&world.send(post("/auth/logout").cookie(&newest)).await.expect(204));
    world.refresh(&newest).await.refused(401, "invalid_grant");
}

#[tokio::test]
async fn logout_ends_this_session_and_no_other() {
    let world = World::new();
    let (one, two, bob) = (world.login("ada").await, world.login("ada").await, world.login("bob").await);
    world.send(post("/auth/logout").cookie(&one.refresh())).await.expect(204);
    world.refresh(&one.refresh()).await.refused(401, "invalid_grant");
    world.refresh(&two.refresh()).await.expect(200);
    world.refresh(&bob.refresh()).await.expect(200);
}

/// A client that keeps no cookie logs out with what it has.
#[tokio::test]
async fn logout_by_bearer_token_ends_the_session_of_the_token() {
    let world = World::new();
    let (one, two) = (world.login("ada").await, world.login("ada").await);
    world.send(bare(Method::POST, "/auth/logout").bearer(&one.access())).await.expect(204);
    world.refresh(&one.refresh()).await.refused(401, "invalid_grant");
    world.send(bare(Method::GET, "/auth/sessions").bearer(&one.access())).await.refused(401, "invalid_token");
    // A cookie goes before the bearer token, and ends its own session only.
    let three = world.login("ada").await;
    world.send(post("/auth/logout").cookie(&three.refresh()).bearer(&two.access())).await.expect(204);
    world.refresh(&three.refresh()).await.refused(401, "invalid_grant");
    world.refresh(&two.refresh()).await.expect(200);
    // It is 204 whatever the token is.
    world.send(bare(Method::POST, "/auth/logout").bearer("garbage")).await.expect(204);
}

/// What ends several sessions, by bearer token and by cookie.
#[tokio::test]
async fn logout_all_and_others() {
    for (name, path, by_cookie, keeps_own) in [
        ("all, bearer", "/auth/logout/all", false, false),
        ("all, cookie", "/auth/logout/all", true, false),
        ("others, bearer", "/auth/logout/others", false, true),
        ("others, cookie", "/auth/logout/others", true, true),
    ] {
        let world = World::new();
        let (own, other, bob) =
            (world.login("ada").await, world.login("ada").await, world.login("bob").await);
        world.clock.advance(SECOND);
        let ask = if by_cookie {
            post(path).cookie(&own.refresh())
        } else {
            bare(Method::POST, path).bearer(&own.access())
        };
        let answer = world.send(ask).await.expect(204);
        if by_cookie && !keeps_own {
            cleared(&answer);
        } else {
            assert!(answer.set_cookies().is_empty(), "{name}: {answer:?}");
        }
        let status = if keeps_own { 200 } else { 401 };
        assert_eq!(world.refresh(&own.refresh()).await.status, status, "{name}: its own");
        assert_eq!(world.refresh(&other.refresh()).await.status, 401, "{name}: the other");
        assert_eq!(world.refresh(&bob.refresh()).await.status, 200, "{name}: somebody else's");
    }
}

/// A cookie stands in for a bearer token only where a refresh would answer it now: rows 3 to 6 of the rule.
#[tokio::test]
async fn logout_all_by_a_cookie_that_a_refresh_would_refuse() {
    for path in ["/auth/logout/all", "/auth/logout/others"] {
        let world = World::new();
        let first = world.login("ada").await.refresh();
        let second = world.rotate(&first).await.refresh();
        world.clock.advance(SECOND);
        world.send(post("/auth/logout/others").cookie(&first)).await.expect(204); // row 6
        world.clock.advance(MINUTE);
        world.send(post(path).cookie(&first)).await.refused(401, "invalid_grant"); // row 7
        let third = world.refresh(&second).await.refresh();
        world.send(post(path).cookie(&first)).await.refused(401, "invalid_grant"); // row 8
        world.send(post(path).cookie("garbage")).await.refused(401, "invalid_grant");
        world.send(post(path)).await.refused(401, "unauthorized");
        assert_eq!(world.generation("ada").await, Some(2), "nothing ended at {path}");
        world.send(post(path).cookie(&third)).await.expect(204); // row 4
    }
}

#[tokio::test]
async fn the_session_list() {
    let world = World::new();
    let mut login = post("/auth/login").json(&credentials("ada")).header("user-agent", "Firefox").request();
    login.extensions_mut().insert(ClientAddress("192.0.2.7".parse().unwrap()));
    let first = Answer::of(world.auth.clone().oneshot(login).await.unwrap()).await.expect(200);
    world.clock.advance(MINUTE);
    let second = world.login("ada").await;
    world.login("bob").await;
    world.rotate(&first.refresh()).await.expect(200);

    let answer = world.send(bare(Method::GET, "/auth/sessions").bearer(&second.access())).await.expect(200);
    let expected = json!({ "sessions": [
        {
            "id": second.claims()["sid"], "created_at": "2023-11-14T22:14:20Z",
            "last_used_at": "2023-11-14T22:14:20Z", "user_agent": null, "address": null, "current": true,
        },
        {
            "id": first.claims()["sid"], "created_at": "2023-11-14T22:13:20Z",
            "last_used_at": "2023-11-14T22:14:40Z", "user_agent": "Firefox", "address": "192.0.2.7",
            "current": false,
        },
    ] });
    assert_eq!(answer.value(), expected);
}

#[tokio::test]
async fn a_session_is_ended_by_its_owner_only() {
    let world = World::new();
    let (one, two, bob) = (world.login("ada").await, world.login("ada").await, world.login("bob").await);
    let delete = |answer: &Answer, by: &Answer| {
        let id = answer.claims()["sid"].as_str().unwrap().to_owned();
        bare(Method::DELETE, &format!("/auth/sessions/{id}")).bearer(&by.access())
    };
    world.send(delete(&one, &bob)).await.refused(404, "not_found");
    world.refresh(&one.refresh()).await.expect(200);
    assert!(world.send(delete(&one, &two)).await.expect(204).set_cookies().is_empty());
    world.refresh(&one.refresh()).await.refused(401, "invalid_grant");
    world.send(delete(&one, &two)).await.refused(404, "not_found");
    for id in ["AAAAAAAAAAAAAAAAAAAAAA", "x", "..", "%2e", "AAAAAAAAAAAAAAAAAAAAAB"] {
        let ask = bare(Method::DELETE, &format!("/auth/sessions/{id}")).bearer(&two.access());
        world.send(ask).await.refused(404, "not_found");
    }
    // One's own session, too; its access token is of no use here from then on.
    world.send(delete(&two, &two)).await.expect(204);
    world.send(delete(&two, &two)).await.refused(401, "invalid_token");
    world.refresh(&bob.refresh()).await.expect(200);
}

/// The store is at hand: an access token is refused as soon as its session has ended, or has expired.
#[tokio::test]
async fn bearer_routes_refuse_a_token_whose_session_has_ended() {
    let routes = [
        (Method::GET, "/auth/sessions"),
        (Method::POST, "/auth/logout/all"),
        (Method::POST, "/auth/logout/others"),
        (Method::DELETE, "/auth/sessions/AAAAAAAAAAAAAAAAAAAAAA"),
    ];
    let world = World::with(|builder| builder.policy(SessionPolicy::default().with_idle_lifetime(MINUTE)));
    let (ended, kept) = (world.login("ada").await, world.login("ada").await);
    world.send(post("/auth/logout").cookie(&ended.refresh())).await.expect(204);
    for (method, path) in &routes {
        let answer = world.send(bare(method.clone(), path).bearer(&ended.access())).await;
        let answer = answer.refused(401, "invalid_token");
        let challenge = answer.headers[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains(r#"error="invalid_token""#), "{method} {path}: {challenge}");
    }
    assert_eq!(world.records("ada").await.len(), 1);
    // The other session's token is good for 15 minutes, the session only for one.
    world.send(bare(Method::GET, "/auth/sessions").bearer(&kept.access())).await.expect(200);
    world.clock.advance(MINUTE);
    for (method, path) in &routes {
        world.send(bare(method.clone(), path).bearer(&kept.access())).await.refused(401, "invalid_token");
    }
}

/// Status, challenge and body are those of the bearer layer.
#[tokio::test]
async fn bearer_routes_answer_as_the_layer_does() {
    let world = World::new();
    let token = world.login("ada").await.access();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let other = format!("{message}.{first}{}", &signature[1..]);
    let layer = JwtAuthLayer::<User>::new(world.config.verifier());
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    for (name, values, status) in [
        ("none", vec![], 401),
        ("another scheme", vec!["Basic dTpw".to_owned()], 401),
        ("malformed", vec!["Bearer".to_owned()], 400),
        ("twice", vec![format!("Bearer {token}"), format!("Bearer {token}")], 400),
        ("too long", vec![format!("Bearer {}", "a".repeat(9000))], 400),
        ("a changed signature", vec![format!("Bearer {other}")], 401),
        ("no token at all", vec!["Bearer ....".to_owned()], 401),
    ] {
        for (method, path) in [
            (Method::GET, "/auth/sessions"),
            (Method::DELETE, "/auth/sessions/AAAAAAAAAAAAAAAAAAAAAA"),
            (Method::POST, "/auth/logout/all"),
            (Method::POST, "/auth/logout/others"),
        ] {
            let ask = values.iter().fold(bare(method, path), |ask, value| ask.header(AUTHORIZATION, value));
            let theirs = layer.layer(inner).oneshot(ask.clone().request()).await.unwrap();
            let ours = world.send(ask).await.expect(status);
            assert_eq!(ours.status, theirs.status(), "{name} {path}");
            assert_eq!(&ours.headers, theirs.headers(), "{name} {path}");
            let theirs = http_body_util::BodyExt::collect(theirs.into_body()).await.unwrap().to_bytes();
            assert_eq!(ours.body, theirs, "{name} {path}");
        }
    }
}

#[tokio::test]
async fn errors_of_route_method_and_body() {
    let world = World::new();
    let json = |bytes: usize| {
        let text = credentials("ada").to_string();
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    let login = |body: String| post("/auth/login").body("application/json", body);
    let id = "/auth/sessions/AAAAAAAAAAAAAAAAAAAAAA";
    let rows: Vec<(&str, Ask, u16, &str)> = vec![
        ("no such route", post("/auth/nothing"), 404, "not_found"),
        ("the mount point itself", post("/auth"), 404, "not_found"),
        ("a slash behind", post("/auth/login/"), 404, "not_found"),
        ("another case", post("/auth/Login"), 404, "not_found"),
        ("escaped", post("/auth/%6cogin"), 404, "not_found"),
        ("no session id", bare(Method::DELETE, "/auth/sessions/"), 404, "not_found"),
        ("revoke, where no token is in a body", post("/auth/revoke"), 404, "not_found"),
        ("16 KiB and one byte", login(json(16 * 1024 + 1)), 413, "too_large"),
        (
            "a large body at refresh",
            post("/auth/refresh").body("application/json", json(17_000)),
            413,
            "too_large",
        ),
        (
            "a large body at logout",
            post("/auth/logout").body("application/json", json(17_000)),
            413,
            "too_large",
        ),
        ("no JSON", login("{".to_owned()), 400, "invalid_request"),
        ("JSON of another form", login(r#"["ada"]"#.to_owned()), 400, "invalid_request"),
        ("something behind the JSON", login(format!("{}x", json(100))), 400, "invalid_request"),
        ("an empty body", login(String::new()), 400, "invalid_request"),
        (
            "no UTF-8",
            post("/auth/login").body("application/json", &b"{\"user\":\"\xff\"}"[..]),
            400,
            "invalid_request",
        ),
        ("no type", post("/auth/login").untyped(json(100)), 415, "unsupported_media_type"),
        ("no body and no type", post("/auth/login"), 415, "unsupported_media_type"),
        ("GET login", bare(Method::GET, "/auth/login"), 405, "method_not_allowed"),
        ("POST sessions", post("/auth/sessions"), 405, "method_not_allowed"),
        ("GET a session", bare(Method::GET, id), 405, "method_not_allowed"),
    ];
    for (name, ask, status, error) in rows {
        let answer = world.send(ask).await;
        assert_eq!(
            (answer.status.as_u16(), answer.value()["error"].as_str().unwrap()),
            (status, error),
            "{name}"
        );
    }
    for (method, path, allow) in [
        (Method::GET, "/auth/logout/all", "POST"),
        (Method::PUT, "/auth/sessions", "GET"),
        (Method::POST, id, "DELETE"),
    ] {
        assert_eq!(world.send(bare(method, path)).await.expect(405).headers[ALLOW], allow, "{path}");
    }
    assert_eq!(world.accounts.calls.load(Ordering::SeqCst), 0, "none of these reached the accounts");
    assert!(world.store.take_calls().iter().all(|op| *op == Op::Now));
    world.send(login(json(16 * 1024))).await.expect(200);
}
