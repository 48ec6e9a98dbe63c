//! [`PostgresStore`] while something fails: a reply is lost, an operation happens after all, and a service whose
//! PostgreSQL is away answers 503 in time, revokes nothing, and serves again as soon as PostgreSQL does.

#![cfg(all(feature = "postgres", feature = "moka"))]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tower::ServiceExt;
use tower_jwt_auth::test_util::{fresh_attempt, new_session, present};
use tower_jwt_auth::{
    Attempt, AuthService, Creation, NewSession, PostgresStore, Presented, RefreshKeys, Retry, SessionPolicy,
    SessionStore, StoreErrorKind, SubjectDigest,
};

use engines::postgres::Postgres;
use engines::proxy::Proxy;
use engines::wait_until;
use support::service::{Accounts, Answer, Ask, HOLD, OWN, REFRESH_SECRET, User, config, credentials, post};
use support::{MINUTE, ManualClock};

/// How long an answer may take, and how long an outage that is over may be felt.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const SERVES_WITHIN: Duration = Duration::from_secs(1);

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

/// A service over a store, and the clock of both.
struct Site {
    auth: AuthService<User>,
    store: PostgresStore,
    clock: ManualClock,
}

impl Site {
    async fn over(pool: Pool) -> Self {
        let clock = ManualClock::new();
        let store = PostgresStore::builder(pool).clock(clock.clone()).build().unwrap();
        store.migrate().await.unwrap();
        let keys = RefreshKeys::new(REFRESH_SECRET).unwrap();
        let builder = AuthService::builder(&config(&clock), keys, store.clone(), Accounts::default());
        Self { auth: builder.add_origin(OWN).build().unwrap(), store, clock }
    }

    async fn send(&self, ask: Ask) -> Answer {
        Answer::of(self.auth.clone().oneshot(ask.request()).await.unwrap()).await
    }

    async fn login(&self) -> Answer {
        self.send(post("/auth/login").json(&credentials("ada"))).await
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.send(post("/auth/refresh").cookie(token)).await
    }

    /// The generation of the session of an answer; `None` if it was ended.
    async fn generation(&self, answer: &Answer) -> Option<u32> {
        let records = self.store.list(&SubjectDigest::of("ada")).await.unwrap();
        let id = answer.claims()["sid"].as_str().unwrap().to_owned();
        let record = records.into_iter().find(|record| record.facts.session_id.to_string() == id)?;
        Some(record.state.generation)
    }

    /// A login and refreshes during an outage, at once. That no refusal sets a cookie, and that each says when to come
    /// again, is checked of every answer.
    async fn assert_unavailable(&self, token: &str) {
        let start = Instant::now();
        let (login, first, second) = tokio::join!(self.login(), self.refresh(token), self.refresh(token));
        assert!(start.elapsed() < ANSWERS_WITHIN, "{:?}", start.elapsed());
        for answer in [login, first, second] {
            answer.refused(503, "unavailable");
        }
    }

    /// Asks until there is an answer.
    async fn refresh_within(&self, limit: Duration, token: &str) -> Answer {
        let start = Instant::now();
        loop {
            let answer = self.refresh(token).await;
            assert!(start.elapsed() < limit, "{answer:?} after {:?}", start.elapsed());
            if answer.status == 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Breaks PostgreSQL behind a service and mends it: refusals in time, nothing revoked, and served at once after that.
async fn outage(pool: Pool, fail: impl AsyncFn(), mend: impl AsyncFn()) {
    let site = Site::over(pool).await;
    // The second time over connections that were made anew.
    for requests in [2, 1] {
        let (login, bystander) = (site.login().await, site.login().await);
        let token = login.refresh();
        site.clock.advance(HOLD);
        fail().await;
        for _ in 0..requests {
            site.assert_unavailable(&token).await;
        }
        mend().await;
        let answer = site.refresh_within(SERVES_WITHIN, &token).await;
        assert_eq!((answer.claims()["gen"].as_u64(), answer.refresh() == token), (Some(1), false));
        assert_eq!(site.generation(&login).await, Some(1), "one successor");
        assert_eq!(site.generation(&bystander).await, Some(0), "not touched");
        site.refresh(&bystander.refresh()).await.expect(200);
        site.login().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_killed() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    outage(pool(postgres.port(), 16), async || postgres.kill(), async || postgres.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stands_still() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    outage(pool(postgres.port(), 16), async || postgres.pause(), async || postgres.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let proxy = Proxy::start(postgres.port());
    outage(pool(proxy.port(), 16), async || proxy.refuse(), async || proxy.pass()).await;
}

/// Nothing comes through, and nobody says so. Afterwards what was held back arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_half_open() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let proxy = Proxy::start(postgres.port());
    outage(pool(proxy.port(), 16), async || proxy.stall(), async || proxy.pass()).await;
}

/// The same, but afterwards the old connections are gone, with all that was sent over them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_half_open_and_end() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let proxy = Proxy::start(postgres.port());
    let mend = async || {
        proxy.refuse();
        proxy.pass();
    };
    outage(pool(proxy.port(), 16), async || proxy.stall(), mend).await;
}

/// As after a failover that left the old primary alive. Its connections stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_takes_no_writes() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    // It is known to all connections of the pool soon after it is to new ones.
    let set = async |value: &str| {
        postgres.psql(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        postgres.psql("SELECT pg_reload_conf()");
        wait_until("the setting", || postgres.psql("SHOW default_transaction_read_only") == value);
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    outage(pool(postgres.port(), 16), async || set("on").await, async || set("off").await).await;
}

/// All connections of the pool are in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_full() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let pool = pool(postgres.port(), 3);
    let held: Mutex<Vec<Object>> = Mutex::default();
    let fail = async || {
        for _ in 0..3 {
            let object = pool.get().await.unwrap();
            held.lock().unwrap().push(object);
        }
    };
    outage(pool.clone(), fail, async || held.lock().unwrap().clear()).await;
}

/// Others use all connections of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_full() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_with(&["fsync=off", "max_connections=10"]);
    let held: Mutex<Vec<Object>> = Mutex::default();
    let others = pool(postgres.port(), 100);
    let fail = async || {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'tower-jwt-auth' AND pid <> pg_backend_pid()";
        let first = others.get().await.unwrap();
        first.batch_execute(end).await.unwrap();
        held.lock().unwrap().push(first);
        let deadline = Instant::now() + MINUTE;
        while held.lock().unwrap().len() < 10 {
            assert!(Instant::now() < deadline, "not all connections can be had");
            match others.get().await {
                Ok(object) => held.lock().unwrap().push(object),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mend = async || {
        for object in held.lock().unwrap().drain(..) {
            drop(Object::take(object));
        }
    };
    outage(pool(postgres.port(), 4), fail, mend).await;
}
