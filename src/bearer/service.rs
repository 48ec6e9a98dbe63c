//! [`JwtAuth`]: the service that the layer makes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::bearer::layer::{Mode, Settings};
use crate::context::{AuthContext, Outcome};
use crate::extract::{Found, Place};
use crate::reject::{Protocol, Refuser, Rejection, RejectionKind, ResponseBody, ResponseFuture};
use crate::token::{AnyVerified, ReadClaims, TokenErrorKind};

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
        let Settings { responder, sources, mode, strips, .. } = &*self.settings;
        let mut is_malformed = false;
        let (outcome, place) = match self.verify(request) {
            Ok((verified, place)) => (Outcome::Verified(verified), Some(place)),
            Err((rejection, place)) => {
                let outcome = match (mode, rejection.kind()) {
                    (Mode::Optional | Mode::Observe, RejectionKind::Missing) => Outcome::Anonymous,
                    (Mode::Observe, kind) => {
                        is_malformed =
                            matches!(kind, RejectionKind::InvalidRequest | RejectionKind::CrossSite);
                        tracing::info!(
                            name: "observed", target: "tower_jwt_auth::bearer", reason = rejection.reason(),
                            "a request passed that would be refused"
                        );
                        Outcome::Refused(rejection)
                    }
                    (Mode::Required | Mode::Optional, _) => return Err(rejection),
                };
                (outcome, place)
            }
        };
        request.extensions_mut().insert(AuthContext::new(outcome, Arc::clone(responder)));
        match place {
            Some(place) if *strips => sources.strip(place, request.headers_mut()),
            None if *strips && is_malformed => sources.strip_all(request.headers_mut()),
            _ => {}
        }
        sources.hide(request.headers_mut());
        Ok(())
    }

    /// The token, or why there is none, and where it stood.
    fn verify<B>(&self, request: &Request<B>) -> Result<(AnyVerified, Place), (Rejection, Option<Place>)> {
        let Settings { verifier, responder, sources, .. } = &*self.settings;
        // Read only when refusing.
        let protocol = || Protocol::of(request.method(), request.headers());
        let found = sources
            .find(request.method(), request.headers(), verifier.max_token_bytes())
            .map_err(|bad| (Rejection::of_credential(bad, protocol(), responder), None))?;
        let Some(Found { credential, place }) = found else {
            return Err((Rejection::new(RejectionKind::Missing, "missing", protocol(), responder), None));
        };
        // The bytes of a token that was accepted before are those of a token.
        let decided = match verifier.recall(credential.bytes()) {
            Some(decided) => decided,
            None => verifier.verify_anew(
                credential
                    .token()
                    .map_err(|bad| (Rejection::of_credential(bad, protocol(), responder), None))?,
            ),
        };
        match decided {
            Ok(verified) => Ok((verified.erase(), place)),
            Err(error) => {
                if error.kind() == TokenErrorKind::ApplicationClaims {
                    // The token is good: its issuer and this service do not agree on the claims.
                    tracing::warn!(
                        name: "application_claims", target: "tower_jwt_auth::bearer",
                        claims = std::any::type_name::<C>(), detail = error.describe(),
                        "the claims of a good token do not read as the type of the layer"
                    );
                } else {
                    tracing::debug!(
                        name: "bad_token", target: "tower_jwt_auth::bearer",
                        reason = error.kind().as_str(), detail = error.describe(), "a token is not good"
                    );
                }
                Err((Rejection::of_token(&error, protocol(), responder), Some(place)))
            }
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
                rejection.report(Refuser::Bearer);
                let (mut parts, _) = request.into_parts();
                let Settings { sources, responder, .. } = &*self.settings;
                if responder.asks_application() {
                    // Its answer may print what it is given.
                    sources.hide(&mut parts.headers);
                }
                ResponseFuture::refused(rejection.respond(&parts))
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
