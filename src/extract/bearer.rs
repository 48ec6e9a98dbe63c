//! Finds the bearer credential of a request (RFC 6750, section 2.1), or the one of the scheme `DPoP` where that is
//! accepted (RFC 9449, section 7.1).
//!
//! Of the header `Authorization`, never of the query, the body or `Proxy-Authorization`. In order:
//!
//! 1. no header, or another scheme than `Bearer` and `DPoP` (in any case): no credential;
//! 2. more than one header: an error, never "the first wins";
//! 3. anything but spaces between the scheme and what follows: an error;
//! 4. a token longer than the maximum: an error, before its characters are looked at;
//! 5. anything but `b64token`: an error. This one only [`Credential::token`] says: for a token that was accepted
//!    before, it need not be asked.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::csrf::CrossSite;

/// The request is malformed: 400 `invalid_request`. Or it may be another site's doing: 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadCredential {
    Repeated,
    TooLarge,
    Malformed,
    CrossSite(CrossSite),
}

impl BadCredential {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Repeated => "repeated_credential",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed_credential",
            Self::CrossSite(why) => why.as_str(),
        }
    }
}

/// How a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    /// With a proof that its sender has the key that it is bound to.
    Dpop,
}

/// What stands where a token should, within the maximum size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credential<'h> {
    bytes: &'h [u8],
    scheme: Scheme,
}

impl<'h> Credential<'h> {
    fn new(bytes: &'h [u8], scheme: Scheme, max_bytes: usize) -> Result<Self, BadCredential> {
        if bytes.len() > max_bytes { Err(BadCredential::TooLarge) } else { Ok(Self { bytes, scheme }) }
    }

    pub(super) fn bearer(bytes: &'h [u8], max_bytes: usize) -> Result<Self, BadCredential> {
        Self::new(bytes, Scheme::Bearer, max_bytes)
    }

    pub(crate) fn scheme(self) -> Scheme {
        self.scheme
    }

    /// Any bytes.
    pub(crate) fn bytes(self) -> &'h [u8] {
        self.bytes
    }

    /// The token that it is.
    pub(crate) fn token(self) -> Result<&'h str, BadCredential> {
        if !is_b64token(self.bytes) {
            return Err(BadCredential::Malformed);
        }
        // b64token is ASCII.
        std::str::from_utf8(self.bytes).map_err(|_| BadCredential::Malformed)
    }
}

/// The credential, if there is one: of the scheme `Bearer`, or of `DPoP` where that is accepted.
pub(crate) fn credential(
    headers: &HeaderMap,
    accepts_dpop: bool,
    max_bytes: usize,
) -> Result<Option<Credential<'_>>, BadCredential> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    if has_repeated(headers) && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(BadCredential::Repeated);
    }
    of_scheme(value.as_bytes(), accepts_dpop, max_bytes)
}

/// Whether any header is there twice, told at once. A name is looked up faster for its one value than for all of them.
pub(super) fn has_repeated(headers: &HeaderMap) -> bool {
    headers.len() > headers.keys_len()
}

/// What follows the scheme and its spaces; `None` for other schemes.
fn of_scheme(
    value: &[u8],
    accepts_dpop: bool,
    max_bytes: usize,
) -> Result<Option<Credential<'_>>, BadCredential> {
    // A server strips white space around a value; a mock in a test may not.
    let Some((scheme, rest)) = split(value.trim_ascii(), accepts_dpop) else { return Ok(None) };
    let token = rest.trim_ascii_start();
    let separator = &rest[..rest.len() - token.len()];
    if separator.is_empty() || separator.iter().any(|byte| *byte != b' ') {
        return Err(BadCredential::Malformed);
    }
    Credential::new(token, scheme, max_bytes).map(Some)
}

/// What is behind a scheme, which ends where no character of a token can (RFC 9110, section 5.6.2).
fn split(value: &[u8], accepts_dpop: bool) -> Option<(Scheme, &[u8])> {
    let behind = |name: &[u8]| {
        let (scheme, rest) = value.split_at_checked(name.len())?;
        let goes_on = rest.first().is_some_and(|byte| *byte != b' ' && is_tchar(*byte));
        (scheme.eq_ignore_ascii_case(name) && !goes_on).then_some(rest)
    };
    if let Some(rest) = behind(b"bearer") {
        return Some((Scheme::Bearer, rest));
    }
    behind(b"dpop").filter(|_| accepts_dpop).map(|rest| (Scheme::Dpop, rest))
}

/// Whether this is a credential of one of the schemes, well-formed or not.
pub(super) fn is_credential(value: &[u8], accepts_dpop: bool) -> bool {
    split(value.trim_ascii(), accepts_dpop).is_some()
}

/// Of a header that is for tokens only: with the scheme, or the token alone.
pub(super) fn token_or_credential(value: &[u8], max_bytes: usize) -> Result<Credential<'_>, BadCredential> {
    match of_scheme(value, false, max_bytes) {
        // No b64token has a space, so what has one and the scheme is a credential.
        Ok(Some(credential)) => Ok(credential),
        Ok(None) | Err(BadCredential::Malformed) => Credential::bearer(value.trim_ascii(), max_bytes),
        Err(bad) => Err(bad),
    }
}

/// `1*(ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/") *"="`
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    let (blocks, rest) = body.as_chunks::<32>();
    !body.is_empty() && blocks.iter().all(|block| are_allowed(block)) && are_allowed(rest)
}

/// Without a branch, so that a block is looked at in a few instructions: each request passes here.
#[allow(clippy::needless_bitwise_bool)]
fn are_allowed(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, &byte| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `-`, `.`, `/` and the digits follow one another.
        let is_digit_or_sign = byte.wrapping_sub(b'-') < 13;
        all & (is_letter | is_digit_or_sign | (byte == b'_') | (byte == b'~') | (byte == b'+'))
    })
}

/// A character of a token (RFC 9110, section 5.6.2), of which a scheme is made.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_alphabet_is_that_of_b64token() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token(&[byte]), expected, "{byte}");
            // Wherever it stands, in a block or in the rest.
            for at in [0, 15, 31, 32, 63, 64, 69] {
                let mut token = [b'a'; 70];
                token[at] = byte;
                assert_eq!(is_b64token(&token), expected || (byte == b'=' && at == 69), "{byte} at {at}");
            }
        }
    }

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn token(headers: &HeaderMap) -> Result<Option<&str>, BadCredential> {
        credential(headers, false, 8192)?.map(Credential::token).transpose()
    }

    #[test]
    fn the_scheme_dpop_where_it_is_accepted() {
        let bad = Err(BadCredential::Malformed);
        for (row, values, expected) in [
            ("DPoP", &[&b"DPoP a.b-c_d"[..]][..], Ok(Some((Scheme::Dpop, "a.b-c_d")))),
            ("dpop", &[b"dpop  a.b-c_d "], Ok(Some((Scheme::Dpop, "a.b-c_d")))),
            ("Bearer beside it", &[b"Bearer a.b-c_d"], Ok(Some((Scheme::Bearer, "a.b-c_d")))),
            ("another scheme", &[b"DPoPx a.b-c_d"], Ok(None)),
            ("nothing", &[b"DPoP"], bad),
            ("a tab", &[b"DPoP\ta.b-c_d"], bad),
            ("quoted", &[b"DPoP \"a.b-c_d\""], bad),
            ("both", &[b"DPoP a.b-c_d", b"Bearer a.b-c_d"], Err(BadCredential::Repeated)),
            ("both in one", &[b"DPoP a.b-c_d, Bearer a.b-c_d"], bad),
        ] {
            let headers = headers(values);
            let found = credential(&headers, true, 8192)
                .and_then(|found| found.map(|found| Ok((found.scheme(), found.token()?))).transpose());
            assert_eq!(found, expected, "{row}");
        }
    }

    #[test]
    fn credentials_of_section_1() {
        let long = [b"Bearer ".to_vec(), vec![b'a'; 65536]].concat();
        let none = Ok(None);
        let good = Ok(Some("a.b-c_d"));
        let bad = Err(BadCredential::Malformed);
        for (row, values, expected) in [
            ("A1 no header", &[][..], none),
            ("A2 empty", &[&b""[..]], none),
            ("A3 other scheme", &[b"Basic dTpw"], none),
            ("A4 Bearer", &[b"Bearer a.b-c_d"], good),
            ("A4 bearer", &[b"bearer a.b-c_d"], good),
            ("A4 BEARER", &[b"BEARER a.b-c_d"], good),
            ("A4 bEaReR", &[b"bEaReR a.b-c_d"], good),
            ("A5 nothing", &[b"Bearer"], bad),
            ("A5 a space", &[b"Bearer "], bad),
            ("A6 two spaces", &[b"Bearer  a.b-c_d"], good),
            ("A7 a tab", &[b"Bearer\ta.b-c_d"], bad),
            ("A7 a space and a tab", &[b"Bearer \ta.b-c_d"], bad),
            ("A8 no space", &[b"Bearera.b-c_d"], none),
            ("A8 Bearerx", &[b"Bearerx a.b-c_d"], none),
            ("A9 quoted", &[b"Bearer \"a.b-c_d\""], bad),
            ("A9 parameter", &[b"Bearer token=a.b-c_d"], bad),
            ("A10 twice the same", &[b"Bearer a.b-c_d", b"Bearer a.b-c_d"], Err(BadCredential::Repeated)),
            ("A10 two schemes", &[b"Basic dTpw", b"Bearer a.b-c_d"], Err(BadCredential::Repeated)),
            ("A13 64 KiB", &[&long], Err(BadCredential::TooLarge)),
            ("A15 trailing white space", &[b"Bearer a.b-c_d \t"], good),
            ("A16 padding", &[b"Bearer a.b=="], Ok(Some("a.b=="))),
            ("A18 DPoP", &[b"DPoP a.b-c_d"], none),
            ("row 3 comma", &[b"Bearer a.b,c"], bad),
            ("row 3 comma after the scheme", &[b"Bearer, a"], bad),
            ("row 3 something after the token", &[b"Bearer a.b c"], bad),
            ("row 3 padding inside", &[b"Bearer a=b"], bad),
            ("row 3 only padding", &[b"Bearer =="], bad),
            ("row 3 not ASCII", &[b"Bearer \xc3\xa9"], bad),
            ("row 117 joined with a comma", &[b"Bearer a.b-c_d, Bearer a.b-c_d"], bad),
        ] {
            assert_eq!(token(&headers(values)), expected, "{row}");
        }
    }

    #[test]
    fn row_11_other_headers_are_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert("proxy-authorization", HeaderValue::from_static("Bearer a.b.c"));
        headers.insert("cookie", HeaderValue::from_static("access_token=a.b.c"));
        assert_eq!(token(&headers), Ok(None));
    }
}
