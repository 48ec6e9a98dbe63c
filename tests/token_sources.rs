//! Tokens from elsewhere than the header `Authorization`, and what of a credential is left for services behind the
//! layer: marked sensitive, or taken out.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use support::ManualClock;
use support::events::Events;
use support::requests::as_grpc;
use support::tokens::{Signer, config};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    AuthContext, ConfigErrorKind, JwtAuthLayer, NoClaims, Outcome, Rejection, RejectionKind, TokenCookie,
    Verified,
};

type Bearer = JwtAuthLayer<NoClaims>;

const OWN: &str = "https://app.example";
const NAME: &str = "__Host-access";

fn layer() -> Bearer {
    JwtAuthLayer::new(config(&Signer::ed25519(), &ManualClock::new()).verifier())
}

fn with_header() -> Bearer {
    layer().add_header(HeaderName::from_static("x-token")).unwrap()
}

fn with_cookie() -> Bearer {
    layer().add_cookie(TokenCookie::new(NAME, OWN).unwrap()).unwrap()
}

/// Reads all there is.
fn with_all() -> Bearer {
    with_cookie()
        .add_header(HeaderName::from_static("x-token"))
        .unwrap()
        .add_header(HeaderName::from_static("x-other-token"))
        .unwrap()
}

/// A request with these headers, in which `{good}` and `{bad}` stand for tokens.
fn request(method: &Method, pairs: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method.clone();
    for (name, value) in pairs {
        let value = value.replace("{good}", &good()).replace("{bad}", &bad());
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn good() -> String {
    Signer::ed25519().good()
}

/// Signed by no key of ours.
fn bad() -> String {
    Signer::Ed25519([1; 32]).good()
}

struct Sent {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    rejection: Option<Rejection>,
    /// What the inner service was called with.
    seen: Option<Parts>,
}

impl Sent {
    /// The status, or the reason of the refusal.
    fn outcome(&self) -> Result<u16, (u16, &'static str)> {
        self.rejection.as_ref().map_or(Ok(self.status), |rejection| Err((self.status, rejection.reason())))
    }
}

async fn send(layer: &Bearer, request: Request<Full<Bytes>>) -> Sent {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let inner = service_fn(move |request: Request<Full<Bytes>>| {
        *keep.lock().unwrap() = Some(request.into_parts().0);
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let seen = seen.lock().unwrap().take();
    assert_eq!(seen.is_some(), parts.extensions.get::<Rejection>().is_none(), "passed, or refused");
    Sent {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
        rejection: parts.extensions.get().cloned(),
        seen,
    }
}

// ── where a token may stand ──

#[tokio::test]
async fn a_header_of_a_proxy_holds_a_token_alone_or_with_the_scheme() {
    const AUTH: &str = "authorization";
    let (malformed, repeated) = (Err((400, "malformed_credential")), Err((400, "repeated_credential")));
    for (row, pairs, expected) in [
        ("alone", &[("x-token", "{good}")][..], Ok(200)),
        ("with the scheme", &[("x-token", "Bearer {good}")], Ok(200)),
        ("with the scheme in small letters", &[("x-token", "bearer {good}")], Ok(200)),
        ("white space around", &[("x-token", " {good} ")], Ok(200)),
        ("another case of the name", &[("X-Token", "{good}")], Ok(200)),
        ("bad", &[("x-token", "{bad}")], Err((401, "signature"))),
        ("bad, with the scheme", &[("x-token", "Bearer {bad}")], Err((401, "signature"))),
        ("empty", &[("x-token", "")], malformed),
        ("the scheme alone, which may be a token", &[("x-token", "Bearer")], Err((401, "malformed"))),
        ("another scheme", &[("x-token", "Basic {good}")], malformed),
        ("the scheme twice", &[("x-token", "Bearer Bearer {good}")], malformed),
        ("two with a comma", &[("x-token", "{good}, {good}")], malformed),
        ("twice", &[("x-token", "{good}"), ("x-token", "{good}")], repeated),
        ("a header that was not added", &[("x-other-token", "{good}")], Err((401, "missing"))),
        ("nothing", &[], Err((401, "missing"))),
        ("Authorization is read as before", &[(AUTH, "Bearer {good}")], Ok(200)),
        ("Authorization needs the scheme as before", &[(AUTH, "{good}")], Err((401, "missing"))),
        ("beside another scheme", &[(AUTH, "Basic dTpw"), ("x-token", "{good}")], Ok(200)),
        ("row 6 beside the same", &[(AUTH, "Bearer {good}"), ("x-token", "{good}")], repeated),
        ("row 6 good here, bad there", &[(AUTH, "Bearer {bad}"), ("x-token", "{good}")], repeated),
        ("row 6 bad here, good there", &[(AUTH, "Bearer {good}"), ("x-token", "{bad}")], repeated),
        ("two, one of them malformed", &[(AUTH, "Bearer {good}"), ("x-token", "")], repeated),
        ("malformed before", &[(AUTH, "Bearer"), ("x-token", "{good}")], malformed),
    ] {
        assert_eq!(send(&with_header(), request(&Method::GET, pairs)).await.outcome(), expected, "{row}");
        let call = send(&with_header(), as_grpc(request(&Method::GET, pairs))).await;
        let grpc = call.headers.get("grpc-status").map(|value| value.to_str().unwrap());
        assert_eq!((call.status, grpc), (200, expected.is_err().then_some("16")), "{row}, gRPC");
    }
    let unasked = send(&layer(), request(&Method::GET, &[("x-token", "{good}")])).await;
    assert_eq!(unasked.outcome(), Err((401, "missing")), "opt-in");
}

/// RFC 6750, section 2: one way a request, whichever two it is.
#[tokio::test]
async fn row_6_two_tokens_are_an_error_wherever_they_stand() {
    let cookie = format!("{NAME}={{good}}");
    let places = [
        ("authorization", "Bearer {good}"),
        ("x-token", "{good}"),
        ("x-other-token", "Bearer {good}"),
        ("cookie", &*cookie),
    ];
    for (at, one) in places.into_iter().enumerate() {
        let sent = send(&with_all(), request(&Method::GET, &[one])).await;
        assert_eq!(sent.outcome(), Ok(200), "{one:?} alone");
        assert!(Verified::<NoClaims>::of(&sent.seen.unwrap().extensions).is_some(), "{one:?}");
        for other in &places[at + 1..] {
            let sent = send(&with_all(), request(&Method::GET, &[one, *other])).await;
            assert_eq!(sent.outcome(), Err((400, "repeated_credential")), "{one:?} and {other:?}");
            assert_eq!(
                sent.headers[WWW_AUTHENTICATE],
                r#"Bearer realm="api", error="invalid_request", error_description="the credentials are malformed""#
            );
        }
    }
}

#[tokio::test]
async fn a_cookie_holds_a_token() {
    let (malformed, repeated) = (Err((400, "malformed_credential")), Err((400, "repeated_credential")));
    let long = format!("a={}; __Host-access={{good}}", "a".repeat(70_000));
    for (row, cookies, expected) in [
        ("alone", &["__Host-access={good}"][..], Ok(200)),
        ("among others", &["a=1; __Host-access={good}; b=2"], Ok(200)),
        ("in a second header", &["a=1", "__Host-access={good}"], Ok(200)),
        ("bad", &["__Host-access={bad}"], Err((401, "signature"))),
        ("cleared", &["__Host-access="], Err((401, "missing"))),
        ("cleared beside a good one", &["__Host-access=; __Host-access={good}"], Ok(200)),
        ("twice", &["__Host-access={good}; __Host-access={good}"], repeated),
        ("twice in two headers", &["__Host-access={good}", "__Host-access={bad}"], repeated),
        ("with the scheme", &["__Host-access=Bearer {good}"], malformed),
        ("in quotes", &["__Host-access=\"{good}\""], malformed),
        ("of another case", &["__host-access={good}"], Err((401, "missing"))),
        ("white space before the name", &["a=1;  __Host-access={good}"], Err((401, "missing"))),
        ("a longer name", &["x__Host-access={good}; __Host-access2={good}"], Err((401, "missing"))),
        ("more cookies than anybody has", &[&long], Err((400, "too_large"))),
    ] {
        let pairs: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
        let sent = send(&with_cookie(), request(&Method::GET, &pairs)).await;
        assert_eq!(sent.outcome(), expected, "{row}");
    }
    let unasked = send(&layer(), request(&Method::GET, &[("cookie", "__Host-access={good}")])).await;
    assert_eq!(unasked.outcome(), Err((401, "missing")), "opt-in");
}

// ── whose request it is ──

const SITE: &str = "sec-fetch-site";
const EVIL: (&str, &str) = ("origin", "https://evil.example");
const MARK: (&str, &str) = ("x-session-request", "1");

/// A browser sends a cookie along with requests that another site made it send.
#[tokio::test]
async fn a_token_of_a_cookie_counts_for_requests_of_ones_own_pages() {
    let (metadata, origin, unknown) =
        (Err((403, "sec_fetch_site")), Err((403, "origin")), Err((403, "no_origin")));
    let cross = (SITE, "cross-site");
    let (own, second) = (("origin", OWN), ("origin", "https://admin.example"));
    let upgrade = ("upgrade", "websocket");
    for (row, methods, pairs, expected) in [
        ("another site reads", &["GET", "HEAD", "OPTIONS"][..], &[cross][..], Ok(200)),
        ("another origin reads", &["GET", "HEAD", "OPTIONS"], &[EVIL], Ok(200)),
        ("nothing tells, reads", &["GET"], &[], Ok(200)),
        ("another site", &["POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"], &[cross], metadata),
        ("another origin", &["POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"], &[EVIL], origin),
        ("a sibling", &["POST"], &[(SITE, "same-site"), own], metadata),
        ("another site with our origin", &["POST"], &[cross, own], metadata),
        ("another site with the mark", &["POST"], &[cross, MARK], metadata),
        ("another origin with the mark", &["POST"], &[EVIL, MARK], origin),
        ("null", &["POST"], &[("origin", "null")], origin),
        ("nothing tells", &["POST", "DELETE"], &[], unknown),
        ("a client that is no browser", &["POST"], &[MARK], Ok(200)),
        ("our origin", &["POST", "PUT", "PATCH", "DELETE"], &[own], Ok(200)),
        ("our second origin", &["POST"], &[second], Ok(200)),
        ("same-origin", &["POST"], &[(SITE, "same-origin")], Ok(200)),
        ("row 103 typed in, our origin", &["POST"], &[(SITE, "none"), own], Ok(200)),
        ("row 103 typed in", &["POST"], &[(SITE, "none")], unknown),
        ("a WebSocket of another site", &["GET"], &[upgrade, EVIL], origin),
        ("a WebSocket of another site, told by the browser", &["GET"], &[upgrade, cross], metadata),
        ("a WebSocket of nobody", &["GET"], &[upgrade], unknown),
        ("a WebSocket of ours", &["GET"], &[upgrade, own], Ok(200)),
        ("a WebSocket over HTTP/2", &["CONNECT"], &[EVIL], origin),
        ("a WebSocket of ours over HTTP/2", &["CONNECT"], &[own], Ok(200)),
    ] {
        let cookie = TokenCookie::new(NAME, OWN).unwrap().add_origin("https://Admin.example:443").unwrap();
        let layer = layer().add_cookie(cookie).unwrap();
        for method in methods {
            let method: Method = method.parse().unwrap();
            let row = format!("{row}, {method}");
            let from =
                |token: (&'static str, &'static str)| request(&method, &[&[token][..], pairs].concat());
            let with_cookie = || from(("cookie", "a=1; __Host-access={good}"));
            let sent = send(&layer, with_cookie()).await;
            assert_eq!(sent.outcome(), expected, "{row}");
            if expected.is_err() {
                let rejection = sent.rejection.unwrap();
                assert_eq!(rejection.kind(), RejectionKind::CrossSite, "{row}");
                assert!(!sent.headers.contains_key(WWW_AUTHENTICATE), "{row}: other credentials do not help");
                let body =
                    r#"{"error":"cross_site","error_description":"the request comes from another site"}"#;
                assert_eq!(sent.body, body, "{row}");
            }
            // An optional layer does not take it for a request without a token.
            assert_eq!(send(&layer.clone().optional(), with_cookie()).await.outcome(), expected, "{row}");
            // No browser sends the header by itself.
            let header = from(("authorization", "Bearer {good}"));
            assert_eq!(send(&layer, header).await.outcome(), Ok(200), "{row}, Authorization");
            let none = from(("x-none", ""));
            assert_eq!(send(&layer, none).await.outcome(), Err((401, "missing")), "{row}, none");
        }
        // gRPC-Web is always POST.
        let call =
            as_grpc(request(&Method::GET, &[&[("cookie", "__Host-access={good}")][..], pairs].concat()));
        let status = send(&layer, call).await.headers.get("grpc-status").cloned();
        let expected = methods.contains(&"POST").then_some(expected.is_err().then_some("7"));
        if let Some(expected) = expected {
            assert_eq!(status.as_ref().map(|value| value.to_str().unwrap()), expected, "{row}, gRPC");
        }
    }
}

#[test]
fn places_that_are_none_are_met_when_the_layer_is_made() {
    for (name, kind) in [
        ("authorization", ConfigErrorKind::Limit),
        ("cookie", ConfigErrorKind::Limit),
        ("x-token", ConfigErrorKind::Limit),
    ] {
        let error = with_header().add_header(name.parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}");
    }
    let again = TokenCookie::new(NAME, OWN).unwrap();
    assert_eq!(with_cookie().add_cookie(again).unwrap_err().kind(), ConfigErrorKind::Cookie);
    for name in ["", "a b", "a=b", "a;b", "é", &"a".repeat(65)] {
        assert_eq!(TokenCookie::new(name, OWN).unwrap_err().kind(), ConfigErrorKind::Cookie, "{name}");
    }
    for origin in ["", "*", "null", "app.example", "http://app.example", "https://app.example/", "ftp://a"] {
        assert_eq!(TokenCookie::new(NAME, origin).unwrap_err().kind(), ConfigErrorKind::Origin, "{origin}");
        let cookie = TokenCookie::new(NAME, OWN).unwrap();
        assert_eq!(cookie.add_origin(origin).unwrap_err().kind(), ConfigErrorKind::Origin, "{origin}");
    }
    assert!(TokenCookie::new(NAME, "http://localhost:3000").is_ok());
}

#[tokio::test]
async fn the_log_says_why_and_holds_no_token() {
    let (events, _guard) = Events::start();
    for (pairs, reason) in [
        (&[("x-token", "{bad} x")][..], "malformed_credential"),
        (&[("x-token", "{bad}"), ("authorization", "Bearer {bad}")], "repeated_credential"),
        (&[("cookie", "__Host-access={bad}"), EVIL], "origin"),
    ] {
        send(&with_all(), request(&Method::POST, pairs)).await;
        let line = format!("INFO tower_jwt_auth::bearer rejected reason={reason:?}");
        assert_eq!(events.take_own(), [line]);
    }
}

// ── marks ──

/// Layers further in that print headers leave the credentials out, whatever they are and whoever reads them.
#[tokio::test]
async fn credentials_are_marked_sensitive_for_services_behind_the_layer() {
    let modes =
        [("required", with_all()), ("optional", with_all().optional()), ("observe", with_all().observe())];
    for (mode, layer) in modes {
        for (row, pairs) in [
            ("Authorization", &[("authorization", "Bearer {good}")][..]),
            ("an added header", &[("x-token", "{good}"), ("authorization", "Basic dTpw")]),
            ("cookies", &[("cookie", "a=1"), ("cookie", "__Host-access={good}"), ("cookie", "b=2")]),
            ("another's cookie", &[("authorization", "Bearer {good}"), ("cookie", "session=1")]),
            ("anonymous", &[("authorization", "Basic dTpw"), ("cookie", "a=1"), ("cookie", "b=2")]),
            ("refused", &[("authorization", "Bearer {bad}"), ("x-token", "x y"), ("cookie", "a=1")]),
        ] {
            let row = format!("{row}, {mode}");
            let mut sent = request(&Method::GET, pairs);
            sent.headers_mut().insert("accept", HeaderValue::from_static("text/html"));
            assert!(sent.headers().values().all(|value| !value.is_sensitive()), "{row}: unmarked before");
            let Some(seen) = send(&layer, sent).await.seen else { continue };
            for (name, value) in &seen.headers {
                assert_eq!(value.is_sensitive(), name != "accept", "{row}, {name}");
            }
            let expected = pairs.len() + 1;
            assert_eq!(seen.headers.len(), expected, "{row}: nothing is taken out, nothing put in");
        }
    }
    // A header that was not added is not the layer's to judge.
    let pairs = [("authorization", "Bearer {good}"), ("x-token", "y")];
    let seen = send(&layer(), request(&Method::GET, &pairs)).await.seen.unwrap();
    assert!(seen.headers[AUTHORIZATION].is_sensitive() && !seen.headers["x-token"].is_sensitive());
}

// ── taking the token out ──

#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Good,
    None,
    Bad,
}
use Found::{Bad, Good};

type Pairs = &'static [(&'static str, &'static str)];

const BASIC: (&str, &str) = ("authorization", "Basic dTpw");

/// Requests, what a layer that reads all places finds in them, and what is left of them.
const STRIPPED: &[(&str, Method, Pairs, Found, Pairs)] = &[
    ("Authorization", Method::GET, &[("authorization", "Bearer {good}"), ("a", "1")], Good, &[("a", "1")]),
    ("an added header", Method::GET, &[("x-token", "{good}"), ("x-other", "1")], Good, &[("x-other", "1")]),
    ("beside another scheme", Method::GET, &[BASIC, ("x-token", "Bearer {good}")], Good, &[BASIC]),
    ("a cookie alone", Method::GET, &[("cookie", "__Host-access={good}")], Good, &[]),
    (
        "a cookie among others",
        Method::GET,
        &[("cookie", "a=1; __Host-access={good}; b=2"), ("cookie", "c=3")],
        Good,
        &[("cookie", "a=1; b=2"), ("cookie", "c=3")],
    ),
    (
        "a cookie, cleared before",
        Method::GET,
        &[("cookie", "__Host-access=; a=1; __Host-access={good}"), BASIC],
        Good,
        &[("cookie", "a=1"), BASIC],
    ),
    (
        "what no layer reads",
        Method::GET,
        &[("authorization", "Bearer {good}"), ("proxy-authorization", "Basic x"), ("cookie", "session=1")],
        Good,
        &[("proxy-authorization", "Basic x"), ("cookie", "session=1")],
    ),
    ("none", Method::GET, &[("a", "1")], Found::None, &[("a", "1")]),
    (
        "another scheme, other cookies",
        Method::GET,
        &[BASIC, ("cookie", "a=1; access=2")],
        Found::None,
        &[BASIC, ("cookie", "a=1; access=2")],
    ),
    ("bad", Method::GET, &[("authorization", "Bearer {bad}"), ("cookie", "a=1")], Bad, &[("cookie", "a=1")]),
    ("bad in an added header", Method::GET, &[("x-token", "{bad}"), BASIC], Bad, &[BASIC]),
    (
        "bad in a cookie",
        Method::GET,
        &[("cookie", "a=1; __Host-access={bad}"), BASIC],
        Bad,
        &[("cookie", "a=1"), BASIC],
    ),
    ("malformed", Method::GET, &[("authorization", "Bearer {good} x"), ("a", "1")], Bad, &[("a", "1")]),
    ("malformed in small letters", Method::GET, &[("authorization", "bearer {good},")], Bad, &[]),
    ("malformed in an added header", Method::GET, &[("x-token", "{good} x"), BASIC], Bad, &[BASIC]),
    (
        "malformed in a cookie",
        Method::GET,
        &[("cookie", "a=1; __Host-access=\"{good}\""), BASIC],
        Bad,
        &[("cookie", "a=1"), BASIC],
    ),
    (
        "twice",
        Method::GET,
        &[("authorization", "Bearer {good}"), ("authorization", "Bearer {bad}")],
        Bad,
        &[],
    ),
    ("twice, another scheme first", Method::GET, &[BASIC, ("authorization", "Bearer {good}")], Bad, &[]),
    (
        "twice in a cookie",
        Method::GET,
        &[("cookie", "__Host-access={good}; a=1; __Host-access={bad}")],
        Bad,
        &[("cookie", "a=1")],
    ),
    (
        "in all places at once",
        Method::GET,
        &[
            ("authorization", "Bearer {good}"),
            ("x-token", "{good}"),
            ("x-other-token", "{bad}"),
            ("cookie", "a=1; __Host-access={bad}"),
            ("b", "2"),
        ],
        Bad,
        &[("cookie", "a=1"), ("b", "2")],
    ),
    (
        "another site's doing",
        Method::POST,
        &[("cookie", "a=1; __Host-access={good}"), EVIL, BASIC],
        Bad,
        &[("cookie", "a=1"), EVIL, BASIC],
    ),
];

#[tokio::test]
async fn a_stripped_token_is_gone_and_all_else_stays() {
    for (row, method, pairs, found, left) in STRIPPED {
        let modes = [
            ("required", with_all()),
            ("optional", with_all().optional()),
            ("observe", with_all().observe()),
        ];
        for (mode, layer) in modes {
            let passes = match mode {
                "required" => *found == Good,
                "optional" => *found != Bad,
                _ => true,
            };
            let row = format!("{row}, {mode}");
            // Kept without the setting.
            let kept = send(&layer, request(method, pairs)).await;
            assert_eq!(kept.seen.is_some(), passes, "{row}");
            let sent = send(&layer.strip_token(), request(method, pairs)).await;
            assert_eq!(sent.outcome(), kept.outcome(), "{row}: the answer is the same");
            let (Some(seen), Some(kept)) = (sent.seen, kept.seen) else { continue };
            assert_eq!(kept.headers, *request(method, pairs).headers(), "{row}");
            assert_eq!(seen.headers, *request(method, left).headers(), "{row}");
            let text: Vec<_> = seen.headers.values().map(HeaderValue::as_bytes).collect();
            let text = String::from_utf8(text.concat()).unwrap();
            assert!(!text.contains(&good()) && !text.contains(&bad()), "{row}");
            for value in seen.headers.get_all(AUTHORIZATION).iter().chain(seen.headers.get_all(COOKIE)) {
                assert!(value.is_sensitive(), "{row}");
            }
            // What was found does not go with it.
            let outcome = match AuthContext::of(&seen.extensions).unwrap().outcome() {
                Outcome::Verified(_) => Good,
                Outcome::Anonymous => Found::None,
                _ => Bad,
            };
            assert_eq!(outcome, *found, "{row}");
        }
    }
}
