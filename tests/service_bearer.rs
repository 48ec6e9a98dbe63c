//! The routes of the service that take a bearer token: which tokens they take.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use http::Method;
use http::header::WWW_AUTHENTICATE;
use tower_jwt_auth::test_util::{Fault, FaultStore, StoreOperation};
use tower_jwt_auth::{
    AccessGrant, AuthService, ClientInfo, ConfigErrorKind, Identity, Issuer, MokaStore, NoClaims, NoLogin,
    RefreshKeys, Revocations,
};

use crate::support::ManualClock;
use crate::support::service::{
    Answer, Ask, NAME, OWN, REFRESH_SECRET, User, World, bare, config, credentials, post,
};

/// The routes that show or end all sessions of the token's subject.
fn all_sessions() -> [Ask; 4] {
    [
        bare(Method::GET, "/auth/sessions"),
        bare(Method::DELETE, "/auth/sessions/AAAAAAAAAAAAAAAAAAAAAA"),
        bare(Method::POST, "/auth/logout/others"),
        bare(Method::POST, "/auth/logout/all"),
    ]
}

fn is_refused(answer: &Answer) {
    let challenge = answer.headers[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
}

/// Made for a script or a device: whoever holds it must not log its user out.
#[tokio::test]
async fn a_token_without_a_session_shows_and_ends_none() {
    let world = World::new();
    world.login("ada").await;
    let token = Issuer::new(&world.config).unwrap().issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap();
    for ask in all_sessions() {
        is_refused(&world.send(ask.bearer(token.expose())).await.refused(401, "invalid_token"));
    }
    world.send(bare(Method::POST, "/auth/logout").bearer(token.expose())).await.expect(204);
    assert_eq!(world.records("ada").await.len(), 1);
}

#[tokio::test]
async fn a_revoked_token_shows_and_ends_nothing() {
    let revocations = MokaStore::new();
    let world = World::with(|builder| builder.revocations(revocations.clone()));
    let (first, second) = (world.login("ada").await, world.login("ada").await);
    let revocations = Revocations::new(revocations).with_clock(world.clock.clone());
    let token_id = first.claims()["jti"].as_str().unwrap().to_owned();
    revocations.revoke_token(OWN, &token_id).await.unwrap();
    for ask in all_sessions() {
        is_refused(&world.send(ask.bearer(&first.access())).await.refused(401, "invalid_token"));
    }
    world.send(bare(Method::POST, "/auth/logout").bearer(&first.access())).await.expect(204);
    assert_eq!(world.records("ada").await.len(), 2, "nothing has ended");

    let list = || bare(Method::GET, "/auth/sessions").bearer(&second.access());
    world.send(list()).await.expect(200);
    revocations.revoke_subject(OWN, "ada").await.unwrap();
    is_refused(&world.send(list()).await.refused(401, "invalid_token"));
    // The refresh token is not looked up there.
    world.rotate(&second.refresh()).await.expect(200);
}

#[tokio::test]
async fn an_outage_of_the_revocations_is_503() {
    let revocations = FaultStore::new(MokaStore::new());
    let faults = revocations.faults();
    let world = World::with(|builder| builder.revocations(revocations));
    let token = world.login("ada").await.access();
    for ask in all_sessions() {
        // It is asked twice.
        faults.next(2, [StoreOperation::NotBefore], Fault::Fail);
        world.send(ask.bearer(&token)).await.refused(503, "unavailable");
    }
    faults.next(2, [StoreOperation::NotBefore], Fault::Fail);
    world.send(bare(Method::POST, "/auth/logout").bearer(&token)).await.refused(503, "unavailable");
    assert_eq!(world.records("ada").await.len(), 1, "nothing has ended");
    faults.next(1, [StoreOperation::NotBefore], Fault::Fail);
    world.send(bare(Method::POST, "/auth/logout").bearer(&token)).await.expect(204);
    assert_eq!(world.records("ada").await.len(), 0);
}

#[tokio::test]
async fn a_scope_is_asked_for_where_all_sessions_are_concerned() {
    let world = World::with(|builder| builder.require_scope("sessions"));
    let login = async |scopes: &[&str]| {
        let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        world.accounts.shape(move |identity| identity.with_scopes(scopes.clone()));
        world.login("ada").await
    };
    let (without, with) = (login(&["read", "sessions2"]).await, login(&["read", "sessions"]).await);
    for ask in all_sessions() {
        let answer = world.send(ask.bearer(&without.access())).await.refused(403, "insufficient_scope");
        let challenge = answer.headers[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
        assert!(challenge.ends_with(r#"scope="sessions""#), "{challenge}");
    }
    for path in ["/auth/logout/others", "/auth/logout/all"] {
        world.send(post(path).cookie(&without.refresh())).await.refused(403, "insufficient_scope");
    }
    assert_eq!(world.records("ada").await.len(), 2, "nothing has ended");
    // Its own session anybody may end.
    world.send(bare(Method::POST, "/auth/logout").bearer(&without.access())).await.expect(204);
    assert_eq!(world.records("ada").await.len(), 1);

    world.send(bare(Method::GET, "/auth/sessions").bearer(&with.access())).await.expect(200);
    world.send(post("/auth/logout/others").cookie(&with.refresh())).await.expect(204);
    world.send(bare(Method::POST, "/auth/logout/all").bearer(&with.access())).await.expect(204);
    assert_eq!(world.records("ada").await.len(), 0);
}

#[test]
fn a_scope_that_no_token_can_have() {
    let config = config(&ManualClock::new());
    for scope in ["", "two words", "quo\"te", "ä"] {
        let keys = RefreshKeys::new(REFRESH_SECRET).unwrap();
        let login = NoLogin::<NoClaims>::new();
        let builder = AuthService::builder(&config, keys, MokaStore::new(), login);
        let error = builder.add_origin(OWN).require_scope(scope).build().unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Limit, "{scope}");
    }
}

/// Each would be a question to the store.
#[tokio::test]
async fn more_sessions_in_cookies_than_anybody_has_are_not_looked_up() {
    let world = World::new();
    let mut tokens = Vec::new();
    for user in 0..9 {
        let user = format!("user{user}");
        let identity = Identity::new(&*user, User::named(&user));
        let opened = world.auth.sessions().open(identity, &ClientInfo::default()).await.unwrap();
        tokens.push(opened.refresh_token().to_owned());
    }
    let cookies = |tokens: &[String]| {
        tokens.iter().map(|token| format!("{NAME}={token}")).collect::<Vec<_>>().join("; ")
    };
    world.store.take_calls();
    let (nine, eight) = (cookies(&tokens), cookies(&tokens[..8]));
    for path in ["/auth/logout", "/auth/refresh", "/auth/logout/all"] {
        world.send(post(path).header("cookie", &nine)).await.refused(400, "invalid_request");
    }
    assert_eq!(world.store.take_calls(), [], "nothing was asked");
    // By what else the client has.
    let bob = world.login("bob").await;
    let logout = post("/auth/logout").header("cookie", &nine).bearer(&bob.access());
    assert!(world.send(logout).await.expect(204).set_cookie().is_some());
    assert_eq!(world.records("bob").await.len(), 0);
    let garbage = post("/auth/logout").header("cookie", &nine).bearer("garbage");
    world.send(garbage).await.refused(400, "invalid_request");
    // Nobody is kept from a login; the sessions of others go on.
    let login = post("/auth/login").json(&credentials("ada")).header("cookie", &nine);
    world.send(login).await.expect(200);
    assert_eq!(world.records("user0").await.len(), 1);
    world.send(post("/auth/logout").header("cookie", &eight)).await.expect(204);
    for user in 0..8 {
        assert_eq!(world.records(&format!("user{user}")).await.len(), 0, "{user}");
    }
    assert_eq!(world.records("user8").await.len(), 1);
}
