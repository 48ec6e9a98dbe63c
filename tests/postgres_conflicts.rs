//! Calls on [`PostgresStore`] that meet at the server, and calls that are given up half-way.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tower_jwt_auth::test_util::{created, fresh_attempt, new_session, present, unique};
use tower_jwt_auth::{
    Creation, Decision, NewSession, PostgresStore, Presented, Retry, SessionPolicy, SessionStore, StoreError,
    SubjectDigest,
};

use engines::postgres::Postgres;
use support::MINUTE;

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start_fast);

fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

/// A pool like that of `open`, and whose connections are told from others.
fn pool(postgres: &Postgres, connections: usize, name: &str) -> Pool {
    let options = "-c%20lock_timeout%3D2s%20-c%20statement_timeout%3D2s";
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

fn deadlocks(postgres: &Postgres) -> u32 {
    postgres.psql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'").parse().unwrap()
}

/// Two stolen tokens, each of which ends both sessions: each call holds the row that the other waits for. The server
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
    let (_, table) = store.schema_sql().rsplit_once("CREATE TABLE IF NOT EXISTS ").unwrap();
    let (table, _) = table.split_once(' ').unwrap();
    let first = u128::from_be_bytes(*first.session_id.as_bytes());
    let lock = format!(r"SELECT FROM {table} WHERE session_id = '\x{first:032x}' FOR UPDATE");
    holder.batch_execute(&format!("BEGIN; {lock}")).await.unwrap();
    let start = Instant::now();
    let calls = stolen.map(|presented| tokio::spawn(rotate(store.clone(), presented)));
    engines::wait_until("both wait", || connections(&postgres, name, "wait_event_type = 'Lock'") == 2);
    holder.batch_execute("COMMIT").await.unwrap();
    let mut decisions = Vec::new();
    for call in calls {
        decisions.push(call.await.unwrap().unwrap().as_str());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    decisions.sort_unstable();
    assert_eq!(decisions, ["reused", "unknown"]);
    assert_eq!(store.list(&SubjectDigest::of("ada")).await.unwrap(), []);
    drop(holder);
    engines::wait_until("the server tells of a deadlock", || deadlocks(&postgres) > 0);
}

/// Stolen tokens of several sessions, the end of all sessions and logins, all of one subject and at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_deadlocks_are_not_seen() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_with(&["fsync=off", "deadlock_timeout=5ms"]);
    let store = own(pool(&postgres, 16, "deadlocks")).await;
    for round in 0..60 {
        let subject = format!("subject-{round}");
        let digest = SubjectDigest::of(&subject);
        let stolen: [_; 2] = outdated(&store, &subject).await;
        let kept = login(&store, &subject).await;
        let calls = stolen.map(|presented| tokio::spawn(rotate(store.clone(), presented)));
        let end = tokio::spawn({
            let store = store.clone();
            async move { store.revoke_subject(&digest, None, &strict(), &fresh_attempt()).await }
        });
        let mut reused = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(Decision::Reused) => reused += 1,
                Ok(Decision::Unknown(_)) => {}
                other => panic!("round {round}: {other:?}"),
            }
        }
        let ended = end.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert!(reused > 0 || ended == 3, "round {round}: {reused} {ended}");
        assert_eq!(store.list(&digest).await.unwrap(), [], "round {round}");
        let rotation = store.rotate(&present(&kept, 0), &strict()).await.unwrap();
        assert_eq!(rotation.decision.as_str(), "unknown", "round {round}");
        login(&store, &subject).await;
    }
    store.pool().close();
    engines::wait_until("the server tells of deadlocks", || deadlocks(&postgres) > 0);
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
            Call::MarkUsed => store.mark_used(&digest, &id, 0).await,
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

/// Polls so many times, each when the future asks for it, and drops it. What it gave, if it was ready.
async fn poll_and_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A store with one connection, whose operations are given up.
struct GivenUp {
    store: PostgresStore,
    watch: deadpool_postgres::Object,
    name: String,
}

impl GivenUp {
    async fn new() -> Self {
        let name = format!("given_up_{}", unique());
        let store = own(pool(&POSTGRES, 1, &name)).await;
        let watch = PostgresStore::open(&POSTGRES.url()).unwrap().pool().get().await.unwrap();
        Self { store, watch, name }
    }

    /// Waits until the server is done with what was given up. Nothing is left open, and the one connection is free.
    async fn settle(&self, what: &str) {
        let busy = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND state <> 'idle'",
            self.name
        );
        let deadline = Instant::now() + MINUTE;
        while self.watch.query_one(&busy, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(Instant::now() < deadline, "{what}: a transaction is left open");
            tokio::task::yield_now().await;
        }
        self.store.now().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let status = self.store.pool().status();
        assert!((status.size, status.waiting) <= (1, 0), "{what}: {status:?}");
    }

    /// The next operation begins with a new connection.
    fn disconnect(&self) {
        self.store.pool().retain(|_, _| false);
    }

    async fn count(&self, subject: &str) -> usize {
        self.store.list(&SubjectDigest::of(subject)).await.unwrap().len()
    }
}

/// Every number of polls until one is enough. Says how often an operation that was given up had not happened, and how
/// often it had.
async fn at_every_poll(each: impl AsyncFn(usize) -> (bool, bool)) -> [usize; 2] {
    let mut seen = [0, 0];
    for polls in 0..300 {
        let (is_ready, has_happened) = each(polls).await;
        assert!(has_happened || !is_ready, "{polls} polls: ready, and has not happened");
        if is_ready {
            return seen;
        }
        seen[usize::from(has_happened)] += 1;
    }
    panic!("never ready");
}

#[tokio::test]
async fn operations_dropped_at_every_poll() {
    if !engines::has_postgres() {
        return;
    }
    let site = GivenUp::new().await;
    let store = &site.store;
    let policy = strict();

    let creates = at_every_poll(async |polls| {
        let subject = format!("create-{polls}");
        let session = new_session(&subject, store.now().await.unwrap());
        site.disconnect();
        let ready = poll_and_drop(store.create(&session, &policy), polls).await.map(Result::unwrap);
        site.settle(&subject).await;
        let count = site.count(&subject).await;
        let again = store.create(&session, &policy).await.unwrap();
        assert!(matches!(again, Creation::Created { evicted, .. } if evicted.is_empty()), "{subject}");
        assert_eq!(site.count(&subject).await, 1, "{subject}");
        (ready.is_some(), count == 1)
    });
    let creates = creates.await;

    let rotations = at_every_poll(async |polls| {
        let session = login(store, "rotate").await;
        let presented = present(&session, 0);
        site.disconnect();
        let ready = poll_and_drop(store.rotate(&presented, &policy), polls).await.map(Result::unwrap);
        site.settle(&format!("rotate, {polls} polls")).await;
        let record = store.get(&presented.subject, &session.session_id).await.unwrap().unwrap();
        let again = store.rotate(&presented, &policy).await.unwrap();
        assert_eq!(again.decision.state().unwrap().generation, 1, "{polls} polls");
        (ready.is_some(), record.state.generation == 1)
    });
    let rotations = rotations.await;

    let logouts = at_every_poll(async |polls| {
        let session = login(store, "revoke").await;
        let (subject, attempt) = (SubjectDigest::of("revoke"), fresh_attempt());
        let revoke = || store.revoke(&subject, &session.session_id, None, &attempt);
        site.disconnect();
        let ready = poll_and_drop(revoke(), polls).await.map(Result::unwrap);
        site.settle(&format!("revoke, {polls} polls")).await;
        let is_gone = store.get(&subject, &session.session_id).await.unwrap().is_none();
        assert!(revoke().await.unwrap(), "{polls} polls");
        assert!(store.get(&subject, &session.session_id).await.unwrap().is_none());
        (ready.is_some(), is_gone)
    });
    let logouts = logouts.await;

    let ends = at_every_poll(async |polls| {
        let name = format!("all-{polls}");
        let (before, subject) = (store.now().await.unwrap(), SubjectDigest::of(&name));
        for _ in 0..3 {
            login(store, &name).await;
        }
        let attempt = fresh_attempt();
        let revoke = || store.revoke_subject(&subject, None, &policy, &attempt);
        site.disconnect();
        let ready = poll_and_drop(revoke(), polls).await.map(Result::unwrap);
        site.settle(&name).await;
        let left = site.count(&name).await;
        assert!(left == 0 || left == 3, "{name}: {left}");
        assert_eq!(revoke().await.unwrap(), 3, "{name}");
        let late = store.create(&new_session(&name, before), &policy).await.unwrap();
        assert_eq!((late, site.count(&name).await), (Creation::RevokedMeanwhile, 0), "{name}");
        (ready.is_some(), left == 0)
    });
    let ends = ends.await;

    for (what, [before, after]) in
        [("create", creates), ("rotate", rotations), ("revoke", logouts), ("end", ends)]
    {
        assert!(before > 3, "{what}: {before} and {after}: too few moments");
    }
    assert!(creates[1] + rotations[1] + logouts[1] + ends[1] > 0, "none was given up after it had happened");
}

/// Reading, marking and cleaning up, and a migration.
#[tokio::test]
async fn other_operations_dropped_at_every_poll() {
    if !engines::has_postgres() {
        return;
    }
    let site = GivenUp::new().await;
    let store = &site.store;
    let session = login(store, "ada").await;
    let (subject, id) = (SubjectDigest::of("ada"), &session.session_id);
    let dropped = [
        at_every_poll(async |polls| (poll_and_drop(store.now(), polls).await.is_some(), true)).await,
        at_every_poll(async |polls| {
            site.disconnect();
            let ready = poll_and_drop(store.get(&subject, id), polls).await;
            site.settle(&format!("get, {polls} polls")).await;
            (ready.is_some_and(|record| record.unwrap().is_some()), true)
        })
        .await,
        at_every_poll(async |polls| {
            site.disconnect();
            let ready = poll_and_drop(store.list(&subject), polls).await;
            site.settle(&format!("list, {polls} polls")).await;
            (ready.is_some_and(|records| records.unwrap().len() == 1), true)
        })
        .await,
        at_every_poll(async |polls| {
            site.disconnect();
            let ready = poll_and_drop(store.mark_used(&subject, id, 0), polls).await;
            site.settle(&format!("mark_used, {polls} polls")).await;
            let used_at = store.get(&subject, id).await.unwrap().unwrap().state.used_at;
            (ready.is_some_and(|done| done.is_ok()), used_at.is_some())
        })
        .await,
        at_every_poll(async |polls| {
            site.disconnect();
            let ready = poll_and_drop(store.purge_expired(), polls).await;
            site.settle(&format!("purge, {polls} polls")).await;
            (ready.is_some_and(|purged| purged.unwrap() == 0), true)
        })
        .await,
        at_every_poll(async |polls| {
            let schema = format!("migrate_{}", unique());
            let new = PostgresStore::builder(store.pool().clone()).schema(&schema).build().unwrap();
            site.disconnect();
            let ready = poll_and_drop(new.migrate(), polls).await.map(Result::unwrap);
            site.settle(&schema).await;
            let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'");
            let tables: i64 = site.watch.query_one(&tables, &[]).await.unwrap().get(0);
            assert!(tables == 0 || tables == 3, "{polls} polls: {tables} tables");
            new.migrate().await.unwrap();
            login(&new, "ada").await;
            (ready.is_some(), tables == 3)
        })
        .await,
    ];
    assert!(dropped.iter().all(|[before, after]| before + after > 1), "too few moments: {dropped:?}");
    assert_eq!(site.count("ada").await, 1);
}
