//! Section 9 (B, bodies) of the corpus of bad inputs. B3 and B4 are in `body_delivery.rs`.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::channel::Channel;
use serde_json::json;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{Layer, Service, ServiceExt};

use crate::support::SECOND;
use crate::support::service::{Answer, PASSWORD, World, credentials, post};

/// A body that goes on for ever. Counts the bytes it gave.
struct Endless {
    frame: &'static [u8],
    given: Arc<AtomicUsize>,
    /// After so many bytes it stalls.
    stall_after: usize,
    least: u64,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.given.load(Ordering::SeqCst) >= self.stall_after {
            return Poll::Pending;
        }
        self.given.fetch_add(self.frame.len(), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.frame)))))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.least);
        hint
    }
}

fn endless(path: &str, frame: &'static [u8], stall_after: usize) -> (Request<Endless>, Arc<AtomicUsize>) {
    let (parts, _) = post(path).header(CONTENT_TYPE, "application/json").request().into_parts();
    let given = Arc::new(AtomicUsize::new(0));
    let body = Endless { frame, given: Arc::clone(&given), stall_after, least: 0 };
    (Request::from_parts(parts, body), given)
}

#[tokio::test]
async fn b1_an_endless_body_is_cut_off() {
    const LIMIT: usize = 16 * 1024;
    static LARGE: &[u8] = &[b' '; 100_000];
    let world = World::new();
    for path in ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/logout/all"] {
        for frame in [&[b' '; 1][..], &[b' '; 1000], LARGE] {
            let (request, given) = endless(path, frame, usize::MAX);
            let answer = Answer::of(world.auth.clone().oneshot(request).await.unwrap()).await;
            answer.refused(413, "too_large");
            let given = given.load(Ordering::SeqCst);
            assert!(given > LIMIT && given <= LIMIT + frame.len(), "{path}: {given} in {}", frame.len());
        }
        let (mut request, given) = endless(path, b" ", usize::MAX);
        request.body_mut().least = LIMIT as u64 + 1;
        let answer = Answer::of(world.auth.clone().oneshot(request).await.unwrap()).await;
        answer.refused(413, "too_large");
        assert_eq!(given.load(Ordering::SeqCst), 0, "{path}: a body that says it is too long is not read");
    }
    // Where no body is asked for none is read.
    let (mut request, given) = endless("/auth/sessions", b" ", usize::MAX);
    *request.method_mut() = Method::GET;
    assert_eq!(world.auth.clone().oneshot(request).await.unwrap().status(), 401);
    assert_eq!(given.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn b1_a_stalled_body_ends_with_the_layer_outside() {
    let world = World::new();
    for path in ["/auth/login", "/auth/refresh", "/auth/logout"] {
        let (request, given) = endless(path, b" ", 100);
        let begin = tokio::time::Instant::now();
        let limited = TimeoutLayer::new(10 * SECOND).layer(world.auth.clone());
        limited.oneshot(request).await.unwrap_err().downcast::<Elapsed>().unwrap();
        assert_eq!(begin.elapsed(), 10 * SECOND);
        assert_eq!((given.load(Ordering::SeqCst), Arc::strong_count(&given)), (100, 1), "the body is gone");

        let (request, given) = endless(path, b" ", 100);
        let layer =
            tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, 10 * SECOND);
        let response = layer.layer(world.auth.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!((given.load(Ordering::SeqCst), Arc::strong_count(&given)), (100, 1), "the body is gone");
    }
    assert_eq!(world.accounts.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn b1_a_body_that_breaks_off_is_400() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    for path in ["/auth/login", "/auth/refresh", "/auth/logout"] {
        let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(2);
        let (parts, _) =
            post(path).cookie(&token).header(CONTENT_TYPE, "application/json").request().into_parts();
        sender.send_data(Bytes::from_static(b"{")).await.unwrap();
        sender.abort(std::io::Error::other("reset by peer"));
        let response = world.auth.clone().oneshot(Request::from_parts(parts, body)).await.unwrap();
        Answer::of(response).await.refused(400, "invalid_request");
    }
    assert_eq!(world.generation("ada").await, Some(0));
}

#[tokio::test]
async fn b2_one_answer_to_wrong_unknown_and_locked() {
    let world = World::new();
    let ask =
        |user: &str, password: &str| post("/auth/login").json(&json!({ "user": user, "password": password }));
    let wrong = world.send(ask("ada", "wrong")).await.refused(401, "invalid_credentials");
    for (name, ask) in [("unknown", ask("eve", PASSWORD)), ("unknown and wrong", ask("eve", "wrong"))] {
        let answer = world.send(ask).await.refused(401, "invalid_credentials");
        assert_eq!((&answer.headers, &answer.body), (&wrong.headers, &wrong.body), "{name}");
    }
}

/// The rest of B5, the headers of every answer, is in [`Answer`]; events are in `service_events.rs`.
#[tokio::test]
async fn b5_debug_shows_no_secret() {
    let world = World::new();
    let request = post("/auth/login").json(&credentials("ada")).request();
    let future = format!("{:?}", world.auth.clone().call(request.clone()));
    let response = world.auth.clone().oneshot(request).await.unwrap();
    let shown = format!("{response:?}");
    let answer = Answer::of(response).await;
    let granted = world.auth.sessions().refresh(&answer.refresh()).await.unwrap();
    let text = format!(
        "{future} {shown} {:?} {:?} {granted:?} {:?} {:?}",
        world.auth,
        world.auth.sessions(),
        granted.to_response().headers(),
        world.config,
    );
    let mut secrets = vec![answer.refresh(), PASSWORD.to_owned(), granted.refresh_token().to_owned()];
    secrets.extend(answer.access().split('.').skip(1).map(ToOwned::to_owned));
    secrets.extend(granted.access_token().expose().split('.').skip(1).map(ToOwned::to_owned));
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
    assert!(text.contains("Sensitive"), "the cookie is marked: {text}");
}
