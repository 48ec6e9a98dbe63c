//! The allocations of each request. A program of its own, as counting them takes time.

use std::alloc::System;

use peers::alternate::Case;
use peers::cases::*;
use peers::tables::{Figures, header, row, title};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let mut cases = all();
    let counts = cases.iter_mut().map(allocations).collect();
    let counts = Figures::new(&cases, counts);
    let count = |algorithm: &str, name: &str| counts.of(algorithm, name);

    title("Allocations added to a request");
    println!("Those of the bare service, the copy of the request among them, are taken off.\n");
    header();
    for (name, bare) in ACCEPTED.into_iter().chain(REFUSED.map(|name| (name, BARE))) {
        row(name, |algorithm| {
            let added = count(algorithm, name)? as i64 - count(algorithm, bare)? as i64;
            Some(added.to_string())
        });
    }
    for name in [BARE, BARE_07, BARE_HANDLER] {
        row(&format!("{name}, all of its own"), |algorithm| Some(count(algorithm, name)?.to_string()));
    }
}

/// Allocations of one operation, when what is made once has been made.
fn allocations(case: &mut Case) -> usize {
    case.once();
    let region = Region::new(ALLOCATOR);
    case.once();
    region.change().allocations
}
