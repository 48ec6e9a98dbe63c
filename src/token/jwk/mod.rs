//! One JSON Web Key (RFC 7517; RFC 7518, section 6; RFC 8037, section 2), in and out.

use std::ops::Deref;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::error::ConfigError;
use crate::secret::{base64url, from_base64url, sha256};
use crate::thumbprint::Thumbprint;
use crate::token::algorithm::{Algorithm, Family};
use crate::token::material::{PrivateMaterial, PublicMaterial, RsaNumbers, bad_key};

/// The members that are looked at. A member of another type, or one that is repeated, fails the key.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Member,
    key_ops: Member<Vec<String>>,
    alg: Member,
    pub(crate) kid: Member,
    crv: Member,
    x: Member,
    y: Member,
    n: Member,
    e: Member,
    k: Member,
    d: Member,
    p: Member,
    q: Member,
    dp: Member,
    dq: Member,
    qi: Member,
    oth: Member<IgnoredAny>,
}

/// A member that may be absent. `null` is not absent: it is a value of another type.
pub(crate) struct Member<T = String>(Option<T>);

impl<T> Default for Member<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Member<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

impl Jwk {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        if !is_object(text) {
            return Err(bad_key("the text is no JWK"));
        }
        serde_json::from_str(text).map_err(|error| {
            // The text of the error may quote a member, which may be private.
            bad_key(if error.is_data() {
                "the JWK has a member of the wrong type"
            } else {
                "the text is no JWK"
            })
        })
    }

    /// Whether the key is one that nobody else may know.
    pub(crate) fn is_secret(&self) -> bool {
        self.kty == "oct" || self.has_private_members()
    }

    fn has_private_members(&self) -> bool {
        let private = [&self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi, &self.k];
        self.oth.is_some() || private.into_iter().any(|member| member.is_some())
    }

    /// The algorithm that the key is for: what `alg` says, or what its kind allows, or for RSA the given one.
    pub(crate) fn algorithm(&self, rsa: Algorithm) -> Result<Algorithm, &'static str> {
        let of_kind = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Some(rsa),
            ("EC", Some("P-256")) => Some(Algorithm::Es256),
            ("EC", Some("P-384")) => Some(Algorithm::Es384),
            ("OKP", Some("Ed25519")) => Some(Algorithm::EdDsa),
            ("oct", _) => None,
            ("EC" | "OKP", _) => return Err("its curve is not supported"),
            _ => return Err("its kind (kty) is not supported"),
        };
        match &*self.alg {
            Some(alg) => Algorithm::from_name(alg).ok_or("its algorithm (alg) is not supported"),
            None => of_kind.ok_or("a shared key must name its algorithm (alg)"),
        }
    }

    /// Whether the key may be used to verify, or to sign, with this algorithm (RFC 7517, sections 4.2 to 4.4).
    fn check_usage(&self, algorithm: Algorithm, operation: &str) -> Result<(), &'static str> {
        if self.usage.as_ref().is_some_and(|usage| usage != "sig") {
            return Err("its use is not `sig`");
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == operation)) {
            return Err("its key_ops do not allow it");
        }
        if self.alg.as_ref().is_some_and(|alg| !algorithm.is_named(alg)) {
            return Err("its alg is another algorithm");
        }
        Ok(())
    }

    /// The public half, for one algorithm.
    pub(crate) fn public(&self, algorithm: Algorithm) -> Result<PublicMaterial, &'static str> {
        self.check_usage(algorithm, "verify")?;
        self.material(algorithm)
    }

    /// What the public members say, or `k`.
    pub(crate) fn material(&self, algorithm: Algorithm) -> Result<PublicMaterial, &'static str> {
        match (algorithm.family(), self.kty.as_str(), self.crv.as_deref()) {
            (Family::Hmac, "oct", _) => Ok(PublicMaterial::Hmac(member(self.k.as_ref())?.into())),
            (Family::Rsa, "RSA", _) => {
                Ok(PublicMaterial::Rsa { n: number(self.n.as_ref())?, e: number(self.e.as_ref())? })
            }
            (Family::Ec(curve), "EC", Some(crv)) if crv == curve.as_str() => {
                Ok(PublicMaterial::Ec { curve, x: member(self.x.as_ref())?, y: member(self.y.as_ref())? })
            }
            (Family::Ed25519, "OKP", Some("Ed25519")) => member(self.x.as_ref())?
                .try_into()
                .map(PublicMaterial::Ed25519)
                .map_err(|_| "an Ed25519 public key must have 32 bytes"),
            _ => Err("its kind (kty, crv) is not that of the algorithm"),
        }
    }

    pub(crate) fn into_public(self, algorithm: Algorithm) -> Result<PublicMaterial, ConfigError> {
        if !algorithm.is_symmetric() && self.has_private_members() {
            return Err(bad_key("the JWK holds a private key; give verifiers the public members only"));
        }
        self.public(algorithm).map_err(refused)
    }

    pub(crate) fn into_private(self, algorithm: Algorithm) -> Result<PrivateMaterial, ConfigError> {
        let err = |why: &'static str| refused(why);
        self.check_usage(algorithm, "sign").map_err(err)?;
        // The public members must be there.
        let material = self.material(algorithm).map_err(err)?;
        if !algorithm.is_symmetric() && self.d.is_none() {
            return Err(bad_key("the JWK holds a public key; a private one is needed to sign"));
        }
        match material {
            PublicMaterial::Hmac(secret) => Ok(PrivateMaterial::Hmac(secret)),
            PublicMaterial::Ec { curve, .. } => {
                PrivateMaterial::ec(curve, &member(self.d.as_ref()).map_err(err)?)
            }
            PublicMaterial::Ed25519(_) => {
                let seed: [u8; 32] = member(self.d.as_ref())
                    .map_err(err)?
                    .try_into()
                    .map_err(|_| err("an Ed25519 private key must have 32 bytes"))?;
                Ok(PrivateMaterial::ed25519(&seed))
            }
            PublicMaterial::Rsa { n, e } => {
                if self.oth.is_some() {
                    return Err(bad_key("RSA keys with more than two primes are not supported"));
                }
                let number = |text: &Member| number(text.as_ref()).map_err(err);
                PrivateMaterial::rsa(&RsaNumbers {
                    n: &n,
                    e: &e,
                    d: &number(&self.d)?,
                    p: &number(&self.p)?,
                    q: &number(&self.q)?,
                    dp: &number(&self.dp)?,
                    dq: &number(&self.dq)?,
                    qi: &number(&self.qi)?,
                })
            }
        }
    }
}

/// Structs would also be read from an array, its elements taken for the members in order.
pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{')
}

fn refused(why: &str) -> ConfigError {
    ConfigError::new(crate::error::ConfigErrorKind::Key, format!("the JWK cannot be used: {why}"))
}

fn member(text: Option<&String>) -> Result<Vec<u8>, &'static str> {
    let text = text.ok_or("a member is missing")?;
    from_base64url(text).ok_or("a member is not base64url")
}

/// A number, whose leading zeros mean nothing.
fn number(text: Option<&String>) -> Result<Vec<u8>, &'static str> {
    let bytes = member(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes[zeros..].to_vec())
}

/// The required members of a public key in lexicographic order, as RFC 7638 hashes them. `None` for an HMAC key.
pub(crate) fn required_members(key: &PublicMaterial) -> Option<String> {
    Some(match key {
        PublicMaterial::Hmac(_) => return None,
        PublicMaterial::Rsa { n, e } => {
            format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(e), base64url(n))
        }
        PublicMaterial::Ec { curve, x, y } => {
            format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                curve.as_str(),
                base64url(x),
                base64url(y)
            )
        }
        PublicMaterial::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(x)),
    })
}

/// The thumbprint of a public key (RFC 7638, section 3). `None` for an HMAC key, of which it would be a plain digest.
pub(crate) fn thumbprint(key: &PublicMaterial) -> Option<Thumbprint> {
    required_members(key).map(|members| Thumbprint::from_bytes(sha256(members.as_bytes())))
}

/// The public key as a JWK, with its id, its algorithm and its use. `None` for an HMAC key.
pub(crate) fn to_json(key: &PublicMaterial, kid: &str, algorithm: Algorithm) -> Option<String> {
    let members = required_members(key)?;
    let kid = serde_json::to_string(kid).ok()?;
    let own = members.strip_prefix('{')?;
    Some(format!(r#"{{"alg":"{}","kid":{kid},"use":"sig",{own}"#, algorithm.as_str()))
}

#[cfg(test)]
mod tests;
