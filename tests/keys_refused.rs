//! Keys that are not taken, and that this is found out where they are made, with a text that says what to do.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/keys.rs"]
mod fixtures;
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fixtures::{der, family, fixture, issue, jwk, quotes_nothing, read_both, refused, verify, verifying};
use pkcs1::RsaPublicKey;
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::UintRef;
use serde_json::json;
use support::ManualClock;
use support::tokens::{SUBJECT, base64url, builder, from_base64url};
use tower_jwt_auth::{Algorithm, KeyForm, SigningKey, VerifyingKey};

use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Rs256};

/// Only `rust-crypto` is on, which takes RSA keys of 4096 bits at most.
const SMALL_RSA: bool = cfg!(not(feature = "aws-lc-rs"));

// ── PEM and DER ──

#[test]
fn pem_texts_that_are_no_key_to_sign_with() {
    let read = |text: &str, algorithm| SigningKey::read(algorithm, KeyForm::Pem(text.as_bytes()));
    let label = |text: String, from: &str, to: &str| {
        assert!(text.contains(&format!("BEGIN {from}")), "{text}");
        text.replace(from, to)
    };
    let (rsa, p256) = (fixture("rsa.pkcs8.pem"), fixture("p256.pkcs8.pem"));
    let parameters = fixture("p256.sec1.pem").split_inclusive('\n').take(3).collect::<String>();
    for (row, text, algorithm, word) in [
        ("public, SPKI", fixture("p256.spki.pem"), Es256, "public key"),
        ("public, RSA, SPKI", fixture("rsa.spki.pem"), Rs256, "public key"),
        ("public, PKCS#1", fixture("rsa.pkcs1-public.pem"), Rs256, "public key"),
        ("certificate", fixture("certificate.pem"), Es256, "certificate"),
        ("encrypted, PKCS#8", fixture("encrypted.pkcs8.pem"), Es256, "encrypted"),
        ("encrypted, PKCS#1", fixture("encrypted.pkcs1.pem"), Rs256, "encrypted"),
        ("encrypted, SEC1", fixture("encrypted.sec1.pem"), Es256, "encrypted"),
        ("two keys", format!("{p256}{rsa}"), Es256, "exactly one"),
        ("one key twice", format!("{p256}{p256}"), Es256, "exactly one"),
        ("both halves", format!("{p256}{}", fixture("p256.spki.pem")), Es256, "exactly one"),
        ("key and certificate", format!("{p256}{}", fixture("certificate.pem")), Es256, "exactly one"),
        ("parameters only", parameters, Es256, "exactly one"),
        ("nothing", String::new(), EdDsa, "exactly one"),
        ("no PEM", "a key".repeat(20), EdDsa, "exactly one"),
        ("a JWK", fixture("p256.private.jwk"), Es256, "exactly one"),
        ("P-521", fixture("p521.pkcs8.pem"), Es256, "neither P-256 nor P-384"),
        ("P-521, SEC1", fixture("p521.sec1.pem"), Es384, "P-256 or P-384"),
        ("secp256k1", fixture("secp256k1.pkcs8.pem"), Es256, "neither P-256 nor P-384"),
        ("secp256k1, SEC1", fixture("secp256k1.sec1.pem"), Es256, "P-256 or P-384"),
        ("X25519", fixture("x25519.pkcs8.pem"), EdDsa, "no supported algorithm"),
        ("Ed448", fixture("ed448.pkcs8.pem"), EdDsa, "no supported algorithm"),
        ("id-RSASSA-PSS", fixture("rsa-pss.pkcs8.pem"), Ps256, "no supported algorithm"),
        ("row 44, 512 bits", fixture("rsa512.pkcs8.pem"), Rs256, "2048"),
        ("row 44, 1024 bits", fixture("rsa1024.pkcs8.pem"), Ps256, "2048"),
        ("three primes", fixture("rsa-3primes.pkcs8.pem"), Rs256, "two primes"),
        ("OpenSSH", label(p256.clone(), "PRIVATE KEY", "OPENSSH PRIVATE KEY"), Es256, "no key"),
        ("a request", label(p256.clone(), "PRIVATE KEY", "CERTIFICATE REQUEST"), Es256, "no key"),
        ("PKCS#1 called PKCS#8", label(fixture("rsa.pkcs1.pem"), "RSA PRIVATE", "PRIVATE"), Rs256, "PKCS#8"),
        ("PKCS#8 called SEC1", label(p256.clone(), "PRIVATE", "EC PRIVATE"), Es256, "SEC1"),
        ("SPKI called PKCS#8", label(fixture("p256.spki.pem"), "PUBLIC", "PRIVATE"), Es256, "PKCS#8"),
        ("no end", p256[..p256.len() - 12].to_owned(), Es256, "PEM"),
        ("other end", p256.replace("END PRIVATE", "END PUBLIC"), Es256, "PEM"),
        ("other alphabet", p256.replacen("\nMI", "\nM_", 1), Es256, "PEM"),
        ("a header", p256.replacen("KEY-----\n", "KEY-----\nComment: ", 1), Es256, ""),
        (
            "a line less",
            p256.lines().filter(|line| line.len() != 64).collect::<Vec<_>>().join("\n"),
            Es256,
            "",
        ),
    ] {
        let result = read(&text, algorithm);
        quotes_nothing(&text, result.as_ref().expect_err(row), row);
        refused(result, word, row);
    }
}

#[test]
fn pem_texts_that_are_no_key_to_verify_with() {
    for (row, file, algorithm, word) in [
        ("private, PKCS#8", "p256.pkcs8.pem", Es256, "private key"),
        ("private, PKCS#1", "rsa.pkcs1.pem", Rs256, "private key"),
        ("private, SEC1", "p256.sec1.pem", Es256, "private key"),
        ("encrypted", "encrypted.pkcs8.pem", Es256, "encrypted"),
        ("certificate", "certificate.pem", Es256, "certificate"),
        ("P-521", "p521.spki.pem", Es384, "neither P-256 nor P-384"),
        ("secp256k1", "secp256k1.spki.pem", Es256, "neither P-256 nor P-384"),
        ("X25519", "x25519.spki.pem", EdDsa, "no supported algorithm"),
        ("Ed448", "ed448.spki.pem", EdDsa, "no supported algorithm"),
        ("id-RSASSA-PSS", "rsa-pss.spki.pem", Ps256, "no supported algorithm"),
        ("row 44, 512 bits", "rsa512.spki.pem", Rs256, "2048"),
        ("row 44, 1024 bits", "rsa1024.spki.pem", Ps256, "2048"),
        ("compressed point", "p256-compressed.spki.pem", Es256, "uncompressed"),
    ] {
        let text = fixture(file);
        let result = VerifyingKey::read(algorithm, KeyForm::Pem(text.as_bytes()));
        quotes_nothing(&text, result.as_ref().expect_err(row), row);
        refused(result, word, row);
    }
}

/// A point is as long as its curve has it: no half of it is missing, and nothing stands behind.
#[test]
fn points_of_other_lengths() {
    let good = der("p256.spki.pem");
    // The sequence of the algorithm; then the bits: no unused ones, 4 for uncompressed, and the point.
    let (algorithm, point) = (&good[2..23], &good[27..]);
    let with = |point: &[u8]| {
        let bits = [&[0x03, u8::try_from(point.len() + 2).unwrap(), 0x00, 0x04], point].concat();
        let length = u8::try_from(algorithm.len() + bits.len()).unwrap();
        [&[0x30, length], algorithm, &bits[..]].concat()
    };
    assert_eq!(with(point), good);
    assert!(VerifyingKey::read(Es256, KeyForm::Der(&with(point))).is_ok());
    for bytes in [0, 1, 31, 32, 33, 63] {
        let cut = with(&point[..bytes]);
        refused(VerifyingKey::read(Es256, KeyForm::Der(&cut)), "uncompressed", &bytes.to_string());
    }
    let more = with(&[point, &[0]].concat());
    refused(VerifyingKey::read(Es256, KeyForm::Der(&more)), "uncompressed", "a byte more");
}

#[test]
fn der_bytes_that_are_no_key() {
    for (row, file, algorithm, to_sign, to_verify) in [
        ("public, SPKI", "p256.spki.pem", Es256, "public key", None),
        ("public, PKCS#1", "rsa.pkcs1-public.pem", Rs256, "public key", None),
        ("private, PKCS#8", "ed25519.pkcs8.pem", EdDsa, "", Some("private key")),
        ("private, PKCS#1", "rsa.pkcs1.pem", Rs256, "", Some("private key")),
        ("private, SEC1", "p384.sec1.pem", Es384, "", Some("private key")),
        ("certificate", "certificate.pem", Es256, "no private key in DER", Some("no public key in DER")),
        ("encrypted", "encrypted.pkcs8.pem", Es256, "no private key in DER", Some("no public key in DER")),
        // The error of the form that it is, not of the last one that was tried.
        ("P-521", "p521.pkcs8.pem", Es256, "neither P-256 nor P-384", Some("private key")),
        ("P-521, SEC1", "p521.sec1.pem", Es256, "P-256 or P-384", Some("private key")),
        ("secp256k1, public", "secp256k1.spki.pem", Es256, "public key", Some("neither P-256 nor P-384")),
        ("X25519", "x25519.pkcs8.pem", EdDsa, "no supported algorithm", Some("private key")),
        ("Ed448, public", "ed448.spki.pem", EdDsa, "public key", Some("no supported algorithm")),
    ] {
        let bytes = der(file);
        if !to_sign.is_empty() {
            refused(SigningKey::read(algorithm, KeyForm::Der(&bytes)), to_sign, row);
        }
        if let Some(word) = to_verify {
            refused(VerifyingKey::read(algorithm, KeyForm::Der(&bytes)), word, row);
        }
    }
    for (row, bytes) in [
        ("empty", &b""[..]),
        ("a PEM text", fixture("p256.pkcs8.pem").as_bytes()),
        ("garbage", &[0xa5; 121]),
        ("a length beyond the end", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x02, 0x01]),
        ("a length without end", &[0x30, 0x80, 0x00, 0x00]),
    ] {
        for result in read_both(Es256, KeyForm::Der(bytes)) {
            refused(result, "in DER", row);
        }
    }
}

#[test]
fn der_that_is_cut_or_has_more_behind_it_is_refused() {
    for (file, algorithm) in [
        ("rsa.pkcs8.pem", Rs256),
        ("rsa.pkcs1.pem", Rs256),
        ("rsa.spki.pem", Rs256),
        ("rsa.pkcs1-public.pem", Rs256),
        ("p256.pkcs8.pem", Es256),
        ("p256.sec1.pem", Es256),
        ("p384.spki.pem", Es384),
        ("ed25519.pkcs8.pem", EdDsa),
        ("ed25519.spki.pem", EdDsa),
    ] {
        let mut bytes = der(file);
        for end in 0..bytes.len() {
            for result in read_both(algorithm, KeyForm::Der(&bytes[..end])) {
                refused(result, "", &format!("{file}, {end} bytes"));
            }
        }
        bytes.push(0);
        for result in read_both(algorithm, KeyForm::Der(&bytes)) {
            refused(result, "in DER", &format!("{file}, a byte more"));
        }
    }
}

#[test]
fn a_changed_bit_in_a_private_key_gives_an_error_or_another_key_and_no_panic() {
    let clock = ManualClock::new();
    for (file, algorithm) in [("p256.pkcs8.pem", Es256), ("ed25519.pkcs8.pem", EdDsa)] {
        let good = der(file);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match SigningKey::read(algorithm, KeyForm::Der(&bytes)) {
                Err(error) => refused::<()>(Err(error), "", file),
                Ok(key) => {
                    let verifying = verifying(key.verifying_key().clone(), &clock);
                    let token = issue(&builder(key, &clock).build().unwrap());
                    assert_eq!(verify(&verifying, &token).as_deref(), Ok(SUBJECT), "{file}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn row_44_bounds_of_rsa_keys_in_der() {
    let (n, e) = (from_base64url(jwk("rsa.public.jwk")["n"].as_str().unwrap()), [1, 0, 1]);
    let even = [&n[..n.len() - 1], &[n[n.len() - 1] - 1]].concat();
    for (row, n, e, word) in [
        ("as it was", n.clone(), &e[..], None),
        ("e = 1", n.clone(), &[1], Some("exponent")),
        ("e even", n.clone(), &[1, 0, 0], Some("exponent")),
        ("e huge", n.clone(), &[0x7f; 256], Some("exponent")),
        ("n even", even, &e, Some("even")),
        ("n = 0", vec![0], &e, Some("2048")),
        ("n of 8193 bits", [&[1][..], &[0xff; 1024]].concat(), &e, Some("2048")),
        ("n of 16384 bits", vec![0xff; 2048], &e, Some("2048")),
        ("n of 4097 bits", [&[1][..], &[0xff; 512]].concat(), &e, SMALL_RSA.then_some("4096")),
        ("n and e exchanged", e.to_vec(), &n, Some("2048")),
    ] {
        let uint = |bytes| UintRef::new(bytes).unwrap();
        let der = RsaPublicKey { modulus: uint(&n), public_exponent: uint(e) }.to_der().unwrap();
        match (VerifyingKey::read(Rs256, KeyForm::Der(&der)), word) {
            (result, Some(word)) => refused(result, word, row),
            (result, None) => drop(result.expect(row)),
        }
    }
}

/// A backend that reads a key and then refuses all of its signatures would be found out by users.
#[test]
fn the_longest_and_the_oddest_rsa_keys_work_or_are_refused() {
    let clock = ManualClock::new();
    for (name, works) in [("rsa-e3", true), ("rsa8192", !SMALL_RSA)] {
        let private = fixture(&format!("{name}.pkcs8.pem"));
        let public = fixture(&format!("{name}.spki.pem"));
        let signing = SigningKey::read(Rs256, KeyForm::Pem(private.as_bytes()));
        let checking = VerifyingKey::read(Rs256, KeyForm::Pem(public.as_bytes()));
        if works {
            let token = issue(&builder(signing.unwrap(), &clock).build().unwrap());
            let answer = verify(&verifying(checking.unwrap(), &clock), &token);
            assert_eq!(answer.as_deref(), Ok(SUBJECT), "{name}");
        } else {
            refused(signing, "4096", name);
            refused(checking, "4096", name);
        }
    }
}

// ── a key and an algorithm that do not go together ──

#[test]
fn a_key_of_another_kind_than_its_algorithm_is_refused_in_every_form() {
    for &algorithm in Algorithm::ALL {
        for name in ["rsa", "p256", "p384", "ed25519"] {
            if family(algorithm) == name {
                continue;
            }
            let row = format!("{name} for {algorithm:?}");
            for (file, kind) in [("pkcs8.pem", "another kind"), ("private.jwk", "kind (kty, crv)")] {
                let text = fixture(&format!("{name}.{file}"));
                let form =
                    if kind == "another kind" { KeyForm::Pem(text.as_bytes()) } else { KeyForm::Jwk(&text) };
                refused(SigningKey::read(algorithm, form), kind, &row);
            }
            for (file, kind) in [("spki.pem", "another kind"), ("public.jwk", "kind (kty, crv)")] {
                let text = fixture(&format!("{name}.{file}"));
                let form =
                    if kind == "another kind" { KeyForm::Pem(text.as_bytes()) } else { KeyForm::Jwk(&text) };
                let word = if algorithm.is_symmetric() { "kind" } else { kind };
                refused(VerifyingKey::read(algorithm, form), word, &row);
            }
            let (private, public) = (der(&format!("{name}.pkcs8.pem")), der(&format!("{name}.spki.pem")));
            refused(SigningKey::read(algorithm, KeyForm::Der(&private)), "another kind", &row);
            refused(VerifyingKey::read(algorithm, KeyForm::Der(&public)), "another kind", &row);
        }
        if !algorithm.is_symmetric() {
            let secret: Vec<u8> = (0..64).collect();
            let text = base64url(&secret);
            let oct = json!({"kty": "oct", "k": text}).to_string();
            for form in [KeyForm::Secret(&secret), KeyForm::Base64(&text), KeyForm::Jwk(&oct)] {
                for result in read_both(algorithm, form) {
                    refused(result, "k", &format!("{form:?} for {algorithm:?}"));
                }
            }
        }
    }
}

// ── HMAC secrets ──

#[test]
fn row_43_secrets_that_are_too_short() {
    let secret: Vec<u8> = (0x80..=0xff).collect();
    for (algorithm, least) in [(Hs256, 32), (Hs384, 48), (Hs512, 64)] {
        for (bytes, good) in [(0, false), (least - 1, false), (least, true)] {
            let (secret, row) = (&secret[..bytes], format!("{algorithm:?}, {bytes} bytes"));
            let base64 = STANDARD.encode(secret);
            let oct = json!({"kty": "oct", "k": base64url(secret)}).to_string();
            for form in [KeyForm::Secret(secret), KeyForm::Base64(&base64), KeyForm::Jwk(&oct)] {
                for result in read_both(algorithm, form) {
                    match result {
                        Ok(()) => assert!(good, "{row} {form:?}"),
                        result => {
                            assert!(!good, "{row} {form:?}: {result:?}");
                            refused(result, "random bytes", &row);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn row_43_secrets_that_are_something_else() {
    let pretty = fixture("ed25519.private.jwk");
    assert!(pretty.starts_with("{\n"));
    let set = json!({"keys": [jwk("rsa.public.jwk")]}).to_string();
    for (row, secret, word) in [
        ("a password", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec(), "repeats"),
        ("a password with a line end", b"abcabcabcabcabcabcabcabcabcabcabc\n".to_vec(), "repeats"),
        ("zeros as text", "0".repeat(64).into_bytes(), "repeats"),
        ("a private PEM", fixture("rsa.pkcs8.pem").into_bytes(), "PEM"),
        ("a public PEM", fixture("rsa.spki.pem").into_bytes(), "PEM"),
        ("a PEM after a text", format!("Bag Attributes\n{}", fixture("p256.spki.pem")).into(), "PEM"),
        ("a PEM after a BOM", format!("\u{feff}{}", fixture("p256.spki.pem")).into(), "PEM"),
        ("a JWK", jwk("ed25519.public.jwk").to_string().into(), "JWK"),
        ("a JWK in lines", pretty.into(), "JWK"),
        ("a JWK after white space", format!(" \n{}", jwk("p256.public.jwk")).into(), "JWK"),
        ("a JWK set", set.into(), "JWK"),
        ("SPKI", der("rsa.spki.pem"), "DER"),
        ("SPKI of another curve", der("p521.spki.pem"), "DER"),
        ("PKCS#1, public", der("rsa.pkcs1-public.pem"), "DER"),
        ("PKCS#8", der("ed25519.pkcs8.pem"), "DER"),
        ("SEC1", der("p256.sec1.pem"), "DER"),
    ] {
        let base64 = STANDARD.encode(&secret);
        for form in [KeyForm::Secret(&secret), KeyForm::Base64(&base64)] {
            for result in read_both(Hs256, form) {
                refused(result, word, &format!("{row} as {form:?}"));
            }
        }
    }
    // Random bytes may begin like one of these.
    for start in [&b"{\""[..], b"{", b"-----BEGIN", b"\x30\x1e", b"\x30\x81"] {
        let secret = [start, &(0x80..0xc0).collect::<Vec<u8>>()[..]].concat();
        for result in read_both(Hs256, KeyForm::Secret(&secret)) {
            result.unwrap_or_else(|error| panic!("{start:?}: {error}"));
        }
    }
    for (row, text) in [
        ("not base64", "?".repeat(44)),
        ("both alphabets", format!("+_{}", "Ab1".repeat(20))),
        ("a blank within", format!("{} {}", "AbCd".repeat(6), "EfGh".repeat(6))),
        ("spare bits", format!("{}B", "Ab1d".repeat(11).as_str()) + "C"),
        ("too much padding", format!("{}==", "Ab1d".repeat(11))),
    ] {
        for result in read_both(Hs256, KeyForm::Base64(&text)) {
            refused(result, "base64", row);
        }
    }
}
