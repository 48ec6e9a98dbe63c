//! A rotation: one script decides and writes.

use ::redis::aio::ConnectionLike;
use ::redis::{FromRedisValue, Value};

use super::RedisStore;
use super::codec::{self, Packed};
use super::error::store_error;
use super::scripts::SCRIPTS;
use crate::clock::Timestamp;
use crate::session::{Decision, OnReuse, Presented, Record, SessionPolicy, decide};
use crate::store::{Rotation, SessionChange, StoreError, StoreErrorKind};

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    pub(super) async fn present(
        &self,
        presented: &Presented,
        policy: &SessionPolicy,
    ) -> Result<Rotation, StoreError> {
        let arguments = Packed::default()
            .number(presented.generation)
            .raw(presented.secret_digest.as_bytes())
            .raw(presented.attempt.as_bytes())
            .double(codec::window(policy.retry_window()))
            .double(codec::window(policy.hold_window()))
            .double(codec::lifetime(policy.idle_lifetime()))
            .byte(u8::from(policy.on_reuse() == OnReuse::Subject))
            .byte(u8::from(policy.is_until_used()))
            .double(self.clock())
            .bytes();
        let (key, id) = (self.key(&presented.subject), presented.session_id.as_bytes());
        let arguments: [&[u8]; 2] = [id, &arguments];
        let answer: Value = self.run(&SCRIPTS.rotate, &key, &arguments).await?;
        if let Value::BulkString(value) = &answer {
            return rotated(codec::record(&presented.subject, id, value)?, presented);
        }
        let mut answer: (u8, i64, Option<Vec<u8>>) = answered(answer)?;
        if self.settings.replicas.is_some() && matches!(answer.0, 7 | 8 | 17 | 18) {
            // The same attempt again: the same answer, and this time the replicas are waited for.
            let change = SessionChange::Uncertain { subject: presented.subject };
            let unsettled = self.settings.feed.unless_settled(change);
            answer = self.run_safely(&SCRIPTS.rotate, &key, &arguments).await?;
            unsettled.settle();
        }
        let (row, now, before) = answer;
        let before = before.map(|value| codec::record(&presented.subject, id, &value)).transpose()?;
        rotation(row, Timestamp::from_unix_millis(now), before, presented, policy)
    }
}

fn answered<T: FromRedisValue>(answer: Value) -> Result<T, StoreError> {
    ::redis::from_redis_value(answer).map_err(|error| store_error(error.into()))
}

/// Row 5: the time is that of the new state.
fn rotated(record: Record, presented: &Presented) -> Result<Rotation, StoreError> {
    if Some(record.state.generation) != presented.generation.checked_add(1)
        || record.state.attempt != presented.attempt
    {
        return Err(disagreement());
    }
    let (decision, now) = (Decision::Rotated(record.state), record.state.minted_at);
    Ok(Rotation { decision, record: Some(record), now })
}

fn disagreement() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "the script of Redis and the rule of this version disagree")
}

/// The answer of the script in the crate's terms. The script has written what the rule says; what that is, the rule
/// says here once more.
fn rotation(
    row: u8,
    now: Timestamp,
    before: Option<Record>,
    presented: &Presented,
    policy: &SessionPolicy,
) -> Result<Rotation, StoreError> {
    let decision = match row {
        17 => Decision::Superseded,
        18 => Decision::Reused,
        _ => {
            let decision = decide(before.as_ref(), presented, policy, now);
            if decision.row() != row {
                return Err(disagreement());
            }
            decision
        }
    };
    let record = before.map(|record| match decision.state() {
        Some(state) => Record { state: *state, ..record },
        None => record,
    });
    Ok(Rotation { decision, record, now })
}
