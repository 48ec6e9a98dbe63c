//! PostgreSQL: our statement, a bare update of one row, and the usual transaction.

use deadpool_postgres::Pool;
use tower_jwt_auth::test_util::{created, new_session, present};
use tower_jwt_auth::{Decision, NewSession, PostgresStore, SessionStore, SubjectDigest};

use crate::engines::postgres::Postgres;
use crate::load::{self, middle, ratio};
use crate::{CALLERS, policy};

const TABLE: &str = "tower_jwt_auth.sessions";

pub(crate) async fn rotations() {
    let server = Postgres::start();
    let store = PostgresStore::open(&server.url()).unwrap();
    store.migrate().await.unwrap();
    let pool = store.pool();
    println!("PostgreSQL, every commit on disk, 16 connections for all callers");
    for callers in CALLERS {
        let (mut ours, mut floor, mut usual) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            ours.push(rotate(&store, callers).await);
            floor.push(update(&store, pool, callers).await);
            usual.push(transaction(&store, pool, callers).await);
        }
        let (ours, floor, usual) = (middle(ours), middle(floor), middle(usual));
        ours.print("PostgresStore::rotate", callers);
        floor.print("one row updated", callers);
        usual.print("SELECT, DELETE, INSERT, COMMIT", callers);
        ratio("to the floor", &ours, &floor);
        ratio("to the transaction", &ours, &usual);
    }
    let hot = "SELECT round(100.0 * n_tup_hot_upd / n_tup_upd, 1) FROM pg_stat_user_tables
        WHERE relname = 'sessions' AND schemaname = 'tower_jwt_auth'";
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    println!("    HOT updates: {} %", server.psql(hot));
}

async fn sessions(store: &PostgresStore, count: usize) -> Vec<NewSession> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let subject = format!("user-{}", tower_jwt_auth::test_util::unique());
        let session = new_session(&subject, store.now().await.unwrap());
        created(store.create(&session, &policy()).await.unwrap());
        sessions.push(session);
    }
    sessions
}

async fn rotate(store: &PostgresStore, callers: usize) -> load::Measured {
    let states = sessions(store, callers).await.into_iter().map(|session| (store.clone(), session, 0));
    load::run(states.collect(), |(store, session, generation)| async move {
        let rotation = store.rotate(&present(&session, generation), &policy()).await.unwrap();
        assert!(matches!(rotation.decision, Decision::Rotated(_)), "{rotation:?}");
        (store, session, generation + 1)
    })
    .await
}

/// On the same table, which has the same column to change.
async fn update(store: &PostgresStore, pool: &Pool, callers: usize) -> load::Measured {
    let states = sessions(store, callers).await.into_iter().map(|session| (pool.clone(), session));
    load::run(states.collect(), |(pool, session)| async move {
        let client = pool.get().await.unwrap();
        let sql = format!(
            "UPDATE {TABLE} SET generation = generation + 1 WHERE subject = $1 AND session_id = $2 RETURNING facts"
        );
        let statement = client.prepare_cached(&sql).await.unwrap();
        let (subject, id) = (SubjectDigest::of(&session.subject), session.session_id);
        let rows = client.query(&statement, &[&&subject.as_bytes()[..], &&id.as_bytes()[..]]).await.unwrap();
        assert_eq!(rows.len(), 1);
        drop(client);
        (pool, session)
    })
    .await
}

/// A row for each token: read the presented one, delete it, insert the next.
async fn transaction(store: &PostgresStore, pool: &Pool, callers: usize) -> load::Measured {
    pool.get()
        .await
        .unwrap()
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS tokens (id text PRIMARY KEY, subject text, expires_at timestamptz)",
        )
        .await
        .unwrap();
    let mut states = Vec::new();
    for session in sessions(store, callers).await {
        let client = pool.get().await.unwrap();
        let insert = "INSERT INTO tokens VALUES ($1, $2, now() + interval '7 days')";
        client.execute(insert, &[&token(&session, 0), &session.subject]).await.unwrap();
        states.push((pool.clone(), session, 0_u64));
    }
    load::run(states, |(pool, session, number)| async move {
        let mut client = pool.get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let (old, new) = (token(&session, number), token(&session, number + 1));
        let select = "SELECT subject FROM tokens WHERE id = $1 AND expires_at > now() FOR UPDATE";
        let select = transaction.prepare_cached(select).await.unwrap();
        let subject: String = transaction.query_one(&select, &[&old]).await.unwrap().get(0);
        let delete = transaction.prepare_cached("DELETE FROM tokens WHERE id = $1").await.unwrap();
        transaction.execute(&delete, &[&old]).await.unwrap();
        let insert = "INSERT INTO tokens VALUES ($1, $2, now() + interval '7 days')";
        let insert = transaction.prepare_cached(insert).await.unwrap();
        transaction.execute(&insert, &[&new, &subject]).await.unwrap();
        transaction.commit().await.unwrap();
        drop(client);
        (pool, session, number + 1)
    })
    .await
}

fn token(session: &NewSession, number: u64) -> String {
    format!("{}{number:021}", session.session_id)
}
