//! What a rotation costs in each store, as ratios to floors measured in the same run, and what a session weighs.
//!
//! ```text
//! scripts/bench.sh            # rotations: about five minutes
//! scripts/bench.sh bytes      # bytes per session at a million sessions
//! ```
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `SECONDS_EACH` | 2 | how long each thing is measured, three times over |
//! | `STORES` | `moka redis postgres` | which stores |
//! | `SESSIONS` | 1000000 | how many sessions `bytes` keeps |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod bytes;
#[path = "../../tests/support/engines/mod.rs"]
mod engines;
mod load;
mod memory;
mod postgres;
#[path = "../../tests/support/program.rs"]
mod program;
mod redis;

use std::env;
use std::time::Duration;

use tower_jwt_auth::{Retry, SessionPolicy};

/// Callers at once.
const CALLERS: [usize; 4] = [1, 16, 64, 256];

/// Every token is due at once, so that every call rotates.
fn policy() -> SessionPolicy {
    let retry = Retry::Within { retry: Duration::from_secs(30), hold: Duration::ZERO };
    SessionPolicy::default().with_retry(retry)
}

fn main() {
    let stores = env::var("STORES").unwrap_or_else(|_| "moka redis postgres".to_owned());
    let is_wanted = |store: &str| stores.split_whitespace().any(|name| name == store);
    let weighs = env::args().any(|argument| argument == "bytes");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if is_wanted("moka") && !weighs {
            memory::rotations();
        }
        if is_wanted("redis") && engines::has_redis() {
            if weighs { bytes::redis().await } else { redis::rotations().await }
        }
        if is_wanted("postgres") && engines::has_postgres() {
            if weighs { bytes::postgres().await } else { postgres::rotations().await }
        }
        // Last: to give back the memory of a million entries keeps the runtime busy for seconds.
        if is_wanted("moka") && weighs {
            bytes::moka().await;
        }
    });
}
