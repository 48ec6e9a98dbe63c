//! The tables of [`PostgresStore`]: who makes them, under which names, what a role must be allowed, and that a rotation
//! writes to no index.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::LazyLock;

use tower_jwt_auth::test_util::{created, fresh_attempt, new_session, present, revocation_contract, unique};
use tower_jwt_auth::{
    ConfigErrorKind, PostgresStore, PostgresStoreBuilder, Retry, RevocationKey, RevocationStore,
    SessionPolicy, SessionStore, StoreError, StoreErrorKind, SubjectDigest,
};

use engines::postgres::Postgres;
use engines::wait_until;
use program::manifest_dir;
use support::{DAY, HOUR, ManualClock};

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start_fast);

fn policy() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

fn builder(url: &str) -> PostgresStoreBuilder {
    PostgresStore::builder(PostgresStore::open(url).unwrap().pool().clone())
}

/// An empty database.
fn new_database() -> String {
    let name = format!("database_{}", unique());
    POSTGRES.psql(&format!("CREATE DATABASE {name}"));
    format!("{}/{name}", POSTGRES.url().strip_suffix("/postgres").unwrap())
}

fn new_schema() -> String {
    format!("schema_{}", unique())
}

/// What a query gives in another database than that of `psql`: one text.
async fn query(url: &str, sql: &str) -> String {
    let client = PostgresStore::open(url).unwrap().pool().get().await.unwrap();
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Every operation, and the first error.
async fn use_all(store: &PostgresStore, clock: Option<&ManualClock>) -> Result<(), StoreError> {
    let subject = format!("ada-{}", unique());
    let digest = SubjectDigest::of(&subject);
    let [session, other] = [(); 2].map(|()| subject.as_str());
    let session = new_session(session, store.now().await?);
    created(store.create(&session, &policy()).await?);
    let other = new_session(other, store.now().await?);
    created(store.create(&other, &policy()).await?);
    assert_eq!(store.rotate(&present(&session, 0), &policy()).await?.decision.as_str(), "rotated");
    store.mark_used(&digest, &session.session_id, 1, 0).await?;
    assert_eq!(store.get(&digest, &session.session_id).await?.unwrap().state.generation, 1);
    assert_eq!(store.list(&digest).await?.len(), 2);
    assert!(store.revoke(&digest, &other.session_id, None, &fresh_attempt()).await?);
    assert_eq!(store.revoke_subject(&digest, None, &policy(), &fresh_attempt()).await?, 1);
    let (key, now) = (RevocationKey::subject("https://issuer.example", &subject), store.now().await?);
    store.revoke_issued_before(&key, now, HOUR).await?;
    assert_eq!(store.not_before(&key).await?, Some(now));
    if let Some(clock) = clock {
        created(store.create(&new_session("expired", store.now().await?), &policy()).await?);
        clock.advance(100 * DAY);
        assert_eq!(store.purge_expired().await?, 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_nodes_migrate_at_once() {
    if !engines::has_postgres() {
        return;
    }
    for round in 0..3 {
        let url = new_database();
        let stores: Vec<_> = (0..8)
            .map(|node| {
                let builder = builder(&url);
                if node % 2 == 0 { builder.build() } else { builder.unprepared().build() }.unwrap()
            })
            .collect();
        let calls: Vec<_> =
            stores.iter().cloned().map(|store| tokio::spawn(async move { store.migrate().await })).collect();
        for call in calls {
            call.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        }
        let versions =
            "SELECT string_agg(version::text, ' ' ORDER BY version) FROM tower_jwt_auth.migrations";
        assert_eq!(query(&url, versions).await, "1 2");
        for store in &stores {
            use_all(store, None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_migration_changes_nothing() {
    if !engines::has_postgres() {
        return;
    }
    let url = new_database();
    let store = builder(&url).build().unwrap();
    let tables = "SELECT string_agg(concat_ws(' ', relname, oid, relfilenode, xmin, reloptions), ',' ORDER BY oid) \
                  FROM pg_class WHERE relnamespace = 'tower_jwt_auth'::regnamespace";
    store.migrate().await.unwrap();
    let session = new_session("ada", store.now().await.unwrap());
    created(store.create(&session, &policy()).await.unwrap());
    let before = query(&url, tables).await;
    assert!(before.contains("sessions") && before.contains("fillfactor=70"), "{before}");
    for _ in 0..3 {
        store.migrate().await.unwrap();
        store.pool().get().await.unwrap().batch_execute(store.schema_sql()).await.unwrap();
    }
    assert_eq!(query(&url, tables).await, before);
    assert!(store.get(&SubjectDigest::of("ada"), &session.session_id).await.unwrap().is_some());
}

/// A migration that is given up leaves all of the tables or none.
#[tokio::test]
async fn a_migration_that_waits_in_vain_leaves_nothing() {
    if !engines::has_postgres() {
        return;
    }
    let url = new_database();
    let store = builder(&url).build().unwrap();
    let other = builder(&url).build().unwrap();
    // A schema of the same name that is not committed holds the migration up.
    let holder = other.pool().get().await.unwrap();
    holder.batch_execute("BEGIN; CREATE SCHEMA tower_jwt_auth").await.unwrap();
    let migration = tokio::spawn({
        let store = store.clone();
        async move { store.migrate().await }
    });
    let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while query(&url, waiting).await != "1" {
        tokio::task::yield_now().await;
    }
    migration.abort();
    assert!(migration.await.unwrap_err().is_cancelled());
    holder.batch_execute("ROLLBACK").await.unwrap();
    while query(&url, waiting).await != "0" {
        tokio::task::yield_now().await;
    }
    other.migrate().await.unwrap();
    use_all(&store, None).await.unwrap();
}

/// A role with the rights that the documentation names, and a store of it.
fn role_on(schema: &str) -> (String, String) {
    let role = format!("role_{}", unique());
    POSTGRES.psql(&format!("CREATE ROLE {role} LOGIN"));
    POSTGRES.psql(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
    let rights = "SELECT, INSERT, UPDATE, DELETE";
    POSTGRES.psql(&format!("GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {role}"));
    let url = POSTGRES.url().replace("postgres@", &format!("{role}@"));
    (role, url)
}

#[tokio::test]
async fn a_role_needs_the_rights_that_are_named_and_no_others() {
    if !engines::has_postgres() {
        return;
    }
    let schema = new_schema();
    builder(&POSTGRES.url()).schema(&schema).build().unwrap().migrate().await.unwrap();
    let (role, url) = role_on(&schema);
    let open = |clock: &ManualClock| builder(&url).schema(&schema).clock(clock.clone()).build().unwrap();
    let clock = ManualClock::new();
    let store = open(&clock);
    store.migrate().await.unwrap();
    use_all(&store, Some(&clock)).await.unwrap();

    let refused = |what: &str, error: &StoreError| {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{what}: {error:?}");
        assert!(error.to_string().contains("USAGE"), "{what}: {error}");
    };
    for table in ["sessions", "subjects", "revocations"] {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let on = format!("{right} ON {schema}.{table}");
            POSTGRES.psql(&format!("REVOKE {on} FROM {role}"));
            let clock = ManualClock::new();
            refused(&on, &use_all(&open(&clock), Some(&clock)).await.unwrap_err());
            POSTGRES.psql(&format!("GRANT {on} TO {role}"));
        }
    }
    POSTGRES.psql(&format!("REVOKE SELECT ON {schema}.migrations FROM {role}"));
    refused("migrations", &store.migrate().await.unwrap_err());
    POSTGRES.psql(&format!("GRANT SELECT ON {schema}.migrations TO {role}"));
    use_all(&open(&clock), Some(&clock)).await.unwrap();
    POSTGRES.psql(&format!("REVOKE USAGE ON SCHEMA {schema} FROM {role}"));
    refused("schema", &open(&clock).migrate().await.unwrap_err());
    refused("schema", &use_all(&open(&clock), Some(&clock)).await.unwrap_err());

    // Where there are no tables, it cannot make them.
    let elsewhere = builder(&url).schema(new_schema()).build().unwrap();
    assert_eq!(elsewhere.migrate().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn the_file_makes_the_tables_by_other_means() {
    if !engines::has_postgres() {
        return;
    }
    let file = manifest_dir().join("src/store/postgres/schema.sql");
    for _ in 0..2 {
        POSTGRES.psql(&format!(r"\i {}", file.display()));
    }
    let clock = ManualClock::new();
    let store = builder(&POSTGRES.url()).clock(clock.clone()).build().unwrap();
    use_all(&store, Some(&clock)).await.unwrap();
    store.migrate().await.unwrap();

    // With other names, by the text that the store gives. Words of SQL are names like others.
    for (schema, prefix) in [(new_schema(), ""), (new_schema(), "app_"), ("select".into(), "table")] {
        let clock = ManualClock::new();
        let builder = builder(&POSTGRES.url()).schema(&schema).table_prefix(prefix).clock(clock.clone());
        let store = builder.build().unwrap();
        let sql = store.schema_sql();
        assert!(!sql.contains("tower_jwt_auth."), "{sql}");
        POSTGRES.psql(sql);
        POSTGRES.psql(sql);
        use_all(&store, Some(&clock)).await.unwrap();
        store.migrate().await.unwrap();
        let tables =
            format!("SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = '{schema}'");
        let tables = POSTGRES.psql(&tables);
        assert!(tables.split(' ').all(|name| name.starts_with(prefix)), "{tables}");
    }
}

/// As a store of version 1 left them, under sessions that go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_of_version_1_are_brought_to_this_one() {
    if !engines::has_postgres() {
        return;
    }
    let schema = new_schema();
    let store = builder(&POSTGRES.url()).schema(&schema).table_prefix("app_").build().unwrap();
    store.migrate().await.unwrap();
    let session = new_session("ada", store.now().await.unwrap());
    created(store.create(&session, &policy()).await.unwrap());
    POSTGRES.psql(&format!("DROP TABLE {schema}.app_revocations"));
    POSTGRES.psql(&format!("DELETE FROM {schema}.app_migrations WHERE version = 2"));
    let error = store.not_before(&RevocationKey::token("issuer", "1")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("`migrate`"), "{error}");

    let nodes: Vec<_> = (0..4)
        .map(|_| {
            let node = builder(&POSTGRES.url()).schema(&schema).table_prefix("app_").build().unwrap();
            tokio::spawn(async move { node.migrate().await })
        })
        .collect();
    for node in nodes {
        node.await.unwrap().unwrap();
    }
    revocation_contract(store.clone()).await;
    use_all(&store, None).await.unwrap();
    assert!(store.get(&SubjectDigest::of("ada"), &session.session_id).await.unwrap().is_some());
    let versions =
        format!("SELECT string_agg(version::text, ' ' ORDER BY version) FROM {schema}.app_migrations");
    assert_eq!(POSTGRES.psql(&versions), "1 2");
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    if !engines::has_postgres() {
        return;
    }
    let schema = new_schema();
    let store = builder(&POSTGRES.url()).schema(&schema).build().unwrap();
    store.migrate().await.unwrap();
    POSTGRES.psql(&format!("INSERT INTO {schema}.migrations (version) VALUES (3)"));
    let error = store.migrate().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("version"), "{error}");
    POSTGRES.psql(&format!("DELETE FROM {schema}.migrations WHERE version = 3"));
    store.migrate().await.unwrap();
}

#[tokio::test]
async fn without_tables_the_error_says_what_to_call() {
    if !engines::has_postgres() {
        return;
    }
    let (absent, empty) = (new_schema(), new_schema());
    POSTGRES.psql(&format!("CREATE SCHEMA {empty}"));
    for schema in [absent, empty] {
        for prepared in [true, false] {
            let builder = builder(&POSTGRES.url()).schema(&schema);
            let store = if prepared { builder.build() } else { builder.unprepared().build() }.unwrap();
            let session = new_session("ada", store.now().await.unwrap());
            let (subject, id) = (SubjectDigest::of("ada"), &session.session_id);
            let (attempt, key) = (fresh_attempt(), RevocationKey::token("issuer", "1"));
            for (what, error) in [
                ("create", store.create(&session, &policy()).await.unwrap_err()),
                ("rotate", store.rotate(&present(&session, 0), &policy()).await.unwrap_err()),
                ("get", store.get(&subject, id).await.unwrap_err()),
                ("list", store.list(&subject).await.unwrap_err()),
                ("revoke", store.revoke(&subject, id, None, &attempt).await.unwrap_err()),
                ("all", store.revoke_subject(&subject, None, &policy(), &attempt).await.unwrap_err()),
                ("mark", store.mark_used(&subject, id, 0, 0).await.unwrap_err()),
                ("purge", store.purge_expired().await.unwrap_err()),
                (
                    "tokens",
                    store.revoke_issued_before(&key, session.authenticated_at, HOUR).await.unwrap_err(),
                ),
                ("not before", store.not_before(&key).await.unwrap_err()),
            ] {
                assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{what}: {error:?}");
                assert!(error.to_string().contains("`migrate`"), "{what}: {error}");
            }
        }
    }
}

#[test]
fn names_of_another_form_are_refused() {
    if !engines::has_postgres() {
        return;
    }
    let [longest, too_long] = ["n".repeat(48), "n".repeat(49)];
    let build = |schema: &str, prefix: &str| {
        builder("postgres://127.0.0.1:1/none").schema(schema).table_prefix(prefix).build()
    };
    for name in [
        "a\"b", "a'b", "a;b", "a b", "a.b", "a-b", "a$b", "a\\b", "a\0", "a\n", "A", "aB", "1a", "é", "ａ",
        "а", &too_long,
    ] {
        for (schema, prefix) in [(name, ""), ("a", name)] {
            let error = build(schema, prefix).unwrap_err();
            assert_eq!(error.kind(), ConfigErrorKind::Store, "{schema:?} {prefix:?}");
        }
    }
    assert_eq!(build("", "a").unwrap_err().kind(), ConfigErrorKind::Store);
    for (schema, prefix) in [("a", ""), ("_", "_"), ("a1_", "b2_"), (&longest, &longest)] {
        assert!(build(schema, prefix).is_ok(), "{schema:?} {prefix:?}");
    }
}

/// PostgreSQL cuts a name that is too long, without an error.
#[tokio::test]
async fn the_longest_names_are_kept_whole() {
    if !engines::has_postgres() {
        return;
    }
    let longest = "n".repeat(48);
    let store = builder(&POSTGRES.url()).schema(&longest).table_prefix(&longest).build().unwrap();
    store.migrate().await.unwrap();
    use_all(&store, None).await.unwrap();
    let tables = POSTGRES.psql(&format!(
        "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = '{longest}'"
    ));
    assert_eq!(
        tables,
        ["migrations", "revocations", "sessions", "subjects"]
            .map(|name| format!("{longest}{name}"))
            .join(" ")
    );
}

/// A rotation leaves the indexes alone, as long as the page of its row has room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_write_to_no_index() {
    const SESSIONS: usize = 40;
    const ROTATIONS: usize = 2_000;
    if !engines::has_postgres() {
        return;
    }
    // Of its own: a transaction of another test would keep old rows in the pages.
    let postgres = Postgres::start_fast();
    let clock = ManualClock::new();
    let store = builder(&postgres.url()).clock(clock.clone()).build().unwrap();
    store.migrate().await.unwrap();
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let session = new_session(&format!("subject-{}", number % 10), store.now().await.unwrap());
        created(store.create(&session, &policy()).await.unwrap());
        sessions.push(session);
    }
    for generation in 0..u32::try_from(ROTATIONS / SESSIONS).unwrap() {
        clock.advance(HOUR);
        for session in &sessions {
            let rotation = store.rotate(&present(session, generation), &policy()).await.unwrap();
            assert_eq!(rotation.decision.as_str(), "rotated");
        }
    }
    // Connections that end have told what they did.
    store.pool().close();
    let read = |columns: &str| {
        postgres.psql(&format!("SELECT {columns} FROM pg_stat_user_tables WHERE relname = 'sessions'"))
    };
    wait_until("all updates are counted", || read("n_tup_upd").parse::<usize>().unwrap() >= ROTATIONS);
    assert_eq!(read("n_tup_hot_upd > 0.95 * n_tup_upd"), "t", "{}", read("n_tup_hot_upd, n_tup_upd"));
}
