//! One event for each refusal, and one count.

use crate::metrics;
use crate::reject::{Rejection, RejectionKind};

/// Who refuses, as the events name it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refuser {
    /// The bearer layer.
    Bearer,
    /// The live sessions layer.
    Live,
    /// The revocations layer.
    Revocation,
    /// The layer that knows proofs of other nodes.
    Replay,
    /// Another layer or an extractor behind it.
    Authorize,
}

impl Refuser {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Live => "live",
            Self::Revocation => "revocation",
            Self::Replay => "replay",
            Self::Authorize => "authorize",
        }
    }
}

impl Rejection {
    /// Says in the log why a request is refused. Whoever turns a rejection into an answer calls it, once.
    pub(crate) fn report(&self, refuser: Refuser) {
        metrics::rejected(refuser.as_str(), self.reason());
        // A target must be constant.
        macro_rules! event {
            ($level:ident, $target:literal) => {
                tracing::$level!(name: "rejected", target: $target, reason = self.reason(), "a request was refused")
            };
        }
        let is_fault = matches!(self.kind(), RejectionKind::NoBearerLayer | RejectionKind::OtherClaims);
        match (refuser, self.kind()) {
            (Refuser::Bearer, RejectionKind::Missing) => event!(debug, "tower_jwt_auth::bearer"),
            (Refuser::Bearer, _) => event!(info, "tower_jwt_auth::bearer"),
            (Refuser::Live, _) if is_fault => event!(error, "tower_jwt_auth::live"),
            (Refuser::Live, _) => event!(info, "tower_jwt_auth::live"),
            (Refuser::Revocation, _) if is_fault => event!(error, "tower_jwt_auth::revocation"),
            (Refuser::Revocation, _) => event!(info, "tower_jwt_auth::revocation"),
            (Refuser::Replay, _) if is_fault => event!(error, "tower_jwt_auth::replay"),
            (Refuser::Replay, _) => event!(info, "tower_jwt_auth::replay"),
            (Refuser::Authorize, RejectionKind::Missing) => event!(debug, "tower_jwt_auth::authorize"),
            (Refuser::Authorize, _) if is_fault => event!(error, "tower_jwt_auth::authorize"),
            (Refuser::Authorize, _) => event!(info, "tower_jwt_auth::authorize"),
        }
    }
}
