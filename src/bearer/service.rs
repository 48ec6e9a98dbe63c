//! [`JwtAuth`]: the service that the layer makes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use tower_service::Service;

use crate::bearer::layer::{Mode, Settings};
use crate::context::{AuthContext, Outcome, SeenProof};
use crate::dpop::{Dpop, Proof, ProofError};
use crate::extract::{Found, Place, Scheme};
use crate::reject::{Protocol, Refuser, Rejection, RejectionKind, Responder, ResponseBody, ResponseFuture};
use crate::token::{AnyVerified, Bound, ReadClaims, TokenError, TokenErrorKind};

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

/// What is found in a request that passes.
struct Accepted {
    verified: AnyVerified,
    place: Place,
    proof: Option<Proof>,
}

impl<S, C: ReadClaims> JwtAuth<S, C> {
    /// The whole decision over a request: puts the context into its extensions, or says why not. The nonce is for the
    /// answer.
    fn check<B>(&self, request: &mut Request<B>) -> Result<Option<HeaderValue>, Rejection> {
        let Settings { responder, sources, dpop, mode, strips, .. } = &*self.settings;
        let mut is_malformed = false;
        let mut proof = None;
        let (outcome, place) = match self.verify(request) {
            Ok(accepted) => {
                proof = accepted.proof;
                (Outcome::Verified(accepted.verified), Some(accepted.place))
            }
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
        let seen = proof
            .as_ref()
            .zip(dpop.as_ref())
            .map(|(proof, dpop)| SeenProof { id: proof.id, keep_for: dpop.keep_for(proof) });
        let context = AuthContext::new(outcome, Arc::clone(responder)).with_proof(seen);
        request.extensions_mut().insert(context);
        match place {
            Some(place) if *strips => sources.strip(place, request.headers_mut()),
            None if *strips && is_malformed => sources.strip_all(request.headers_mut()),
            _ => {}
        }
        sources.hide(request.headers_mut());
        let is_old = proof.is_some_and(|proof| proof.nonce_is_previous);
        Ok(dpop.as_ref().filter(|_| is_old).and_then(Dpop::next_nonce))
    }

    /// The token, or why there is none, and where it stood.
    fn verify<B>(&self, request: &Request<B>) -> Result<Accepted, (Rejection, Option<Place>)> {
        let Settings { verifier, responder, sources, dpop, .. } = &*self.settings;
        // Read only when refusing.
        let protocol = || Protocol::of(request.method(), request.headers());
        let found = sources
            .find(request.method(), request.headers(), verifier.max_token_bytes())
            .map_err(|bad| (Rejection::of_credential(bad, protocol(), responder), None))?;
        let Some(Found { credential, place }) = found else {
            return Err((Rejection::new(RejectionKind::Missing, "missing", protocol(), responder), None));
        };
        let scheme = credential.scheme();
        let refuse = |rejection: Rejection| (rejection.with_scheme(scheme), Some(place));
        let invalid =
            |reason| refuse(Rejection::new(RejectionKind::InvalidToken, reason, protocol(), responder));
        let bound = match scheme {
            Scheme::Bearer if dpop.as_ref().is_some_and(Dpop::is_required) => {
                return Err(invalid("bearer_scheme"));
            }
            Scheme::Bearer => Bound::Refused,
            Scheme::Dpop => Bound::Accepted,
        };
        let malformed =
            |bad| (Rejection::of_credential(bad, protocol(), responder).with_scheme(scheme), None);
        // The bytes of a token that was accepted before are those of a token.
        let decided = match verifier.recall(credential.bytes(), bound) {
            Some(decided) => decided,
            None => verifier.verify_anew(credential.token().map_err(malformed)?, bound),
        };
        let verified = decided.map_err(|error| {
            report::<C>(&error);
            refuse(Rejection::of_token(&error, protocol(), responder))
        })?;
        let proof = match (scheme, dpop) {
            (Scheme::Bearer, _) => None,
            (Scheme::Dpop, None) => return Err(invalid("dpop_scheme")),
            (Scheme::Dpop, Some(dpop)) => {
                let Some(key) = verified.registered().key_thumbprint() else {
                    return Err(invalid("not_bound"));
                };
                let (method, path) = (request.method(), request.uri().path());
                let proof = dpop
                    .check(request.headers(), method, path, Some(credential.bytes()))
                    .map_err(|error| refuse(refused(&error, dpop, protocol(), responder)))?;
                if proof.thumbprint != key {
                    return Err(invalid("other_key"));
                }
                // Last, so that only who has the key can fill the memory.
                dpop.remember(&proof)
                    .map_err(|error| refuse(refused(&error, dpop, protocol(), responder)))?;
                Some(proof)
            }
        };
        Ok(Accepted { verified: verified.erase(), place, proof })
    }
}

/// Says in the log what is wrong with a proof.
fn refused(error: &ProofError, dpop: &Dpop, protocol: Protocol, responder: &Arc<Responder>) -> Rejection {
    tracing::debug!(
        name: "bad_proof", target: "tower_jwt_auth::bearer",
        reason = error.kind().as_str(), detail = error.detail(), "a DPoP proof is not good"
    );
    error.rejection(dpop, protocol, responder)
}

/// Says in the log what is wrong with a token.
fn report<C>(error: &TokenError) {
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
            Ok(nonce) => ResponseFuture::inner_with_nonce(self.inner.call(request), nonce),
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
