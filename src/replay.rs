//! [`ReplayLayer`]: proofs that are good once on all nodes, and not only on each.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::context::{Asked, AuthContext};
use crate::gate::{self, Ahead, GatedFuture, Refusal};
use crate::metrics;
use crate::reject::{Refuser, RejectionKind, ResponseBody};
use crate::store::{DynReplays, ReplayStore};

/// Refuses DPoP proofs that another node has seen (RFC 9449, section 11.1), by a store that all of them share. Cheap to
/// clone.
///
/// It stands behind a [`JwtAuthLayer`](crate::JwtAuthLayer) that [accepts proofs](crate::JwtAuthLayer::dpop), which
/// itself refuses those that this process has seen: one node needs no store. Requests without a proof pass and are not
/// asked for. The store is asked once for each other request; where it does not answer, that is refused with 503 (gRPC:
/// 14), and never twice, as the first question may have been heard.
///
/// The inner service must be `Clone`, as it is called after the store was asked.
///
/// ```no_run
/// # fn example() -> Result<(), tower_jwt_auth::ConfigError> {
/// # #[cfg(feature = "redis")] {
/// use tower::ServiceBuilder;
/// use tower_jwt_auth::{Dpop, JwtAuthLayer, NoClaims, RedisStore, ReplayLayer, SigningKey, TokenConfig};
///
/// # let config = TokenConfig::builder()
/// #     .key(SigningKey::ed25519_seed(&[1; 32])?)
/// #     .issuer("https://app.example")
/// #     .audience("api")
/// #     .build()?;
/// let dpop = Dpop::builder("https://api.example").build()?;
/// let stack = ServiceBuilder::new()
///     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()).dpop(&dpop)?)
///     .layer(ReplayLayer::new(RedisStore::open("redis://127.0.0.1:6380/")?));
/// # let _ = stack;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct ReplayLayer {
    store: Arc<dyn DynReplays>,
}

impl ReplayLayer {
    /// Asks this store.
    pub fn new(store: impl ReplayStore) -> Self {
        Self { store: Arc::new(store) }
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = SeenProofs<S>;

    fn layer(&self, inner: S) -> SeenProofs<S> {
        SeenProofs { inner, store: Arc::clone(&self.store) }
    }
}

/// The service of [`ReplayLayer`].
#[derive(Clone)]
pub struct SeenProofs<S> {
    inner: S,
    store: Arc<dyn DynReplays>,
}

impl<S> SeenProofs<S> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn look(&self, asked: Asked<'_>) -> Ahead {
        if let Err(rejection) = asked.verified_if_good() {
            return Ahead::Refuse(rejection);
        }
        let Some(proof) = AuthContext::of(asked.extensions).and_then(AuthContext::proof) else {
            return Ahead::Pass;
        };
        let store = Arc::clone(&self.store);
        Ahead::Ask(Box::pin(async move {
            match store.remember(&proof.id, proof.keep_for).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Refusal::new(RejectionKind::InvalidProof, "proof_replayed")),
                Err(error) => {
                    metrics::unavailable("replays");
                    tracing::error!(
                        name: "unavailable", target: "tower_jwt_auth::replay",
                        error = &error as &(dyn std::error::Error + 'static),
                        "the store could not say whether a proof was used before: answered with 503"
                    );
                    Err(Refusal::new(RejectionKind::Unavailable, "unavailable"))
                }
            }
        }))
    }
}

impl<S, B, R> Service<Request<B>> for SeenProofs<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = GatedFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ahead = self.look(Asked::in_request(&request));
        gate::pass(&mut self.inner, request, ahead, Refuser::Replay)
    }
}

impl fmt::Debug for ReplayLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for SeenProofs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenProofs").field("inner", &self.inner).finish_non_exhaustive()
    }
}
