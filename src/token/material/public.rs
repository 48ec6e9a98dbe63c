//! [`PublicMaterial`]: a key that verifies, read from each of its forms, and written as the backends take it.

use pkcs1::RsaPublicKey;
use pkcs8::der::Decode;
#[cfg(feature = "aws-lc-rs")]
use pkcs8::der::{Encode, asn1::UintRef};
use pkcs8::spki::SubjectPublicKeyInfoRef;

use crate::error::ConfigError;
use crate::secret::{ExposeSecret, SecretSlice, equal};
use crate::token::algorithm::{Algorithm, Curve, Family};
use crate::token::crypto::is_on_curve;
use crate::token::jwk::Jwk;
use crate::token::material::der::{EC, ED25519, RSA, curve_of, is_private_der};
use crate::token::material::pem::{PemLabel, pem_block};
use crate::token::material::shared_secret::{decode_base64, hmac_secret};
use crate::token::material::strength::{check_rsa, check_secret, is_small_order};
use crate::token::material::{KeyForm, bad_key, other_family};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_in_one_part_are_two() {
        let rsa = |n: u8, e: u8| PublicMaterial::Rsa { n: vec![n], e: vec![e] };
        let ec = |curve, x: u8, y: u8| PublicMaterial::Ec { curve, x: vec![x], y: vec![y] };
        let all = [
            rsa(1, 2),
            rsa(1, 3),
            rsa(3, 2),
            ec(Curve::P256, 1, 2),
            ec(Curve::P384, 1, 2),
            ec(Curve::P256, 1, 3),
            ec(Curve::P256, 3, 2),
            PublicMaterial::Ed25519([1; 32]),
            PublicMaterial::Ed25519([2; 32]),
        ];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert!((one == other) == (at == other_at), "{at} and {other_at}");
            }
        }
    }
}
