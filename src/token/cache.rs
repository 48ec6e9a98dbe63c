//! [`TokenCache`]: tokens that were verified, so that the second request with one costs a look-up.
//!
//! 1. Only tokens that were accepted are in it. A refusal is never remembered.
//! 2. The whole token is compared. What is hashed is its end, which is the signature's and so uniform already, under a key
//!    of this process: nobody can choose tokens that meet.
//! 3. What may change is decided at each hit as at the first sight, by the same functions: the key must be in the set of
//!    this moment (the key, not its id), the times must fit, and the checks of the application must pass.
//! 4. It is bounded in bytes, and an entry in its life.
//! 5. It belongs to one verifier and its clones. One with another rule begins with an empty one.

use std::hash::{Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::clock::Timestamp;
use crate::token::key::KeyIdentity;
use crate::token::verified::Verified;

/// How much of a token's end is hashed: 24 bytes of its signature.
const TAIL: usize = 32;

/// What an entry takes beside its texts: the claims' frame, the allocations, and its places in the table and in the queues.
const ENTRY_BYTES: usize = 360;

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
    cache: OnceLock<Cache<Text, Remembered<C>, Weigh, RandomState>>,
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
        Arc::new(Self { bounds, cache: OnceLock::new() })
    }

    /// With nothing in it.
    pub(crate) fn anew(&self) -> Arc<Self> {
        Self::new(self.bounds)
    }

    /// What is remembered of a token, unless it is for too long.
    pub(crate) fn get(&self, token: &[u8], now: Timestamp) -> Option<Remembered<C>> {
        let remembered = self.cache.get()?.get(&Probe(token))?;
        if remembered.at.abs_diff(now) < self.bounds.life {
            return Some(remembered);
        }
        self.forget(token);
        None
    }

    pub(crate) fn insert(&self, token: &[u8], remembered: Remembered<C>) {
        if self.bounds.bytes > 0 {
            self.cache.get_or_init(|| build(self.bounds.bytes)).insert(Text(token.into()), remembered);
        }
    }

    pub(crate) fn forget(&self, token: &[u8]) {
        if let Some(cache) = self.cache.get() {
            cache.remove(&Probe(token));
        }
    }
}

fn build<C>(bytes: u64) -> Cache<Text, Remembered<C>, Weigh, RandomState> {
    // Of tokens of some 600 bytes. Only a first guess for the table's size.
    let entries = usize::try_from(bytes / 1024).unwrap_or(usize::MAX);
    Cache::with(entries, bytes, Weigh, RandomState::new(), DefaultLifecycle::default())
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
