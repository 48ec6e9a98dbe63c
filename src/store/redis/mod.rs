//! [`RedisStore`]: sessions on Redis, for any number of nodes. Needs the feature `redis`.

mod codec;
mod push;
mod reconnecting;
mod replays;
mod revocations;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value};

pub use reconnecting::ReconnectingConnection;

use self::codec::Packed;
use crate::clock::{Clock, Timestamp};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::base64url;
use crate::session::{
    Attempt, Decision, NewSession, OnReuse, Presented, Record, SecretDigest, SessionId, SessionPolicy,
    SubjectDigest, decide,
};
use crate::store::{Creation, Rotation, SessionFeed, SessionStore, StoreError, StoreErrorKind};

/// One try of an operation. The service tries twice, so that a client has its 503 within 5 seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sessions on [Redis](https://redis.io) 7.0 or newer (no module is needed), or on what speaks its protocol and knows
/// its scripts.
///
/// `C` is the connection: any of the `redis` crate's that is asynchronous and cheap to clone. All nodes that share the
/// database and the prefix share the sessions.
///
/// | Redis | connection |
/// |---|---|
/// | one server, plain or TLS | [`ReconnectingConnection`], or `redis::aio::ConnectionManager` with a `max_delay` |
/// | Sentinel | [`ReconnectingConnection`] over a `redis::sentinel::SentinelClient` |
/// | Cluster | `redis::cluster_async::ClusterConnection` |
///
/// Everything of a subject is one hash, `PREFIX:DIGEST`, which goes by itself when its last session has been expired
/// for a day. Each operation is one script on that key and one round trip. Times are by the clock of the server.
///
/// A revocation of tokens ([`RevocationStore`](crate::RevocationStore)) is one text, `PREFIX:revoked:KEY`, which goes by
/// itself when it is no longer needed.
///
/// # What Redis must be told
///
/// - `maxmemory-policy noeviction`: with another one Redis drops sessions, and the memory of revocations, when it is
///   full. The store warns, once, with the event `eviction_policy`.
/// - `appendonly yes`, or a crash loses what was written since the last snapshot; `appendfsync everysec` loses a second.
///   Rotations that are lost do no harm (row 3 of [the rule](crate::session)). A session that is lost is a new login.
///   **A revocation that is lost brings the session back.**
/// - A replica that is promoted lacks the last writes of its primary, too:
///   [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas) makes a revocation wait for replicas, and fail when
///   they do not answer.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::RedisStore;
///
/// let store = RedisStore::open("redis://127.0.0.1:6380/")?;
/// store.check().await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisStore<C = ReconnectingConnection> {
    connection: C,
    settings: Arc<Settings>,
}

struct Settings {
    prefix: Box<str>,
    timeout: Duration,
    replicas: Option<Replicas>,
    clock: Option<Arc<dyn Clock>>,
    checked: AtomicBool,
    feed: SessionFeed,
}

#[derive(Clone, Copy)]
struct Replicas {
    count: u32,
    timeout: Duration,
}

/// Settings of a [`RedisStore`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct RedisStoreBuilder<C> {
    connection: C,
    prefix: String,
    timeout: Duration,
    replicas: Option<Replicas>,
    clock: Option<Arc<dyn Clock>>,
}

impl RedisStore {
    /// A store on one server, by its URL: `redis://` or `rediss://` (TLS, needs a feature of the crate `redis`), with
    /// user, password and database as the crate `redis` reads them. Connects with the first operation, and again
    /// whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// The URL is none.
    pub fn open(url: &str) -> Result<Self, ConfigError> {
        Self::builder(ReconnectingConnection::open(url)?).build()
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// A store over a connection, with settings of one's own.
    pub fn builder(connection: C) -> RedisStoreBuilder<C> {
        RedisStoreBuilder {
            connection,
            prefix: "jwt-sessions".to_owned(),
            timeout: TIMEOUT,
            replicas: None,
            clock: None,
        }
    }

    /// Asks Redis whether it is there and how it is set, and warns if it may drop sessions: the event
    /// `eviction_policy`. Also done by itself, once, after the first operation.
    ///
    /// # Errors
    ///
    /// As any operation.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.settings.checked.store(true, Ordering::Relaxed);
        let mut connection = self.connection.clone();
        let mut info = ::redis::cmd("INFO");
        info.arg("memory");
        let answer: Value = self.in_time(info.query_async(&mut connection)).await?;
        let mut policies = Vec::new();
        policies_in(&answer, &mut policies);
        for policy in policies {
            if policy != "noeviction" {
                tracing::warn!(
                    name: "eviction_policy", target: "tower_jwt_auth::store", policy,
                    "Redis drops sessions when it is full: set `maxmemory-policy noeviction`"
                );
            }
        }
        Ok(())
    }

    fn check_once(&self) {
        if !self.settings.checked.swap(true, Ordering::Relaxed) {
            let store = self.clone();
            tokio::spawn(async move {
                // Not every account may ask; operations have their own errors.
                drop(store.check().await);
            });
        }
    }

    fn key(&self, subject: &SubjectDigest) -> String {
        format!("{}:{}", self.settings.prefix, base64url(subject.as_bytes()))
    }

    async fn in_time<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.settings.timeout, answer).await {
            Ok(answer) => answer.map_err(store_error),
            Err(_) => Err(StoreError::new(StoreErrorKind::Timeout, "Redis did not answer in time")),
        }
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let mut call = script.key(key);
        for argument in arguments {
            call.arg(*argument);
        }
        let mut connection = self.connection.clone();
        let answer = self.in_time(call.invoke_async(&mut connection)).await?;
        self.check_once();
        Ok(answer)
    }

    /// Runs a script that ends sessions or revokes tokens: its effect is on as many replicas as were asked for before
    /// this returns.
    async fn run_safely<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let Some(replicas) = self.settings.replicas else { return self.run(script, key, arguments).await };
        let mut both = Pipeline::with_capacity(2);
        let call = both.cmd("EVALSHA").arg(script.get_hash()).arg(1).arg(key);
        for argument in arguments {
            call.arg(*argument);
        }
        let milliseconds = u64::try_from(replicas.timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        both.cmd("WAIT").arg(replicas.count).arg(milliseconds);
        let mut connection = self.connection.clone();
        let answer = async {
            match both.query_async::<(T, u32)>(&mut connection).await {
                Err(error) if is_no_script(&error) => {
                    script.load_async(&mut connection).await?;
                    both.query_async(&mut connection).await
                }
                answer => answer,
            }
        };
        let (answer, reached) = self.in_time(answer).await?;
        if reached < replicas.count {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "too few replicas of Redis confirmed what was ended or revoked",
            ));
        }
        Ok(answer)
    }

    /// The time that scripts decide by: none, and they ask the server; in tests the one given.
    fn clock(&self) -> f64 {
        self.settings.clock.as_ref().map_or(f64::NAN, |clock| codec::double(clock.now()))
    }

    async fn read(
        &self,
        subject: &SubjectDigest,
        session_id: &[u8],
    ) -> Result<(Timestamp, Vec<Record>), StoreError> {
        let clock = Packed::default().double(self.clock()).bytes();
        let (now, found): (i64, Vec<Vec<u8>>) =
            self.run(&SCRIPTS.read, &self.key(subject), &[session_id, &clock]).await?;
        let records = found.chunks_exact(2).map(|pair| codec::record(subject, &pair[0], &pair[1]));
        Ok((Timestamp::from_unix_millis(now), records.collect::<Result<_, _>>()?))
    }
}

impl<C: Clone> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), settings: Arc::clone(&self.settings) }
    }
}

/// Shows nothing of the connection, whose own output may hold a password.
impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.settings.prefix).finish_non_exhaustive()
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStoreBuilder<C> {
    /// Replaces what the keys start with: by default `jwt-sessions`. 1 to 64 letters, digits, `-`, `_`, `.` or `:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Replaces how long one try of an operation may take: by default 2 seconds. The service tries twice. The
    /// connection may have a shorter time of its own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes an operation that revokes sessions or tokens wait until this many replicas have it, for `timeout` at most,
    /// which should be shorter than [the one of the operation](Self::timeout). If they do not answer, the operation
    /// fails (503), though it is done on the primary.
    ///
    /// Redis holds up all operations on the same connection meanwhile. The connection must wait for answers at least as
    /// long: 1.5 seconds by default in [`ReconnectingConnection`], half a second in those of the crate `redis`.
    ///
    /// While Sentinel is asked to fail over by hand, the old primary takes writes that are lost; `min-replicas-to-write`
    /// makes it refuse them.
    pub fn wait_for_replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.replicas = Some(Replicas { count, timeout });
        self
    }

    /// Decides by this clock and not by the server's: for tests. The nodes of a deployment must share one clock.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Makes the store.
    ///
    /// # Errors
    ///
    /// The prefix has another form.
    pub fn build(self) -> Result<RedisStore<C>, ConfigError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.bytes().all(is_plain) {
            return Err(ConfigError::new(
                ConfigErrorKind::Store,
                "the prefix of the keys must be 1 to 64 letters, digits, `-`, `_`, `.` or `:`",
            ));
        }
        let settings = Settings {
            prefix: self.prefix.into(),
            timeout: self.timeout,
            replicas: self.replicas,
            clock: self.clock,
            checked: AtomicBool::new(false),
            feed: SessionFeed::new(),
        };
        Ok(RedisStore { connection: self.connection, settings: Arc::new(settings) })
    }
}

impl<C> fmt::Debug for RedisStoreBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

struct Scripts {
    now: Script,
    create: Script,
    rotate: Script,
    read: Script,
    revoke: Script,
    revoke_all: Script,
    mark_used: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("prelude.lua"), include_str!($name)))
    };
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    now: script!("now.lua"),
    create: script!("create.lua"),
    rotate: Script::new(concat!(
        include_str!("rotate.lua"),
        include_str!("prelude.lua"),
        include_str!("rotate_end.lua")
    )),
    read: script!("read.lua"),
    revoke: script!("revoke.lua"),
    revoke_all: script!("revoke_all.lua"),
    mark_used: script!("mark_used.lua"),
});

impl<C: ConnectionLike + Clone + Send + Sync + 'static> SessionStore for RedisStore<C> {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let key = format!("{}:now", self.settings.prefix);
        let clock = Packed::default().double(self.clock()).bytes();
        self.run(&SCRIPTS.now, &key, &[&clock]).await.map(Timestamp::from_unix_millis)
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        let subject = SubjectDigest::of(&session.subject);
        let arguments = Packed::default()
            .raw(session.secret_digest.as_bytes())
            .raw(session.attempt.as_bytes())
            .double(codec::double(session.authenticated_at))
            .double(codec::lifetime(policy.idle_lifetime()))
            .double(codec::lifetime(policy.absolute_lifetime()))
            .number(policy.sessions_per_subject())
            .double(self.clock())
            .bytes();
        let id = session.session_id.as_bytes();
        let facts = codec::facts(session)?;
        let (created, _, value, evicted): (i64, i64, Option<Vec<u8>>, Vec<Vec<u8>>) =
            self.run(&SCRIPTS.create, &self.key(&subject), &[id, &arguments, &facts]).await?;
        let creation = match value {
            Some(value) if created == 1 => Creation::Created {
                record: codec::record(&subject, id, &value)?,
                evicted: evicted.iter().map(|id| codec::session_id(id)).collect::<Result<_, _>>()?,
            },
            _ => Creation::RevokedMeanwhile,
        };
        self.settings.feed.tell_created(&creation);
        Ok(creation)
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        let arguments = Packed::default()
            .number(presented.generation)
            .raw(presented.secret_digest.as_bytes())
            .raw(presented.attempt.as_bytes())
            .double(codec::window(policy.retry_window()))
            .double(codec::window(policy.hold_window()))
            .double(codec::lifetime(policy.idle_lifetime()))
            .byte(u8::from(policy.on_reuse() == OnReuse::Subject))
            .byte(u8::from(policy.is_until_used()))
            .double(self.clock())
            .bytes();
        let (key, id) = (self.key(&presented.subject), presented.session_id.as_bytes());
        let arguments: [&[u8]; 2] = [id, &arguments];
        let answer: Value = self.run(&SCRIPTS.rotate, &key, &arguments).await?;
        if let Value::BulkString(value) = &answer {
            return rotated(codec::record(&presented.subject, id, value)?, presented);
        }
        let mut answer: (u8, i64, Option<Vec<u8>>) = answered(answer)?;
        if self.settings.replicas.is_some() && matches!(answer.0, 7 | 8 | 17 | 18) {
            // The same attempt again: the same answer, and this time the replicas are waited for.
            answer = self.run_safely(&SCRIPTS.rotate, &key, &arguments).await?;
        }
        let (row, now, before) = answer;
        let before = before.map(|value| codec::record(&presented.subject, id, &value)).transpose()?;
        let rotation = rotation(row, Timestamp::from_unix_millis(now), before, presented, policy)?;
        self.settings.feed.tell_rotation(presented, policy, &rotation);
        Ok(rotation)
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let (_, mut found) = self.read(subject, session_id.as_bytes()).await?;
        Ok(found.pop())
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        let (_, mut records) = self.read(subject, b"").await?;
        records.sort_by_key(|record| (std::cmp::Reverse(record.facts.created_at), record.facts.session_id));
        Ok(records)
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let proof = proof.map_or(&b""[..], |proof| proof.as_bytes());
        let arguments = Packed::default().raw(attempt.as_bytes()).double(self.clock()).bytes();
        let arguments: [&[u8]; 3] = [session_id.as_bytes(), proof, &arguments];
        let ended = self.run_safely(&SCRIPTS.revoke, &self.key(subject), &arguments).await;
        let ended = ended.inspect_err(|_| self.settings.feed.tell_uncertain(subject))?;
        self.settings.feed.tell_revoked(subject, session_id, ended);
        Ok(ended)
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        // By the clock that logins are timed by: in a cluster the subject's node may have another.
        let before = self.now().await?;
        let except_id = except.map_or(&b""[..], |id| id.as_bytes());
        let arguments = Packed::default()
            .raw(attempt.as_bytes())
            .double(codec::lifetime(policy.revocation_memory()))
            .double(codec::double(before))
            .double(self.clock())
            .bytes();
        let ended = self.run_safely(&SCRIPTS.revoke_all, &self.key(subject), &[except_id, &arguments]).await;
        let ended = ended.inspect_err(|_| self.settings.feed.tell_uncertain(subject))?;
        self.settings.feed.tell_revoked_subject(subject, except);
        if self.settings.clock.is_none() {
            // A login that begins now must not bear the time of the mark, or it would be refused.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(ended)
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        let arguments = Packed::default().number(generation).number(issue).double(self.clock()).bytes();
        let arguments: [&[u8]; 2] = [session_id.as_bytes(), &arguments];
        let _: i64 = self.run(&SCRIPTS.mark_used, &self.key(subject), &arguments).await?;
        Ok(())
    }

    /// Does nothing: Redis forgets by itself.
    async fn purge_expired(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn feed(&self) -> Option<&SessionFeed> {
        Some(&self.settings.feed)
    }
}

fn answered<T: FromRedisValue>(answer: Value) -> Result<T, StoreError> {
    ::redis::from_redis_value(answer).map_err(|error| store_error(error.into()))
}

/// Row 5: the time is that of the new state.
fn rotated(record: Record, presented: &Presented) -> Result<Rotation, StoreError> {
    if Some(record.state.generation) != presented.generation.checked_add(1)
        || record.state.attempt != presented.attempt
    {
        return Err(disagreement());
    }
    let (decision, now) = (Decision::Rotated(record.state), record.state.minted_at);
    Ok(Rotation { decision, record: Some(record), now })
}

fn disagreement() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "the script of Redis and the rule of this version disagree")
}

/// The answer of the script in the crate's terms. The script has written what the rule says; what that is, the rule
/// says here once more.
fn rotation(
    row: u8,
    now: Timestamp,
    before: Option<Record>,
    presented: &Presented,
    policy: &SessionPolicy,
) -> Result<Rotation, StoreError> {
    let decision = match row {
        17 => Decision::Superseded,
        18 => Decision::Reused,
        _ => {
            let decision = decide(before.as_ref(), presented, policy, now);
            if decision.row() != row {
                return Err(disagreement());
            }
            decision
        }
    };
    let record = before.map(|record| match decision.state() {
        Some(state) => Record { state: *state, ..record },
        None => record,
    });
    Ok(Rotation { decision, record, now })
}

fn is_no_script(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT") || error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

fn store_error(error: RedisError) -> StoreError {
    use StoreErrorKind::{Corrupt, Timeout, Unavailable};
    let (kind, message) = match (error.kind(), error.code()) {
        _ if error.is_timeout() => (Timeout, "Redis did not answer in time"),
        (_, Some("OOM")) => (Unavailable, "the memory of Redis is full: raise `maxmemory`"),
        (_, Some("READONLY")) => (Unavailable, "this Redis is a replica, which takes no writes"),
        (_, Some("NOPERM" | "NOAUTH" | "WRONGPASS")) | (ErrorKind::AuthenticationFailed, _) => (
            Unavailable,
            "Redis refuses the account: it needs GET, EVALSHA, SCRIPT LOAD and the scripts' commands on the keys of the prefix",
        ),
        (_, Some("WRONGTYPE" | "VERSION")) | (ErrorKind::Parse | ErrorKind::UnexpectedReturnType, _) => {
            (Corrupt, "what Redis holds was not written by this version of the store")
        }
        (ErrorKind::Server(ServerErrorKind::ResponseError), _) => {
            (Corrupt, "a script failed in Redis: it is older than 7.0, or holds what the store did not write")
        }
        _ => (Unavailable, "Redis cannot be reached"),
    };
    StoreError::new(kind, message).with_source(error)
}

/// The eviction policies that an answer to `INFO memory` names: one, or in a cluster one a node.
fn policies_in<'a>(answer: &'a Value, found: &mut Vec<&'a str>) {
    let text = match answer {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        Value::Array(values) | Value::Set(values) => {
            return values.iter().for_each(|value| policies_in(value, found));
        }
        Value::Map(pairs) => return pairs.iter().for_each(|(_, value)| policies_in(value, found)),
        _ => return,
    };
    found.extend(text.lines().filter_map(|line| line.trim().strip_prefix("maxmemory_policy:")));
}
