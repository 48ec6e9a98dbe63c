//! What the tests share: a key of every family, and a process-wide provider that must not be asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use tower_jwt_auth::{Algorithm, Crypto, KeyForm, SigningKey, TokenConfig};

const RSA: &[u8] = include_bytes!("../../fixtures/keys/rsa.pkcs8.pem");
const P256: &[u8] = include_bytes!("../../fixtures/keys/p256.pkcs8.pem");
const P384: &[u8] = include_bytes!("../../fixtures/keys/p384.pkcs8.pem");
const ED25519: &[u8] = include_bytes!("../../fixtures/keys/ed25519.pkcs8.pem");

/// A private key for the algorithm.
pub fn private_key(algorithm: Algorithm) -> KeyForm<'static> {
    const SECRET: &[u8; 64] = b"0123456789abcdef-secret-of-the-tests-which-is-64-bytes-long-....";
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => KeyForm::Secret(SECRET),
        Algorithm::Es256 => KeyForm::Pem(P256),
        Algorithm::Es384 => KeyForm::Pem(P384),
        Algorithm::EdDsa => KeyForm::Pem(ED25519),
        _ => KeyForm::Pem(RSA),
    }
}

/// A configuration over this key, with the compiled-in backend unless one is given.
pub fn config(key: SigningKey, crypto: Option<Crypto>) -> TokenConfig {
    let builder = TokenConfig::builder().key(key).issuer("https://i.example").audience("api");
    let builder = match crypto {
        Some(crypto) => builder.crypto(crypto),
        None => builder,
    };
    builder.build().expect("a good configuration")
}

/// How often the process-wide provider was asked for anything.
pub static DEFAULT_ASKED: AtomicUsize = AtomicUsize::new(0);

/// Makes a provider the process's, who counts in [`DEFAULT_ASKED`] and answers nothing.
pub fn install_a_trap() {
    static TRAP: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| caught(),
        verifier_factory: |_, _| caught(),
        key_utils: KeyUtils {
            rsa_pub_components_from_private_key: |_| caught(),
            rsa_pub_components_from_public_key: |_| caught(),
            ec_pub_components_from_private_key: |_, _| caught(),
            ed_pub_components_from_private_key: |_, _| caught(),
            compute_digest: |_, _| caught(),
        },
    };
    fn caught<T>() -> jsonwebtoken::errors::Result<T> {
        DEFAULT_ASKED.fetch_add(1, Ordering::SeqCst);
        Err(jsonwebtoken::errors::ErrorKind::InvalidAlgorithm.into())
    }
    TRAP.install_default().expect("the first in this process");
}
