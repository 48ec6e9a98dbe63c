//! What a session weighs where there are many: each of another subject, with two scopes, a client id and a device.

use std::env;
use std::fs;

use tower_jwt_auth::test_util::{created, new_session};
use tower_jwt_auth::{MokaStore, PostgresStore, RedisStore, SessionStore};

use crate::engines::postgres::Postgres;
use crate::engines::redis::Redis;
use crate::policy;

fn sessions() -> usize {
    env::var("SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

fn tell(store: &str, before: u64, after: u64, sessions: usize) {
    println!("{store}: {} bytes a session, at {sessions} sessions", (after - before) / sessions as u64);
}

async fn fill<S: SessionStore + Clone>(store: &S, sessions: usize) {
    const CALLERS: usize = 64;
    let now = store.now().await.unwrap();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in (caller..sessions).step_by(CALLERS) {
                    let session = new_session(&format!("user-{number}"), now);
                    created(store.create(&session, &policy()).await.unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

pub(crate) async fn moka() {
    let resident = || -> u64 {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let store = MokaStore::new();
    fill(&store, 1_000).await;
    let (before, count) = (resident(), sessions());
    fill(&store, count).await;
    tell("moka", before, resident(), count);
}

pub(crate) async fn redis() {
    let server = Redis::start();
    let used = || -> u64 {
        let info = server.command(&["INFO", "memory"]);
        info.lines().find_map(|line| line.trim().strip_prefix("used_memory:")).unwrap().parse().unwrap()
    };
    let store = RedisStore::open(&server.url()).unwrap();
    store.check().await.unwrap();
    let (before, count) = (used(), sessions());
    fill(&store, count).await;
    tell("Redis", before, used(), count);
}

pub(crate) async fn postgres() {
    let server = Postgres::start_fast();
    let store = PostgresStore::open(&server.url()).unwrap();
    store.migrate().await.unwrap();
    fill(&store, 1).await;
    let size = || -> u64 {
        let tables = "SELECT pg_total_relation_size('tower_jwt_auth.sessions') + pg_total_relation_size('tower_jwt_auth.subjects')";
        server.psql(tables).parse().unwrap()
    };
    let (before, count) = (size(), sessions());
    // One session made by the store, and copies of it with subjects and ids of their own.
    let copies = format!(
        "INSERT INTO tower_jwt_auth.subjects (subject, forget_at)
             SELECT substring(sha256(n::text::bytea) for 16), forget_at
             FROM tower_jwt_auth.subjects, generate_series(1, {count}) AS n;
         INSERT INTO tower_jwt_auth.sessions
             SELECT substring(sha256(n::text::bytea) for 16), substring(sha256(n::text::bytea) from 17 for 16),
                 secret_digest, generation, issue, minted_at, handed_at, used_at, last_used_at, idle_expires_at, attempt,
                 created_at, absolute_expires_at, facts, claims, ended_at, ended_row, ended_by
             FROM tower_jwt_auth.sessions, generate_series(1, {count}) AS n"
    );
    server.psql(&copies);
    tell("PostgreSQL", before, size(), count);
}
