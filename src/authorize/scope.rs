//! [`RequireScopeLayer`] and the service it makes.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::context::{AuthContext, Outcome};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::reject::{Challenge, Protocol, Rejection, RejectionKind, ResponseBody, ResponseFuture};
use crate::token::is_scope;

/// Lets only requests pass whose token has the scopes. Cheap to clone.
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct RequireScopeLayer {
    required: Arc<Required>,
}

#[derive(Debug)]
struct Required {
    any: bool,
    /// All of them, with spaces between, as the challenge names them.
    scope: Arc<str>,
}

impl RequireScopeLayer {
    /// Asks for each of these scopes.
    ///
    /// # Errors
    ///
    /// There is none, or one is no word of printable ASCII without quote and backslash (RFC 6749, section 3.3).
    pub fn all<I: IntoIterator<Item: AsRef<str>>>(scopes: I) -> Result<Self, ConfigError> {
        Self::new(false, scopes)
    }

    /// Asks for at least one of these scopes.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn any<I: IntoIterator<Item: AsRef<str>>>(scopes: I) -> Result<Self, ConfigError> {
        Self::new(true, scopes)
    }

    fn new<I: IntoIterator<Item: AsRef<str>>>(any: bool, scopes: I) -> Result<Self, ConfigError> {
        let mut all = String::new();
        for scope in scopes {
            let scope = scope.as_ref();
            if !is_scope(scope) {
                return Err(bad_scope(
                    "a scope must be a word of printable ASCII without quote and backslash",
                ));
            }
            if !all.is_empty() {
                all.push(' ');
            }
            all.push_str(scope);
        }
        if all.is_empty() {
            return Err(bad_scope("a layer that asks for no scope lets everybody pass: name one"));
        }
        Ok(Self { required: Arc::new(Required { any, scope: all.into() }) })
    }
}

fn bad_scope(message: &'static str) -> ConfigError {
    ConfigError::new(ConfigErrorKind::Limit, message)
}

impl<S> Layer<S> for RequireScopeLayer {
    type Service = RequireScope<S>;

    fn layer(&self, inner: S) -> RequireScope<S> {
        RequireScope { inner, required: Arc::clone(&self.required) }
    }
}

/// A service behind a check of scopes. Made by [`RequireScopeLayer`].
#[derive(Debug, Clone)]
pub struct RequireScope<S> {
    inner: S,
    required: Arc<Required>,
}

impl<S> RequireScope<S> {
    fn check<B>(&self, request: &Request<B>) -> Result<(), Rejection> {
        let protocol = || Protocol::of(request.method(), request.headers());
        let Some(context) = AuthContext::of(request.extensions()) else {
            let challenge = Arc::new(Challenge::standard());
            return Err(Rejection::new(
                RejectionKind::NoBearerLayer,
                "no_bearer_layer",
                protocol(),
                &challenge,
            ));
        };
        let verified = match context.outcome() {
            Outcome::Verified(verified) => verified,
            // What a layer that observes let pass: refused here as it would have been there.
            Outcome::Refused(rejection) => return Err(rejection.clone()),
            Outcome::Anonymous => {
                let kind = RejectionKind::Missing;
                return Err(Rejection::new(kind, "missing", protocol(), context.challenge()));
            }
        };
        let mut needed = self.required.scope.split(' ');
        let has = |scope: &str| verified.registered().has_scope(scope);
        let allowed = if self.required.any { needed.any(has) } else { needed.all(has) };
        if allowed {
            return Ok(());
        }
        let kind = RejectionKind::InsufficientScope;
        let rejection = Rejection::new(kind, "insufficient_scope", protocol(), context.challenge());
        Err(rejection.with_scope(Arc::clone(&self.required.scope)))
    }
}

impl<S, B, R> Service<Request<B>> for RequireScope<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.check(&request) {
            Ok(()) => ResponseFuture::inner(self.inner.call(request)),
            Err(rejection) => {
                if rejection.kind() == RejectionKind::NoBearerLayer {
                    tracing::error!(
                        name: "rejected", target: "tower_jwt_auth::authorize", reason = rejection.reason(),
                        "no bearer layer ran before this one: put `JwtAuthLayer` outside of `RequireScopeLayer`"
                    );
                } else {
                    tracing::info!(
                        name: "rejected", target: "tower_jwt_auth::authorize", reason = rejection.reason(),
                        "a request was refused"
                    );
                }
                ResponseFuture::refused(rejection)
            }
        }
    }
}
