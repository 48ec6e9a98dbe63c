//! The example `tls` over a real socket: what is negotiated, and that the session works as it does without TLS.

// A helper that fails fails its test; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::program::{Program, built, skip, target_dir};

/// A certificate for the example, and a client that trusts nothing else.
struct Peer {
    program: Program,
    config: ClientConfig,
}

impl Peer {
    fn start(name: &str) -> Option<Self> {
        let Ok(example) = built("tls") else {
            skip("the example tls is not built");
            return None;
        };
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = target_dir().join("tls-test").join(name);
        fs::create_dir_all(&directory).unwrap();
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let files = [("TLS_CERT", cert.to_str().unwrap()), ("TLS_KEY", key.to_str().unwrap())];
        let program = Program::start(&example, &files);

        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Some(Self { program, config })
    }

    fn address(&self) -> &str {
        self.program.url.strip_prefix("https://").unwrap()
    }

    async fn connect(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut config = self.config.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    fn login(&self) -> Request<Full<Bytes>> {
        let port = self.address().rsplit_once(':').unwrap().1;
        Request::post(format!("https://localhost:{port}/auth/login"))
            .header("origin", format!("https://localhost:{port}"))
            .header("content-type", "application/json")
            .body(Full::from(r#"{"email":"ada@example.com","password":"correct horse"}"#))
            .unwrap()
    }
}

async fn assert_logged_in<B: hyper::body::Body<Error: std::fmt::Debug>>(response: Response<B>) {
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Secure-refresh_token=") && cookie.contains("; Secure"), "{cookie}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains("access_token"));
}

#[tokio::test]
async fn http_2_is_agreed_on_where_both_sides_know_it() {
    let Some(peer) = Peer::start("h2") else { return };
    let stream = peer.connect(&["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_logged_in(sender.send_request(peer.login()).await.unwrap()).await;
}

#[tokio::test]
async fn http_1_is_spoken_with_others() {
    let Some(peer) = Peer::start("h1") else { return };
    let stream = peer.connect(&["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_logged_in(sender.send_request(peer.login()).await.unwrap()).await;
}

/// A client in the middle of its handshake holds nobody else up.
#[tokio::test]
async fn a_handshake_that_stalls_is_its_clients_own_affair() {
    let Some(peer) = Peer::start("stalled") else { return };
    let silent = TcpStream::connect(peer.address()).await.unwrap();
    let stream = peer.connect(&["h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    drop(silent);
}
