//! The refresh token: 105 bytes, 140 characters of base64url, opaque to clients, and not a JWT.
//!
//! ```text
//! version 1 | key id 4 | subject digest 16 | session id 16 | generation 4 | secret 32 | tag 32
//! ```
//!
//! The version is 1, or 2 where the session is bound to a key. The tag is an HMAC-SHA-256 over a context, the issuer,
//! the service's name and all bytes before it. It is checked before any I/O: a forged, cut or garbled token never
//! reaches a store, and can never end a session. To forge one, a thief of the store lacks the key and the secret; a
//! thief of the key lacks every secret.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::{
    ExposeSecret, NoRandomness, SecretSlice, SecretString, base64url, from_base64url, hmac_sha256,
    hmac_sha256_matches, random,
};
use crate::session::id::{Attempt, SecretDigest, SessionId, SubjectDigest};
use crate::session::rotation::Presented;

const VERSION: u8 = 1;
/// Of a session that is bound to a key.
const BOUND_VERSION: u8 = 2;
const BODY_BYTES: usize = 73;
const TOKEN_BYTES: usize = BODY_BYTES + 32;
const TEXT_BYTES: usize = 140;

/// The secrets that make refresh tokens genuine: one that signs, any number that are accepted.
///
/// To change the key: accept the new one everywhere; one deployment later sign with the new one and accept the old;
/// remove the old one after the idle lifetime. Changing all keys at once ends all sessions, which is the answer to a
/// restored back-up of the store.
#[derive(Clone)]
pub struct RefreshKeys {
    signing: Key,
    accepted: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; 4],
    secret: SecretSlice<u8>,
}

impl RefreshKeys {
    /// Signs and accepts with this secret.
    ///
    /// # Errors
    ///
    /// Fewer than 32 bytes. Use random bytes, not a password.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self { signing: Key::new(secret.as_ref())?, accepted: Vec::new() })
    }

    /// Accepts tokens that were signed with this secret, too.
    ///
    /// # Errors
    ///
    /// Fewer than 32 bytes.
    pub fn add_accepted(mut self, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.accepted.push(Key::new(secret.as_ref())?);
        Ok(self)
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.signing).chain(&self.accepted)
    }
}

impl fmt::Debug for RefreshKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshKeys").field("accepted", &self.accepted.len()).finish_non_exhaustive()
    }
}

impl Key {
    fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        if secret.len() < 32 {
            return Err(ConfigError::new(
                ConfigErrorKind::Key,
                "the secret of the refresh tokens needs at least 32 random bytes",
            ));
        }
        let digest = hmac_sha256(secret, &[b"tower-jwt-auth refresh key id"]);
        let id = [digest[0], digest[1], digest[2], digest[3]];
        Ok(Self { id, secret: secret.to_vec().into() })
    }
}

/// Writes and reads refresh tokens of one service.
#[derive(Debug)]
pub(crate) struct RefreshCodec {
    keys: RefreshKeys,
    /// Keeps apart what is signed with one secret by other issuers, or by other services of the issuer.
    context: Vec<u8>,
}

/// Why a text is not a genuine refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Malformed,
    UnknownKey,
    BadTag,
}

impl Unreadable {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadTag => "bad_tag",
        }
    }
}

impl RefreshCodec {
    pub(crate) fn new(keys: RefreshKeys, issuer: &str, service: &str) -> Self {
        let mut context = b"tower-jwt-auth refresh token".to_vec();
        for name in [issuer, service] {
            // With its length before it, no two pairs of names give the same bytes.
            context.extend_from_slice(&(name.len() as u64).to_be_bytes());
            context.extend_from_slice(name.as_bytes());
        }
        Self { keys, context }
    }

    pub(crate) fn encode(&self, token: &RefreshToken) -> SecretString {
        let key = &self.keys.signing;
        let mut bytes = Zeroizing::new(Vec::with_capacity(TOKEN_BYTES));
        bytes.push(if token.is_bound { BOUND_VERSION } else { VERSION });
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(token.subject.as_bytes());
        bytes.extend_from_slice(token.session_id.as_bytes());
        bytes.extend_from_slice(&token.generation.to_be_bytes());
        bytes.extend_from_slice(&token.secret);
        let tag = hmac_sha256(key.secret.expose_secret(), &[&self.context, &bytes]);
        bytes.extend_from_slice(&tag);
        base64url(&bytes).into()
    }

    pub(crate) fn parse(&self, text: &str) -> Result<RefreshToken, Unreadable> {
        if text.len() != TEXT_BYTES {
            return Err(Unreadable::Malformed);
        }
        let bytes = Zeroizing::new(from_base64url(text).ok_or(Unreadable::Malformed)?);
        let (body, tag) = bytes.split_at_checked(BODY_BYTES).ok_or(Unreadable::Malformed)?;
        let mut reader = Reader(body);
        let is_bound = match reader.take()? {
            [VERSION] => false,
            [BOUND_VERSION] => true,
            _ => return Err(Unreadable::Malformed),
        };
        let key_id = reader.take::<4>()?;
        let mut verdict = Unreadable::UnknownKey;
        for key in self.keys.all().filter(|key| key.id == key_id) {
            if hmac_sha256_matches(key.secret.expose_secret(), &[&self.context, body], tag) {
                return Ok(RefreshToken {
                    subject: SubjectDigest::from_bytes(reader.take()?),
                    session_id: SessionId::from_bytes(reader.take()?),
                    generation: u32::from_be_bytes(reader.take()?),
                    secret: reader.take()?,
                    is_bound,
                });
            }
            verdict = Unreadable::BadTag;
        }
        Err(verdict)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Unreadable::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }
}

/// A refresh token whose tag was checked, or that was just made.
#[derive(Clone)]
pub(crate) struct RefreshToken {
    pub(crate) subject: SubjectDigest,
    pub(crate) session_id: SessionId,
    pub(crate) generation: u32,
    secret: [u8; 32],
    /// Whether its session is bound to a key: said here, so that a service that knows of no keys can refuse it unseen.
    pub(crate) is_bound: bool,
}

impl RefreshToken {
    /// The first token of a new session.
    pub(crate) fn first(subject: &str, is_bound: bool) -> Result<Self, NoRandomness> {
        Ok(Self {
            subject: SubjectDigest::of(subject),
            session_id: SessionId::random()?,
            generation: 0,
            secret: random()?,
            is_bound,
        })
    }

    /// The token of another generation of the same session.
    pub(crate) fn at(&self, generation: u32) -> Self {
        let mut token = self.clone();
        token.generation = generation;
        token
    }

    pub(crate) fn secret_digest(&self) -> SecretDigest {
        SecretDigest::of(&self.secret)
    }

    pub(crate) fn present(&self, attempt: Attempt) -> Presented {
        Presented {
            subject: self.subject,
            session_id: self.session_id,
            generation: self.generation,
            secret_digest: self.secret_digest(),
            attempt,
        }
    }
}

impl Drop for RefreshToken {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("session_id", &self.session_id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(secret: u8, issuer: &str, service: &str) -> RefreshCodec {
        RefreshCodec::new(RefreshKeys::new([secret; 32]).unwrap(), issuer, service)
    }

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        let codec = codec(1, "https://i.example", "");
        for is_bound in [false, true] {
            let token = RefreshToken::first("ada", is_bound).unwrap();
            assert_eq!(codec.parse(codec.encode(&token).expose_secret()).unwrap().is_bound, is_bound);
        }
        let token = RefreshToken::first("ada", true).unwrap().at(u32::MAX);
        let text = codec.encode(&token);
        assert_eq!(text.expose_secret().len(), TEXT_BYTES);
        let read = codec.parse(text.expose_secret()).unwrap();
        let attempt = Attempt::from_bytes([0; 16]);
        assert_eq!(read.present(attempt), token.present(attempt));
        assert_eq!(
            codec.encode(&read).expose_secret(),
            text.expose_secret(),
            "building it twice gives one token"
        );
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let codec = codec(1, "https://i.example", "");
        let text = codec.encode(&RefreshToken::first("ada", false).unwrap());
        let bytes = from_base64url(text.expose_secret()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(codec.parse(&base64url(&changed)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn k3_texts_of_other_forms_are_refused() {
        let codec = codec(1, "https://i.example", "");
        let good = codec.encode(&RefreshToken::first("ada", false).unwrap());
        let good = good.expose_secret();
        for text in [
            String::new(),
            good[..139].to_owned(),
            format!("{good}A"),
            format!("\"{}\"", &good[..138]),
            format!("%2e{}", &good[..137]),
            good.replace(|c: char| c.is_ascii_digit(), "+"),
            "A".repeat(5000),
            "é".repeat(70),
        ] {
            assert!(codec.parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn r11_other_issuers_services_and_keys_are_refused() {
        let text = codec(1, "https://i.example", "a").encode(&RefreshToken::first("ada", false).unwrap());
        let read = |codec: RefreshCodec| codec.parse(text.expose_secret()).map(|_| ());
        assert_eq!(read(codec(1, "https://i.example", "a")), Ok(()));
        assert_eq!(read(codec(1, "https://j.example", "a")), Err(Unreadable::BadTag));
        assert_eq!(read(codec(1, "https://i.example", "b")), Err(Unreadable::BadTag));
        assert_eq!(read(codec(1, "https://i.examplea", "")), Err(Unreadable::BadTag));
        assert_eq!(read(codec(2, "https://i.example", "a")), Err(Unreadable::UnknownKey));
    }

    #[test]
    fn accepted_keys_read_what_they_signed() {
        let old = codec(1, "i", "");
        let token = RefreshToken::first("ada", false).unwrap();
        let text = old.encode(&token);
        let keys = RefreshKeys::new([2; 32]).unwrap().add_accepted([1; 32]).unwrap();
        let new = RefreshCodec::new(keys, "i", "");
        let read = new.parse(text.expose_secret()).unwrap();
        assert_ne!(new.encode(&read).expose_secret(), text.expose_secret(), "signed anew with the new key");
        assert!(old.parse(new.encode(&read).expose_secret()).is_err());
        assert!(RefreshKeys::new([0; 31]).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut token = RefreshToken::first("ada", false).unwrap();
        token.secret = [0xab; 32];
        let text = format!("{token:?} {:?}", RefreshKeys::new([0xab; 32]).unwrap());
        assert!(!text.contains("171") && !text.to_lowercase().contains("abab"), "{text}");
        assert!(text.contains("generation: 0") && text.contains("accepted: 0"), "{text}");
    }

    #[test]
    fn reasons_have_stable_names() {
        let names =
            [Unreadable::Malformed, Unreadable::UnknownKey, Unreadable::BadTag].map(Unreadable::as_str);
        assert_eq!(names, ["malformed", "unknown_key", "bad_tag"]);
    }
}
