//! How lengths of time go to the statements, and sessions come back in rows.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use super::error::{Failure, UNREADABLE};
use crate::clock::Timestamp;
use crate::session::{Attempt, Record, RotationState, SecretDigest, SessionId, SubjectDigest};
use crate::store::facts::{self, Kept};

/// A session as it is kept.
pub(super) fn record(subject: &SubjectDigest, row: &Row) -> Result<Record, Failure> {
    let number = |name| -> Result<u32, Failure> {
        u32::try_from(row.try_get::<_, i64>(name)?).map_err(|_| Failure::Corrupt(UNREADABLE))
    };
    let used_at: Option<i64> = row.try_get("used_at")?;
    let state = RotationState {
        generation: number("generation")?,
        minted_at: time(row, "minted_at")?,
        handed_at: time(row, "handed_at")?,
        used_at: used_at.map(Timestamp::from_unix_millis),
        issue: number("issue")?,
        attempt: Attempt::from_bytes(fixed(row.try_get("attempt")?)?),
        last_used_at: time(row, "last_used_at")?,
        idle_expires_at: time(row, "idle_expires_at")?,
    };
    let kept = Kept {
        subject: *subject,
        session_id: SessionId::from_bytes(fixed(row.try_get("session_id")?)?),
        secret_digest: SecretDigest::from_bytes(fixed(row.try_get("secret_digest")?)?),
        created_at: time(row, "created_at")?,
        absolute_expires_at: time(row, "absolute_expires_at")?,
    };
    let facts = facts::decode(row.try_get("facts")?, row.try_get("claims")?, &kept)?;
    Ok(Record { facts: Arc::new(facts), state })
}

pub(super) fn time(row: &Row, name: &str) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_unix_millis(row.try_get(name)?))
}

pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Failure> {
    bytes.try_into().map_err(|_| Failure::Corrupt(UNREADABLE))
}

pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

/// A length that is added to a time: what is below a millisecond is dropped.
pub(super) fn lifetime(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A length that whole milliseconds are compared with: `<` says the same of the next whole millisecond.
pub(super) fn window(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}
