//! When and how a user logged in, in the access tokens of their session: `auth_time` and `acr`, which a refresh keeps.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::error::Error as _;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    AccessToken, AuthLayer, AuthService, ClientInfo, Clock, Identity, JwtAuthLayer, MokaStore, NoLogin,
    RefreshKeys, SessionErrorKind, SessionInfo, StepUpLayer, Timestamp, Verified,
};

use crate::support::service::{
    Answer, Ask, Fault, HOLD, OWN, Op, REFRESH_SECRET, RETRY, Renewal, User, World, bare, config,
    credentials, post,
};
use crate::support::tokens::json_of;
use crate::support::{HOUR, MINUTE, ManualClock, SECOND};

const TWO_FACTOR: &str = "urn:example:two-factor";
const MILLI: Duration = Duration::from_millis(1);

fn ada() -> Identity<User> {
    Identity::new("ada", User::named("ada"))
}

fn claims(token: &AccessToken) -> Value {
    json_of(token.expose().split('.').nth(1).unwrap())
}

fn seconds(moment: Timestamp) -> i64 {
    moment.as_unix_seconds()
}

/// `auth_time` and `acr` of an answer's access token.
fn authentication(answer: &Answer) -> (i64, Option<String>) {
    let claims = answer.claims();
    (claims["auth_time"].as_i64().unwrap(), claims.get("acr").map(|acr| acr.as_str().unwrap().to_owned()))
}

// ── of a login ──

/// The moment before the credentials were checked, in whole seconds and never a later one.
#[tokio::test]
async fn the_login_is_named_by_the_moment_before_it() {
    for offset in [Duration::ZERO, MILLI, 999 * MILLI, SECOND, 1500 * MILLI] {
        let world = World::new();
        world.clock.advance(offset);
        let began = world.clock.now();
        let gate = world.accounts.hold();
        let (login, ()) = tokio::join!(world.login("ada"), async {
            gate.reached().await;
            // The check of the credentials takes its time.
            world.clock.advance(MINUTE);
            gate.open();
        });
        assert_eq!(authentication(&login), (seconds(began), None), "{offset:?}");
        assert_eq!(login.claims()["iat"], seconds(began) + 60, "{offset:?}");
        let verified: Verified<User> = world.config.verifier().verify(&login.access()).unwrap();
        assert_eq!(
            verified.registered().authenticated_at(),
            Some(Timestamp::from_unix_seconds(seconds(began)))
        );
        assert_eq!(verified.registered().acr(), None);
    }
}

/// A moment that the authenticator names counts, unless it lies after the request.
#[tokio::test]
async fn an_authenticator_can_name_an_earlier_moment() {
    let world = World::new();
    let now = world.clock.now();
    for (name, named, expected) in [
        ("an hour ago", now.saturating_sub(HOUR), seconds(now) - 3600),
        ("a part of a second ago", now.saturating_sub(MILLI), seconds(now.saturating_sub(MILLI))),
        ("now", now, seconds(now)),
        ("later", now.saturating_add(HOUR), seconds(now)),
        ("the epoch", Timestamp::from_unix_seconds(0), 0),
        ("before the epoch", Timestamp::from_unix_millis(-1), 0),
        ("long before the epoch", Timestamp::from_unix_seconds(-1_000_000_000), 0),
    ] {
        world.accounts.shape(move |identity| identity.with_authenticated_at(named));
        let login = world.login("ada").await;
        assert_eq!(authentication(&login), (expected, None), "{name}");
        let refreshed = world.rotate(&login.refresh()).await;
        assert_eq!(authentication(&refreshed), (expected, None), "{name}");
        world.clock.set(now);
    }
}

#[tokio::test]
async fn sessions_of_code() {
    let world = World::new();
    let (sessions, device) = (world.auth.sessions(), ClientInfo::default());
    world.clock.advance(1999 * MILLI);
    let now = world.clock.now();
    for (name, identity, auth_time, acr) in [
        ("neither", ada(), seconds(now), None),
        ("a moment", ada().with_authenticated_at(now.saturating_sub(MINUTE)), seconds(now) - 60, None),
        ("a context", ada().with_acr(TWO_FACTOR), seconds(now), Some(TWO_FACTOR)),
        (
            "both, the last of each",
            ada()
                .with_acr("x")
                .with_acr(TWO_FACTOR)
                .with_authenticated_at(now)
                .with_authenticated_at(now.saturating_sub(HOUR)),
            seconds(now) - 3600,
            Some(TWO_FACTOR),
        ),
    ] {
        let granted = sessions.open(identity, &device).await.unwrap();
        let claims = claims(granted.access_token());
        assert_eq!(
            (&claims["auth_time"], claims.get("acr")),
            (&json!(auth_time), acr.map(Value::from).as_ref()),
            "{name}"
        );
        world.clock.advance(HOLD);
        let refreshed = sessions.refresh(granted.refresh_token()).await.unwrap();
        let verified: Verified<User> =
            world.config.verifier().verify(refreshed.access_token().expose()).unwrap();
        assert_eq!(verified.registered().authenticated_at().map(seconds), Some(auth_time), "{name}");
        assert_eq!(verified.registered().acr(), acr, "{name}");
        world.clock.set(now);
    }
}

/// A user at two devices authenticated at two times, in two ways.
#[tokio::test]
async fn each_session_has_its_own() {
    let world = World::new();
    world.accounts.shape(|identity| identity.with_acr("password"));
    let first = world.login("ada").await;
    world.clock.advance(HOUR);
    world.accounts.shape(|identity| identity.with_acr(TWO_FACTOR));
    let second = world.send(post("/auth/login").json(&credentials("ada"))).await;
    let began = seconds(world.clock.now());
    let (first, second) = (world.rotate(&first.refresh()).await, world.rotate(&second.refresh()).await);
    assert_eq!(authentication(&first), (began - 3600, Some("password".to_owned())));
    assert_eq!(authentication(&second), (began, Some(TWO_FACTOR.to_owned())));

    let infos = world.auth.sessions().list("ada").await.unwrap();
    let of = |info: &SessionInfo| (seconds(info.authenticated_at()), info.acr().map(ToOwned::to_owned));
    let infos: Vec<_> = infos.iter().map(of).collect();
    assert_eq!(infos, [authentication(&second), authentication(&first)]);
}

/// As for revocation: the moment is one of the store, which all nodes share.
#[tokio::test]
async fn the_moment_is_by_the_clock_of_the_store() {
    let (node, store) = (ManualClock::new(), ManualClock::new());
    store.advance(10 * SECOND);
    let auth = AuthService::builder(
        &config(&node),
        RefreshKeys::new(REFRESH_SECRET).unwrap(),
        MokaStore::builder().clock(store.clone()).build(),
        NoLogin::<User>::new(),
    )
    .add_origin(OWN)
    .build()
    .unwrap();
    let granted = auth.sessions().open(ada(), &ClientInfo::default()).await.unwrap();
    let claims = claims(granted.access_token());
    assert_eq!(claims["auth_time"], seconds(store.now()));
    assert_eq!(claims["iat"], seconds(node.now()));
}

// ── of a refresh ──

/// Rows 3 to 6 of the rule: whatever a refresh is answered with, the user did not authenticate anew.
#[tokio::test]
async fn every_refresh_keeps_what_the_login_said() {
    let world = World::new();
    world.clock.advance(500 * MILLI);
    world.accounts.shape(|identity| identity.with_acr(TWO_FACTOR));
    let login = world.login("ada").await;
    let expected = (seconds(world.clock.now()), Some(TWO_FACTOR.to_owned()));
    assert_eq!(authentication(&login), expected);
    let answered = |name: &str, answer: &Answer| assert_eq!(authentication(answer), expected, "{name}");

    world.clock.advance(SECOND);
    answered("row 4", &world.refresh(&login.refresh()).await);
    world.clock.advance(RETRY);
    let second = world.refresh(&login.refresh()).await;
    answered("row 5", &second);
    answered("row 6", &world.refresh(&login.refresh()).await);
    world.clock.advance(RETRY);
    world.store.plan(Op::Rotate, Fault::Lost);
    let third = world.refresh(&second.refresh()).await;
    world.store.assert_done();
    answered("row 5, lost", &third);
    answered("row 3", &world.refresh(&third.refresh()).await);
    let mut token = third.refresh();
    for day in 1..=20 {
        world.clock.advance(24 * HOUR);
        let answer = world.refresh(&token).await;
        answered(&format!("day {day}"), &answer);
        token = answer.refresh();
    }
}

/// The hook gives new claims; how the user logged in is not among them.
#[tokio::test]
async fn a_renewal_keeps_what_the_login_said() {
    let (world, renewing) = World::renewing();
    world.accounts.shape(|identity| identity.with_acr(TWO_FACTOR));
    let login = world.login("ada").await;
    let expected = authentication(&login);
    assert_eq!(expected.1.as_deref(), Some(TWO_FACTOR));
    renewing.answer(Renewal::Role("owner".to_owned()));
    let renewed = world.rotate(&login.refresh()).await;
    assert_eq!(renewed.value()["user"]["role"], "owner");
    assert_eq!(authentication(&renewed), expected);
}

// ── what can be kept ──

#[tokio::test]
async fn contexts_that_can_stand_in_a_token_and_in_a_challenge() {
    let longest = "a".repeat(255);
    for (name, acr) in [
        ("a letter", "a"),
        ("a URI", "urn:mace:incommon:iap:silver"),
        ("a URL", "https://refeds.org/profile/mfa?x=1#y"),
        ("a number", "2"),
        ("every sign", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"),
        ("the longest", &longest),
    ] {
        let world = World::new();
        let kept = acr.to_owned();
        world.accounts.shape(move |identity| identity.with_acr(&*kept));
        let login = world.login("ada").await;
        assert_eq!(login.claims()["acr"], acr, "{name}");
        assert_eq!(world.rotate(&login.refresh()).await.claims()["acr"], acr, "{name}");
        let verified: Verified<User> = world.config.verifier().verify(&login.access()).unwrap();
        assert_eq!(verified.registered().acr(), Some(acr), "{name}");
        assert_eq!(world.records("ada").await[0].facts.acr.as_deref(), Some(acr), "{name}");
    }
}

#[tokio::test]
async fn contexts_that_cannot_are_a_fault_of_the_application() {
    let too_long = "a".repeat(256);
    for (name, acr) in [
        ("empty", ""),
        ("two words", "a b"),
        ("a space", " "),
        ("a tab", "a\tb"),
        ("a line", "a\n"),
        ("a NUL", "a\0"),
        ("a delete", "a\u{7f}"),
        ("a quote", "a\"b"),
        ("a backslash", "a\\b"),
        ("another script", "é"),
        ("too long", &too_long),
    ] {
        let world = World::new();
        let error =
            world.auth.sessions().open(ada().with_acr(acr), &ClientInfo::default()).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::InvalidIdentity, "{name}");
        // Named as what it is, before anything is signed.
        assert!(
            error.to_string().contains("authentication context") && error.source().is_none(),
            "{name}: {error:?}"
        );
        let kept = acr.to_owned();
        world.accounts.shape(move |identity| identity.with_acr(&*kept));
        world.send(post("/auth/login").json(&credentials("ada"))).await.refused(500, "server_error");
        assert!(world.records("ada").await.is_empty(), "{name}");
        assert!(!world.store.take_calls().contains(&Op::Create), "{name}");
    }
}

/// After the year 9999 is no date of a token: found out before there is a session.
#[tokio::test]
async fn a_moment_that_no_token_can_name_opens_no_session() {
    let world = World::new();
    let last = 253_402_300_799;
    let sessions = world.auth.sessions();
    let open = async |moment| {
        sessions
            .open(ada().with_authenticated_at(Timestamp::from_unix_seconds(moment)), &ClientInfo::default())
            .await
    };
    let error = open(last + 1).await.unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::InvalidIdentity);
    assert!(world.records("ada").await.is_empty(), "a session nobody has a token of");
    assert_eq!(claims(open(last).await.unwrap().access_token())["auth_time"], last);
}

/// The names are the crate's: an application cannot say by its own claims when and how somebody logged in.
#[tokio::test]
async fn the_claims_of_the_application_cannot_say_it() {
    #[derive(Serialize, Deserialize)]
    struct Free(Value);
    let auth = AuthService::builder(
        &config(&ManualClock::new()),
        RefreshKeys::new(REFRESH_SECRET).unwrap(),
        MokaStore::new(),
        NoLogin::<Free>::new(),
    )
    .add_origin(OWN)
    .build()
    .unwrap();
    for claims in [json!({ "auth_time": 1 }), json!({ "acr": TWO_FACTOR }), json!({ "a": 1, "acr": null })] {
        let name = claims.to_string();
        let identity = Identity::new("ada", Free(claims));
        let error = auth.sessions().open(identity, &ClientInfo::default()).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::InvalidIdentity, "{name}");
    }
    assert!(auth.sessions().list("ada").await.unwrap().is_empty());
}

// ── the whole road ──

/// A token that is too old for a page is refused with what is needed (RFC 9470); a refresh does not help, a login does.
#[tokio::test]
async fn a_step_up_is_a_new_login_and_not_a_refresh() {
    let world = World::new();
    let step_up = StepUpLayer::max_age(5 * MINUTE)
        .with_acr_values([TWO_FACTOR])
        .unwrap()
        .with_clock(world.clock.clone());
    let stack = ServiceBuilder::new()
        .layer(AuthLayer::new(world.auth.clone()))
        .layer(JwtAuthLayer::new(world.config.verifier::<User>()))
        .layer(step_up)
        .service(service_fn(|_: Request<Full<Bytes>>| {
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done"))))
        }));
    let send = async |ask: Ask| Answer::of(stack.clone().oneshot(ask.request()).await.unwrap()).await;
    let pay = async |access: &str| {
        let answer =
            stack.clone().oneshot(bare(Method::POST, "/pay").bearer(access).request()).await.unwrap();
        let challenge = answer.headers().get(WWW_AUTHENTICATE).map(|text| text.to_str().unwrap().to_owned());
        (answer.status(), challenge)
    };
    let passes = (StatusCode::OK, None);
    let is_refused = |(status, challenge): (StatusCode, Option<String>), name: &str| {
        let challenge = challenge.unwrap_or_default();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}");
        for part in
            [r#"error="insufficient_user_authentication""#, r#"max_age="300""#, TWO_FACTOR, "acr_values="]
        {
            assert!(challenge.contains(part), "{name}: {challenge}");
        }
    };

    // With a password only.
    let login = send(post("/auth/login").json(&credentials("ada"))).await;
    is_refused(pay(&login.access()).await, "no context");
    world.accounts.shape(|identity| identity.with_acr("password"));
    let login = send(post("/auth/login").json(&credentials("ada")).cookie(&login.refresh())).await;
    is_refused(pay(&login.access()).await, "another context");
    world.accounts.shape(|identity| identity.with_acr(TWO_FACTOR));
    let login = send(post("/auth/login").json(&credentials("ada")).cookie(&login.refresh())).await;
    assert_eq!(pay(&login.access()).await, passes);
    world.clock.advance(5 * MINUTE);
    assert_eq!(pay(&login.access()).await, passes, "as old as it may be");
    world.clock.advance(SECOND);
    is_refused(pay(&login.access()).await, "too old");
    let refreshed = send(post("/auth/refresh").cookie(&login.refresh())).await.expect(200);
    is_refused(pay(&refreshed.access()).await, "refreshed");
    let again = send(post("/auth/login").json(&credentials("ada")).cookie(&refreshed.refresh())).await;
    assert_eq!(pay(&again.access()).await, passes);
    assert_eq!(world.records("ada").await.len(), 1, "each login took the place of the one before");
}

/// A service without a step-up of its own is not stopped by the claims: they are extra.
#[tokio::test]
async fn the_answer_and_the_list_say_nothing_new() {
    let world = World::new();
    world.accounts.shape(|identity| identity.with_acr(TWO_FACTOR));
    let login = world.login("ada").await;
    let mut names: Vec<_> = login.value().as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    assert_eq!(names, ["access_token", "expires_in", "token_type", "user"]);
    let list = world.send(bare(Method::GET, "/auth/sessions").bearer(&login.access())).await.expect(200);
    assert!(!String::from_utf8_lossy(&list.body).contains(TWO_FACTOR));
    let store = Arc::clone(&world.store);
    assert_eq!(store.take_calls().iter().filter(|op| **op == Op::Create).count(), 1);
}
