//! No backend at all: everything is there, and what needs a backend says so.
#![cfg(not(any(feature = "both", feature = "given")))]

use std::panic::catch_unwind;

use jsonwebtoken::{EncodingKey, Header, encode};
use tower_jwt_auth::{
    Algorithm, ConfigError, ConfigErrorKind, Crypto, KeyForm, KeySet, RefreshKeys, SigningKey, TokenConfig,
    VerifyingKey,
};
use tower_jwt_auth_backends::private_key;

#[track_caller]
fn assert_no_backend<T>(result: Result<T, ConfigError>, what: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{what} works"));
    assert_eq!(error.kind(), ConfigErrorKind::Crypto, "{what}");
    assert!(error.to_string().contains("enable the feature"), "{error}");
}

#[test]
fn jsonwebtoken_itself_panics_here() {
    let use_it = || encode(&Header::default(), &1, &EncodingKey::from_secret(b"x"));
    assert!(catch_unwind(use_it).is_err(), "there is a backend after all");
}

#[test]
fn keys_that_sign_cannot_be_made() {
    assert_no_backend(Crypto::compiled_in(), "compiled_in");
    assert_no_backend(SigningKey::hs256([0xfa; 32]), "hs256");
    assert_no_backend(SigningKey::ed25519_seed(&[0xed; 32]), "ed25519_seed");
    let KeyForm::Pem(pem) = private_key(Algorithm::EdDsa) else { panic!("no PEM") };
    assert_no_backend(SigningKey::ed25519_pem(pem), "ed25519_pem");
    for &algorithm in Algorithm::ALL {
        assert_no_backend(SigningKey::read(algorithm, private_key(algorithm)), algorithm.as_str());
    }
}

#[test]
fn keys_that_verify_can_be_made_and_not_used() {
    const JWKS: &str = include_str!("../jwks.json");
    let set = KeySet::from_jwks(JWKS).expect("public keys need no backend");
    assert_eq!((set.keys().len(), set.skipped().len()), (4, 0));
    let hmac = VerifyingKey::hs256([0xfa; 32]).expect("nor does an HMAC key");
    for key in set.keys().iter().chain([&hmac]) {
        let builder = TokenConfig::builder().add_verifying_key(key.clone());
        assert_no_backend(builder.issuer("https://i.example").audience("api").build(), "build");
    }
}

/// Refresh tokens need HMAC only, which is there without a backend.
#[test]
fn refresh_keys_can_be_made() {
    assert!(RefreshKeys::new([0xa5; 32]).is_ok());
}
