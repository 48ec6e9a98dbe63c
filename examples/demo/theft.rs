//! A thief, for the demo: keeps copies of refresh tokens, and presents one when the page asks for it.
//!
//! **Do not copy this file into an application.** It keeps bearer secrets in memory, which is what the rest of the
//! crate takes care never to do, so that the page can show what happens to whoever steals one. The copies stay in
//! this process: the page is told which generations of its own session's token there are, and what a replay led to,
//! and never sees a token.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{AuthService, ClientAddress, ClientInfo, SessionId, SessionPolicy, Verified};

use crate::accounts::User;
use crate::timeline::{Timeline, now};

const TOKENS: usize = 4;
const SESSIONS: usize = 1000;
const THIEF: &str = "Thief/1.0";

/// Cheap to clone; all clones share the copies.
#[derive(Clone)]
pub(crate) struct Thief(Arc<Inner>);

struct Inner {
    auth: AuthService<User>,
    policy: SessionPolicy,
    timeline: Timeline,
    loot: Mutex<Loot>,
}

#[derive(Default)]
struct Loot {
    /// The newest token last.
    by_session: HashMap<SessionId, VecDeque<Stolen>>,
    /// The longest known first.
    order: VecDeque<SessionId>,
}

struct Stolen {
    generation: u32,
    is_bound: bool,
    /// Name and value, as a browser sends them.
    cookie: String,
    /// When it first existed, and when a client was last given it; Unix milliseconds.
    minted_at: u64,
    handed_at: u64,
}

/// Where a refresh token says that it belongs.
struct Place {
    session: SessionId,
    generation: u32,
    /// To a key, without which it is of no use.
    is_bound: bool,
}

#[derive(Deserialize)]
struct Replay {
    generation: u32,
}

/// Puts the thief around the routes of the service: it sees each cookie that goes out.
pub(crate) fn watched(auth_routes: Router, thief: Thief) -> Router {
    auth_routes.layer(from_fn_with_state(thief, watch))
}

/// `GET /api/stolen` and `POST /api/stolen/replay`, to stand behind the bearer layer: another site cannot ask for
/// either, and a user reaches the copies of the own session only.
pub(crate) fn router(thief: Thief) -> Router {
    Router::new()
        .route("/api/stolen", get(stolen))
        .route("/api/stolen/replay", post(replay))
        .with_state(thief)
}

async fn watch(State(thief): State<Thief>, request: Request, next: Next) -> Response {
    let seen = Seen::of(&request);
    let response = next.run(request).await;
    thief.note(seen, response.status(), response.headers());
    response
}

async fn stolen(user: Verified<User>, State(thief): State<Thief>) -> Json<Value> {
    let policy = &thief.0.policy;
    let windows =
        json!({ "retry_ms": millis(policy.retry_window()), "hold_ms": millis(policy.hold_window()) });
    let session = own_session(&user);
    let ended = thief.is_ended(&user, session).await;
    let loot = thief.loot();
    let tokens = session.and_then(|session| loot.by_session.get(&session)).map_or_else(Vec::new, |tokens| {
        let (newest, now) = (tokens.back(), now());
        let describe = |token: &Stolen| {
            let (fate, changes_at) = if ended { ("unknown", None) } else { token.fate(newest, policy, now) };
            json!({
                "generation": token.generation,
                "age_ms": now.saturating_sub(token.minted_at),
                "fate": fate,
                "changes_in_ms": changes_at.map(|at| at.saturating_sub(now)),
            })
        };
        tokens.iter().rev().map(describe).collect()
    });
    Json(json!({ "windows": windows, "tokens": tokens }))
}

async fn replay(
    user: Verified<User>,
    State(thief): State<Thief>,
    Json(Replay { generation }): Json<Replay>,
) -> Response {
    let found = own_session(&user).and_then(|session| {
        let loot = thief.loot();
        let token = loot.by_session.get(&session)?.iter().find(|token| token.generation == generation)?;
        Some((session, token.is_bound, token.cookie.clone()))
    });
    let Some((session, is_bound, cookie)) = found else {
        let answer = json!({ "error": "not_found", "error_description": "no copy of that token" });
        return (StatusCode::NOT_FOUND, Json(answer)).into_response();
    };
    let before = thief.0.timeline.newest_of(session).map(|(number, _)| number);
    let Some(status) = thief.present(&cookie).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let after = thief.0.timeline.newest_of(session).filter(|(number, _)| Some(*number) > before);
    let outcome = after.map(|(_, kind)| kind);
    Json(json!({ "status": status.as_u16(), "outcome": outcome, "words": words(outcome, is_bound) }))
        .into_response()
}

/// What the thief got, for the page.
fn words(outcome: Option<&str>, is_bound: bool) -> &'static str {
    match outcome {
        None if is_bound => {
            "The server refused the thief, who has the cookie and not the key of your browser. Nothing happened to the session."
        }
        Some("current") => {
            "The server answered the thief: this token is the newest one. Nobody can tell the two of you apart yet; \
             it is found once you and the thief have both gone on from it."
        }
        Some("rotated") => {
            "The server answered the thief with the next token. Your browser now holds the one before it: refresh \
             within the retry window and you get the same successor; later, or after the thief went on, the session \
             ends."
        }
        Some("reissued") => {
            "The server answered the thief with the same successor that your browser holds: inside the retry window \
             a thief looks like a lost answer. The line did not fork, so the theft is found as soon as you and the \
             thief have gone on from it, more than a window apart."
        }
        Some("superseded") => {
            "The server refused the thief. The token had been replaced for longer than the retry window, so this \
             session was ended for both of you."
        }
        Some("reused") => {
            "The server refused the thief. Two parties hold the token, so all sessions of this account were ended."
        }
        Some("recovered") => "The server answered the thief: its store had lost the newer token.",
        Some(_) => "The server refused the thief: the session has ended already.",
        None => "The server could not decide: nothing was changed.",
    }
}

impl Thief {
    pub(crate) fn new(auth: AuthService<User>, policy: SessionPolicy, timeline: Timeline) -> Self {
        Self(Arc::new(Inner { auth, policy, timeline, loot: Mutex::default() }))
    }

    /// Refreshes with a stolen cookie, as a script on another machine would.
    async fn present(&self, cookie: &str) -> Option<StatusCode> {
        let request = Request::post(format!("{}/refresh", self.0.auth.path()))
            .header(COOKIE, cookie)
            .header(USER_AGENT, THIEF)
            // Whoever is no browser says so.
            .header("x-session-request", "1")
            .body(Body::empty())
            .ok()?;
        let seen = Seen::of(&request);
        let response = match self.0.auth.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        self.note(seen, response.status(), response.headers());
        Some(response.status())
    }

    /// Copies the cookie that an answer sets, and tells the time line what the hook cannot know.
    fn note(&self, seen: Option<Seen>, status: StatusCode, headers: &HeaderMap) {
        let mut handed_out = false;
        for value in headers.get_all(SET_COOKIE) {
            let cookie = value.to_str().ok().and_then(|text| text.split(';').next()).map(str::trim);
            if let Some((cookie, place)) = cookie.and_then(|cookie| Some((cookie, Place::of(cookie)?))) {
                handed_out = true;
                self.0.timeline.handed_out(place.session, place.generation);
                self.loot().keep(&place, cookie);
            }
        }
        if let (Some(Seen { place, client }), StatusCode::OK, false) = (seen, status, handed_out) {
            self.0.timeline.current(place.session, place.generation, Some(client));
        }
    }

    async fn is_ended(&self, user: &Verified<User>, session: Option<SessionId>) -> bool {
        let sessions = self.0.auth.sessions().list(user.subject()).await;
        sessions.is_ok_and(|sessions| sessions.iter().all(|info| Some(info.id()) != session))
    }

    fn loot(&self) -> MutexGuard<'_, Loot> {
        self.0.loot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loot {
    fn keep(&mut self, place: &Place, cookie: &str) {
        if !self.by_session.contains_key(&place.session) {
            if self.order.len() == SESSIONS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_session.remove(&oldest);
            }
            self.order.push_back(place.session);
        }
        let tokens = self.by_session.entry(place.session).or_default();
        let now = now();
        if let Some(token) = tokens.iter_mut().find(|token| token.generation == place.generation) {
            token.handed_at = now;
            return;
        }
        if tokens.len() == TOKENS {
            tokens.pop_front();
        }
        let (generation, is_bound, cookie) = (place.generation, place.is_bound, cookie.to_owned());
        tokens.push_back(Stolen { generation, is_bound, cookie, minted_at: now, handed_at: now });
        // Answers to two requests at once may come in either order.
        tokens.make_contiguous().sort_by_key(|token| token.generation);
    }
}

impl Stolen {
    /// What a replay would meet now, by the name of the event, and when that changes. The rule itself is the store's;
    /// this repeats it so that the page can say it beforehand.
    fn fate(&self, newest: Option<&Self>, policy: &SessionPolicy, now: u64) -> (&'static str, Option<u64>) {
        let newest = newest.unwrap_or(self);
        let held_until = newest.handed_at + millis(policy.hold_window());
        let retry_until = newest.minted_at + millis(policy.retry_window());
        if self.is_bound {
            return ("bound", None);
        }
        match newest.generation - self.generation {
            0 if now < held_until => ("current", Some(held_until)),
            0 => ("rotated", None),
            1 if now < retry_until => ("reissued", Some(retry_until)),
            1 => ("superseded", None),
            _ => ("reused", None),
        }
    }
}

/// A refresh that goes by: whose it is, and what it came from.
struct Seen {
    place: Place,
    client: ClientInfo,
}

impl Seen {
    fn of(request: &Request) -> Option<Self> {
        let headers = request.headers();
        if !request.uri().path().ends_with("/refresh") {
            return None;
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let place = cookies.flat_map(|cookies| cookies.split("; ")).find_map(Place::of)?;
        let mut client = ClientInfo::default();
        if let Some(agent) = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()) {
            client = client.with_user_agent(agent);
        }
        if let Some(ClientAddress(address)) = request.extensions().get() {
            client = client.with_address(*address);
        }
        Some(Self { place, client })
    }
}

impl Place {
    /// Reads a cookie's value as the crate writes refresh tokens:
    /// `version 1 | key id 4 | subject digest 16 | session id 16 | generation 4 | secret 32 | tag 32`. To everybody
    /// else a refresh token is opaque.
    fn of(cookie: &str) -> Option<Self> {
        let (_, value) = cookie.split_once('=')?;
        let bytes = URL_SAFE_NO_PAD.decode(value).ok().filter(|bytes| bytes.len() == 105)?;
        let session = SessionId::from_bytes(bytes.get(21..37)?.try_into().ok()?);
        let generation = u32::from_be_bytes(bytes.get(37..41)?.try_into().ok()?);
        // Of a session that is bound to a key the version is 2.
        Some(Self { session, generation, is_bound: bytes.first() == Some(&2) })
    }
}

fn own_session(user: &Verified<User>) -> Option<SessionId> {
    user.session_id()?.parse().ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
