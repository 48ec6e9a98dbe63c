//! Proofs of a key (RFC 9449) on the routes of the service: of whoever logs in, refreshes, or comes with an access
//! token.

use http::HeaderValue;
use http::request::Parts;

use crate::dpop::{Dpop, Proof, ProofError, ProofErrorKind};
use crate::metrics;
use crate::service::answer;
use crate::service::core::Core;
use crate::service::events;
use crate::service::operations::Holder;
use crate::service::routes::{Refusal, refuse};
use crate::session::RefreshToken;
use crate::store::{DynReplays, StoreError};

/// What a service knows of proofs.
pub(super) struct Proofs {
    pub(super) dpop: Dpop,
    /// For proofs that other nodes have seen.
    pub(super) store: Option<Box<dyn DynReplays>>,
}

/// Why a proof does not count.
pub(super) enum BadProof {
    Proof(ProofError),
    Store(StoreError),
}

impl From<ProofError> for BadProof {
    fn from(error: ProofError) -> Self {
        Self::Proof(error)
    }
}

impl Proofs {
    /// The proof of a request, which is good but for that it may have been used before.
    pub(super) fn check(
        &self,
        core: &Core,
        parts: &Parts,
        token: Option<&[u8]>,
    ) -> Result<Proof, ProofError> {
        let path = parts.uri.path();
        let check = |path: &str| self.dpop.check(&parts.headers, &parts.method, path, token);
        match check(path) {
            // A router that the service is nested in has cut off the mount point.
            Err(error) if error.kind() == ProofErrorKind::Target => check(&format!("{}{path}", core.path)),
            checked => checked,
        }
    }

    /// Says that a proof is used now: here, and then to the nodes that share a store.
    pub(super) async fn remember(&self, proof: &Proof) -> Result<(), BadProof> {
        self.dpop.remember(proof)?;
        match &self.store {
            // Not twice: the first question may have been heard.
            Some(store) => match store.remember(&proof.id, self.dpop.keep_for(proof)).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(ProofError::replayed().into()),
                Err(error) => Err(BadProof::Store(error)),
            },
            None => Ok(()),
        }
    }

    /// The nonce for an answer, if the client is to use another one from now on.
    pub(super) fn nonce_after(&self, proof: &Proof) -> Option<HeaderValue> {
        if proof.nonce_is_previous { self.dpop.next_nonce() } else { None }
    }
}

/// The proof that comes with a login or a refresh; `None` where the client shows none and need not.
pub(super) fn shown(core: &Core, parts: &Parts, route: &'static str) -> Result<Option<Proof>, Refusal> {
    let Some(proofs) = &core.proofs else { return Ok(None) };
    if !proofs.dpop.is_required() && !Dpop::has_proof(&parts.headers) {
        return Ok(None);
    }
    proofs.check(core, parts, None).map(Some).map_err(|error| refused(proofs, route, &error.into()))
}

/// Lets a refresh token be presented by whoever has the key that its session is bound to. A proof is used up last, so
/// that nobody without a live session and its key can fill the memory of them.
pub(super) async fn holder(
    core: &Core,
    token: RefreshToken,
    parts: &Parts,
) -> Result<(Holder, Option<Proof>), Refusal> {
    let proof = shown(core, parts, "refresh")?;
    let holder = core.holder(token, proof.as_ref().map(|proof| proof.thumbprint)).await?;
    used(core, proof.as_ref(), "refresh").await?;
    Ok((holder, proof))
}

/// Uses up the proof that was shown.
pub(super) async fn used(core: &Core, proof: Option<&Proof>, route: &'static str) -> Result<(), Refusal> {
    let (Some(proofs), Some(proof)) = (&core.proofs, proof) else { return Ok(()) };
    proofs.remember(proof).await.map_err(|bad| refused(proofs, route, &bad))
}

/// As the token endpoint of RFC 9449 (sections 5 and 8) words it.
fn refused(proofs: &Proofs, route: &'static str, bad: &BadProof) -> Refusal {
    refuse(match bad {
        BadProof::Store(error) => {
            events::unavailable("replays", error);
            answer::unavailable()
        }
        BadProof::Proof(error) => {
            events::bad_proof(route, error);
            match error.kind() {
                ProofErrorKind::MemoryFull => {
                    metrics::unavailable("replays");
                    answer::unavailable()
                }
                ProofErrorKind::NonceMissing | ProofErrorKind::NonceUnknown => {
                    answer::use_dpop_nonce(proofs.dpop.next_nonce())
                }
                _ => answer::invalid_dpop_proof(),
            }
        }
    })
}
