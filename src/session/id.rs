//! The fixed-size names of things: sessions, subjects, secrets, attempts.

use std::fmt;
use std::str::FromStr;

use crate::secret::{NoRandomness, base64url, from_base64url, random, sha256};

/// A session's identifier: 16 random bytes, the `sid` of its access tokens. Shown as 22 characters of base64url. It is
/// no secret: knowing it does not help to forge a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    /// The identifier with these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// The text is no session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseSessionIdError;

impl fmt::Display for ParseSessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session id is 22 characters of base64url")
    }
}

impl std::error::Error for ParseSessionIdError {}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        if text.len() != 22 {
            return Err(ParseSessionIdError);
        }
        from_base64url(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(ParseSessionIdError)
    }
}

/// The name under which a store keeps a subject: the first 16 bytes of the SHA-256 of it. The same length whatever the
/// subject is, and part of the refresh token, so that a store finds all of a subject in one place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectDigest([u8; 16]);

impl SubjectDigest {
    /// The digest of a subject.
    pub fn of(subject: &str) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&sha256(subject.as_bytes())[..16]);
        Self(first)
    }

    /// The digest with these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SubjectDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectDigest({})", base64url(&self.0))
    }
}

/// The SHA-256 of a session's secret: what a store keeps of it. Compared in constant time.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(sha256(secret))
    }

    /// The digest with these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        crate::secret::equal(&self.0, &other.0)
    }
}

impl Eq for SecretDigest {}

/// Shows nothing: of no use to a reader, and not for a log.
impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(..)")
    }
}

/// One call of the service. A store that receives the same attempt again, because a connection resent it or the
/// service repeated it after an error, gives the same answer again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt([u8; 16]);

impl Attempt {
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    /// The attempt with these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({})", base64url(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_have_one_spelling() {
        let id = SessionId::from_bytes([0xff; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA==",
            "../../../../etc/passwd",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError), "{text}");
        }
    }

    #[test]
    fn names_are_shown_and_secrets_are_not() {
        let ones = "_____________________w";
        assert_eq!(format!("{:?}", SessionId::from_bytes([0xff; 16])), format!("SessionId({ones})"));
        assert_eq!(format!("{:?}", SubjectDigest::from_bytes([0xff; 16])), format!("SubjectDigest({ones})"));
        assert_eq!(format!("{:?}", Attempt::from_bytes([0xff; 16])), format!("Attempt({ones})"));
        assert_eq!(format!("{:?}", SecretDigest::from_bytes([0xff; 32])), "SecretDigest(..)");
        assert_eq!(ParseSessionIdError.to_string(), "a session id is 22 characters of base64url");
    }
}
