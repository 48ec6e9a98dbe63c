//! Sections 5 (K, cookies) and 6 (X, cross-site and method) of the corpus of bad inputs.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::Ordering;

use http::Method;
use http::header::{CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use serde_json::json;
use tower_jwt_auth::{CookiePolicy, SameSite};

use crate::support::MINUTE;
use crate::support::service::{Ask, NAME, OWN, SetCookie, World, bare, credentials, post};

fn host_form() -> World {
    World::with(|builder| builder.cookie(CookiePolicy::default().host_prefix()))
}

#[tokio::test]
async fn k1_and_k3_no_cookie_and_no_genuine_one_look_alike() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    world.clock.advance(MINUTE);
    world.store.take_calls();
    let expected = world.send(post("/auth/refresh")).await.refused(401, "invalid_grant");
    let flipped = format!("{}{}", if token.starts_with('B') { 'C' } else { 'B' }, &token[1..]);
    for (name, cookie) in [
        ("k1 other cookies only", "a=1; theme=dark".to_owned()),
        ("k3 empty", format!("{NAME}=")),
        ("k3 malformed", format!("{NAME}=x")),
        ("k3 truncated", format!("{NAME}={}", &token[..139])),
        ("k3 longer", format!("{NAME}={token}A")),
        ("k3 4 KiB and more", format!("{NAME}={}", "A".repeat(4200))),
        ("k3 not base64url", format!("{NAME}={}+/", &token[..138])),
        ("k3 quoted", format!("{NAME}=\"{token}\"")),
        ("k3 quoted inside", format!("{NAME}=\"{}\"", &token[..138])),
        ("k3 percent-encoded", format!("{NAME}=%{:02x}{}", token.as_bytes()[0], &token[1..])),
        ("k3 padded", format!("{NAME}={token}=")),
        ("k3 one character changed", format!("{NAME}={flipped}")),
        ("k3 of the right length", format!("{NAME}={}", "A".repeat(140))),
    ] {
        let answer = world.send(post("/auth/refresh").header("cookie", &cookie)).await;
        let answer = answer.refused(401, "invalid_grant");
        assert_eq!(
            (answer.headers, answer.body),
            (expected.headers.clone(), expected.body.clone()),
            "{name}"
        );
    }
    assert!(world.store.take_calls().is_empty(), "none of them costs a look-up");
    // A genuine token of a session that is not there costs one.
    let other = World::new().login("ada").await.refresh();
    world.refresh(&other).await.refused(401, "invalid_grant");
    assert_eq!(world.store.take_calls().len(), 1);
    assert_eq!(world.generation("ada").await, Some(0));
}

#[tokio::test]
async fn k2_and_row_98_the_name_twice() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    let newer = world.rotate(&token).await.refresh();
    world.clock.advance(MINUTE);
    let bob = world.login("bob").await.refresh();
    let two = |a: &str, b: &str| post("/auth/refresh").header("cookie", format!("{NAME}={a}; {NAME}={b}"));
    for (name, ask) in [
        ("two sessions", two(&newer, &bob)),
        ("two sessions, the other way round", two(&bob, &newer)),
        ("two sessions in two headers", post("/auth/refresh").cookie(&newer).cookie(&bob)),
        ("two sessions, one old token", two(&token, &bob)),
        ("two sessions and garbage", two(&newer, &bob).cookie("garbage")),
    ] {
        world.send(ask.clone()).await.refused(400, "invalid_request");
        assert_eq!(world.generation("ada").await, Some(1), "{name}: nothing rotated, nothing revoked");
        assert_eq!(world.generation("bob").await, Some(0), "{name}: nothing rotated, nothing revoked");
    }
    for path in ["/auth/logout/all", "/auth/logout/others"] {
        world.send(post(path).cookie(&newer).cookie(&bob)).await.refused(400, "invalid_request");
    }
    // Two generations of one session: the higher one counts, in either order. The lower one alone ends the session.
    let answer = world.send(two(&token, &newer)).await;
    let third = answer.refresh();
    assert_eq!(answer.claims()["gen"], 2);
    world.clock.advance(MINUTE);
    assert_eq!(world.send(two(&third, &newer)).await.claims()["gen"], 3);
    // Garbage beside a good one.
    world.clock.advance(MINUTE);
    for ask in [two("garbage", &bob), two(&bob, "garbage"), two(&format!("{bob}A"), &bob)] {
        world.send(ask).await.expect(200);
    }
    // The cookie of a session that has ended does not count beside a live one, and two such are none.
    let dead = world.login("bob").await.refresh();
    world.send(post("/auth/logout").cookie(&dead)).await.expect(204);
    let live = world.login("bob").await.refresh();
    world.send(two(&dead, &live)).await.expect(200);
    let dead_too = world.login("bob").await.refresh();
    world.send(post("/auth/logout").cookie(&dead_too)).await.expect(204);
    world.send(two(&dead, &dead_too)).await.refused(401, "invalid_grant");
    // A logout ends all of them: each token is one of its holder's.
    world.send(post("/auth/logout").cookie(&third).cookie(&bob).cookie(&live)).await.expect(204);
    assert_eq!((world.generation("ada").await, world.generation("bob").await), (None, None));
}

#[tokio::test]
async fn k4_and_k6_other_names() {
    let world = host_form();
    let token = world.login("ada").await.refresh();
    for name in [
        "__host-refresh_token",
        "__HOST-refresh_token",
        "__Host-refresh",
        "__Secure-refresh_token",
        "refresh_token",
        "refresh",
        "x__Host-refresh_token",
        "__Host-refresh_token2",
        "\"__Host-refresh_token\"",
        "__Host%2Drefresh_token",
    ] {
        let answer = world.send(post("/auth/refresh").header("cookie", format!("{name}={token}"))).await;
        assert_eq!(answer.status, 401, "{name}");
    }
    let other = world.login("bob").await.refresh();
    let both = format!("refresh_token={other}; __Host-refresh_token={token}");
    assert_eq!(world.send(post("/auth/refresh").header("cookie", both)).await.claims()["sub"], "ada");
}

/// Browsers do not take a name for one with a prefix if white space beyond ASCII stands before it, so a sibling host
/// may set it. A server that trims such space takes the planted cookie for its own.
#[tokio::test]
async fn k4_white_space_beyond_ascii_is_part_of_the_name() {
    let world = host_form();
    let token = world.login("ada").await.refresh();
    let planted = world.login("bob").await.refresh();
    for space in ['\u{85}', '\u{a0}', '\u{1680}', '\u{2000}', '\u{2028}', '\u{205f}', '\u{3000}'] {
        for name in [format!("{space}__Host-refresh_token"), format!("__Host-refresh_token{space}")] {
            let alone = post("/auth/refresh").header("cookie", format!("{name}={planted}"));
            assert_eq!(world.send(alone).await.status, 401, "{name:?} alone");
            let beside = format!("{name}={planted}; __Host-refresh_token={token}");
            let answer = world.send(post("/auth/refresh").header("cookie", beside)).await;
            assert_eq!(answer.status, 200, "{name:?} beside the genuine one");
        }
    }
}

#[tokio::test]
async fn k5_many_and_large_cookies() {
    let world = World::new();
    let token = world.login("ada").await.refresh();
    let many = "c=1; ".repeat(500);
    world.send(post("/auth/refresh").header("cookie", format!("{many}{NAME}={token}"))).await.expect(200);
    let ours = format!("; {NAME}={token}");
    let filled = |bytes: usize| format!("a={}{ours}", "b".repeat(bytes - 2 - ours.len()));
    world.send(post("/auth/refresh").header("cookie", filled(64 * 1024))).await.expect(200);
    let too_large = filled(64 * 1024 + 1);
    world.send(post("/auth/refresh").header("cookie", &too_large)).await.refused(431, "too_large");
    world.send(post("/auth/logout").header("cookie", &too_large)).await.refused(431, "too_large");
    assert_eq!(world.generation("ada").await, Some(0));
}

#[tokio::test]
async fn k7_no_token_is_good_in_the_place_of_another() {
    let world = World::new();
    let login = world.login("ada").await;
    world.refresh(&login.access()).await.refused(401, "invalid_grant");
    let list = || bare(Method::GET, "/auth/sessions");
    for (name, ask) in [
        ("an access token in our cookie", list().cookie(&login.access())),
        ("in a cookie of another name", list().header("cookie", format!("access_token={}", login.access()))),
        ("the refresh token in our cookie", list().cookie(&login.refresh())),
    ] {
        let answer = world.send(ask).await.refused(401, "unauthorized");
        assert_eq!(answer.headers[WWW_AUTHENTICATE], r#"Bearer realm="api""#, "{name}");
    }
    world.send(list().bearer(&login.refresh())).await.refused(401, "invalid_token");
    let in_body = post("/auth/refresh").json(&json!({ "refresh_token": login.refresh() }));
    world.send(in_body).await.refused(401, "invalid_grant");
    let in_query = post(&format!("/auth/refresh?refresh_token={}", login.refresh()));
    world.send(in_query).await.refused(401, "invalid_grant");
}

/// What a browser does with `Set-Cookie` (RFC 6265bis, sections 5.6 and 5.7), for one host over https.
#[derive(Default)]
struct Jar(Vec<SetCookie>);

impl Jar {
    fn take(&mut self, cookie: SetCookie) {
        let has = |name| cookie.attribute(name).is_some();
        let refused = (cookie.name.starts_with("__Secure-") && !has("secure"))
            || (cookie.name.starts_with("__Host-")
                && (!has("secure") || has("domain") || cookie.attribute("path") != Some("/")))
            || ((cookie.attribute("samesite") == Some("None") || has("partitioned")) && !has("secure"));
        if refused {
            return;
        }
        let key = |cookie: &SetCookie| {
            let path = cookie.attribute("path").map(ToOwned::to_owned);
            (cookie.name.clone(), path, cookie.attribute("partitioned").is_some())
        };
        self.0.retain(|held| key(held) != key(&cookie));
        if cookie.max_age() > 0 {
            self.0.push(cookie);
        }
    }

    fn sends(&self, path: &str) -> bool {
        self.0.iter().filter_map(|cookie| cookie.attribute("path")).any(|prefix| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
        })
    }
}

#[tokio::test]
async fn k8_a_browser_forgets_the_cookie_at_logout() {
    let form = CookiePolicy::default;
    for (name, cookie, everywhere) in [
        ("narrow", form(), false),
        ("__Host-", form().host_prefix(), true),
        ("embedded", form().with_same_site(SameSite::None).partitioned(), false),
        ("embedded __Host-", form().host_prefix().with_same_site(SameSite::None).partitioned(), true),
        ("lax", form().with_same_site(SameSite::Lax), false),
        ("insecure", form().insecure_without_secure(), false),
    ] {
        let world = World::with(|builder| builder.cookie(cookie));
        let mut jar = Jar::default();
        let set = world.login("ada").await.set_cookie().unwrap();
        jar.take(set.clone());
        assert!(jar.sends("/auth/refresh") && jar.sends("/auth/logout/all"), "{name}");
        assert_eq!((jar.sends("/api/me"), jar.sends("/authors")), (everywhere, everywhere), "{name}");
        let mut kept = Jar(jar.0.clone());
        let pair = format!("{}={}", set.name, set.value);
        let cleared = world.send(post("/auth/logout").header("cookie", pair)).await.set_cookie().unwrap();
        jar.take(cleared.clone());
        assert!(jar.0.is_empty(), "{name}: the browser keeps the cookie");
        // The model can tell: a deletion without its path does nothing.
        let mut pathless = cleared;
        pathless.attributes.retain(|(name, _)| name != "path");
        kept.take(pathless);
        assert_eq!(kept.0.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn x1_to_x8_nothing_happens_for_another_site() {
    const SITE: &str = "sec-fetch-site";
    let world = World::new();
    let login = world.login("ada").await;
    world.clock.advance(MINUTE);
    let refresh = || bare(Method::POST, "/auth/refresh").cookie(&login.refresh());
    let logout = || bare(Method::POST, "/auth/logout").cookie(&login.refresh());
    let sign_in = || bare(Method::POST, "/auth/login").json(&credentials("bob"));
    let form = |ask: Ask| ask.body("application/x-www-form-urlencoded", "a=b");
    for (name, ask, status) in [
        ("x1 cross-site", refresh().header(SITE, "cross-site"), 403),
        ("x2 same-site", refresh().header(SITE, "same-site").header(ORIGIN, "https://www.app.example"), 403),
        ("x3 foreign", refresh().header(ORIGIN, "https://evil.example"), 403),
        ("x3 null", refresh().header(ORIGIN, "null"), 403),
        ("x3 missing", refresh(), 403),
        ("x3 a look-alike", refresh().header(ORIGIN, "https://app.example.evil.example"), 403),
        ("x3 two origins", refresh().header(ORIGIN, OWN).header(ORIGIN, "https://evil.example"), 403),
        ("x4 our origin, but cross-site", refresh().header(ORIGIN, OWN).header(SITE, "cross-site"), 403),
        ("x4 two words", refresh().header(SITE, "same-origin").header(SITE, "cross-site"), 403),
        ("x5 GET", bare(Method::GET, "/auth/logout").header(ORIGIN, OWN).cookie(&login.refresh()), 405),
        ("x5 HEAD", bare(Method::HEAD, "/auth/refresh").header(ORIGIN, OWN).cookie(&login.refresh()), 405),
        ("x5 OPTIONS", bare(Method::OPTIONS, "/auth/refresh").cookie(&login.refresh()), 405),
        ("x5 PUT", bare(Method::PUT, "/auth/logout").header(ORIGIN, OWN).cookie(&login.refresh()), 405),
        (
            "x5 override",
            bare(Method::GET, "/auth/logout")
                .cookie(&login.refresh())
                .header("x-http-method-override", "POST"),
            405,
        ),
        ("x6 text", post("/auth/login").body("text/plain", credentials("bob").to_string()), 415),
        ("x6 form", form(post("/auth/login")), 415),
        ("x6 form at refresh", form(refresh().header(ORIGIN, OWN)), 415),
        ("x6 form at logout", form(logout().header(ORIGIN, OWN)), 415),
        ("x6 multipart", post("/auth/login").body("multipart/form-data; boundary=b", "--b--"), 415),
        ("x6 two types", post("/auth/login").body("application/json, text/plain", "{}"), 415),
        (
            "x6 two headers",
            post("/auth/login").json(&credentials("bob")).header(CONTENT_TYPE, "text/plain"),
            415,
        ),
        ("x7 login", sign_in().header(ORIGIN, "https://evil.example"), 403),
        ("x7 login, cross-site", sign_in().header(SITE, "cross-site"), 403),
        ("x7 login, nothing said", sign_in(), 403),
        ("x8 after redirects", refresh().header(SITE, "cross-site").header(ORIGIN, "null"), 403),
        ("x1 logout", logout().header(SITE, "cross-site"), 403),
        ("x3 logout", logout().header(ORIGIN, "https://evil.example"), 403),
    ] {
        let answer = world.send(ask).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(world.generation("ada").await, Some(0), "{name}");
    }
    assert!(world.records("bob").await.is_empty());
    assert_eq!(world.accounts.calls.load(Ordering::SeqCst), 1);
    world.send(refresh().header("x-session-request", "1")).await.expect(200);
}

/// Without the cookie a logout changes nothing on the server. But another site must not make the browser forget the
/// cookie that it did not send along.
#[tokio::test]
async fn x1_a_logout_of_another_site_does_not_clear_the_cookie() {
    let world = World::new();
    let logout = || bare(Method::POST, "/auth/logout");
    for (name, ask, clears) in [
        ("cross-site", logout().header("sec-fetch-site", "cross-site"), false),
        ("same-site", logout().header("sec-fetch-site", "same-site").header(ORIGIN, OWN), false),
        ("a foreign origin", logout().header(ORIGIN, "https://evil.example"), false),
        ("no origin", logout().header(ORIGIN, "null"), false),
        ("our own page", logout().header(ORIGIN, OWN), true),
        ("our own page, by metadata", logout().header("sec-fetch-site", "same-origin"), true),
        ("no browser", logout(), true),
    ] {
        let answer = world.send(ask).await.expect(204);
        assert_eq!(answer.set_cookie().map(|cookie| cookie.max_age()), clears.then_some(0), "{name}");
    }
}
