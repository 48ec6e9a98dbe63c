//! Nonces of the server's choice (RFC 9449, section 8), without a memory: a nonce is a tag over the span of time in
//! which it is given out.
//!
//! 1. The nonce of this span, of the one before and of the one after is accepted. That of the one after is what a node
//!    gives out whose clock is ahead, and what this one gave out before its clock was set back.
//! 2. That of the span before is told apart, so that the answer brings a new one.
//! 3. All others are unknown: older ones, those of other keys, and what is no nonce.
//!
//! Nodes with the same keys and the same length of span accept each other's nonces, as long as their clocks differ by
//! less than one span.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::{ExposeSecret, SecretSlice, base64url, equal, hmac_sha256};

const TAG_BYTES: usize = 16;

/// The secrets that make DPoP nonces genuine: one that nonces are made with, any number that are accepted.
///
/// All nodes of a service have the same ones. To change the secret: accept the new one everywhere; one deployment later
/// make nonces with the new one and accept the old; remove the old one after two nonce periods. The secret may be that
/// of the [`RefreshKeys`](crate::RefreshKeys): what is made of it here tells nothing of what is made there.
#[derive(Clone)]
pub struct NonceKeys {
    making: Key,
    accepted: Vec<Key>,
}

#[derive(Clone)]
struct Key(SecretSlice<u8>);

impl NonceKeys {
    /// Makes and accepts nonces with this secret.
    ///
    /// # Errors
    ///
    /// Fewer than 32 bytes. Use random bytes, not a password.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self { making: Key::new(secret.as_ref())?, accepted: Vec::new() })
    }

    /// Accepts nonces that were made with this secret, too.
    ///
    /// # Errors
    ///
    /// Fewer than 32 bytes.
    pub fn add_accepted(mut self, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.accepted.push(Key::new(secret.as_ref())?);
        Ok(self)
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.making).chain(&self.accepted)
    }
}

impl fmt::Debug for NonceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceKeys").field("accepted", &self.accepted.len()).finish_non_exhaustive()
    }
}

impl Key {
    fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        if secret.len() < 32 {
            return Err(ConfigError::new(
                ConfigErrorKind::Key,
                "the secret of the DPoP nonces needs at least 32 random bytes",
            ));
        }
        let derived = Zeroizing::new(hmac_sha256(secret, &[b"tower-jwt-auth dpop nonce key"]));
        Ok(Self(derived.to_vec().into()))
    }

    fn nonce(&self, period: u64, slice: i64) -> String {
        // With the length of the spans: the number of a span stands for another time where they are of another length.
        let parts: [&[u8]; 3] = [b"tower-jwt-auth dpop nonce", &period.to_be_bytes(), &slice.to_be_bytes()];
        base64url(&hmac_sha256(self.0.expose_secret(), &parts)[..TAG_BYTES])
    }
}

/// Gives out nonces and knows them again.
#[derive(Debug)]
pub(crate) struct Nonces {
    keys: NonceKeys,
    /// The length of a span in milliseconds, not zero.
    period: u64,
}

/// What is known of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Of this span, or of the one after.
    Current,
    /// Of the span before.
    Previous,
    /// No nonce of these keys, or an old one.
    Unknown,
}

impl Nonces {
    pub(crate) fn new(keys: NonceKeys, period: Duration) -> Self {
        Self { keys, period: u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1) }
    }

    /// The nonce to give out.
    pub(crate) fn current(&self, now: Timestamp) -> String {
        self.keys.making.nonce(self.period, self.slice(now))
    }

    /// In the same time whatever the nonce is, but for its length.
    pub(crate) fn check(&self, nonce: &str, now: Timestamp) -> Known {
        let slice = self.slice(now);
        let (mut current, mut previous) = (false, false);
        for key in self.keys.all() {
            let is_of = |slice| equal(key.nonce(self.period, slice).as_bytes(), nonce.as_bytes());
            current |= is_of(slice) | is_of(slice.saturating_add(1));
            previous |= is_of(slice.saturating_sub(1));
        }
        match (current, previous) {
            (true, _) => Known::Current,
            (false, true) => Known::Previous,
            (false, false) => Known::Unknown,
        }
    }

    fn slice(&self, now: Timestamp) -> i64 {
        now.as_unix_millis().div_euclid(i64::try_from(self.period).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock as _;
    use crate::secret::from_base64url;
    use crate::test_util::ManualClock;

    const PERIOD: Duration = Duration::from_secs(300);

    fn nonces(secret: u8) -> Nonces {
        Nonces::new(NonceKeys::new([secret; 32]).unwrap(), PERIOD)
    }

    /// Stands at the first millisecond of a span.
    fn clock() -> ManualClock {
        let start = ManualClock::START.as_unix_millis();
        ManualClock::at(Timestamp::from_unix_millis(start - start.rem_euclid(300_000)))
    }

    #[test]
    fn a_nonce_is_good_for_its_span_and_the_next() {
        let (nonces, clock) = (nonces(1), clock());
        let nonce = nonces.current(clock.now());
        assert_eq!(nonce.len(), 22);
        for (row, millis, expected) in [
            ("at once", 0, Known::Current),
            ("at the end of the span", 299_999, Known::Current),
            ("in the next span", 300_000, Known::Previous),
            ("at the end of the next", 599_999, Known::Previous),
            ("in the one after it", 600_000, Known::Unknown),
            ("a clock that is behind", -1, Known::Current),
            ("behind by a whole span", -300_000, Known::Current),
            ("behind by more", -300_001, Known::Unknown),
        ] {
            let now = Timestamp::from_unix_millis(clock.now().as_unix_millis() + millis);
            assert_eq!(nonces.check(&nonce, now), expected, "{row}");
        }
    }

    #[test]
    fn what_is_no_nonce_is_unknown() {
        let (nonces, clock) = (nonces(1), clock());
        let nonce = nonces.current(clock.now());
        let mut bytes = from_base64url(&nonce).unwrap();
        bytes[15] ^= 1;
        for text in [
            String::new(),
            nonce[..21].to_owned(),
            format!("{nonce}A"),
            format!("{nonce}=="),
            nonce.to_ascii_lowercase(),
            base64url(&bytes),
            "A".repeat(22),
            "é".repeat(11),
            "n".repeat(8000),
        ] {
            assert_eq!(nonces.check(&text, clock.now()), Known::Unknown, "{text}");
        }
    }

    #[test]
    fn nodes_agree_and_others_do_not() {
        let clock = clock();
        let nonce = nonces(1).current(clock.now());
        assert_eq!(nonces(1).check(&nonce, clock.now()), Known::Current, "another node");
        assert_eq!(nonces(2).check(&nonce, clock.now()), Known::Unknown, "another secret");
        let keys = NonceKeys::new([2; 32]).unwrap().add_accepted([1; 32]).unwrap();
        let rotated = Nonces::new(keys, PERIOD);
        assert_eq!(rotated.check(&nonce, clock.now()), Known::Current, "an accepted secret");
        assert_ne!(rotated.current(clock.now()), nonce);
        clock.advance(PERIOD);
        assert_eq!(rotated.check(&nonce, clock.now()), Known::Previous);

        // The number of a span comes back at another time with another length of spans.
        let (one, two) = (Duration::from_secs(60), Duration::from_secs(120));
        let key = || NonceKeys::new([1; 32]).unwrap();
        let nonce = Nonces::new(key(), one).current(Timestamp::from_unix_seconds(60));
        assert_eq!(Nonces::new(key(), two).check(&nonce, Timestamp::from_unix_seconds(120)), Known::Unknown);
    }

    #[test]
    fn a_secret_is_long_enough_and_not_shown() {
        assert_eq!(NonceKeys::new([7; 31]).unwrap_err().kind(), ConfigErrorKind::Key);
        assert!(NonceKeys::new([7; 32]).unwrap().add_accepted([7; 31]).is_err());
        let keys = NonceKeys::new([0xab; 32]).unwrap();
        let text = format!("{keys:?} {:?}", Nonces::new(keys.clone(), PERIOD));
        assert!(!text.contains("171") && !text.to_lowercase().contains("abab"), "{text}");
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        for period in [Duration::ZERO, PERIOD, Duration::MAX] {
            for millis in [i64::MIN, -1, 0, i64::MAX] {
                let nonces = Nonces::new(NonceKeys::new([1; 32]).unwrap(), period);
                let now = Timestamp::from_unix_millis(millis);
                assert_eq!(nonces.check(&nonces.current(now), now), Known::Current);
            }
        }
    }
}
