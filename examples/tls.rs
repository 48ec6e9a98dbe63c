//! The demo over TLS: HTTP/2 and HTTP/1.1 by rustls, with a certificate made at start or read from files.
//!
//! ```text
//! cargo run --example tls
//! curl -k https://127.0.0.1:3443/health -w ' over HTTP/%{http_version}\n'
//! TLS_CERT=server.pem TLS_KEY=server.key cargo run --example tls
//! ```
//!
//! The page, the accounts and the settings are those of the example `demo`. Nothing about the crate changes with TLS; the
//! origins are named with `https`.

#[path = "demo/accounts.rs"]
mod accounts;
#[path = "demo/app.rs"]
mod app;
#[path = "demo/pages.rs"]
mod pages;
#[path = "demo/settings.rs"]
mod settings;
#[path = "demo/stores.rs"]
mod stores;
#[path = "demo/theft.rs"]
mod theft;
#[path = "demo/timeline.rs"]
mod timeline;

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::{ServiceExt, service_fn};
use tracing_subscriber::EnvFilter;

use crate::settings::Settings;
use crate::stores::Store;

/// A client that connects and says nothing is sent away.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    // Unless told otherwise: the port of the demo is for plain http.
    let mut settings = Settings::from_env()?;
    if env::var_os("ADDR").is_none() {
        settings.address.set_port(3443);
    }
    let acceptor = TlsAcceptor::from(Arc::new(server_config()?));
    let listener = TcpListener::bind(settings.address).await?;
    let port = listener.local_addr()?.port();
    let origins = [format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}")];
    let (store, _purge) = stores::open(settings.store.as_deref()).await?;
    let app = match store {
        Store::Moka(store) => app::router(&settings, &origins, store)?,
        #[cfg(feature = "redis")]
        Store::Redis(store) => app::router(&settings, &origins, store)?,
        #[cfg(feature = "postgres")]
        Store::Postgres(store) => app::router(&settings, &origins, store)?,
    };

    println!("listening on https://127.0.0.1:{port}");
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, perhaps: some will be closed soon.
                tracing::warn!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // The handshake is the client's to delay: it holds nobody else up.
        tokio::spawn(serve(acceptor.clone(), stream, peer, app.clone()));
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, app: Router) {
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else {
        tracing::debug!(%peer, "no TLS");
        return;
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.clone().oneshot(request.map(Body::new))
    });
    let mut connection = auto::Builder::new(TokioExecutor::new());
    connection.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // By what both sides agreed on in the handshake, `h2` or `http/1.1`.
    let served = connection.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
    if let Err(error) = served {
        tracing::debug!(%peer, error, "a connection ended");
    }
}

fn server_config() -> Result<ServerConfig, Box<dyn Error>> {
    let (chain, key) = match (env::var_os("TLS_CERT"), env::var_os("TLS_KEY")) {
        (Some(cert), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
            (chain, PrivateKeyDer::from_pem_file(key)?)
        }
        (None, None) => {
            let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let made = rcgen::generate_simple_self_signed(names)?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
            (vec![made.cert.into()], key)
        }
        _ => return Err("TLS_CERT and TLS_KEY go together".into()),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
