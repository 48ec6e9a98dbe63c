//! The client against the real service, with a proxy between them that drops requests, drops answers, delays both, and
//! answers 500: no session is lost, each expiry causes one rotation, and no request gets another's answer.
//!
//! By paused time: a thousand lives of an access token pass in seconds. What the proxy does is drawn from a seed, which a
//! failure prints; `CHAOS_SEED` repeats it.

#![cfg(all(feature = "client", feature = "moka"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::env;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::client::{BoxError, ClientError, Event, MemoryStorage, Session, SessionLayer};
use tower_jwt_auth::{
    AuthLayer, AuthService, Clock, CookiePolicy, Delivery, Events, JwtAuthLayer, MokaStore, RefreshKeys,
    SessionEvent, SessionEventKind, SigningKey, Timestamp, TokenConfig, Verified,
};

use support::service::{Accounts, OWN, PASSWORD, REFRESH_SECRET, SIGNING_SECRET, User};

const CALLERS: usize = 200;
const EXPIRIES: usize = 1000;
const LIFETIME: Duration = Duration::from_secs(900);

/// One clock for all: that of tokio, which goes to the next timer when nothing else is to be done.
#[derive(Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_800_000_000_000).saturating_add(self.0.elapsed())
    }
}

/// A small generator: the same draws for the same seed, whatever the versions of crates.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

/// Counts what the service does.
#[derive(Clone, Default)]
struct Counts(Arc<[AtomicUsize; 4]>);

impl Counts {
    fn of(&self, kind: usize) -> usize {
        self.0[kind].load(Ordering::SeqCst)
    }
}

const OPENED: usize = 0;
const ROTATED: usize = 1;
const REISSUED: usize = 2;
const BAD: usize = 3;

impl Events for Counts {
    fn event(&self, event: &SessionEvent<'_>) {
        let kind = match event.kind() {
            SessionEventKind::Opened => OPENED,
            SessionEventKind::Rotated => ROTATED,
            SessionEventKind::Reissued => REISSUED,
            _ => BAD,
        };
        self.0[kind].fetch_add(1, Ordering::SeqCst);
    }
}

/// Between client and server.
#[derive(Clone)]
struct Proxy<S> {
    server: S,
    draws: Arc<Mutex<Draws>>,
    calm: Arc<AtomicBool>,
    harm: Arc<AtomicUsize>,
}

impl<S> Service<Request<Full<Bytes>>> for Proxy<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let (server, harm) = (self.server.clone(), self.harm.clone());
        let calm = self.calm.load(Ordering::SeqCst);
        // Both ways together stay below the 20 seconds for which a new token is held (see rotation.md of the crate's
        // documentation): a proxy that keeps a request for longer is one that the rule does not promise anything for.
        let (fate, before, after) = {
            let mut draws = self.draws.lock().unwrap();
            (
                draws.below(100),
                Duration::from_millis(draws.below(6000)),
                Duration::from_millis(draws.below(8000)),
            )
        };
        let fate = if calm { 99 } else { fate };
        Box::pin(async move {
            harm.fetch_add(usize::from(fate < 30), Ordering::SeqCst);
            match fate {
                0..6 => Err("the request was dropped".into()),
                6..12 => {
                    // It goes on at the server, whatever the client does meanwhile.
                    tokio::spawn(server.oneshot(request)).await??;
                    Err("the answer was dropped".into())
                }
                12..18 => {
                    let late = tokio::spawn(async move {
                        sleep(before).await;
                        server.oneshot(request).await
                    });
                    let answer = late.await??;
                    sleep(after).await;
                    Ok(answer)
                }
                18..24 => Ok(failed()),
                24..30 => {
                    tokio::spawn(server.oneshot(request)).await??;
                    Ok(failed())
                }
                _ => server.oneshot(request).await,
            }
        })
    }
}

fn failed() -> Response<Full<Bytes>> {
    Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(Full::default()).unwrap()
}

/// The service, and a resource behind the bearer layer that says which request it answers, and for whom.
fn server(
    clock: &TokioClock,
    delivery: Delivery,
    counts: &Counts,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send>
+ Clone
+ Send
+ 'static {
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&SIGNING_SECRET).unwrap())
        .issuer(OWN)
        .audience("api")
        .lifetime(LIFETIME)
        .leeway(Duration::ZERO)
        .clock(clock.clone())
        .build()
        .unwrap();
    let store = MokaStore::builder().clock(clock.clone()).build();
    let keys = RefreshKeys::new(REFRESH_SECRET).unwrap();
    let auth = AuthService::builder(&config, keys, store, Accounts::default())
        .add_origin(OWN)
        .delivery(delivery)
        .events(counts.clone())
        .build()
        .unwrap();
    let echo = service_fn(async |request: Request<Full<Bytes>>| {
        let subject = Verified::<User>::of(request.extensions()).map(|user| user.subject().to_owned());
        let text = format!("{} {}", request.uri().path(), subject.unwrap_or_default());
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(text)))
    });
    let inner = ServiceBuilder::new()
        .layer(AuthLayer::new(auth))
        .layer(JwtAuthLayer::new(config.verifier::<User>()))
        .service(echo);
    service_fn(move |request: Request<Full<Bytes>>| {
        let inner = inner.clone();
        async move {
            let (parts, body) = inner.oneshot(request).await?.into_parts();
            Ok::<_, BoxError>(Response::from_parts(parts, Full::from(body.collect().await?.to_bytes())))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn no_session_is_lost_with_bodies() {
    no_session_is_lost(Delivery::Body).await;
}

#[tokio::test(start_paused = true)]
async fn no_session_is_lost_with_cookies() {
    no_session_is_lost(Delivery::Cookie).await;
}

async fn no_session_is_lost(delivery: Delivery) {
    let seed = env::var("CHAOS_SEED").map_or_else(
        |_| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        },
        |seed| seed.parse().expect("CHAOS_SEED is a number"),
    );
    println!("CHAOS_SEED={seed}");
    let clock = TokioClock(Instant::now());
    let counts = Counts::default();
    let calm = Arc::new(AtomicBool::new(true));
    let harm = Arc::new(AtomicUsize::new(0));
    let proxy = Proxy {
        server: server(&clock, delivery, &counts),
        draws: Arc::new(Mutex::new(Draws(seed))),
        calm: calm.clone(),
        harm: harm.clone(),
    };
    let builder = Session::builder(&format!("{OWN}/auth"), MemoryStorage::new(), proxy.clone());
    let builder = builder.clock(clock.clone());
    let session = match delivery {
        Delivery::Cookie => builder.cookie(&CookiePolicy::default()).build().unwrap(),
        _ => builder.build().unwrap(),
    };
    session.login(&json!({ "user": "ada", "password": PASSWORD })).await.unwrap();
    calm.store(false, Ordering::SeqCst);
    let mut events = session.events();
    let refreshed = tokio::spawn(async move {
        let (mut refreshed, mut bad) = (0, Vec::new());
        while let Some(event) = events.next().await {
            match event {
                Event::Refreshed => refreshed += 1,
                Event::RefreshFailed(_) => {}
                other => bad.push(other),
            }
        }
        (refreshed, bad)
    });

    let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(proxy.clone());
    let answered = Arc::new(AtomicUsize::new(0));
    for expiry in 0..EXPIRIES {
        // Whenever it was that the token came, it has expired.
        sleep(LIFETIME + Duration::from_secs(1)).await;
        let callers = (0..CALLERS).map(|caller| {
            let (client, answered) = (client.clone(), answered.clone());
            // Some at once, and some while the refresh is under way.
            let wait = Duration::from_millis((caller as u64 % 20) * 50);
            tokio::spawn(async move {
                sleep(wait).await;
                ask(client, &format!("/api/{expiry}/{caller}"), &answered).await;
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    }
    // What is tried again by itself comes to its end.
    sleep(Duration::from_secs(60)).await;

    calm.store(true, Ordering::SeqCst);
    assert!(session.is_signed_in().await.unwrap(), "the session was lost");
    session.refresh().await.expect("the session lives");
    drop((session, client));
    let (refreshed, bad) = refreshed.await.unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(counts.of(BAD), 0, "nothing looked like a theft");
    assert_eq!(counts.of(OPENED), 1);
    // Each expiry is one rotation at the server and one refresh of the client, however many asked and whatever was lost.
    // The last is the one above, of a token that is in its hold or not.
    assert_eq!(refreshed, EXPIRIES + 1);
    assert!((EXPIRIES..=EXPIRIES + 1).contains(&counts.of(ROTATED)), "{}", counts.of(ROTATED));
    // The proxy did its part, and requests were answered all the same.
    let (harm, answered) = (harm.load(Ordering::SeqCst), answered.load(Ordering::Relaxed));
    assert!(harm > CALLERS * EXPIRIES / 4 && answered > CALLERS * EXPIRIES / 2, "{harm} {answered}");
    assert!(counts.of(REISSUED) > EXPIRIES / 20, "{}", counts.of(REISSUED));
}

async fn ask<S>(client: S, path: &str, answered: &AtomicUsize)
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
{
    let request = Request::get(format!("{OWN}{path}")).body(Full::default()).unwrap();
    // An error is the proxy's.
    let Ok(response) = client.oneshot(request).await else { return };
    match response.status() {
        StatusCode::OK => {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("{path} ada"), "an answer to another request");
            answered.fetch_add(1, Ordering::Relaxed);
        }
        StatusCode::INTERNAL_SERVER_ERROR => {}
        status => {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert!(response.extensions().get::<ClientError>().is_some(), "refused without a reason");
        }
    }
}
