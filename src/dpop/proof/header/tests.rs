use serde_json::{Value, json};

use crate::dpop::error::ProofErrorKind;
use crate::dpop::proof::tests::{claims, header, key, public, signed, verify, with};
use crate::secret::base64url;

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
