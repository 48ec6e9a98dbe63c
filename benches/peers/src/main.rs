//! The layer of this crate beside what people use today, in one run.
//!
//! ```text
//! cargo run --release --bin peers
//! ```
//!
//! Tables go to the standard output, nanoseconds to the standard error. `ROUNDS=10` makes it short.

mod alternate;
mod peers;
mod request;
mod tables;
mod tokens;

use std::alloc::System;
use std::hint::black_box;

use axum_core_04::body::Body as Body07;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use alternate::Case;
use peers::ours::CACHE;
use peers::{aliri, axum_jwt_auth, decode, jwt_authorizer, ours, resource_server};
use request::{Cases, bearer, inner, nobody};
use tables::{Figure, Figures, names};
use tokens::{ALGORITHMS, Tokens};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let mut cases = Vec::new();
    let mut bytes = Vec::new();
    for algorithm in ALGORITHMS {
        let tokens = Tokens::new(algorithm);
        let mut of_algorithm = Cases { tokens: &tokens, made: Vec::new() };
        accepted(&mut of_algorithm);
        refused(&mut of_algorithm);
        without_layer(&mut of_algorithm);
        cases.append(&mut of_algorithm.made);
        bytes.push(tokens.good.len());
    }
    let allocations: Vec<usize> = cases.iter_mut().map(allocations).collect();
    let nanoseconds = alternate::nanoseconds(&mut cases, alternate::rounds());
    let figures: Figures = cases
        .into_iter()
        .zip(nanoseconds)
        .zip(allocations)
        .map(|((case, nanoseconds), allocations)| (case.name, Figure { nanoseconds, allocations }))
        .collect();
    for (name, figure) in &figures {
        eprintln!("{name}: {:.0} ns, {} allocations", figure.nanoseconds, figure.allocations);
    }
    tables::print(&figures, &bytes);
}

fn accepted(cases: &mut Cases) {
    let tokens = cases.tokens;
    cases.bare(names::BARE, inner::<Full<Bytes>>(nobody));
    cases.bare(names::BARE_07, inner::<Body07>(nobody));
    cases.bare(names::BARE_HANDLER, axum_jwt_auth::bare());
    cases.accepted(names::REPEATED, ours::service(tokens, CACHE));
    cases.accepted(names::NEW, ours::service(tokens, 0));
    cases.accepted(names::DECODE, decode::service(tokens));
    cases.accepted(names::JWT_AUTHORIZER, jwt_authorizer::service(tokens));
    cases.accepted(names::RESOURCE_SERVER, resource_server::service(tokens));
    if let Some(service) = aliri::service(tokens) {
        cases.accepted(names::ALIRI, service);
    }
    cases.accepted(names::AXUM_JWT_AUTH, axum_jwt_auth::service(tokens));
}

fn refused(cases: &mut Cases) {
    let tokens = cases.tokens;
    let good = bearer(&tokens.good);
    let [oversize, alphabet] = [bearer(&"x".repeat(9000)), good.replace('.', "!")];
    let [unknown_kid, bad_signature] = [bearer(&tokens.unknown_kid), bearer(&tokens.bad_signature)];
    for (name, authorization) in [
        (names::NO_TOKEN, None),
        (names::OTHER_SCHEME, Some("Basic dXNlcjpwYXNzd29yZA==")),
        (names::OVERSIZE, Some(&*oversize)),
        (names::ALPHABET, Some(&*alphabet)),
        (names::UNKNOWN_KID, Some(&*unknown_kid)),
    ] {
        cases.refused(name, ours::service(tokens, CACHE), authorization);
    }
    cases.refused(names::DECODE_NO_TOKEN, decode::service(tokens), None);
    cases.refused(names::DECODE_SIGNATURE, decode::service(tokens), Some(&bad_signature));
}

fn without_layer(cases: &mut Cases) {
    let tokens = cases.tokens;
    let rules = decode::Rules::new(tokens);
    let (message, signature) = tokens.good.rsplit_once('.').unwrap();
    let (message, signature) = (message.to_owned(), BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap());
    let (algorithm, key) = (rules.algorithm, rules.key.clone());
    cases.plain(names::SIGNATURE, move || {
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).unwrap();
        verifier.verify(black_box(message.as_bytes()), &signature).unwrap();
    });
    let token = tokens.good.clone();
    cases.plain(names::DECODE_ALONE, move || drop(black_box(rules.decode(black_box(&token)).unwrap())));
    for (name, cache_bytes) in [(names::VERIFY_NEW, 0), (names::VERIFY_REPEATED, CACHE)] {
        let verifier = ours::verifier(tokens, cache_bytes);
        let token = tokens.good.clone();
        cases.plain(name, move || drop(black_box(verifier.verify(black_box(&token)).unwrap())));
    }
}

/// Allocations of one operation, when what is made once has been made.
fn allocations(case: &mut Case) -> usize {
    case.once();
    let region = Region::new(ALLOCATOR);
    case.once();
    region.change().allocations
}
