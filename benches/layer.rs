//! What the bearer layer adds to a request: bare inner service, a token seen before, a new one, refused ones; for each
//! algorithm. Allocations are counted first.
//!
//! ```text
//! scripts/bench.sh layer
//! ```

#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::System;
use std::convert::Infallible;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::JwtAuthLayer;

use support::{ALGORITHMS, User, config, drive, request, settings, token};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CACHE: usize = 32 * 1024 * 1024;

async fn answer(request: Request<()>) -> Result<Response<()>, Infallible> {
    black_box(&request);
    Ok(Response::new(()))
}

/// Allocations of one request, its own not counted.
fn allocations<S: Service<Request<()>>>(service: &mut S, authorization: Option<&str>) -> usize {
    // What is made once is made before.
    drop(drive(service, request(authorization)));
    let request = request(authorization);
    let region = Region::new(ALLOCATOR);
    drop(black_box(drive(service, request)));
    region.change().allocations
}

fn layer(criterion: &mut Criterion) {
    for algorithm in ALGORITHMS {
        let (remembering, forgetting) = (config(algorithm, CACHE), config(algorithm, 0));
        let good = format!("Bearer {}", token(&remembering, 1));
        let other_key = token(&config(algorithm, 0), 1).replacen('.', "A.", 1);
        let mut bare = service_fn(answer);
        let mut repeated = JwtAuthLayer::new(remembering.verifier::<User>()).layer(service_fn(answer));
        let mut new = JwtAuthLayer::new(forgetting.verifier::<User>()).layer(service_fn(answer));
        let name = algorithm.as_str();
        println!(
            "{name}: token of {} bytes; allocations: bare {}, repeated {}, new {}, refused without a token {}",
            good.len() - "Bearer ".len(),
            allocations(&mut bare, Some(&good)),
            allocations(&mut repeated, Some(&good)),
            allocations(&mut new, Some(&good)),
            allocations(&mut repeated, None),
        );

        let mut group = criterion.benchmark_group(format!("layer/{name}"));
        let mut case = |name: &str, service: &mut dyn FnMut(Request<()>), authorization: Option<&str>| {
            group.bench_function(name, |bencher| {
                bencher.iter_batched(|| request(authorization), &mut *service, BatchSize::SmallInput);
            });
        };
        case("bare", &mut |request| drop(black_box(drive(&mut bare, request))), Some(&good));
        case("repeated", &mut |request| drop(black_box(drive(&mut repeated, request))), Some(&good));
        case("new", &mut |request| drop(black_box(drive(&mut new, request))), Some(&good));
        let long = format!("Bearer {}", "x".repeat(9000));
        let alphabet = good.replace('.', "!");
        let malformed = format!("Bearer {other_key}");
        for (name, authorization) in [
            ("refused: no token", None),
            ("refused: wrong scheme", Some("Basic dXNlcjpwYXNz")),
            ("refused: oversize", Some(&*long)),
            ("refused: bad alphabet", Some(&*alphabet)),
            ("refused: bad header", Some(&*malformed)),
        ] {
            case(name, &mut |request| drop(black_box(drive(&mut repeated, request))), authorization);
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = settings();
    targets = layer
}
criterion_main!(benches);
