//! The bearer layer as a citizen of tower: readiness, bodies, errors, and what a service behind it finds. Which requests
//! it refuses is in `bearer_bad_input.rs`, its modes in `modes.rs`, other layers inside and outside in `compose.rs`.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Extensions, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use serde::{Deserialize, Serialize};
use support::ManualClock;
use support::events::Events;
use support::frames::{Broke, Frames};
use support::readiness::OneShotReadiness;
use support::requests::{as_grpc, bearer, request, send};
use support::tokens::{ISSUER, SUBJECT, Signer, builder, claims, config, quoted};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    AccessGrant, AuthContext, ConfigErrorKind, Issuer, JwtAuth, JwtAuthLayer, NoClaims, Outcome, Protocol,
    Rejection, RejectionKind, ResponseBody, Verified, Verifier,
};
use tower_test::mock;

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;
type Layer_ = JwtAuthLayer<NoClaims>;

fn signer() -> Signer {
    Signer::ed25519()
}

fn layer() -> Layer_ {
    JwtAuthLayer::new(config(&signer(), &ManualClock::new()).verifier())
}

fn good() -> Req {
    bearer(&signer().good())
}

fn anonymous() -> Req {
    Request::new(Full::default())
}

fn echo() -> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|_: Req| ready(Ok(Response::new(Full::from("inner")))))
}

// ── readiness ──

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (mut service, mut handle) = mock::spawn_layer::<Req, Res, _>(layer());
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.is_woken(), "the caller's waker reached the inner service");
    assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));

    let response = service.call(good());
    let (_, respond) = handle.next_request().await.unwrap();
    assert!(service.poll_ready().is_pending(), "the call took the one permit");
    respond.send_response(Response::new(Full::from("inner")));
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);

    handle.send_error("broken");
    match service.poll_ready() {
        Poll::Ready(Err(error)) => assert_eq!(error.to_string(), "broken"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_request_never_reaches_the_inner_service() {
    let (mut service, mut handle) = mock::spawn_layer::<Req, Res, _>(layer());
    handle.allow(10);
    for request in [anonymous(), bearer("x.y.z"), request(&["Bearer"]), request(&["Bearer a", "Bearer a"])] {
        assert!(service.poll_ready().is_ready());
        // The mock would never answer: were it called, this would hang.
        assert_ne!(service.call(request).await.unwrap().status(), StatusCode::OK);
        assert!(handle.poll_request().is_pending(), "the inner service was called");
    }
    assert!(service.poll_ready().is_ready());
    let response = service.call(good());
    assert!(handle.poll_request().is_ready());
    drop(response);
}

#[tokio::test]
async fn the_very_instance_that_was_polled_is_called() {
    let mut service = layer().layer(OneShotReadiness::default());
    for calls in 1..=3 {
        let response = service.ready().await.unwrap().call(good()).await.unwrap();
        assert_eq!((response.status(), service.get_ref().calls), (StatusCode::OK, calls));
    }
    service.ready().await.unwrap().call(anonymous()).await.unwrap();
    assert_eq!(service.into_inner().calls, 3);
}

#[tokio::test]
async fn neither_the_inner_service_nor_its_error_nor_its_body_needs_a_trait() {
    struct NotClone;
    #[derive(Debug, PartialEq)]
    struct PlainError(u8);
    struct NoBody;
    impl Service<Request<NoBody>> for NotClone {
        type Response = Response<NoBody>;
        type Error = PlainError;
        type Future = Ready<Result<Response<NoBody>, PlainError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PlainError>> {
            Poll::Ready(Err(PlainError(1)))
        }
        fn call(&mut self, _: Request<NoBody>) -> Self::Future {
            ready(Err(PlainError(2)))
        }
    }
    let mut service: JwtAuth<NotClone, NoClaims> = layer().layer(NotClone);
    let ready: Result<_, PlainError> = service.ready().await.map(|_| ());
    assert_eq!(ready, Err(PlainError(1)));
    let (parts, _) = good().into_parts();
    let called: Result<Response<ResponseBody<NoBody>>, PlainError> =
        service.call(Request::from_parts(parts, NoBody)).await;
    assert_eq!(called.map(|_| ()), Err(PlainError(2)));
}

// ── bodies ──

#[tokio::test]
async fn an_inner_body_passes_through_with_trailers_and_errors() {
    for breaks in [false, true] {
        let inner = service_fn(move |_: Req| ready(Ok::<_, Infallible>(Response::new(Frames::new(breaks)))));
        let service = layer().layer(inner);
        let mut body = service.clone().oneshot(good()).await.unwrap().into_body();
        for expected in ["a", "b"] {
            assert!(!body.is_end_stream());
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
        }
        match body.frame().await.unwrap() {
            Ok(frame) => assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0"),
            Err(error) => assert_eq!((error, breaks), (Broke, true)),
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());

        let refused = service.oneshot(anonymous()).await.unwrap().into_body();
        assert!(!refused.is_end_stream());
        assert!(!refused.collect().await.unwrap().to_bytes().is_empty());
    }
    let body = ResponseBody::<Frames>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
}

#[tokio::test]
async fn a_refused_grpc_call_ends_with_its_headers() {
    for (content_type, answered_as, protocol) in [
        ("application/grpc", "application/grpc", Protocol::Grpc),
        ("application/grpc+proto", "application/grpc", Protocol::Grpc),
        ("application/grpc-web+proto", "application/grpc-web", Protocol::GrpcWeb),
        ("application/grpc-web-text", "application/grpc-web-text", Protocol::GrpcWebText),
    ] {
        for request in [anonymous(), bearer("x.y.z"), request(&["Bearer"])] {
            let mut request = as_grpc(request);
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let response = layer().layer(echo()).oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{content_type}");
            assert_eq!(response.headers()[CONTENT_TYPE], answered_as);
            assert_eq!(response.headers()["grpc-status"], "16", "{content_type}");
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE), "{content_type}");
            assert_eq!(response.extensions().get::<Rejection>().unwrap().protocol(), protocol);
            assert!(response.body().is_end_stream(), "{content_type}");
            assert_eq!(response.body().size_hint().exact(), Some(0));
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    }
}

/// What the wire says: over HTTP/2 the stream of a refused call is over with the headers.
#[tokio::test]
async fn a_refused_grpc_call_is_one_frame_of_http_2() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let inner = service_fn(|_: Request<hyper::body::Incoming>| {
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner"))))
        });
        let service = hyper_util::service::TowerToHyperService::new(layer().layer(inner));
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    });
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let url = format!("http://{address}/pkg.Service/Method");
    for (content_type, token, ends_at_once) in [
        ("application/grpc", None, true),
        ("application/json", None, false),
        ("application/grpc", Some(signer().good()), false),
    ] {
        let mut request = Request::post(&url).header(CONTENT_TYPE, content_type);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.body().is_end_stream(), ends_at_once, "{content_type}");
    }
    drop(client);
    connection.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

// ── axum ──

#[tokio::test]
async fn it_works_in_an_axum_router() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    async fn me(request: axum::extract::Request) -> String {
        Verified::<NoClaims>::of(request.extensions()).map_or("nobody".into(), |user| user.subject().into())
    }
    let routes = || Router::new().route("/me", get(me));
    let token = signer().good();
    for (name, router, unknown) in [
        ("route_layer", routes().route_layer(layer()), 404),
        ("layer", routes().layer(layer()), 401),
        ("on one route", Router::new().route("/me", get(me).layer(layer())), 404),
        ("around a nested router", Router::new().merge(routes()).route_layer(layer()), 404),
    ] {
        for (path, token, status) in
            [("/me", Some(&token), 200), ("/me", None, 401), ("/unknown", None, unknown)]
        {
            let mut request = Request::get(path);
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{name} {path}");
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401, "{name} {path}");
            if status == 200 {
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), SUBJECT, "{name}");
            }
        }
    }
    let open = routes().oneshot(Request::get("/me").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(open.into_body().collect().await.unwrap().to_bytes(), "nobody", "without the layer");
}

// ── what a service finds ──

/// No `Clone`, and a method with the name of one of the token's.
#[derive(Debug, Serialize, Deserialize)]
struct Person {
    email: String,
}

impl Person {
    fn subject(&self) -> &str {
        &self.email
    }
}

async fn extensions_seen<C: tower_jwt_auth::ReadClaims>(
    layer: JwtAuthLayer<C>,
    request: Req,
) -> Option<Extensions> {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let inner = service_fn(move |request: Req| {
        *keep.lock().unwrap() = Some(request.into_parts().0.extensions);
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    layer.layer(inner).oneshot(request).await.unwrap();
    seen.lock().unwrap().take()
}

#[tokio::test]
async fn a_service_finds_the_claims_of_the_layers_type_and_no_other() {
    let config = config(&signer(), &ManualClock::new());
    let person = Person { email: "ada@example.com".into() };
    let token = Issuer::new(&config).unwrap().issue(&AccessGrant::new(SUBJECT), &person).unwrap();
    let seen = extensions_seen(JwtAuthLayer::new(config.verifier::<Person>()), bearer(token.expose())).await;
    let extensions = seen.expect("the inner service was called");

    let user = Verified::<Person>::of(&extensions).unwrap();
    assert_eq!(user.email, "ada@example.com");
    assert_eq!(user.subject(), SUBJECT, "the token's own methods win");
    assert_eq!(user.claims().subject(), "ada@example.com", "and `claims` reaches the others");
    let again = Verified::<Person>::of(&extensions).unwrap();
    assert!(std::ptr::eq(user.claims(), again.claims()), "shared, not cloned");
    assert!(std::ptr::eq(user.clone().claims(), again.claims()));

    assert!(Verified::<NoClaims>::of(&extensions).is_none(), "another type");
    assert!(Verified::<Person>::of(&Extensions::new()).is_none(), "no layer");
    let context = AuthContext::of(&extensions).unwrap();
    let Outcome::Verified(any) = context.outcome() else { panic!("{context:?}") };
    assert_eq!(any.registered().subject(), SUBJECT);
    assert!(any.claims_type().contains("Person"), "{}", any.claims_type());
    assert!(any.downcast::<Person>().is_some() && any.downcast::<String>().is_none());
}

#[tokio::test]
async fn of_two_layers_the_inner_one_counts() {
    let config = config(&signer(), &ManualClock::new());
    let person = Person { email: "ada@example.com".into() };
    let token = Issuer::new(&config).unwrap().issue(&AccessGrant::new(SUBJECT), &person).unwrap();
    let inner = service_fn(|request: Req| {
        let extensions = request.extensions();
        let found =
            [Verified::<NoClaims>::of(extensions).is_some(), Verified::<Person>::of(extensions).is_some()];
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{found:?}")))))
    });
    let service = ServiceBuilder::new()
        .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
        .layer(JwtAuthLayer::new(config.verifier::<Person>()))
        .service(inner);
    let answer = service.oneshot(bearer(token.expose())).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "[false, true]");
}

#[tokio::test]
async fn the_unit_type_reads_no_token_and_the_reason_says_so() {
    let layer: JwtAuthLayer<()> = JwtAuthLayer::new(config(&signer(), &ManualClock::new()).verifier());
    let answer = send(&layer, good()).await;
    assert_eq!((answer.status, answer.calls), (StatusCode::UNAUTHORIZED, 0));
    let rejection = answer.rejection.unwrap();
    assert_eq!((rejection.kind(), rejection.reason()), (RejectionKind::InvalidToken, "application_claims"));
}

#[tokio::test]
async fn the_rejection_is_in_the_extensions_of_the_response() {
    let expired = signer().with_claims(claims().with("exp", "1").with("iat", "0").json());
    for (request, kind, reason, status) in [
        (anonymous(), RejectionKind::Missing, "missing", 401),
        (request(&["Bearer"]), RejectionKind::InvalidRequest, "malformed_credential", 400),
        (bearer(&"a".repeat(9000)), RejectionKind::InvalidRequest, "too_large", 400),
        (bearer(&expired), RejectionKind::InvalidToken, "expired", 401),
    ] {
        let answer = send(&layer(), request).await;
        let rejection = answer.rejection.unwrap();
        assert_eq!((rejection.kind(), rejection.reason()), (kind, reason));
        assert_eq!((rejection.status().as_u16(), rejection.protocol()), (status, Protocol::Http));
        assert_eq!(rejection.to_response().headers(), &answer.headers, "{reason}");
    }
    assert!(send(&layer(), good()).await.rejection.is_none());
}

#[tokio::test]
async fn the_realm_is_in_every_challenge() {
    let layer_of = |realm: &str| layer().with_realm(realm);
    let orders = layer_of("the orders").unwrap();
    for request in [anonymous(), request(&["Bearer"]), bearer("x.y.z")] {
        let answer = send(&orders, request).await;
        let challenge = answer.headers[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.starts_with(r#"Bearer realm="the orders""#), "{challenge}");
        assert_eq!(challenge.matches("realm=").count(), 1, "{challenge}");
    }
    assert_eq!(send(&orders, good()).await.status, StatusCode::OK, "the verifier is kept");
    for realm in ["", "a\"b", "a\\b", "a\nb", "é"] {
        assert_eq!(layer_of(realm).unwrap_err().kind(), ConfigErrorKind::Limit, "{realm:?}");
    }
}

// ── events ──

#[tokio::test]
async fn a_refusal_is_told_with_its_reason_and_without_the_token() {
    let (events, _guard) = Events::start();
    let forged = Signer::Ed25519([1; 32]).good();
    for (request, expected) in [
        (anonymous(), &[r#"DEBUG tower_jwt_auth::bearer rejected reason="missing""#][..]),
        (request(&["Basic dTpw"]), &[r#"DEBUG tower_jwt_auth::bearer rejected reason="missing""#]),
        (request(&["Bearer"]), &[r#"INFO tower_jwt_auth::bearer rejected reason="malformed_credential""#]),
        (
            request(&["Bearer a", "Bearer b"]),
            &[r#"INFO tower_jwt_auth::bearer rejected reason="repeated_credential""#],
        ),
        (
            bearer(&forged),
            &[
                r#"DEBUG tower_jwt_auth::bearer bad_token reason="signature" detail="the signature is not by the key""#,
                r#"INFO tower_jwt_auth::bearer rejected reason="signature""#,
            ],
        ),
        (good(), &[]),
    ] {
        send(&layer(), request).await;
        // The whole events: there is no field that a token could be in.
        assert_eq!(events.take_own(), expected);
    }
}

#[tokio::test]
async fn the_layer_takes_the_tokens_of_all_its_issuers() {
    const OTHER: &str = "https://other.example";
    let (a, b) = (&Signer::Ed25519([1; 32]), &Signer::Ed25519([2; 32]));
    let clock = ManualClock::new();
    let generous = builder(b.key(), &clock).issuer(OTHER).max_token_bytes(20_000).build().unwrap();
    let both = [config(a, &clock).verifier(), generous.verifier()];
    let layer: Layer_ = JwtAuthLayer::new(Verifier::several(both).unwrap());
    let named = |issuer: &str| claims().with("iss", quoted(issuer));
    let token = |issuer: &str, signer: &Signer| signer.with_claims(named(issuer).json());
    let inner = service_fn(|request: Request<Full<Bytes>>| async move {
        let verified = Verified::<NoClaims>::of(request.extensions()).expect("a token");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(verified.registered().issuer().to_owned())))
    });
    let long = |issuer, signer: &Signer| {
        signer.with_claims(named(issuer).with("x", quoted(&"x".repeat(10_000))).json())
    };
    for (row, token, expected) in [
        ("A", token(ISSUER, a), Ok(ISSUER)),
        ("B", token(OTHER, b), Ok(OTHER)),
        ("B, longer than A's may be", long(OTHER, b), Ok(OTHER)),
        ("A, as long", long(ISSUER, a), Err((400, "invalid_request"))),
        ("A by the key of B", token(ISSUER, b), Err((401, "invalid_token"))),
        ("B by the key of A", token(OTHER, a), Err((401, "invalid_token"))),
        ("neither", token("https://third.example", a), Err((401, "invalid_token"))),
        ("nobody", a.with_claims(claims().without("iss").json()), Err((401, "invalid_token"))),
    ] {
        let response = layer.layer(inner).oneshot(bearer(&token)).await.unwrap();
        match expected {
            Ok(issuer) => {
                assert_eq!(response.status(), StatusCode::OK, "{row}");
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), issuer, "{row}");
            }
            Err((status, error)) => {
                assert_eq!(response.status().as_u16(), status, "{row}");
                let challenge = response.headers()["www-authenticate"].to_str().unwrap();
                assert!(challenge.contains(&format!(r#"error="{error}""#)), "{row}: {challenge}");
            }
        }
    }
}
