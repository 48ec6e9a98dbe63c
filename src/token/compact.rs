//! The compact form of a JWS (RFC 7515, section 7.1).

use crate::secret::from_base64url;
use crate::token::error::{TokenError, TokenErrorKind};

/// The three segments, none of them decoded.
pub(crate) struct Compact<'a> {
    pub(crate) signing_input: &'a str,
    pub(crate) header: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) signature: &'a str,
}

impl<'a> Compact<'a> {
    /// The segments of a token of at most `max_bytes`.
    pub(crate) fn split(token: &'a str, max_bytes: usize) -> Result<Self, TokenError> {
        if token.len() > max_bytes {
            return Err(TokenError::new(
                TokenErrorKind::TooLarge,
                "the token is longer than the configured maximum",
            ));
        }
        let bad = || TokenError::new(TokenErrorKind::Malformed, "the token does not have three segments");
        let (signing_input, signature) = token.rsplit_once('.').ok_or_else(bad)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(bad)?;
        if payload.contains('.') {
            return Err(bad());
        }
        Ok(Self { signing_input, header, payload, signature })
    }
}

/// The bytes of a segment.
pub(crate) fn decode(segment: &str) -> Result<Vec<u8>, TokenError> {
    from_base64url(segment)
        .ok_or_else(|| TokenError::new(TokenErrorKind::Malformed, "a segment is not canonical base64url"))
}
