//! [`PostgresStore`] on a real server: the contract of every store, with and without prepared statements, and what
//! PostgreSQL brings of its own.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::LazyLock;

use tower_jwt_auth::PostgresStore;
use tower_jwt_auth::test_util::Bench;

use engines::postgres::Postgres;
use support::{ManualClock, unique};

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start_fast);

async fn open() -> Option<Bench<PostgresStore, ManualClock>> {
    if !engines::has_postgres() {
        return None;
    }
    let clock = ManualClock::new();
    let pool = PostgresStore::open(&POSTGRES.url()).unwrap().pool().clone();
    let builder = PostgresStore::builder(pool).schema(format!("test_{}", unique()));
    let store = builder.clock(clock.clone()).build().unwrap();
    store.migrate().await.unwrap();
    Some(Bench { store, clock })
}

tower_jwt_auth::store_contract!(open);
