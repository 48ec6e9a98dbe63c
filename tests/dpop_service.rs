//! Sessions that are bound to a key (RFC 9449, section 5): whoever has the refresh token or the cookie, and not the key, gets
//! nothing, and the session of its owner goes on.

#![cfg(all(feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::json;
use tower_jwt_auth::test_util::ManualClock;
use tower_jwt_auth::{
    AuthServiceBuilder, ClientInfo, Clock, Delivery, Dpop, DpopBuilder, Identity, NonceKeys, ProofId,
    ProofKey, ReplayStore, StoreError, StoreErrorKind,
};

use crate::support::service::{
    Accounts, Answer, Ask, HOLD, OWN, User, World, bare, config, credentials, post,
};
use crate::support::{MINUTE, SECOND};

/// A service that takes proofs, and a client with a key.
struct Bound {
    world: World,
    key: ProofKey,
}

impl Bound {
    fn new() -> Self {
        Self::with(|dpop| dpop, |auth| auth)
    }

    fn with(
        dpop: impl FnOnce(DpopBuilder) -> DpopBuilder,
        auth: impl FnOnce(AuthServiceBuilder<User>) -> AuthServiceBuilder<User>,
    ) -> Self {
        let clock = ManualClock::new();
        let dpop = dpop(Dpop::builder(OWN).clock(clock.clone())).build().unwrap();
        let (config, accounts) = (config(&clock), Arc::new(Accounts::default()));
        let world =
            World::build(clock, config, Arc::clone(&accounts), accounts, |builder| auth(builder.dpop(&dpop)));
        Self { world, key: ProofKey::generate().unwrap() }
    }

    fn proof(&self, method: &str, path: &str, token: Option<&str>) -> String {
        self.prove(&self.key, method, path, token, None)
    }

    fn prove(
        &self,
        key: &ProofKey,
        method: &str,
        path: &str,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> String {
        key.prove(method, &format!("{OWN}{path}"), token, nonce, self.world.clock.now()).unwrap()
    }

    async fn login(&self) -> Answer {
        self.send(post("/auth/login").json(&credentials("ada")), &self.proof("POST", "/auth/login", None))
            .await
    }

    async fn send(&self, ask: Ask, proof: &str) -> Answer {
        self.world.send(ask.header("dpop", proof)).await
    }

    async fn refresh(&self, token: &str, key: &ProofKey) -> Answer {
        self.send(post("/auth/refresh").cookie(token), &self.prove(key, "POST", "/auth/refresh", None, None))
            .await
    }

    async fn generation(&self) -> Option<u32> {
        self.world.generation("ada").await
    }

    /// With the access token, by the scheme `DPoP`.
    async fn call(&self, method: Method, path: &str, access: &str) -> Answer {
        let proof = self.proof(method.as_str(), path, Some(access));
        let ask = bare(method, path).header("x-session-request", "1");
        self.send(ask.header(AUTHORIZATION, format!("DPoP {access}")), &proof).await
    }
}

fn is_bound_to(answer: &Answer, key: &ProofKey) {
    assert_eq!(answer.value()["token_type"], "DPoP");
    assert_eq!(answer.claims()["cnf"], json!({ "jkt": key.thumbprint().to_string() }));
}

#[tokio::test]
async fn login_and_refresh_bind_to_the_key_that_was_shown() {
    let bound = Bound::new();
    let login = bound.login().await.expect(200);
    is_bound_to(&login, &bound.key);
    assert_eq!(bound.world.records("ada").await[0].facts.key, Some(bound.key.thumbprint()));
    bound.world.clock.advance(HOLD);
    let refreshed = bound.refresh(&login.refresh(), &bound.key).await;
    is_bound_to(&refreshed, &bound.key);
    assert_eq!(bound.generation().await, Some(1));
    // Whoever shows no proof is given a bearer token, as ever.
    let login = bound.world.login("bob").await;
    assert_eq!(login.value()["token_type"], "Bearer");
    assert!(login.claims().get("cnf").is_none());
    bound.world.refresh(&login.refresh()).await.expect(200);
    // With one, the access tokens of such a session are bound from then on.
    let refreshed = bound.refresh(&login.refresh(), &bound.key).await;
    assert_eq!(refreshed.value()["token_type"], "DPoP");
}

/// The cookie was copied out of the browser: it ends nothing, and succeeds never.
#[tokio::test]
async fn a_refresh_without_the_key_changes_nothing() {
    let bound = Bound::new();
    let login = bound.login().await;
    let token = login.refresh();
    let thief = ProofKey::generate().unwrap();
    for step in [Duration::ZERO, HOLD, MINUTE * 10] {
        bound.world.clock.advance(step);
        let before = bound.world.records("ada").await;
        bound.refresh(&token, &thief).await.refused(401, "invalid_grant");
        bound.world.refresh(&token).await.refused(401, "invalid_grant");
        let ask = || post("/auth/refresh").cookie(&token);
        bound.send(ask(), "x").await.refused(400, "invalid_dpop_proof");
        bound.send(ask(), &bound.proof("POST", "/auth/login", None)).await.refused(400, "invalid_dpop_proof");
        bound
            .send(ask(), &bound.proof("GET", "/auth/refresh", None))
            .await
            .refused(400, "invalid_dpop_proof");
        assert_eq!(bound.world.records("ada").await, before, "not a byte of it");
    }
    assert_eq!(bound.generation().await, Some(0));
    bound.refresh(&token, &bound.key).await.expect(200);
    // Nor by all others being logged out with the cookie alone.
    for path in ["/auth/logout/all", "/auth/logout/others"] {
        bound.world.send(post(path).cookie(&token)).await.refused(401, "invalid_grant");
        let proof = bound.prove(&thief, "POST", path, None, None);
        bound.send(post(path).cookie(&token), &proof).await.refused(401, "invalid_grant");
        assert!(bound.generation().await.is_some());
    }
    let proof = bound.proof("POST", "/auth/logout/others", None);
    bound.send(post("/auth/logout/others").cookie(&token), &proof).await.expect(204);
    // A logout of the session itself is not for thieves to win anything by.
    bound.world.send(post("/auth/logout").cookie(&token)).await.expect(204);
    assert_eq!(bound.generation().await, None);
}

#[tokio::test]
async fn a_proof_is_good_once_on_all_routes() {
    let bound = Bound::new();
    let proof = bound.proof("POST", "/auth/login", None);
    let login = || post("/auth/login").json(&credentials("ada"));
    let token = bound.send(login(), &proof).await.expect(200).refresh();
    bound.send(login(), &proof).await.refused(400, "invalid_dpop_proof");
    let proof = bound.proof("POST", "/auth/refresh", None);
    bound.send(post("/auth/refresh").cookie(&token), &proof).await.expect(200);
    bound.world.clock.advance(HOLD);
    bound.send(post("/auth/refresh").cookie(&token), &proof).await.refused(400, "invalid_dpop_proof");
    assert_eq!(bound.generation().await, Some(0), "the second one rotated nothing");
}

/// Nobody without credentials can use up the memory of proofs, nor learn by a proof whether they are good.
#[tokio::test]
async fn a_wrong_password_uses_no_proof_up() {
    let bound = Bound::with(|dpop| dpop.capacity(1), |auth| auth);
    for _ in 0..5 {
        let wrong = post("/auth/login").json(&json!({ "user": "ada", "password": "wrong" }));
        bound
            .send(wrong, &bound.proof("POST", "/auth/login", None))
            .await
            .refused(401, "invalid_credentials");
    }
    bound.login().await.expect(200);
    bound.login().await.refused(503, "unavailable");
    // A bad proof is refused before the application is asked.
    let calls = bound.world.accounts.calls.load(Ordering::SeqCst);
    bound.send(post("/auth/login").json(&credentials("ada")), "x").await.refused(400, "invalid_dpop_proof");
    assert_eq!(bound.world.accounts.calls.load(Ordering::SeqCst), calls);
}

/// Nor with a refresh token of a session that has ended, whose tag is good for ever.
#[tokio::test]
async fn a_dead_session_uses_no_proof_up() {
    let bound = Bound::with(|dpop| dpop.capacity(3), |auth| auth);
    let (dead, alive) = (bound.login().await.refresh(), bound.login().await.refresh());
    bound.world.send(post("/auth/logout").cookie(&dead)).await.expect(204);
    let thief = ProofKey::generate().unwrap();
    for token in [&dead, &alive] {
        for _ in 0..5 {
            bound.refresh(token, &thief).await.refused(401, "invalid_grant");
        }
    }
    bound.refresh(&alive, &bound.key).await.expect(200);
    bound.refresh(&alive, &bound.key).await.refused(503, "unavailable");
}

#[tokio::test]
async fn nonces_at_login_and_refresh() {
    let period = MINUTE * 5;
    let bound =
        Bound::with(|dpop| dpop.nonces(NonceKeys::new([7; 32]).unwrap()).nonce_period(period), |auth| auth);
    let nonce_of = |answer: &Answer| answer.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let refused = bound.login().await.refused(400, "use_dpop_nonce");
    let nonce = nonce_of(&refused);
    assert_eq!(bound.world.accounts.calls.load(Ordering::SeqCst), 0);
    let with = |path: &str, nonce: &str| bound.prove(&bound.key, "POST", path, None, Some(nonce));
    let login = post("/auth/login").json(&credentials("ada"));
    let login = bound.send(login, &with("/auth/login", &nonce)).await.expect(200);
    assert!(!login.headers.contains_key("dpop-nonce"));
    bound.world.clock.advance(period);
    let refresh = || post("/auth/refresh").cookie(&login.refresh());
    let answer = bound.send(refresh(), &with("/auth/refresh", &nonce)).await.expect(200);
    let newer = nonce_of(&answer);
    let refresh = || post("/auth/refresh").cookie(&answer.refresh());
    bound.world.clock.advance(period);
    bound.send(refresh(), &with("/auth/refresh", &nonce)).await.refused(400, "use_dpop_nonce");
    bound.send(refresh(), &with("/auth/refresh", &newer)).await.expect(200);
}

#[tokio::test]
async fn routes_with_an_access_token() {
    let bound = Bound::new();
    let access = bound.login().await.access();
    let other = bound.login().await;
    let list = bound.call(Method::GET, "/auth/sessions", &access).await.expect(200);
    assert_eq!(list.value()["sessions"].as_array().unwrap().len(), 2);
    // A copied access token opens nothing.
    let thief = ProofKey::generate().unwrap();
    let ask = || bare(Method::GET, "/auth/sessions");
    bound.world.send(ask().bearer(&access)).await.refused(401, "invalid_token");
    let dpop = || ask().header(AUTHORIZATION, format!("DPoP {access}"));
    bound.world.send(dpop()).await.refused(401, "invalid_dpop_proof");
    let proof = bound.prove(&thief, "GET", "/auth/sessions", Some(&access), None);
    bound.send(dpop(), &proof).await.refused(401, "invalid_token");
    let proof = bound.proof("GET", "/auth/sessions", Some(&access));
    bound.send(dpop(), &proof).await.expect(200);
    bound.send(dpop(), &proof).await.refused(401, "invalid_dpop_proof");

    let id = other.claims()["sid"].as_str().unwrap().to_owned();
    bound.call(Method::DELETE, &format!("/auth/sessions/{id}"), &access).await.expect(204);
    bound.call(Method::POST, "/auth/logout", &access).await.expect(204);
    bound.call(Method::GET, "/auth/sessions", &access).await.refused(401, "invalid_token");
    assert_eq!(bound.generation().await, None);
}

#[tokio::test]
async fn where_proofs_are_required_nothing_goes_without() {
    let bound = Bound::with(DpopBuilder::required, |auth| auth);
    let login = || post("/auth/login").json(&credentials("ada"));
    bound.world.send(login()).await.refused(400, "invalid_dpop_proof");
    let token = bound.login().await.expect(200).refresh();
    bound.world.refresh(&token).await.refused(400, "invalid_dpop_proof");
    bound.refresh(&token, &bound.key).await.expect(200);
    let answer = bound.world.send(bare(Method::GET, "/auth/sessions")).await.expect(401);
    assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("DPoP "));
}

/// A node without the setting, over the same store, refuses what it cannot check.
#[tokio::test]
async fn a_service_that_knows_no_proofs_refreshes_no_bound_session() {
    let bound = Bound::new();
    let token = bound.login().await.refresh();
    let world = &bound.world;
    let keys = tower_jwt_auth::RefreshKeys::new(support::service::REFRESH_SECRET).unwrap();
    let accounts = Arc::new(Accounts::default());
    let other = tower_jwt_auth::AuthService::builder(&world.config, keys, Arc::clone(&world.store), accounts)
        .add_origin(OWN)
        .build()
        .unwrap();
    // Not even when a rotation is due, or a reuse would be found.
    for _ in 0..3 {
        let error = other.sessions().refresh(&token).await.unwrap_err();
        assert_eq!(error.kind(), tower_jwt_auth::SessionErrorKind::Refused);
        assert_eq!(bound.generation().await, Some(0));
        bound.world.clock.advance(MINUTE);
    }
    bound.refresh(&token, &bound.key).await.expect(200);
}

#[tokio::test]
async fn from_code() {
    let bound = Bound::new();
    let sessions = bound.world.auth.sessions();
    let key = bound.key.thumbprint();
    let identity = Identity::new("ada", User::named("ada")).with_key(key);
    let granted = sessions.open(identity, &ClientInfo::default()).await.unwrap();
    assert_eq!(sessions.list("ada").await.unwrap()[0].key(), Some(key));
    let verified = bound.world.config.verifier::<User>().verify(granted.access_token().expose()).unwrap_err();
    assert_eq!(verified.kind(), tower_jwt_auth::TokenErrorKind::Bound);
    sessions.refresh(granted.refresh_token()).await.unwrap_err();
    let other = ProofKey::generate().unwrap().thumbprint();
    sessions.refresh_with_key(granted.refresh_token(), other).await.unwrap_err();
    sessions.refresh_with_key(granted.refresh_token(), key).await.unwrap();
}

/// As OAuth clients refresh: the token in a form, and the error codes of the token endpoint.
#[tokio::test]
async fn tokens_in_bodies() {
    let bound = Bound::with(|dpop| dpop, |auth| auth.delivery(Delivery::Body));
    let login = bound.login().await.expect(200);
    let token = login.value()["refresh_token"].as_str().unwrap().to_owned();
    let form = || {
        let body = format!("grant_type=refresh_token&refresh_token={token}");
        bare(Method::POST, "/auth/refresh").body("application/x-www-form-urlencoded", body)
    };
    bound.world.send(form()).await.refused(400, "invalid_grant");
    let thief = bound.prove(&ProofKey::generate().unwrap(), "POST", "/auth/refresh", None, None);
    bound.send(form(), &thief).await.refused(400, "invalid_grant");
    bound.send(form(), "x").await.refused(400, "invalid_dpop_proof");
    let answer = bound.send(form(), &bound.proof("POST", "/auth/refresh", None)).await.expect(200);
    is_bound_to(&answer, &bound.key);
    // Without the key nobody learns what the session may do.
    let body = format!("grant_type=refresh_token&scope=admin&refresh_token={token}");
    let form = bare(Method::POST, "/auth/refresh").body("application/x-www-form-urlencoded", body);
    bound.world.send(form.clone()).await.refused(400, "invalid_grant");
    bound.send(form, &bound.proof("POST", "/auth/refresh", None)).await.refused(400, "invalid_scope");
}

/// A router that the service is nested in cuts the mount point off.
#[tokio::test]
async fn below_a_router_that_strips_the_mount_point() {
    let bound = Bound::new();
    let login = post("/login").json(&credentials("ada"));
    bound.send(login, &bound.proof("POST", "/auth/login", None)).await.expect(200);
    let login = post("/login").json(&credentials("ada"));
    bound.send(login, &bound.proof("POST", "/auth/refresh", None)).await.refused(400, "invalid_dpop_proof");
    // What is wrong besides is said as everywhere.
    let bound = Bound::with(|dpop| dpop.nonces(NonceKeys::new([7; 32]).unwrap()), |auth| auth);
    let login = post("/login").json(&credentials("ada"));
    bound.send(login, &bound.proof("POST", "/auth/login", None)).await.refused(400, "use_dpop_nonce");
}

/// A store of proofs that says what it is told to.
#[derive(Clone)]
struct Proofs(Result<bool, ()>);

impl ReplayStore for Proofs {
    async fn remember(&self, _: &ProofId, keep_for: Duration) -> Result<bool, StoreError> {
        assert!(keep_for >= SECOND && keep_for <= MINUTE * 3, "{keep_for:?}");
        self.0.map_err(|()| StoreError::new(StoreErrorKind::Unavailable, "down"))
    }
}

#[tokio::test]
async fn what_other_nodes_have_seen() {
    for (store, status, error) in [
        (Ok(true), 200, None),
        (Ok(false), 400, Some("invalid_dpop_proof")),
        (Err(()), 503, Some("unavailable")),
    ] {
        let bound = Bound::with(|dpop| dpop, |auth| auth.replays(Proofs(store)));
        let answer = bound.login().await.expect(status);
        assert_eq!(error, answer.value()["error"].as_str());
        assert_eq!(bound.generation().await.is_some(), status == 200);
    }
    // A store without proofs is a mistake.
    let clock = ManualClock::new();
    let keys = tower_jwt_auth::RefreshKeys::new(support::service::REFRESH_SECRET).unwrap();
    let store = tower_jwt_auth::MokaStore::new();
    let accounts = Arc::new(Accounts::default());
    let built = tower_jwt_auth::AuthService::builder(&config(&clock), keys, store, accounts)
        .add_origin(OWN)
        .replays(Proofs(Ok(true)))
        .build();
    assert!(built.is_err());
}
