//! What this crate's memory of tokens costs when there are many of them, or long ones, or several threads.
//!
//! ```text
//! scripts/bench.sh scale
//! ```
//!
//! Tokens of HS256, whose first sight costs least, read into no claims of the application.

use std::alloc::System;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use peers::alternate::{Case, median, nanoseconds, rounds};
use peers::tables::ratio;
use peers::tokens::Padded;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower_jwt_auth::{NoClaims, Verifier};

/// Counts what is held. It takes a little time, with and without a memory of tokens alike.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1024 * 1024;
/// Enough for all that is verified here.
const ROOM: usize = 2048 * MIB;
const TOKEN_BYTES: usize = 650;

fn main() {
    let tokens = Padded::new(TOKEN_BYTES).tokens(1_000_000);
    by_number(&tokens);
    by_size();
    by_threads(&tokens);
    memory(&tokens);
    flood(&tokens);
}

fn verifier(cache_bytes: usize) -> Verifier<NoClaims> {
    Padded::new(TOKEN_BYTES).config(cache_bytes).verifier()
}

fn verify(verifier: &Verifier<NoClaims>, token: &str) {
    black_box(verifier.verify(black_box(token)).unwrap());
}

/// Any of the live tokens, as far apart as they can be.
fn by_number(tokens: &[String]) {
    let mut cases: Vec<Case> = [1, 100, 10_000, 100_000, 1_000_000]
        .into_iter()
        .map(|live| {
            let tokens = tokens[..live].to_vec();
            let verifier = verifier(ROOM);
            tokens.iter().for_each(|token| verify(&verifier, token));
            let mut at = 0;
            Case::new(live.to_string(), move || {
                at = (at + 7919) % tokens.len();
                verify(&verifier, &tokens[at]);
            })
        })
        .collect();
    let anew = verifier(0);
    let token = tokens[0].clone();
    cases.push(Case::new("first sight of one", move || verify(&anew, &token)));
    let times = nanoseconds(&mut cases, rounds());
    title(
        "A repeated token among many",
        "Its cost to that of the only one. Far more are live than a processor's memory holds: each look-up then waits for the machine's, for the token that comes as for the one that is remembered.",
    );
    println!("| live tokens | cost |\n| --- | ---: |");
    for (case, time) in cases.iter().zip(&times) {
        println!("| {} | {} |", case.name, ratio(time / times[0]));
    }
}

fn by_size() {
    let sizes = [300, 650, 1024, 2048, 4096, 8192];
    let mut cases = Vec::new();
    for cache_bytes in [ROOM, 0] {
        for size in sizes {
            let padded = Padded::new(size);
            let (verifier, token) = (padded.config(cache_bytes).verifier(), padded.tokens(1).remove(0));
            cases.push(Case::new(format!("{}", token.len()), move || verify(&verifier, &token)));
        }
    }
    let times = nanoseconds(&mut cases, rounds());
    let (repeated, new) = times.split_at(sizes.len());
    title("By the size of the token", "To a repeated token of 650 bytes.");
    println!("| bytes | repeated | new |\n| --- | ---: | ---: |");
    for ((case, one), other) in cases.iter().zip(repeated).zip(new) {
        println!("| {} | {} | {} |", case.name, ratio(one / repeated[1]), ratio(other / repeated[1]));
    }
}

/// Throughput of two threads to that of one, in turns.
fn by_threads(tokens: &[String]) {
    let verifier = verifier(ROOM);
    let rate = |tokens: &[&String]| {
        let begun = Instant::now();
        let count: u32 = thread::scope(|scope| {
            let threads: Vec<_> =
                tokens.iter().map(|token| scope.spawn(|| repeat(&verifier, token))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        f64::from(count) / begun.elapsed().as_secs_f64()
    };
    let (mut own, mut same) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let one = rate(&[&tokens[0]]);
        own.push(rate(&[&tokens[0], &tokens[1]]) / one);
        same.push(rate(&[&tokens[0], &tokens[0]]) / one);
    }
    title("By threads", "Repeated tokens a second on two threads, to one.");
    println!("| | throughput |\n| --- | ---: |");
    println!("| each its own token | {:.2} |", median(own));
    println!("| both the same token | {:.2} |", median(same));
}

fn repeat(verifier: &Verifier<NoClaims>, token: &str) -> u32 {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(20) {
        (0..1000).for_each(|_| verify(verifier, token));
        count += 1000;
    }
    count
}

fn held(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

fn memory(tokens: &[String]) {
    title("Memory", "Bytes that the allocator was asked for.");
    println!("| | |\n| --- | ---: |");
    let tokens = &tokens[..100_000];
    let region = Region::new(ALLOCATOR);
    // Not much more than they need, as a table is made for what fits.
    let one = verifier(128 * MIB);
    tokens.iter().for_each(|token| verify(&one, token));
    println!(
        "| bytes an entry, for a token of {} | {:.0} |",
        tokens[0].len(),
        held(&region) / tokens.len() as f64
    );
    drop(one);
    for mib in [1, 8, 32] {
        let region = Region::new(ALLOCATOR);
        let one = verifier(mib * MIB);
        // Twice, as once it is full a token is remembered at its second sight.
        tokens.iter().chain(tokens).for_each(|token| verify(&one, token));
        println!("| MiB held, of {mib} | {:.1} |", held(&region) / MIB as f64);
    }
}

/// A million tokens, each once, through the default memory, beside a verifier without.
fn flood(tokens: &[String]) {
    const BLOCK: usize = 5_000;
    let (with, without) = (verifier(32 * MIB), verifier(0));
    let region = Region::new(ALLOCATOR);
    let mut peak = 0.0_f64;
    let mut ratios = Vec::new();
    for (at, block) in tokens.chunks(BLOCK).enumerate() {
        let time = |verifier: &Verifier<NoClaims>| {
            let begun = Instant::now();
            block.iter().for_each(|token| verify(verifier, token));
            begun.elapsed().as_secs_f64()
        };
        // The second finds the tokens in the processor's memory.
        let (one, other) = if at % 2 == 0 {
            let one = time(&with);
            (one, time(&without))
        } else {
            let other = time(&without);
            (time(&with), other)
        };
        ratios.push(other / one);
        peak = peak.max(held(&region));
    }
    title("A million tokens, each once", "Through the default memory of 32 MiB.");
    println!("| | |\n| --- | ---: |");
    println!("| throughput, to a verifier without a memory | {:.2} |", median(ratios.clone()));
    println!("| the same, before it is full | {:.2} |", median(ratios[..5].to_vec()));
    println!("| MiB held at most | {:.1} |", peak / MIB as f64);
}

fn title(text: &str, what: &str) {
    println!("\n### {text}\n\n{what}\n");
}
