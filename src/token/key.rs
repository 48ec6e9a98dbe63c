//! Keys, each bound to one algorithm.

use std::fmt;

use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::{base64url, hmac_sha256, sha256};
use crate::token::crypto;

/// A signature algorithm of RFC 7518 or RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256 (RFC 7518, section 3.2). Whoever verifies can also sign.
    Hs256,
    /// Ed25519 (RFC 8037, section 3.1), signed under the name `EdDSA`, accepted also as `Ed25519` (RFC 9864).
    EdDsa,
}

impl Algorithm {
    /// The value of the header parameter `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether `alg` names this algorithm. Names compare exactly, case included (RFC 7515, section 4.1.1).
    pub(crate) fn is_named(self, alg: &str) -> bool {
        alg == self.as_str() || (self == Self::EdDsa && alg == "Ed25519")
    }

    pub(crate) fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256)
    }

    pub(crate) fn backend(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// A key that signs access tokens, with its key id and its one algorithm.
///
/// The key id defaults to one derived from the key, so that all nodes with the same key agree on it.
#[derive(Clone)]
pub struct SigningKey {
    key: EncodingKey,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// An HMAC key for HS256.
    ///
    /// # Errors
    ///
    /// Fewer than 32 bytes (RFC 7518, section 3.2). Use random bytes, not a password.
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let verifying = VerifyingKey::hs256(&secret)?;
        Self { key: EncodingKey::from_secret(secret.as_ref()), verifying }.tried()
    }

    /// An Ed25519 key from its PEM form (PKCS#8, `BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// The text is no such key, or no cryptographic backend is compiled in.
    pub fn ed25519_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let key = EncodingKey::from_ed_pem(pem.as_ref()).map_err(|error| {
            ConfigError::new(
                ConfigErrorKind::Key,
                "the text is no Ed25519 private key in PEM form: expected PKCS#8, `-----BEGIN PRIVATE KEY-----`",
            )
            .with_source(error)
        })?;
        Self::ed25519(key)
    }

    /// An Ed25519 key from its DER form (PKCS#8, version 1 or 2).
    ///
    /// # Errors
    ///
    /// The bytes are no such key, or no cryptographic backend is compiled in.
    pub fn ed25519_der(pkcs8: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::ed25519(EncodingKey::from_ed_der(pkcs8.as_ref()))
    }

    /// An Ed25519 key from its 32 secret bytes (the seed of RFC 8032, section 5.1.5), which must be random.
    ///
    /// # Errors
    ///
    /// No cryptographic backend is compiled in.
    pub fn ed25519_seed(seed: &[u8; 32]) -> Result<Self, ConfigError> {
        // PKCS#8 around a key of RFC 8410: version 0, the algorithm id, an OCTET STRING in an OCTET STRING.
        const PREFIX: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let mut der = zeroize::Zeroizing::new([0; 48]);
        der[..16].copy_from_slice(&PREFIX);
        der[16..].copy_from_slice(seed);
        Self::ed25519_der(&der[..])
    }

    fn ed25519(key: EncodingKey) -> Result<Self, ConfigError> {
        let public = crypto::ed25519_public(crypto::provider()?, key.as_bytes())?;
        Self { key, verifying: VerifyingKey::ed25519(&public)? }.tried()
    }

    /// Signs once, so that a key the backend cannot use fails here and not at the first login.
    fn tried(self) -> Result<Self, ConfigError> {
        const MESSAGE: &[u8] = b"tower-jwt-auth: is this key usable?";
        let provider = crypto::provider()?;
        let works = crypto::sign(provider, self.algorithm(), &self.key, MESSAGE).is_some_and(|signature| {
            crypto::verify(provider, self.algorithm(), &self.verifying.key, MESSAGE, &signature)
        });
        if works {
            Ok(self)
        } else {
            Err(ConfigError::new(ConfigErrorKind::Key, "the cryptographic backend cannot sign with this key"))
        }
    }

    /// Replaces the key id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.verifying = self.verifying.with_kid(kid);
        self
    }

    /// The key id (`kid`, RFC 7515, section 4.1.4).
    pub fn kid(&self) -> &str {
        self.verifying.kid()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm
    }

    /// The key that verifies what this one signs. For HS256 it is the same secret.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    pub(crate) fn material(&self) -> &EncodingKey {
        &self.key
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// A key that verifies access tokens, with its key id and its one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: Box<str>,
    key: DecodingKey,
}

impl VerifyingKey {
    /// An HMAC key for HS256.
    ///
    /// # Errors
    ///
    /// Fewer than 32 bytes (RFC 7518, section 3.2). Use random bytes, not a password.
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let secret = secret.as_ref();
        if secret.len() < 32 {
            return Err(ConfigError::new(
                ConfigErrorKind::Key,
                "an HS256 key needs at least 32 random bytes (RFC 7518, section 3.2)",
            ));
        }
        // Not the thumbprint of RFC 7638, which would be a plain digest of the secret.
        let kid = base64url(&hmac_sha256(secret, &[b"tower-jwt-auth key id"])[..16]);
        Ok(Self { algorithm: Algorithm::Hs256, kid: kid.into(), key: DecodingKey::from_secret(secret) })
    }

    /// An Ed25519 public key, 32 bytes (RFC 8032, section 5.1.5). Its key id is the thumbprint of RFC 7638.
    ///
    /// # Errors
    ///
    /// The bytes encode a point of small order, under which anyone can sign.
    pub fn ed25519(public: &[u8; 32]) -> Result<Self, ConfigError> {
        if is_small_order(public) {
            return Err(ConfigError::new(
                ConfigErrorKind::Key,
                "the Ed25519 public key is a point of small order: anyone could sign for it",
            ));
        }
        let kid = base64url(&sha256(
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(public)).as_bytes(),
        ));
        Ok(Self { algorithm: Algorithm::EdDsa, kid: kid.into(), key: DecodingKey::from_ed_der(public) })
    }

    /// An Ed25519 public key from its PEM form (SPKI, `BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    ///
    /// The text is no such key, or the key is a point of small order.
    pub fn ed25519_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let bad = || {
            ConfigError::new(
                ConfigErrorKind::Key,
                "the text is no Ed25519 public key in PEM form: expected SPKI, `-----BEGIN PUBLIC KEY-----`",
            )
        };
        let key = DecodingKey::from_ed_pem(pem.as_ref()).map_err(|error| bad().with_source(error))?;
        let public: &[u8; 32] =
            key.try_get_as_bytes().ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?;
        Self::ed25519(public)
    }

    /// Replaces the key id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into().into();
        self
    }

    /// The key id (`kid`, RFC 7515, section 4.1.4).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn material(&self) -> &DecodingKey {
        &self.key
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Whether the bytes encode one of the eight points whose order divides the cofactor, in any spelling: the sign bit
/// and coordinates at or above the prime p = 2^255 - 19 included.
fn is_small_order(public: &[u8; 32]) -> bool {
    /// The y-coordinate of two of the four points of order 8, little-endian; the other two have p - y.
    const ORDER_8: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const ORDER_8_NEGATED: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    let mut y = *public;
    y[31] &= 0x7f;
    let near_prime = y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    let near_zero = y[1..].iter().all(|byte| *byte == 0);
    // y = 0 (order 4), 1 (order 1), p - 1 (order 2), and p, p + 1 as second spellings of 0 and 1.
    (near_zero && y[0] <= 1)
        || (near_prime && matches!(y[0], 0xec..=0xee))
        || y == ORDER_8
        || y == ORDER_8_NEGATED
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by `openssl genpkey -algorithm ed25519`, for this test only.
    const PRIVATE_PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    // The example of RFC 8037, appendix A.1 to A.3.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    fn bytes(text: &str) -> [u8; 32] {
        crate::secret::from_base64url(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn a_private_key_knows_its_public_half_and_its_thumbprint() {
        let seed = SigningKey::ed25519_seed(&bytes(SEED)).unwrap();
        let pem = SigningKey::ed25519_pem(PRIVATE_PEM).unwrap();
        assert_eq!(seed.kid(), THUMBPRINT);
        assert_eq!(pem.kid(), THUMBPRINT);
        let public = VerifyingKey::ed25519(&bytes(PUBLIC)).unwrap();
        assert_eq!(public.kid(), THUMBPRINT);
        assert_eq!(pem.verifying_key().key.try_get_as_bytes().unwrap(), bytes(PUBLIC));
    }

    #[test]
    fn s11_short_hmac_keys_are_refused() {
        for secret in [&b""[..], b"secret", b"changeme", &[7; 31]] {
            assert_eq!(SigningKey::hs256(secret).unwrap_err().kind(), ConfigErrorKind::Key);
            assert_eq!(VerifyingKey::hs256(secret).unwrap_err().kind(), ConfigErrorKind::Key);
        }
        assert!(SigningKey::hs256([7; 32]).is_ok());
    }

    #[test]
    fn a_wrong_form_of_key_fails_at_construction() {
        for pem in [
            "",
            "garbage",
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n",
        ] {
            assert_eq!(SigningKey::ed25519_pem(pem).unwrap_err().kind(), ConfigErrorKind::Key, "{pem}");
        }
        for der in [&[][..], &[0x30], &[0; 48]] {
            assert_eq!(SigningKey::ed25519_der(der).unwrap_err().kind(), ConfigErrorKind::Key);
        }
        assert_eq!(VerifyingKey::ed25519_pem(PRIVATE_PEM).unwrap_err().kind(), ConfigErrorKind::Key);
    }

    #[test]
    fn points_of_small_order_are_refused_in_every_spelling() {
        let mut spellings = vec![[0; 32], bytes("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];
        for low in [0xec, 0xed, 0xee] {
            let mut y = [0xff; 32];
            (y[0], y[31]) = (low, 0x7f);
            spellings.push(y);
        }
        for mut y in spellings {
            for sign in [0, 0x80] {
                y[31] = (y[31] & 0x7f) | sign;
                assert!(VerifyingKey::ed25519(&y).is_err(), "{y:?}");
            }
        }
        assert!(VerifyingKey::ed25519(&bytes(PUBLIC)).is_ok());
    }

    #[test]
    fn debug_shows_no_key() {
        let secret = b"0123456789abcdef0123456789abcdef";
        let text = format!("{:?}", SigningKey::hs256(secret).unwrap());
        assert!(!text.contains("0123456789") && !text.contains("48, 49"), "{text}");
    }

    #[test]
    fn algorithm_names_compare_exactly() {
        assert!(Algorithm::EdDsa.is_named("EdDSA") && Algorithm::EdDsa.is_named("Ed25519"));
        for alg in ["eddsa", "EDDSA", "EdDSA ", "none", "HS256", "Ed448"] {
            assert!(!Algorithm::EdDsa.is_named(alg), "{alg}");
        }
    }
}
