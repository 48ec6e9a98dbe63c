//! The service behind hyper on a real socket, over HTTP/1.1 and HTTP/2 without TLS.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Version};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::service::{Answer, Ask, HOLD, NAME, OWN, Op, PATIENCE, World, bare, credentials, post};

/// Serves until the test's runtime ends. The semaphore counts connections that have ended.
async fn serve(world: &World) -> (SocketAddr, Arc<Semaphore>) {
    let closed = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&closed);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(world.auth.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (service, count) = (service.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // A client that breaks off is an error of the connection, and part of the test.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
                count.add_permits(1);
            });
        }
    });
    (address, closed)
}

struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    version: Version,
}

impl Caller {
    fn new(address: SocketAddr, version: Version) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.http2_only(version == Version::HTTP_2);
        Self { client: builder.build_http(), address, version }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn send(&self, ask: Ask) -> Answer {
        let response = self.client.request(ask.request()).await.unwrap();
        assert_eq!(response.version(), self.version);
        Answer::of(response).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_refresh_and_logout_over_both_versions() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let world = World::new();
        let caller = Caller::new(serve(&world).await.0, version);
        let login = caller.send(post(&caller.url("/auth/login")).json(&credentials("ada"))).await;
        let first = login.refresh();
        let set = |token: &str| {
            format!("{NAME}={token}; HttpOnly; SameSite=Strict; Secure; Path=/auth; Max-Age=604800")
        };
        assert_eq!(login.set_cookies(), [set(&first)], "{version:?}");

        // HTTP/2 clients put each cookie into a header of its own.
        world.clock.advance(HOLD);
        let split =
            post(&caller.url("/auth/refresh")).header("cookie", "a=1").cookie(&first).header("cookie", "b=2");
        let refreshed = caller.send(split).await;
        assert_eq!(refreshed.set_cookies(), [set(&refreshed.refresh())], "{version:?}");
        assert_eq!(refreshed.headers["content-length"], refreshed.body.len().to_string());
        // One token in two headers, garbage in a third.
        let twice =
            post(&caller.url("/auth/refresh")).cookie("x").cookie(&first).cookie(&refreshed.refresh());
        assert!(caller.send(twice).await.expect(200).set_cookies().is_empty(), "row 4, {version:?}");

        let list = bare(Method::GET, &caller.url("/auth/sessions")).bearer(&refreshed.access());
        let list = caller.send(list).await.expect(200).value();
        assert_eq!(list["sessions"][0]["id"], login.claims()["sid"]);

        let out =
            caller.send(post(&caller.url("/auth/logout")).cookie(&refreshed.refresh())).await.expect(204);
        let cleared = out.set_cookies()[0].to_owned();
        let start = format!("{NAME}=; HttpOnly; SameSite=Strict; Secure; Path=/auth; Max-Age=0; Expires=");
        assert!(cleared.starts_with(&start), "{cleared}");
        caller.send(post(&caller.url("/auth/refresh")).cookie(&refreshed.refresh())).await.expect(401);
        assert_eq!(world.generation("ada").await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_over_both_versions() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let world = World::new();
        let caller = Caller::new(serve(&world).await.0, version);
        let at = |path| caller.url(path);
        for (name, ask, status, error) in [
            ("wrong path", post(&at("/auth/x")), 404, "not_found"),
            ("method", bare(Method::GET, &at("/auth/refresh")), 405, "method_not_allowed"),
            (
                "cross-site",
                bare(Method::POST, &at("/auth/login")).json(&credentials("ada")),
                403,
                "cross_site",
            ),
            ("no cookie", post(&at("/auth/refresh")), 401, "invalid_grant"),
            ("type", post(&at("/auth/login")).untyped("{}"), 415, "unsupported_media_type"),
        ] {
            let answer = caller.send(ask).await;
            assert_eq!((answer.status.as_u16(), &answer.value()["error"]), (status, &error.into()), "{name}");
        }
    }
}

/// The connection is cut while the store is at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_in_a_refresh_loses_no_rotation() {
    let world = Arc::new(World::new());
    let (address, closed) = serve(&world).await;
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    let gate = world.store.block(Op::Rotate);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /auth/refresh HTTP/1.1\r\nhost: app.example\r\norigin: {OWN}\r\ncookie: {NAME}={token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    gate.reached().await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    // The server has noticed, and has dropped the request.
    let closed = tokio::time::timeout(PATIENCE, closed.acquire()).await;
    closed.expect("the server notices the cut").unwrap().forget();
    assert_eq!(world.generation("ada").await, Some(0));
    gate.open();
    let rotated = async {
        while world.generation("ada").await == Some(0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rotated).await.expect("the rotation was lost");
    assert_eq!(world.refresh(&token).await.claims()["gen"], 1);
}

/// A client that announces a body and asks first is refused before it sends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_does_not_wait_for_the_body() {
    let world = World::new();
    let (address, _) = serve(&world).await;
    for (name, origin, content_type, length, expected) in [
        ("cross-site", "https://evil.example", "application/json", 100, "HTTP/1.1 403 "),
        ("another type", OWN, "text/plain", 100, "HTTP/1.1 415 "),
        ("a large body", OWN, "application/json", 1024 * 1024, "HTTP/1.1 413 "),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /auth/login HTTP/1.1\r\nhost: app.example\r\norigin: {origin}\r\n\
             content-type: {content_type}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; expected.len()];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), expected, "{name}");
    }
}

/// One stream is refused in the middle of its body; the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_over_http_2_costs_its_stream_only() {
    let world = World::new();
    let caller = Caller::new(serve(&world).await.0, Version::HTTP_2);
    let large = post(&caller.url("/auth/login")).body("application/json", vec![b' '; 1024 * 1024]);
    caller.send(large).await.refused(413, "too_large");
    caller.send(post(&caller.url("/auth/login")).json(&credentials("ada"))).await.expect(200);
}
