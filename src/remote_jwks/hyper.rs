//! [`JwksClient`]: a client for those who have none (feature `jwks-hyper`): hyper over rustls.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::transport::BoxError;

/// An HTTP/1 client for [`RemoteJwks::builder`](crate::RemoteJwks::builder), with TLS by rustls and aws-lc-rs. Follows
/// no redirects. Cheap to clone.
#[derive(Clone)]
pub struct JwksClient {
    client: Client<HttpsConnector<HttpConnector>, JwksBody>,
}

/// The body of requests and answers of [`JwksClient`].
pub struct JwksBody(UnsyncBoxBody<Bytes, BoxError>);

impl From<Bytes> for JwksBody {
    fn from(bytes: Bytes) -> Self {
        Self(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
    }
}

impl Body for JwksBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for JwksBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwksBody")
    }
}

impl JwksClient {
    /// Trusts the certificate authorities of Mozilla's list, which is compiled in.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up with the backend's algorithms.
    pub fn new() -> Result<Self, ConfigError> {
        Self::trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() })
    }

    /// Trusts the certificates of this PEM text only: the authority of a network of one's own.
    ///
    /// # Errors
    ///
    /// There is none in the text, or one that cannot be read.
    pub fn with_root_certificates(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let bad = || ConfigError::new(ConfigErrorKind::Key, "this is no list of certificates in PEM");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_ref()) {
            let certificate = certificate.map_err(|error| bad().with_source(error))?;
            roots.add(certificate).map_err(|error| bad().with_source(error))?;
        }
        if roots.is_empty() { Err(bad()) } else { Self::trusting(roots) }
    }

    fn trusting(roots: RootCertStore) -> Result<Self, ConfigError> {
        // Named, as the one of the process may be another, or none.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                ConfigError::new(ConfigErrorKind::Crypto, "TLS cannot be set up").with_source(error)
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Whether http is allowed is decided by who asks.
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(10))
            .build(connector);
        Ok(Self { client })
    }
}

impl Service<Request<JwksBody>> for JwksClient {
    type Response = Response<JwksBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<JwksBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<JwksBody>) -> Self::Future {
        let response = self.client.request(request);
        Box::pin(
            async move { Ok(response.await?.map(|body| JwksBody(body.map_err(Into::into).boxed_unsync()))) },
        )
    }
}

impl fmt::Debug for JwksClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwksClient")
    }
}
