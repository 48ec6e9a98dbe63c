//! The keys of `tests/fixtures/keys`, and what tests of keys do with them.

// Compiled into several test binaries, each of which uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Debug;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tower_jwt_auth::{
    AccessGrant, Algorithm, ConfigError, ConfigErrorKind, Issuer, KeyForm, NoClaims, SigningKey, TokenConfig,
    TokenErrorKind, VerifyingKey,
};

use crate::support::ManualClock;
use crate::support::tokens::{AUDIENCE, ISSUER, SUBJECT, base64url};

use Algorithm::{EdDsa, Es256, Es384};

pub fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The bytes inside of a PEM fixture.
pub fn der(name: &str) -> Vec<u8> {
    pem::parse_many(fixture(name)).unwrap().pop().unwrap().into_contents()
}

pub fn jwk(name: &str) -> Value {
    serde_json::from_str(&fixture(name)).unwrap()
}

pub fn secret() -> Vec<u8> {
    (0x80..0xc0).collect()
}

/// The first part of the names of the files with a key for this algorithm.
pub fn family(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Es256 => "p256",
        Es384 => "p384",
        EdDsa => "ed25519",
        algorithm if algorithm.is_symmetric() => "hmac",
        _ => "rsa",
    }
}

pub fn signing_key(algorithm: Algorithm) -> SigningKey {
    if algorithm.is_symmetric() {
        return SigningKey::read(algorithm, KeyForm::Secret(&secret())).unwrap();
    }
    SigningKey::read(algorithm, KeyForm::Pem(private_pem(algorithm).as_bytes())).unwrap()
}

/// The private key for an algorithm other than HMAC, in PKCS#8.
pub fn private_pem(algorithm: Algorithm) -> String {
    fixture(&format!("{}.pkcs8.pem", family(algorithm)))
}

pub fn verifying(key: VerifyingKey, clock: &ManualClock) -> TokenConfig {
    let builder = TokenConfig::builder().add_verifying_key(key).issuer(ISSUER).audience(AUDIENCE);
    builder.clock(clock.clone()).build().unwrap()
}

pub fn issue(config: &TokenConfig) -> String {
    let token = Issuer::new(config).unwrap().issue(&AccessGrant::new(SUBJECT), &NoClaims {}).unwrap();
    token.expose().to_owned()
}

pub fn verify(config: &TokenConfig, token: &str) -> Result<String, TokenErrorKind> {
    let verified = config.verifier::<NoClaims>().verify(token).map_err(|error| error.kind())?;
    Ok(verified.subject().to_owned())
}

/// An error about a key, with a text that says what is wrong: `word` is of it.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, ConfigError>, word: &str, row: &str) {
    let error = result.expect_err(row);
    assert_eq!(error.kind(), ConfigErrorKind::Key, "{row}: {error}");
    assert!(error.to_string().contains(word), "{row}: {error}");
}

/// The thumbprint of a public JWK (RFC 7638, section 3), by hand.
pub fn thumbprint(jwk: &Value) -> String {
    let required = match jwk["kty"].as_str().unwrap() {
        "RSA" => &["e", "kty", "n"][..],
        "EC" => &["crv", "kty", "x", "y"],
        _ => &["crv", "kty", "x"],
    };
    let members: Vec<_> = required.iter().map(|name| format!("{name:?}:{}", jwk[name])).collect();
    base64url(Sha256::digest(format!("{{{}}}", members.join(","))))
}

pub fn read_both(algorithm: Algorithm, form: KeyForm<'_>) -> [Result<(), ConfigError>; 2] {
    [SigningKey::read(algorithm, form).map(drop), VerifyingKey::read(algorithm, form).map(drop)]
}

/// No error repeats what it was given: the body of a PEM text, a member of a JWK.
#[track_caller]
pub fn quotes_nothing(text: &str, error: &ConfigError, row: &str) {
    let told = format!("{error} {error:?} {:?}", std::error::Error::source(error));
    for part in text.split(['\n', '"']).filter(|part| part.len() >= 16 && !part.starts_with("-----")) {
        assert!(!told.contains(part), "{row}: {told}");
    }
}

/// A fixture with members changed; `null` takes one out.
pub fn changed(file: &str, changes: &Value) -> String {
    let mut jwk = jwk(file);
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name).expect("a member to take out")),
            value => jwk[name] = value.clone(),
        }
    }
    jwk.to_string()
}
