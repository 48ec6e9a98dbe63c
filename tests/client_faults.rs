//! The client under what goes wrong: lost answers after an outage, storages that fail, hang, or give back something older,
//! other processes with the same storage, runtimes that end or stand still.

#![cfg(feature = "client")]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/client.rs"]
mod scripted;

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_jwt_auth::client::{
    BoxError, ClientErrorKind, MemoryStorage, Session, SessionLayer, TokenStorage, Tokens,
};

use scripted::*;

const REFUSAL: Act = Act::Status(400, r#"{"error":"invalid_grant"}"#);

/// The refresh tokens that were presented to a route.
fn presented(server: &Server, route: &str) -> Vec<String> {
    let asked = server.0.asked.lock().unwrap();
    let of_route = asked.iter().filter(|(path, ..)| path == route);
    of_route.map(|(_, body, _)| body["refresh_token"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stored_token_that_is_refused_is_refreshed_at_once() {
    let (server, storage, clock) = (Server::default(), Storage::default(), TokioClock(Instant::now()));
    server.0.generation.store(7, Ordering::SeqCst);
    storage.put("access-old", "refresh-7", &clock, Duration::from_secs(400));
    let session = builder(&server, storage.clone()).build().unwrap();
    assert_eq!(status(&client(&server, &session), get(ME)).await, 200);
    assert_eq!(server.asked("refresh"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_is_not_sent_as_the_user_of_another_process() {
    let (server, storage) = (Server::default(), Storage::default());
    let one = builder(&server, storage.clone()).build().unwrap();
    one.login(&credentials()).await.unwrap();
    let mut events = one.events();
    let other = builder(&server, storage.clone()).build().unwrap();
    advance(EXPIRED).await;
    other.login(&json!({ "user": "bob" })).await.unwrap();
    // Asked as Ada.
    assert_eq!(status(&client(&server, &one), get(ME)).await, 401);
    assert_eq!(server.tokens(), [None]);
    // From then on it is Bob's session here, too.
    assert_eq!(names(&mut events), ["signed in"]);
    assert_eq!(status(&client(&server, &one), get(ME)).await, 200);
    assert_eq!(server.asked("refresh"), 0);
}

/// Fails or hangs from a moment on, as all storages of one place do.
#[derive(Clone, Default)]
struct Stuck(Storage, Arc<AtomicBool>);

impl TokenStorage for Stuck {
    async fn load(&self) -> Result<Option<Tokens>, BoxError> {
        if self.1.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        self.0.load().await
    }

    async fn save(&self, tokens: Option<&Tokens>) -> Result<(), BoxError> {
        if self.1.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        self.0.save(tokens).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_while_a_login_is_being_saved_changes_nothing() {
    for acts in [vec![], vec![REFUSAL; 2]] {
        let (server, storage) = (Server::default(), Stuck::default());
        let session = builder(&server, storage.clone()).build().unwrap();
        session.login(&credentials()).await.unwrap();
        advance(EXPIRED).await;
        storage.1.store(true, Ordering::SeqCst);
        let login = {
            let session = session.clone();
            tokio::spawn(async move { session.login(&json!({ "user": "bob" })).await })
        };
        sleep(SOON).await;
        server.will(acts);
        let waiting = tokio::spawn(client(&server, &session).oneshot(get(ME)));
        login.await.unwrap().unwrap();
        storage.1.store(false, Ordering::SeqCst);
        waiting.await.unwrap().unwrap();
        assert_eq!(session.authorization().await.unwrap(), "Bearer access-2");
        assert!(presented(&server, "refresh").is_empty(), "the old session was refreshed");
        server.0.acts.lock().unwrap().clear();
        session.refresh().await.unwrap();
        assert_eq!(presented(&server, "refresh"), ["refresh-2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_could_not_be_saved_give_way_to_newer_ones() {
    let (server, storage) = (Server::default(), Storage::default());
    let one = builder(&server, storage.clone()).build().unwrap();
    one.login(&credentials()).await.unwrap();
    let other = builder(&server, storage.clone()).build().unwrap();
    other.authorization().await.unwrap();
    storage.0.fails.store(true, Ordering::SeqCst);
    one.refresh().await.unwrap();
    storage.0.fails.store(false, Ordering::SeqCst);
    other.refresh().await.unwrap();
    advance(EXPIRED).await;
    other.refresh().await.unwrap();
    assert_eq!(storage.refresh_token().as_deref(), Some("refresh-4"));
    advance(Duration::from_secs(60)).await;
    // It had the second.
    assert_eq!(one.authorization().await.unwrap(), "Bearer access-4");
    assert_eq!((server.asked("refresh"), storage.refresh_token().as_deref()), (3, Some("refresh-4")));
}

#[tokio::test(start_paused = true)]
async fn what_is_older_is_never_presented_again() {
    let (server, storage) = (Server::default(), Storage::default());
    let session = builder(&server, storage.clone()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    let old = storage.0.tokens.lock().unwrap().clone();
    advance(EXPIRED).await;
    session.refresh().await.unwrap();
    // Written late, by a save that was given up; or a file that was put back.
    *storage.0.tokens.lock().unwrap() = old;
    advance(EXPIRED).await;
    server.will([Act::RetryAfter(60)]);
    session.refresh().await.unwrap_err();
    assert_eq!(storage.refresh_token().as_deref(), Some("refresh-2"), "the storage was not mended");
    session.refresh().await.unwrap();
    assert_eq!(presented(&server, "refresh"), ["refresh-1", "refresh-2", "refresh-2"]);
}

/// A train goes through a tunnel, and comes out where the network is bad.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_after_an_outage_is_asked_for_again_in_time() {
    let server = Server::default();
    let session = signed_in(&server).await;
    tokio::spawn(session.keep_alive());
    advance(EXPIRED).await;
    server.will(vec![Act::LoseRequest; 10_000]);
    sleep(Duration::from_secs(600)).await;
    server.0.acts.lock().unwrap().clear();
    server.will([Act::LoseAnswer, Act::LoseAnswer, Act::Serve]);
    let before = server.asked("refresh");
    while server.asked("refresh") < before + 2 {
        sleep(Duration::from_millis(100)).await;
    }
    let lost = Instant::now();
    while server.asked("refresh") < before + 3 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(lost.elapsed() < Duration::from_secs(5), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_nothing_else_keeps_it_from_being_asked_for_again() {
    let html = || Act::Status(403, "<html>");
    for meanwhile in [Act::RetryAfter(60), html(), Act::Status(200, "half an answ"), Act::Status(429, "")] {
        let server = Server::default();
        let session = signed_in(&server).await;
        advance(EXPIRED).await;
        server.will([Act::LoseAnswer, meanwhile.clone(), meanwhile.clone()]);
        session.refresh().await.unwrap_err();
        sleep(Duration::from_secs(6)).await;
        assert!(server.asked("refresh") >= 4, "{meanwhile:?}: {}", server.asked("refresh"));
        assert!(session.authorization().await.is_ok(), "{meanwhile:?}");
    }
    // Without one the server is left alone for as long as it says.
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(EXPIRED).await;
    server.will([Act::RetryAfter(60)]);
    session.refresh().await.unwrap_err();
    sleep(Duration::from_secs(59)).await;
    assert_eq!(server.asked("refresh"), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_before_a_take_over_do_not_count_after_it() {
    let (server, storage) = (Server::default(), Storage::default());
    let one = builder(&server, storage.clone()).build().unwrap();
    one.login(&credentials()).await.unwrap();
    let other = builder(&server, storage.clone()).build().unwrap();
    other.authorization().await.unwrap();
    advance(EXPIRED).await;
    server.will(vec![Act::LoseRequest; 1000]);
    one.refresh().await.unwrap_err();
    sleep(Duration::from_secs(60)).await;
    server.0.acts.lock().unwrap().clear();
    other.refresh().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(one.authorization().await.unwrap(), "Bearer access-2");
    advance(EXPIRED).await;
    // No back-off is left over.
    assert_eq!(one.authorization().await.unwrap(), "Bearer access-3");
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_hangs_is_not_waited_for_by_one_after_the_other() {
    let (server, storage) = (Server::default(), Storage::default());
    storage.0.hangs.store(true, Ordering::SeqCst);
    let session = builder(&server, storage.clone()).build().unwrap();
    for _ in 0..100 {
        let call = client(&server, &session).oneshot(get(ME));
        // Callers give up after a second.
        tokio::spawn(async move { timeout(SOON, call).await.is_ok() });
    }
    sleep(SOON).await;
    let began = Instant::now();
    session.login(&credentials()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(storage.0.loads.load(Ordering::SeqCst) < 5);
}

#[tokio::test(start_paused = true)]
async fn refreshes_that_are_asked_for_leave_one_task_behind() {
    let tries = async |forced: usize| {
        let server = Server::default();
        let session = signed_in(&server).await;
        advance(EXPIRED).await;
        server.will(vec![Act::LoseRequest; 10_000]);
        for _ in 0..forced {
            session.refresh().await.unwrap_err();
        }
        let before = server.asked("refresh");
        sleep(Duration::from_secs(60)).await;
        server.asked("refresh") - before
    };
    let (one, many) = (tries(1).await, tries(50).await);
    assert!(one > 10 && many <= one + 4, "{one} {many}");

    // The latest answer counts.
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(EXPIRED).await;
    server.will([Act::RetryAfter(5), Act::RetryAfter(300)]);
    session.refresh().await.unwrap_err();
    session.refresh().await.unwrap_err();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(server.asked("refresh"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_forget_what_another_process_has_got() {
    let (server, storage) = (Server::default(), Storage::default());
    let one = builder(&server, storage.clone()).build().unwrap();
    one.login(&credentials()).await.unwrap();
    let gate = Arc::new(tokio::sync::Notify::new());
    let refusing = {
        let gate = gate.clone();
        tower::service_fn(move |_: Request<Full<Bytes>>| {
            let gate = gate.clone();
            async move {
                gate.notified().await;
                let response = Response::builder().status(401);
                Ok::<_, BoxError>(response.body(Full::<Bytes>::from(r#"{"error":"invalid_grant"}"#)).unwrap())
            }
        })
    };
    let slow = Session::builder(BASE, storage.clone(), refusing);
    let slow = slow.clock(TokioClock(Instant::now())).build().unwrap();
    slow.authorization().await.unwrap();
    let refresh = {
        let slow = slow.clone();
        tokio::spawn(async move { slow.refresh().await })
    };
    settle().await;
    one.login(&json!({ "user": "bob" })).await.unwrap();
    gate.notify_one();
    refresh.await.unwrap().unwrap();
    assert_eq!(storage.refresh_token().as_deref(), Some("refresh-2"));
    assert_eq!(slow.authorization().await.unwrap(), "Bearer access-2");
    // Nor does a logout that began before.
    let late = {
        let slow = slow.clone();
        tokio::spawn(async move { slow.logout().await })
    };
    settle().await;
    gate.notify_one();
    assert!(late.await.unwrap().is_err(), "the server did not end it");
    assert_eq!(storage.refresh_token().as_deref(), Some("refresh-2"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_old_refresh_hears_of_the_new_login() {
    for acts in [vec![REFUSAL], vec![Act::LoseRequest, Act::LoseRequest]] {
        let server = Server::default();
        let session = signed_in(&server).await;
        advance(EXPIRED).await;
        server.will([Act::Hang]);
        let waiting = {
            let session = session.clone();
            tokio::spawn(async move { session.refresh().await })
        };
        settle().await;
        session.login(&credentials()).await.unwrap();
        server.will(acts);
        session.refresh().await.unwrap();
        waiting.await.unwrap().unwrap();
        assert!(session.is_signed_in().await.unwrap());
        assert!(session.authorization().await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn its_own_paths_carry_no_token_when_they_are_relative() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = {
        let seen = seen.clone();
        tower::service_fn(move |request: Request<Full<Bytes>>| {
            seen.lock().unwrap().push(request.headers().contains_key(AUTHORIZATION));
            std::future::ready(Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())))
        })
    };
    let layer = SessionLayer::new(session).with_relative_origin("https://app.example").unwrap();
    let client = ServiceBuilder::new().layer(layer).service(inner);
    for uri in ["/auth/login", "/auth/refresh", "//evil.example/x", "/auth/sessions", "/api"] {
        client.clone().oneshot(get(uri)).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [false, false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_during_a_login_by_cookie_is_no_end() {
    let server = Server::default();
    server.0.by_cookie.store(true, Ordering::SeqCst);
    let session = builder(&server, MemoryStorage::new());
    let session = session.cookie(&tower_jwt_auth::CookiePolicy::default()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    let mut events = session.events();
    // The server ends the old session within the login.
    server.will([Act::Late(SOON), REFUSAL]);
    let ada = credentials();
    let (login, _) = tokio::join!(session.login(&ada), async {
        sleep(SOON / 2).await;
        session.refresh().await
    });
    login.unwrap();
    assert_eq!(names(&mut events), ["signed in"]);
}

/// A blocking program keeps a runtime, and drives it only while it waits for something.
#[test]
fn a_refresh_that_stands_still_is_taken_over() {
    let server = Server::default();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (one, two) = (runtime(), runtime());
    let session = one.block_on(signed_in(&server));
    one.block_on(async {
        let mut refresh = Box::pin(session.refresh());
        std::future::poll_fn(|cx| Poll::Ready(refresh.as_mut().poll(cx).is_ready())).await;
    });
    assert_eq!(server.asked("refresh"), 0, "it began, and went no further");
    two.block_on(async {
        tokio::time::pause();
        session.refresh().await.unwrap();
    });
    // And the other, driven at last, is thrown away.
    one.block_on(async { sleep(Duration::from_millis(50)).await });
    assert_eq!(two.block_on(session.authorization()).unwrap(), "Bearer access-2");
}

#[test]
fn without_a_timer_there_is_an_error_and_no_panic() {
    let server = Server::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let session = builder(&server, MemoryStorage::new()).build().unwrap();
    let error = runtime.block_on(session.login(&credentials())).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Runtime);
    // It ends.
    runtime.block_on(session.keep_alive());
}
