//! [`RedisStore`] on a real server: the contract of every store, and what Redis brings of its own. Other kinds of
//! connections are in `redis_connections.rs`, outages in `redis_faults.rs`.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use tower_jwt_auth::test_util::{
    Bench, a_revocation_is_heard_of, created, fresh_attempt, new_session, present, revocation_contract,
};
use tower_jwt_auth::{
    ConfigErrorKind, Creation, NewSession, ReconnectingConnection, RedisStore, RedisStoreBuilder, Retry,
    RevocationKey, RevocationStore, SessionPolicy, SessionStore, StoreError, StoreErrorKind, SubjectDigest,
    Timestamp,
};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use engines::redis::Redis;
use support::tokens::base64url;
use support::{DAY, HOUR, MINUTE, ManualClock};

static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start);

async fn open() -> Option<Bench<RedisStore, ManualClock>> {
    engines::has_redis().then(|| {
        let clock = ManualClock::new();
        let prefix = format!("test-{}", support::unique());
        let store = builder(&REDIS.url()).prefix(prefix).clock(clock.clone()).build().unwrap();
        Bench { store, clock }
    })
}

tower_jwt_auth::store_contract!(open);

fn builder(url: &str) -> RedisStoreBuilder<ReconnectingConnection> {
    RedisStore::builder(ReconnectingConnection::open(url).unwrap()).prefix("app")
}

/// A node of its own that decides by the server's clock.
fn node(redis: &Redis) -> RedisStore {
    builder(&redis.url()).build().unwrap()
}

/// Rotates at once, and ends a session whose token comes again.
fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

fn digest(subject: &str) -> SubjectDigest {
    SubjectDigest::of(subject)
}

async fn login(store: &RedisStore, subject: &str, policy: &SessionPolicy) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, policy).await.unwrap());
    session
}

/// The name of the decision.
async fn rotate(store: &RedisStore, session: &NewSession, generation: u32) -> &'static str {
    store.rotate(&present(session, generation), &strict()).await.unwrap().decision.as_str()
}

async fn logout(store: &RedisStore, session: &NewSession) -> bool {
    let subject = digest(&session.subject);
    store.revoke(&subject, &session.session_id, None, &fresh_attempt()).await.unwrap()
}

async fn end_all(store: &RedisStore, subject: &str) -> u64 {
    store.revoke_subject(&digest(subject), None, &strict(), &fresh_attempt()).await.unwrap()
}

async fn is_alive(store: &RedisStore, session: &NewSession) -> bool {
    store.get(&digest(&session.subject), &session.session_id).await.unwrap().is_some()
}

fn key_of(subject: &str) -> String {
    format!("app:{}", base64url(digest(subject).as_bytes()))
}

/// Every key with its time to live in milliseconds.
fn lifetimes(redis: &Redis) -> BTreeMap<String, i64> {
    let keys = redis.command(&["KEYS", "*"]);
    keys.lines().map(|key| (key.to_owned(), redis.command(&["PTTL", key]).parse().unwrap())).collect()
}

#[track_caller]
fn assert_kept_for(redis: &Redis, subject: &str, expected: Duration) {
    assert_kept_between(redis, subject, expected, Duration::ZERO);
}

/// To the end of the hour.
#[track_caller]
fn assert_kept_for_session(redis: &Redis, subject: &str, expected: Duration) {
    assert_kept_between(redis, subject, expected, HOUR);
}

#[track_caller]
fn assert_kept_between(redis: &Redis, subject: &str, expected: Duration, more: Duration) {
    let lifetimes = lifetimes(redis);
    assert_eq!(lifetimes.keys().collect::<Vec<_>>(), [&key_of(subject)], "one key a subject");
    let left = Duration::from_millis(lifetimes[&key_of(subject)].try_into().unwrap());
    assert!(left <= expected + more && left + MINUTE / 2 > expected, "{left:?} instead of {expected:?}");
}

#[tokio::test]
async fn all_of_a_subject_is_one_hash_that_lives_as_long_as_it_must() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    let for_hours = |hours: u32| strict().with_idle_lifetime(hours * HOUR);
    let short = login(&store, "ada", &for_hours(1).with_absolute_lifetime(HOUR / 2)).await;
    assert_eq!(redis.command(&["TYPE", &key_of("ada")]), "hash");
    assert_kept_for_session(&redis, "ada", HOUR / 2 + DAY);
    let session = login(&store, "ada", &for_hours(2)).await;
    assert_kept_for_session(&redis, "ada", 2 * HOUR + DAY);
    store.rotate(&present(&session, 0), &for_hours(3)).await.unwrap();
    assert_kept_for_session(&redis, "ada", 3 * HOUR + DAY);
    let other = login(&store, "ada", &for_hours(1)).await;
    assert_kept_for_session(&redis, "ada", 3 * HOUR + DAY);

    assert!(logout(&store, &session).await && logout(&store, &other).await);
    assert_kept_for_session(&redis, "ada", 3 * HOUR + DAY);
    assert!(logout(&store, &short).await);
    assert_kept_for(&redis, "ada", MINUTE);

    end_all(&store, "ada").await;
    assert_kept_for(&redis, "ada", strict().revocation_memory());
    let last = login(&store, "ada", &for_hours(1)).await;
    assert!(logout(&store, &last).await);
    assert_kept_for(&redis, "ada", strict().revocation_memory());
}

#[tokio::test]
async fn nothing_is_kept_for_ever() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    let check = |what: &str, keys: usize| {
        let lifetimes = lifetimes(&redis);
        assert_eq!(lifetimes.len(), keys, "{what}: {lifetimes:?}");
        assert!(lifetimes.values().all(|left| *left > 0), "{what}: {lifetimes:?}");
    };
    let stranger = new_session("nobody", store.now().await.unwrap());
    assert_eq!(rotate(&store, &stranger, 0).await, "unknown");
    assert!(!logout(&store, &stranger).await && !is_alive(&store, &stranger).await);
    store.mark_used(&digest("nobody"), &stranger.session_id, 0, 0).await.unwrap();
    check("reading", 0);
    assert_eq!(end_all(&store, "nobody").await, 0);
    check("the end of no session", 1);

    let ada = login(&store, "ada", &strict()).await;
    check("a login", 2);
    assert_eq!(rotate(&store, &ada, 0).await, "rotated");
    store.mark_used(&digest("ada"), &ada.session_id, 1, 0).await.unwrap();
    assert_eq!(rotate(&store, &ada, 3).await, "recovered");
    check("rotations", 2);
    login(&store, "ada", &strict().with_sessions_per_subject(1)).await;
    check("an eviction", 2);

    for (name, generations, reported) in [("late", [0, 0], "superseded"), ("reused", [5, 0], "reused")] {
        let session = login(&store, name, &strict()).await;
        rotate(&store, &session, generations[0]).await;
        assert_eq!(rotate(&store, &session, generations[1]).await, reported);
        check(name, 3);
        redis.command(&["DEL", &key_of(name)]);
    }
    let bob = login(&store, "bob", &strict()).await;
    assert!(logout(&store, &bob).await);
    check("a logout", 3);
    login(&store, "eve", &strict()).await;
    assert_eq!(end_all(&store, "eve").await, 1);
    check("the end of all sessions", 4);
}

#[tokio::test]
async fn scripts_that_the_server_forgot() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    for replicas in [None, Some(0)] {
        let builder = builder(&redis.url());
        let store = match replicas {
            None => builder,
            Some(count) => builder.wait_for_replicas(count, MINUTE),
        };
        let store = store.build().unwrap();
        let flush = || redis.command(&["SCRIPT", "FLUSH"]);
        flush();
        let session = new_session("ada", store.now().await.unwrap());
        flush();
        created(store.create(&session, &strict()).await.unwrap());
        flush();
        assert_eq!(rotate(&store, &session, 0).await, "rotated");
        flush();
        store.mark_used(&digest("ada"), &session.session_id, 1, 0).await.unwrap();
        flush();
        assert!(is_alive(&store, &session).await);
        flush();
        assert!(logout(&store, &session).await);
        flush();
        assert_eq!(rotate(&store, &session, 1).await, "unknown");
        flush();
        assert_eq!(end_all(&store, "ada").await, 0);
    }
}

#[tokio::test]
async fn a_durable_server_keeps_everything() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::durable();
    let store = node(&redis);
    let before = store.now().await.unwrap();
    let [ended, kept] = [login(&store, "ada", &strict()).await, login(&store, "ada", &strict()).await];
    assert!(logout(&store, &ended).await);
    assert_eq!(rotate(&store, &kept, 0).await, "rotated");
    assert_eq!(end_all(&store, "bob").await, 0);
    let sessions = store.list(&digest("ada")).await.unwrap();
    redis.restart();

    let store = node(&redis);
    assert_eq!(store.list(&digest("ada")).await.unwrap(), sessions);
    assert_eq!(rotate(&store, &ended, 0).await, "unknown");
    let late = store.create(&new_session("bob", before), &strict()).await.unwrap();
    assert_eq!(late, Creation::RevokedMeanwhile);
    assert_eq!(lifetimes(&redis).values().filter(|left| **left > 0).count(), 2);
    assert_eq!(rotate(&store, &kept, 1).await, "rotated");
}

/// What was written since the last snapshot is lost. A token of a lost rotation is good; what else is lost is as the
/// documentation says.
#[tokio::test]
async fn a_server_without_durability_crashes() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    let [rotated, ended] = [login(&store, "ada", &strict()).await, login(&store, "ada", &strict()).await];
    assert_eq!(rotate(&store, &rotated, 0).await, "rotated");
    redis.command(&["SAVE"]);
    for generation in 1..4 {
        assert_eq!(rotate(&store, &rotated, generation).await, "rotated");
    }
    assert!(logout(&store, &ended).await);
    let lost = login(&store, "ada", &strict()).await;
    redis.restart();

    let store = node(&redis);
    let rotation = store.rotate(&present(&rotated, 4), &strict()).await.unwrap();
    assert_eq!(rotation.decision.as_str(), "recovered");
    assert_eq!(rotation.decision.state().unwrap().generation, 4);
    assert_eq!(rotate(&store, &rotated, 4).await, "rotated");
    assert!(is_alive(&store, &ended).await, "a revocation that is lost brings the session back");
    assert_eq!(rotate(&store, &lost, 0).await, "unknown");
}

/// Keeps the names, targets and texts of events of the thread.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = format!("{} {} {}", metadata.level(), metadata.target(), metadata.name());
        event.record(&mut |field: &tracing::field::Field, value: &dyn Debug| {
            if field.name() == "policy" {
                write!(text, " {value:?}").unwrap();
            }
        });
        self.0.lock().unwrap().push(text);
    }
}

impl Events {
    fn of_store(&self) -> Vec<String> {
        let mut seen = std::mem::take(&mut *self.0.lock().unwrap());
        seen.retain(|text| text.contains("tower_jwt_auth::store"));
        seen
    }
}

#[tokio::test]
async fn a_server_that_may_drop_sessions_is_warned_of() {
    if !engines::has_redis() {
        return;
    }
    let events = Events::default();
    support::events::on_every_thread();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(events.clone()));
    let warning = "WARN tower_jwt_auth::store eviction_policy \"allkeys-lru\"";
    let redis = Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    node(&redis).check().await.unwrap();
    assert_eq!(events.of_store(), [warning]);

    // By itself, once, after the first operation.
    let store = node(&redis);
    let mut seen = Vec::new();
    let deadline = tokio::time::Instant::now() + MINUTE;
    while seen.is_empty() && tokio::time::Instant::now() < deadline {
        store.now().await.unwrap();
        seen = events.of_store();
    }
    assert_eq!(seen, [warning]);
    login(&store, "ada", &strict()).await;
    assert_eq!(events.of_store(), [""; 0]);

    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    node(&redis).check().await.unwrap();
    assert_eq!(events.of_store(), [""; 0]);
}

/// All that an account must be allowed. `check` needs more; that it may not ask is no error of the operations.
#[tokio::test]
async fn an_account_that_may_do_nothing_else() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let commands = "+evalsha +script|load +time +hget +hset +hdel +hgetall +hkeys +pexpire +get +set +pttl";
    let user = ["ACL", "SETUSER", "app", "on", ">a-password", "~app:*"];
    redis.command(&user.into_iter().chain(commands.split(' ')).collect::<Vec<_>>());
    let url = redis.url().replace("//", "//app:a-password@");
    let store = builder(&url).build().unwrap();
    let session = login(&store, "ada", &strict()).await;
    assert_eq!(rotate(&store, &session, 0).await, "rotated");
    store.mark_used(&digest("ada"), &session.session_id, 1, 0).await.unwrap();
    assert_eq!(store.list(&digest("ada")).await.unwrap().len(), 1);
    assert_eq!(store.check().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(logout(&store, &session).await);
    assert_eq!(end_all(&store, "ada").await, 0);
    let (key, time) = (RevocationKey::token("issuer", "1"), ManualClock::START);
    store.revoke_issued_before(&key, time, HOUR).await.unwrap();
    assert_eq!(store.not_before(&key).await.unwrap(), Some(time));

    let elsewhere = builder(&url).prefix("other").build().unwrap();
    assert_eq!(elsewhere.now().await.unwrap_err().kind(), StoreErrorKind::Unavailable, "another's keys");
}

#[tokio::test]
async fn two_prefixes_or_databases_do_not_see_each_other() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    let url = redis.url();
    let another_database = format!("{url}3");
    for (url, prefix) in [(&url, "app:app"), (&url, "a"), (&url, "App"), (&another_database, "app")] {
        let other = builder(url).prefix(prefix).build().unwrap();
        let session = login(&store, "ada", &strict()).await;
        assert!(!is_alive(&other, &session).await && !logout(&other, &session).await);
        assert_eq!(rotate(&other, &session, 0).await, "unknown");
        assert_eq!(end_all(&other, "ada").await, 0);
        assert!(is_alive(&store, &session).await, "{url} {prefix}");
        login(&store, "ada", &strict()).await;
    }
}

#[test]
fn a_prefix_of_another_form_is_refused() {
    if !engines::has_redis() {
        return;
    }
    let build = |prefix: &str| builder("redis://127.0.0.1:1").prefix(prefix).build();
    let [longest, too_long] = ["p".repeat(64), "p".repeat(65)];
    for prefix in ["", "a b", "a{b}", "a*", "é", "a\n", "a\0", "a/b", &too_long] {
        assert_eq!(build(prefix).unwrap_err().kind(), ConfigErrorKind::Store, "{prefix:?}");
    }
    for prefix in ["a", "Az-09_.:", &longest] {
        assert!(build(prefix).is_ok(), "{prefix:?}");
    }
    for url in ["", "127.0.0.1", "http://127.0.0.1", "redis://:a-password@"] {
        let error = RedisStore::open(url).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Store, "{url:?}");
        assert!(!format!("{error} {error:?}").contains("a-password"));
    }
}

/// The error and all behind it, as text.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    if let Some(source) = error.source() {
        text += &chain(source);
    }
    text
}

#[tokio::test]
async fn no_password_is_printed() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start_with(&["--requirepass", "the-right-word"]);
    let at = |address: &str, password: &str| format!("redis://default:{password}@{address}/0");
    let address = format!("127.0.0.1:{}", redis.port());
    for (name, url, works) in [
        ("right", at(&address, "the-right-word"), true),
        ("wrong", at(&address, "the-wrong-word"), false),
        ("none", redis.url(), false),
        ("unreachable", at("127.0.0.1:1", "the-right-word"), false),
        ("no such host", at("redis.invalid", "the-right-word"), false),
    ] {
        let builder = builder(&url).timeout(Duration::from_millis(200));
        let mut printed = format!("{builder:?} {:?}", ReconnectingConnection::open(&url).unwrap());
        let store = builder.build().unwrap();
        write!(printed, "{store:?} {store:#?}").unwrap();
        let answer = store.now().await;
        assert_eq!(answer.is_ok(), works, "{name}");
        if let Err(error) = answer {
            printed += &chain(&error);
            assert!(matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{name}");
        }
        assert!(
            !printed.contains("the-right-word") && !printed.contains("the-wrong-word"),
            "{name}: {printed}"
        );
    }
}

/// Sends bytes of any kind.
struct Raw(MultiplexedConnection);

impl Raw {
    async fn connect(redis: &Redis) -> Self {
        Self(redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap())
    }

    async fn send<T: redis::FromRedisValue>(&mut self, name: &str, words: &[&[u8]]) -> T {
        redis::cmd(name).arg(words).query_async(&mut self.0).await.unwrap()
    }
}

fn kind<T>(answer: Result<T, StoreError>) -> Option<StoreErrorKind> {
    answer.err().map(|error| error.kind())
}

/// How each operation on a session fails.
async fn all_operations(
    store: &RedisStore,
    session: &NewSession,
) -> [(&'static str, Option<StoreErrorKind>); 7] {
    let (subject, id, policy) = (digest(&session.subject), &session.session_id, strict());
    let sibling = new_session(&session.subject, store.now().await.unwrap());
    [
        ("list", kind(store.list(&subject).await)),
        ("get", kind(store.get(&subject, id).await)),
        ("rotate", kind(store.rotate(&present(session, 0), &policy).await)),
        ("create again", kind(store.create(session, &policy).await)),
        ("create", kind(store.create(&sibling, &policy).await)),
        ("mark_used", kind(store.mark_used(&subject, id, 0, 0).await)),
        ("revoke", kind(store.revoke(&subject, id, None, &fresh_attempt()).await)),
    ]
}

const CORRUPT: Option<StoreErrorKind> = Some(StoreErrorKind::Corrupt);

/// The state and what does not change: what scripts look into.
const READ_BY_SCRIPTS: usize = 65 + 48;

#[tokio::test]
async fn what_other_software_wrote_is_an_error_and_stays() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let (store, mut raw) = (node(&redis), Raw::connect(&redis).await);
    let session = login(&store, "ada", &strict()).await;
    let (key, field) = (key_of("ada"), [&b"s"[..], session.session_id.as_bytes()].concat());
    let good: Vec<u8> = raw.send("HGET", &[key.as_bytes(), &field]).await;
    let another_version = [&[2], &good[1..]].concat();

    for bad in [&b""[..], b"garbage", &good[..1], &good[..READ_BY_SCRIPTS - 1], &another_version] {
        let _: i64 = raw.send("HSET", &[key.as_bytes(), &field, bad]).await;
        let before: Vec<u8> = raw.send("DUMP", &[key.as_bytes()]).await;
        for (operation, kind) in all_operations(&store, &session).await {
            assert_eq!(kind, CORRUPT, "{operation} over {bad:?}");
        }
        assert_eq!(raw.send::<Vec<u8>>("DUMP", &[key.as_bytes()]).await, before, "{bad:?}");
        // To end all is always possible.
        assert_eq!(end_all(&store, "ada").await, 0, "nothing that was a session");
        assert_eq!(redis.command(&["HEXISTS", &key, "m"]), "1");
        assert_eq!(redis.command(&["HLEN", &key]), "1", "{bad:?}");
    }
    let another_subject = String::from_utf8_lossy(&good).contains("\"ada\"").then(|| {
        let at = good.windows(5).position(|part| part == b"\"ada\"").unwrap();
        [&good[..at], b"\"bob\"", &good[at + 5..]].concat()
    });
    let cuts = (READ_BY_SCRIPTS..good.len()).map(|end| good[..end].to_vec());
    let too_long = [&good[..], b"}"].concat();
    for bad in cuts.chain([too_long]).chain(another_subject) {
        let _: i64 = raw.send("HSET", &[key.as_bytes(), &field, &bad]).await;
        for (operation, kind) in &all_operations(&store, &session).await[..4] {
            assert_eq!(*kind, CORRUPT, "{operation} over {bad:?}");
        }
        let _: i64 = raw.send("DEL", &[key.as_bytes()]).await;
    }

    for command in [&["SET", &key, "text"][..], &["RPUSH", &key, "a"], &["SADD", &key, "a"]] {
        redis.command(&["DEL", &key]);
        redis.command(command);
        let before: Vec<u8> = raw.send("DUMP", &[key.as_bytes()]).await;
        for (operation, kind) in all_operations(&store, &session).await {
            assert_eq!(kind, CORRUPT, "{operation} after {command:?}");
        }
        assert_eq!(raw.send::<Vec<u8>>("DUMP", &[key.as_bytes()]).await, before, "{command:?}");
    }
}

/// A field that cannot be read keeps no other session alive, and no operation ends half-way.
#[tokio::test]
async fn sessions_end_beside_what_other_software_wrote() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    let key = key_of("ada");
    login(&store, "ada", &strict()).await;
    login(&store, "ada", &strict()).await;
    redis.command(&["HSET", &key, "s0123456789abcdef", "garbage"]);
    assert_eq!(end_all(&store, "ada").await, 2);
    assert_eq!(store.list(&digest("ada")).await.unwrap(), []);

    let last = login(&store, "ada", &strict()).await;
    redis.command(&["HSET", &key, "m", "garbage"]);
    assert!(logout(&store, &last).await);
    assert!(!is_alive(&store, &last).await && lifetimes(&redis)[&key] > 0);
}

/// Nobody sets the clock. Two nodes, one of which ends all sessions while the other logs in.
#[tokio::test]
async fn the_clock_of_the_server_decides() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let (store, other) = (node(&redis), node(&redis));
    let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = store.now().await.unwrap().as_unix_millis();
    assert!(now.abs_diff(i64::try_from(system).unwrap()) < 60_000);
    let mut live = 0;
    for round in 0..200 {
        let under_way = new_session("ada", other.now().await.unwrap());
        assert_eq!(end_all(&store, "ada").await, live, "{round}");
        login(&other, "ada", &strict()).await;
        live = 1;
        let late = other.create(&under_way, &strict()).await.unwrap();
        assert_eq!(late, Creation::RevokedMeanwhile, "{round}");
    }
}

#[tokio::test]
async fn a_thousand_sessions() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let (store, policy) = (node(&redis), strict().with_sessions_per_subject(1000));
    let first = login(&store, "ada", &policy).await;
    for _ in 1..1000 {
        login(&store, "ada", &policy).await;
    }
    assert!(is_alive(&store, &first).await);
    login(&store, "ada", &policy).await;
    assert!(!is_alive(&store, &first).await, "the longest unused makes room");
    assert_eq!(store.list(&digest("ada")).await.unwrap().len(), 1000);
    assert_eq!(end_all(&store, "ada").await, 1000);
    assert_eq!(store.list(&digest("ada")).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revocations_of_tokens() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    revocation_contract(store.clone()).await;

    // Another node, that listens.
    let other = node(&redis);
    let listen = other.listen(&redis.url()).unwrap();
    listen.joined().await;
    a_revocation_is_heard_of(&store, &other).await;
    assert!(lifetimes(&redis).values().all(|left| *left > 0));
}

fn revocation_key_of(key: &RevocationKey) -> String {
    format!("app:revoked:{}", base64url(key.as_bytes()))
}

#[tokio::test]
async fn a_revocation_is_one_text_that_lives_as_long_as_it_must() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    let key = RevocationKey::subject("https://issuer.example", "ada");
    let longest = Duration::from_secs(28_401_840_000);
    for (millis, length, text, left) in [
        (1_234, HOUR, "1234", HOUR),
        (1_233, MINUTE, "1234", HOUR),
        (-7, 2 * HOUR, "1234", 2 * HOUR),
        (i64::MAX - 1, Duration::ZERO, "9223372036854775806", 2 * HOUR),
        (i64::MAX, DAY, "9223372036854775807", DAY),
        (i64::MIN, Duration::MAX, "9223372036854775807", longest),
    ] {
        store.revoke_issued_before(&key, Timestamp::from_unix_millis(millis), length).await.unwrap();
        assert_eq!(redis.command(&["GET", &revocation_key_of(&key)]), text);
        let lifetimes = lifetimes(&redis);
        assert_eq!(lifetimes.keys().collect::<Vec<_>>(), [&revocation_key_of(&key)], "one key");
        let lives = Duration::from_millis(lifetimes[&revocation_key_of(&key)].try_into().unwrap());
        assert!(lives <= left && lives + MINUTE / 2 > left, "{lives:?} instead of {left:?}");
    }
}

#[tokio::test]
async fn a_revocation_that_is_no_number_is_corrupt() {
    if !engines::has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = node(&redis);
    let key = RevocationKey::token("https://issuer.example", "1");
    let name = revocation_key_of(&key);
    let revoke = async || store.revoke_issued_before(&key, ManualClock::START, HOUR).await;
    for bad in ["", "x", "1.5", "1e3", " 1", "1 ", "--1", "9223372036854775808", "99999999999999999999"] {
        redis.command(&["SET", &name, bad]);
        assert_eq!(kind(store.not_before(&key).await), CORRUPT, "{bad:?}");
        assert_eq!(kind(revoke().await), CORRUPT, "{bad:?}");
        assert_eq!(redis.command(&["GET", &name]), bad, "it stays");
    }
    redis.command(&["DEL", &name]);
    redis.command(&["RPUSH", &name, "1"]);
    assert_eq!(kind(store.not_before(&key).await), CORRUPT, "a list");
    assert_eq!(kind(revoke().await), CORRUPT, "a list");
    redis.command(&["DEL", &name]);
    revoke().await.unwrap();
    assert_eq!(store.not_before(&key).await.unwrap(), Some(ManualClock::START));
}
