//! [`Endings`]: what was told, in an order, of subjects whose sessions ended.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::session::SubjectDigest;

/// What was told of subjects whose sessions ended, each with its number, by a few bits of the subject's digest: of two that
/// share a place both are asked for again. So nothing grows, and nobody waits. Numbers and not times, so that an order is
/// one.
pub(super) struct Endings {
    told: AtomicU64,
    places: Box<[AtomicU64]>,
}

impl Endings {
    /// 32 KiB.
    const PLACES: u16 = 4096;

    pub(super) fn place_of(digest: &SubjectDigest) -> u16 {
        let [high, low, ..] = *digest.as_bytes();
        u16::from_be_bytes([high, low]) % Self::PLACES
    }

    /// How many there were.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// The number of one more.
    pub(super) fn tell(&self) -> u64 {
        self.told.fetch_add(1, Ordering::SeqCst).saturating_add(1)
    }

    pub(super) fn note(&self, subject: &SubjectDigest) {
        if let Some(place) = self.places.get(usize::from(Self::place_of(subject))) {
            place.fetch_max(self.tell(), Ordering::SeqCst);
        }
    }

    /// Whether all sessions of a subject in this place may have ended since so many were told.
    pub(super) fn since(&self, place: u16, told: u64) -> bool {
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
