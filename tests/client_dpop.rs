//! The client with DPoP (RFC 9449): the proofs that it sends, the nonces that it remembers, and what it makes of answers.

#![cfg(feature = "client")]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/client.rs"]
mod scripted;

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE};
use http::{HeaderValue, Request, Response, request};
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, advance, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_jwt_auth::client::{
    BoxError, ClientError, ClientErrorKind, MemoryStorage, Session, SessionBuilder, SessionLayer,
    TokenStorage, Tokens,
};
use tower_jwt_auth::{Algorithm, KeyForm, ProofKey, Timestamp, VerifyingKey};

use scripted::{BASE, EXPIRED, LIFETIME, ME, Storage, TokioClock, credentials, get, names};

const NONCE_WANTED: &str = r#"DPoP error="use_dpop_nonce", algs="ES256""#;

/// An answer instead of the one that is due.
#[derive(Clone)]
struct Scripted {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

fn scripted(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Scripted {
    Scripted { status, headers: headers.to_vec(), body: body.to_owned() }
}

/// The session service wants this nonce.
fn token_nonce(nonce: &'static str) -> Scripted {
    scripted(400, &[("dpop-nonce", nonce)], r#"{"error":"use_dpop_nonce"}"#)
}

/// A resource wants this nonce.
fn nonce(nonce: &'static str) -> Scripted {
    scripted(401, &[("www-authenticate", NONCE_WANTED), ("dpop-nonce", nonce)], "")
}

/// A server that takes whatever it is sent, and keeps it.
#[derive(Clone, Default)]
struct Server(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Answers to the next requests of a kind: to the session service, and to anything else.
    service: Mutex<VecDeque<Scripted>>,
    resource: Mutex<VecDeque<Scripted>>,
    seen: Mutex<Vec<Asked>>,
    granted: Mutex<usize>,
    /// Instead of what goes with the request.
    token_type: Mutex<Option<&'static str>>,
    /// With all good answers.
    headers: Mutex<Vec<(&'static str, &'static str)>>,
}

struct Asked {
    parts: request::Parts,
    body: Bytes,
}

impl Server {
    fn will_as_service(&self, answers: impl IntoIterator<Item = Scripted>) {
        self.0.service.lock().unwrap().extend(answers);
    }

    fn will(&self, answers: impl IntoIterator<Item = Scripted>) {
        self.0.resource.lock().unwrap().extend(answers);
    }

    fn send_with_all(&self, headers: &[(&'static str, &'static str)]) {
        *self.0.headers.lock().unwrap() = headers.to_vec();
    }

    /// All requests since the last call.
    fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.seen.lock().unwrap())
    }

    fn answer(&self, parts: request::Parts, body: Bytes) -> Response<Full<Bytes>> {
        let is_bound = parts.headers.contains_key("dpop");
        let is_service = parts.uri.path().starts_with("/auth/");
        let route = parts.uri.path().to_owned();
        self.0.seen.lock().unwrap().push(Asked { parts, body });
        let queue = if is_service { &self.0.service } else { &self.0.resource };
        let answer = queue.lock().unwrap().pop_front().unwrap_or_else(|| {
            let headers = self.0.headers.lock().unwrap().clone();
            match &*route {
                "/auth/login" | "/auth/refresh" => scripted(200, &headers, &self.tokens(is_bound)),
                _ => scripted(200, &headers, ""),
            }
        });
        let mut response = Response::builder().status(answer.status);
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        response.body(Full::from(answer.body)).unwrap()
    }

    fn tokens(&self, is_bound: bool) -> String {
        let mut granted = self.0.granted.lock().unwrap();
        *granted += 1;
        let token_type = if is_bound { "DPoP" } else { "Bearer" };
        json!({
            "access_token": format!("access-{granted}"),
            "refresh_token": format!("refresh-{granted}"),
            "token_type": self.0.token_type.lock().unwrap().unwrap_or(token_type),
            "expires_in": LIFETIME,
        })
        .to_string()
    }
}

impl<B> Service<Request<B>> for Server
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok(server.answer(parts, body))
        })
    }
}

/// A proof, read without its signature, which the server's tests check.
#[derive(Debug)]
struct Proof {
    header: Value,
    claims: Value,
}

impl Proof {
    fn thumbprint(&self) -> String {
        let jwk = self.header["jwk"].to_string();
        VerifyingKey::read(Algorithm::Es256, KeyForm::Jwk(&jwk)).unwrap().thumbprint().unwrap().to_string()
    }

    fn nonce(&self) -> Option<&str> {
        self.claims.get("nonce").map(|nonce| nonce.as_str().unwrap())
    }
}

impl Asked {
    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    fn token(&self) -> Option<&str> {
        self.parts.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap())
    }

    fn has_proof(&self) -> bool {
        self.parts.headers.contains_key("dpop")
    }

    /// The proof, of which all is checked that must be so in every one.
    fn proof(&self) -> Proof {
        let values: Vec<_> = self.parts.headers.get_all("dpop").iter().collect();
        assert_eq!(values.len(), 1, "one proof");
        assert!(values[0].is_sensitive());
        let segments: Vec<_> = values[0].to_str().unwrap().split('.').map(ToOwned::to_owned).collect();
        assert_eq!(segments.len(), 3);
        let json =
            |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let proof = Proof { header: json(&segments[0]), claims: json(&segments[1]) };
        assert_eq!(URL_SAFE_NO_PAD.decode(&segments[2]).unwrap().len(), 64);
        assert_eq!((&proof.header["typ"], &proof.header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        assert!(proof.header["jwk"].get("d").is_none(), "the private half");
        assert_eq!(proof.claims["htm"], self.parts.method.as_str());
        let htu = proof.claims["htu"].as_str().unwrap();
        assert!(!htu.contains(['?', '#']) && htu.ends_with(self.path()), "{htu}");
        if let (Some(scheme), Some(authority)) = (self.parts.uri.scheme(), self.parts.uri.authority()) {
            assert_eq!(htu, format!("{scheme}://{authority}{}", self.path()));
        }
        assert!(proof.claims["jti"].as_str().unwrap().len() >= 16);
        let token = self.token().map(|value| value.strip_prefix("DPoP ").expect("a bound token"));
        let ath = token.map(|token| URL_SAFE_NO_PAD.encode(Sha256::digest(token)));
        assert_eq!(proof.claims.get("ath").map(|ath| ath.as_str().unwrap()), ath.as_deref());
        proof
    }
}

fn all_differ(asked: &[Asked]) {
    let ids: HashSet<_> = asked.iter().map(|asked| asked.proof().claims["jti"].to_string()).collect();
    assert_eq!(ids.len(), asked.len(), "a proof was sent twice");
}

fn builder(server: &Server, storage: impl TokenStorage) -> SessionBuilder {
    Session::builder::<_, Full<Bytes>, _>(BASE, storage, server.clone())
        .clock(TokioClock(Instant::now()))
        .add_origin("https://api.example")
        .dpop()
}

/// Signed in, and nothing noted of it.
async fn signed_in(server: &Server) -> Session {
    let session = builder(server, MemoryStorage::new()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    server.take();
    session
}

/// The answer with what was asked for it.
async fn ask(server: &Server, session: &Session, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(server.clone());
    client.oneshot(request).await.unwrap()
}

fn nonces(asked: &[Asked]) -> Vec<Option<String>> {
    asked.iter().map(|asked| asked.proof().nonce().map(ToOwned::to_owned)).collect()
}

#[tokio::test(start_paused = true)]
async fn each_request_has_a_proof_of_its_own() {
    let server = Server::default();
    let session = builder(&server, MemoryStorage::new()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    ask(&server, &session, get("https://app.example/api/me?page=2")).await;
    let delete = Request::delete("https://api.example").body(Full::default()).unwrap();
    ask(&server, &session, delete).await;
    ask(&server, &session, get(ME)).await;
    session.refresh().await.unwrap();
    ask(&server, &session, get(ME)).await;

    let asked = server.take();
    all_differ(&asked);
    let keys: HashSet<_> = asked.iter().map(|asked| asked.proof().thumbprint()).collect();
    assert_eq!(keys.len(), 1, "one key from the login on");
    let tokens: Vec<_> = asked.iter().map(Asked::token).collect();
    let first = Some("DPoP access-1");
    assert_eq!(tokens, [None, first, first, first, None, Some("DPoP access-2")]);
    assert_eq!(asked[1].proof().claims["htu"], ME);
    assert_eq!(asked[2].proof().claims["htu"], "https://api.example/");
    assert_eq!(asked[2].proof().claims["htm"], "DELETE");
    assert_eq!(nonces(&asked), [const { None }; 6]);
    assert_eq!(asked[0].proof().claims["iat"], 1_800_000_000);
    assert!(asked[1].parts.headers[AUTHORIZATION].is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn each_login_makes_a_key() {
    let (server, storage) = (Server::default(), Storage::default());
    let session = builder(&server, storage.clone()).build().unwrap();
    let mut keys = HashSet::new();
    for user in ["ada", "bob", "ada"] {
        session.login(&json!({ "user": user })).await.unwrap();
        ask(&server, &session, get(ME)).await;
        let asked = server.take();
        // The old session is ended without one: by its refresh token.
        let (proved, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(Asked::has_proof);
        assert!(others.iter().all(|asked| asked.path() == "/auth/logout"));
        let used: HashSet<_> = proved.iter().map(|asked| asked.proof().thumbprint()).collect();
        assert_eq!(used.len(), 1, "login and request");
        let stored = storage.0.tokens.lock().unwrap().clone().unwrap();
        assert!(used.contains(&stored.proof_key().unwrap().thumbprint().to_string()));
        keys.extend(used);
    }
    assert_eq!(keys.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_key_stay_bearer_tokens_until_the_next_login() {
    let (server, storage) = (Server::default(), Storage::default());
    storage.put("old", "older", &TokioClock(Instant::now()), Duration::from_secs(LIFETIME));
    let session = builder(&server, storage.clone()).build().unwrap();
    let mut request = get(ME);
    request.headers_mut().insert("dpop", HeaderValue::from_static("the caller's"));
    ask(&server, &session, request).await;
    session.refresh().await.unwrap();
    ask(&server, &session, get(ME)).await;
    let asked = server.take();
    let tokens: Vec<_> = asked.iter().map(Asked::token).collect();
    assert_eq!(tokens, [Some("Bearer old"), None, Some("Bearer access-1")]);
    assert_eq!(asked[0].parts.headers["dpop"], "the caller's");
    assert!(!asked[1].has_proof() && !asked[2].has_proof());

    session.login(&credentials()).await.unwrap();
    ask(&server, &session, get(ME)).await;
    let asked = server.take();
    assert!(asked.iter().any(|asked| asked.token() == Some("DPoP access-2") && asked.has_proof()));
}

#[tokio::test(start_paused = true)]
async fn tokens_with_a_key_need_no_setting() {
    let (server, storage) = (Server::default(), Storage::default());
    let key = ProofKey::generate().unwrap();
    let expires_at = Timestamp::from_unix_seconds(1_800_000_500);
    let tokens = Tokens::new("mine", "mine-too", expires_at, Duration::from_secs(LIFETIME));
    *storage.0.tokens.lock().unwrap() = Some(tokens.with_proof_key(key.clone()));
    let session = Session::builder::<_, Full<Bytes>, _>(BASE, storage.clone(), server.clone())
        .clock(TokioClock(Instant::now()))
        .build()
        .unwrap();
    ask(&server, &session, get(ME)).await;
    session.refresh().await.unwrap();
    let asked = server.take();
    assert_eq!(asked[0].token(), Some("DPoP mine"));
    for asked in &asked {
        assert_eq!(asked.proof().thumbprint(), key.thumbprint().to_string());
    }
    assert!(storage.0.tokens.lock().unwrap().as_ref().unwrap().proof_key().is_some());
    // It does not ask for another.
    session.login(&credentials()).await.unwrap();
    assert!(!server.take()[0].has_proof());
    assert!(storage.0.tokens.lock().unwrap().as_ref().unwrap().proof_key().is_none());
}

/// Keeps what a file would hold.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Option<String>>>);

impl TokenStorage for Text {
    async fn load(&self) -> Result<Option<Tokens>, BoxError> {
        let text = self.0.lock().unwrap().clone();
        Ok(text.map(|text| Tokens::from_json(&text)).transpose()?)
    }

    async fn save(&self, tokens: Option<&Tokens>) -> Result<(), BoxError> {
        *self.0.lock().unwrap() = tokens.map(Tokens::expose_json);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn processes_that_share_a_storage_share_the_key() {
    let (server, storage) = (Server::default(), Text::default());
    let one = builder(&server, storage.clone()).build().unwrap();
    let other = builder(&server, storage.clone()).build().unwrap();
    one.login(&credentials()).await.unwrap();
    ask(&server, &other, get(ME)).await;
    other.refresh().await.unwrap();
    advance(EXPIRED).await;
    // It takes over what the other one got, and refreshes that.
    ask(&server, &one, get(ME)).await;
    let asked = server.take();
    assert_eq!(asked.last().unwrap().token(), Some("DPoP access-3"));
    all_differ(&asked);
    let keys: HashSet<_> = asked.iter().map(|asked| asked.proof().thumbprint()).collect();
    assert_eq!(keys.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stored_key_that_cannot_be_read_sends_no_token() {
    let (server, storage) = (Server::default(), Text::default());
    builder(&server, storage.clone()).build().unwrap().login(&credentials()).await.unwrap();
    server.take();
    {
        let mut text = storage.0.lock().unwrap();
        let mut json: Value = serde_json::from_str(text.as_ref().unwrap()).unwrap();
        json["dpop_key"] = "AQkA".into();
        *text = Some(json.to_string());
    }
    let session = builder(&server, storage).build().unwrap();
    let response = ask(&server, &session, get(ME)).await;
    let error = response.extensions().get::<ClientError>().expect("says why");
    assert_eq!(error.kind(), ClientErrorKind::Storage);
    let asked = server.take();
    assert_eq!((asked[0].token(), asked[0].has_proof()), (None, false));
}

#[tokio::test(start_paused = true)]
async fn where_no_proof_can_be_made_no_token_is_sent() {
    let server = Server::default();
    let session = signed_in(&server).await;
    // A path that no proof can name.
    let odd = "https://app.example/100%";
    let response = ask(&server, &session, get(odd)).await;
    let error = response.extensions().get::<ClientError>().expect("says why");
    assert_eq!(error.kind(), ClientErrorKind::Proof);
    let asked = server.take();
    assert_eq!((asked.len(), asked[0].token(), asked[0].has_proof()), (1, None, false));
    // Nor after a refresh, nor in a request that no layer sends.
    advance(EXPIRED).await;
    let response = ask(&server, &session, get(odd)).await;
    assert!(response.extensions().get::<ClientError>().is_some());
    assert_eq!(server.take().last().unwrap().token(), None);
    let mut request = get(odd);
    assert_eq!(session.authorize(&mut request).await.unwrap_err().kind(), ClientErrorKind::Proof);
    assert!(request.headers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_type_of_the_token_must_be_that_of_the_request() {
    for (token_type, good) in [("DPoP", true), ("dpop", true), ("Bearer", false), ("N_A", false)] {
        let (server, storage) = (Server::default(), Storage::default());
        let session = builder(&server, storage.clone()).build().unwrap();
        *server.0.token_type.lock().unwrap() = Some(token_type);
        let login = session.login(&credentials()).await;
        assert_eq!(login.is_ok(), good, "{token_type}");
        assert_eq!(storage.refresh_token().is_some(), good, "{token_type}");
        if let Err(error) = login {
            assert_eq!(error.kind(), ClientErrorKind::Unexpected, "{token_type}");
            *server.0.token_type.lock().unwrap() = None;
            session.login(&credentials()).await.unwrap();
            *server.0.token_type.lock().unwrap() = Some(token_type);
        }
        let refresh = session.refresh().await;
        assert_eq!(refresh.is_ok(), good, "{token_type}");
        if let Err(error) = refresh {
            assert_eq!(error.kind(), ClientErrorKind::Unexpected, "{token_type}");
            assert!(session.is_signed_in().await.unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_repeated_with_the_nonce_and_once() {
    let server = Server::default();
    let session = builder(&server, MemoryStorage::new()).build().unwrap();
    server.will_as_service([token_nonce("one")]);
    session.login(&credentials()).await.unwrap();
    let asked = server.take();
    assert_eq!(nonces(&asked), [None, Some("one".into())]);
    assert_eq!(asked[0].body, asked[1].body);
    assert_eq!(asked[0].proof().thumbprint(), asked[1].proof().thumbprint());
    all_differ(&asked);

    server.will_as_service([token_nonce("two"), token_nonce("three")]);
    let error = session.login(&credentials()).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Unexpected);
    assert_eq!(nonces(&server.take()), [Some("one".into()), Some("two".into())]);
    // Remembered all the same; and that the password is wrong is no matter of proofs.
    server.will_as_service([scripted(401, &[("dpop-nonce", "four")], "")]);
    let error = session.login(&credentials()).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Credentials);
    assert_eq!(nonces(&server.take()), [Some("three".into())]);
    // Without a nonce in it it is no such answer.
    server.will_as_service([scripted(400, &[], r#"{"error":"use_dpop_nonce"}"#)]);
    session.login(&credentials()).await.unwrap_err();
    assert_eq!(nonces(&server.take()), [Some("four".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_repeated_with_the_nonce_and_counts_once() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let mut events = session.events();
    advance(EXPIRED).await;
    server.will_as_service([token_nonce("one")]);
    let began = Instant::now();
    assert_eq!(ask(&server, &session, get(ME)).await.status(), 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let asked = server.take();
    assert_eq!(nonces(&asked), [None, Some("one".into()), Some("one".into())]);
    assert_eq!(asked[0].body, asked[1].body);
    all_differ(&asked);
    assert_eq!(names(&mut events), ["refreshed"]);

    // Each attempt may be repeated: the second comes after an outage.
    let outage = scripted(500, &[], "");
    server.will_as_service([token_nonce("two"), outage, token_nonce("three")]);
    session.refresh().await.unwrap();
    assert_eq!(nonces(&server.take()).len(), 4);
    assert_eq!(names(&mut events), ["refreshed"]);

    // Twice in one attempt: it has failed, was not carried out, and the session is kept.
    server.will_as_service([token_nonce("four"), token_nonce("five")]);
    assert_eq!(session.refresh().await.unwrap_err().kind(), ClientErrorKind::Unexpected);
    assert_eq!(nonces(&server.take()), [Some("three".into()), Some("four".into())]);
    sleep(Duration::from_secs(60)).await;
    assert!(server.take().is_empty(), "it is no outage");
    assert!(session.is_signed_in().await.unwrap());
    session.refresh().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_a_definite_refusal_ends_the_session() {
    for (error, kept) in [("invalid_dpop_proof", true), ("use_dpop_nonce", true), ("invalid_grant", false)] {
        for status in [400, 401] {
            let server = Server::default();
            let session = signed_in(&server).await;
            let body = json!({ "error": error }).to_string();
            server.will_as_service(vec![scripted(status, &[("dpop-nonce", "one")], &body); 2]);
            session.refresh().await.unwrap_err();
            assert_eq!(session.is_signed_in().await.unwrap(), kept, "{status} {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nonces_are_of_an_origin() {
    const API: &str = "https://api.example/orders";
    let server = Server::default();
    let session = signed_in(&server).await;
    server.will([nonce("app"), scripted(200, &[], ""), nonce("api"), scripted(200, &[], "")]);
    assert_eq!(ask(&server, &session, get(ME)).await.status(), 200);
    assert_eq!(ask(&server, &session, get(API)).await.status(), 200);
    ask(&server, &session, get(ME)).await;
    // A good answer brings another.
    server.send_with_all(&[("dpop-nonce", "api-2")]);
    ask(&server, &session, get(API)).await;
    server.send_with_all(&[]);
    ask(&server, &session, get(API)).await;
    ask(&server, &session, get(ME)).await;
    let asked = server.take();
    let expected =
        [None, Some("app"), None, Some("api"), Some("app"), Some("api"), Some("api-2"), Some("app")];
    assert_eq!(nonces(&asked), expected.map(|nonce| nonce.map(ToOwned::to_owned)));
    all_differ(&asked);
    // None of it was a reason to refresh.
    assert!(asked.iter().all(|asked| asked.token() == Some("DPoP access-1")));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_again_for_a_nonce_once() {
    let server = Server::default();
    let session = signed_in(&server).await;
    server.will([nonce("one"), nonce("two"), scripted(200, &[], "")]);
    advance(Duration::from_secs(60)).await;
    assert_eq!(ask(&server, &session, get(ME)).await.status(), 401);
    assert_eq!(nonces(&server.take()), [None, Some("one".into())]);
    // Neither here nor in the next one is it refreshed for.
    assert_eq!(ask(&server, &session, get(ME)).await.status(), 200);
    let asked = server.take();
    assert_eq!((asked.len(), nonces(&asked)), (1, vec![Some("two".into())]));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_sent_again_is_not() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let post = || Request::post(ME).body(Full::from("an order")).unwrap();
    server.will([nonce("one")]);
    assert_eq!(ask(&server, &session, post()).await.status(), 401);
    assert_eq!(ask(&server, &session, post()).await.status(), 200);
    assert_eq!(nonces(&server.take()), [None, Some("one".into())]);

    server.will([nonce("two")]);
    let layer = SessionLayer::new(session.clone()).with_replay(|body: &Full<Bytes>| Some(body.clone()));
    let replaying = ServiceBuilder::new().layer(layer).service(server.clone());
    assert_eq!(replaying.oneshot(post()).await.unwrap().status(), 200);
    let asked = server.take();
    assert!(asked.len() == 2 && asked.iter().all(|asked| asked.body == "an order"));
    all_differ(&asked);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_refreshed_and_sent_with_a_new_proof() {
    let refused = || {
        let challenge = r#"DPoP error="invalid_token", algs="ES256""#;
        scripted(401, &[("www-authenticate", challenge)], "")
    };
    let wanted = |number| Some(format!("DPoP access-{number}"));
    // (what the resource answers, how often it is asked with which token, and the status in the end)
    for (answers, tokens, expected) in [
        (vec![refused()], vec![wanted(1), wanted(2)], 200),
        (vec![refused(), refused()], vec![wanted(1), wanted(2)], 401),
        (vec![nonce("a"), refused()], vec![wanted(1), wanted(1), wanted(2)], 200),
        (vec![refused(), nonce("a")], vec![wanted(1), wanted(2), wanted(2)], 200),
        (vec![nonce("a"), refused(), nonce("b")], vec![wanted(1), wanted(1), wanted(2)], 401),
        (vec![refused(), nonce("a"), refused()], vec![wanted(1), wanted(2), wanted(2)], 401),
        (vec![refused(), nonce("a"), nonce("b")], vec![wanted(1), wanted(2), wanted(2)], 401),
    ] {
        let server = Server::default();
        let session = signed_in(&server).await;
        advance(Duration::from_secs(60)).await;
        server.will(answers);
        assert_eq!(ask(&server, &session, get(ME)).await.status(), expected, "{tokens:?}");
        let asked = server.take();
        all_differ(&asked);
        let sent = asked.iter().filter(|asked| asked.path() == "/api/me");
        let sent: Vec<_> = sent.map(|asked| asked.token().map(ToOwned::to_owned)).collect();
        assert_eq!(sent, tokens);
        assert_eq!(asked.len() - sent.len(), 1, "refreshes");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_token_is_sent_with_its_proof_while_there_is_an_outage() {
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(EXPIRED).await;
    server.will_as_service(vec![scripted(500, &[], ""); 2]);
    server.will([nonce("one")]);
    let response = ask(&server, &session, get(ME)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.extensions().get::<ClientError>().unwrap().kind(), ClientErrorKind::Unavailable);
    let asked: Vec<_> = server.take().into_iter().filter(|asked| asked.path() == "/api/me").collect();
    assert_eq!(nonces(&asked), [None, Some("one".into())]);
    assert!(asked.iter().all(|asked| asked.token() == Some("DPoP access-1")));
}

#[tokio::test(start_paused = true)]
async fn calls_of_grpc() {
    const METHOD: &str = "/package.Service/Method";
    let grpc = |headers: &[(&'static str, &'static str)]| {
        let mut all = vec![("content-type", "application/grpc"), ("grpc-status", "16")];
        all.extend(headers);
        scripted(200, &all, "")
    };
    let server = Server::default();
    let session = signed_in(&server).await;
    advance(Duration::from_secs(60)).await;
    let layer = || SessionLayer::new(session.clone()).with_relative_origin("https://api.example").unwrap();
    let whole = ServiceBuilder::new().layer(layer()).service(server.clone());
    server.will([grpc(&[("dpop-nonce", "one")])]);
    let response = whole.clone().oneshot(get(METHOD)).await.unwrap();
    assert!(!response.headers().contains_key("grpc-status"));
    let asked = server.take();
    assert_eq!(nonces(&asked), [None, Some("one".into())]);
    assert_eq!(asked[0].proof().claims["htu"], "https://api.example/package.Service/Method");

    // A stream: the next one has the nonce, and needs no refresh.
    let stream = || {
        let frames = tokio_stream::iter([Ok::<_, BoxError>(http_body::Frame::data(Bytes::from("x")))]);
        Request::post(METHOD).body(StreamBody::new(frames)).unwrap()
    };
    let streaming = ServiceBuilder::new().layer(layer().without_replay()).service(server.clone());
    server.will([grpc(&[("dpop-nonce", "two")])]);
    let response = streaming.clone().oneshot(stream()).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "16");
    streaming.clone().oneshot(stream()).await.unwrap();
    assert_eq!(nonces(&server.take()), [Some("one".into()), Some("two".into())]);

    // The nonce that the proof had is not what was missing.
    server.will([grpc(&[("dpop-nonce", "two")])]);
    whole.clone().oneshot(get(METHOD)).await.unwrap();
    let asked = server.take();
    let paths: Vec<_> = asked.iter().map(Asked::path).collect();
    assert_eq!(paths, [METHOD, "/auth/refresh", METHOD]);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_a_proof_is_the_servers() {
    let server = Server::default();
    let session = builder(&server, MemoryStorage::new()).build().unwrap();
    // Fifteen hours and more after the client's 08:00:00.
    server.will_as_service([scripted(503, &[(DATE.as_str(), "Fri, 15 Jan 2027 23:00:00 GMT")], "")]);
    session.login(&credentials()).await.unwrap_err();
    session.login(&credentials()).await.unwrap();
    let asked = server.take();
    let issued = |index: usize| asked[index].proof().claims["iat"].as_i64().unwrap();
    assert_eq!(issued(0), 1_800_000_000);
    assert_eq!(issued(1), 1_800_000_000 + 15 * 3600);
}

#[tokio::test(start_paused = true)]
async fn a_header_of_the_caller_is_left_alone() {
    let server = Server::default();
    let session = signed_in(&server).await;
    let mut request = get(ME);
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic x"));
    request.headers_mut().insert("dpop", HeaderValue::from_static("theirs"));
    ask(&server, &session, request).await;
    // To another origin.
    ask(&server, &session, get("https://evil.example/")).await;
    // One proof, ours, for our token.
    let mut request = get(ME);
    request.headers_mut().append("dpop", HeaderValue::from_static("theirs"));
    request.headers_mut().append("dpop", HeaderValue::from_static("and another"));
    ask(&server, &session, request).await;
    let asked = server.take();
    assert_eq!(
        (asked[0].token(), &asked[0].parts.headers["dpop"]),
        (Some("Basic x"), &"theirs".parse().unwrap())
    );
    assert!(asked[1].token().is_none() && !asked[1].has_proof());
    asked[2].proof();
}

#[tokio::test(start_paused = true)]
async fn a_logout_by_the_access_token_has_a_proof() {
    let server = Server::default();
    let session = signed_in(&server).await;
    server.will_as_service([nonce("one")]);
    session.logout_others().await.unwrap();
    let asked = server.take();
    assert_eq!(nonces(&asked), [None, Some("one".into())]);
    assert!(asked.iter().all(|asked| asked.path() == "/auth/logout/others" && asked.token().is_some()));
    // That it has no nonce is no reason to refresh.
    advance(Duration::from_secs(60)).await;
    server.will_as_service([nonce("two"), nonce("three")]);
    session.logout_everywhere().await.unwrap_err();
    assert!(server.take().iter().all(|asked| asked.path() == "/auth/logout/all"));
    session.logout().await.unwrap();
    let asked = server.take();
    assert_eq!((asked[0].path(), asked[0].token(), asked[0].has_proof()), ("/auth/logout", None, false));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_layer_sends() {
    let server = Server::default();
    let session = signed_in(&server).await;
    assert_eq!(session.authorization().await.unwrap(), "DPoP access-1");
    server.will([nonce("one")]);
    ask(&server, &session, get(ME)).await;
    for (uri, htu, nonce) in [
        ("wss://app.example/events?x", "https://app.example/events", Some("one")),
        ("https://app.example/events", "https://app.example/events", Some("one")),
        ("ws://localhost:3000/events", "http://localhost:3000/events", None),
    ] {
        let mut request = get(uri);
        session.authorize(&mut request).await.unwrap();
        let (mut parts, body) = request.into_parts();
        parts.uri = htu.parse().unwrap();
        let proof = Asked { parts, body: body.collect().await.unwrap().to_bytes() }.proof();
        assert_eq!((proof.claims["htu"].as_str(), proof.nonce()), (Some(htu), nonce), "{uri}");
    }
    let mut request = get("/events");
    assert_eq!(session.authorize(&mut request).await.unwrap_err().kind(), ClientErrorKind::Proof);
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_shown() {
    let (server, storage) = (Server::default(), Text::default());
    let session = builder(&server, storage.clone()).build().unwrap();
    session.login(&credentials()).await.unwrap();
    let tokens = storage.load().await.unwrap().unwrap();
    let bytes = tokens.proof_key().unwrap().expose_bytes();
    let encoded = URL_SAFE_NO_PAD.encode(&bytes.as_ref()[2..]);
    assert!(tokens.expose_json().contains(&URL_SAFE_NO_PAD.encode(&bytes)));
    let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(server.clone());
    let future = client.clone().oneshot(get(ME));
    let shown = format!("{tokens:?} {tokens:#?} {session:?} {:?}", builder(&server, storage));
    let list = format!("{:?}", &bytes.as_ref()[2..10]);
    assert!(!shown.contains(&encoded[..12]) && !shown.contains(list.trim_matches(['[', ']'])));
    future.await.unwrap();
    let asked = server.take();
    assert!(!format!("{:?}", asked.last().unwrap().parts).contains("eyJ"), "a proof in the headers");
}
