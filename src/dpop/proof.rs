//! One proof of possession: a JWT that brings its own public key (RFC 9449, sections 4.2 and 4.3).
//!
//! In this order, and each step refuses by itself:
//!
//! 1. size, then the compact form: three canonical base64url segments;
//! 2. the header: JSON without duplicates, no `crit`, `b64`, `enc`, `zip` or nested `cty`; `typ` is `dpop+jwt`; `alg` is one
//!    of those allowed, all of them asymmetric; `jwk` is one public key, without private members, whose own `alg`, `use`
//!    and `key_ops` allow it, and which is as safe as any key of this crate has to be. Other members that could bring a key
//!    along (`kid`, `jku`, `x5c`) are not looked at;
//! 3. the signature, by that key; nothing of the claims is read before;
//! 4. the claims: one JSON object without duplicates; `jti`, a string of 1 to 256 bytes; `htm`, the method byte for byte;
//!    `htu`, as [`target`](super::target) compares it; `iat`, a number within the window; `ath`, where there is an access
//!    token. `nonce` is a string if it is there, and others decide over it.
//!
//! `exp` and `nbf` are not looked at, as is no other claim: the window of `iat` is narrower than what a client may say.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::dpop::error::{ProofError, ProofErrorKind};
use crate::dpop::target::{Base, Target};
use crate::secret::{base64url, equal, sha256};
use crate::store::ProofId;
use crate::thumbprint::Thumbprint;
use crate::token::{
    Algorithm, Checked, Compact, Crypto, Jwk, Names, NumericDate, Text, TokenErrorKind, VerifyingKey, decode,
    describe, is_type,
};

/// With an RSA key of 8192 bits a proof has 4 KiB.
const MAX_BYTES: usize = 8 * 1024;
const MAX_JTI_BYTES: usize = 256;

/// What every proof of a service is judged by.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) crypto: Crypto,
    /// Asymmetric ones.
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) bases: Box<[Base]>,
    pub(crate) max_age: Duration,
    pub(crate) leeway: Duration,
}

/// The request that a proof is for.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The access token, where there is one.
    pub(crate) token: Option<&'a [u8]>,
}

/// A proof that was found good. Whether it was used before is not decided yet.
#[derive(Debug)]
pub(crate) struct Proof {
    /// Of the key that the client has.
    pub(crate) thumbprint: Thumbprint,
    pub(crate) id: ProofId,
    /// From when on it is refused for its age. It must be remembered until then.
    pub(crate) expires: Timestamp,
    pub(crate) nonce: Option<Box<str>>,
    /// Whether the nonce is that of the span before: then the answer brings a new one.
    pub(crate) nonce_is_previous: bool,
}

impl Proof {
    pub(crate) fn verify(
        text: &str,
        rules: &Rules,
        request: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Self, ProofError> {
        let (compact, segments) = split(text)?;
        let thumbprint = check_key(rules, &compact, &segments)?;
        let json = utf8(&segments.payload, ProofErrorKind::Claims)?;
        let claims = Claims::parse(json, request.token.is_some())?;
        check_claims(rules, request, thumbprint, claims, now)
    }
}

/// The three segments, decoded.
struct Segments {
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

fn split(text: &str) -> Result<(Compact<'_>, Segments), ProofError> {
    let compact = Compact::split(text, MAX_BYTES).map_err(|error| match error.kind() {
        TokenErrorKind::TooLarge => {
            ProofError::new(ProofErrorKind::TooLarge, "the proof is longer than 8 KiB")
        }
        _ => ProofError::new(ProofErrorKind::Malformed, "the proof does not have three segments"),
    })?;
    let decode = |segment| {
        decode(segment).map_err(|_| {
            ProofError::new(ProofErrorKind::Malformed, "a segment of the proof is not canonical base64url")
        })
    };
    let (header, payload) = (decode(compact.header)?, decode(compact.payload)?);
    let signature = decode(compact.signature)?;
    Ok((compact, Segments { header, payload, signature }))
}

fn utf8(json: &[u8], kind: ProofErrorKind) -> Result<&str, ProofError> {
    std::str::from_utf8(json).map_err(|_| ProofError::new(kind, "a segment of the proof is not UTF-8"))
}

/// Type, algorithm, key and signature; answers whose key it is.
fn check_key(rules: &Rules, compact: &Compact<'_>, segments: &Segments) -> Result<Thumbprint, ProofError> {
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
    let thumbprint = key.to_thumbprint().ok_or_else(|| bad_key(&"it has no thumbprint"))?;
    if key.verify(rules.crypto, compact.signing_input.as_bytes(), &segments.signature) {
        Ok(thumbprint)
    } else {
        Err(error(ProofErrorKind::Signature, "the signature is not by the key in `jwk`"))
    }
}

fn check_claims(
    rules: &Rules,
    request: &Presented<'_>,
    thumbprint: Thumbprint,
    claims: Claims<'_>,
    now: Timestamp,
) -> Result<Proof, ProofError> {
    let error = |kind, detail: &'static str| Err(ProofError::new(kind, detail));
    let (Some(Text(jti)), Some(Text(htm)), Some(Text(htu)), Some(iat)) =
        (claims.jti, claims.htm, claims.htu, claims.iat)
    else {
        return error(ProofErrorKind::Claims, "`jti`, `htm`, `htu` or `iat` is missing");
    };
    if !(1..=MAX_JTI_BYTES).contains(&jti.len()) {
        return error(ProofErrorKind::Claims, "`jti` is empty, or longer than 256 bytes");
    }
    if htm != request.method {
        return error(ProofErrorKind::Method, "`htm` is not the method of the request");
    }
    let Some(htu) = Target::parse(&htu) else {
        return error(ProofErrorKind::Target, "`htu` is no URL of http or https");
    };
    if !rules.bases.iter().any(|base| base.leads_to(&htu, request.path)) {
        return error(ProofErrorKind::Target, "`htu` is no base URL of the service with the request's path");
    }

    // Neither comparison rounds in the proof's favour.
    let (issued_at, begins) = (iat.rounded_down(), iat.rounded_up());
    let expires = issued_at.saturating_add(rules.max_age).saturating_add(rules.leeway);
    if now >= expires {
        return error(ProofErrorKind::TooOld, "`iat` lies too far back");
    }
    if now.saturating_add(rules.leeway) < begins {
        return error(ProofErrorKind::TooNew, "`iat` lies in the future");
    }

    if let Some(token) = request.token {
        let Some(Text(ath)) = claims.ath else {
            return error(ProofErrorKind::TokenHash, "`ath` is missing");
        };
        if !equal(ath.as_bytes(), base64url(&sha256(token)).as_bytes()) {
            return error(ProofErrorKind::TokenHash, "`ath` is not that of the access token");
        }
    }
    Ok(Proof {
        thumbprint,
        id: id(&thumbprint, &jti),
        expires,
        nonce: claims.nonce.map(|Text(nonce)| nonce.into()),
        nonce_is_previous: false,
    })
}

/// A `jti` is chosen by its client, so it counts together with the client's key.
fn id(thumbprint: &Thumbprint, jti: &str) -> ProofId {
    let text = [&b"tower-jwt-auth dpop proof id"[..], thumbprint.as_bytes(), jti.as_bytes()].concat();
    let mut half = [0; 16];
    half.copy_from_slice(&sha256(&text)[..16]);
    ProofId::from_bytes(half)
}

fn json_error(kind: ProofErrorKind, what: &str, error: &serde_json::Error) -> ProofError {
    ProofError::new(kind, format!("{what}: {}", describe(error)))
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

/// What is used of a proof's claims: each of its type if present.
#[derive(Default)]
struct Claims<'a> {
    jti: Option<Text<'a>>,
    htm: Option<Text<'a>>,
    htu: Option<Text<'a>>,
    iat: Option<NumericDate>,
    ath: Option<Text<'a>>,
    nonce: Option<Text<'a>>,
}

impl<'a> Claims<'a> {
    /// Reads `ath` only where there is a token that it could be of.
    fn parse(json: &'a str, reads_ath: bool) -> Result<Self, ProofError> {
        let mut reader = serde_json::Deserializer::from_str(json);
        reader
            .deserialize_map(ClaimsVisitor { reads_ath })
            .and_then(|claims| reader.end().map(|()| claims))
            .map_err(|error| json_error(ProofErrorKind::Claims, "the claims are not acceptable", &error))
    }
}

struct ClaimsVisitor {
    reads_ath: bool,
}

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims<'de>, A::Error> {
        let mut claims = Claims::default();
        let mut names = Names::default();
        while let Some(name) = map.next_key::<Text<'_>>()? {
            match &*name.0 {
                "jti" => claims.jti = Some(map.next_value()?),
                "htm" => claims.htm = Some(map.next_value()?),
                "htu" => claims.htu = Some(map.next_value()?),
                "iat" => claims.iat = Some(map.next_value()?),
                "ath" if self.reads_ath => claims.ath = Some(map.next_value()?),
                "nonce" => claims.nonce = Some(map.next_value()?),
                _ => {
                    map.next_value::<Checked>()?;
                }
            }
            names.insert(name)?;
        }
        Ok(claims)
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::secret::hmac_sha256;
    use crate::test_util::ManualClock;
    use crate::token::{KeyForm, SigningKey};

    const NOW: Timestamp = ManualClock::START;
    const TOKEN: &str = "an-access-token";
    const POST: Presented<'_> = Presented { method: "POST", path: "/orders", token: Some(TOKEN.as_bytes()) };

    fn rules() -> Rules {
        Rules {
            crypto: Crypto::compiled_in().unwrap(),
            algorithms: Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect(),
            bases: [Base::parse("https://api.example").unwrap()].into(),
            max_age: Duration::from_secs(60),
            leeway: Duration::from_secs(10),
        }
    }

    fn key(byte: u8) -> SigningKey {
        let crypto = Crypto::compiled_in().unwrap();
        SigningKey::from_private_bytes(crypto, Algorithm::Es256, &[byte; 32]).unwrap()
    }

    fn public(key: &SigningKey) -> Value {
        serde_json::from_str(&key.verifying_key().to_bare_jwk().unwrap()).unwrap()
    }

    fn header(key: &SigningKey) -> Value {
        json!({ "typ": "dpop+jwt", "alg": key.algorithm().as_str(), "jwk": public(key) })
    }

    fn claims() -> Value {
        json!({
            "jti": "a-jti", "htm": "POST", "htu": "https://api.example/orders", "iat": NOW.as_unix_seconds(),
            "ath": base64url(&sha256(TOKEN.as_bytes())),
        })
    }

    fn input(header: &[u8], claims: &[u8]) -> String {
        format!("{}.{}", base64url(header), base64url(claims))
    }

    fn signed(key: &SigningKey, header: &str, claims: &str) -> String {
        let input = input(header.as_bytes(), claims.as_bytes());
        let signature = key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", base64url(&signature))
    }

    fn verify(proof: &str) -> Result<Proof, ProofErrorKind> {
        Proof::verify(proof, &rules(), &POST, NOW).map_err(|error| error.kind())
    }

    /// A member of `object` that is another one; `None` takes it out.
    fn with(mut object: Value, name: &str, value: impl Into<Option<Value>>) -> String {
        let members = object.as_object_mut().unwrap();
        match value.into() {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
        object.to_string()
    }

    #[test]
    fn row_66_a_good_proof_passes_whoever_signs_it() {
        let rsa = include_bytes!("../../tests/fixtures/keys/rsa.pkcs8.pem").as_slice();
        let p384 = include_bytes!("../../tests/fixtures/keys/p384.pkcs8.pem").as_slice();
        let ed25519 = include_bytes!("../../tests/fixtures/keys/ed25519.pkcs8.pem").as_slice();
        for (algorithm, pem) in [
            (Algorithm::Es384, p384),
            (Algorithm::EdDsa, ed25519),
            (Algorithm::Rs256, rsa),
            (Algorithm::Ps512, rsa),
        ] {
            let key = SigningKey::read(algorithm, KeyForm::Pem(pem)).unwrap();
            let good = signed(&key, &header(&key).to_string(), &claims().to_string());
            let proof = verify(&good).unwrap();
            assert_eq!(Some(proof.thumbprint), key.verifying_key().to_thumbprint(), "{algorithm:?}");
        }
        let key = key(7);
        let proof = verify(&signed(&key, &header(&key).to_string(), &claims().to_string())).unwrap();
        assert_eq!(proof.expires, NOW.saturating_add(Duration::from_secs(70)));
        assert_eq!((proof.nonce, proof.nonce_is_previous), (None, false));
    }

    #[test]
    fn headers_that_pass_and_those_that_do_not() {
        use ProofErrorKind::{Algorithm, Key, Malformed, Type};
        let key = key(7);
        let good = header(&key);
        let text = good.to_string();
        let member = |member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
        let deep = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
        for (row, header, expected) in [
            ("good", text.clone(), Ok(())),
            ("typ in another case", with(good.clone(), "typ", json!("DPoP+JWT")), Ok(())),
            ("typ in full", with(good.clone(), "typ", json!("application/dpop+jwt")), Ok(())),
            ("typ JWT", with(good.clone(), "typ", json!("JWT")), Err(Type)),
            ("typ of an access token", with(good.clone(), "typ", json!("at+jwt")), Err(Type)),
            ("typ with a parameter", with(good.clone(), "typ", json!("dpop+jwt;x=1")), Err(Type)),
            ("no typ", with(good.clone(), "typ", None), Err(Type)),
            ("typ null", with(good.clone(), "typ", Value::Null), Err(Malformed)),
            ("two typ", member(r#""typ":"dpop+jwt""#), Err(Malformed)),
            ("two typ, by an escape", member(r#""\u0074yp":"dpop+jwt""#), Err(Malformed)),
            ("alg none", with(good.clone(), "alg", json!("none")), Err(Algorithm)),
            ("alg None", with(good.clone(), "alg", json!("None")), Err(Algorithm)),
            ("alg HS256", with(good.clone(), "alg", json!("HS256")), Err(Algorithm)),
            ("alg in another case", with(good.clone(), "alg", json!("es256")), Err(Algorithm)),
            ("alg unknown", with(good.clone(), "alg", json!("ES256K")), Err(Algorithm)),
            ("alg empty", with(good.clone(), "alg", json!("")), Err(Algorithm)),
            ("no alg", with(good.clone(), "alg", None), Err(Algorithm)),
            ("alg in an array", with(good.clone(), "alg", json!(["ES256"])), Err(Malformed)),
            ("two alg", member(r#""alg":"none""#), Err(Malformed)),
            ("alg of another key", with(good.clone(), "alg", json!("ES384")), Err(Key)),
            ("alg of another kind", with(good.clone(), "alg", json!("RS256")), Err(Key)),
            ("crit", member(r#""crit":["a"],"a":1"#), Err(Malformed)),
            ("crit empty", member(r#""crit":[]"#), Err(Malformed)),
            ("b64", member(r#""b64":false"#), Err(Malformed)),
            ("enc", member(r#""enc":"A128GCM""#), Err(Malformed)),
            ("zip", member(r#""zip":"DEF""#), Err(Malformed)),
            ("cty", member(r#""cty":"JWT""#), Err(Malformed)),
            ("kid, jku and x5c, which are not looked at", member(r#""kid":7,"jku":[],"x5c":null"#), Ok(())),
            ("a deep member", member(&format!(r#""a":{deep}"#)), Err(Malformed)),
            ("an array", format!("[{text}]"), Err(Malformed)),
            ("a byte order mark", format!("\u{feff}{text}"), Err(Malformed)),
            ("trailing text", format!("{text} x"), Err(Malformed)),
            ("null", "null".into(), Err(Malformed)),
            ("empty", String::new(), Err(Malformed)),
        ] {
            let proof = signed(&key, &header, &claims().to_string());
            assert_eq!(verify(&proof).map(|_| ()), expected, "{row}");
        }
    }

    #[test]
    fn keys_that_pass_and_those_that_do_not() {
        use ProofErrorKind::{Key, Malformed, PrivateKey, Signature};
        let key = key(7);
        let good = header(&key);
        let jwk = || public(&key);
        let in_jwk = |name: &str, value: Value| {
            with(good.clone(), "jwk", serde_json::from_str::<Value>(&with(jwk(), name, value)).unwrap())
        };
        let text = good.to_string();
        let member = |member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
        let weak_rsa = json!({ "kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB" });
        for (row, header, expected) in [
            ("no jwk", with(good.clone(), "jwk", None), Err(Key)),
            ("jwk null", with(good.clone(), "jwk", Value::Null), Err(Key)),
            ("jwk a string", with(good.clone(), "jwk", json!(jwk().to_string())), Err(Key)),
            ("jwk in an array", with(good.clone(), "jwk", json!([jwk()])), Err(Key)),
            ("jwk empty", with(good.clone(), "jwk", json!({})), Err(Key)),
            ("a set", with(good.clone(), "jwk", json!({ "keys": [jwk()] })), Err(Key)),
            ("two jwk", member(&format!(r#""jwk":{}"#, jwk())), Err(Malformed)),
            ("a member twice", text.replace(r#""kty":"EC""#, r#""kty":"EC","kty":"EC""#), Err(Malformed)),
            (
                "a member of no interest twice",
                text.replace(r#""kty":"EC""#, r#""kty":"EC","a":1,"a":1"#),
                Err(Malformed),
            ),
            ("a lone surrogate", text.replace(r#""kty":"EC""#, r#""kty":"EC","a":"\ud800""#), Err(Malformed)),
            ("d", in_jwk("d", json!(base64url(&[7; 32]))), Err(PrivateKey)),
            ("d of no use", in_jwk("d", json!("")), Err(PrivateKey)),
            ("d null", in_jwk("d", Value::Null), Err(Key)),
            ("p", in_jwk("p", json!("AQ")), Err(PrivateKey)),
            ("k", in_jwk("k", json!("AQ")), Err(PrivateKey)),
            (
                "oct",
                with(good.clone(), "jwk", json!({ "kty": "oct", "k": base64url(&[7; 32]) })),
                Err(PrivateKey),
            ),
            ("for another algorithm", in_jwk("alg", json!("ES384")), Err(Key)),
            ("for this one", in_jwk("alg", json!("ES256")), Ok(())),
            ("for encryption", in_jwk("use", json!("enc")), Err(Key)),
            ("for signatures", in_jwk("use", json!("sig")), Ok(())),
            ("to sign", in_jwk("key_ops", json!(["sign"])), Err(Key)),
            ("to verify", in_jwk("key_ops", json!(["verify"])), Ok(())),
            ("with a kid", in_jwk("kid", json!("a")), Ok(())),
            ("off the curve", in_jwk("y", jwk()["x"].clone()), Err(Key)),
            ("a short coordinate", in_jwk("x", json!(base64url(&[1; 31]))), Err(Key)),
            ("padded", in_jwk("x", json!(format!("{}=", jwk()["x"].as_str().unwrap()))), Err(Key)),
            ("y null", in_jwk("y", Value::Null), Err(Key)),
            ("no y", text.replace(r#""y":"#, r#""z":"#), Err(Key)),
            ("another curve", in_jwk("crv", json!("secp256k1")), Err(Key)),
            ("another key", with(good.clone(), "jwk", public(&self::key(8))), Err(Signature)),
            (
                "RSA of 1024 bits",
                json!({ "typ": "dpop+jwt", "alg": "RS256", "jwk": weak_rsa }).to_string(),
                Err(Key),
            ),
            (
                "Ed25519 of small order",
                json!({
                    "typ": "dpop+jwt", "alg": "EdDSA",
                    "jwk": { "kty": "OKP", "crv": "Ed25519", "x": base64url(&[0; 32]) },
                })
                .to_string(),
                Err(Key),
            ),
        ] {
            let proof = signed(&key, &header, &claims().to_string());
            assert_eq!(verify(&proof).map(|_| ()), expected, "{row}");
        }
    }

    #[test]
    fn claims_that_pass_and_those_that_do_not() {
        use ProofErrorKind::{Claims, Method, Target, TokenHash, TooNew, TooOld};
        let key = key(7);
        let (good, text) = (claims(), claims().to_string());
        let member = |member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
        let iat = |seconds: f64| {
            #[allow(clippy::cast_precision_loss)] // Seconds are whole far beyond this one.
            let now = NOW.as_unix_seconds() as f64;
            with(claims(), "iat", json!(now + seconds))
        };
        for (row, claims, expected) in [
            ("good", text.clone(), Ok(())),
            ("white space", format!(" {text}\n"), Ok(())),
            ("no jti", with(good.clone(), "jti", None), Err(Claims)),
            ("jti empty", with(good.clone(), "jti", json!("")), Err(Claims)),
            ("jti a number", with(good.clone(), "jti", json!(7)), Err(Claims)),
            ("jti null", with(good.clone(), "jti", Value::Null), Err(Claims)),
            ("jti of 256 bytes", with(good.clone(), "jti", json!("j".repeat(256))), Ok(())),
            ("jti of 257", with(good.clone(), "jti", json!("j".repeat(257))), Err(Claims)),
            ("jti of 258 in 129 letters", with(good.clone(), "jti", json!("é".repeat(129))), Err(Claims)),
            ("two jti", member(r#""jti":"a-jti""#), Err(Claims)),
            ("two jti, by an escape", member(r#""\u006ati":"a-jti""#), Err(Claims)),
            ("another claim twice", member(r#""a":1,"a":1"#), Err(Claims)),
            ("no htm", with(good.clone(), "htm", None), Err(Claims)),
            ("htm an array", with(good.clone(), "htm", json!(["POST"])), Err(Claims)),
            ("another method", with(good.clone(), "htm", json!("GET")), Err(Method)),
            ("the method in another case", with(good.clone(), "htm", json!("post")), Err(Method)),
            ("a space", with(good.clone(), "htm", json!("POST ")), Err(Method)),
            ("htm empty", with(good.clone(), "htm", json!("")), Err(Method)),
            ("htm *", with(good.clone(), "htm", json!("*")), Err(Method)),
            ("no htu", with(good.clone(), "htu", None), Err(Claims)),
            ("htu null", with(good.clone(), "htu", Value::Null), Err(Claims)),
            ("another host", with(good.clone(), "htu", json!("https://evil.example/orders")), Err(Target)),
            ("another path", with(good.clone(), "htu", json!("https://api.example/")), Err(Target)),
            ("another scheme", with(good.clone(), "htu", json!("http://api.example/orders")), Err(Target)),
            ("a path alone", with(good.clone(), "htu", json!("/orders")), Err(Target)),
            ("a user name", with(good.clone(), "htu", json!("https://a@api.example/orders")), Err(Target)),
            ("htu empty", with(good.clone(), "htu", json!("")), Err(Target)),
            ("htu with a query", with(good.clone(), "htu", json!("https://api.example/orders?a#b")), Ok(())),
            ("no iat", with(good.clone(), "iat", None), Err(Claims)),
            ("iat a string", with(good.clone(), "iat", json!("1700000000")), Err(Claims)),
            ("iat null", with(good.clone(), "iat", Value::Null), Err(Claims)),
            ("iat negative", with(good.clone(), "iat", json!(-1)), Err(Claims)),
            ("iat 1e300", with(good.clone(), "iat", json!(1e300)), Err(Claims)),
            ("iat beyond numbers", text.replace("1700000000", "1e999"), Err(Claims)),
            ("iat in milliseconds", with(good.clone(), "iat", json!(NOW.as_unix_millis())), Err(Claims)),
            ("iat in the year 9999", with(good.clone(), "iat", json!(253_402_300_799_u64)), Err(TooNew)),
            ("iat 1970", with(good.clone(), "iat", json!(0)), Err(TooOld)),
            ("as old as can be", iat(-69.999), Ok(())),
            ("a little older", iat(-69.9995), Err(TooOld)),
            ("too old", iat(-70.0), Err(TooOld)),
            ("as new as can be", iat(10.0), Ok(())),
            ("a little newer", iat(10.0005), Err(TooNew)),
            ("too new", iat(11.0), Err(TooNew)),
            ("no ath", with(good.clone(), "ath", None), Err(TokenHash)),
            ("another ath", with(good.clone(), "ath", json!(base64url(&sha256(b"another")))), Err(TokenHash)),
            ("ath empty", with(good.clone(), "ath", json!("")), Err(TokenHash)),
            (
                "ath padded",
                with(good.clone(), "ath", json!(format!("{}=", good["ath"].as_str().unwrap()))),
                Err(TokenHash),
            ),
            ("the token itself", with(good.clone(), "ath", json!(TOKEN)), Err(TokenHash)),
            ("ath a number", with(good.clone(), "ath", json!(7)), Err(Claims)),
            ("a nonce", with(good.clone(), "nonce", json!("a")), Ok(())),
            ("nonce a number", with(good.clone(), "nonce", json!(7)), Err(Claims)),
            ("nonce null", with(good.clone(), "nonce", Value::Null), Err(Claims)),
            ("exp and nbf, which are not looked at", member(r#""exp":1,"nbf":"a","iss":[],"aud":7"#), Ok(())),
            ("a lone surrogate", member(r#""a":"\ud800""#), Err(Claims)),
            ("an array", format!("[{text}]"), Err(Claims)),
            ("the claims in order", r#"["a-jti","POST"]"#.into(), Err(Claims)),
            ("trailing text", format!("{text}{text}"), Err(Claims)),
            ("cut", text[..text.len() - 1].to_owned(), Err(Claims)),
            ("empty", String::new(), Err(Claims)),
        ] {
            let proof = signed(&key, &header(&key).to_string(), &claims);
            assert_eq!(verify(&proof).map(|_| ()), expected, "{row}");
        }
    }

    #[test]
    fn without_a_token_no_hash_is_looked_at() {
        let key = key(7);
        let request = Presented { token: None, ..POST };
        for ath in [None, Some(json!("another")), Some(json!(7)), Some(Value::Null)] {
            let proof = signed(&key, &header(&key).to_string(), &with(claims(), "ath", ath.clone()));
            assert!(Proof::verify(&proof, &rules(), &request, NOW).is_ok(), "{ath:?}");
        }
    }

    #[test]
    fn forms_and_signatures_that_are_refused() {
        use ProofErrorKind::{Algorithm, Claims, Malformed, PrivateKey, Signature, TooLarge};
        let key = key(7);
        let good = signed(&key, &header(&key).to_string(), &claims().to_string());
        let (signing_input, signature) = good.rsplit_once('.').unwrap();
        let other = signed(&key, &header(&key).to_string(), &with(claims(), "jti", json!("other")));
        let (_, of_other) = other.rsplit_once('.').unwrap();
        let mut flipped = crate::secret::from_base64url(signature).unwrap();
        flipped[9] ^= 1;
        let unsigned =
            input(with(header(&key), "alg", json!("none")).as_bytes(), claims().to_string().as_bytes());
        // The public key as everybody has it, taken for a shared secret.
        let hmac = |header: &str, secret: &[u8]| {
            let input = input(header.as_bytes(), claims().to_string().as_bytes());
            let tag = hmac_sha256(secret, &[input.as_bytes()]);
            format!("{input}.{}", base64url(&tag))
        };
        let hs256 = with(header(&key), "alg", json!("HS256"));
        let oct = json!({ "kty": "oct", "k": base64url(&[7; 32]) });
        let hs256_oct = json!({ "typ": "dpop+jwt", "alg": "HS256", "jwk": oct }).to_string();
        let es256_oct = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": oct }).to_string();
        let bytes = |header: &[u8], claims: &[u8]| {
            let input = input(header, claims);
            let signature = base64url(&key.sign(input.as_bytes()).unwrap());
            format!("{input}.{signature}")
        };
        for (row, proof, expected) in [
            ("good", good.clone(), Ok(())),
            ("none, unsigned", format!("{unsigned}."), Err(Algorithm)),
            ("none, signed", format!("{unsigned}.{signature}"), Err(Algorithm)),
            ("HS256 with the public key", hmac(&hs256, public(&key).to_string().as_bytes()), Err(Algorithm)),
            ("HS256 with its own secret", hmac(&hs256_oct, &[7; 32]), Err(Algorithm)),
            ("a secret under another name", hmac(&es256_oct, &[7; 32]), Err(PrivateKey)),
            ("no signature", format!("{signing_input}."), Err(Signature)),
            ("of another proof", format!("{signing_input}.{of_other}"), Err(Signature)),
            ("a flipped bit", format!("{signing_input}.{}", base64url(&flipped)), Err(Signature)),
            ("cut", format!("{signing_input}.{}", base64url(&flipped[..63])), Err(Signature)),
            ("zeros", format!("{signing_input}.{}", base64url(&[0; 64])), Err(Signature)),
            ("spare bits", format!("{}B", &good[..good.len() - 1]), Err(Malformed)),
            ("padded", format!("{good}="), Err(Malformed)),
            ("a space behind", format!("{good} "), Err(Malformed)),
            ("two in one", format!("{good}, {good}"), Err(Malformed)),
            ("one segment", signature.to_owned(), Err(Malformed)),
            ("two segments", signing_input.to_owned(), Err(Malformed)),
            ("four segments", format!("{good}.{signature}"), Err(Malformed)),
            ("a dot behind", format!("{good}."), Err(Malformed)),
            ("a dot before", format!(".{good}"), Err(Malformed)),
            ("dots", "..".into(), Err(Malformed)),
            ("many dots", ".".repeat(8000), Err(Malformed)),
            ("encrypted", format!("{good}.{signature}.{signature}"), Err(Malformed)),
            ("the JSON form", header(&key).to_string(), Err(Malformed)),
            ("empty", String::new(), Err(Malformed)),
            ("a header that is not UTF-8", bytes(b"{\"a\":\"\xff\"}", b"{}"), Err(Malformed)),
            (
                "claims that are not UTF-8",
                bytes(header(&key).to_string().as_bytes(), b"{\"a\":\"\xff\"}"),
                Err(Claims),
            ),
            ("too long", "a".repeat(MAX_BYTES + 1), Err(TooLarge)),
            ("as long as can be", "a".repeat(MAX_BYTES), Err(Malformed)),
        ] {
            assert_eq!(verify(&proof).map(|_| ()), expected, "{row}");
        }
    }

    #[test]
    fn only_the_algorithms_of_the_list_pass() {
        let key = key(7);
        let good = signed(&key, &header(&key).to_string(), &claims().to_string());
        let rules = |algorithm| Rules { algorithms: [algorithm].into(), ..rules() };
        assert!(Proof::verify(&good, &rules(Algorithm::Es256), &POST, NOW).is_ok());
        let refused = Proof::verify(&good, &rules(Algorithm::Es384), &POST, NOW).unwrap_err();
        assert_eq!(refused.kind(), ProofErrorKind::Algorithm);
    }

    #[test]
    fn the_id_is_of_key_and_jti() {
        let id_of = |byte: u8, jti: &str| {
            let key = key(byte);
            let proof = signed(&key, &header(&key).to_string(), &with(claims(), "jti", json!(jti)));
            verify(&proof).unwrap().id
        };
        assert_eq!(id_of(7, "a"), id_of(7, "a"));
        assert_ne!(id_of(7, "a"), id_of(7, "b"));
        assert_ne!(id_of(7, "a"), id_of(8, "a"));
    }

    #[test]
    fn the_detail_quotes_nothing() {
        const MARK: &str = "c2VjcmV0";
        let key = key(7);
        let (header, claims) = (header(&key), claims());
        let in_claims =
            |name: &str, value: Value| signed(&key, &header.to_string(), &with(claims.clone(), name, value));
        let mut proofs: Vec<String> = ["jti", "htm", "htu", "iat", "ath"]
            .into_iter()
            .flat_map(|name| [json!(MARK.repeat(40)), json!([MARK])].map(|value| in_claims(name, value)))
            .collect();
        for name in ["typ", "alg", "jwk"] {
            for value in [json!(MARK), json!({ "kty": MARK }), json!({ MARK: 1 })] {
                proofs.push(signed(&key, &with(header.clone(), name, value), &claims.to_string()));
            }
        }
        proofs.push(signed(&key, MARK, MARK));
        proofs.push(signed(&key, &header.to_string(), &format!(r#"{{"{MARK}":1,"{MARK}":1}}"#)));
        proofs.push(MARK.repeat(2000));
        for proof in proofs {
            let error = Proof::verify(&proof, &rules(), &POST, NOW).unwrap_err();
            let text = format!("{} {error:?}", error.detail());
            assert!(!text.contains(MARK), "{text}");
        }
    }

    #[test]
    fn the_examples_of_rfc_9449_pass() {
        let text = include_str!("../../tests/fixtures/dpop/rfc9449.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let string = |value: &Value| value.as_str().unwrap().to_owned();
        let token = string(&vectors["token"]);
        assert_eq!(base64url(&sha256(token.as_bytes())), string(&vectors["ath"]));
        for vector in vectors["proofs"].as_array().unwrap() {
            let proof = string(&vector["proof"]);
            let bases = [Base::parse(&string(&vector["base"])).unwrap()].into();
            let rules = Rules { bases, ..rules() };
            let issued_at = Timestamp::from_unix_seconds(vector["issued_at"].as_i64().unwrap());
            let (method, path) = (string(&vector["method"]), string(&vector["path"]));
            let with_token = vector["with_token"].as_bool().unwrap();
            let request =
                Presented { method: &method, path: &path, token: with_token.then_some(token.as_bytes()) };
            let good = Proof::verify(&proof, &rules, &request, issued_at).unwrap();
            assert_eq!(good.thumbprint.to_string(), string(&vectors["jkt"]));
            let other = Presented { token: Some(b"another"), ..request };
            let refused = Proof::verify(&proof, &rules, &other, issued_at).unwrap_err();
            assert_eq!(refused.kind(), ProofErrorKind::TokenHash);
        }
    }
}
