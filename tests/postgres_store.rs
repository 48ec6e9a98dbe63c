//! [`PostgresStore`] on a real server: the contract of every store, with and without prepared statements, and what
//! PostgreSQL brings of its own. More of that is in the other files of this name.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;
use tower_jwt_auth::test_util::{
    Bench, a_revocation_is_heard_of, created, fresh_attempt, new_session, present, revocation_contract,
};
use tower_jwt_auth::{
    Creation, NewSession, PostgresStore, PostgresStoreBuilder, SessionPolicy, SessionStore, StoreErrorKind,
    SubjectDigest,
};

use engines::postgres::{PgBouncer, Postgres};
use support::{MINUTE, ManualClock, unique};

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start_fast);
static POOLER: LazyLock<PgBouncer> = LazyLock::new(|| PgBouncer::start(&POSTGRES));

async fn bench(builder: PostgresStoreBuilder) -> Option<Bench<PostgresStore, ManualClock>> {
    let clock = ManualClock::new();
    let store = builder.schema(format!("test_{}", unique())).clock(clock.clone()).build().unwrap();
    store.migrate().await.unwrap();
    Some(Bench { store, clock })
}

/// A pool that tells its connections nothing.
fn plain_pool(url: &str, connections: usize) -> Pool {
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    Pool::builder(manager).max_size(connections).build().unwrap()
}

fn builder() -> PostgresStoreBuilder {
    PostgresStore::builder(PostgresStore::open(&POSTGRES.url()).unwrap().pool().clone())
}

mod prepared {
    use super::*;

    async fn open() -> Option<Bench<PostgresStore, ManualClock>> {
        if !engines::has_postgres() {
            return None;
        }
        bench(builder()).await
    }

    tower_jwt_auth::store_contract!(open);
}

mod unprepared {
    use super::*;

    async fn open() -> Option<Bench<PostgresStore, ManualClock>> {
        if !engines::has_postgres() {
            return None;
        }
        bench(builder().unprepared()).await
    }

    tower_jwt_auth::store_contract!(open);
}

mod behind_a_pooler {
    use super::*;

    async fn open() -> Option<Bench<PostgresStore, ManualClock>> {
        if !engines::has_pgbouncer() {
            return None;
        }
        bench(PostgresStore::builder(plain_pool(&POOLER.url(), 16)).unprepared()).await
    }

    tower_jwt_auth::store_contract!(open);
}

mod with_a_prefix {
    use super::*;

    async fn open() -> Option<Bench<PostgresStore, ManualClock>> {
        if !engines::has_postgres() {
            return None;
        }
        bench(builder().table_prefix("auth_")).await
    }

    tower_jwt_auth::store_contract!(open);
}

fn policy() -> SessionPolicy {
    SessionPolicy::default()
}

fn digest(subject: &str) -> SubjectDigest {
    SubjectDigest::of(subject)
}

/// A store by the server's clock, over tables of its own.
async fn own(builder: PostgresStoreBuilder) -> PostgresStore {
    let store = builder.schema(format!("own_{}", unique())).build().unwrap();
    store.migrate().await.unwrap();
    store
}

async fn login(store: &PostgresStore, subject: &str) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, &policy()).await.unwrap());
    session
}

async fn end_all(store: &PostgresStore, subject: &str) -> u64 {
    store.revoke_subject(&digest(subject), None, &policy(), &fresh_attempt()).await.unwrap()
}

async fn is_alive(store: &PostgresStore, session: &NewSession) -> bool {
    store.get(&digest(&session.subject), &session.session_id).await.unwrap().is_some()
}

/// The name of the table of sessions, from the SQL that makes it.
fn sessions_table(store: &PostgresStore) -> String {
    let (_, rest) = store.schema_sql().rsplit_once("CREATE TABLE IF NOT EXISTS ").unwrap();
    rest.split_once(' ').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revocations_of_tokens() {
    if !engines::has_postgres() {
        return;
    }
    for builder in
        [builder(), builder().unprepared(), builder().table_prefix("auth_"), builder().without_notify()]
    {
        revocation_contract(own(builder).await).await;
    }
}

/// Another node, that listens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_of_another_node() {
    if !engines::has_postgres() {
        return;
    }
    let schema = format!("own_{}", unique());
    let [store, other] = [(); 2].map(|()| builder().schema(&schema).build().unwrap());
    store.migrate().await.unwrap();
    let listen = other.listen(&POSTGRES.url()).unwrap();
    listen.joined().await;
    a_revocation_is_heard_of(&store, &other).await;
}

#[tokio::test]
async fn the_time_is_the_servers() {
    if !engines::has_postgres() {
        return;
    }
    let system = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = builder().build().unwrap().now().await.unwrap();
    let difference = Duration::from_millis(now.as_unix_millis().try_into().unwrap()).abs_diff(system());
    assert!(difference < MINUTE, "{difference:?}");
}

#[tokio::test]
async fn a_login_after_the_end_of_all_sessions_succeeds_at_once() {
    if !engines::has_postgres() {
        return;
    }
    let store = own(builder()).await;
    for round in 0..100 {
        let session = login(&store, "ada").await;
        let before = store.now().await.unwrap();
        assert_eq!(end_all(&store, "ada").await, 1, "round {round}");
        assert!(!is_alive(&store, &session).await);
        let late = store.create(&new_session("ada", before), &policy()).await.unwrap();
        assert_eq!(late, Creation::RevokedMeanwhile, "round {round}");
    }
    login(&store, "ada").await;
}

#[tokio::test]
async fn two_schemas_or_prefixes_do_not_see_each_other() {
    if !engines::has_postgres() {
        return;
    }
    let names =
        [("here", ""), ("here", "a_"), ("there", ""), ("tower_jwt_auth", ""), ("sessions", "sessions")];
    let mut stores = Vec::new();
    for (schema, prefix) in names {
        let store = builder().schema(schema).table_prefix(prefix).build().unwrap();
        store.migrate().await.unwrap();
        stores.push(store);
    }
    for (store, here) in stores.iter().zip(names) {
        let session = login(store, "ada").await;
        for (other, there) in stores.iter().zip(names).filter(|(_, name)| *name != here) {
            assert!(!is_alive(other, &session).await, "{here:?} {there:?}");
            let rotation = other.rotate(&present(&session, 0), &policy()).await.unwrap();
            assert_eq!(rotation.decision.as_str(), "unknown", "{here:?} {there:?}");
            assert_eq!(end_all(other, "ada").await, 0, "{here:?} {there:?}");
        }
        assert!(is_alive(store, &session).await, "{here:?}");
        login(store, "ada").await;
        assert_eq!(end_all(store, "ada").await, 2, "{here:?}");
    }
}

/// What others wrote is an error, and no answer.
#[tokio::test]
async fn rows_that_others_wrote_are_corrupt() {
    if !engines::has_postgres() {
        return;
    }
    let store = own(builder()).await;
    let table = sessions_table(&store);
    let other = login(&store, "another").await;
    for change in [
        r"facts = '\x'",
        r"facts = '\xff'",
        "facts = 'null'",
        "facts = '[]'",
        "facts = '{}'",
        r#"facts = '{"subject":1,"authenticated_at":1}'"#,
        r#"facts = '{"subject":"ada","authenticated_at":"1"}'"#,
        r#"facts = '{"subject":"ada","authenticated_at":1,"scopes":"a"}'"#,
        r#"facts = '{"subject":"bob","authenticated_at":1}'"#,
        r"attempt = '\x00'",
        r"attempt = '\x'",
        "generation = -1",
        "issue = -1",
        "issue = 9223372036854775807",
    ] {
        let session = login(&store, "ada").await;
        let of_ada = format!(r"subject = '\x{}'", hex(digest("ada").as_bytes()));
        POSTGRES.psql(&format!("UPDATE {table} SET {change} WHERE {of_ada}"));
        let subject = digest("ada");
        for (what, error) in [
            ("get", store.get(&subject, &session.session_id).await.unwrap_err()),
            ("list", store.list(&subject).await.unwrap_err()),
            ("create", store.create(&session, &policy()).await.unwrap_err()),
            ("rotate", store.rotate(&present(&session, 0), &policy()).await.unwrap_err()),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{change}: {what}: {error:?}");
        }
        assert!(is_alive(&store, &other).await, "{change}");
        // It can be ended, and leaves room for a new one.
        assert_eq!(end_all(&store, "ada").await, 1, "{change}");
        assert_eq!(store.list(&subject).await.unwrap(), [], "{change}");
    }
}

/// Times at the ends of their range are an error or an answer.
#[tokio::test]
async fn rows_with_times_out_of_range_do_no_harm() {
    if !engines::has_postgres() {
        return;
    }
    let store = own(builder()).await;
    let table = sessions_table(&store);
    for column in ["minted_at", "handed_at", "last_used_at", "created_at", "used_at"] {
        for value in [i64::MIN, i64::MAX] {
            let session = login(&store, "ada").await;
            POSTGRES.psql(&format!("UPDATE {table} SET {column} = {value}"));
            let record = store.get(&digest("ada"), &session.session_id).await.unwrap();
            assert!(record.is_some(), "{column} = {value}");
            for generation in [0, 5] {
                let rotation = store.rotate(&present(&session, generation), &policy()).await;
                assert!(
                    rotation.as_ref().map_or_else(|error| error.kind() == StoreErrorKind::Corrupt, |_| true),
                    "{column} = {value}: {rotation:?}"
                );
            }
            assert_eq!(end_all(&store, "ada").await, 1, "{column} = {value}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
