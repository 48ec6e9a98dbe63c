//! The layers of the crate among those of tower and tower-http, outside and inside of them.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, pending, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
    ORIGIN, SERVER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use support::ManualClock;
use support::events::Events;
use support::requests::{as_grpc, bearer, request};
use support::tokens::{NOW, SUBJECT, Signer, claims, config, quoted};
use tower::layer::util::Identity;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower::util::{BoxCloneService, BoxCloneSyncService, BoxService, option_layer};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::classify::GrpcFailureClass;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::csrf::{CsrfLayer, ProtectionError};
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::set_header::{SetRequestHeaderLayer, SetResponseHeaderLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer};
use tower_jwt_auth::{
    JwtAuth, JwtAuthLayer, NoClaims, Rejection, RequireAsyncLayer, RequireLayer, RequireScopeLayer,
    ResponseFuture, StepUpLayer, Verified,
};
use tower_test::mock;

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;

fn signer() -> Signer {
    Signer::ed25519()
}

fn layer() -> JwtAuthLayer<NoClaims> {
    JwtAuthLayer::new(config(&signer(), &ManualClock::new()).verifier())
}

/// What the layers of authorization below ask for.
fn token() -> String {
    signer().with_claims(
        claims()
            .with("scope", quoted("a"))
            .with("auth_time", NOW.to_string())
            .with("acr", quoted("b"))
            .json(),
    )
}

fn good() -> Req {
    bearer(&token())
}

fn anonymous() -> Req {
    Request::new(Full::default())
}

fn scope() -> RequireScopeLayer {
    RequireScopeLayer::all(["a"]).unwrap()
}

fn predicate() -> RequireLayer<NoClaims> {
    RequireLayer::new(|user: &Verified<NoClaims>| user.subject() == SUBJECT)
}

fn later() -> RequireAsyncLayer<NoClaims> {
    RequireAsyncLayer::new(async |user: Verified<NoClaims>| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(user.subject() == SUBJECT)
    })
}

fn step_up() -> StepUpLayer {
    StepUpLayer::acr_values(["b"]).unwrap()
}

fn echo() -> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send + Sync {
    service_fn(|_: Req| ready(Ok(Response::new(Full::from("inner")))))
}

/// Never answers.
fn hangs() -> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|_: Req| pending())
}

/// The answers to requests without a token, with a good one, a bad one, one that lacks all, and a malformed one; and the
/// good one again, which must not suffer from the others.
const ANSWERS: [u16; 6] = [401, 200, 401, 403, 400, 200];

async fn statuses<S, B>(mut service: S) -> [u16; 6]
where
    S: Service<Req, Response = Response<B>, Error: fmt::Debug>,
{
    let mut statuses = [0; 6];
    let requests =
        [anonymous(), good(), bearer("x.y.z"), bearer(&signer().good()), request(&["Bearer"]), good()];
    for (status, request) in statuses.iter_mut().zip(requests) {
        *status = service.ready().await.unwrap().call(request).await.unwrap().status().as_u16();
    }
    statuses
}

async fn body_of<B: Body<Data = Bytes, Error: fmt::Debug>>(response: Response<B>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

// ── tower ──

/// Each layer of tower around all of ours, between each of them, and inside; with the last of ours before a box.
#[tokio::test]
async fn towers_layers_go_everywhere() {
    macro_rules! everywhere {
        ($($name:literal: $method:ident($($argument:expr)?);)+) => {$(
            let builder = || ServiceBuilder::new();
            let outside = builder().$method($($argument)?).layer(layer()).layer(scope()).layer(later());
            assert_eq!(statuses(outside.service(echo())).await, ANSWERS, "{} outside", $name);
            let inside = builder().layer(layer()).layer(scope()).layer(later()).$method($($argument)?);
            assert_eq!(statuses(inside.service(echo())).await, ANSWERS, "{} inside", $name);
            let between = builder()
                .layer(layer())
                .$method($($argument)?)
                .layer(scope())
                .$method($($argument)?)
                .layer(predicate())
                .$method($($argument)?)
                .layer(later())
                .$method($($argument)?)
                .layer(step_up());
            assert_eq!(statuses(between.service(echo())).await, ANSWERS, "{} between", $name);
        )+};
    }
    let minute = Duration::from_secs(60);
    everywhere! {
        "buffer": buffer(1);
        "concurrency limit": concurrency_limit(1);
        "load shed": load_shed();
        "timeout": timeout(minute);
    }
    let all = || ServiceBuilder::new().load_shed().buffer(4).concurrency_limit(4).timeout(minute);
    let service =
        all().layer(layer()).layer(scope()).layer(later()).layer(all().into_inner()).service(echo());
    assert_eq!(statuses(service).await, ANSWERS, "all, on both sides");
}

#[tokio::test]
async fn boxes_go_on_both_sides() {
    fn is_shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let stack = || ServiceBuilder::new().layer(layer()).layer(scope()).layer(predicate()).layer(step_up());
    let boxed = BoxService::new(stack().service(BoxService::new(echo())));
    assert_eq!(statuses(boxed).await, ANSWERS);
    let boxed = BoxCloneService::new(stack().layer(later()).service(BoxCloneService::new(echo())));
    assert_eq!(statuses(boxed).await, ANSWERS);
    let boxed = BoxCloneSyncService::new(stack().layer(later()).service(BoxCloneSyncService::new(echo())));
    is_shared(&boxed);
    assert_eq!(statuses(boxed.clone()).await, ANSWERS);
    let layered = ServiceBuilder::new().layer(BoxCloneSyncService::layer()).layer(layer()).layer(scope());
    assert_eq!(statuses(layered.service(echo())).await, ANSWERS);
}

#[tokio::test]
async fn a_concurrency_limit_outside_is_free_again_after_a_refusal() {
    let mut service =
        ServiceBuilder::new().concurrency_limit(1).layer(layer()).layer(scope()).service(echo());
    for refused in [anonymous(), bearer("x.y.z"), bearer(&signer().good())] {
        let refused = service.ready().await.unwrap().call(refused).await.unwrap();
        assert_ne!(refused.status(), StatusCode::OK);
        let passed = service.clone().oneshot(good()).await.unwrap();
        assert_eq!(passed.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_concurrency_limit_inside_keeps_the_permit_of_a_refusal_with_its_clone() {
    let mut service = ServiceBuilder::new().layer(layer()).concurrency_limit(1).service(echo());
    for request in [anonymous(), anonymous(), good(), anonymous()] {
        // The same instance goes on with the permit it has.
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    // As in all of tower, and in the module's documentation: the permit stays until this instance is called or gone.
    let mut other = mock::Spawn::new(service.clone());
    assert!(other.poll_ready::<Req>().is_pending());
    drop(service);
    assert!(other.poll_ready::<Req>().is_ready());
    assert_eq!(other.call(good()).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn load_is_shed_before_or_behind_the_check() {
    // Outside: a service that is full answers nobody.
    let (mut service, mut handle) = mock::spawn_with(|service: mock::Mock<Req, Res>| {
        ServiceBuilder::new().load_shed().layer(layer()).service(service)
    });
    handle.allow(0);
    for request in [good(), anonymous()] {
        assert!(service.poll_ready().is_ready());
        assert!(service.call(request).await.unwrap_err().is::<Overloaded>());
    }
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    assert_eq!(service.call(anonymous()).await.unwrap().status(), StatusCode::UNAUTHORIZED);

    // Inside: only who has a good token learns of the load.
    let (mut service, mut handle) = mock::spawn_with(|service: mock::Mock<Req, Res>| {
        ServiceBuilder::new().layer(layer()).load_shed().service(service)
    });
    handle.allow(0);
    for (request, expected) in [(good(), None), (anonymous(), Some(401)), (good(), None)] {
        assert!(service.poll_ready().is_ready());
        match (service.call(request).await, expected) {
            (Ok(response), Some(status)) => assert_eq!(response.status(), status),
            (Err(error), None) => assert!(error.is::<Overloaded>()),
            (answer, _) => panic!("{answer:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_work_on_both_sides() {
    let second = Duration::from_secs(1);
    let is_elapsed =
        |result: Result<_, BoxError>| result.map(|_: Response<_>| ()).unwrap_err().is::<Elapsed>();
    let outside = ServiceBuilder::new().timeout(second).layer(layer()).layer(scope()).service(hangs());
    assert_eq!(outside.clone().oneshot(anonymous()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert!(is_elapsed(outside.oneshot(good()).await));
    let inside = ServiceBuilder::new().layer(layer()).layer(scope()).timeout(second).service(hangs());
    assert_eq!(inside.clone().oneshot(anonymous()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert!(is_elapsed(inside.oneshot(good()).await));

    // A predicate that hangs is within the time of a layer outside only.
    let hanging =
        RequireAsyncLayer::new(async |_: Verified<NoClaims>| pending::<Result<_, Infallible>>().await);
    let outside = ServiceBuilder::new().layer(layer()).timeout(second).layer(hanging).service(echo());
    assert!(is_elapsed(outside.oneshot(good()).await));
}

/// `option_layer` wants one type of response from both ways, and ours puts a body of its own around the inner one:
/// `MapResponseBodyLayer` makes them one.
#[tokio::test]
async fn a_layer_that_is_there_or_not() {
    type Boxed = UnsyncBoxBody<Bytes, Infallible>;
    let boxed_echo = echo().map_response(|response: Res| response.map(BodyExt::boxed_unsync));
    for (enabled, status) in [(true, 401), (false, 200)] {
        let bearer = || (MapResponseBodyLayer::new(Boxed::new), layer());
        let service =
            ServiceBuilder::new().layer(option_layer(enabled.then(bearer))).service(boxed_echo.clone());
        assert_eq!(service.oneshot(anonymous()).await.unwrap().status(), status, "{enabled}");
        // Without a change of types.
        let layer = if enabled { layer() } else { layer().observe() };
        let service = layer.layer(echo());
        assert_eq!(service.oneshot(anonymous()).await.unwrap().status(), status, "{enabled}");
    }
    // In axum there is one body.
    for (enabled, status) in [(true, 401), (false, 200)] {
        use axum::body::Body;
        let bearer = || (MapResponseBodyLayer::new(Body::new), layer());
        let router = axum::Router::new()
            .route("/", axum::routing::get(async || "inner"))
            .layer(option_layer(enabled.then(bearer)));
        let response = router.oneshot(anonymous().map(Body::new)).await.unwrap();
        assert_eq!(response.status(), status, "{enabled}, axum");
    }
}

/// The other way round of a builder: the layer that was named last is outside.
#[tokio::test]
async fn the_order_of_layers_is_the_order_of_checks() {
    let right = ServiceBuilder::new().layer(layer()).layer(scope()).layer(later()).service(echo());
    assert_eq!(statuses(right).await, ANSWERS);
    let wrapped = layer().layer(scope().layer(later().layer(echo())));
    assert_eq!(statuses(wrapped).await, ANSWERS);
    let tuple = (layer(), scope(), later()).layer(echo());
    assert_eq!(statuses(tuple).await, ANSWERS);
    let option = ServiceBuilder::new().layer(layer()).option_layer(None::<Identity>).layer(scope());
    assert_eq!(statuses(option.service(echo())).await, ANSWERS);

    // A fault of the wiring, whatever the request.
    let wrong = ServiceBuilder::new().layer(scope()).layer(layer()).service(echo());
    assert_eq!(statuses(wrong).await, [500; 6]);
    let wrong = ServiceBuilder::new().layer(later()).layer(layer()).service(echo());
    assert_eq!(statuses(wrong).await, [500; 6]);
}

#[test]
fn futures_stay_small() {
    fn grows<F>() -> usize {
        size_of::<ResponseFuture<F>>() - size_of::<F>()
    }
    // Stored inline, a refusal alone would be more than a hundred.
    assert!(size_of::<Response<Bytes>>() > 100);
    let all = [grows::<()>(), grows::<u8>(), grows::<Box<()>>(), grows::<[u64; 20]>(), grows::<Ready<Res>>()];
    assert!(all.iter().all(|bytes| *bytes <= 16), "{all:?}");
    assert_eq!(size_of::<JwtAuth<[u8; 64], NoClaims>>(), 64 + size_of::<usize>());
    assert_eq!(size_of::<Verified<[u8; 64]>>(), size_of::<usize>());

    let stub = || service_fn(|_: Req| pending::<Result<Res, Infallible>>());
    let inner = size_of_val(&stub().call(anonymous()));
    let mut stack = ServiceBuilder::new()
        .layer(layer())
        .layer(scope())
        .layer(predicate())
        .layer(step_up())
        .service(stub());
    let bytes = size_of_val(&stack.call(anonymous()));
    assert!(bytes <= inner + 4 * 16, "{bytes} around {inner}");
    // One that waits keeps the request, and a clone of the service.
    let mut waits = later().layer(stub());
    let held = size_of::<Req>() + size_of_val(&stub());
    let bytes = size_of_val(&waits.call(anonymous()));
    assert!(bytes <= held + 32, "{bytes} around {held}");
}

/// What a body breaks with; no `Error`.
#[derive(Debug, PartialEq)]
struct Broke;

#[tokio::test]
async fn bodies_pass_through_all_layers_with_trailers_and_errors() {
    for breaks in [false, true] {
        // No `Default`, no exact size.
        let inner = service_fn(move |_: Req| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let end = if breaks { Err(Broke) } else { Ok(Frame::trailers(trailers)) };
            let frames = [Ok(Frame::data(Bytes::from("a"))), Ok(Frame::data("b".into())), end];
            ready(Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(frames)))))
        });
        let service = ServiceBuilder::new()
            .layer(layer())
            .layer(scope())
            .layer(predicate())
            .layer(later())
            .layer(step_up())
            .service(inner);
        let mut body = service.clone().oneshot(good()).await.unwrap().into_body();
        for expected in ["a", "b"] {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
        }
        match body.frame().await.unwrap() {
            Ok(frame) => assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0"),
            Err(error) => assert_eq!((error, breaks), (Broke, true)),
        }
        // However deep it was made, a refusal is whole, and ends with its headers over gRPC.
        for refused in [anonymous(), bearer(&signer().good())] {
            let call = service.clone().oneshot(as_grpc(refused.clone())).await.unwrap();
            assert!(call.body().is_end_stream() && call.headers().contains_key("grpc-status"));
            let response = service.clone().oneshot(refused).await.unwrap();
            let size = response.body().size_hint().exact().unwrap();
            let Ok(body) = response.into_body().collect().await else { panic!("a refusal broke") };
            assert_eq!(body.to_bytes().len() as u64, size);
        }
    }
}

// ── tower-http: trace and marks ──

/// A trace of everything, headers too.
macro_rules! loud_trace {
    () => {
        TraceLayer::new_for_http()
            .make_span_with(DefaultMakeSpan::new().include_headers(true))
            .on_request(DefaultOnRequest::new())
            .on_response(DefaultOnResponse::new().include_headers(true))
    };
}

#[tokio::test]
async fn a_trace_holds_no_token() {
    let (events, _guard) = Events::start();
    let (token, bad) = (token(), Signer::Ed25519([1; 32]).good());
    let requests = || {
        let mut with_cookie = bearer(&bad);
        with_cookie.headers_mut().insert(COOKIE, HeaderValue::try_from(format!("a={bad}")).unwrap());
        [bearer(&token), with_cookie, request(&[format!("Bearer {token} x")]), anonymous()]
    };
    let printed = || {
        let text = events.take().join("\n");
        assert!(text.contains("tower_http::trace"), "the trace ran: {text}");
        [&token, &bad].iter().any(|token| text.contains(token.rsplit('.').next().unwrap()))
    };
    let hide = || SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]);
    macro_rules! run {
        ($builder:expr) => {{
            for request in requests() {
                $builder.service(echo()).oneshot(request).await.unwrap();
            }
            printed()
        }};
    }
    let plain = ServiceBuilder::new().layer(TraceLayer::new_for_http()).layer(layer()).layer(scope());
    assert!(!run!(plain.clone()), "without headers");
    let inside = ServiceBuilder::new().layer(layer().observe()).layer(loud_trace!());
    assert!(!run!(inside.clone()), "inside, the layer has marked them");
    let hidden = ServiceBuilder::new().layer(hide()).layer(loud_trace!()).layer(layer());
    assert!(!run!(hidden.clone()), "outside, another layer has marked them");
    // The trap: outside nobody has.
    let unhidden = ServiceBuilder::new().layer(loud_trace!()).layer(layer());
    assert!(run!(unhidden.clone()));
}

#[tokio::test]
async fn a_trace_reads_the_reason_and_the_class_of_a_refusal() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let trace = TraceLayer::new_for_http().on_response(
        move |response: &Response<_>, _: Duration, _: &tracing::Span| {
            log.lock().unwrap().push(response.extensions().get().map(Rejection::reason));
        },
    );
    let service = ServiceBuilder::new().layer(trace).layer(layer()).layer(scope()).service(echo());
    assert_eq!(statuses(service).await, ANSWERS);
    let expected = [
        Some("missing"),
        None,
        Some("malformed"),
        Some("insufficient_scope"),
        Some("malformed_credential"),
        None,
    ];
    assert_eq!(*seen.lock().unwrap(), expected);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let trace = TraceLayer::new_for_grpc().on_failure(
        move |class: GrpcFailureClass, _: Duration, _: &tracing::Span| {
            log.lock().unwrap().push(class.to_string());
        },
    );
    let service = ServiceBuilder::new().layer(trace).layer(layer()).layer(scope()).service(echo());
    for request in [anonymous(), bearer(&signer().good()), good()] {
        body_of(service.clone().oneshot(as_grpc(request)).await.unwrap()).await;
    }
    let expected = [
        "Status: Unauthenticated: an access token is required",
        "Status: PermissionDenied: the access token lacks a scope",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// Marks of a layer outside do not hide the token from ours, and ours stay for those inside.
#[tokio::test]
async fn sensitive_headers_on_both_sides() {
    let marked = service_fn(|request: Req| {
        let headers = request.headers();
        let all = headers[AUTHORIZATION].is_sensitive() && headers[COOKIE].is_sensitive();
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(all.to_string()))))
    });
    let hide = || SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE, WWW_AUTHENTICATE]);
    let with_cookie = |mut request: Req| {
        request.headers_mut().insert(COOKIE, HeaderValue::from_static("a=1"));
        request
    };
    let outside = ServiceBuilder::new().layer(hide()).layer(layer()).service(marked);
    let inside = ServiceBuilder::new().layer(layer()).layer(hide()).service(marked);
    assert_eq!(body_of(outside.clone().oneshot(with_cookie(good())).await.unwrap()).await, "true");
    assert_eq!(body_of(inside.oneshot(with_cookie(good())).await.unwrap()).await, "true");
    let refused = outside.oneshot(anonymous()).await.unwrap();
    assert!(refused.headers()[WWW_AUTHENTICATE].is_sensitive(), "the headers of a refusal are marked, too");
}

// ── tower-http: what browsers need ──

#[tokio::test]
async fn cors_belongs_outside() {
    let preflight = || {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        request.body(Full::<Bytes>::default()).unwrap()
    };
    let cross_origin = |mut request: Req| {
        request.headers_mut().insert("origin", HeaderValue::from_static("https://app.example"));
        request
    };
    let cors = || {
        CorsLayer::new()
            .allow_origin(HeaderValue::from_static("https://app.example"))
            .allow_headers([AUTHORIZATION])
            .expose_headers([WWW_AUTHENTICATE])
    };
    let outside = ServiceBuilder::new().layer(cors()).layer(layer()).layer(scope()).service(echo());
    let answer = outside.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-headers"], "authorization");
    assert!(body_of(answer).await.is_empty());
    for (request, status) in [(anonymous(), 401), (bearer(&signer().good()), 403), (good(), 200)] {
        let answer = outside.clone().oneshot(cross_origin(request)).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example", "{status}");
        assert_eq!(answer.headers()["access-control-expose-headers"], "www-authenticate", "{status}");
    }

    // Row 12: inside, a preflight is refused, as it carries no credentials, and a browser cannot read the refusal.
    let inside = ServiceBuilder::new().layer(layer()).layer(cors()).service(echo());
    for refused in [preflight(), cross_origin(anonymous())] {
        let refused = inside.clone().oneshot(refused).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert!(!refused.headers().contains_key("access-control-allow-origin"));
    }
    // Behind an optional layer it does pass; what needs a user asks for one further in.
    let inside = ServiceBuilder::new().layer(layer().optional()).layer(cors()).layer(scope()).service(echo());
    assert_eq!(inside.clone().oneshot(preflight()).await.unwrap().status(), StatusCode::OK);
    let refused = inside.oneshot(cross_origin(anonymous())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.example");
}

#[tokio::test]
async fn csrf_is_checked_before_or_behind_the_token() {
    let csrf = || CsrfLayer::new().add_trusted_origin("https://app.example").unwrap();
    let post = |mut request: Req, site: &'static str| {
        *request.method_mut() = Method::POST;
        request.headers_mut().insert("sec-fetch-site", HeaderValue::from_static(site));
        request
    };
    let outside = ServiceBuilder::new().layer(csrf()).layer(layer()).service(echo());
    let inside = ServiceBuilder::new().layer(layer()).layer(csrf()).service(echo());
    for (row, request, from_outside, from_inside) in [
        ("cross-site, good", post(good(), "cross-site"), 403, 403),
        ("cross-site, none", post(anonymous(), "cross-site"), 403, 401),
        ("same-origin, good", post(good(), "same-origin"), 200, 200),
        ("same-origin, none", post(anonymous(), "same-origin"), 401, 401),
        ("a GET, good", good(), 200, 200),
    ] {
        let answer = outside.clone().oneshot(request.clone()).await.unwrap();
        assert_eq!(answer.status(), from_outside, "{row}, outside");
        let is_theirs = answer.extensions().get::<ProtectionError>().is_some();
        assert_eq!(is_theirs, from_outside == 403, "{row}, outside");
        assert_eq!(answer.extensions().get::<Rejection>().is_some(), from_outside == 401, "{row}, outside");
        let answer = inside.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), from_inside, "{row}, inside");
        assert_eq!(answer.extensions().get::<Rejection>().is_some(), from_inside == 401, "{row}, inside");
    }
    // Their check of a request with our own origin, which they know by its host.
    let mut own = post(good(), "same-site");
    own.headers_mut().insert(ORIGIN, HeaderValue::from_static("https://app.example"));
    assert_eq!(outside.oneshot(own).await.unwrap().status(), 200);
}

// ── tower-http: bodies and headers ──

const LONG: &str = "a text that is long enough to be compressed, a text that is long enough to be compressed";

/// Checks that these bytes are one gzip member of `expected` (RFC 1952): by its magic, CRC-32 and length.
#[track_caller]
fn assert_gzip_of(row: &str, body: &[u8], expected: &[u8]) {
    let mut crc = u32::MAX;
    for byte in expected {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    let length = u32::try_from(expected.len()).unwrap();
    assert_eq!(body[..3], [0x1f, 0x8b, 8], "{row}");
    assert_eq!(body[body.len() - 8..], [(!crc).to_le_bytes(), length.to_le_bytes()].concat(), "{row}");
}

#[tokio::test]
async fn compression_works_on_both_sides() {
    let inner = service_fn(|_: Req| ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(LONG)))));
    let stack = || ServiceBuilder::new().layer(layer()).layer(scope());
    let outside =
        ServiceBuilder::new().layer(CompressionLayer::new()).layer(stack().into_inner()).service(inner);
    let inside = stack().layer(CompressionLayer::new()).service(inner);
    let accepting = |mut request: Req| {
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        request
    };
    let plain = stack().service(inner);
    for (row, request, is_refused) in [
        ("good", good(), false),
        ("none", anonymous(), true),
        ("bad", bearer("x.y.z"), true),
        ("lacks", bearer(&signer().good()), true),
    ] {
        let expected = plain.clone().oneshot(request.clone()).await.unwrap();
        let (status, kept) = (expected.status(), expected.headers().clone());
        let expected = body_of(expected).await;

        let answer = outside.clone().oneshot(accepting(request.clone())).await.unwrap();
        assert_eq!(answer.status(), status, "{row}, outside");
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip", "{row}, outside");
        assert!(kept.iter().all(|(name, value)| answer.headers().get(name) == Some(value)), "{row}, outside");
        assert!(!answer.headers().contains_key(CONTENT_LENGTH), "{row}, outside");
        assert_gzip_of(row, &body_of(answer).await, &expected);

        let answer = inside.clone().oneshot(accepting(request.clone())).await.unwrap();
        assert_eq!(answer.status(), status, "{row}, inside");
        assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), !is_refused, "{row}, inside");
        let body = body_of(answer).await;
        if is_refused {
            assert_eq!(body, expected, "{row}, inside: a refusal is made further out");
        } else {
            assert_gzip_of(row, &body, &expected);
        }

        let unasked = outside.clone().oneshot(request.clone()).await.unwrap();
        assert!(!unasked.headers().contains_key(CONTENT_ENCODING), "{row}");
        assert_eq!(body_of(unasked).await, expected, "{row}");

        let call = outside.clone().oneshot(accepting(as_grpc(request))).await.unwrap();
        if is_refused {
            assert_eq!(call.headers()[CONTENT_TYPE], "application/grpc", "{row}");
            assert!(!call.headers().contains_key(CONTENT_ENCODING), "{row}, gRPC");
            assert!(call.body().is_end_stream(), "{row}: still one frame");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_tower_http_makes_a_body_of_ours() {
    let timeout = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(9));
    let stack = || ServiceBuilder::new().layer(layer()).layer(scope()).layer(later());
    let outside = ServiceBuilder::new().layer(timeout()).layer(stack().into_inner()).service(hangs());
    let inside = stack().layer(timeout()).service(hangs());
    for (request, status) in [(anonymous(), 401), (good(), 504)] {
        let answer = outside.clone().oneshot(request.clone()).await.unwrap();
        assert_eq!(answer.status(), status, "outside");
        assert_eq!(body_of(answer).await.is_empty(), status == 504, "outside");
        let answer = inside.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "inside");
        assert_eq!(body_of(answer).await.is_empty(), status == 504, "inside");
    }
    let outside = ServiceBuilder::new().layer(timeout()).layer(stack().into_inner()).service(echo());
    assert_eq!(statuses(outside).await, ANSWERS);
}

#[tokio::test]
async fn headers_are_set_on_both_sides() {
    let server = || SetResponseHeaderLayer::overriding(SERVER, HeaderValue::from_static("x"));
    let cache =
        || SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("max-age=9"));
    let outside = ServiceBuilder::new().layer(server()).layer(cache()).layer(layer()).service(echo());
    let inside = ServiceBuilder::new().layer(layer()).layer(server()).layer(cache()).service(echo());
    for (request, cached) in [(anonymous(), "no-store"), (bearer("x.y.z"), "no-store"), (good(), "max-age=9")]
    {
        let is_refused = cached == "no-store";
        let answer = outside.clone().oneshot(request.clone()).await.unwrap();
        assert_eq!(answer.headers()[SERVER], "x");
        assert_eq!(
            answer.headers()[CACHE_CONTROL],
            cached,
            "what a cache may keep of a refusal is said already"
        );
        let answer = inside.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.headers().contains_key(SERVER), !is_refused);
        assert_eq!(answer.headers()[CACHE_CONTROL], cached);
    }

    // A gateway in the same process that brings the credential.
    let value = HeaderValue::try_from(format!("Bearer {}", token())).unwrap();
    let brings = || SetRequestHeaderLayer::if_not_present(AUTHORIZATION, value.clone());
    let outside = ServiceBuilder::new().layer(brings()).layer(layer()).service(echo());
    assert_eq!(outside.clone().oneshot(anonymous()).await.unwrap().status(), 200);
    assert_eq!(outside.oneshot(bearer("x.y.z")).await.unwrap().status(), 401);
    let inside = ServiceBuilder::new().layer(layer()).layer(brings()).service(echo());
    assert_eq!(inside.oneshot(anonymous()).await.unwrap().status(), 401);
}

/// A stack as programs have it, with an inner body that has no `Default`.
#[tokio::test]
async fn all_of_them_at_once() {
    let inner = service_fn(|_: Req| {
        let frames = [Ok::<_, BoxError>(Frame::data(Bytes::from(LONG)))];
        ready(Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(frames)))))
    });
    let csrf = CsrfLayer::new().add_trusted_origin("https://app.example").unwrap();
    let service = ServiceBuilder::new()
        .layer(SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(loud_trace!())
        .layer(CompressionLayer::new())
        .load_shed()
        .concurrency_limit(8)
        .layer(CorsLayer::new())
        .layer(csrf)
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(60)))
        .layer(SetResponseHeaderLayer::overriding(SERVER, HeaderValue::from_static("x")))
        .layer(layer())
        .layer(scope())
        .layer(later())
        .layer(CompressionLayer::new())
        .service(inner);
    assert_eq!(statuses(service.clone()).await, ANSWERS);
    let answer = service.oneshot(good()).await.unwrap();
    let Ok(body) = answer.into_body().collect().await else { panic!("the body broke") };
    assert_eq!(body.to_bytes(), LONG);
}
