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
mod tests {
    use super::*;
    use Algorithm::{EdDsa, Es256, Es384, Hs256, Ps256, Rs256, Rs384};

    /// The public key of RFC 8037, appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn only_an_object_of_members_of_their_types_is_a_jwk() {
        let kty = r#""kty":"OKP""#;
        let deep = format!(r#"{{{kty},"x5t":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (row, text, good) in [
            ("an object", format!("{{{kty}}}"), true),
            ("white space around", format!(" \t\r\n{{ {kty} }}\n"), true),
            ("members of no interest", format!(r#"{{{kty},"x5c":[1],"x5t":null}}"#), true),
            ("deep nesting in one of these", deep, true),
            // serde takes the elements of an array for the fields in order.
            ("an array of members", r#"["OKP","sig",["verify"],"EdDSA","a","Ed25519","AA"]"#.into(), false),
            ("a repeated member", format!("{{{kty},{kty}}}"), false),
            ("repeated through an escape", format!(r#"{{{kty},"\u006bty":"EC"}}"#), false),
            ("empty", String::new(), false),
            ("a byte order mark", format!("\u{feff}{{{kty}}}"), false),
            ("trailing text", format!("{{{kty}}} x"), false),
            ("cut", format!("{{{kty}"), false),
            ("null", "null".into(), false),
            ("a string", r#""OKP""#.into(), false),
        ] {
            assert_eq!(Jwk::parse(&text).is_ok(), good, "{row}");
        }
        let strings =
            ["kty", "use", "alg", "kid", "crv", "x", "y", "n", "e", "k", "d", "p", "q", "dp", "dq", "qi"];
        for name in strings {
            for json in ["null", "7", "true", "[]", r#"["a"]"#, "{}"] {
                assert!(Jwk::parse(&format!(r#"{{"{name}":{json}}}"#)).is_err(), "{name} {json}");
            }
            assert!(Jwk::parse(&format!(r#"{{"{name}":"a"}}"#)).is_ok(), "{name}");
        }
        for json in ["null", r#""verify""#, "[null]", "[7]", "{}"] {
            assert!(Jwk::parse(&format!(r#"{{"key_ops":{json}}}"#)).is_err(), "key_ops {json}");
        }
    }

    #[test]
    fn an_error_does_not_quote_the_key() {
        for text in [r#"{"kty":"oct","k":["c2VjcmV0"]}"#, r#"{"d":"c2VjcmV0"#, "c2VjcmV0", r#"["c2VjcmV0"]"#]
        {
            let error = Jwk::parse(text).err().unwrap();
            assert!(!format!("{error} {error:?}").contains("c2VjcmV0"), "{error:?}");
        }
    }

    #[test]
    fn the_algorithm_that_a_key_is_for() {
        let unsupported = |what: &str| format!("its {what} is not supported");
        for (json, expected) in [
            (r#""kty":"RSA""#, Ok(Ps256)),
            (r#""kty":"RSA","alg":"RS384""#, Ok(Rs384)),
            (r#""kty":"EC","crv":"P-256""#, Ok(Es256)),
            (r#""kty":"EC","crv":"P-384""#, Ok(Es384)),
            (r#""kty":"OKP","crv":"Ed25519""#, Ok(EdDsa)),
            (r#""kty":"OKP","crv":"Ed25519","alg":"Ed25519""#, Ok(EdDsa)),
            (r#""kty":"oct","alg":"HS256""#, Ok(Hs256)),
            (r#""kty":"oct""#, Err("a shared key must name its algorithm (alg)".into())),
            (r#""kty":"EC","crv":"P-521""#, Err(unsupported("curve"))),
            (r#""kty":"EC","crv":"secp256k1","alg":"ES256""#, Err(unsupported("curve"))),
            (r#""kty":"EC","crv":"p-256""#, Err(unsupported("curve"))),
            (r#""kty":"EC""#, Err(unsupported("curve"))),
            (r#""kty":"OKP","crv":"X25519""#, Err(unsupported("curve"))),
            (r#""kty":"OKP","crv":"Ed448""#, Err(unsupported("curve"))),
            (r#""kty":"rsa""#, Err(unsupported("kind (kty)"))),
            (r#""kty":"AKP","alg":"ML-DSA-44""#, Err(unsupported("kind (kty)"))),
            (r#""alg":"RS256""#, Err(unsupported("kind (kty)"))),
            (r#""kty":"RSA","alg":"RSA-OAEP""#, Err(unsupported("algorithm (alg)"))),
            (r#""kty":"RSA","alg":"none""#, Err(unsupported("algorithm (alg)"))),
            (r#""kty":"RSA","alg":"rs256""#, Err(unsupported("algorithm (alg)"))),
        ] {
            let jwk = Jwk::parse(&format!("{{{json}}}")).unwrap();
            assert_eq!(jwk.algorithm(Ps256).map_err(str::to_owned), expected, "{json}");
        }
    }

    #[test]
    fn row_69_what_a_key_says_that_it_is_for() {
        for (json, verifies, signs) in [
            ("", true, true),
            (r#","use":"sig""#, true, true),
            (r#","use":"enc""#, false, false),
            (r#","use":"SIG""#, false, false),
            (r#","use":"""#, false, false),
            (r#","key_ops":["verify"]"#, true, false),
            (r#","key_ops":["sign"]"#, false, true),
            (r#","key_ops":["sign","verify"]"#, true, true),
            (r#","key_ops":["encrypt","verify"]"#, true, false),
            (r#","key_ops":["encrypt"]"#, false, false),
            (r#","key_ops":["Verify"]"#, false, false),
            (r#","key_ops":[]"#, false, false),
            (r#","alg":"EdDSA""#, true, true),
            (r#","alg":"Ed25519""#, true, true),
            (r#","alg":"eddsa""#, false, false),
            (r#","alg":"ES256""#, false, false),
        ] {
            let public = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"{json}}}"#);
            assert_eq!(Jwk::parse(&public).unwrap().into_public(EdDsa).is_ok(), verifies, "{json}");
            // Whether the halves go together is not asked here.
            let private = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","d":"{X}"{json}}}"#);
            assert_eq!(Jwk::parse(&private).unwrap().into_private(EdDsa).is_ok(), signs, "{json}");
        }
    }

    #[test]
    fn private_members_are_found_one_by_one() {
        for name in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","{name}":"AA"}}"#);
            assert!(Jwk::parse(&jwk).unwrap().is_secret(), "{name}");
            let error = Jwk::parse(&jwk).unwrap().into_public(EdDsa).err().unwrap();
            assert!(error.to_string().contains("private key"), "{name}: {error}");
        }
        assert!(Jwk::parse(r#"{"kty":"oct"}"#).unwrap().is_secret());
        assert!(!Jwk::parse(r#"{"kty":"RSA","n":"AA","e":"AA","x5c":[]}"#).unwrap().is_secret());
    }

    #[test]
    fn members_are_canonical_base64url() {
        // The last character of `X` stands for six bits, of which two must be zero: `p` has the same four as `o`.
        let spare = format!("{}p", &X[..X.len() - 1]);
        for (row, x, why) in [
            ("as it should be", X.to_owned(), None),
            ("padded", format!("{X}="), Some("base64url")),
            ("spare bits", spare, Some("base64url")),
            ("the other alphabet", X.replace('_', "/"), Some("base64url")),
            ("a line end", format!("{X}\\n"), Some("base64url")),
            ("31 bytes", base64url(&[9; 31]), Some("32 bytes")),
            ("33 bytes", base64url(&[9; 33]), Some("32 bytes")),
            ("empty", String::new(), Some("32 bytes")),
        ] {
            let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
            match (Jwk::parse(&jwk).unwrap().public(EdDsa), why) {
                (Ok(_), None) => {}
                (Err(told), Some(word)) => assert!(told.contains(word), "{row}: {told}"),
                (other, _) => panic!("{row}: {:?}", other.err()),
            }
        }
    }

    #[test]
    fn leading_zeros_of_a_number_mean_nothing() {
        let of = |n: &str, e: &str| {
            let jwk = Jwk::parse(&format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)).unwrap();
            thumbprint(&jwk.public(Rs256).unwrap()).unwrap()
        };
        // "gQE" is 81 01, "AIEB" is 00 81 01; "AQAB" is 01 00 01, "AAABAAE" is 00 00 01 00 01.
        assert_eq!(of("gQE", "AQAB"), of("AIEB", "AAABAAE"));
        assert_ne!(of("gQE", "AQAB"), of("gQI", "AQAB"));
    }

    #[test]
    fn a_key_id_is_escaped_on_the_way_out() {
        let key = PublicMaterial::Ed25519([9; 32]);
        let kid = "a\",\"d\":\"\u{7}\\é";
        let json: serde_json::Value = serde_json::from_str(&to_json(&key, kid, EdDsa).unwrap()).unwrap();
        assert_eq!(json["kid"], kid);
        assert_eq!(json.as_object().unwrap().len(), 6);
        assert!(to_json(&PublicMaterial::Hmac(vec![7; 32].into()), "a", Hs256).is_none());
    }
}
