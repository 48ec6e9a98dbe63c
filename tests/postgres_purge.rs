//! The clean-up of [`PostgresStore`]: what goes, what stays, and that it waits for nobody.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
mod support;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tower_jwt_auth::test_util::{created, fresh_attempt, new_session, present, unique};
use tower_jwt_auth::{
    Clock, Creation, NewSession, PostgresStore, PurgeTask, Retry, RevocationKey, RevocationStore,
    SessionPolicy, SessionStore, SubjectDigest, Timestamp,
};

use engines::postgres::Postgres;
use support::{DAY, HOUR, MINUTE, ManualClock, SECOND};

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start_fast);

/// Sessions end two hours after their last use.
fn policy() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict).with_idle_lifetime(2 * HOUR)
}

/// A store over tables of its own, and its clock.
struct Site {
    store: PostgresStore,
    clock: ManualClock,
    schema: String,
}

impl Site {
    async fn new() -> Self {
        let (clock, schema) = (ManualClock::new(), format!("purge_{}", unique()));
        let pool = PostgresStore::open(&POSTGRES.url()).unwrap().pool().clone();
        let builder = PostgresStore::builder(pool).schema(&schema);
        let store = builder.clock(clock.clone()).build().unwrap();
        store.migrate().await.unwrap();
        Self { store, clock, schema }
    }

    async fn login(&self, subject: &str) -> NewSession {
        let session = new_session(subject, self.clock.now());
        created(self.store.create(&session, &policy()).await.unwrap());
        session
    }

    async fn is_alive(&self, session: &NewSession) -> bool {
        let subject = SubjectDigest::of(&session.subject);
        self.store.get(&subject, &session.session_id).await.unwrap().is_some()
    }

    async fn logout(&self, session: &NewSession) {
        let subject = SubjectDigest::of(&session.subject);
        let ended = self.store.revoke(&subject, &session.session_id, None, &fresh_attempt()).await;
        assert!(ended.unwrap());
    }

    async fn end_all(&self, subject: &str) -> u64 {
        let subject = SubjectDigest::of(subject);
        self.store.revoke_subject(&subject, None, &policy(), &fresh_attempt()).await.unwrap()
    }

    async fn purge(&self) -> u64 {
        self.store.purge_expired().await.unwrap()
    }

    fn count(&self, table: &str, condition: &str) -> u64 {
        let query = format!("SELECT count(*) FROM {}.{table} WHERE {condition}", self.schema);
        POSTGRES.psql(&query).parse().unwrap()
    }

    fn rows(&self) -> [u64; 2] {
        ["sessions", "subjects"].map(|table| self.count(table, "true"))
    }

    /// Rows as the store makes them, one a subject, whose sessions expire at a time. Every row is told from others by
    /// `name` and a number.
    fn insert(&self, name: &str, rows: u32, expires_at: i64, ended_at: Option<i64>) {
        let (schema, now) = (&self.schema, self.clock.now().as_unix_millis());
        let ended = ended_at.map_or_else(|| "NULL".to_owned(), |at| at.to_string());
        let key = format!("decode(md5('{name}' || number), 'hex')");
        let numbers = format!("generate_series(1, {rows}) AS number");
        POSTGRES.psql(&format!(
            "INSERT INTO {schema}.sessions (
                subject, session_id, secret_digest, generation, issue, minted_at, handed_at, last_used_at,
                idle_expires_at, attempt, created_at, absolute_expires_at, facts, claims, ended_at, ended_row, ended_by
             )
             SELECT {key}, {key}, {key} || {key}, 0, 0, {now}, {now}, {now},
                {expires_at}, {key}, {now}, {expires_at} + 1, '{{}}', '{{}}', {ended}, 0, {key}
             FROM {numbers};
             INSERT INTO {schema}.subjects (subject, forget_at) SELECT {key}, {now} FROM {numbers}"
        ));
    }
}

fn millis(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap()
}

#[tokio::test]
async fn what_is_old_goes_and_all_else_stays() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let now = site.clock.now().as_unix_millis();
    let (day, minute) = (millis(DAY), millis(MINUTE));
    let live = site.login("live").await;
    let expired = 5_000;
    // In turns, so that each page has some of each.
    for part in 0..10 {
        let insert = |name: &str, rows, expires_at, ended_at| {
            site.insert(&format!("{name}-{part}-"), rows, expires_at, ended_at);
        };
        insert("live", 100, now + 1, None);
        insert("expired today", 50, now - day + 1, None);
        insert("expired", expired / 10, now - day, None);
        insert("ended just now", 50, now + day, Some(now - minute + 1));
        insert("ended", 300, now + day, Some(now - minute));
        insert("ended and expired", 50, now - day, Some(now));
        insert("ended in the future", 20, now + day, Some(now + minute));
    }
    let pages = format!("SELECT pg_relation_size('{}.sessions') / 8192", site.schema);
    assert!(POSTGRES.psql(&pages).parse::<u32>().unwrap() > 256, "more than one step");

    assert_eq!(site.purge().await, u64::from(expired));
    assert_eq!(
        site.rows(),
        [2_501, 2_501],
        "live, expired today, ended just now also if it had expired, and the one that signed in"
    );
    assert_eq!(site.count("sessions", "ended_at IS NULL"), 1_501);
    let missing = format!("subject NOT IN (SELECT subject FROM {}.subjects)", site.schema);
    assert_eq!(site.count("sessions", &missing), 0);
    assert!(site.is_alive(&live).await);
    assert_eq!(site.purge().await, 0);
    site.clock.advance(DAY + SECOND);
    assert_eq!(site.purge().await, 1_500);
    assert_eq!(site.rows(), [1, 1]);
    site.clock.advance(DAY);
    assert_eq!(site.purge().await, 1);
    assert_eq!(site.rows(), [0, 0]);
    assert_eq!(site.purge().await, 0);
}

/// The end of all sessions refuses logins that began before it, for as long as the policy says.
#[tokio::test]
async fn marks_stay_as_long_as_they_are_needed() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let early = new_session("ada", site.clock.now());
    site.login("ada").await;
    site.clock.advance(SECOND);
    assert_eq!(site.end_all("ada").await, 1);
    let memory = policy().revocation_memory();
    site.clock.advance(memory);
    site.clock.step_back(SECOND);
    assert_eq!(site.purge().await, 0);
    assert_eq!(site.rows(), [0, 1]);
    let refused = site.store.create(&early, &policy()).await.unwrap();
    assert_eq!(refused, Creation::RevokedMeanwhile);

    // A call that begins keeps the row for an hour at least.
    site.clock.advance(HOUR);
    site.clock.step_back(SECOND);
    assert_eq!((site.purge().await, site.rows()), (0, [0, 1]));
    site.clock.advance(SECOND);
    assert_eq!((site.purge().await, site.rows()), (0, [0, 0]));
    created(site.store.create(&early, &policy()).await.unwrap());
    assert_eq!((site.purge().await, site.rows()), (0, [1, 1]));
}

/// Also where the sum of the time and the length is beyond the range.
#[tokio::test]
async fn revocations_go_when_they_are_over() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let key = |name: &str| RevocationKey::token("https://issuer.example", name);
    let revoke = async |name: &str, millis, length| {
        let not_before = Timestamp::from_unix_millis(millis);
        site.store.revoke_issued_before(&key(name), not_before, length).await.unwrap();
    };
    let kept =
        async |name: &str| site.store.not_before(&key(name)).await.unwrap().map(Timestamp::as_unix_millis);
    revoke("hour", 7, HOUR).await;
    revoke("day", 7, DAY).await;
    revoke("for ever", 7, Duration::MAX).await;
    let rows = || site.count("revocations", "true");

    site.clock.advance(HOUR);
    assert_eq!((site.purge().await, rows()), (0, 3), "the last millisecond is kept");
    assert_eq!(kept("hour").await, Some(7));
    site.clock.advance(Duration::from_millis(1));
    assert_eq!(kept("hour").await, None);
    assert_eq!(rows(), 3, "not read, though it is there");
    assert_eq!((site.purge().await, rows()), (0, 2), "revocations are not counted");

    site.clock.advance(DAY);
    revoke("day", 5, HOUR).await;
    assert_eq!(kept("day").await, Some(5), "what was forgotten counts no longer");
    site.clock.advance(1_000 * 365 * DAY);
    assert_eq!((site.purge().await, rows()), (0, 1));
    assert_eq!((kept("day").await, kept("for ever").await), (None, Some(7)));
}

/// A resent call is answered as before, also with a clean-up in between.
#[tokio::test]
async fn ends_are_told_again_for_a_minute() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let [logout, reused] = [site.login("ada").await, site.login("bob").await];
    let (subject, attempt) = (SubjectDigest::of("ada"), fresh_attempt());
    let revoke = || site.store.revoke(&subject, &logout.session_id, None, &attempt);
    assert!(revoke().await.unwrap());
    for generation in [0, 1] {
        site.store.rotate(&present(&reused, generation), &policy()).await.unwrap();
    }
    let stolen = present(&reused, 0);
    let rotate = async || site.store.rotate(&stolen, &policy()).await.unwrap().decision.as_str();
    assert_eq!(rotate().await, "reused");
    for (advance, rows, ended, decision) in
        [(Duration::ZERO, 2, true, "reused"), (59 * SECOND, 2, true, "reused"), (SECOND, 0, false, "unknown")]
    {
        site.clock.advance(advance);
        assert_eq!(site.purge().await, 0, "{advance:?}");
        assert_eq!(site.rows()[0], rows, "{advance:?}");
        assert_eq!((revoke().await.unwrap(), rotate().await), (ended, decision), "{advance:?}");
    }
}

#[tokio::test]
async fn what_is_locked_is_passed_over() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let now = site.clock.now().as_unix_millis();
    site.insert("expired", 1_000, now - millis(DAY), None);
    let other = POSTGRES.url();
    let holder = PostgresStore::open(&other).unwrap().pool().get().await.unwrap();
    let lock =
        |table: &str| format!("SELECT FROM {}.{table} ORDER BY subject LIMIT 3 FOR UPDATE", site.schema);
    holder.batch_execute(&format!("BEGIN; {}", lock("sessions"))).await.unwrap();
    assert_eq!(site.purge().await, 997);
    assert_eq!(site.rows(), [3, 3]);
    holder.batch_execute(&format!("COMMIT; BEGIN; {}", lock("subjects"))).await.unwrap();
    assert_eq!(site.purge().await, 3);
    assert_eq!(site.rows(), [0, 3]);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(site.purge().await, 0);
    assert_eq!(site.rows(), [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_purge_at_once() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let now = site.clock.now().as_unix_millis();
    for round in 0..3 {
        site.insert(&format!("expired-{round}-"), 4_000, now - millis(DAY), None);
        site.insert(&format!("live-{round}-"), 100, now + millis(DAY), None);
        let purges: Vec<_> = (0..4)
            .map(|_| {
                let store = site.store.clone();
                tokio::spawn(async move { store.purge_expired().await.unwrap() })
            })
            .collect();
        let mut purged = 0;
        for purge in purges {
            purged += purge.await.unwrap();
        }
        assert_eq!(purged, 4_000, "each is counted once");
        site.purge().await;
        assert_eq!(site.rows(), [100 * (round + 1); 2]);
    }
}

/// A subject whose row is old signs in again while the clean-up looks at it: the session has its subject.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subjects_sign_in_while_they_are_forgotten() {
    if !engines::has_postgres() {
        return;
    }
    let site = Arc::new(Site::new().await);
    for round in 0..20 {
        let subjects: Vec<_> = (0..20).map(|number| format!("{round}-{number}")).collect();
        for subject in &subjects {
            assert_eq!(site.end_all(subject).await, 0);
        }
        site.clock.advance(30 * DAY);
        let purge = tokio::spawn({
            let site = Arc::clone(&site);
            async move { site.purge().await }
        });
        let mut sessions = Vec::new();
        for subject in &subjects {
            sessions.push(site.login(subject).await);
        }
        purge.await.unwrap();
        let missing = format!("subject NOT IN (SELECT subject FROM {}.subjects)", site.schema);
        assert_eq!(site.count("sessions", &missing), 0, "round {round}");
        for session in &sessions {
            assert!(site.is_alive(session).await, "round {round}");
            site.logout(session).await;
        }
    }
}

/// At once, then every second, until it is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_purges_until_it_is_dropped() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let store = Arc::new(site.store.clone());
    let now = site.clock.now().as_unix_millis();
    site.insert("first", 10, now - millis(DAY), None);
    let task = PurgeTask::spawn(Arc::clone(&store), SECOND).unwrap();
    let forgotten = || site.rows() == [0, 0];
    engines::wait_until("the first purge", forgotten);
    site.insert("second", 10, now - millis(DAY), None);
    engines::wait_until("the second purge", forgotten);
    assert_eq!(Arc::strong_count(&store), 2);
    drop(task);
    engines::wait_until("the task has ended", || Arc::strong_count(&store) == 1);
    site.insert("third", 10, now - millis(DAY), None);
    assert_eq!(site.rows(), [10, 10]);
}

/// A purge that fails does not end the task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_survives_an_outage() {
    if !engines::has_postgres() {
        return;
    }
    let site = Site::new().await;
    let now = site.clock.now().as_unix_millis();
    site.insert("expired", 10, now - millis(DAY), None);
    let rename = |from: &str, to: &str| POSTGRES.psql(&format!("ALTER SCHEMA {from} RENAME TO {to}"));
    let away = format!("{}_away", site.schema);
    rename(&site.schema, &away);
    assert!(site.store.purge_expired().await.is_err());
    let _task = PurgeTask::spawn(site.store.clone(), SECOND).unwrap();
    // The first purge, which is at once, has failed.
    tokio::time::sleep(SECOND / 2).await;
    rename(&away, &site.schema);
    assert_eq!(site.rows(), [10, 10]);
    engines::wait_until("a purge after that", || site.rows() == [0, 0]);
}
