//! The layers in front of tonic's services, over real sockets: the status codes that a client sees, streams, and what
//! handlers and interceptors are given.

#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/tonic/greeter.rs"]
mod greeter;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use greeter::{Admin, AdminServer, Greeter, GreeterServer, Text, Texts};
use http::uri::PathAndQuery;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataValue;
use tonic::service::{InterceptorLayer, LayerExt as _};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_jwt_auth::test_util::ManualClock;
use tower_jwt_auth::{
    AccessGrant, Issuer, JwtAuthLayer, NoClaims, RequireAsyncLayer, RequireLayer, RequireScopeLayer,
    SigningKey, StepUpLayer, TokenConfig, Verified,
};

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

fn config(clock: &ManualClock) -> TokenConfig {
    TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&[7; 32]).unwrap())
        .issuer("https://tonic.example")
        .audience("greeter")
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn token(config: &TokenConfig, scopes: &[&str]) -> String {
    let grant = AccessGrant::new("user-ada").with_scopes(scopes);
    Issuer::new(config).unwrap().issue(&grant, &User { name: "Ada".to_owned() }).unwrap().expose().to_owned()
}

/// Counts the calls that reach it.
#[derive(Clone, Default)]
struct Polite(Arc<AtomicUsize>);

impl Polite {
    fn enter<T>(&self, request: &Request<T>) -> Result<Verified<User>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Verified::of(request.extensions()).ok_or_else(|| Status::aborted("no user"))
    }
}

impl Greeter for Polite {
    async fn greet(&self, request: Request<Text>) -> Result<Response<Text>, Status> {
        let user = self.enter(&request)?;
        Ok(Response::new(Text::new(format!("{} {}", request.get_ref().text, user.name))))
    }

    async fn repeat(&self, request: Request<Text>) -> Result<Response<Texts>, Status> {
        let name = self.enter(&request)?.name.clone();
        let texts = (1..=3).map(move |time| Ok(Text::new(format!("{name} {time}"))));
        Ok(Response::new(Box::pin(tokio_stream::iter(texts))))
    }

    async fn chat(&self, request: Request<Streaming<Text>>) -> Result<Response<Texts>, Status> {
        let name = self.enter(&request)?.name.clone();
        let answers = request.into_inner().map(move |text| Ok(Text::new(format!("{} {name}", text?.text))));
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Admin for Polite {
    async fn stop(&self, request: Request<Text>) -> Result<Response<Text>, Status> {
        Ok(Response::new(Text::new(self.enter(&request)?.subject())))
    }
}

async fn listen() -> (TcpListenerStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (TcpListenerStream::new(listener), address)
}

/// What the generated client does, for any method.
#[derive(Clone)]
struct Client(Channel);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap())
    }

    fn request<T>(message: T, credentials: &[&str]) -> Request<T> {
        let mut request = Request::new(message);
        for credential in credentials {
            request.metadata_mut().append("authorization", MetadataValue::try_from(*credential).unwrap());
        }
        request
    }

    async fn unary(&self, path: &'static str, credentials: &[&str]) -> Result<String, Status> {
        let mut client = tonic::client::Grpc::new(self.0.clone());
        client.ready().await.unwrap();
        let request = Self::request(Text::new("Hello"), credentials);
        let codec = ProstCodec::<Text, Text>::default();
        let answer = client.unary(request, PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner().text)
    }

    async fn repeat(&self, credentials: &[&str]) -> Result<Vec<String>, Status> {
        let mut client = tonic::client::Grpc::new(self.0.clone());
        client.ready().await.unwrap();
        let request = Self::request(Text::new("Hello"), credentials);
        let path = PathAndQuery::from_static("/example.Greeter/Repeat");
        let answer = client.server_streaming(request, path, ProstCodec::<Text, Text>::default()).await?;
        answer.into_inner().map(|text| Ok(text?.text)).collect().await
    }

    async fn chat(
        &self,
        texts: impl Stream<Item = Text> + Send + 'static,
        credentials: &[&str],
    ) -> Result<Streaming<Text>, Status> {
        let mut client = tonic::client::Grpc::new(self.0.clone());
        client.ready().await.unwrap();
        let request = Self::request(texts, credentials);
        let path = PathAndQuery::from_static("/example.Greeter/Chat");
        Ok(client.streaming(request, path, ProstCodec::<Text, Text>::default()).await?.into_inner())
    }
}

const GREET: &str = "/example.Greeter/Greet";
const STOP: &str = "/example.Admin/Stop";

/// The layer around all services, and a scope in front of one.
async fn server(config: &TokenConfig) -> (Client, Polite) {
    let (incoming, address) = listen().await;
    let polite = Polite::default();
    let admin = RequireScopeLayer::all(["admin"]).unwrap().named_layer(AdminServer::new(polite.clone()));
    let server = Server::builder()
        .layer(JwtAuthLayer::new(config.verifier::<User>()))
        .add_service(GreeterServer::new(polite.clone()))
        .add_service(admin)
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    (Client::connect(address).await, polite)
}

#[tokio::test]
async fn rows_111_to_117_the_statuses_of_refused_calls() {
    let config = config(&ManualClock::new());
    let (client, polite) = server(&config).await;
    let good = format!("Bearer {}", token(&config, &[]));
    let joined = format!("{good}, {good}");
    for (row, credentials, code, message) in [
        ("112 no token", &[][..], Code::Unauthenticated, "an access token is required"),
        ("112 another scheme", &["Basic dTpw"], Code::Unauthenticated, "an access token is required"),
        ("112 no JWT", &["Bearer x"], Code::Unauthenticated, "the access token is not valid"),
        ("112 malformed", &["Bearer "], Code::Unauthenticated, "the credentials are malformed"),
        ("117 twice", &[&*good, &*good], Code::Unauthenticated, "the credentials are malformed"),
        ("117 joined", &[&*joined], Code::Unauthenticated, "the credentials are malformed"),
    ] {
        for path in [GREET, STOP] {
            let status = client.unary(path, credentials).await.expect_err(row);
            assert_eq!((status.code(), status.message()), (code, message), "{row} {path}");
        }
    }
    let status = client.unary(STOP, &[&good]).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "112 no scope");
    assert_eq!(polite.0.load(Ordering::SeqCst), 0, "no refused call reached a service");

    assert_eq!(client.unary(GREET, &[&good]).await.unwrap(), "Hello Ada");
    let admin = format!("bearer {}", token(&config, &["greet", "admin"]));
    assert_eq!(client.unary(STOP, &[&admin]).await.unwrap(), "user-ada");
    assert_eq!(
        client.unary("/example.Greeter/Nothing", &[&good]).await.unwrap_err().code(),
        Code::Unimplemented
    );
}

#[tokio::test]
async fn streams_are_refused_before_they_begin_and_live_longer_than_their_token() {
    let clock = ManualClock::new();
    let config = config(&clock);
    let (client, polite) = server(&config).await;
    let refused = client.repeat(&[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = client.chat(tokio_stream::pending(), &["Bearer x"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "although the client never ends its side");
    assert_eq!(polite.0.load(Ordering::SeqCst), 0);

    let good = format!("Bearer {}", token(&config, &[]));
    assert_eq!(client.repeat(&[&good]).await.unwrap(), ["Ada 1", "Ada 2", "Ada 3"]);

    let (sender, texts) = mpsc::channel(1);
    let mut answers = client.chat(ReceiverStream::new(texts), &[&good]).await.unwrap();
    sender.send(Text::new("one")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "one Ada");
    clock.advance(Duration::from_secs(3600));
    sender.send(Text::new("two")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "two Ada");
    drop(sender);
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(client.unary(GREET, &[&good]).await.unwrap_err().code(), Code::Unauthenticated, "a new call");
}

/// A server with this layer in front of its service, and a bearer layer around all or not.
async fn guarded<L>(config: &TokenConfig, layer: L, with_bearer: bool) -> SocketAddr
where
    L: tower::Layer<GreeterServer<Polite>>,
    L::Service: tower::Service<
            http::Request<tonic::body::Body>,
            Response: axum::response::IntoResponse,
            Error = std::convert::Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let (incoming, address) = listen().await;
    let service = layer.named_layer(GreeterServer::new(Polite::default()));
    // gRPC-Web is also spoken over HTTP/1.1.
    let mut server = Server::builder().accept_http1(true);
    if with_bearer {
        let bearer = JwtAuthLayer::new(config.verifier::<User>());
        tokio::spawn(server.layer(bearer).add_service(service).serve_with_incoming(incoming));
    } else {
        tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
    }
    address
}

/// The head and the body of the answer to a POST, as a client without gRPC reads them.
async fn post(address: SocketAddr, content_type: &str, credentials: &str) -> http::Response<Bytes> {
    let request = http::Request::post(format!("http://{address}{GREET}"))
        .header("content-type", content_type)
        .header("authorization", credentials)
        .body(Full::<Bytes>::default())
        .unwrap();
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    http::Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn rows_112_to_116_each_refusal_has_its_status_in_the_content_type_of_the_call() {
    let config = config(&ManualClock::new());
    let scope = || RequireScopeLayer::any(["admin"]).unwrap();
    let named = |name: &'static str| RequireLayer::new(move |user: &Verified<User>| user.name == name);
    let slow = |answer: Result<bool, &'static str>| {
        RequireAsyncLayer::new(move |_: Verified<User>| std::future::ready(answer))
    };
    let others = RequireLayer::new(|_: &Verified<NoClaims>| true);
    let step_up = StepUpLayer::max_age(Duration::from_secs(60));
    let good = format!("Bearer {}", token(&config, &[]));
    let (missing, lacks) = ("an access token is required", "the access token lacks a scope");
    let (denied, set_up) = ("the access token does not permit this", "the service is not set up correctly");
    let again = "another authentication of the user is required";
    let away = "the service cannot answer now, try again";
    for (row, address, credentials, code, message) in [
        ("no token", guarded(&config, scope(), true).await, "Basic dTpw", Code::Unauthenticated, missing),
        ("no scope", guarded(&config, scope(), true).await, &*good, Code::PermissionDenied, lacks),
        ("no bearer layer", guarded(&config, scope(), false).await, &good, Code::Internal, set_up),
        ("a predicate", guarded(&config, named("Bob"), true).await, &good, Code::PermissionDenied, denied),
        ("other claims", guarded(&config, others, true).await, &good, Code::Internal, set_up),
        (
            "one that waits",
            guarded(&config, slow(Ok(false)), true).await,
            &good,
            Code::PermissionDenied,
            denied,
        ),
        ("one that fails", guarded(&config, slow(Err("away")), true).await, &good, Code::Unavailable, away),
        ("an old login", guarded(&config, step_up, true).await, &good, Code::Unauthenticated, again),
    ] {
        let status = Client::connect(address).await.unary(GREET, &[credentials]).await.expect_err(row);
        assert_eq!((status.code(), status.message()), (code, message), "{row}");

        for (content_type, answered_as) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc-web", "application/grpc-web"),
            ("application/grpc-web+proto", "application/grpc-web"),
            ("application/grpc-web-text", "application/grpc-web-text"),
            ("application/grpc-web-text+proto", "application/grpc-web-text"),
        ] {
            let answer = post(address, content_type, credentials).await;
            let row = format!("{row}, {content_type}");
            assert_eq!(answer.version(), http::Version::HTTP_11, "{row}");
            assert_eq!(answer.status(), 200, "{row}");
            assert_eq!(answer.headers()["content-type"], answered_as, "{row}");
            assert_eq!(answer.headers()["grpc-status"], (code as i32).to_string(), "{row}");
            // Bare characters only: it reads the same before and after percent-decoding.
            let bytes = answer.headers()["grpc-message"].as_bytes();
            assert_eq!(bytes, message.as_bytes(), "{row}");
            assert!(bytes.iter().all(|byte| matches!(byte, 0x20..=0x24 | 0x26..=0x7e)), "{row}");
            assert!(answer.body().is_empty(), "{row}");
        }
    }
    for layer in [guarded(&config, named("Ada"), true).await, guarded(&config, slow(Ok(true)), true).await] {
        assert_eq!(Client::connect(layer).await.unary(GREET, &[&good]).await.unwrap(), "Hello Ada");
    }
}

#[tokio::test]
async fn per_service_the_others_stay_open() {
    let config = config(&ManualClock::new());
    let (incoming, address) = listen().await;
    let polite = Polite::default();
    let guarded = JwtAuthLayer::new(config.verifier::<User>()).named_layer(AdminServer::new(polite.clone()));
    let server = Server::builder()
        .add_service(guarded)
        .add_service(GreeterServer::new(polite.clone()))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    let client = Client::connect(address).await;
    assert_eq!(client.unary(STOP, &[]).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(client.unary(GREET, &[]).await.unwrap_err().code(), Code::Aborted, "reached: it has no user");
    let good = format!("Bearer {}", token(&config, &[]));
    assert_eq!(client.unary(STOP, &[&good]).await.unwrap(), "user-ada");
}

#[tokio::test]
async fn interceptors_see_the_user() {
    let config = config(&ManualClock::new());
    let (incoming, address) = listen().await;
    let only_ada = |request: Request<()>| match Verified::<User>::of(request.extensions()) {
        Some(user) if user.name == "Ada" => Ok(request),
        _ => Err(Status::failed_precondition("not Ada")),
    };
    let server = Server::builder()
        .layer(JwtAuthLayer::new(config.verifier::<User>()).optional())
        .layer(InterceptorLayer::new(only_ada))
        .add_service(GreeterServer::new(Polite::default()))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    let client = Client::connect(address).await;
    assert_eq!(client.unary(GREET, &[]).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(client.unary(GREET, &["Bearer x"]).await.unwrap_err().code(), Code::Unauthenticated);
    let good = format!("Bearer {}", token(&config, &[]));
    assert_eq!(client.unary(GREET, &[&good]).await.unwrap(), "Hello Ada");
}
