//! One verifier, several issuers: each token by the rules of the issuer that it names, and by its keys alone.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/oracles.rs"]
mod oracles;
mod support;

use std::cell::Cell;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use support::tokens::{
    AUDIENCE, CompleteBuilder, ISSUER, KID, LEEWAY, NOW, Object, Signer, builder, claims, ed25519_public,
    quoted,
};
use support::{MINUTE, ManualClock};
use tower_jwt_auth::{ConfigErrorKind, KeySet, NoClaims, SigningKey, TokenConfig, TokenErrorKind, Verifier};

const A: &str = ISSUER;
const B: &str = "https://other.example";

/// Two keys of each family, so that each pair of families is there, in both orders.
fn pairs() -> [[Signer; 2]; 4] {
    let ed25519 = |first| Signer::Ed25519([first; 32]);
    let hs256 = |first| Signer::Hs256(vec![first; 32]);
    [[ed25519(1), ed25519(2)], [hs256(3), hs256(4)], [ed25519(5), hs256(6)], [hs256(7), ed25519(8)]]
}

fn pair() -> [Signer; 2] {
    let [pair, ..] = pairs();
    pair
}

/// The configuration of one issuer. Both have the key id `k1` for their own keys.
fn of(issuer: &str, signer: &Signer) -> CompleteBuilder {
    builder(signer.key(), &ManualClock::new()).issuer(issuer)
}

fn config(issuer: &str, signer: &Signer) -> TokenConfig {
    of(issuer, signer).build().unwrap()
}

fn several(configs: [&TokenConfig; 2]) -> Verifier<NoClaims> {
    Verifier::several(configs.map(TokenConfig::verifier)).unwrap()
}

/// Trusts A with the first key and B with the second.
fn both([a, b]: &[Signer; 2]) -> Verifier<NoClaims> {
    several([&config(A, a), &config(B, b)])
}

fn named(issuer: &str) -> Object {
    claims().with("iss", quoted(issuer))
}

/// A good token but for who signed it.
fn token(issuer: &str, signer: &Signer) -> String {
    signer.with_claims(named(issuer).json())
}

/// The issuer of a token that is accepted, or why it is not.
fn verify(verifier: &Verifier<NoClaims>, token: &str) -> Result<String, TokenErrorKind> {
    let verified = verifier.verify(token).map_err(|error| error.kind())?;
    Ok(verified.registered().issuer().to_owned())
}

#[track_caller]
fn assert_passes(verifier: &Verifier<NoClaims>, token: &str, issuer: &str, row: &str) {
    assert_eq!(verify(verifier, token).as_deref(), Ok(issuer), "{row}");
}

#[track_caller]
fn assert_refused(verifier: &Verifier<NoClaims>, token: &str, kind: TokenErrorKind, row: &str) {
    assert_eq!(verify(verifier, token), Err(kind), "{row}");
}

// ── whose key, whose token ──

#[test]
fn each_issuers_token_passes_and_names_its_issuer() {
    for pair in pairs() {
        let verifier = both(&pair);
        let [a, b] = &pair;
        assert_passes(&verifier, &token(A, a), A, a.alg());
        assert_passes(&verifier, &token(B, b), B, b.alg());
    }
}

/// RFC 8725, section 3.8, and requirement 57. Both issuers have a key `k1`.
#[test]
fn row_57_a_key_signs_for_its_own_issuer_only() {
    for pair in pairs() {
        let verifier = both(&pair);
        for (issuer, own, foreign) in [(A, &pair[0], &pair[1]), (B, &pair[1], &pair[0])] {
            let row = format!("{issuer}: {} instead of {}", foreign.alg(), own.alg());
            let same_family = own.alg() == foreign.alg();
            let kind = if same_family { TokenErrorKind::Signature } else { TokenErrorKind::Algorithm };
            assert_refused(&verifier, &token(issuer, foreign), kind, &row);

            // The algorithm of the key that would be right, and bytes by the other one.
            let header = own.header().json();
            let disguised = foreign.compact(&header, named(issuer).json());
            assert_refused(&verifier, &disguised, TokenErrorKind::Signature, &row);

            // The issuer in the payload cannot be exchanged under a signature either.
            let (signed, other) = (token(issuer, own), named(if issuer == A { B } else { A }).json());
            let [header, _, signature] = signed.split('.').collect::<Vec<_>>()[..] else { panic!() };
            let exchanged = format!("{header}.{}.{signature}", support::tokens::base64url(other));
            let outcome = verify(&verifier, &exchanged);
            assert!(matches!(outcome, Err(TokenErrorKind::Signature | TokenErrorKind::Algorithm)), "{row}");
        }
    }
}

/// As above, with key ids that only one of the two has.
#[test]
fn row_57_a_key_id_is_looked_up_under_its_issuer() {
    for pair in pairs() {
        let [a, b] = &pair;
        let with = |issuer, signer: &Signer, kid: &str| {
            builder(signer.key().with_kid(kid), &ManualClock::new()).issuer(issuer).build().unwrap()
        };
        let verifier = several([&with(A, a, "a"), &with(B, b, "b")]);
        let sign = |signer: &Signer, kid: &str, issuer| {
            signer.compact(signer.header().with("kid", quoted(kid)).json(), named(issuer).json())
        };
        assert_passes(&verifier, &sign(a, "a", A), A, "A");
        assert_passes(&verifier, &sign(b, "b", B), B, "B");
        for (issuer, own, foreign) in [(A, "a", "b"), (B, "b", "a")] {
            for signer in &pair {
                let row = format!("{issuer}, signed by {signer:?}");
                assert_refused(&verifier, &sign(signer, foreign, issuer), TokenErrorKind::UnknownKey, &row);
                assert_refused(&verifier, &sign(signer, KID, issuer), TokenErrorKind::UnknownKey, &row);
            }
            let thief = if issuer == A { b } else { a };
            let outcome = verify(&verifier, &sign(thief, own, issuer));
            assert!(
                matches!(outcome, Err(TokenErrorKind::Signature | TokenErrorKind::Algorithm)),
                "{issuer}"
            );
        }
    }
}

/// The public key of one issuer as the HMAC secret, beside an issuer whose tokens do have HMAC.
#[test]
fn h4_a_public_key_is_no_hmac_secret_across_issuers() {
    let seed = [0xed; 32];
    let (public, secret) = (Signer::Ed25519(seed), Signer::hs256());
    let confused = Signer::Hs256(ed25519_public(&seed).to_vec());
    for (public_issuer, hmac_issuer) in [(A, B), (B, A)] {
        let verifier = several([&config(public_issuer, &public), &config(hmac_issuer, &secret)]);
        assert_passes(&verifier, &token(public_issuer, &public), public_issuer, "public key");
        assert_passes(&verifier, &token(hmac_issuer, &secret), hmac_issuer, "HMAC");
        for (row, token, kind) in [
            ("H4 HMAC by the public key", token(public_issuer, &confused), TokenErrorKind::Algorithm),
            ("H4 HMAC by the other secret", token(public_issuer, &secret), TokenErrorKind::Algorithm),
            ("H4 the reverse", token(hmac_issuer, &public), TokenErrorKind::Algorithm),
            ("H4 the public key for the secret", token(hmac_issuer, &confused), TokenErrorKind::Signature),
        ] {
            assert_refused(&verifier, &token, kind, row);
        }
    }
    // Under one issuer it stays a mistake.
    let mixed = of(A, &public).add_verifying_key(secret.key().with_kid("h1").verifying_key().clone()).build();
    assert_eq!(mixed.unwrap_err().kind(), ConfigErrorKind::Key);
}

#[test]
fn one_secret_for_two_issuers_does_not_make_them_one() {
    let signer = Signer::hs256();
    let config = |issuer, audience: &str| of(issuer, &signer).audience(audience).build().unwrap();
    let verifier = several([&config(A, "of a"), &config(B, "of b")]);
    let sign = |issuer, audience| signer.with_claims(named(issuer).with("aud", quoted(audience)).json());
    assert_passes(&verifier, &sign(A, "of a"), A, "A");
    assert_passes(&verifier, &sign(B, "of b"), B, "B");
    assert_refused(&verifier, &sign(A, "of b"), TokenErrorKind::Audience, "A");
    assert_refused(&verifier, &sign(B, "of a"), TokenErrorKind::Audience, "B");
}

#[test]
fn without_a_key_id_the_issuer_must_have_one_key() {
    let [a, b] = pair();
    let second = SigningKey::ed25519_seed(&[9; 32]).unwrap().with_kid("k2");
    let two_keys = of(B, &b).add_verifying_key(second.verifying_key().clone()).build().unwrap();
    let verifier = several([&config(A, &a), &two_keys]);
    let sign =
        |signer: &Signer, issuer| signer.compact(signer.header().without("kid").json(), named(issuer).json());
    assert_passes(&verifier, &sign(&a, A), A, "one key, whatever others have");
    assert_refused(&verifier, &sign(&b, B), TokenErrorKind::UnknownKey, "two keys");
    assert_refused(&verifier, &sign(&b, A), TokenErrorKind::Signature, "one key, and not this one");
    assert_refused(&verifier, &sign(&a, B), TokenErrorKind::UnknownKey, "two keys, and neither this one");
}

#[test]
fn the_keys_of_one_issuer_change_without_the_other() {
    let [a, b] = pair();
    let (config_a, config_b) = (config(A, &a), config(B, &b));
    let verifier = several([&config_a, &config_b]);
    let layer_has = verifier.clone();
    let next = Signer::Ed25519([10; 32]);

    config_b.keys().store(KeySet::new([next.key().verifying_key().clone()]).unwrap());
    for verifier in [&verifier, &layer_has] {
        assert_passes(verifier, &token(A, &a), A, "A is as it was");
        assert_passes(verifier, &token(B, &next), B, "B has the next key");
        assert_refused(verifier, &token(B, &b), TokenErrorKind::Signature, "B has the old one no more");
        assert_refused(verifier, &token(A, &next), TokenErrorKind::Signature, "the next key is for B only");
    }

    let third = SigningKey::ed25519_seed(&[11; 32]).unwrap().with_kid("k3");
    config_a.add_key(third.verifying_key().clone()).unwrap();
    let signer = Signer::Ed25519([11; 32]);
    let sign = |issuer| signer.compact(signer.header().with("kid", r#""k3""#).json(), named(issuer).json());
    assert_passes(&verifier, &sign(A), A, "added to A");
    assert_refused(&verifier, &sign(B), TokenErrorKind::UnknownKey, "not added to B");
    config_a.sign_with(third).unwrap();
    config_a.remove_key(KID).unwrap();
    assert_refused(&verifier, &token(A, &a), TokenErrorKind::UnknownKey, "removed from A");
    assert_passes(&verifier, &token(B, &next), B, "the same key id of B stays");
}

// ── the issuer that a token names ──

#[test]
fn row_56_the_issuer_is_compared_byte_for_byte() {
    let pair = pair();
    let verifier = both(&pair);
    for (row, iss) in [
        ("unknown", "https://third.example"),
        ("trailing slash", "https://i.example/"),
        ("a path", "https://i.example/a"),
        ("query", "https://i.example?"),
        ("default port", "https://i.example:443"),
        ("case of the host", "https://I.example"),
        ("case of the scheme", "HTTPS://i.example"),
        ("another scheme", "http://i.example"),
        ("no scheme", "i.example"),
        ("a prefix", "https://i.exampl"),
        ("a suffix", "https://i.example.evil.example"),
        ("space in front", " https://i.example"),
        ("space behind", "https://i.example "),
        ("NUL behind", "https://i.example\u{0}"),
        ("a letter that looks alike", "https://\u{456}.example"),
        ("percent-encoded", "https://%69.example"),
        ("both", "https://i.example https://other.example"),
        ("the other one, trailing slash", "https://other.example/"),
        ("the other one, case", "https://Other.example"),
        ("after all of them", "\u{10ffff}"),
        ("before all of them", "!"),
        ("empty", ""),
    ] {
        for signer in &pair {
            assert_refused(&verifier, &token(iss, signer), TokenErrorKind::Issuer, row);
        }
    }
    let escaped = pair[0].with_claims(claims().with("iss", r#""https:\/\/\u0069.example""#).json());
    assert_passes(&verifier, &escaped, A, "the same text, escaped");
}

/// What stands for the issuer in a set that does not name one: as it is refused by a verifier of one issuer.
#[test]
fn claims_that_name_no_issuer_or_two() {
    let pair = pair();
    let verifier = both(&pair);
    let (a, b) = (quoted(A), quoted(B));
    for (row, set) in [
        ("missing", claims().without("iss").json()),
        ("null", claims().with("iss", "null").json()),
        ("number", claims().with("iss", "1").json()),
        ("bool", claims().with("iss", "true").json()),
        ("object", claims().with("iss", format!("{{{a}:{a}}}")).json()),
        ("L8 array of one", claims().with("iss", format!("[{a}]")).json()),
        ("L8 array of both", claims().with("iss", format!("[{a},{b}]")).json()),
        ("another name", claims().without("iss").with("Iss", &a).json()),
        ("deeper", claims().without("iss").with("x", format!("{{\"iss\":{a}}}")).json()),
        ("C10 repeated", claims().and("iss", &a).json()),
        ("C10 A, then B", named(A).and("iss", &b).json()),
        ("C10 B, then A", named(B).and("iss", &a).json()),
        ("C10 A, then B through an escape", named(A).and(r"\u0069ss", &b).json()),
        ("C10 B, then A through an escape", named(B).and(r"\u0069ss", &a).json()),
        ("lone surrogate", claims().with("iss", r#""\ud800""#).json()),
        ("C11 no object", format!("[{}]", claims().json())),
        ("C11 two objects", format!("{}{}", claims().json(), named(B).json())),
        ("C11 empty", String::new()),
    ] {
        for (issuer, signer) in [A, B].into_iter().zip(&pair) {
            let token = signer.with_claims(&set);
            assert_refused(&verifier, &token, TokenErrorKind::Claims, row);
            let alone = config(issuer, signer).verifier();
            assert_refused(&alone, &token, TokenErrorKind::Claims, &format!("{row}, alone"));
        }
    }
}

/// The order of the rules: each token breaks that of its row, and later ones where it can.
#[test]
fn the_choice_comes_first_and_then_the_rules_of_one() {
    let pair = pair();
    let [a, _] = &pair;
    let verifier = both(&pair);
    let bad_header = r#"{"alg":"none","typ":"JWT"}"#;
    let padded = format!("{}.{}=.x", support::tokens::base64url(bad_header), "e30");
    let with = |header: &str, claims: &str| a.compact(header, claims);
    let tampered = format!("{}AAAA", token(B, a));
    for (row, token, kind) in [
        ("size", "a".repeat(8 * 1024 + 1), TokenErrorKind::TooLarge),
        ("three segments", "a".repeat(8 * 1024), TokenErrorKind::Malformed),
        ("base64url of the payload", padded, TokenErrorKind::Malformed),
        ("the payload is JSON", with(bad_header, "{"), TokenErrorKind::Claims),
        ("the issuer is named", with(bad_header, "{}"), TokenErrorKind::Claims),
        ("the issuer is trusted", with(bad_header, r#"{"iss":"x"}"#), TokenErrorKind::Issuer),
        ("the header", with("[]", &format!(r#"{{"iss":"{A}"}}"#)), TokenErrorKind::Header),
        ("the type", with(bad_header, &format!(r#"{{"iss":"{A}"}}"#)), TokenErrorKind::Type),
        ("the signature", tampered, TokenErrorKind::Signature),
        (
            "the other claims",
            with(&a.header().json(), &format!(r#"{{"iss":"{A}"}}"#)),
            TokenErrorKind::Claims,
        ),
    ] {
        assert_refused(&verifier, &token, kind, row);
    }
}

/// A verifier of one issuer has no choice to make: it reads nothing of the claims before the signature.
#[test]
fn one_issuer_is_as_without_several() {
    let [a, b] = pair();
    let config = config(A, &a);
    for verifier in [config.verifier(), Verifier::several([config.verifier()]).unwrap()] {
        assert_passes(&verifier, &token(A, &a), A, "good");
        for set in ["{", "[]", "{}", r#"{"iss":"x"}"#, r#"{"iss":1}"#, r#"{"iss":"x","iss":"x"}"#] {
            assert_refused(&verifier, &b.with_claims(set), TokenErrorKind::Signature, set);
        }
        assert_refused(&verifier, &token(B, &a), TokenErrorKind::Issuer, "another issuer");
        assert_eq!(format!("{verifier:?}"), format!("{:?}", config.verifier::<NoClaims>()));
    }
}

// ── each by its own rules ──

/// A setting of one issuer, and a token that is good only with it. The other issuer has the default.
#[test]
fn the_settings_of_an_issuer_are_for_its_tokens_only() {
    type Setting = fn(CompleteBuilder) -> CompleteBuilder;
    type Make = fn(&Signer, Object) -> String;
    let rows: [(&str, Setting, Make, TokenErrorKind); 9] = [
        (
            "audience",
            |builder| builder.audience("another"),
            |signer, claims| signer.with_claims(claims.with("aud", r#""another""#).json()),
            TokenErrorKind::Audience,
        ),
        (
            "type",
            |builder| builder.accept_type("JWT"),
            |signer, claims| signer.compact(signer.header().with("typ", r#""JWT""#).json(), claims.json()),
            TokenErrorKind::Type,
        ),
        (
            "no type",
            CompleteBuilder::accept_missing_type,
            |signer, claims| signer.compact(signer.header().without("typ").json(), claims.json()),
            TokenErrorKind::Type,
        ),
        (
            "leeway",
            |builder| builder.leeway(2 * MINUTE),
            |signer, claims| {
                let times = claims.with("exp", (NOW - 60).to_string()).with("iat", (NOW - 120).to_string());
                signer.with_claims(times.json())
            },
            TokenErrorKind::Expired,
        ),
        (
            "clock",
            |builder| {
                let clock = ManualClock::new();
                clock.advance(60 * MINUTE);
                builder.clock(clock)
            },
            |signer, claims| {
                let times =
                    claims.with("exp", (NOW + 3900).to_string()).with("iat", (NOW + 3600).to_string());
                signer.with_claims(times.json())
            },
            TokenErrorKind::NotYetValid,
        ),
        (
            "lifetime",
            |builder| builder.accept_lifetime(60 * MINUTE),
            |signer, claims| signer.with_claims(claims.with("exp", (NOW + 3600).to_string()).json()),
            TokenErrorKind::Lifetime,
        ),
        (
            "size",
            |builder| builder.max_token_bytes(20_000),
            |signer, claims| signer.with_claims(claims.with("x", quoted(&"x".repeat(10_000))).json()),
            TokenErrorKind::TooLarge,
        ),
        (
            "key",
            |builder| {
                let further = SigningKey::ed25519_seed(&[12; 32]).unwrap().with_kid("k2");
                builder.add_verifying_key(further.verifying_key().clone())
            },
            |_, claims| {
                let further = Signer::Ed25519([12; 32]);
                further.compact(further.header().with("kid", r#""k2""#).json(), claims.json())
            },
            TokenErrorKind::UnknownKey,
        ),
        (
            "key of the builder",
            |builder| builder.key(Signer::Ed25519([13; 32]).key()),
            |_, claims| Signer::Ed25519([13; 32]).with_claims(claims.json()),
            TokenErrorKind::Signature,
        ),
    ];
    let [a, b] = pair();
    for (row, set, make, kind) in rows {
        let (set_a, set_b) = (set(of(A, &a)).build().unwrap(), set(of(B, &b)).build().unwrap());
        let verifier = several([&set_a, &config(B, &b)]);
        assert_passes(&verifier, &make(&a, named(A)), A, row);
        assert_refused(&verifier, &make(&b, named(B)), kind, row);
        // The other way round, in both orders: who comes first does not matter.
        for configs in [[&config(A, &a), &set_b], [&set_b, &config(A, &a)]] {
            let verifier = several(configs);
            assert_passes(&verifier, &make(&b, named(B)), B, row);
            assert_refused(&verifier, &make(&a, named(A)), kind, row);
        }
    }
}

/// The same for settings that make an issuer's rules narrower than the default.
#[test]
fn the_demands_on_an_issuer_are_for_its_tokens_only() {
    type Setting = fn(CompleteBuilder) -> CompleteBuilder;
    type Make = fn(Object) -> Object;
    let rows: [(&str, Setting, Make, TokenErrorKind); 4] = [
        (
            "single audience",
            CompleteBuilder::single_audience,
            |claims| claims.with("aud", format!(r#"["{AUDIENCE}","more"]"#)),
            TokenErrorKind::Audience,
        ),
        ("a required claim", |builder| builder.require_claim("acr"), |claims| claims, TokenErrorKind::Claims),
        ("the profile", CompleteBuilder::rfc9068_strict, |claims| claims, TokenErrorKind::Claims),
        (
            "leeway",
            |builder| builder.leeway(Duration::ZERO),
            |claims| claims.with("exp", (NOW - 1).to_string()).with("iat", (NOW - LEEWAY).to_string()),
            TokenErrorKind::Expired,
        ),
    ];
    let [a, b] = pair();
    for (row, set, make, kind) in rows {
        let verifier = several([&set(of(A, &a)).build().unwrap(), &config(B, &b)]);
        assert_refused(&verifier, &a.with_claims(make(named(A)).json()), kind, row);
        assert_passes(&verifier, &b.with_claims(make(named(B)).json()), B, row);
    }
}

#[test]
fn checks_are_of_one_issuer_or_of_all() {
    let [a, b] = pair();
    let scoped = |issuer, signer: &Signer, scope| {
        signer.with_claims(named(issuer).with("scope", quoted(scope)).json())
    };
    let strict = config(A, &a).verifier::<NoClaims>().add_check(|token, _| {
        assert_eq!(token.issuer(), A, "a check of A's saw another's token");
        if token.has_scope("admin") { Err("not from A".into()) } else { Ok(()) }
    });
    let verifier = Verifier::several([strict, config(B, &b).verifier()]).unwrap();
    let shared = verifier
        .clone()
        .add_check(|token, _| if token.has_scope("root") { Err("from nobody".into()) } else { Ok(()) });
    for (row, scope, [of_a, of_b], [of_a_shared, of_b_shared]) in [
        ("neither", "read", [true, true], [true, true]),
        ("what A may not", "admin", [false, true], [false, true]),
        ("what nobody may", "root", [true, true], [false, false]),
        ("both", "admin root", [false, true], [false, false]),
    ] {
        for (verifier, issuer, signer, passes) in [
            (&verifier, A, &a, of_a),
            (&verifier, B, &b, of_b),
            (&shared, A, &a, of_a_shared),
            (&shared, B, &b, of_b_shared),
        ] {
            let expected = if passes { Ok(issuer.to_owned()) } else { Err(TokenErrorKind::Refused) };
            assert_eq!(verify(verifier, &scoped(issuer, signer, scope)), expected, "{row}, {issuer}");
        }
    }
    // The issuer's own comes before the shared one.
    let error = shared.verify(&scoped(A, &a, "admin root")).unwrap_err();
    assert_eq!(error.to_string(), "not from A");
}

// ── how they are put together ──

#[test]
fn no_issuer_and_two_of_the_same_are_refused() {
    let [a, b] = pair();
    let verifier = |issuer, signer| config(issuer, signer).verifier::<NoClaims>();
    let with_slash = of("https://i.example/", &b).build().unwrap().verifier();
    let nested = || Verifier::several([verifier(A, &a), verifier(B, &b)]).unwrap();
    for (row, verifiers, part) in [
        ("none", vec![], "no verifier"),
        ("the same twice", vec![verifier(A, &a), verifier(A, &a)], "same issuer"),
        ("other keys", vec![verifier(A, &a), verifier(A, &b)], "same issuer"),
        ("not side by side", vec![verifier(A, &a), verifier(B, &b), verifier(A, &b)], "same issuer"),
        ("within a nested one", vec![nested(), verifier(B, &b)], "same issuer"),
        ("two nested ones", vec![nested(), nested()], "same issuer"),
    ] {
        let error = Verifier::several(verifiers).expect_err(row);
        assert_eq!(error.kind(), ConfigErrorKind::Issuer, "{row}");
        assert!(error.to_string().contains(part), "{row}: {error}");
    }
    // A slash more is another issuer.
    let verifier = Verifier::several([verifier(A, &a), with_slash]).unwrap();
    assert_passes(&verifier, &token(A, &a), A, "without the slash");
    assert_passes(&verifier, &token("https://i.example/", &b), "https://i.example/", "with it");
    assert_refused(&verifier, &token(A, &b), TokenErrorKind::Signature, "the other's key");
}

#[test]
fn nested_verifiers_bring_all_of_their_issuers_and_checks() {
    let [a, b] = pair();
    let third = Signer::Ed25519([14; 32]);
    let c = "https://third.example";
    let inner = both(&[a.clone(), b.clone()])
        .add_check(|token, _| if token.has_scope("admin") { Err("no".into()) } else { Ok(()) });
    let verifier = Verifier::several([inner, config(c, &third).verifier()]).unwrap();
    for (issuer, signer, admin) in [(A, &a, false), (B, &b, false), (c, &third, true)] {
        assert_passes(&verifier, &token(issuer, signer), issuer, issuer);
        let token = signer.with_claims(named(issuer).with("scope", r#""admin""#).json());
        let expected = if admin { Ok(issuer.to_owned()) } else { Err(TokenErrorKind::Refused) };
        assert_eq!(verify(&verifier, &token), expected, "{issuer}");
    }
    assert_eq!(
        format!("{verifier:?}"),
        r#"Verifier { issuers: ["https://i.example", "https://other.example", "https://third.example"], .. }"#
    );
}

/// Each is found, wherever its name stands among the others.
#[test]
fn any_number_of_issuers() {
    for count in [2, 3, 7, 64] {
        let parties: Vec<_> = (0..count)
            .map(|number: u8| (format!("https://tenant-{number}.example"), Signer::Ed25519([number; 32])))
            .collect();
        let verifiers = parties.iter().map(|(issuer, signer)| config(issuer, signer).verifier());
        let verifier = Verifier::several(verifiers).unwrap();
        for (at, (issuer, signer)) in parties.iter().enumerate() {
            assert_passes(&verifier, &token(issuer, signer), issuer, issuer);
            let (_, other) = &parties[(at + 1) % parties.len()];
            assert_refused(&verifier, &token(issuer, other), TokenErrorKind::Signature, issuer);
        }
        assert_refused(&verifier, &token(A, &parties[0].1), TokenErrorKind::Issuer, "none of them");
    }
}

// ── against each issuer alone ──

/// Whatever a token is, the outcome is that of the verifier of the one issuer that it names, alone.
#[test]
fn several_accept_what_one_of_them_accepts_alone() {
    let members = || select(vec![("typ", r#""JWT""#), ("kid", r#""k2""#), ("alg", r#""HS256""#), ("x", "1")]);
    let names = select(vec!["iss", "aud", "sub", "exp", "iat", "cnf", "acr", r"\u0069ss", "roles"]);
    let values = select(vec![
        format!(r#""{A}""#),
        format!(r#""{B}""#),
        format!(r#"["{A}"]"#),
        format!(r#""{AUDIENCE}""#),
        format!(r#"["{AUDIENCE}","second"]"#),
        (NOW + 300).to_string(),
        (NOW - 300).to_string(),
        "null".to_owned(),
    ]);
    let inputs = (
        (any::<bool>(), proptest::bool::weighted(0.7)),
        vec(members(), 0..2),
        vec((names, values, any::<bool>()), 0..3),
        prop_oneof![3 => Just(Vec::new()), 1 => vec(any::<u8>(), 3..=3)],
    );
    for pair in pairs() {
        let verifier = both(&pair);
        let alone = [config(A, &pair[0]).verifier::<NoClaims>(), config(B, &pair[1]).verifier()];
        let (accepted, refused) = (Cell::new(0), Cell::new(0));
        let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
        let run = TestRunner::new(config).run(&inputs, |((by_b, own), members, changes, script)| {
            let signer = &pair[usize::from(by_b)];
            let mut header = signer.header();
            for (name, json) in members {
                header = header.with(name, json);
            }
            let mut set = named(if by_b == own { B } else { A });
            for (name, json, repeat) in changes {
                set = if repeat { set.and(name, json) } else { set.with(name, json) };
            }
            let text = signer.compact(header.json(), set.json());
            let Ok(text) = String::from_utf8(oracles::edited(text.as_bytes(), &script)) else {
                return Ok(());
            };
            let outcomes = alone.each_ref().map(|verifier| verify(verifier, &text));
            let outcome = verify(&verifier, &text);
            match &outcomes {
                [Ok(issuer), Err(_)] | [Err(_), Ok(issuer)] => {
                    accepted.set(accepted.get() + 1);
                    prop_assert_eq!(outcome.as_ref(), Ok(issuer));
                }
                [Ok(_), Ok(_)] => prop_assert!(false, "two issuers have the same token"),
                [Err(_), Err(_)] => {
                    refused.set(refused.get() + 1);
                    // Found wrong while choosing, or by one of them.
                    let choosing =
                        [TokenErrorKind::Malformed, TokenErrorKind::Claims, TokenErrorKind::Issuer];
                    let chosen = matches!(&outcome, Err(kind) if choosing.contains(kind));
                    let known = chosen || outcomes.contains(&outcome);
                    prop_assert!(known, "{:?} of {}", outcome, text);
                }
            }
            Ok(())
        });
        run.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(accepted.get() > 50 && refused.get() > 50, "{accepted:?} accepted, {refused:?} refused");
    }
}
