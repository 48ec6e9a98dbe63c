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
    for text in [r#"{"kty":"oct","k":["c2VjcmV0"]}"#, r#"{"d":"c2VjcmV0"#, "c2VjcmV0", r#"["c2VjcmV0"]"#] {
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
