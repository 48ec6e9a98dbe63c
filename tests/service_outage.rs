//! What happens when store or accounts do not answer: 503, nothing revoked, the cookie kept. R6 and R7 of the corpus of
//! bad inputs.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Method;
use tower::Service;
use tower_jwt_auth::{Retry, SessionPolicy};

use crate::support::service::{Answer, Ask, Fault, HOLD, Op, World, bare, credentials, post, strict};
use crate::support::{SECOND, poll_then_drop};

const BEFORE: fn() -> Fault = || Fault::Before;
const AFTER: fn() -> Fault = || Fault::After;

/// A request that needs the answer to a login.
type AskAfter = fn(&Answer) -> Ask;

/// Each operation that a route needs, down for good.
#[tokio::test]
async fn each_route_without_each_operation_of_the_store() {
    let asks: [(&str, AskAfter, &[Op]); 8] = [
        ("login", |_| post("/auth/login").json(&credentials("ada")), &[Op::Now, Op::Create]),
        ("refresh", |login| post("/auth/refresh").cookie(&login.refresh()), &[Op::Rotate]),
        ("logout", |login| post("/auth/logout").cookie(&login.refresh()), &[Op::Revoke]),
        (
            "all, bearer",
            |login| post("/auth/logout/all").bearer(&login.access()),
            &[Op::Get, Op::Now, Op::RevokeSubject],
        ),
        (
            "all, cookie",
            |login| post("/auth/logout/all").cookie(&login.refresh()),
            &[Op::Get, Op::Now, Op::RevokeSubject],
        ),
        (
            "others, cookie",
            |login| post("/auth/logout/others").cookie(&login.refresh()),
            &[Op::Get, Op::Now, Op::RevokeSubject],
        ),
        (
            "list",
            |login| bare(Method::GET, "/auth/sessions").bearer(&login.access()),
            &[Op::Get, Op::Now, Op::List],
        ),
        (
            "delete",
            |login| {
                let id = login.claims()["sid"].as_str().unwrap().to_owned();
                bare(Method::DELETE, &format!("/auth/sessions/{id}")).bearer(&login.access())
            },
            &[Op::Get, Op::Now, Op::Revoke],
        ),
    ];
    for (name, ask, operations) in asks {
        for operation in operations {
            let world = World::new();
            let login = world.login("ada").await;
            world.clock.advance(HOLD);
            world.store.set_down(&[*operation]);
            let answer = world.send(ask(&login)).await;
            assert_eq!(answer.status, 503, "{name} without {operation:?}");
            assert_eq!(answer.headers["retry-after"], "1");
            answer.refused(503, "unavailable");
            assert_eq!(world.generation("ada").await, Some(0), "{name} without {operation:?}");
            world.store.set_down(&[]);
            world.clock.advance(SECOND);
            let status = world.send(ask(&login)).await.status.as_u16();
            assert!(status == 200 || status == 204, "{name} after the outage of {operation:?}: {status}");
        }
    }
}

#[tokio::test]
async fn accounts_that_cannot_tell() {
    let world = World::new();
    let old = world.login("ada").await.refresh();
    world.accounts.outage.store(true, Ordering::SeqCst);
    world.send(post("/auth/login").cookie(&old).json(&credentials("ada"))).await.refused(503, "unavailable");
    assert_eq!(world.generation("ada").await, Some(0));
}

/// One error is repeated within the request, by the same attempt: whether or not the first was carried out, the client
/// gets the successor, and it is the only one.
#[tokio::test]
async fn r6_one_error_of_the_store_is_not_seen() {
    let zero = Duration::ZERO;
    for (mode, policy) in [
        ("within", SessionPolicy::default()),
        (
            "within, rotating at once",
            SessionPolicy::default().with_retry(Retry::Within { retry: zero, hold: zero }),
        ),
        ("strict", strict()),
    ] {
        for (name, fault) in [("before", BEFORE), ("after", AFTER)] {
            let world = World::with(|builder| builder.policy(policy.clone()));
            let login = world.login("ada").await;
            world.store.plan(Op::Rotate, fault());
            let answer = world.rotate(&login.refresh()).await;
            world.store.assert_done();
            assert_eq!(answer.claims()["gen"], 1, "{mode}, {name}");
            assert_eq!(world.generation("ada").await, Some(1), "{mode}, {name}");
            assert_eq!(world.rotate(&answer.refresh()).await.claims()["gen"], 2, "{mode}, {name}");
        }
    }
}

#[tokio::test]
async fn r6_one_error_at_the_login() {
    for (name, fault) in [("before", BEFORE), ("after", AFTER)] {
        let world = World::new();
        world.store.plan(Op::Create, fault());
        let login = world.login("ada").await;
        world.store.assert_done();
        assert_eq!(world.records("ada").await.len(), 1, "{name}: one session");
        world.rotate(&login.refresh()).await.expect(200);
    }
}

/// With a hook a refresh reads the record first. One error there is none of the client's business either.
#[tokio::test]
async fn r6_one_error_while_the_record_is_read_for_the_hook() {
    for operation in [Op::Get, Op::Now, Op::Rotate] {
        let (world, _) = World::renewing();
        let login = world.login("ada").await;
        world.store.plan(operation, Fault::Before);
        let answer = world.rotate(&login.refresh()).await;
        world.store.assert_done();
        assert_eq!(answer.status, 200, "{operation:?}");
    }
}

/// The answer to a reuse is lost: the repetition is told the same, and the sessions have ended.
#[tokio::test]
async fn r6_one_error_after_sessions_were_ended() {
    let world = World::new();
    let other = world.login("ada").await.refresh();
    let first = world.login("ada").await.refresh();
    let second = world.rotate(&first).await.refresh();
    world.rotate(&second).await.expect(200);
    world.store.plan(Op::Rotate, Fault::After);
    world.refresh(&first).await.refused(401, "invalid_grant");
    world.store.assert_done();
    world.refresh(&other).await.refused(401, "invalid_grant");
}

/// The store carried it out, and could not say so: the client's own retry is answered as after a lost answer.
#[tokio::test]
async fn r7_an_answer_that_never_came_from_the_store() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.store.plan(Op::Rotate, Fault::After);
    world.store.plan(Op::Rotate, Fault::After);
    world.rotate(&token).await.refused(503, "unavailable");
    world.store.assert_done();
    assert_eq!(world.generation("ada").await, Some(1));
    let answer = world.refresh(&token).await;
    assert_eq!(answer.claims()["gen"], 1, "no second rotation");
    assert_eq!(world.rotate(&answer.refresh()).await.claims()["gen"], 2);
}

/// A login is made of two steps. Whatever fails between them, the user has a session.
#[tokio::test]
async fn a_login_over_an_old_session_while_the_store_fails() {
    for (name, operation, fault, status) in [
        ("no new session", Op::Create, BEFORE, 503),
        ("a new session, no answer", Op::Create, AFTER, 503),
        ("the old one could not be ended", Op::Revoke, BEFORE, 200),
    ] {
        let world = World::new();
        let old = world.login("ada").await.refresh();
        // More errors than anyone repeats.
        for _ in 0..5 {
            world.store.plan(operation, fault());
        }
        let answer = world.send(post("/auth/login").cookie(&old).json(&credentials("ada"))).await;
        assert_eq!(answer.status, status, "{name}");
        world.refresh(&old).await.expect(200);
        if status == 200 {
            world.refresh(&answer.refresh()).await.expect(200);
        }
    }
}

/// The new session exists before the old one ends.
#[tokio::test]
async fn a_login_makes_the_new_session_first() {
    let world = World::new();
    let old = world.login("ada").await.refresh();
    world.store.take_calls();
    world.send(post("/auth/login").cookie(&old).json(&credentials("ada"))).await.expect(200);
    let calls = world.store.take_calls();
    let at = |op| calls.iter().position(|call| *call == op).unwrap();
    assert!(at(Op::Create) < at(Op::Revoke), "{calls:?}");
}

/// One round trip to the store: a refresh without a hook is `rotate` and nothing else.
#[tokio::test]
async fn a_refresh_is_one_call_of_the_store() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.store.take_calls();
    world.rotate(&token).await.expect(200);
    assert_eq!(world.store.take_calls(), [Op::Rotate]);
}

/// Outside of a runtime there is nowhere to finish: 503, and no panic.
#[test]
fn without_a_tokio_runtime() {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let login = runtime.block_on(world.login("ada"));
    world.clock.advance(HOLD);
    let asks = || {
        [
            ("login", post("/auth/login").json(&credentials("ada"))),
            ("refresh", post("/auth/refresh").cookie(&login.refresh())),
            ("logout", post("/auth/logout").cookie(&login.refresh())),
            ("logout/all", post("/auth/logout/all").bearer(&login.access())),
        ]
    };
    let poll = |name: &str, ask: Ask| {
        let future = world.auth.clone().call(ask.request());
        let response = poll_then_drop(future, 10).unwrap_or_else(|| panic!("{name} waits for ever"));
        assert_eq!(response.unwrap().status(), 503, "{name}");
    };
    for (name, ask) in asks() {
        poll(name, ask);
    }
    // A runtime that has been shut down takes no tasks either.
    let handle = runtime.handle().clone();
    drop(runtime);
    let guard = handle.enter();
    for (name, ask) in asks() {
        poll(name, ask);
    }
    drop(guard);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(world.generation("ada")), Some(0));
    // Ready at any time, runtime or not.
    let mut auth = world.auth.clone();
    let ready = Service::<http::Request<http_body_util::Full<bytes::Bytes>>>::poll_ready(
        &mut auth,
        &mut Context::from_waker(Waker::noop()),
    );
    assert!(matches!(ready, Poll::Ready(Ok(()))));
}
