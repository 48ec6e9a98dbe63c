//! [`Revocations`]: how tokens are revoked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::store::{DynRevocations, RevocationKey, RevocationStore, SessionChange, StoreError};
use crate::store_cache::twice;

/// The longest life that a verifier accepts, the leeway at both its ends, and some.
const KEEP: Duration = Duration::from_secs(25 * 3600);

/// Revokes access tokens, so that each [`RevocationsLayer`](crate::RevocationsLayer) over the same store refuses them.
/// Cheap to clone.
///
/// Each call is sent a second time if the store does not answer. It does no harm to repeat one.
#[derive(Clone)]
pub struct Revocations {
    store: Arc<dyn DynRevocations>,
    clock: Arc<dyn Clock>,
}

impl Revocations {
    /// Keeps them in this store.
    pub fn new(store: impl RevocationStore) -> Self {
        Self { store: Arc::new(store), clock: Arc::new(SystemClock) }
    }

    /// The clock that says what "up to now" is; the system's by default.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Revokes the one token with this `jti` of this issuer ([`Registered::token_id`](crate::Registered::token_id) and
    /// [`issuer`](crate::Registered::issuer) of a verified one).
    ///
    /// # Errors
    ///
    /// The store did not answer. The token may be revoked all the same.
    pub async fn revoke_token(&self, issuer: &str, token_id: &str) -> Result<(), StoreError> {
        // Whenever it was issued.
        let always = Timestamp::from_unix_millis(i64::MAX);
        self.revoke("token", &RevocationKey::token(issuer, token_id), always, KEEP).await
    }

    /// Revokes all tokens that this issuer has issued for this subject up to now.
    ///
    /// Most issuers write the time of issue in whole seconds, rounded down. So a token that is issued within the same
    /// second after this call is refused, too. One that was issued by a clock that is ahead of this one's is not
    /// refused: where that may be, give [`revoke_subject_before`](Self::revoke_subject_before) a later time.
    ///
    /// # Errors
    ///
    /// As [`revoke_token`](Self::revoke_token).
    pub async fn revoke_subject(&self, issuer: &str, subject: &str) -> Result<(), StoreError> {
        // This very millisecond, too, which a time of issue with a fraction is rounded up from.
        let not_before = self.clock.now().saturating_add(Duration::from_millis(2));
        self.revoke_subject_before(issuer, subject, not_before).await
    }

    /// Revokes all tokens of this issuer for this subject whose `iat` is earlier. A time that was given before and is
    /// later stays.
    ///
    /// # Errors
    ///
    /// As [`revoke_token`](Self::revoke_token).
    pub async fn revoke_subject_before(
        &self,
        issuer: &str,
        subject: &str,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let key = RevocationKey::subject(issuer, subject);
        let ahead = not_before.saturating_duration_since(self.clock.now());
        self.revoke("subject", &key, not_before, KEEP.saturating_add(ahead)).await
    }

    async fn revoke(
        &self,
        what: &'static str,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        // One that fails, or is dropped before its end, may have revoked all the same.
        let feed = self.store.revocation_feed();
        let unsettled = feed.map(|feed| feed.unless_settled(SessionChange::TokensUncertain { key: *key }));
        let outcome = twice(|| self.store.revoke_issued_before(key, not_before, keep_for)).await;
        if let (Some(unsettled), Ok(())) = (unsettled, &outcome) {
            unsettled.settle();
        }
        match &outcome {
            Ok(()) => tracing::info!(
                name: "revoked", target: "tower_jwt_auth::revocation", what, "access tokens were revoked"
            ),
            Err(error) => tracing::error!(
                name: "not_revoked", target: "tower_jwt_auth::revocation", what,
                error = error as &(dyn std::error::Error + 'static),
                "the store did not answer: whether access tokens were revoked is not known"
            ),
        }
        outcome
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").finish_non_exhaustive()
    }
}
