//! How a proof that does not count is answered by a resource (RFC 9449, sections 7.1 and 9).

use std::sync::Arc;

use crate::dpop::Dpop;
use crate::dpop::error::{ProofError, ProofErrorKind};
use crate::extract::Scheme;
use crate::reject::{DpopOffer, Protocol, Rejection, RejectionKind, Responder};

impl Dpop {
    /// For the challenges.
    pub(crate) fn offer(&self) -> DpopOffer {
        DpopOffer { algs: self.algs().into(), is_required: self.is_required() }
    }
}

impl ProofError {
    pub(crate) fn rejection(&self, dpop: &Dpop, protocol: Protocol, responder: &Arc<Responder>) -> Rejection {
        let kind = match self.kind() {
            ProofErrorKind::NonceMissing | ProofErrorKind::NonceUnknown => RejectionKind::NonceNeeded,
            ProofErrorKind::MemoryFull => RejectionKind::Unavailable,
            _ => RejectionKind::InvalidProof,
        };
        let nonce = if kind == RejectionKind::NonceNeeded { dpop.next_nonce() } else { None };
        Rejection::new(kind, self.kind().as_str(), protocol, responder)
            .with_scheme(Scheme::Dpop)
            .with_nonce(nonce)
    }
}
