//! The live sessions layers of two nodes that share a real server: what one ends the other refuses, by a message within
//! moments, and without messages within the bound.

#![cfg(all(
    any(feature = "redis", feature = "postgres"),
    any(feature = "aws-lc-rs", feature = "rust-crypto")
))]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engines::proxy::Proxy;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::test_util::{
    FaultStore, Faults, StoreOperation, TestIssuer, created, fresh_attempt, new_session, present,
};
use tower_jwt_auth::{
    AccessGrant, AuthService, ClientInfo, Identity, JwtAuthLayer, ListenTask, LiveSessionsLayer, NewSession,
    NoClaims, NoLogin, RefreshKeys, Retry, SessionPolicy, SessionStore, SubjectDigest,
};

/// So long that nothing is ever asked for again.
const NEVER: Duration = Duration::from_secs(3600);
/// How long anything may take that a test waits for.
const LIMIT: Duration = Duration::from_secs(30);

/// Two nodes, and the way on which the second hears of the first.
struct Site<S> {
    one: S,
    two: S,
    push: Proxy,
    listen: ListenTask,
}

/// A layer of the second node.
struct Gate {
    layer: LiveSessionsLayer,
    faults: Faults,
    issuer: TestIssuer,
}

impl Gate {
    fn new<S: SessionStore + Clone>(store: &S, max_staleness: Duration) -> Self {
        let store = FaultStore::new(store.clone());
        let faults = store.faults();
        Self { layer: LiveSessionsLayer::new(store, max_staleness), faults, issuer: TestIssuer::new() }
    }

    async fn status(&self, session: &NewSession) -> u16 {
        self.status_of(session, 0, 0).await
    }

    async fn status_of(&self, session: &NewSession, generation: u32, issue: u32) -> u16 {
        let grant = AccessGrant::new(&session.subject)
            .with_session(session.session_id.to_string(), generation)
            .with_reissue(issue);
        let token = self.issuer.token_for(&grant, &NoClaims {});
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = JwtAuthLayer::new(self.issuer.verifier::<NoClaims>()).layer(self.layer.layer(inner));
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        service.oneshot(request.body(Full::default()).unwrap()).await.unwrap().status().as_u16()
    }

    async fn until(&self, session: &NewSession, status: u16) {
        let begun = Instant::now();
        while self.status(session).await != status {
            assert!(begun.elapsed() < LIMIT, "never {status}: {}", session.subject);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn questions(&self) -> usize {
        self.faults.count(StoreOperation::Get)
    }
}

async fn open<S: SessionStore>(store: &S, subject: &str, policy: &SessionPolicy) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, policy).await.unwrap());
    session
}

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn revoke<S: SessionStore>(store: &S, session: &NewSession) {
    let subject = SubjectDigest::of(&session.subject);
    assert!(store.revoke(&subject, &session.session_id, None, &fresh_attempt()).await.unwrap());
}

/// Each way in which a session ends.
async fn what_one_node_ends_the_other_hears_of<S: SessionStore + Clone>(site: &Site<S>) {
    let policy = SessionPolicy::default();
    let strict = policy.clone().with_retry(Retry::Strict);
    site.listen.joined().await;
    let gate = Gate::new(&site.two, NEVER);
    for row in ["revoked", "all", "all but one", "superseded", "reused", "evicted"] {
        let store = &site.one;
        let (session, other) = (open(store, row, &policy).await, open(store, row, &policy).await);
        let digest = SubjectDigest::of(row);
        assert_eq!((gate.status(&session).await, gate.status(&other).await), (200, 200), "{row}");
        let mut other_lives = true;
        match row {
            "revoked" => revoke(store, &session).await,
            "all" => {
                other_lives = false;
                store.revoke_subject(&digest, None, &policy, &fresh_attempt()).await.unwrap();
            }
            "all but one" => {
                let except = Some(&other.session_id);
                store.revoke_subject(&digest, except, &policy, &fresh_attempt()).await.unwrap();
            }
            "superseded" => {
                store.rotate(&present(&session, 0), &strict).await.unwrap();
                store.rotate(&present(&session, 0), &strict).await.unwrap();
            }
            "reused" => {
                other_lives = false;
                store.rotate(&present(&session, 0), &strict).await.unwrap();
                store.rotate(&present(&session, 1), &strict).await.unwrap();
                store.rotate(&present(&session, 0), &strict).await.unwrap();
            }
            _ => {
                // The time of the last use is in milliseconds.
                tokio::time::sleep(Duration::from_millis(5)).await;
                store.rotate(&present(&other, 0), &strict).await.unwrap();
                open(store, row, &policy.clone().with_sessions_per_subject(2)).await;
            }
        }
        gate.until(&session, 401).await;
        gate.until(&other, if other_lives { 200 } else { 401 }).await;
    }
    // Those of whom it was said that they ended were not asked for: two of each row at first, and again where all may
    // have.
    assert!(gate.questions() <= 12 + 6, "{}", gate.questions());
}

/// The one whose answer was lost retries late: the token of the lost answer counts no more, wherever it is shown.
async fn what_one_node_replaces_the_other_hears_of<S: SessionStore + Clone>(site: &Site<S>) {
    let moment = Duration::from_millis(30);
    let policy = SessionPolicy::default().with_retry(Retry::UntilUsed { retry: moment, hold: moment });
    site.listen.joined().await;
    let gate = Gate::new(&site.two, NEVER);
    let session = open(&site.one, "late", &policy).await;
    let refresh = async || {
        tokio::time::sleep(moment * 2).await;
        site.one.rotate(&present(&session, 0), &policy).await.unwrap().decision.as_str()
    };
    assert_eq!(refresh().await, "current");
    assert_eq!(refresh().await, "rotated");
    assert_eq!(gate.status_of(&session, 1, 0).await, 200);
    assert_eq!(refresh().await, "reissued");
    let begun = Instant::now();
    while gate.status_of(&session, 1, 0).await != 401 {
        assert!(begun.elapsed() < LIMIT, "never replaced");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(gate.status_of(&session, 1, 1).await, 200);
}

/// While messages are dropped, the bound holds; afterwards messages are heard again.
async fn without_messages_the_bound_holds<S: SessionStore + Clone>(site: &Site<S>) {
    let policy = SessionPolicy::default();
    site.listen.joined().await;
    let patient = Gate::new(&site.two, NEVER);
    let bounded = Gate::new(&site.two, Duration::from_millis(200));
    for way in ["stalled", "cut"] {
        let session = open(&site.one, way, &policy).await;
        assert_eq!((patient.status(&session).await, bounded.status(&session).await), (200, 200), "{way}");
        if way == "stalled" {
            site.push.stall();
        } else {
            site.push.refuse();
            until("the loss is noticed", async || !site.listen.is_joined()).await;
        }
        revoke(&site.one, &session).await;
        bounded.until(&session, 401).await;
        assert_eq!(patient.status(&session).await, 200, "{way}: no message came");
        assert!(bounded.questions() > 1);

        site.push.pass();
        site.listen.joined().await;
        if way == "stalled" {
            // What was held up comes after all.
            patient.until(&session, 401).await;
        }
        let session = open(&site.one, way, &policy).await;
        assert_eq!(patient.status(&session).await, 200, "{way}");
        revoke(&site.one, &session).await;
        patient.until(&session, 401).await;
    }
}

/// Calls that end a session, of whose replies none arrives: the store of this very node does not know what ended.
async fn what_ended_without_a_reply_is_asked_for<S: SessionStore + Clone>(
    store: &S,
    other: &S,
    cut: impl Fn(&str),
    cuts: impl Fn() -> usize,
) {
    let policy = SessionPolicy::default();
    let strict = policy.clone().with_retry(Retry::Strict);
    let gate = Gate::new(store, NEVER);
    for row in ["evicted", "superseded", "revoked"] {
        // The first time all arrives, and the connection knows the statements.
        for is_cut in [false, true] {
            let subject = format!("{row} {is_cut}");
            let session = open(store, &subject, &policy).await;
            store.rotate(&present(&session, 0), &strict).await.unwrap();
            assert_eq!(gate.status(&session).await, 200, "{row}");
            let before = cuts();
            if is_cut {
                cut(row);
            }
            let is_answered = match row {
                "evicted" => {
                    let login = new_session(&subject, other.now().await.unwrap());
                    store.create(&login, &strict.clone().with_sessions_per_subject(1)).await.is_ok()
                }
                "superseded" => store.rotate(&present(&session, 0), &strict).await.is_ok(),
                _ => {
                    let subject = SubjectDigest::of(&subject);
                    store.revoke(&subject, &session.session_id, None, &fresh_attempt()).await.is_ok()
                }
            };
            assert_eq!((is_answered, cuts() - before), (!is_cut, usize::from(is_cut)), "{row}");
            let found = other.get(&SubjectDigest::of(&subject), &session.session_id).await.unwrap();
            assert!(found.is_none(), "{row}: it has ended");
            gate.until(&session, 401).await;
        }
    }
}

/// The login was sent again, and the second reply does not name what the first call has ended.
async fn what_a_login_of_two_tries_has_ended_is_asked_for<S: SessionStore + Clone>(
    store: &S,
    cut: impl Fn(&str),
    cuts: impl Fn() -> usize,
) {
    let policy = SessionPolicy::default().with_sessions_per_subject(1);
    let (issuer, keys) = (TestIssuer::new(), RefreshKeys::new([7; 32]).unwrap());
    let auth = AuthService::builder(issuer.config(), keys, store.clone(), NoLogin::<NoClaims>::new())
        .policy(policy.clone())
        .add_origin("https://app.example")
        .build()
        .unwrap();
    let login = async |subject: &str| {
        let identity = Identity::new(subject, NoClaims {});
        auth.sessions().open(identity, &ClientInfo::default()).await.unwrap();
    };
    login("warm").await;
    for trust in [Duration::ZERO, NEVER] {
        let mut gate = Gate::new(store, NEVER);
        gate.layer = gate.layer.trust_for(trust);
        let subject = format!("login {}", trust.as_secs());
        let session = open(store, &subject, &policy).await;
        assert_eq!(gate.status(&session).await, 200);
        let before = cuts();
        cut(&subject);
        login(&subject).await;
        assert_eq!(cuts() - before, 1);
        assert_eq!(gate.status(&session).await, 401, "{trust:?}");
    }
}

/// Whatever is said there, nobody falls over, and nothing lives longer for it.
async fn what_is_none_of_ours_is_passed_over<S: SessionStore + Clone>(site: &Site<S>, say: impl Fn(&str)) {
    let policy = SessionPolicy::default();
    site.listen.joined().await;
    let gate = Gate::new(&site.two, NEVER);
    let (session, last) = (open(&site.one, "ada", &policy).await, open(&site.one, "bob", &policy).await);
    assert_eq!((gate.status(&session).await, gate.status(&last).await), (200, 200));
    for message in ["", "ended", "live 00 00", "ended zz zz", "ended  ", "all x y z"] {
        say(message);
    }
    revoke(&site.one, &last).await;
    gate.until(&last, 401).await;
    assert_eq!(gate.status(&session).await, 200);
}

#[cfg(feature = "redis")]
mod redis {
    use super::engines::redis::Redis;
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use tower_jwt_auth::{ReconnectingConnection, RedisStore};

    fn site(server: &Redis) -> Site<RedisStore> {
        let push = Proxy::start(server.port());
        let url = format!("redis://127.0.0.1:{}/", push.port());
        let (one, two) = (RedisStore::open(&server.url()).unwrap(), RedisStore::open(&server.url()).unwrap());
        let listen = two.listen(&url).unwrap();
        Site { one, two, push, listen }
    }

    #[tokio::test]
    async fn two_nodes() {
        if !engines::has_redis() {
            return;
        }
        let server = Redis::start();
        let site = site(&server);
        what_one_node_ends_the_other_hears_of(&site).await;
        what_one_node_replaces_the_other_hears_of(&site).await;
        without_messages_the_bound_holds(&site).await;
        let say = |message: &str| drop(server.command(&["PUBLISH", "jwt-sessions:ended", message]));
        what_is_none_of_ours_is_passed_over(&site, say).await;
    }

    #[tokio::test]
    async fn lost_replies() {
        if !engines::has_redis() {
            return;
        }
        let server = Redis::start();
        let proxy = Proxy::start(server.port());
        let store = RedisStore::open(&format!("redis://127.0.0.1:{}/", proxy.port())).unwrap();
        let other = RedisStore::open(&server.url()).unwrap();
        let cut = |_: &str| proxy.cut_next_reply();
        what_ended_without_a_reply_is_asked_for(&store, &other, cut, || proxy.cuts()).await;
        let cut = |subject: &str| {
            proxy.cut_reply_to(&URL_SAFE_NO_PAD.encode(SubjectDigest::of(subject).as_bytes()));
        };
        what_a_login_of_two_tries_has_ended_is_asked_for(&store, cut, || proxy.cuts()).await;
    }

    /// The one server has ended it, and said so; no other has confirmed.
    #[tokio::test]
    async fn an_end_without_a_replica_counts_though_what_is_known_is_trusted() {
        if !engines::has_redis() {
            return;
        }
        let server = Redis::start();
        let connection = ReconnectingConnection::open(&server.url()).unwrap();
        let builder = RedisStore::builder(connection).wait_for_replicas(1, Duration::from_millis(10));
        let store = builder.build().unwrap();
        let mut gate = Gate::new(&store, NEVER);
        gate.layer = gate.layer.trust_for(NEVER);
        let policy = SessionPolicy::default().with_retry(Retry::Strict);
        let session = open(&store, "ada", &policy).await;
        store.rotate(&present(&session, 0), &policy).await.unwrap();
        assert_eq!(gate.status(&session).await, 200);
        assert!(store.rotate(&present(&session, 0), &policy).await.is_err());
        assert_eq!(gate.status(&session).await, 401);
    }

    /// An account that may not publish ends sessions as well, and the bound holds.
    #[tokio::test]
    async fn an_account_that_may_not_publish() {
        if !engines::has_redis() {
            return;
        }
        let server = Redis::start();
        server.command(&[
            "ACL",
            "SETUSER",
            "app",
            "on",
            ">secret",
            "~jwt-sessions:*",
            "resetchannels",
            "+@all",
        ]);
        let url = format!("redis://app:secret@127.0.0.1:{}/", server.port());
        let (one, two) = (RedisStore::open(&url).unwrap(), RedisStore::open(&url).unwrap());
        let gate = Gate::new(&two, Duration::from_millis(100));
        let session = open(&one, "ada", &SessionPolicy::default()).await;
        assert_eq!(gate.status(&session).await, 200);
        revoke(&one, &session).await;
        gate.until(&session, 401).await;
    }

    #[tokio::test]
    async fn a_server_that_goes_away_and_comes_back() {
        if !engines::has_redis() {
            return;
        }
        let server = Redis::durable();
        let site = site(&server);
        site.listen.joined().await;
        let gate = Gate::new(&site.two, Duration::from_millis(100));
        let session = open(&site.one, "ada", &SessionPolicy::default()).await;
        assert_eq!(gate.status(&session).await, 200);
        server.kill();
        gate.until(&session, 503).await;
        server.restart();
        gate.until(&session, 200).await;
        site.listen.joined().await;
        // The first operation may meet the old connection; the service tries twice, too.
        until("the first node is back", async || site.one.now().await.is_ok()).await;
        revoke(&site.one, &session).await;
        gate.until(&session, 401).await;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::engines::postgres::Postgres;
    use super::*;
    use tower_jwt_auth::PostgresStore;

    #[tokio::test]
    async fn lost_replies() {
        if !engines::has_postgres() {
            return;
        }
        let server = Postgres::start_fast();
        let proxy = Proxy::start(server.port());
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
        let (store, other) =
            (PostgresStore::open(&url).unwrap(), PostgresStore::open(&server.url()).unwrap());
        store.migrate().await.unwrap();
        let cut = |row: &str| match row {
            "evicted" => proxy.cut_reply_to("COMMIT"),
            // The first statement finds that the token is not due.
            "superseded" => proxy.cut_reply_after(1),
            _ => proxy.cut_next_reply(),
        };
        what_ended_without_a_reply_is_asked_for(&store, &other, cut, || proxy.cuts()).await;
        let cut = |_: &str| proxy.cut_reply_to("COMMIT");
        what_a_login_of_two_tries_has_ended_is_asked_for(&store, cut, || proxy.cuts()).await;
    }

    #[tokio::test]
    async fn two_nodes() {
        if !engines::has_postgres() {
            return;
        }
        let server = Postgres::start_fast();
        let push = Proxy::start(server.port());
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", push.port());
        let (one, two) =
            (PostgresStore::open(&server.url()).unwrap(), PostgresStore::open(&server.url()).unwrap());
        one.migrate().await.unwrap();
        let listen = two.listen(&url).unwrap();
        let site = Site { one, two, push, listen };
        what_one_node_ends_the_other_hears_of(&site).await;
        what_one_node_replaces_the_other_hears_of(&site).await;
        without_messages_the_bound_holds(&site).await;
        let silent = PostgresStore::builder(site.one.pool().clone()).without_notify().build().unwrap();
        let (gate, bounded) = (Gate::new(&site.two, NEVER), Gate::new(&site.two, Duration::from_millis(200)));
        let session = open(&silent, "silent", &SessionPolicy::default()).await;
        assert_eq!((gate.status(&session).await, bounded.status(&session).await), (200, 200));
        revoke(&silent, &session).await;
        bounded.until(&session, 401).await;
        assert_eq!(gate.status(&session).await, 200, "it told nobody");
        let channel = server.psql("SELECT 'tower_jwt_auth_' || substr(encode(sha256('\"tower_jwt_auth\".\"sessions\"'), 'hex'), 1, 16)");
        let say = |message: &str| drop(server.psql(&format!("NOTIFY {}, '{message}'", channel.trim())));
        what_is_none_of_ours_is_passed_over(&site, say).await;
    }

    /// Other tables on the same server have another channel.
    #[tokio::test]
    async fn other_tables_are_not_heard_of() {
        if !engines::has_postgres() {
            return;
        }
        let server = Postgres::start_fast();
        let pool = PostgresStore::open(&server.url()).unwrap().pool().clone();
        let store = |prefix: &str| PostgresStore::builder(pool.clone()).table_prefix(prefix).build().unwrap();
        let (ours, theirs) = (store("a_"), store("b_"));
        ours.migrate().await.unwrap();
        theirs.migrate().await.unwrap();
        let listen = ours.listen(&server.url()).unwrap();
        listen.joined().await;
        let gate = Gate::new(&ours, NEVER);
        let session = open(&ours, "ada", &SessionPolicy::default()).await;
        created(theirs.create(&session, &SessionPolicy::default()).await.unwrap());
        let last = open(&ours, "bob", &SessionPolicy::default()).await;
        assert_eq!((gate.status(&session).await, gate.status(&last).await), (200, 200));
        revoke(&theirs, &session).await;
        let elsewhere = store("a_");
        revoke(&elsewhere, &last).await;
        gate.until(&last, 401).await;
        assert_eq!(gate.status(&session).await, 200);
    }
}
