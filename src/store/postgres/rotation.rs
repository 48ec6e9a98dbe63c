//! A rotation: one statement decides and writes, two where the token is not due.

use tokio_postgres::types::Type;

use super::PostgresStore;
use super::codec::{lifetime, record, time, window};
use super::error::Failure;
use super::operation::on_connection;
use crate::clock::Timestamp;
use crate::session::{Decision, OnReuse, Presented, Record, SessionPolicy, decide};
use crate::store::{Rotation, StoreError};

impl PostgresStore {
    /// `rotate_due.sql` is what nearly every call is; where it finds nothing, `rotate.sql` is the rest of the rule.
    pub(super) async fn present(
        &self,
        presented: &Presented,
        policy: &SessionPolicy,
    ) -> Result<Rotation, StoreError> {
        let (subject, session_id) = (&presented.subject.as_bytes()[..], &presented.session_id.as_bytes()[..]);
        let generation = i64::from(presented.generation);
        let (secret, attempt) = (&presented.secret_digest.as_bytes()[..], &presented.attempt.as_bytes()[..]);
        let (retry, hold) = (window(policy.retry_window()), window(policy.hold_window()));
        let idle = lifetime(policy.idle_lifetime());
        let all = policy.on_reuse() == OnReuse::Subject;
        let until_used = policy.is_until_used();
        let clock = self.clock();
        let rotation = on_connection!(self, |client| {
            let due = self
                .rows(
                    client,
                    &self.settings.statements.rotate_due,
                    &[
                        (&subject, Type::BYTEA),
                        (&session_id, Type::BYTEA),
                        (&generation, Type::INT8),
                        (&secret, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&hold, Type::INT8),
                        (&idle, Type::INT8),
                        (&clock, Type::INT8),
                        (&until_used, Type::BOOL),
                    ],
                )
                .await?;
            if let Some(row) = due.first() {
                let record = record(&presented.subject, row)?;
                let decision = Decision::Rotated(record.state);
                return Ok(Rotation { decision, record: Some(record), now: time(row, "now")? });
            }
            let row = self
                .row(
                    client,
                    &self.settings.statements.rotate,
                    &[
                        (&subject, Type::BYTEA),
                        (&session_id, Type::BYTEA),
                        (&generation, Type::INT8),
                        (&secret, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&retry, Type::INT8),
                        (&hold, Type::INT8),
                        (&idle, Type::INT8),
                        (&all, Type::BOOL),
                        (&clock, Type::INT8),
                        (&until_used, Type::BOOL),
                    ],
                )
                .await?;
            let rule: i32 = row.try_get("rule")?;
            let before = if rule == 0 { None } else { Some(record(&presented.subject, &row)?) };
            rotation(rule, time(&row, "now")?, before, presented, policy)
        });
        rotation.await
    }
}

/// The answer of the statement in the crate's terms. The statement has written what the rule says; what that is, the
/// rule says here once more.
fn rotation(
    rule: i32,
    now: Timestamp,
    before: Option<Record>,
    presented: &Presented,
    policy: &SessionPolicy,
) -> Result<Rotation, Failure> {
    let decision = match rule {
        17 => Decision::Superseded,
        18 => Decision::Reused,
        _ => decide(before.as_ref(), presented, policy, now),
    };
    if rule < 10 && i32::from(decision.row()) != rule {
        return Err(Failure::Corrupt("the statement of PostgreSQL and the rule of this version disagree"));
    }
    let record = before.map(|record| match decision.state() {
        Some(state) => Record { state: *state, ..record },
        None => record,
    });
    Ok(Rotation { decision, record, now })
}
