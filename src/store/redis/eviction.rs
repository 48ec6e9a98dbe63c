//! Whether Redis may drop sessions: a warning, once.

use std::sync::atomic::Ordering;

use ::redis::Value;
use ::redis::aio::ConnectionLike;

use super::RedisStore;
use crate::store::StoreError;

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// Asks Redis whether it is there and how it is set, and warns if it may drop sessions: the event
    /// `eviction_policy`. Also done by itself, once, after the first operation.
    ///
    /// # Errors
    ///
    /// As any operation.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.settings.checked.store(true, Ordering::Relaxed);
        let mut connection = self.connection.clone();
        let mut info = ::redis::cmd("INFO");
        info.arg("memory");
        let answer: Value = self.in_time(info.query_async(&mut connection)).await?;
        let mut policies = Vec::new();
        policies_in(&answer, &mut policies);
        for policy in policies {
            if policy != "noeviction" {
                tracing::warn!(
                    name: "eviction_policy", target: "tower_jwt_auth::store", policy,
                    "Redis drops sessions when it is full: set `maxmemory-policy noeviction`"
                );
            }
        }
        Ok(())
    }

    pub(super) fn check_once(&self) {
        if !self.settings.checked.swap(true, Ordering::Relaxed) {
            let store = self.clone();
            tokio::spawn(async move {
                // Not every account may ask; operations have their own errors.
                drop(store.check().await);
            });
        }
    }
}

/// The eviction policies that an answer to `INFO memory` names: one, or in a cluster one a node.
fn policies_in<'a>(answer: &'a Value, found: &mut Vec<&'a str>) {
    let text = match answer {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        Value::Array(values) | Value::Set(values) => {
            return values.iter().for_each(|value| policies_in(value, found));
        }
        Value::Map(pairs) => return pairs.iter().for_each(|(_, value)| policies_in(value, found)),
        _ => return,
    };
    found.extend(text.lines().filter_map(|line| line.trim().strip_prefix("maxmemory_policy:")));
}
