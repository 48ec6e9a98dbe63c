//! Answers to refused requests: the application's own by `map_rejection`, and the crate's where there is none. Whoever
//! refuses, the bearer layer or what stands behind it, the answer is made in the same way.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::future::{Future, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use support::ManualClock;
use support::events::Events;
use support::requests::{as_grpc, bearer, request};
use support::tokens::{Signer, claims, config, quoted};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, NoClaims, Protocol, Rejection, RejectionKind, RequireAsyncLayer, RequireLayer,
    RequireScopeLayer, StepUpLayer, TokenCookie, Verified,
};

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;
type Bearer = JwtAuthLayer<NoClaims>;
type Boxed = BoxCloneService<Req, Response<Bytes>, Infallible>;

fn signer() -> Signer {
    Signer::ed25519()
}

fn layer() -> Bearer {
    JwtAuthLayer::new(config(&signer(), &ManualClock::new()).verifier())
}

fn good() -> Req {
    bearer(&signer().with_claims(claims().with("scope", quoted("orders:read")).json()))
}

fn anonymous() -> Req {
    request::<&str>(&[])
}

/// Whether the stream of a response was over with its headers.
#[derive(Debug, Clone, PartialEq)]
struct EndsAtOnce(bool);

/// Collects the bodies, so that stacks of layers are of one type.
fn boxed<S, B>(service: S) -> Boxed
where
    S: Service<Req, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes, Error: Debug> + Send + 'static,
{
    BoxCloneService::new(service.and_then(async |response: Response<B>| {
        let (mut parts, body) = response.into_parts();
        parts.extensions.insert(EndsAtOnce(body.is_end_stream()));
        // axum tells the length of a body that it knows; a server does it for the others.
        parts.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(parts, body.collect().await.unwrap().to_bytes()))
    }))
}

fn inner() -> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|_: Req| ready(Ok(Response::new(Full::from("inner")))))
}

/// A service that decides itself.
fn asks<C: Send + Sync + 'static>()
-> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|request: Req| {
        let (parts, _) = request.into_parts();
        ready(Ok(match Verified::<C>::from_parts(&parts) {
            Ok(user) => Response::new(Full::from(user.subject().to_owned())),
            Err(rejection) => rejection.respond(&parts).map(Full::from),
        }))
    })
}

/// A service that has something for everybody.
fn greets() -> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|request: Req| {
        let (parts, _) = request.into_parts();
        let user = Verified::<NoClaims>::from_parts(&parts);
        ready(Ok(Response::new(Full::from(
            user.map_or("stranger".to_owned(), |user| user.subject().to_owned()),
        ))))
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    /// The bearer layer.
    Bearer,
    /// A layer or an extractor behind it.
    Behind,
    /// The application.
    Service,
}

/// One way to be refused.
struct Refusal {
    name: &'static str,
    by: By,
    kind: RejectionKind,
    reason: &'static str,
    service: Boxed,
    request: Req,
}

/// Every kind of refusal, by everybody who refuses, behind this layer.
fn refusals(layer: &Bearer) -> Vec<Refusal> {
    use RejectionKind::{
        CrossSite, Denied, InsufficientAuthentication, InsufficientScope, InvalidRequest, InvalidToken,
        Missing, OtherClaims, Unavailable,
    };
    let optional = layer.clone().optional();
    let observe = layer.clone().observe();
    let cookie = TokenCookie::new("__Host-access", "https://app.example").unwrap();
    let with_cookie = boxed(layer.clone().add_cookie(cookie).unwrap().layer(inner()));
    let from_elsewhere = {
        let mut request = anonymous();
        *request.method_mut() = Method::POST;
        let value = format!("__Host-access={}", signer().good());
        request.headers_mut().insert("cookie", HeaderValue::try_from(value).unwrap());
        request.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
        request
    };
    macro_rules! behind {
        ($bearer:expr, $layer:expr) => {
            boxed(ServiceBuilder::new().layer($bearer).layer($layer).service(inner()))
        };
    }
    let alone = || boxed(layer.layer(inner()));
    let scope = || RequireScopeLayer::all(["orders:read", "orders:write"]).unwrap();
    let no = RequireLayer::new(|_: &Verified<NoClaims>| false);
    let other = RequireLayer::new(|_: &Verified<String>| true);
    let no_later = RequireAsyncLayer::new(async |_: Verified<NoClaims>| Ok::<_, Infallible>(false));
    let down = RequireAsyncLayer::new(async |_: Verified<NoClaims>| Err::<bool, _>("the database is down"));
    let other_later = RequireAsyncLayer::new(async |_: Verified<String>| Ok::<_, Infallible>(true));
    let step_up = StepUpLayer::max_age(Duration::from_secs(300));
    let asked = |layer: &Bearer| boxed(layer.layer(asks::<NoClaims>()));
    let (bad, malformed) = (|| bearer("x.y.z"), request(&["Bearer"]));
    let (scope_reason, step_up_reason) = ("insufficient_scope", "insufficient_user_authentication");
    #[cfg_attr(not(feature = "axum"), allow(unused_mut))]
    let mut refusals = vec![
        ("bearer, none", By::Bearer, Missing, "missing", alone(), anonymous()),
        ("bearer, malformed", By::Bearer, InvalidRequest, "malformed_credential", alone(), malformed),
        ("bearer, bad", By::Bearer, InvalidToken, "malformed", alone(), bad()),
        ("bearer, cookie", By::Bearer, CrossSite, "origin", with_cookie, from_elsewhere),
        ("scope", By::Behind, InsufficientScope, scope_reason, behind!(layer, scope()), good()),
        ("scope, none", By::Behind, Missing, "missing", behind!(&optional, scope()), anonymous()),
        ("scope, observed", By::Behind, InvalidToken, "malformed", behind!(&observe, scope()), bad()),
        ("predicate", By::Behind, Denied, "denied", behind!(layer, no), good()),
        ("predicate, claims", By::Behind, OtherClaims, "other_claims", behind!(layer, other), good()),
        ("async", By::Behind, Denied, "denied", behind!(layer, no_later), good()),
        ("async, error", By::Behind, Unavailable, "unavailable", behind!(layer, down), good()),
        ("async, claims", By::Behind, OtherClaims, "other_claims", behind!(layer, other_later), good()),
        ("step-up", By::Behind, InsufficientAuthentication, step_up_reason, behind!(layer, step_up), good()),
        ("service, none", By::Service, Missing, "missing", asked(&optional), anonymous()),
        ("service, observed", By::Service, InvalidToken, "malformed", asked(&observe), bad()),
        (
            "service, claims",
            By::Service,
            OtherClaims,
            "other_claims",
            boxed(layer.layer(asks::<String>())),
            good(),
        ),
    ];
    #[cfg(feature = "axum")]
    {
        use axum::Router;
        use axum::routing::{MethodRouter, any};
        async fn must(_: Verified<NoClaims>) {}
        async fn may(_: Option<Verified<NoClaims>>) {}
        async fn other(_: Verified<String>) {}
        let routes = |layer: &Bearer, route: MethodRouter| {
            let router = Router::new().fallback_service(route).layer(layer.clone());
            boxed(router.map_request(|request: Req| request.map(axum::body::Body::new)))
        };
        refusals.extend([
            ("extractor, none", By::Behind, Missing, "missing", routes(&optional, any(must)), anonymous()),
            ("extractor, observed", By::Behind, InvalidToken, "malformed", routes(&observe, any(may)), bad()),
            ("extractor, claims", By::Behind, OtherClaims, "other_claims", routes(layer, any(other)), good()),
        ]);
    }
    let refusal =
        |(name, by, kind, reason, service, request)| Refusal { name, by, kind, reason, service, request };
    refusals.into_iter().map(refusal).collect()
}

/// What a closure of an application was told, a line for each call.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, rejection: &Rejection, request: &Parts) {
        let line = format!("{} {} {}", rejection.reason(), request.method, request.uri);
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

// ── types ──

async fn answer(layer: Bearer, request: Req) -> Response<Bytes> {
    boxed(layer.layer(inner())).oneshot(request).await.unwrap()
}

/// The types of the closure's arguments are inferred, and each body needs no conversion.
#[tokio::test]
async fn a_closure_needs_no_types_whatever_body_it_makes() {
    fn function(rejection: &Rejection, _: &Parts) -> Response<String> {
        Response::new(rejection.reason().to_owned())
    }
    let problem = layer().map_rejection(|rejection, request| {
        let text =
            format!(r#"{{"status":{},"instance":"{}"}}"#, rejection.status().as_u16(), request.uri.path());
        let mut response = Response::builder()
            .status(rejection.status())
            .header(CONTENT_TYPE, "application/problem+json")
            .body(text)
            .unwrap();
        response.headers_mut().extend(rejection.challenge().map(|value| (WWW_AUTHENTICATE, value)));
        response
    });
    let refused = answer(problem, anonymous()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], r#"Bearer realm="api""#);
    assert_eq!(refused.headers().len(), 2, "nothing of the crate's own answer is mixed in");
    assert_eq!(refused.body(), r#"{"status":401,"instance":"/"}"#);

    let redirect = layer().map_rejection(|_, request| {
        let to = format!("/login?back={}", request.uri.path());
        Response::builder().status(303).header(LOCATION, to).body(Bytes::new()).unwrap()
    });
    let refused = answer(redirect, anonymous()).await;
    assert_eq!(refused.status(), StatusCode::SEE_OTHER);
    assert_eq!(refused.headers()[LOCATION], "/login?back=/");
    assert_eq!(refused.extensions().get(), Some(&EndsAtOnce(true)));

    let page = layer().map_rejection(|rejection, _| {
        Response::builder().status(rejection.status()).body("<h1>Who are you?</h1>").unwrap()
    });
    assert_eq!(answer(page, anonymous()).await.body(), "<h1>Who are you?</h1>");

    let bytes = layer().map_rejection(|_, _| Response::new(vec![1, 2, 3]));
    assert_eq!(answer(bytes, anonymous()).await.body(), &[1, 2, 3][..]);

    assert_eq!(answer(layer().map_rejection(function), anonymous()).await.body(), "missing");
}

#[tokio::test]
async fn the_answer_is_the_whole_answer() {
    #[derive(Debug, Clone, PartialEq)]
    struct Mark(u8);
    let layer = layer().map_rejection(|_, _| {
        let mut response = Response::new("");
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        *response.version_mut() = http::Version::HTTP_2;
        response.extensions_mut().insert(Mark(7));
        response
    });
    let refused = answer(layer, bearer("x.y.z")).await;
    assert_eq!((refused.status(), refused.version()), (StatusCode::IM_A_TEAPOT, http::Version::HTTP_2));
    assert!(refused.headers().is_empty() && refused.body().is_empty());
    assert_eq!(refused.extensions().get(), Some(&Mark(7)));
}

#[tokio::test]
async fn of_two_answers_the_last_counts_and_the_realm_stays() {
    let says = |text: &'static str| move |_: &Rejection, _: &Parts| Response::new(text);
    let twice = layer().map_rejection(says("one")).map_rejection(says("two"));
    assert_eq!(answer(twice, anonymous()).await.body(), "two");
    let challenge = |rejection: &Rejection, _: &Parts| {
        Response::new(rejection.challenge().unwrap().to_str().unwrap().to_owned())
    };
    for layer in [
        layer().with_realm("orders").unwrap().map_rejection(challenge),
        layer().map_rejection(challenge).with_realm("orders").unwrap(),
    ] {
        assert_eq!(answer(layer, anonymous()).await.body(), r#"Bearer realm="orders""#);
    }
}

// ── who asks, and how often ──

#[tokio::test]
async fn it_answers_for_everybody_who_refuses_and_is_asked_once() {
    let (events, _guard) = Events::start();
    let told = Told::default();
    let noted = told.clone();
    let layer = layer().map_rejection(move |rejection, request| {
        noted.note(rejection, request);
        Response::builder().status(418).header("x-why", rejection.reason()).body("own").unwrap()
    });
    for Refusal { name, by, kind, reason, service, mut request } in refusals(&layer) {
        *request.uri_mut() = "/orders/7?x=1".parse().unwrap();
        let line = format!("{reason} {} /orders/7?x=1", request.method());
        let refused = service.oneshot(request).await.unwrap();
        assert_eq!(refused.status(), 418, "{name}");
        assert_eq!(refused.headers()["x-why"], reason, "{name}");
        assert_eq!(refused.headers().len(), 1, "{name}: {:?}", refused.headers());
        assert_eq!(refused.body(), "own", "{name}");
        let rejection: &Rejection = refused.extensions().get().expect(name);
        assert_eq!((rejection.kind(), rejection.reason()), (kind, reason), "{name}");
        assert_eq!(told.take(), [line], "{name}");

        // One event for each refusal too, unless the application refused.
        let rejected: Vec<_> =
            events.take_own().into_iter().filter(|line| line.contains(" rejected ")).collect();
        let target = match by {
            By::Bearer => "tower_jwt_auth::bearer",
            By::Behind => "tower_jwt_auth::authorize",
            By::Service => {
                assert_eq!(rejected, [""; 0], "{name}");
                continue;
            }
        };
        assert_eq!(rejected.len(), 1, "{name}: {rejected:?}");
        assert!(
            rejected[0].ends_with(&format!("{target} rejected reason={reason:?}")),
            "{name}: {rejected:?}"
        );
    }
}

#[tokio::test]
async fn it_is_not_asked_about_requests_that_pass() {
    let told = Told::default();
    let noted = told.clone();
    let layer = layer().map_rejection(move |rejection, request| {
        noted.note(rejection, request);
        Response::new("own")
    });
    let scope = RequireScopeLayer::any(["orders:read"]).unwrap();
    let behind =
        |layer: &Bearer| boxed(ServiceBuilder::new().layer(layer).layer(scope.clone()).service(inner()));
    for (row, service, request) in [
        ("good", boxed(layer.layer(inner())), good()),
        ("good, scope", behind(&layer), good()),
        ("good, gRPC", boxed(layer.layer(inner())), as_grpc(good())),
        ("none, optional", boxed(layer.clone().optional().layer(inner())), anonymous()),
        ("bad, observe", boxed(layer.clone().observe().layer(inner())), bearer("x.y.z")),
        ("good, asked", boxed(layer.layer(asks::<NoClaims>())), good()),
        ("none, asked and let pass", boxed(layer.clone().optional().layer(greets())), anonymous()),
        ("bad, asked and let pass", boxed(layer.clone().observe().layer(greets())), bearer("x.y.z")),
    ] {
        let passed = service.oneshot(request).await.unwrap();
        assert_ne!(passed.body(), "own", "{row}");
        assert!(passed.extensions().get::<Rejection>().is_none(), "{row}");
        assert_eq!(told.take(), [""; 0], "{row}");
    }
}

/// The closure is given the credentials, marked sensitive: a print of the request is the most likely line in it.
#[tokio::test]
async fn it_sees_the_request_and_cannot_print_its_token() {
    let printed = Arc::new(Mutex::new(String::new()));
    let print = Arc::clone(&printed);
    let layer =
        layer().add_header("x-token".parse().unwrap()).unwrap().map_rejection(move |rejection, request| {
            write!(print.lock().unwrap(), "{request:?} {rejection:?} {rejection}").unwrap();
            Response::new(request.headers["accept"].to_str().unwrap().to_owned())
        });
    let token = Signer::Ed25519([1; 32]).good();
    for (name, value) in [
        ("authorization", format!("Bearer {token}")),
        ("x-token", token.clone()),
        ("cookie", format!("a={token}")),
    ] {
        let request = Request::put("/orders?x=1")
            .header("accept", "text/html")
            .header(name, value)
            .body(Full::default())
            .unwrap();
        assert!(format!("{request:?}").contains(&token), "printed before");
        assert_eq!(answer(layer.clone(), request).await.body(), "text/html", "{name}");
        let text = std::mem::take(&mut *printed.lock().unwrap());
        assert!(text.contains("PUT") && text.contains("/orders?x=1") && text.contains(name), "{text}");
        assert!(!text.contains(token.rsplit('.').next().unwrap()), "{text}");
    }
}

// ── the crate's own answer ──

#[tokio::test]
async fn a_closure_can_fall_back_to_the_crates_answer() {
    let own = layer().map_rejection(|rejection, request| {
        if rejection.protocol() == Protocol::Http && request.uri.path().starts_with("/pages/") {
            return Response::builder().status(303).header(LOCATION, "/login").body(Bytes::new()).unwrap();
        }
        rejection.to_response()
    });
    for (fallen, plain) in refusals(&own).into_iter().zip(refusals(&layer())) {
        let name = fallen.name;
        for make in [|request: Req| request, as_grpc] {
            let expected = plain.service.clone().oneshot(make(plain.request.clone())).await.unwrap();
            let found = fallen.service.clone().oneshot(make(fallen.request.clone())).await.unwrap();
            assert_eq!(found.status(), expected.status(), "{name}");
            assert_eq!(found.headers(), expected.headers(), "{name}");
            assert_eq!(found.body(), expected.body(), "{name}");
            assert_eq!(found.extensions().get::<EndsAtOnce>(), expected.extensions().get(), "{name}");
        }
        let mut page = fallen.request;
        *page.uri_mut() = "/pages/1".parse().unwrap();
        assert_eq!(fallen.service.oneshot(page).await.unwrap().status(), 303, "{name}");
    }
}

/// One HEADERS frame is what a gRPC client reads; a page would be an error of the protocol to it.
#[tokio::test]
async fn every_grpc_call_that_falls_back_is_refused_with_headers_alone() {
    let layer = layer().map_rejection(|rejection, _| rejection.to_response());
    for (content_type, answered_as, protocol) in [
        ("application/grpc", "application/grpc", Protocol::Grpc),
        ("application/grpc-web+proto", "application/grpc-web", Protocol::GrpcWeb),
        ("application/grpc-web-text", "application/grpc-web-text", Protocol::GrpcWebText),
    ] {
        for Refusal { name, kind, service, request, .. } in refusals(&layer) {
            let mut request = as_grpc(request);
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let refused = service.oneshot(request).await.unwrap();
            let (status, message) = grpc(kind);
            assert_eq!(refused.status(), StatusCode::OK, "{name}");
            let headers = refused.headers();
            assert_eq!(headers[CONTENT_TYPE], answered_as, "{name}");
            assert_eq!(headers["grpc-status"], status, "{name}");
            assert_eq!(headers["grpc-message"], message, "{name}");
            assert_eq!(headers.keys().len(), 3, "{name}: {headers:?}");
            assert_eq!(refused.extensions().get(), Some(&EndsAtOnce(true)), "{name}");
            assert_eq!(refused.extensions().get::<Rejection>().unwrap().protocol(), protocol, "{name}");
        }
    }
}

fn grpc(kind: RejectionKind) -> (&'static str, &'static str) {
    let (_, status, _, _, description) = text(kind);
    (status, description)
}

/// Status of HTTP and of gRPC, the parameters of the challenge, the code and the text of a body.
fn text(kind: RejectionKind) -> (u16, &'static str, Option<&'static str>, &'static str, &'static str) {
    match kind {
        RejectionKind::Missing => (401, "16", Some(""), "unauthorized", "an access token is required"),
        RejectionKind::InvalidRequest => {
            (400, "16", Some(""), "invalid_request", "the credentials are malformed")
        }
        RejectionKind::InvalidToken => {
            (401, "16", Some(""), "invalid_token", "the access token is not valid")
        }
        RejectionKind::InsufficientScope => (
            403,
            "7",
            Some(r#", scope="orders:read orders:write""#),
            "insufficient_scope",
            "the access token lacks a scope",
        ),
        RejectionKind::Denied => {
            (403, "7", Some(""), "insufficient_scope", "the access token does not permit this")
        }
        RejectionKind::InsufficientAuthentication => (
            401,
            "16",
            Some(r#", max_age="300""#),
            "insufficient_user_authentication",
            "another authentication of the user is required",
        ),
        RejectionKind::CrossSite => (403, "7", None, "cross_site", "the request comes from another site"),
        RejectionKind::Unavailable => {
            (503, "14", None, "unavailable", "the service cannot answer now, try again")
        }
        RejectionKind::NoBearerLayer | RejectionKind::OtherClaims => {
            (500, "13", None, "server_error", "the service is not set up correctly")
        }
        kind => panic!("{kind:?} has no row"),
    }
}

/// All of each default answer: there is no room for a library's text, a claim or a name of a type.
#[tokio::test]
async fn default_answers_are_json_that_nobody_stores() {
    let no_layer = |name, service, by| Refusal {
        name,
        by,
        kind: RejectionKind::NoBearerLayer,
        reason: "no_bearer_layer",
        service,
        request: good(),
    };
    let scope = RequireScopeLayer::all(["a"]).unwrap();
    let mut all = refusals(&layer());
    all.push(no_layer("scope, no layer", boxed(scope.layer(inner())), By::Behind));
    all.push(no_layer("service, no layer", boxed(asks::<NoClaims>()), By::Service));
    for Refusal { name, kind, reason, service, request, .. } in all {
        let refused = service.oneshot(request).await.unwrap();
        let (status, _, parameters, error, description) = text(kind);
        assert_eq!(refused.status(), status, "{name}");
        let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
        assert_eq!(refused.body(), &body, "{name}");

        let challenge = parameters.map(|parameters| match kind {
            RejectionKind::Missing => r#"Bearer realm="api""#.to_owned(),
            _ => format!(
                r#"Bearer realm="api", error="{error}", error_description="{description}"{parameters}"#
            ),
        });
        let mut expected = vec![
            ("cache-control", "no-store"),
            ("content-type", "application/json"),
            ("pragma", "no-cache"),
            ("x-content-type-options", "nosniff"),
        ];
        expected.extend(challenge.as_deref().map(|challenge| ("www-authenticate", challenge)));
        expected.extend((kind == RejectionKind::Unavailable).then_some(("retry-after", "1")));
        expected.sort_unstable();
        let mut headers: Vec<_> =
            refused.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        headers.sort_unstable();
        assert_eq!(headers, expected, "{name}");

        let rejection: &Rejection = refused.extensions().get().expect(name);
        assert_eq!((rejection.kind(), rejection.reason()), (kind, reason), "{name}");
        assert_eq!(rejection.status(), status, "{name}");
        let said = rejection.challenge();
        assert_eq!(said.as_ref().map(|said| said.to_str().unwrap()), challenge.as_deref(), "{name}");
        assert_eq!(kind.error_code().unwrap_or("unauthorized"), error, "{name}");
    }
}

#[tokio::test]
async fn a_rejection_says_what_would_have_been_needed() {
    let five = Duration::from_secs(300);
    let user = || RequireLayer::new(|_: &Verified<NoClaims>| false);
    let later = || RequireAsyncLayer::new(async |_: Verified<NoClaims>| Ok::<_, Infallible>(false));
    let down = || RequireAsyncLayer::new(async |_: Verified<NoClaims>| Err::<bool, _>("down"));
    let behind =
        |service: Boxed| boxed(layer().layer(service.map_response(|response| response.map(Full::from))));
    let (scope, any) =
        (RequireScopeLayer::all(["a", "b"]).unwrap(), RequireScopeLayer::any(["a", "b"]).unwrap());
    let strong = StepUpLayer::acr_values(["two", "three"]).unwrap();
    let age = StepUpLayer::max_age(five);
    for (name, service, scope, acr_values, max_age) in [
        ("nothing", boxed(user().layer(inner())), None, None, None),
        ("all", boxed(scope.layer(inner())), Some("a b"), None, None),
        ("any", boxed(any.layer(inner())), Some("a b"), None, None),
        ("predicate", boxed(user().with_scopes(["x"]).unwrap().layer(inner())), Some("x"), None, None),
        ("async", boxed(later().with_scopes(["x", "y"]).unwrap().layer(inner())), Some("x y"), None, None),
        ("async, down", boxed(down().with_scopes(["x"]).unwrap().layer(inner())), None, None, None),
        ("age", boxed(age.clone().layer(inner())), None, None, Some(five)),
        ("acr", boxed(strong.clone().layer(inner())), None, Some("two three"), None),
        ("both", boxed(strong.with_max_age(five).layer(inner())), None, Some("two three"), Some(five)),
    ] {
        let refused = behind(service).oneshot(good()).await.unwrap();
        let rejection: &Rejection = refused.extensions().get().expect(name);
        let found = (rejection.scope(), rejection.acr_values(), rejection.max_age());
        assert_eq!(found, (scope, acr_values, max_age), "{name}");
        let challenge = rejection.challenge();
        let challenge = challenge.as_ref().map_or("", |value| value.to_str().unwrap());
        for (parameter, value) in
            [("scope", scope), ("acr_values", acr_values), ("max_age", max_age.map(|_| "300"))]
        {
            let text = value.map(|value| format!(r#", {parameter}="{value}""#));
            assert_eq!(text.is_some(), challenge.contains(&format!("{parameter}=")), "{name}: {challenge}");
            assert!(text.is_none_or(|text| challenge.contains(&text)), "{name}: {challenge}");
        }
    }
}

/// A rejection goes into an application's error, and from there into logs.
#[tokio::test]
async fn a_rejection_prints_no_token() {
    let secret = signer().good();
    let signature = secret.rsplit('.').next().unwrap();
    let bad = format!("Bearer {}A", &secret[..secret.len() - 1]);
    let layer = layer().map_rejection(|rejection, request| {
        Response::new(format!("{:?} {}", request.headers[AUTHORIZATION].to_str(), rejection.reason()))
    });
    for (request, display) in [
        (request(&[&bad]), "the access token is not valid"),
        (request(&[&bad, &bad]), "the credentials are malformed"),
        (request(&[format!("{bad} x")]), "the credentials are malformed"),
    ] {
        let refused = answer(layer.clone(), request).await;
        assert!(refused.body().starts_with(b"Ok(\"Bearer "), "the closure saw it");
        let rejection: Rejection = refused.extensions().get().cloned().unwrap();
        assert_eq!(rejection.to_string(), display);
        let error: Box<dyn Error + Send + Sync> = rejection.into();
        let text = format!("{error} {error:?} {error:#?}");
        assert!(text.contains("kind") && error.source().is_none());
        for part in [&secret[..20], signature, &secret[secret.len() / 2..][..20]] {
            assert!(!text.contains(part), "{text}");
        }
    }
}

// ── what comes of it further out ──

/// Metrics and redirects of an outer layer read the reason, whatever the answer looks like.
#[tokio::test]
async fn an_outer_layer_reads_the_reason_of_an_answer_of_ones_own() {
    let layer = layer().map_rejection(|_, _| Response::new("own"));
    for Refusal { name, kind, service, request, .. } in refusals(&layer) {
        let counted = service.map_response(|response: Response<Bytes>| {
            response.extensions().get::<Rejection>().map(Rejection::kind)
        });
        assert_eq!(counted.oneshot(request).await.unwrap(), Some(kind), "{name}");
    }
}

/// A future that is refused is ready at the first poll, and the application's function has run before.
#[tokio::test]
async fn the_function_runs_in_the_call() {
    fn is_send<T: Send + 'static>(_: impl Future<Output = T> + Send) {}
    let told = Told::default();
    let noted = told.clone();
    let mut service = layer()
        .map_rejection(move |rejection, request| {
            noted.note(rejection, request);
            Response::new("")
        })
        .layer(inner());
    let future = service.ready().await.unwrap().call(anonymous());
    assert_eq!(told.take(), ["missing GET /"]);
    drop(future);
    let future = service.ready().await.unwrap().call(good());
    assert!(support::poll_then_drop(future, 1).is_some_and(|response| response.unwrap().status() == 200));
    assert_eq!(told.take(), [""; 0]);
    is_send(service.call(anonymous()));
}

#[tokio::test]
async fn an_answer_without_retry_after_is_the_applications_choice() {
    let keeps = layer().map_rejection(|rejection, _| rejection.to_response());
    let drops = layer().map_rejection(|rejection, _| {
        Response::builder().status(rejection.status()).body(Bytes::new()).unwrap()
    });
    for (layer, expected) in [(keeps, true), (drops, false)] {
        let found = refusals(&layer).into_iter().find(|refusal| refusal.kind == RejectionKind::Unavailable);
        let Refusal { service, request, .. } = found.unwrap();
        let refused = service.oneshot(request).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers().contains_key(RETRY_AFTER), expected);
    }
}
