//! The counters of the feature `metrics`: what each request adds to them, and that no label grows with what clients
//! send.

#![cfg(all(feature = "metrics", feature = "moka"))]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::ready;

use bytes::Bytes;
use http::header::COOKIE;
use http::{Method, Request, Response};
use http_body_util::Full;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use metrics_util::{CompositeKey, MetricKind};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, RequireScopeLayer, SessionEventKind, SessionId, SessionPolicy, SessionStore,
};

use crate::support::service::{
    Answer, Ask, Fault, NAME, Op, RETRY, Renewal, User, World, bare, credentials, post, session_with,
};
use crate::support::{DAY, SECOND};

/// Runs on this one thread, where the recorder is: the service's own tasks are on it, too.
fn recorded<T>(test: impl AsyncFnOnce(&Counters) -> T) -> T {
    let recorder = DebuggingRecorder::new();
    let counters = Counters(recorder.snapshotter());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(test(&counters)))
}

struct Counters(Snapshotter);

/// `name{label=value,..}` as users of a counter write it, without the prefix that all have.
fn written(key: &CompositeKey) -> String {
    let name = key.key().name().strip_prefix("tower_jwt_auth_").expect("the crate's prefix");
    assert_eq!(key.kind(), MetricKind::Counter, "{name}");
    let labels: Vec<_> =
        key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

impl Counters {
    /// What was added since the last time.
    fn take(&self) -> BTreeMap<String, u64> {
        let mut added = BTreeMap::new();
        for (key, unit, description, value) in self.0.snapshot().into_vec() {
            assert!(unit.is_none() && description.is_none());
            match value {
                DebugValue::Counter(0) => {}
                DebugValue::Counter(count) => assert!(added.insert(written(&key), count).is_none()),
                other => panic!("no counter: {key:?} {other:?}"),
            }
        }
        added
    }

    #[track_caller]
    fn step(&self, name: &str, expected: &[(&str, u64)]) {
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(counter, count)| ((*counter).to_owned(), *count)).collect();
        assert_eq!(self.take(), expected, "{name}");
    }
}

fn event(name: &str) -> String {
    format!("session_events_total{{event={name}}}")
}

fn sid(answer: &Answer) -> SessionId {
    answer.claims()["sid"].as_str().unwrap().parse().unwrap()
}

fn login(user: &str) -> Ask {
    post("/auth/login").json(&credentials(user))
}

fn refresh(token: &str) -> Ask {
    post("/auth/refresh").cookie(token)
}

// ── sessions ──

#[test]
fn each_event_of_a_session_is_counted_once() {
    recorded(async |counters| {
        let step = |name: &str, events: &[&str]| {
            let mut expected = BTreeMap::new();
            for name in events {
                *expected.entry(event(name)).or_insert(0) += 1;
            }
            let mut added = counters.take();
            // What ended sessions have besides is looked at elsewhere.
            added.retain(|counter, _| !counter.starts_with("sessions_ended_total"));
            assert_eq!(added, expected, "{name}");
        };
        let world =
            World::with(|builder| builder.policy(SessionPolicy::default().with_sessions_per_subject(2)));
        let first = world.send(login("ada")).await.refresh();
        step("login", &["opened"]);
        world.send(refresh(&first)).await.expect(200);
        step("row 4", &["current"]);
        world.clock.advance(RETRY);
        let second = world.send(refresh(&first)).await.refresh();
        step("row 5", &["rotated"]);
        world.send(refresh(&first)).await.expect(200);
        step("row 6", &["reissued"]);
        world.clock.advance(RETRY);
        world.store.plan(Op::Rotate, Fault::Lost);
        let third = world.send(refresh(&second)).await.refresh();
        step("row 5, lost", &["rotated"]);
        world.send(refresh(&third)).await.expect(200);
        step("row 3", &["recovered"]);
        world.clock.advance(RETRY);
        world.send(refresh(&second)).await.expect(401);
        step("row 7", &["superseded"]);
        world.send(refresh(&third)).await.expect(401);
        step("row 1", &["unknown"]);
        let a = world.login("ada").await.refresh();
        let b = world.rotate(&a).await.refresh();
        world.rotate(&b).await.expect(200);
        counters.take();
        world.send(refresh(&a)).await.expect(401);
        step("row 8", &["reused"]);
        let old = world.login("ada").await.refresh();
        world.clock.advance(7 * DAY);
        counters.take();
        world.send(refresh(&old)).await.expect(401);
        step("row 2", &["expired"]);

        let forged = World::new().login("ada").await;
        let planted = session_with(sid(&forged));
        world.store.inner.create(&planted, &SessionPolicy::default()).await.unwrap();
        counters.take();
        world.send(refresh(&forged.refresh())).await.expect(401);
        step("row 1, another secret", &["mismatch"]);

        // The planted session is the one that was not used for longest.
        world.clock.advance(SECOND);
        let one = world.login("ada").await;
        world.clock.advance(SECOND);
        counters.take();
        world.login("ada").await;
        step("one session too many", &["opened", "evicted"]);
        world.send(post("/auth/logout").cookie(&one.refresh())).await.expect(204);
        step("logout", &["ended"]);
        world.send(post("/auth/logout").cookie(&one.refresh())).await.expect(204);
        step("logout once more", &[]);
        assert_eq!(world.auth.sessions().end_all("ada", None).await.unwrap(), 1);
        step("all", &["ended_all"]);
    });
}

/// The hook and the counters know the same names.
#[test]
fn the_labels_of_session_events_are_the_kinds_of_the_hook() {
    let kinds = [
        (SessionEventKind::Opened, "opened"),
        (SessionEventKind::Evicted, "evicted"),
        (SessionEventKind::Rotated, "rotated"),
        (SessionEventKind::Reissued, "reissued"),
        (SessionEventKind::Recovered, "recovered"),
        (SessionEventKind::Superseded, "superseded"),
        (SessionEventKind::Reused, "reused"),
        (SessionEventKind::Mismatch, "mismatch"),
        (SessionEventKind::Expired, "expired"),
        (SessionEventKind::Unknown, "unknown"),
        (SessionEventKind::Ended, "ended"),
        (SessionEventKind::EndedAll, "ended_all"),
    ];
    for (kind, name) in kinds {
        assert_eq!((kind.as_str(), kind.to_string().as_str()), (name, name));
    }
    recorded(async |counters| {
        let world = World::with(|builder| {
            builder.events(move |event: &tower_jwt_auth::SessionEvent<'_>| {
                metrics::counter!("tower_jwt_auth_told", "event" => event.kind().as_str()).increment(1);
            })
        });
        let token = world.login("ada").await.refresh();
        world.rotate(&token).await.expect(200);
        world.refresh(&token).await.expect(200);
        world.send(post("/auth/logout").cookie(&token)).await.expect(204);
        world.refresh(&token).await.expect(401);
        let added = counters.take();
        for name in ["opened", "rotated", "reissued", "ended", "unknown"] {
            assert_eq!(added[&event(name)], 1, "{name}");
            assert_eq!(added[&format!("told{{event={name}}}")], 1, "{name}");
        }
    });
}

// ── refusals of the service ──

#[test]
fn refusals_are_counted_by_route_and_reason() {
    recorded(async |counters| {
        let (world, _) = World::renewing();
        let (ada, bob) = (world.login("ada").await, world.login("bob").await);
        world.clock.advance(SECOND);
        let two = format!("{NAME}={}; {NAME}={}", ada.refresh(), bob.refresh());
        let wrong = serde_json::json!({ "user": "ada", "password": "no" });
        let forged = format!("{}AAAA", &ada.refresh()[..136]);
        let get = |path| bare(Method::GET, path);
        counters.take();
        for (name, ask, status, route, reason) in [
            ("wrong password", post("/auth/login").json(&wrong), 401, "login", "credentials"),
            ("no origin", bare(Method::POST, "/auth/login").json(&wrong), 403, "login", "no_origin"),
            (
                "another origin",
                bare(Method::POST, "/auth/refresh").header("origin", "https://evil.example").cookie("x"),
                403,
                "refresh",
                "origin",
            ),
            (
                "another site",
                bare(Method::POST, "/auth/logout").header("sec-fetch-site", "cross-site").cookie("x"),
                403,
                "logout",
                "sec_fetch_site",
            ),
            ("no login", post("/auth/login").json(&serde_json::json!({ "user": 7 })), 400, "login", "body"),
            ("another type", post("/auth/login").body("text/plain", "{}"), 415, "login", "body"),
            (
                "too long",
                post("/auth/login").body("application/json", vec![b' '; 17_000]),
                413,
                "login",
                "body",
            ),
            ("no cookie", post("/auth/refresh"), 401, "refresh", "no_token"),
            ("two sessions", post("/auth/refresh").header(COOKIE, &two), 400, "refresh", "several_sessions"),
            ("a forged cookie", post("/auth/logout").cookie(&forged), 204, "cookie", "bad_tag"),
            ("a garbled cookie", post("/auth/logout").cookie("x"), 204, "cookie", "malformed"),
            ("no bearer", get("/auth/sessions"), 401, "bearer", "missing"),
            ("a bad bearer", get("/auth/sessions").bearer("a.b.c"), 401, "bearer", "malformed"),
            ("a bad bearer", post("/auth/logout").bearer("a.b.c"), 204, "logout", "malformed"),
        ] {
            world.send(ask).await.expect(status);
            let counter = format!("service_refused_total{{route={route},reason={reason}}}");
            counters.step(name, &[(&counter, 1)]);
        }
        // A code path without HTTP.
        assert!(world.auth.sessions().refresh("garbage").await.is_err());
        counters.step("from code", &[("service_refused_total{route=refresh,reason=malformed}", 1)]);
        // Answers that are no refusals, and paths that are none.
        for (name, ask, status) in [
            ("the keys", get("/auth/jwks.json"), 200),
            ("no path", get("/auth/x"), 404),
            ("no method", get("/auth/login"), 405),
            ("the list", get("/auth/sessions").bearer(&ada.access()), 200),
            ("a logout of nobody", post("/auth/logout"), 204),
        ] {
            let answer = world.auth.clone().oneshot(ask.request()).await.unwrap();
            assert_eq!(answer.status(), status, "{name}");
            counters.step(name, &[]);
        }
    });
}

// ── what is outside ──

#[test]
fn retries_and_outages_are_counted() {
    const RETRIES: &str = "store_retries_total";
    const STORE: &str = "unavailable_total{what=store}";
    recorded(async |counters| {
        let (world, renewing) = World::renewing();
        let token = world.login("ada").await.refresh();
        world.clock.advance(RETRY);
        counters.take();
        world.store.plan(Op::Create, Fault::Before);
        world.login("bob").await;
        counters.step("a retry that helped", &[(RETRIES, 1), (&event("opened"), 1)]);
        world.store.set_down(&[Op::Now]);
        world.send(login("ada")).await.expect(503);
        counters.step("the clock of the store", &[(RETRIES, 1), (STORE, 1)]);
        world.store.set_down(&[Op::Get]);
        world.send(refresh(&token)).await.expect(503);
        counters.step("before the renewal", &[(RETRIES, 1), (STORE, 1)]);
        world.store.set_down(&[Op::Rotate]);
        world.send(refresh(&token)).await.expect(503);
        counters.step("the rotation", &[(RETRIES, 1), (STORE, 1)]);
        world.store.set_down(&[Op::Revoke]);
        world.send(post("/auth/logout").cookie(&token)).await.expect(503);
        counters.step("the logout", &[(RETRIES, 1), (STORE, 1)]);
        world.send(login("ada").cookie(&token)).await.expect(200);
        counters.step(
            "the old session of a login could not be ended",
            &[(RETRIES, 1), (STORE, 1), (&event("opened"), 1)],
        );
        world.store.set_down(&[]);
        renewing.answer(Renewal::Unavailable);
        world.send(refresh(&token)).await.expect(503);
        counters.step("the renewal", &[("unavailable_total{what=authenticator}", 1)]);
        world.accounts.outage.store(true, std::sync::atomic::Ordering::SeqCst);
        world.send(login("ada")).await.expect(503);
        counters.step("the login", &[("unavailable_total{what=authenticator}", 1)]);
    });
}

// ── layers ──

#[test]
fn refusals_of_the_layers_are_counted_by_layer_and_reason() {
    recorded(async |counters| {
        let world = World::new();
        let granted = world.login("ada").await.access();
        world.clock.advance(SECOND);
        let later = world.login("ada").await.access();
        let inner = || {
            service_fn(|_: Request<Full<Bytes>>| {
                ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
            })
        };
        let scope = || RequireScopeLayer::all(["orders:write"]).unwrap();
        let bearer = || JwtAuthLayer::new(world.config.verifier::<User>());
        let open = ServiceBuilder::new().layer(bearer()).service(inner());
        let scoped = ServiceBuilder::new().layer(bearer()).layer(scope()).service(inner());
        let optional = ServiceBuilder::new().layer(bearer().optional()).layer(scope()).service(inner());
        let unwired = ServiceBuilder::new().layer(scope()).service(inner());
        let get = || bare(Method::GET, "/api");
        let (signed, _) = granted.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", later.rsplit_once('.').unwrap().1);
        counters.take();
        macro_rules! step {
            ($name:literal, $stack:expr, $ask:expr, $status:literal, $expected:expr) => {
                let answer = $stack.clone().oneshot($ask.request()).await.unwrap();
                assert_eq!(answer.status(), $status, $name);
                let expected: Option<(&str, &str)> = $expected;
                let counter = expected.map(|(layer, reason)| {
                    format!("requests_rejected_total{{layer={layer},reason={reason}}}")
                });
                let expected: Vec<_> = counter.iter().map(|counter| (counter.as_str(), 1)).collect();
                counters.step($name, &expected);
            };
        }
        step!("a good token", open, get().bearer(&granted), 200, None);
        step!("no token", open, get(), 401, Some(("bearer", "missing")));
        step!("no JWT", open, get().bearer("a.b.c"), 401, Some(("bearer", "malformed")));
        step!("another signature", open, get().bearer(&forged), 401, Some(("bearer", "signature")));
        step!(
            "two tokens",
            open,
            get().bearer(&granted).bearer(&granted),
            400,
            Some(("bearer", "repeated_credential"))
        );
        step!("no scope", scoped, get().bearer(&granted), 403, Some(("authorize", "insufficient_scope")));
        step!("no token, further in", optional, get(), 401, Some(("authorize", "missing")));
        step!("no layer in front", unwired, get(), 500, Some(("authorize", "no_bearer_layer")));
        world.clock.advance(DAY);
        step!("an old token", open, get().bearer(&granted), 401, Some(("bearer", "expired")));
    });
}

// ── labels ──

/// Labels come from sets that the source names: whatever clients send, there is not one more time series for it.
#[test]
fn no_label_holds_what_a_client_sent() {
    recorded(async |counters| {
        let bearer = |world: &World| {
            ServiceBuilder::new().layer(JwtAuthLayer::new(world.config.verifier::<User>())).service_fn(
                |_: Request<Full<Bytes>>| ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))),
            )
        };
        let mut series = Vec::new();
        for round in 0..2 {
            let mut seen = BTreeSet::new();
            for number in 0..5 {
                let mark = format!("mark{round}x{number}");
                let world = World::new();
                let shape = mark.clone();
                world.accounts.shape(move |identity| {
                    tower_jwt_auth::Identity::new(&*shape, identity.claims().clone())
                        .with_scopes([&*shape])
                        .with_client_id(&*shape)
                        .with_acr(&*shape)
                });
                let good = world.login("ada").await;
                for ask in [
                    bare(Method::POST, "/auth/login").header("origin", format!("https://{mark}.example")),
                    bare(mark.parse().unwrap(), "/auth/login").header("x-session-request", "1"),
                    post(&format!("/auth/{mark}")),
                    post(&format!("/auth/sessions/{mark}")),
                    bare(Method::DELETE, &format!("/auth/sessions/{mark}")).bearer(&good.access()),
                    bare(Method::DELETE, &format!("/auth/sessions/{mark}")).bearer(&mark),
                    post("/auth/login").header("user-agent", &mark).json(&credentials(&mark)),
                    post("/auth/login").body("application/json", format!("{{\"{mark}\":1}}")),
                    post("/auth/login").body(&mark, "{}"),
                    post("/auth/refresh").cookie(&mark),
                    post("/auth/refresh").cookie(&good.refresh()),
                    post("/auth/logout").header("user-agent", &mark).cookie(&good.refresh()),
                    post("/auth/refresh").cookie(&good.refresh()),
                ] {
                    world.auth.clone().oneshot(ask.request()).await.unwrap();
                }
                for token in [&*mark, &format!("{mark}.{mark}.{mark}"), &good.access()] {
                    let ask = bare(Method::GET, &format!("/{mark}")).bearer(token);
                    bearer(&world).oneshot(ask.request()).await.unwrap();
                }
                world.auth.sessions().end_all(&mark, None).await.unwrap();
                let added = counters.take();
                assert!(added.len() >= 8, "{added:?}");
                assert!(added.keys().all(|counter| !counter.contains("mark")), "{added:?}");
                assert!(added.keys().all(|counter| !counter.contains(&sid(&good).to_string())), "{added:?}");
                seen.extend(added.into_keys());
            }
            series.push(seen);
        }
        assert_eq!(series[0], series[1], "the same series, whoever asks");
    });
}

/// The names stand in the manual, and nothing else does.
#[test]
fn the_documentation_lists_the_counters() {
    let names = |text: &str| -> BTreeSet<String> {
        text.split(|sign: char| !sign.is_ascii_lowercase() && sign != '_')
            .filter(|word| word.starts_with("tower_jwt_auth_") && word.ends_with("_total"))
            .map(ToOwned::to_owned)
            .collect()
    };
    let counted = names(include_str!("../src/metrics.rs"));
    let documented = names(include_str!("../src/manual/observability.rs"));
    assert!(counted.len() >= 5, "{counted:?}");
    assert_eq!(counted, documented);
}

/// How many sessions ended, and why.
#[test]
fn ended_sessions_are_counted_by_reason() {
    recorded(async |counters| {
        let world =
            World::with(|builder| builder.policy(SessionPolicy::default().with_sessions_per_subject(3)));
        let step = |name: &str, why: &str, count: u64| {
            let mut added = counters.take();
            added.retain(|counter, _| counter.starts_with("sessions_ended_total"));
            let expected = BTreeMap::from([(format!("sessions_ended_total{{why={why}}}"), count)]);
            assert_eq!(added, expected, "{name}");
        };
        let out = world.login("ada").await;
        world.send(post("/auth/logout").cookie(&out.refresh())).await.expect(204);
        step("logout", "logout", 1);
        let old = world.login("ada").await;
        let new = world.send(login("ada").cookie(&old.refresh())).await;
        step("a login over a session", "replaced by a login", 1);
        let delete = bare(Method::DELETE, &format!("/auth/sessions/{}", sid(&new))).bearer(&new.access());
        world.send(delete).await.expect(204);
        step("one's own", "by its owner", 1);
        let first = world.login("ada").await.refresh();
        world.rotate(&first).await.expect(200);
        world.clock.advance(RETRY);
        world.send(refresh(&first)).await.expect(401);
        step("row 7", "superseded", 1);
        for _ in 0..4 {
            world.clock.advance(SECOND);
            world.login("ada").await;
        }
        step("one too many", "evicted", 1);
        world.auth.sessions().end_all("ada", None).await.unwrap();
        step("all", "ended_all", 3);
    });
}
