//! Revocations of access tokens on Redis: for each key one text, which goes by itself.

use std::sync::LazyLock;
use std::time::Duration;

use ::redis::Script;
use ::redis::aio::ConnectionLike;

use super::RedisStore;
use crate::clock::Timestamp;
use crate::secret::base64url;
use crate::store::{RevocationKey, RevocationStore, SessionChange, SessionFeed, StoreError, StoreErrorKind};

static REVOKE_TOKENS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("revoke_tokens.lua")));

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    fn revocation_key(&self, key: &RevocationKey) -> String {
        format!("{}:revoked:{}", self.settings.prefix, base64url(key.as_bytes()))
    }
}

/// Is kept by the clock of the server, and read by a plain `GET`: a connection that sends reads to replicas may miss
/// what was revoked just before.
impl<C: ConnectionLike + Clone + Send + Sync + 'static> RevocationStore for RedisStore<C> {
    async fn revoke_issued_before(
        &self,
        key: &RevocationKey,
        not_before: Timestamp,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        let time = not_before.as_unix_millis().to_string();
        let milliseconds = keep_for.as_nanos().div_ceil(1_000_000).to_string();
        let arguments: [&[u8]; 3] = [time.as_bytes(), milliseconds.as_bytes(), key.as_bytes()];
        let unsettled = self.settings.feed.unless_settled(SessionChange::TokensUncertain { key: *key });
        let kept: Vec<u8> = self.run_safely(&REVOKE_TOKENS, &self.revocation_key(key), &arguments).await?;
        timestamp(&kept)?;
        unsettled.settle();
        self.settings.feed.tell_tokens_revoked(key, not_before);
        Ok(())
    }

    async fn not_before(&self, key: &RevocationKey) -> Result<Option<Timestamp>, StoreError> {
        let mut connection = self.connection.clone();
        let mut get = ::redis::cmd("GET");
        get.arg(self.revocation_key(key));
        let kept: Option<Vec<u8>> = self.in_time(get.query_async(&mut connection)).await?;
        self.check_once();
        kept.map(|kept| timestamp(&kept)).transpose()
    }

    fn revocation_feed(&self) -> Option<&SessionFeed> {
        Some(&self.settings.feed)
    }
}

fn timestamp(text: &[u8]) -> Result<Timestamp, StoreError> {
    let millis = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    millis.map(Timestamp::from_unix_millis).ok_or_else(|| {
        StoreError::new(
            StoreErrorKind::Corrupt,
            "a revocation in Redis was not written by this version of the store",
        )
    })
}
