//! [`KeyRotation`]: what is safe when, while one signing key follows another.
//!
//! A verifier elsewhere learns of a key by fetching the set, and tokens outlive the key that signed them. So:
//!
//! ```text
//!  add_key(new)         sign_with(new)                 remove_key(old)
//!      |-- propagation ------|------ life of a token ---------|
//!      |                     |                                |
//!  published             all verifiers know it       no token of the old key is left
//! ```
//!
//! ```
//! use std::time::Duration;
//! use tower_jwt_auth::{KeyRotation, KeyRotationStep, SigningKey, TokenConfig, Clock, SystemClock};
//!
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! let config = TokenConfig::builder()
//!     .key(SigningKey::ed25519_seed(&[1; 32])?.with_kid("old"))
//!     .issuer("https://app.example")
//!     .audience("api")
//!     .build()?;
//!
//! let new = SigningKey::ed25519_seed(&[2; 32])?.with_kid("new");
//! config.add_key(new.verifying_key().clone())?;
//! let now = SystemClock.now();
//! let rotation = KeyRotation::begin(&config, now, Duration::from_secs(600));
//!
//! let until = now.saturating_add(Duration::from_secs(600));
//! assert_eq!(rotation.next_step(now), KeyRotationStep::WaitToSign { until });
//! let later = now.saturating_add(Duration::from_secs(600));
//! assert_eq!(rotation.next_step(later), KeyRotationStep::Sign);
//! config.sign_with(new)?;
//! let rotation = rotation.signing_since(later);
//!
//! let end = later.saturating_add(Duration::from_secs(15 * 60 + 30));
//! assert_eq!(rotation.next_step(later), KeyRotationStep::WaitToRemove { until: end });
//! assert_eq!(rotation.next_step(end), KeyRotationStep::Remove);
//! config.remove_key("old")?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use crate::clock::Timestamp;
use crate::token::config::TokenConfig;

/// A change of the signing key that is under way. Plain data: its two moments are what an application keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRotation {
    published_at: Timestamp,
    signing_since: Option<Timestamp>,
    propagation: Duration,
    token_life: Duration,
}

/// What is safe to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRotationStep {
    /// Not all verifiers know the new key yet.
    WaitToSign {
        /// The moment from which on they do.
        until: Timestamp,
    },
    /// Sign with the new key now, and say so by [`KeyRotation::signing_since`].
    Sign,
    /// Tokens of the old key are still good.
    WaitToRemove {
        /// The moment from which on they are not.
        until: Timestamp,
    },
    /// Remove the old key.
    Remove,
}

impl KeyRotation {
    /// The new key was published at this moment, and each verifier has fetched the set again within `propagation`: the
    /// longest time that one keeps a set. `GET /jwks.json` allows five minutes.
    pub fn begin(config: &TokenConfig, published_at: Timestamp, propagation: Duration) -> Self {
        let token_life = config.core.lifetime.saturating_add(config.core.leeway);
        Self { published_at, signing_since: None, propagation, token_life }
    }

    /// Tokens have been signed with the new key, and only with it, since this moment.
    #[must_use]
    pub fn signing_since(mut self, moment: Timestamp) -> Self {
        self.signing_since = Some(moment);
        self
    }

    /// When the new key was published.
    pub fn published_at(&self) -> Timestamp {
        self.published_at
    }

    /// What is safe at this moment. A clock that steps back makes it wait again, never hurry.
    pub fn next_step(&self, now: Timestamp) -> KeyRotationStep {
        match self.signing_since {
            None => {
                let until = self.published_at.saturating_add(self.propagation);
                if now < until { KeyRotationStep::WaitToSign { until } } else { KeyRotationStep::Sign }
            }
            Some(since) => {
                let until = since.saturating_add(self.token_life);
                if now < until { KeyRotationStep::WaitToRemove { until } } else { KeyRotationStep::Remove }
            }
        }
    }
}
