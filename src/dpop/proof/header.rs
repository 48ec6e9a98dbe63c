//! The header of a proof: its type, its algorithm, and the key that it brings along.

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests;

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::dpop::error::{ProofError, ProofErrorKind};
use crate::dpop::proof::{Rules, Segments, json_error, utf8};
use crate::thumbprint::Thumbprint;
use crate::token::{Checked, Compact, Jwk, Names, Text, VerifyingKey, is_type};

/// Type, algorithm, key and signature; answers whose key it is.
pub(super) fn check_key(
    rules: &Rules,
    compact: &Compact<'_>,
    segments: &Segments,
) -> Result<Thumbprint, ProofError> {
    let error = |kind, detail: &'static str| ProofError::new(kind, detail);
    let header: Header<'_> = serde_json::from_str(utf8(&segments.header, ProofErrorKind::Malformed)?)
        .map_err(|error| json_error(ProofErrorKind::Malformed, "the header is not acceptable", &error))?;
    if !header.typ.is_some_and(|Text(typ)| is_type(&typ, "dpop+jwt")) {
        return Err(error(ProofErrorKind::Type, "`typ` is not `dpop+jwt`"));
    }
    let algorithm = header
        .alg
        .and_then(|Text(alg)| rules.algorithms.iter().copied().find(|allowed| allowed.is_named(&alg)))
        .filter(|algorithm| !algorithm.is_symmetric())
        .ok_or_else(|| error(ProofErrorKind::Algorithm, "`alg` is missing, or not one of those allowed"))?;

    let jwk = header.jwk.ok_or_else(|| error(ProofErrorKind::Key, "`jwk` is missing"))?;
    let bad_key = |what: &dyn fmt::Display| ProofError::new(ProofErrorKind::Key, format!("`jwk`: {what}"));
    let jwk = Jwk::parse(jwk.get()).map_err(|error| bad_key(&error))?;
    if jwk.is_secret() {
        return Err(error(ProofErrorKind::PrivateKey, "`jwk` holds a secret or private key"));
    }
    let key = jwk
        .into_public(algorithm)
        .and_then(|material| VerifyingKey::of(algorithm, material))
        .map_err(|error| bad_key(&error))?;
    let thumbprint = key.thumbprint().ok_or_else(|| bad_key(&"it has no thumbprint"))?;
    if key.verify(rules.crypto, compact.signing_input.as_bytes(), &segments.signature) {
        Ok(thumbprint)
    } else {
        Err(error(ProofErrorKind::Signature, "the signature is not by the key in `jwk`"))
    }
}

/// What is used of a proof's header: each of its type if present.
struct Header<'a> {
    typ: Option<Text<'a>>,
    alg: Option<Text<'a>>,
    jwk: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the JOSE header of a proof")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
                let (mut typ, mut alg, mut jwk) = (None, None, None);
                let mut names = Names::default();
                while let Some(name) = map.next_key::<Text<'_>>()? {
                    match &*name.0 {
                        "typ" => typ = Some(map.next_value::<Text<'_>>()?),
                        "alg" => alg = Some(map.next_value::<Text<'_>>()?),
                        "jwk" => {
                            let text = map.next_value::<&RawValue>()?;
                            // Also what of the key nobody looks at.
                            serde_json::from_str::<Checked>(text.get()).map_err(A::Error::custom)?;
                            jwk = Some(text);
                        }
                        // As in the header of an access token.
                        "crit" | "b64" => {
                            return Err(A::Error::custom("critical extensions are not supported"));
                        }
                        "enc" | "zip" => return Err(A::Error::custom("encrypted proofs are not supported")),
                        "cty" => {
                            if is_type(&map.next_value::<Text<'_>>()?.0, "jwt") {
                                return Err(A::Error::custom("nested tokens are not supported"));
                            }
                        }
                        _ => {
                            map.next_value::<Checked>()?;
                        }
                    }
                    names.insert(name)?;
                }
                Ok(Header { typ, alg, jwk })
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}
