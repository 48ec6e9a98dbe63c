//! [`RedisStore`] on real servers: the contract of every store over each kind of connection, and what Redis brings of
//! its own.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::LazyLock;

use tower_jwt_auth::test_util::Bench;
use tower_jwt_auth::{ReconnectingConnection, RedisStore};

use engines::redis::Redis;
use support::ManualClock;

static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start);

async fn open() -> Option<Bench<RedisStore, ManualClock>> {
    engines::has_redis().then(|| {
        let clock = ManualClock::new();
        let connection = ReconnectingConnection::open(&REDIS.url()).unwrap();
        let prefix = format!("test-{}", support::unique());
        let store = RedisStore::builder(connection).prefix(prefix).clock(clock.clone()).build().unwrap();
        Bench { store, clock }
    })
}

tower_jwt_auth::store_contract!(open);
