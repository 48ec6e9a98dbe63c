//! Keys, each bound to one algorithm.

use std::fmt;

use jsonwebtoken::{DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::{ExposeSecret, base64url, hmac_sha256, sha256};
use crate::thumbprint::Thumbprint;
use crate::token::algorithm::{Algorithm, Family};
use crate::token::crypto::Crypto;
use crate::token::jwk;
use crate::token::material::{KeyForm, PrivateMaterial, PublicMaterial, bad_key};
use crate::token::prepared_key::Prepared;

/// A key that signs access tokens, with its key id and its one algorithm.
///
/// The key id defaults to the key's thumbprint (RFC 7638), for an HMAC key to a keyed digest: nodes with the same key
/// agree on it.
///
/// ```
/// use tower_jwt_auth::{Algorithm, KeyForm, SigningKey};
///
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----";
/// let key = SigningKey::read(Algorithm::EdDsa, KeyForm::Pem(pem.as_bytes()))?;
/// assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
///
/// // A key of another kind than its algorithm is found out here, not at the first login.
/// assert!(SigningKey::read(Algorithm::Es256, KeyForm::Pem(pem.as_bytes())).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SigningKey {
    crypto: Crypto,
    key: EncodingKey,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// A private key in any form, for one algorithm. Signs once to try it.
    ///
    /// Tokens of an Ed25519 key are signed under the name `EdDSA`, also where a JWK calls it `Ed25519`: publish the key
    /// as [`KeySet::to_jwks`](crate::KeySet::to_jwks) writes it.
    ///
    /// A JWK's own `kid` is its key id.
    ///
    /// # Errors
    ///
    /// The key cannot be read, is of another kind than the algorithm needs, or is too weak: an HMAC key shorter than
    /// the hash (RFC 7518, section 3.2), an RSA key outside of 2048 to 8192 bits; or no cryptographic backend is
    /// compiled in.
    pub fn read(algorithm: Algorithm, form: KeyForm<'_>) -> Result<Self, ConfigError> {
        Self::read_with(Crypto::compiled_in()?, algorithm, form)
    }

    /// As [`read`](Self::read), with a cryptographic backend of one's own.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_with(crypto: Crypto, algorithm: Algorithm, form: KeyForm<'_>) -> Result<Self, ConfigError> {
        let key = Self::of(crypto, algorithm, PrivateMaterial::read(algorithm, form)?)?;
        let KeyForm::Jwk(text) = form else { return Ok(key) };
        let jwk = jwk::Jwk::parse(text)?;
        // Others have the public members, and would refuse all that a key with another half signs.
        if jwk.material(algorithm).is_ok_and(|public| public == key.verifying.material) {
            Ok(Self { verifying: key.verifying.with_kid_of(&jwk), ..key })
        } else {
            Err(bad_key("the JWK's public members are not those of its private key"))
        }
    }

    /// An HMAC key for HS256: at least 32 random bytes.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::read(Algorithm::Hs256, KeyForm::Secret(secret.as_ref()))
    }

    /// An Ed25519 key from its PEM form (PKCS#8, `BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn ed25519_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::read(Algorithm::EdDsa, KeyForm::Pem(pem.as_ref()))
    }

    /// An Ed25519 key from its 32 secret bytes (the seed of RFC 8032, section 5.1.5), which must be random.
    ///
    /// # Errors
    ///
    /// No cryptographic backend is compiled in.
    pub fn ed25519_seed(seed: &[u8; 32]) -> Result<Self, ConfigError> {
        Self::of(Crypto::compiled_in()?, Algorithm::EdDsa, PrivateMaterial::ed25519(seed))
    }

    /// From a private scalar, or for Ed25519 from a seed.
    pub(crate) fn from_private_bytes(
        crypto: Crypto,
        algorithm: Algorithm,
        private: &[u8],
    ) -> Result<Self, ConfigError> {
        let material = match algorithm.family() {
            Family::Ec(curve) => PrivateMaterial::ec(curve, private)?,
            Family::Ed25519 => {
                let seed = private.try_into().map_err(|_| bad_key("an Ed25519 seed must have 32 bytes"))?;
                PrivateMaterial::ed25519(seed)
            }
            Family::Hmac | Family::Rsa => return Err(bad_key("the algorithm has neither scalar nor seed")),
        };
        Self::of(crypto, algorithm, material)
    }

    fn of(crypto: Crypto, algorithm: Algorithm, material: PrivateMaterial) -> Result<Self, ConfigError> {
        let unusable = || bad_key("the cryptographic backend cannot use this private key");
        let (key, public) = match material {
            PrivateMaterial::Hmac(secret) => {
                (EncodingKey::from_secret(secret.expose_secret()), PublicMaterial::Hmac(secret))
            }
            PrivateMaterial::Rsa { pkcs1, public } => (EncodingKey::from_rsa_der(&pkcs1), public),
            PrivateMaterial::Ec { curve, pkcs8 } => {
                let (x, y) = crypto.ec_public(curve, &pkcs8).ok_or_else(unusable)?;
                (EncodingKey::from_ec_der(&pkcs8), PublicMaterial::Ec { curve, x, y })
            }
            PrivateMaterial::Ed25519 { pkcs8 } => {
                let public = crypto.ed25519_public(&pkcs8).ok_or_else(unusable)?;
                (EncodingKey::from_ed_der(&pkcs8), PublicMaterial::Ed25519(public))
            }
        };
        let key = Self { crypto, key, verifying: VerifyingKey::of(algorithm, public)? };
        if key.works() { Ok(key) } else { Err(unusable()) }
    }

    fn works(&self) -> bool {
        const MESSAGE: &[u8] = b"tower-jwt-auth: is this key usable?";
        self.sign(MESSAGE).is_some_and(|signature| self.verifying.verify(self.crypto, MESSAGE, &signature))
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

    /// The key that verifies what this one signs. For an HMAC key it is the same secret.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.crypto.sign(self.algorithm(), &self.key, message)
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
    identity: KeyIdentity,
    key: DecodingKey,
    prepared: Option<Prepared>,
    material: PublicMaterial,
}

impl VerifyingKey {
    /// A public key, or an HMAC key, in any form, for one algorithm.
    ///
    /// A JWK's own `kid` is its key id.
    ///
    /// # Errors
    ///
    /// The key cannot be read, is private, is of another kind than the algorithm needs, says that it is for something
    /// else (`use`, `key_ops`, `alg`), or is not safe: an HMAC key shorter than the hash, an RSA key outside of 2048
    /// to 8192 bits, a point that is not on its curve, an Ed25519 point of small order.
    pub fn read(algorithm: Algorithm, form: KeyForm<'_>) -> Result<Self, ConfigError> {
        let key = Self::of(algorithm, PublicMaterial::read(algorithm, form)?)?;
        match form {
            KeyForm::Jwk(text) => Ok(key.with_kid_of(&jwk::Jwk::parse(text)?)),
            _ => Ok(key),
        }
    }

    /// An HMAC key for HS256: at least 32 random bytes.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::read(Algorithm::Hs256, KeyForm::Secret(secret.as_ref()))
    }

    /// An Ed25519 public key, 32 bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    ///
    /// The bytes encode a point of small order, under which anyone can sign.
    pub fn ed25519(public: &[u8; 32]) -> Result<Self, ConfigError> {
        Self::of(Algorithm::EdDsa, PublicMaterial::Ed25519(*public))
    }

    /// An Ed25519 public key from its PEM form (SPKI, `BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn ed25519_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::read(Algorithm::EdDsa, KeyForm::Pem(pem.as_ref()))
    }

    pub(crate) fn of(algorithm: Algorithm, material: PublicMaterial) -> Result<Self, ConfigError> {
        material.check(algorithm).map_err(|why| ConfigError::new(ConfigErrorKind::Key, why))?;
        let thumbprint = || jwk::thumbprint(&material).map(|thumbprint| thumbprint.to_string());
        let (key, kid) = match &material {
            PublicMaterial::Hmac(secret) => {
                let secret = secret.expose_secret();
                // Not the thumbprint, which would be a plain digest of the secret.
                let kid = base64url(&hmac_sha256(secret, &[b"tower-jwt-auth key id"])[..16]);
                (DecodingKey::from_secret(secret), Some(kid))
            }
            PublicMaterial::Rsa { n, e } => (DecodingKey::from_rsa_raw_components(n, e), thumbprint()),
            PublicMaterial::Ec { .. } => {
                let point = material.uncompressed().unwrap_or_default();
                (DecodingKey::from_ec_der(&point), thumbprint())
            }
            PublicMaterial::Ed25519(point) => (DecodingKey::from_ed_der(point), thumbprint()),
        };
        let kid: Box<str> = kid.unwrap_or_default().into();
        let identity = KeyIdentity::of(algorithm, &kid, &material);
        let prepared = Prepared::new(algorithm, &material);
        Ok(Self { algorithm, kid, identity, key, prepared, material })
    }

    fn with_kid_of(self, jwk: &jwk::Jwk) -> Self {
        match jwk.kid.as_ref() {
            Some(kid) => self.with_kid(kid),
            None => self,
        }
    }

    /// Replaces the key id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into().into();
        self.identity = KeyIdentity::of(self.algorithm, &self.kid, &self.material);
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

    /// The thumbprint of RFC 7638; `None` for an HMAC key.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        jwk::thumbprint(&self.material)
    }

    /// The public key as a JWK; `None` for an HMAC key, which nobody else may know.
    pub fn to_jwk(&self) -> Option<String> {
        jwk::to_json(&self.material, &self.kid, self.algorithm)
    }

    /// The public key as a JWK of its required members alone.
    pub(crate) fn to_bare_jwk(&self) -> Option<String> {
        jwk::required_members(&self.material)
    }

    pub(crate) fn identity(&self) -> KeyIdentity {
        self.identity
    }

    /// Whether two keys are the same, id and algorithm included.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.kid == other.kid && self.material == other.material
    }

    /// By the key that was prepared, and by `jsonwebtoken`.
    #[cfg(all(test, feature = "aws-lc-rs"))]
    pub(crate) fn decide_both_ways(&self, message: &[u8], signature: &[u8]) -> Option<[bool; 2]> {
        let crypto = Crypto::compiled_in().ok()?;
        let prepared = self.prepared.as_ref()?.verify(message, signature);
        Some([prepared, crypto.verify(self.algorithm, &self.key, message, signature)])
    }

    pub(crate) fn verify(&self, crypto: Crypto, message: &[u8], signature: &[u8]) -> bool {
        match &self.prepared {
            Some(prepared) if crypto.is_aws_lc() => prepared.verify(message, signature),
            _ => crypto.verify(self.algorithm, &self.key, message, signature),
        }
    }
}

/// Which key it is: the same for the same key read twice, another for another key by the same id. Half a digest, so
/// that it is small; no key in a set is of an attacker's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyIdentity([u8; 16]);

impl KeyIdentity {
    fn of(algorithm: Algorithm, kid: &str, material: &PublicMaterial) -> Self {
        let mut text = Zeroizing::new(Vec::new());
        for part in [algorithm.as_str().as_bytes(), kid.as_bytes()] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        material.write_to(&mut text);
        let mut half = [0; 16];
        half.copy_from_slice(&sha256(&text)[..16]);
        Self(half)
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

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;

    /// The key of RFC 8037, appendix A.2.
    #[test]
    fn what_a_key_shows_of_itself() {
        let bare = r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = VerifyingKey::read(Algorithm::EdDsa, KeyForm::Jwk(bare)).unwrap().with_kid("mine");
        assert_eq!(key.to_bare_jwk().as_deref(), Some(bare));
        assert_eq!(format!("{key:?}"), r#"VerifyingKey { kid: "mine", algorithm: EdDsa, .. }"#);
        let secret = VerifyingKey::hs256([7; 32]).unwrap();
        assert_eq!((secret.to_bare_jwk(), secret.to_jwk()), (None, None));
    }
}
