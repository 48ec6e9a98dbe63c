//! A service over [`PostgresStore`] whose PostgreSQL is away: it answers 503 in time, revokes nothing, and serves again
//! as soon as PostgreSQL does.

#![cfg(all(feature = "postgres", feature = "moka"))]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tower::ServiceExt;
use tower_jwt_auth::{AuthService, PostgresStore, RefreshKeys, SessionStore, SubjectDigest};

use engines::postgres::Postgres;
use engines::proxy::Proxy;
use engines::wait_until;
use support::service::{Accounts, Answer, Ask, HOLD, OWN, REFRESH_SECRET, User, config, credentials, post};
use support::{MINUTE, ManualClock};

/// How long an answer may take, and how long an outage that is over may be felt.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const SERVES_WITHIN: Duration = Duration::from_secs(1);

/// A pool like that of `open`.
fn pool(port: u16, connections: usize) -> Pool {
    let options = "-c%20lock_timeout%3D2s%20-c%20statement_timeout%3D2s";
    let base = format!("postgres://postgres@127.0.0.1:{port}/postgres?application_name=tower-jwt-auth");
    let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(format!("{base}&options={options}").parse().unwrap(), NoTls, settings);
    Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build().unwrap()
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

/// Between two requests the server is new, or one reply is lost: no client sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_repeats_is_not_seen() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let proxy = Proxy::start(postgres.port());
    let site = Site::over(pool(proxy.port(), 1)).await;
    let mut token = site.login().await.expect(200).refresh();
    let breaks: [(&str, &dyn Fn()); 4] = [
        ("a restart", &|| postgres.restart()),
        ("a reply", &|| proxy.cut_next_reply()),
        ("connections", &|| {
            proxy.refuse();
            proxy.pass();
        }),
        ("the reply after that", &|| proxy.cut_next_reply()),
    ];
    for (generation, (what, break_it)) in (1..).zip(breaks) {
        site.clock.advance(HOLD);
        break_it();
        let answer = site.refresh(&token).await.expect(200);
        assert_eq!(answer.claims()["gen"], generation, "{what}");
        token = answer.refresh();
    }
    proxy.cut_reply_to("COMMIT");
    site.login().await.expect(200);
    assert_eq!(site.store.list(&SubjectDigest::of("ada")).await.unwrap().len(), 2);
    assert_eq!(proxy.cuts(), 3);
}

/// The network has dropped all connections of the pool without a word, and takes new ones: the second try of the first
/// request finds one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_dead_and_nobody_says_so() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let pool = pool(postgres.port(), 16);
    let site = Site::over(pool.clone()).await;
    let token = site.login().await.refresh();
    site.clock.advance(HOLD);
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(pool.get().await.unwrap());
    }
    drop(idle);
    let of_pool = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tower-jwt-auth'";
    let processes = postgres.psql(of_pool);
    assert!(processes.lines().count() >= 8, "{processes}");
    for process in processes.lines() {
        // The server's processes are those of this user, or this is the superuser.
        assert!(Command::new("kill").args(["-STOP", process]).status().unwrap().success());
    }
    // As after a night: none was of use lately.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let first = site.refresh(&token).await;
    assert!(start.elapsed() < ANSWERS_WITHIN, "{:?}", start.elapsed());
    assert_eq!(first.expect(200).claims()["gen"], 1);
    site.refresh_within(SERVES_WITHIN, &token).await;
    site.login().await.expect(200);
}
