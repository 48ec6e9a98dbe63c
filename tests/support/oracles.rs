//! What an answer must be, worked out in another way than the crate does. For `properties.rs` and the fuzz targets.

// As the other modules here.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use http::HeaderValue;
use serde_json::{Map, Value};
use tower_jwt_auth::{
    Algorithm, KeyForm, KeySet, NoClaims, SigningKey, TokenConfig, Verified, Verifier, VerifyingKey,
};

/// The status that a request with these `Authorization` headers gets from the bearer layer (RFC 6750): the credential is
/// `(?i)bearer +[A-Za-z0-9._~+/-]+=*`, and `good` is the only token.
pub fn status_of_credentials(values: &[HeaderValue], good: &str, max_token_bytes: usize) -> u16 {
    let [value] = values else { return if values.is_empty() { 401 } else { 400 } };
    let text = latin1(value);
    let text = text.trim_matches([' ', '\t']);
    let scheme_end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(c));
    let (scheme, rest) = text.split_at(scheme_end.unwrap_or(text.len()));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return 401;
    }
    let token = rest.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    if token.len() == rest.len()
        || body.is_empty()
        || !body.chars().all(allowed)
        || token.len() > max_token_bytes
    {
        return 400;
    }
    if token == good { 200 } else { 401 }
}

/// Which of the sessions that `good` holds a token of are presented by these `Cookie` headers (RFC 6265bis): pairs are
/// split at `;` and one space, a pair at its first `=`.
pub fn sessions_of_cookies<const N: usize>(
    cookies: &[HeaderValue],
    name: &str,
    good: &[String; N],
) -> [bool; N] {
    let mut presented = [false; N];
    for cookie in cookies {
        for (at, pair) in latin1(cookie).split(';').enumerate() {
            let pair = if at == 0 { pair } else { pair.strip_prefix(' ').unwrap_or(pair) };
            if let Some((found, value)) = pair.split_once('=')
                && found == name
            {
                for (presented, good) in presented.iter_mut().zip(good) {
                    *presented |= value == good;
                }
            }
        }
    }
    presented
}

/// The status of `POST /refresh` where these sessions of different users were presented.
pub fn status_of_sessions(presented: &[bool]) -> u16 {
    match presented.iter().filter(|presented| **presented).count() {
        0 => 401,
        1 => 200,
        _ => 400,
    }
}

fn latin1(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

/// What a configuration for HS256 stands for.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
    pub kid: &'a str,
    pub now: i64,
    pub leeway: i64,
    pub lifetime: i64,
}

/// The names that the verifier keeps from the application.
pub const REGISTERED: [&str; 15] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "sid",
    "gen",
    "reissue",
    "auth_time",
    "acr",
    "cnf",
];

impl Expected<'_> {
    /// Checks that an accepted token keeps every rule, by a reading of its JSON that knows nothing of the crate's, and
    /// that it says what stands there.
    #[track_caller]
    #[allow(clippy::cast_precision_loss)]
    pub fn check(&self, header: &[u8], claims: &[u8], verified: &Verified<Map<String, Value>>) {
        let header: Map<String, Value> = serde_json::from_slice(header).expect("a JSON object");
        assert_eq!(header["alg"], "HS256");
        let typ = header["typ"].as_str().expect("a type").to_ascii_lowercase();
        assert!(typ == "at+jwt" || typ == "application/at+jwt", "{typ}");
        assert!(header.get("kid").is_none_or(|kid| kid == self.kid));
        assert!(["crit", "b64", "enc", "zip"].iter().all(|name| !header.contains_key(*name)));

        let claims: Map<String, Value> = serde_json::from_slice(claims).expect("a JSON object");
        assert_eq!(claims["iss"], self.issuer);
        match &claims["aud"] {
            Value::Array(many) => {
                assert!(many.iter().all(Value::is_string) && many.iter().any(|one| one == self.audience));
            }
            one => assert_eq!(one, self.audience),
        }
        assert!(claims["sub"].as_str().is_some_and(|subject| !subject.is_empty()));
        assert!(!claims.contains_key("cnf"));

        let number = |name: &str| claims[name].as_f64().expect("a number");
        let (now, leeway) = (self.now as f64, self.leeway as f64);
        let (exp, iat) = (number("exp"), number("iat"));
        assert!(now < exp + leeway, "expired: {exp}");
        assert!(iat <= now + leeway && iat <= exp, "issued in the future: {iat}");
        assert!(!claims.contains_key("nbf") || number("nbf") <= now + leeway, "not valid yet");
        // Both dates are rounded to a millisecond.
        assert!(exp - iat < self.lifetime as f64 + 0.002, "lives too long: {iat} to {exp}");

        let registered = verified.registered();
        assert_eq!(claims["sub"], registered.subject());
        for (name, value) in [
            ("jti", registered.token_id()),
            ("client_id", registered.client_id()),
            ("sid", registered.session_id()),
            ("acr", registered.acr()),
        ] {
            assert_eq!(claims.get(name), value.map(Value::from).as_ref(), "{name}");
        }
        assert_eq!(claims.get("gen"), registered.generation().map(Value::from).as_ref());
        let reissue = claims.get("reissue").map_or(Some(0), Value::as_u64);
        assert_eq!(reissue, Some(registered.reissue().into()));
        match registered.authenticated_at() {
            None => assert!(!claims.contains_key("auth_time")),
            Some(moment) => {
                // To a millisecond, and never younger.
                let younger = moment.as_unix_millis() as f64 / 1000.0 - number("auth_time");
                assert!((-0.002..=0.000_001).contains(&younger), "auth_time: {younger}");
            }
        }
        let scope = claims.get("scope").map_or("", |scope| scope.as_str().expect("a string"));
        assert!(scope.split(' ').filter(|word| !word.is_empty()).eq(registered.scopes()));
        // The application sees every other claim, each as it is.
        let others = claims.iter().filter(|(name, _)| !REGISTERED.contains(&name.as_str()));
        assert!(others.eq(verified.claims().iter()));
    }
}

/// Checks that one claims set was judged alike for two types of the application's claims: one that has no claims, and
/// one that takes any. They differ only where a value that the one passes over is none that the other can hold, such as
/// `1e400` or a lone surrogate.
#[track_caller]
pub fn check_types_agree(without_claims: bool, with_any: bool, claims: &[u8]) {
    let is_readable = serde_json::from_slice::<Value>(claims).is_ok();
    assert_eq!(with_any, without_claims && is_readable, "{}", String::from_utf8_lossy(claims));
}

/// Checks what holds of every set of public keys: nothing private is in it, it writes itself and reads back the same,
/// and under none of its keys a signature verifies that takes no private key to make.
#[track_caller]
pub fn check_key_set(set: &KeySet) {
    let keys = set.keys();
    assert!((1..=100).contains(&keys.len()));
    for (at, key) in keys.iter().enumerate() {
        assert!(!key.algorithm().is_symmetric());
        assert!((1..=256).contains(&key.kid().len()));
        assert!(keys[..at].iter().all(|other| other.kid() != key.kid()));
    }

    let written = set.to_jwks();
    let again = KeySet::from_jwks(&written).expect("what was written reads");
    assert_eq!(again.to_jwks(), written);
    assert!(again.skipped().is_empty());
    assert_eq!(again.keys().len(), keys.len());
    for (key, again) in keys.iter().zip(again.keys()) {
        assert_eq!((key.kid(), key.algorithm()), (again.kid(), again.algorithm()));
        assert_eq!(key.thumbprint(), again.thumbprint());
    }

    let document: Value = serde_json::from_str(&written).expect("JSON");
    let members = document["keys"].as_array().expect("keys");
    assert_eq!(members.len(), keys.len());
    for jwk in members {
        const PUBLIC: [&str; 9] = ["alg", "kid", "use", "kty", "crv", "x", "y", "n", "e"];
        assert!(jwk.as_object().expect("a key").keys().all(|name| PUBLIC.contains(&name.as_str())));
    }
    check_that_nobody_can_sign(keys);
}

#[track_caller]
fn check_that_nobody_can_sign(keys: &[VerifyingKey]) {
    let [first, others @ ..] = keys else { return };
    let builder = TokenConfig::builder().add_verifying_key(first.clone());
    let builder = others.iter().fold(builder, |builder, key| builder.add_verifying_key(key.clone()));
    let config = builder.issuer("https://i.example").audience("api").build().expect("good keys");
    let verifier: Verifier<NoClaims> = config.verifier();
    for key in keys {
        let header = serde_json::json!({"alg": key.algorithm().as_str(), "typ": "at+jwt", "kid": key.kid()});
        // The signature is looked at before the claims: these need not be good.
        let message = format!("{}.e30", base64url(header.to_string().as_bytes()));
        for length in [0, 64, 96, 256, 512] {
            for (first, last) in [(0, 0), (1, 0), (0, 1), (0xff, 0xff)] {
                let mut signature = vec![0; length];
                if let [head, .., tail] = &mut signature[..] {
                    (*head, *tail) = (first, last);
                }
                let token = format!("{message}.{}", base64url(&signature));
                let kind = verifier.verify(&token).expect_err("no claims").kind();
                assert_eq!(kind, tower_jwt_auth::TokenErrorKind::Signature, "{}: {signature:?}", key.kid());
            }
        }
    }
}

/// Checks what holds of every text that may be one JWK: nothing panics, and a key that reads by itself reads in a set.
#[track_caller]
pub fn check_jwk(text: &str) {
    for &algorithm in Algorithm::ALL {
        // Signs once, if it reads.
        if let Ok(key) = SigningKey::read(algorithm, KeyForm::Jwk(text)) {
            assert_eq!(key.algorithm(), algorithm);
        }
        let Ok(key) = VerifyingKey::read(algorithm, KeyForm::Jwk(text)) else { continue };
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(key.to_jwk().is_none(), algorithm.is_symmetric());
        assert_eq!(key.thumbprint().is_none(), algorithm.is_symmetric());
        if algorithm.is_symmetric() || !(1..=256).contains(&key.kid().len()) {
            continue;
        }
        let rsa = if algorithm.as_str().starts_with(['R', 'P']) { algorithm } else { Algorithm::Rs256 };
        let set = KeySet::from_jwks_for(&format!(r#"{{"keys":[{text}]}}"#), rsa).expect("the key by itself");
        assert_eq!(set.keys().len(), 1);
        assert_eq!(set.keys()[0].to_jwk(), key.to_jwk());
        check_key_set(&set);
    }
}

/// base64url without padding (RFC 4648, section 5), written out.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at)) & 63]));
        }
    }
    text
}

/// `good`, changed by a script of three bytes a step: what to do, where, and with which byte.
pub fn edited(good: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for step in script.chunks_exact(3) {
        let [what, place, byte] = *step else { continue };
        // Places beyond 255 are reached through the upper half of the first byte.
        let place = usize::from(place) + 256 * usize::from(what >> 4);
        let at = place % (bytes.len() + 1);
        match what & 0x0f {
            0 | 1 if at < bytes.len() => bytes[at] = byte,
            2 | 3 if at < bytes.len() => bytes[at] ^= byte,
            4 | 5 => bytes.insert(at, byte),
            6 | 7 if at < bytes.len() => drop(bytes.remove(at)),
            8 => bytes.truncate(at),
            9 => drop(bytes.drain(..at)),
            10 => bytes.rotate_left(at),
            11 => bytes[at..].reverse(),
            // Not for ever: a script of many such steps doubles many times.
            12 if bytes.len() < 4096 => bytes.extend_from_within(at..),
            _ => {}
        }
    }
    bytes
}
