//! [`AuthLayer`]: the service in front of another one.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::reject::ResponseBody;
use crate::service::{AuthFuture, AuthService};
use crate::token::Claims;

/// Puts an [`AuthService`] in front of a service: requests to its mount point and below are its own, all others are
/// passed on as they are. For stacks without a router. Cheap to clone.
///
/// It goes outside of [`JwtAuthLayer`](crate::JwtAuthLayer), as a login carries no token; and inside of limits, as a
/// request that is its own leaves the permit that `poll_ready` took with the inner service. A time limit around it must
/// answer in HTTP: that of tonic's `Server::timeout` would answer a slow login as a gRPC call.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_jwt_auth::{
///     AuthLayer, AuthService, JwtAuthLayer, MokaStore, NoClaims, NoLogin, RefreshKeys, SigningKey, TokenConfig,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = TokenConfig::builder()
///     .key(SigningKey::ed25519_seed(&[7; 32])?)
///     .issuer("https://app.example")
///     .audience("api")
///     .build()?;
/// let auth = AuthService::builder(&config, RefreshKeys::new([9; 32])?, MokaStore::new(), NoLogin::<NoClaims>::new())
///     .add_origin("https://app.example")
///     .build()?;
/// let service = ServiceBuilder::new()
///     .layer(AuthLayer::new(auth))
///     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
///     .service(service_fn(async |_: Request<Full<Bytes>>| {
///         Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
///     }));
///
/// let keys = service.clone().oneshot(Request::get("/auth/jwks.json").body(Full::default())?).await?;
/// assert_eq!(keys.status(), StatusCode::OK);
/// let elsewhere = service.oneshot(Request::get("/api/me").body(Full::default())?).await?;
/// assert_eq!(elsewhere.status(), StatusCode::UNAUTHORIZED);
/// # Ok(())
/// # }
/// ```
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct AuthLayer<C> {
    auth: AuthService<C>,
}

impl<C> AuthLayer<C> {
    /// Answers with this service what is below its mount point.
    pub fn new(auth: AuthService<C>) -> Self {
        Self { auth }
    }
}

impl<S, C> Layer<S> for AuthLayer<C> {
    type Service = AuthFront<S, C>;

    fn layer(&self, inner: S) -> AuthFront<S, C> {
        AuthFront { inner, auth: self.auth.clone() }
    }
}

/// A service behind an [`AuthService`]. Made by [`AuthLayer`].
pub struct AuthFront<S, C> {
    inner: S,
    auth: AuthService<C>,
}

impl<S, C> AuthFront<S, C> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// Whether a path is the mount point or below it: `/auth` and `/auth/..`, not `/authors`.
fn is_below(mount: &str, path: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl<S, C, B, R> Service<Request<B>> for AuthFront<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Claims,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = AuthFrontFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let kind = if is_below(&self.auth.core.path, request.uri().path()) {
            Kind::Own { future: self.auth.call(request) }
        } else {
            // The very service that was polled ready.
            Kind::Inner { future: self.inner.call(request) }
        };
        AuthFrontFuture { kind }
    }
}

pin_project! {
    /// The future of [`AuthFront`].
    pub struct AuthFrontFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F> {
        Own { future: AuthFuture },
        Inner { #[pin] future: F },
    }
}

impl<F, R, E> Future for AuthFrontFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Own { future } => {
                let response = ready!(future.future.as_mut().poll(cx));
                Poll::Ready(Ok(response.map(ResponseBody::from)))
            }
            KindProj::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(ResponseBody::inner)))
            }
        }
    }
}

impl<C> Clone for AuthLayer<C> {
    fn clone(&self) -> Self {
        Self { auth: self.auth.clone() }
    }
}

impl<S: Clone, C> Clone for AuthFront<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), auth: self.auth.clone() }
    }
}

impl<C> fmt::Debug for AuthLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer").field("auth", &self.auth).finish()
    }
}

impl<S: fmt::Debug, C> fmt::Debug for AuthFront<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFront").field("auth", &self.auth).field("inner", &self.inner).finish()
    }
}

impl<F> fmt::Debug for AuthFrontFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Own { .. } => "AuthFrontFuture(own)",
            Kind::Inner { .. } => "AuthFrontFuture(inner)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn only_whole_segments_count() {
        for (path, expected) in [
            ("/auth", true),
            ("/auth/", true),
            ("/auth/login", true),
            ("/auth//x", true),
            ("/authors", false),
            ("/Auth/login", false),
            ("/api/auth/login", false),
            ("/", false),
            ("", false),
            ("*", false),
        ] {
            assert_eq!(is_below("/auth", path), expected, "{path}");
        }
    }
}
