//! [`JwtAuth`]: the service that the layer makes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, Entry};
use http::{Request, Response};
use tower_service::Service;

use crate::bearer::layer::{Mode, Settings};
use crate::context::{AuthContext, Outcome};
use crate::extract::bearer;
use crate::reject::{Protocol, Rejection, RejectionKind, ResponseBody, ResponseFuture};
use crate::token::{AnyVerified, ReadClaims, TokenErrorKind, Verified};

/// A service behind a check of bearer tokens. Made by [`JwtAuthLayer`](crate::JwtAuthLayer).
pub struct JwtAuth<S, C> {
    inner: S,
    settings: Arc<Settings<C>>,
}

impl<S, C> JwtAuth<S, C> {
    pub(super) fn new(inner: S, settings: Arc<Settings<C>>) -> Self {
        Self { inner, settings }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C: ReadClaims> JwtAuth<S, C> {
    /// The whole decision over a request: puts the context into its extensions, or says why not.
    fn check<B>(&self, request: &mut Request<B>) -> Result<(), Rejection> {
        let outcome = match self.verify(request) {
            Ok(verified) => Outcome::Verified(verified),
            Err(rejection) => match (self.settings.mode, rejection.kind()) {
                (Mode::Optional | Mode::Observe, RejectionKind::Missing) => Outcome::Anonymous,
                (Mode::Observe, _) => Outcome::Refused(rejection),
                (Mode::Required | Mode::Optional, _) => return Err(rejection),
            },
        };
        request.extensions_mut().insert(AuthContext::new(outcome, Arc::clone(&self.settings.challenge)));
        if let Entry::Occupied(mut credentials) = request.headers_mut().entry(AUTHORIZATION) {
            // Layers further in that print headers leave them out.
            credentials.iter_mut().for_each(|credential| credential.set_sensitive(true));
        }
        Ok(())
    }

    fn verify<B>(&self, request: &Request<B>) -> Result<AnyVerified, Rejection> {
        let Settings { verifier, challenge, .. } = &*self.settings;
        // Read only when refusing.
        let protocol = || Protocol::of(request.method(), request.headers());
        match bearer(request.headers(), verifier.max_token_bytes()) {
            Ok(Some(token)) => verifier.verify(token).map(Verified::erase).map_err(|error| {
                if error.kind() == TokenErrorKind::ApplicationClaims {
                    // The token is good: its issuer and this service do not agree on the claims.
                    tracing::warn!(
                        name: "application_claims", target: "tower_jwt_auth::bearer",
                        claims = std::any::type_name::<C>(), detail = error.describe(),
                        "the claims of a good token do not read as the type of the layer"
                    );
                }
                Rejection::of_token(&error, protocol(), challenge)
            }),
            Ok(None) => Err(Rejection::new(RejectionKind::Missing, "missing", protocol(), challenge)),
            Err(bad) => Err(Rejection::of_credential(bad, protocol(), challenge)),
        }
    }
}

impl<S, C, B, R> Service<Request<B>> for JwtAuth<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: ReadClaims,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.check(&mut request) {
            // The very service that was polled ready: no clone, no swap.
            Ok(()) => ResponseFuture::inner(self.inner.call(request)),
            Err(rejection) => {
                if rejection.kind() == RejectionKind::Missing {
                    tracing::debug!(
                        name: "rejected", target: "tower_jwt_auth::bearer", reason = rejection.reason(),
                        "a request was refused"
                    );
                } else {
                    tracing::info!(
                        name: "rejected", target: "tower_jwt_auth::bearer", reason = rejection.reason(),
                        "a request was refused"
                    );
                }
                ResponseFuture::refused(rejection)
            }
        }
    }
}

impl<S: Clone, C> Clone for JwtAuth<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: Arc::clone(&self.settings) }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for JwtAuth<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuth").field("inner", &self.inner).finish_non_exhaustive()
    }
}
