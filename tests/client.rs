//! The client: what it sends, when it refreshes, what it makes of answers. By paused time, over scripted servers.

#![cfg(feature = "client")]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/client.rs"]
mod scripted;
mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use support::ManualClock;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_jwt_auth::client::{
    BoxError, ClientError, ClientErrorKind, MemoryStorage, Session, SessionLayer, TokenStorage, Tokens,
};
use tower_jwt_auth::{Clock, CookiePolicy, Timestamp};

use scripted::*;

#[tokio::test(start_paused = true)]
async fn a_login_is_sent_as_the_service_expects_it() {
    let server = Server::default();
    let session = builder(&server, MemoryStorage::new()).user_agent("orders/1.0").build().unwrap();
    assert!(!session.is_signed_in().await.unwrap());
    session.login(&credentials()).await.unwrap();
    assert!(session.is_signed_in().await.unwrap());
    let (path, body, cookie) = server.0.asked.lock().unwrap()[0].clone();
    assert_eq!((&*path, cookie), ("login", None));
    assert_eq!(body, json!({ "user": "ada", "password": "correct horse", "delivery": "body" }));
    assert_eq!(session.user::<Value>().unwrap()["email"], "ada@app.example");
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-1");
}

#[tokio::test(start_paused = true)]
async fn the_token_goes_to_allowed_origins_only() {
    let server = Server::default();
    let session = builder(&server, MemoryStorage::new()).add_origin("https://api.example").build().unwrap();
    session.login(&credentials()).await.unwrap();
    let client = client(&server, &session);
    for (uri, sent) in [
        (ME, true),
        ("https://api.example/orders", true),
        ("https://api.example:8443/orders", false),
        ("https://www.api.example/", false),
        ("http://app.example/api/me", false),
        ("https://evil.example/https://app.example/", false),
        ("https://app.example@evil.example/", false),
        ("/api/me", false),
    ] {
        server.0.seen.lock().unwrap().clear();
        client.clone().oneshot(get(uri)).await.unwrap();
        assert_eq!(server.tokens()[0].is_some(), sent, "{uri}");
    }
    // Each a 401 for want of a token: no reason to refresh.
    assert_eq!(server.asked("refresh"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_header_of_the_caller_is_left_alone_and_ours_is_marked() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let client = client(&server, &session);
    let mut request = get(ME);
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic x"));
    // Refused, and still nothing of ours is done.
    assert_eq!(status(&client, request).await, 401);
    assert_eq!(status(&client, get(ME)).await, 200);
    let seen = server.0.seen.lock().unwrap().clone();
    assert_eq!(seen[0].authorization.as_ref().unwrap(), "Basic x");
    assert!(seen[1].authorization.as_ref().unwrap().is_sensitive());
    assert_eq!((seen.len(), server.asked("refresh")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_session_requests_go_as_they_are() {
    let server = Server::default();
    let session = builder(&server, MemoryStorage::new()).build().unwrap();
    let client = client(&server, &session);
    assert_eq!(status(&client, get(ME)).await, 401);
    assert_eq!(server.tokens(), [None]);
    assert_eq!(server.asked("refresh"), 0);
    assert_eq!(session.refresh().await.unwrap_err().kind(), ClientErrorKind::SignedOut);
    session.logout().await.unwrap();
    assert_eq!(server.asked("logout"), 0);
}

#[tokio::test(start_paused = true)]
async fn its_own_requests_carry_no_access_token() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let client = client(&server, &session);
    advance(EXPIRED).await;
    for path in ["login", "refresh", "logout"] {
        let mut request = Request::post(format!("{BASE}/{path}")).body(Full::default()).unwrap();
        request.headers_mut().insert("x-session-request", HeaderValue::from_static("1"));
        client.clone().oneshot(request).await.unwrap();
    }
    // The one that was sent by hand, and none of the session's.
    assert_eq!(server.asked("refresh"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_due_is_refreshed_beside_the_request() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let client = client(&server, &session);
    advance(Duration::from_secs(700)).await;
    assert_eq!(status(&client, get(ME)).await, 200);
    settle().await;
    assert_eq!(server.asked("refresh"), 0, "not due for 80 seconds at least");

    advance(Duration::from_secs(145)).await;
    server.will([Act::Late(SOON)]);
    assert_eq!(status(&client, get(ME)).await, 200);
    // It did not wait.
    assert_eq!(server.tokens().last().unwrap().as_deref(), Some("access-1"));
    sleep(2 * SOON).await;
    assert_eq!(server.asked("refresh"), 1);
    assert_eq!(status(&client, get(ME)).await, 200);
    assert_eq!(server.tokens().last().unwrap().as_deref(), Some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn one_refresh_serves_all_who_need_it() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let client = client(&server, &session);
    advance(EXPIRED).await;
    server.will([Act::Late(SOON)]);
    let callers = (0..100).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { status(&client, get(ME)).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        assert_eq!(caller.await.unwrap(), 200);
    }
    assert_eq!(server.asked("refresh"), 1);
    assert!(server.tokens().iter().all(|token| token.as_deref() == Some("access-2")));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_at_once() {
    for act in [Act::LoseAnswer, Act::LoseRequest, Act::Hang, Act::Late(Duration::from_secs(10))] {
        let server = Server::default();
        let session = signed_in(&server).await;
        let mut events = session.events();
        advance(EXPIRED).await;
        server.will([act.clone()]);
        let began = Instant::now();
        assert_eq!(status(&client(&server, &session), get(ME)).await, 200, "{act:?}");
        let waits = matches!(act, Act::Hang | Act::Late(_));
        let expected = if waits { Duration::from_secs(9) } else { Duration::ZERO };
        let took = began.elapsed();
        assert!(took >= expected && took < expected + SOON, "{act:?}: {took:?}");
        assert_eq!((server.asked("refresh"), names(&mut events)), (2, vec!["refreshed"]), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_refresh_token_is_presented_until_an_answer_came() {
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(EXPIRED).await;
    server.will([Act::LoseAnswer, Act::LoseAnswer, Act::LoseAnswer, Act::LoseRequest, Act::Serve]);
    assert_eq!(session.refresh().await.unwrap_err().kind(), ClientErrorKind::Unavailable);
    // By itself, in its own task.
    sleep(Duration::from_secs(5)).await;
    let asked = server.0.asked.lock().unwrap().clone();
    let presented: Vec<_> = asked[1..].iter().map(|(_, body, _)| body["refresh_token"].clone()).collect();
    assert_eq!(presented, ["refresh-1"; 5]);
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-5");
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_the_session_and_is_left_alone() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let mut events = session.events();
    let client = client(&server, &session);
    advance(EXPIRED).await;
    server.will(vec![Act::Status(500, ""); 1000]);
    let response = client.clone().oneshot(get(ME)).await.unwrap();
    // With the old token: the server may allow a leeway.
    assert_eq!(server.tokens(), [Some("access-1".to_owned())]);
    let error = response.extensions().get::<ClientError>().expect("says why");
    assert_eq!(
        (error.kind(), error.status()),
        (ClientErrorKind::Unavailable, Some(StatusCode::INTERNAL_SERVER_ERROR))
    );
    // No request starts another before the back-off is over.
    let before = server.asked("refresh");
    for _ in 0..50 {
        client.clone().oneshot(get(ME)).await.unwrap();
    }
    assert_eq!(server.asked("refresh"), before);
    sleep(Duration::from_secs(600)).await;
    let tries = server.asked("refresh");
    assert!((16..=24).contains(&tries), "{tries} in half a minute, and none after it without a request");
    assert!(names(&mut events).iter().all(|name| *name == "failed"));

    server.0.acts.lock().unwrap().clear();
    assert_eq!(status(&client, get(ME)).await, 200);
    assert_eq!(names(&mut events), ["refreshed"]);
}

#[tokio::test(start_paused = true)]
async fn only_a_definite_refusal_ends_the_session() {
    let grant = r#"{"error":"invalid_grant"}"#;
    for (status, body, kept) in [
        (400, grant, false),
        (401, grant, false),
        (401, "", true),
        (401, r#"{"error":"invalid_token"}"#, true),
        (403, grant, true),
        (404, "", true),
        (302, "", true),
        (200, "hello", true),
        (200, r#"{"access_token":"x"}"#, true),
        (503, grant, true),
    ] {
        let server = Server::default();
        let storage = Storage::default();
        let session = builder(&server, storage.clone()).build().unwrap();
        session.login(&credentials()).await.unwrap();
        let mut events = session.events();
        server.will(vec![Act::Status(status, body); 2]);
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.kind() == ClientErrorKind::SignedOut, !kept, "{status} {body}: {error:?}");
        assert_eq!(session.is_signed_in().await.unwrap(), kept, "{status} {body}");
        assert_eq!(storage.refresh_token().is_some(), kept, "{status} {body}");
        assert_eq!(names(&mut events), [if kept { "failed" } else { "expired" }], "{status} {body}");
        // What may have been carried out is asked for again at once.
        let attempts = if status >= 500 || status == 200 { 2 } else { 1 };
        assert_eq!(server.asked("refresh"), attempts, "{status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_says_how_long_to_wait() {
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(EXPIRED).await;
    server.will([Act::RetryAfter(20)]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
    sleep(Duration::from_secs(19)).await;
    assert_eq!(server.asked("refresh"), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(server.asked("refresh"), 2);
    // Longer than it is worth waiting for: the next request begins anew, but not before.
    server.will([Act::RetryAfter(3600)]);
    session.refresh().await.unwrap_err();
    let client = client(&server, &session);
    advance(Duration::from_secs(299)).await;
    client.clone().oneshot(get(ME)).await.unwrap();
    assert_eq!(server.asked("refresh"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_sent_once_more() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let client = client(&server, &session);
    // The server has gone on without us: our token is not the current one there.
    advance(Duration::from_secs(60)).await;
    server.0.generation.fetch_add(1, Ordering::SeqCst);
    assert_eq!(status(&client, get(ME)).await, 200);
    assert_eq!(server.tokens(), [Some("access-1".to_owned()), Some("access-3".to_owned())]);

    // One that refuses whatever it is sent is asked twice, not more; and not refreshed for again while the token is new.
    server.0.refuses.store(true, Ordering::SeqCst);
    server.0.seen.lock().unwrap().clear();
    for _ in 0..5 {
        assert_eq!(status(&client, get(ME)).await, 401);
    }
    assert_eq!((server.tokens().len(), server.asked("refresh")), (5, 1));
    advance(Duration::from_secs(60)).await;
    assert_eq!(status(&client, get(ME)).await, 401);
    assert_eq!((server.tokens().len(), server.asked("refresh")), (7, 2));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_sent_again_only_if_there_is_another() {
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(Duration::from_secs(60)).await;
    let post = || Request::post(ME).body(Full::from("an order")).unwrap();
    let refuse_once = || server.0.generation.fetch_add(1, Ordering::SeqCst);

    refuse_once();
    assert_eq!(status(&client(&server, &session), post()).await, 401);
    assert_eq!((server.tokens().len(), server.asked("refresh")), (1, 0));
    // The next one, of whatever kind, refreshes first.
    assert_eq!(status(&client(&server, &session), post()).await, 200);
    assert_eq!(server.asked("refresh"), 1);

    advance(Duration::from_secs(60)).await;
    refuse_once();
    let layer = SessionLayer::new(session.clone()).with_replay(|body: &Full<Bytes>| Some(body.clone()));
    let replaying = ServiceBuilder::new().layer(layer).service(server.clone());
    server.0.seen.lock().unwrap().clear();
    assert_eq!(replaying.oneshot(post()).await.unwrap().status(), 200);
    let seen = server.0.seen.lock().unwrap().clone();
    assert!(
        seen.len() == 2 && seen.iter().all(|seen| seen.body == "an order" && seen.method == Method::POST)
    );

    advance(Duration::from_secs(60)).await;
    refuse_once();
    let layer = SessionLayer::new(session.clone()).without_replay();
    let never = ServiceBuilder::new().layer(layer).service(server.clone());
    assert_eq!(never.oneshot(get(ME)).await.unwrap().status(), 401);
}

#[tokio::test(start_paused = true)]
async fn what_one_user_asked_is_not_sent_in_the_name_of_another() {
    // While it waits for a refresh.
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(EXPIRED).await;
    server.will([Act::Late(Duration::from_secs(5))]);
    let waiting = tokio::spawn(client(&server, &session).oneshot(get(ME)));
    settle().await;
    session.login(&credentials()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 401);
    assert_eq!(server.tokens(), [None]);
    // The refresh of the old session, which ended later, wrote nothing back.
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-2");

    // While its answer was on the way.
    let server = Server::default();
    let session = signed_in(&server).await;
    let (asked, answer) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let slow = {
        let (server, asked, answer) = (server.clone(), asked.clone(), answer.clone());
        tower::service_fn(move |request| {
            let (server, asked, answer) = (server.clone(), asked.clone(), answer.clone());
            async move {
                asked.notify_one();
                answer.notified().await;
                server.oneshot(request).await
            }
        })
    };
    let slow = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(slow);
    let waiting = tokio::spawn(slow.oneshot(get(ME)));
    asked.notified().await;
    session.login(&credentials()).await.unwrap();
    answer.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 401);
    assert_eq!(server.tokens(), [Some("access-1".to_owned())]);
    assert_eq!(server.asked("refresh"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_somebody_elses_refresh_needs_none() {
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(Duration::from_secs(60)).await;
    let (asked, answer) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let slow_once = {
        let first = Arc::new(AtomicBool::new(true));
        let (server, asked, answer) = (server.clone(), asked.clone(), answer.clone());
        tower::service_fn(move |request| {
            let (server, asked, answer) = (server.clone(), asked.clone(), answer.clone());
            let first = first.swap(false, Ordering::SeqCst);
            async move {
                if first {
                    asked.notify_one();
                    answer.notified().await;
                }
                server.oneshot(request).await
            }
        })
    };
    let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(slow_once);
    let waiting = tokio::spawn(client.oneshot(get(ME)));
    asked.notified().await;
    session.refresh().await.unwrap();
    answer.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert_eq!(server.asked("refresh"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_ends_though_its_caller_goes_away() {
    let server = Server::default();
    let storage = Storage::default();
    let session = builder(&server, storage.clone()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    advance(EXPIRED).await;
    server.will([Act::Late(Duration::from_secs(3))]);
    let waiting = client(&server, &session).oneshot(get(ME));
    assert!(timeout(SOON, waiting).await.is_err());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(storage.refresh_token().as_deref(), Some("refresh-2"));
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-2");
    assert_eq!(server.asked("refresh"), 1);
}

/// The task of the refresh dies with its runtime; a caller on another one takes over.
#[test]
fn a_refresh_is_handed_over_if_its_task_is_dropped() {
    let server = Server::default();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let session = first.block_on(signed_in(&server));
    server.will([Act::Hang]);
    // It is under way on the first one.
    first.block_on(async { assert!(timeout(Duration::from_millis(20), session.refresh()).await.is_err()) });
    let waiting = {
        let session = session.clone();
        second.spawn(async move { session.refresh().await })
    };
    second.block_on(async { settle().await });
    assert_eq!(server.asked("refresh"), 1);
    drop(first);
    second.block_on(waiting).unwrap().unwrap();
    assert_eq!(server.asked("refresh"), 2);
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let server = Server::default();
    let session = builder(&server, MemoryStorage::new()).build().unwrap();
    let mut login = Box::pin(session.login("x"));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(error)) = login.as_mut().poll(&mut cx) else { panic!("it cannot go on") };
    assert_eq!(error.kind(), ClientErrorKind::Runtime);
    let mut request = Box::pin(client(&server, &session).oneshot(get(ME)));
    let Poll::Ready(Ok(response)) = request.as_mut().poll(&mut cx) else { panic!("it is sent as it is") };
    assert_eq!(response.extensions().get::<ClientError>().unwrap().kind(), ClientErrorKind::Runtime);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_goes_around_the_limits_of_those_who_wait_for_it() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let limited = ServiceBuilder::new()
        .layer(BufferLayer::new(8))
        .layer(SessionLayer::new(session.clone()))
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(BufferLayer::new(8))
        .service(server.clone());
    advance(EXPIRED).await;
    let callers: Vec<_> = (0..8).map(|_| tokio::spawn(limited.clone().oneshot(get(ME)))).collect();
    for caller in callers {
        let response = timeout(Duration::from_secs(60), caller).await.expect("no deadlock").unwrap().unwrap();
        assert_eq!(response.status(), 200);
    }
    // The retry waits for a place like any other.
    server.0.generation.fetch_add(1, Ordering::SeqCst);
    advance(Duration::from_secs(60)).await;
    let response = timeout(Duration::from_secs(60), limited.oneshot(get(ME))).await.unwrap().unwrap();
    assert_eq!((response.status(), server.asked("refresh")), (StatusCode::OK, 2));
}

/// tower's mock panics if it is called without having been ready.
#[tokio::test(start_paused = true)]
async fn each_try_waits_until_the_wrapped_service_is_ready() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let (mock, mut handle) = tower_test::mock::pair::<Request<Full<Bytes>>, Response<Full<Bytes>>>();
    let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(mock);
    let answer = |status| Response::builder().status(status).body(Full::default()).unwrap();
    advance(Duration::from_secs(60)).await;

    handle.allow(0);
    let mut request = polled(client.clone().oneshot(get(ME)));
    assert!(request.poll().is_none(), "not ready for the first");
    handle.allow(1);
    assert!(request.poll().is_none());
    let (first, send) = handle.next_request().await.unwrap();
    assert_eq!(first.headers()[AUTHORIZATION], "Bearer access-1");
    send.send_response(answer(401));
    // The refresh, and then the second try.
    assert!(request.poll().is_none());
    settle().await;
    assert!(request.poll().is_none(), "not ready for the second");
    assert_eq!(server.asked("refresh"), 1);
    handle.allow(1);
    assert!(request.poll().is_none());
    let (second, send) = handle.next_request().await.unwrap();
    assert_eq!(second.headers()[AUTHORIZATION], "Bearer access-2");
    send.send_response(answer(200));
    assert_eq!(request.poll().unwrap().unwrap().status(), 200);

    // A service that breaks in between leaves the answer there is.
    advance(Duration::from_secs(60)).await;
    handle.allow(1);
    let mut request = polled(client.clone().oneshot(get(ME)));
    assert!(request.poll().is_none());
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(answer(401));
    assert!(request.poll().is_none());
    settle().await;
    handle.send_error("it is gone");
    assert_eq!(request.poll().unwrap().unwrap().status(), 401);
}

/// A future that a test polls by hand.
fn polled<F: Future>(future: F) -> Polled<F> {
    Polled(Box::pin(future))
}

struct Polled<F>(Pin<Box<F>>);

impl<F: Future> Polled<F> {
    fn poll(&mut self) -> Option<F::Output> {
        match self.0.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

/// Whoever follows redirects does it outside of the layer: each hop is looked at.
#[tokio::test(start_paused = true)]
async fn a_redirect_takes_no_token_to_another_origin() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let hops = Arc::new(Mutex::new(Vec::new()));
    let redirecting = {
        let hops = hops.clone();
        tower::service_fn(move |request: Request<Full<Bytes>>| {
            let token = request.headers().contains_key(AUTHORIZATION);
            hops.lock().unwrap().push((request.uri().to_string(), token));
            let to = match request.uri().path() {
                "/1" => Some("/2"),
                "/2" => Some("https://evil.example/3"),
                "/3" => Some("https://app.example/4"),
                _ => None,
            };
            let response = match to {
                Some(to) => Response::builder().status(307).header("location", to),
                None => Response::builder(),
            };
            std::future::ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap()))
        })
    };
    let client = ServiceBuilder::new()
        .layer(tower_http::follow_redirect::FollowRedirectLayer::new())
        .layer(SessionLayer::new(session))
        .service(redirecting);
    client.oneshot(get("https://app.example/1")).await.unwrap();
    let own = |path: &str| (format!("https://app.example{path}"), true);
    let evil = ("https://evil.example/3".to_owned(), false);
    assert_eq!(*hops.lock().unwrap(), [own("/1"), own("/2"), evil, own("/4")]);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_saved_before_they_are_used() {
    /// Notes what the server had seen when the storage was written.
    struct Watching(Server, Mutex<Vec<usize>>);
    impl TokenStorage for Watching {
        async fn load(&self) -> Result<Option<Tokens>, BoxError> {
            Ok(None)
        }
        async fn save(&self, _: Option<&Tokens>) -> Result<(), BoxError> {
            sleep(SOON).await;
            self.1.lock().unwrap().push(self.0.tokens().len());
            Ok(())
        }
    }
    let server = Server::default();
    let watching = Arc::new(Watching(server.clone(), Mutex::default()));
    let session = builder(&server, watching.clone()).build().unwrap();
    // A storage of that kind is one that is never read: each refresh would find nothing. So only the login.
    session.login(&credentials()).await.unwrap();
    assert_eq!(status(&client(&server, &session), get(ME)).await, 200);
    assert_eq!(*watching.1.lock().unwrap(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_costs_no_session() {
    let server = Server::default();
    let storage = Storage::default();
    let session = builder(&server, storage.clone()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    let mut events = session.events();
    storage.0.fails.store(true, Ordering::SeqCst);
    session.refresh().await.unwrap();
    let names = names(&mut events);
    assert!(
        names.len() > 1 && names[..names.len() - 1].iter().all(|name| *name == "storage failed"),
        "{names:?}"
    );
    assert_eq!(names.last(), Some(&"refreshed"));
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-2");
    assert_eq!(storage.refresh_token().as_deref(), Some("refresh-1"), "it could not be replaced");
    // What it holds is old: it is written, not read, before the next refresh.
    storage.0.fails.store(false, Ordering::SeqCst);
    server.will(vec![Act::Status(500, ""); 2]);
    session.refresh().await.unwrap_err();
    assert_eq!(storage.refresh_token().as_deref(), Some("refresh-2"));
    let asked = server.0.asked.lock().unwrap().clone();
    assert_eq!(asked.last().unwrap().1["refresh_token"], "refresh-2");
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_hangs_is_given_up() {
    let server = Server::default();
    let storage = Storage::default();
    storage.0.hangs.store(true, Ordering::SeqCst);
    let session = builder(&server, storage).build().unwrap();
    let error = session.is_signed_in().await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Storage);
    // A login is possible all the same.
    session.login(&credentials()).await.unwrap();
    assert_eq!(status(&client(&server, &session), get(ME)).await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_is_taken_up() {
    let (server, storage, clock) = (Server::default(), Storage::default(), TokioClock(Instant::now()));
    server.0.generation.store(7, Ordering::SeqCst);
    storage.put("access-7", "refresh-7", &clock, Duration::from_secs(400));
    let session = builder(&server, storage.clone()).build().unwrap();
    let client = client(&server, &session);
    assert_eq!(status(&client, get(ME)).await, 200);
    assert_eq!((server.asked("refresh"), storage.0.loads.load(Ordering::SeqCst)), (0, 1));
    advance(Duration::from_secs(401)).await;
    assert_eq!(status(&client, get(ME)).await, 200);
    assert_eq!(server.asked("refresh"), 1);

    // A clock that was set back must not make a token live longer than it may.
    storage.put("access-8", "refresh-8", &clock, Duration::from_secs(1_000_000));
    let session = builder(&server, storage).build().unwrap();
    session.authorization().await.unwrap();
    advance(EXPIRED).await;
    session.authorization().await.unwrap();
    assert_eq!(server.asked("refresh"), 2);
}

#[tokio::test(start_paused = true)]
async fn processes_that_share_a_storage_take_over_from_each_other() {
    let (server, storage) = (Server::default(), Storage::default());
    let one = builder(&server, storage.clone()).build().unwrap();
    one.login(&credentials()).await.unwrap();
    let other = builder(&server, storage.clone()).build().unwrap();
    assert_eq!(other.authorization().await.unwrap(), "Bearer access-1");
    advance(EXPIRED).await;
    assert_eq!(one.authorization().await.unwrap(), "Bearer access-2");
    assert_eq!(other.authorization().await.unwrap(), "Bearer access-2");
    assert_eq!(server.asked("refresh"), 1);
    // A logout of one is found by the other when it would refresh.
    let mut events = other.events();
    one.logout().await.unwrap();
    advance(EXPIRED).await;
    assert_eq!(other.authorization().await.unwrap_err().kind(), ClientErrorKind::SignedOut);
    assert_eq!((names(&mut events), server.asked("refresh")), (vec!["signed out"], 1));
}

#[tokio::test(start_paused = true)]
async fn a_logout_ends_the_session_on_the_server_first() {
    let (server, storage) = (Server::default(), Storage::default());
    let session = builder(&server, storage.clone()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    let mut events = session.events();
    server.will([Act::Status(503, "")]);
    assert_eq!(session.logout().await.unwrap_err().kind(), ClientErrorKind::Unavailable);
    assert!(session.is_signed_in().await.unwrap() && names(&mut events).is_empty());
    session.logout().await.unwrap();
    assert!(!session.is_signed_in().await.unwrap());
    assert_eq!((storage.refresh_token(), names(&mut events)), (None, vec!["signed out"]));
    let asked = server.0.asked.lock().unwrap().clone();
    assert_eq!(asked.last().unwrap().1, json!({ "refresh_token": "refresh-1" }));
    assert_eq!(status(&client(&server, &session), get(ME)).await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_ends_after_a_logout_writes_nothing_back() {
    for act in [Act::Late(Duration::from_secs(5)), Act::Status(401, r#"{"error":"invalid_grant"}"#)] {
        let (server, storage) = (Server::default(), Storage::default());
        let session = builder(&server, storage.clone()).build().unwrap();
        session.login(&credentials()).await.unwrap();
        let mut events = session.events();
        let refused = matches!(act, Act::Status(..));
        let acts = if refused { [Act::Late(SOON), act] } else { [act, Act::Late(SOON)] };
        server.will(acts);
        let (logout, refresh) = if refused {
            tokio::join!(session.logout(), async {
                sleep(SOON / 2).await;
                session.refresh().await
            })
        } else {
            tokio::join!(
                async {
                    sleep(SOON / 2).await;
                    session.logout().await
                },
                session.refresh()
            )
        };
        logout.unwrap();
        let _ = refresh;
        assert!(!session.is_signed_in().await.unwrap());
        // Said once.
        assert_eq!((storage.refresh_token(), names(&mut events)), (None, vec!["signed out"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_login_ends_the_first_session() {
    let server = Server::default();
    let session = signed_in(&server).await;
    session.login(&credentials()).await.unwrap();
    settle().await;
    let asked = server.0.asked.lock().unwrap().clone();
    let (path, body, _) = asked.last().unwrap();
    assert_eq!((&**path, &body["refresh_token"]), ("logout", &json!("refresh-1")));
    // One that is refused leaves the session as it is.
    server.will([Act::Status(401, r#"{"error":"invalid_credentials"}"#)]);
    assert_eq!(session.login(&credentials()).await.unwrap_err().kind(), ClientErrorKind::Credentials);
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-2");
}

#[tokio::test(start_paused = true)]
async fn all_sessions_or_all_others_are_ended_by_the_access_token() {
    let server = Server::default();
    let session = signed_in(&server).await;
    session.logout_others().await.unwrap();
    assert!(session.is_signed_in().await.unwrap());
    session.logout_everywhere().await.unwrap();
    assert!(!session.is_signed_in().await.unwrap());
    assert_eq!((server.asked("logout/others"), server.asked("logout/all")), (1, 1));
    assert_eq!(session.logout_everywhere().await.unwrap_err().kind(), ClientErrorKind::SignedOut);
}

#[tokio::test(start_paused = true)]
async fn with_a_cookie() {
    let server = Server::default();
    server.0.by_cookie.store(true, Ordering::SeqCst);
    let storage = Storage::default();
    let session = builder(&server, storage.clone()).cookie(&CookiePolicy::default()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    session.refresh().await.unwrap();
    // An answer that sets none keeps the one there is.
    server.will([Act::Status(200, r#"{"access_token":"access-9","token_type":"Bearer","expires_in":900}"#)]);
    session.refresh().await.unwrap();
    session.login(&credentials()).await.unwrap();
    session.logout().await.unwrap();
    let asked = server.0.asked.lock().unwrap().clone();
    let cookies: Vec<_> = asked.iter().map(|(path, _, cookie)| (&**path, cookie.as_deref())).collect();
    let cookie = |n| match n {
        1 => Some("__Secure-refresh_token=refresh-1"),
        2 => Some("__Secure-refresh_token=refresh-2"),
        _ => Some("__Secure-refresh_token=refresh-3"),
    };
    assert_eq!(
        cookies,
        [
            ("login", None),
            ("refresh", cookie(1)),
            ("refresh", cookie(2)),
            ("login", cookie(2)),
            ("logout", cookie(3))
        ]
    );
    assert_eq!(asked[0].1, credentials());
}

#[tokio::test(start_paused = true)]
async fn times_are_by_the_servers_clock() {
    let server = Server::default();
    // An hour and more behind the client's.
    *server.0.date.lock().unwrap() = Some("Fri, 15 Jan 2027 06:00:00 GMT");
    let storage = Storage::default();
    let session = builder(&server, storage.clone()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    let expires_at = storage.0.tokens.lock().unwrap().as_ref().unwrap().expires_at();
    let six = Timestamp::from_unix_seconds(1_799_992_800);
    assert!(expires_at.abs_diff(six.saturating_add(Duration::from_secs(LIFETIME))) <= SOON, "{expires_at:?}");
    // And yet it is good for as long as it is good, neither less nor more.
    advance(Duration::from_secs(770)).await;
    session.authorization().await.unwrap();
    settle().await;
    assert_eq!(server.asked("refresh"), 0);
    advance(Duration::from_secs(131)).await;
    session.authorization().await.unwrap();
    assert_eq!(server.asked("refresh"), 1);
}

/// The timer stood still meanwhile, the time of day did not.
#[tokio::test(start_paused = true)]
async fn after_a_sleep_of_the_machine_the_token_has_expired() {
    let (server, clock) = (Server::default(), ManualClock::default());
    let session = builder(&server, MemoryStorage::new()).clock(clock.clone()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    clock.advance(Duration::from_secs(8 * 3600));
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-2");
    // Set back by a day it makes no token live longer: the timer counts.
    clock.set(Timestamp::from_unix_millis(clock.now().as_unix_millis() - 86_400_000));
    advance(EXPIRED).await;
    assert_eq!(session.authorization().await.unwrap(), "Bearer access-3");
}

#[tokio::test(start_paused = true)]
async fn many_clients_do_not_come_at_once() {
    let mut moments = Vec::new();
    for _ in 0..40 {
        let server = Server::default();
        let session = signed_in(&server).await;
        let alive = tokio::spawn(session.keep_alive());
        let began = Instant::now();
        while server.asked("refresh") == 0 {
            sleep(Duration::from_millis(250)).await;
        }
        moments.push(began.elapsed());
        alive.abort();
    }
    let (first, last) = (moments.iter().min().unwrap(), moments.iter().max().unwrap());
    assert!(*first >= Duration::from_secs(780) && *last <= Duration::from_secs(841), "{first:?} {last:?}");
    assert!(*last > *first + Duration::from_secs(20), "{first:?} {last:?}");
}

#[tokio::test(start_paused = true)]
async fn kept_alive_without_a_request_until_it_is_dropped() {
    let server = Server::default();
    *server.0.lifetime.lock().unwrap() = Some(100);
    let session = signed_in(&server).await;
    let alive = tokio::spawn(session.keep_alive());
    sleep(Duration::from_secs(1000)).await;
    let refreshes = server.asked("refresh");
    assert!((11..=15).contains(&refreshes), "{refreshes}");
    // An outage is not hammered, and the session outlives it.
    server.will(vec![Act::Status(500, ""); 20]);
    sleep(Duration::from_secs(1200)).await;
    let tries = server.asked("refresh") - refreshes;
    assert!(tries < 45, "{tries}");
    assert!(session.is_signed_in().await.unwrap());
    drop(session);
    timeout(Duration::from_secs(60), alive).await.expect("it ends").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_grpc_call_makes_the_next_one_refresh() {
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(Duration::from_secs(60)).await;
    let refusing = tower::service_fn(async |_: Request<Full<Bytes>>| {
        let response =
            Response::builder().header(CONTENT_TYPE, "application/grpc").header("grpc-status", "16");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let layer = SessionLayer::new(session.clone()).with_relative_origin("https://app.example").unwrap();
    let channel = ServiceBuilder::new().layer(layer).service(refusing);
    let call = || Request::post("/greeter/Hello").body(Full::from("framed")).unwrap();
    channel.clone().oneshot(call()).await.unwrap();
    assert_eq!(server.asked("refresh"), 0);
    channel.oneshot(call()).await.unwrap();
    assert_eq!(server.asked("refresh"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_up_is_no_reason_to_refresh() {
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(Duration::from_secs(60)).await;
    let asking = tower::service_fn(async |_: Request<Full<Bytes>>| {
        let challenge = r#"Bearer realm="api", error="insufficient_user_authentication", max_age="300""#;
        let response = Response::builder().status(401).header("www-authenticate", challenge);
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(asking);
    for _ in 0..2 {
        assert_eq!(client.clone().oneshot(get(ME)).await.unwrap().status(), 401);
    }
    assert_eq!(server.asked("refresh"), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_shows_a_token() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let client = client(&server, &session);
    let future = client.clone().call(get(ME));
    let shown = format!("{session:?} {client:?} {future:?} {:?}", session.authorization().await.unwrap());
    assert!(!shown.contains("access-") && !shown.contains("refresh-"), "{shown}");
    let error = session.login(&json!(["the-password"])).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Credentials);
    assert!(!format!("{error:?} {error}").contains("the-password"));
}

#[test]
fn settings_that_are_not_safe_are_errors() {
    let build = |base: &str| Session::new(base, MemoryStorage::new(), Server::default());
    for base in
        ["http://app.example/auth", "app.example", "https://app.example/auth?x", "ftp://app.example/", ""]
    {
        assert!(build(base).is_err(), "{base}");
    }
    for base in ["https://app.example/auth", "http://localhost:3000/auth", "http://[::1]:3000"] {
        assert!(build(base).is_ok(), "{base}");
    }
    let builder = || Session::builder("http://app.example/auth", MemoryStorage::new(), Server::default());
    assert!(builder().insecure_add_origin("http://app.example").build().is_ok());
    assert!(builder().insecure_add_origin("http://other.example").build().is_err());
    let builder = || Session::builder(BASE, MemoryStorage::new(), Server::default());
    assert!(builder().add_origin("http://api.example").build().is_err());
    assert!(builder().user_agent("a\nb").build().is_err());
    assert!(USER_AGENT.as_str() == "user-agent");
}
