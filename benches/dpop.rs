//! What a proof of possession adds to a request: a repeated token that is bound to a key, with a new proof each time, beside
//! the same request with a repeated bearer token, and beside one bare check of a proof's signature. All in one run, in which
//! they take turns.
//!
//! ```text
//! scripts/bench.sh dpop
//! ```
//!
//! `PROOFS` changes the 100 of a turn, `ROUNDS` the 200 turns.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::env;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use jsonwebtoken::{DecodingKey, Validation, crypto, decode, decode_header};
use serde::Deserialize;
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::test_util::TestIssuer;
use tower_jwt_auth::{AccessGrant, Algorithm, Clock, Dpop, JwtAuthLayer, NoClaims, ProofKey, SystemClock};

const URL: &str = "https://api.example/orders";

/// Of futures that wait for nothing.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[allow(clippy::needless_pass_by_value)] // As a service takes it.
fn answer(request: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    black_box(&request);
    ready(Ok(Response::new(Full::from("[]"))))
}

fn number(name: &str, standard: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(standard)
}

/// Microseconds of one of them.
fn time<T>(items: &[T], mut run: impl FnMut(&T)) -> f64 {
    let begun = Instant::now();
    for item in items {
        run(item);
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(items.len()).unwrap())
}

/// Sends each request to a service that lets it pass.
fn send<S>(service: &mut S, requests: &[Request<()>]) -> f64
where
    S: Service<Request<()>, Response: std::fmt::Debug, Error: std::fmt::Debug>,
{
    time(requests, |request| drop(black_box(now(service.call(request.clone())).unwrap())))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The claims that a check of a proof looks at.
#[derive(Deserialize)]
#[allow(dead_code)] // Read as they would be.
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    ath: String,
}

/// One turn, in microseconds.
struct Turn {
    bearer: f64,
    dpop: f64,
    signature: f64,
    decode: f64,
}

fn turn(issuer: &TestIssuer, key: &ProofKey, proofs: usize) -> Turn {
    let dpop = Dpop::builder("https://api.example").capacity(proofs + 1).build().unwrap();
    let layer = || JwtAuthLayer::new(issuer.verifier::<NoClaims>());
    let mut bearer = layer().layer(service_fn(answer));
    let mut bound = layer().dpop(&dpop).unwrap().layer(service_fn(answer));

    let grant = AccessGrant::new("ada");
    let unbound = issuer.token_for(&grant, &NoClaims {});
    let token = issuer.token_for(&grant.with_key(key.thumbprint()), &NoClaims {});
    let request = |scheme: &str, token: &str| {
        Request::get("/orders").header(AUTHORIZATION, format!("{scheme} {token}"))
    };
    let prove = || key.prove("GET", URL, Some(&token), None, SystemClock.now()).unwrap();
    let first = prove();
    let texts: Vec<_> = (0..proofs).map(|_| prove()).collect();
    let with = |proof: &String| request("DPoP", &token).header("dpop", proof).body(()).unwrap();
    let without: Vec<_> = texts.iter().map(|_| request("Bearer", &unbound).body(()).unwrap()).collect();
    let requests: Vec<_> = texts.iter().map(with).collect();
    // Both tokens are repeated ones from here on, and what refuses would be fast.
    for answer in [now(bearer.call(without[0].clone())), now(bound.call(with(&first)))] {
        assert!(answer.unwrap().status().is_success());
    }

    let header = decode_header(&first).unwrap();
    let decoding = DecodingKey::from_jwk(header.jwk.as_ref().unwrap()).unwrap();
    let signature = |proof: &String| {
        let (message, signature) = proof.rsplit_once('.').unwrap();
        assert!(crypto::verify(signature, message.as_bytes(), &decoding, header.alg).unwrap());
    };
    let decoded = |proof: &String| {
        let header = decode_header(proof).unwrap();
        let key = DecodingKey::from_jwk(header.jwk.as_ref().unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        black_box(decode::<Claims>(proof, &key, &validation).unwrap());
    };
    let turn = Turn {
        bearer: send(&mut bearer, &without),
        dpop: send(&mut bound, &requests),
        signature: time(&texts, signature),
        decode: time(&texts, decoded),
    };
    // Each was checked, and is remembered.
    let again = now(bound.call(requests[proofs - 1].clone())).unwrap();
    assert_eq!(again.status(), 401);
    turn
}

fn main() {
    let (proofs, rounds) = (number("PROOFS", 100), number("ROUNDS", 200));
    let issuer = TestIssuer::new();
    let algorithms = [Algorithm::Es256, Algorithm::EdDsa];
    let keys = algorithms.map(|algorithm| ProofKey::generate_with(algorithm).unwrap());
    let mut turns = [const { Vec::new() }; 2];
    for round in 0..=rounds {
        for (turns, key) in turns.iter_mut().zip(&keys) {
            let turn = turn(&issuer, key, proofs);
            // The first one warms up.
            if round > 0 {
                turns.push(turn);
            }
        }
    }

    println!(
        "A request with a repeated token (HS256) and a new proof, behind the bearer layer. The check of the proof is what"
    );
    println!("it takes more than the same request with a repeated bearer token.\n");
    println!("| | {} |", algorithms.map(Algorithm::as_str).join(" | "));
    println!("| --- | ---: | ---: |");
    let row = |name: &str, digits: usize, value: fn(&Turn) -> f64| {
        let values = turns.each_ref().map(|turns| median(turns.iter().map(value).collect()));
        println!("| {name} | {:.digits$} | {:.digits$} |", values[0], values[1]);
    };
    row("the check of the proof, to one check of its signature", 2, |turn| {
        (turn.dpop - turn.bearer) / turn.signature
    });
    row("`jsonwebtoken::decode` of the proof by the key in it, to the same", 2, |turn| {
        turn.decode / turn.signature
    });
    row("the check of the proof, to `jsonwebtoken::decode` of it", 2, |turn| {
        (turn.dpop - turn.bearer) / turn.decode
    });
    row("the request with a proof, to the one with a bearer token", 0, |turn| turn.dpop / turn.bearer);
}
