//! Several nodes over one store, and the store's servers fail under load: killed, stopped, cut off between request and
//! reply, replaced by a replica that lacks the last writes. What the clients saw is then held against the three promises
//! of `support/history.rs`.

#![cfg(all(feature = "redis", feature = "postgres"))]
// As in `support/mod.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/history.rs"]
mod history;
#[path = "support/load.rs"]
mod load;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, Client};
use tokio::runtime::Runtime;
use tower_jwt_auth::{PostgresStore, ReconnectingConnection, RedisStore, SessionId, SessionStore};

use engines::postgres::Postgres;
use engines::proxy::Proxy;
use engines::redis::{Redis, Replicated};
use engines::wait_until;
use history::{Event, History, Login, Refresh, Report, What};
use load::{Load, SHORTER, TIMEOUT};
use support::unique;

const NODES: usize = 3;
const LENGTH: Duration = Duration::from_secs(5);
/// What is left to a machine on which less happens in that time.
const LONGEST: Duration = Duration::from_secs(60);
/// What every run must have seen.
const COMMON: [&str; 6] = [
    "login",
    "refresh granted by row 4",
    "refresh granted by row 5",
    "refresh refused by row 0",
    "logout",
    "end of all",
];

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Replies that are cut, a server that is killed, one that is stopped: again and again, until enough has happened. Says
/// how often.
fn faults(
    proxies: &[Proxy],
    restart: impl Fn(),
    pause: impl Fn(),
    resume: impl Fn(),
    is_enough: impl Fn() -> bool,
) -> String {
    let (begin, mut kills, mut pauses) = (Instant::now(), 0, 0);
    sleep(millis(500));
    while begin.elapsed() < LENGTH || !is_enough() && begin.elapsed() < LONGEST {
        for proxy in proxies.iter().cycle().take(3 * proxies.len()) {
            proxy.cut_next_reply();
            sleep(millis(40));
        }
        restart();
        kills += 1;
        sleep(millis(400));
        pause();
        sleep(2 * TIMEOUT);
        resume();
        pauses += 1;
        sleep(millis(300));
    }
    let cuts: usize = proxies.iter().map(Proxy::cuts).sum();
    assert!(cuts > 0, "no reply was cut");
    format!("{kills} kills, {pauses} pauses, {cuts} cuts")
}

/// Nothing is wrong, and enough happened.
#[track_caller]
fn assert_kept(name: &str, faults: &str, report: &Report, expected: &[&str]) {
    println!("{name}: {faults}\n{report}");
    assert!(report.violations.is_empty(), "{name}: {:#?}", report.violations);
    for kind in COMMON.iter().chain(expected) {
        assert!(report.counts.contains_key(*kind), "{name}: no {kind}");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn redis_keeps_its_promises_through_crashes_and_cuts() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::durable();
    let proxies: Vec<_> = (0..NODES).map(|_| Proxy::start(redis.port())).collect();
    let stores = proxies.iter().map(|proxy| {
        let url = format!("redis://127.0.0.1:{}/", proxy.port());
        let connection = ReconnectingConnection::open(&url).unwrap().with_timeout(SHORTER);
        RedisStore::builder(connection).timeout(TIMEOUT).build().unwrap()
    });
    let load = Load::new(stores.collect(), 6);
    let expected = ["refresh failed", "login, evicting"];
    let is_enough = || load.has_seen(&COMMON) && load.has_seen(&expected);
    let (told, history) = load.run_during(&runtime(), || {
        faults(&proxies, || redis.restart(), || redis.pause(), || redis.resume(), is_enough)
    });
    assert_kept("Redis", &told, &history.check(), &expected);
}

#[test]
fn postgres_keeps_its_promises_through_crashes_and_cuts() {
    if !engines::has_postgres() {
        return;
    }
    let postgres = Postgres::start_fast();
    let proxies: Vec<_> = (0..NODES).map(|_| Proxy::start(postgres.port())).collect();
    let schema = format!("faults_{}", unique());
    let stores: Vec<_> = proxies
        .iter()
        .map(|proxy| {
            let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
            let pool = PostgresStore::open(&url).unwrap().pool().clone();
            PostgresStore::builder(pool).schema(&schema).timeout(TIMEOUT).build().unwrap()
        })
        .collect();
    let (load, runtime) = (Load::new(stores, 50), runtime());
    runtime.block_on(load.nodes[0].migrate()).unwrap();
    let expected = ["refresh failed"];
    let is_enough = || load.has_seen(&COMMON) && load.has_seen(&expected);
    let (told, history) = load.run_during(&runtime, || {
        faults(&proxies, || postgres.restart(), || postgres.pause(), || postgres.resume(), is_enough)
    });
    assert_kept("PostgreSQL", &told, &history.check(), &expected);
}

/// Connections go to whichever Redis is the primary.
fn follow(primary: &Arc<AtomicU16>) -> ReconnectingConnection {
    let primary = Arc::clone(primary);
    let connection = ReconnectingConnection::new(move || {
        let url = format!("redis://127.0.0.1:{}/", primary.load(Ordering::SeqCst));
        async move {
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
        }
    });
    connection.with_timeout(SHORTER)
}

/// Makes one Redis the replica of another, through a network that can be stalled.
fn replicate(from: &Redis, to: &Redis) -> Proxy {
    let proxy = Proxy::start(from.port());
    to.command(&["REPLICAOF", "127.0.0.1", &proxy.port().to_string()]);
    wait_until("the replica follows", || {
        to.command(&["INFO", "replication"]).contains("master_link_status:up")
    });
    proxy
}

/// The replica falls behind, the primary dies, and the replica takes its place. Gives from when on writes were lost.
fn lose_writes<S: SessionStore>(
    load: &Load<S>,
    proxy: &Proxy,
    from: &Redis,
    to: &Redis,
    primary: &AtomicU16,
) -> (u64, u64) {
    let offset = |redis: &Redis, field: &str| -> u64 {
        let info = redis.command(&["INFO", "replication"]);
        info.lines().find_map(|line| line.strip_prefix(field)?.parse().ok()).unwrap_or(0)
    };
    let begin = load.moment();
    let written = offset(from, "master_repl_offset:");
    wait_until("the replica catches up", || offset(to, "slave_repl_offset:") >= written);
    proxy.stall();
    sleep(millis(1400));
    from.kill();
    to.command(&["REPLICAOF", "NO", "ONE"]);
    primary.store(to.port(), Ordering::SeqCst);
    (begin, load.moment())
}

/// Two failovers, to the replica and back.
fn fail_over_twice(is_safe: bool) -> (String, History) {
    let replicated = Replicated::start();
    let primary = Arc::new(AtomicU16::new(replicated.primary().port()));
    let stores = (0..NODES).map(|_| {
        let mut store = RedisStore::builder(follow(&primary)).timeout(TIMEOUT);
        if is_safe {
            store = store.wait_for_replicas(1, TIMEOUT / 3);
        }
        store.build().unwrap()
    });
    let load = Load::new(stores.collect(), 50);
    let (lossy, mut history) = load.run_during(&runtime(), || {
        let (first, second) = (replicated.primary(), replicated.replica());
        let proxy = replicate(first, second);
        sleep(millis(1000));
        let there = lose_writes(&load, &proxy, first, second, &primary);
        drop(proxy);
        sleep(millis(600));
        first.restart();
        let proxy = replicate(second, first);
        sleep(millis(800));
        let back = lose_writes(&load, &proxy, second, first, &primary);
        sleep(millis(600));
        vec![there, back]
    });
    history.lossy = lossy;
    history.revocations_are_safe = is_safe;
    ("2 failovers".to_owned(), history)
}

#[test]
fn a_failover_of_redis_loses_no_more_than_is_said() {
    if !engines::has_redis() {
        return;
    }
    let (told, mut history) = fail_over_twice(false);
    assert_kept("Redis, failover", &told, &history.check(), &["refresh granted by row 3"]);
    // Without the excuse the same history is full of faults.
    history.lossy.clear();
    finds(&history, "a lost end of a session");
    finds(&history, "an honest client was refused");
}

#[test]
fn a_failover_of_redis_loses_no_end_that_replicas_confirmed() {
    if !engines::has_redis() {
        return;
    }
    let (told, history) = fail_over_twice(true);
    let report = history.check();
    let failed = ["refresh granted by row 3", "logout failed"];
    assert_kept("Redis, failover, waiting for a replica", &told, &report, &failed);
}

// ── the check itself ──

const fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

/// A call at the next two moments of a history.
fn add(history: &mut History, what: What) {
    let began = 10 * (history.events.len() as u64 + 1);
    history.events.push(Event { began, ended: began + 5, what });
}

fn login(history: &mut History, subject: usize, session: u8, outcome: Option<Login>) {
    let checked = 10 * (history.events.len() as u64 + 1) + 2;
    add(history, What::Login { subject, session: id(session), checked, outcome });
}

fn opened() -> Login {
    Login::Opened { evicted: Vec::new(), is_second_answer: false }
}

fn refresh(history: &mut History, session: u8, presented: u32, outcome: Refresh) {
    add(history, What::Refresh { session: id(session), presented, outcome: Some(outcome) });
}

fn granted(row: u8, generation: u32) -> Refresh {
    Refresh::Granted { row, generation }
}

/// A session of subject 0, once rotated.
fn begun() -> History {
    let mut history = History { cap: 50, ..History::default() };
    login(&mut history, 0, 1, Some(opened()));
    refresh(&mut history, 1, 0, granted(5, 1));
    history
}

#[track_caller]
fn finds(history: &History, what: &str) {
    let report = history.check();
    assert!(report.violations.iter().any(|found| found.contains(what)), "{what}: {report}");
}

#[track_caller]
fn finds_nothing(history: &History, exempt: usize) {
    let report = history.check();
    assert!(report.violations.is_empty() && report.exempt.values().sum::<usize>() == exempt, "{report}");
}

#[test]
fn the_check_finds_lost_revocations() {
    let ends: [fn() -> What; 3] = [
        || What::Logout { session: id(1), outcome: Some(true) },
        || What::EndAll { subject: 0, except: Some(id(2)), outcome: Some(1) },
        || What::Login {
            subject: 0,
            session: id(2),
            checked: 32,
            outcome: Some(Login::Opened { evicted: vec![id(1)], is_second_answer: false }),
        },
    ];
    for end in ends {
        let mut history = begun();
        add(&mut history, end());
        finds_nothing(&history, 0);
        refresh(&mut history, 1, 1, Refresh::Refused(0));
        finds_nothing(&history, 0);
        history.events.pop();
        refresh(&mut history, 1, 1, granted(5, 2));
        finds(&history, "a lost end");

        // A failover loses it, unless replicas had confirmed it.
        history.lossy = vec![(28, 38)];
        finds_nothing(&history, 1);
        history.lossy = vec![(36, 60)];
        finds(&history, "a lost end");
    }
    let mut history = begun();
    add(&mut history, ends[0]());
    refresh(&mut history, 1, 1, granted(4, 1));
    (history.lossy, history.revocations_are_safe) = (vec![(28, 38)], true);
    finds(&history, "a lost end");

    let spared: [What; 4] = [
        What::Logout { session: id(1), outcome: None },
        What::EndAll { subject: 0, except: None, outcome: None },
        What::EndAll { subject: 0, except: Some(id(1)), outcome: Some(1) },
        What::EndAll { subject: 1, except: None, outcome: Some(1) },
    ];
    for end in spared {
        let mut history = begun();
        add(&mut history, end);
        refresh(&mut history, 1, 1, granted(4, 1));
        finds_nothing(&history, 0);
    }
}

#[test]
fn the_check_finds_forks() {
    let mut history = begun();
    refresh(&mut history, 1, 0, granted(6, 1));
    refresh(&mut history, 1, 1, granted(5, 2));
    finds_nothing(&history, 0);
    let mut forked = begun();
    refresh(&mut forked, 1, 0, granted(5, 1));
    finds(&forked, "a fork");
    forked.lossy = vec![(18, 28)];
    finds_nothing(&forked, 1);

    refresh(&mut history, 1, 0, granted(6, 1));
    finds(&history, "back to an older token");
    let mut history = begun();
    refresh(&mut history, 1, 1, granted(5, 3));
    finds(&history, "a token of no successor");
}

#[test]
fn the_check_finds_what_comes_back() {
    let mut history = begun();
    add(&mut history, What::Logout { session: id(1), outcome: None });
    refresh(&mut history, 1, 1, Refresh::Refused(0));
    finds_nothing(&history, 0);
    refresh(&mut history, 1, 1, granted(4, 1));
    finds(&history, "refused, then granted");
    history.lossy = vec![(38, 48)];
    finds_nothing(&history, 1);
    let mut history = begun();
    history.events.remove(0);
    finds(&history, "no login made");
}

#[test]
fn the_check_finds_honest_clients_that_were_refused() {
    for row in [0, 1, 2, 7, 8] {
        let mut history = begun();
        refresh(&mut history, 1, 1, Refresh::Refused(row));
        finds(&history, "an honest client was refused");
        let mut ended = begun();
        add(&mut ended, What::EndAll { subject: 0, except: None, outcome: None });
        refresh(&mut ended, 1, 1, Refresh::Refused(row));
        if row == 0 { finds_nothing(&ended, 0) } else { finds(&ended, "an honest client was refused") }
    }
    // What ended others, or came before, explains nothing.
    let mut history = History { cap: 1, ..History::default() };
    add(&mut history, What::EndAll { subject: 0, except: None, outcome: Some(0) });
    login(&mut history, 0, 1, Some(opened()));
    add(&mut history, What::Logout { session: id(2), outcome: Some(true) });
    add(&mut history, What::EndAll { subject: 1, except: None, outcome: None });
    add(&mut history, What::EndAll { subject: 0, except: Some(id(1)), outcome: None });
    refresh(&mut history, 1, 0, Refresh::Refused(0));
    finds(&history, "an honest client was refused");
    history.lossy = vec![(18, 28)];
    finds_nothing(&history, 1);
    // A login that failed, or whose first answer was lost, may have evicted it; any other would have said so.
    history.lossy.clear();
    history.events.pop();
    let second_answer = Login::Opened { evicted: Vec::new(), is_second_answer: true };
    for (outcome, explains) in [(None, true), (Some(second_answer), true), (Some(opened()), false)] {
        let mut history = History { events: history.events.clone(), cap: 1, ..History::default() };
        login(&mut history, 0, 3, outcome);
        refresh(&mut history, 1, 0, Refresh::Refused(0));
        if explains {
            finds_nothing(&history, 0);
        } else {
            finds(&history, "an honest client was refused");
        }
        history.cap = 2;
        finds(&history, "an honest client was refused");
    }
}

#[test]
fn the_check_finds_logins_that_were_refused() {
    let mut history = begun();
    add(&mut history, What::EndAll { subject: 0, except: None, outcome: Some(1) });
    login(&mut history, 0, 2, Some(Login::Refused));
    finds(&history, "a login was refused");
    history.events[2].ended = 41;
    finds_nothing(&history, 0);
}
