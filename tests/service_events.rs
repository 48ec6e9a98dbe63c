//! The events of the service: their stable targets and names, and that none holds a secret.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use http::Method;
use tower_jwt_auth::{Identity, SessionId, SessionPolicy, SessionStore};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::support::service::{
    Answer, Ask, Fault, NAME, Op, PASSWORD, REFRESH_SECRET, RETRY, Renewal, SIGNING_SECRET, User, World,
    bare, credentials, post, session_with,
};
use crate::support::tokens::{base64url, from_base64url};
use crate::support::{DAY, SECOND};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    target: String,
    name: String,
    level: Level,
    fields: Vec<(String, String)>,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Keeps every event and every span of the thread, at every level.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Seen>>>);

impl Capture {
    fn start() -> (Self, DefaultGuard) {
        let capture = Self::default();
        support::events::on_every_thread();
        let subscriber = tracing_subscriber::registry().with(capture.clone());
        let guard = tracing::subscriber::set_default(subscriber);
        (capture, guard)
    }

    /// What was seen since the last time.
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, metadata: &tracing::Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields::default();
        record(&mut fields);
        self.0.lock().unwrap().push(Seen {
            target: metadata.target().to_owned(),
            name: metadata.name().to_owned(),
            level: *metadata.level(),
            fields: fields.0,
        });
    }
}

#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name().to_owned(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name().to_owned(), value.to_owned()));
    }

    /// With everything behind it, as a formatter would print it.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = format!("{value} {value:?}");
        let mut source = value.source();
        while let Some(error) = source {
            write!(text, " {error} {error:?}").unwrap();
            source = error.source();
        }
        self.0.push((field.name().to_owned(), text));
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.note(event.metadata(), |fields| event.record(fields));
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.note(attributes.metadata(), |fields| attributes.record(fields));
    }
}

const SESSION: &str = "tower_jwt_auth::session";
const SERVICE: &str = "tower_jwt_auth::service";

/// What was sent and what came back, to be looked for in the events.
#[derive(Default)]
struct Secrets(Vec<String>);

impl Secrets {
    fn of(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.set_cookie().filter(|cookie| !cookie.value.is_empty()) {
            self.refresh_token(&cookie.value);
        }
        if answer.status == 200 && answer.value()["access_token"].is_string() {
            let token = answer.access();
            // The header is the same for all tokens, and no secret; a look for it must fail all the same.
            self.0.extend(token.split('.').map(ToOwned::to_owned));
            self.0.push(token);
        }
    }

    fn refresh_token(&mut self, token: &str) {
        let bytes = from_base64url(token);
        self.0.push(token.to_owned());
        for part in [&bytes[41..73], &bytes[73..]] {
            self.0.push(base64url(part));
            self.0.push(format!("{part:?}"));
            self.0.push(part.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")));
        }
        // As it stands in the text, in case only a piece is shown.
        self.0.push(token[60..90].to_owned());
    }
}

/// Sends, and notes what came back.
async fn send(world: &World, secrets: &mut Secrets, ask: Ask) -> Answer {
    let answer = world.send(ask).await;
    secrets.of(&answer);
    answer
}

#[tokio::test]
async fn every_event_has_its_target_name_level_and_fields() {
    let (capture, _guard) = Capture::start();
    let mut secrets = Secrets::default();
    let mut all = Vec::new();
    // The events of one step with this target: name, level, and the fields that must be there.
    let mut step = |name: &str, target: &str, expected: &[(&str, Level, &[&str])]| {
        let seen = capture.take();
        let ours: Vec<_> = seen.iter().filter(|seen| seen.target == target).collect();
        let names: Vec<_> = ours.iter().map(|seen| (&*seen.name, seen.level)).collect();
        let wanted: Vec<_> = expected.iter().map(|(event, level, _)| (*event, *level)).collect();
        assert_eq!(names, wanted, "{name}");
        for (seen, (event, _, fields)) in ours.iter().zip(expected) {
            for field in *fields {
                assert!(seen.field(field).is_some_and(|value| !value.is_empty()), "{event} without {field}");
            }
        }
        all.extend(seen);
    };

    let policy = SessionPolicy::default().with_sessions_per_subject(2);
    let world = World::with(|builder| builder.policy(policy.clone()));
    let login = |user| post("/auth/login").json(&credentials(user));
    let refresh = |token: &str| post("/auth/refresh").cookie(token);

    let first = send(&world, &mut secrets, login("ada")).await.refresh();
    step("login", SESSION, &[("opened", Level::INFO, &["session"])]);
    send(&world, &mut secrets, refresh(&first)).await.expect(200);
    step("row 4", SESSION, &[("current", Level::DEBUG, &["session"])]);
    world.clock.advance(RETRY);
    let second = send(&world, &mut secrets, refresh(&first)).await.refresh();
    step("row 5", SESSION, &[("rotated", Level::INFO, &["session", "generation"])]);
    send(&world, &mut secrets, refresh(&first)).await.expect(200);
    step("row 6", SESSION, &[("reissued", Level::INFO, &["session", "generation"])]);
    world.clock.advance(RETRY);
    world.store.plan(Op::Rotate, Fault::Lost);
    let third = send(&world, &mut secrets, refresh(&second)).await.refresh();
    step("a lost write", SESSION, &[("rotated", Level::INFO, &["session"])]);
    send(&world, &mut secrets, refresh(&third)).await.expect(200);
    step("row 3", SESSION, &[("recovered", Level::WARN, &["session", "subject"])]);
    world.clock.advance(RETRY);
    send(&world, &mut secrets, refresh(&second)).await.expect(401);
    step("row 7", SESSION, &[("superseded", Level::WARN, &["session", "subject"])]);
    send(&world, &mut secrets, refresh(&third)).await.expect(401);
    step("row 1", SESSION, &[("unknown", Level::INFO, &["session"])]);
    let a = send(&world, &mut secrets, login("ada")).await.refresh();
    let b = send(&world, &mut secrets, due(&world, &a)).await.refresh();
    send(&world, &mut secrets, due(&world, &b)).await.expect(200);
    capture.take();
    send(&world, &mut secrets, refresh(&a)).await.expect(401);
    step("row 8", SESSION, &[("reused", Level::WARN, &["session", "subject"])]);
    let expired = send(&world, &mut secrets, login("bob")).await.refresh();
    world.clock.advance(7 * DAY);
    capture.take();
    send(&world, &mut secrets, refresh(&expired)).await.expect(401);
    step("row 2", SESSION, &[("expired", Level::INFO, &["session"])]);

    // A genuine tag over a session of another secret: a holder of the key made it up.
    let forger = World::new().login("ada").await;
    secrets.of(&forger);
    let id: SessionId = forger.claims()["sid"].as_str().unwrap().parse().unwrap();
    world.store.inner.create(&session_with(id), &policy).await.unwrap();
    capture.take();
    send(&world, &mut secrets, refresh(&forger.refresh())).await.expect(401);
    step("row 1, another secret", SESSION, &[("mismatch", Level::WARN, &["session", "subject"])]);

    world.clock.advance(SECOND);
    let one = send(&world, &mut secrets, login("ada")).await;
    world.clock.advance(SECOND);
    capture.take();
    let two = send(&world, &mut secrets, login("ada")).await;
    step(
        "one session too many",
        SESSION,
        &[("opened", Level::INFO, &["session"]), ("evicted", Level::INFO, &["session"])],
    );
    send(&world, &mut secrets, post("/auth/logout").cookie(&one.refresh())).await.expect(204);
    step("logout", SESSION, &[("ended", Level::INFO, &["session", "why"])]);
    send(&world, &mut secrets, post("/auth/login").cookie(&two.refresh()).json(&credentials("ada"))).await;
    step(
        "a login over a session",
        SESSION,
        &[("opened", Level::INFO, &["session"]), ("ended", Level::INFO, &["session", "why"])],
    );
    let three = send(&world, &mut secrets, login("ada")).await;
    capture.take();
    world.clock.advance(SECOND);
    send(&world, &mut secrets, post("/auth/logout/all").bearer(&three.access())).await.expect(204);
    step("logout/all", SESSION, &[("ended_all", Level::INFO, &["subject", "sessions"])]);

    all.extend(capture.take());
    no_secret_in(&all, &secrets);
}

/// A refresh that is due.
fn due(world: &World, token: &str) -> Ask {
    world.clock.advance(RETRY);
    post("/auth/refresh").cookie(token)
}

#[tokio::test]
async fn refusals_outages_and_faults_are_named() {
    let (capture, _guard) = Capture::start();
    let mut secrets = Secrets::default();
    let (world, renewing) = World::renewing();
    let ada = send(&world, &mut secrets, post("/auth/login").json(&credentials("ada"))).await;
    let bob = send(&world, &mut secrets, post("/auth/login").json(&credentials("bob"))).await;
    world.clock.advance(SECOND);
    let two = format!("{NAME}={}; {NAME}={}", ada.refresh(), bob.refresh());
    let wrong = serde_json::json!({ "user": "ada", "password": "guess-of-a-password" });
    secrets.0.push("guess-of-a-password".to_owned());
    let forged = format!("{}AAAA", &ada.refresh()[..136]);
    let mut all = capture.take();
    for (name, ask, status, route, reason) in [
        ("wrong password", post("/auth/login").json(&wrong), 401, "login", "credentials"),
        ("cross-site", bare(Method::POST, "/auth/login").json(&wrong), 403, "login", "no_origin"),
        (
            "a login that is none",
            post("/auth/login").json(&serde_json::json!({"user": 7})),
            400,
            "login",
            "body",
        ),
        ("another type", post("/auth/login").body("text/plain", "{}"), 415, "login", "body"),
        ("a bearer that is none", post("/auth/logout").bearer("bad"), 204, "logout", "malformed"),
        ("no cookie", post("/auth/refresh"), 401, "refresh", "no_token"),
        ("two sessions", post("/auth/refresh").header("cookie", &two), 400, "refresh", "several_sessions"),
        ("two sessions", post("/auth/logout/all").header("cookie", &two), 400, "logout", "several_sessions"),
        ("a forged cookie", post("/auth/logout").cookie(&forged), 204, "cookie", "bad_tag"),
        ("garbage", post("/auth/logout").cookie(PASSWORD), 204, "cookie", "malformed"),
        ("no bearer", bare(Method::GET, "/auth/sessions"), 401, "bearer", "missing"),
    ] {
        capture.take();
        send(&world, &mut secrets, ask).await.expect(status);
        let seen = capture.take();
        let refused: Vec<_> = seen.iter().filter(|seen| seen.target == SERVICE).collect();
        assert_eq!(refused.len(), 1, "{name}: {refused:?}");
        assert_eq!((&*refused[0].name, refused[0].level), ("refused", Level::INFO), "{name}");
        assert_eq!(
            (refused[0].field("route"), refused[0].field("reason")),
            (Some(route), Some(reason)),
            "{name}"
        );
        all.extend(seen);
    }
    let refresh = || post("/auth/refresh").cookie(&ada.refresh());
    world.store.set_down(&[Op::Rotate]);
    all.extend(one_error(&capture, &world, &mut secrets, refresh(), 503, "unavailable").await);
    world.store.set_down(&[]);
    renewing.answer(Renewal::Unavailable);
    all.extend(one_error(&capture, &world, &mut secrets, refresh(), 503, "unavailable").await);
    renewing.answer(Renewal::Refused);
    send(&world, &mut secrets, refresh()).await.expect(401);
    all.extend(capture.take());
    no_secret_in(&all, &secrets);
}

/// Promise 5: a fault of the wiring is 500, and named in the log.
#[tokio::test]
async fn an_identity_that_cannot_be_kept_is_500_and_named() {
    type Shape = fn(Identity<User>) -> Identity<User>;
    let shapes: [(&str, Shape); 6] = [
        ("an empty subject", |identity| Identity::new("", identity.claims().clone())),
        ("a long subject", |identity| Identity::new("s".repeat(256), identity.claims().clone())),
        ("a scope with a space", |identity| identity.with_scopes(["a b"])),
        ("many scopes", |identity| identity.with_scopes(vec!["scope"; 200])),
        ("an empty client id", |identity| identity.with_client_id("")),
        ("large claims", |identity| {
            let user = User { role: "r".repeat(5000), ..identity.claims().clone() };
            Identity::new("ada", user)
        }),
    ];
    for (name, shape) in shapes {
        let (capture, _guard) = Capture::start();
        let world = World::new();
        world.accounts.shape(shape);
        world.send(post("/auth/login").json(&credentials("ada"))).await.refused(500, "server_error");
        let faults: Vec<_> = capture.take().into_iter().filter(|seen| seen.target == SERVICE).collect();
        assert_eq!(faults.len(), 1, "{name}: {faults:?}");
        assert_eq!((&*faults[0].name, faults[0].level), ("fault", Level::ERROR), "{name}");
    }
}

async fn one_error(
    capture: &Capture,
    world: &World,
    secrets: &mut Secrets,
    ask: Ask,
    status: u16,
    event: &str,
) -> Vec<Seen> {
    capture.take();
    send(world, secrets, ask).await.expect(status);
    let seen = capture.take();
    let errors: Vec<_> = seen.iter().filter(|seen| seen.level == Level::ERROR).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((&*errors[0].target, &*errors[0].name), (SERVICE, event));
    assert!(errors[0].field("what").is_some() && errors[0].field("error").is_some());
    seen
}

#[track_caller]
fn no_secret_in(events: &[Seen], secrets: &Secrets) {
    assert!(secrets.0.len() > 20 && events.len() > 5);
    let mut secrets = secrets.0.clone();
    secrets.push(PASSWORD.to_owned());
    for key in [REFRESH_SECRET, SIGNING_SECRET] {
        secrets.push(String::from_utf8(key.to_vec()).unwrap());
        secrets.push(base64url(key));
        secrets.push(format!("{key:?}"));
    }
    for event in events {
        let text = format!("{event:?}");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {text}");
        }
    }
}

/// The look for secrets finds one.
#[test]
#[should_panic(expected = "a-secret in")]
fn the_look_for_secrets_can_fail() {
    let (capture, _guard) = Capture::start();
    for number in 0..6 {
        tracing::trace!(number, "a-secret");
    }
    no_secret_in(&capture.take(), &Secrets(vec!["a-secret".to_owned(); 21]));
}
