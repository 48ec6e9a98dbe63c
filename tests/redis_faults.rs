//! [`RedisStore`] while something fails: a reply is lost, an operation happens after all, and a service whose Redis is
//! away answers 503 in time, revokes nothing, and serves again as soon as Redis does.

#![cfg(all(feature = "redis", feature = "moka"))]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tower::ServiceExt;
use tower_jwt_auth::test_util::{fresh_attempt, new_session, present};
use tower_jwt_auth::{
    AuthService, Creation, NewSession, ReconnectingConnection, RedisStore, RefreshKeys, Retry, SessionPolicy,
    SessionStore, StoreErrorKind, SubjectDigest,
};

use engines::proxy::Proxy;
use engines::redis::Redis;
use support::service::{Accounts, Answer, Ask, HOLD, OWN, REFRESH_SECRET, User, config, credentials, post};
use support::tokens::base64url;
use support::{MINUTE, ManualClock};

/// How long an answer may take, and how long an outage that is over may be felt.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const SERVES_WITHIN: Duration = Duration::from_secs(1);

fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

fn connection(port: u16) -> ReconnectingConnection {
    ReconnectingConnection::open(&format!("redis://127.0.0.1:{port}/")).unwrap()
}

/// A store that has its connection, and whose scripts the server knows.
async fn ready(connection: ReconnectingConnection, timeout: Duration) -> RedisStore {
    let store = RedisStore::builder(connection).prefix("app").timeout(timeout).build().unwrap();
    store.check().await.unwrap();
    let session = new_session("nobody", store.now().await.unwrap());
    let calls = Calls::on(&session);
    calls.create(&store).await.unwrap();
    calls.rotate(&store).await.unwrap();
    calls.get(&store).await;
    calls.revoke(&store).await.unwrap();
    calls.revoke_subject(&store).await.unwrap();
    store
}

type Done<T> = Result<T, StoreErrorKind>;

/// Calls on one session. Each is the same whenever it is made: one call, sent again.
struct Calls {
    session: NewSession,
    subject: SubjectDigest,
    presented: tower_jwt_auth::Presented,
    attempt: tower_jwt_auth::Attempt,
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
    async fn create(&self, store: &RedisStore) -> Done<Option<usize>> {
        let creation = store.create(&self.session, &strict().with_sessions_per_subject(2)).await;
        creation.map_err(|error| error.kind()).map(|creation| match creation {
            Creation::Created { evicted, .. } => Some(evicted.len()),
            _ => None,
        })
    }

    /// The generation of the token that it gives.
    async fn rotate(&self, store: &RedisStore) -> Done<(&'static str, Option<u32>)> {
        let rotation = store.rotate(&self.presented, &strict()).await.map_err(|error| error.kind())?;
        Ok((rotation.decision.as_str(), rotation.decision.state().map(|state| state.generation)))
    }

    async fn revoke(&self, store: &RedisStore) -> Done<bool> {
        let id = &self.session.session_id;
        store.revoke(&self.subject, id, None, &self.attempt).await.map_err(|error| error.kind())
    }

    async fn revoke_subject(&self, store: &RedisStore) -> Done<u64> {
        let ended = store.revoke_subject(&self.subject, None, &strict(), &self.attempt).await;
        ended.map_err(|error| error.kind())
    }

    async fn get(&self, store: &RedisStore) -> Option<u32> {
        let record = store.get(&self.subject, &self.session.session_id).await.unwrap();
        record.map(|record| record.state.generation)
    }

    async fn count(&self, store: &RedisStore) -> usize {
        store.list(&self.subject).await.unwrap().len()
    }
}

/// Redis has done it, and its reply is lost with the connection.
#[tokio::test]
async fn a_reply_is_lost() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let store = ready(connection(proxy.port()), MINUTE).await;
    let other = ready(connection(redis.port()), MINUTE).await;
    let lost = StoreErrorKind::Unavailable;

    let calls = Calls::on(&new_session("ada", other.now().await.unwrap()));
    proxy.cut_next_reply();
    assert_eq!(calls.create(&store).await, Err(lost));
    assert_eq!(calls.get(&other).await, Some(0), "it was created");
    assert_eq!(calls.create(&store).await, Ok(Some(0)));
    assert_eq!(calls.count(&other).await, 1);

    proxy.cut_next_reply();
    assert_eq!(calls.rotate(&store).await, Err(lost));
    assert_eq!(calls.get(&other).await, Some(1), "it was rotated");
    assert_eq!(calls.rotate(&store).await, Ok(("reissued", Some(1))));
    assert_eq!(calls.get(&other).await, Some(1));

    let logout = Calls::on(&new_session("ada", other.now().await.unwrap()));
    logout.create(&other).await.unwrap();
    proxy.cut_next_reply();
    assert_eq!(logout.revoke(&store).await, Err(lost));
    assert_eq!(logout.get(&other).await, None, "it was ended");
    assert_eq!(logout.revoke(&store).await, Ok(true));
    assert_eq!(logout.create(&store).await, Ok(None), "a late copy of the login");

    // Not the reply to the question for the time before it, which names no subject.
    proxy.cut_reply_to(&base64url(calls.subject.as_bytes()));
    assert_eq!(calls.revoke_subject(&store).await, Err(lost));
    assert_eq!(calls.count(&other).await, 0, "all were ended");
    // The next millisecond: an end that failed does not wait for it.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let later = Calls::on(&new_session("ada", other.now().await.unwrap()));
    assert_eq!(later.create(&other).await, Ok(Some(0)));
    assert_eq!(calls.revoke_subject(&store).await, Ok(1));
    assert_eq!(calls.count(&other).await, 1, "the login after the end");
    assert_eq!(proxy.cuts(), 4);
}

/// The server stands still for longer than anybody waits, and then does what it was asked: on the connection that the
/// store keeps, or on one that it has given up.
#[tokio::test]
async fn an_operation_that_timed_out_happens_after_all() {
    if !engines::has_redis() {
        return;
    }
    let short = Duration::from_millis(200);
    for gives_up in [false, true] {
        let redis = Redis::start();
        let connection = connection(redis.port()).with_timeout(if gives_up { short } else { MINUTE });
        let store = ready(connection, if gives_up { MINUTE } else { short }).await;
        let patient = ready(self::connection(redis.port()).with_timeout(MINUTE), MINUTE).await;
        let now = store.now().await.unwrap();
        let (calls, logout) = (Calls::on(&new_session("ada", now)), Calls::on(&new_session("ada", now)));
        let (create, all) = (Calls::on(&new_session("bob", now)), Calls::on(&new_session("eve", now)));
        for calls in [&calls, &logout, &all] {
            assert_eq!(calls.create(&store).await, Ok(Some(0)));
        }
        redis.pause();
        let late = Err(StoreErrorKind::Timeout);
        assert_eq!(create.create(&store).await, late.map(|()| None));
        assert_eq!(calls.rotate(&store).await, late.map(|()| ("", None)));
        assert_eq!(logout.revoke(&store).await, late.map(|()| true));
        assert_eq!(all.revoke_subject(&store).await, late.map(|()| 1));
        redis.resume();

        assert_eq!(create.create(&patient).await, Ok(Some(0)), "{gives_up}");
        let (_, generation) = calls.rotate(&patient).await.unwrap();
        assert_eq!(generation, Some(1), "{gives_up}");
        assert_eq!(logout.revoke(&patient).await, Ok(true), "{gives_up}");
        assert_eq!(all.revoke_subject(&patient).await, Ok(1), "{gives_up}");
        // What was sent before has been done, at the latest, when the connection answers again.
        tokio::time::sleep(short).await;
        store.now().await.unwrap();
        assert_eq!(calls.rotate(&store).await, Ok(("reissued", Some(1))), "{gives_up}");
        assert_eq!((create.count(&store).await, calls.count(&store).await), (1, 1), "{gives_up}");
        assert_eq!((logout.get(&store).await, all.get(&store).await), (None, None), "{gives_up}");
    }
}

/// The other end is gone without a word: nothing ever comes over the old connection, while new ones work.
#[tokio::test]
async fn a_connection_that_stays_silent_is_replaced() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let silent = Proxy::start(redis.port());
    let port = Arc::new(AtomicU16::new(silent.port()));
    let known = Arc::clone(&port);
    let connection = ReconnectingConnection::new(move || {
        let url = format!("redis://127.0.0.1:{}/", known.load(Ordering::SeqCst));
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        async move { redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await }
    });
    let store = ready(connection.with_timeout(Duration::from_millis(200)), MINUTE).await;
    silent.stall();
    port.store(redis.port(), Ordering::SeqCst);
    assert_eq!(store.now().await.unwrap_err().kind(), StoreErrorKind::Timeout);
    store.now().await.unwrap();
}

/// A service over a store, and the clock of both.
struct Site {
    auth: AuthService<User>,
    store: RedisStore,
    clock: ManualClock,
}

impl Site {
    fn over(port: u16) -> Self {
        let clock = ManualClock::new();
        let store = RedisStore::builder(connection(port)).prefix("app").clock(clock.clone()).build().unwrap();
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

    /// A login and refreshes during an outage, at once.
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

/// Breaks Redis behind a service and mends it: refusals in time, nothing revoked, and served at once after that.
async fn outage(port: u16, fail: impl Fn(), mend: impl Fn()) {
    let site = Site::over(port);
    // The second time over a connection that was made anew.
    for requests in [2, 1] {
        let (login, bystander) = (site.login().await, site.login().await);
        let token = login.refresh();
        site.clock.advance(HOLD);
        fail();
        for _ in 0..requests {
            site.assert_unavailable(&token).await;
        }
        mend();
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
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::durable();
    outage(redis.port(), || redis.kill(), || redis.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stands_still() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    outage(redis.port(), || redis.pause(), || redis.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    outage(proxy.port(), || proxy.refuse(), || proxy.pass()).await;
}

/// Nothing comes through, and nobody says so. Afterwards what was held back arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_half_open() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    outage(proxy.port(), || proxy.stall(), || proxy.pass()).await;
}

/// The same, but afterwards the old connections are gone, with all that was sent over them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_half_open_and_end() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let mend = || {
        proxy.refuse();
        proxy.pass();
    };
    outage(proxy.port(), || proxy.stall(), mend).await;
}

/// As after a failover that left the old primary alive. Its connections stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_becomes_a_replica() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let follow = |host: &str, port: &str| drop(redis.command(&["REPLICAOF", host, port]));
    outage(redis.port(), || follow("127.0.0.1", "1"), || follow("NO", "ONE")).await;
}

const FULL: &[&str] = &["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"];

/// More than `FULL` by one key.
fn fill(redis: &Redis) {
    redis.command(&["SETRANGE", "junk", "4000000", "."]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_is_full() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start_with(FULL);
    outage(redis.port(), || fill(&redis), || drop(redis.command(&["DEL", "junk"]))).await;
}

/// What ends sessions frees memory, and so is not refused.
#[tokio::test]
async fn sessions_end_while_the_memory_is_full() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start_with(FULL);
    let site = Site::over(redis.port());
    let [logout, first, other] = [site.login().await, site.login().await, site.login().await];
    site.clock.advance(HOLD);
    site.refresh(&first.refresh()).await.expect(200);
    site.clock.advance(MINUTE);
    fill(&redis);
    site.refresh(&logout.refresh()).await.refused(503, "unavailable");
    site.send(post("/auth/logout").cookie(&logout.refresh())).await.expect(204);
    assert_eq!(site.generation(&logout).await, None);
    let [late, last] = [site.generation(&first).await, site.generation(&other).await];
    assert_eq!((late, last), (Some(1), Some(0)));
    // A stolen token is refused, and its session ended.
    site.refresh(&first.refresh()).await.refused(401, "invalid_grant");
    assert_eq!(site.generation(&first).await, None);
    site.send(post("/auth/logout/all").cookie(&other.refresh())).await.expect(204);
    assert_eq!(site.generation(&other).await, None);
}

/// Between two requests the server is new, or one reply is lost: no client sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_repeats_is_not_seen() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::durable();
    let proxy = Proxy::start(redis.port());
    let site = Site::over(proxy.port());
    let mut token = site.login().await.expect(200).refresh();
    let breaks: [(&str, &dyn Fn()); 4] = [
        ("a restart", &|| redis.restart()),
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
    assert_eq!(proxy.cuts(), 2);
}
