//! [`TokenConfig`]: keys, issuer, audience and times, from which issuers and verifiers are made.
//!
//! The files: what the builder takes ([`builder`]), what is so where it is not told ([`settings`]), how far that goes
//! ([`limits`]), and what must be given for a program to compile ([`given`]).

mod builder;
mod given;
mod limits;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::clock::Clock;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::application_claims::ReadClaims;
use crate::token::cache::CacheBounds;
use crate::token::crypto::Crypto;
use crate::token::issuer::Signer;
use crate::token::key::{SigningKey, VerifyingKey};
use crate::token::keyset::{KeySet, KeySetHandle};
use crate::token::profile::Profile;
use crate::token::verifier::Verifier;

pub use self::builder::TokenConfigBuilder;
pub use self::given::{HasAudience, HasIssuer, HasKey, Missing, Set};

/// What access tokens of one issuer look like: the shared ground of [`Issuer`](crate::Issuer),
/// [`Verifier`] and [`AuthService`](crate::AuthService). Cheap to clone.
///
/// Made by [`TokenConfig::builder`]. Key, issuer and audience have no default: a program that leaves one out does not
/// compile.
///
/// ```compile_fail
/// use tower_jwt_auth::{SigningKey, TokenConfig};
/// let key = SigningKey::hs256([7; 32]).unwrap();
/// TokenConfig::builder().key(key).issuer("https://app.example").build(); // no audience
/// ```
#[derive(Clone)]
pub struct TokenConfig {
    pub(crate) core: Arc<Core>,
}

pub(crate) struct Core {
    pub(crate) crypto: Crypto,
    pub(crate) keys: KeySetHandle,
    pub(crate) signer: ArcSwapOption<Signer>,
    pub(crate) issuer: Arc<str>,
    pub(crate) audiences: Box<[Box<str>]>,
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) lifetime: Duration,
    pub(crate) accepted_lifetime: Duration,
    pub(crate) leeway: Duration,
    pub(crate) max_token_bytes: usize,
    pub(crate) types: Box<[Box<str>]>,
    pub(crate) accept_missing_type: bool,
    pub(crate) single_audience: bool,
    pub(crate) required: Box<[Box<str>]>,
    pub(crate) profile: Profile,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: CacheBounds,
}

impl TokenConfig {
    /// Starts a configuration. `build` exists once a key, an issuer and an audience are given.
    pub fn builder() -> TokenConfigBuilder<Missing, Missing, Missing> {
        TokenConfigBuilder::new()
    }

    /// A verifier whose tokens carry the application's claims `C`.
    pub fn verifier<C: ReadClaims>(&self) -> Verifier<C> {
        Verifier::new(Arc::clone(&self.core))
    }

    /// The keys that tokens are verified with.
    ///
    /// [`KeySetHandle::store`] exchanges them unchecked, and is for configurations that only verify. One that signs
    /// changes its keys by [`add_key`](Self::add_key), [`sign_with`](Self::sign_with) and
    /// [`remove_key`](Self::remove_key), which never lose the key that signs.
    pub fn keys(&self) -> &KeySetHandle {
        &self.core.keys
    }

    /// The keys, if they are the configuration's own to change.
    fn own_keys(&self) -> Result<&KeySetHandle, ConfigError> {
        if self.core.keys.is_fed() {
            return Err(ConfigError::new(
                ConfigErrorKind::Key,
                "these keys come from elsewhere: they are changed at their issuer",
            ));
        }
        Ok(&self.core.keys)
    }

    /// Publishes a further key: tokens that it signed are accepted from now on, and it is in the JWK set.
    ///
    /// # Errors
    ///
    /// The set would break a rule of [`KeySet::new`], or its keys are fetched.
    pub fn add_key(&self, key: VerifyingKey) -> Result<(), ConfigError> {
        self.own_keys()?.change(|current| KeySet::new(current.keys().iter().cloned().chain([key])))
    }

    /// Signs with another key from now on. It must have been published: see [`KeyRotation`](crate::KeyRotation).
    ///
    /// # Errors
    ///
    /// The key was not [added](Self::add_key) before, so verifiers do not know it; or the keys are fetched, or the
    /// configuration has settings for the tokens of others.
    pub fn sign_with(&self, key: SigningKey) -> Result<(), ConfigError> {
        if !self.core.profile.is_standard() {
            return Err(ConfigError::new(ConfigErrorKind::Claim, FOREIGN));
        }
        let verifying = key.verifying_key().clone();
        let signer = Arc::new(Signer::new(key)?);
        // While no other change is under way: the key must still be published when it begins to sign.
        self.own_keys()?.hold(|current| {
            if !current.keys().iter().any(|held| held.is_same(&verifying)) {
                return Err(ConfigError::new(
                    ConfigErrorKind::Key,
                    "publish the key with `add_key` first, and sign with it once all verifiers know it",
                ));
            }
            self.core.signer.store(Some(signer));
            Ok(())
        })
    }

    /// Withdraws a key: tokens that it signed are refused from now on.
    ///
    /// # Errors
    ///
    /// There is no key of this id, it signs the new tokens, or it is the last one; or the keys are fetched, and would
    /// come back.
    pub fn remove_key(&self, kid: &str) -> Result<(), ConfigError> {
        let error = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Key, message));
        self.own_keys()?.change(|current| {
            if !current.keys().iter().any(|key| key.kid() == kid) {
                return error("there is no key of this id: nothing was withdrawn");
            }
            if self.core.signer.load().as_ref().is_some_and(|signer| signer.kid() == kid) {
                return error("new tokens are signed with this key: sign with another one first");
            }
            KeySet::new(current.keys().iter().filter(|key| key.kid() != kid).cloned())
        })
    }

    /// The configured issuer.
    pub fn issuer(&self) -> &str {
        &self.core.issuer
    }

    /// How long an access token lives.
    pub fn lifetime(&self) -> Duration {
        self.core.lifetime
    }
}

impl fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenConfig")
            .field("issuer", &self.core.issuer)
            .field("audiences", &self.core.audiences)
            .field("keys", &self.core.keys)
            .field("lifetime", &self.core.lifetime)
            .finish_non_exhaustive()
    }
}

/// Our own tokens say what they say in the claims of RFC 9068.
const FOREIGN: &str = "`audience_claim`, `scope_claim` and `require_value` are for tokens from elsewhere: give no key that signs";
