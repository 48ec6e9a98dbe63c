//! The table of `manual::identity_providers`: access tokens as the large identity providers write them, by the settings that
//! it names for each, and what else the same provider signs with the same keys, refused.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use support::requests::{bearer, send};
use support::tokens::{NOW, Signer};
use support::{HOUR, ManualClock};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    ConfigErrorKind, JwtAuthLayer, NoClaims, ReadClaims, RequireLayer, Set, SigningKey, TokenConfig,
    TokenConfigBuilder, TokenErrorKind, Verified, Verifier,
};

type Builder = TokenConfigBuilder<Set, Set, Set>;

const SIGNER: Signer = Signer::Ed25519([3; 32]);

fn of(issuer: &str, audience: &str) -> Builder {
    TokenConfig::builder()
        .add_verifying_key(SIGNER.key().verifying_key().clone())
        .issuer(issuer)
        .audience(audience)
        .clock(ManualClock::new())
}

fn verifier<C: ReadClaims>(builder: Builder) -> Verifier<C> {
    builder.build().unwrap().verifier()
}

/// A token with this `typ`, if any, and these claims, and the times that all have.
fn token(typ: Option<&str>, lifetime: Duration, claims: &Value) -> String {
    let mut header = json!({"alg": SIGNER.alg(), "kid": "k1"});
    if let Some(typ) = typ {
        header["typ"] = typ.into();
    }
    let mut all = json!({"iat": NOW, "exp": NOW + i64::try_from(lifetime.as_secs()).unwrap()});
    all.as_object_mut().unwrap().append(&mut claims.as_object().unwrap().clone());
    SIGNER.compact(header.to_string(), all.to_string())
}

/// The same claims but for these; `null` takes one out.
fn changed(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.remove(name);
        if !value.is_null() {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

#[track_caller]
fn refused<C: ReadClaims>(verifier: &Verifier<C>, token: &str) -> TokenErrorKind {
    verifier.verify(token).expect_err("refused").kind()
}

fn scopes<C>(token: &Verified<C>) -> Vec<&str> {
    token.registered().scopes().collect()
}

/// What a layer for a role answers.
async fn status<C: ReadClaims>(
    verifier: &Verifier<C>,
    token: &str,
    holds: fn(&Verified<C>) -> bool,
) -> StatusCode {
    let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(String::new())));
    let service = JwtAuthLayer::new(verifier.clone()).layer(RequireLayer::new(holds).layer(inner));
    service.oneshot(bearer(token)).await.unwrap().status()
}

#[derive(Deserialize)]
struct Roles {
    #[serde(default)]
    roles: Vec<String>,
}

fn has(roles: &[String], role: &str) -> bool {
    roles.iter().any(|held| held == role)
}

#[tokio::test]
async fn keycloak() {
    #[derive(Deserialize)]
    struct User {
        realm_access: Roles,
        #[serde(default)]
        resource_access: HashMap<String, Roles>,
    }
    let issuer = "https://idp.example/realms/shop";
    let verifier: Verifier<User> =
        verifier(of(issuer, "orders-api").accept_type("JWT").require_value("typ", "Bearer"));
    let minutes = Duration::from_secs(300);
    let claims = json!({
        "iss": issuer, "sub": "7a5b", "aud": ["orders-api", "account"], "typ": "Bearer", "azp": "web", "sid": "s",
        "jti": "j", "auth_time": NOW, "acr": "1", "scope": "openid email",
        "realm_access": {"roles": ["offline_access", "clerk"]},
        "resource_access": {"orders-api": {"roles": ["refund"]}},
        "email_verified": true, "preferred_username": "ada",
    });
    let good = token(Some("JWT"), minutes, &claims);
    assert_eq!(scopes(&verifier.verify(&good).unwrap()), ["openid", "email"]);
    let is_clerk = |user: &Verified<User>| has(&user.realm_access.roles, "clerk");
    let refunds = |user: &Verified<User>| {
        user.resource_access.get("orders-api").is_some_and(|access| has(&access.roles, "refund"))
    };
    assert_eq!(status(&verifier, &good, is_clerk).await, StatusCode::OK);
    assert_eq!(status(&verifier, &good, refunds).await, StatusCode::OK);
    let other = changed(
        &claims,
        &json!({"realm_access": {"roles": []}, "resource_access": {"web": {"roles": ["refund"]}}}),
    );
    let other = token(Some("JWT"), minutes, &other);
    assert_eq!(status(&verifier, &other, is_clerk).await, StatusCode::FORBIDDEN);
    assert_eq!(status(&verifier, &other, refunds).await, StatusCode::FORBIDDEN);

    for typ in ["ID", "Refresh", "bearer", ""] {
        let other = token(Some("JWT"), minutes, &changed(&claims, &json!({"typ": typ})));
        assert_eq!(refused(&verifier, &other), TokenErrorKind::Claims, "{typ}");
    }
    let other = token(Some("JWT"), minutes, &changed(&claims, &json!({"aud": "account"})));
    assert_eq!(refused(&verifier, &other), TokenErrorKind::Audience);
}

#[tokio::test]
async fn auth0() {
    #[derive(Deserialize)]
    struct User {
        #[serde(default)]
        permissions: Vec<String>,
    }
    let issuer = "https://shop.eu.auth0.com/";
    let api = || of(issuer, "https://api.shop.example").accept_lifetime(24 * HOUR);
    let claims = json!({
        "iss": issuer, "sub": "auth0|1", "aud": ["https://api.shop.example", "https://shop.eu.auth0.com/userinfo"],
        "scope": "openid orders:read", "azp": "web", "permissions": ["orders:read", "orders:refund"],
    });
    let older = token(Some("JWT"), 24 * HOUR, &claims);
    let profiled = changed(&claims, &json!({"azp": null, "client_id": "web", "jti": "j"}));
    let profiled = token(Some("at+jwt"), 24 * HOUR, &profiled);

    let with_jwt: Verifier<User> = verifier(api().accept_type("JWT"));
    let with_profile: Verifier<User> = verifier(api());
    assert_eq!(refused(&with_profile, &older), TokenErrorKind::Type);
    for (verifier, token) in [(&with_jwt, &older), (&with_jwt, &profiled), (&with_profile, &profiled)] {
        assert_eq!(scopes(&verifier.verify(token).unwrap()), ["openid", "orders:read"]);
        let may = |user: &Verified<User>| has(&user.permissions, "orders:refund");
        assert_eq!(status(verifier, token, may).await, StatusCode::OK);
        let may_not = |user: &Verified<User>| has(&user.permissions, "orders:delete");
        assert_eq!(status(verifier, token, may_not).await, StatusCode::FORBIDDEN);
    }
    // Permissions in the place of scopes, for the layers that ask for these.
    let permissions: Verifier<User> = verifier(api().accept_type("JWT").scope_claim("permissions"));
    let token_of = permissions.verify(&older).unwrap();
    assert_eq!(scopes(&token_of), ["orders:read", "orders:refund"]);
    assert_eq!(token_of.permissions.len(), 2, "the application sees them, too");

    let id = token(
        Some("JWT"),
        HOUR,
        &changed(&claims, &json!({"aud": "web", "scope": null, "permissions": null})),
    );
    assert_eq!(refused(&with_jwt, &id), TokenErrorKind::Audience);
}

#[test]
fn okta() {
    let issuer = "https://shop.okta.com/oauth2/default";
    let verifier: Verifier<NoClaims> = verifier(
        of(issuer, "api://default")
            .accept_missing_type()
            .scope_claim("scp")
            .require_claim("cid")
            .accept_lifetime(HOUR),
    );
    let claims = json!({
        "ver": 1, "jti": "AT.1", "iss": issuer, "aud": "api://default", "cid": "web", "uid": "00u",
        "scp": ["openid", "orders.read"], "auth_time": NOW, "sub": "ada@shop.example",
    });
    let good = verifier.verify(&token(None, HOUR, &claims)).unwrap();
    assert_eq!(scopes(&good), ["openid", "orders.read"]);
    assert!(good.has_scope("orders.read") && !good.has_scope("orders"));

    let id = changed(&claims, &json!({"aud": "web", "cid": null, "scp": null}));
    assert_eq!(refused(&verifier, &token(None, HOUR, &id)), TokenErrorKind::Claims);
    let id = changed(&id, &json!({"aud": "api://default"}));
    assert_eq!(refused(&verifier, &token(None, HOUR, &id)), TokenErrorKind::Claims);
    let other = token(None, HOUR, &changed(&claims, &json!({"aud": "api://other"})));
    assert_eq!(refused(&verifier, &other), TokenErrorKind::Audience);
}

#[test]
fn cognito() {
    #[derive(Deserialize)]
    struct User {
        #[serde(default, rename = "cognito:groups")]
        groups: Vec<String>,
        token_use: String,
    }
    let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc";
    let settings = |audience| {
        of(issuer, audience)
            .accept_missing_type()
            .audience_claim("client_id")
            .require_value("token_use", "access")
            .accept_lifetime(HOUR)
    };
    let verifier: Verifier<User> = verifier(settings("web"));
    let claims = json!({
        "sub": "aaaa", "iss": issuer, "client_id": "web", "origin_jti": "o", "event_id": "e", "token_use": "access",
        "scope": "aws.cognito.signin.user.admin orders/read", "auth_time": NOW, "jti": "j", "username": "ada",
        "cognito:groups": ["clerks"], "version": 2,
    });
    let good = verifier.verify(&token(None, HOUR, &claims)).unwrap();
    assert!(good.has_scope("orders/read") && has(&good.groups, "clerks"));
    assert_eq!((good.token_use.as_str(), good.registered().client_id()), ("access", Some("web")));

    let id = changed(&claims, &json!({"client_id": null, "aud": "web", "token_use": "id", "scope": null}));
    assert_eq!(refused(&verifier, &token(None, HOUR, &id)), TokenErrorKind::Claims);
    let mixed = changed(&claims, &json!({"token_use": "id"}));
    assert_eq!(refused(&verifier, &token(None, HOUR, &mixed)), TokenErrorKind::Claims);
    let listed = changed(&claims, &json!({"token_use": ["access"]}));
    let any_claims = settings("web").build().unwrap().verifier::<NoClaims>();
    assert_eq!(refused(&any_claims, &token(None, HOUR, &listed)), TokenErrorKind::Claims);
    let other = changed(&claims, &json!({"client_id": "of-another-team"}));
    assert_eq!(refused(&verifier, &token(None, HOUR, &other)), TokenErrorKind::Audience);

    // Bound to a resource, a token has an audience as well, which must be this service.
    let bound = token(None, HOUR, &changed(&claims, &json!({"aud": "https://api.shop.example"})));
    assert_eq!(refused(&verifier, &bound), TokenErrorKind::Audience);
    let both =
        settings("web").add_audience("https://api.shop.example").build().unwrap().verifier::<NoClaims>();
    assert!(both.verify(&bound).is_ok());
}

#[test]
fn google() {
    let issuer = "https://accounts.google.com";
    let verifier: Verifier<NoClaims> = verifier(
        of(issuer, "https://orders.run.example")
            .accept_type("JWT")
            .require_value("sub", "117")
            .accept_lifetime(HOUR),
    );
    let claims = json!({
        "iss": issuer, "azp": "117", "aud": "https://orders.run.example", "sub": "117",
        "email": "caller@project.iam.gserviceaccount.com", "email_verified": true,
    });
    let good = verifier.verify(&token(Some("JWT"), HOUR, &claims)).unwrap();
    assert_eq!((good.subject(), scopes(&good).len()), ("117", 0));
    for (changes, kind) in [
        (json!({"aud": "https://billing.run.example"}), TokenErrorKind::Audience),
        (json!({"iss": "accounts.google.com"}), TokenErrorKind::Issuer),
        // Anybody can have a token for this audience.
        (
            json!({"sub": "666", "azp": "666", "email": "x@evil.iam.gserviceaccount.com"}),
            TokenErrorKind::Claims,
        ),
        (json!({"iss": "https://cloud.google.com/iap"}), TokenErrorKind::Issuer),
    ] {
        assert_eq!(refused(&verifier, &token(Some("JWT"), HOUR, &changed(&claims, &changes))), kind);
    }
}

#[tokio::test]
async fn entra() {
    let issuer = "https://login.microsoftonline.com/8d6c/v2.0";
    let verifier: Verifier<Roles> = verifier(
        of(issuer, "b6a5")
            .accept_type("JWT")
            .scope_claim("scp")
            .require_claim("azp")
            .accept_lifetime(2 * HOUR),
    );
    let minutes = Duration::from_secs(75 * 60);
    let claims = json!({
        "aud": "b6a5", "iss": issuer, "nbf": NOW, "azp": "c7", "azpacr": "1", "oid": "o", "rh": "r", "ver": "2.0",
        "scp": "Orders.Read Orders.Refund", "sub": "pairwise", "tid": "8d6c", "uti": "u",
    });
    let good = token(Some("JWT"), minutes, &claims);
    assert_eq!(scopes(&verifier.verify(&good).unwrap()), ["Orders.Read", "Orders.Refund"]);

    let reconciles = |app: &Verified<Roles>| has(&app.roles, "Orders.Reconcile");
    assert_eq!(status(&verifier, &good, reconciles).await, StatusCode::FORBIDDEN);
    let application = changed(&claims, &json!({"scp": null, "roles": ["Orders.Reconcile"]}));
    let application = token(Some("JWT"), minutes, &application);
    assert_eq!(scopes(&verifier.verify(&application).unwrap()).len(), 0);
    assert_eq!(status(&verifier, &application, reconciles).await, StatusCode::OK);

    let id = changed(&claims, &json!({"scp": null, "azp": null}));
    assert_eq!(refused(&verifier, &token(Some("JWT"), minutes, &id)), TokenErrorKind::Claims);
    // Any application of the tenant gets one: it has neither scopes nor roles.
    let stranger = changed(&claims, &json!({"scp": null, "azp": "666"}));
    let stranger = token(Some("JWT"), minutes, &stranger);
    assert_eq!(scopes(&verifier.verify(&stranger).unwrap()).len(), 0);
    assert_eq!(status(&verifier, &stranger, reconciles).await, StatusCode::FORBIDDEN);
}

#[test]
fn scopes_that_are_none_are_refused() {
    let verifier: Verifier<NoClaims> = verifier(of("https://idp.example", "api").scope_claim("scp"));
    let minute = Duration::from_secs(60);
    let claims = json!({"iss": "https://idp.example", "aud": "api", "sub": "u"});
    for (scp, expected) in [
        (json!(""), Some(vec![])),
        (json!([]), Some(vec![])),
        (json!("a b"), Some(vec!["a", "b"])),
        (json!(["a", "b"]), Some(vec!["a", "b"])),
        (json!(["a b"]), None),
        (json!(["a", ""]), None),
        (json!(["a", 1]), None),
        (json!(1), None),
        (json!(null), None),
        (json!({"a": true}), None),
    ] {
        let mut claims = claims.clone();
        claims["scp"] = scp.clone();
        // `scope` says nothing here.
        claims["scope"] = "admin".into();
        match (verifier.verify(&token(Some("at+jwt"), minute, &claims)), expected) {
            (Ok(token), Some(expected)) => assert_eq!(scopes(&token), expected, "{scp}"),
            (Err(error), None) => assert_eq!(error.kind(), TokenErrorKind::Claims, "{scp}"),
            (outcome, _) => panic!("{scp}: {outcome:?}"),
        }
    }
    let mut without = claims;
    without["scope"] = "admin".into();
    assert_eq!(scopes(&verifier.verify(&token(Some("at+jwt"), minute, &without)).unwrap()).len(), 0);
}

/// As some issuers write it, whatever its name.
#[test]
fn scope_itself_may_be_an_array_where_that_is_said() {
    let minute = Duration::from_secs(60);
    let claims = json!({"iss": "https://idp.example", "aud": "api", "sub": "u", "scope": ["a", "b"]});
    let list = token(Some("at+jwt"), minute, &claims);
    let text = token(Some("at+jwt"), minute, &changed(&claims, &json!({"scope": "a b"})));
    let base = || of("https://idp.example", "api");
    let with: Verifier<NoClaims> = verifier(base().scope_claim("scope").require_claim("scope"));
    assert_eq!(scopes(&with.verify(&list).unwrap()), ["a", "b"]);
    assert_eq!(scopes(&with.verify(&text).unwrap()), ["a", "b"]);
    let without: Verifier<NoClaims> = verifier(base());
    assert_eq!(refused(&without, &list), TokenErrorKind::Claims);
    let none = token(Some("at+jwt"), minute, &changed(&claims, &json!({"scope": null})));
    assert_eq!(refused(&with, &none), TokenErrorKind::Claims);
    // Twice, which JSON of serde_json's cannot hold.
    let header = json!({"alg": SIGNER.alg(), "kid": "k1", "typ": "at+jwt"}).to_string();
    let twice = claims.to_string().replacen('{', r#"{"scope":"x","exp":9999999999,"iat":9999999000,"#, 1);
    assert_eq!(refused(&with, &SIGNER.compact(header, twice)), TokenErrorKind::Claims);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let base = || of("https://idp.example", "api");
    for (row, builder) in [
        ("empty scope", base().scope_claim("")),
        ("empty audience", base().audience_claim("")),
        ("empty name", base().require_value("", "x")),
        ("scope in sub", base().scope_claim("sub")),
        ("audience in iss", base().audience_claim("iss")),
        ("value of exp", base().require_value("exp", "1")),
        ("signing", base().key(SigningKey::ed25519_seed(&[9; 32]).unwrap()).scope_claim("scp")),
        (
            "signing and values",
            base().key(SigningKey::ed25519_seed(&[9; 32]).unwrap()).require_value("a", "b"),
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ConfigErrorKind::Claim, "{row}");
    }
    // Nor can it sign later.
    let key = SigningKey::ed25519_seed(&[9; 32]).unwrap();
    let config = base().add_verifying_key(key.verifying_key().clone()).scope_claim("scp").build().unwrap();
    assert_eq!(config.sign_with(key).unwrap_err().kind(), ConfigErrorKind::Claim);
    assert!(base().require_value("client_id", "web").require_value("client_id", "web").build().is_ok());
}

#[tokio::test]
async fn a_token_that_is_remembered_is_judged_alike() {
    let layer: JwtAuthLayer<NoClaims> = JwtAuthLayer::new(verifier(
        of("https://idp.example", "web").audience_claim("azp").scope_claim("scp"),
    ));
    let minute = Duration::from_secs(60);
    let claims = json!({"iss": "https://idp.example", "azp": "web", "sub": "u", "scp": ["a"]});
    let good = token(Some("at+jwt"), minute, &claims);
    let bad = token(Some("at+jwt"), minute, &changed(&claims, &json!({"azp": "other"})));
    for _ in 0..3 {
        assert_eq!(send(&layer, bearer(&good)).await.status, StatusCode::OK);
        assert_eq!(send(&layer, bearer(&bad)).await.status, StatusCode::UNAUTHORIZED);
    }
}
