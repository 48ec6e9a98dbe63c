//! [`Endings`]: what was told, in an order, of subjects whose sessions ended, or of tokens that were revoked.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was told of subjects or tokens, each with its number, by a few bits of their digests: of two that share a
/// place both are asked for again. So nothing grows, and nobody waits. Numbers and not times, so that an order is one.
pub(crate) struct Endings {
    told: AtomicU64,
    places: Box<[AtomicU64]>,
}

impl Endings {
    /// 32 KiB.
    const PLACES: u16 = 4096;

    pub(crate) fn place_of(digest: &[u8; 16]) -> u16 {
        let [high, low, ..] = *digest;
        u16::from_be_bytes([high, low]) % Self::PLACES
    }

    /// How many there were.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// The number of one more.
    pub(crate) fn tell(&self) -> u64 {
        self.told.fetch_add(1, Ordering::SeqCst).saturating_add(1)
    }

    pub(crate) fn note(&self, digest: &[u8; 16]) {
        if let Some(place) = self.places.get(usize::from(Self::place_of(digest))) {
            place.fetch_max(self.tell(), Ordering::SeqCst);
        }
    }

    /// Whether more was told of this place since so many were told.
    pub(crate) fn since(&self, place: u16, told: u64) -> bool {
        let place = self.places.get(usize::from(place));
        place.is_some_and(|place| place.load(Ordering::SeqCst) > told)
    }
}

impl Default for Endings {
    fn default() -> Self {
        let places = (0..Self::PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { told: AtomicU64::new(0), places }
    }
}
