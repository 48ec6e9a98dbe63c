//! [`PrivateMaterial`]: a key that signs, read from each of its forms.

use pkcs1::RsaPrivateKey;
use pkcs8::der::Encode;
use pkcs8::der::asn1::{AnyRef, UintRef};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{PrivateKeyInfo, SecretDocument};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use crate::error::ConfigError;
use crate::secret::SecretSlice;
use crate::token::algorithm::{Algorithm, Curve, Family};
use crate::token::jwk::Jwk;
use crate::token::material::der::{EC, ED25519, P256, P384, RSA, curve_of, is_public_der, named_curve};
use crate::token::material::pem::{PemLabel, pem_block};
use crate::token::material::shared_secret::{decode_base64, hmac_secret};
use crate::token::material::{KeyForm, PublicMaterial, bad_key, other_family};

/// A private key in the form that the backends take.
pub(crate) enum PrivateMaterial {
    Hmac(SecretSlice<u8>),
    /// PKCS#1.
    Rsa {
        pkcs1: Zeroizing<Vec<u8>>,
        public: PublicMaterial,
    },
    /// PKCS#8.
    Ec {
        curve: Curve,
        pkcs8: Zeroizing<Vec<u8>>,
    },
    /// PKCS#8.
    Ed25519 {
        pkcs8: Zeroizing<Vec<u8>>,
    },
}

impl PrivateMaterial {
    pub(crate) fn read(algorithm: Algorithm, form: KeyForm<'_>) -> Result<Self, ConfigError> {
        let material = match form {
            KeyForm::Secret(secret) => Self::Hmac(hmac_secret(secret.to_vec().into())?),
            KeyForm::Base64(text) => Self::Hmac(hmac_secret(decode_base64(text)?)?),
            KeyForm::Jwk(text) => Jwk::parse(text)?.into_private(algorithm)?,
            KeyForm::Der(der) => Self::from_der(der)?,
            KeyForm::Pem(text) => match pem_block(text)? {
                (PemLabel::Pkcs8, der) => Self::from_pkcs8(&der)?,
                (PemLabel::Pkcs1Private, der) => Self::from_pkcs1(&der)?,
                (PemLabel::Sec1, der) => Self::from_sec1(&der)?,
                (PemLabel::Spki | PemLabel::Pkcs1Public, _) => {
                    return Err(bad_key("the PEM text holds a public key; a private one is needed to sign"));
                }
            },
        };
        if material.family() == algorithm.family() { Ok(material) } else { Err(other_family()) }
    }

    fn family(&self) -> Family {
        match self {
            Self::Hmac(_) => Family::Hmac,
            Self::Rsa { .. } => Family::Rsa,
            Self::Ec { curve, .. } => Family::Ec(*curve),
            Self::Ed25519 { .. } => Family::Ed25519,
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, ConfigError> {
        // The three forms differ from the second element on: one at most reads, and its error is the one to tell.
        if PrivateKeyInfo::try_from(der).is_ok() {
            Self::from_pkcs8(der)
        } else if EcPrivateKey::try_from(der).is_ok() {
            Self::from_sec1(der)
        } else if RsaPrivateKey::try_from(der).is_ok() {
            Self::from_pkcs1(der)
        } else if is_public_der(der) {
            Err(bad_key("the bytes are a public key; a private one is needed to sign"))
        } else {
            Err(bad_key("the bytes are no private key in DER: expected PKCS#8, PKCS#1 or SEC1"))
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, ConfigError> {
        let info = PrivateKeyInfo::try_from(der)
            .map_err(|error| bad_key("the key is no PKCS#8 (RFC 5958)").with_source(error.to_string()))?;
        match info.algorithm.oid {
            RSA => Self::from_pkcs1(info.private_key),
            EC => {
                let curve = curve_of(&info.algorithm)?;
                Ok(Self::Ec { curve, pkcs8: Zeroizing::new(der.to_vec()) })
            }
            ED25519 => Ok(Self::Ed25519 { pkcs8: Zeroizing::new(der.to_vec()) }),
            _ => Err(bad_key("the key is of a kind that no supported algorithm uses")),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, ConfigError> {
        let key = RsaPrivateKey::try_from(der)
            .map_err(|error| bad_key("the key is no RSA key in PKCS#1").with_source(error.to_string()))?;
        if key.other_prime_infos.is_some() {
            return Err(bad_key("RSA keys with more than two primes are not supported"));
        }
        let (n, e) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
        let public = PublicMaterial::Rsa { n: n.to_vec(), e: e.to_vec() };
        Ok(Self::Rsa { pkcs1: Zeroizing::new(der.to_vec()), public })
    }

    fn from_sec1(der: &[u8]) -> Result<Self, ConfigError> {
        let key = EcPrivateKey::try_from(der)
            .map_err(|error| bad_key("the key is no SEC1 key (RFC 5915)").with_source(error.to_string()))?;
        let curve = key
            .parameters
            .and_then(EcParameters::named_curve)
            .and_then(named_curve)
            .ok_or_else(|| bad_key("the SEC1 key does not name P-256 or P-384 as its curve"))?;
        Self::ec(curve, key.private_key)
    }

    /// From the private scalar.
    pub(crate) fn ec(curve: Curve, scalar: &[u8]) -> Result<Self, ConfigError> {
        let bad = || bad_key("the private key has another length than its curve");
        if scalar.len() != curve.bytes() {
            return Err(bad());
        }
        let oid = match curve {
            Curve::P256 => P256,
            Curve::P384 => P384,
        };
        let sec1 = EcPrivateKey { private_key: scalar, parameters: None, public_key: None };
        let sec1 = Zeroizing::new(sec1.to_der().map_err(|_| bad())?);
        let algorithm = AlgorithmIdentifierRef { oid: EC, parameters: Some(AnyRef::from(&oid)) };
        let info = PrivateKeyInfo::new(algorithm, &sec1);
        let document = SecretDocument::encode_msg(&info).map_err(|_| bad())?;
        Ok(Self::Ec { curve, pkcs8: Zeroizing::new(document.as_bytes().to_vec()) })
    }

    /// From the seed (RFC 8032, section 5.1.5).
    pub(crate) fn ed25519(seed: &[u8; 32]) -> Self {
        // PKCS#8 around a key of RFC 8410: version 0, the algorithm id, an OCTET STRING in an OCTET STRING.
        const PREFIX: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let mut pkcs8 = Zeroizing::new(PREFIX.to_vec());
        pkcs8.extend_from_slice(seed);
        Self::Ed25519 { pkcs8 }
    }

    /// From the numbers of a JWK (RFC 7518, section 6.3.2).
    pub(crate) fn rsa(numbers: &RsaNumbers<'_>) -> Result<Self, ConfigError> {
        let bad = || bad_key("the RSA key's numbers are not those of a key with two primes");
        let uint = |bytes| UintRef::new(bytes).map_err(|_| bad());
        let key = RsaPrivateKey {
            modulus: uint(numbers.n)?,
            public_exponent: uint(numbers.e)?,
            private_exponent: uint(numbers.d)?,
            prime1: uint(numbers.p)?,
            prime2: uint(numbers.q)?,
            exponent1: uint(numbers.dp)?,
            exponent2: uint(numbers.dq)?,
            coefficient: uint(numbers.qi)?,
            other_prime_infos: None,
        };
        let der = Zeroizing::new(key.to_der().map_err(|_| bad())?);
        Self::from_pkcs1(&der)
    }
}

/// The private numbers of an RSA key, big-endian.
pub(crate) struct RsaNumbers<'a> {
    pub(crate) n: &'a [u8],
    pub(crate) e: &'a [u8],
    pub(crate) d: &'a [u8],
    pub(crate) p: &'a [u8],
    pub(crate) q: &'a [u8],
    pub(crate) dp: &'a [u8],
    pub(crate) dq: &'a [u8],
    pub(crate) qi: &'a [u8],
}
