//! The caches that could hold verified tokens: what a hit costs, what an entry weighs, and what a flood does to those in
//! use. All are bounded to the same bytes, and keyed alike: the end of a token hashed, the whole of it compared.
//!
//! ```text
//! scripts/bench.sh caches
//! ```

use std::alloc::System;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::hint::black_box;
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use peers::alternate::{Case, median, nanoseconds, rounds};
use peers::tables::ratio;
use quick_cache::sync::DefaultLifecycle;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Counts what is held.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BOUND: u64 = 32 * 1024 * 1024;
/// What one entry counts for.
const WEIGHT: u64 = 1024;
const ENTRIES: usize = (BOUND / WEIGHT) as usize;
const TOKEN_BYTES: usize = 650;
/// So many that all of them fit.
const LIVE: usize = 20_000;
const SHARDS: usize = 64;

#[derive(Clone, PartialEq, Eq)]
struct Token(Arc<[u8]>);

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[TOKEN_BYTES - 32..]);
    }
}

/// As large as what is remembered of a token.
#[derive(Clone)]
struct Remembered {
    _claims: Arc<u64>,
    _others: [u64; 5],
}

trait Cache: Send + Sync {
    fn get(&self, token: &Token) -> Option<Remembered>;
    fn insert(&self, token: Token, remembered: Remembered);
}

macro_rules! cache {
    ($type:ty) => {
        impl Cache for $type {
            fn get(&self, token: &Token) -> Option<Remembered> {
                self.get(token)
            }
            fn insert(&self, token: Token, remembered: Remembered) {
                self.insert(token, remembered);
            }
        }
    };
}

type QuickCache = quick_cache::sync::Cache<Token, Remembered, Weigh, RandomState>;
type Moka = moka::sync::Cache<Token, Remembered, RandomState>;
type MiniMoka = mini_moka::sync::Cache<Token, Remembered, RandomState>;
cache!(QuickCache);
cache!(Moka);
cache!(MiniMoka);

#[derive(Clone)]
struct Weigh;

impl quick_cache::Weighter<Token, Remembered> for Weigh {
    fn weight(&self, _: &Token, _: &Remembered) -> u64 {
        WEIGHT
    }
}

/// Maps under locks, chosen by the hash.
struct Sharded<M> {
    shards: Vec<M>,
    hasher: RandomState,
}

impl<M> Sharded<M> {
    fn new(shard: impl Fn() -> M) -> Self {
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new() }
    }

    fn shard(&self, token: &Token) -> &M {
        &self.shards[self.hasher.hash_one(token) as usize % SHARDS]
    }
}

impl Cache for Sharded<Mutex<lru::LruCache<Token, Remembered, RandomState>>> {
    fn get(&self, token: &Token) -> Option<Remembered> {
        self.shard(token).lock().unwrap().get(token).cloned()
    }
    fn insert(&self, token: Token, remembered: Remembered) {
        self.shard(&token).lock().unwrap().put(token, remembered);
    }
}

impl Cache for Sharded<RwLock<HashMap<Token, Remembered>>> {
    fn get(&self, token: &Token) -> Option<Remembered> {
        self.shard(token).read().unwrap().get(token).cloned()
    }
    fn insert(&self, token: Token, remembered: Remembered) {
        self.shard(&token).write().unwrap().insert(token, remembered);
    }
}

const NAMES: [&str; 6] =
    ["quick_cache", "moka", "moka, LRU", "mini-moka", "lru in 64 shards", "maps in 64 shards, unbounded"];

fn make(name: &str) -> Arc<dyn Cache> {
    let hasher = RandomState::new();
    match name {
        "quick_cache" => {
            Arc::new(QuickCache::with(ENTRIES, BOUND, Weigh, hasher, DefaultLifecycle::default()))
        }
        "moka" | "moka, LRU" => {
            let builder = Moka::builder().max_capacity(BOUND).weigher(|_, _| WEIGHT as u32);
            let policy = match name {
                "moka" => moka::policy::EvictionPolicy::tiny_lfu(),
                _ => moka::policy::EvictionPolicy::lru(),
            };
            Arc::new(builder.eviction_policy(policy).build_with_hasher(hasher))
        }
        "mini-moka" => Arc::new(
            MiniMoka::builder().max_capacity(BOUND).weigher(|_, _| WEIGHT as u32).build_with_hasher(hasher),
        ),
        "lru in 64 shards" => Arc::new(Sharded::new(|| {
            Mutex::new(lru::LruCache::with_hasher((ENTRIES / SHARDS).try_into().unwrap(), RandomState::new()))
        })),
        _ => Arc::new(Sharded::new(RwLock::<HashMap<Token, Remembered>>::default)),
    }
}

/// Another one for each number, with an end that looks like a signature.
fn token(number: usize) -> Token {
    let mut state = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
    let mut bytes = vec![b'a'; TOKEN_BYTES];
    for byte in &mut bytes[TOKEN_BYTES - 43..] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = b'A' + (state % 26) as u8;
    }
    Token(bytes.into())
}

fn tokens(from: usize, count: usize) -> Vec<Token> {
    (from..from + count).map(token).collect()
}

fn remembered() -> Remembered {
    Remembered { _claims: Arc::new(0), _others: [0; 5] }
}

fn main() {
    hits();
    floods();
}

fn hits() {
    let live: Arc<[Token]> = tokens(0, LIVE).into();
    let caches = NAMES.map(make);
    let mut cases = Vec::new();
    for (name, cache) in NAMES.iter().zip(&caches) {
        live.iter().for_each(|token| cache.insert(token.clone(), remembered()));
        let (one, token) = (Arc::clone(cache), live[0].clone());
        cases.push(Case::new(*name, move || drop(black_box(one.get(black_box(&token)).unwrap()))));
        let (one, live, mut at) = (Arc::clone(cache), Arc::clone(&live), 0);
        cases.push(Case::new(*name, move || {
            at = (at + 7919) % LIVE;
            drop(black_box(one.get(&live[at]).unwrap()));
        }));
    }
    let times = nanoseconds(&mut cases, rounds());
    let threads = |cache: &dyn Cache, tokens: [&Token; 2]| {
        let ratios = (0..rounds()).map(|_| rate(cache, &tokens) / rate(cache, &tokens[..1])).collect();
        format!("{:.2}", median(ratios))
    };
    println!("### Hits\n\nCosts to those of quick_cache; the throughput of two threads to that of one.\n");
    println!("| | one token | one of {LIVE} | two threads, each its own | two threads, the same |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (at, name) in NAMES.iter().enumerate() {
        let cache = &*caches[at];
        let (own, same) = (threads(cache, [&live[1], &live[2]]), threads(cache, [&live[1], &live[1]]));
        let (one, many) = (ratio(times[2 * at] / times[0]), ratio(times[2 * at + 1] / times[1]));
        println!("| {name} | {one} | {many} | {own} | {same} |");
    }
}

fn rate(cache: &dyn Cache, tokens: &[&Token]) -> f64 {
    let repeat = |token: &Token| {
        let (begun, mut count) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_millis(10) {
            (0..500).for_each(|_| drop(black_box(cache.get(token))));
            count += 500;
        }
        count
    };
    let begun = Instant::now();
    let count: u32 = thread::scope(|scope| {
        let threads: Vec<_> = tokens.iter().map(|token| scope.spawn(|| repeat(token))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// 500,000 tokens, each once, past 100 that are in use: one of these is asked for after each 100 others.
fn floods() {
    println!(
        "\n### Memory, and a flood\n\nBytes an entry, beside the token and the claims, of a full cache. What a new token of a flood costs, to"
    );
    println!(
        "quick_cache; how many of the look-ups for tokens in use still find them; and what is held at most.\n"
    );
    println!("| | bytes an entry | a new token | in use and found | MiB at most, of 32 |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let mut first = None;
    for name in NAMES {
        let used = tokens(1 << 40, 100);
        let region = Region::new(ALLOCATOR);
        let held = || {
            let change = region.change();
            change.bytes_allocated as f64 - change.bytes_deallocated as f64
        };
        let cache = make(name);
        used.iter().for_each(|token| cache.insert(token.clone(), remembered()));
        (0..20).for_each(|_| used.iter().for_each(|token| drop(cache.get(token))));
        let (mut costs, mut found, mut peak, mut an_entry) = (Vec::new(), 0, 0.0_f64, 0.0);
        let blocks = 5_000;
        for block in 0..blocks {
            let fresh = tokens(block * 100, 100);
            let begun = Instant::now();
            for token in fresh {
                if cache.get(&token).is_none() {
                    cache.insert(token, remembered());
                }
            }
            costs.push(begun.elapsed().as_nanos() as f64 / 100.0);
            let token = &used[block % 100];
            match cache.get(token) {
                Some(_) => found += 1,
                None => cache.insert(token.clone(), remembered()),
            }
            peak = peak.max(held());
            if block == LIVE / 100 {
                an_entry = held() / LIVE as f64 - TOKEN_BYTES as f64 - 40.0;
            }
        }
        // The beginning is another matter: there is room.
        let cost = median(costs.split_off(blocks / 2));
        let first = *first.get_or_insert(cost);
        let (cost, found, mib) =
            (ratio(cost / first), f64::from(found) / blocks as f64, peak / 1024.0 / 1024.0);
        println!("| {name} | {an_entry:.0} | {cost} | {found:.2} | {mib:.0} |");
    }
}
