//! [`ProofError`]: why a proof was not accepted.

use std::borrow::Cow;

/// Why a proof was refused. The detail is for a log: names of members, nothing of what the proof says.
#[derive(Debug)]
pub(crate) struct ProofError {
    kind: ProofErrorKind,
    detail: Cow<'static, str>,
}

/// The rule that a proof breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProofErrorKind {
    /// There is no header `DPoP`.
    Missing,
    /// There are several.
    Repeated,
    /// Longer than any proof has to be; nothing of it was decoded.
    TooLarge,
    /// Not the compact form of a JWS, or its header is no acceptable JSON.
    Malformed,
    /// `typ` is not `dpop+jwt`.
    Type,
    /// `alg` is not one of those that are allowed.
    Algorithm,
    /// `jwk` is missing, is no public key, is for something else, or is not safe.
    Key,
    /// `jwk` holds a key that nobody else may know.
    PrivateKey,
    /// The signature is not by the key in `jwk`.
    Signature,
    /// The claims set is no acceptable JSON, or a claim is missing or of the wrong type.
    Claims,
    /// `htm` is not the method of the request.
    Method,
    /// `htu` is not the URL of the request.
    Target,
    /// `iat` lies too far back.
    TooOld,
    /// `iat` lies in the future.
    TooNew,
    /// `ath` is missing, or is not that of the access token.
    TokenHash,
    /// There is no `nonce`, and one is needed.
    NonceMissing,
    /// `nonce` is not one of ours, or is an old one.
    NonceUnknown,
    /// The proof was used before.
    Replayed,
    /// Not the proof's fault: there is no room to remember it.
    MemoryFull,
}

impl ProofErrorKind {
    /// A stable name in `snake_case`, the value of the field `reason` in the events of this crate.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "proof_missing",
            Self::Repeated => "proof_repeated",
            Self::TooLarge => "proof_too_large",
            Self::Malformed => "proof_malformed",
            Self::Type => "proof_type",
            Self::Algorithm => "proof_algorithm",
            Self::Key => "proof_key",
            Self::PrivateKey => "proof_private_key",
            Self::Signature => "proof_signature",
            Self::Claims => "proof_claims",
            Self::Method => "proof_method",
            Self::Target => "proof_target",
            Self::TooOld => "proof_too_old",
            Self::TooNew => "proof_too_new",
            Self::TokenHash => "proof_token_hash",
            Self::NonceMissing => "proof_nonce_missing",
            Self::NonceUnknown => "proof_nonce_unknown",
            Self::Replayed => "proof_replayed",
            Self::MemoryFull => "proof_memory_full",
        }
    }
}

impl ProofError {
    pub(crate) fn new(kind: ProofErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into() }
    }

    pub(crate) fn replayed() -> Self {
        Self::new(ProofErrorKind::Replayed, "the proof was used before, or may have been")
    }

    /// The rule that the proof breaks.
    pub(crate) fn kind(&self) -> ProofErrorKind {
        self.kind
    }

    /// The rule in words, for a log.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}
