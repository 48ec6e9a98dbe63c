//! Access tokens without HTTP: what is issued, what is verified, and which configurations are refused.
//!
//! What each malformed token gets is in `bearer_bad_input.rs`, where it goes through the layer as well.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/oracles.rs"]
mod oracles;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use support::tokens::{
    AUDIENCE, CompleteBuilder, ISSUER, KID, LEEWAY, NOW, Object, SUBJECT, Signer, base64url, builder, claims,
    config, ed25519_public, from_base64url, json_of, pkcs8, quoted,
};
use support::{HOUR, MINUTE, ManualClock};
use tower_jwt_auth::{
    AccessGrant, AccessToken, Algorithm, Claims, Clock, ConfigError, ConfigErrorKind, Issuer, KeyForm,
    NoClaims, ReadClaims, SigningKey, Timestamp, TokenConfig, TokenError, TokenErrorKind, Verified, Verifier,
    VerifyingKey,
};

const MILLISECOND: Duration = Duration::from_millis(1);

type AnyClaims = BTreeMap<String, Value>;

fn issue<C: Claims>(
    config: &TokenConfig,
    grant: &AccessGrant,
    claims: &C,
) -> Result<AccessToken, TokenError> {
    Issuer::new(config).unwrap().issue(grant, claims)
}

fn full_grant() -> AccessGrant {
    AccessGrant::new(SUBJECT)
        .with_scopes(["orders:read", "orders:write"])
        .with_client_id("web")
        .with_session("session-1", 7)
}

#[track_caller]
fn assert_refused<C>(result: Result<C, TokenError>, kind: TokenErrorKind, row: &str) {
    assert_eq!(result.err().map(|error| error.kind()), Some(kind), "{row}");
}

// ── what is issued ──

#[test]
fn a_token_has_the_shape_of_rfc_9068() {
    for signer in Signer::both() {
        let clock = ManualClock::new();
        // A fraction of a second must not show: the dates are whole numbers.
        clock.advance(Duration::from_millis(999));
        let token = issue(&config(&signer, &clock), &full_grant(), &NoClaims {}).unwrap();

        let [header, payload, signature] = token.expose().split('.').collect::<Vec<_>>()[..] else {
            panic!("not three segments: {}", token.expose())
        };
        assert_eq!(json_of(header), json!({"alg": signer.alg(), "typ": "at+jwt", "kid": KID}));
        let mut claims = json_of(payload);
        let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
        assert_eq!(from_base64url(jti.as_str().unwrap()).len(), 16);
        let expected = json!({
            "iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 900, "sid": "session-1",
            "gen": 7, "client_id": "web", "scope": "orders:read orders:write",
        });
        // `Value` tells 900 from 900.0.
        assert_eq!(claims, expected);
        let by_hand = signer.signature(format!("{header}.{payload}").as_bytes());
        assert_eq!(from_base64url(signature), by_hand);

        assert_eq!(token.expires_in(), 15 * MINUTE);
        assert_eq!(token.expires_at(), Timestamp::from_unix_seconds(NOW + 900));
    }
}

#[test]
fn what_was_not_given_is_not_in_the_token() {
    let clock = ManualClock::new();
    let config = config(&Signer::hs256(), &clock);
    let token = issue(&config, &AccessGrant::new(SUBJECT), &NoClaims {}).unwrap();
    let claims = json_of(token.expose().split('.').nth(1).unwrap());
    let names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "sub"]);

    let again = issue(&config, &AccessGrant::new(SUBJECT), &NoClaims {}).unwrap();
    let id = |token: &AccessToken| {
        let verified = config.verifier::<NoClaims>().verify(token.expose()).unwrap();
        verified.registered().token_id().unwrap().to_owned()
    };
    assert_ne!(id(&token), id(&again));
}

#[test]
fn what_was_issued_is_verified_with_all_it_says() {
    for signer in Signer::both() {
        let clock = ManualClock::new();
        let config =
            builder(signer.key(), &clock).add_audience("second").client_id("default").build().unwrap();
        let token = issue(&config, &full_grant(), &NoClaims {}).unwrap();
        let verified = config.verifier::<NoClaims>().verify(token.expose()).unwrap();
        let registered = verified.registered();
        assert_eq!((registered.issuer(), registered.subject()), (ISSUER, SUBJECT));
        assert_eq!(registered.scopes().collect::<Vec<_>>(), ["orders:read", "orders:write"]);
        assert!(registered.has_scope("orders:read"));
        for scope in ["orders", "orders:", "Orders:read", "orders:read orders:write", ""] {
            assert!(!registered.has_scope(scope), "{scope:?}");
        }
        assert_eq!((registered.session_id(), registered.generation()), (Some("session-1"), Some(7)));
        assert_eq!(registered.client_id(), Some("web"));
        assert_eq!(registered.issued_at(), clock.now());
        assert_eq!(registered.expires_at(), token.expires_at());
        assert_eq!((verified.subject(), verified.session_id()), (SUBJECT, Some("session-1")));
        assert_eq!(verified.expires_at(), token.expires_at());
        assert!(verified.has_scope("orders:read") && !verified.has_scope("orders"));

        let plain = issue(&config, &AccessGrant::new(SUBJECT), &NoClaims {}).unwrap();
        let other: Verified<NoClaims> = config.verifier().verify(plain.expose()).unwrap();
        assert_eq!(other.session_id(), None);
        let claims = json_of(plain.expose().split('.').nth(1).unwrap());
        assert_eq!((&claims["aud"], &claims["client_id"]), (&json!([AUDIENCE, "second"]), &json!("default")));
    }
}

#[test]
fn not_after_caps_the_life_and_never_stretches_it() {
    let clock = ManualClock::new();
    let config = config(&Signer::hs256(), &clock);
    for (row, not_after, exp) in [
        ("sooner", NOW * 1000 + 60_000, NOW + 60),
        ("sooner, with a fraction", NOW * 1000 + 60_999, NOW + 60),
        ("at the end", NOW * 1000 + 900_000, NOW + 900),
        ("later", NOW * 1000 + 900_001, NOW + 900),
        ("never", i64::MAX, NOW + 900),
    ] {
        let grant = AccessGrant::new(SUBJECT).with_not_after(Timestamp::from_unix_millis(not_after));
        let token = issue(&config, &grant, &NoClaims {}).unwrap();
        assert_eq!(token.expires_at(), Timestamp::from_unix_seconds(exp), "{row}");
    }
}

/// The documentation of `with_not_after`: "The token ends then at the latest".
#[test]
fn an_end_in_the_past_gives_no_token() {
    for signer in Signer::both() {
        let config = config(&signer, &ManualClock::new());
        let until = |seconds| AccessGrant::new(SUBJECT).with_not_after(Timestamp::from_unix_seconds(seconds));
        for end in [NOW - 3600, NOW - 1] {
            let error = issue(&config, &until(end), &NoClaims {}).unwrap_err();
            assert_eq!(error.kind(), TokenErrorKind::UnsuitableClaims, "{end}");
        }
        let token = issue(&config, &until(NOW), &NoClaims {}).unwrap();
        assert_eq!(token.expires_at(), Timestamp::from_unix_seconds(NOW));
    }
}

#[test]
fn a_token_is_as_long_as_the_configuration_allows_and_no_longer() {
    for signer in Signer::both() {
        let clock = ManualClock::new();
        let of = |bytes: usize| {
            let config = builder(signer.key(), &clock).max_token_bytes(bytes).build().unwrap();
            issue(&config, &AccessGrant::new("s".repeat(200)), &NoClaims {})
        };
        let bytes = of(4096).unwrap().expose().len();
        assert_eq!(of(bytes).unwrap().expose().len(), bytes);
        assert_eq!(of(bytes - 1).unwrap_err().kind(), TokenErrorKind::UnsuitableClaims);
        assert_eq!(of(bytes - 40).unwrap_err().kind(), TokenErrorKind::UnsuitableClaims);
    }
}

/// The verifier compares `exp - iat` with the lifetime, both of whole seconds in a token.
#[test]
fn a_lifetime_with_a_fraction_makes_tokens_that_its_own_verifier_accepts() {
    let clock = ManualClock::new();
    let config =
        builder(Signer::hs256().key(), &clock).lifetime(Duration::from_millis(1500)).build().unwrap();
    for millis in 0..1000 {
        clock.set(Timestamp::from_unix_millis(NOW * 1000 + millis));
        let token = issue(&config, &AccessGrant::new(SUBJECT), &NoClaims {}).unwrap();
        let verified = config.verifier::<NoClaims>().verify(token.expose());
        assert!(verified.is_ok(), "issued {millis} ms after the full second: {verified:?}");
    }
}

// ── the application's claims ──

#[test]
fn the_applications_claims_travel_byte_for_byte() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct App {
        big: u64,
        small: i64,
        text: String,
        #[serde(rename = "__proto__")]
        proto: Value,
        nested: Value,
        none: Option<u8>,
    }
    let app = App {
        big: 9_007_199_254_740_993,
        small: -9_007_199_254_740_993,
        text: "é 日本 \u{1f600} \u{202e} \u{0} \" \\ / \u{2028}".into(),
        proto: json!({"admin": true}),
        nested: json!({"a": [1, {"b": [[], {}, null, "exp"]}], "sub": {"iss": 1}}),
        none: None,
    };
    for signer in Signer::both() {
        let config = config(&signer, &ManualClock::new());
        let token = issue(&config, &full_grant(), &app).unwrap();
        let payload = String::from_utf8(from_base64url(token.expose().split('.').nth(1).unwrap())).unwrap();
        let own = serde_json::to_string(&app).unwrap();
        assert!(payload.ends_with(&format!(",{}", &own[1..])), "{payload}");
        assert_eq!(*config.verifier::<App>().verify(token.expose()).unwrap(), app);
    }
}

/// Serializes as the JSON text it holds.
struct Verbatim(&'static str);

impl Serialize for Verbatim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::value::RawValue::from_string(self.0.into()).unwrap().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        unreachable!("only signed")
    }
}

#[test]
fn claims_that_cannot_be_part_of_a_token_are_refused_at_signing() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    for text in
        ["null", "[]", "1", "true", r#""text""#, r#"[{"a":1}]"#, r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#]
    {
        assert_refused(
            issue(&config, &full_grant(), &Verbatim(text)),
            TokenErrorKind::UnsuitableClaims,
            text,
        );
    }
    for name in oracles::REGISTERED {
        let claims = AnyClaims::from([("a".into(), json!(1)), (name.into(), json!("x"))]);
        assert_refused(issue(&config, &full_grant(), &claims), TokenErrorKind::UnsuitableClaims, name);
    }
    let escaped = Verbatim(r#"{"\u0065xp":9999999999}"#);
    assert_refused(issue(&config, &full_grant(), &escaped), TokenErrorKind::UnsuitableClaims, "escaped exp");
    // Other cases and other depths are the application's own.
    for text in ["{}", " { } ", r#"{"EXP":1,"x":{"exp":1}}"#, r#" {"a":1} "#] {
        let token = issue(&config, &full_grant(), &Verbatim(text)).unwrap();
        config.verifier::<NoClaims>().verify(token.expose()).expect(text);
    }
}

#[test]
fn grants_that_cannot_be_part_of_a_token_are_refused_at_signing() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    for (row, grant) in [
        ("no subject", AccessGrant::new("")),
        ("a quote in a scope", AccessGrant::new("a").with_scopes(["a\"b"])),
        ("a backslash in a scope", AccessGrant::new("a").with_scopes(["a\\b"])),
        ("a line break in a scope", AccessGrant::new("a").with_scopes(["a\nb"])),
        ("a tab in a scope", AccessGrant::new("a").with_scopes(["a\tb"])),
        ("a scope that is not ASCII", AccessGrant::new("a").with_scopes(["é"])),
        ("an empty scope behind another", AccessGrant::new("a").with_scopes(["a", ""])),
    ] {
        assert_refused(issue(&config, &grant, &NoClaims {}), TokenErrorKind::UnsuitableClaims, row);
    }
}

/// The claims of a step-up (RFC 9470, section 5): in whole seconds, and never younger than the authentication was.
#[test]
fn the_authentication_is_told_in_the_token() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    for (row, millis, seconds) in [
        ("a full second", NOW * 1000, NOW),
        ("a fraction", NOW * 1000 - 1, NOW - 1),
        ("almost a second more", NOW * 1000 + 999, NOW),
        ("after the token began", NOW * 1000 + 5000, NOW + 5),
        ("the first moment", 0, 0),
        ("the last second", 253_402_300_799_999, 253_402_300_799),
    ] {
        let grant = AccessGrant::new(SUBJECT)
            .with_authenticated_at(Timestamp::from_unix_millis(millis))
            .with_acr("urn:mace:incommon:iap:silver");
        let token = issue(&config, &grant, &NoClaims {}).expect(row);
        let claims = json_of(token.expose().split('.').nth(1).unwrap());
        // `Value` tells a whole number from a fraction.
        assert_eq!(claims["auth_time"], json!(seconds), "{row}");
        assert_eq!(claims["acr"], "urn:mace:incommon:iap:silver", "{row}");
        let verified = config.verifier::<NoClaims>().verify(token.expose()).expect(row);
        let registered = verified.registered();
        assert_eq!(registered.authenticated_at(), Some(Timestamp::from_unix_seconds(seconds)), "{row}");
        assert_eq!(registered.acr(), Some("urn:mace:incommon:iap:silver"), "{row}");
    }
    let token = issue(&config, &full_grant(), &NoClaims {}).unwrap();
    let verified = config.verifier::<NoClaims>().verify(token.expose()).unwrap();
    assert_eq!((verified.registered().authenticated_at(), verified.registered().acr()), (None, None));
}

#[test]
fn a_replaced_token_says_how_often_and_others_say_nothing() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    for (times, claim) in [(0, None), (1, Some(json!(1))), (u32::MAX, Some(json!(u32::MAX)))] {
        let token = issue(&config, &full_grant().with_reissue(times), &NoClaims {}).unwrap();
        let claims = json_of(token.expose().split('.').nth(1).unwrap());
        assert_eq!(claims.get("reissue"), claim.as_ref());
        let verified = config.verifier::<NoClaims>().verify(token.expose()).unwrap();
        assert_eq!(verified.registered().reissue(), times);
        assert_eq!(verified.registered().generation(), Some(7));
    }
}

#[test]
fn an_authentication_that_cannot_be_told_is_refused_at_signing() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    for (row, millis) in
        [("before 1970", -1), ("after 9999", 253_402_300_800_000), ("never", i64::MAX), ("always", i64::MIN)]
    {
        let grant = AccessGrant::new(SUBJECT).with_authenticated_at(Timestamp::from_unix_millis(millis));
        assert_refused(issue(&config, &grant, &NoClaims {}), TokenErrorKind::UnsuitableClaims, row);
    }
    let (longest, too_long) = ("a".repeat(255), "a".repeat(256));
    for (row, acr, is_good) in [
        ("a digit", "0", true),
        ("a URN", "urn:mace:incommon:iap:silver", true),
        ("a URL", "https://refeds.org/profile/mfa", true),
        ("the longest", &longest, true),
        ("all that is allowed", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", true),
        ("too long", &too_long, false),
        ("empty", "", false),
        ("two words", "silver gold", false),
        ("a space behind", "silver ", false),
        ("a quote", "a\"b", false),
        ("a backslash", "a\\b", false),
        ("a line break", "a\r\nb", false),
        ("NUL", "a\0", false),
        ("DEL", "a\x7f", false),
        ("not ASCII", "é", false),
    ] {
        let outcome = issue(&config, &AccessGrant::new(SUBJECT).with_acr(acr), &NoClaims {});
        if is_good {
            let verified = config.verifier::<NoClaims>().verify(outcome.expect(row).expose()).expect(row);
            assert_eq!(verified.registered().acr(), Some(acr), "{row}");
        } else {
            assert_refused(outcome, TokenErrorKind::UnsuitableClaims, row);
        }
    }
}

/// Of issuers elsewhere: any text, and fractions of seconds.
#[test]
fn the_authentication_of_a_token_is_read_as_it_is() {
    let signer = Signer::hs256();
    let verifier = config(&signer, &ManualClock::new()).verifier::<NoClaims>();
    for (row, json, millis) in [
        ("whole", "1700000000", 1_700_000_000_000),
        ("as a fraction", "1700000000.0", 1_700_000_000_000),
        ("with an exponent", "1.7e9", 1_700_000_000_000),
        ("below a millisecond", "1700000000.1239", 1_700_000_000_123),
        ("almost a second", "1700000000.9999", 1_700_000_000_999),
        ("the first moment", "0", 0),
    ] {
        let token = signer.with_claims(claims().with("auth_time", json).json());
        let moment = verifier.verify(&token).expect(row).registered().authenticated_at();
        assert_eq!(moment, Some(Timestamp::from_unix_millis(millis)), "{row}");
    }
    for acr in ["", "phr phrh", "é \u{1f600}", "urn:mace:incommon:iap:silver"] {
        let token = signer.with_claims(claims().with("acr", quoted(acr)).json());
        assert_eq!(verifier.verify(&token).expect(acr).registered().acr(), Some(acr));
    }
    for (row, name, json) in [
        ("a date in words", "auth_time", r#""2023-11-14""#),
        ("a number as text", "auth_time", r#""1700000000""#),
        ("null", "auth_time", "null"),
        ("before 1970", "auth_time", "-1"),
        ("in milliseconds", "auth_time", "1700000000000"),
        ("a list", "acr", r#"["silver"]"#),
        ("a level as number", "acr", "2"),
        ("null", "acr", "null"),
    ] {
        let token = signer.with_claims(claims().with(name, json).json());
        assert_refused(verifier.verify(&token), TokenErrorKind::Claims, row);
    }
}

/// "Each a word": a text of two words must not become two scopes, of which the second was never meant to be granted.
#[test]
fn one_scope_is_never_taken_for_two() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    for scopes in [&["orders:read admin"][..], &["a", "b c"], &[" "], &["a "], &[" a"]] {
        let grant = AccessGrant::new(SUBJECT).with_scopes(scopes);
        let result = issue(&config, &grant, &NoClaims {});
        assert_refused(result, TokenErrorKind::UnsuitableClaims, &format!("{scopes:?}"));
    }
}

#[test]
fn an_empty_scope_is_refused_also_at_the_start() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    for scopes in [&[""][..], &["", ""], &["", "a"]] {
        let grant = AccessGrant::new(SUBJECT).with_scopes(scopes);
        let result = issue(&config, &grant, &NoClaims {});
        assert_refused(result, TokenErrorKind::UnsuitableClaims, &format!("{scopes:?}"));
    }
    assert!(issue(&config, &AccessGrant::new("a").with_scopes([""; 0]), &NoClaims {}).is_ok());
}

#[test]
fn a_token_that_is_signed_is_never_too_long_to_be_verified() {
    let clock = ManualClock::new();
    for signer in Signer::both() {
        let config = builder(signer.key(), &clock).max_token_bytes(1000).build().unwrap();
        let (mut signed, mut refused) = (0, 0);
        for length in 0..700 {
            let claims = AnyClaims::from([("x".into(), json!("y".repeat(length)))]);
            match issue(&config, &AccessGrant::new(SUBJECT), &claims) {
                Ok(token) => {
                    assert!(token.expose().len() <= 1000);
                    config.verifier::<AnyClaims>().verify(token.expose()).unwrap();
                    signed += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), TokenErrorKind::UnsuitableClaims);
                    refused += 1;
                }
            }
        }
        assert!(signed > 100 && refused > 100, "{signed} signed, {refused} refused");

        let too_long = format!("{}.{}", "a".repeat(998), "a".repeat(2));
        assert_refused(
            config.verifier::<NoClaims>().verify(&too_long),
            TokenErrorKind::TooLarge,
            "1001 bytes",
        );
        assert_refused(
            config.verifier::<NoClaims>().verify(&too_long[1..]),
            TokenErrorKind::Malformed,
            "1000",
        );
    }
}

/// What serde makes of an enum without attributes is a JSON object, so it can be signed; then it must be readable.
#[test]
fn an_enum_that_can_be_signed_can_be_read() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Who {
        Person { email: String },
        Machine(String),
    }
    let config = config(&Signer::hs256(), &ManualClock::new());
    for who in [Who::Person { email: "ada@example.com".into() }, Who::Machine("m".into())] {
        match issue(&config, &full_grant(), &who) {
            Ok(token) => assert_eq!(*config.verifier::<Who>().verify(token.expose()).unwrap(), who),
            Err(error) => assert_eq!(error.kind(), TokenErrorKind::UnsuitableClaims),
        }
    }
}

/// Row 49: a repeated claim is refused whatever the application's type makes of the error.
#[test]
fn a_claims_type_that_swallows_errors_does_not_open_the_claims_set() {
    #[derive(Debug)]
    struct Lenient;
    impl<'de> Deserialize<'de> for Lenient {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct LenientVisitor;
            impl<'de> Visitor<'de> for LenientVisitor {
                type Value = Lenient;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("anything")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lenient, A::Error> {
                    while let Ok(Some(_)) = map.next_entry::<String, Value>() {}
                    Ok(Lenient)
                }
            }
            deserializer.deserialize_map(LenientVisitor)
        }
    }
    let signer = Signer::hs256();
    let verifier = config(&signer, &ManualClock::new()).verifier::<Lenient>();
    verifier.verify(&signer.good()).unwrap();
    for (row, claims) in [
        ("exp twice", claims().and("exp", (NOW + 800).to_string())),
        ("sub twice", claims().and("sub", r#""root""#)),
        ("sub twice, more behind", claims().and("sub", r#""root""#).and("x", "1")),
        ("a claim of nobody twice", claims().and("x", "1").and("x", "2")),
        ("nbf of a wrong type", claims().and("nbf", r#""later""#)),
    ] {
        assert_refused(verifier.verify(&signer.with_claims(claims.json())), TokenErrorKind::Claims, row);
    }
}

// ── configurations ──

#[track_caller]
fn assert_config(row: &str, result: Result<TokenConfig, ConfigError>, expected: Option<ConfigErrorKind>) {
    assert_eq!(result.map(|_| ()).map_err(|error| error.kind()).err(), expected, "{row}");
}

#[test]
fn configurations_that_are_not_safe_are_refused() {
    use ConfigErrorKind::{Audience, Issuer, Key, Lifetime, Limit};
    type Change = fn(CompleteBuilder) -> CompleteBuilder;
    let ed25519 = || VerifyingKey::ed25519(&ed25519_public(&[1; 32])).unwrap();
    let seconds = Duration::from_secs;
    assert_config("as it is", builder(Signer::hs256().key(), &ManualClock::new()).build(), None);
    let rows: &[(&str, Change, Option<ConfigErrorKind>)] = &[
        ("15 minutes", |b| b.lifetime(15 * MINUTE), None),
        ("a millisecond more", |b| b.lifetime(15 * MINUTE + MILLISECOND), Some(Lifetime)),
        ("no lifetime", |b| b.lifetime(Duration::ZERO), Some(Lifetime)),
        ("less than a second", |b| b.lifetime(Duration::from_millis(999)), Some(Lifetime)),
        ("insecure: an hour", |b| b.insecure_lifetime(HOUR), None),
        ("insecure: 24 hours", |b| b.insecure_lifetime(24 * HOUR), None),
        ("insecure: more", |b| b.insecure_lifetime(24 * HOUR + MILLISECOND), Some(Lifetime)),
        ("insecure, then an hour again", |b| b.insecure_lifetime(HOUR).lifetime(HOUR), Some(Lifetime)),
        ("leeway of 5 minutes", |b| b.leeway(5 * MINUTE), None),
        ("leeway of a millisecond more", |b| b.leeway(5 * MINUTE + MILLISECOND), Some(Lifetime)),
        ("leeway without end", |b| b.leeway(Duration::MAX), Some(Lifetime)),
        ("issuer http", |b| b.issuer("http://app.example"), Some(Issuer)),
        ("issuer http, loopback", |b| b.issuer("http://localhost:3000"), None),
        ("issuer http, loopback look-alike", |b| b.issuer("http://localhost.evil.example"), Some(Issuer)),
        ("issuer no URL", |b| b.issuer("app.example"), Some(Issuer)),
        ("issuer empty", |b| b.issuer(""), Some(Issuer)),
        ("insecure: issuer http", |b| b.insecure_issuer("http://app.example"), None),
        ("insecure: issuer no URL", |b| b.insecure_issuer("urn:x"), None),
        ("insecure: issuer empty", |b| b.insecure_issuer(""), Some(Issuer)),
        ("insecure, then http again", |b| b.insecure_issuer("x").issuer("http://app.example"), Some(Issuer)),
        ("audience empty", |b| b.audience(""), Some(Audience)),
        ("second audience empty", |b| b.add_audience(""), Some(Audience)),
        ("tokens of 256 bytes", |b| b.max_token_bytes(256), None),
        ("tokens of 255 bytes", |b| b.max_token_bytes(255), Some(Limit)),
        ("tokens of 1 MiB", |b| b.max_token_bytes(1024 * 1024), None),
        ("tokens of more", |b| b.max_token_bytes(1024 * 1024 + 1), Some(Limit)),
        ("kid empty", |b| b.key(Signer::hs256().key().with_kid("")), Some(Key)),
        ("kid of 256 bytes", |b| b.key(Signer::hs256().key().with_kid("k".repeat(256))), None),
        ("kid of 257 bytes", |b| b.key(Signer::hs256().key().with_kid("k".repeat(257))), Some(Key)),
        (
            "the same kid",
            |b| b.add_verifying_key(VerifyingKey::hs256([1; 32]).unwrap().with_kid(KID)),
            Some(Key),
        ),
        ("the same key", |b| b.add_verifying_key(Signer::hs256().key().verifying_key().clone()), Some(Key)),
    ];
    for (row, change, expected) in rows {
        let builder = change(builder(Signer::hs256().key(), &ManualClock::new()).leeway(seconds(30)));
        assert_config(row, builder.build(), *expected);
    }
    let clock = ManualClock::new();
    let hmac = || VerifyingKey::hs256([1; 32]).unwrap();
    let mixed = builder(Signer::hs256().key(), &clock).add_verifying_key(ed25519());
    assert_config("row 35: a public key beside an HMAC key", mixed.build(), Some(Key));
    let mixed = builder(Signer::ed25519().key(), &clock).add_verifying_key(hmac());
    assert_config("row 35: an HMAC key beside a public key", mixed.build(), Some(Key));
}

/// A developer reads the message and not the documentation.
#[test]
fn a_refusal_names_the_call_that_lifts_it() {
    let clock = ManualClock::new();
    let builder = || builder(Signer::hs256().key(), &clock);
    for (error, call) in [
        (builder().lifetime(HOUR).build(), "`insecure_lifetime`"),
        (builder().issuer("http://app.example").build(), "`insecure_issuer`"),
        (builder().key(Signer::hs256().key().with_kid("")).build(), "key id"),
        (builder().add_verifying_key(Signer::hs256().key().verifying_key().clone()).build(), "`with_kid`"),
    ] {
        let text = error.unwrap_err().to_string();
        assert!(text.contains(call), "{text}");
    }
}

#[test]
fn s11_secrets_that_can_be_guessed_are_refused() {
    for secret in ["", "secret", "changeme", "0123456789abcdef0123456789abcde"] {
        assert_eq!(SigningKey::hs256(secret).unwrap_err().kind(), ConfigErrorKind::Key, "{secret:?}");
        assert_eq!(VerifyingKey::hs256(secret).unwrap_err().kind(), ConfigErrorKind::Key, "{secret:?}");
    }
    assert!(SigningKey::hs256("0123456789abcdef0123456789abcdef").is_ok(), "32 bytes");
}

/// Made by `openssl genpkey` for this test only. X25519 keys have the length of Ed25519 keys, and no signatures.
#[test]
fn keys_of_another_kind_are_refused() {
    const X25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIPBAF7qzy5DD0LgYJekIy6yJuTowHt25RqMwhm4IkTxC\n-----END PRIVATE KEY-----\n";
    const X25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAt28lSl9/xVc+SkodotzevHsGq4+/Is5shWgDW1aRZEw=\n-----END PUBLIC KEY-----\n";
    let mut der = pkcs8(&[7; 32]);
    assert!(SigningKey::read(Algorithm::EdDsa, KeyForm::Der(&der)).is_ok());
    // The last byte of the algorithm's identifier: X25519 for Ed25519.
    der[11] = 0x6e;
    for (row, error) in [
        ("private PEM", SigningKey::ed25519_pem(X25519).unwrap_err()),
        ("public PEM", VerifyingKey::ed25519_pem(X25519_PUBLIC).unwrap_err()),
        ("private DER", SigningKey::read(Algorithm::EdDsa, KeyForm::Der(&der)).unwrap_err()),
        ("cut DER", SigningKey::read(Algorithm::EdDsa, KeyForm::Der(&pkcs8(&[7; 32])[..47])).unwrap_err()),
    ] {
        assert_eq!(error.kind(), ConfigErrorKind::Key, "{row}");
    }
}

#[test]
fn a_configuration_without_a_signing_key_verifies_and_does_not_sign() {
    for signer in Signer::both() {
        let config = TokenConfig::builder()
            .add_verifying_key(signer.key().verifying_key().clone())
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .clock(ManualClock::new())
            .build()
            .unwrap();
        assert_eq!(Issuer::new(&config).unwrap_err().kind(), ConfigErrorKind::Key);
        assert!(config.verifier::<NoClaims>().verify(&signer.good()).is_ok());
    }
}

#[test]
fn a_rotated_key_verifies_until_it_is_taken_out() {
    for (old, new) in [
        (Signer::hs256().key(), SigningKey::hs256([2; 32]).unwrap()),
        (Signer::ed25519().key(), SigningKey::ed25519_seed(&[2; 32]).unwrap()),
    ] {
        let clock = ManualClock::new();
        let before = builder(old.clone(), &clock).build().unwrap();
        let during =
            builder(new.clone(), &clock).add_verifying_key(old.verifying_key().clone()).build().unwrap();
        let after = builder(new.clone(), &clock).build().unwrap();
        let by_old = issue(&before, &full_grant(), &NoClaims {}).unwrap();
        let by_new = issue(&during, &full_grant(), &NoClaims {}).unwrap();
        let kid = |token: &AccessToken| json_of(token.expose().split('.').next().unwrap())["kid"].clone();
        assert_eq!((kid(&by_old), kid(&by_new)), (json!(KID), json!(new.kid())));

        let verify = |config: &TokenConfig, token: &AccessToken| {
            config.verifier::<NoClaims>().verify(token.expose()).map(|_| ()).map_err(|error| error.kind())
        };
        let unknown = Err(TokenErrorKind::UnknownKey);
        assert_eq!((verify(&before, &by_old), verify(&before, &by_new)), (Ok(()), unknown));
        assert_eq!((verify(&during, &by_old), verify(&during, &by_new)), (Ok(()), Ok(())));
        assert_eq!((verify(&after, &by_old), verify(&after, &by_new)), (unknown, Ok(())));
    }
}

#[test]
fn a_configuration_says_how_long_its_tokens_live() {
    let clock = ManualClock::new();
    let signer = Signer::ed25519();
    assert_eq!(config(&signer, &clock).lifetime(), Duration::from_secs(900));
    let short = builder(signer.key(), &clock).lifetime(Duration::from_millis(1500)).build().unwrap();
    assert_eq!(short.lifetime(), Duration::from_millis(1500));
}

#[test]
fn no_debug_output_holds_a_secret_or_a_token() {
    let clock = ManualClock::new();
    let signer = Signer::Hs256(b"a-secret-of-more-than-32-bytes-000".to_vec());
    let config = config(&signer, &clock);
    let issuer = Issuer::new(&config).unwrap();
    let claims = AnyClaims::from([("private".into(), json!("of the application"))]);
    let token = issuer.issue(&full_grant(), &claims).unwrap();
    let verified = config.verifier::<AnyClaims>().verify(token.expose()).unwrap();
    let errors: Vec<_> = [token.expose().replace('.', "!"), format!("{}x", token.expose())]
        .map(|text| config.verifier::<NoClaims>().verify(&text).unwrap_err())
        .into();
    let all = format!(
        "{signer_key:?} {verifying:?} {builder:?} {config:?} {issuer:?} {token:?} {verified:?} {any:?} {errors:?} {verifier:?}",
        signer_key = signer.key(),
        verifying = signer.key().verifying_key(),
        builder = builder(signer.key(), &clock),
        any = verified.clone().erase(),
        verifier = config.verifier::<NoClaims>(),
    );
    let verifier = format!("{:?}", config.verifier::<NoClaims>());
    assert!(verifier.contains(r#"audiences: ["api"]"#), "{verifier}");
    let claims = r#"{"iss":5}"#;
    let error = config.verifier::<NoClaims>().verify(&signer.with_claims(claims)).unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "the error of JSON: {error:?}");
    for shown in [
        "SigningKey {",
        "VerifyingKey {",
        "TokenConfigBuilder { issuer: ",
        "TokenConfig { issuer: ",
        "Issuer",
        "keys: KeySetHandle(",
        "lifetime: 900s",
        "AccessToken",
        " Verified(Registered { issuer: ",
        "AnyVerified(Registered { issuer: ",
        "TokenError { kind: Malformed, detail: ",
        "TokenError { kind: Signature, detail: ",
        "Verifier { issuer: ",
    ] {
        assert!(all.contains(shown), "{shown} in {all}");
    }
    // The secret as text, as base64url and as a list of numbers; each segment of the token; the claims.
    let mut hidden =
        vec!["a-secret".to_owned(), base64url(b"a-secret"), "97, 45, 115".into(), "private".into()];
    hidden.extend(token.expose().split('.').map(|segment| segment[..12].to_owned()));
    for text in hidden {
        assert!(!all.contains(&text), "{text} in {all}");
    }
}

// ── time ──

fn verdict<C: ReadClaims>(verifier: &Verifier<C>, token: &str) -> Result<(), TokenErrorKind> {
    verifier.verify(token).map(|_| ()).map_err(|error| error.kind())
}

#[test]
fn a_token_expires_to_the_millisecond() {
    for signer in Signer::both() {
        let clock = ManualClock::new();
        let config = config(&signer, &clock);
        let token = issue(&config, &full_grant(), &NoClaims {}).unwrap();
        let verifier = config.verifier::<NoClaims>();
        let end = token.expires_at().saturating_add(Duration::from_secs(LEEWAY.unsigned_abs()));
        for (row, now, expected) in [
            ("now", clock.now(), Ok(())),
            ("at exp", token.expires_at(), Ok(())),
            ("a millisecond before exp + leeway", end.saturating_sub(MILLISECOND), Ok(())),
            ("at exp + leeway", end, Err(TokenErrorKind::Expired)),
            ("a millisecond later", end.saturating_add(MILLISECOND), Err(TokenErrorKind::Expired)),
        ] {
            clock.set(now);
            assert_eq!(verdict(&verifier, token.expose()), expected, "{row}");
        }
    }
}

#[test]
fn a_token_begins_to_the_millisecond() {
    let signer = Signer::hs256();
    let clock = ManualClock::new();
    let verifier = config(&signer, &clock).verifier::<NoClaims>();
    for name in ["nbf", "iat"] {
        let token = signer.with_claims(claims().with(name, (NOW + 100).to_string()).json());
        let start = Timestamp::from_unix_seconds(NOW + 100 - LEEWAY);
        clock.set(start.saturating_sub(MILLISECOND));
        assert_eq!(verdict(&verifier, &token), Err(TokenErrorKind::NotYetValid), "{name}");
        clock.set(start);
        assert_eq!(verdict(&verifier, &token), Ok(()), "{name}");
    }
}

#[test]
fn dates_with_a_fraction_are_never_rounded_in_the_tokens_favour() {
    let signer = Signer::hs256();
    let clock = ManualClock::new();
    let verifier =
        builder(signer.key(), &clock).leeway(Duration::ZERO).build().unwrap().verifier::<NoClaims>();
    let exp = signer.with_claims(claims().with("exp", format!("{}.2509", NOW + 5)).json());
    clock.set(Timestamp::from_unix_millis(NOW * 1000 + 5249));
    assert_eq!(verdict(&verifier, &exp), Ok(()));
    clock.set(Timestamp::from_unix_millis(NOW * 1000 + 5250));
    assert_eq!(verdict(&verifier, &exp), Err(TokenErrorKind::Expired));
    for name in ["nbf", "iat"] {
        let token = signer.with_claims(claims().with(name, format!("{}.2501", NOW + 5)).json());
        clock.set(Timestamp::from_unix_millis(NOW * 1000 + 5250));
        assert_eq!(verdict(&verifier, &token), Err(TokenErrorKind::NotYetValid), "{name}");
        clock.set(Timestamp::from_unix_millis(NOW * 1000 + 5251));
        assert_eq!(verdict(&verifier, &token), Ok(()), "{name}");
    }
}

#[test]
fn c17_a_clock_that_steps_back_an_hour_refuses_for_an_hour() {
    for signer in Signer::both() {
        let clock = ManualClock::new();
        let config = config(&signer, &clock);
        let verifier = config.verifier::<NoClaims>();
        let before = issue(&config, &full_grant(), &NoClaims {}).unwrap();
        clock.step_back(HOUR);
        assert_eq!(verdict(&verifier, before.expose()), Err(TokenErrorKind::NotYetValid));
        let after = issue(&config, &full_grant(), &NoClaims {}).unwrap();
        assert_eq!(verdict(&verifier, after.expose()), Ok(()));
        clock.advance(HOUR);
        assert_eq!(verdict(&verifier, before.expose()), Ok(()));
        assert_eq!(verdict(&verifier, after.expose()), Err(TokenErrorKind::Expired));

        for millis in [i64::MIN, -1, 0, i64::MAX] {
            clock.set(Timestamp::from_unix_millis(millis));
            // Whatever it says: no panic, and nothing of another time is good.
            let _ = issue(&config, &full_grant(), &NoClaims {});
            assert!(verdict(&verifier, before.expose()).is_err(), "{millis}");
        }
    }
}

// ── examples of the RFCs ──

/// RFC 7515, appendix A.1. The signature is reproduced by hand with the key of the appendix, and the crate verifies a
/// token of that key; the example itself is refused for its type, and its claims for what they lack.
#[test]
fn rfc_7515_appendix_a_1() {
    const KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const MESSAGE: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let signer = Signer::Hs256(from_base64url(KEY));
    assert_eq!(base64url(signer.signature(MESSAGE.as_bytes())), SIGNATURE);

    let clock = ManualClock::at(Timestamp::from_unix_seconds(1_300_819_379));
    let verifier =
        builder(signer.key(), &clock).insecure_issuer("joe").build().unwrap().verifier::<NoClaims>();
    let example = format!("{MESSAGE}.{SIGNATURE}");
    assert_refused(verifier.verify(&example), TokenErrorKind::Type, "typ JWT");
    let payload = from_base64url(MESSAGE.split_once('.').unwrap().1);
    assert_refused(verifier.verify(&signer.with_claims(payload)), TokenErrorKind::Claims, "no aud, sub, iat");

    let now = 1_300_819_379;
    let good =
        claims().with("iss", r#""joe""#).with("iat", now.to_string()).with("exp", (now + 1).to_string());
    assert!(verifier.verify(&signer.with_claims(good.json())).is_ok());
}

/// RFC 8037, appendix A: the thumbprint of A.3 is the key id, the signature of A.4 is reproduced by hand with the key
/// of A.1, and the crate signs alike with it. The example has no type, and its payload is a text.
#[test]
fn rfc_8037_appendix_a() {
    const MESSAGE: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const SIGNATURE: &str =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let seed: [u8; 32] = from_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").try_into().unwrap();
    let public: [u8; 32] = from_base64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").try_into().unwrap();
    let key = SigningKey::ed25519_seed(&seed).unwrap();
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(VerifyingKey::ed25519(&public).unwrap().kid(), key.kid());
    assert_eq!((key.algorithm(), key.algorithm().as_str()), (Algorithm::EdDsa, "EdDSA"));

    let signer = Signer::Ed25519(seed);
    assert_eq!(base64url(signer.signature(MESSAGE.as_bytes())), SIGNATURE);
    let config = builder(key, &ManualClock::new()).build().unwrap();
    let verifier = config.verifier::<NoClaims>();
    assert_refused(verifier.verify(&format!("{MESSAGE}.{SIGNATURE}")), TokenErrorKind::Type, "no typ");
    let header = signer.header().without("kid").json();
    let text = signer.compact(&header, "Example of Ed25519 signing");
    assert_refused(verifier.verify(&text), TokenErrorKind::Claims, "a text");

    let token = issue(&config, &full_grant(), &NoClaims {}).unwrap();
    let (message, signature) = token.expose().rsplit_once('.').unwrap();
    assert_eq!(base64url(signer.signature(message.as_bytes())), signature);
}

// ── any input ──

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A change of a token, each of which leaves the possibility that nothing changes.
fn mutate(token: &str, how: u8, at: prop::sample::Index, with: char) -> String {
    let mut chars: Vec<char> = token.chars().collect();
    let index = at.index(chars.len());
    match how % 7 {
        0 => chars[index] = with,
        1 => chars.insert(index, with),
        2 => _ = chars.remove(index),
        3 => chars.truncate(index),
        4 => chars.rotate_left(index),
        5 => chars.push(with),
        // A letter in its other case.
        _ => {
            let other = if chars[index].is_ascii_lowercase() {
                chars[index].to_ascii_uppercase()
            } else {
                chars[index].to_ascii_lowercase()
            };
            chars[index] = other;
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn no_random_text_verifies(text in any::<String>(), segments in "[A-Za-z0-9_-]{0,90}(\\.[A-Za-z0-9_-]{0,90}){0,5}") {
        for signer in Signer::both() {
            let verifier = config(&signer, &ManualClock::new()).verifier::<NoClaims>();
            prop_assert!(verifier.verify(&text).is_err());
            prop_assert!(verifier.verify(&segments).is_err());
        }
    }

    #[test]
    fn no_mutation_of_a_token_verifies(
        how in any::<u8>(),
        at in any::<prop::sample::Index>(),
        with in prop_oneof![any::<char>(), "[A-Za-z0-9_.=+/-]".prop_map(|text| text.chars().next().unwrap())],
    ) {
        for signer in Signer::both() {
            let verifier = config(&signer, &ManualClock::new()).verifier::<NoClaims>();
            let good = signer.good();
            let mutated = mutate(&good, how, at, with);
            match verifier.verify(&mutated) {
                Ok(_) => prop_assert_eq!(mutated, good),
                Err(error) => {
                    prop_assert_ne!(&mutated, &good);
                    let text = format!("{error} {error:?}");
                    let payload = good.split('.').nth(1).unwrap();
                    prop_assert!(!text.contains(&payload[..16]), "{}", text);
                }
            }
        }
    }

    /// A holder of the key may sign anything: it is refused or read, and nothing panics.
    #[test]
    fn nothing_that_is_signed_causes_a_panic(
        header in vec(any::<u8>(), 0..60),
        payload in vec(any::<u8>(), 0..60),
        name in prop_oneof!["[a-z_]{1,9}", Just("exp".to_owned()), Just("aud".to_owned()), Just("gen".to_owned()), Just("reissue".to_owned())],
        value in any_json(),
    ) {
        for signer in Signer::both() {
            let verifier = config(&signer, &ManualClock::new()).verifier::<AnyClaims>();
            prop_assert!(verifier.verify(&signer.compact(&header, &payload)).is_err());
            prop_assert!(verifier.verify(&signer.with_header(&header)).is_err());
            prop_assert!(verifier.verify(&signer.with_claims(&payload)).is_err());
            let with = |object: Object| object.with(&name, value.to_string()).json();
            let _ = verifier.verify(&signer.with_header(with(signer.header())));
            if let Ok(verified) = verifier.verify(&signer.with_claims(with(claims()))) {
                prop_assert!(!verified.subject().is_empty());
                prop_assert_eq!(verified.registered().issuer(), ISSUER);
                prop_assert!(verified.expires_at() > Timestamp::from_unix_seconds(NOW - LEEWAY));
            }
        }
    }

    #[test]
    fn any_grant_makes_the_round_trip(
        subject in "\\PC{1,40}|[\\x00-\\x7f]{1,40}",
        scopes in vec("[!#-\\[\\]-~]{1,12}", 0..5),
        client_id in proptest::option::of(any::<String>()),
        session in proptest::option::of((any::<String>(), any::<u32>())),
        reissue in prop_oneof![Just(0), any::<u32>()],
        authenticated_at in proptest::option::of(0_i64..253_402_300_800_000),
        acr in proptest::option::of("[!#-\\[\\]-~]{1,255}"),
        mut own in btree_map(any::<String>(), any_json(), 0..4),
    ) {
        let registered = [
            "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "sid", "gen", "reissue", "auth_time", "acr",
            "cnf",
        ];
        own.retain(|name, _| !registered.contains(&name.as_str()));
        let mut grant = AccessGrant::new(&subject).with_scopes(&scopes).with_reissue(reissue);
        if let Some(client_id) = &client_id {
            grant = grant.with_client_id(client_id);
        }
        if let Some((id, generation)) = &session {
            grant = grant.with_session(id, *generation);
        }
        if let Some(millis) = authenticated_at {
            grant = grant.with_authenticated_at(Timestamp::from_unix_millis(millis));
        }
        if let Some(acr) = &acr {
            grant = grant.with_acr(acr);
        }
        for signer in Signer::both() {
            let config = builder(signer.key(), &ManualClock::new()).max_token_bytes(256 * 1024).build().unwrap();
            let token = issue(&config, &grant, &own).unwrap();
            let verified = config.verifier::<AnyClaims>().verify(token.expose()).unwrap();
            let registered = verified.registered();
            prop_assert_eq!(registered.subject(), &*subject);
            prop_assert_eq!(registered.scopes().collect::<Vec<_>>(), scopes.iter().map(|scope| &**scope).collect::<Vec<_>>());
            prop_assert_eq!(registered.client_id(), client_id.as_deref());
            prop_assert_eq!(registered.session_id(), session.as_ref().map(|(id, _)| &**id));
            prop_assert_eq!(registered.generation(), session.as_ref().map(|(_, generation)| *generation));
            prop_assert_eq!(registered.reissue(), reissue);
            let whole_seconds = authenticated_at.map(|millis| Timestamp::from_unix_millis(millis - millis % 1000));
            prop_assert_eq!(registered.authenticated_at(), whole_seconds);
            prop_assert_eq!(registered.acr(), acr.as_deref());
            prop_assert_eq!(verified.claims(), &own);
        }
    }
}

/// What is not text for the header is never a reason to fail: a key id may be any text.
#[test]
fn a_key_id_of_any_text_is_found_again() {
    for kid in ["a\"b", "é", "../../x", "a\u{0}b", "\u{1f600}", " "] {
        let config = builder(Signer::ed25519().key().with_kid(kid), &ManualClock::new()).build().unwrap();
        let token = issue(&config, &full_grant(), &NoClaims {}).unwrap();
        assert!(config.verifier::<NoClaims>().verify(token.expose()).is_ok(), "{kid:?}");
        assert_eq!(quoted(kid), json_of(token.expose().split('.').next().unwrap())["kid"].to_string());
    }
}
