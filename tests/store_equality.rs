//! All stores are one store: random histories of calls, with a clock that jumps in both directions, get the same answers
//! from memory, from Redis, from PostgreSQL, and from a reference that is written down from the documentation alone.
//!
//! `CASES` in the environment raises the number of histories.

#![cfg(all(feature = "moka", feature = "redis", feature = "postgres"))]
// As in `support/mod.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/engines/mod.rs"]
mod engines;
#[path = "support/program.rs"]
mod program;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/steps.rs"]
mod steps;
mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use tokio::runtime::Runtime;
use tower_jwt_auth::{
    Clock, Creation, Decision, MokaStore, NewSession, OnReuse, PostgresStore, ReconnectingConnection,
    RedisStore, Retry, SecretDigest, SessionId, SessionPolicy, SessionStore, StoreError, SubjectDigest,
    Timestamp,
};

use engines::postgres::Postgres;
use engines::redis::Redis;
use reference::{Answer, Call, Reference, ask};
use steps::{Proof, SLOTS, SUBJECTS, Step, Twist, history, policies};
use support::{ManualClock, fresh_attempt, new_session, present, unique};

/// The stores that the reference is held against. Memory is always there.
struct Stores {
    runtime: Runtime,
    redis: Option<ReconnectingConnection>,
    postgres: Option<(PostgresStore, String)>,
}

impl Stores {
    fn in_memory() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, redis: None, postgres: None }
    }

    fn all(redis: &Redis, postgres: &Postgres) -> Self {
        let stores = Self::in_memory();
        let schema = format!("equal_{}", unique());
        let open = PostgresStore::open(&postgres.url()).unwrap();
        let store = PostgresStore::builder(open.pool().clone()).schema(&schema).build().unwrap();
        stores.runtime.block_on(store.migrate()).unwrap();
        let connection = ReconnectingConnection::open(&redis.url()).unwrap();
        Self { redis: Some(connection), postgres: Some((store, schema)), ..stores }
    }
}

/// A fault in how memory is asked: the search must find it.
type Fault = fn(&mut Call, &mut SessionPolicy);

/// How often what was answered.
type Seen = BTreeMap<&'static str, u64>;

/// One history, from nothing on.
struct Run<'a> {
    policy: SessionPolicy,
    clock: ManualClock,
    reference: Reference,
    moka: MokaStore,
    redis: Option<RedisStore>,
    postgres: Option<PostgresStore>,
    fault: Option<Fault>,
    names: [String; SUBJECTS],
    slots: Vec<NewSession>,
    calls: Vec<Call>,
    is_again: bool,
    told: String,
    seen: &'a RefCell<Seen>,
}

impl<'a> Run<'a> {
    async fn new(
        stores: &Stores,
        policy: SessionPolicy,
        fault: Option<Fault>,
        seen: &'a RefCell<Seen>,
    ) -> Self {
        let clock = ManualClock::new();
        let redis = stores.redis.clone().map(|connection| {
            let prefix = format!("equal-{}", unique());
            RedisStore::builder(connection).prefix(prefix).clock(clock.clone()).build().unwrap()
        });
        let postgres = match &stores.postgres {
            Some((store, schema)) => {
                // A purge must find nothing of another history.
                let client = store.pool().get().await.unwrap();
                client
                    .batch_execute(&format!("DELETE FROM {schema}.sessions; DELETE FROM {schema}.subjects"))
                    .await
                    .unwrap();
                let builder = PostgresStore::builder(store.pool().clone()).schema(schema);
                Some(builder.clock(clock.clone()).build().unwrap())
            }
            None => None,
        };
        let names = ["ada", "grace"].map(|name| format!("{name}-{}", unique()));
        let slots = (0..SLOTS).map(|slot| new_session(&names[slot % SUBJECTS], clock.now())).collect();
        let moka = MokaStore::builder().clock(clock.clone()).build();
        Self {
            policy,
            clock,
            reference: Reference::default(),
            moka,
            redis,
            postgres,
            fault,
            names,
            slots,
            calls: Vec::new(),
            is_again: false,
            told: String::new(),
            seen,
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::ToEdge { edge, offset } => {
                let edges = self.reference.edges(&self.policy, self.clock.now());
                if let Some(next) = edges.get(edge % edges.len().max(1)) {
                    self.set_time(Timestamp::from_unix_millis(next.as_unix_millis() + offset)).await?;
                }
            }
            Step::Time { by } => {
                self.set_time(Timestamp::from_unix_millis(self.clock.now().as_unix_millis() + by)).await?;
            }
            Step::Purge => self.compare(&Call::Purge).await?,
            Step::Again { back } => {
                if let Some(call) = self.calls.iter().nth_back(back).cloned() {
                    self.is_again = true;
                    self.compare(&call).await?;
                    self.is_again = false;
                }
            }
            step => {
                let call = self.call(step);
                self.calls.push(call.clone());
                self.compare(&call).await?;
            }
        }
        // Also what no answer shows.
        for subject in 0..SUBJECTS {
            self.compare(&Call::List(SubjectDigest::of(&self.names[subject]))).await?;
        }
        let (subject, session_id) = self.key(self.calls.len() % SLOTS);
        self.compare(&Call::Get { subject, session_id }).await
    }

    fn key(&self, slot: usize) -> (SubjectDigest, SessionId) {
        (SubjectDigest::of(&self.slots[slot].subject), self.slots[slot].session_id)
    }

    fn generation(&self, slot: usize, behind: i64) -> u32 {
        let (subject, session_id) = self.key(slot);
        let newest = self.reference.generation(subject, session_id);
        u32::try_from(i64::from(newest) - behind).unwrap_or(0)
    }

    fn call(&mut self, step: Step) -> Call {
        match step {
            Step::Login { slot, checked } => {
                let checked = Timestamp::from_unix_millis(self.clock.now().as_unix_millis() - checked);
                self.slots[slot] = new_session(&self.names[slot % SUBJECTS], checked);
                Call::Create(self.slots[slot].clone())
            }
            Step::Impostor { slot } => {
                let session_id = self.slots[slot].session_id;
                let other = new_session(&self.names[slot % SUBJECTS], self.clock.now());
                Call::Create(NewSession { session_id, ..other })
            }
            Step::Rotate { slot, behind, twist } => {
                let mut presented = present(&self.slots[slot], self.generation(slot, behind));
                match twist {
                    Twist::None => (),
                    Twist::OtherSecret => presented.secret_digest = SecretDigest::from_bytes([9; 32]),
                    Twist::OtherSubject => {
                        presented.subject = SubjectDigest::of(&self.names[(slot + 1) % SUBJECTS]);
                    }
                }
                Call::Rotate(presented)
            }
            Step::Logout { slot, proof } => {
                let (subject, session_id) = self.key(slot);
                let proof = match proof {
                    Proof::None => None,
                    Proof::Right => Some(self.slots[slot].secret_digest),
                    Proof::Wrong => Some(SecretDigest::from_bytes([9; 32])),
                };
                Call::Revoke { subject, session_id, proof, attempt: fresh_attempt() }
            }
            Step::EndAll { subject, except } => Call::RevokeSubject {
                subject: SubjectDigest::of(&self.names[subject]),
                except: except.map(|slot| self.slots[slot].session_id),
                attempt: fresh_attempt(),
            },
            Step::Use { slot, behind, issues } => {
                let (subject, session_id) = self.key(slot);
                let newest = self.reference.issue(subject, session_id);
                let issue = u32::try_from(i64::from(newest) - issues).unwrap_or(0);
                Call::MarkUsed { subject, session_id, generation: self.generation(slot, behind), issue }
            }
            Step::Again { .. } | Step::ToEdge { .. } | Step::Time { .. } | Step::Purge => Call::Purge,
        }
    }

    /// Redis forgets by the clock, the others when they are told to: so they are told to.
    async fn set_time(&mut self, time: Timestamp) -> Result<(), TestCaseError> {
        let time = self.reference.floor().map_or(time, |floor| floor.max(time));
        let moved = time.as_unix_millis() - self.clock.now().as_unix_millis();
        self.clock.set(time);
        writeln!(self.told, "the clock moves by {moved} ms to {time:?}").unwrap();
        if self.reference.time_moved(time) { self.compare(&Call::Purge).await } else { Ok(()) }
    }

    /// Asks all, and fails where one differs from the reference.
    async fn compare(&mut self, call: &Call) -> Result<(), TestCaseError> {
        let (now, policy) = (self.clock.now(), self.policy.clone());
        if self.reference.is_unspecified(call, now) {
            return Ok(());
        }
        let expected = self.reference.answer(call, &policy, now);
        count(&mut self.seen.borrow_mut(), &expected, self.is_again);
        if !matches!(call, Call::Get { .. } | Call::List(_)) {
            writeln!(self.told, "{call:?}\n    {expected:?}").unwrap();
        }

        let (mut asked, mut altered) = (call.clone(), policy.clone());
        if let Some(fault) = self.fault {
            fault(&mut asked, &mut altered);
        }
        let (memory, redis, postgres) = tokio::join!(
            ask(&self.moka, &asked, &altered),
            ask_if_there(self.redis.as_ref(), call, &policy),
            ask_if_there(self.postgres.as_ref(), call, &policy),
        );
        for (name, answer) in [("memory", memory.map(Some)), ("Redis", redis), ("PostgreSQL", postgres)] {
            let answer = answer.map_err(|error| TestCaseError::fail(format!("{name}: {error:?}")))?;
            let Some(answer) = answer else { continue };
            if name == "Redis" && answer == Answer::Purged(0) {
                // It forgets by itself.
                continue;
            }
            prop_assert!(
                answer == expected,
                "{name} differs\ncall: {call:?}\nexpected: {expected:?}\nanswered: {answer:?}\nhistory:\n{}",
                self.told
            );
        }
        Ok(())
    }
}

async fn ask_if_there(
    store: Option<&impl SessionStore>,
    call: &Call,
    policy: &SessionPolicy,
) -> Result<Option<Answer>, StoreError> {
    match store {
        Some(store) => ask(store, call, policy).await.map(Some),
        None => Ok(None),
    }
}

fn count(seen: &mut Seen, answer: &Answer, is_again: bool) {
    let name = match answer {
        Answer::Creation(Creation::Created { evicted, .. }) if evicted.is_empty() => "created",
        Answer::Creation(Creation::Created { .. }) => "created, another evicted",
        Answer::Creation(_) => "not created",
        Answer::Rotation(rotation) if is_again && rotation.decision.state().is_none() => {
            match rotation.decision {
                Decision::Superseded | Decision::Reused => "an end told again",
                _ => "refused again",
            }
        }
        Answer::Rotation(rotation) => match rotation.decision {
            Decision::Current(state) if state.used_at == Some(rotation.now) => "current, first used",
            Decision::Reissued(state) if state.issue > 0 => "reissued, replaced",
            decision => decision.as_str(),
        },
        Answer::Ended(true) => "logged out",
        Answer::Ended(false) => "not logged out",
        Answer::AllEnded(0) => "none ended",
        Answer::AllEnded(_) => "some ended",
        Answer::Purged(0) => "none purged",
        Answer::Purged(_) => "some purged",
        Answer::Marked | Answer::Record(_) | Answer::Records(_) => return,
    };
    *seen.entry(name).or_default() += 1;
}

/// Searches for a history in which a store differs; the shortest, if there is one.
fn search(stores: &Stores, cases: u32, fault: Option<Fault>) -> (Seen, Option<String>) {
    let seen = RefCell::default();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: if fault.is_some() { 0 } else { 4000 },
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&history(), |(policy, steps)| {
        stores.runtime.block_on(async {
            let mut run = Run::new(stores, policies()[policy].clone(), fault, &seen).await;
            for step in steps {
                run.step(step).await?;
            }
            Ok(())
        })
    });
    let difference = outcome.err().map(|error| match error {
        TestError::Fail(reason, (policy, steps)) => format!("policy {policy}: {steps:#?}\n{reason}"),
        TestError::Abort(reason) => reason.to_string(),
    });
    (seen.into_inner(), difference)
}

/// No difference, and every kind of answer among those compared.
#[track_caller]
fn assert_equal(stores: &Stores, cases: u32) {
    let cases = env::var("CASES").map_or(cases, |cases| cases.parse().expect("CASES is a number"));
    let (seen, difference) = search(stores, cases, None);
    if let Some(difference) = difference {
        panic!("{difference}");
    }
    println!("{cases} histories: {seen:?}");
    for name in [
        "created",
        "created, another evicted",
        "not created",
        "unknown",
        "expired",
        "recovered",
        "current",
        "current, first used",
        "rotated",
        "reissued",
        "reissued, replaced",
        "superseded",
        "reused",
        "an end told again",
        "logged out",
        "not logged out",
        "none ended",
        "some ended",
        "none purged",
        "some purged",
    ] {
        let times = seen.get(name).copied().unwrap_or(0);
        assert!(times > 0, "{name}: {times} times");
    }
}

#[test]
fn memory_answers_as_the_documentation_says() {
    assert_equal(&Stores::in_memory(), 500);
}

#[test]
fn redis_and_postgres_answer_as_memory_does() {
    if !engines::has_redis() || !engines::has_postgres() {
        return;
    }
    let (redis, postgres) = (Redis::start(), Postgres::start_fast());
    assert_equal(&Stores::all(&redis, &postgres), 150);
}

/// Other windows, by the same rule.
fn windows(policy: &SessionPolicy, retry: Duration, hold: Duration) -> Retry {
    if policy.is_until_used() { Retry::UntilUsed { retry, hold } } else { Retry::Within { retry, hold } }
}

/// The search finds each of these.
#[test]
fn planted_faults_are_found() {
    const MILLI: Duration = Duration::from_millis(1);
    let faults: [(&str, Fault); 12] = [
        ("a longer retry", |_, policy| {
            let longer = windows(policy, policy.retry_window() + MILLI, policy.hold_window());
            *policy = policy.clone().with_retry(longer);
        }),
        ("a longer hold", |_, policy| {
            let longer = windows(policy, policy.retry_window(), policy.hold_window() + MILLI);
            *policy = policy.clone().with_retry(longer);
        }),
        ("use is not looked at", |_, policy| {
            if policy.is_until_used() {
                let (retry, hold) = (policy.retry_window(), policy.hold_window());
                *policy = policy.clone().with_retry(Retry::Within { retry, hold });
            }
        }),
        ("use of a replaced token is noted, and that of the replacement is not", |call, _| {
            if let Call::MarkUsed { issue, .. } = call {
                *issue = issue.saturating_sub(1);
            }
        }),
        ("a longer life", |_, policy| {
            *policy = policy.clone().with_idle_lifetime(policy.idle_lifetime() + Duration::from_millis(1));
        }),
        ("one session more", |_, policy| {
            *policy = policy.clone().with_sessions_per_subject(policy.sessions_per_subject() + 1);
        }),
        ("reuse ends all", |_, policy| *policy = policy.clone().with_on_reuse(OnReuse::Subject)),
        ("no proof is asked for", |call, _| {
            if let Call::Revoke { proof, .. } = call {
                *proof = None;
            }
        }),
        ("nobody is excepted", |call, _| {
            if let Call::RevokeSubject { except, .. } = call {
                *except = None;
            }
        }),
        ("a logout sent again is another", |call, _| {
            if let Call::Revoke { attempt, .. } = call {
                *attempt = fresh_attempt();
            }
        }),
        ("an end of all sent again is another", |call, _| {
            if let Call::RevokeSubject { attempt, .. } = call {
                *attempt = fresh_attempt();
            }
        }),
        ("old logins are let in", |call, _| {
            if let Call::Create(session) = call {
                session.authenticated_at = session.authenticated_at.saturating_add(Duration::from_millis(1));
            }
        }),
    ];
    let stores = Stores::in_memory();
    for (name, fault) in faults {
        let (_, difference) = search(&stores, 20_000, Some(fault));
        let difference = difference.unwrap_or_else(|| panic!("{name}: not found"));
        assert!(difference.contains("memory differs"), "{name}: {difference}");
    }
}
