//! The client over real sockets: hyper-util with both versions of HTTP, reqwest, and a channel of tonic; and a connection
//! that breaks when the answer to a refresh is on its way.

#![cfg(all(feature = "client", feature = "moka"))]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/tonic/greeter.rs"]
#[allow(dead_code)]
mod greeter;
mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_jwt_auth::client::{Event, MemoryStorage, Session, SessionLayer};
use tower_jwt_auth::{
    AuthLayer, AuthService, CookiePolicy, Delivery, JwtAuthLayer, MokaStore, RefreshKeys, SigningKey,
    TokenConfig, Verified,
};

use greeter::{Greeter, GreeterServer, Text, Texts};
use support::service::{Accounts, OWN, PASSWORD, REFRESH_SECRET, SIGNING_SECRET, User};
use support::{MINUTE, ManualClock};

struct Site {
    address: SocketAddr,
    clock: ManualClock,
    config: TokenConfig,
}

impl Site {
    /// Serves until the test's runtime ends.
    async fn start(delivery: Delivery) -> Self {
        let clock = ManualClock::default();
        let config = TokenConfig::builder()
            .key(SigningKey::ed25519_seed(&SIGNING_SECRET).unwrap())
            .issuer(OWN)
            .audience("api")
            .clock(clock.clone())
            .build()
            .unwrap();
        let store = MokaStore::builder().clock(clock.clone()).build();
        let keys = RefreshKeys::new(REFRESH_SECRET).unwrap();
        let auth = AuthService::builder(&config, keys, store, Accounts::default())
            .add_origin(OWN)
            .delivery(delivery)
            .build()
            .unwrap();
        let echo = service_fn(async |request: Request<Incoming>| {
            let subject = Verified::<User>::of(request.extensions()).unwrap().subject().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{subject} {}", String::from_utf8_lossy(&body));
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
        });
        let service = ServiceBuilder::new()
            .layer(AuthLayer::new(auth))
            .layer(JwtAuthLayer::new(config.verifier::<User>()))
            .service(echo);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    // A connection that breaks is part of the test.
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, clock, config }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn hyper_client(version: Version) -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http()
}

fn credentials() -> serde_json::Value {
    json!({ "user": "ada", "password": PASSWORD })
}

async fn text<B: http_body::Body<Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn hyper_util_with_both_versions_and_both_ways_of_delivery() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for delivery in [Delivery::Body, Delivery::Cookie, Delivery::Both] {
            let site = Site::start(delivery).await;
            let http = hyper_client(version);
            let builder = Session::builder(&site.url("/auth"), MemoryStorage::new(), http.clone());
            let builder = builder.clock(site.clock.clone());
            let session = match delivery {
                Delivery::Cookie => builder.cookie(&CookiePolicy::default()).build().unwrap(),
                _ => builder.build().unwrap(),
            };
            session.login(&credentials()).await.unwrap();
            assert_eq!(session.user::<User>(), Some(User::named("ada")));
            let mut events = session.events();
            let layer =
                SessionLayer::new(session.clone()).with_replay(|body: &Full<Bytes>| Some(body.clone()));
            let client = ServiceBuilder::new().layer(layer).service(http);
            for round in 0..3 {
                let request =
                    Request::post(site.url("/api")).body(Full::from(format!("order {round}"))).unwrap();
                let response = client.clone().oneshot(request).await.unwrap();
                assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
                assert_eq!(text(response).await, format!("ada order {round}"));
                site.clock.advance(16 * MINUTE);
            }
            assert!(matches!(events.try_next(), Some(Event::Refreshed)));
            assert!(matches!(events.try_next(), Some(Event::Refreshed)));
            session.logout().await.unwrap();
            let request = Request::get(site.url("/api")).body(Full::default()).unwrap();
            assert_eq!(client.oneshot(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
        }
    }
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_through_its_adapter() {
    use tower_jwt_auth::client::ReqwestService;

    let site = Site::start(Delivery::Body).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let http = ReqwestService::new(http);
    let session = Session::builder(&site.url("/auth"), MemoryStorage::new(), http.clone())
        .clock(site.clock.clone())
        .build()
        .unwrap();
    session.login(&credentials()).await.unwrap();
    let layer = SessionLayer::new(session.clone())
        .with_replay(|body: &reqwest::Body| Some(body.as_bytes()?.to_vec().into()));
    let client = ServiceBuilder::new().layer(layer).service(http);
    for round in 0..2 {
        let request = Request::post(site.url("/api")).body(format!("order {round}").into()).unwrap();
        let response = reqwest::Response::from(client.clone().oneshot(request).await.unwrap());
        assert_eq!(response.text().await.unwrap(), format!("ada order {round}"));
        site.clock.advance(16 * MINUTE);
    }
    session.logout_everywhere().await.unwrap();
}

struct Polite;

impl Greeter for Polite {
    async fn greet(&self, request: tonic::Request<Text>) -> Result<tonic::Response<Text>, Status> {
        let user = Verified::<User>::of(request.extensions()).ok_or_else(|| Status::aborted("no user"))?;
        Ok(tonic::Response::new(Text::new(format!("{} {}", request.get_ref().text, user.subject()))))
    }

    async fn repeat(&self, _: tonic::Request<Text>) -> Result<tonic::Response<Texts>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn chat(
        &self,
        _: tonic::Request<tonic::Streaming<Text>>,
    ) -> Result<tonic::Response<Texts>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tokio::test]
async fn a_channel_of_tonic() {
    let site = Site::start(Delivery::Body).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .layer(JwtAuthLayer::new(site.config.verifier::<User>()))
        .add_service(GreeterServer::new(Polite));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let origin = format!("http://{address}");
    let session = Session::builder(&site.url("/auth"), MemoryStorage::new(), hyper_client(Version::HTTP_11))
        .add_origin(&origin)
        .clock(site.clock.clone())
        .build()
        .unwrap();
    let channel = Channel::from_shared(origin.clone()).unwrap().connect().await.unwrap();
    // What tonic's generated client does with it.
    let greet = |layer: SessionLayer| {
        let channel = channel.clone();
        async move {
            let mut client = tonic::client::Grpc::new(ServiceBuilder::new().layer(layer).service(channel));
            client.ready().await.unwrap();
            let path = PathAndQuery::from_static("/example.Greeter/Greet");
            let codec = ProstCodec::<Text, Text>::default();
            let answer = client.unary(tonic::Request::new(Text::new("hello")), path, codec).await;
            answer.map(|answer| answer.into_inner().text).map_err(|status| status.code())
        }
    };
    let layer = || SessionLayer::new(session.clone()).with_relative_origin(&origin).unwrap();
    assert_eq!(greet(layer()).await, Err(Code::Unauthenticated));
    session.login(&credentials()).await.unwrap();
    assert_eq!(greet(layer()).await.as_deref(), Ok("hello ada"));
    site.clock.advance(16 * MINUTE);
    assert_eq!(greet(layer()).await.as_deref(), Ok("hello ada"));
    // Nobody said where the channel goes, or it goes where the session's tokens must not.
    assert_eq!(greet(SessionLayer::new(session.clone())).await, Err(Code::Unauthenticated));
    let elsewhere = SessionLayer::new(session.clone()).with_relative_origin("https://other.example").unwrap();
    assert_eq!(greet(elsewhere).await, Err(Code::Unauthenticated));
}

/// Passes bytes on, except that it breaks so many connections when the server has answered.
async fn cutting_proxy(server: SocketAddr, cuts: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let cuts = cuts.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let (mut up, mut down) = ([0; 4096], [0; 4096]);
                loop {
                    tokio::select! {
                        read = client.read(&mut up) => match read {
                            Ok(n) if n > 0 => server.write_all(&up[..n]).await.unwrap(),
                            _ => return,
                        },
                        read = server.read(&mut down) => match read {
                            Ok(n) if n > 0 => {
                                let cut = cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                                if cut.is_ok() || client.write_all(&down[..n]).await.is_err() {
                                    return;
                                }
                            }
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_breaks_with_the_answer_costs_no_session() {
    for delivery in [Delivery::Body, Delivery::Cookie] {
        let site = Site::start(delivery).await;
        let cuts = Arc::new(AtomicUsize::new(0));
        let proxy = cutting_proxy(site.address, cuts.clone()).await;
        let http = hyper_client(Version::HTTP_11);
        let builder = Session::builder(&format!("http://{proxy}/auth"), MemoryStorage::new(), http);
        let builder = builder.clock(site.clock.clone());
        let session = match delivery {
            Delivery::Cookie => builder.cookie(&CookiePolicy::default()).build().unwrap(),
            _ => builder.build().unwrap(),
        };
        session.login(&credentials()).await.unwrap();
        let mut events = session.events();
        for lost in [1, 2, 3] {
            site.clock.advance(16 * MINUTE);
            cuts.store(lost, Ordering::SeqCst);
            // Two attempts are made at once; the others by itself, after a second.
            let waited = session.refresh().await;
            assert_eq!(waited.is_ok(), lost < 2, "{lost}: {waited:?}");
            loop {
                match tokio::time::timeout(Duration::from_secs(60), events.next()).await.unwrap().unwrap() {
                    Event::Refreshed => break,
                    Event::RefreshFailed(_) => {}
                    other => panic!("{lost}: {other:?}"),
                }
            }
        }
        session.refresh().await.unwrap();
    }
}
