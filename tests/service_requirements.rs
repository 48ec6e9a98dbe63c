//! Rows 75 to 88 of the requirements, as far as they show over HTTP. Row 79 is in `body_delivery.rs`; row 82 is in
//! `service_race.rs`.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use http::Method;
use http::header::WWW_AUTHENTICATE;
use serde_json::json;
use tower_jwt_auth::{OnReuse, SessionPolicy};

use crate::support::service::{Ask, Op, RETRY, World, bare, credentials, post};
use crate::support::{DAY, HOUR, SECOND};

/// Every answer of every test is held to it on arrival; here is one of each status.
#[tokio::test]
async fn row_75_no_store() {
    let world = World::new();
    let login = world.login("ada").await;
    let stores: Vec<(u16, Ask)> = vec![
        (200, post("/auth/refresh").cookie(&login.refresh())),
        (200, bare(Method::GET, "/auth/sessions").bearer(&login.access())),
        (204, post("/auth/logout")),
        (400, post("/auth/login").body("application/json", "{")),
        (401, post("/auth/refresh")),
        (403, bare(Method::POST, "/auth/login").header("origin", "https://evil.example")),
        (404, post("/auth/nothing")),
        (405, bare(Method::GET, "/auth/login")),
        (413, post("/auth/login").body("application/json", vec![b' '; 20_000])),
        (415, post("/auth/login").body("text/plain", "{}")),
        (431, post("/auth/refresh").header("cookie", "a".repeat(70_000))),
    ];
    for (status, ask) in stores {
        let answer = world.send(ask).await.expect(status);
        assert_eq!(answer.headers["cache-control"], "no-store", "{status}");
        assert_eq!(answer.headers["pragma"], "no-cache", "{status}");
    }
    world.store.set_down(&[Op::Rotate]);
    assert_eq!(world.refresh(&login.refresh()).await.expect(503).headers["cache-control"], "no-store");
}

/// The refusal of a request that calls itself gRPC is in gRPC's form, and no more to be stored than any other.
#[tokio::test]
async fn row_75_no_store_for_a_request_that_calls_itself_grpc() {
    use tower::ServiceExt;
    let world = World::new();
    for ask in [
        bare(Method::GET, "/auth/sessions"),
        bare(Method::DELETE, "/auth/sessions/AAAAAAAAAAAAAAAAAAAAAA"),
        bare(Method::GET, "/auth/sessions").bearer("a.b.c"),
    ] {
        let request = ask.header("content-type", "application/grpc").request();
        let response = world.auth.clone().oneshot(request).await.unwrap();
        let stored = response.headers().get("cache-control").map(|value| value.to_str().unwrap());
        assert_eq!(stored, Some("no-store"), "{response:?}");
    }
}

#[tokio::test]
async fn row_76_success_body() {
    let world = World::new();
    let login = world.login("ada").await;
    for answer in [&login, &world.rotate(&login.refresh()).await] {
        assert_eq!(answer.headers["content-type"], "application/json");
        let body = answer.value();
        assert!(body["access_token"].is_string() && body["expires_in"].is_u64());
        assert_eq!(body["token_type"], "Bearer");
    }
}

#[tokio::test]
async fn row_77_one_answer_for_every_dead_refresh_token() {
    let world =
        World::with(|builder| builder.policy(SessionPolicy::default().with_on_reuse(OnReuse::Session)));
    let other = World::with(|builder| builder.name("another service"));
    let revoked = world.login("ada").await.refresh();
    world.send(post("/auth/logout").cookie(&revoked)).await.expect(204);
    let expired = world.login("bob").await.refresh();
    world.clock.advance(7 * DAY);
    let old = world.login("ada").await.refresh();
    let newer = world.rotate(&old).await.refresh();
    world.rotate(&newer).await.expect(200);
    let superseded = world.login("bob").await.refresh();
    world.rotate(&superseded).await.expect(200);
    world.clock.advance(RETRY);

    let foreign = other.login("ada").await.refresh();
    let mut answers = vec![("missing", world.send(post("/auth/refresh")).await)];
    for (name, token) in [
        ("malformed", "x"),
        ("empty", ""),
        ("unknown", &foreign),
        ("expired", &expired),
        ("revoked", &revoked),
        ("row 7", &superseded),
        ("row 8", &old),
    ] {
        answers.push((name, world.refresh(token).await));
    }
    for (name, answer) in &answers {
        let answer = answer.clone().refused(401, "invalid_grant");
        assert_eq!(answer.headers[WWW_AUTHENTICATE], r#"Bearer realm="api""#, "{name}");
        assert_eq!((&answer.headers, &answer.body), (&answers[0].1.headers, &answers[0].1.body), "{name}");
    }
}

#[tokio::test]
async fn row_78_repeated_and_unknown_parameters_and_content_types() {
    let world = World::new();
    let body = |text: &str| post("/auth/login").body("application/json", text.to_owned());
    let good = credentials("ada").to_string();
    let repeated = format!(r#"{{"user":"bob",{}"#, &good[1..]);
    world.send(body(&repeated)).await.refused(400, "invalid_request");
    let unknown = format!(r#"{{"more":[1],{}"#, &good[1..]);
    world.send(body(&unknown)).await.expect(200);
    for (content_type, status) in [
        ("application/json; charset=utf-8", 200),
        ("APPLICATION/JSON", 200),
        ("application/json;charset=utf-8;x=\"y\"", 200),
        ("application/jsonp", 415),
        ("application/merge-patch+json", 415),
        ("application/x-www-form-urlencoded", 415),
    ] {
        let answer = world.send(post("/auth/login").body(content_type, good.clone())).await;
        assert_eq!(answer.status, status, "{content_type}");
    }
}

#[tokio::test]
async fn row_80_a_used_refresh_token_is_replaced() {
    let world = World::new();
    let scopes = ["orders:read", "orders:write"];
    world.accounts.shape(move |identity| identity.with_scopes(scopes));
    let login = world.login("ada").await;
    let mut tokens = vec![login.refresh()];
    for _ in 0..3 {
        let answer = world.rotate(tokens.last().unwrap()).await;
        assert_eq!(answer.claims()["scope"], login.claims()["scope"]);
        tokens.push(answer.refresh());
    }
    assert_eq!(login.claims()["scope"], "orders:read orders:write");
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 4, "a token was given twice");
}

#[tokio::test]
async fn row_81_reuse_ends_the_family_and_by_policy_the_subjects_others() {
    for (on_reuse, others) in [(OnReuse::Subject, 401), (OnReuse::Session, 200)] {
        let world = World::with(|builder| builder.policy(SessionPolicy::default().with_on_reuse(on_reuse)));
        let (other, bob) = (world.login("ada").await.refresh(), world.login("bob").await.refresh());
        // Row 7: this session and no other, whatever the policy.
        let first = world.login("ada").await.refresh();
        let second = world.rotate(&first).await.refresh();
        world.clock.advance(RETRY);
        world.refresh(&first).await.refused(401, "invalid_grant");
        world.refresh(&second).await.refused(401, "invalid_grant");
        let other = world.refresh(&other).await.refresh();
        // Row 8.
        let first = world.login("ada").await.refresh();
        let second = world.rotate(&first).await.refresh();
        let third = world.rotate(&second).await.refresh();
        world.refresh(&first).await.refused(401, "invalid_grant");
        world.refresh(&third).await.refused(401, "invalid_grant");
        assert_eq!(world.refresh(&other).await.status, others, "{on_reuse:?}");
        world.refresh(&bob).await.expect(200);
    }
}

#[tokio::test]
async fn row_83_an_absolute_end_that_rotation_does_not_move_and_an_idle_one_that_it_does() {
    let policy = SessionPolicy::default().with_idle_lifetime(2 * HOUR).with_absolute_lifetime(5 * HOUR);
    let world = World::with(|builder| builder.policy(policy));
    let login = world.login("ada").await;
    let (begin, mut token) = (world.seconds(), login.refresh());
    assert_eq!(login.set_cookie().unwrap().max_age(), 2 * 3600);
    for max_age in [7200, 7200, 7200, 3600] {
        world.clock.advance(HOUR);
        let answer = world.refresh(&token).await;
        token = answer.refresh();
        assert_eq!(answer.set_cookie().unwrap().max_age(), max_age);
        assert_eq!(answer.value()["expires_in"], 900);
    }
    world.clock.advance(HOUR.saturating_sub(SECOND));
    let last = world.refresh(&token).await;
    assert_eq!((last.set_cookie().unwrap().max_age(), last.value()["expires_in"].as_u64()), (1, Some(1)));
    assert_eq!(last.claims()["exp"].as_u64(), Some(begin + 5 * 3600));
    world.clock.advance(SECOND);
    world.refresh(&last.refresh()).await.refused(401, "invalid_grant");

    let token = world.login("ada").await.refresh();
    world.clock.advance((2 * HOUR).saturating_sub(SECOND / 1000));
    let token = world.refresh(&token).await.refresh();
    world.clock.advance(2 * HOUR);
    world.refresh(&token).await.refused(401, "invalid_grant");
}

#[tokio::test]
async fn row_84_default_lifetimes_are_those_documented() {
    let world = World::new();
    let answer = world.login("ada").await;
    assert_eq!(answer.value()["expires_in"], 15 * 60);
    assert_eq!(answer.set_cookie().unwrap().max_age(), 7 * 24 * 3600);
    let facts = world.records("ada").await[0].facts.clone();
    assert_eq!(facts.absolute_expires_at, facts.created_at.saturating_add(30 * DAY));
}

/// The store sees no token and no secret: what it keeps is a digest.
#[tokio::test]
async fn row_85_secrets_are_fresh_and_stored_hashed() {
    use crate::support::tokens::from_base64url;
    let world = World::new();
    let (one, two) = (world.login("ada").await.refresh(), world.login("ada").await.refresh());
    let secret = |token: &str| from_base64url(token)[41..73].to_vec();
    assert_ne!(secret(&one), secret(&two));
    for record in world.records("ada").await {
        let kept = record.facts.secret_digest.as_bytes().to_vec();
        assert!(kept != secret(&one) && kept != secret(&two));
        let digests =
            [&one, &two].map(|token| <sha2::Sha256 as sha2::Digest>::digest(secret(token)).to_vec());
        assert!(digests.contains(&kept));
    }
}

#[tokio::test]
async fn row_86_a_login_ends_the_presented_session_and_never_adopts_it() {
    let world = World::new();
    let ada = world.login("ada").await;
    let again = world.send(post("/auth/login").cookie(&ada.refresh()).json(&credentials("ada"))).await;
    assert_ne!(again.claims()["sid"], ada.claims()["sid"]);
    world.refresh(&ada.refresh()).await.refused(401, "invalid_grant");
    // Somebody else at the same browser.
    let bob = world.send(post("/auth/login").cookie(&again.refresh()).json(&credentials("bob"))).await;
    assert_eq!(bob.claims()["sub"], "bob");
    world.refresh(&again.refresh()).await.refused(401, "invalid_grant");
    // A failed login ends nothing.
    let wrong = json!({ "user": "ada", "password": "wrong" });
    let answer = world.send(post("/auth/login").cookie(&bob.refresh()).json(&wrong)).await;
    answer.refused(401, "invalid_credentials");
    world.refresh(&bob.refresh()).await.expect(200);
}

#[tokio::test]
async fn row_87_logout_ends_the_session_first_and_works_with_an_expired_access_token() {
    let world = World::new();
    let login = world.login("ada").await;
    world.clock.advance(HOUR);
    world.store.set_down(&[Op::Revoke]);
    let out = || post("/auth/logout").cookie(&login.refresh()).bearer(&login.access());
    // While the session cannot be ended the cookie stays.
    world.send(out()).await.refused(503, "unavailable");
    assert_eq!(world.generation("ada").await, Some(0));
    world.store.set_down(&[]);
    world.send(out()).await.expect(204);
    assert_eq!(world.generation("ada").await, None);
    let again = world.send(out()).await.expect(204);
    assert_eq!(again.set_cookie().unwrap().max_age(), 0);
}

#[tokio::test]
async fn row_88_ending_all_sessions_is_offered_to_code_too() {
    let world = World::new();
    let (ada, bob) = (world.login("ada").await, world.login("bob").await);
    world.login("ada").await;
    assert_eq!(world.auth.sessions().end_all("ada", None).await.unwrap(), 2);
    world.refresh(&ada.refresh()).await.refused(401, "invalid_grant");
    world.refresh(&bob.refresh()).await.expect(200);
}
