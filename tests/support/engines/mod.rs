//! Real servers for tests: each on a free port of 127.0.0.1, with a directory of its own below the system's.
//!
//! A server ends, and its directory with it, when it is dropped, and also when the test process dies in any way. A test
//! file includes this module beside `program.rs`, and first asks one of the `has_` functions.

// As in `program.rs`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod postgres;
pub mod proxy;
pub mod redis;
mod server;

use std::collections::hash_map::RandomState;
use std::env;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::program::{existing, skip};

/// How long anything may take that a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

pub fn has_redis() -> bool {
    has(find("redis-server"))
}

pub fn has_redis_tls() -> bool {
    has(find("redis-server").and_then(|_| find("openssl")))
}

pub fn has_postgres() -> bool {
    has(postgres::find_programs())
}

pub fn has_pgbouncer() -> bool {
    has(postgres::find_programs().and_then(|_| find("pgbouncer")))
}

/// Skips the test that asks, where something is missing.
fn has(found: Result<PathBuf, String>) -> bool {
    found.map_err(|missing| skip(&missing)).is_ok()
}

/// A program in `PATH`, among the system's servers, or in Debian's directory for the newest PostgreSQL.
fn find(program: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin".into(), "/usr/sbin".into()])
        .chain(newest_postgres())
        .find_map(|dir| existing(dir.join(program)).ok())
        .ok_or_else(|| format!("no {program}"))
}

fn newest_postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let numbers = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    Some(format!("/usr/lib/postgresql/{}/bin", numbers.max()?).into())
}

/// Starts a server on one free port after another: each may be taken before the server has it.
fn on_free_port<T>(start: impl Fn(u16) -> Result<T, String>) -> T {
    let mut problem = String::new();
    for _ in 0..5 {
        match start(free_port()) {
            Ok(server) => return server,
            Err(log) => problem = log,
        }
    }
    panic!("the server ended at once; its log:\n{problem}")
}

/// Below the ports that the system gives to outgoing connections, so that none of them takes the port while its server
/// is dead. Redis Cluster also uses the port 10000 above, which is below those, too.
fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish() % 10_000;
        let port = 10_000 + u16::try_from(random).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
