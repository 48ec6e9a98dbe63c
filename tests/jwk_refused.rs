//! JWKs that are not taken: rows 69 and 71 of the requirements, and L19 to L24 of what the library lets through.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/keys.rs"]
mod fixtures;
mod support;

use fixtures::{changed, jwk, quotes_nothing, read_both, refused};
use serde_json::json;
use support::tokens::{base64url, from_base64url};
use tower_jwt_auth::{Algorithm, KeyForm, SigningKey, VerifyingKey};

use Algorithm::{EdDsa, Es256, Es384, Rs256};

#[test]
fn row_69_row_71_private_jwks() {
    let text =
        |name: &str, member: &str| jwk(&format!("{name}.private.jwk"))[member].as_str().unwrap().to_owned();
    let bytes = |name: &str, member: &str| from_base64url(&text(name, member));
    let (ed, p256, p384, rsa) = ("ed25519", "p256", "p384", "rsa");
    let other_point = json!({"x": base64url(&bytes(p384, "x")[..32]), "y": text(p256, "y")});
    // The order of the group of P-256, the least scalar that is too large.
    let order = from_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
    for (row, name, algorithm, changes, word) in [
        ("use", p256, Es256, json!({"use": "enc"}), "use"),
        ("key_ops", p256, Es256, json!({"key_ops": ["verify"]}), "key_ops"),
        ("alg", p256, Es256, json!({"alg": "ES384"}), "alg"),
        ("alg of RSA", rsa, Rs256, json!({"alg": "PS256"}), "alg"),
        ("alg unknown", ed, EdDsa, json!({"alg": "Ed448"}), "alg"),
        ("kty", ed, EdDsa, json!({"kty": "EC"}), "kty"),
        ("kty in lower case", rsa, Rs256, json!({"kty": "rsa"}), "kty"),
        ("kty missing", rsa, Rs256, json!({"kty": null}), "kty"),
        ("crv", p256, Es256, json!({"crv": "P-384"}), "crv"),
        ("crv missing", ed, EdDsa, json!({"crv": null}), "crv"),
        ("L19, P-384 for coordinates of P-256", p256, Es384, json!({"crv": "P-384"}), "length"),
        ("X25519", ed, EdDsa, json!({"crv": "X25519"}), "crv"),
        ("d missing", p256, Es256, json!({"d": null}), "public key"),
        ("d missing", rsa, Rs256, json!({"d": null}), "public key"),
        ("d missing", ed, EdDsa, json!({"d": null}), "public key"),
        ("x missing", ed, EdDsa, json!({"x": null}), "missing"),
        ("y missing", p256, Es256, json!({"y": null}), "missing"),
        ("n missing", rsa, Rs256, json!({"n": null}), "missing"),
        ("p missing", rsa, Rs256, json!({"p": null}), "missing"),
        ("qi missing", rsa, Rs256, json!({"qi": null}), "missing"),
        ("more primes", rsa, Rs256, json!({"oth": []}), "two primes"),
        ("d padded", ed, EdDsa, json!({"d": text(ed, "d") + "="}), "base64url"),
        ("d in hexadecimal, by the wrong reader", ed, EdDsa, json!({"d": "0f".repeat(32)}), "32 bytes"),
        ("d short", ed, EdDsa, json!({"d": base64url(&bytes(ed, "d")[1..])}), "32 bytes"),
        ("d short", p256, Es256, json!({"d": base64url(&bytes(p256, "d")[1..])}), "length"),
        ("d long", p256, Es256, json!({"d": base64url([&[0], &bytes(p256, "d")[..]].concat())}), "length"),
        ("d = 0", p256, Es256, json!({"d": base64url([0; 32])}), "cannot use"),
        ("d = order", p256, Es256, json!({"d": base64url(order)}), "cannot use"),
        ("d = 0", rsa, Rs256, json!({"d": "AA"}), ""),
        ("d of another key", rsa, Rs256, json!({"d": text(rsa, "dp")}), "cannot use"),
        ("p of another key", rsa, Rs256, json!({"p": text(rsa, "dp")}), "cannot use"),
        ("n even", rsa, Rs256, json!({"n": text(rsa, "n").replace("uQ", "uA")}), ""),
        (
            "public half of another key",
            ed,
            EdDsa,
            json!({"x": base64url([9; 32])}),
            "not those of its private key",
        ),
        ("public half of another key", p256, Es256, other_point, "not those of its private key"),
        ("d of another key", p256, Es256, json!({"d": base64url([9; 32])}), "not those of its private key"),
    ] {
        let text = changed(&format!("{name}.private.jwk"), &changes);
        let row = format!("{row}, {name}");
        let result = SigningKey::read(algorithm, KeyForm::Jwk(&text));
        quotes_nothing(&text, result.as_ref().expect_err(&row), &row);
        refused(result, word, &row);
    }
}

#[test]
fn row_69_row_71_public_jwks() {
    let text =
        |name: &str, member: &str| jwk(&format!("{name}.public.jwk"))[member].as_str().unwrap().to_owned();
    let bytes = |name: &str, member: &str| from_base64url(&text(name, member));
    let (ed, p256, p384, rsa) = ("ed25519", "p256", "p384", "rsa");
    let flipped = |name, member| {
        let mut bytes = bytes(name, member);
        bytes[10] ^= 1;
        base64url(bytes)
    };
    let exchanged = json!({"x": text(p256, "y"), "y": text(p256, "x")});
    let (zero, ones) = (base64url([0; 32]), base64url([0xff; 32]));
    let mut identity = [0; 32];
    (identity[0], identity[31]) = (1, 0x80);
    for (row, name, algorithm, changes, word) in [
        ("use", p256, Es256, json!({"use": "enc"}), "use"),
        ("key_ops", rsa, Rs256, json!({"key_ops": ["encrypt"]}), "key_ops"),
        ("key_ops empty", ed, EdDsa, json!({"key_ops": []}), "key_ops"),
        ("key_ops no array", ed, EdDsa, json!({"key_ops": "verify"}), "wrong type"),
        ("alg", ed, EdDsa, json!({"alg": "ES256"}), "alg"),
        ("kid a number", ed, EdDsa, json!({"kid": 7}), "wrong type"),
        ("use an array", ed, EdDsa, json!({"use": ["sig"]}), "wrong type"),
        ("x a number", ed, EdDsa, json!({"x": 7}), "wrong type"),
        ("crv in lower case", p256, Es256, json!({"crv": "p-256"}), "crv"),
        ("crv of another curve", ed, EdDsa, json!({"crv": "P-384"}), "crv"),
        ("P-521", p256, Es256, json!({"crv": "P-521"}), "crv"),
        ("private member", rsa, Rs256, json!({"d": "AQ"}), "private key"),
        ("private member", p256, Es256, json!({"d": "AQ"}), "private key"),
        ("private member", ed, EdDsa, json!({"d": ""}), "private key"),
        ("another kind's private member", ed, EdDsa, json!({"k": "AQ"}), "private key"),
        ("x missing", p384, Es384, json!({"x": null}), "missing"),
        ("x padded", ed, EdDsa, json!({"x": text(ed, "x") + "="}), "base64url"),
        ("n in the other alphabet", rsa, Rs256, json!({"n": text(rsa, "n").replace('_', "/")}), "base64url"),
        ("x short", p256, Es256, json!({"x": base64url(&bytes(p256, "x")[1..])}), "length"),
        ("y long", p256, Es256, json!({"y": base64url([&[0], &bytes(p256, "y")[..]].concat())}), "length"),
        ("x empty", p384, Es384, json!({"x": ""}), "length"),
        (
            "a length moved from y to x",
            p256,
            Es256,
            json!({"x": base64url([1; 33]), "y": base64url([1; 31])}),
            "length",
        ),
        ("L20, x short", ed, EdDsa, json!({"x": base64url(&bytes(ed, "x")[1..])}), "32 bytes"),
        ("L20, x empty", ed, EdDsa, json!({"x": ""}), "32 bytes"),
        ("L21, x long", ed, EdDsa, json!({"x": base64url([&bytes(ed, "x")[..], &[0]].concat())}), "32 bytes"),
        ("not on the curve", p256, Es256, json!({"x": flipped(p256, "x")}), "curve"),
        ("not on the curve", p384, Es384, json!({"y": flipped(p384, "y")}), "curve"),
        ("x and y exchanged", p256, Es256, exchanged, "curve"),
        ("the origin", p256, Es256, json!({"x": zero, "y": zero}), "curve"),
        ("beyond the field", p256, Es256, json!({"x": ones, "y": ones}), "curve"),
        ("L22, the point of order 1", ed, EdDsa, json!({"x": base64url(identity)}), "small order"),
        ("L22, a point of order 4", ed, EdDsa, json!({"x": zero}), "small order"),
        ("e = 1", rsa, Rs256, json!({"e": "AQ"}), "exponent"),
        ("e even", rsa, Rs256, json!({"e": "AQAA"}), "exponent"),
        ("e huge", rsa, Rs256, json!({"e": text(rsa, "n")}), "exponent"),
        ("e empty", rsa, Rs256, json!({"e": ""}), "exponent"),
        ("n = 0", rsa, Rs256, json!({"n": "AAAA"}), "2048"),
        (
            "n short under leading zeros",
            rsa,
            Rs256,
            json!({"n": base64url([&[0; 200][..], &[0xff; 128]].concat())}),
            "2048",
        ),
        ("n of 16384 bits", rsa, Rs256, json!({"n": base64url([0xff; 2048])}), "2048"),
        ("n even", rsa, Rs256, json!({"n": base64url([0xfe; 256])}), "even"),
    ] {
        let text = changed(&format!("{name}.public.jwk"), &changes);
        refused(VerifyingKey::read(algorithm, KeyForm::Jwk(&text)), word, &format!("{row}, {name}"));
    }
    for (row, point) in [("order 1", identity), ("order 4", [0; 32])] {
        refused(VerifyingKey::ed25519(&point), "small order", row);
    }
    for text in ["", "[]", "null", "7", "{", "{}{}", r#"["OKP"]"#, "-----BEGIN PUBLIC KEY-----"] {
        for result in read_both(EdDsa, KeyForm::Jwk(text)) {
            refused(result, "no JWK", text);
        }
    }
    for result in read_both(EdDsa, KeyForm::Jwk("{}")) {
        refused(result, "kty", "no members");
    }
}
