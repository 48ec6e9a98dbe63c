//! [`TokenConfig`]: keys, issuer, audience and times, from which issuers and verifiers are made.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::crypto::CryptoProvider;

use crate::clock::{Clock, SystemClock};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::claims::ReadClaims;
use crate::token::crypto;
use crate::token::key::{SigningKey, VerifyingKey};
use crate::token::keyset::KeySet;
use crate::token::verifier::Verifier;
use crate::url::is_https_or_loopback;

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
    pub(crate) provider: &'static CryptoProvider,
    pub(crate) keys: KeySet,
    pub(crate) signing: Option<SigningKey>,
    pub(crate) issuer: Arc<str>,
    pub(crate) audiences: Box<[Box<str>]>,
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) lifetime: Duration,
    pub(crate) leeway: Duration,
    pub(crate) max_token_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

impl TokenConfig {
    /// Starts a configuration. `build` exists once a key, an issuer and an audience are given.
    pub fn builder() -> TokenConfigBuilder<Missing, Missing, Missing> {
        TokenConfigBuilder {
            settings: Box::new(Settings {
                signing: None,
                verifying: Vec::new(),
                issuer: String::new(),
                insecure_issuer: false,
                audiences: Vec::new(),
                client_id: None,
                lifetime: MAX_LIFETIME,
                insecure_lifetime: false,
                leeway: Duration::from_secs(30),
                max_token_bytes: 8 * 1024,
                clock: Arc::new(SystemClock),
            }),
            state: PhantomData,
        }
    }

    /// A verifier whose tokens carry the application's claims `C`.
    pub fn verifier<C: ReadClaims>(&self) -> Verifier<C> {
        Verifier::new(Arc::clone(&self.core))
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

/// The longest life of an access token without an `insecure_` call: a stolen one is good for that long.
const MAX_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// "A few minutes" of RFC 7519, section 4.1.4.
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);

/// In a [`TokenConfigBuilder`]: not given yet.
#[derive(Debug)]
pub struct Missing;

/// In a [`TokenConfigBuilder`]: given.
#[derive(Debug)]
pub struct Set;

/// Builds a [`TokenConfig`]. Its parameters say whether the key `K`, the issuer `I` and the audience `A` are given.
#[must_use = "a builder does nothing until `build` is called"]
pub struct TokenConfigBuilder<K, I, A> {
    settings: Box<Settings>,
    state: State<K, I, A>,
}

/// What is given, at compile time only.
type State<K, I, A> = PhantomData<fn() -> (K, I, A)>;

struct Settings {
    signing: Option<SigningKey>,
    verifying: Vec<VerifyingKey>,
    issuer: String,
    insecure_issuer: bool,
    audiences: Vec<String>,
    client_id: Option<String>,
    lifetime: Duration,
    insecure_lifetime: bool,
    leeway: Duration,
    max_token_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// A [`TokenConfigBuilder`] that was given a key. Sealed.
#[diagnostic::on_unimplemented(
    message = "this token configuration has no key",
    label = "no key was given",
    note = "call `.key(..)` with the key that signs, or `.add_verifying_key(..)` to verify only, before `.build()`"
)]
pub trait HasKey: sealed::Sealed {}

/// A [`TokenConfigBuilder`] that was given an issuer. Sealed.
#[diagnostic::on_unimplemented(
    message = "this token configuration has no issuer",
    label = "no issuer was given",
    note = "call `.issuer(\"https://..\")` before `.build()`: without it, tokens of any issuer that holds the key would be accepted"
)]
pub trait HasIssuer: sealed::Sealed {}

/// A [`TokenConfigBuilder`] that was given an audience. Sealed.
#[diagnostic::on_unimplemented(
    message = "this token configuration has no audience",
    label = "no audience was given",
    note = "call `.audience(\"..\")` with the name of this service before `.build()`: without it, tokens meant for another service would be accepted"
)]
pub trait HasAudience: sealed::Sealed {}

impl HasKey for Set {}
impl HasIssuer for Set {}
impl HasAudience for Set {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Set {}
}

impl<K, I, A> TokenConfigBuilder<K, I, A> {
    fn now<K2, I2, A2>(self) -> TokenConfigBuilder<K2, I2, A2> {
        TokenConfigBuilder { settings: self.settings, state: PhantomData }
    }

    /// The key that signs, and that verifies what it signed.
    pub fn key(mut self, key: SigningKey) -> TokenConfigBuilder<Set, I, A> {
        self.settings.signing = Some(key);
        self.now()
    }

    /// A further key that verifies: one that signed before, or the key of an issuer elsewhere.
    pub fn add_verifying_key(mut self, key: VerifyingKey) -> TokenConfigBuilder<Set, I, A> {
        self.settings.verifying.push(key);
        self.now()
    }

    /// `iss`: compared byte for byte, trailing slash and case included (RFC 9068, section 4).
    ///
    /// An https URL, or an http one on this machine; [`insecure_issuer`](Self::insecure_issuer) takes any text.
    pub fn issuer(mut self, issuer: impl Into<String>) -> TokenConfigBuilder<K, Set, A> {
        self.settings.issuer = issuer.into();
        self.settings.insecure_issuer = false;
        self.now()
    }

    /// As [`issuer`](Self::issuer), with any text: for issuers whose name is no https URL.
    pub fn insecure_issuer(mut self, issuer: impl Into<String>) -> TokenConfigBuilder<K, Set, A> {
        self.settings.issuer = issuer.into();
        self.settings.insecure_issuer = true;
        self.now()
    }

    /// `aud`: the name of the service that the tokens are for. A token is accepted if one of its audiences is this.
    pub fn audience(mut self, audience: impl Into<String>) -> TokenConfigBuilder<K, I, Set> {
        self.settings.audiences = vec![audience.into()];
        self.now()
    }

    /// A further name of this service. New tokens are signed for all of them.
    pub fn add_audience(mut self, audience: impl Into<String>) -> TokenConfigBuilder<K, I, Set> {
        self.settings.audiences.push(audience.into());
        self.now()
    }

    /// `client_id` of tokens that are signed without one of their own (RFC 9068, section 2.2).
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.settings.client_id = Some(client_id.into());
        self
    }

    /// How long an access token lives: 1 second to 15 minutes, by default 15 minutes. Also the longest life that is
    /// accepted from a token.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.lifetime = lifetime;
        self.settings.insecure_lifetime = false;
        self
    }

    /// As [`lifetime`](Self::lifetime), up to 24 hours. A stolen or withdrawn token stays good for that long.
    pub fn insecure_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.lifetime = lifetime;
        self.settings.insecure_lifetime = true;
        self
    }

    /// How far clocks may differ: by default 30 seconds, at most 5 minutes (RFC 7519, section 4.1.4).
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.settings.leeway = leeway;
        self
    }

    /// Longer tokens are refused before anything of them is decoded: by default 8192 bytes.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_token_bytes = bytes;
        self
    }

    /// The clock that tokens are made and judged by; the system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// What the methods above name as out of bounds; keys that do not go together; no cryptographic backend.
    pub fn build(self) -> Result<TokenConfig, ConfigError>
    where
        K: HasKey,
        I: HasIssuer,
        A: HasAudience,
    {
        let settings = *self.settings;
        check(&settings)?;
        let signing_keys = settings.signing.iter().map(|key| key.verifying_key().clone());
        let keys = KeySet::new(signing_keys.chain(settings.verifying).collect())?;
        Ok(TokenConfig {
            core: Arc::new(Core {
                provider: crypto::provider()?,
                keys,
                signing: settings.signing,
                issuer: settings.issuer.into(),
                audiences: settings.audiences.into_iter().map(Into::into).collect(),
                client_id: settings.client_id.map(Into::into),
                lifetime: settings.lifetime,
                leeway: settings.leeway,
                max_token_bytes: settings.max_token_bytes,
                clock: settings.clock,
            }),
        })
    }
}

impl<K, I, A> fmt::Debug for TokenConfigBuilder<K, I, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenConfigBuilder")
            .field("issuer", &self.settings.issuer)
            .field("audiences", &self.settings.audiences)
            .finish_non_exhaustive()
    }
}

fn check(settings: &Settings) -> Result<(), ConfigError> {
    let error = |kind, message: &'static str| Err(ConfigError::new(kind, message));
    if settings.issuer.is_empty() {
        return error(ConfigErrorKind::Issuer, "the issuer is empty");
    }
    if !settings.insecure_issuer && !is_https_or_loopback(&settings.issuer) {
        return error(
            ConfigErrorKind::Issuer,
            "the issuer must be an https URL, or an http URL on this machine; `insecure_issuer` takes any other name",
        );
    }
    if settings.audiences.iter().any(String::is_empty) {
        return error(
            ConfigErrorKind::Audience,
            "an audience is empty: name the service that the tokens are for",
        );
    }
    let longest = if settings.insecure_lifetime { Duration::from_secs(24 * 3600) } else { MAX_LIFETIME };
    if settings.lifetime < Duration::from_secs(1) || settings.lifetime > longest {
        return error(
            ConfigErrorKind::Lifetime,
            "an access token must live from 1 second to 15 minutes; `insecure_lifetime` takes up to 24 hours",
        );
    }
    if settings.leeway > MAX_LEEWAY {
        return error(ConfigErrorKind::Lifetime, "the leeway must be at most 5 minutes");
    }
    if !(256..=1024 * 1024).contains(&settings.max_token_bytes) {
        return error(ConfigErrorKind::Limit, "the longest token must be between 256 bytes and 1 MiB");
    }
    Ok(())
}
