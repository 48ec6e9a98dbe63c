//! [`Thumbprint`]: which public key it is, whoever names it.

use std::fmt;
use std::str::FromStr;

use crate::secret::{base64url, from_base64url};

/// The SHA-256 thumbprint of a public key (RFC 7638, section 3). Shown as 43 characters of base64url, as `jkt` has it
/// (RFC 9449, section 6.1). It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes: a SHA-256.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// The text is no thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseThumbprintError;

impl fmt::Display for ParseThumbprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a thumbprint is 43 characters of base64url")
    }
}

impl std::error::Error for ParseThumbprintError {}

impl FromStr for Thumbprint {
    type Err = ParseThumbprintError;

    fn from_str(text: &str) -> Result<Self, ParseThumbprintError> {
        if text.len() != 43 {
            return Err(ParseThumbprintError);
        }
        from_base64url(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(ParseThumbprintError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_have_one_spelling() {
        let text = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let thumbprint: Thumbprint = text.parse().unwrap();
        assert_eq!(thumbprint.to_string(), text);
        assert_eq!(format!("{thumbprint:?}"), format!("Thumbprint({text})"));
        assert_eq!(Thumbprint::from_bytes(*thumbprint.as_bytes()), thumbprint);
        for (row, text) in [
            ("empty", String::new()),
            ("cut", text[..42].to_owned()),
            ("longer", format!("{text}A")),
            ("padded", format!("{text}=")),
            ("spare bits", text.replace("A4I", "A4J")),
            ("the other alphabet", text.replace('-', "+")),
            ("white space", format!(" {}", &text[1..])),
            ("not ASCII", "é".repeat(21) + "A"),
        ] {
            assert_eq!(text.parse::<Thumbprint>(), Err(ParseThumbprintError), "{row}");
        }
    }
}
