//! The modes of the bearer layer: which requests pass, and what the service behind it finds.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use support::ManualClock;
use support::events::Events;
use support::requests::{as_grpc, bearer, request};
use support::tokens::{NOW, SUBJECT, Signer, claims, config};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    AuthContext, JwtAuth, JwtAuthLayer, NoClaims, Outcome, Protocol, Rejection, RejectionKind, Verified,
};

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;

fn layer() -> JwtAuthLayer<NoClaims> {
    JwtAuthLayer::new(config(&Signer::ed25519(), &ManualClock::new()).verifier())
}

/// What became of a request.
struct Sent {
    status: u16,
    grpc_status: Option<String>,
    rejection: Option<Rejection>,
    /// What the inner service was called with.
    seen: Option<Parts>,
}

async fn send(layer: &JwtAuthLayer<NoClaims>, request: Req) -> Sent {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let inner = service_fn(move |request: Req| {
        assert!(keep.lock().unwrap().replace(request.into_parts().0).is_none(), "called twice");
        ready(Ok::<_, Infallible>(Res::default()))
    });
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap().take();
    Sent {
        status: response.status().as_u16(),
        grpc_status: response.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned()),
        rejection: response.extensions().get().cloned(),
        seen,
    }
}

/// What a mode makes of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Verified,
    Anonymous,
    /// Passed, with this reason in the context.
    Observed(&'static str),
    /// Refused with this status, for this reason.
    Refused(u16, &'static str),
}
use Fate::{Anonymous, Observed, Refused};

/// The kind that the reasons of these tables belong to.
fn kind_of(reason: &str) -> RejectionKind {
    match reason {
        "missing" => RejectionKind::Missing,
        "malformed_credential" | "repeated_credential" | "too_large" => RejectionKind::InvalidRequest,
        _ => RejectionKind::InvalidToken,
    }
}

#[track_caller]
fn assert_fate(row: &str, sent: &Sent, expected: Fate, protocol: Protocol) {
    if let Refused(status, reason) = expected {
        assert!(sent.seen.is_none(), "{row}: the inner service was called");
        let rejection = sent.rejection.as_ref().expect(row);
        assert_eq!((rejection.kind(), rejection.reason()), (kind_of(reason), reason), "{row}");
        assert_eq!(rejection.protocol(), protocol, "{row}");
        match protocol {
            Protocol::Http => assert_eq!((sent.status, &sent.grpc_status), (status, &None), "{row}"),
            _ => assert_eq!((sent.status, sent.grpc_status.as_deref()), (200, Some("16")), "{row}"),
        }
        return;
    }
    assert!(sent.rejection.is_none(), "{row}: an answer of the inner service is no refusal");
    assert_eq!((sent.status, &sent.grpc_status), (200, &None), "{row}");
    let parts = sent.seen.as_ref().expect(row);
    let context = AuthContext::of(&parts.extensions).expect(row);
    let verified = Verified::<NoClaims>::of(&parts.extensions);
    let asked = Verified::<NoClaims>::from_parts(parts);
    // The three ways to ask agree.
    assert_eq!(context.verified().is_some(), expected == Fate::Verified, "{row}");
    assert_eq!(verified.is_some(), expected == Fate::Verified, "{row}");
    match (context.outcome(), expected) {
        (Outcome::Verified(any), Fate::Verified) => {
            assert_eq!(any.registered().subject(), SUBJECT, "{row}");
            assert_eq!(verified.unwrap().subject(), SUBJECT, "{row}");
            assert_eq!(asked.unwrap().subject(), SUBJECT, "{row}");
        }
        (Outcome::Anonymous, Anonymous) => {
            let rejection = asked.unwrap_err();
            assert_eq!(rejection.kind(), RejectionKind::Missing, "{row}");
            assert_eq!(rejection.protocol(), protocol, "{row}");
        }
        (Outcome::Refused(found), Observed(reason)) => {
            for rejection in [found, &asked.unwrap_err()] {
                assert_eq!((rejection.kind(), rejection.reason()), (kind_of(reason), reason), "{row}");
                assert_eq!(rejection.protocol(), protocol, "{row}");
            }
        }
        (outcome, expected) => panic!("{row}: {outcome:?} instead of {expected:?}"),
    }
}

#[tokio::test]
async fn what_becomes_of_a_request_in_each_mode() {
    let signer = Signer::ed25519();
    let good = signer.good();
    let expired = claims().with("exp", (NOW - 31).to_string()).with("iat", (NOW - 600).to_string());
    let expired = signer.with_claims(expired.json());
    let forged = Signer::Ed25519([1; 32]).good();
    let repeated = [format!("Bearer {good}"), format!("Bearer {good}")];
    // A mode decides only whether a request passes; the reason is the same in each.
    for (row, request, required, optional, observe) in [
        ("no token", request::<&str>(&[]), Refused(401, "missing"), Anonymous, Anonymous),
        ("another scheme", request(&["Basic dTpw"]), Refused(401, "missing"), Anonymous, Anonymous),
        ("an empty header", request(&[""]), Refused(401, "missing"), Anonymous, Anonymous),
        ("a good token", bearer(&good), Fate::Verified, Fate::Verified, Fate::Verified),
        (
            "no JWT",
            bearer("x.y.z"),
            Refused(401, "malformed"),
            Refused(401, "malformed"),
            Observed("malformed"),
        ),
        (
            "an expired token",
            bearer(&expired),
            Refused(401, "expired"),
            Refused(401, "expired"),
            Observed("expired"),
        ),
        (
            "a forged token",
            bearer(&forged),
            Refused(401, "signature"),
            Refused(401, "signature"),
            Observed("signature"),
        ),
        (
            "no credential behind the scheme",
            request(&["Bearer"]),
            Refused(400, "malformed_credential"),
            Refused(400, "malformed_credential"),
            Observed("malformed_credential"),
        ),
        (
            "a good token twice",
            request(&repeated),
            Refused(400, "repeated_credential"),
            Refused(400, "repeated_credential"),
            Observed("repeated_credential"),
        ),
        (
            "another scheme, and a good token",
            request(&["Basic dTpw", &repeated[0]]),
            Refused(400, "repeated_credential"),
            Refused(400, "repeated_credential"),
            Observed("repeated_credential"),
        ),
        (
            "a long one",
            bearer(&"a".repeat(9000)),
            Refused(400, "too_large"),
            Refused(400, "too_large"),
            Observed("too_large"),
        ),
    ] {
        let modes = [
            ("required", layer(), required),
            ("optional", layer().optional(), optional),
            ("observe", layer().observe(), observe),
        ];
        for (mode, layer, expected) in modes {
            let row = format!("{row}, {mode}");
            assert_fate(&row, &send(&layer, request.clone()).await, expected, Protocol::Http);
            let call = as_grpc(request.clone());
            assert_fate(&format!("{row}, gRPC"), &send(&layer, call).await, expected, Protocol::Grpc);
        }
    }
}

/// A mode is chosen at run time, and no type tells of it: neither the layer's nor the service's.
#[tokio::test]
async fn a_mode_is_a_value() {
    struct App {
        service: JwtAuth<Stub, NoClaims>,
    }
    type Stub = tower::util::ServiceFn<fn(Req) -> std::future::Ready<Result<Res, Infallible>>>;
    let stub = || -> Stub { service_fn(|_| ready(Ok(Res::default()))) };
    let chosen = |mode: &str| match mode {
        "optional" => layer().optional(),
        "observe" => layer().observe(),
        _ => layer(),
    };
    let mut app = App { service: chosen("required").layer(stub()) };
    for (mode, anonymous, bad) in [("required", 401, 401), ("optional", 200, 401), ("observe", 200, 200)] {
        app.service = chosen(mode).layer(stub());
        for (request, expected) in [(request::<&str>(&[]), anonymous), (bearer("x.y.z"), bad)] {
            let response = app.service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), expected, "{mode}");
        }
    }
}

#[tokio::test]
async fn the_last_word_about_the_mode_counts_and_the_other_settings_stay() {
    for (row, layer, expected) in [
        ("optional, then observe", layer().optional().observe(), 200),
        ("observe, then optional", layer().observe().optional(), 401),
        ("observe, then a realm", layer().observe().with_realm("x").unwrap(), 200),
        ("observe, then answers", layer().observe().map_rejection(|_, _| Response::new("")), 200),
        ("observe, then a header", layer().observe().add_header("x-token".parse().unwrap()).unwrap(), 200),
        ("observe, then a strip", layer().observe().strip_token(), 200),
    ] {
        assert_eq!(send(&layer, bearer("x.y.z")).await.status, expected, "{row}");
    }
    let layer = layer();
    let _ = layer.clone().observe();
    assert_eq!(send(&layer, bearer("x.y.z")).await.status, 401, "a clone's mode is its own");
}

/// A wrong mark of a layer further out, or of a client, does not survive the layer.
#[tokio::test]
async fn a_context_that_was_there_before_is_replaced() {
    let seen = send(&layer(), bearer(&Signer::ed25519().good())).await.seen.unwrap();
    let before = AuthContext::of(&seen.extensions).unwrap().clone();
    for layer in [layer().optional(), layer().observe()] {
        let mut request = request::<&str>(&[]);
        request.extensions_mut().insert(before.clone());
        let sent = send(&layer, request).await;
        assert_fate("a context from before", &sent, Anonymous, Protocol::Http);
    }
}

#[tokio::test]
async fn what_an_observing_layer_lets_pass_is_told_in_the_log() {
    let (events, _guard) = Events::start();
    let malformed = || request(&["Bearer"]);
    for (row, layer, request, expected) in [
        ("good", layer().observe(), bearer(&Signer::ed25519().good()), &[][..]),
        ("none", layer().observe(), request::<&str>(&[]), &[]),
        (
            "bad",
            layer().observe(),
            bearer("x.y.z"),
            &[
                r#"DEBUG tower_jwt_auth::bearer bad_token reason="malformed" detail="a segment is not canonical base64url""#,
                r#"INFO tower_jwt_auth::bearer observed reason="malformed""#,
            ],
        ),
        (
            "malformed",
            layer().observe(),
            malformed(),
            &[r#"INFO tower_jwt_auth::bearer observed reason="malformed_credential""#],
        ),
        ("optional, none", layer().optional(), request::<&str>(&[]), &[]),
        (
            "optional, malformed",
            layer().optional(),
            malformed(),
            &[r#"INFO tower_jwt_auth::bearer rejected reason="malformed_credential""#],
        ),
    ] {
        // `from_parts` and `of` log nothing of what a client did.
        let sent = send(&layer, request).await;
        if let Some(parts) = &sent.seen {
            let _ = (Verified::<NoClaims>::of(&parts.extensions), Verified::<NoClaims>::from_parts(parts));
        }
        assert_eq!(events.take_own(), expected, "{row}");
    }
}
