//! None of the crate's backends is on, and the program gives a provider: that one is used, and no other.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::crypto::{CryptoProvider, KeyUtils, rust_crypto};
use jsonwebtoken::{EncodingKey, Header, encode};
use tower_jwt_auth::{
    AccessGrant, Algorithm, ConfigErrorKind, Crypto, Issuer, NoClaims, SigningKey, TokenConfig,
};
use tower_jwt_auth_backends::{DEFAULT_ASKED, config, install_a_trap, private_key};

/// RustCrypto, and how often it signed, verified, and derived a public key.
static COUNTING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        SIGNED.fetch_add(1, Ordering::SeqCst);
        (rust_crypto::DEFAULT_PROVIDER.signer_factory)(algorithm, key)
    },
    verifier_factory: |algorithm, key| {
        VERIFIED.fetch_add(1, Ordering::SeqCst);
        (rust_crypto::DEFAULT_PROVIDER.verifier_factory)(algorithm, key)
    },
    key_utils: KeyUtils {
        ec_pub_components_from_private_key: |der, algorithm| {
            DERIVED.fetch_add(1, Ordering::SeqCst);
            (rust_crypto::DEFAULT_PROVIDER.key_utils.ec_pub_components_from_private_key)(der, algorithm)
        },
        ed_pub_components_from_private_key: |der, curve| {
            DERIVED.fetch_add(1, Ordering::SeqCst);
            (rust_crypto::DEFAULT_PROVIDER.key_utils.ed_pub_components_from_private_key)(der, curve)
        },
        ..KeyUtils::new_unimplemented()
    },
};

static SIGNED: AtomicUsize = AtomicUsize::new(0);
static VERIFIED: AtomicUsize = AtomicUsize::new(0);
static DERIVED: AtomicUsize = AtomicUsize::new(0);
/// The counters are of the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn counts() -> [usize; 3] {
    [&SIGNED, &VERIFIED, &DERIVED].map(|counter| counter.swap(0, Ordering::SeqCst))
}

#[test]
fn the_given_provider_does_all_the_work_for_every_algorithm() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    install_a_trap();
    let crypto = Crypto::new(&COUNTING);
    for &algorithm in Algorithm::ALL {
        counts();
        let key = SigningKey::read_with(crypto, algorithm, private_key(algorithm)).unwrap();
        let derived =
            usize::from(matches!(algorithm, Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa));
        assert_eq!(counts(), [1, 1, derived], "{algorithm:?}: the trial");
        let config = config(key, Some(crypto));
        let token = Issuer::new(&config).unwrap().issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap();
        assert_eq!(counts(), [1, 0, 0], "{algorithm:?}: signing");
        let verified = config.verifier::<NoClaims>().verify(token.expose()).unwrap();
        assert_eq!(verified.subject(), "ada", "{algorithm:?}");
        assert_eq!(counts(), [0, 1, 0], "{algorithm:?}: verifying");
    }
    assert_eq!(DEFAULT_ASKED.load(Ordering::SeqCst), 0);
    // The trap works: jsonwebtoken's own functions do fall into it.
    assert!(encode(&Header::default(), &1, &EncodingKey::from_secret(b"x")).is_err());
    assert_eq!(DEFAULT_ASKED.load(Ordering::SeqCst), 1);
}

#[test]
fn without_the_argument_it_is_an_error() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    assert_eq!(Crypto::compiled_in().unwrap_err().kind(), ConfigErrorKind::Crypto);
    for &algorithm in Algorithm::ALL {
        let error = SigningKey::read(algorithm, private_key(algorithm)).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Crypto, "{algorithm:?}");
        // A key that was given a provider does not hand it on to the configuration.
        let key = SigningKey::read_with(
            Crypto::new(&rust_crypto::DEFAULT_PROVIDER),
            algorithm,
            private_key(algorithm),
        );
        let built =
            TokenConfig::builder().key(key.unwrap()).issuer("https://i.example").audience("api").build();
        assert_eq!(built.unwrap_err().kind(), ConfigErrorKind::Crypto, "{algorithm:?}");
    }
}
