//! The checkable requirements of sections C and D, row by row: the JOSE header, the claims. Each test is named after its
//! row. Sections A and B are in `bearer_requirements.rs`, more inputs of each kind in `bearer_bad_input.rs`.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::tokens::{
    AUDIENCE, CompleteBuilder, ISSUER, KID, NOW, Object, Signer, base64url, builder, claims, config, quoted,
};
use support::{ManualClock, SECOND};
use tower_jwt_auth::{
    AccessGrant, Algorithm, ConfigErrorKind, Issuer, KeyForm, NoClaims, SigningKey, TokenConfig,
    TokenErrorKind, Verifier, VerifyingKey,
};

fn signer() -> Signer {
    Signer::ed25519()
}

/// The verdict over a token with this header and the good claims, or the good header and these claims.
fn with_header(header: &Object) -> Result<(), TokenErrorKind> {
    verdict(&signer().with_header(header.json()), |builder| builder)
}

fn with_claims(claims: &Object) -> Result<(), TokenErrorKind> {
    verdict(&signer().with_claims(claims.json()), |builder| builder)
}

fn verdict(
    token: &str,
    change: impl FnOnce(CompleteBuilder) -> CompleteBuilder,
) -> Result<(), TokenErrorKind> {
    let config = change(builder(signer().key(), &ManualClock::new())).build().unwrap();
    verify(&config.verifier(), token)
}

fn verify(verifier: &Verifier<NoClaims>, token: &str) -> Result<(), TokenErrorKind> {
    verifier.verify(token).map(|_| ()).map_err(|error| error.kind())
}

// ── C. the JOSE header and the compact form ──

#[test]
fn rows_27_to_29_the_compact_form() {
    let good = signer().good();
    let verdict = |token: &str| verdict(token, |builder| builder);
    assert_eq!(verdict(&good), Ok(()));
    let last = good.chars().last().unwrap();
    let next = char::from(u8::try_from(u32::from(last)).unwrap() + 1);
    for (name, token) in [
        ("row 27 two segments", good.rsplit_once('.').unwrap().0.to_owned()),
        ("row 27 four segments", format!("{good}.")),
        ("row 27 padding", format!("{good}==")),
        ("row 27 white space", format!("{good} ")),
        ("row 28 JSON", format!(r#"{{"payload":"{good}"}}"#)),
        ("row 29 spare bits", format!("{}{next}", &good[..good.len() - 1])),
    ] {
        assert_eq!(verdict(&token), Err(TokenErrorKind::Malformed), "{name}");
    }
}

#[test]
fn row_30_both_parts_are_utf_8_json() {
    let signer = signer();
    let bom = |json: String| [b"\xef\xbb\xbf", json.as_bytes()].concat();
    let utf_16 = |json: String| json.bytes().flat_map(|byte| [byte, 0]).collect::<Vec<_>>();
    for (name, token) in [
        ("BOM before the header", signer.compact(bom(signer.header().json()), claims().json())),
        ("BOM before the claims", signer.with_claims(bom(claims().json()))),
        ("UTF-16 header", signer.compact(utf_16(signer.header().json()), claims().json())),
        ("UTF-16 claims", signer.with_claims(utf_16(claims().json()))),
        ("invalid bytes", signer.with_claims(b"{\"sub\":\"\xff\"}")),
    ] {
        assert!(verdict(&token, |builder| builder).is_err(), "{name}");
    }
}

#[test]
fn row_31_duplicates_in_the_header() {
    for header in
        [signer().header().and("alg", quoted("EdDSA")), signer().header().and("x", "1").and("x", "1")]
    {
        assert_eq!(with_header(&header), Err(TokenErrorKind::Header));
    }
}

#[test]
fn rows_32_and_33_alg() {
    for (alg, kind) in [
        ("\"none\"", TokenErrorKind::Algorithm),
        ("\"nOnE\"", TokenErrorKind::Algorithm),
        ("\"eddsa\"", TokenErrorKind::Algorithm),
        ("\"EdDSA \"", TokenErrorKind::Algorithm),
        ("\"XS256\"", TokenErrorKind::Algorithm),
        ("null", TokenErrorKind::Header),
        ("[\"EdDSA\"]", TokenErrorKind::Header),
    ] {
        assert_eq!(with_header(&signer().header().with("alg", alg)), Err(kind), "{alg}");
    }
    assert_eq!(with_header(&signer().header().without("alg")), Err(TokenErrorKind::Header));
    // Row 33: without a signature, too.
    let unsigned = signer().header().with("alg", quoted("none")).json();
    let token = format!("{}.{}.", base64url(unsigned), base64url(claims().json()));
    assert_eq!(verdict(&token, |builder| builder), Err(TokenErrorKind::Algorithm));
}

#[test]
fn row_34_the_algorithm_is_the_keys() {
    for algorithm in Algorithm::ALL.iter().copied().filter(|algorithm| *algorithm != Algorithm::EdDsa) {
        let header = signer().header().with("alg", quoted(algorithm.as_str()));
        assert_eq!(with_header(&header), Err(TokenErrorKind::Algorithm), "{}", algorithm.as_str());
    }
}

#[test]
fn row_35_hmac_and_public_keys_never_mix() {
    let mixed =
        builder(signer().key(), &ManualClock::new()).add_verifying_key(VerifyingKey::hs256([1; 32]).unwrap());
    assert_eq!(mixed.build().unwrap_err().kind(), ConfigErrorKind::Key);
}

#[test]
fn rows_36_and_37_critical_extensions() {
    let header = || signer().header();
    for header in [
        header().with("crit", "[]"),
        header().with("crit", r#"["exp"]"#).with("exp", "1"),
        header().with("crit", "null"),
        header().with("b64", "false"),
        header().with("b64", "true"),
    ] {
        assert_eq!(with_header(&header), Err(TokenErrorKind::Header), "{}", header.json());
    }
}

#[test]
fn row_38_keys_in_the_header_are_never_used() {
    let thief = Signer::Ed25519([0x77; 32]);
    let x = base64url(support::tokens::ed25519_public(&[0x77; 32]));
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    for (name, value) in [("jwk", jwk.as_str()), ("jku", r#""https://evil.example""#), ("x5c", r#"["AA=="]"#)]
    {
        let token = thief.with_header(thief.header().with(name, value).json());
        assert_eq!(verdict(&token, |builder| builder), Err(TokenErrorKind::Signature), "{name}");
        assert_eq!(with_header(&signer().header().with(name, value)), Ok(()), "{name} is ignored");
    }
}

#[test]
fn row_39_kid_is_a_name_in_a_map() {
    for kid in ["../../../dev/null", "k1' OR '1'='1", "", "K1", &"k".repeat(4096)] {
        let header = signer().header().with("kid", quoted(kid));
        assert_eq!(with_header(&header), Err(TokenErrorKind::UnknownKey), "{kid}");
    }
    let long = builder(signer().key().with_kid("k".repeat(257)), &ManualClock::new());
    assert_eq!(long.build().unwrap_err().kind(), ConfigErrorKind::Key);
}

#[test]
fn rows_40_and_41_typ() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert_eq!(with_header(&signer().header().with("typ", quoted(typ))), Ok(()), "{typ}");
    }
    let jwt = signer().with_header(signer().header().with("typ", quoted("JWT")).json());
    let none = signer().with_header(signer().header().without("typ").json());
    for token in [&jwt, &none] {
        assert_eq!(verdict(token, |builder| builder), Err(TokenErrorKind::Type));
    }
    assert_eq!(verdict(&jwt, |builder| builder.accept_type("JWT")), Ok(()));
    assert_eq!(verdict(&jwt, |builder| builder.accept_type("application/jwt")), Ok(()));
    assert_eq!(verdict(&none, |builder| builder.accept_type("JWT")), Err(TokenErrorKind::Type));
    assert_eq!(verdict(&none, CompleteBuilder::accept_missing_type), Ok(()));
    assert_eq!(verdict(&jwt, CompleteBuilder::accept_missing_type), Err(TokenErrorKind::Type));
    // Only `application/` is left out.
    assert_eq!(verdict(&jwt, |builder| builder.accept_type("text/jwt")), Err(TokenErrorKind::Type));
    // The own type stays accepted.
    assert_eq!(verdict(&signer().good(), |builder| builder.accept_type("JWT")), Ok(()));
}

#[test]
fn row_42_encrypted_and_nested_tokens() {
    for (name, value) in [("enc", quoted("A128GCM")), ("zip", quoted("DEF")), ("cty", quoted("JWT"))] {
        assert_eq!(with_header(&signer().header().with(name, value)), Err(TokenErrorKind::Header), "{name}");
    }
    let five = format!("{}.a.b", signer().good());
    assert_eq!(verdict(&five, |builder| builder), Err(TokenErrorKind::Malformed));
}

#[test]
fn row_43_weak_hmac_keys() {
    for (algorithm, bytes) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        let read = |secret: &[u8]| SigningKey::read(algorithm, KeyForm::Secret(secret)).map(|_| ());
        let random: Vec<u8> = (1..=bytes).collect();
        assert!(read(&random).is_ok());
        for weak in [&random[1..], b"", b"secret", "password".repeat(8).as_bytes()] {
            assert_eq!(read(weak).unwrap_err().kind(), ConfigErrorKind::Key, "{weak:?}");
        }
    }
}

// Row 44 (RSA sizes) and the forms of keys are in `keys.rs`, rows 45 and 46 in `signatures.rs` and below.

#[test]
fn row_45_every_wrong_mac_is_refused() {
    // Comparison in constant time is the backend's; that it compares all of it is seen here.
    let signer = Signer::hs256();
    let config = config(&signer, &ManualClock::new());
    let (signed, signature) = {
        let good = signer.good();
        let (a, b) = good.rsplit_once('.').unwrap();
        (a.to_owned(), support::tokens::from_base64url(b))
    };
    for bit in 0..signature.len() * 8 {
        let mut wrong = signature.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let token = format!("{signed}.{}", base64url(&wrong));
        assert_eq!(verify(&config.verifier(), &token), Err(TokenErrorKind::Signature), "bit {bit}");
    }
}

// ── D. claims ──

#[test]
fn rows_48_and_49_one_object_without_duplicates() {
    for payload in ["[]", "\"x\"", "null", "{}{}", "{} x", ""] {
        let token = signer().with_claims(payload);
        assert_eq!(verdict(&token, |builder| builder), Err(TokenErrorKind::Claims), "{payload}");
    }
    for twice in [
        claims().and("exp", "1"),
        claims().and("\\u0073ub", quoted("x")),
        claims().and("a", "1").and("a", "2"),
    ] {
        assert_eq!(with_claims(&twice), Err(TokenErrorKind::Claims), "{}", twice.json());
    }
}

#[test]
fn rows_50_to_54_times() {
    let with = |name: &str, value: String| with_claims(&claims().with(name, value));
    let exp = |exp: i64| claims().with("iat", (exp - 600).to_string()).with("exp", exp.to_string());
    assert_eq!(with_claims(&exp(NOW - 29)), Ok(()), "row 50 within the leeway");
    assert_eq!(with_claims(&exp(NOW - 30)), Err(TokenErrorKind::Expired), "row 50 at its end");
    assert_eq!(with("nbf", (NOW + 30).to_string()), Ok(()), "row 51 within the leeway");
    assert_eq!(with("nbf", (NOW + 31).to_string()), Err(TokenErrorKind::NotYetValid), "row 51");
    let leeway = builder(signer().key(), &ManualClock::new()).leeway(Duration::from_secs(301));
    assert_eq!(leeway.build().unwrap_err().kind(), ConfigErrorKind::Lifetime, "row 52");
    assert_eq!(with("exp", format!("{NOW}.5")), Ok(()), "row 53 a fraction is a number");
    assert_eq!(
        with("nbf", format!("{}.5", NOW + 30)),
        Err(TokenErrorKind::NotYetValid),
        "row 53 never rounded down"
    );
    for bad in ["\"1\"", "null", "true", "[1]", "{}", "-1", "1e400", "1700000000000", "NaN"] {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(with(name, bad.to_owned()), Err(TokenErrorKind::Claims), "row 54 {name} {bad}");
        }
    }
    assert_eq!(with_claims(&claims().without("exp")), Err(TokenErrorKind::Claims), "row 50 missing");
}

#[test]
fn row_55_iat_and_the_longest_life() {
    let with = |iat: i64, exp: i64| claims().with("iat", iat.to_string()).with("exp", exp.to_string());
    assert_eq!(with_claims(&with(NOW + 31, NOW + 600)), Err(TokenErrorKind::NotYetValid));
    assert_eq!(with_claims(&with(NOW, NOW + 901)), Err(TokenErrorKind::Lifetime));
    // Both within the leeway.
    assert_eq!(with_claims(&with(NOW + 1, NOW)), Err(TokenErrorKind::Claims));
    assert_eq!(with_claims(&with(NOW + 10, NOW - 10)), Err(TokenErrorKind::Claims));
    assert_eq!(with_claims(&with(NOW, NOW)), Ok(()));
    let hour = signer().with_claims(with(NOW, NOW + 3600).json());
    let accept =
        |seconds: u64| move |builder: CompleteBuilder| builder.accept_lifetime(Duration::from_secs(seconds));
    assert_eq!(verdict(&hour, accept(3600)), Ok(()));
    assert_eq!(verdict(&hour, accept(3599)), Err(TokenErrorKind::Lifetime));
    for (seconds, is_allowed) in [(899, false), (900, true), (86_400, true), (86_401, false)] {
        let builder = accept(seconds)(builder(signer().key(), &ManualClock::new()));
        assert_eq!(builder.build().is_ok(), is_allowed, "{seconds}");
    }
    for bad in [1, 86_401] {
        let builder = accept(bad)(builder(signer().key(), &ManualClock::new()));
        assert_eq!(builder.build().unwrap_err().kind(), ConfigErrorKind::Lifetime, "{bad}");
    }
}

#[test]
fn row_56_iss_is_compared_byte_for_byte() {
    for iss in ["https://i.example/", "https://I.example", "http://i.example", "https://j.example", ""] {
        assert_eq!(with_claims(&claims().with("iss", quoted(iss))), Err(TokenErrorKind::Issuer), "{iss}");
    }
    let array = format!("[{}]", quoted(ISSUER));
    assert_eq!(with_claims(&claims().with("iss", array)), Err(TokenErrorKind::Claims));
    assert_eq!(with_claims(&claims().without("iss")), Err(TokenErrorKind::Claims));
}

#[test]
fn row_58_aud() {
    for (aud, expected) in [
        (quoted(AUDIENCE), Ok(())),
        (format!(r#"["evil",{}]"#, quoted(AUDIENCE)), Ok(())),
        (r#""api2""#.to_owned(), Err(TokenErrorKind::Audience)),
        (r#""evil api""#.to_owned(), Err(TokenErrorKind::Audience)),
        (r#""API""#.to_owned(), Err(TokenErrorKind::Audience)),
        ("[]".to_owned(), Err(TokenErrorKind::Audience)),
        (r#"["api",7]"#.to_owned(), Err(TokenErrorKind::Claims)),
        ("7".to_owned(), Err(TokenErrorKind::Claims)),
    ] {
        assert_eq!(with_claims(&claims().with("aud", aud.clone())), expected, "{aud}");
    }
    // C8: the switch for a single audience.
    let two = signer().with_claims(claims().with("aud", r#"["evil","api"]"#).json());
    assert_eq!(verdict(&two, CompleteBuilder::single_audience), Err(TokenErrorKind::Audience));
    let one = signer().with_claims(claims().with("aud", r#"["api"]"#).json());
    assert_eq!(verdict(&one, CompleteBuilder::single_audience), Ok(()));
}

#[test]
fn row_59_the_strict_profile() {
    let full = claims().with("client_id", quoted("web"));
    for (name, claims, expected) in [
        ("all", full.clone(), Ok(())),
        ("no client_id", claims(), Err(TokenErrorKind::Claims)),
        ("no jti", full.without("jti"), Err(TokenErrorKind::Claims)),
    ] {
        let token = signer().with_claims(claims.json());
        assert_eq!(verdict(&token, CompleteBuilder::rfc9068_strict), expected, "{name}");
        assert_eq!(verdict(&token, |builder| builder), Ok(()), "{name}, outside of it");
    }
    // Our own tokens pass it once a client id is configured.
    let config =
        builder(signer().key(), &ManualClock::new()).client_id("web").rfc9068_strict().build().unwrap();
    let own = Issuer::new(&config).unwrap().issue(&AccessGrant::new("user-1"), &NoClaims {}).unwrap();
    assert_eq!(verify(&config.verifier(), own.expose()), Ok(()));
}

#[test]
fn row_60_sub() {
    for sub in [quoted(""), "7".to_owned(), "null".to_owned()] {
        assert_eq!(with_claims(&claims().with("sub", sub)), Err(TokenErrorKind::Claims));
    }
    assert_eq!(with_claims(&claims().without("sub")), Err(TokenErrorKind::Claims));
    let config = config(&signer(), &ManualClock::new());
    let user = config.verifier::<NoClaims>().verify(&signer().good()).unwrap();
    assert_eq!(
        (user.registered().issuer(), user.subject()),
        (ISSUER, "user-1"),
        "the pair is what identifies"
    );
}

#[test]
fn row_61_scope() {
    let config = config(&signer(), &ManualClock::new());
    let token = signer().with_claims(claims().with("scope", quoted("read Write")).json());
    let user = config.verifier::<NoClaims>().verify(&token).unwrap();
    assert_eq!(user.registered().scopes().collect::<Vec<_>>(), ["read", "Write"]);
    assert!(user.has_scope("Write") && !user.has_scope("write") && !user.has_scope("read Write"));
    assert_eq!(with_claims(&claims().with("scope", r#"["read"]"#)), Err(TokenErrorKind::Claims));
}

#[test]
fn row_62_unknown_claims_are_ignored() {
    assert_eq!(with_claims(&claims().with("https://x.example/y", r#"{"deep":[1,{"er":null}]}"#)), Ok(()));
}

#[test]
fn row_63_other_kinds_of_jwt_of_the_same_issuer() {
    for (name, typ, claims) in [
        ("ID token", "JWT", claims().with("nonce", quoted("n"))),
        ("logout token", "logout+jwt", claims().with("events", "{}")),
        ("refresh token as JWT", "rt+jwt", claims()),
        ("DPoP proof", "dpop+jwt", claims().with("htm", quoted("GET"))),
    ] {
        let token = signer().compact(signer().header().with("typ", quoted(typ)).json(), claims.json());
        assert_eq!(verdict(&token, |builder| builder), Err(TokenErrorKind::Type), "{name}");
    }
}

#[test]
fn row_64_bound_tokens_are_refused_as_bearer() {
    for cnf in [r#"{"jkt":"x"}"#, r#"{"x5t#S256":"x"}"#, "null", "{}"] {
        assert_eq!(with_claims(&claims().with("cnf", cnf)), Err(TokenErrorKind::Bound), "{cnf}");
    }
}

// ── what the application sets ──

#[test]
fn row_09_over_the_limit() {
    let token = signer().good();
    let bytes = token.len();
    assert_eq!(verdict(&token, |builder| builder.max_token_bytes(bytes)), Ok(()));
    assert_eq!(verdict(&token, |builder| builder.max_token_bytes(bytes - 1)), Err(TokenErrorKind::TooLarge));
}

#[test]
fn claims_that_the_application_requires() {
    let token = |claims: Object| signer().with_claims(claims.json());
    let require = |name: &'static str| move |builder: CompleteBuilder| builder.require_claim(name);
    assert_eq!(verdict(&token(claims()), require("email")), Err(TokenErrorKind::Claims));
    assert_eq!(verdict(&token(claims().with("email", quoted("a@b"))), require("email")), Ok(()));
    assert_eq!(verdict(&token(claims()), require("scope")), Err(TokenErrorKind::Claims));
    assert_eq!(verdict(&token(claims().with("scope", quoted("a"))), require("scope")), Ok(()));
    // Of two that come together, each for itself.
    for (name, json, other) in [
        ("auth_time", NOW.to_string(), "acr"),
        ("acr", quoted("a"), "auth_time"),
        ("gen", "1".to_owned(), "reissue"),
        ("reissue", "0".to_owned(), "gen"),
    ] {
        let with_one = token(claims().with(name, json));
        assert_eq!(verdict(&with_one, require(name)), Ok(()), "{name}");
        assert_eq!(verdict(&with_one, require(other)), Err(TokenErrorKind::Claims), "{name} for {other}");
    }
}

#[test]
fn checks_of_the_applications_own_run_last_and_every_time() {
    #[derive(Serialize, Deserialize)]
    struct User {
        tenant: String,
    }
    let config = config(&signer(), &ManualClock::new());
    let verifier = config.verifier::<User>().add_check(|registered, user| {
        match (registered.subject(), user.tenant.as_str()) {
            ("user-1", "acme") => Ok(()),
            (_, tenant) => Err(format!("tenant {tenant} is closed").into()),
        }
    });
    let verify = |tenant: &str| {
        let token = signer().with_claims(claims().with("tenant", quoted(tenant)).json());
        verifier.verify(&token).map(|_| ())
    };
    assert!(verify("acme").is_ok());
    let refused = verify("evil").unwrap_err();
    assert_eq!(
        (refused.kind(), refused.to_string().as_str()),
        (TokenErrorKind::Refused, "tenant evil is closed")
    );
    // A second one is asked, too.
    let both = verifier.clone().add_check(|_, _| Err("closed for today".into()));
    let token = signer().with_claims(claims().with("tenant", quoted("acme")).json());
    assert_eq!(both.verify(&token).unwrap_err().to_string(), "closed for today");
    assert!(verifier.verify(&token).is_ok(), "the first verifier has one check still");
}

#[test]
fn a_clock_that_steps_back_causes_no_panic() {
    let clock = ManualClock::new();
    let config: TokenConfig = builder(signer().key(), &clock).build().unwrap();
    let verifier = config.verifier();
    for step in [SECOND, Duration::from_secs(3600), Duration::MAX, Duration::MAX] {
        clock.step_back(step);
        let _ = verify(&verifier, &signer().good());
        let _ = Issuer::new(&config).unwrap().issue(&AccessGrant::new("user-1"), &NoClaims {});
    }
    assert_eq!(KID, signer().key().kid());
}
