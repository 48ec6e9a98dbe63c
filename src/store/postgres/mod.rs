//! [`PostgresStore`]: sessions on PostgreSQL, for any number of nodes. Needs the feature `postgres`.

mod lease;
mod push;
mod statements;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, NoTls, Row};

use self::lease::Lease;
use self::statements::Statements;
use crate::clock::{Clock, Timestamp};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::session::{
    Attempt, Decision, NewSession, OnReuse, Presented, Record, RotationState, SecretDigest, SessionId,
    SessionPolicy, SubjectDigest, decide,
};
use crate::store::facts::{self, Kept};
use crate::store::{Creation, Rotation, SessionFeed, SessionStore, StoreError, StoreErrorKind};

/// One try of an operation. The service tries twice, so that a client has its 503 within 5 seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// For the server, which may not notice that a client is gone.
const LIMITS: &str = "-c lock_timeout=2s -c statement_timeout=2s -c idle_in_transaction_session_timeout=2s";

/// How often an operation is begun again that the server ended so that another one could go on.
const RETRIES: u32 = 3;

/// Pages of a table that one statement of the clean-up looks at: about a thousand sessions.
const PAGES: i64 = 128;

/// Runs an operation on a connection, in time, and anew where the server asks for it.
///
/// A macro, as the future of a closure that borrows is not known to be `Send`.
macro_rules! on_connection {
    ($store:ident, |$client:ident| $operation:block) => {
        $store.in_time(async {
            let mut retries = 0;
            loop {
                let lease = Lease::of(&$store.pool).await?;
                let Some($client) = lease.client() else { continue };
                let answer: Result<_, Failure> = async { $operation }.await;
                match answer {
                    Ok(answer) => {
                        lease.give_back();
                        return Ok(answer);
                    }
                    Err(failure) if failure.is_conflict() && retries < RETRIES => retries += 1,
                    Err(failure) => return Err(failure),
                }
            }
        })
    };
}

// Here, as it uses the macro.
mod revocations;

/// Sessions on [PostgreSQL](https://www.postgresql.org) 14 or newer.
///
/// All nodes that share the database, the schema and the prefix of the tables share the sessions, and the revocations of
/// tokens ([`RevocationStore`](crate::RevocationStore)). Times are by the clock of the server. A rotation is one statement
/// (two, where the token is not due); opening a session and ending all of a subject are short transactions that begin with
/// a lock on the subject's row.
///
/// Before the first use [`migrate`](Self::migrate) makes the tables; or apply the file `src/store/postgres/schema.sql`
/// of this crate by your own means. Call [`purge_expired`](SessionStore::purge_expired) now and then, or let
/// [`PurgeTask`](crate::PurgeTask) do it: PostgreSQL does not forget by itself.
///
/// # What the connections must be told
///
/// [`open`](Self::open) does all of this. For a pool of your own (for TLS, for instance):
///
/// - Limit what a lock, a statement and a pause in a transaction may take on the server, or a client that is gone still
///   holds its locks there: `options=-c lock_timeout=2s -c statement_timeout=2s -c
///   idle_in_transaction_session_timeout=2s`. Behind a pooler that refuses `options`, set them on the role: `ALTER ROLE
///   app SET statement_timeout = '2s'`.
/// - Behind a pooler in transaction mode, such as `PgBouncer`, use [`unprepared`](PostgresStoreBuilder::unprepared).
/// - With several hosts, `target_session_attrs=read-write` finds the one that takes writes.
/// - `synchronous_commit` must not be `off`: **a revocation that is lost in a crash brings the session back.** For the
///   same reason a standby that may be promoted should be synchronous.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_jwt_auth::{PostgresStore, PurgeTask};
///
/// let store = PostgresStore::open("postgres://app@127.0.0.1:5433/app")?;
/// store.migrate().await?;
/// let _until_dropped = PurgeTask::spawn(store.clone(), Duration::from_secs(600));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool,
    settings: Arc<Settings>,
}

struct Settings {
    statements: Statements,
    prepared: bool,
    timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
    feed: SessionFeed,
}

/// Settings of a [`PostgresStore`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct PostgresStoreBuilder {
    pool: Pool,
    schema: String,
    prefix: String,
    prepared: bool,
    notifies: bool,
    timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
}

impl PostgresStore {
    /// A store on the server that a URL or a `key=value` text names, over 16 connections at most and without TLS, with
    /// time limits on the server. Connects with the first operation.
    ///
    /// # Errors
    ///
    /// The text is neither.
    pub fn open(url: &str) -> Result<Self, ConfigError> {
        Self::builder(pool(url, 16)?).build()
    }

    /// The pool of [`open`](Self::open), or of one's own.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A store over a pool, with settings of one's own.
    pub fn builder(pool: Pool) -> PostgresStoreBuilder {
        PostgresStoreBuilder {
            pool,
            schema: "tower_jwt_auth".to_owned(),
            prefix: String::new(),
            prepared: true,
            notifies: true,
            timeout: TIMEOUT,
            clock: None,
        }
    }

    /// Makes the tables, or those that an older version did not have. Any number of nodes may call it at once, and when
    /// all are there it needs no right to make them.
    ///
    /// # Errors
    ///
    /// As any operation; the tables are those of a newer version; or it takes more than 30 seconds.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        const LIMIT: Duration = Duration::from_secs(30);
        let statements = &self.settings.statements;
        let migrate = async {
            let lease = Lease::of(&self.pool).await?;
            let Some(client) = lease.client() else { return Ok(0) };
            if let Some(version @ statements::VERSION..) = self.version(client).await? {
                lease.give_back();
                return Ok(version);
            }
            client.batch_execute("BEGIN").await?;
            client
                .batch_execute("SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '30s'")
                .await?;
            self.rows(
                client,
                "SELECT pg_advisory_xact_lock($1)",
                &[(&statements.migration_lock, Type::INT8)],
            )
            .await?;
            client.batch_execute(&statements.schema).await?;
            let version = self.version(client).await?;
            client.batch_execute("COMMIT").await?;
            lease.give_back();
            Ok(version.unwrap_or_default())
        };
        let version = tokio::time::timeout(LIMIT, migrate).await.map_err(|_| timed_out())?;
        match version.map_err(store_error)? {
            statements::VERSION => Ok(()),
            _ => Err(StoreError::new(
                StoreErrorKind::Corrupt,
                "the tables are of another version of this crate: all nodes must run one that knows them",
            )),
        }
    }

    /// The SQL that [`migrate`](Self::migrate) runs, with the names of this store.
    pub fn schema_sql(&self) -> &str {
        &self.settings.statements.schema
    }

    async fn version(&self, client: &ClientWrapper) -> Result<Option<i32>, Failure> {
        let statements = &self.settings.statements;
        let exists = "SELECT to_regclass($1) IS NOT NULL";
        let exists = self.rows(client, exists, &[(&statements.migrations, Type::TEXT)]).await?;
        if !exists.first().map_or(Ok(false), |row| row.try_get(0))? {
            return Ok(None);
        }
        let newest = self.rows(client, &statements.version, &[]).await?;
        Ok(newest.first().map_or(Ok(None), |row| row.try_get(0))?)
    }

    async fn in_time<T>(&self, operation: impl Future<Output = Result<T, Failure>>) -> Result<T, StoreError> {
        if let Ok(answer) = tokio::time::timeout(self.settings.timeout, operation).await {
            return answer.map_err(store_error);
        }
        // The network may have dropped all connections without a word: only those that were of use lately stay.
        self.pool.retain(|_, metrics| metrics.last_used() < self.settings.timeout);
        Err(timed_out())
    }

    async fn rows(
        &self,
        client: &ClientWrapper,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        if !self.settings.prepared {
            return Ok(client.query_typed(sql, parameters).await?);
        }
        let types: Vec<Type> = parameters.iter().map(|(_, kind)| kind.clone()).collect();
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|(value, _)| *value).collect();
        let statement = client.prepare_typed_cached(sql, &types).await?;
        Ok(client.query(&statement, &values).await?)
    }

    /// The one row of a statement that always gives one.
    async fn row(
        &self,
        client: &ClientWrapper,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, Failure> {
        let rows = self.rows(client, sql, parameters).await?;
        rows.into_iter().next().ok_or(Failure::Corrupt("a statement that gives one row gave none"))
    }

    /// The time that statements decide by: none, and they ask the server; in tests the one given.
    fn clock(&self) -> Option<i64> {
        self.settings.clock.as_ref().map(|clock| clock.now().as_unix_millis())
    }

    async fn purge(&self, sql: &str, pages: i64) -> Result<u64, StoreError> {
        let (mut from, mut purged) = (0, 0);
        while from < pages {
            let (first, end) = (format!("({from},0)"), format!("({},0)", from.saturating_add(PAGES)));
            let clock = self.clock();
            let rows = on_connection!(self, |client| {
                let parameters: [Parameter<'_>; 3] =
                    [(&first, Type::TEXT), (&end, Type::TEXT), (&clock, Type::INT8)];
                self.rows(client, sql, &parameters).await
            });
            if let Some(row) = rows.await?.first() {
                purged += unsigned(row.try_get(0).map_err(|error| store_error(error.into()))?);
            }
            from = from.saturating_add(PAGES);
        }
        Ok(purged)
    }
}

/// Shows nothing of the pool, whose own output may hold a password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("statements", &self.settings.statements).finish_non_exhaustive()
    }
}

impl PostgresStoreBuilder {
    /// Replaces the schema of the tables: by default `tower_jwt_auth`. 1 to 48 lower-case letters, digits and `_`, not
    /// beginning with a digit.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Puts a prefix before the names of the tables `sessions`, `subjects`, `revocations` and `migrations`: by default
    /// none. As the schema, or empty.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Prepares no statement: for poolers in transaction mode, where the next statement may run on another connection.
    /// PostgreSQL then plans each statement anew.
    pub fn unprepared(mut self) -> Self {
        self.prepared = false;
        self
    }

    /// Tells other nodes nothing of what this one ends: for deployments where none [listens](PostgresStore::listen).
    ///
    /// PostgreSQL lets the commits of all transactions with a NOTIFY wait for each other, those of other applications, too. Only
    /// ends of sessions and revocations of tokens have one.
    pub fn without_notify(mut self) -> Self {
        self.notifies = false;
        self
    }

    /// Replaces how long one try of an operation may take, waiting for a connection included: by default 2 seconds.
    /// The service tries twice.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
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
    /// A name has another form.
    pub fn build(self) -> Result<PostgresStore, ConfigError> {
        let settings = Settings {
            statements: Statements::new(&self.schema, &self.prefix, self.notifies)?,
            prepared: self.prepared,
            timeout: self.timeout,
            clock: self.clock,
            feed: SessionFeed::new(),
        };
        Ok(PostgresStore { pool: self.pool, settings: Arc::new(settings) })
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn pool(url: &str, connections: usize) -> Result<Pool, ConfigError> {
    // The error may quote the text, and with it a password.
    let error = || {
        ConfigError::new(
            ConfigErrorKind::Store,
            "the URL of PostgreSQL must be postgres://USER@HOST:PORT/DATABASE, or `host=.. user=.. dbname=..`",
        )
    };
    let mut config = Config::from_str(url).map_err(|_| error())?;
    // The last word counts, so that those of the URL win.
    let options = config.get_options().map_or_else(|| LIMITS.to_owned(), |own| format!("{LIMITS} {own}"));
    config.options(options);
    if config.get_application_name().is_none() {
        config.application_name("tower-jwt-auth");
    }
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build().map_err(|_| error())
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl SessionStore for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let clock = self.clock();
        let now = on_connection!(self, |client| {
            let row = self.row(client, self.settings.statements.now, &[(&clock, Type::INT8)]).await?;
            Ok(row.try_get(0)?)
        });
        now.await.map(Timestamp::from_unix_millis)
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        let statements = &self.settings.statements;
        let digest = SubjectDigest::of(&session.subject);
        let (subject, session_id) = (&digest.as_bytes()[..], &session.session_id.as_bytes()[..]);
        let (secret, attempt) = (&session.secret_digest.as_bytes()[..], &session.attempt.as_bytes()[..]);
        let authenticated = session.authenticated_at.as_unix_millis();
        let (idle, absolute) = (lifetime(policy.idle_lifetime()), lifetime(policy.absolute_lifetime()));
        let cap = i64::from(policy.sessions_per_subject());
        let (facts, claims) = (&facts::encode(session)?[..], &session.claims[..]);
        let creation = on_connection!(self, |client| {
            client.batch_execute("BEGIN").await?;
            let last = self.lock(client, &subject).await?;
            let now = last.now;
            let stale: [Parameter<'_>; 2] = [(&subject, Type::BYTEA), (&now, Type::INT8)];
            self.rows(client, &statements.purge_subject, &stale).await?;
            let rows = self
                .rows(
                    client,
                    &statements.create,
                    &[
                        (&subject, Type::BYTEA),
                        (&session_id, Type::BYTEA),
                        (&secret, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&authenticated, Type::INT8),
                        (&idle, Type::INT8),
                        (&absolute, Type::INT8),
                        (&cap, Type::INT8),
                        (&now, Type::INT8),
                        (&facts, Type::BYTEA),
                        (&claims, Type::BYTEA),
                        (&last.before, Type::INT8),
                    ],
                )
                .await?;
            client.batch_execute("COMMIT").await?;
            let Some(row) = rows.first() else { return Ok(Creation::RevokedMeanwhile) };
            let evicted: Vec<Vec<u8>> = row.try_get("evicted")?;
            Ok(Creation::Created {
                record: record(&digest, row)?,
                evicted: evicted
                    .iter()
                    .map(|id| Ok(SessionId::from_bytes(fixed(id)?)))
                    .collect::<Result<_, Failure>>()?,
            })
        });
        let creation = creation.await?;
        self.settings.feed.tell_created(&creation);
        Ok(creation)
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        let (subject, session_id) = (&presented.subject.as_bytes()[..], &presented.session_id.as_bytes()[..]);
        let generation = i64::from(presented.generation);
        let (secret, attempt) = (&presented.secret_digest.as_bytes()[..], &presented.attempt.as_bytes()[..]);
        let (retry, hold) = (window(policy.retry_window()), window(policy.hold_window()));
        let idle = lifetime(policy.idle_lifetime());
        let all = policy.on_reuse() == OnReuse::Subject;
        let until_used = policy.is_until_used();
        let clock = self.clock();
        let rotation = on_connection!(self, |client| {
            let due = self
                .rows(
                    client,
                    &self.settings.statements.rotate_due,
                    &[
                        (&subject, Type::BYTEA),
                        (&session_id, Type::BYTEA),
                        (&generation, Type::INT8),
                        (&secret, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&hold, Type::INT8),
                        (&idle, Type::INT8),
                        (&clock, Type::INT8),
                        (&until_used, Type::BOOL),
                    ],
                )
                .await?;
            if let Some(row) = due.first() {
                let record = record(&presented.subject, row)?;
                let decision = Decision::Rotated(record.state);
                return Ok(Rotation { decision, record: Some(record), now: time(row, "now")? });
            }
            let row = self
                .row(
                    client,
                    &self.settings.statements.rotate,
                    &[
                        (&subject, Type::BYTEA),
                        (&session_id, Type::BYTEA),
                        (&generation, Type::INT8),
                        (&secret, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&retry, Type::INT8),
                        (&hold, Type::INT8),
                        (&idle, Type::INT8),
                        (&all, Type::BOOL),
                        (&clock, Type::INT8),
                        (&until_used, Type::BOOL),
                    ],
                )
                .await?;
            let rule: i32 = row.try_get("rule")?;
            let before = if rule == 0 { None } else { Some(record(&presented.subject, &row)?) };
            rotation(rule, time(&row, "now")?, before, presented, policy)
        });
        let rotation = rotation.await?;
        self.settings.feed.tell_rotation(presented, policy, &rotation);
        Ok(rotation)
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        let (key, id) = (&subject.as_bytes()[..], &session_id.as_bytes()[..]);
        on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 2] = [(&key, Type::BYTEA), (&id, Type::BYTEA)];
            let rows = self.rows(client, &self.settings.statements.get, &parameters).await?;
            rows.first().map(|row| record(subject, row)).transpose()
        })
        .await
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        let (key, clock) = (&subject.as_bytes()[..], self.clock());
        on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 2] = [(&key, Type::BYTEA), (&clock, Type::INT8)];
            let rows = self.rows(client, &self.settings.statements.list, &parameters).await?;
            rows.iter().map(|row| record(subject, row)).collect()
        })
        .await
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let (key, id) = (&subject.as_bytes()[..], &session_id.as_bytes()[..]);
        let (proof, attempt) = (proof.map(|proof| &proof.as_bytes()[..]), &attempt.as_bytes()[..]);
        let clock = self.clock();
        let ended = on_connection!(self, |client| {
            let row = self
                .row(
                    client,
                    &self.settings.statements.revoke,
                    &[
                        (&key, Type::BYTEA),
                        (&id, Type::BYTEA),
                        (&proof, Type::BYTEA),
                        (&attempt, Type::BYTEA),
                        (&clock, Type::INT8),
                    ],
                )
                .await?;
            Ok(row.try_get(0)?)
        });
        let ended = ended.await.inspect_err(|_| self.settings.feed.tell_uncertain(subject))?;
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
        let (key, except_id) = (&subject.as_bytes()[..], except.map(|id| &id.as_bytes()[..]));
        let (attempt, memory) = (&attempt.as_bytes()[..], lifetime(policy.revocation_memory()));
        let ended = on_connection!(self, |client| {
            client.batch_execute("BEGIN").await?;
            let last = self.lock(client, &key).await?;
            let ended = if last.is_resent(attempt) {
                last.sessions.unwrap_or_default()
            } else {
                let row = self
                    .row(
                        client,
                        &self.settings.statements.revoke_all,
                        &[
                            (&key, Type::BYTEA),
                            (&except_id, Type::BYTEA),
                            (&last.now, Type::INT8),
                            (&attempt, Type::BYTEA),
                            (&memory, Type::INT8),
                        ],
                    )
                    .await?;
                row.try_get(0)?
            };
            client.batch_execute("COMMIT").await?;
            Ok(unsigned(ended))
        });
        let ended = ended.await.inspect_err(|_| self.settings.feed.tell_uncertain(subject))?;
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
        let (subject, session_id) = (&subject.as_bytes()[..], &session_id.as_bytes()[..]);
        let (generation, issue, clock) = (i64::from(generation), i64::from(issue), self.clock());
        on_connection!(self, |client| {
            let parameters: [Parameter<'_>; 5] = [
                (&subject, Type::BYTEA),
                (&session_id, Type::BYTEA),
                (&generation, Type::INT8),
                (&issue, Type::INT8),
                (&clock, Type::INT8),
            ];
            self.rows(client, &self.settings.statements.mark_used, &parameters).await?;
            Ok(())
        })
        .await
    }

    /// Looks through the tables in small steps, each a transaction of its own, and passes over what is in use. May run
    /// on many nodes at once. Revocations of tokens that are no longer needed go, too, and are not counted.
    async fn purge_expired(&self) -> Result<u64, StoreError> {
        let statements = &self.settings.statements;
        let pages = on_connection!(self, |client| {
            let names: [Parameter<'_>; 3] = [
                (&statements.sessions, Type::TEXT),
                (&statements.subjects, Type::TEXT),
                (&statements.revocations, Type::TEXT),
            ];
            let row = self.row(client, statements.pages, &names).await?;
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        });
        let (sessions, subjects, revocations): (i64, i64, Option<i64>) = pages.await?;
        let purged = self.purge(&statements.purge_sessions, sessions).await?;
        self.purge(&statements.purge_subjects, subjects).await?;
        self.purge(&statements.purge_revocations, revocations.unwrap_or_default()).await?;
        Ok(purged)
    }

    fn feed(&self) -> Option<&SessionFeed> {
        Some(&self.settings.feed)
    }
}

impl PostgresStore {
    async fn lock(&self, client: &ClientWrapper, subject: &&[u8]) -> Result<LastRevocation, Failure> {
        let clock = self.clock();
        let parameters: [Parameter<'_>; 2] = [(subject, Type::BYTEA), (&clock, Type::INT8)];
        let row = self.row(client, &self.settings.statements.lock_subject, &parameters).await?;
        Ok(LastRevocation {
            now: row.try_get("now")?,
            before: row.try_get("revoked_before")?,
            at: row.try_get("revoked_at")?,
            by: row.try_get("revoked_by")?,
            sessions: row.try_get("revoked_sessions")?,
        })
    }
}

/// What the locked row of a subject says, and the time.
struct LastRevocation {
    now: i64,
    before: Option<i64>,
    at: Option<i64>,
    by: Option<Vec<u8>>,
    sessions: Option<i64>,
}

impl LastRevocation {
    fn is_resent(&self, attempt: &[u8]) -> bool {
        self.by.as_deref() == Some(attempt) && self.at.is_some_and(|at| self.now.abs_diff(at) < 60_000)
    }
}

/// The answer of the statement in the crate's terms. The statement has written what the rule says; what that is, the
/// rule says here once more.
fn rotation(
    rule: i32,
    now: Timestamp,
    before: Option<Record>,
    presented: &Presented,
    policy: &SessionPolicy,
) -> Result<Rotation, Failure> {
    let decision = match rule {
        17 => Decision::Superseded,
        18 => Decision::Reused,
        _ => decide(before.as_ref(), presented, policy, now),
    };
    if rule < 10 && i32::from(decision.row()) != rule {
        return Err(Failure::Corrupt("the statement of PostgreSQL and the rule of this version disagree"));
    }
    let record = before.map(|record| match decision.state() {
        Some(state) => Record { state: *state, ..record },
        None => record,
    });
    Ok(Rotation { decision, record, now })
}

fn record(subject: &SubjectDigest, row: &Row) -> Result<Record, Failure> {
    let number = |name| -> Result<u32, Failure> {
        u32::try_from(row.try_get::<_, i64>(name)?).map_err(|_| Failure::Corrupt(UNREADABLE))
    };
    let used_at: Option<i64> = row.try_get("used_at")?;
    let state = RotationState {
        generation: number("generation")?,
        minted_at: time(row, "minted_at")?,
        handed_at: time(row, "handed_at")?,
        used_at: used_at.map(Timestamp::from_unix_millis),
        issue: number("issue")?,
        attempt: Attempt::from_bytes(fixed(row.try_get("attempt")?)?),
        last_used_at: time(row, "last_used_at")?,
        idle_expires_at: time(row, "idle_expires_at")?,
    };
    let kept = Kept {
        subject: *subject,
        session_id: SessionId::from_bytes(fixed(row.try_get("session_id")?)?),
        secret_digest: SecretDigest::from_bytes(fixed(row.try_get("secret_digest")?)?),
        created_at: time(row, "created_at")?,
        absolute_expires_at: time(row, "absolute_expires_at")?,
    };
    let facts = facts::decode(row.try_get("facts")?, row.try_get("claims")?, &kept)?;
    Ok(Record { facts: Arc::new(facts), state })
}

const UNREADABLE: &str = "a row of the sessions was not written by this version of the store";

fn time(row: &Row, name: &str) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_unix_millis(row.try_get(name)?))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Failure> {
    bytes.try_into().map_err(|_| Failure::Corrupt(UNREADABLE))
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

/// A length that is added to a time: what is below a millisecond is dropped.
fn lifetime(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A length that whole milliseconds are compared with: `<` says the same of the next whole millisecond.
fn window(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// What keeps an operation from its answer.
enum Failure {
    Pool(PoolError),
    Postgres(tokio_postgres::Error),
    Store(StoreError),
    Corrupt(&'static str),
}

impl Failure {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code().is_some_and(|code| {
            [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
        }))
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Postgres(error),
            error => Self::Pool(error),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn timed_out() -> StoreError {
    StoreError::new(StoreErrorKind::Timeout, "PostgreSQL did not answer in time")
}

fn store_error(failure: Failure) -> StoreError {
    use StoreErrorKind::{Corrupt, Timeout, Unavailable};
    let error = match failure {
        Failure::Store(error) => return error,
        Failure::Corrupt(message) => return StoreError::new(Corrupt, message),
        Failure::Pool(error) => {
            return StoreError::new(Unavailable, "the pool has no connection to PostgreSQL")
                .with_source(error);
        }
        Failure::Postgres(error) => error,
    };
    let (kind, message) = match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE => {
            (Timeout, "PostgreSQL did not answer in time")
        }
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => (
            Unavailable,
            "this PostgreSQL is a standby, which takes no writes: use `target_session_attrs=read-write`",
        ),
        Some(code)
            if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME]
                .contains(code) =>
        {
            (Corrupt, "the tables are missing, or another version's: call `migrate`")
        }
        Some(code) if *code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE => (Corrupt, UNREADABLE),
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => (
            Unavailable,
            "the role needs USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on its tables",
        ),
        Some(code)
            if *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::DUPLICATE_PSTATEMENT =>
        {
            (
                Unavailable,
                "a prepared statement is on another connection: behind a transaction pooler use `unprepared`",
            )
        }
        _ => (Unavailable, "PostgreSQL cannot be reached, or refuses"),
    };
    StoreError::new(kind, message).with_source(error)
}
