//! Keys one by one: each algorithm, each form a key comes in, and what is refused where the key is made.
//!
//! The fixtures were made with `openssl`; tokens and thumbprints to compare with are made here by hand.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/keys.rs"]
mod fixtures;
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use fixtures::{der, fixture, issue, jwk, refused, secret, signing_key, thumbprint, verify, verifying};
use serde_json::{Value, json};
use support::ManualClock;
use support::tokens::{
    AUDIENCE, ISSUER, KID, SUBJECT, Signer, base64url, builder, claims, ed25519_public, from_base64url,
    json_of, pkcs8,
};
use tower_jwt_auth::{Algorithm, KeyForm, SigningKey, TokenConfig, TokenErrorKind, VerifyingKey};

use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

/// A good token by the backend alone: `alg` as it says, signed with `algorithm` and the key `name`.
fn by_hand(
    alg: &str,
    algorithm: jsonwebtoken::Algorithm,
    key: &jsonwebtoken::EncodingKey,
    kid: &str,
) -> String {
    #[cfg(feature = "aws-lc-rs")]
    let provider = &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    #[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
    let provider = &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
    let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string();
    let message = format!("{}.{}", base64url(header), base64url(claims().json()));
    let signer = (provider.signer_factory)(&algorithm, key).unwrap();
    format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).unwrap()))
}

// ── algorithms ──

#[test]
fn row_34_each_algorithm_works_under_its_name_and_under_no_other() {
    let clock = ManualClock::new();
    for &algorithm in Algorithm::ALL {
        let key = signing_key(algorithm);
        let kid = key.kid().to_owned();
        let config = builder(key.clone(), &clock).build().unwrap();
        let token = issue(&config);
        let [header, rest] = token.splitn(2, '.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        let expected = json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": kid});
        assert_eq!(json_of(header), expected);
        assert_eq!(verify(&config, &token).as_deref(), Ok(SUBJECT), "{algorithm:?}");
        let only_verifies = verifying(key.verifying_key().clone(), &clock);
        assert_eq!(verify(&only_verifies, &token).as_deref(), Ok(SUBJECT), "{algorithm:?}");

        let others =
            Algorithm::ALL.iter().copied().filter(|other| *other != algorithm).map(Algorithm::as_str);
        let unknown =
            ["none", "None", "", "ES512", "ES256K", "Ed448", "HS257", "EdDSA ", "ed25519", "eddsa", "rs256"];
        let ed25519 = (algorithm != EdDsa).then_some("Ed25519");
        for name in others.chain(unknown).chain(ed25519) {
            let renamed = base64url(json!({"alg": name, "typ": "at+jwt", "kid": kid}).to_string());
            let answer = verify(&config, &format!("{renamed}.{rest}"));
            assert_eq!(answer, Err(TokenErrorKind::Algorithm), "{algorithm:?} as {name:?}");
        }
    }
}

#[test]
fn row_34_a_genuine_signature_of_another_algorithm_is_refused() {
    use jsonwebtoken::{Algorithm as Backend, EncodingKey};
    let clock = ManualClock::new();
    let rsa = EncodingKey::from_rsa_der(&der("rsa.pkcs1.pem"));
    let hmac = EncodingKey::from_secret(&secret());
    for (algorithm, key, own, other, other_name) in [
        (Rs256, &rsa, Backend::RS256, Backend::RS512, "RS512"),
        (Rs256, &rsa, Backend::RS256, Backend::PS256, "PS256"),
        (Ps384, &rsa, Backend::PS384, Backend::RS384, "RS384"),
        (Hs256, &hmac, Backend::HS256, Backend::HS512, "HS512"),
        (Hs512, &hmac, Backend::HS512, Backend::HS384, "HS384"),
    ] {
        let config = verifying(signing_key(algorithm).verifying_key().clone().with_kid(KID), &clock);
        let name = algorithm.as_str();
        assert_eq!(verify(&config, &by_hand(name, own, key, KID)).as_deref(), Ok(SUBJECT), "{name}");
        let honest = by_hand(other_name, other, key, KID);
        assert_eq!(verify(&config, &honest), Err(TokenErrorKind::Algorithm), "{other_name} for {name}");
        let lying = by_hand(name, other, key, KID);
        assert_eq!(verify(&config, &lying), Err(TokenErrorKind::Signature), "{other_name} as {name}");
    }
}

#[test]
fn row_35_a_public_key_is_no_hmac_secret() {
    let clock = ManualClock::new();
    for (algorithm, files) in [
        (Rs256, &["rsa.spki.pem", "rsa.pkcs1-public.pem", "rsa.public.jwk"][..]),
        (Es256, &["p256.spki.pem", "p256.public.jwk"]),
        (EdDsa, &["ed25519.spki.pem", "ed25519.public.jwk"]),
    ] {
        let config = verifying(signing_key(algorithm).verifying_key().clone().with_kid(KID), &clock);
        for file in files {
            let text = fixture(file);
            let mut secrets = vec![text.clone().into_bytes(), text.trim_end().as_bytes().to_vec()];
            secrets.extend(text.starts_with("-----").then(|| der(file)));
            for secret in secrets {
                let token = Signer::Hs256(secret.clone()).good();
                assert_eq!(verify(&config, &token), Err(TokenErrorKind::Algorithm), "{file}");
                // Nor can anybody make it one by mistake.
                refused(VerifyingKey::hs256(&secret), "the secret is", file);
                let base64 = STANDARD.encode(&secret);
                refused(SigningKey::read(Hs256, KeyForm::Base64(&base64)), "the secret is", file);
            }
        }
    }
}

/// RFC 9864 gives Ed25519 a name of its own.
#[test]
fn l28_ed25519_is_another_name_for_eddsa() {
    let (clock, signer) = (ManualClock::new(), Signer::ed25519());
    let config = builder(signer.key(), &clock).build().unwrap();
    for (name, answer) in [
        ("EdDSA", Ok(SUBJECT.to_owned())),
        ("Ed25519", Ok(SUBJECT.to_owned())),
        ("Ed448", Err(TokenErrorKind::Algorithm)),
        ("ed25519", Err(TokenErrorKind::Algorithm)),
        ("ED25519", Err(TokenErrorKind::Algorithm)),
        ("Ed25519ph", Err(TokenErrorKind::Algorithm)),
        ("ES256", Err(TokenErrorKind::Algorithm)),
    ] {
        let header = signer.header().with("alg", format!("{name:?}"));
        assert_eq!(verify(&config, &signer.with_header(header.json())), answer, "{name}");
    }
}

/// Two nodes may be built with different features.
#[cfg(all(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[test]
fn each_backend_verifies_what_the_other_signed() {
    use jsonwebtoken::crypto::{aws_lc, rust_crypto};
    use tower_jwt_auth::Crypto;
    let clock = ManualClock::new();
    for &algorithm in Algorithm::ALL {
        let secret = secret();
        let pem = if algorithm.is_symmetric() { String::new() } else { fixtures::private_pem(algorithm) };
        let form = if pem.is_empty() { KeyForm::Secret(&secret) } else { KeyForm::Pem(pem.as_bytes()) };
        let configs = [&aws_lc::DEFAULT_PROVIDER, &rust_crypto::DEFAULT_PROVIDER].map(|provider| {
            let crypto = Crypto::new(provider);
            let key = SigningKey::read_with(crypto, algorithm, form).unwrap();
            builder(key, &clock).crypto(crypto).build().unwrap()
        });
        for signs in &configs {
            let token = issue(signs);
            for verifies in &configs {
                assert_eq!(verify(verifies, &token).as_deref(), Ok(SUBJECT), "{algorithm:?}");
            }
        }
    }
}

// ── the forms of a key ──

#[test]
fn every_form_of_a_key_is_the_same_key() {
    let clock = ManualClock::new();
    for (algorithm, name, private, public) in [
        (Rs256, "rsa", &["pkcs8", "pkcs1"][..], &["spki", "pkcs1-public"][..]),
        (Es256, "p256", &["pkcs8", "sec1"], &["spki"]),
        (Es384, "p384", &["pkcs8", "sec1"], &["spki"]),
        (EdDsa, "ed25519", &["pkcs8"], &["spki"]),
    ] {
        let kid = thumbprint(&jwk(&format!("{name}.public.jwk")));
        let (mut signing, mut checking) = (Vec::new(), Vec::new());
        for form in private {
            let file = format!("{name}.{form}.pem");
            signing.push((form, SigningKey::read(algorithm, KeyForm::Pem(fixture(&file).as_bytes()))));
            signing.push((form, SigningKey::read(algorithm, KeyForm::Der(&der(&file)))));
        }
        let text = fixture(&format!("{name}.private.jwk"));
        signing.push((&"jwk", SigningKey::read(algorithm, KeyForm::Jwk(&text))));
        for form in public {
            let file = format!("{name}.{form}.pem");
            checking.push((form, VerifyingKey::read(algorithm, KeyForm::Pem(fixture(&file).as_bytes()))));
            checking.push((form, VerifyingKey::read(algorithm, KeyForm::Der(&der(&file)))));
        }
        let text = fixture(&format!("{name}.public.jwk"));
        checking.push((&"jwk", VerifyingKey::read(algorithm, KeyForm::Jwk(&text))));

        let checking: Vec<_> = checking.into_iter().map(|(form, key)| (form, key.unwrap())).collect();
        for (form, key) in &checking {
            assert_eq!(
                (key.kid(), key.thumbprint().map(|print| print.to_string())),
                (&*kid, Some(kid.clone())),
                "{name} {form}"
            );
        }
        for (form, key) in signing {
            let key = key.unwrap_or_else(|error| panic!("{name} {form}: {error}"));
            assert_eq!(key.kid(), kid, "{name} {form}");
            let token = issue(&builder(key, &clock).build().unwrap());
            for (other, key) in &checking {
                let answer = verify(&verifying(key.clone(), &clock), &token);
                assert_eq!(answer.as_deref(), Ok(SUBJECT), "{name}: signed as {form}, verified as {other}");
            }
        }
    }
}

#[test]
fn every_form_of_an_hmac_key_is_the_same_key() {
    // 64 bytes: with padding, and with both characters in which the alphabets differ.
    let secret: Vec<u8> = (0..64_u8).map(|at| 0xfb_u8.wrapping_add(at.wrapping_mul(5))).collect();
    let expected = SigningKey::read(Hs512, KeyForm::Secret(&secret)).unwrap();
    assert_eq!(expected.verifying_key().thumbprint(), None, "it would be a digest of the secret");
    assert_eq!(expected.verifying_key().to_jwk(), None);
    let standard = STANDARD.encode(&secret);
    assert!(standard.contains('+') && standard.contains('/') && standard.ends_with('='), "{standard}");
    let oct = json!({"kty": "oct", "k": base64url(&secret)}).to_string();
    let other = SigningKey::read(Hs512, KeyForm::Secret(&[b'\x01'; 64])).unwrap();
    assert_ne!(other.kid(), expected.kid());
    for (row, text) in [
        ("padded", standard),
        ("without padding", STANDARD_NO_PAD.encode(&secret)),
        ("URL-safe, padded", URL_SAFE.encode(&secret)),
        ("URL-safe", base64url(&secret)),
        ("with a line end, as files have it", format!("{}\n", base64url(&secret))),
    ] {
        assert_eq!(SigningKey::read(Hs512, KeyForm::Base64(&text)).unwrap().kid(), expected.kid(), "{row}");
        assert_eq!(VerifyingKey::read(Hs512, KeyForm::Base64(&text)).unwrap().kid(), expected.kid(), "{row}");
    }
    assert_eq!(SigningKey::read(Hs512, KeyForm::Jwk(&oct)).unwrap().kid(), expected.kid());
    assert_eq!(VerifyingKey::read(Hs512, KeyForm::Jwk(&oct)).unwrap().kid(), expected.kid());
}

/// A signing key used to take the thumbprint where the verifying key took the JWK's own `kid`: no token was accepted.
#[test]
fn the_kid_of_a_jwk_is_the_id_of_both_halves() {
    let clock = ManualClock::new();
    let named = |file: &str, kid: &str| {
        let mut jwk = jwk(file);
        jwk["kid"] = kid.into();
        jwk.to_string()
    };
    for kid in ["2026-01", "ключ \"\\\u{1}"] {
        let private = SigningKey::read(EdDsa, KeyForm::Jwk(&named("ed25519.private.jwk", kid))).unwrap();
        let public = VerifyingKey::read(EdDsa, KeyForm::Jwk(&named("ed25519.public.jwk", kid))).unwrap();
        assert_eq!((private.kid(), public.kid()), (kid, kid));
        let token = issue(&builder(private, &clock).build().unwrap());
        assert_eq!(verify(&verifying(public, &clock), &token).as_deref(), Ok(SUBJECT));
    }
    for (row, kid) in [("empty", String::new()), ("257 bytes", "k".repeat(257))] {
        let key = SigningKey::read(EdDsa, KeyForm::Jwk(&named("ed25519.private.jwk", &kid))).unwrap();
        refused(builder(key, &clock).build(), "key id", row);
    }
}

/// RFC 5958 lets a private key bring its public half along: a wrong one must not be believed.
#[test]
fn ed25519_in_the_second_version_of_pkcs8() {
    let seed = [7; 32];
    let with_public = |public: [u8; 32]| {
        let mut der = [&pkcs8(&seed)[..], &[0x81, 0x21, 0x00], &public].concat();
        (der[1], der[4]) = (0x51, 1);
        SigningKey::read(EdDsa, KeyForm::Der(&der))
    };
    let public = ed25519_public(&seed);
    let key = with_public(public).unwrap();
    assert_eq!(key.kid(), VerifyingKey::ed25519(&public).unwrap().kid());
    assert_eq!(key.kid(), SigningKey::ed25519_seed(&seed).unwrap().kid());
    refused(with_public(ed25519_public(&[8; 32])), "cannot use", "another public key");
}

// ── worked examples of the RFCs ──

/// RFC 7515, appendix A.1: the key reads as a JWK once it names its algorithm. Its token was signed with it (the
/// signature by hand is the same) and is refused for what it is: no access token.
#[test]
fn rfc_7515_appendix_a_1() {
    const K: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const HEAD: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let jwk = json!({"kty": "oct", "k": K, "alg": "HS256"}).to_string();
    let key = VerifyingKey::read(Hs256, KeyForm::Jwk(&jwk)).unwrap();
    let token = format!("{HEAD}.{SIGNATURE}");
    let own = Signer::Hs256(from_base64url(K));
    assert_eq!(base64url(own.signature(HEAD.as_bytes())), SIGNATURE);

    let clock = ManualClock::new();
    let config = |key: VerifyingKey| {
        let builder = TokenConfig::builder().add_verifying_key(key).insecure_issuer("joe").audience(AUDIENCE);
        builder.accept_type("JWT").clock(clock.clone()).build().unwrap()
    };
    // The signature is good: what is missed comes after it. With a changed key it is not.
    assert_eq!(verify(&config(key), &token), Err(TokenErrorKind::Claims));
    let other = VerifyingKey::read(Hs256, KeyForm::Secret(&from_base64url(K)[1..])).unwrap();
    assert_eq!(verify(&config(other), &token), Err(TokenErrorKind::Signature));
}

/// RFC 8037, appendix A: the public key that belongs to the private one (A.1, A.2), its thumbprint (A.3), and the
/// signature (A.4), which is good: its payload, no JSON, is what the token is refused for.
#[test]
fn rfc_8037_appendix_a() {
    const D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const JWS: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let seed: [u8; 32] = from_base64url(D).try_into().unwrap();
    assert_eq!(base64url(ed25519_public(&seed)), X);
    let private = json!({"kty": "OKP", "crv": "Ed25519", "d": D, "x": X}).to_string();
    let public = json!({"kty": "OKP", "crv": "Ed25519", "x": X}).to_string();
    let signing = SigningKey::read(EdDsa, KeyForm::Jwk(&private)).unwrap();
    let key = VerifyingKey::read(EdDsa, KeyForm::Jwk(&public)).unwrap();
    assert_eq!(key.thumbprint().unwrap().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(signing.kid(), key.kid());

    let (message, signature) = JWS.rsplit_once('.').unwrap();
    // Ed25519 is deterministic: the signature of A.4 to the byte.
    assert_eq!(base64url(Signer::Ed25519(seed).signature(message.as_bytes())), signature);
    let config = TokenConfig::builder().add_verifying_key(key).issuer(ISSUER).audience(AUDIENCE);
    let config = config.accept_missing_type().build().unwrap();
    assert_eq!(verify(&config, JWS), Err(TokenErrorKind::Claims));
    let changed = JWS.replacen("RXhh", "RXhi", 1);
    assert_eq!(verify(&config, &changed), Err(TokenErrorKind::Signature));
}

/// RFC 7638, section 3.1: the thumbprint, which `alg` and `kid` are not part of. The key reads as the RSA key it is.
#[test]
fn rfc_7638_section_3_1() {
    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let jwk = json!({"kty": "RSA", "n": N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}).to_string();
    let key = VerifyingKey::read(Rs256, KeyForm::Jwk(&jwk)).unwrap();
    assert_eq!(key.thumbprint().unwrap().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(key.kid(), "2011-04-29");
    let out: Value = serde_json::from_str(&key.to_jwk().unwrap()).unwrap();
    assert_eq!(
        out,
        json!({"kty": "RSA", "n": N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "use": "sig"})
    );
    for other in [Rs384, Rs512, Ps256, Ps384, Ps512, Es256, EdDsa, Hs256, Hs384] {
        refused(VerifyingKey::read(other, KeyForm::Jwk(&jwk)), "JWK", other.as_str());
    }
}
