//! The cryptography of `jsonwebtoken`, always through an explicit provider.
//!
//! `jsonwebtoken` also has a provider for the whole process. It is never used: it panics at first use when two
//! backends, or none, are compiled in, and any crate of the tree can switch one on.

use std::fmt;

use jsonwebtoken::crypto::CryptoProvider;
use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::algorithm::{Algorithm, Curve};

/// A cryptographic backend: who computes signatures.
///
/// One is compiled in by the features `aws-lc-rs` (preferred) and `rust-crypto`. Without both, make one from a
/// provider of `jsonwebtoken` and hand it to [`SigningKey::read_with`](crate::SigningKey::read_with) and
/// [`TokenConfigBuilder::crypto`](crate::TokenConfigBuilder::crypto).
#[derive(Clone, Copy)]
pub struct Crypto {
    provider: &'static CryptoProvider,
}

#[cfg(feature = "aws-lc-rs")]
const COMPILED_IN: Option<&CryptoProvider> = Some(&jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER);
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
const COMPILED_IN: Option<&CryptoProvider> = Some(&jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER);
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
const COMPILED_IN: Option<&CryptoProvider> = None;

impl Crypto {
    /// The backend with this provider, of `jsonwebtoken` 11.
    pub const fn new(provider: &'static CryptoProvider) -> Self {
        Self { provider }
    }

    /// The backend that the features name: aws-lc-rs before `RustCrypto`.
    ///
    /// # Errors
    ///
    /// Neither feature is on.
    pub fn compiled_in() -> Result<Self, ConfigError> {
        COMPILED_IN.map(Self::new).ok_or_else(|| {
            ConfigError::new(
                ConfigErrorKind::Crypto,
                "no cryptographic backend: enable the feature `aws-lc-rs` or `rust-crypto` of tower-jwt-auth, or give \
                 one with `SigningKey::read_with` and `TokenConfigBuilder::crypto`",
            )
        })
    }

    pub(crate) fn sign(self, algorithm: Algorithm, key: &EncodingKey, message: &[u8]) -> Option<Vec<u8>> {
        (self.provider.signer_factory)(&algorithm.backend(), key).ok()?.try_sign(message).ok()
    }

    pub(crate) fn verify(
        self,
        algorithm: Algorithm,
        key: &DecodingKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        // The backend's trait asks for a `Vec`.
        (self.provider.verifier_factory)(&algorithm.backend(), key)
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }

    /// Whether this is aws-lc-rs as the feature of that name compiles it in.
    pub(crate) fn is_aws_lc(self) -> bool {
        cfg!(feature = "aws-lc-rs")
            && COMPILED_IN.is_some_and(|compiled| std::ptr::eq(compiled, self.provider))
    }

    /// The public half of an Ed25519 key in PKCS#8.
    pub(crate) fn ed25519_public(self, pkcs8: &[u8]) -> Option<[u8; 32]> {
        let curve = jsonwebtoken::jwk::EllipticCurve::Ed25519;
        (self.provider.key_utils.ed_pub_components_from_private_key)(pkcs8, &curve).ok()?.try_into().ok()
    }

    /// The public half of a key on a curve, in PKCS#8: its coordinates.
    pub(crate) fn ec_public(self, curve: Curve, pkcs8: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let algorithm = match curve {
            Curve::P256 => jsonwebtoken::Algorithm::ES256,
            Curve::P384 => jsonwebtoken::Algorithm::ES384,
        };
        let (_, x, y) =
            (self.provider.key_utils.ec_pub_components_from_private_key)(pkcs8, algorithm).ok()?;
        Some((x, y))
    }
}

impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crypto")
    }
}

/// The longest RSA key that the backend verifies with: a longer one would be read, and then refuse every token.
pub(crate) const MAX_RSA_BITS: usize =
    if cfg!(all(feature = "rust-crypto", not(feature = "aws-lc-rs"))) { 4096 } else { 8192 };

/// Whether a point in uncompressed form lies on its curve (RFC 7518, section 6.2.1). Without a compiled-in backend the
/// check is left to the given provider, which makes it at each signature.
pub(crate) fn is_on_curve(curve: Curve, point: &[u8]) -> bool {
    #[cfg(feature = "aws-lc-rs")]
    {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED,
        };
        ParsedPublicKey::new(algorithm, point).is_ok()
    }
    #[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
    match curve {
        Curve::P256 => p256::PublicKey::from_sec1_bytes(point).is_ok(),
        Curve::P384 => p384::PublicKey::from_sec1_bytes(point).is_ok(),
    }
    #[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
    {
        point.len() == 1 + 2 * curve.bytes()
    }
}
