//! One proof of possession: a JWT that brings its own public key (RFC 9449, sections 4.2 and 4.3).
//!
//! In this order, and each step refuses by itself:
//!
//! 1. size, then the compact form: three canonical base64url segments;
//! 2. the header: JSON without duplicates, no `crit`, `b64`, `enc`, `zip` or nested `cty`; `typ` is `dpop+jwt`; `alg`
//!    is one of those allowed, all of them asymmetric; `jwk` is one public key, without private members, whose own
//!    `alg`, `use` and `key_ops` allow it, and which is as safe as any key of this crate has to be. Other members that
//!    could bring a key along (`kid`, `jku`, `x5c`) are not looked at;
//! 3. the signature, by that key; nothing of the claims is read before;
//! 4. the claims: one JSON object without duplicates; `jti`, a string of 1 to 256 bytes; `htm`, the method byte for
//!    byte; `htu`, as [`target`](super::target) compares it; `iat`, a number within the window; `ath`, where there is
//!    an access token. `nonce` is a string if it is there, and others decide over it.
//!
//! `exp` and `nbf` are not looked at, as is no other claim: the window of `iat` is narrower than what a client may say.

mod claims;
mod header;
#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::dpop::error::{ProofError, ProofErrorKind};
use crate::dpop::proof::claims::{Claims, check_claims};
use crate::dpop::proof::header::check_key;
use crate::dpop::target::Base;
use crate::store::ProofId;
use crate::thumbprint::Thumbprint;
use crate::token::{Algorithm, Compact, Crypto, TokenErrorKind, decode, describe};

/// With an RSA key of 8192 bits a proof has 4 KiB.
const MAX_BYTES: usize = 8 * 1024;

/// What every proof of a service is judged by.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) crypto: Crypto,
    /// Asymmetric ones.
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) bases: Box<[Base]>,
    pub(crate) max_age: Duration,
    pub(crate) leeway: Duration,
}

/// The request that a proof is for.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The access token, where there is one.
    pub(crate) token: Option<&'a [u8]>,
}

/// A proof that was found good. Whether it was used before is not decided yet.
#[derive(Debug)]
pub(crate) struct Proof {
    /// Of the key that the client has.
    pub(crate) thumbprint: Thumbprint,
    pub(crate) id: ProofId,
    /// From when on it is refused for its age. It must be remembered until then.
    pub(crate) expires: Timestamp,
    pub(crate) nonce: Option<Box<str>>,
    /// Whether the nonce is that of the span before: then the answer brings a new one.
    pub(crate) nonce_is_previous: bool,
}

impl Proof {
    pub(crate) fn verify(
        text: &str,
        rules: &Rules,
        request: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Self, ProofError> {
        let (compact, segments) = split(text)?;
        let thumbprint = check_key(rules, &compact, &segments)?;
        let json = utf8(&segments.payload, ProofErrorKind::Claims)?;
        let claims = Claims::parse(json, request.token.is_some())?;
        check_claims(rules, request, thumbprint, claims, now)
    }
}

/// The three segments, decoded.
struct Segments {
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

fn split(text: &str) -> Result<(Compact<'_>, Segments), ProofError> {
    let compact = Compact::split(text, MAX_BYTES).map_err(|error| match error.kind() {
        TokenErrorKind::TooLarge => {
            ProofError::new(ProofErrorKind::TooLarge, "the proof is longer than 8 KiB")
        }
        _ => ProofError::new(ProofErrorKind::Malformed, "the proof does not have three segments"),
    })?;
    let decode = |segment| {
        decode(segment).map_err(|_| {
            ProofError::new(ProofErrorKind::Malformed, "a segment of the proof is not canonical base64url")
        })
    };
    let (header, payload) = (decode(compact.header)?, decode(compact.payload)?);
    let signature = decode(compact.signature)?;
    Ok((compact, Segments { header, payload, signature }))
}

fn utf8(json: &[u8], kind: ProofErrorKind) -> Result<&str, ProofError> {
    std::str::from_utf8(json).map_err(|_| ProofError::new(kind, "a segment of the proof is not UTF-8"))
}

fn json_error(kind: ProofErrorKind, what: &str, error: &serde_json::Error) -> ProofError {
    ProofError::new(kind, format!("{what}: {}", describe(error)))
}
