//! Finds the bearer credential of a request (RFC 6750, section 2.1).
//!
//! Of the header `Authorization`, never of the query, the body or `Proxy-Authorization`. In order:
//!
//! 1. no header, or another scheme than `Bearer` (in any case): no credential;
//! 2. more than one header: an error, never "the first wins";
//! 3. a credential longer than the maximum: an error, before its characters are looked at;
//! 4. anything but `1*SP b64token` after the scheme: an error.

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

/// The token of the bearer credential, if there is one.
pub(crate) fn bearer(headers: &HeaderMap, max_bytes: usize) -> Result<Option<&str>, BadCredential> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(BadCredential::Repeated);
    }
    of_scheme(value.as_bytes(), max_bytes)
}

/// The token of a credential; `None` for other schemes.
fn of_scheme(value: &[u8], max_bytes: usize) -> Result<Option<&str>, BadCredential> {
    let (scheme, rest) = split_scheme(value);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let token = rest.trim_ascii_start();
    let separator = &rest[..rest.len() - token.len()];
    let is_separated = !separator.is_empty() && separator.iter().all(|byte| *byte == b' ');
    match token_of(token, max_bytes) {
        Ok(token) if is_separated => Ok(Some(token)),
        Ok(_) => Err(BadCredential::Malformed),
        Err(bad) => Err(bad),
    }
}

/// The scheme of a credential, and what is behind it.
fn split_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    // A server strips white space around a value; a mock in a test may not.
    let value = value.trim_ascii();
    let scheme_bytes = value.iter().position(|byte| !is_tchar(*byte)).unwrap_or(value.len());
    value.split_at(scheme_bytes)
}

/// Whether this is a bearer credential, well-formed or not.
pub(super) fn is_bearer(value: &[u8]) -> bool {
    split_scheme(value).0.eq_ignore_ascii_case(b"bearer")
}

/// The token of a header that is for tokens only: with the scheme, or alone.
pub(super) fn token_or_credential(value: &[u8], max_bytes: usize) -> Result<&str, BadCredential> {
    match of_scheme(value, max_bytes) {
        // No b64token has a space, so what has one and the scheme is a credential.
        Ok(Some(token)) => Ok(token),
        Ok(None) | Err(BadCredential::Malformed) => token_of(value.trim_ascii(), max_bytes),
        Err(bad) => Err(bad),
    }
}

/// A token without anything around it.
pub(super) fn token_of(token: &[u8], max_bytes: usize) -> Result<&str, BadCredential> {
    if token.len() > max_bytes {
        return Err(BadCredential::TooLarge);
    }
    if !is_b64token(token) {
        return Err(BadCredential::Malformed);
    }
    // b64token is ASCII.
    std::str::from_utf8(token).map_err(|_| BadCredential::Malformed)
}

/// `1*(ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/") *"="`
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    let allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.iter().all(allowed)
}

/// A character of a token (RFC 9110, section 5.6.2), of which a scheme is made.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        headers
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
            assert_eq!(bearer(&headers(values), 8192), expected, "{row}");
        }
    }

    #[test]
    fn row_11_other_headers_are_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert("proxy-authorization", HeaderValue::from_static("Bearer a.b.c"));
        headers.insert("cookie", HeaderValue::from_static("access_token=a.b.c"));
        assert_eq!(bearer(&headers, 8192), Ok(None));
    }
}
