//! [`TokenCache`]: tokens that were verified, so that the second request with one costs a look-up.
//!
//! 1. Only tokens that were accepted are in it. A refusal is never remembered.
//! 2. The whole token is compared. What is hashed is its end, which is the signature's and so uniform already, under a
//!    key of this process: nobody can choose tokens that meet.
//! 3. What may change is decided at each hit as at the first sight, by the same functions: the key must be in the set
//!    of this moment (the key, not its id), the times must fit, and the checks of the application must pass.
//! 4. It is bounded in bytes, and an entry in its life. Once it was full, a token is remembered at its second sight: a
//!    flood of tokens that come once pushes nothing out, and costs nearly nothing.
//! 5. It belongs to one verifier and its clones. One with another rule begins with an empty one.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Lifecycle, Weighter};

use crate::clock::Timestamp;
use crate::token::key::KeyIdentity;
use crate::token::verified::Verified;

/// How much of a token's end is hashed: 24 bytes of its signature.
const TAIL: usize = 32;

/// What an entry takes beside its texts: the claims' frame, the allocations, and its places in the table and in the
/// queues.
const ENTRY_BYTES: usize = 328;

/// The part of the bytes that holds which tokens were seen.
const SIGHTS_SHARE: u64 = 128;

/// Bounds of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheBounds {
    /// None is kept with 0.
    pub(crate) bytes: u64,
    pub(crate) life: Duration,
}

pub(crate) struct TokenCache<C> {
    bounds: CacheBounds,
    /// Made for the first token: many a verifier never sees one.
    table: OnceLock<Table<C>>,
}

struct Table<C> {
    remembered: Cache<Text, Remembered<C>, Weigh, RandomState, Evicted>,
    /// Whether a token ever had to make room for another.
    is_full: AtomicBool,
    sights: Sights,
}

/// A token that was accepted, and what of it is looked at again.
pub(crate) struct Remembered<C> {
    pub(crate) verified: Verified<C>,
    /// The later of `iat` and `nbf`.
    pub(crate) begins: Timestamp,
    pub(crate) key: FoundKey,
    pub(crate) at: Timestamp,
}

/// How the key of a token was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundKey {
    pub(crate) identity: KeyIdentity,
    /// By the token's key id; else as the only one there was.
    pub(crate) by_id: bool,
}

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for Remembered<C> {
    fn clone(&self) -> Self {
        Self { verified: self.verified.clone(), ..*self }
    }
}

impl<C> TokenCache<C> {
    pub(crate) fn new(bounds: CacheBounds) -> Arc<Self> {
        Arc::new(Self { bounds, table: OnceLock::new() })
    }

    /// With nothing in it.
    pub(crate) fn anew(&self) -> Arc<Self> {
        Self::new(self.bounds)
    }

    /// What is remembered of a token, be it for too long.
    pub(crate) fn get(&self, token: &[u8]) -> Option<Remembered<C>> {
        self.table.get()?.remembered.get(&Probe(token))
    }

    /// Whether a token that was accepted at this moment has to be looked at anew.
    pub(crate) fn is_stale(&self, at: Timestamp, now: Timestamp) -> bool {
        at.abs_diff(now) >= self.bounds.life
    }

    pub(crate) fn insert(&self, token: &[u8], remembered: Remembered<C>) {
        if self.bounds.bytes > 0 {
            let table = self.table.get_or_init(|| Table::new(self.bounds.bytes));
            if !table.is_full.load(Ordering::Relaxed) || table.sights.is_second(token) {
                table.insert(token, remembered);
            }
        }
    }

    pub(crate) fn forget(&self, token: &[u8]) {
        if let Some(table) = self.table.get() {
            table.remembered.remove(&Probe(token));
        }
    }
}

impl<C> Table<C> {
    fn new(bytes: u64) -> Self {
        let sights = Sights::new(bytes / SIGHTS_SHARE);
        // Of tokens of some 600 bytes. Only a first guess for the table's size.
        let entries = usize::try_from(bytes / 1024).unwrap_or(usize::MAX).min(1 << 20);
        let bytes = bytes - bytes / SIGHTS_SHARE;
        let remembered = Cache::with(entries, bytes, Weigh, RandomState::new(), Evicted);
        Self { remembered, is_full: AtomicBool::new(false), sights }
    }

    fn insert(&self, token: &[u8], remembered: Remembered<C>) {
        let mut evicted = Vec::new();
        self.remembered.insert_with_lifecycle(Text(token.into()), remembered, &mut evicted);
        // The same token, which another request put in meanwhile, made room for nothing. What is written is taken from
        // the other threads, so it is written once.
        let made_room = evicted.iter().any(|(Text(other), _)| **other != *token);
        if made_room && !self.is_full.load(Ordering::Relaxed) {
            self.is_full.store(true, Ordering::Relaxed);
        }
    }
}

/// Hands out what had to go, so that claims of the application are dropped when the table's lock is free again.
#[derive(Clone)]
struct Evicted;

impl<C> Lifecycle<Text, Remembered<C>> for Evicted {
    type RequestState = Vec<(Text, Remembered<C>)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, token: Text, remembered: Remembered<C>) {
        evicted.push((token, remembered));
    }
}

/// Which tokens were seen of late, by a part of their hash. One may be forgotten for another, or taken for one that was
/// seen, once in four milliards: then a token is verified once more or less, and nothing else.
struct Sights {
    slots: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl Sights {
    fn new(bytes: u64) -> Self {
        let slots = (bytes / 4).clamp(1, 1 << 22);
        Self { slots: (0..slots).map(|_| AtomicU32::new(0)).collect(), hasher: RandomState::new() }
    }

    /// Whether the token was here before; from now on it was.
    fn is_second(&self, token: &[u8]) -> bool {
        let hash = self.hasher.hash_one(Probe(token));
        // Two halves, of which each is enough.
        #[allow(clippy::cast_possible_truncation)]
        let (place, mark) = (hash as u32 as usize % self.slots.len(), (hash >> 32) as u32);
        self.slots.get(place).is_some_and(|slot| slot.swap(mark, Ordering::Relaxed) == mark)
    }
}

/// A token as a key of the table.
struct Text(Box<[u8]>);

/// The same, borrowed.
struct Probe<'a>(&'a [u8]);

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Probe(&self.0).hash(state);
    }
}

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[self.0.len().saturating_sub(TAIL)..]);
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Text {}

impl Equivalent<Text> for Probe<'_> {
    fn equivalent(&self, key: &Text) -> bool {
        *self.0 == *key.0
    }
}

#[derive(Clone)]
struct Weigh;

impl<C> Weighter<Text, Remembered<C>> for Weigh {
    /// In bytes, the application's claims not counted.
    fn weight(&self, token: &Text, remembered: &Remembered<C>) -> u64 {
        let bytes = token.0.len() + remembered.verified.registered().text_bytes() + ENTRY_BYTES;
        bytes as u64
    }
}
