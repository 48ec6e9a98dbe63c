//! Revocations of access tokens in the memory of one process.

use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use moka::ops::compute::Op;

use super::{LONGEST, MokaStore};
use crate::clock::Timestamp;
use crate::store::{RevocationKey, RevocationStore, SessionChange, SessionFeed, StoreError};

/// Has no limit: what it would drop is a token that is good again.
pub(super) type Revocations = Cache<RevocationKey, Revoked>;

pub(super) fn revocations() -> Revocations {
    Cache::builder().expire_after(KeepFor).build()
}

/// What is kept under a key.
#[derive(Clone, Copy)]
pub(super) struct Revoked {
    not_before: Timestamp,
    /// What the last call asked for. moka keeps the entry until the latest end of all calls.
    keep_for: Duration,
}

struct KeepFor;

impl Expiry<RevocationKey, Revoked> for KeepFor {
    fn expire_after_create(&self, _: &RevocationKey, revoked: &Revoked, _: Instant) -> Option<Duration> {
        Some(revoked.keep_for)
    }

    fn expire_after_update(
        &self,
        _: &RevocationKey,
        revoked: &Revoked,
        _: Instant,
        left: Option<Duration>,
    ) -> Option<Duration> {
        left.max(Some(revoked.keep_for))
    }
}

/// Is kept by the time of the system, whatever the [clock](super::MokaStoreBuilder::clock) says.
impl RevocationStore for MokaStore {
    async fn revoke_issued_before(
        &self,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        let keep_for = keep_for.min(LONGEST);
        let unsettled = self.feed.unless_settled(SessionChange::TokensUncertain { key: *key });
        // One after the other for each key.
        self.revocations
            .entry_by_ref(key)
            .and_compute_with(async |kept| {
                let not_before = kept.map_or(not_before, |kept| kept.value().not_before.max(not_before));
                Op::Put(Revoked { not_before, keep_for })
            })
            .await;
        unsettled.settle();
        self.feed.tell_tokens_revoked(key, not_before);
        Ok(())
    }

    async fn not_before(&self, key: &RevocationKey) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.revocations.get(key).await.map(|revoked| revoked.not_before))
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        Some(&self.feed)
    }
}
