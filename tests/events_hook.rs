//! The hook for what happens to sessions: what it is told and when, and that nothing it does changes an answer.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::net::IpAddr;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};

use http::Method;
use http::header::USER_AGENT;
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};
use tower_jwt_auth::{
    ClientAddress, ClientInfo, Events, Identity, NewSession, OnReuse, SessionEvent, SessionEventKind,
    SessionId, SessionPolicy, SessionStore, SubjectDigest,
};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::support::service::{
    Answer, Ask, Fault, FaultStore, HOLD, Op, PATIENCE, REFRESH_SECRET, RETRY, Renewal, SIGNING_SECRET, User,
    World, bare, config, credentials, post, session_with,
};
use crate::support::{DAY, SECOND, poll_then_drop};

/// An event, kept beyond the call.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    kind: SessionEventKind,
    session: Option<SessionId>,
    subject: Option<String>,
    opened_from: Option<ClientInfo>,
    client: Option<ClientInfo>,
    why: Option<&'static str>,
    sessions: Option<u64>,
}

impl Told {
    fn new(kind: SessionEventKind) -> Self {
        Self {
            kind,
            session: None,
            subject: None,
            opened_from: None,
            client: None,
            why: None,
            sessions: None,
        }
    }

    fn of(event: &SessionEvent<'_>) -> Self {
        Self {
            kind: event.kind(),
            session: event.session_id(),
            subject: event.subject().map(ToOwned::to_owned),
            opened_from: event.opened_from().cloned(),
            client: event.client().cloned(),
            why: event.why(),
            sessions: event.sessions(),
        }
    }

    fn session(self, id: SessionId) -> Self {
        Self { session: Some(id), ..self }
    }

    fn subject(self, subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..self }
    }

    fn opened_from(self, agent: &str) -> Self {
        Self { opened_from: Some(device(agent)), ..self }
    }

    fn client(self, agent: &str) -> Self {
        Self { client: Some(device(agent)), ..self }
    }

    fn sessions(self, sessions: u64) -> Self {
        Self { sessions: Some(sessions), ..self }
    }
}

fn device(agent: &str) -> ClientInfo {
    ClientInfo::default().with_user_agent(agent)
}

/// A hook that keeps everything.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Told>>>);

impl Heard {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn kinds(&self) -> Vec<SessionEventKind> {
        self.take().iter().map(|told| told.kind).collect()
    }
}

impl Events for Heard {
    fn event(&self, event: &SessionEvent<'_>) {
        self.0.lock().unwrap().push(Told::of(event));
    }
}

fn world_with(policy: SessionPolicy) -> (World, Heard) {
    let heard = Heard::default();
    let world = World::with(|builder| builder.policy(policy).events(heard.clone()));
    (world, heard)
}

fn world() -> (World, Heard) {
    world_with(SessionPolicy::default())
}

fn sid(answer: &Answer) -> SessionId {
    answer.claims()["sid"].as_str().unwrap().parse().unwrap()
}

fn login(user: &str, agent: &str) -> Ask {
    post("/auth/login").header(USER_AGENT, agent).json(&credentials(user))
}

fn refresh(token: &str, agent: &str) -> Ask {
    post("/auth/refresh").header(USER_AGENT, agent).cookie(token)
}

// ── what is told ──

#[tokio::test]
async fn every_row_of_the_rule_is_told_with_both_devices() {
    use SessionEventKind::{
        Expired, Mismatch, Opened, Recovered, Reissued, Reused, Rotated, Superseded, Unknown,
    };
    let (world, heard) = world();
    let step = |name: &str, expected: &[Told]| assert_eq!(heard.take(), expected, "{name}");
    // Of a session that Ada opened on her phone.
    let about = |kind, id| Told::new(kind).session(id).subject("ada").opened_from("phone");

    let first = world.send(login("ada", "phone")).await;
    let (id, first) = (sid(&first), first.refresh());
    step("a login", &[about(Opened, id).client("phone")]);
    world.send(refresh(&first, "phone")).await.expect(200);
    step("row 4: nothing happened", &[]);
    world.clock.advance(RETRY);
    let second = world.send(refresh(&first, "phone")).await.refresh();
    step("row 5", &[about(Rotated, id).client("phone")]);
    world.send(refresh(&first, "laptop")).await.expect(200);
    step("row 6", &[about(Reissued, id).client("laptop")]);
    world.clock.advance(RETRY);
    world.store.plan(Op::Rotate, Fault::Lost);
    let third = world.send(refresh(&second, "phone")).await.refresh();
    step("row 5, and then lost", &[about(Rotated, id).client("phone")]);
    world.send(refresh(&third, "phone")).await.expect(200);
    step("row 3", &[about(Recovered, id).client("phone")]);
    world.clock.advance(RETRY);
    world.send(refresh(&second, "thief")).await.expect(401);
    step("row 7", &[about(Superseded, id).client("thief")]);
    world.send(refresh(&third, "phone")).await.expect(401);
    step("row 1: nothing is known any more", &[Told::new(Unknown).session(id).client("phone")]);

    let a = world.send(login("ada", "phone")).await;
    let (id, a) = (sid(&a), a.refresh());
    let b = world.rotate(&a).await.refresh();
    world.rotate(&b).await.expect(200);
    heard.take();
    world.send(refresh(&a, "thief")).await.expect(401);
    step("row 8", &[about(Reused, id).client("thief")]);

    let old = world.send(login("ada", "phone")).await;
    heard.take();
    world.clock.advance(7 * DAY);
    world.send(refresh(&old.refresh(), "laptop")).await.expect(401);
    step("row 2", &[about(Expired, sid(&old)).client("laptop")]);

    // A genuine tag over a session of another secret: a holder of the key made it up.
    let forged = World::new().login("ada").await;
    world
        .store
        .inner
        .create(
            &NewSession { client: device("phone"), ..session_with(sid(&forged)) },
            &SessionPolicy::default(),
        )
        .await
        .unwrap();
    world.send(refresh(&forged.refresh(), "forger")).await.expect(401);
    step("row 1: another secret", &[about(Mismatch, sid(&forged)).client("forger")]);
}

#[tokio::test]
async fn the_ends_of_sessions_are_told_with_their_reason() {
    use SessionEventKind::{Ended, EndedAll, Evicted, Opened};
    let (world, heard) = world_with(SessionPolicy::default().with_sessions_per_subject(2));
    let opened = |id, agent| Told::new(Opened).session(id).subject("ada").opened_from(agent).client(agent);
    // The kind, the session, why, and how many: what is told of an end at least.
    let ends = |told: &[Told]| -> Vec<_> {
        told.iter().map(|told| (told.kind, told.session, told.why, told.sessions)).collect()
    };

    let one = world.send(login("ada", "phone")).await;
    world.clock.advance(SECOND);
    let two = world.send(login("ada", "laptop")).await;
    world.clock.advance(SECOND);
    heard.take();
    let three = world.send(login("ada", "desk")).await;
    let evicted = Told::new(Evicted).session(sid(&one)).subject("ada").client("desk");
    assert_eq!(heard.take(), [opened(sid(&three), "desk"), evicted], "one session too many");

    world.send(post("/auth/logout").cookie(&two.refresh())).await.expect(204);
    assert_eq!(ends(&heard.take()), [(Ended, Some(sid(&two)), Some("logout"), None)], "logout by cookie");
    world.send(post("/auth/logout").cookie(&two.refresh())).await.expect(204);
    assert_eq!(heard.take(), [], "there is nothing to end any more");
    world.send(bare(Method::POST, "/auth/logout").bearer(&three.access())).await.expect(204);
    assert_eq!(ends(&heard.take()), [(Ended, Some(sid(&three)), Some("logout"), None)], "logout by bearer");

    let four = world.send(login("ada", "phone")).await;
    let five = world.send(login("ada", "laptop").cookie(&four.refresh())).await;
    let told = heard.take();
    assert_eq!(told[..2], [opened(sid(&four), "phone"), opened(sid(&five), "laptop")]);
    let replaced = (Ended, Some(sid(&four)), Some("replaced by a login"), None);
    assert_eq!(ends(&told[2..]), [replaced], "the new session is first");

    let six = world.send(login("ada", "phone")).await;
    heard.take();
    let delete = bare(Method::DELETE, &format!("/auth/sessions/{}", sid(&five)));
    world.send(delete.bearer(&six.access())).await.expect(204);
    assert_eq!(ends(&heard.take()), [(Ended, Some(sid(&five)), Some("by its owner"), None)]);

    let seven = world.send(login("ada", "laptop")).await;
    heard.take();
    world.send(bare(Method::POST, "/auth/logout/others").bearer(&seven.access())).await.expect(204);
    let told = heard.take();
    assert_eq!(ends(&told), [(EndedAll, None, None, Some(1))], "all but this one");
    assert_eq!(told[0].subject.as_deref(), Some("ada"));
    world.clock.advance(SECOND);
    world.send(post("/auth/logout/all").cookie(&seven.refresh())).await.expect(204);
    let told = heard.take();
    assert_eq!(ends(&told), [(EndedAll, None, None, Some(1))], "all");
    assert_eq!(told[0].subject.as_deref(), Some("ada"));
}

/// The application refuses to go on with a session.
#[tokio::test]
async fn a_refused_renewal_is_told_as_an_end() {
    let heard = Heard::default();
    let (world, renewing) = World::renewing();
    // The same world, with a hook.
    let world = World::build(
        world.clock.clone(),
        config(&world.clock),
        Arc::clone(&world.accounts),
        Arc::clone(&renewing),
        |builder| builder.events(heard.clone()),
    );
    let login = world.login("ada").await;
    heard.take();
    renewing.answer(Renewal::Refused);
    world.rotate(&login.refresh()).await.expect(401);
    let told = heard.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].session), (SessionEventKind::Ended, Some(sid(&login))));
    assert_eq!(told[0].why, Some("the application refused to renew it"));
    renewing.answer(Renewal::Unavailable);
    let login = world.login("ada").await;
    heard.take();
    world.rotate(&login.refresh()).await.expect(503);
    assert_eq!(heard.take(), [], "nothing happened to the session");
}

#[tokio::test]
async fn what_code_does_is_told_too() {
    use SessionEventKind::{Ended, EndedAll, Opened, Rotated};
    let (world, heard) = world();
    let sessions = world.auth.sessions();
    let kiosk = ClientInfo::default().with_label("kiosk").with_address(IpAddr::from([192, 0, 2, 1]));
    let ada = || Identity::new("ada", User::named("ada"));
    let one = sessions.open(ada(), &kiosk).await.unwrap();
    let told = heard.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].session), (Opened, Some(one.session_id())));
    assert_eq!((told[0].subject.as_deref(), told[0].opened_from.as_ref()), (Some("ada"), Some(&kiosk)));

    world.clock.advance(HOLD);
    let next = sessions.refresh(one.refresh_token()).await.unwrap();
    let rotated = Told::new(Rotated).session(one.session_id()).subject("ada");
    // No request is known here.
    assert_eq!(heard.take(), [Told { opened_from: Some(kiosk.clone()), ..rotated }]);
    assert!(sessions.end("ada", one.session_id()).await.unwrap());
    let told = heard.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].why), (Ended, Some("by the application")));
    assert!(!sessions.end_by_token(next.refresh_token()).await.unwrap());
    assert!(sessions.refresh("garbage").await.is_err());
    assert!(!sessions.end_by_token("garbage").await.unwrap());
    assert_eq!(heard.take(), []);

    let two = sessions.open(ada(), &kiosk).await.unwrap();
    heard.take();
    assert!(sessions.end_by_token(two.refresh_token()).await.unwrap());
    let told = heard.take();
    assert_eq!((told[0].kind, told[0].session, told.len()), (Ended, Some(two.session_id()), 1));
    sessions.open(ada(), &kiosk).await.unwrap();
    sessions.open(ada(), &kiosk).await.unwrap();
    heard.take();
    assert_eq!(sessions.end_all("ada", None).await.unwrap(), 2);
    assert_eq!(heard.take(), [Told::new(EndedAll).subject("ada").sessions(2)]);
}

/// The device of a request is told as the session list would show it.
#[tokio::test]
async fn the_device_is_user_agent_and_address() {
    let (world, heard) = world();
    let address = IpAddr::from([192, 0, 2, 7]);
    let send = async |ask: Ask| {
        let mut request = ask.request();
        request.extensions_mut().insert(ClientAddress(address));
        Answer::of(world.auth.clone().oneshot(request).await.unwrap()).await
    };
    let long = "a".repeat(1000);
    let token = send(login("ada", &long)).await.refresh();
    world.clock.advance(HOLD);
    send(refresh(&token, &long)).await.expect(200);
    let expected = device(&long[..ClientInfo::MAX_USER_AGENT_BYTES]).with_address(address);
    let told = heard.take();
    assert_eq!(told.len(), 2);
    for told in told {
        assert_eq!(told.opened_from.as_ref(), Some(&expected), "{}", told.kind);
        assert_eq!(told.client.as_ref(), Some(&expected), "{}", told.kind);
    }
}

/// Whichever sessions end on reuse, there is one event, of the session whose token it was.
#[tokio::test]
async fn a_reuse_is_one_event_whatever_ends_with_it() {
    for (on_reuse, left) in [(OnReuse::Subject, 0), (OnReuse::Session, 1)] {
        let (world, heard) = world_with(SessionPolicy::default().with_on_reuse(on_reuse));
        world.login("ada").await;
        let stolen = world.login("ada").await;
        let second = world.rotate(&stolen.refresh()).await.refresh();
        world.rotate(&second).await.expect(200);
        heard.take();
        world.refresh(&stolen.refresh()).await.expect(401);
        let told = heard.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].kind, told[0].session), (SessionEventKind::Reused, Some(sid(&stolen))));
        assert_eq!(world.records("ada").await.len(), left, "{on_reuse:?}");
    }
}

// ── when it is told ──

/// By then the store has done its part.
#[tokio::test]
async fn the_hook_finds_the_store_as_it_is_after_the_event() {
    type Seen = Vec<(SessionEventKind, Vec<u32>)>;
    let store: Arc<OnceLock<Arc<FaultStore>>> = Arc::default();
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let (at, noted) = (Arc::clone(&store), Arc::clone(&seen));
    let hook = move |event: &SessionEvent<'_>| {
        let ada = SubjectDigest::of("ada");
        let list =
            poll_then_drop(at.get().unwrap().inner.list(&ada), 1).expect("the memory is at hand").unwrap();
        let mut generations: Vec<_> = list.iter().map(|record| record.state.generation).collect();
        generations.sort_unstable();
        noted.lock().unwrap().push((event.kind(), generations));
    };
    let world = World::with(|builder| builder.events(hook));
    assert!(store.set(Arc::clone(&world.store)).is_ok());
    let first = world.login("ada").await.refresh();
    let second = world.rotate(&first).await.refresh();
    world.rotate(&second).await.expect(200);
    world.login("ada").await;
    world.clock.advance(RETRY);
    world.refresh(&second).await.expect(401);
    world.clock.advance(SECOND);
    world.auth.sessions().end_all("ada", None).await.unwrap();
    let seen = seen.lock().unwrap();
    let seen: Vec<_> = seen.iter().map(|(kind, generations)| (kind.as_str(), &**generations)).collect();
    let expected: [(&str, &[u32]); 6] = [
        ("opened", &[0]),
        ("rotated", &[1]),
        ("rotated", &[2]),
        ("opened", &[0, 2]),
        ("superseded", &[0]),
        ("ended_all", &[]),
    ];
    assert_eq!(seen, expected);
}

/// Something happened, though nobody waits for the answer any more.
#[tokio::test]
async fn a_caller_that_goes_away_is_told_of() {
    let called = Arc::new(Semaphore::new(0));
    let hook = {
        let called = Arc::clone(&called);
        move |event: &SessionEvent<'_>| {
            if event.kind() == SessionEventKind::Rotated {
                called.add_permits(1);
            }
        }
    };
    let world = World::with(|builder| builder.events(hook));
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    let gate = world.store.block(Op::Rotate);
    assert!(poll_then_drop(world.auth.clone().call(refresh(&token, "phone").request()), 3).is_none());
    gate.reached().await;
    assert_eq!(called.available_permits(), 0, "before the store has done its part");
    gate.open();
    tokio::time::timeout(PATIENCE, called.acquire()).await.expect("nobody was told").unwrap().forget();
}

#[tokio::test]
async fn nothing_is_told_of_what_did_not_happen() {
    let (world, heard) = world();
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    heard.take();
    let wrong = serde_json::json!({ "user": "ada", "password": "no" });
    for (name, ask, down, status) in [
        ("wrong credentials", post("/auth/login").json(&wrong), None, 401),
        ("no session is made", login("bob", "x"), Some(Op::Create), 503),
        ("nothing is rotated", refresh(&token, "x"), Some(Op::Rotate), 503),
        ("nothing is ended", post("/auth/logout").cookie(&token), Some(Op::Revoke), 503),
        ("nothing is ended", post("/auth/logout/all").cookie(&token), Some(Op::RevokeSubject), 503),
        ("no token", post("/auth/refresh"), None, 401),
        ("garbage", refresh(&"A".repeat(140), "x"), None, 401),
        ("another site", bare(Method::POST, "/auth/refresh").cookie(&token), None, 403),
        ("only asked", bare(Method::GET, "/auth/jwks.json"), None, 200),
    ] {
        world.store.set_down(&down.into_iter().collect::<Vec<_>>());
        let answer = world.auth.clone().oneshot(ask.request()).await.unwrap();
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(heard.take(), [], "{name}");
    }
    // All sessions of Ada end while her credentials are checked.
    world.store.set_down(&[]);
    let gate = world.accounts.hold();
    let (answer, ()) = tokio::join!(world.send(login("ada", "x")), async {
        gate.reached().await;
        world.clock.advance(SECOND);
        world.auth.sessions().end_all("ada", None).await.unwrap();
        gate.open();
    });
    answer.expect(503);
    assert_eq!(heard.kinds(), [SessionEventKind::EndedAll]);
}

/// The store is asked twice where it failed once; what happened is told once.
#[tokio::test]
async fn a_repeated_call_is_told_once() {
    let (world, heard) = world();
    for (op, fault) in [(Op::Create, Fault::Before), (Op::Create, Fault::After)] {
        world.store.plan(op, fault);
        let answer = world.login("ada").await;
        world.store.assert_done();
        let told = heard.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].kind, told[0].session), (SessionEventKind::Opened, Some(sid(&answer))));
    }
    let token = world.login("ada").await.refresh();
    heard.take();
    world.store.plan(Op::Rotate, Fault::After);
    world.rotate(&token).await.expect(200);
    world.store.assert_done();
    // The store's second answer is that of a repeated attempt.
    assert_eq!(heard.kinds(), [SessionEventKind::Reissued]);
    world.store.plan(Op::Revoke, Fault::After);
    world.send(post("/auth/logout").cookie(&token)).await.expect(204);
    world.store.assert_done();
    assert_eq!(heard.kinds(), [SessionEventKind::Ended]);
}

// ── a hook that panics ──

/// What the crate logged on this thread.
#[derive(Debug)]
struct Logged {
    target: String,
    name: String,
    level: Level,
    /// The field of this name.
    event: Option<String>,
}

thread_local! {
    static LOG: RefCell<Vec<Logged>> = const { RefCell::new(Vec::new()) };
}

/// Hands every event to the thread that it happens on.
struct Log;

impl Log {
    /// For the whole process: what threads without a subscriber meet first would be off for those with one.
    fn listen() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Log)).unwrap();
        });
        Self::take();
    }

    /// What was logged since the last time.
    fn take() -> Vec<Logged> {
        LOG.take()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Field(Option<String>);
        impl tracing::field::Visit for Field {
            fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn Debug) {}
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                if field.name() == "event" {
                    self.0 = Some(value.to_owned());
                }
            }
        }
        let mut field = Field(None);
        event.record(&mut field);
        let metadata = event.metadata();
        LOG.with_borrow_mut(|log| {
            log.push(Logged {
                target: metadata.target().to_owned(),
                name: metadata.name().to_owned(),
                level: *metadata.level(),
                event: field.0,
            });
        });
    }
}

#[tokio::test]
async fn a_panic_changes_no_answer_and_no_session_and_is_logged() {
    Log::listen();
    let calls = Arc::new(AtomicUsize::new(0));
    let hook = {
        let calls = Arc::clone(&calls);
        move |event: &SessionEvent<'_>| {
            calls.fetch_add(1, Ordering::SeqCst);
            panic!("the hook of the test panics at {}", event.kind());
        }
    };
    let world = World::with(|builder| {
        builder.events(hook).policy(SessionPolicy::default().with_sessions_per_subject(1))
    });
    let first = world.login("ada").await;
    let second = world.rotate(&first.refresh()).await;
    assert_eq!(second.claims()["gen"], 1);
    assert_eq!(world.refresh(&first.refresh()).await.refresh(), second.refresh());
    assert_eq!(world.generation("ada").await, Some(1));
    world.clock.advance(SECOND);
    // Two events in one request: the second is told although the first panicked.
    let other = world.login("ada").await;
    world.refresh(&second.refresh()).await.refused(401, "invalid_grant");
    world.send(post("/auth/logout").cookie(&other.refresh())).await.expect(204);
    assert!(world.records("ada").await.is_empty());
    world.login("bob").await;
    assert_eq!(world.auth.sessions().end_all("bob", None).await.unwrap(), 1);

    let expected =
        ["opened", "rotated", "reissued", "opened", "evicted", "unknown", "ended", "opened", "ended_all"];
    let mut logged = Log::take();
    logged.retain(|logged| logged.level == Level::ERROR);
    for logged in &logged {
        assert_eq!((&*logged.target, &*logged.name), ("tower_jwt_auth::service", "hook_panicked"));
    }
    let names: Vec<_> = logged.iter().map(|logged| logged.event.as_deref().unwrap()).collect();
    assert_eq!((names.as_slice(), calls.load(Ordering::SeqCst)), (&expected[..], expected.len()));
}

/// The hook goes on after a panic: it is not given up, and nothing of the crate is poisoned.
#[tokio::test]
async fn a_hook_that_panicked_once_is_called_again() {
    let (heard, panics) = (Heard::default(), Arc::new(AtomicBool::new(true)));
    let hook = {
        let (heard, panics) = (heard.clone(), Arc::clone(&panics));
        move |event: &SessionEvent<'_>| {
            if panics.swap(false, Ordering::SeqCst) {
                panic_any(7_u8);
            }
            heard.event(event);
        }
    };
    let world = World::with(|builder| builder.events(hook));
    let token = world.login("ada").await.refresh();
    assert_eq!(heard.take(), []);
    world.rotate(&token).await.expect(200);
    assert_eq!(heard.kinds(), [SessionEventKind::Rotated]);
}

// ── names, and what is not told ──

/// Over one run: the hook is told what the log is told, under the same names and in the same order.
#[tokio::test]
async fn the_kinds_are_the_names_of_the_tracing_events() {
    let forged = World::new().login("ada").await;
    Log::listen();
    let (world, heard) = world_with(SessionPolicy::default().with_sessions_per_subject(2));
    let kinds_of_all = all_of_it(&world, &forged).await;
    let told: Vec<_> = heard.take().iter().map(|told| told.kind.to_string()).collect();
    let mut logged = Log::take();
    logged.retain(|logged| logged.target == "tower_jwt_auth::session");
    let mut logged: Vec<_> = logged.into_iter().map(|logged| logged.name).collect();
    // Of this one nothing is told: nothing happened.
    assert!(logged.iter().any(|name| name == "current"));
    logged.retain(|name| name != "current");
    assert_eq!(told, logged);
    for kind in kinds_of_all {
        assert!(told.iter().any(|name| name == kind), "{kind} did not happen");
    }
}

/// Everything that can happen to sessions; its names.
async fn all_of_it(world: &World, forged: &Answer) -> [&'static str; 12] {
    let first = world.login("ada").await.refresh();
    world.refresh(&first).await.expect(200);
    let second = world.rotate(&first).await.refresh();
    world.refresh(&first).await.expect(200);
    world.clock.advance(RETRY);
    world.store.plan(Op::Rotate, Fault::Lost);
    let third = world.refresh(&second).await.refresh();
    world.refresh(&third).await.expect(200);
    world.clock.advance(RETRY);
    world.refresh(&second).await.expect(401);
    world.refresh(&third).await.expect(401);
    let stolen = world.login("ada").await.refresh();
    let second = world.rotate(&stolen).await.refresh();
    world.rotate(&second).await.expect(200);
    world.refresh(&stolen).await.expect(401);
    let old = world.login("ada").await.refresh();
    world.clock.advance(7 * DAY);
    world.refresh(&old).await.expect(401);
    world.store.inner.create(&session_with(sid(forged)), &SessionPolicy::default()).await.unwrap();
    world.refresh(&forged.refresh()).await.expect(401);
    world.login("ada").await;
    world.clock.advance(SECOND);
    let last = world.login("ada").await.refresh();
    world.clock.advance(SECOND);
    world.login("ada").await;
    world.send(post("/auth/logout").cookie(&last)).await.expect(204);
    world.auth.sessions().end_all("ada", None).await.unwrap();
    [
        "opened",
        "evicted",
        "rotated",
        "reissued",
        "recovered",
        "superseded",
        "reused",
        "mismatch",
        "expired",
        "unknown",
        "ended",
        "ended_all",
    ]
}

#[tokio::test]
async fn no_event_shows_a_token_or_a_secret() {
    let shown: Arc<Mutex<String>> = Arc::default();
    let hook = {
        let shown = Arc::clone(&shown);
        move |event: &SessionEvent<'_>| {
            let mut shown = shown.lock().unwrap();
            writeln!(shown, "{event:?} {event:#?} {}", event.kind()).unwrap();
        }
    };
    let world = World::with(|builder| builder.events(hook));
    let login = world.send(login("ada", "the-phone-of-ada")).await;
    let next = world.rotate(&login.refresh()).await;
    world.rotate(&next.refresh()).await.expect(200);
    world.refresh(&login.refresh()).await.expect(401);
    let out = world.login("bob").await;
    world.send(post("/auth/logout").cookie(&out.refresh())).await.expect(204);
    let shown = shown.lock().unwrap();
    assert!(shown.contains("the-phone-of-ada") && shown.contains(&sid(&login).to_string()), "{shown}");
    let secrets = [REFRESH_SECRET, SIGNING_SECRET].map(|secret| String::from_utf8(secret.to_vec()).unwrap());
    for answer in [&login, &next, &out] {
        let (access, refresh) = (answer.access(), answer.refresh());
        // Of a refresh token's 140 characters the secret is about 55 to 97, and the tag what follows.
        for part in access.split('.').chain([&refresh[56..96], &refresh[100..]]) {
            assert!(!shown.contains(part), "{part}");
        }
    }
    assert!(secrets.iter().all(|secret| !shown.contains(secret)));
    assert!(!shown.contains("@app.example"), "claims are not told");
}

/// In a task of its own the hook's receiver sends the mails: the way of the documentation, with a channel that is full.
#[tokio::test]
async fn a_full_channel_loses_a_mail_and_holds_nothing_up() {
    let (mails, mut sent) = tokio::sync::mpsc::channel(1);
    let hook = move |event: &SessionEvent<'_>| {
        if event.kind() == SessionEventKind::Opened {
            let _ = mails.try_send(event.subject().unwrap().to_owned());
        }
    };
    let world = World::with(|builder| builder.events(hook));
    for user in ["ada", "bob", "ada"] {
        world.login(user).await;
    }
    assert_eq!(sent.recv().await.as_deref(), Some("ada"));
    assert!(sent.try_recv().is_err());
    world.login("bob").await;
    assert_eq!(sent.recv().await.as_deref(), Some("bob"));
}

/// A hook takes nothing from what a service is: cloned, sent and shared.
#[test]
fn a_service_with_a_hook_is_a_value() {
    fn value<T: Clone + Send + Sync + 'static>(_: &T) {}
    let world = World::with(|builder| builder.events(|_: &SessionEvent<'_>| {}));
    value(&world.auth);
    value(&world.auth.sessions());
}

// ── ends ──

/// A subject and a device wherever they are known: not the subject where only a refresh token is at hand.
#[tokio::test]
async fn an_end_is_told_with_its_subject_and_the_device_that_asked_for_it() {
    use SessionEventKind::{Ended, EndedAll};
    let (world, heard) = world();
    let from = |ask: Ask| ask.header(USER_AGENT, "desk");
    let open = async || {
        let login = world.send(login("ada", "phone")).await;
        heard.take();
        login
    };
    let ended = |login: &Answer, why| {
        let told = Told::new(Ended).session(sid(login)).client("desk");
        Told { why: Some(why), ..told }
    };

    let login = open().await;
    world.send(from(post("/auth/logout").cookie(&login.refresh()))).await.expect(204);
    assert_eq!(heard.take(), [ended(&login, "logout")], "logout by cookie");
    let login = open().await;
    world.send(from(bare(Method::POST, "/auth/logout").bearer(&login.access()))).await.expect(204);
    assert_eq!(heard.take(), [ended(&login, "logout").subject("ada")], "logout by bearer");
    let login = open().await;
    let delete = bare(Method::DELETE, &format!("/auth/sessions/{}", sid(&login)));
    world.send(from(delete.bearer(&login.access()))).await.expect(204);
    assert_eq!(heard.take(), [ended(&login, "by its owner").subject("ada")], "by its owner");
    let login = open().await;
    world
        .send(from(post("/auth/login").json(&credentials("ada")).cookie(&login.refresh())))
        .await
        .expect(200);
    assert_eq!(heard.take()[1..], [ended(&login, "replaced by a login").subject("ada")], "replaced");
    let login = open().await;
    world
        .send(from(post("/auth/login").json(&credentials("bob")).cookie(&login.refresh())))
        .await
        .expect(200);
    assert_eq!(heard.take()[1..], [ended(&login, "replaced by a login")], "replaced by somebody else");
    for path in ["/auth/logout/others", "/auth/logout/all"] {
        open().await;
        let login = open().await;
        world.send(from(post(path).cookie(&login.refresh()))).await.expect(204);
        let told = heard.take();
        assert_eq!((told.len(), told[0].kind), (1, EndedAll), "{path}");
        let expected = Told::new(EndedAll).subject("ada").client("desk");
        assert_eq!(told, [Told { sessions: told[0].sessions, ..expected }], "{path}");
        world.clock.advance(SECOND);
    }
    let login = open().await;
    assert!(world.auth.sessions().end("ada", sid(&login)).await.unwrap());
    let expected =
        Told { why: Some("by the application"), ..Told::new(Ended).session(sid(&login)).subject("ada") };
    assert_eq!(heard.take(), [expected], "from code");
}

/// A login at the limit of sessions whose own old session is the one that has to go.
#[tokio::test]
async fn a_session_that_had_to_go_is_not_told_of_again() {
    use SessionEventKind::{Evicted, Opened};
    let (world, heard) = world_with(SessionPolicy::default().with_sessions_per_subject(1));
    let old = world.login("ada").await;
    world.clock.advance(SECOND);
    heard.take();
    world.send(login("ada", "phone").cookie(&old.refresh())).await.expect(200);
    assert_eq!(heard.kinds(), [Opened, Evicted]);
}

/// What a panic carries may panic, too.
#[tokio::test]
async fn a_panic_that_panics_again() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    let world = World::with(|builder| builder.events(|_: &SessionEvent<'_>| panic_any(Bomb)));
    let token = world.login("ada").await.refresh();
    world.rotate(&token).await.expect(200);
}
