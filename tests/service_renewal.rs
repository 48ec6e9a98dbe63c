//! The application's hook at each refresh, and claims that do not fit into a token.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use tower_jwt_auth::{SigningKey, TokenConfig, Verified};

use crate::support::service::{
    Accounts, Fault, NAME, OWN, Op, RETRY, Renewal, SIGNING_SECRET, User, World, bare, post,
};
use crate::support::{DAY, HOUR, ManualClock, SECOND};

#[tokio::test]
async fn renewed_claims_are_in_the_token_and_in_the_body() {
    let (world, renewing) = World::renewing();
    let login = world.login("ada").await;
    assert_eq!((renewing.count(), &login.value()["user"]["role"]), (0, &json!("member")));
    // Rows 5, 6 and 4 of the rule.
    let rotated = world.rotate(&login.refresh()).await;
    let reissued = world.refresh(&login.refresh()).await;
    let current = world.refresh(&rotated.refresh()).await;
    assert!(current.set_cookies().is_empty());
    for answer in [&rotated, &reissued, &current] {
        assert_eq!(answer.value()["user"], json!({ "email": "ada@app.example", "role": "admin" }));
        let verified: Verified<User> = world.config.verifier().verify(&answer.access()).unwrap();
        assert_eq!(verified.claims().role, "admin");
    }
    assert_eq!(renewing.count(), 3);
    // Each renewal is of the claims of the login: what the hook said before is not kept.
    assert_eq!(world.records("ada").await[0].facts.claims, serde_json::to_vec(&User::named("ada")).unwrap());
}

#[tokio::test]
async fn a_refused_renewal_ends_this_session() {
    let (world, renewing) = World::renewing();
    let (login, other) = (world.login("ada").await, world.login("ada").await);
    renewing.answer(Renewal::Refused);
    world.rotate(&login.refresh()).await.refused(401, "invalid_grant");
    renewing.answer(Renewal::Role("admin".to_owned()));
    world.refresh(&login.refresh()).await.refused(401, "invalid_grant");
    world.refresh(&other.refresh()).await.expect(200);
    // While the store cannot end it nothing is said to have ended.
    renewing.answer(Renewal::Refused);
    world.store.set_down(&[Op::Revoke]);
    world.refresh(&other.refresh()).await.refused(503, "unavailable");
    assert_eq!(world.records("ada").await.len(), 1);
}

#[tokio::test]
async fn a_renewal_that_cannot_tell_changes_nothing() {
    let (world, renewing) = World::renewing();
    let login = world.login("ada").await;
    renewing.answer(Renewal::Unavailable);
    for _ in 0..3 {
        world.rotate(&login.refresh()).await.refused(503, "unavailable");
    }
    assert_eq!(world.generation("ada").await, Some(0));
    renewing.answer(Renewal::Role("admin".to_owned()));
    assert_eq!(world.refresh(&login.refresh()).await.claims()["gen"], 1);
}

#[tokio::test]
async fn the_hook_is_not_asked_about_tokens_that_are_refused() {
    let (world, renewing) = World::renewing();
    let first = world.login("ada").await.refresh();
    let second = world.rotate(&first).await.refresh();
    let third = world.rotate(&second).await.refresh();
    let bob = world.login("bob").await.refresh();
    let asked = renewing.count();
    world.clock.advance(RETRY);
    let forged = format!("{}A", &first[..139]);
    for (name, ask, status) in [
        ("no cookie", post("/auth/refresh"), 401),
        ("garbage", post("/auth/refresh").cookie(&forged), 401),
        (
            "two sessions",
            post("/auth/refresh").header("cookie", format!("{NAME}={third}; {NAME}={bob}")),
            400,
        ),
        ("cross-site", bare(http::Method::POST, "/auth/refresh").cookie(&third), 403),
        ("row 7", post("/auth/refresh").cookie(&second), 401),
        ("row 1", post("/auth/refresh").cookie(&third), 401),
    ] {
        assert_eq!(world.send(ask).await.status, status, "{name}");
        assert_eq!(renewing.count(), asked, "{name}");
    }
    assert!(world.records("ada").await.is_empty(), "row 7 had its consequence");
    // Row 8.
    let first = world.login("ada").await.refresh();
    let second = world.rotate(&first).await.refresh();
    world.rotate(&second).await.expect(200);
    let asked = renewing.count();
    world.refresh(&first).await.refused(401, "invalid_grant");
    assert!(world.records("ada").await.is_empty(), "row 8 had its consequence");
    // Row 2.
    world.clock.advance(7 * DAY);
    world.refresh(&bob).await.refused(401, "invalid_grant");
    assert_eq!(renewing.count(), asked);
}

/// The rule is asked twice, before the hook and after it. If the clock steps back in between, or the store answers a
/// read from a copy that lags behind, a token that was not good is good: the hook must be asked all the same.
#[tokio::test]
async fn no_token_is_granted_without_the_hook() {
    let (world, renewing) = World::renewing();
    let login = world.login("ada").await;
    renewing.answer(Renewal::Refused);
    world.clock.advance(7 * DAY);
    let clock = world.clock.clone();
    world.store.plan(Op::Now, Fault::Then(Box::new(move || clock.step_back(HOUR))));
    let answer = world.refresh(&login.refresh()).await;
    world.store.assert_done();
    assert_ne!(answer.status, 200, "granted, and the hook was asked {} times", renewing.count());
}

fn config(clock: &ManualClock, max_token_bytes: usize) -> TokenConfig {
    TokenConfig::builder()
        .key(SigningKey::hs256(SIGNING_SECRET).unwrap())
        .issuer(OWN)
        .audience("api")
        .clock(clock.clone())
        .max_token_bytes(max_token_bytes)
        .build()
        .unwrap()
}

/// Nothing that can fail stands between rotation and answer: a token that cannot be signed must not cost the client
/// the rotation, and after the retry window its session.
#[tokio::test]
async fn renewed_claims_too_large_for_a_token_change_nothing() {
    let clock = ManualClock::new();
    let (world, renewing) = World::renewing_with(clock.clone(), config(&clock, 1024));
    let login = world.login("ada").await;
    renewing.answer(Renewal::Role("r".repeat(2000)));
    world.rotate(&login.refresh()).await.refused(500, "server_error");
    assert_eq!(world.generation("ada").await, Some(0), "rotated without an answer");
}

/// Of each length a token may have: a login that is answered can also be refreshed, and one that is not leaves
/// everything as it was.
#[tokio::test]
async fn claims_at_the_limit_of_a_token() {
    let clock = ManualClock::new();
    let accounts = std::sync::Arc::new(Accounts::default());
    let config = config(&clock, 600);
    let handle = std::sync::Arc::clone(&accounts);
    let world = World::build(clock, config, accounts, handle, |builder| builder);
    let (mut granted, mut refused) = (0, 0);
    for length in 0..300 {
        world.auth.sessions().end_all("ada", None).await.unwrap();
        world.clock.advance(SECOND);
        world.accounts.shape(|identity| identity);
        let old = world.login("ada").await.refresh();
        world.accounts.shape(move |identity| {
            let claims = User { role: "r".repeat(length), ..identity.claims().clone() };
            tower_jwt_auth::Identity::new("ada", claims).with_client_id("a-client")
        });
        let ask = post("/auth/login").cookie(&old).json(&support::service::credentials("ada"));
        let answer = world.send(ask).await;
        if answer.status == 200 {
            granted += 1;
            let mut token = answer.refresh();
            for generation in 1..=10 {
                let answer = world.rotate(&token).await;
                assert_eq!(answer.status, 200, "{length}: refresh to generation {generation}");
                token = answer.refresh();
            }
        } else {
            refused += 1;
            answer.refused(500, "server_error");
            assert_eq!(world.records("ada").await.len(), 1, "{length}: a session nobody has a token of");
            assert_eq!(world.refresh(&old).await.status, 200, "{length}: the old session lives");
        }
    }
    assert!(granted > 10 && refused > 10, "{granted} and {refused}");
}
