//! [`AuthService`]: the tower service, and the way of a request through it.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::service::authenticator::Authenticator;
use crate::service::body::{self, AuthBody};
use crate::service::builder::AuthServiceBuilder;
use crate::service::core::Core;
use crate::service::routes;
use crate::service::sessions::Sessions;
use crate::session::RefreshKeys;
use crate::store::SessionStore;
use crate::token::{Claims, TokenConfig};

/// The service. A tower `Service` for any request body, `Clone` (one `Arc`), and nameable: neither the store's nor the
/// authenticator's type is part of its own. See the [module](crate::service) for its routes.
#[must_use = "a service does nothing until it is mounted"]
pub struct AuthService<C> {
    pub(super) core: Arc<Core>,
    claims: PhantomData<fn(C) -> C>,
}

impl<C: Claims> AuthService<C> {
    pub(super) fn new(core: Core) -> Self {
        Self { core: Arc::new(core), claims: PhantomData }
    }

    /// Starts a service that signs with `config`, keeps sessions in `store`, and asks `authenticator` who may log in.
    pub fn builder<A>(
        config: &TokenConfig,
        keys: RefreshKeys,
        store: impl SessionStore,
        authenticator: A,
    ) -> AuthServiceBuilder<C>
    where
        A: Authenticator<Claims = C>,
    {
        AuthServiceBuilder::new(config, keys, Box::new(store), Box::new(authenticator))
    }

    /// The same sessions from code.
    pub fn sessions(&self) -> Sessions<C> {
        Sessions::new(Arc::clone(&self.core))
    }

    /// The mount point, which is also the cookie's `Path`: mount with `nest_service(auth.path(), auth.clone())`, and
    /// the two cannot differ.
    pub fn path(&self) -> &str {
        &self.core.path
    }
}

impl<C> Clone for AuthService<C> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), claims: PhantomData }
    }
}

impl<C> fmt::Debug for AuthService<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService").field("path", &self.core.path).finish_non_exhaustive()
    }
}

impl<C, B> Service<Request<B>> for AuthService<C>
where
    C: Claims,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<AuthBody>;
    type Error = Infallible;
    type Future = AuthFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AuthFuture {
        let core = Arc::clone(&self.core);
        AuthFuture { future: Box::pin(serve(core, request)) }
    }
}

async fn serve<B>(core: Arc<Core>, request: Request<B>) -> Response<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let admitted = match routes::admit(&core, &parts) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let rule = admitted.body_rule(core.delivery);
    if !routes::accepts(&rule, &parts, body.size_hint().lower() > 0) {
        return admitted.unsupported_media_type(&rule);
    }
    let body = match rule {
        routes::BodyRule::Unread => Bytes::new(),
        _ => match body::read(body).await {
            Ok(body) if routes::accepts(&rule, &parts, !body.is_empty()) => body,
            Ok(_) => return admitted.unsupported_media_type(&rule),
            Err(unread) => return admitted.unread(&unread),
        },
    };
    routes::answer(core, admitted, parts, body).await
}

/// The future of [`AuthService`].
pub struct AuthFuture {
    pub(super) future: Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>,
}

impl Future for AuthFuture {
    type Output = Result<Response<AuthBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx).map(|response| Ok(response.map(AuthBody::from)))
    }
}

impl fmt::Debug for AuthFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthFuture")
    }
}
