//! What verifying one token costs: a new one, a repeated one, on one thread and on two; and the bare signature check.
//!
//! ```text
//! scripts/bench.sh verify
//! ```

#![allow(clippy::unwrap_used)]

mod support;

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, EncodingKey};
use tower_jwt_auth::{Algorithm, Verifier};

use support::{ALGORITHMS, CACHE, SECRET, User, config, settings, token};

fn verify(criterion: &mut Criterion) {
    for algorithm in ALGORITHMS {
        let (remembering, forgetting) = (config(algorithm, CACHE), config(algorithm, 0));
        let text = token(&remembering, 1);
        let mut group = criterion.benchmark_group(format!("verify/{}", algorithm.as_str()));
        let repeated = remembering.verifier::<User>();
        group.bench_function("repeated", |bencher| {
            bencher.iter(|| repeated.verify(black_box(&text)).unwrap());
        });
        let new = forgetting.verifier::<User>();
        group.bench_function("new", |bencher| bencher.iter(|| new.verify(black_box(&text)).unwrap()));
        group.finish();
    }
    hmac(criterion);
    threads();
}

/// The floor of HS256: what the backend itself takes.
fn hmac(criterion: &mut Criterion) {
    let message = [0x61; 700];
    let algorithm = jsonwebtoken::Algorithm::HS256;
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &EncodingKey::from_secret(&SECRET)).unwrap();
    let signature = signer.try_sign(&message).unwrap();
    let key = DecodingKey::from_secret(&SECRET);
    criterion.bench_function("verify/HS256/bare signature", |bencher| {
        bencher.iter(|| {
            let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).unwrap();
            verifier.verify(black_box(&message), &signature).unwrap();
        });
    });
}

/// Repeated tokens on two threads, each its own, to one.
fn threads() {
    let config = config(Algorithm::EdDsa, CACHE);
    let verifier = config.verifier::<User>();
    let tokens = [token(&config, 1), token(&config, 2)];
    let rate = |threads: usize| {
        let begun = Instant::now();
        let count = thread::scope(|scope| {
            let workers: Vec<_> =
                tokens[..threads].iter().map(|token| scope.spawn(|| repeat(&verifier, token))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u32>()
        });
        f64::from(count) / begun.elapsed().as_secs_f64()
    };
    rate(2);
    let (one, two) = (rate(1), rate(2));
    println!("verify/threads: two threads, each its own token, to one: {:.2}", two / one);
}

fn repeat(verifier: &Verifier<User>, token: &str) -> u32 {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        for _ in 0..1000 {
            black_box(verifier.verify(black_box(token)).unwrap());
        }
        count += 1000;
    }
    count
}

criterion_group! {
    name = benches;
    config = settings();
    targets = verify
}
criterion_main!(benches);
