//! What is measured: requests that are accepted, requests that are refused, and tokens without a request.

use std::hint::black_box;

use axum_core_04::body::Body as Body07;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use crate::alternate::Case;
use crate::peers::ours::CACHE;
use crate::peers::{aliri, axum_jwt_auth, decode, jwt_authorizer, ours, resource_server};
use crate::request::{Cases, bearer, inner, nobody};
use crate::tokens::{ALGORITHMS, Tokens};

pub const BARE: &str = "bare service";
pub const BARE_07: &str = "bare service, body of axum 0.7";
pub const BARE_HANDLER: &str = "bare handler of axum 0.8";
pub const REPEATED: &str = "this crate, repeated token";
pub const NEW: &str = "this crate, new token";
pub const DECODE: &str = "layer over `jsonwebtoken::decode`";
pub const JWT_AUTHORIZER: &str = "`jwt-authorizer`";
pub const RESOURCE_SERVER: &str = "`tower-oauth2-resource-server`";
pub const ALIRI: &str = "`aliri_tower`";
pub const AXUM_JWT_AUTH: &str = "`axum-jwt-auth`";
pub const NO_TOKEN: &str = "this crate, no token";
pub const OTHER_SCHEME: &str = "this crate, wrong scheme";
pub const OVERSIZE: &str = "this crate, 9,000 characters";
pub const ALPHABET: &str = "this crate, bad alphabet";
pub const UNKNOWN_KID: &str = "this crate, unknown key";
pub const DECODE_NO_TOKEN: &str = "layer over `jsonwebtoken::decode`, no token";
pub const DECODE_SIGNATURE: &str = "layer over `jsonwebtoken::decode`, bad signature";
pub const SIGNATURE: &str = "bare signature";
pub const DECODE_ALONE: &str = "`jsonwebtoken::decode`";
pub const VERIFY_NEW: &str = "`Verifier::verify`, new token";
pub const VERIFY_REPEATED: &str = "`Verifier::verify`, repeated token";

/// Each with what it is wrapped around.
pub const ACCEPTED: [(&str, &str); 7] = [
    (REPEATED, BARE),
    (NEW, BARE),
    (DECODE, BARE),
    (JWT_AUTHORIZER, BARE_07),
    (RESOURCE_SERVER, BARE),
    (ALIRI, BARE),
    (AXUM_JWT_AUTH, BARE_HANDLER),
];
pub const REFUSED: [&str; 7] =
    [NO_TOKEN, OTHER_SCHEME, OVERSIZE, ALPHABET, UNKNOWN_KID, DECODE_NO_TOKEN, DECODE_SIGNATURE];

/// All of them, of all algorithms, after the proof that each does what its name says.
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for algorithm in ALGORITHMS {
        let tokens = Tokens::new(algorithm);
        let mut cases = Cases { tokens: &tokens, made: Vec::new() };
        accepted(&mut cases);
        refused(&mut cases);
        without_layer(&mut cases);
        all.append(&mut cases.made);
    }
    all
}

fn accepted(cases: &mut Cases) {
    let tokens = cases.tokens;
    cases.bare(BARE, inner::<Full<Bytes>>(nobody));
    cases.bare(BARE_07, inner::<Body07>(nobody));
    cases.bare(BARE_HANDLER, axum_jwt_auth::bare());
    cases.accepted(REPEATED, ours::service(tokens, CACHE));
    cases.accepted(NEW, ours::service(tokens, 0));
    cases.accepted(DECODE, decode::service(tokens));
    cases.accepted(JWT_AUTHORIZER, jwt_authorizer::service(tokens));
    cases.accepted(RESOURCE_SERVER, resource_server::service(tokens));
    if let Some(service) = aliri::service(tokens) {
        cases.accepted(ALIRI, service);
    }
    cases.accepted(AXUM_JWT_AUTH, axum_jwt_auth::service(tokens));
}

fn refused(cases: &mut Cases) {
    let tokens = cases.tokens;
    let good = bearer(&tokens.good);
    let [oversize, alphabet] = [bearer(&"x".repeat(9000)), good.replace('.', "!")];
    let [unknown_kid, bad_signature] = [bearer(&tokens.unknown_kid), bearer(&tokens.bad_signature)];
    for (name, authorization) in [
        (NO_TOKEN, None),
        (OTHER_SCHEME, Some("Basic dXNlcjpwYXNzd29yZA==")),
        (OVERSIZE, Some(&*oversize)),
        (ALPHABET, Some(&*alphabet)),
        (UNKNOWN_KID, Some(&*unknown_kid)),
    ] {
        cases.refused(name, ours::service(tokens, CACHE), authorization);
    }
    cases.refused(DECODE_NO_TOKEN, decode::service(tokens), None);
    cases.refused(DECODE_SIGNATURE, decode::service(tokens), Some(&bad_signature));
}

fn without_layer(cases: &mut Cases) {
    let tokens = cases.tokens;
    let rules = decode::Rules::new(tokens);
    let (message, signature) = tokens.good.rsplit_once('.').unwrap();
    let (message, signature) = (message.to_owned(), BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap());
    let (algorithm, key) = (rules.algorithm, rules.key.clone());
    cases.plain(SIGNATURE, move || {
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).unwrap();
        verifier.verify(black_box(message.as_bytes()), &signature).unwrap();
    });
    let token = tokens.good.clone();
    cases.plain(DECODE_ALONE, move || drop(black_box(rules.decode(black_box(&token)).unwrap())));
    for (name, cache_bytes) in [(VERIFY_NEW, 0), (VERIFY_REPEATED, CACHE)] {
        let verifier = ours::verifier(tokens, cache_bytes);
        let token = tokens.good.clone();
        cases.plain(name, move || drop(black_box(verifier.verify(black_box(&token)).unwrap())));
    }
}
