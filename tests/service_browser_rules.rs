//! Rows 91 to 109 of the requirements: the cookie, and requests that another site makes. Row 98 is in
//! `service_bad_input.rs`, as K2; rows 90 and 110 are not offered.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use tower_jwt_auth::{CookiePolicy, SameSite, SessionPolicy};

use crate::support::service::{Ask, OWN, PASSWORD, SetCookie, World, bare, credentials, post};
use crate::support::{DAY, HOUR, MINUTE, SECOND};

#[tokio::test]
async fn rows_91_to_96_and_100_the_cookie() {
    let form = CookiePolicy::default;
    for (name, cookie, expected) in [
        (
            "row 92 narrow",
            form(),
            "__Secure-refresh_token=T; HttpOnly; SameSite=Strict; Secure; Path=/auth; ",
        ),
        (
            "row 91 __Host-",
            form().host_prefix(),
            "__Host-refresh_token=T; HttpOnly; SameSite=Strict; Secure; Path=/; ",
        ),
        (
            "row 93 embedded",
            form().with_same_site(SameSite::None).partitioned(),
            "__Secure-refresh_token=T; HttpOnly; SameSite=None; Partitioned; Secure; Path=/auth; ",
        ),
        (
            "insecure",
            form().insecure_without_secure(),
            "refresh_token=T; HttpOnly; SameSite=Strict; Path=/auth; ",
        ),
    ] {
        let world = World::with(|builder| builder.cookie(cookie.clone()));
        let login = world.login("ada").await;
        let token = login.refresh();
        assert_eq!(login.set_cookies(), [expected.replace('T', &token) + "Max-Age=604800"], "{name}");
        // Row 96: nothing that needs care in a cookie. Row 95: far below the 4096 bytes of a browser.
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        assert!(login.set_cookies()[0].len() < 400);
        // Row 100: nowhere but in the cookie.
        let text = String::from_utf8(login.body.to_vec()).unwrap();
        assert!(!text.contains(&token) && !text.contains("refresh"), "{name}");
        // Row 94: the deletion is the same but for its age.
        let pair = format!("{}={token}", cookie.name());
        let out = world.send(post("/auth/logout").header("cookie", pair)).await.expect(204);
        let (set, cleared) = (login.set_cookie().unwrap(), out.set_cookie().unwrap());
        let fixed = |cookie: &SetCookie| {
            let mut attributes = cookie.attributes.clone();
            attributes.retain(|(name, _)| name != "max-age" && name != "expires");
            attributes
        };
        assert_eq!((fixed(&set), &set.name), (fixed(&cleared), &cleared.name), "{name}");
        assert_eq!((&*cleared.value, cleared.max_age()), ("", 0), "{name}");
        assert!(cleared.attribute("expires").is_some(), "{name}");
    }
}

#[tokio::test]
async fn row_97_the_cookie_is_found_in_any_cookie_header() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    let ask = post("/auth/refresh").header("cookie", "a=1; b=2").cookie(&token).header("cookie", "c=3");
    world.send(ask).await.expect(200);
}

#[tokio::test]
async fn row_99_max_age_is_the_remaining_idle_life() {
    let year = 365 * DAY;
    for (name, idle, absolute, expected) in [
        ("the idle life", HOUR, DAY, 3600),
        ("the absolute life, if shorter", 2 * DAY, HOUR, 3600),
        ("what browsers keep, if shorter", 2 * year, 3 * year, 400 * 24 * 3600),
        ("rounded down", Duration::from_millis(1999), DAY, 1),
    ] {
        let policy = SessionPolicy::default().with_idle_lifetime(idle).with_absolute_lifetime(absolute);
        let world = World::with(|builder| builder.policy(policy));
        assert_eq!(world.login("ada").await.set_cookie().unwrap().max_age(), expected, "{name}");
    }
    // Row 6 of the rotation rule does not move the end: what is left of it counts.
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.rotate(&token).await.expect(200);
    world.clock.advance(9 * SECOND);
    assert_eq!(world.refresh(&token).await.set_cookie().unwrap().max_age(), 604_800 - 9);
}

#[tokio::test]
async fn row_101_other_methods() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.clock.advance(MINUTE);
    for path in ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/logout/all", "/auth/logout/others"] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "post", "XPOST"] {
            let ask = bare(method.parse().unwrap(), path).header("origin", OWN).cookie(&token);
            let ask = ask.header("x-http-method-override", "POST").json(&credentials("ada"));
            let answer = world.send(ask).await.refused(405, "method_not_allowed");
            assert_eq!(answer.headers["allow"], "POST", "{method} {path}");
        }
    }
    assert_eq!(world.generation("ada").await, Some(0));
    assert_eq!(world.accounts.calls.load(Ordering::SeqCst), 1);
}

/// Rows 102 to 106 and 108: each set of headers, at each route that a browser could be made to call.
#[tokio::test]
async fn rows_102_to_106_and_108_cross_site() {
    const SITE: &str = "sec-fetch-site";
    const EVIL: &str = "https://evil.example";
    for (row, headers, passes) in [
        ("row 102 cross-site", &[(SITE, "cross-site")][..], false),
        ("row 102 cross-site, our origin", &[(SITE, "cross-site"), ("origin", OWN)], false),
        ("row 102 same-site", &[(SITE, "same-site"), ("origin", OWN)], false),
        ("row 102 the mark does not help", &[(SITE, "cross-site"), ("x-session-request", "1")], false),
        ("row 103 same-origin", &[(SITE, "same-origin")], true),
        ("row 103 none", &[(SITE, "none")], false),
        ("row 103 none, our origin", &[(SITE, "none"), ("origin", OWN)], true),
        ("row 104 our origin", &[("origin", OWN)], true),
        ("row 104 a foreign origin", &[("origin", EVIL)], false),
        ("row 104 our host with http", &[("origin", "http://app.example")], false),
        ("row 104 our host, another port", &[("origin", "https://app.example:444")], false),
        ("row 104 nothing", &[], false),
        ("row 104 the mark", &[("x-session-request", "1")], true),
        ("row 104 the mark, a foreign origin", &[("origin", EVIL), ("x-session-request", "1")], false),
        ("row 105 unknown", &[(SITE, "same-planet")], false),
        ("row 105 unknown, our origin", &[(SITE, "same-planet"), ("origin", OWN)], true),
        ("row 106 null", &[("origin", "null")], false),
        ("row 106 null with the mark", &[("origin", "null"), ("x-session-request", "1")], false),
    ] {
        let world = World::new();
        let login = world.login("ada").await;
        world.clock.advance(MINUTE);
        let marked = |ask: Ask| headers.iter().fold(ask, |ask, (name, value)| ask.header(*name, value));
        let id = login.claims()["sid"].as_str().unwrap().to_owned();
        let asks = [
            ("row 108 login", bare(Method::POST, "/auth/login").json(&credentials("ada")), 200),
            ("refresh", bare(Method::POST, "/auth/refresh").cookie(&login.refresh()), 200),
            (
                "delete with the cookie",
                bare(Method::DELETE, &format!("/auth/sessions/{id}x"))
                    .cookie(&login.refresh())
                    .bearer(&login.access()),
                404,
            ),
            ("others", bare(Method::POST, "/auth/logout/others").cookie(&login.refresh()), 204),
            ("logout", bare(Method::POST, "/auth/logout").cookie(&login.refresh()), 204),
            (
                "all",
                bare(Method::POST, "/auth/logout/all").cookie(&login.refresh()).bearer(&login.access()),
                401,
            ),
        ];
        for (route, ask, status) in asks {
            let answer = world.send(marked(ask)).await;
            if passes {
                assert_eq!(answer.status, status, "{row}: {route}");
            } else {
                assert_eq!(answer.status, 403, "{row}: {route}");
                answer.refused(403, "cross_site");
            }
        }
        if !passes {
            let records = world.records("ada").await;
            assert_eq!((records.len(), records[0].state.generation), (1, 0), "{row}: nothing changed");
            assert_eq!(world.accounts.calls.load(Ordering::SeqCst), 1, "{row}: no credentials were checked");
        }
        // Where only a bearer token speaks there is nothing that a browser sends by itself.
        let token = world.login("bob").await.access();
        let list = marked(bare(Method::POST, "/auth/logout/others")).bearer(&token);
        world.send(list).await.expect(204);
    }
}

#[tokio::test]
async fn row_107_simple_content_types() {
    let world = World::new();
    let body = format!("user=ada&password={PASSWORD}");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        for path in
            ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/logout/all", "/auth/logout/others"]
        {
            let answer = world.send(post(path).body(content_type, body.clone())).await;
            answer.refused(415, "unsupported_media_type");
        }
    }
    assert_eq!(world.accounts.calls.load(Ordering::SeqCst), 0);
}

/// Moot where nothing is stored: `Vary` is needed only if some answer could be.
#[tokio::test]
async fn row_109_no_answer_that_depends_on_the_headers_can_be_cached() {
    let world = World::new();
    for origin in [OWN, "https://evil.example"] {
        let ask = bare(Method::POST, "/auth/login").header("origin", origin).json(&credentials("ada"));
        let answer = world.send(ask).await;
        assert!(answer.headers["cache-control"] == "no-store" || answer.headers.contains_key("vary"));
    }
}
