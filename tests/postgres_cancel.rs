//! Calls on [`PostgresStore`] that are given up half-way: they happen completely or not at all, and leave the pool and
//! the server as they were.

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
use std::time::Instant;

use deadpool_postgres::{Manager, Object, Pool, Runtime};
use tokio_postgres::NoTls;
use tower_jwt_auth::test_util::{created, fresh_attempt, new_session, present, unique};
use tower_jwt_auth::{
    Creation, NewSession, PostgresStore, Retry, SessionPolicy, SessionStore, SubjectDigest,
};

use engines::postgres::Postgres;
use support::MINUTE;

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start_fast);

fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

/// A store over tables of its own, whose one connection is told from others.
async fn own(name: &str) -> PostgresStore {
    let url = format!("{}?application_name={name}", POSTGRES.url());
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    let pool = Pool::builder(manager).max_size(1).runtime(Runtime::Tokio1).build().unwrap();
    let store = PostgresStore::builder(pool).schema(name).build().unwrap();
    store.migrate().await.unwrap();
    store
}

async fn login(store: &PostgresStore, subject: &str) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, &strict()).await.unwrap());
    session
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
    watch: Object,
    name: String,
}

impl GivenUp {
    async fn new() -> Self {
        let name = format!("given_up_{}", unique());
        let store = own(&name).await;
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
            let ready = poll_and_drop(store.mark_used(&subject, id, 0, 0), polls).await;
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
            assert!(tables == 0 || tables == 4, "{polls} polls: {tables} tables");
            new.migrate().await.unwrap();
            login(&new, "ada").await;
            (ready.is_some(), tables == 4)
        })
        .await,
    ];
    assert!(dropped.iter().all(|[before, after]| before + after > 1), "too few moments: {dropped:?}");
    assert_eq!(site.count("ada").await, 1);
}
