//! [`ReqwestService`]: reqwest's client as a tower service over `http`'s types.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::reqwest::{Body, Client, Error};
use http::{Request, Response};
use tower_service::Service;

/// A [`reqwest::Client`](Client) that takes and gives the requests of the crate `http`: as a transport of a
/// [`Session`](crate::client::Session), and to put a [`SessionLayer`](crate::client::SessionLayer) around.
///
/// Build the client with `redirect(Policy::none())`: it would follow redirects inside the layer. (It takes the token
/// off when the host changes, but not when only the session's list of origins knows the difference.) The same holds for
/// a `RemoteJwks`, which follows redirects itself and no further than within the origin.
///
/// ```no_run
/// use tower::{ServiceBuilder, ServiceExt};
/// use tower_jwt_auth::client::{MemoryStorage, ReqwestService, Session, SessionLayer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let http = ReqwestService::new(http);
/// let session = Session::new("https://app.example/auth", MemoryStorage::new(), http.clone())?;
/// session.login(&serde_json::json!({ "email": "ada@example.com", "password": "correct horse" })).await?;
///
/// // A body that is no stream can be sent again.
/// let replay = |body: &reqwest::Body| Some(body.as_bytes()?.to_vec().into());
/// let client = ServiceBuilder::new().layer(SessionLayer::new(session).with_replay(replay)).service(http);
/// let request = http::Request::get("https://app.example/api/me").body(reqwest::Body::default())?;
/// let text = reqwest::Response::from(client.oneshot(request).await?).text().await?;
/// # let _ = text;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReqwestService(Client);

impl ReqwestService {
    /// Wraps a client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Service<Request<Body>> for ReqwestService {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            // Its errors name the URL, whose query may hold what is nobody's business.
            let response = client.execute(request.try_into()?).await.map_err(Error::without_url)?;
            Ok(response.into())
        })
    }
}

impl fmt::Debug for ReqwestService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestService")
    }
}
