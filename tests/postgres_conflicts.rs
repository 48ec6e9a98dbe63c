//! Calls on [`PostgresStore`] that meet at the server.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tower_jwt_auth::test_util::{created, fresh_attempt, new_session, present, unique};
use tower_jwt_auth::{
    Decision, NewSession, PostgresStore, Presented, Retry, SessionPolicy, SessionStore, StoreError,
    SubjectDigest,
};

use engines::postgres::Postgres;
use engines::wait_until;

fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

/// A pool like that of `open`, and whose connections are told from others.
fn pool(postgres: &Postgres, connections: usize, name: &str) -> Pool {
    pool_with(postgres, connections, name, "")
}

fn pool_with(postgres: &Postgres, connections: usize, name: &str, option: &str) -> Pool {
    let options = format!("-c%20lock_timeout%3D2s%20-c%20statement_timeout%3D2s{option}");
    let url = format!("{}?application_name={name}&options={options}", postgres.url());
    let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(url.parse().unwrap(), NoTls, settings);
    Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build().unwrap()
}

/// A store over tables of its own.
async fn own(pool: Pool) -> PostgresStore {
    let store = PostgresStore::builder(pool).schema(format!("own_{}", unique())).build().unwrap();
    store.migrate().await.unwrap();
    store
}

async fn login(store: &PostgresStore, subject: &str) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, &strict()).await.unwrap());
    session
}

/// Sessions of one subject whose first token is long outdated.
async fn outdated<const N: usize>(store: &PostgresStore, subject: &str) -> [Presented; N] {
    let mut stolen = Vec::new();
    for _ in 0..N {
        let session = login(store, subject).await;
        let rotation = store.rotate(&present(&session, 9), &strict()).await.unwrap();
        assert_eq!(rotation.decision.as_str(), "recovered");
        stolen.push(present(&session, 0));
    }
    stolen.try_into().unwrap()
}

async fn rotate(store: PostgresStore, presented: Presented) -> Result<Decision, StoreError> {
    store.rotate(&presented, &strict()).await.map(|rotation| rotation.decision)
}

/// Connections of this name in a state that a condition describes.
fn connections(postgres: &Postgres, name: &str, condition: &str) -> u32 {
    let from = "FROM pg_stat_activity WHERE application_name";
    postgres.psql(&format!("SELECT count(*) {from} = '{name}' AND {condition}")).parse().unwrap()
}

/// From the SQL that makes it.
fn sessions_table(store: &PostgresStore) -> String {
    let (_, rest) = store.schema_sql().rsplit_once("CREATE TABLE IF NOT EXISTS ").unwrap();
    rest.split_once(' ').unwrap().0.to_owned()
}

/// Holds one session until the transaction ends.
async fn hold(holder: &Object, store: &PostgresStore, session: &NewSession) {
    let table = sessions_table(store);
    let id = u128::from_be_bytes(*session.session_id.as_bytes());
    let lock = format!(r"SELECT FROM {table} WHERE session_id = '\x{id:032x}' FOR UPDATE");
    holder.batch_execute(&format!("BEGIN; {lock}")).await.unwrap();
}

/// Two stolen tokens, each of which ends all sessions: each call holds the row that the other waits for. The server
/// ends one of them after a second, with its settings as they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadlock_is_not_seen() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let name = "deadlock";
    let store = own(pool(&postgres, 8, name)).await;
    let first = login(&store, "ada").await;
    let stolen: [_; 2] = outdated(&store, "ada").await;
    let holder = PostgresStore::open(&postgres.url()).unwrap().pool().get().await.unwrap();
    hold(&holder, &store, &first).await;
    let start = Instant::now();
    let calls = stolen.map(|presented| tokio::spawn(rotate(store.clone(), presented)));
    wait_until("both wait", || connections(&postgres, name, "wait_event_type = 'Lock'") == 2);
    holder.batch_execute("COMMIT").await.unwrap();
    let mut decisions = Vec::new();
    for call in calls {
        decisions.push(call.await.unwrap().unwrap().as_str());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    decisions.sort_unstable();
    assert_eq!(decisions, ["reused", "unknown"]);
    assert_eq!(store.list(&SubjectDigest::of("ada")).await.unwrap(), []);
}

/// Two stolen tokens and the end of all sessions, of one subject and at once, many times. Each time there is a knot.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_deadlocks_are_not_seen() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_with(&["fsync=off", "deadlock_timeout=10ms"]);
    let name = "deadlocks";
    let store = own(pool(&postgres, 16, name)).await;
    let holder = PostgresStore::open(&postgres.url()).unwrap().pool().get().await.unwrap();
    for round in 0..30 {
        let subject = format!("subject-{round}");
        let digest = SubjectDigest::of(&subject);
        let first = login(&store, &subject).await;
        let stolen: [_; 2] = outdated(&store, &subject).await;
        hold(&holder, &store, &first).await;
        let calls = stolen.map(|presented| tokio::spawn(rotate(store.clone(), presented)));
        let end = tokio::spawn({
            let store = store.clone();
            async move { store.revoke_subject(&digest, None, &strict(), &fresh_attempt()).await }
        });
        wait_until("all wait", || connections(&postgres, name, "wait_event_type = 'Lock'") == 3);
        holder.batch_execute("COMMIT").await.unwrap();
        let mut reused = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(Decision::Reused) => reused += 1,
                Ok(Decision::Unknown(_)) => {}
                other => panic!("round {round}: {other:?}"),
            }
        }
        let ended = end.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert!((reused, ended) == (1, 0) || (reused, ended) == (0, 3), "round {round}: {reused} {ended}");
        assert_eq!(store.list(&digest).await.unwrap(), [], "round {round}");
        let rotation = store.rotate(&present(&first, 0), &strict()).await.unwrap();
        assert_eq!(rotation.decision.as_str(), "unknown", "round {round}");
        login(&store, &subject).await;
    }
}

/// More than two would take the server seconds to untie, one by one: they wait in line instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_stolen_tokens_at_once_are_answered() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let name = "eight";
    let store = own(pool(&postgres, 16, name)).await;
    let first = login(&store, "ada").await;
    let stolen: [_; 8] = outdated(&store, "ada").await;
    let holder = PostgresStore::open(&postgres.url()).unwrap().pool().get().await.unwrap();
    hold(&holder, &store, &first).await;
    let calls = stolen.map(|presented| tokio::spawn(rotate(store.clone(), presented)));
    wait_until("all wait", || connections(&postgres, name, "wait_event_type = 'Lock'") == 8);
    holder.batch_execute("COMMIT").await.unwrap();
    let mut reused = 0;
    for call in calls {
        reused += usize::from(call.await.unwrap().unwrap() == Decision::Reused);
    }
    assert_eq!((reused, store.list(&SubjectDigest::of("ada")).await.unwrap().len()), (1, 0));
}

/// A call that is begun before a change is there, and goes on after it.
async fn meet<T: Send + 'static>(
    postgres: &Postgres,
    change: &str,
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> T {
    let holder = PostgresStore::open(&postgres.url()).unwrap().pool().get().await.unwrap();
    holder.batch_execute(&format!("BEGIN; {change}")).await.unwrap();
    let call = tokio::spawn(call);
    wait_until("the call waits", || connections(postgres, "isolated", "wait_event_type = 'Lock'") == 1);
    holder.batch_execute("COMMIT").await.unwrap();
    call.await.unwrap().unwrap_or_else(|error| panic!("{change}: {error:?}"))
}

/// Where the database isolates transactions more than by default, a call that waited for a change is begun again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_not_seen() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    for level in ["repeatable%5C%20read", "serializable"] {
        let option = format!("%20-c%20default_transaction_isolation%3D{level}");
        let store = own(pool_with(&postgres, 4, "isolated", &option)).await;
        let sessions = format!("UPDATE {} SET used_at = 1", sessions_table(&store));
        let subjects = sessions.replace("sessions", "subjects").replace("used_at", "forget_at");
        let digest = SubjectDigest::of("ada");
        let session = login(&store, "ada").await;

        let decision = meet(&postgres, &sessions, rotate(store.clone(), present(&session, 0))).await;
        assert_eq!(decision.as_str(), "rotated");
        let (node, other) = (store.clone(), new_session("ada", store.now().await.unwrap()));
        let creation = meet(&postgres, &subjects, async move { node.create(&other, &strict()).await }).await;
        created(creation);
        let node = store.clone();
        let logout = async move { node.revoke(&digest, &session.session_id, None, &fresh_attempt()).await };
        assert!(meet(&postgres, &sessions, logout).await);
        for change in [&sessions, &subjects] {
            login(&store, "ada").await;
            let node = store.clone();
            let end = async move { node.revoke_subject(&digest, None, &strict(), &fresh_attempt()).await };
            assert!(meet(&postgres, change, end).await > 0, "{level}");
            assert_eq!(store.list(&digest).await.unwrap(), [], "{level}");
        }
    }
}

/// What a caller does next.
#[derive(Debug, Clone, Copy)]
enum Call {
    Login,
    Rotate,
    Stolen,
    Logout,
    EndAll,
    List,
    Get,
    MarkUsed,
    Purge,
}

const CALLS: [Call; 12] = [
    Call::Login,
    Call::Login,
    Call::Login,
    Call::Rotate,
    Call::Rotate,
    Call::Stolen,
    Call::Logout,
    Call::EndAll,
    Call::List,
    Call::Get,
    Call::MarkUsed,
    Call::Purge,
];

/// Every operation on one subject, in an order that the seed gives.
async fn call_at_random(store: PostgresStore, seed: u64) -> Result<(), (Call, StoreError)> {
    let digest = SubjectDigest::of("ada");
    let policy = strict().with_sessions_per_subject(10);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut session = new_session("ada", store.now().await.map_err(|error| (Call::List, error))?);
    for _ in 0..40 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let call = CALLS[usize::try_from(random % 12).unwrap()];
        let id = session.session_id;
        let done = match call {
            Call::Login => {
                async {
                    session = new_session("ada", store.now().await?);
                    store.create(&session, &policy).await.map(drop)
                }
                .await
            }
            Call::Rotate => store.rotate(&present(&session, 0), &policy).await.map(drop),
            Call::Stolen => {
                async {
                    for generation in [5, 0] {
                        store.rotate(&present(&session, generation), &policy).await?;
                    }
                    Ok(())
                }
                .await
            }
            Call::Logout => store.revoke(&digest, &id, None, &fresh_attempt()).await.map(drop),
            Call::EndAll => store.revoke_subject(&digest, None, &policy, &fresh_attempt()).await.map(drop),
            Call::List => store.list(&digest).await.map(|records| assert!(records.len() <= 10)),
            Call::Get => store.get(&digest, &id).await.map(drop),
            Call::MarkUsed => store.mark_used(&digest, &id, 0, 0).await,
            Call::Purge => store.purge_expired().await.map(|purged| assert_eq!(purged, 0)),
        };
        done.map_err(|error| (call, error))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_callers_use_one_subject_at_once() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_with(&["fsync=off", "deadlock_timeout=20ms"]);
    let store = own(pool(&postgres, 16, "callers")).await;
    let callers: Vec<_> = (1..=30).map(|seed| tokio::spawn(call_at_random(store.clone(), seed))).collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    let digest = SubjectDigest::of("ada");
    let last = login(&store, "ada").await;
    let live = store.list(&digest).await.unwrap().len();
    let ended = store.revoke_subject(&digest, None, &strict(), &fresh_attempt()).await.unwrap();
    assert_eq!(ended, u64::try_from(live).unwrap());
    assert!(store.get(&digest, &last.session_id).await.unwrap().is_none());
    assert_eq!(connections(&postgres, "callers", "state LIKE 'idle in transaction%'"), 0);
}
