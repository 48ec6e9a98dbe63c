//! [`AuthContext`]: the one thing that the bearer layer puts into a request's extensions.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request};

use crate::extract::Scheme;
use crate::reject::{Protocol, Rejection, RejectionKind, Responder};
use crate::store::ProofId;
use crate::token::{AnyVerified, Verified};

/// What the bearer layer found out about a request, and how layers behind it are to refuse. Cheap to clone.
///
/// Most code asks for [`Verified::<C>::of(extensions)`](Verified::of) or
/// [`Verified::<C>::from_parts(parts)`](Verified::from_parts) instead. A layer or a service that only wants to know how
/// requests fare, behind a layer that [observes](crate::JwtAuthLayer::observe), looks at the outcome:
///
/// ```
/// use http::Extensions;
/// use tower_jwt_auth::{AuthContext, Outcome};
///
/// fn label(extensions: &Extensions) -> &'static str {
///     match AuthContext::of(extensions).map(AuthContext::outcome) {
///         Some(Outcome::Verified(_)) => "verified",
///         Some(Outcome::Refused(rejection)) => rejection.reason(),
///         Some(_) => "anonymous",
///         None => "no bearer layer",
///     }
/// }
/// assert_eq!(label(&Extensions::new()), "no bearer layer");
/// ```
#[derive(Clone)]
pub struct AuthContext {
    outcome: Outcome,
    responder: Arc<Responder>,
    proof: Option<SeenProof>,
}

/// The proof that came with a token (RFC 9449): no other request may bring it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenProof {
    pub(crate) id: ProofId,
    /// For how long it would be good.
    pub(crate) keep_for: Duration,
}

/// What the bearer layer found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// A token, and it is good.
    Verified(AnyVerified),
    /// No token, and the layer lets such requests pass.
    Anonymous,
    /// A token that is not good, and the layer lets such requests pass.
    Refused(Rejection),
}

impl AuthContext {
    pub(crate) fn new(outcome: Outcome, responder: Arc<Responder>) -> Self {
        Self { outcome, responder, proof: None }
    }

    pub(crate) fn with_proof(self, proof: Option<SeenProof>) -> Self {
        Self { proof, ..self }
    }

    /// The proof, if the token came with one.
    pub(crate) fn proof(&self) -> Option<SeenProof> {
        self.proof
    }

    /// The context that a bearer layer leaves for a request with this token, for tests of what stands behind one:
    /// `request.extensions_mut().insert(AuthContext::for_test(verified))`.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn for_test<C: Send + Sync + 'static>(verified: Verified<C>) -> Self {
        Self::new(Outcome::Verified(verified.erase()), Arc::new(Responder::standard()))
    }

    /// The context that an optional bearer layer leaves for a request without a token, for tests.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn anonymous_for_test() -> Self {
        Self::new(Outcome::Anonymous, Arc::new(Responder::standard()))
    }

    /// The context that a bearer layer left.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// What the bearer layer found.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The token, if there is a good one.
    pub fn verified(&self) -> Option<&AnyVerified> {
        match &self.outcome {
            Outcome::Verified(verified) => Some(verified),
            Outcome::Anonymous | Outcome::Refused(_) => None,
        }
    }
}

impl std::fmt::Debug for AuthContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthContext").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// A request behind the bearer layer, without its body: what those who ask for its token look at.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'r> {
    pub(crate) method: &'r Method,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) extensions: &'r Extensions,
}

impl<'r> Asked<'r> {
    pub(crate) fn in_request<B>(request: &'r Request<B>) -> Self {
        Self { method: request.method(), headers: request.headers(), extensions: request.extensions() }
    }

    fn context(self) -> Result<&'r AuthContext, Rejection> {
        AuthContext::of(self.extensions).ok_or_else(|| {
            tracing::error!(
                name: "no_bearer_layer", target: "tower_jwt_auth::authorize",
                "a verified token is required, but no bearer layer ran: put `JwtAuthLayer` outside of this layer or handler"
            );
            let responder = Arc::new(Responder::standard());
            self.rejection(RejectionKind::NoBearerLayer, "no_bearer_layer", &responder)
        })
    }

    /// The token, if a good one was sent.
    pub(crate) fn verified_if_good(self) -> Result<Option<&'r AnyVerified>, Rejection> {
        self.context().map(AuthContext::verified)
    }

    /// The token, or how the bearer layer would have refused the request. `Ok(None)` when none was sent.
    pub(crate) fn verified_if_sent(self) -> Result<Option<&'r AnyVerified>, Rejection> {
        match &self.context()?.outcome {
            Outcome::Verified(verified) => Ok(Some(verified)),
            Outcome::Anonymous => Ok(None),
            // What a layer that observes let pass: refused here as it would have been there.
            Outcome::Refused(rejection) => Err(rejection.clone()),
        }
    }

    /// As [`verified_if_sent`](Self::verified_if_sent), where one must be sent.
    pub(crate) fn verified(self) -> Result<&'r AnyVerified, Rejection> {
        self.verified_if_sent()?.ok_or_else(|| self.refuse(RejectionKind::Missing, "missing"))
    }

    /// The token with these claims.
    ///
    /// # Errors
    ///
    /// The bearer layer reads others: a fault of the wiring, which no other token could mend.
    pub(crate) fn with_claims<C: Send + Sync + 'static>(
        self,
        verified: &AnyVerified,
    ) -> Result<Verified<C>, Rejection> {
        verified.downcast().ok_or_else(|| {
            tracing::error!(
                name: "other_claims", target: "tower_jwt_auth::authorize",
                asked = std::any::type_name::<C>(), layer = verified.claims_type(),
                "a verified token was asked for with other claims than the bearer layer reads"
            );
            self.refuse(RejectionKind::OtherClaims, "other_claims")
        })
    }

    /// A refusal as the bearer layer words its own.
    pub(crate) fn refuse(self, kind: RejectionKind, reason: &'static str) -> Rejection {
        match AuthContext::of(self.extensions) {
            Some(context) => {
                let scheme = if context.proof.is_some() { Scheme::Dpop } else { Scheme::Bearer };
                self.rejection(kind, reason, &context.responder).with_scheme(scheme)
            }
            None => self.rejection(kind, reason, &Arc::new(Responder::standard())),
        }
    }

    fn rejection(self, kind: RejectionKind, reason: &'static str, responder: &Arc<Responder>) -> Rejection {
        Rejection::new(kind, reason, Protocol::of(self.method, self.headers), responder)
    }
}

impl<'r> From<&'r Parts> for Asked<'r> {
    fn from(parts: &'r Parts) -> Self {
        Self { method: &parts.method, headers: &parts.headers, extensions: &parts.extensions }
    }
}

impl<C: Send + Sync + 'static> Verified<C> {
    /// The token that the bearer layer verified, from the extensions of the request.
    ///
    /// `None` when no bearer layer ran, when it let the request pass without a good token, or when it reads other
    /// claims than `C`.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let Some(context) = AuthContext::of(extensions) else {
            tracing::warn!(
                name: "no_bearer_layer", target: "tower_jwt_auth::bearer",
                "a verified token was asked for, but no bearer layer ran: put `JwtAuthLayer` around this service"
            );
            return None;
        };
        let verified = context.verified()?;
        let found = verified.downcast();
        if found.is_none() {
            tracing::warn!(
                name: "other_claims", target: "tower_jwt_auth::bearer",
                asked = std::any::type_name::<C>(), layer = verified.claims_type(),
                "a verified token was asked for with other claims than the bearer layer reads"
            );
        }
        found
    }

    /// As [`of`](Self::of), with a reason where there is none: for services behind an optional or observing layer, of
    /// which some requests need a token. [`Rejection::respond`] makes the answer.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use tower_jwt_auth::{NoClaims, Verified};
    ///
    /// fn answer(request: Request<Bytes>) -> Response<Bytes> {
    ///     let (parts, _) = request.into_parts();
    ///     match Verified::<NoClaims>::from_parts(&parts) {
    ///         Ok(user) => Response::new(user.subject().to_owned().into()),
    ///         Err(rejection) => rejection.respond(&parts),
    ///     }
    /// }
    /// // No layer ran before: a fault of the wiring, not of the client.
    /// assert_eq!(answer(Request::default()).status(), 500);
    /// ```
    ///
    /// # Errors
    ///
    /// [`Missing`](RejectionKind::Missing); the refusal of an observing layer; or, as faults of the wiring that the log
    /// names, [`NoBearerLayer`](RejectionKind::NoBearerLayer) and [`OtherClaims`](RejectionKind::OtherClaims).
    pub fn from_parts(parts: &Parts) -> Result<Self, Rejection> {
        let asked = Asked::from(parts);
        let found = asked.verified().and_then(|verified| asked.with_claims(verified));
        // A handler of axum returns the rejection, and the answer is made when the request is gone.
        #[cfg(feature = "axum")]
        let found = found.map_err(|rejection| rejection.with_request(parts));
        found
    }
}
