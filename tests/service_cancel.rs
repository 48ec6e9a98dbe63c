//! Callers that go away: the store's part finishes in a task of its own.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::Service;

use crate::support::service::{Answer, Ask, HOLD, Op, World, credentials, post};
use crate::support::{SECOND, poll_then_drop};

/// A body that comes in pieces, and lets others run before each.
struct Slow {
    pieces: Vec<Bytes>,
    waits: bool,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waits = !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.pieces.pop().map(|piece| Ok(Frame::data(piece))))
    }
}

fn slowly(ask: Ask, text: &str) -> Request<Slow> {
    let (parts, _) = ask.header("content-type", "application/json").request().into_parts();
    let mut pieces: Vec<_> = text.as_bytes().chunks(20).map(Bytes::copy_from_slice).collect();
    pieces.reverse();
    Request::from_parts(parts, Slow { pieces, waits: false })
}

/// Polls so many times, with everything else that can run in between, and drops the future. Whether it was ready.
async fn poll_and_drop<F: Future>(future: F, polls: usize) -> bool {
    let mut future = Box::pin(future);
    let mut ready = false;
    for _ in 0..polls {
        ready = future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if ready {
            break;
        }
        settle().await;
    }
    drop(future);
    settle().await;
    ready
}

/// Lets every other task of this one thread run until it waits.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// At every number of polls: the rotation did not happen, or it did to its end, and the client's next request with the
/// old token is given the one successor.
#[tokio::test]
async fn a_refresh_dropped_at_every_poll() {
    let (mut untouched, mut finished) = (0, 0);
    for polls in 0..100 {
        let world = World::new();
        let token = world.login("ada").await.refresh();
        world.clock.advance(HOLD);
        let request = slowly(post("/auth/refresh").cookie(&token), &" ".repeat(100));
        let ready = poll_and_drop(world.auth.clone().call(request), polls).await;
        match world.generation("ada").await {
            Some(0) => untouched += 1,
            Some(1) => finished += 1,
            other => panic!("{polls} polls: {other:?}"),
        }
        let next = world.refresh(&token).await;
        assert_eq!(next.claims()["gen"], 1, "{polls} polls");
        assert_eq!(world.rotate(&next.refresh()).await.claims()["gen"], 2, "{polls} polls");
        if ready {
            break;
        }
    }
    assert!(untouched > 3 && finished > 1, "{untouched} and {finished}: the drop came at too few moments");
    assert!(untouched + finished < 100, "never ready");
}

/// The store is slow, the caller leaves, and the rotation happens.
#[tokio::test]
async fn the_stores_part_of_a_refresh_finishes_without_its_caller() {
    for polls in 1..5 {
        let world = World::new();
        let token = world.login("ada").await.refresh();
        world.clock.advance(HOLD);
        let gate = world.store.block(Op::Rotate);
        let call = world.auth.clone().call(post("/auth/refresh").cookie(&token).request());
        assert!(!poll_and_drop(call, polls).await, "{polls} polls: the store is blocked");
        gate.reached().await;
        assert_eq!(world.generation("ada").await, Some(0));
        gate.open();
        settle().await;
        assert_eq!(world.generation("ada").await, Some(1), "{polls} polls: the rotation was lost");
        assert_eq!(world.refresh(&token).await.claims()["gen"], 1);
    }
    // Not polled at all is not begun.
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    drop(world.auth.clone().call(post("/auth/refresh").cookie(&token).request()));
    settle().await;
    assert_eq!(world.generation("ada").await, Some(0));
}

/// While the application's hook runs nothing has happened yet.
#[tokio::test]
async fn a_refresh_dropped_while_the_hook_runs_changes_nothing() {
    let (world, renewing) = World::renewing();
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    let gate = renewing.hold();
    let call = world.auth.clone().call(post("/auth/refresh").cookie(&token).request());
    assert!(!poll_and_drop(call, 3).await);
    gate.reached().await;
    gate.open();
    settle().await;
    assert_eq!(world.generation("ada").await, Some(0));
    assert_eq!(world.refresh(&token).await.claims()["gen"], 1);
}

/// At every number of polls: the old session lives and there is no new one, or the new one exists and the old one has
/// ended.
#[tokio::test]
async fn a_login_over_an_old_session_dropped_at_every_poll() {
    let (mut old_ones, mut new_ones) = (0, 0);
    for polls in 0..100 {
        let world = World::new();
        let old = world.login("ada").await;
        let request = slowly(post("/auth/login").cookie(&old.refresh()), &credentials("ada").to_string());
        let ready = poll_and_drop(world.auth.clone().call(request), polls).await;
        let records = world.records("ada").await;
        assert_eq!(records.len(), 1, "{polls} polls");
        if records[0].facts.session_id.to_string() == old.claims()["sid"] {
            old_ones += 1;
            world.refresh(&old.refresh()).await.expect(200);
        } else {
            new_ones += 1;
        }
        if ready {
            break;
        }
    }
    assert!(old_ones > 3 && new_ones > 1, "{old_ones} and {new_ones}: the drop came at too few moments");
    assert!(old_ones + new_ones < 100, "never ready");
}

/// A request that needs the answer to a login.
type AskAfter = fn(&Answer) -> Ask;

/// What ends sessions, ends them without its caller, too.
#[tokio::test]
async fn a_logout_finishes_without_its_caller() {
    let asks: [(&str, Op, AskAfter); 3] = [
        ("logout", Op::Revoke, |login| post("/auth/logout").cookie(&login.refresh())),
        ("all", Op::RevokeSubject, |login| post("/auth/logout/all").bearer(&login.access())),
        ("all, by cookie", Op::RevokeSubject, |login| post("/auth/logout/all").cookie(&login.refresh())),
    ];
    for (name, operation, ask) in asks {
        let world = World::new();
        let login = world.login("ada").await;
        world.clock.advance(SECOND);
        let gate = world.store.block(operation);
        let call = world.auth.clone().call(ask(&login).request());
        assert!(!poll_and_drop(call, 2).await, "{name}");
        gate.reached().await;
        assert_eq!(world.generation("ada").await, Some(0), "{name}");
        gate.open();
        settle().await;
        assert_eq!(world.generation("ada").await, None, "{name}");
    }
}

/// Two sessions at a logout: the caller leaves between the first and the second.
#[tokio::test]
async fn a_logout_of_two_sessions_finishes_both() {
    let world = World::new();
    let (ada, bob) = (world.login("ada").await.refresh(), world.login("bob").await.refresh());
    let gate = world.store.block(Op::Revoke);
    let call = world.auth.clone().call(post("/auth/logout").cookie(&ada).cookie(&bob).request());
    assert!(!poll_and_drop(call, 2).await);
    gate.reached().await;
    gate.open();
    settle().await;
    assert_eq!((world.generation("ada").await, world.generation("bob").await), (None, None));
}

/// A store that panics costs its request a 503, and nothing else.
#[tokio::test]
async fn a_panic_of_the_store_is_503() {
    use crate::support::service::Fault;
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    world.store.plan(Op::Rotate, Fault::Then(Box::new(|| panic!("a panic on purpose"))));
    world.refresh(&token).await.refused(503, "unavailable");
    world.store.assert_done();
    assert_eq!(world.refresh(&token).await.claims()["gen"], 1);
    let idle = world.auth.clone().call(Request::new(Full::<Bytes>::default()));
    assert!(poll_then_drop(idle, 1).is_some());
}
