//! The connections of [`PostgresStore`]: what they are told, poolers, full pools, and that no password is printed.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::error::Error;
use std::sync::LazyLock;
use std::time::Duration;

use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;
use tower_jwt_auth::{ConfigErrorKind, PostgresStore, SessionStore, StoreError, StoreErrorKind};

use engines::postgres::{PgBouncer, Postgres};

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start_fast);

/// A pool that tells its connections nothing.
fn plain_pool(url: &str, connections: usize) -> Pool {
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    Pool::builder(manager).max_size(connections).build().unwrap()
}

/// While another client holds the pooler's one connection to the server, the next statement goes to a new one.
#[tokio::test]
async fn prepared_statements_fail_behind_a_transaction_pooler() {
    if !engines::has_pgbouncer() {
        return;
    }
    let pooler = PgBouncer::start(&POSTGRES);
    let prepared = PostgresStore::builder(plain_pool(&pooler.url(), 1)).build().unwrap();
    let unprepared = PostgresStore::builder(plain_pool(&pooler.url(), 1)).unprepared().build().unwrap();
    let other = plain_pool(&pooler.url(), 1).get().await.unwrap();
    prepared.now().await.unwrap();
    unprepared.now().await.unwrap();
    other.batch_execute("BEGIN").await.unwrap();
    let error = prepared.now().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("unprepared"), "{error}");
    unprepared.now().await.unwrap();
}

/// At once: it does not wait for its own time-out.
#[tokio::test]
async fn the_limits_of_open_are_refused_by_a_pooler_at_once() {
    if !engines::has_pgbouncer() {
        return;
    }
    let pooler = PgBouncer::start(&POSTGRES);
    let error = PostgresStore::open(&pooler.url()).unwrap().now().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn connections_are_told_their_limits() {
    if !engines::has_postgres() {
        return;
    }
    let show = async |url: &str, name: &str| -> String {
        let client = PostgresStore::open(url).unwrap().pool().get().await.unwrap();
        client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get(0)
    };
    let url = POSTGRES.url();
    assert_eq!(show(&url, "lock_timeout").await, "2s");
    assert_eq!(show(&url, "statement_timeout").await, "2s");
    assert_eq!(show(&url, "application_name").await, "tower-jwt-auth");
    assert_eq!(show(&url, "idle_in_transaction_session_timeout").await, "2s");
    let of_ones_own = format!("{url}?application_name=app&options=-c%20lock_timeout%3D1s");
    assert_eq!(show(&of_ones_own, "lock_timeout").await, "1s");
    assert_eq!(show(&of_ones_own, "statement_timeout").await, "2s", "the others stay");
    assert_eq!(show(&of_ones_own, "application_name").await, "app");
}

/// The error and all behind it, as text.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    if let Some(source) = error.source() {
        text += &chain(source);
    }
    text
}

/// A role that must give its password.
fn make_role(postgres: &Postgres, role: &str, password: &str) {
    postgres.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"));
    let file = postgres.psql("SHOW hba_file");
    let rules =
        format!("('host all {role} 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust')");
    postgres.psql(&format!("COPY (VALUES {rules}) TO '{file}'"));
    postgres.psql("SELECT pg_reload_conf()");
}

#[tokio::test]
async fn no_password_is_printed() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    make_role(&postgres, "app", "the-right-word");
    let port = postgres.port();
    // The new rules have come into force.
    let with_none = PostgresStore::open(&format!("postgres://app@127.0.0.1:{port}/postgres")).unwrap();
    let mut answer = with_none.now().await;
    for _ in 0..500 {
        if answer.is_err() {
            break;
        }
        with_none.pool().retain(|_, _| false);
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = with_none.now().await;
    }
    for (name, url, works) in [
        ("right", format!("postgres://app:the-right-word@127.0.0.1:{port}/postgres"), true),
        (
            "words",
            format!("host=127.0.0.1 port={port} user=app password=the-right-word dbname=postgres"),
            true,
        ),
        ("wrong", format!("postgres://app:the-wrong-word@127.0.0.1:{port}/postgres"), false),
        ("none", format!("postgres://app@127.0.0.1:{port}/postgres"), false),
        ("unreachable", "postgres://app:the-right-word@127.0.0.1:1/postgres".to_owned(), false),
        ("no such host", "postgres://app:the-right-word@postgres.invalid/postgres".to_owned(), false),
        ("no such database", format!("postgres://app:the-right-word@127.0.0.1:{port}/none"), false),
        ("TLS", format!("postgres://app:the-right-word@127.0.0.1:{port}/app?sslmode=require"), false),
    ] {
        let store = PostgresStore::open(&url).unwrap();
        let builder = PostgresStore::builder(store.pool().clone());
        let mut printed = format!("{builder:?} {builder:#?} {store:?} {store:#?}");
        let answer = store.now().await;
        assert_eq!(answer.is_ok(), works, "{name}: {answer:?}");
        if let Err(error) = answer {
            printed += &chain(&error);
            let kind = error.kind();
            assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{name}");
        }
        let shows = printed.contains("the-right-word") || printed.contains("the-wrong-word");
        assert!(!shows, "{name}: {printed}");
    }
}

#[test]
fn a_url_of_another_form_is_refused_without_quoting_it() {
    if !engines::has_postgres() {
        return;
    }
    for url in [
        "127.0.0.1",
        "http://app:a-password@127.0.0.1/app",
        "postgres://app:a-password@127.0.0.1:port/app",
        "postgres://app:a-password@127.0.0.1/app?a-password=1",
        "host=127.0.0.1 password='a-password",
        "password=a-password a-password",
    ] {
        let error = PostgresStore::open(url).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Store, "{url:?}");
        assert!(!chain(&error).contains("a-password"), "{url:?}: {}", chain(&error));
    }
}

/// Whoever waits for a connection waits no longer than for an answer.
#[tokio::test]
async fn a_pool_without_a_free_connection_is_an_error_in_time() {
    if !engines::has_postgres() {
        return;
    }
    let pool = plain_pool(&POSTGRES.url(), 1);
    let store = PostgresStore::builder(pool.clone()).timeout(Duration::from_millis(50)).build().unwrap();
    let held = pool.get().await.unwrap();
    let error: StoreError = store.now().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout, "{error:?}");
    drop(held);
    store.now().await.unwrap();
    pool.close();
    assert_eq!(store.now().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}
