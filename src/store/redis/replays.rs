//! Proofs that were seen, on Redis: for each a key that goes by itself.

use std::time::Duration;

use ::redis::Value;
use ::redis::aio::ConnectionLike;

use super::RedisStore;
use crate::secret::base64url;
use crate::store::{ProofId, ReplayStore, StoreError};

/// One command and one round trip. A proof that a failover lost may be used once more; replicas are not waited for.
impl<C: ConnectionLike + Clone + Send + Sync + 'static> ReplayStore for RedisStore<C> {
    async fn remember(&self, proof: &ProofId, keep_for: Duration) -> Result<bool, StoreError> {
        let key = format!("{}:proof:{}", self.settings.prefix, base64url(proof.as_bytes()));
        let milliseconds = u64::try_from(keep_for.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let mut connection = self.connection.clone();
        let mut set = ::redis::cmd("SET");
        set.arg(key).arg("").arg("NX").arg("PX").arg(milliseconds.clamp(1, LONGEST));
        let answer: Value = self.in_time(set.query_async(&mut connection)).await?;
        self.check_once();
        Ok(answer != Value::Nil)
    }
}

/// A day: no proof is good for as long, and Redis refuses times to live beyond its own range.
const LONGEST: u64 = 24 * 3_600_000;
