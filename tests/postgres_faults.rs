//! [`PostgresStore`] while something fails: a reply is lost, an operation happens after all, a client vanishes. A
//! service during an outage is in `postgres_outage.rs`.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tower_jwt_auth::test_util::{fresh_attempt, new_session, present};
use tower_jwt_auth::{
    Attempt, Creation, NewSession, PostgresStore, Presented, Retry, SessionPolicy, SessionStore,
    StoreErrorKind, SubjectDigest,
};

use engines::postgres::Postgres;
use engines::proxy::Proxy;
use engines::wait_until;
use support::MINUTE;

fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// A pool like that of `open`.
fn pool(port: u16, connections: usize) -> Pool {
    let options = "-c%20lock_timeout%3D2s%20-c%20statement_timeout%3D2s";
    let url = format!("{}?application_name=tower-jwt-auth&options={options}", url(port));
    let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(url.parse().unwrap(), NoTls, settings);
    Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build().unwrap()
}

/// A store with one connection, on which its statements are prepared.
async fn ready(port: u16, timeout: Duration) -> PostgresStore {
    let store = PostgresStore::builder(pool(port, 1)).timeout(timeout).build().unwrap();
    store.migrate().await.unwrap();
    prepare(&store).await;
    store
}

async fn prepare(store: &PostgresStore) {
    let calls = Calls::on(&new_session("nobody", store.now().await.unwrap()));
    calls.create(store).await.unwrap();
    calls.rotate(store).await.unwrap();
    calls.get(store).await;
    calls.revoke(store).await.unwrap();
    calls.revoke_subject(store).await.unwrap();
}

type Done<T> = Result<T, StoreErrorKind>;

/// Calls on one session. Each is the same whenever it is made: one call, sent again.
struct Calls {
    session: NewSession,
    subject: SubjectDigest,
    presented: Presented,
    attempt: Attempt,
}

impl Calls {
    fn on(session: &NewSession) -> Self {
        Self {
            session: session.clone(),
            subject: SubjectDigest::of(&session.subject),
            presented: present(session, 0),
            attempt: fresh_attempt(),
        }
    }

    /// How many sessions had to go for the new one; `None` if it was refused.
    async fn create(&self, store: &PostgresStore) -> Done<Option<usize>> {
        let creation = store.create(&self.session, &strict().with_sessions_per_subject(2)).await;
        creation.map_err(|error| error.kind()).map(|creation| match creation {
            Creation::Created { evicted, .. } => Some(evicted.len()),
            _ => None,
        })
    }

    /// The generation of the token that it gives.
    async fn rotate(&self, store: &PostgresStore) -> Done<(&'static str, Option<u32>)> {
        let rotation = store.rotate(&self.presented, &strict()).await.map_err(|error| error.kind())?;
        Ok((rotation.decision.as_str(), rotation.decision.state().map(|state| state.generation)))
    }

    async fn revoke(&self, store: &PostgresStore) -> Done<bool> {
        let id = &self.session.session_id;
        store.revoke(&self.subject, id, None, &self.attempt).await.map_err(|error| error.kind())
    }

    async fn revoke_subject(&self, store: &PostgresStore) -> Done<u64> {
        let ended = store.revoke_subject(&self.subject, None, &strict(), &self.attempt).await;
        ended.map_err(|error| error.kind())
    }

    async fn get(&self, store: &PostgresStore) -> Option<u32> {
        let record = store.get(&self.subject, &self.session.session_id).await.unwrap();
        record.map(|record| record.state.generation)
    }

    async fn count(&self, store: &PostgresStore) -> usize {
        store.list(&self.subject).await.unwrap().len()
    }
}

/// PostgreSQL has done it, and its reply is lost with the connection.
#[tokio::test]
async fn a_reply_is_lost() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let proxy = Proxy::start(postgres.port());
    let store = ready(proxy.port(), MINUTE).await;
    let other = ready(postgres.port(), MINUTE).await;
    let lost = StoreErrorKind::Unavailable;

    // What is cut before the end of the transaction was undone.
    for (text, is_done) in [("BEGIN", false), ("COMMIT", true)] {
        let calls = Calls::on(&new_session("bob", other.now().await.unwrap()));
        proxy.cut_reply_to(text);
        assert_eq!(calls.create(&store).await, Err(lost), "{text}");
        assert_eq!(calls.get(&other).await, is_done.then_some(0), "{text}");
        assert_eq!(calls.create(&store).await, Ok(Some(0)), "{text}");
        assert_eq!(calls.get(&other).await, Some(0), "{text}");
        assert_eq!(calls.revoke(&other).await, Ok(true));
    }

    let calls = Calls::on(&new_session("ada", other.now().await.unwrap()));
    calls.create(&store).await.unwrap();
    prepare(&store).await;
    proxy.cut_next_reply();
    assert_eq!(calls.rotate(&store).await, Err(lost));
    assert_eq!(calls.get(&other).await, Some(1), "it was rotated");
    assert_eq!(calls.rotate(&store).await, Ok(("reissued", Some(1))));
    assert_eq!(calls.get(&other).await, Some(1));

    let logout = Calls::on(&new_session("ada", other.now().await.unwrap()));
    logout.create(&other).await.unwrap();
    prepare(&store).await;
    proxy.cut_next_reply();
    assert_eq!(logout.revoke(&store).await, Err(lost));
    assert_eq!(logout.get(&other).await, None, "it was ended");
    assert_eq!(logout.revoke(&store).await, Ok(true));
    assert_eq!(logout.create(&store).await, Ok(None), "a late copy of the login");

    for (text, left) in [("BEGIN", 1), ("COMMIT", 0)] {
        proxy.cut_reply_to(text);
        assert_eq!(calls.revoke_subject(&store).await, Err(lost), "{text}");
        assert_eq!(calls.count(&other).await, left, "{text}");
    }
    // The next millisecond: an end that failed does not wait for it.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let later = Calls::on(&new_session("ada", other.now().await.unwrap()));
    assert_eq!(later.create(&other).await, Ok(Some(0)));
    assert_eq!(calls.revoke_subject(&store).await, Ok(1));
    assert_eq!(calls.count(&other).await, 1, "the login after the end");
    assert_eq!(proxy.cuts(), 6);
}

/// The server stands still for longer than anybody waits, and then does what it was asked.
#[tokio::test]
async fn an_operation_that_timed_out_happens_after_all() {
    if !engines::has_postgres() {
        return;
    }
    let short = Duration::from_millis(200);
    let postgres = Postgres::start_fast();
    let patient = ready(postgres.port(), MINUTE).await;
    // Four connections that stand still, each with its statements prepared.
    let mut hasty = Vec::new();
    for _ in 0..4 {
        hasty.push(ready(postgres.port(), short).await);
    }
    let now = patient.now().await.unwrap();
    let [calls, logout] = ["ada", "ada"].map(|name| Calls::on(&new_session(name, now)));
    let [create, all] = ["bob", "eve"].map(|name| Calls::on(&new_session(name, now)));
    for calls in [&calls, &logout, &all] {
        assert_eq!(calls.create(&patient).await, Ok(Some(0)));
    }
    postgres.pause();
    let late = Err(StoreErrorKind::Timeout);
    assert_eq!(create.create(&hasty[0]).await, late.map(|()| None));
    assert_eq!(calls.rotate(&hasty[1]).await, late.map(|()| ("", None)));
    assert_eq!(logout.revoke(&hasty[2]).await, late.map(|()| true));
    assert_eq!(all.revoke_subject(&hasty[3]).await, late.map(|()| 1));
    // Nor is there a new connection.
    assert_eq!(calls.rotate(&hasty[1]).await, late.map(|()| ("", None)));
    postgres.resume();

    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tower-jwt-auth'";
    wait_until("the server has done what it was asked", || postgres.psql(count) == "1");
    // One statement is there as a whole; a transaction whose end was not asked for is undone.
    assert_eq!(calls.get(&patient).await, Some(1), "it was rotated");
    assert_eq!(logout.get(&patient).await, None, "it was ended");
    assert_eq!((create.get(&patient).await, all.get(&patient).await), (None, Some(0)));
    for store in [&patient, &hasty[1]] {
        assert_eq!(create.create(store).await, Ok(Some(0)));
        assert_eq!(calls.rotate(store).await, Ok(("reissued", Some(1))));
        assert_eq!(logout.revoke(store).await, Ok(true));
        assert_eq!(all.revoke_subject(store).await, Ok(1));
    }
    assert_eq!((create.count(&patient).await, calls.count(&patient).await), (1, 1));
    assert_eq!((logout.get(&patient).await, all.get(&patient).await), (None, None));
}

/// Its host is gone, or the network, in the middle of a login: whom it had locked is free again soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_holds_nobody_up() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let proxy = Proxy::start(postgres.port());
    let direct = PostgresStore::open(&postgres.url()).unwrap();
    let vanishing = PostgresStore::open(&url(proxy.port())).unwrap();
    direct.migrate().await.unwrap();
    prepare(&direct).await;
    prepare(&vanishing).await;
    let first = Calls::on(&new_session("ada", direct.now().await.unwrap()));
    first.create(&direct).await.unwrap();

    let holder = direct.pool().get().await.unwrap();
    holder.batch_execute("BEGIN; SELECT FROM tower_jwt_auth.subjects FOR UPDATE").await.unwrap();
    let login = tokio::spawn(async move {
        let calls = Calls::on(&new_session("ada", vanishing.now().await.unwrap()));
        calls.create(&vanishing).await
    });
    let with = |what: &str| postgres.psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {what}"));
    wait_until("the login waits", || with("wait_event_type = 'Lock'") == "1");
    proxy.stall();
    holder.batch_execute("COMMIT").await.unwrap();
    wait_until("it has the lock", || with("state = 'idle in transaction'") == "1");
    assert_eq!(login.await.unwrap(), Err(StoreErrorKind::Timeout));

    let start = Instant::now();
    let second = Calls::on(&new_session("ada", direct.now().await.unwrap()));
    while let Err(error) = second.create(&direct).await {
        assert!(start.elapsed() < Duration::from_secs(10), "{error:?} after {:?}", start.elapsed());
    }
    assert_eq!(first.count(&direct).await, 2);
    assert_eq!(with("state = 'idle in transaction'"), "0");
}
