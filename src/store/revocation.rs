//! [`RevocationStore`]: which access tokens count no longer, by their own names and by their subjects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::sha256;
use crate::store::{BoxFuture, SessionFeed, StoreError};

/// What a revocation is kept under: one token, or all of a subject, of one issuer.
///
/// A name is good only within its issuer (RFC 7519, sections 4.1.2 and 4.1.7), so both are part of it. Not the text of
/// a token: a signature may have a second form that is good.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RevocationKey([u8; 16]);

impl RevocationKey {
    /// The token with this `jti`.
    pub fn token(issuer: &str, token_id: &str) -> Self {
        Self::of("token", issuer, token_id)
    }

    /// The tokens with this `sub`.
    pub fn subject(issuer: &str, subject: &str) -> Self {
        Self::of("subject", issuer, subject)
    }

    /// The key of these bytes: for stores, which keep it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn of(kind: &str, issuer: &str, name: &str) -> Self {
        // The length keeps the two texts apart.
        let digest = sha256(format!("{kind} {} {issuer}{name}", issuer.len()).as_bytes());
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

/// In hexadecimal.
impl fmt::Debug for RevocationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevocationKey(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// A memory of revocations: for each key the time before which tokens must have been issued to be refused.
///
/// It has two rules. A time under a key only ever grows, whatever the order of the calls; and what a call has kept,
/// each call that begins later sees, on each node. A key is forgotten when the longest `keep_for` of its calls is over,
/// and not before.
///
/// The stores of this crate are all of this, too. [`revocation_contract`](crate::test_util::revocation_contract)
/// (feature `test-util`) tests another one.
pub trait RevocationStore: Send + Sync + 'static {
    /// From now on refuses the tokens under this key that were issued before `not_before`, and remembers it for
    /// `keep_for` at least.
    ///
    /// # Errors
    ///
    /// The store did not answer, and may have kept it all the same: the call can be sent again.
    fn revoke_issued_before(
        &self,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Before which time tokens under this key must have been issued to be refused; `None` if none are.
    ///
    /// # Errors
    ///
    /// The store did not answer.
    fn not_before(
        &self,
        key: &RevocationKey,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Tells what is revoked as soon as this process knows. One that has none is only slower to refuse.
    fn revocation_feed(&self) -> Option<&SessionFeed> {
        None
    }
}

impl<S: RevocationStore> RevocationStore for Arc<S> {
    async fn revoke_issued_before(
        &self,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        S::revoke_issued_before(self, key, not_before, keep_for).await
    }

    async fn not_before(&self, key: &RevocationKey) -> Result<Option<Timestamp>, StoreError> {
        S::not_before(self, key).await
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        S::revocation_feed(self)
    }
}

/// [`RevocationStore`] without its type.
pub(crate) trait DynRevocations: Send + Sync {
    fn revoke_issued_before<'a>(
        &'a self,
        key: &'a RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    fn not_before<'a>(
        &'a self,
        key: &'a RevocationKey,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, StoreError>>;
    fn revocation_feed(&self) -> Option<&SessionFeed>;
}

impl<S: RevocationStore> DynRevocations for S {
    fn revoke_issued_before<'a>(
        &'a self,
        key: &'a RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(RevocationStore::revoke_issued_before(self, key, not_before, keep_for))
    }

    fn not_before<'a>(
        &'a self,
        key: &'a RevocationKey,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, StoreError>> {
        Box::pin(RevocationStore::not_before(self, key))
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        RevocationStore::revocation_feed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_what_they_are_made_of_apart() {
        let key = RevocationKey::token("https://a.example", "1");
        assert_eq!(key, RevocationKey::token("https://a.example", "1"));
        for other in [
            RevocationKey::subject("https://a.example", "1"),
            RevocationKey::token("https://b.example", "1"),
            RevocationKey::token("https://a.example", "2"),
            RevocationKey::token("https://a.example1", ""),
            RevocationKey::token("", "https://a.example1"),
        ] {
            assert_ne!(key, other);
        }
    }
}
