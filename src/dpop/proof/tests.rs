//! Whole proofs: their form, their signature, and what is the same of all; with what the tests of the parts share.

use serde_json::{Value, json};

use super::*;
use crate::secret::{base64url, hmac_sha256, sha256};
use crate::test_util::ManualClock;
use crate::token::{KeyForm, SigningKey};

pub(super) const NOW: Timestamp = ManualClock::START;
pub(super) const TOKEN: &str = "an-access-token";
pub(super) const POST: Presented<'_> =
    Presented { method: "POST", path: "/orders", token: Some(TOKEN.as_bytes()) };

pub(super) fn rules() -> Rules {
    Rules {
        crypto: Crypto::compiled_in().unwrap(),
        algorithms: Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_symmetric()).collect(),
        bases: [Base::parse("https://api.example").unwrap()].into(),
        max_age: Duration::from_secs(60),
        leeway: Duration::from_secs(10),
    }
}

pub(super) fn key(byte: u8) -> SigningKey {
    let crypto = Crypto::compiled_in().unwrap();
    SigningKey::from_private_bytes(crypto, Algorithm::Es256, &[byte; 32]).unwrap()
}

pub(super) fn public(key: &SigningKey) -> Value {
    serde_json::from_str(&key.verifying_key().to_bare_jwk().unwrap()).unwrap()
}

pub(super) fn header(key: &SigningKey) -> Value {
    json!({ "typ": "dpop+jwt", "alg": key.algorithm().as_str(), "jwk": public(key) })
}

pub(super) fn claims() -> Value {
    json!({
        "jti": "a-jti", "htm": "POST", "htu": "https://api.example/orders", "iat": NOW.as_unix_seconds(),
        "ath": base64url(&sha256(TOKEN.as_bytes())),
    })
}

fn input(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}", base64url(header), base64url(claims))
}

pub(super) fn signed(key: &SigningKey, header: &str, claims: &str) -> String {
    let input = input(header.as_bytes(), claims.as_bytes());
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url(&signature))
}

pub(super) fn verify(proof: &str) -> Result<Proof, ProofErrorKind> {
    Proof::verify(proof, &rules(), &POST, NOW).map_err(|error| error.kind())
}

/// A member of `object` that is another one; `None` takes it out.
pub(super) fn with(mut object: Value, name: &str, value: impl Into<Option<Value>>) -> String {
    let members = object.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    object.to_string()
}

#[test]
fn row_66_a_good_proof_passes_whoever_signs_it() {
    let rsa = include_bytes!("../../../tests/fixtures/keys/rsa.pkcs8.pem").as_slice();
    let p384 = include_bytes!("../../../tests/fixtures/keys/p384.pkcs8.pem").as_slice();
    let ed25519 = include_bytes!("../../../tests/fixtures/keys/ed25519.pkcs8.pem").as_slice();
    for (algorithm, pem) in [
        (Algorithm::Es384, p384),
        (Algorithm::EdDsa, ed25519),
        (Algorithm::Rs256, rsa),
        (Algorithm::Ps512, rsa),
    ] {
        let key = SigningKey::read(algorithm, KeyForm::Pem(pem)).unwrap();
        let good = signed(&key, &header(&key).to_string(), &claims().to_string());
        let proof = verify(&good).unwrap();
        assert_eq!(Some(proof.thumbprint), key.verifying_key().thumbprint(), "{algorithm:?}");
    }
    let key = key(7);
    let proof = verify(&signed(&key, &header(&key).to_string(), &claims().to_string())).unwrap();
    assert_eq!(proof.expires, NOW.saturating_add(Duration::from_secs(70)));
    assert_eq!((proof.nonce, proof.nonce_is_previous), (None, false));
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
    let text = include_str!("../../../tests/fixtures/dpop/rfc9449.json");
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
