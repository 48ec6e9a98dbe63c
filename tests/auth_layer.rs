//! [`AuthLayer`]: which requests are the service's own, and that all others pass as if it were not there.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Ready, pending, ready};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, SET_COOKIE, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::util::{BoxCloneService, BoxService};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    AuthFront, AuthLayer, JwtAuthLayer, Rejection, RejectionKind, RequireScopeLayer, ResponseBody, Verified,
};
use tower_test::mock;

use crate::support::frames::{Broke, Frames};
use crate::support::readiness::OneShotReadiness;
use crate::support::service::{Answer, Ask, HOLD, Op, PATIENCE, User, World, bare, credentials, post};
use crate::support::{MINUTE, poll_then_drop};

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;

fn layer(world: &World) -> AuthLayer<User> {
    AuthLayer::new(world.auth.clone())
}

/// Says of each request that it came through.
fn echo() -> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|_: Req| ready(Ok(Response::new(Full::from("inner")))))
}

/// A request that is the service's own.
fn own() -> Req {
    bare(Method::GET, "/auth/jwks.json").request()
}

/// A request that is the inner service's.
fn other() -> Req {
    bare(Method::GET, "/api/me").request()
}

async fn text<B: Body<Error: Debug>>(body: B) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

// ── whose request it is ──

#[tokio::test]
async fn the_mount_point_and_what_is_below_is_the_services_own() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "/auth",
            &[
                "/auth",
                "/auth/",
                "/auth?x=1",
                "/auth/login",
                "/auth/login?next=/api/me",
                "/auth/jwks.json",
                "/auth/nothing/here",
                "/auth//login",
                "/auth/auth/login",
                "/auth/../api/me",
                "https://app.example/auth/login",
            ],
            &[
                "/",
                "/?/auth/login",
                "/a",
                "/aut",
                "/authors",
                "/auth-login",
                "/auth.html",
                "/auth;x=1/login",
                "/Auth/login",
                "/%61uth/login",
                "//auth/login",
                "/./auth/login",
                "/api/auth/login",
                "/login",
                "/jwks.json",
                "*",
                "auth:443",
                "https://auth",
                "https://auth/login",
            ],
        ),
        (
            "/api/v1/session",
            &["/api/v1/session", "/api/v1/session/login"],
            &["/api/v1", "/api/v1/sessions", "/api/v2/session/login", "/session/login"],
        ),
        // A route's name as the mount point.
        ("/login", &["/login", "/login/login", "/login/refresh"], &["/logins", "/refresh", "/log"]),
    ];
    for (mount, own, others) in cases {
        let world = World::with(|builder| builder.path(*mount));
        let alone = world.auth.clone();
        for path in *own {
            let (mut service, mut inner) = mock::spawn_layer::<Req, Res, _>(layer(&world));
            inner.allow(1);
            assert!(service.poll_ready::<Req>().is_ready());
            let ask = bare(Method::GET, path);
            let answer = service.call(ask.clone().request());
            assert!(inner.poll_request().is_pending(), "{mount}: {path} reached the inner service");
            let answer = answer.await.unwrap();
            let expected = alone.clone().oneshot(ask.request()).await.unwrap();
            assert_eq!(answer.status(), expected.status(), "{mount}: {path}");
            assert_eq!(answer.headers(), expected.headers(), "{mount}: {path}");
            assert_eq!(text(answer.into_body()).await, text(expected.into_body()).await, "{mount}: {path}");
        }
        for path in *others {
            let (mut service, mut inner) = mock::spawn_layer::<Req, Res, _>(layer(&world));
            inner.allow(1);
            assert!(service.poll_ready::<Req>().is_ready());
            let answer = service.call(bare(Method::POST, path).request());
            let Poll::Ready(Some((request, respond))) = inner.poll_request() else {
                panic!("{mount}: {path} did not reach the inner service")
            };
            assert_eq!(*request.uri(), path.parse::<Uri>().unwrap(), "{mount}");
            respond.send_response(Response::new(Full::from("inner")));
            assert_eq!(text(answer.await.unwrap().into_body()).await, "inner", "{mount}: {path}");
        }
    }
}

/// Every method: what is the service's own is refused by it, and never falls through to a handler without a check.
#[tokio::test]
async fn no_method_of_an_own_path_reaches_the_inner_service() {
    let world = World::new();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        for path in ["/auth/login", "/auth/x"] {
            let (mut service, mut inner) = mock::spawn_layer::<Req, Res, _>(layer(&world));
            inner.allow(1);
            assert!(service.poll_ready::<Req>().is_ready());
            let ask = bare(method.parse().unwrap(), path);
            let answer = service.call(ask.request());
            assert!(inner.poll_request().is_pending(), "{method} {path}");
            let answer = Answer::of(answer.await.unwrap()).await;
            assert!(answer.status.is_client_error(), "{method} {path}: {answer:?}");
        }
    }
}

// ── what passes ──

#[tokio::test]
async fn a_request_passes_as_it_came_and_its_answer_as_it_went() {
    #[derive(Debug, Clone, PartialEq)]
    struct Mark(u8);
    let world = World::new();
    let (mut service, mut inner) = mock::spawn_layer::<Req, Res, _>(layer(&world));
    inner.allow(1);
    assert!(service.poll_ready::<Req>().is_ready());
    let ask = post("/api/orders?page=2").cookie("x").cookie("y").bearer("not.a.token").header(HOST, "h");
    let mut request = ask.body("text/plain", "content").request();
    *request.version_mut() = Version::HTTP_2;
    request.extensions_mut().insert(Mark(1));
    let (sent, _) = request.clone().into_parts();
    let answer = service.call(request);

    let Poll::Ready(Some((request, respond))) = inner.poll_request() else { panic!("nothing came") };
    let (came, body) = request.into_parts();
    assert_eq!((came.method, came.uri, came.version), (sent.method, sent.uri, sent.version));
    assert_eq!(came.headers, sent.headers);
    assert!(came.headers.values().all(|value| !value.is_sensitive()));
    assert_eq!((came.extensions.len(), came.extensions.get()), (1, Some(&Mark(1))));
    assert_eq!(text(body).await, "content");

    let mut response = Response::new(Full::from("made"));
    *response.status_mut() = StatusCode::CREATED;
    *response.version_mut() = Version::HTTP_2;
    response.headers_mut().append(SET_COOKIE, "a=1".parse().unwrap());
    response.headers_mut().append(SET_COOKIE, "b=2".parse().unwrap());
    response.extensions_mut().insert(Mark(2));
    let sent = response.headers().clone();
    respond.send_response(response);
    let (came, body) = answer.await.unwrap().into_parts();
    assert_eq!((came.status, came.version), (StatusCode::CREATED, Version::HTTP_2));
    assert_eq!(came.headers, sent);
    assert_eq!((came.extensions.len(), came.extensions.get()), (1, Some(&Mark(2))));
    assert_eq!(body.size_hint().exact(), Some(4));
    assert_eq!(text(body).await, "made");
}

#[tokio::test]
async fn an_inner_body_passes_with_trailers_and_errors() {
    let world = World::new();
    for breaks in [false, true] {
        let inner = service_fn(move |_: Req| ready(Ok::<_, Infallible>(Response::new(Frames::new(breaks)))));
        let service = layer(&world).layer(inner);
        let mut body = service.clone().oneshot(other()).await.unwrap().into_body();
        for expected in ["a", "b"] {
            assert!(!body.is_end_stream());
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
        }
        match body.frame().await.unwrap() {
            Ok(frame) => assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0"),
            Err(error) => assert_eq!((error, breaks), (Broke, true)),
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());
        // The service's own answers are of the same type, with their exact length.
        let own = service.oneshot(own()).await.unwrap().into_body();
        let length = own.size_hint().exact().unwrap();
        assert!(!own.is_end_stream());
        assert_eq!(text(own).await.len() as u64, length);
    }
}

/// Over HTTP/2 an answer without content ends with its headers.
#[tokio::test]
async fn an_own_answer_without_content_has_ended_at_once() {
    let world = World::new();
    let answer = layer(&world).layer(echo()).oneshot(post("/auth/logout").request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(answer.body().is_end_stream());
    assert_eq!(answer.body().size_hint().exact(), Some(0));
}

#[tokio::test]
async fn neither_the_inner_service_nor_its_error_nor_its_body_needs_a_trait() {
    struct NotClone;
    #[derive(Debug, PartialEq)]
    struct PlainError(u8);
    struct NoBody;
    impl Service<Req> for NotClone {
        type Response = Response<NoBody>;
        type Error = PlainError;
        type Future = Ready<Result<Response<NoBody>, PlainError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PlainError>> {
            Poll::Ready(Err(PlainError(1)))
        }
        fn call(&mut self, _: Req) -> Self::Future {
            ready(Err(PlainError(2)))
        }
    }
    let mut service: AuthFront<NotClone, User> = layer(&World::new()).layer(NotClone);
    let is_ready: Result<_, PlainError> = service.ready().await.map(|_| ());
    assert_eq!(is_ready, Err(PlainError(1)));
    let called: Result<Response<ResponseBody<NoBody>>, PlainError> = service.call(other()).await;
    assert_eq!(called.map(|_| ()), Err(PlainError(2)));
    assert_eq!(service.call(own()).await.unwrap().status(), StatusCode::OK);
}

/// The inner future is not boxed: it need not be `Send`.
#[tokio::test]
async fn an_inner_future_that_stays_on_its_thread() {
    let inner = service_fn(|_: Req| async {
        let rc = Rc::new("rc");
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(*rc)))
    });
    let answer = layer(&World::new()).layer(inner).oneshot(other()).await.unwrap();
    assert_eq!(text(answer.into_body()).await, "rc");
}

#[tokio::test]
async fn request_bodies_of_any_kind() {
    async fn login<B>(world: &World, body: B) -> StatusCode
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let inner =
            service_fn(|_: Request<B>| ready(Ok::<_, Infallible>(Response::new(Full::from("inner")))));
        let (parts, _) = post("/auth/login").body("application/json", "").request().into_parts();
        let answer = layer(world).layer(inner).oneshot(Request::from_parts(parts, body)).await.unwrap();
        answer.map(|body: ResponseBody<Full<Bytes>>| body).status()
    }
    let world = World::new();
    let json = || Full::new(Bytes::from(credentials("ada").to_string()));
    let broken = || StreamBody::new(tokio_stream::iter([Err::<Frame<Bytes>, _>(io::Error::other("cut"))]));
    let boxed = BoxBody::new(json().map_err(|never| match never {}));
    for (name, status, expected) in [
        ("whole", login(&world, json()).await, 200),
        ("boxed", login::<BoxBody<Bytes, io::Error>>(&world, boxed).await, 200),
        ("boxed, not `Sync`", login(&world, UnsyncBoxBody::new(json())).await, 200),
        ("axum's", login(&world, axum::body::Body::from(credentials("ada").to_string())).await, 200),
        ("limited", login(&world, Limited::new(json(), 1000)).await, 200),
        ("the layer's own", login(&world, ResponseBody::<Full<Bytes>>::from(Bytes::from("{}"))).await, 400),
        ("empty", login(&world, Empty::<Bytes>::new()).await, 400),
        ("broken off", login(&world, broken()).await, 400),
        ("limited below its length", login(&world, Limited::new(json(), 10)).await, 413),
    ] {
        assert_eq!(status, expected, "{name}");
    }
}

// ── readiness ──

#[tokio::test]
async fn the_very_instance_that_was_polled_is_called() {
    let mut service = layer(&World::new()).layer(OneShotReadiness::default());
    for calls in 1..=3 {
        service.ready().await.unwrap().call(own()).await.unwrap();
        service.ready().await.unwrap().call(other()).await.unwrap();
        assert_eq!(service.get_ref().calls, calls);
    }
    assert_eq!(service.into_inner().calls, 3);
}

#[tokio::test]
async fn readiness_is_that_of_the_inner_service() {
    let (mut service, mut inner) = mock::spawn_layer::<Req, Res, _>(layer(&World::new()));
    inner.allow(0);
    assert!(service.poll_ready::<Req>().is_pending());
    inner.allow(1);
    assert!(service.is_woken());
    assert!(service.poll_ready::<Req>().is_ready());
    inner.send_error("the inner service broke");
    let error = service.poll_ready::<Req>();
    assert!(
        matches!(&error, Poll::Ready(Err(error)) if error.to_string() == "the inner service broke"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_concurrency_limit_outside_is_free_again_after_an_own_request() {
    let mut service = ServiceBuilder::new().concurrency_limit(1).layer(layer(&World::new())).service(echo());
    for _ in 0..3 {
        let answer = service.ready().await.unwrap().call(own()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let passed = service.clone().oneshot(other()).await.unwrap();
        assert_eq!(text(passed.into_body()).await, "inner");
    }
}

/// As in all of tower, and in the layer's documentation.
#[tokio::test]
async fn a_concurrency_limit_inside_keeps_the_permit_of_an_own_request() {
    let mut service = ServiceBuilder::new().layer(layer(&World::new())).concurrency_limit(1).service(echo());
    for request in [own(), own(), other(), own()] {
        // The same instance goes on with the permit it has.
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    let mut another = mock::Spawn::new(service.clone());
    assert!(another.poll_ready::<Req>().is_pending());
    drop(service);
    assert!(another.poll_ready::<Req>().is_ready());
    assert_eq!(text(another.call(other()).await.unwrap().into_body()).await, "inner");
}

#[tokio::test]
async fn buffers_and_boxes_work_on_both_sides() {
    async fn passed<S, B>(mut service: S) -> [bool; 3]
    where
        S: Service<Req, Response = Response<B>, Error: Debug>,
        B: Body<Error: Debug>,
    {
        let mut inner = [false; 3];
        for (is_inner, request) in inner.iter_mut().zip([own(), other(), own()]) {
            let answer = service.ready().await.unwrap().call(request).await.unwrap();
            *is_inner = text(answer.into_body()).await == "inner";
        }
        inner
    }
    let layer = layer(&World::new());
    let buffered = ServiceBuilder::new().buffer(4).layer(layer.clone()).buffer(4).service(echo());
    let boxed = BoxService::new(ServiceBuilder::new().layer(layer.clone()).service(BoxService::new(echo())));
    let cloned = BoxCloneService::new(
        ServiceBuilder::new().layer(layer.clone()).service(BoxCloneService::new(echo())),
    );
    assert_eq!(passed(buffered).await, [false, true, false]);
    assert_eq!(passed(boxed).await, [false, true, false]);
    assert_eq!(passed(cloned).await, [false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn timeouts_on_both_sides() {
    type Elapsed = tower::timeout::error::Elapsed;
    let (world, second) = (World::new(), Duration::from_secs(1));
    let hangs = service_fn(|_: Req| pending::<Result<Res, Infallible>>());
    let inside = ServiceBuilder::new().layer(layer(&world)).timeout(second).service(hangs);
    assert!(inside.clone().oneshot(other()).await.unwrap_err().is::<Elapsed>());
    assert_eq!(inside.oneshot(own()).await.unwrap().status(), StatusCode::OK);
    // Outside it meets the service's own work, too.
    let outside = ServiceBuilder::new().timeout(second).layer(layer(&world)).service(hangs);
    let gate = world.store.block(Op::Create);
    let login = outside.oneshot(post("/auth/login").json(&credentials("ada")).request());
    assert!(login.await.unwrap_err().is::<Elapsed>());
    gate.open();
}

/// A caller that goes away costs no rotation.
#[tokio::test]
async fn a_dropped_refresh_finishes() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    let gate = world.store.block(Op::Rotate);
    let mut service = layer(&world).layer(echo());
    let refresh = service.ready().await.unwrap().call(post("/auth/refresh").cookie(&token).request());
    assert!(poll_then_drop(refresh, 3).is_none());
    gate.reached().await;
    assert_eq!(world.generation("ada").await, Some(0));
    gate.open();
    let rotated = async {
        while world.generation("ada").await == Some(0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rotated).await.expect("the rotation was lost");
    assert_eq!(world.refresh(&token).await.claims()["gen"], 1);
}

#[test]
fn names_for_the_log() {
    let world = World::new();
    let layer = layer(&world);
    let mut service = layer.layer(service_fn(|_: Req| pending::<Result<Res, Infallible>>()));
    assert_eq!(
        format!("{layer:?}"),
        r#"AuthLayer { auth: AuthService { path: "/auth", .. } }"#,
        "no setting that is a secret"
    );
    assert!(format!("{:?}", layer.layer("inner")).contains("inner"));
    assert_ne!(format!("{:?}", service.call(own())), format!("{:?}", service.call(other())));
}

// ── the whole road ──

/// What stands behind the bearer layer: says who asks.
async fn api(request: Req) -> Result<Res, Infallible> {
    let user = Verified::<User>::of(request.extensions()).expect("the bearer layer let it pass");
    Ok(Response::new(Full::from(format!("{} {}", user.subject(), user.claims().email))))
}

fn me(access: &str) -> Ask {
    bare(Method::GET, "/api/me").bearer(access)
}

#[tokio::test]
async fn login_api_refresh_and_logout_through_one_stack() {
    let world = World::new();
    let stack = ServiceBuilder::new()
        .concurrency_limit(10)
        .layer(layer(&world))
        .layer(JwtAuthLayer::new(world.config.verifier::<User>()))
        .service(service_fn(api));
    let raw = async |ask: Ask| stack.clone().oneshot(ask.request()).await.unwrap();
    let send = async |ask: Ask| Answer::of(raw(ask).await).await;
    let api = async |access: &str| {
        let (parts, body) = raw(me(access)).await.into_parts();
        (parts.status.as_u16(), text(body).await)
    };
    let ada = (200, Bytes::from("ada ada@app.example"));

    // A login carries no token, and asks for none; the other paths do.
    let login = send(post("/auth/login").json(&credentials("ada"))).await.expect(200);
    let refused = raw(bare(Method::GET, "/api/me")).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().contains_key(WWW_AUTHENTICATE));
    let why = refused.extensions().get::<Rejection>().map(Rejection::kind);
    assert_eq!(why, Some(RejectionKind::Missing));

    assert_eq!(api(&login.access()).await, ada);
    world.clock.advance(MINUTE);
    let refreshed = send(post("/auth/refresh").cookie(&login.refresh())).await.expect(200);
    assert_ne!(refreshed.access(), login.access());
    assert_eq!(api(&refreshed.access()).await, ada);
    let list = send(bare(Method::GET, "/auth/sessions").bearer(&refreshed.access())).await.expect(200);
    assert_eq!(list.value()["sessions"].as_array().unwrap().len(), 1);
    send(bare(Method::POST, "/auth/refresh").cookie(&refreshed.refresh())).await.refused(403, "cross_site");

    let out = send(post("/auth/logout").cookie(&refreshed.refresh())).await.expect(204);
    assert_eq!(out.set_cookie().unwrap().max_age(), 0);
    send(post("/auth/refresh").cookie(&refreshed.refresh())).await.refused(401, "invalid_grant");
    // The access token lives on by itself, for its quarter of an hour.
    assert_eq!(api(&refreshed.access()).await, ada);
    world.clock.advance(16 * MINUTE);
    assert_eq!(api(&refreshed.access()).await.0, 401);
}

/// Why the documentation says "outside".
#[tokio::test]
async fn inside_of_the_bearer_layer_nobody_can_log_in() {
    let world = World::new();
    let stack = ServiceBuilder::new()
        .layer(JwtAuthLayer::new(world.config.verifier::<User>()))
        .layer(layer(&world))
        .service(echo());
    let login = post("/auth/login").json(&credentials("ada")).request();
    assert_eq!(stack.oneshot(login).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

/// Two services below two mount points, one in front of the other.
#[tokio::test]
async fn services_stand_in_front_of_each_other() {
    let (users, staff) = (World::new(), World::with(|builder| builder.path("/staff").name("staff")));
    let stack = ServiceBuilder::new().layer(layer(&users)).layer(layer(&staff)).service(echo());
    let send = async |ask: Ask| Answer::of(stack.clone().oneshot(ask.request()).await.unwrap()).await;
    let token = send(post("/staff/login").json(&credentials("ada"))).await.refresh();
    assert_eq!((users.records("ada").await.len(), staff.records("ada").await.len()), (0, 1));
    send(post("/auth/refresh").cookie(&token)).await.refused(401, "invalid_grant");
    send(post("/staff/refresh").cookie(&token)).await.expect(200);
}

/// Serves until the test's runtime ends.
async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S: Service<Request<hyper::body::Incoming>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    S: Service<Request<hyper::body::Incoming>, Future: Send>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(service);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(stream), service).await.unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_stack_on_a_socket_over_both_versions() {
    let world = World::new();
    let stack = ServiceBuilder::new()
        .layer(layer(&world))
        .layer(JwtAuthLayer::new(world.config.verifier::<User>()))
        .layer(RequireScopeLayer::all(["orders:read"]).unwrap())
        .service(service_fn(|request: Request<hyper::body::Incoming>| {
            let subject = Verified::<User>::of(request.extensions()).unwrap().subject().to_owned();
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(subject))))
        }));
    world.accounts.shape(|identity| match identity.subject() {
        "ada" => identity.with_scopes(["orders:read"]),
        _ => identity,
    });
    let address = serve(stack).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(version == Version::HTTP_2)
            .build_http::<Full<Bytes>>();
        let url = |path: &str| format!("http://{address}{path}");
        let raw = async |ask: Ask| {
            let answer = client.request(ask.request()).await.unwrap();
            assert_eq!(answer.version(), version);
            answer
        };
        for (user, status, body) in [("ada", 200, Some("ada")), ("bob", 403, None)] {
            let ask = post(&url("/auth/login")).json(&credentials(user));
            let login = Answer::of(raw(ask).await).await.expect(200);
            let ask =
                bare(Method::GET, &url("/api")).header(AUTHORIZATION, format!("Bearer {}", login.access()));
            let answer = raw(ask).await;
            assert_eq!(answer.status(), status, "{user} over {version:?}");
            if let Some(body) = body {
                assert_eq!(text(answer.into_body()).await, body);
            }
            let out = Answer::of(raw(post(&url("/auth/logout")).cookie(&login.refresh())).await).await;
            out.expect(204);
        }
        Answer::of(raw(post(&url("/auth/x"))).await).await.refused(404, "not_found");
        let anonymous = raw(bare(Method::GET, &url("/authors"))).await;
        assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED, "passed on, and refused there");
    }
}
