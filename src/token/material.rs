//! Key material in one form each, whatever form it came in: PEM, DER, JWK or plain bytes.

mod strength;

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pkcs1::{RsaPrivateKey, RsaPublicKey};
use pkcs8::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{PrivateKeyInfo, SecretDocument};
use sec1::{EcParameters, EcPrivateKey};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::{ExposeSecret, SecretSlice, equal};
use crate::token::algorithm::{Algorithm, Curve, Family};
use crate::token::crypto::is_on_curve;
use crate::token::jwk::Jwk;

use self::strength::{check_rsa, check_secret, is_small_order};

/// A key as it comes: a text or bytes, and how to read them.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum KeyForm<'a> {
    /// The bytes of an HMAC key.
    Secret(&'a [u8]),
    /// An HMAC key in base64: either alphabet, with or without padding.
    Base64(&'a str),
    /// PEM (RFC 7468): PKCS#8, PKCS#1 or SEC1 for a private key, SPKI or PKCS#1 for a public one.
    Pem(&'a [u8]),
    /// The same in DER.
    Der(&'a [u8]),
    /// One JWK (RFC 7517).
    Jwk(&'a str),
}

/// The name of the form, not the key.
impl fmt::Debug for KeyForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Base64(_) => "Base64(..)",
            Self::Pem(_) => "Pem(..)",
            Self::Der(_) => "Der(..)",
            Self::Jwk(_) => "Jwk(..)",
        })
    }
}

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

/// A public key, or an HMAC key, which is its own other half.
#[derive(Clone)]
pub(crate) enum PublicMaterial {
    Hmac(SecretSlice<u8>),
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    Ec {
        curve: Curve,
        x: Vec<u8>,
        y: Vec<u8>,
    },
    Ed25519([u8; 32]),
}

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

pub(crate) fn bad_key(message: &'static str) -> ConfigError {
    ConfigError::new(ConfigErrorKind::Key, message)
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

/// HMAC keys compare in constant time.
impl PartialEq for PublicMaterial {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hmac(a), Self::Hmac(b)) => equal(a.expose_secret(), b.expose_secret()),
            (Self::Rsa { n, e }, Self::Rsa { n: n2, e: e2 }) => n == n2 && e == e2,
            (Self::Ec { curve, x, y }, Self::Ec { curve: curve2, x: x2, y: y2 }) => {
                curve == curve2 && x == x2 && y == y2
            }
            (Self::Ed25519(a), Self::Ed25519(b)) => a == b,
            _ => false,
        }
    }
}

impl PublicMaterial {
    /// The key's bytes, behind a text that no other key has.
    pub(crate) fn write_to(&self, text: &mut Vec<u8>) {
        match self {
            Self::Hmac(secret) => text.extend_from_slice(secret.expose_secret()),
            Self::Rsa { n, e } => {
                text.extend_from_slice(&(n.len() as u64).to_be_bytes());
                text.extend_from_slice(n);
                text.extend_from_slice(e);
            }
            // Of a length that the algorithm says.
            Self::Ec { x, y, .. } => {
                text.extend_from_slice(x);
                text.extend_from_slice(y);
            }
            Self::Ed25519(point) => text.extend_from_slice(point),
        }
    }

    pub(crate) fn read(algorithm: Algorithm, form: KeyForm<'_>) -> Result<Self, ConfigError> {
        let material = match form {
            KeyForm::Secret(secret) => Self::Hmac(hmac_secret(secret.to_vec().into())?),
            KeyForm::Base64(text) => Self::Hmac(hmac_secret(decode_base64(text)?)?),
            KeyForm::Jwk(text) => Jwk::parse(text)?.into_public(algorithm)?,
            KeyForm::Der(der) => Self::from_der(der)?,
            KeyForm::Pem(text) => match pem_block(text)? {
                (PemLabel::Spki, der) => Self::from_spki(&der)?,
                (PemLabel::Pkcs1Public, der) => Self::from_pkcs1(&der)?,
                (PemLabel::Pkcs8 | PemLabel::Pkcs1Private | PemLabel::Sec1, _) => {
                    return Err(bad_key(
                        "the PEM text holds a private key; give verifiers the public one only",
                    ));
                }
            },
        };
        if material.family() == algorithm.family() { Ok(material) } else { Err(other_family()) }
    }

    pub(crate) fn family(&self) -> Family {
        match self {
            Self::Hmac(_) => Family::Hmac,
            Self::Rsa { .. } => Family::Rsa,
            Self::Ec { curve, .. } => Family::Ec(*curve),
            Self::Ed25519(_) => Family::Ed25519,
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, ConfigError> {
        if SubjectPublicKeyInfoRef::try_from(der).is_ok() {
            Self::from_spki(der)
        } else if RsaPublicKey::from_der(der).is_ok() {
            Self::from_pkcs1(der)
        } else if is_private_der(der) {
            Err(bad_key("the bytes are a private key; give verifiers the public one only"))
        } else {
            Err(bad_key("the bytes are no public key in DER: expected SPKI or PKCS#1"))
        }
    }

    fn from_spki(der: &[u8]) -> Result<Self, ConfigError> {
        let info = SubjectPublicKeyInfoRef::try_from(der)
            .map_err(|error| bad_key("the key is no SPKI (RFC 5280)").with_source(error.to_string()))?;
        let bits = info.subject_public_key.as_bytes().ok_or_else(|| bad_key("the public key is cut"))?;
        match info.algorithm.oid {
            RSA => Self::from_pkcs1(bits),
            EC => {
                let curve = curve_of(&info.algorithm)?;
                let size = curve.bytes();
                match bits.split_first() {
                    Some((4, point)) if point.len() == 2 * size => {
                        let (x, y) = point.split_at(size);
                        Ok(Self::Ec { curve, x: x.to_vec(), y: y.to_vec() })
                    }
                    _ => Err(bad_key("the public key is no point in uncompressed form")),
                }
            }
            ED25519 => bits
                .try_into()
                .map(Self::Ed25519)
                .map_err(|_| bad_key("an Ed25519 public key must have 32 bytes")),
            _ => Err(bad_key("the key is of a kind that no supported algorithm uses")),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, ConfigError> {
        let key = RsaPublicKey::from_der(der)
            .map_err(|error| bad_key("the key is no RSA key in PKCS#1").with_source(error.to_string()))?;
        Ok(Self::Rsa { n: key.modulus.as_bytes().to_vec(), e: key.public_exponent.as_bytes().to_vec() })
    }

    /// Whether the key may be used at all; the reason if not.
    pub(crate) fn check(&self, algorithm: Algorithm) -> Result<(), &'static str> {
        match self {
            Self::Hmac(secret) => check_secret(secret.expose_secret(), algorithm),
            Self::Rsa { n, e } => check_rsa(n, e),
            Self::Ec { curve, x, y } => {
                if x.len() != curve.bytes() || y.len() != curve.bytes() {
                    return Err("a coordinate has another length than the curve asks for");
                }
                let on_curve = is_on_curve(*curve, &self.uncompressed().unwrap_or_default());
                if on_curve { Ok(()) } else { Err("the point does not lie on its curve") }
            }
            Self::Ed25519(point) if is_small_order(point) => {
                Err("the Ed25519 public key is a point of small order: anyone could sign for it")
            }
            Self::Ed25519(_) => Ok(()),
        }
    }

    /// A public key by itself: PKCS#1, a point, or the bytes of Ed25519.
    #[cfg(feature = "aws-lc-rs")]
    pub(crate) fn encoded(&self) -> Option<Vec<u8>> {
        match self {
            Self::Hmac(_) => None,
            Self::Rsa { n, e } => {
                let (modulus, public_exponent) = (UintRef::new(n).ok()?, UintRef::new(e).ok()?);
                RsaPublicKey { modulus, public_exponent }.to_der().ok()
            }
            Self::Ec { .. } => self.uncompressed(),
            Self::Ed25519(point) => Some(point.to_vec()),
        }
    }

    /// A point as the backends take it.
    pub(crate) fn uncompressed(&self) -> Option<Vec<u8>> {
        let Self::Ec { x, y, .. } = self else { return None };
        Some([&[4], x.as_slice(), y.as_slice()].concat())
    }
}

fn other_family() -> ConfigError {
    bad_key("the key is of another kind than its algorithm needs")
}

/// The bytes of a secret. A key in another form would be one that is known to others: most often a public key.
fn hmac_secret(secret: SecretSlice<u8>) -> Result<SecretSlice<u8>, ConfigError> {
    let bytes = secret.expose_secret();
    let is_pem = bytes.windows(11).any(|part| part == b"-----BEGIN ");
    let is_json =
        bytes.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    if is_pem || is_json {
        return Err(bad_key(
            "the secret is the text of a PEM or JWK key: read it with `KeyForm::Pem` or `KeyForm::Jwk`",
        ));
    }
    if is_public_der(bytes) || is_private_der(bytes) {
        return Err(bad_key("the secret is a key in DER: read it with `KeyForm::Der`"));
    }
    Ok(secret)
}

fn decode_base64(text: &str) -> Result<SecretSlice<u8>, ConfigError> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.trim();
    [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
        .map(Into::into)
        .ok_or_else(|| bad_key("the secret is not base64"))
}

fn is_public_der(der: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::try_from(der).is_ok() || RsaPublicKey::from_der(der).is_ok()
}

fn is_private_der(der: &[u8]) -> bool {
    PrivateKeyInfo::try_from(der).is_ok()
        || RsaPrivateKey::try_from(der).is_ok()
        || EcPrivateKey::try_from(der).is_ok()
}

fn curve_of(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Curve, ConfigError> {
    algorithm
        .parameters_oid()
        .ok()
        .and_then(named_curve)
        .ok_or_else(|| bad_key("the key's curve is neither P-256 nor P-384"))
}

fn named_curve(oid: ObjectIdentifier) -> Option<Curve> {
    match oid {
        P256 => Some(Curve::P256),
        P384 => Some(Curve::P384),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PemLabel {
    Pkcs8,
    Pkcs1Private,
    Sec1,
    Spki,
    Pkcs1Public,
}

/// The one key of a PEM text. `openssl ecparam` writes the curve's parameters before it.
fn pem_block(text: &[u8]) -> Result<(PemLabel, Zeroizing<Vec<u8>>), ConfigError> {
    // Without the reader's own error: it quotes the text, which may be a private key with a blank line in it.
    let blocks = pem::parse_many(text).map_err(|_| {
        bad_key("the text is no PEM (RFC 7468): is there a blank line in it, or is a line cut?")
    })?;
    let mut keys = blocks.into_iter().filter(|block| block.tag() != "EC PARAMETERS");
    let (Some(block), None) = (keys.next(), keys.next()) else {
        return Err(bad_key("the PEM text must hold exactly one key"));
    };
    let encrypted = || bad_key("the private key is encrypted: decrypt it first");
    if block.headers().get("DEK-Info").is_some() {
        return Err(encrypted());
    }
    let label = match block.tag() {
        "PRIVATE KEY" => PemLabel::Pkcs8,
        "RSA PRIVATE KEY" => PemLabel::Pkcs1Private,
        "EC PRIVATE KEY" => PemLabel::Sec1,
        "PUBLIC KEY" => PemLabel::Spki,
        "RSA PUBLIC KEY" => PemLabel::Pkcs1Public,
        "ENCRYPTED PRIVATE KEY" => return Err(encrypted()),
        "CERTIFICATE" => return Err(bad_key("the PEM text holds a certificate; give its public key")),
        _ => {
            return Err(bad_key(
                "the PEM text holds no key: expected PRIVATE KEY, PUBLIC KEY or their older forms",
            ));
        }
    };
    Ok((label, Zeroizing::new(block.into_contents())))
}
