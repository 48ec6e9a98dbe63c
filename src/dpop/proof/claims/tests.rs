use serde_json::{Value, json};

use crate::dpop::error::ProofErrorKind;
use crate::dpop::proof::tests::{NOW, POST, TOKEN, claims, header, key, rules, signed, verify, with};
use crate::dpop::proof::{Presented, Proof};
use crate::secret::{base64url, sha256};

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
