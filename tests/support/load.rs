//! Honest clients over several nodes: they log in, refresh from one or two tabs, log out, end all sessions of a subject,
//! and now and then present what should have ended. They note what they see.

// As in `mod.rs`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::sleep;
use tower_jwt_auth::{
    Creation, NewSession, Retry, SessionId, SessionPolicy, SessionStore, StoreError, SubjectDigest,
};

use super::history::{Event, History, Login, Refresh, What};
use super::support::{fresh_attempt, new_session, present};

/// Of a call of a store. A request makes two.
pub const TIMEOUT: Duration = Duration::from_millis(200);

/// Less, for a connection that is to notice first.
pub const SHORTER: Duration = Duration::from_millis(150);

const CLIENTS: usize = 16;
const SUBJECTS: usize = 3;

/// How many sessions that should have ended a client remembers.
const GHOSTS: usize = 4;

/// What all clients share.
pub struct Load<S> {
    pub nodes: Vec<S>,
    policy: SessionPolicy,
    moments: AtomicU64,
    events: Mutex<Vec<Event>>,
    is_over: AtomicBool,
}

/// A session and the jar of its browser: the newest generation it was given.
struct Held {
    session: NewSession,
    jar: AtomicU32,
}

/// The same attempt twice, as the service does.
async fn twice<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> Option<T> {
    match ask().await {
        Ok(answer) => Some(answer),
        Err(_) => ask().await.ok(),
    }
}

fn random(below: usize) -> usize {
    usize::try_from(RandomState::new().build_hasher().finish() % below as u64).unwrap()
}

fn name(subject: usize) -> String {
    format!("subject-{subject}")
}

impl<S: SessionStore> Load<S> {
    /// The windows are those of rotation.md: T is two calls of a store, and a client that lost an answer asks again long
    /// before any outage here could make it late.
    pub fn new(nodes: Vec<S>, cap: u32) -> Arc<Self> {
        let retry = Retry::Within { retry: Duration::from_secs(60), hold: 3 * TIMEOUT };
        Arc::new(Self {
            nodes,
            policy: SessionPolicy::default().with_retry(retry).with_sessions_per_subject(cap),
            moments: AtomicU64::new(1),
            events: Mutex::default(),
            is_over: AtomicBool::new(false),
        })
    }

    /// Runs the clients for as long as `faults` takes, and a little longer. Gives what that gave, and what they saw.
    pub fn run_during<T>(self: &Arc<Self>, runtime: &Runtime, faults: impl FnOnce() -> T) -> (T, History) {
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| runtime.spawn(Arc::clone(self).client(number))).collect();
        let told = faults();
        self.is_over.store(true, Ordering::SeqCst);
        for client in clients {
            runtime.block_on(client).unwrap();
        }
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let cap = self.policy.sessions_per_subject() as usize;
        (told, History { events, cap, ..History::default() })
    }

    /// Whether each of these was seen: names of [`Event::name`].
    pub fn has_seen(&self, names: &[&str]) -> bool {
        let seen: BTreeSet<_> = self.events.lock().unwrap().iter().map(Event::name).collect();
        names.iter().all(|name| seen.contains(*name))
    }

    /// Later than all moments before it.
    pub fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, began: u64, what: What) {
        let ended = self.moment();
        self.events.lock().unwrap().push(Event { began, ended, what });
    }

    fn node(&self) -> &S {
        &self.nodes[random(self.nodes.len())]
    }

    async fn client(self: Arc<Self>, number: usize) {
        let subject = number % SUBJECTS;
        let mut ghosts: Vec<Held> = Vec::new();
        let mut held: Option<Held> = None;
        for turn in 1.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            sleep(Duration::from_millis(20 + random(40) as u64)).await;
            let session = match held.take() {
                Some(session) => session,
                None => match self.login(subject).await {
                    Some(session) => session,
                    None => continue,
                },
            };
            let is_kept = if number.is_multiple_of(4) && turn % 40 == 2 * number {
                let except = (random(2) == 0).then_some(session.session.session_id);
                tokio::join!(self.end_all(subject, except), self.refresh(&session));
                except.is_some()
            } else if number % 4 == 1 && usize::is_multiple_of(turn, 12) {
                // Another browser from now on; this one stays logged in.
                false
            } else if random(100) == 0 {
                // Whatever is in flight.
                tokio::join!(self.refresh(&session), self.log_out(subject, &session));
                false
            } else if number.is_multiple_of(2) {
                self.refresh(&session).await
            } else {
                let other_tab = async {
                    sleep(Duration::from_millis(random(20) as u64)).await;
                    self.refresh(&session).await
                };
                let (this, other) = tokio::join!(self.refresh(&session), other_tab);
                this && other
            };
            if is_kept {
                held = Some(session);
            } else {
                ghosts.push(session);
            }
            if ghosts.len() > GHOSTS {
                ghosts.remove(0);
            }
            if !ghosts.is_empty() && random(4) == 0 {
                self.refresh(&ghosts[random(ghosts.len())]).await;
            }
        }
        // All is well again, and what has ended must have.
        for session in held.iter().chain(&ghosts) {
            self.refresh(session).await;
        }
    }

    async fn login(&self, subject: usize) -> Option<Held> {
        let (node, began) = (self.node(), self.moment());
        let now = twice(|| node.now()).await?;
        let (checked, session) = (self.moment(), new_session(&name(subject), now));
        let tries = AtomicU32::new(0);
        let create = || {
            tries.fetch_add(1, Ordering::SeqCst);
            node.create(&session, &self.policy)
        };
        let outcome = match twice(create).await {
            Some(Creation::Created { evicted, .. }) => {
                Some(Login::Opened { evicted, is_second_answer: tries.into_inner() > 1 })
            }
            Some(_) => Some(Login::Refused),
            None => None,
        };
        let is_open = matches!(outcome, Some(Login::Opened { .. }));
        self.note(began, What::Login { subject, session: session.session_id, checked, outcome });
        is_open.then(|| Held { session, jar: AtomicU32::new(0) })
    }

    /// Whether the client may go on with its session: it was not told that there is none.
    async fn refresh(&self, held: &Held) -> bool {
        let (node, began) = (self.node(), self.moment());
        let presented = present(&held.session, held.jar.load(Ordering::SeqCst));
        let rotation = twice(|| node.rotate(&presented, &self.policy)).await;
        let outcome = rotation.map(|rotation| {
            let decision = rotation.decision;
            match decision.state() {
                Some(state) => {
                    if decision.hands_out() {
                        held.jar.store(state.generation, Ordering::SeqCst);
                    }
                    Refresh::Granted { row: decision.row(), generation: state.generation }
                }
                None => Refresh::Refused(decision.row()),
            }
        });
        let session = held.session.session_id;
        self.note(began, What::Refresh { session, presented: presented.generation, outcome });
        if outcome.is_none() {
            // As `Retry-After` asks for.
            sleep(Duration::from_millis(100)).await;
        }
        !matches!(outcome, Some(Refresh::Refused(_)))
    }

    async fn log_out(&self, subject: usize, held: &Held) {
        let (node, began, attempt) = (self.node(), self.moment(), fresh_attempt());
        let (subject, session) = (SubjectDigest::of(&name(subject)), held.session.session_id);
        let proof = Some(&held.session.secret_digest);
        let outcome = twice(|| node.revoke(&subject, &session, proof, &attempt)).await;
        self.note(began, What::Logout { session, outcome });
    }

    async fn end_all(&self, subject: usize, except: Option<SessionId>) {
        let (node, began, attempt) = (self.node(), self.moment(), fresh_attempt());
        let digest = SubjectDigest::of(&name(subject));
        let end = || node.revoke_subject(&digest, except.as_ref(), &self.policy, &attempt);
        let outcome = twice(end).await;
        self.note(began, What::EndAll { subject, except, outcome });
    }
}
