//! The rotation rule over HTTP: what each row answers, and section 7 (R, replay) of the corpus of bad inputs. R2 and R5
//! are in `service_race.rs`, R6 and R7 in `service_outage.rs`; R10 needs a store of several nodes.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use tower_jwt_auth::{AuthService, ConfigErrorKind, OnReuse, RefreshKeys, Retry, SessionPolicy};

use http::Method;

use crate::support::service::{
    Answer, Fault, HOLD, NAME, Op, REFRESH_SECRET, RETRY, World, bare, post, strict,
};
use crate::support::{DAY, HOUR, SECOND};

const MS: Duration = Duration::from_millis(1);

fn without_cookie(answer: Answer) -> Answer {
    let answer = answer.expect(200);
    assert!(answer.set_cookies().is_empty(), "{answer:?}");
    answer
}

#[tokio::test]
async fn row_4_a_token_just_handed_out_is_not_replaced() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    for step in [Duration::ZERO, HOLD.saturating_sub(MS)] {
        world.clock.advance(step);
        assert_eq!(without_cookie(world.refresh(&token).await).claims()["gen"], 0);
    }
    world.clock.advance(MS);
    assert_eq!(world.refresh(&token).await.claims()["gen"], 1);
}

/// A failover lost the rotation that made the token: the session goes on with it.
#[tokio::test]
async fn row_3_a_generation_that_the_store_has_lost() {
    let world = World::new();
    let first = world.login("ada").await.refresh();
    world.store.plan(Op::Rotate, Fault::Lost);
    let second = world.rotate(&first).await.refresh();
    assert_eq!(world.generation("ada").await, Some(0), "the write was lost");
    world.store.assert_done();
    assert_eq!(without_cookie(world.refresh(&second).await).claims()["gen"], 1);
    assert_eq!(world.generation("ada").await, Some(1));
    assert_eq!(world.rotate(&second).await.claims()["gen"], 2);
}

#[tokio::test]
async fn row_6_and_r4_a_lost_answer_is_repeated_byte_for_byte() {
    let world = World::new();
    let first = world.login("ada").await.refresh();
    let lost = world.rotate(&first).await;
    // Inside the window: the same successor, as often as it is asked for, and the window does not slide.
    for step in [Duration::ZERO, RETRY / 2, (RETRY / 2).saturating_sub(MS)] {
        world.clock.advance(step);
        let again = world.refresh(&first).await;
        assert_eq!(again.refresh(), lost.refresh(), "never two live ones");
        assert_eq!(again.claims()["gen"], 1);
    }
    world.refresh(&lost.refresh()).await.expect(200);
    assert_eq!(world.generation("ada").await, Some(1));
    // Outside: refused, and the session has ended.
    world.clock.advance(MS);
    world.refresh(&first).await.refused(401, "invalid_grant");
    world.refresh(&lost.refresh()).await.refused(401, "invalid_grant");
    assert_eq!(world.generation("ada").await, None);
}

fn until_used() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::UntilUsed { retry: RETRY, hold: HOLD })
}

#[tokio::test]
async fn until_used_a_retry_a_day_later_is_answered_by_a_replacement() {
    let world = World::with(|builder| builder.policy(until_used()).use_is_reported());
    let first = world.login("ada").await.refresh();
    // The login's own token, which nobody reported in use.
    without_cookie(world.rotate(&first).await);
    let lost = world.refresh(&first).await;
    assert_eq!((&lost.claims()["gen"], lost.claims().get("reissue")), (&1.into(), None));
    for (step, issue) in [(DAY, 1), (SECOND, 1), (DAY, 2)] {
        world.clock.advance(step);
        let again = world.refresh(&first).await.expect(200);
        assert_eq!(again.refresh(), lost.refresh(), "never two live ones");
        assert_eq!((&again.claims()["gen"], &again.claims()["reissue"]), (&1.into(), &issue.into()));
    }
    // Now the successor is in use, and then the predecessor is what it is in the other mode.
    assert_eq!(without_cookie(world.refresh(&lost.refresh()).await).claims()["reissue"], 2);
    let next = world.rotate(&lost.refresh()).await;
    assert_eq!((&next.claims()["gen"], &next.claims()["reissue"]), (&2.into(), &2.into()));
    world.refresh(&next.refresh()).await.expect(200);
    world.clock.advance(RETRY);
    world.refresh(&lost.refresh()).await.refused(401, "invalid_grant");
    assert_eq!(world.generation("ada").await, None);
}

/// The service's own routes are verifiers as well: they refuse what was replaced, and note what is in use.
#[tokio::test]
async fn until_used_the_routes_look_at_tokens_as_the_layer_does() {
    let world = World::with(|builder| builder.policy(until_used()).use_is_reported());
    let first = world.login("ada").await.refresh();
    without_cookie(world.rotate(&first).await);
    let withheld = world.refresh(&first).await.access();
    world.clock.advance(RETRY);
    let given = world.refresh(&first).await.access();
    let sessions = async |token: &str| world.send(bare(Method::GET, "/auth/sessions").bearer(token)).await;
    sessions(&withheld).await.refused(401, "invalid_token");
    sessions(&given).await.expect(200);
    // It is in use now, so the predecessor is one too many.
    world.clock.advance(RETRY);
    world.refresh(&first).await.refused(401, "invalid_grant");
}

#[tokio::test]
async fn until_used_asks_whether_use_is_reported() {
    let world = World::new();
    let builder = || {
        let (store, accounts) = (Arc::clone(&world.store), Arc::clone(&world.accounts));
        let keys = RefreshKeys::new(REFRESH_SECRET).unwrap();
        AuthService::builder(&world.config, keys, store, accounts).add_origin("https://app.example")
    };
    let error = builder().policy(until_used()).build().unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Lifetime);
    assert!(error.to_string().contains("`use_is_reported`"), "{error}");
    assert!(builder().policy(until_used()).use_is_reported().build().is_ok());
    assert!(builder().use_is_reported().build().is_ok(), "the other modes do not mind");
}

/// An answer to an old session may come after the login that replaced it: it leaves the cookie alone. [`Answer`] holds
/// every refusal to that; here are all of a refresh.
#[tokio::test]
async fn rows_1_2_7_and_8_leave_the_cookie_alone() {
    let world =
        World::with(|builder| builder.policy(SessionPolicy::default().with_on_reuse(OnReuse::Session)));
    let (one, two) = (world.login("ada").await.refresh(), world.login("bob").await.refresh());
    let one_b = world.rotate(&one).await.refresh();
    world.rotate(&one_b).await.expect(200);
    world.refresh(&two).await.expect(200);
    world.clock.advance(RETRY);
    for (row, token) in [("row 8", &one), ("row 1", &one), ("row 7", &two), ("row 1", &two)] {
        let answer = world.refresh(token).await.refused(401, "invalid_grant");
        assert!(answer.set_cookies().is_empty(), "{row}");
    }
    let token = world.login("ada").await.refresh();
    world.clock.advance(7 * DAY);
    let answer = world.refresh(&token).await.refused(401, "invalid_grant");
    assert!(answer.set_cookies().is_empty(), "row 2");
}

#[tokio::test]
async fn r1_the_same_token_twice() {
    let within = World::new();
    let token = within.login("ada").await.refresh();
    let first = within.rotate(&token).await;
    assert_eq!(within.refresh(&token).await.refresh(), first.refresh());

    for policy in
        [strict(), strict().with_retry(Retry::Within { retry: Duration::ZERO, hold: Duration::ZERO })]
    {
        let world = World::with(|builder| builder.policy(policy));
        let token = world.login("ada").await.refresh();
        let first = world.refresh(&token).await.refresh();
        world.refresh(&token).await.refused(401, "invalid_grant");
        world.refresh(&first).await.refused(401, "invalid_grant");
    }
}

#[tokio::test]
async fn r3_an_old_token_after_three_rotations() {
    let world = World::new();
    let other = world.login("ada").await.refresh();
    let first = world.login("ada").await.refresh();
    let mut token = first.clone();
    for _ in 0..3 {
        token = world.rotate(&token).await.refresh();
    }
    world.refresh(&first).await.refused(401, "invalid_grant");
    world.refresh(&token).await.refused(401, "invalid_grant");
    world.refresh(&other).await.refused(401, "invalid_grant");
    // A login afterwards is as good as any.
    let login = world.login("ada").await;
    world.refresh(&login.refresh()).await.expect(200);
}

#[tokio::test]
async fn r8_steady_refreshing_does_not_outlive_the_absolute_end() {
    let policy = SessionPolicy::default().with_idle_lifetime(2 * DAY).with_absolute_lifetime(5 * DAY);
    let world = World::with(|builder| builder.policy(policy));
    let mut token = world.login("ada").await.refresh();
    let end = world.seconds() + 5 * 24 * 3600;
    for _ in 0..(5 * 24 - 1) {
        world.clock.advance(HOUR);
        let answer = world.refresh(&token).await;
        assert!(answer.claims()["exp"].as_u64().unwrap() <= end);
        token = answer.refresh();
    }
    world.clock.advance(HOUR.saturating_sub(MS));
    let last = world.refresh(&token).await;
    // In whole seconds, rounded down: the last second of a session has an access token of no life at all.
    assert_eq!(last.claims()["exp"].as_u64(), Some(end));
    world.clock.advance(MS);
    for dead in [&token, &last.refresh()] {
        world.refresh(dead).await.refused(401, "invalid_grant");
    }
    world.login("ada").await;
}

#[tokio::test]
async fn r9_the_idle_end() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.clock.advance((7 * DAY).saturating_sub(MS));
    let next = world.refresh(&token).await.refresh();
    world.clock.advance(7 * DAY);
    world.refresh(&next).await.refused(401, "invalid_grant");
    // Row 2 comes before rows 7 and 8: nothing is reported as theft.
    world.refresh(&token).await.refused(401, "invalid_grant");
}

/// Tokens of others fail at their tag, and so end nothing here.
#[tokio::test]
async fn r11_tokens_of_other_issuers_services_and_keys() {
    let key = |byte| RefreshKeys::new([byte; 32]).unwrap();
    let world = World::new();
    let token = world.login("ada").await.refresh();
    let named = World::with(|builder| builder.name("staging"));
    let same_store = |keys: RefreshKeys, name: &str| {
        let store = Arc::clone(&world.store);
        let accounts = Arc::clone(&world.accounts);
        AuthService::builder(&world.config, keys, store, accounts)
            .add_origin("https://app.example")
            .name(name)
            .build()
            .unwrap()
    };
    world.store.take_calls();
    let foreign = named.login("ada").await.refresh();
    world.refresh(&foreign).await.refused(401, "invalid_grant");
    world.send(post("/auth/logout").cookie(&foreign)).await.expect(204);
    for (name, service) in [
        ("another service", same_store(RefreshKeys::new(REFRESH_SECRET).unwrap(), "staging")),
        ("another secret", same_store(key(9), "")),
    ] {
        for path in ["/auth/refresh", "/auth/logout"] {
            let request = post(path).cookie(&token).request();
            let answer =
                Answer::of(tower::ServiceExt::oneshot(service.clone(), request).await.unwrap()).await;
            assert_eq!(answer.status, if path.ends_with("refresh") { 401 } else { 204 }, "{name} {path}");
        }
    }
    assert!(world.store.take_calls().is_empty(), "none of them reached the store");
    world.refresh(&token).await.expect(200);
    // A secret that is accepted: the session goes on, signed with the new one.
    let rolled = same_store(key(9).add_accepted(REFRESH_SECRET).unwrap(), "");
    world.clock.advance(HOLD);
    let request = post("/auth/refresh").cookie(&token).request();
    let next = Answer::of(tower::ServiceExt::oneshot(rolled, request).await.unwrap()).await.refresh();
    world.refresh(&next).await.refused(401, "invalid_grant");
    assert_eq!(world.generation("ada").await, Some(1));
}

#[tokio::test]
async fn r12_logout_tells_nothing() {
    let world = World::new();
    let expired = world.login("ada").await.refresh();
    world.clock.advance(7 * DAY);
    let live = world.login("ada").await.refresh();
    let foreign = World::with(|builder| builder.name("other")).login("ada").await.refresh();
    let mut answers = Vec::new();
    for (name, ask) in [
        ("live", post("/auth/logout").cookie(&live)),
        ("again", post("/auth/logout").cookie(&live)),
        ("without", post("/auth/logout")),
        ("expired", post("/auth/logout").cookie(&expired)),
        ("foreign", post("/auth/logout").cookie(&foreign)),
        ("garbage", post("/auth/logout").header("cookie", format!("{NAME}=x"))),
        ("with a bad bearer token", post("/auth/logout").bearer("a.b.c")),
    ] {
        let answer = world.send(ask).await.expect(204);
        assert_eq!(answer.set_cookie().unwrap().max_age(), 0, "{name}");
        let mut headers = answer.headers.clone();
        // The only part that changes: a date in the past, counted from now.
        headers.remove("set-cookie");
        answers.push(headers);
    }
    assert!(answers.iter().all(|headers| *headers == answers[0]));
}

/// A clock that steps back opens the windows for at most twice their length, and panics nowhere.
#[tokio::test]
async fn a_clock_that_steps_back() {
    let world = World::new();
    let first = world.login("ada").await.refresh();
    let second = world.rotate(&first).await.refresh();
    world.clock.step_back(RETRY.saturating_sub(SECOND));
    assert_eq!(world.refresh(&first).await.refresh(), second);
    world.clock.step_back(10 * DAY);
    world.rotate(&second).await.expect(200);
    world.login("ada").await;
    world.clock.step_back(60 * 365 * DAY);
    let login = world.login("bob").await;
    world.rotate(&login.refresh()).await.expect(200);
}
