//! The ready-made client against servers on real sockets: TLS, and servers that do what they should not.

#![cfg(feature = "jwks-hyper")]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tower_jwt_auth::{ConfigErrorKind, FetchErrorKind, JwksClient, KeySet, RemoteJwks, SigningKey};

/// Nothing here takes so long, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a request and answers by `answer`, which may write whatever it likes.
async fn serve<S, A, F>(mut stream: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(S) -> F,
    F: Future<Output = std::io::Result<()>>,
{
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).await.is_err() {
            return;
        }
        request.push(byte[0]);
    }
    // The client may have gone.
    let _ = answer(stream).await;
}

fn good() -> String {
    let key = SigningKey::ed25519_seed(&[1; 32]).unwrap();
    let document = KeySet::new([key.verifying_key().clone()]).unwrap().to_jwks();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{document}", document.len())
}

/// Until the task has met an error.
async fn first_error(keys: &RemoteJwks) -> FetchErrorKind {
    let error = async {
        loop {
            if let Some(error) = keys.last_error() {
                return error.kind();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, error).await.unwrap()
}

/// An authority, and a server's certificate of it.
struct Pki {
    root: String,
    acceptor: TlsAcceptor,
}

fn pki(name: &str) -> Pki {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    Pki { root: authority.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
}

/// The port of a server that gives good keys.
async fn https(acceptor: TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                serve(stream, async |mut stream| {
                    stream.write_all(good().as_bytes()).await?;
                    stream.shutdown().await
                })
                .await;
            });
        }
    });
    port
}

#[tokio::test]
async fn tls_of_whom_it_should_be() {
    let (right, other_name) = (pki("localhost"), pki("other.example"));
    let place = async |pki: &Pki| format!("https://localhost:{}/keys", https(pki.acceptor.clone()).await);
    let trusting = |pki: &Pki| JwksClient::with_root_certificates(&pki.root).unwrap();

    let keys = RemoteJwks::builder(trusting(&right)).spawn_at(place(&right).await).unwrap();
    timeout(PATIENCE, keys.wait_ready()).await.unwrap().unwrap();
    assert_eq!(keys.handle().load().keys().len(), 1);

    for (row, client, place) in [
        ("J10 another name", trusting(&other_name), place(&other_name).await),
        ("J10 an authority that is not trusted", trusting(&other_name), place(&right).await),
        ("J10 none of Mozilla's", JwksClient::new().unwrap(), place(&right).await),
        ("J10 no TLS at all", trusting(&right), format!("https://localhost:{}/", http_port().await)),
    ] {
        let keys = RemoteJwks::builder(client).spawn_at(place).unwrap();
        assert_eq!(first_error(&keys).await, FetchErrorKind::Unreachable, "{row}");
        assert!(!keys.is_ready(), "{row}");
    }
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(
            JwksClient::with_root_certificates(pem).unwrap_err().kind(),
            ConfigErrorKind::Key,
            "{pem}"
        );
    }
}

/// A server that speaks HTTP and gives good keys.
async fn http_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, async |mut stream| stream.write_all(good().as_bytes()).await));
        }
    });
    port
}

/// By the number of the connection. Counts what it wrote of a long answer.
async fn misbehave(number: usize, bytes: Arc<AtomicUsize>, mut stream: TcpStream) -> std::io::Result<()> {
    match number {
        // A drip: always something, never all.
        0 => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                sleep(Duration::from_millis(50)).await;
            }
        }
        // 100 MB, of which it is told nothing before.
        1 => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
            for _ in 0..100 * 1024 {
                stream.write_all(&[b' '; 1024]).await?;
                bytes.fetch_add(1024, Ordering::SeqCst);
            }
            Ok(())
        }
        2 => stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /keys\r\ncontent-length: 0\r\n\r\n").await,
        3 => stream.write_all(b"this is no HTTP\r\n\r\n").await,
        4 => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"keys\":[").await,
        _ => stream.write_all(good().as_bytes()).await,
    }
}

#[tokio::test]
async fn a_server_that_misbehaves_is_left_and_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}/keys", listener.local_addr().unwrap());
    let (asked, written) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, bytes) = (Arc::clone(&asked), Arc::clone(&written));
    let server = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (number, bytes) = (counter.fetch_add(1, Ordering::SeqCst), Arc::clone(&bytes));
            tokio::spawn(serve(stream, move |stream| misbehave(number, Arc::clone(&bytes), stream)));
        }
    };
    tokio::spawn(server);
    let builder = RemoteJwks::builder(JwksClient::new().unwrap()).insecure_http();
    let keys =
        builder.interval(Duration::from_secs(1)).timeout(Duration::from_secs(2)).spawn_at(place).unwrap();
    assert_eq!(first_error(&keys).await, FetchErrorKind::Unreachable, "the drip");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    timeout(PATIENCE, keys.wait_ready()).await.unwrap().unwrap();
    assert!(asked.load(Ordering::SeqCst) >= 6);
    // What lies in the buffers of the system was written, too.
    let written = written.load(Ordering::SeqCst);
    assert!(written < 50 * 1024 * 1024, "it left long before the end: {written}");
}
