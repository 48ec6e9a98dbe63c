//! [`RedisStore`] over every kind of connection: the contract of every store over each, failovers, and revocations that
//! wait for replicas.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::TlsCertificates;
use redis::aio::ConnectionLike;
use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelServerType};
use tower_jwt_auth::test_util::{Bench, created, new_session, present};
use tower_jwt_auth::{
    Decision, NewSession, ReconnectingConnection, RedisStore, Retry, RevocationKey, RevocationStore,
    SessionPolicy, SessionStore, StoreError, StoreErrorKind, SubjectDigest,
};

use engines::proxy::Proxy;
use engines::redis::{Cluster, Redis, Replicated, Sentinel};
use engines::wait_until;
use support::tokens::base64url;
use support::{MINUTE, ManualClock, SECOND};

fn bench<C>(connection: C) -> Bench<RedisStore<C>, ManualClock>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    let clock = ManualClock::new();
    let prefix = format!("test-{}", support::unique());
    let store = RedisStore::builder(connection).prefix(prefix).clock(clock.clone()).build().unwrap();
    Bench { store, clock }
}

mod manager {
    use redis::aio::ConnectionManager;

    use super::*;

    static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start);

    async fn open() -> Option<Bench<RedisStore<ConnectionManager>, ManualClock>> {
        if !engines::has_redis() {
            return None;
        }
        let client = redis::Client::open(REDIS.url()).unwrap();
        Some(bench(client.get_connection_manager().await.unwrap()))
    }

    tower_jwt_auth::store_contract!(open);
}

mod cluster {
    use redis::cluster_async::ClusterConnection;

    use super::*;

    static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);

    async fn open() -> Option<Bench<RedisStore<ClusterConnection>, ManualClock>> {
        if !engines::has_redis() {
            return None;
        }
        let client = ClusterClient::new(CLUSTER.urls()).unwrap();
        Some(bench(client.get_async_connection().await.unwrap()))
    }

    tower_jwt_auth::store_contract!(open);
}

mod tls {
    use redis::aio::MultiplexedConnection;

    use super::*;

    static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start_tls);

    async fn open() -> Option<Bench<RedisStore<MultiplexedConnection>, ManualClock>> {
        if !engines::has_redis_tls() {
            return None;
        }
        // An error says that another test did it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(REDIS.ca_pem()) };
        let client = redis::Client::build_with_tls(REDIS.url(), certificates).unwrap();
        Some(bench(client.get_multiplexed_async_connection().await.unwrap()))
    }

    tower_jwt_auth::store_contract!(open);

    #[tokio::test]
    async fn an_authority_that_nobody_knows() {
        if !engines::has_redis_tls() {
            return;
        }
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let store = RedisStore::open(&REDIS.url()).unwrap();
        assert_eq!(store.now().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        let plain = RedisStore::open(&REDIS.url().replace("rediss:", "redis:")).unwrap();
        assert!(plain.now().await.is_err());
    }
}

mod sentinel {
    use super::*;

    static SENTINEL: LazyLock<(Replicated, Sentinel)> = LazyLock::new(|| {
        let replicated = Replicated::start();
        let sentinel = Sentinel::start(&replicated);
        (replicated, sentinel)
    });

    async fn open() -> Option<Bench<RedisStore, ManualClock>> {
        engines::has_redis().then(|| bench(over(&SENTINEL.1)))
    }

    tower_jwt_auth::store_contract!(open);

    fn over(sentinel: &Sentinel) -> ReconnectingConnection {
        let (urls, name) = (vec![sentinel.url()], Sentinel::NAME);
        let client = SentinelClient::build(urls, name, None, SentinelServerType::Master).unwrap();
        let client = Arc::new(tokio::sync::Mutex::new(client));
        ReconnectingConnection::new(move || {
            let client = Arc::clone(&client);
            async move { client.lock().await.get_async_connection().await }
        })
    }

    /// By itself after a crash, and on demand, which leaves the old primary alive as a replica.
    #[tokio::test]
    async fn fails_over() {
        if !engines::has_redis() {
            return;
        }
        for has_crashed in [true, false] {
            let replicated = Replicated::start();
            let sentinel = Sentinel::start(&replicated);
            let store = RedisStore::builder(over(&sentinel)).prefix("app").build().unwrap();
            let [kept, ended] = [login(&store).await, login(&store).await];
            assert!(store.rotate(&present(&kept, 0), &strict()).await.unwrap().decision.hands_out());
            assert!(revoke(&store, &ended).await.unwrap());
            replicated.catch_up();
            if has_crashed {
                replicated.primary().kill();
            } else {
                sentinel.command(&["SENTINEL", "FAILOVER", Sentinel::NAME]);
            }
            let new = replicated.replica().port();
            wait_until("Sentinel names the replica", || sentinel.primary_port() == new);
            // Until Sentinel has told it, the old primary takes writes that will be lost.
            let role = |redis: &Redis, role: &str| redis.command(&["ROLE"]).starts_with(role);
            wait_until("the primaries have changed", || {
                role(replicated.replica(), "master") && (has_crashed || role(replicated.primary(), "slave"))
            });
            let attempt = present(&kept, 1);
            let deadline = tokio::time::Instant::now() + MINUTE;
            let rotation = loop {
                match store.rotate(&attempt, &strict()).await {
                    Ok(rotation) => break rotation,
                    Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error:?}"),
                }
                tokio::time::sleep(SECOND / 20).await;
            };
            assert_eq!(rotation.decision.state().unwrap().generation, 2, "{has_crashed}");
            assert!(!is_alive(&store, &ended).await, "{has_crashed}");
            assert_eq!(generation(&node(replicated.replica()), &kept).await, Some(2), "{has_crashed}");
        }
    }
}

/// Rotates at once, and ends a session whose token comes again.
fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

/// A node of its own, and its own connection.
fn node(redis: &Redis) -> RedisStore {
    let connection = ReconnectingConnection::open(&redis.url()).unwrap();
    RedisStore::builder(connection).prefix("app").build().unwrap()
}

fn careful_node(redis: &Redis) -> RedisStore {
    let connection = ReconnectingConnection::open(&redis.url()).unwrap();
    RedisStore::builder(connection).prefix("app").wait_for_replicas(1, SECOND / 2).build().unwrap()
}

async fn login<S: SessionStore>(store: &S) -> NewSession {
    login_of(store, "ada").await
}

async fn login_of<S: SessionStore>(store: &S, subject: &str) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, &strict()).await.unwrap());
    session
}

async fn generation<S: SessionStore>(store: &S, session: &NewSession) -> Option<u32> {
    let record = store.get(&SubjectDigest::of(&session.subject), &session.session_id).await.unwrap();
    record.map(|record| record.state.generation)
}

async fn is_alive<S: SessionStore>(store: &S, session: &NewSession) -> bool {
    generation(store, session).await.is_some()
}

/// A logout whose attempt is that of the session, so that two calls are one that was sent again.
async fn revoke<S: SessionStore>(store: &S, session: &NewSession) -> Result<bool, StoreError> {
    store.revoke(&SubjectDigest::of(&session.subject), &session.session_id, None, &session.attempt).await
}

/// The same with all sessions of the subject.
async fn revoke_all<S: SessionStore>(store: &S, session: &NewSession) -> Result<u64, StoreError> {
    store.revoke_subject(&SubjectDigest::of(&session.subject), None, &strict(), &session.attempt).await
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_revocation_that_returns_is_on_the_replica() {
    if !engines::has_redis() {
        return;
    }
    let replicated = Replicated::start();
    let (store, replica) = (careful_node(replicated.primary()), node(replicated.replica()));
    for _ in 0..20 {
        let [one, two, three] = [login(&store).await, login(&store).await, login(&store).await];
        assert!(revoke(&store, &one).await.unwrap());
        assert!(!is_alive(&replica, &one).await);
        assert!(store.rotate(&present(&two, 0), &strict()).await.unwrap().decision.hands_out());
        let late = store.rotate(&present(&two, 0), &strict()).await.unwrap();
        assert_eq!(late.decision, Decision::Superseded);
        assert!(!is_alive(&replica, &two).await);
        assert_eq!(revoke_all(&store, &three).await.unwrap(), 1);
        assert!(!is_alive(&replica, &three).await);
    }
}

/// The sessions have ended on the primary, and nobody is told so before the replica has it: neither by the node that
/// asked first, nor by another, whose connection wrote nothing.
#[tokio::test]
async fn a_replica_that_does_not_answer() {
    if !engines::has_redis() {
        return;
    }
    let replicated = Replicated::start();
    let (primary, replica) = (replicated.primary(), replicated.replica());
    let (store, other) = (careful_node(primary), careful_node(primary));
    let [ended, late, all] = [login(&store).await, login(&store).await, login_of(&store, "bob").await];
    assert!(store.rotate(&present(&late, 0), &strict()).await.unwrap().decision.hands_out());
    let stolen = present(&late, 0);
    replicated.catch_up();

    replica.pause();
    for store in [&store, &other] {
        assert_unavailable(revoke(store, &ended).await);
        assert_unavailable(store.rotate(&stolen, &strict()).await);
        assert_unavailable(revoke_all(store, &all).await);
    }
    for session in [&ended, &late, &all] {
        assert!(!is_alive(&store, session).await);
    }
    // What revokes nothing does not wait.
    let meanwhile = login(&store).await;
    assert!(store.rotate(&present(&meanwhile, 0), &strict()).await.unwrap().decision.hands_out());

    replica.resume();
    replicated.catch_up();
    for store in [&store, &other] {
        assert!(revoke(store, &ended).await.unwrap());
        assert_eq!(store.rotate(&stolen, &strict()).await.unwrap().decision, Decision::Superseded);
        assert_eq!(revoke_all(store, &all).await.unwrap(), 1);
    }
    for session in [&ended, &late, &all] {
        assert!(!is_alive(&node(replica), session).await);
    }
}

/// A replica behind a network that fails.
fn behind_a_proxy(replicated: &Replicated) -> Proxy {
    let network = Proxy::start(replicated.primary().port());
    replicated.replica().command(&["REPLICAOF", "127.0.0.1", &network.port().to_string()]);
    wait_until("the replica follows again", || {
        replicated.replica().command(&["INFO", "replication"]).contains("master_link_status:up")
    });
    replicated.catch_up();
    network
}

/// What had not reached the replica is lost: tokens of lost rotations are good, and a revoked session is back. That is
/// documented, and what `wait_for_replicas` is for.
#[tokio::test]
async fn a_failover_loses_the_last_writes() {
    if !engines::has_redis() {
        return;
    }
    let replicated = Replicated::start();
    let store = node(replicated.primary());
    let [rotated, ended] = [login(&store).await, login(&store).await];
    let network = behind_a_proxy(&replicated);
    network.stall();
    for generation in 0..2 {
        let rotation = store.rotate(&present(&rotated, generation), &strict()).await.unwrap();
        assert!(rotation.decision.hands_out());
    }
    assert!(revoke(&store, &ended).await.unwrap());
    replicated.fail_over();

    let store = node(replicated.replica());
    let rotation = store.rotate(&present(&rotated, 2), &strict()).await.unwrap();
    assert_eq!(rotation.decision.as_str(), "recovered");
    let next = store.rotate(&present(&rotated, 2), &strict()).await.unwrap();
    assert_eq!(next.decision.state().unwrap().generation, 3);
    assert!(is_alive(&store, &ended).await);
}

#[tokio::test]
async fn a_failover_after_a_revocation_that_waited() {
    if !engines::has_redis() {
        return;
    }
    let replicated = Replicated::start();
    let store = careful_node(replicated.primary());
    let [ended, refused] = [login(&store).await, login(&store).await];
    let network = behind_a_proxy(&replicated);
    network.stall();
    assert_unavailable(revoke(&store, &ended).await);
    network.pass();
    assert!(revoke(&store, &ended).await.unwrap());
    network.stall();
    assert_unavailable(revoke(&store, &refused).await);
    replicated.fail_over();

    let store = node(replicated.replica());
    assert!(!is_alive(&store, &ended).await, "this one was confirmed");
    assert!(is_alive(&store, &refused).await, "this one was not");
}

#[tokio::test]
async fn a_failover_after_a_revocation_of_tokens_that_waited() {
    if !engines::has_redis() {
        return;
    }
    let replicated = Replicated::start();
    let store = careful_node(replicated.primary());
    let [first, second] = ["1", "2"].map(|name| RevocationKey::token("https://issuer.example", name));
    let revoke =
        async |key: &RevocationKey| store.revoke_issued_before(key, ManualClock::START, MINUTE * 60).await;
    let network = behind_a_proxy(&replicated);
    network.stall();
    assert_unavailable(revoke(&first).await);
    network.pass();
    revoke(&first).await.unwrap();
    network.stall();
    assert_unavailable(revoke(&second).await);
    replicated.fail_over();

    let store = node(replicated.replica());
    assert_eq!(store.not_before(&first).await.unwrap(), Some(ManualClock::START), "this one was confirmed");
    assert_eq!(store.not_before(&second).await.unwrap(), None, "this one was not");
}

/// The old primary lives on as a replica and keeps its connections. Only its refusal of a write says so.
#[tokio::test]
async fn a_primary_that_became_a_replica_is_left() {
    if !engines::has_redis() {
        return;
    }
    let replicated = Replicated::start();
    let (old, new) = (replicated.primary(), replicated.replica());
    let port = Arc::new(AtomicU16::new(old.port()));
    let known = Arc::clone(&port);
    let connection = ReconnectingConnection::new(move || {
        let url = format!("redis://127.0.0.1:{}/", known.load(Ordering::SeqCst));
        async move { redis::Client::open(url)?.get_multiplexed_async_connection().await }
    });
    let store = RedisStore::builder(connection).prefix("app").build().unwrap();
    let session = login(&store).await;
    replicated.catch_up();
    new.command(&["REPLICAOF", "NO", "ONE"]);
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    port.store(new.port(), Ordering::SeqCst);
    let presented = present(&session, 0);
    assert_unavailable(store.rotate(&presented, &strict()).await);
    assert!(store.rotate(&presented, &strict()).await.unwrap().decision.hands_out());
    assert_eq!(generation(&node(new), &session).await, Some(1));
}

/// In a cluster the replicas of the node that has the subject are waited for.
#[tokio::test]
async fn a_cluster_waits_for_replicas() {
    if !engines::has_redis() {
        return;
    }
    let cluster = Cluster::start();
    let primary = &cluster.nodes()[0];
    let client = ClusterClient::new(cluster.urls()).unwrap();
    let connection = client.get_async_connection().await.unwrap();
    let store =
        RedisStore::builder(connection).prefix("app").wait_for_replicas(1, SECOND / 2).build().unwrap();
    let key = |subject: &str| format!("app:{}", base64url(SubjectDigest::of(subject).as_bytes()));
    let slot = |subject: &str| primary.command(&["CLUSTER", "KEYSLOT", &key(subject)]).parse().unwrap();
    let of_node = |slots: std::ops::RangeInclusive<u16>| {
        (0..1000)
            .map(|number| format!("user-{number}"))
            .find(|subject| slots.contains(&slot(subject)))
            .unwrap()
    };
    let [session, elsewhere] =
        [login_of(&store, &of_node(0..=5460)).await, login_of(&store, &of_node(10923..=16383)).await];
    assert_unavailable(revoke(&store, &session).await);
    assert!(!is_alive(&store, &session).await);

    let replica = Redis::start_with(&["--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0"]);
    replica.command(&["CLUSTER", "MEET", "127.0.0.1", &primary.port().to_string()]);
    wait_until("the replica knows the cluster", || {
        replica.command(&["CLUSTER", "INFO"]).contains("cluster_known_nodes:4\r")
    });
    replica.command(&["CLUSTER", "REPLICATE", &primary.command(&["CLUSTER", "MYID"])]);
    wait_until("the replica follows", || {
        primary.command(&["INFO", "replication"]).contains(",state=online,")
    });
    tokio::time::timeout(MINUTE, async {
        while revoke(&store, &session).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_unavailable(revoke(&store, &elsewhere).await);
}
