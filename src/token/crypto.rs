//! The cryptography of `jsonwebtoken`, always through an explicit provider.
//!
//! `jsonwebtoken` also has a provider for the whole process. It is never used: it panics at first use when two
//! backends, or none, are compiled in, and any crate of the tree can switch one on.

use jsonwebtoken::crypto::CryptoProvider;
use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::key::Algorithm;

/// The backend compiled in: aws-lc-rs before `RustCrypto`.
#[cfg(feature = "aws-lc-rs")]
const BACKEND: Option<&CryptoProvider> = Some(&jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER);
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
const BACKEND: Option<&CryptoProvider> = Some(&jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER);
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
const BACKEND: Option<&CryptoProvider> = None;

pub(crate) fn provider() -> Result<&'static CryptoProvider, ConfigError> {
    BACKEND.ok_or_else(|| {
        ConfigError::new(
            ConfigErrorKind::Crypto,
            "no cryptographic backend: enable the feature `aws-lc-rs` or `rust-crypto` of tower-jwt-auth",
        )
    })
}

pub(crate) fn sign(
    provider: &CryptoProvider,
    algorithm: Algorithm,
    key: &EncodingKey,
    message: &[u8],
) -> Option<Vec<u8>> {
    (provider.signer_factory)(&algorithm.backend(), key).ok()?.try_sign(message).ok()
}

/// `signature` is a `Vec` because the backend's trait asks for one.
pub(crate) fn verify(
    provider: &CryptoProvider,
    algorithm: Algorithm,
    key: &DecodingKey,
    message: &[u8],
    signature: &Vec<u8>,
) -> bool {
    (provider.verifier_factory)(&algorithm.backend(), key)
        .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
}

/// The public half of an Ed25519 key in PKCS#8.
pub(crate) fn ed25519_public(provider: &CryptoProvider, pkcs8: &[u8]) -> Result<[u8; 32], ConfigError> {
    let bad = || {
        ConfigError::new(
            ConfigErrorKind::Key,
            "the key is no Ed25519 private key in PKCS#8 (RFC 8410, section 7)",
        )
    };
    let public = (provider.key_utils.ed_pub_components_from_private_key)(
        pkcs8,
        &jsonwebtoken::jwk::EllipticCurve::Ed25519,
    )
    .map_err(|error| bad().with_source(error))?;
    public.try_into().map_err(|_| bad())
}
