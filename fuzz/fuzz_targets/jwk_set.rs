//! JWK sets and single JWKs. Nothing panics; what is read writes itself and reads back the same; nothing private comes
//! out; and under no key that was read does a signature verify that takes no private key to make.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use tower_jwt_auth::KeySet;
use tower_jwt_auth_fuzz::oracles::{check_jwk, check_key_set};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    if let Ok(set) = KeySet::from_jwks(text) {
        check_key_set(&set);
    }
    check_jwk(text);
    Corpus::Keep
});
