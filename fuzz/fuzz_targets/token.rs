//! Texts of tokens, in three ways by the first byte:
//!
//! - `t`: the text as it is, which must be refused unless it is the good token;
//! - `e`: edits of the good token, likewise;
//! - `s`: a header and a claims set, one a line, under a genuine signature. What is accepted must keep the rules by
//!   another reading of the JSON, and say what it says there.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Map, Value};
use tower_jwt_auth::{NoClaims, Verifier};
use tower_jwt_auth_fuzz::oracles::{Expected, check_types_agree, edited};
use tower_jwt_auth_fuzz::{AUDIENCE, GOOD_TOKEN, ISSUER, KID, LEEWAY, NOW, config, sign};

static VERIFIER: LazyLock<Verifier<NoClaims>> = LazyLock::new(|| {
    let verifier = config().verifier::<NoClaims>();
    verifier.verify(&GOOD_TOKEN).expect("the good token is good");
    verifier
});

static ANY_CLAIMS: LazyLock<Verifier<Map<String, Value>>> = LazyLock::new(|| config().verifier());

fuzz_target!(|data: &[u8]| -> Corpus {
    match data.split_first() {
        Some((b't', text)) => {
            let Ok(text) = std::str::from_utf8(text) else { return Corpus::Reject };
            only_the_good_one(text);
        }
        Some((b'e', script)) => {
            let bytes = edited(GOOD_TOKEN.as_bytes(), script);
            let Ok(text) = std::str::from_utf8(&bytes) else { return Corpus::Reject };
            only_the_good_one(text);
        }
        Some((b's', rest)) => {
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else { return Corpus::Reject };
            signed(&rest[..at], &rest[at + 1..]);
        }
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

fn only_the_good_one(text: &str) {
    assert_eq!(VERIFIER.verify(text).is_ok(), text == *GOOD_TOKEN);
}

fn signed(header: &[u8], claims: &[u8]) {
    let token = sign(header, claims);
    let verified = ANY_CLAIMS.verify(&token);
    check_types_agree(VERIFIER.verify(&token).is_ok(), verified.is_ok(), claims);
    let Ok(verified) = verified else { return };
    let (issuer, audience, kid, now, leeway) = (ISSUER, AUDIENCE, KID, NOW, LEEWAY);
    let expected = Expected { issuer, audience, kid, now, leeway, lifetime: 900 };
    expected.check(header, claims, &verified);
}
