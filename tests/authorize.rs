//! The layers of authorization behind the bearer layer: whom they let pass, how they refuse, and how they behave among
//! other layers.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use support::events::Events;
use support::readiness::OneShotReadiness;
use support::requests::{as_grpc, bearer, request};
use support::tokens::{NOW, SUBJECT, Signer, claims, config, quoted};
use support::{ManualClock, SECOND, poll_then_drop};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    AccessGrant, AuthContext, ConfigErrorKind, Issuer, JwtAuthLayer, NoClaims, ReadClaims, Rejection,
    RejectionKind, RequireAsyncLayer, RequireLayer, RequireScopeLayer, StepUpLayer, Timestamp, Verified,
};
use tower_test::mock;

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;
type Inner = BoxCloneService<Req, Res, Infallible>;

fn signer() -> Signer {
    Signer::ed25519()
}

fn layer<C: ReadClaims>() -> JwtAuthLayer<C> {
    JwtAuthLayer::new(config(&signer(), &ManualClock::new()).verifier())
}

fn good() -> Req {
    bearer(&signer().good())
}

fn anonymous() -> Req {
    request::<&str>(&[])
}

/// A good token with one more claim.
fn with(name: &str, json: &str) -> Req {
    bearer(&signer().with_claims(claims().with(name, json).json()))
}

/// Counts the requests that reach it.
fn inner(calls: &Arc<AtomicUsize>) -> Inner {
    let calls = Arc::clone(calls);
    BoxCloneService::new(service_fn(move |_: Req| {
        calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::new(Full::from("inner"))))
    }))
}

/// What came back, all of it.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    ends_at_once: bool,
    body: String,
    rejection: Option<Rejection>,
    /// Whether the inner service was called.
    passed: bool,
}

impl Answer {
    fn reason(&self) -> Option<&'static str> {
        self.rejection.as_ref().map(Rejection::reason)
    }

    fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request through these layers, the first outside.
macro_rules! send {
    ($request:expr, $($layer:expr),+) => {{
        let calls = Arc::new(AtomicUsize::new(0));
        let service = ServiceBuilder::new()$(.layer($layer))+.service(inner(&calls));
        let answer = collect(service.oneshot($request).await.unwrap()).await;
        Answer { passed: calls.load(Ordering::SeqCst) == 1, ..answer }
    }};
}

async fn collect<B: Body<Data = Bytes, Error: fmt::Debug>>(response: Response<B>) -> Answer {
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        ends_at_once: body.is_end_stream(),
        body: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        rejection: parts.extensions.get().cloned(),
        passed: false,
    }
}

#[track_caller]
fn assert_passed(row: &str, answer: &Answer) {
    assert_eq!((answer.status, &*answer.body, answer.passed), (200, "inner", true), "{row}");
    assert!(answer.rejection.is_none(), "{row}");
}

#[track_caller]
fn assert_refused(row: &str, answer: &Answer, status: u16, kind: RejectionKind) {
    assert_eq!((answer.status, answer.passed), (status, false), "{row}");
    assert_eq!(answer.rejection.as_ref().map(Rejection::kind), Some(kind), "{row}");
}

// ── scopes ──

#[tokio::test]
async fn scopes_compare_as_a_whole_and_with_case() {
    const RW: [&str; 2] = ["orders:read", "orders:write"];
    for (row, held, needed, all, any) in [
        ("all of them", Some("orders:read orders:write"), &RW[..], true, true),
        ("in another order, with others", Some("x orders:write orders:read y"), &RW, true, true),
        ("one of them", Some("orders:write"), &RW, false, true),
        ("the only one", Some("orders:read"), &RW[..1], true, true),
        ("none of them", Some("invoices:read"), &RW, false, false),
        ("another case", Some("Orders:read ORDERS:WRITE"), &RW, false, false),
        ("longer", Some("orders:reader orders:writer"), &RW, false, false),
        ("shorter", Some("orders orders: read"), &RW, false, false),
        ("a word of another sign", Some("orders:read,orders:write"), &RW, false, false),
        ("empty", Some(""), &RW, false, false),
        ("no scope", None, &RW, false, false),
        ("named twice", Some("orders:read"), &["orders:read", "orders:read"], true, true),
    ] {
        let request = || held.map_or_else(good, |scope| with("scope", &quoted(scope)));
        for (mode, layer_of, passes) in [
            ("all", RequireScopeLayer::all(needed).unwrap(), all),
            ("any", RequireScopeLayer::any(needed).unwrap(), any),
        ] {
            let row = format!("{row}, {mode}");
            let answer = send!(request(), layer::<NoClaims>(), layer_of.clone());
            let call = send!(as_grpc(request()), layer::<NoClaims>(), layer_of);
            if passes {
                assert_passed(&row, &answer);
                assert_passed(&row, &call);
                continue;
            }
            assert_refused(&row, &answer, 403, RejectionKind::InsufficientScope);
            let challenge = format!(
                r#"Bearer realm="api", error="insufficient_scope", error_description="the access token lacks a scope", scope="{}""#,
                needed.join(" ")
            );
            assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*challenge), "{row}");
            assert_refused(&row, &call, 200, RejectionKind::InsufficientScope);
            assert_eq!(call.header("grpc-status"), Some("7"), "{row}");
            assert!(call.ends_at_once && !call.headers.contains_key(WWW_AUTHENTICATE), "{row}");
        }
    }
}

/// What stands in a challenge needs no escape, and a layer that asks for nothing is a mistake.
#[test]
fn words_that_are_none_are_met_when_the_layer_is_made() {
    for words in
        [&[][..], &[""], &["a b"], &["a", "b\"c"], &["b\\c"], &["é"], &["a\nb"], &["a\u{7f}"], &["a", " "]]
    {
        let predicate = RequireLayer::new(|_: &Verified<NoClaims>| true);
        let later = RequireAsyncLayer::new(async |_: Verified<NoClaims>| Ok::<_, Infallible>(true));
        for (name, error) in [
            ("all", RequireScopeLayer::all(words).err()),
            ("any", RequireScopeLayer::any(words).err()),
            ("predicate", predicate.with_scopes(words).err()),
            ("async", later.with_scopes(words).err()),
            ("acr", StepUpLayer::acr_values(words).err()),
            ("with acr", StepUpLayer::max_age(SECOND).with_acr_values(words).err()),
        ] {
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(ConfigErrorKind::Limit), "{name} {words:?}");
        }
    }
    assert!(RequireScopeLayer::all(vec![String::from("a:b/c.d-e_f~!#'()*")]).is_ok());
}

// ── a predicate ──

#[derive(Debug, Serialize, Deserialize)]
struct User {
    roles: Vec<String>,
}

fn is_admin(user: &Verified<User>) -> bool {
    // The application's claims, and the registered ones.
    user.roles.iter().any(|role| role == "admin") && user.subject() == SUBJECT
}

#[tokio::test]
async fn a_predicate_decides_by_the_claims() {
    let plain = RequireLayer::new(is_admin);
    let naming = RequireLayer::new(is_admin).with_scopes(["admin", "staff"]).unwrap();
    let later = RequireAsyncLayer::new(async |user: Verified<User>| Ok::<_, Infallible>(is_admin(&user)));
    let later_naming = later.clone().with_scopes(["admin", "staff"]).unwrap();
    for (row, roles, passes) in [
        ("admin", r#"["admin"]"#, true),
        ("both", r#"["user","admin"]"#, true),
        ("user", r#"["user"]"#, false),
        ("none", "[]", false),
        ("another case", r#"["Admin"]"#, false),
    ] {
        let request = || with("roles", roles);
        for (kind, answer, scope) in [
            ("sync", send!(request(), layer::<User>(), plain.clone()), ""),
            ("naming", send!(request(), layer::<User>(), naming.clone()), r#", scope="admin staff""#),
            ("async", send!(request(), layer::<User>(), later.clone()), ""),
            (
                "async naming",
                send!(request(), layer::<User>(), later_naming.clone()),
                r#", scope="admin staff""#,
            ),
        ] {
            let row = format!("{row}, {kind}");
            if passes {
                assert_passed(&row, &answer);
                continue;
            }
            assert_refused(&row, &answer, 403, RejectionKind::Denied);
            assert_eq!(answer.reason(), Some("denied"), "{row}");
            let challenge = format!(
                r#"Bearer realm="api", error="insufficient_scope", error_description="the access token does not permit this"{scope}"#
            );
            assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*challenge), "{row}");
        }
        for answer in [
            send!(as_grpc(request()), layer::<User>(), plain.clone()),
            send!(as_grpc(request()), layer::<User>(), later.clone()),
        ] {
            assert_eq!(answer.header("grpc-status"), (!passes).then_some("7"), "{row}");
        }
    }
}

#[tokio::test]
async fn a_challenge_is_in_the_realm_of_the_bearer_layer() {
    let orders = layer::<NoClaims>().with_realm("orders").unwrap();
    let scope = RequireScopeLayer::all(["a"]).unwrap();
    let answer = send!(good(), orders, scope);
    assert!(answer.header(WWW_AUTHENTICATE).unwrap().starts_with(r#"Bearer realm="orders", "#));
}

// ── a predicate that waits ──

/// An error with another behind it, whose texts are for operators.
#[derive(Debug)]
struct Down(std::io::Error);

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no permissions")
    }
}

impl std::error::Error for Down {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn a_predicate_that_cannot_tell_is_503_and_says_why_in_the_log_alone() {
    let (events, _guard) = Events::start();
    let down = RequireAsyncLayer::new(async |_: Verified<NoClaims>| {
        tokio::task::yield_now().await;
        Err::<bool, _>(Down(std::io::Error::other("db-7 is gone")))
    });
    for make in [|request: Req| request, as_grpc] {
        let answer = send!(make(good()), layer::<NoClaims>(), down.clone());
        assert!(!answer.passed);
        let rejection = answer.rejection.as_ref().unwrap();
        assert_eq!((rejection.kind(), rejection.reason()), (RejectionKind::Unavailable, "unavailable"));
        if answer.header("grpc-status").is_some() {
            assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
            assert!(answer.ends_at_once);
        } else {
            assert_eq!((answer.status, answer.header(RETRY_AFTER)), (503, Some("1")));
            assert!(!answer.headers.contains_key(WWW_AUTHENTICATE), "other credentials would not help");
        }
        assert_eq!(
            events.take_own(),
            [
                "ERROR tower_jwt_auth::authorize unavailable error=no permissions: db-7 is gone",
                r#"INFO tower_jwt_auth::authorize rejected reason="unavailable""#,
            ]
        );
        let told = format!("{answer:?}");
        assert!(!told.contains("permissions") && !told.contains("db-7"), "{told}");
    }
}

/// All that an application may have at hand.
#[tokio::test]
async fn an_error_may_be_of_any_type() {
    type Token = Verified<NoClaims>;
    let boxed = async |_: Token| Err::<bool, Box<dyn std::error::Error + Send + Sync>>("boxed".into());
    for answer in [
        send!(good(), layer::<NoClaims>(), RequireAsyncLayer::new(boxed)),
        send!(good(), layer::<NoClaims>(), RequireAsyncLayer::new(async |_: Token| Err::<bool, _>("text"))),
        send!(
            good(),
            layer::<NoClaims>(),
            RequireAsyncLayer::new(async |_: Token| Err::<bool, _>("x".to_owned()))
        ),
        send!(
            good(),
            layer::<NoClaims>(),
            RequireAsyncLayer::new(async |_: Token| Err::<bool, _>(std::io::Error::other("x")))
        ),
        send!(
            good(),
            layer::<NoClaims>(),
            RequireAsyncLayer::new(|_: Token| ready(Err::<bool, _>(fmt::Error)))
        ),
    ] {
        assert_refused("an error", &answer, 503, RejectionKind::Unavailable);
    }
}

fn yes() -> RequireAsyncLayer<NoClaims> {
    RequireAsyncLayer::new(async |_: Verified<NoClaims>| {
        // Not ready at once: only so is the inner service called later than it was polled.
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(true)
    })
}

fn no() -> RequireAsyncLayer<NoClaims> {
    RequireAsyncLayer::new(async |_: Verified<NoClaims>| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(false)
    })
}

#[tokio::test]
async fn the_instance_that_was_polled_is_called_after_the_wait() {
    let mut service =
        ServiceBuilder::new().layer(layer::<NoClaims>()).layer(yes()).service(OneShotReadiness::default());
    let mut waiting = Vec::new();
    for _ in 0..3 {
        // All wait at once, each with an instance of its own.
        waiting.push(service.ready().await.unwrap().call(good()));
    }
    for future in waiting {
        assert_eq!(future.await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn limits_and_buffers_inside_and_outside_of_a_wait() {
    let calls = Arc::new(AtomicUsize::new(0));
    let limited = ServiceBuilder::new()
        .concurrency_limit(1)
        .layer(layer::<NoClaims>())
        .layer(yes())
        .concurrency_limit(1)
        .service(inner(&calls));
    let buffered = ServiceBuilder::new()
        .buffer(1)
        .layer(layer::<NoClaims>())
        .layer(yes())
        .buffer::<Req>(1)
        .service(inner(&calls));
    let tries = async |mut service: BoxCloneService<Req, Answer, tower::BoxError>| {
        for round in 0..3 {
            let mut other = service.clone();
            for service in [&mut service, &mut other] {
                for (request, status) in [(anonymous(), 401), (good(), 200), (good(), 200)] {
                    let answer = service.ready().await.unwrap().call(request).await.unwrap();
                    assert_eq!(answer.status, status, "round {round}");
                }
            }
        }
    };
    let answered = async |response| Ok(collect(response).await);
    tries(BoxCloneService::new(limited.map_err(tower::BoxError::from).and_then(answered))).await;
    let answered = async |response| Ok(collect(response).await);
    tries(BoxCloneService::new(buffered.and_then(answered))).await;
    assert_eq!(calls.load(Ordering::SeqCst), 24);
}

#[tokio::test]
async fn a_permit_is_held_for_the_wait_and_free_after_a_no() {
    let hold = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&hold);
    let slow_no = RequireAsyncLayer::new(move |_: Verified<NoClaims>| {
        let held = Arc::clone(&held);
        async move {
            held.notified().await;
            Ok::<_, Infallible>(false)
        }
    });
    let service = ServiceBuilder::new()
        .layer(layer::<NoClaims>())
        .layer(slow_no)
        .concurrency_limit(1)
        .service(inner(&Arc::default()));
    let mut first = mock::Spawn::new(service.clone());
    assert!(first.poll_ready::<Req>().is_ready());
    let mut waits = pin!(first.call(good()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    let mut other = mock::Spawn::new(service);
    assert!(other.poll_ready::<Req>().is_pending(), "the permit of the waiting request");
    hold.notify_one();
    assert!(waits.as_mut().poll(&mut context).is_ready());
    // Both instances are still there.
    assert!(other.poll_ready::<Req>().is_ready());
    assert!(first.poll_ready::<Req>().is_pending());
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_drops_the_predicate() {
    let (asked, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (asks, drops) = (Arc::clone(&asked), Arc::clone(&dropped));
    let hangs = RequireAsyncLayer::new(move |_: Verified<NoClaims>| {
        let (asks, guard) = (Arc::clone(&asks), Dropped(Arc::clone(&drops)));
        async move {
            asks.store(true, Ordering::SeqCst);
            pending::<()>().await;
            drop(guard);
            Ok::<_, Infallible>(true)
        }
    });
    let calls = Arc::new(AtomicUsize::new(0));
    let mut service = ServiceBuilder::new().layer(layer::<NoClaims>()).layer(hangs).service(inner(&calls));
    let future = service.ready().await.unwrap().call(good());
    assert!(!dropped.load(Ordering::SeqCst));
    assert!(poll_then_drop(future, 3).is_none());
    assert!(asked.load(Ordering::SeqCst) && dropped.load(Ordering::SeqCst));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

/// Servers spawn the future, and bodies and futures inside need no `Unpin` and no `Sync`.
#[test]
fn futures_are_send_if_the_inner_one_is() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let inner = service_fn(async |_: Request<std::cell::Cell<u8>>| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(()))
    });
    let request = || Request::new(std::cell::Cell::new(1));
    drop(is_send(yes().layer(inner).call(request())));
    drop(is_send(RequireScopeLayer::all(["a"]).unwrap().layer(inner).call(request())));
    drop(is_send(RequireLayer::new(is_admin).layer(inner).call(request())));
    drop(is_send(StepUpLayer::max_age(SECOND).layer(inner).call(request())));
}

// ── step-up ──

#[tokio::test]
async fn how_and_how_long_ago_a_user_authenticated() {
    let (five, two_factor) = (Duration::from_secs(300), "urn:example:two-factor");
    let age = || StepUpLayer::max_age(five);
    let acr = || StepUpLayer::acr_values([two_factor, "urn:example:key"]).unwrap();
    let both = || age().with_acr_values([two_factor, "urn:example:key"]).unwrap();
    let at = |seconds: i64| Some(seconds.to_string());
    // The clock of the layer stands `late` milliseconds behind NOW.
    for (row, layer_of, auth_time, held, late, passes) in [
        ("just now", age(), at(NOW), None, 0, true),
        ("as long ago as may be", age(), at(NOW), None, 300_000, true),
        ("a millisecond more", age(), at(NOW), None, 300_001, false),
        ("a second more", age(), at(NOW - 1), None, 300_000, false),
        (
            "half a second is left out of the age asked",
            StepUpLayer::max_age(five + SECOND / 2),
            at(NOW),
            None,
            300_001,
            false,
        ),
        ("a part of a second, in bounds", age(), Some(format!("{NOW}.5")), None, 300_500, true),
        ("a part of a second, out of bounds", age(), Some(format!("{NOW}.5")), None, 300_501, false),
        ("in the future, as clocks differ", age(), at(NOW + 30), None, 0, true),
        ("in the future", age(), at(NOW + 31), None, 0, false),
        ("long ago", age(), at(0), None, 0, false),
        ("no auth_time", age(), None, Some(two_factor), 0, false),
        ("now or never", StepUpLayer::max_age(Duration::ZERO), at(NOW), None, 0, true),
        ("now or never, later", StepUpLayer::max_age(Duration::ZERO), at(NOW), None, 1, false),
        ("for ever", StepUpLayer::max_age(Duration::MAX), at(0), None, 0, true),
        ("for ever, no auth_time", StepUpLayer::max_age(Duration::MAX), None, None, 0, false),
        ("the preferred way", acr(), None, Some(two_factor), 0, true),
        ("another way", acr(), None, Some("urn:example:key"), 0, true),
        ("a way not named", acr(), at(NOW), Some("urn:example:password"), 0, false),
        ("another case", acr(), None, Some("URN:example:two-factor"), 0, false),
        ("longer", acr(), None, Some("urn:example:two-factor-not"), 0, false),
        ("both ways in one", acr(), None, Some("urn:example:two-factor urn:example:key"), 0, false),
        ("empty", acr(), None, Some(""), 0, false),
        ("no acr", acr(), at(NOW), None, 0, false),
        ("no acr, long ago: nobody asks", acr(), at(0), Some(two_factor), 0, true),
        ("both", both(), at(NOW), Some(two_factor), 0, true),
        ("both, too old", both(), at(NOW), Some(two_factor), 300_001, false),
        ("both, too weak", both(), at(NOW), Some("urn:example:password"), 0, false),
        (
            "both, asked the other way round",
            acr().with_max_age(five),
            at(NOW),
            Some(two_factor),
            300_001,
            false,
        ),
        ("a later age", age().with_max_age(five * 2), at(NOW), None, 300_001, true),
        ("a later list", acr().with_acr_values(["urn:x"]).unwrap(), None, Some(two_factor), 0, false),
        ("neither", both(), None, None, 0, false),
    ] {
        let clock = ManualClock::new();
        clock.advance(Duration::from_millis(late));
        let mut claims = claims();
        if let Some(auth_time) = auth_time {
            claims = claims.with("auth_time", auth_time);
        }
        if let Some(held) = held {
            claims = claims.with("acr", quoted(held));
        }
        let request = || bearer(&signer().with_claims(claims.json()));
        let layer_of = layer_of.with_clock(clock);
        let answer = send!(request(), layer::<NoClaims>(), layer_of.clone());
        let call = send!(as_grpc(request()), layer::<NoClaims>(), layer_of);
        if passes {
            assert_passed(row, &answer);
            assert_passed(row, &call);
            continue;
        }
        assert_refused(row, &answer, 401, RejectionKind::InsufficientAuthentication);
        assert_eq!(answer.reason(), Some("insufficient_user_authentication"), "{row}");
        assert_eq!(call.header("grpc-status"), Some("16"), "{row}");
        assert!(call.ends_at_once && !call.passed, "{row}");
    }
}

/// RFC 9470, section 3: the code, and what is needed in parameters of these names, as quoted-strings.
#[tokio::test]
async fn a_step_up_challenge_is_that_of_rfc_9470() {
    let five = Duration::from_secs(300);
    let begin = r#"Bearer realm="api", error="insufficient_user_authentication", error_description="another authentication of the user is required""#;
    for (layer_of, end) in [
        (StepUpLayer::max_age(Duration::from_millis(5999)), r#", max_age="5""#),
        (StepUpLayer::acr_values(["myACR"]).unwrap(), r#", acr_values="myACR""#),
        (StepUpLayer::acr_values(["a", "b"]).unwrap(), r#", acr_values="a b""#),
        (
            StepUpLayer::max_age(five).with_acr_values(["urn:x:two-factor", "urn:x:key"]).unwrap(),
            r#", acr_values="urn:x:two-factor urn:x:key", max_age="300""#,
        ),
        (StepUpLayer::acr_values(["a"]).unwrap().with_max_age(five), r#", acr_values="a", max_age="300""#),
    ] {
        let answer = send!(good(), layer::<NoClaims>(), layer_of);
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*format!("{begin}{end}")));
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"], "insufficient_user_authentication");
    }
}

#[tokio::test]
async fn tokens_of_the_issuer_step_up() {
    let clock = ManualClock::new();
    let config = config(&signer(), &clock);
    let bearer_layer = JwtAuthLayer::new(config.verifier::<NoClaims>());
    let step_up = StepUpLayer::max_age(Duration::from_secs(300))
        .with_acr_values(["two-factor"])
        .unwrap()
        .with_clock(clock.clone());
    let token = |grant: AccessGrant| {
        let token = Issuer::new(&config).unwrap().issue(&grant, &NoClaims {}).unwrap();
        bearer(token.expose())
    };
    let login = Timestamp::from_unix_seconds(NOW);
    let weak = token(AccessGrant::new(SUBJECT).with_authenticated_at(login));
    let strong = token(AccessGrant::new(SUBJECT).with_authenticated_at(login).with_acr("two-factor"));
    for (row, late, request, passes) in [
        ("strong", 0, &strong, true),
        ("weak", 0, &weak, false),
        ("strong, at the bound", 300, &strong, true),
        ("strong, old", 301, &strong, false),
    ] {
        clock.set(login.saturating_add(Duration::from_secs(late)));
        assert_eq!(send!(request.clone(), bearer_layer.clone(), step_up.clone()).passed, passes, "{row}");
    }
}

// ── what all layers have in common ──

/// Stands for any of the layers, so that they can be in a table.
type Wrap = fn(Inner) -> BoxCloneService<Req, Answer, Infallible>;

macro_rules! wrap {
    ($layer:expr) => {
        |inner| {
            BoxCloneService::new($layer.layer(inner).and_then(async |response| Ok(collect(response).await)))
        }
    };
}

/// Each layer as one that lets everybody with a good token pass, and as one that lets nobody; all with the claims
/// `NoClaims`.
fn each() -> [(&'static str, Wrap); 6] {
    [
        ("scope", wrap!(RequireScopeLayer::all(["a"]).unwrap())),
        ("predicate", wrap!(RequireLayer::new(|_: &Verified<NoClaims>| true))),
        ("predicate, no", wrap!(RequireLayer::new(|_: &Verified<NoClaims>| false))),
        ("async", wrap!(yes())),
        ("async, no", wrap!(no())),
        ("step-up", wrap!(StepUpLayer::max_age(Duration::MAX))),
    ]
}

#[tokio::test]
async fn without_a_bearer_layer_nobody_passes_and_the_log_names_the_mistake() {
    let (events, _guard) = Events::start();
    for (name, wrap) in each() {
        for request in [good(), anonymous(), as_grpc(good())] {
            let calls = Arc::new(AtomicUsize::new(0));
            let answer = wrap(inner(&calls)).oneshot(request).await.unwrap();
            assert_eq!(calls.load(Ordering::SeqCst), 0, "{name}");
            assert_eq!(answer.reason(), Some("no_bearer_layer"), "{name}");
            match answer.header("grpc-status") {
                Some(status) => assert_eq!((answer.status, status), (200, "13"), "{name}"),
                None => assert_eq!(answer.status, 500, "{name}"),
            }
            assert!(!answer.headers.contains_key(WWW_AUTHENTICATE), "{name}");
            let logged = events.take();
            assert_eq!(logged.len(), 2, "{name}: {logged:?}");
            assert!(logged[0].starts_with("ERROR tower_jwt_auth::authorize no_bearer_layer"), "{logged:?}");
            assert!(logged[0].contains("JwtAuthLayer"), "{name}: what is to be done: {logged:?}");
            let rejected = r#"ERROR tower_jwt_auth::authorize rejected reason="no_bearer_layer""#;
            assert!(logged[1].starts_with(rejected), "{name}: {logged:?}");
        }
    }
}

#[tokio::test]
async fn a_bearer_layer_behind_does_not_count() {
    let scope = RequireScopeLayer::all(["a"]).unwrap();
    let answer = send!(with("scope", r#""a""#), scope.clone(), layer::<NoClaims>());
    assert_refused("the wrong way round", &answer, 500, RejectionKind::NoBearerLayer);
    assert_passed("the right one", &send!(with("scope", r#""a""#), layer::<NoClaims>(), scope));
}

#[tokio::test]
async fn who_has_no_good_token_is_refused_in_each_mode() {
    let sent = |bearer_layer: JwtAuthLayer<NoClaims>, wrap: Wrap, request: Req| async move {
        let calls = Arc::new(AtomicUsize::new(0));
        let answer = bearer_layer
            .layer(wrap(inner(&calls)).map_response(|answer| {
                let mut response = Response::new(Full::<Bytes>::default());
                *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
                *response.headers_mut() = answer.headers;
                response.extensions_mut().insert(answer.rejection);
                response
            }))
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        let reason = answer.extensions().get::<Option<Rejection>>().unwrap().as_ref().unwrap().reason();
        let challenge =
            answer.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), reason, challenge.unwrap_or_default())
    };
    let bare = r#"Bearer realm="api""#;
    let bad =
        r#"Bearer realm="api", error="invalid_token", error_description="the access token is not valid""#;
    let malformed =
        r#"Bearer realm="api", error="invalid_request", error_description="the credentials are malformed""#;
    for (name, wrap) in each() {
        for (mode, layer) in [("optional", layer().optional()), ("observe", layer().observe())] {
            let answer = sent(layer, wrap, anonymous()).await;
            assert_eq!(answer, (401, "missing", bare.to_owned()), "{name}, {mode}");
        }
        for (request, expected) in [
            (bearer("x.y.z"), (401, "malformed", bad.to_owned())),
            (request(&["Bearer"]), (400, "malformed_credential", malformed.to_owned())),
        ] {
            assert_eq!(sent(layer().observe(), wrap, request).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_predicate_is_asked_about_good_tokens_only() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (now, later) = (Arc::clone(&asked), Arc::clone(&asked));
    let predicate = RequireLayer::new(move |_: &Verified<NoClaims>| {
        now.fetch_add(1, Ordering::SeqCst);
        true
    });
    let predicate_async = RequireAsyncLayer::new(move |_: Verified<NoClaims>| {
        later.fetch_add(1, Ordering::SeqCst);
        ready(Ok::<_, Infallible>(true))
    });
    for (request, count) in [(anonymous(), 0), (bearer("x.y.z"), 0), (request(&["Bearer"]), 0), (good(), 1)] {
        for layer in [layer::<NoClaims>().observe(), layer()] {
            asked.store(0, Ordering::SeqCst);
            send!(request.clone(), layer.clone(), predicate.clone());
            assert_eq!(asked.swap(0, Ordering::SeqCst), count);
            send!(request.clone(), layer, predicate_async.clone());
            assert_eq!(asked.load(Ordering::SeqCst), count);
        }
    }
}

#[tokio::test]
async fn other_claims_than_the_layers_are_a_fault_and_the_log_names_both_types() {
    let (events, _guard) = Events::start();
    let predicate = RequireLayer::new(|_: &Verified<User>| true);
    let later = RequireAsyncLayer::new(async |_: Verified<User>| Ok::<_, Infallible>(true));
    for make in [|request: Req| request, as_grpc] {
        for (name, answer) in [
            ("sync", send!(make(good()), layer::<NoClaims>(), predicate.clone())),
            ("async", send!(make(good()), layer::<NoClaims>(), later.clone())),
        ] {
            assert!(!answer.passed, "{name}");
            assert_eq!(answer.reason(), Some("other_claims"), "{name}");
            match answer.header("grpc-status") {
                Some(status) => assert_eq!((answer.status, status), (200, "13"), "{name}"),
                None => assert_eq!(answer.status, 500, "{name}"),
            }
            assert!(!format!("{answer:?}").contains("User"), "{name}: a type's name is not for clients");
        }
        let layer = std::any::type_name::<NoClaims>();
        let fault = format!(
            r#"ERROR tower_jwt_auth::authorize other_claims asked="authorize::User" layer="{layer}""#
        );
        let rejected = r#"ERROR tower_jwt_auth::authorize rejected reason="other_claims""#;
        assert_eq!(events.take_own(), [&*fault, rejected, &*fault, rejected]);
    }
    // Who sends no token is told so first: nothing is wrong with the claims of nobody.
    let answer = send!(anonymous(), layer::<NoClaims>().optional(), predicate);
    assert_refused("none", &answer, 401, RejectionKind::Missing);
    // Scopes and authentications are registered claims, and need no type.
    let scope = RequireScopeLayer::all(["a"]).unwrap();
    let request = bearer(&signer().with_claims(claims().with("roles", "[]").with("scope", r#""a""#).json()));
    assert_passed("registered", &send!(request, layer::<User>(), scope));
}

#[tokio::test]
async fn refusals_are_one_event_and_passes_none() {
    let (events, _guard) = Events::start();
    let scope = RequireScopeLayer::all(["a"]).unwrap();
    for (row, request, layer_of, expected) in [
        ("passes", with("scope", r#""a""#), layer::<NoClaims>(), &[][..]),
        (
            "lacks",
            good(),
            layer(),
            &[r#"INFO tower_jwt_auth::authorize rejected reason="insufficient_scope""#],
        ),
        (
            "none",
            anonymous(),
            layer().optional(),
            &[r#"DEBUG tower_jwt_auth::authorize rejected reason="missing""#],
        ),
        (
            "refused before",
            anonymous(),
            layer(),
            &[r#"DEBUG tower_jwt_auth::bearer rejected reason="missing""#],
        ),
        (
            "observed",
            bearer("x.y.z"),
            layer().observe(),
            &[
                r#"DEBUG tower_jwt_auth::bearer bad_token reason="malformed" detail="a segment is not canonical base64url""#,
                r#"INFO tower_jwt_auth::bearer observed reason="malformed""#,
                r#"INFO tower_jwt_auth::authorize rejected reason="malformed""#,
            ],
        ),
    ] {
        send!(request, layer_of, scope.clone());
        assert_eq!(events.take_own(), expected, "{row}");
    }
    send!(good(), layer::<NoClaims>(), no());
    assert_eq!(events.take_own(), [r#"INFO tower_jwt_auth::authorize rejected reason="denied""#]);
    send!(good(), layer::<NoClaims>(), StepUpLayer::max_age(SECOND));
    let step_up = r#"INFO tower_jwt_auth::authorize rejected reason="insufficient_user_authentication""#;
    assert_eq!(events.take_own(), [step_up]);
}

/// Of several, the outer one decides first.
#[tokio::test]
async fn layers_stack_in_their_order() {
    let (a, b) = (RequireScopeLayer::all(["a"]).unwrap(), RequireScopeLayer::all(["b"]).unwrap());
    for (held, expected) in [("", Some("a")), ("a", Some("b")), ("b", Some("a")), ("a b", None)] {
        let answer = send!(with("scope", &quoted(held)), layer::<NoClaims>(), a.clone(), yes(), b.clone());
        let scope = answer.rejection.as_ref().map(|rejection| rejection.scope().unwrap());
        assert_eq!(scope, expected, "{held:?}");
        assert_eq!(answer.passed, expected.is_none(), "{held:?}");
    }
}

/// The context that tests of handlers make is as good as the bearer layer's.
#[tokio::test]
async fn a_context_made_for_tests_will_do() {
    let config = config(&signer(), &ManualClock::new());
    let token = signer().with_claims(claims().with("scope", r#""a""#).json());
    let verified = config.verifier::<NoClaims>().verify(&token).unwrap();
    for (row, context, status) in [
        ("verified", AuthContext::for_test(verified), 200),
        ("anonymous", AuthContext::anonymous_for_test(), 401),
    ] {
        let mut request = anonymous();
        request.extensions_mut().insert(context);
        assert_eq!(send!(request, RequireScopeLayer::all(["a"]).unwrap(), yes()).status, status, "{row}");
    }
}

// ── as citizens of tower ──

#[derive(Debug, PartialEq)]
struct PlainError(u8);

/// Ready or not, as told; answers with an error that is no `Error`, and with a body that is none.
#[derive(Clone)]
struct Plain(Result<(), u8>);

struct NoBody;

impl Service<Request<NoBody>> for Plain {
    type Response = Response<NoBody>;
    type Error = PlainError;
    type Future = Ready<Result<Response<NoBody>, PlainError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PlainError>> {
        Poll::Ready(self.0.map_err(PlainError))
    }

    fn call(&mut self, _: Request<NoBody>) -> Self::Future {
        ready(Err(PlainError(9)))
    }
}

#[tokio::test]
async fn errors_and_bodies_of_the_inner_service_need_no_trait() {
    let request = || {
        let verified = config(&signer(), &ManualClock::new());
        let token =
            signer().with_claims(claims().with("scope", r#""a""#).with("auth_time", NOW.to_string()).json());
        let mut request = Request::new(NoBody);
        let verified = verified.verifier::<NoClaims>().verify(&token).unwrap();
        request.extensions_mut().insert(AuthContext::for_test(verified));
        request
    };
    macro_rules! check {
        ($layer:expr) => {
            let called = $layer.layer(Plain(Ok(()))).oneshot(request()).await;
            assert_eq!(called.map(|_| ()), Err(PlainError(9)));
            let mut broken = $layer.layer(Plain(Err(1)));
            let ready: Result<(), PlainError> = broken.ready().await.map(|_| ());
            assert_eq!(ready, Err(PlainError(1)));
        };
    }
    check!(RequireScopeLayer::all(["a"]).unwrap());
    check!(RequireLayer::new(|_: &Verified<NoClaims>| true));
    check!(StepUpLayer::max_age(Duration::MAX));
    check!(yes());
}

/// Those that decide at once need no `Clone` and call in place.
#[tokio::test]
async fn what_decides_at_once_calls_the_instance_that_was_polled() {
    struct NotClone(OneShotReadiness);
    impl Service<Req> for NotClone {
        type Response = Res;
        type Error = Infallible;
        type Future = Ready<Result<Res, Infallible>>;
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: Req) -> Self::Future {
            self.0.call(request)
        }
    }
    let mut service = ServiceBuilder::new()
        .layer(layer::<NoClaims>())
        .layer(RequireScopeLayer::any(["a", "b"]).unwrap())
        .layer(RequireLayer::new(|_: &Verified<NoClaims>| true))
        .layer(StepUpLayer::max_age(Duration::MAX))
        .service(NotClone(OneShotReadiness::default()));
    let token = signer().with_claims(claims().with("scope", r#""a""#).with("auth_time", "0").json());
    for (request, status) in [(bearer(&token), 200), (good(), 403), (bearer(&token), 200), (anonymous(), 401)]
    {
        assert_eq!(service.ready().await.unwrap().call(request).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_refused_request_never_reaches_the_inner_service() {
    let verified = AuthContext::anonymous_for_test();
    let refused = || {
        let mut request = anonymous();
        request.extensions_mut().insert(verified.clone());
        request
    };
    macro_rules! check {
        ($layer:expr) => {
            let (mut service, mut handle) = mock::spawn_layer::<Req, Res, _>($layer);
            handle.allow(0);
            assert!(service.poll_ready().is_pending());
            handle.allow(2);
            assert!(service.is_woken(), "the caller's waker reached the inner service");
            assert!(service.poll_ready().is_ready());
            // The mock would never answer: were it called, this would hang.
            assert_eq!(service.call(refused()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
            assert!(handle.poll_request().is_pending(), "the inner service was called");
        };
    }
    check!(RequireScopeLayer::all(["a"]).unwrap());
    check!(RequireLayer::new(|_: &Verified<NoClaims>| true));
    check!(StepUpLayer::max_age(Duration::MAX));
    check!(yes());
}

// ── in axum ──

#[cfg(feature = "axum")]
#[tokio::test]
async fn each_route_of_an_axum_router_has_rules_of_its_own() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;

    async fn who(user: Verified<NoClaims>) -> String {
        user.subject().to_owned()
    }
    let scope = |scope| RequireScopeLayer::all([scope]).unwrap();
    let nobody = RequireAsyncLayer::new(async |_: Verified<NoClaims>| Ok::<_, Infallible>(false));
    let router = Router::new()
        .route("/me", get(who))
        // Only the methods that were there before are behind the layer.
        .route("/orders", get(who).post(who).route_layer(scope("orders:write")))
        .route("/mixed", get(who).route_layer(scope("orders:read")).post(who))
        .route("/never", get(who).layer(nobody))
        .route("/both", get(who).layer((scope("orders:read"), StepUpLayer::max_age(Duration::MAX))))
        .nest("/admin", Router::new().route("/users", get(who)).route_layer(scope("admin")))
        .route_layer(layer::<NoClaims>());
    let reader = signer().with_claims(claims().with("scope", r#""orders:read""#).json());
    for (method, path, token, status) in [
        ("GET", "/me", None, 401),
        ("GET", "/me", Some(&reader), 200),
        ("GET", "/orders", Some(&reader), 403),
        ("POST", "/orders", Some(&reader), 403),
        ("PUT", "/orders", Some(&reader), 405),
        ("GET", "/mixed", Some(&reader), 200),
        ("POST", "/mixed", None, 401),
        ("GET", "/never", Some(&reader), 403),
        ("GET", "/both", Some(&reader), 401),
        ("GET", "/admin/users", Some(&reader), 403),
        ("GET", "/admin/users", None, 401),
        ("GET", "/unknown", None, 404),
        ("GET", "/unknown", Some(&reader), 404),
    ] {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        let is_challenged = response.headers().contains_key(WWW_AUTHENTICATE);
        assert_eq!(is_challenged, [401, 403].contains(&status), "{method} {path}");
        if status == 200 {
            assert_eq!(collect(response).await.body, SUBJECT, "{method} {path}");
        }
    }
}

/// Both layers on one route, without the type annotations that `.layer(..).layer(..)` would want.
#[cfg(feature = "axum")]
#[tokio::test]
async fn a_tuple_puts_both_layers_on_one_route() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;

    let scope = || RequireScopeLayer::all(["a"]).unwrap();
    let open = async || "open";
    let tuple = get(open).layer((layer::<NoClaims>(), scope()));
    let twice = get(open).route_layer(scope()).route_layer(layer::<NoClaims>());
    let built = get(open).layer(ServiceBuilder::new().layer(layer::<NoClaims>()).layer(scope()));
    for (row, route) in [("a tuple", tuple), ("route_layer twice", twice), ("a builder", built)] {
        let router = Router::new().route("/", route);
        for (request, status) in [(anonymous(), 401), (good(), 403), (with("scope", r#""a""#), 200)] {
            let response = router.clone().oneshot(request.map(Body::new)).await.unwrap();
            assert_eq!(response.status(), status, "{row}");
        }
    }
}
