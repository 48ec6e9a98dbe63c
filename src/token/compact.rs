//! The compact form of a JWS (RFC 7515, section 7.1).

use crate::secret::{from_base64url, from_base64url_to};
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
        let (header, rest) = token.split_once('.').ok_or_else(bad)?;
        let (payload, signature) = rest.split_once('.').ok_or_else(bad)?;
        if signature.contains('.') {
            return Err(bad());
        }
        let signing_input = &token[..token.len() - signature.len() - 1];
        Ok(Self { signing_input, header, payload, signature })
    }
}

/// The bytes of a segment.
pub(crate) fn decode(segment: &str) -> Result<Vec<u8>, TokenError> {
    from_base64url(segment).ok_or_else(not_canonical)
}

/// Room for the bytes of a segment: on the stack, and on the heap for those that are longer.
pub(crate) struct Scratch<const N: usize> {
    stack: [u8; N],
    heap: Vec<u8>,
}

impl<const N: usize> Scratch<N> {
    pub(crate) fn new() -> Self {
        Self { stack: [0; N], heap: Vec::new() }
    }

    /// As [`decode`].
    pub(crate) fn decode(&mut self, segment: &str) -> Result<&[u8], TokenError> {
        // Four characters are three bytes, and the decoder asks for whole threes.
        if segment.len().div_ceil(4) * 3 <= N {
            let length = from_base64url_to(segment, &mut self.stack).ok_or_else(not_canonical)?;
            Ok(&self.stack[..length])
        } else {
            self.heap = decode(segment)?;
            Ok(&self.heap)
        }
    }
}

fn not_canonical() -> TokenError {
    TokenError::new(TokenErrorKind::Malformed, "a segment is not canonical base64url")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::base64url;

    #[test]
    fn a_segment_decodes_alike_on_the_stack_and_on_the_heap() {
        for length in 0..=40 {
            let bytes: Vec<u8> = (0..length).collect();
            let text = base64url(&bytes);
            assert_eq!(Scratch::<32>::new().decode(&text).unwrap(), bytes, "{length}");
            assert_eq!(Scratch::<0>::new().decode(&text).unwrap(), bytes, "{length}");
            assert_eq!(decode(&text).unwrap(), bytes, "{length}");
            for bad in [format!("{text}="), format!("{text} "), format!("+{text}"), format!("{text}.")] {
                assert!(Scratch::<32>::new().decode(&bad).is_err() && decode(&bad).is_err(), "{bad}");
            }
        }
        assert!(Scratch::<32>::new().decode("AR").is_err(), "bits beyond the last byte");
    }
}
