//! Keys in DER: which kind of key, on which curve, and which half of it.

use pkcs1::{RsaPrivateKey, RsaPublicKey};
use pkcs8::PrivateKeyInfo;
use pkcs8::der::Decode;
use pkcs8::der::asn1::ObjectIdentifier;
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use sec1::EcPrivateKey;

use crate::error::ConfigError;
use crate::token::algorithm::Curve;
use crate::token::material::bad_key;

pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

pub(super) fn is_public_der(der: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::try_from(der).is_ok() || RsaPublicKey::from_der(der).is_ok()
}

pub(super) fn is_private_der(der: &[u8]) -> bool {
    PrivateKeyInfo::try_from(der).is_ok()
        || RsaPrivateKey::try_from(der).is_ok()
        || EcPrivateKey::try_from(der).is_ok()
}

pub(super) fn curve_of(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Curve, ConfigError> {
    algorithm
        .parameters_oid()
        .ok()
        .and_then(named_curve)
        .ok_or_else(|| bad_key("the key's curve is neither P-256 nor P-384"))
}

pub(super) fn named_curve(oid: ObjectIdentifier) -> Option<Curve> {
    match oid {
        P256 => Some(Curve::P256),
        P384 => Some(Curve::P384),
        _ => None,
    }
}
