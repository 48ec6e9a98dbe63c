//! What the bearer layer adds to a request: bare inner service, a token seen before, a new one, refused ones; for each
//! algorithm. Allocations are counted first. Each case makes its request, the bare one, too.
//!
//! ```text
//! scripts/bench.sh layer
//! scripts/bench.sh instructions
//! ```
//!
//! The second runs one case by itself below valgrind: `CASE` names it, `COUNT` says how often.

#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::System;
use std::env;

use criterion::Criterion;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use support::layer::{Case, cases};
use support::{ALGORITHMS, settings};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of one request.
fn allocations(case: &mut Case) -> usize {
    // What is made once is made before.
    (case.run)();
    let region = Region::new(ALLOCATOR);
    (case.run)();
    region.change().allocations
}

fn measure(criterion: &mut Criterion) {
    for algorithm in ALGORITHMS {
        let mut cases = cases(algorithm);
        let bare = allocations(&mut cases[0]);
        println!("{}: allocations added", algorithm.as_str());
        for case in &mut cases[1..] {
            let count = allocations(case) - bare;
            println!("    {:22} {count}", case.name);
        }
        let mut group = criterion.benchmark_group(format!("layer/{}", algorithm.as_str()));
        for case in &mut cases {
            group.bench_function(case.name, |bencher| bencher.iter(|| (case.run)()));
        }
        group.finish();
    }
}

/// `CASE` is the name of an algorithm and that of a case.
fn run_one(wanted: &str) {
    let count = env::var("COUNT").unwrap().parse::<u32>().unwrap();
    let (algorithm, name) = wanted.split_once('/').unwrap();
    let algorithm = ALGORITHMS.into_iter().find(|one| one.as_str() == algorithm).unwrap();
    let mut case = cases(algorithm).into_iter().find(|case| case.name == name).unwrap();
    for _ in 0..count {
        (case.run)();
    }
}

fn main() {
    if let Ok(wanted) = env::var("CASE") {
        return run_one(&wanted);
    }
    let mut criterion = settings().configure_from_args();
    measure(&mut criterion);
    criterion.final_summary();
}
