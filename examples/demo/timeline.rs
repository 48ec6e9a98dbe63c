//! The time line: what the server did to a user's sessions, from the crate's hook [`Events`], for the page to show.
//!
//! The last entries of each subject are kept in this process's memory. An application would rather write them to its
//! audit log; the hook is the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::Uri;
use serde_json::{Value, json};
use tower_jwt_auth::{ClientInfo, Events, SessionEvent, SessionId, Verified};

use crate::accounts::User;

const ENTRIES: usize = 50;
const SUBJECTS: usize = 200;

/// The name of an entry for what no event tells: a refresh that was answered without a new refresh token.
const CURRENT: &str = "current";

/// Cheap to clone; all clones share the entries.
#[derive(Clone, Default)]
pub(crate) struct Timeline(Arc<Mutex<Rings>>);

#[derive(Default)]
struct Rings {
    /// The number of the newest entry.
    newest: u64,
    by_subject: HashMap<String, VecDeque<Entry>>,
}

#[derive(Clone)]
struct Entry {
    number: u64,
    at: u64,
    kind: &'static str,
    session: Option<SessionId>,
    generation: Option<u32>,
    client: Option<ClientInfo>,
    why: Option<&'static str>,
    sessions: Option<u64>,
}

/// `GET /api/timeline?after=N`, to stand behind the bearer layer.
pub(crate) fn router(timeline: Timeline) -> Router {
    Router::new().route("/api/timeline", get(entries)).with_state(timeline)
}

/// The entries after a number, of the token's own subject and nobody else.
async fn entries(user: Verified<User>, State(timeline): State<Timeline>, uri: Uri) -> Json<Value> {
    let after = uri.query().and_then(|query| query.strip_prefix("after=")).and_then(|text| text.parse().ok());
    let rings = timeline.rings();
    // A number from before a restart says nothing about these entries.
    let after = after.filter(|after| *after <= rings.newest).unwrap_or(0);
    let ring = rings.by_subject.get(user.subject());
    let entries: Vec<Value> = ring
        .into_iter()
        .flatten()
        .filter(|entry| entry.number > after)
        .map(|entry| entry.to_json(user.session_id()))
        .collect();
    Json(json!({ "now": now(), "newest": rings.newest, "entries": entries }))
}

impl Timeline {
    /// A refresh was answered without a new refresh token, as the client has been given its own just now.
    pub(crate) fn current(&self, session: SessionId, generation: u32, client: Option<ClientInfo>) {
        let entry =
            Entry { session: Some(session), generation: Some(generation), client, ..Entry::new(CURRENT) };
        self.rings().add(None, entry);
    }

    /// Notes which generation the newest entry of a session handed out: the hook's events hold nothing of a token.
    pub(crate) fn handed_out(&self, session: SessionId, generation: u32) {
        if let Some(entry) = self.rings().newest_of(session) {
            entry.generation.get_or_insert(generation);
        }
    }

    /// The newest entry of a session: its number and its kind.
    pub(crate) fn newest_of(&self, session: SessionId) -> Option<(u64, &'static str)> {
        self.rings().newest_of(session).map(|entry| (entry.number, entry.kind))
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Timeline {
    fn event(&self, event: &SessionEvent<'_>) {
        let entry = Entry {
            session: event.session_id(),
            client: event.client().cloned(),
            why: event.why(),
            sessions: event.sessions(),
            ..Entry::new(event.kind().as_str())
        };
        self.rings().add(event.subject(), entry);
    }
}

impl Rings {
    /// Where no subject is named, it is the one in whose ring the session is.
    fn add(&mut self, subject: Option<&str>, entry: Entry) {
        let Some(subject) = subject.map(str::to_owned).or_else(|| self.subject_of(entry.session?)) else {
            return;
        };
        self.newest += 1;
        let ring = self.by_subject.entry(subject).or_default();
        if ring.len() == ENTRIES {
            ring.pop_front();
        }
        ring.push_back(Entry { number: self.newest, ..entry });
        if self.by_subject.len() > SUBJECTS {
            self.forget_one();
        }
    }

    fn subject_of(&self, session: SessionId) -> Option<String> {
        let holds = |ring: &VecDeque<Entry>| ring.iter().any(|entry| entry.session == Some(session));
        self.by_subject.iter().find_map(|(subject, ring)| holds(ring).then(|| subject.clone()))
    }

    fn newest_of(&mut self, session: SessionId) -> Option<&mut Entry> {
        let of_session =
            self.by_subject.values_mut().flatten().filter(|entry| entry.session == Some(session));
        of_session.max_by_key(|entry| entry.number)
    }

    /// Forgets the subject that nothing happened to for the longest time.
    fn forget_one(&mut self) {
        let newest = |ring: &VecDeque<Entry>| ring.back().map(|entry| entry.number);
        let idle = self.by_subject.iter().min_by_key(|(_, ring)| newest(ring));
        if let Some(subject) = idle.map(|(subject, _)| subject.clone()) {
            self.by_subject.remove(&subject);
        }
    }
}

impl Entry {
    fn new(kind: &'static str) -> Self {
        Self {
            number: 0,
            at: now(),
            kind,
            session: None,
            generation: None,
            client: None,
            why: None,
            sessions: None,
        }
    }

    /// `own` is the session that asks.
    fn to_json(&self, own: Option<&str>) -> Value {
        let session = self.session.map(|session| session.to_string());
        let client = self.client.as_ref();
        json!({
            "number": self.number,
            "at": self.at,
            "kind": self.kind,
            "own": session.is_some() && session.as_deref() == own,
            // Enough to tell a few sessions apart.
            "session": session.as_deref().and_then(|session| session.get(..6)),
            "generation": self.generation,
            "user_agent": client.and_then(|client| client.user_agent.as_deref()),
            "address": client.and_then(|client| client.address),
            "why": self.why,
            "sessions": self.sessions,
        })
    }
}

/// Unix milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
