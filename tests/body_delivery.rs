//! Refresh tokens in bodies: each route in each mode, section 6 of RFC 6749, RFC 7009, row 79 of the requirements, and B3
//! and B4 of the corpus of bad inputs. A client of other make refreshes in `oauth_interop.rs`.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, COOKIE, SET_COOKIE, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{
    AuthService, AuthServiceBuilder, Authenticator, AuthnError, ClientInfo, ConfigErrorKind, Delivery,
    Identity, MokaStore, NoClaims, NoLogin, OnReuse, RefreshKeys, Retry, SessionPolicy,
};

use crate::support::events::Events;
use crate::support::service::{
    Accounts, Answer, Ask, Fault, HOLD, NAME, Op, PASSWORD, REFRESH_SECRET, RETRY, Renewal, User, World,
    bare, config, credentials, post,
};
use crate::support::{DAY, ManualClock};

const FORM: &str = "application/x-www-form-urlencoded";
const MODES: [Delivery; 3] = [Delivery::Cookie, Delivery::Body, Delivery::Both];
const IN_BODIES: [Delivery; 2] = [Delivery::Body, Delivery::Both];

fn world(delivery: Delivery) -> World {
    World::with(|builder| builder.delivery(delivery))
}

/// A POST of a client that is no browser.
fn native(path: &str) -> Ask {
    bare(Method::POST, path)
}

fn marked(path: &str) -> Ask {
    native(path).header("x-session-request", "1")
}

fn form(path: &str, body: &str) -> Ask {
    native(path).body(FORM, body.to_owned())
}

fn by_form(token: &str) -> Ask {
    form("/auth/refresh", &format!("grant_type=refresh_token&refresh_token={token}&client_id=app&unknown=1"))
}

fn by_json(token: &str) -> Ask {
    native("/auth/refresh").json(&json!({ "refresh_token": token, "unknown": [1] }))
}

fn wish(delivery: impl Into<Value>) -> Value {
    let mut body = credentials("ada");
    body["delivery"] = delivery.into();
    body
}

/// The refresh token of a 200 that has it in the body, and nowhere else.
#[track_caller]
fn in_body(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.set_cookies().is_empty(), "{answer:?}");
    let token = answer.value()["refresh_token"].as_str().expect("a token in the body").to_owned();
    assert_eq!(token.len(), 140);
    token
}

/// The refresh token of a 200 that has it in the cookie, and nowhere else.
#[track_caller]
fn in_cookie(answer: &Answer) -> String {
    assert!(answer.value().get("refresh_token").is_none(), "{answer:?}");
    answer.refresh()
}

/// Ada's new session, with its token given in the body.
async fn login(world: &World) -> String {
    let body = if world.auth.sessions().clear_cookie().is_none() { credentials("ada") } else { wish("body") };
    in_body(&world.send(marked("/auth/login").json(&body)).await)
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_login_in_each_mode() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Gives {
        Cookie,
        Body,
        Bad,
    }
    use Gives::{Bad, Body, Cookie};
    let raw = |text: &str| marked("/auth/login").body("application/json", text.to_owned());
    let twice = r#"{"user":"ada","password":"x","delivery":"body","delivery":"body"}"#;
    let escaped = credentials("ada").to_string().replacen('{', r#"{"d\u0065livery":"body","#, 1);
    for (name, ask, expected) in [
        ("nothing said", marked("/auth/login").json(&credentials("ada")), [Cookie, Body, Cookie]),
        ("the body", marked("/auth/login").json(&wish("body")), [Cookie, Body, Body]),
        ("the body, written otherwise", raw(&escaped), [Cookie, Body, Body]),
        ("the cookie", marked("/auth/login").json(&wish("cookie")), [Cookie, Bad, Cookie]),
        ("something else", marked("/auth/login").json(&wish("both")), [Cookie, Bad, Bad]),
        ("another type", marked("/auth/login").json(&wish(true)), [Cookie, Bad, Bad]),
        ("null", marked("/auth/login").json(&wish(Value::Null)), [Cookie, Bad, Bad]),
        ("no JSON", raw(r#"{"delivery":"body""#), [Bad, Bad, Bad]),
        ("a page", post("/auth/login").json(&credentials("ada")), [Cookie, Body, Cookie]),
        ("a page that wants the body", post("/auth/login").json(&wish("body")), [Cookie, Body, Bad]),
        (
            "a page that says the least",
            marked("/auth/login").header("sec-fetch-site", "none").json(&wish("body")),
            [Cookie, Body, Bad],
        ),
        (
            "a page that hides its origin",
            native("/auth/login").header("sec-fetch-site", "same-origin").json(&wish("body")),
            [Cookie, Body, Bad],
        ),
    ] {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            let world = world(mode);
            let answer = world.send(ask.clone()).await;
            let name = format!("{name}, {mode:?}");
            match expected {
                Cookie => assert_eq!(in_cookie(&answer).len(), 140, "{name}"),
                Body => {
                    in_body(&answer);
                    let names = ["access_token", "expires_in", "refresh_token", "token_type", "user"];
                    assert_eq!(keys(&answer.value()), names, "{name}");
                }
                Bad => {
                    answer.refused(400, "invalid_request");
                    assert!(world.records("ada").await.is_empty(), "{name}");
                }
            }
        }
    }
    for mode in IN_BODIES {
        world(mode).send(raw(twice)).await.refused(400, "invalid_request");
    }
    // The type of the credentials decides here, which ignores what it does not know.
    world(Delivery::Cookie).send(raw(twice)).await.refused(401, "invalid_credentials");
}

/// Another site is to be kept from a login in all modes, and a client that is no browser says so.
#[tokio::test]
async fn a_login_is_checked_for_other_sites_in_each_mode() {
    for mode in MODES {
        let world = world(mode);
        for ask in [
            native("/auth/login"),
            marked("/auth/login").header("origin", "https://evil.example"),
            marked("/auth/login").header("sec-fetch-site", "cross-site"),
        ] {
            world.send(ask.json(&credentials("ada"))).await.refused(403, "cross_site");
        }
        let wrong = json!({ "user": "ada", "password": "x", "delivery": "body" });
        world.send(marked("/auth/login").json(&wrong)).await.refused(401, "invalid_credentials");
        assert!(world.records("ada").await.is_empty());
    }
}

/// Credentials that take no member but their own.
struct Picky;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    user: String,
    password: String,
}

impl Authenticator for Picky {
    type Credentials = Credentials;
    type Claims = User;

    async fn authenticate(&self, login: Credentials, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
        assert_eq!(login.password, PASSWORD);
        Ok(Identity::new(&*login.user, User::named(&login.user)))
    }
}

#[tokio::test]
async fn the_application_does_not_see_the_wish() {
    for (mode, status) in MODES.into_iter().zip([400, 200, 200]) {
        let (clock, accounts) = (ManualClock::new(), Arc::new(Accounts::default()));
        let config = config(&clock);
        let world = World::build(clock, config, accounts, Picky, |builder| builder.delivery(mode));
        world.send(marked("/auth/login").json(&wish("body"))).await.expect(status);
        // What is left is judged by that type, as ever.
        for more in [r#""user":"bob","#, r#""more":1,"#] {
            let body = wish("body").to_string().replacen('{', &format!("{{{more}"), 1);
            let ask = marked("/auth/login").body("application/json", body);
            world.send(ask).await.refused(400, "invalid_request");
        }
    }
}

#[tokio::test]
async fn a_refresh_gives_the_token_in_each_row() {
    for mode in IN_BODIES {
        for ask in [by_json, by_form] {
            let world = world(mode);
            let first = login(&world).await;
            let answer = world.send(ask(&first)).await;
            assert_eq!(in_body(&answer), first, "row 4: not replaced, and given all the same");
            let names = ["access_token", "expires_in", "refresh_token", "token_type", "user"];
            assert_eq!(keys(&answer.value()), names);
            assert_eq!(
                (&answer.value()["token_type"], answer.claims()["gen"].as_u64()),
                (&json!("Bearer"), Some(0))
            );

            world.clock.advance(HOLD);
            let second = in_body(&world.send(ask(&first)).await);
            assert_ne!(second, first, "row 5");
            assert_eq!(in_body(&world.send(ask(&first)).await), second, "row 6: the same again");

            world.clock.advance(HOLD);
            world.store.plan(Op::Rotate, Fault::Lost);
            let third = in_body(&world.send(ask(&second)).await);
            assert_eq!(world.generation("ada").await, Some(1), "the write was lost");
            assert_eq!(in_body(&world.send(ask(&third)).await), third, "row 3: the session goes on with it");
            assert_eq!(world.generation("ada").await, Some(2));
        }
    }
}

/// OAuth has 400 for it and no challenge, JSON the 401 of the cookie; which of the reasons it was, neither says.
#[tokio::test]
async fn a_dead_token_is_one_answer() {
    for mode in IN_BODIES {
        let policy = SessionPolicy::default().with_on_reuse(OnReuse::Session).with_retry(Retry::Strict);
        let world = World::with(|builder| builder.delivery(mode).policy(policy));
        let mut bodies = Vec::new();
        for (ask, status) in [(by_json as fn(&str) -> Ask, 401), (by_form, 400)] {
            let reused = login(&world).await;
            in_body(&world.send(ask(&reused)).await);
            let ended = login(&world).await;
            world.send(form("/auth/revoke", &format!("token={ended}"))).await.expect(200);
            let expired = login(&world).await;
            world.clock.advance(7 * DAY);
            for (name, token) in [
                ("used", &*reused),
                ("ended", &*ended),
                ("expired", &*expired),
                ("forged", &format!("{}AAAA", &expired[..136])),
                ("garbage", "x"),
                ("a JWT", "a.b.c"),
            ] {
                let answer = world.send(ask(token)).await.refused(status, "invalid_grant");
                assert!(answer.headers.contains_key(WWW_AUTHENTICATE) == (status == 401), "{name}");
                bodies.push(answer.body);
            }
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "they differ: {bodies:?}");
    }
}

/// Rows 7 and 8 of the rotation rule hold whichever way the token comes.
#[tokio::test]
async fn reuse_ends_the_sessions() {
    for (ask, status) in [(by_json as fn(&str) -> Ask, 401), (by_form, 400)] {
        let world = world(Delivery::Both);
        let first = login(&world).await;
        let page = in_cookie(&world.login("ada").await);
        world.clock.advance(HOLD);
        let second = in_body(&world.send(ask(&first)).await);
        world.clock.advance(RETRY);
        let third = in_body(&world.send(ask(&second)).await);
        world.send(ask(&first)).await.refused(status, "invalid_grant");
        assert!(world.records("ada").await.is_empty());
        world.send(ask(&third)).await.refused(status, "invalid_grant");
        world.refresh(&page).await.refused(401, "invalid_grant");
    }
}

#[tokio::test]
async fn what_the_application_refuses_is_an_invalid_grant() {
    let (World { clock, config, accounts, .. }, renewing) = World::renewing();
    let in_bodies = |builder: AuthServiceBuilder<User>| builder.delivery(Delivery::Body);
    let world = World::build(clock, config, accounts, Arc::clone(&renewing), in_bodies);
    let token = login(&world).await;
    assert_eq!(world.send(by_form(&token)).await.value()["user"]["role"], "admin");
    renewing.answer(Renewal::Unavailable);
    world.send(by_form(&token)).await.refused(503, "unavailable");
    renewing.answer(Renewal::Refused);
    world.send(by_form(&token)).await.refused(400, "invalid_grant");
    assert_eq!(world.generation("ada").await, None);
}

#[tokio::test]
async fn row_79_scopes() {
    for mode in IN_BODIES {
        let world = world(mode);
        world.accounts.shape(|identity| identity.with_scopes(["read", "write"]));
        let mut token = login(&world).await;
        let ask = |token: &str, scope: &str| {
            form("/auth/refresh", &format!("grant_type=refresh_token&refresh_token={token}&scope={scope}"))
        };
        world.clock.advance(HOLD);
        for wider in ["read+write+admin", "admin", "READ", "read%09write", "read,write", "%22"] {
            world.send(ask(&token, wider)).await.refused(400, "invalid_scope");
            assert_eq!(world.generation("ada").await, Some(0), "{wider}: nothing was rotated");
        }
        // The token has what was granted, which is named where it is not what was asked for.
        let all = json!("read write");
        for (scope, named) in [("read+write", None), ("write%20read", None), ("read", Some(&all)), ("", None)]
        {
            let answer = world.send(ask(&token, scope)).await;
            token = in_body(&answer);
            assert_eq!((answer.value().get("scope"), &answer.claims()["scope"]), (named, &all), "{scope}");
            world.clock.advance(HOLD);
        }
        assert_eq!(world.generation("ada").await, Some(4));
        world.send(ask("garbage", "read")).await.refused(400, "invalid_grant");
        world.send(form("/auth/revoke", &format!("token={token}"))).await.expect(200);
        world.send(ask(&token, "read")).await.refused(400, "invalid_grant");
    }
}

#[tokio::test]
async fn b3_and_row_78_bad_bodies_change_nothing() {
    for mode in IN_BODIES {
        let world = world(mode);
        let token = login(&world).await;
        world.clock.advance(HOLD);
        let refresh = "/auth/refresh";
        let good = format!("grant_type=refresh_token&refresh_token={token}");
        let json = |body: String| native(refresh).body("application/json", body);
        for (name, ask, status, error) in [
            ("no body", native(refresh), 401, "invalid_grant"),
            ("no token", json("{}".into()), 401, "invalid_grant"),
            ("an empty form", form(refresh, ""), 400, "invalid_request"),
            ("no grant type", form(refresh, &good[25..]), 400, "invalid_request"),
            ("no token", form(refresh, "grant_type=refresh_token"), 400, "invalid_request"),
            (
                "an empty token",
                form(refresh, "grant_type=refresh_token&refresh_token="),
                400,
                "invalid_request",
            ),
            ("the token twice", form(refresh, &format!("{good}&refresh_token=x")), 400, "invalid_request"),
            ("a type twice", form(refresh, &format!("{good}&grant_type=x")), 400, "invalid_request"),
            ("a scope twice", form(refresh, &format!("{good}&scope=a&scope=a")), 400, "invalid_request"),
            (
                "a client twice",
                form(refresh, &format!("{good}&client_id=a&client_id=a")),
                400,
                "invalid_request",
            ),
            ("anything twice", form(refresh, &format!("{good}&x=1&x=2")), 400, "invalid_request"),
            ("no UTF-8", form(refresh, &format!("{good}&x=%ff")), 400, "invalid_request"),
            ("a password", form(refresh, "grant_type=password&username=a"), 400, "unsupported_grant_type"),
            ("a code", form(refresh, "grant_type=authorization_code&code=a"), 400, "unsupported_grant_type"),
            (
                "JSON with it twice",
                json(format!(r#"{{"refresh_token":"x","refresh_token":"{token}"}}"#)),
                400,
                "invalid_request",
            ),
            ("JSON cut off", json(format!(r#"{{"refresh_token":"{token}""#)), 400, "invalid_request"),
            ("JSON and more", json(format!(r#"{{"refresh_token":"{token}"}}x"#)), 400, "invalid_request"),
            ("an array", json(format!(r#"["{token}"]"#)), 400, "invalid_request"),
            ("a text", json(format!(r#""{token}""#)), 400, "invalid_request"),
            ("a number", json(r#"{"refresh_token":1}"#.into()), 400, "invalid_request"),
            ("null", json(r#"{"refresh_token":null}"#.into()), 400, "invalid_request"),
            ("a form called JSON", json(good.clone()), 400, "invalid_request"),
            ("too long", form(refresh, &format!("{good}&x={}", "y".repeat(17_000))), 413, "too_large"),
            ("in the query", native(&format!("{refresh}?{good}")), 401, "invalid_grant"),
            ("as bearer", native(refresh).bearer(&token), 401, "invalid_grant"),
        ] {
            let answer = world.send(ask).await;
            let found = (answer.status.as_u16(), answer.value()["error"].as_str().unwrap().to_owned());
            assert_eq!(found, (status, error.to_owned()), "{name}, {mode:?}");
            assert_eq!(world.generation("ada").await, Some(0), "{name}, {mode:?}");
        }
        // Unknown ones and those without a value are ignored.
        in_body(&world.send(form(refresh, &format!("{good}&a=1&b&b=&scope=&client_secret=x"))).await);
    }
}

#[tokio::test]
async fn other_types_of_bodies_are_415() {
    let (json, either) = ("application/json", "application/json or application/x-www-form-urlencoded");
    for (path, expected) in [
        ("/auth/login", [json, json, json]),
        ("/auth/refresh", [json, either, either]),
        ("/auth/logout", [json, either, either]),
        ("/auth/logout/all", [json, json, json]),
        ("/auth/revoke", ["", FORM, FORM]),
    ] {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            let world = world(mode);
            for content_type in [json, FORM, "text/plain", "multipart/form-data; boundary=x", ""] {
                let ask = marked(path).untyped("{}");
                let ask =
                    if content_type.is_empty() { ask } else { ask.header("content-type", content_type) };
                let answer = world.send(ask).await;
                let name = format!("{path} {content_type} {mode:?}");
                if expected.is_empty() {
                    answer.refused(404, "not_found");
                } else if expected.split(" or ").any(|one| one == content_type) {
                    assert_ne!(answer.status, 415, "{name}");
                } else {
                    let answer = answer.refused(415, "unsupported_media_type");
                    assert_eq!(
                        answer.value()["error_description"],
                        format!("the body must be {expected}"),
                        "{name}"
                    );
                }
            }
        }
    }
    // Where none is needed, none needs a type.
    world(Delivery::Body).send(native("/auth/logout").body("text/plain", "")).await.expect(204);
    world(Delivery::Body).send(native("/auth/revoke")).await.refused(415, "unsupported_media_type");
}

/// Neither counts first: a request with both is refused, whatever they are.
#[tokio::test]
async fn a_cookie_and_a_token_in_the_body_are_400() {
    let world = world(Delivery::Both);
    let token = login(&world).await;
    let page = in_cookie(&world.login("ada").await);
    world.clock.advance(HOLD);
    let logout = |token: &str| native("/auth/logout").json(&json!({ "refresh_token": token }));
    let logout_form = |token: &str| form("/auth/logout", &format!("refresh_token={token}"));
    for ask in [by_json, by_form, logout, logout_form] {
        for (cookie, token) in
            [(&*page, &*token), (&page, &page), ("garbage", &token), (&page, "garbage"), ("", &token)]
        {
            let ask = ask(token).header("origin", "https://app.example").cookie(cookie);
            world.send(ask).await.refused(400, "invalid_request");
        }
    }
    let generations: Vec<_> =
        world.records("ada").await.iter().map(|record| record.state.generation).collect();
    assert_eq!(generations, [0, 0], "nothing was rotated or ended");

    // Without a token in the body the cookie decides.
    let mut page = page;
    let refresh = || post("/auth/refresh");
    for ask in
        [refresh(), refresh().json(&json!({})), refresh().json(&json!({ "x": 1 })), refresh().body(FORM, "")]
    {
        page = in_cookie(&world.send(ask.cookie(&page)).await);
        world.clock.advance(HOLD);
    }
    world
        .send(refresh().body(FORM, "grant_type=refresh_token").cookie(&page))
        .await
        .refused(400, "invalid_request");
    world.send(refresh().body("application/json", "{").cookie(&page)).await.refused(400, "invalid_request");
    // Other cookies are none of ours.
    in_body(&world.send(by_form(&token).header(COOKIE, "a=b")).await);
}

/// The two ways are ways of one session: what was given in one may be presented in the other, and stays in that one.
#[tokio::test]
async fn a_token_may_change_its_way() {
    let world = world(Delivery::Both);
    let token = login(&world).await;
    let cookie = in_cookie(&world.rotate(&token).await);
    world.clock.advance(HOLD);
    in_body(&world.send(by_json(&cookie)).await);
}

#[tokio::test]
async fn with_body_alone_cookies_are_not_looked_at() {
    let world = world(Delivery::Body);
    let token = login(&world).await;
    world.clock.advance(HOLD);
    let crowded = format!("{}; {NAME}={token}", "a=b; ".repeat(20_000));
    for cookie in [format!("{NAME}={token}"), format!("{NAME}=garbage"), crowded] {
        let with = |ask: Ask| ask.header(COOKIE, &cookie);
        world.send(with(native("/auth/refresh"))).await.refused(401, "invalid_grant");
        world.send(with(native("/auth/logout/all"))).await.refused(401, "unauthorized");
        world.send(with(native("/auth/logout/others"))).await.refused(401, "unauthorized");
        let answer = world.send(with(native("/auth/logout"))).await.expect(204);
        assert!(answer.set_cookies().is_empty(), "{answer:?}");
        world.send(with(form("/auth/logout", "refresh_token=garbage"))).await.expect(204);
        assert_eq!(world.records("ada").await.len(), 1, "nothing was ended");
        // No cross-site check either: nothing authenticates that a browser would send by itself.
        let evil = with(by_json(&token)).header("origin", "https://evil.example");
        in_body(&world.send(evil.header("sec-fetch-site", "cross-site")).await);
    }
    let answer = world.send(native("/auth/logout").header("origin", "https://app.example")).await.expect(204);
    assert!(answer.set_cookies().is_empty(), "{answer:?}");
    let access = world.send(by_json(&token)).await.access();
    let answer = world.send(native("/auth/logout/all").bearer(&access).cookie("x")).await.expect(204);
    assert!(answer.set_cookies().is_empty(), "{answer:?}");
    assert_eq!(world.generation("ada").await, None);
}

#[tokio::test]
async fn with_cookies_alone_no_body_is_looked_at() {
    let world = world(Delivery::Cookie);
    let token = in_cookie(&world.login("ada").await);
    world.clock.advance(HOLD);
    world.send(by_json(&token)).await.refused(401, "invalid_grant");
    world.send(by_form(&token)).await.refused(415, "unsupported_media_type");
    world.send(native("/auth/logout").json(&json!({ "refresh_token": token }))).await.expect(204);
    world
        .send(form("/auth/logout", &format!("refresh_token={token}")))
        .await
        .refused(415, "unsupported_media_type");
    for method in [Method::POST, Method::GET, Method::OPTIONS] {
        let ask = bare(method, "/auth/revoke").body(FORM, format!("token={token}"));
        world.send(ask).await.refused(404, "not_found");
    }
    assert_eq!(world.generation("ada").await, Some(0));
    // As before, beside the cookie a body says nothing.
    in_cookie(&world.send(post("/auth/refresh").json(&json!({ "refresh_token": 1 })).cookie(&token)).await);
}

#[tokio::test]
async fn a_logout_by_token() {
    for mode in IN_BODIES {
        let world = world(mode);
        let logout = |token: &str| native("/auth/logout").json(&json!({ "refresh_token": token }));
        let logout_form = |token: &str| form("/auth/logout", &format!("refresh_token={token}&x=1"));
        for ask in [logout, logout_form] {
            let first = login(&world).await;
            let other = login(&world).await;
            world.clock.advance(HOLD);
            let second = in_body(&world.send(by_json(&first)).await);
            for garbage in ["x", &format!("{}AAAA", &first[..136]), ""] {
                assert!(
                    world.send(ask(garbage)).await.expect(204).set_cookies().is_empty() || garbage.is_empty()
                );
                assert_eq!(world.records("ada").await.len(), 2, "{garbage}");
            }
            // Whatever its generation; and again, and with the newest one.
            for token in [&first, &first, &second] {
                assert!(world.send(ask(token)).await.expect(204).set_cookies().is_empty());
                assert_eq!(world.records("ada").await.len(), 1);
            }
            world.send(by_json(&second)).await.refused(401, "invalid_grant");
            in_body(&world.send(by_json(&other)).await);
            world.send(ask(&other)).await.expect(204);
        }
        for body in ["[", "[]", r#"{"refresh_token":1}"#] {
            let ask = native("/auth/logout").body("application/json", body);
            world.send(ask).await.refused(400, "invalid_request");
        }
        let twice = form("/auth/logout", "refresh_token=a&refresh_token=a");
        world.send(twice).await.refused(400, "invalid_request");
        // What has no token in it is a logout by what else there is.
        let token = login(&world).await;
        let access = world.send(by_json(&token)).await.access();
        world.send(form("/auth/logout", "x=1").bearer(&access)).await.expect(204);
        assert!(world.records("ada").await.is_empty());
    }
}

#[tokio::test]
async fn b4_and_row_89_revocation() {
    for mode in IN_BODIES {
        let world = world(mode);
        let first = login(&world).await;
        let (other, access) = (login(&world).await, world.send(by_json(&first)).await.access());
        world.clock.advance(HOLD);
        let second = in_body(&world.send(by_json(&first)).await);
        let forged = format!("{}AAAA", &second[..136]);
        for (name, body, status, error) in [
            ("garbage", "token=x".to_owned(), 200, ""),
            ("forged", format!("token={forged}"), 200, ""),
            ("a hint", "token=x&token_type_hint=unheard_of&client_id=a".to_owned(), 200, ""),
            ("an access token", format!("token={access}"), 400, "unsupported_token_type"),
            (
                "a hint at one",
                format!("token={access}&token_type_hint=access_token"),
                400,
                "unsupported_token_type",
            ),
            ("a JWT of nobody", "token=a.b.c".to_owned(), 400, "unsupported_token_type"),
            ("nothing", String::new(), 400, "invalid_request"),
            ("no token", "refresh_token=x".to_owned(), 400, "invalid_request"),
            ("an empty token", "token=".to_owned(), 400, "invalid_request"),
            ("two", format!("token={first}&token={second}"), 400, "invalid_request"),
            (
                "two hints",
                format!("token={first}&token_type_hint=a&token_type_hint=a"),
                400,
                "invalid_request",
            ),
            ("no UTF-8", format!("token={first}&x=%ff"), 400, "invalid_request"),
        ] {
            let answer = world.send(form("/auth/revoke", &body)).await.expect(status);
            if status == 200 {
                assert!(answer.body.is_empty(), "{name}");
            } else {
                answer.refused(status, error);
            }
            assert_eq!(world.records("ada").await.len(), 2, "{name}: nothing was ended");
        }
        for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
            let answer = world.send(bare(method, "/auth/revoke")).await.refused(405, "method_not_allowed");
            assert_eq!(answer.headers[ALLOW], "POST");
        }
        // Any genuine token ends its session, and no other; from anywhere, and whatever cookies are there.
        let evil = form("/auth/revoke", &format!("token={first}&token_type_hint=access_token"))
            .header("sec-fetch-site", "cross-site")
            .cookie(&other);
        world.send(evil).await.expect(200);
        world.send(by_json(&second)).await.refused(401, "invalid_grant");
        assert_eq!(world.records("ada").await.len(), 1);
        world.send(form("/auth/revoke", &format!("token={second}"))).await.expect(200);
        in_body(&world.send(by_json(&other)).await);
    }
}

#[tokio::test]
async fn an_outage_is_503_and_ends_nothing() {
    for mode in IN_BODIES {
        let world = world(mode);
        let token = login(&world).await;
        let scoped = format!("grant_type=refresh_token&refresh_token={token}&scope=a");
        world.store.set_down(&[
            Op::Now,
            Op::Create,
            Op::Rotate,
            Op::Get,
            Op::List,
            Op::Revoke,
            Op::RevokeSubject,
        ]);
        for ask in [
            by_json(&token),
            by_form(&token),
            form("/auth/refresh", &scoped),
            native("/auth/logout").json(&json!({ "refresh_token": token })),
            form("/auth/logout", &format!("refresh_token={token}")),
            form("/auth/revoke", &format!("token={token}")),
            marked("/auth/login").json(&credentials("ada")),
        ] {
            world.send(ask).await.refused(503, "unavailable");
        }
        world.store.set_down(&[]);
        in_body(&world.send(by_form(&token)).await);
    }
}

#[tokio::test]
async fn a_lost_answer_of_the_store_is_repeated_within_the_request() {
    let world = World::with(|builder| {
        builder.delivery(Delivery::Body).policy(SessionPolicy::default().with_retry(Retry::Strict))
    });
    let token = login(&world).await;
    world.store.plan(Op::Rotate, Fault::After);
    let next = in_body(&world.send(by_form(&token)).await);
    world.store.assert_done();
    assert_eq!(world.generation("ada").await, Some(1));
    in_body(&world.send(by_form(&next)).await);
}

#[test]
fn an_origin_is_required_where_there_are_cookies() {
    for (mode, required) in MODES.into_iter().zip([true, false, true]) {
        let keys = RefreshKeys::new(REFRESH_SECRET).unwrap();
        let login = NoLogin::<NoClaims>::new();
        let built = AuthService::builder(&config(&ManualClock::new()), keys, MokaStore::new(), login)
            .delivery(mode)
            .build();
        let kind = built.err().map(|error| error.kind());
        assert_eq!(kind, required.then_some(ConfigErrorKind::Origin), "{mode:?}");
    }
}

#[tokio::test]
async fn sessions_from_code_in_each_mode() {
    for (mode, plain, chosen) in [
        (Delivery::Cookie, "cookie", "cookie"),
        (Delivery::Body, "body", "body"),
        (Delivery::Both, "cookie", "body"),
    ] {
        let world = world(mode);
        let sessions = world.auth.sessions();
        let open =
            async || sessions.open(Identity::new("ada", User::named("ada")), &ClientInfo::default()).await;
        for (granted, way) in [
            (open().await.unwrap(), plain),
            (open().await.unwrap().in_body(), chosen),
            (open().await.unwrap().in_body().in_body(), chosen),
        ] {
            let response = granted.to_response();
            assert_eq!(response.status(), StatusCode::OK);
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            let in_cookie = response.headers().contains_key(SET_COOKIE);
            assert_eq!(
                (in_cookie, granted.set_cookie().is_some()),
                (way == "cookie", way == "cookie"),
                "{mode:?}"
            );
            let expected = (way == "body").then(|| granted.refresh_token());
            assert_eq!(body.get("refresh_token").and_then(Value::as_str), expected, "{mode:?}");
            assert!(!format!("{granted:?}").contains(granted.refresh_token()));
        }
        // In the body the token is named also where the client has it already.
        let token = open().await.unwrap().refresh_token().to_owned();
        let again = sessions.refresh(&token).await.unwrap().in_body().to_response();
        let body: Value = serde_json::from_slice(again.body()).unwrap();
        assert_eq!(body.get("refresh_token").is_some(), chosen == "body", "{mode:?}");
        assert_eq!(sessions.clear_cookie().is_some(), mode != Delivery::Body);
    }
}

#[tokio::test]
async fn refusals_are_events_and_hold_no_secret() {
    let (events, _guard) = Events::start();
    let world = world(Delivery::Both);
    world.accounts.shape(|identity| identity.with_scopes(["read"]));
    let token = login(&world).await;
    let access = world.send(by_json(&token)).await.access();
    let mut all = events.take();
    let scope = format!("grant_type=refresh_token&refresh_token={token}&scope=admin");
    let mut cut = json!({ "refresh_token": token }).to_string();
    cut.pop();
    for (name, ask, status, route, reason) in [
        ("a page", post("/auth/login").json(&wish("body")), 400, "login", "browser"),
        ("no such way", marked("/auth/login").json(&wish(&*token)), 400, "login", "body"),
        (
            "both",
            by_json(&token).cookie(&token).header("x-session-request", "1"),
            400,
            "refresh",
            "cookie_and_token",
        ),
        ("garbage", by_form(&format!("{token}x")), 400, "refresh", "malformed"),
        ("forged", by_json(&format!("{}AAAA", &token[..136])), 401, "refresh", "bad_tag"),
        ("a scope", form("/auth/refresh", &scope), 400, "refresh", "invalid_scope"),
        ("a grant", form("/auth/refresh", "grant_type=x"), 400, "refresh", "unsupported_grant_type"),
        ("twice", form("/auth/refresh", &format!("{scope}&scope={token}")), 400, "refresh", "body"),
        ("cut", native("/auth/refresh").body("application/json", cut.clone()), 400, "refresh", "body"),
        ("cut", native("/auth/logout").body("application/json", cut.clone()), 400, "logout", "body"),
        ("garbage", form("/auth/logout", &format!("refresh_token={token}x")), 204, "logout", "malformed"),
        ("a JWT", form("/auth/revoke", &format!("token={access}")), 400, "revoke", "unsupported_token_type"),
        ("garbage", form("/auth/revoke", &format!("token={token}x")), 200, "revoke", "malformed"),
        ("no token", form("/auth/revoke", &format!("x={token}")), 400, "revoke", "body"),
        ("another type", native("/auth/revoke").json(&json!({ "token": token })), 415, "revoke", "body"),
    ] {
        world.send(ask).await.expect(status);
        let seen = events.take();
        let refused: Vec<_> =
            seen.iter().filter(|line| line.contains("tower_jwt_auth::service refused")).collect();
        assert_eq!(refused.len(), 1, "{name}: {seen:?}");
        let expected = format!("route=\"{route}\" reason=\"{reason}\"");
        assert!(refused[0].contains(&expected), "{name}: {}", refused[0]);
        all.extend(seen);
    }
    world.clock.advance(HOLD);
    let next = in_body(&world.send(by_form(&token)).await);
    world.send(form("/auth/revoke", &format!("token={next}"))).await.expect(200);
    world.clock.advance(Duration::from_secs(1));
    world.send(by_form(&next)).await.refused(400, "invalid_grant");
    all.extend(events.take());
    assert!(all.len() > 18);
    for line in &all {
        for secret in [&*token, &token[..40], &next, &next[100..], &access, PASSWORD] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
