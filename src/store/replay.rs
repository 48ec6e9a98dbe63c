//! [`ReplayStore`]: which proofs of possession were seen, for all nodes of a service together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::store::{BoxFuture, StoreError};

/// The name of one DPoP proof (RFC 9449): the first 16 bytes of a SHA-256 over its key and its `jti`. The same length
/// whatever the `jti` is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProofId([u8; 16]);

impl ProofId {
    /// The name with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ProofId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A place that remembers proofs, so that each is accepted once (RFC 9449, section 11.1). Implement it with `async fn`,
/// for a place that all nodes of the service share.
///
/// What must hold:
///
/// - Of all calls with one proof, on whatever node, within `keep_for` of the first of them at most one is answered with
///   true. To look first and write then is not enough.
/// - A proof is kept for all of `keep_for`, whatever the clocks of the nodes do; how much longer does not matter. What
///   has no room for another one answers with an error, and forgets none.
/// - A call whose future is dropped may have remembered the proof.
/// - A store that cannot answer says so with an error, and then the request is refused with 503.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no place that remembers proofs",
    label = "does not implement `ReplayStore`",
    note = "implement `ReplayStore` with `async fn` for a type of your own",
    note = "the future must be `Send`: no `Rc`, `RefCell` or lock guard may be held across an `.await`"
)]
pub trait ReplayStore: Send + Sync + 'static {
    /// Remembers a proof; true if it was not there. `keep_for` is at least a millisecond, and some minutes at most.
    fn remember(
        &self,
        proof: &ProofId,
        keep_for: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl<S: ReplayStore> ReplayStore for Arc<S> {
    async fn remember(&self, proof: &ProofId, keep_for: Duration) -> Result<bool, StoreError> {
        S::remember(self, proof, keep_for).await
    }
}

/// [`ReplayStore`] without its type. One box a call.
pub(crate) trait DynReplays: Send + Sync {
    fn remember<'a>(
        &'a self,
        proof: &'a ProofId,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
}

impl<S: ReplayStore> DynReplays for S {
    fn remember<'a>(
        &'a self,
        proof: &'a ProofId,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(ReplayStore::remember(self, proof, keep_for))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use super::*;

    /// Keeps all for ever.
    #[derive(Clone, Default)]
    struct Set(Arc<Mutex<HashSet<ProofId>>>);

    impl ReplayStore for Set {
        async fn remember(&self, proof: &ProofId, _: Duration) -> Result<bool, StoreError> {
            Ok(self.0.lock().unwrap().insert(*proof))
        }
    }

    #[tokio::test]
    async fn the_twin_without_a_type_asks_the_same_store() {
        let set = Set::default();
        let twin: Arc<dyn DynReplays> = Arc::new(set.clone());
        let minute = Duration::from_secs(60);
        assert!(twin.remember(&ProofId::from_bytes([1; 16]), minute).await.unwrap());
        assert!(!ReplayStore::remember(&set, &ProofId::from_bytes([1; 16]), minute).await.unwrap());
        assert!(twin.remember(&ProofId::from_bytes([2; 16]), minute).await.unwrap());
    }

    #[test]
    fn a_proof_id_is_shown_in_hexadecimal() {
        let mut bytes = [0; 16];
        bytes[0] = 0xab;
        bytes[15] = 1;
        assert_eq!(format!("{:?}", ProofId::from_bytes(bytes)), "ProofId(ab000000000000000000000000000001)");
        assert_eq!(ProofId::from_bytes(bytes).as_bytes(), &bytes);
    }
}
