//! The handle [`Sessions`]: the same sessions without HTTP, as a passkey or an OAuth callback uses them.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use support::ManualClock;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthService, ClientInfo, Clock, Identity, MokaStore, NoLogin, RefreshKeys, SessionErrorKind, SessionId,
    SessionInfo, Sessions, SigningKey, TokenConfig, Verifier,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    email: String,
}

struct Fixture {
    auth: AuthService<User>,
    sessions: Sessions<User>,
    verifier: Verifier<User>,
    clock: ManualClock,
}

fn fixture() -> Fixture {
    let clock = ManualClock::new();
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&[7; 32]).unwrap())
        .issuer("https://app.example")
        .audience("api")
        .clock(clock.clone())
        .build()
        .unwrap();
    let store = MokaStore::builder().clock(clock.clone()).build();
    let keys = RefreshKeys::new([9; 32]).unwrap();
    let auth = AuthService::builder(&config, keys, store, NoLogin::<User>::new())
        .add_origin("https://app.example")
        .build()
        .unwrap();
    Fixture { sessions: auth.sessions(), auth, verifier: config.verifier(), clock }
}

fn ada() -> Identity<User> {
    Identity::new("ada", User { email: "ada@example.com".to_owned() }).with_scopes(["read", "write"])
}

#[tokio::test]
async fn opens_with_tokens_and_cookie() {
    let Fixture { sessions, verifier, clock, .. } = fixture();
    let client = ClientInfo::default().with_label("Ada's phone").with_user_agent("phone");
    let granted = sessions.open(ada().with_client_id("mobile"), &client).await.unwrap();

    let user = verifier.verify(granted.access_token().expose()).unwrap();
    assert_eq!(user.subject(), "ada");
    assert_eq!(user.session_id(), Some(granted.session_id().to_string().as_str()));
    assert_eq!(user.registered().generation(), Some(0));
    assert_eq!(user.registered().client_id(), Some("mobile"));
    assert!(user.has_scope("read") && user.has_scope("write"));
    assert_eq!(user.claims(), &User { email: "ada@example.com".to_owned() });

    let cookie = granted.set_cookie().unwrap().to_str().unwrap();
    assert!(cookie.starts_with(&format!("__Secure-refresh_token={};", granted.refresh_token())));
    let response = granted.to_response();
    assert_eq!(response.headers()[SET_COOKIE], cookie);
    assert!(response.body().starts_with(br#"{"access_token":"#));

    let list = sessions.list("ada").await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].id(), granted.session_id());
    assert_eq!(list[0].client().label.as_deref(), Some("Ada's phone"));
    assert_eq!(list[0].created_at(), clock.now());
    assert_eq!(list[0].client_id(), Some("mobile"));
    assert_eq!(list[0].scopes(), ["read", "write"]);
}

#[tokio::test]
async fn refreshes_as_the_route_does() {
    let Fixture { auth, sessions, clock, .. } = fixture();
    let first = sessions.open(ada(), &ClientInfo::default()).await.unwrap();

    let held = sessions.refresh(first.refresh_token()).await.unwrap();
    assert_eq!(held.refresh_token(), first.refresh_token(), "just handed out");
    assert!(held.set_cookie().is_none());

    clock.advance(Duration::from_secs(60));
    let second = sessions.refresh(first.refresh_token()).await.unwrap();
    assert_ne!(second.refresh_token(), first.refresh_token());
    assert!(second.set_cookie().is_some());
    let again = sessions.refresh(first.refresh_token()).await.unwrap();
    assert_eq!(again.refresh_token(), second.refresh_token(), "the same successor");

    // What code opened, the route goes on with.
    clock.advance(Duration::from_secs(60));
    let request = Request::post("/auth/refresh")
        .header("cookie", format!("__Secure-refresh_token={}", second.refresh_token()))
        .header("sec-fetch-site", "same-origin")
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    assert_eq!(auth.oneshot(request).await.unwrap().status(), StatusCode::OK);

    for token in ["", "garbage", &"A".repeat(140), first.access_token().expose()] {
        let error = sessions.refresh(token).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Refused, "{token}");
    }
}

#[tokio::test]
async fn ends_one_all_and_all_but_one() {
    let Fixture { sessions, .. } = fixture();
    let client = ClientInfo::default();
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let granted = sessions.open(ada(), &client).await.unwrap();
        tokens.push((granted.session_id(), granted.refresh_token().to_owned()));
    }
    let bob = sessions.open(Identity::new("bob", User { email: String::new() }), &client).await.unwrap();

    assert!(sessions.end("ada", tokens[0].0).await.unwrap());
    assert!(!sessions.end("ada", tokens[0].0).await.unwrap(), "there is none any more");
    assert!(!sessions.end("bob", tokens[1].0).await.unwrap(), "another subject's");
    assert!(sessions.end_by_token(&tokens[1].1).await.unwrap());
    assert!(!sessions.end_by_token("garbage").await.unwrap());
    assert_eq!((sessions.list("ada").await.unwrap().len(), sessions.count("ada").await.unwrap()), (2, 2));

    assert_eq!(sessions.end_all("ada", Some(tokens[3].0)).await.unwrap(), 1);
    let left: Vec<SessionId> = sessions.list("ada").await.unwrap().iter().map(SessionInfo::id).collect();
    assert_eq!(left, [tokens[3].0]);
    assert!(sessions.refresh(&tokens[2].1).await.is_err() && sessions.refresh(&tokens[3].1).await.is_ok());

    assert_eq!(sessions.end_all("ada", None).await.unwrap(), 1);
    assert!(sessions.refresh(&tokens[3].1).await.is_err());
    assert!(sessions.refresh(bob.refresh_token()).await.is_ok(), "nobody else's");
}

/// A password change: all sessions end, and the device at hand gets a new one, within one tick of the clock.
#[tokio::test]
async fn a_session_can_be_opened_right_after_all_were_ended() {
    let Fixture { sessions, .. } = fixture();
    let before = sessions.now().await.unwrap();
    sessions.end_all("ada", None).await.unwrap();
    let granted = sessions.open(ada(), &ClientInfo::default()).await.unwrap();
    assert!(sessions.refresh(granted.refresh_token()).await.is_ok());

    let late = sessions.open(ada().with_authenticated_at(before), &ClientInfo::default()).await.unwrap_err();
    assert_eq!(late.kind(), SessionErrorKind::RevokedMeanwhile, "its credentials were checked before");
    let after = sessions.now().await.unwrap();
    assert!(sessions.open(ada().with_authenticated_at(after), &ClientInfo::default()).await.is_ok());
}

#[tokio::test]
async fn identities_that_cannot_be_kept_are_refused() {
    #[derive(Serialize, Deserialize)]
    struct Free(serde_json::Value);
    let config = TokenConfig::builder()
        .key(SigningKey::hs256([1; 32]).unwrap())
        .issuer("https://app.example")
        .audience("api")
        .build()
        .unwrap();
    let store = MokaStore::new();
    let auth =
        AuthService::builder(&config, RefreshKeys::new([9; 32]).unwrap(), store, NoLogin::<Free>::new())
            .add_origin("https://app.example")
            .build()
            .unwrap();
    let sessions = auth.sessions();
    let free = |json: &str| Free(serde_json::from_str(json).unwrap());
    let long = "x".repeat(5000);
    for (name, identity) in [
        ("no subject", Identity::new("", free("{}"))),
        ("long subject", Identity::new("s".repeat(256), free("{}"))),
        ("claims are no object", Identity::new("ada", free("[1]"))),
        ("a registered claim", Identity::new("ada", free(r#"{"exp":9999999999}"#))),
        ("long claims", Identity::new("ada", Free(serde_json::json!({ "x": long })))),
        ("no word as scope", Identity::new("ada", free("{}")).with_scopes(["a b"])),
        ("empty scope", Identity::new("ada", free("{}")).with_scopes([""])),
        ("long scopes", Identity::new("ada", free("{}")).with_scopes(["s".repeat(1025)])),
        ("empty client id", Identity::new("ada", free("{}")).with_client_id("")),
    ] {
        let error = sessions.open(identity, &ClientInfo::default()).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::InvalidIdentity, "{name}: {error:?} {:?}", error.source());
    }
    assert!(sessions.list("ada").await.unwrap().is_empty(), "nothing was kept");
}
