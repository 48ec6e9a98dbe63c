//! Signatures that are nearly right: ECDSA numbers out of range, RSA blocks with a forged padding (S4 to S6 of the
//! corpus of bad inputs). The RSA tokens are made by `tests/fixtures/signatures/make.py`, which shares no code with us.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use serde::Deserialize;
use serde_json::value::RawValue;
use support::ManualClock;
use support::tokens::{base64url, from_base64url};
use tower_jwt_auth::{
    AccessGrant, Algorithm, Issuer, KeyForm, NoClaims, SigningKey, Timestamp, TokenConfig, TokenErrorKind,
    Verifier, VerifyingKey,
};

fn verifier(key: VerifyingKey) -> Verifier<NoClaims> {
    TokenConfig::builder()
        .add_verifying_key(key)
        .issuer("https://i.example")
        .audience("api")
        .clock(ManualClock::at(Timestamp::from_unix_seconds(1_700_000_010)))
        .build()
        .unwrap()
        .verifier()
}

fn outcome(verifier: &Verifier<NoClaims>, token: &str) -> Result<(), TokenErrorKind> {
    verifier.verify(token).map(|_| ()).map_err(|error| error.kind())
}

#[test]
fn s5_and_s6_rsa_blocks() {
    #[derive(Deserialize)]
    struct Fixture {
        jwk: Box<RawValue>,
        tokens: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        name: String,
        alg: String,
        good: bool,
        token: String,
    }
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/signatures/rsa.json")).unwrap();
    assert!(fixture.tokens.iter().filter(|case| case.good).count() == 2, "a control for each padding");
    for Case { name, alg, good, token } in &fixture.tokens {
        let algorithm = Algorithm::from_name(alg).unwrap();
        let key = VerifyingKey::read(algorithm, KeyForm::Jwk(fixture.jwk.get())).unwrap();
        let expected = if *good { Ok(()) } else { Err(TokenErrorKind::Signature) };
        assert_eq!(outcome(&verifier(key), token), expected, "{name}");
    }
}

/// The order of each curve, big-endian (FIPS 186-5).
const ORDER_P256: &str = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";
const ORDER_P384: &str = "________________________________x2NNgfQ3Ld9YGg2ySLCneuzsGWrMxSlz";

/// `a - b`, for numbers of the same length with `a >= b`.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = (a.iter().zip(b).rev())
        .map(|(a, b)| {
            let digit = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(digit < 0);
            u8::try_from(digit.rem_euclid(256)).unwrap()
        })
        .collect();
    digits.reverse();
    digits
}

/// A number as DER writes it: no leading zeros, and one where the first bit would be a sign.
fn der_integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let mut body = number[zeros..].to_vec();
    if body.first().is_none_or(|first| *first >= 0x80) {
        body.insert(0, 0);
    }
    [&[2, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

#[test]
fn s4_and_row_46_ecdsa_numbers() {
    for (algorithm, crv, scalar, order) in [
        (Algorithm::Es256, "P-256", vec![0x11; 32], ORDER_P256),
        (Algorithm::Es384, "P-384", vec![0x11; 48], ORDER_P384),
    ] {
        let key = signing_key(algorithm, crv, &scalar);
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_700_000_000));
        let config = TokenConfig::builder().key(key.clone()).issuer("https://i.example").audience("api");
        let config = config.clock(clock).build().unwrap();
        let good = Issuer::new(&config).unwrap().issue(&AccessGrant::new("user-1"), &NoClaims {}).unwrap();
        let verifier = verifier(key.verifying_key().clone());
        assert_eq!(outcome(&verifier, good.expose()), Ok(()), "control");

        let (signed, signature) = good.expose().rsplit_once('.').unwrap();
        let signature = from_base64url(signature);
        let half = scalar.len();
        let (r, s) = signature.split_at(half);
        let n = from_base64url(order);
        assert_eq!(n.len(), half);
        let zero = vec![0; half];
        let one = minus(&n, &minus(&n, &[&zero[1..], &[1]].concat()));
        let der = [der_integer(r), der_integer(s)].concat();
        let der = [&[0x30, u8::try_from(der.len()).unwrap()], der.as_slice()].concat();
        for (name, forged) in [
            ("r = s = 0", [&*zero, &*zero].concat()),
            ("r = 0", [&*zero, s].concat()),
            ("s = 0", [r, &*zero].concat()),
            ("r = n", [&*n, s].concat()),
            ("s = n", [r, &*n].concat()),
            ("r = s = n", [&*n, &*n].concat()),
            ("r = n - 1", [&*minus(&n, &one), s].concat()),
            ("s = n - 1", [r, &*minus(&n, &one)].concat()),
            ("r = s = 1", [&*one, &*one].concat()),
            ("r and s exchanged", [s, r].concat()),
            ("DER", der),
            ("empty", Vec::new()),
            ("one byte less", signature[..2 * half - 1].to_vec()),
            ("one byte more", [&*signature, &[0]].concat()),
            ("a zero before each", [&[0], r, &[0], s].concat()),
        ] {
            let token = format!("{signed}.{}", base64url(&forged));
            assert_eq!(outcome(&verifier, &token), Err(TokenErrorKind::Signature), "{crv} {name}");
        }
        // ECDSA allows it, and so one token has two spellings: deny lists go by `jti`, never by the text (row 47).
        let other = format!("{signed}.{}", base64url([r, &*minus(&n, s)].concat()));
        assert_eq!(outcome(&verifier, &other), Ok(()), "{crv} L23 s = n - s");
    }
}

fn signing_key(algorithm: Algorithm, crv: &str, scalar: &[u8]) -> SigningKey {
    // The public half of the scalar 0x1111.., as its definition says: that many times the generator.
    let (x, y) = match crv {
        "P-256" => {
            ("AhfmF_C2RDkoJ4-WmZ5pojpPLBUr321s32bluAKC1O0", "GUp968uXcS0t2jyoWqh2Wlb0X8dYWZZS8ol8ZTBuV5Q")
        }
        _ => (
            "OG52fqXLcWyc1iD_c0ISnIkqb8zv5hIUDIC_9Z6UNGgBndoW5QebDB2QAdI6Yktt",
            "0IjQw4JjlBlHh0A-in0H5eIvfpwLjoD6H6_10otLtZeyZ_C4cCPKYfyEVL3e_S4O",
        ),
    };
    let jwk = format!(r#"{{"kty":"EC","crv":"{crv}","x":"{x}","y":"{y}","d":"{}"}}"#, base64url(scalar));
    SigningKey::read(algorithm, KeyForm::Jwk(&jwk)).unwrap()
}
