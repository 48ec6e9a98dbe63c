//! Keys that are fetched: by a scripted client, and with tokio's clock, which the tests move.

#![cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/events.rs"]
mod events;

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use events::Events;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_jwt_auth::test_util::ManualClock;
use tower_jwt_auth::{
    AccessGrant, Algorithm, Clock, ConfigErrorKind, FetchErrorKind, Issuer, JwtAuthLayer, KeyForm, KeySet,
    MetadataForm, NoClaims, RemoteJwks, RemoteJwksBuilder, SigningKey, SystemClock, TokenConfig,
    TokenErrorKind, Verifier,
};

const ISSUER: &str = "https://idp.example";
const KEYS: &str = "https://idp.example/keys";
const SECOND: Duration = Duration::from_secs(1);
const UNKNOWN: Result<(), TokenErrorKind> = Err(TokenErrorKind::UnknownKey);
const INTERVAL: Duration = Duration::from_secs(30);

/// What the server does with a request.
enum Answer {
    Give(Response<Full<Bytes>>),
    /// The connection breaks.
    Break,
    /// Nothing ever comes.
    Hang,
    Panic,
}

fn give(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer::Give(Response::builder().status(status).body(Full::from(body.into())).unwrap())
}

fn with(answer: Answer, name: &'static str, value: &str) -> Answer {
    let Answer::Give(mut response) = answer else { return answer };
    response.headers_mut().insert(name, value.parse().unwrap());
    Answer::Give(response)
}

type Script = Box<dyn FnMut(&str, &HeaderMap) -> Answer + Send>;

/// The server, and the client that asks it.
#[derive(Clone)]
struct Server {
    script: Arc<Mutex<Script>>,
    /// The places that were asked for.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(script: impl FnMut(&str, &HeaderMap) -> Answer + Send + 'static) -> Self {
        Self { script: Arc::new(Mutex::new(Box::new(script))), seen: Arc::default() }
    }

    /// Answers each request with these keys.
    fn of(keys: &[&SigningKey]) -> Self {
        let keys = jwks(keys);
        Self::new(move |_, _| give(200, keys.clone()))
    }

    fn set(&self, script: impl FnMut(&str, &HeaderMap) -> Answer + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    fn set_keys(&self, keys: &[&SigningKey]) {
        let keys = jwks(keys);
        self.set(move |_, _| give(200, keys.clone()));
    }

    fn fetches(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn builder(&self) -> RemoteJwksBuilder {
        RemoteJwks::builder(self.clone()).interval(INTERVAL)
    }

    fn spawn(&self) -> RemoteJwks {
        self.builder().spawn_at(KEYS).unwrap()
    }
}

impl Service<Request<Full<Bytes>>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = std::io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let place = request.uri().to_string();
        self.seen.lock().unwrap().push(place.clone());
        let answer = (self.script.lock().unwrap())(&place, request.headers());
        Box::pin(async move {
            match answer {
                Answer::Give(response) => Ok(response),
                Answer::Break => Err(std::io::Error::other("broken")),
                Answer::Hang => pending().await,
                Answer::Panic => panic!("a client that is not well"),
            }
        })
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::ed25519_seed(&[seed; 32]).unwrap().with_kid(format!("key-{seed}"))
}

fn jwks(keys: &[&SigningKey]) -> String {
    KeySet::new(keys.iter().map(|key| key.verifying_key().clone())).unwrap().to_jwks()
}

fn verifier(keys: &RemoteJwks, clock: impl Clock) -> Verifier<NoClaims> {
    let builder = TokenConfig::builder().key_source(keys.handle()).issuer(ISSUER).audience("api");
    builder.clock(clock).build().unwrap().verifier()
}

fn issue(key: &SigningKey, clock: impl Clock) -> String {
    let builder = TokenConfig::builder().key(key.clone()).issuer(ISSUER).audience("api").clock(clock);
    let issuer = Issuer::new(&builder.build().unwrap()).unwrap();
    issuer.issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap().expose().to_owned()
}

fn token(key: &SigningKey) -> String {
    issue(key, SystemClock)
}

fn outcome(verifier: &Verifier<NoClaims>, token: &str) -> Result<(), TokenErrorKind> {
    verifier.verify(token).map(drop).map_err(|error| error.kind())
}

/// Lets the time pass in which the task has its turn. Nothing here waits by the real clock.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn j13_before_there_are_keys_the_answer_is_503_and_it_recovers_alone() {
    let server = Server::new(|_, _| Answer::Break);
    let keys = server.spawn();
    let verifier = verifier(&keys, SystemClock);
    let good = token(&key(1));
    let mut service = JwtAuthLayer::new(verifier.clone()).layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let mut send = async |content_type: &str, token: Option<&str>| {
        let mut request = Request::post("/").header("content-type", content_type);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        service.ready().await.unwrap().call(request.body(()).unwrap()).await.unwrap()
    };

    pass(SECOND).await;
    let refused = send("application/json", Some(&good)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[RETRY_AFTER], "1");
    assert!(!refused.headers().contains_key("www-authenticate"));
    assert_eq!(send("application/grpc", Some(&good)).await.headers()["grpc-status"], "14");
    assert_eq!(send("application/json", None).await.status(), StatusCode::UNAUTHORIZED, "no keys are needed");
    assert_eq!(send("application/json", Some("a.b.c")).await.status(), StatusCode::UNAUTHORIZED);
    assert!(!keys.is_ready());
    assert_eq!(keys.last_error().unwrap().kind(), FetchErrorKind::Unreachable);

    server.set_keys(&[&key(1)]);
    keys.wait_ready().await.unwrap();
    assert_eq!(send("application/json", Some(&good)).await.status(), StatusCode::OK);
    assert!(keys.is_ready() && keys.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn h13_row_73_unknown_keys_are_refused_at_once_and_cause_one_fetch_an_interval() {
    let server = Server::of(&[&key(1)]);
    let keys = server.spawn();
    keys.wait_ready().await.unwrap();
    let verifier = verifier(&keys, SystemClock);
    let unknown: Vec<_> = (2..12).map(|seed| token(&key(seed))).collect();
    for round in 0..10 {
        for token in unknown.iter().cycle().take(1000) {
            assert_eq!(outcome(&verifier, token), Err(TokenErrorKind::UnknownKey));
        }
        // Some come at once, some later in the interval.
        pass(INTERVAL / 11).await;
        assert_eq!(server.fetches(), 1, "round {round}");
    }
    pass(INTERVAL / 5).await;
    assert_eq!(server.fetches(), 2);
    pass(INTERVAL * 10).await;
    assert!(server.fetches() <= 3, "nobody asks any more: {}", server.fetches());
}

#[tokio::test(start_paused = true)]
async fn j12_a_new_key_is_found_by_the_fetch_behind_and_a_removed_one_takes_its_tokens_along() {
    let (old, new) = (key(1), key(2));
    let server = Server::of(&[&old]);
    let keys = server.spawn();
    keys.wait_ready().await.unwrap();
    let verifier = verifier(&keys, SystemClock);
    let (of_old, of_new) = (token(&old), token(&new));
    assert_eq!(outcome(&verifier, &of_old), Ok(()));
    pass(INTERVAL * 2).await;

    server.set_keys(&[&old, &new]);
    assert_eq!(outcome(&verifier, &of_new), Err(TokenErrorKind::UnknownKey));
    pass(SECOND).await;
    assert_eq!((outcome(&verifier, &of_new), outcome(&verifier, &of_old)), (Ok(()), Ok(())));

    server.set_keys(&[&new]);
    pass(Duration::from_secs(3600)).await;
    assert_eq!(outcome(&verifier, &of_old), Err(TokenErrorKind::UnknownKey), "it was remembered");
    assert_eq!(outcome(&verifier, &of_new), Ok(()));
}

/// Two nodes of a provider that do not agree, in turn behind one name.
#[tokio::test(start_paused = true)]
async fn keys_that_flap_are_those_of_the_last_answer_and_cause_no_more_fetches() {
    let (one, two) = (key(1), key(2));
    let server = Server::of(&[&one]);
    let keys = server.spawn();
    keys.wait_ready().await.unwrap();
    let verifier = verifier(&keys, SystemClock);
    let (of_one, of_two) = (token(&one), token(&two));
    let documents = [jwks(&[&two]), jwks(&[&one])];
    let mut answers = 0;
    server.set(move |_, _| {
        answers += 1;
        give(200, documents[(answers + 1) % 2].clone())
    });
    let mut turns = [0, 0];
    for second in 0..600 {
        let (one, two) = (outcome(&verifier, &of_one), outcome(&verifier, &of_two));
        let expected = if server.fetches() % 2 == 1 { [Ok(()), UNKNOWN] } else { [UNKNOWN, Ok(())] };
        assert_eq!([one, two], expected, "second {second}");
        turns[server.fetches() % 2] += 1;
        pass(SECOND).await;
    }
    assert!(turns.iter().all(|turn| *turn > 250), "{turns:?}");
    assert!((15..=21).contains(&server.fetches()), "at most one each 30 seconds: {}", server.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_used_is_told_of_once() {
    let (events, _guard) = Events::start();
    let told = || events.take_own().iter().filter(|event| event.contains("key_skipped")).count();
    let with_others = |others: &str| {
        let document = jwks(&[&key(1)]).replace(r#""keys":["#, &format!(r#""keys":[{others}"#));
        move |_: &str, _: &HeaderMap| give(200, document.clone())
    };
    let server = Server::new(with_others(r#"{"kty":"oct","kid":"a"},"#));
    let keys = server.builder().standard_age(INTERVAL).spawn_at(KEYS).unwrap();
    keys.wait_ready().await.unwrap();
    pass(INTERVAL * 10).await;
    assert!(server.fetches() > 5);
    assert_eq!(told(), 1);
    server.set(with_others(r#"{"kty":"oct","kid":"a"},{"kty":"oct","kid":"b"},"#));
    pass(INTERVAL * 10).await;
    assert_eq!(told(), 2, "others: all of them are told");
    // None that can be used is told of as well, and once.
    server.set(|_, _| give(200, r#"{"keys":[{"kty":"oct","kid":"c"}]}"#));
    pass(INTERVAL * 10).await;
    assert_eq!(told(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_event_of_a_failure_has_the_clients_own_words() {
    let (events, _guard) = Events::start();
    let server = Server::new(|_, _| Answer::Break);
    let _keys = server.spawn();
    pass(SECOND / 2).await;
    let failures: Vec<_> =
        events.take_own().into_iter().filter(|event| event.contains("keys_not_fetched")).collect();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].contains("cause=") && failures[0].contains("broken"), "{}", failures[0]);
}

type Rows = Vec<(&'static str, Box<dyn Fn() -> Answer + Send>, FetchErrorKind)>;

#[tokio::test(start_paused = true)]
async fn the_last_good_set_is_kept_through_whatever_comes() {
    let (good, rsa) = (key(1), include_str!("fixtures/keys/rsa.public.jwk"));
    let server = Server::of(&[&good]);
    let keys = server.builder().timeout(SECOND * 5).spawn_at(KEYS).unwrap();
    keys.wait_ready().await.unwrap();
    let (verifier, token) = (verifier(&keys, SystemClock), token(&good));
    let unusable =
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"},{"kty":"AKP"},{"kty":"OKP","crv":"X25519","x":"AA"}]}"#;
    let private = include_str!("fixtures/keys/rsa.private.jwk");
    let document = |text: &str| -> Box<dyn Fn() -> Answer + Send> {
        let text = text.to_owned();
        Box::new(move || give(200, text.clone()))
    };
    let rows: Rows = vec![
        ("J1 empty", document(""), FetchErrorKind::Document),
        ("J1 HTML", document("<html>"), FetchErrorKind::Document),
        ("J1 array", document("[]"), FetchErrorKind::Document),
        ("J1 {}", document("{}"), FetchErrorKind::Document),
        ("J1 null", document(r#"{"keys":null}"#), FetchErrorKind::Document),
        ("J1 object", document(r#"{"keys":{}}"#), FetchErrorKind::Document),
        ("J2 no keys", document(r#"{"keys":[]}"#), FetchErrorKind::Document),
        ("J3 J5 none that can be used", document(unusable), FetchErrorKind::Document),
        ("J6 private", document(&format!(r#"{{"keys":[{private}]}}"#)), FetchErrorKind::Document),
        ("cut", document(&format!(r#"{{"keys":[{rsa}"#)), FetchErrorKind::Document),
        ("not UTF-8", Box::new(|| give(200, &b"{\"keys\":[\xff]}"[..])), FetchErrorKind::Document),
        ("too long", document(&" ".repeat(513 * 1024)), FetchErrorKind::Unreachable),
        ("500", Box::new(|| give(500, "")), FetchErrorKind::Status),
        ("404 with keys", Box::new(|| give(404, jwks(&[&key(9)]))), FetchErrorKind::Status),
        ("204", Box::new(|| give(204, "")), FetchErrorKind::Status),
        ("429", Box::new(|| with(give(429, ""), "retry-after", "7")), FetchErrorKind::Status),
        ("304 unasked", Box::new(|| give(304, "")), FetchErrorKind::Status),
        ("J10 to http", Box::new(|| moved("http://idp.example/keys")), FetchErrorKind::Redirect),
        ("J10 to another", Box::new(|| moved("https://evil.example/keys")), FetchErrorKind::Redirect),
        ("J10 to this machine", Box::new(|| moved("https://127.0.0.1/keys")), FetchErrorKind::Redirect),
        ("a loop", Box::new(|| moved("/keys")), FetchErrorKind::Redirect),
        ("no target", Box::new(|| give(302, "")), FetchErrorKind::Redirect),
        ("nothing", Box::new(|| Answer::Hang), FetchErrorKind::Unreachable),
        ("broken", Box::new(|| Answer::Break), FetchErrorKind::Unreachable),
        ("a panic", Box::new(|| Answer::Panic), FetchErrorKind::Unreachable),
    ];
    for (row, answer, expected) in rows {
        server.set(move |_, _| answer());
        // The hour after which it asks again, and more.
        pass(Duration::from_secs(3700)).await;
        assert_eq!(keys.last_error().map(|error| error.kind()), Some(expected), "{row}");
        assert!(keys.is_ready(), "{row}");
        assert_eq!(outcome(&verifier, &token), Ok(()), "{row}");
        server.set_keys(&[&good]);
        pass(INTERVAL * 2).await;
        assert!(keys.last_error().is_none(), "{row}: it recovers");
    }
}

fn moved(target: &str) -> Answer {
    with(give(302, ""), "location", target)
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_refuses_no_token_whose_key_is_held() {
    let (clock, good) = (ManualClock::new(), key(1));
    let server = Server::of(&[&good]);
    let keys = server.builder().standard_age(SECOND * 60).spawn_at(KEYS).unwrap();
    keys.wait_ready().await.unwrap();
    let verifier = verifier(&keys, clock.clone());
    server.set(|_, _| Answer::Break);
    for minute in 0..60 {
        assert_eq!(outcome(&verifier, &issue(&good, clock.clone())), Ok(()), "minute {minute}");
        clock.advance(SECOND * 60);
        pass(SECOND * 60).await;
    }
    let during = server.fetches();
    assert!((60..=200).contains(&during), "it kept on asking, not too often: {during}");
    server.set_keys(&[&good]);
    pass(INTERVAL * 2).await;
    assert!(keys.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_document_that_was_not_modified_is_not_sent_again() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (asked, good) = (Arc::clone(&seen), key(1));
    let document = jwks(&[&good]);
    let server = Server::new(move |_, headers| {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        asked.lock().unwrap().push((text("if-none-match"), text("if-modified-since")));
        if text("if-none-match").as_deref() == Some("\"1\"") {
            return with(give(304, ""), "cache-control", "max-age=600");
        }
        let answer = with(give(200, document.clone()), "etag", "\"1\"");
        let answer = with(answer, "date", "Sun, 01 Nov 2026 00:00:09 GMT");
        with(with(answer, "last-modified", "Sun, 01 Nov 2026 00:00:00 GMT"), "cache-control", "max-age=100")
    });
    let keys = server.spawn();
    keys.wait_ready().await.unwrap();
    pass(SECOND * 101).await;
    let conditional = (Some("\"1\"".to_owned()), Some("Sun, 01 Nov 2026 00:00:00 GMT".to_owned()));
    assert_eq!(*seen.lock().unwrap(), [(None, None), conditional]);
    assert_eq!(outcome(&verifier(&keys, SystemClock), &token(&good)), Ok(()));
    pass(SECOND * 500).await;
    assert_eq!(server.fetches(), 2, "the age is that of the 304");
    pass(SECOND * 101).await;
    assert_eq!(server.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_date_of_the_same_second_is_no_validator() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for (date, is_asked) in [
        (Some("Sun, 01 Nov 2026 00:00:00 GMT"), false),
        (None, false),
        (Some("Sun, 01 Nov 2026 00:00:01 GMT"), true),
    ] {
        let (asked, document) = (Arc::clone(&seen), jwks(&[&key(1)]));
        let server = Server::new(move |_, headers| {
            asked.lock().unwrap().push(headers.contains_key("if-modified-since"));
            let answer = with(give(200, document.clone()), "last-modified", "Sun, 01 Nov 2026 00:00:00 GMT");
            match date {
                Some(date) => with(answer, "date", date),
                None => answer,
            }
        });
        let keys = server.builder().standard_age(INTERVAL).spawn_at(KEYS).unwrap();
        keys.wait_ready().await.unwrap();
        pass(INTERVAL * 2).await;
        assert_eq!(seen.lock().unwrap().drain(..).take(2).collect::<Vec<_>>(), [false, is_asked], "{date:?}");
    }
}

/// What a document was known by says nothing of another one, though it has the same name for those who ask.
#[tokio::test(start_paused = true)]
async fn validators_are_those_of_the_place_that_answered() {
    let (old, new) = (key(1), key(2));
    let documents = [jwks(&[&old]), jwks(&[&new])];
    let place = Arc::new(Mutex::new("/a"));
    let (led, seen) = (Arc::clone(&place), Arc::new(Mutex::new(Vec::new())));
    let asked = Arc::clone(&seen);
    let server = Server::new(move |location, headers| {
        asked.lock().unwrap().push((location.to_owned(), headers.contains_key("if-none-match")));
        let document = match location {
            "https://idp.example/a" => &documents[0],
            "https://idp.example/b" => &documents[1],
            _ => return with(give(302, ""), "location", *led.lock().unwrap()),
        };
        if headers.contains_key("if-none-match") {
            return give(304, "");
        }
        with(give(200, document.clone()), "etag", "\"1\"")
    });
    let keys = server.builder().standard_age(INTERVAL).spawn_at(KEYS).unwrap();
    keys.wait_ready().await.unwrap();
    let verifier = verifier(&keys, SystemClock);
    let (of_old, of_new) = (token(&old), token(&new));
    pass(INTERVAL * 2).await;
    assert_eq!(outcome(&verifier, &of_old), Ok(()));
    let conditional: Vec<_> = seen.lock().unwrap().drain(..).filter(|(_, condition)| *condition).collect();
    assert!(
        !conditional.is_empty() && conditional.iter().all(|(place, _)| place.ends_with("/a")),
        "{conditional:?}"
    );

    *place.lock().unwrap() = "/b";
    pass(INTERVAL * 2).await;
    assert_eq!((outcome(&verifier, &of_old), outcome(&verifier, &of_new)), (UNKNOWN, Ok(())));
}

/// The client never answers, and would be waited for.
#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_ends_with_the_last_handle() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let client = service_fn(move |_: Request<Full<Bytes>>| {
        let held = Arc::clone(&held);
        async move {
            let outcome = pending::<Result<Response<Full<Bytes>>, Infallible>>().await;
            drop(held);
            outcome
        }
    });
    let keys = RemoteJwks::builder(client).timeout(Duration::from_secs(300)).spawn_at(KEYS).unwrap();
    pass(SECOND).await;
    assert!(Arc::strong_count(&alive) > 2, "the client, and the request that is under way");
    drop(keys);
    pass(SECOND).await;
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test(start_paused = true)]
async fn ages_stay_within_floor_and_ceiling() {
    for (age, sooner, later) in
        [("max-age=0", 29, 31), ("no-store", 29, 31), ("max-age=999999999", 7000, 7300)]
    {
        let document = jwks(&[&key(1)]);
        let server = Server::new(move |_, _| with(give(200, document.clone()), "cache-control", age));
        let keys = server.builder().longest_age(Duration::from_secs(7800)).spawn_at(KEYS).unwrap();
        keys.wait_ready().await.unwrap();
        pass(SECOND * sooner).await;
        assert_eq!(server.fetches(), 1, "{age}");
        pass(SECOND * (later - sooner + 600)).await;
        assert!(server.fetches() >= 2, "{age}");
    }
}

#[tokio::test(start_paused = true)]
async fn discovery_finds_the_keys_and_trusts_the_issuers_own_metadata_only() {
    let good = key(1);
    let places = |issuer: &str, place: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{place}"}}"#);
    let document = jwks(&[&good]);
    let server = |metadata: String| {
        let document = document.clone();
        Server::new(move |place, _| {
            let is_metadata = place.contains("/.well-known/");
            give(200, if is_metadata { metadata.clone() } else { document.clone() })
        })
    };
    for (form, place) in [
        (MetadataForm::OpenId, "https://idp.example/.well-known/openid-configuration"),
        (MetadataForm::OAuth, "https://idp.example/.well-known/oauth-authorization-server"),
    ] {
        let server = server(places(ISSUER, KEYS));
        let keys = server.builder().metadata_form(form).spawn_for(ISSUER).unwrap();
        keys.wait_ready().await.unwrap();
        assert_eq!(*server.seen.lock().unwrap(), [place, KEYS]);
        assert_eq!(outcome(&verifier(&keys, SystemClock), &token(&good)), Ok(()));
    }
    for (row, metadata, expected) in [
        ("J11 slash", places("https://idp.example/", KEYS), FetchErrorKind::Issuer),
        ("J11 other host", places("https://evil.example", KEYS), FetchErrorKind::Issuer),
        ("J11 http keys", places(ISSUER, "http://idp.example/keys"), FetchErrorKind::Location),
        ("keys in a file", places(ISSUER, "file:///etc/passwd"), FetchErrorKind::Location),
        ("no keys", format!(r#"{{"issuer":"{ISSUER}"}}"#), FetchErrorKind::Document),
    ] {
        let server = server(metadata);
        let keys = server.builder().spawn_for(ISSUER).unwrap();
        pass(SECOND * 10).await;
        assert!(!keys.is_ready(), "{row}");
        assert_eq!(keys.last_error().unwrap().kind(), expected, "{row}");
        assert!(server.seen.lock().unwrap().iter().all(|place| place.contains("/.well-known/")), "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_moved_are_found_again() {
    let (old, new) = (key(1), key(2));
    let (first, second) = (jwks(&[&old]), jwks(&[&new]));
    let server = Server::new(move |place, _| match place {
        KEYS => with(give(200, first.clone()), "etag", "\"1\""),
        _ => give(200, format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{KEYS}"}}"#)),
    });
    let keys = server.builder().spawn_for(ISSUER).unwrap();
    keys.wait_ready().await.unwrap();
    server.set(move |place, headers| match place {
        KEYS => give(410, ""),
        "https://idp.example/other" => {
            assert!(!headers.contains_key("if-none-match"), "that was another document's");
            give(200, second.clone())
        }
        _ => give(200, format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"https://idp.example/other"}}"#)),
    });
    pass(Duration::from_secs(3700)).await;
    assert_eq!(outcome(&verifier(&keys, SystemClock), &token(&new)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn keys_that_moved_are_found_although_their_old_place_answers() {
    let (old, new) = (key(1), key(2));
    let server = |place: &'static str| {
        let (first, second) = (jwks(&[&old]), jwks(&[&new]));
        move |asked: &str, _: &HeaderMap| match asked {
            KEYS => with(give(200, first.clone()), "etag", "\"1\""),
            "https://idp.example/other" => give(200, second.clone()),
            _ => give(200, format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{place}"}}"#)),
        }
    };
    let moving = Server::new(server(KEYS));
    let keys = moving.builder().spawn_for(ISSUER).unwrap();
    keys.wait_ready().await.unwrap();
    moving.set(server("https://idp.example/other"));
    let verifier = verifier(&keys, SystemClock);
    assert_eq!(outcome(&verifier, &token(&new)), Err(TokenErrorKind::UnknownKey));
    pass(INTERVAL * 2).await;
    assert_eq!(outcome(&verifier, &token(&new)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_heeded_whoever_asks() {
    let server = Server::of(&[&key(1)]);
    let keys = server.spawn();
    keys.wait_ready().await.unwrap();
    let verifier = verifier(&keys, SystemClock);
    server.set(|_, _| with(give(503, ""), "retry-after", "300"));
    assert_eq!(outcome(&verifier, &token(&key(2))), Err(TokenErrorKind::UnknownKey));
    // The interval, and a little more by chance.
    pass(INTERVAL + SECOND * 4).await;
    assert_eq!(server.fetches(), 2);
    for _ in 0..9 {
        assert_eq!(outcome(&verifier, &token(&key(2))), Err(TokenErrorKind::UnknownKey));
        pass(INTERVAL).await;
        assert_eq!(server.fetches(), 2);
    }
    pass(INTERVAL * 2).await;
    assert_eq!(server.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle() {
    let server = Server::of(&[&key(1)]);
    let keys = server.spawn();
    keys.wait_ready().await.unwrap();
    let verifier = verifier(&keys, SystemClock);
    drop(keys);
    pass(Duration::from_secs(3700)).await;
    assert_eq!(server.fetches(), 2, "a verifier is enough to keep it");
    assert!(Arc::strong_count(&server.seen) > 1);
    drop(verifier);
    pass(SECOND).await;
    assert_eq!(Arc::strong_count(&server.seen), 1, "the task let go of its client");
}

#[test]
fn when_its_runtime_is_gone_nobody_hangs() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let server = Server::new(|_, _| Answer::Hang);
    let keys = first.block_on(async { server.spawn() });
    let verifier = verifier(&keys, SystemClock);
    drop(first);
    assert_eq!(outcome(&verifier, &token(&key(1))), Err(TokenErrorKind::NoKeys));
    let error = second.block_on(keys.wait_ready()).unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Stopped);

    let first = runtime();
    let keys = first.block_on(async {
        let keys = Server::of(&[&key(1)]).spawn();
        keys.wait_ready().await.unwrap();
        keys
    });
    assert!(keys.is_ready() && keys.last_error().is_none());
    drop(first);
    assert_eq!(keys.last_error().unwrap().kind(), FetchErrorKind::Stopped, "its keys grow old");
}

#[tokio::test]
async fn what_cannot_work_is_met_at_the_start() {
    let server = Server::new(|_, _| Answer::Break);
    let builder = || server.builder();
    for (row, outcome, expected) in [
        ("http", builder().spawn_at("http://idp.example/keys"), ConfigErrorKind::Issuer),
        ("http, loopback unasked", builder().spawn_at("http://127.0.0.1/keys"), ConfigErrorKind::Issuer),
        (
            "http elsewhere",
            builder().insecure_http().spawn_at("http://idp.example/"),
            ConfigErrorKind::Issuer,
        ),
        ("a file", builder().spawn_at("file:///keys"), ConfigErrorKind::Issuer),
        ("a user name", builder().spawn_at("https://user@idp.example/keys"), ConfigErrorKind::Issuer),
        ("no URL", builder().spawn_for("accounts.example"), ConfigErrorKind::Issuer),
        ("often", builder().interval(SECOND / 2).spawn_at(KEYS), ConfigErrorKind::Limit),
        ("interval above age", builder().longest_age(SECOND).spawn_at(KEYS), ConfigErrorKind::Limit),
        ("no time", builder().timeout(Duration::ZERO).spawn_at(KEYS), ConfigErrorKind::Limit),
        ("no RSA", builder().rsa_algorithm(Algorithm::Es256).spawn_at(KEYS), ConfigErrorKind::Key),
    ] {
        assert_eq!(outcome.unwrap_err().kind(), expected, "{row}");
    }
    assert!(builder().insecure_http().spawn_at("http://127.0.0.1:1/keys").is_ok());
    let outside = std::thread::spawn(move || server.builder().spawn_at(KEYS).unwrap_err().kind());
    assert_eq!(outside.join().unwrap(), ConfigErrorKind::Runtime);

    let keys = Server::of(&[&key(1)]).spawn();
    let both = TokenConfig::builder().key(key(1)).key_source(keys.handle()).issuer(ISSUER).audience("api");
    assert_eq!(both.build().unwrap_err().kind(), ConfigErrorKind::Key);

    let config =
        TokenConfig::builder().key_source(keys.handle()).issuer(ISSUER).audience("api").build().unwrap();
    for (row, outcome) in [
        ("add", config.add_key(key(2).verifying_key().clone())),
        ("sign", config.sign_with(key(1))),
        ("remove", config.remove_key("key-1")),
    ] {
        assert_eq!(outcome.unwrap_err().kind(), ConfigErrorKind::Key, "{row}: the next fetch would undo it");
    }
}

#[tokio::test(start_paused = true)]
async fn rsa_keys_without_an_algorithm_are_for_the_one_that_is_named() {
    let pem = KeyForm::Pem(include_bytes!("fixtures/keys/rsa.pkcs8.pem"));
    let signing = SigningKey::read(Algorithm::Ps256, pem).unwrap();
    let public = include_str!("fixtures/keys/rsa.public.jwk").replace("\"alg\":\"RS256\",", "");
    let document = format!(r#"{{"keys":[{public}]}}"#);
    for (algorithm, expected) in [(Algorithm::Ps256, true), (Algorithm::Rs256, false)] {
        let document = document.clone();
        let server = Server::new(move |_, _| give(200, document.clone()));
        let keys = server.builder().rsa_algorithm(algorithm).spawn_at(KEYS).unwrap();
        keys.wait_ready().await.unwrap();
        let kid = keys.handle().load().keys()[0].kid().to_owned();
        let token = token(&signing.clone().with_kid(kid));
        assert_eq!(outcome(&verifier(&keys, SystemClock), &token).is_ok(), expected, "{algorithm:?}");
    }
}
