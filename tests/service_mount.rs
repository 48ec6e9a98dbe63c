//! Where the service is mounted, and the settings that show in its answers.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use http::Method;
use http::header::WWW_AUTHENTICATE;
use tower_jwt_auth::CookiePolicy;

use crate::support::service::{HOLD, NAME, World, bare, credentials, post};

/// The paths that routers strip, and those they do not; the cookie's Path follows the mount point.
#[tokio::test]
async fn any_mount_point_with_and_without_the_prefix() {
    for mount in ["/auth", "/api/v1/session", "/login", "/refresh"] {
        all_routes_below(mount, mount).await;
        all_routes_below(mount, "").await;
    }
    let world = World::with(|builder| builder.path("/api/v1/session"));
    world.send(post("/auth/login").json(&credentials("ada"))).await.refused(404, "not_found");
}

/// A router that strips the mount point leaves paths that begin with the mount point's own name.
#[tokio::test]
async fn a_mount_point_named_as_a_route() {
    for mount in ["/logout", "/sessions"] {
        all_routes_below(mount, mount).await;
        all_routes_below(mount, "").await;
    }
}

async fn all_routes_below(mount: &str, prefix: &str) {
    let world = World::with(|builder| builder.path(mount));
    assert_eq!(world.auth.path(), mount);
    let at = |path: &str| format!("{prefix}{path}");
    let login = world.send(post(&at("/login")).json(&credentials("ada"))).await.expect(200);
    assert_eq!(login.set_cookie().unwrap().attribute("path"), Some(mount), "{mount}");
    let other = world.send(post(&at("/login")).json(&credentials("ada"))).await.expect(200);
    world.clock.advance(HOLD);
    let token = world.send(post(&at("/refresh")).cookie(&login.refresh())).await.refresh();
    let list = world.send(bare(Method::GET, &at("/sessions")).bearer(&login.access())).await.expect(200);
    assert_eq!(list.value()["sessions"].as_array().unwrap().len(), 2);
    let id = other.claims()["sid"].as_str().unwrap().to_owned();
    let delete = bare(Method::DELETE, &at(&format!("/sessions/{id}"))).bearer(&login.access());
    assert_eq!(world.send(delete).await.status, 204, "DELETE a session, mount {mount}, prefix {prefix:?}");
    let others = world.send(post(&at("/logout/others")).cookie(&token)).await;
    assert_eq!(others.status, 204, "logout/others, mount {mount}, prefix {prefix:?}");
    let all = world.send(post(&at("/logout/all")).cookie(&token)).await;
    assert_eq!(all.status, 204, "logout/all, mount {mount}, prefix {prefix:?}");
    let out = world.send(post(&at("/logout")).cookie(&token)).await.expect(204);
    assert_eq!(out.set_cookie().unwrap().attribute("path"), Some(mount), "{mount}");
}

#[tokio::test]
async fn realm_and_cookie_are_settings() {
    let cookie = || CookiePolicy::default().host_prefix().with_name("r");
    let world = World::with(|builder| builder.realm("shop").cookie(cookie()));
    let answer = world.login("ada").await;
    let set = answer.set_cookie().unwrap();
    assert_eq!((&*set.name, set.attribute("path")), ("__Host-r", Some("/")));
    let with = |name: &str| post("/auth/refresh").header("cookie", format!("{name}={}", set.value));
    world.send(with("__Host-r")).await.expect(200);
    let answer = world.send(with(NAME)).await.refused(401, "invalid_grant");
    assert_eq!(answer.headers[WWW_AUTHENTICATE], r#"Bearer realm="shop""#);
    let answer = world.send(bare(Method::GET, "/auth/sessions")).await.expect(401);
    assert_eq!(answer.headers[WWW_AUTHENTICATE], r#"Bearer realm="shop""#);
}
