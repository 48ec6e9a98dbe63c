//! Both backends of jsonwebtoken are on: the crate's own by its default features, the other by somebody else.
//!
//! jsonwebtoken itself panics then at first use, and nothing of the crate may come to that.

use std::panic::catch_unwind;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::{aws_lc, rust_crypto};
use jsonwebtoken::{EncodingKey, Header, encode};
use tower_jwt_auth::{
    AccessGrant, Algorithm, AuthService, Crypto, Issuer, KeyForm, KeySet, MokaStore, NoClaims, NoLogin,
    RefreshKeys, SigningKey, TokenErrorKind,
};
use tower_jwt_auth_backends::{config, private_key};

/// The reason for this package. When it no longer holds, so may the rules of the crate.
#[test]
fn jsonwebtoken_itself_panics_here() {
    let use_it = || encode(&Header::default(), &1, &EncodingKey::from_secret(b"x"));
    let payload = catch_unwind(use_it).expect_err("there is a default now");
    let text = payload.downcast_ref::<String>().expect("a text");
    assert!(text.contains("Could not automatically determine"), "{text}");
}

#[test]
fn keys_of_every_algorithm_sign_and_verify() {
    for &algorithm in Algorithm::ALL {
        let key = SigningKey::read(algorithm, private_key(algorithm)).expect("a good key");
        let config = config(key, None);
        let token = Issuer::new(&config).unwrap().issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap();
        let verified = config.verifier::<NoClaims>().verify(token.expose()).unwrap();
        assert_eq!(verified.subject(), "ada", "{algorithm:?}");

        let (message, _) = token.expose().rsplit_once('.').unwrap();
        let error = config.verifier::<NoClaims>().verify(&format!("{message}.AAAA")).unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Signature, "{algorithm:?}");

        if !algorithm.is_symmetric() {
            let set = KeySet::from_jwks(&config.keys().load().to_jwks()).unwrap();
            assert_eq!(set.keys()[0].algorithm(), algorithm);
        }
    }
}

/// Either backend verifies what the other signed, through the crate.
#[test]
fn either_backend_can_be_given() {
    let backends = [Crypto::new(&aws_lc::DEFAULT_PROVIDER), Crypto::new(&rust_crypto::DEFAULT_PROVIDER)];
    for &algorithm in Algorithm::ALL {
        for (one, other) in [(0, 1), (1, 0)] {
            let key = |which: usize| {
                SigningKey::read_with(backends[which], algorithm, private_key(algorithm)).unwrap()
            };
            let signs = config(key(one), Some(backends[one]));
            let verifies = config(key(other), Some(backends[other]));
            let token = Issuer::new(&signs).unwrap().issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap();
            assert!(verifies.verifier::<NoClaims>().verify(token.expose()).is_ok(), "{algorithm:?} {one}");
        }
    }
}

/// RustCrypto's ECDSA always makes the same signature of a message (RFC 6979), that of aws-lc never.
#[test]
fn the_compiled_in_backend_is_aws_lc() {
    let algorithm = Algorithm::Es256;
    let key = |crypto| SigningKey::read_with(crypto, algorithm, private_key(algorithm)).unwrap();
    let is_deterministic = |key: SigningKey| {
        let config = config(key, None);
        let token = Issuer::new(&config).unwrap().issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap();
        let (message, signature) = token.expose().rsplit_once('.').unwrap();
        let KeyForm::Pem(pem) = private_key(algorithm) else { panic!("no PEM") };
        let key = EncodingKey::from_ec_der(&der(pem));
        let signer =
            (rust_crypto::DEFAULT_PROVIDER.signer_factory)(&jsonwebtoken::Algorithm::ES256, &key).unwrap();
        URL_SAFE_NO_PAD.encode(signer.try_sign(message.as_bytes()).unwrap()) == signature
    };
    assert!(is_deterministic(key(Crypto::new(&rust_crypto::DEFAULT_PROVIDER))));
    assert!(!is_deterministic(key(Crypto::new(&aws_lc::DEFAULT_PROVIDER))));
    assert!(!is_deterministic(SigningKey::read(algorithm, private_key(algorithm)).unwrap()));
    assert!(!is_deterministic(key(Crypto::compiled_in().unwrap())));
}

#[test]
fn the_service_is_built() {
    let config = config(SigningKey::hs256([0xfa; 32]).unwrap(), None);
    let keys = RefreshKeys::new([0xa5; 32]).unwrap();
    let service = AuthService::builder(&config, keys, MokaStore::new(), NoLogin::<NoClaims>::new())
        .add_origin("https://i.example")
        .build();
    assert!(service.is_ok());
}

/// The bytes of a PEM text of one block.
fn der(pem: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(pem).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).unwrap()
}
