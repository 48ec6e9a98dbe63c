//! How an operation on PostgreSQL fails, and which [`StoreError`] that is.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::store::{StoreError, StoreErrorKind};

/// Of a row that this version cannot read.
pub(super) const UNREADABLE: &str = "a row of the sessions was not written by this version of the store";

/// What keeps an operation from its answer.
pub(super) enum Failure {
    Pool(PoolError),
    Postgres(tokio_postgres::Error),
    Store(StoreError),
    Corrupt(&'static str),
}

impl Failure {
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code().is_some_and(|code| {
            [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
        }))
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Postgres(error),
            error => Self::Pool(error),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(super) fn timed_out() -> StoreError {
    StoreError::new(StoreErrorKind::Timeout, "PostgreSQL did not answer in time")
}

pub(super) fn store_error(failure: Failure) -> StoreError {
    use StoreErrorKind::{Corrupt, Timeout, Unavailable};
    let error = match failure {
        Failure::Store(error) => return error,
        Failure::Corrupt(message) => return StoreError::new(Corrupt, message),
        Failure::Pool(error) => {
            return StoreError::new(Unavailable, "the pool has no connection to PostgreSQL")
                .with_source(error);
        }
        Failure::Postgres(error) => error,
    };
    let (kind, message) = match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE => {
            (Timeout, "PostgreSQL did not answer in time")
        }
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => (
            Unavailable,
            "this PostgreSQL is a standby, which takes no writes: use `target_session_attrs=read-write`",
        ),
        Some(code)
            if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME]
                .contains(code) =>
        {
            (Corrupt, "the tables are missing, or another version's: call `migrate`")
        }
        Some(code) if *code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE => (Corrupt, UNREADABLE),
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => (
            Unavailable,
            "the role needs USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on its tables",
        ),
        Some(code)
            if *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::DUPLICATE_PSTATEMENT =>
        {
            (
                Unavailable,
                "a prepared statement is on another connection: behind a transaction pooler use `unprepared`",
            )
        }
        _ => (Unavailable, "PostgreSQL cannot be reached, or refuses"),
    };
    StoreError::new(kind, message).with_source(error)
}
