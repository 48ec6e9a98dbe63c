//! [`TokenConfig`]: keys, issuer, audience and times, from which issuers and verifiers are made.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::clock::{Clock, SystemClock};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::cache::CacheBounds;
use crate::token::claims::ReadClaims;
use crate::token::crypto::Crypto;
use crate::token::issuer::Signer;
use crate::token::key::{SigningKey, VerifyingKey};
use crate::token::keyset::{KeySet, KeySetHandle};
use crate::token::profile::Profile;
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
        TokenConfigBuilder {
            settings: Box::new(Settings {
                signing: None,
                verifying: Vec::new(),
                source: None,
                issuer: String::new(),
                insecure_issuer: false,
                audiences: Vec::new(),
                client_id: None,
                lifetime: MAX_LIFETIME,
                insecure_lifetime: false,
                accepted_lifetime: None,
                types: vec!["at+jwt".to_owned()],
                accept_missing_type: false,
                single_audience: false,
                required: Vec::new(),
                audience_claim: None,
                scope_claim: None,
                required_values: Vec::new(),
                crypto: None,
                leeway: Duration::from_secs(30),
                max_token_bytes: 8 * 1024,
                clock: Arc::new(SystemClock),
                cache: CacheBounds { bytes: 32 * 1024 * 1024, life: MAX_LIFETIME },
            }),
            state: PhantomData,
        }
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
    /// There is no key of this id, it signs the new tokens, or it is the last one; or the keys are fetched, and would come
    /// back.
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

/// The longest life of an access token without an `insecure_` call: a stolen one is good for that long.
const MAX_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The longest life of an access token at all.
const MAX_ACCEPTED: Duration = Duration::from_secs(24 * 3600);

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

#[allow(clippy::struct_excessive_bools)] // Independent switches, each with its method.
struct Settings {
    signing: Option<SigningKey>,
    verifying: Vec<VerifyingKey>,
    source: Option<KeySetHandle>,
    issuer: String,
    insecure_issuer: bool,
    audiences: Vec<String>,
    client_id: Option<String>,
    lifetime: Duration,
    insecure_lifetime: bool,
    accepted_lifetime: Option<Duration>,
    leeway: Duration,
    max_token_bytes: usize,
    types: Vec<String>,
    accept_missing_type: bool,
    single_audience: bool,
    required: Vec<String>,
    audience_claim: Option<String>,
    scope_claim: Option<String>,
    required_values: Vec<(String, String)>,
    crypto: Option<Crypto>,
    clock: Arc<dyn Clock>,
    cache: CacheBounds,
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

    /// All keys of a set: those of an issuer elsewhere, as [`KeySet::from_jwks`] reads them.
    ///
    /// ```
    /// use tower_jwt_auth::{KeySet, NoClaims, TokenConfig};
    ///
    /// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// # let text = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// let config = TokenConfig::builder()
    ///     .add_key_set(&KeySet::from_jwks(text)?)
    ///     .issuer("https://issuer.example")
    ///     .audience("api")
    ///     .accept_type("JWT")
    ///     .build()?;
    /// // Not only for HTTP: a message of a WebSocket or a queue brings its token along.
    /// let outcome = config.verifier::<NoClaims>().verify("eyJ...");
    /// assert!(outcome.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_key_set(mut self, keys: &KeySet) -> TokenConfigBuilder<Set, I, A> {
        self.settings.verifying.extend(keys.keys().iter().cloned());
        self.now()
    }

    /// The keys of a handle that somebody else fills: that of a `RemoteJwks` (feature `jwks`), or a [`KeySetHandle`] of one's
    /// own. They are all the keys there are, so the configuration verifies only. A second one replaces the first.
    ///
    /// As long as the handle of a `RemoteJwks` has no keys, requests with a token are answered with 503.
    pub fn key_source(mut self, keys: &KeySetHandle) -> TokenConfigBuilder<Set, I, A> {
        self.settings.source = Some(keys.clone());
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

    /// How long an access token lives: 1 second to 15 minutes, by default 15 minutes.
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

    /// The longest life, from `iat` to `exp`, that is accepted from a token: up to 24 hours, by default 15 minutes or
    /// the [`lifetime`](Self::lifetime), if that is more. For issuers elsewhere whose tokens live longer.
    pub fn accept_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.accepted_lifetime = Some(lifetime);
        self
    }

    /// Accepts tokens with another `typ`, too: `JWT`, for the many issuers that do not write `at+jwt`.
    ///
    /// An ID token of the same issuer may have that type: make sure that its audience is another one.
    pub fn accept_type(mut self, typ: impl Into<String>) -> Self {
        let typ = typ.into();
        // The name under `application/`, as it is compared (RFC 7515, section 4.1.9).
        let bare = match typ.split_once('/') {
            Some((tree, subtype)) if tree.eq_ignore_ascii_case("application") => subtype.to_owned(),
            _ => typ,
        };
        self.settings.types.push(bare);
        self
    }

    /// Accepts tokens without `typ`, too. The same care is due as with [`accept_type`](Self::accept_type).
    pub fn accept_missing_type(mut self) -> Self {
        self.settings.accept_missing_type = true;
        self
    }

    /// Refuses tokens that name other audiences beside this service.
    pub fn single_audience(mut self) -> Self {
        self.settings.single_audience = true;
        self
    }

    /// Refuses tokens without this claim, registered or not, whatever it says: `null`, too. (`iss`, `sub`, `aud`, `exp` and `iat` always must be there.)
    pub fn require_claim(mut self, name: impl Into<String>) -> Self {
        self.settings.required.push(name.into());
        self
    }

    /// Refuses tokens in which this claim is not this text. For what an issuer tells its tokens apart by, as `token_use` of
    /// `access`, or for a tenant or a subject. Of the registered claims, `client_id` and `sub` can be asked for. The
    /// application's type sees the others, too.
    pub fn require_value(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.required_values.push((name.into(), value.into()));
        self
    }

    /// Where an issuer elsewhere names the service or the client that its tokens are for, if not in `aud`: `client_id`, or a
    /// claim of its own. The claim must be there and have one of the [audiences](Self::audience); a token with `aud` is
    /// accepted only if that has one of them as well.
    ///
    /// For a configuration that only verifies, as is [`scope_claim`](Self::scope_claim): the manual has a
    /// [table](crate::manual::identity_providers) of who needs what.
    pub fn audience_claim(mut self, name: impl Into<String>) -> Self {
        self.settings.audience_claim = Some(name.into());
        self
    }

    /// Where an issuer elsewhere writes the scopes, if not in `scope`: in a text with spaces between them, or in an array of
    /// texts. With `scope`, that may be an array, too; with another one, `scope` says nothing. The application's type sees
    /// the claim, too, if it is not `scope`.
    pub fn scope_claim(mut self, name: impl Into<String>) -> Self {
        self.settings.scope_claim = Some(name.into());
        self
    }

    /// Refuses tokens that lack a claim of the profile of RFC 9068 (section 2.2): `client_id` and `jti`, too. Our own
    /// tokens have both once a [`client_id`](Self::client_id) is set.
    pub fn rfc9068_strict(self) -> Self {
        self.require_claim("client_id").require_claim("jti")
    }

    /// A cryptographic backend of one's own, instead of the compiled-in one.
    pub fn crypto(mut self, crypto: Crypto) -> Self {
        self.settings.crypto = Some(crypto);
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

    /// How many bytes of verified tokens each verifier remembers, about: 32 MiB by default; with 0 none is.
    ///
    /// The application's claims are not counted. Memory is taken as tokens come. From the first time that it is used up, a
    /// token is remembered when it comes a second time, so that many which come once do not push out those in use.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.settings.cache.bytes = bytes as u64;
        self
    }

    /// How long a token is remembered at most, before its signature is checked again: 15 minutes by default.
    pub fn cache_life(mut self, life: Duration) -> Self {
        self.settings.cache.life = life;
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
        let keys = match settings.source {
            None => {
                let signing_key = settings.signing.iter().map(|key| key.verifying_key().clone());
                KeySetHandle::new(KeySet::new(signing_key.chain(settings.verifying))?)
            }
            Some(source) if settings.signing.is_none() && settings.verifying.is_empty() => source,
            Some(_) => {
                return Err(ConfigError::new(
                    ConfigErrorKind::Key,
                    "`key_source` brings all the keys: give no other ones",
                ));
            }
        };
        let profile = Profile::new(settings.audience_claim, settings.scope_claim, settings.required_values)?;
        if settings.signing.is_some() && !profile.is_standard() {
            return Err(ConfigError::new(ConfigErrorKind::Claim, FOREIGN));
        }
        let signer = settings.signing.map(Signer::new).transpose()?;
        Ok(TokenConfig {
            core: Arc::new(Core {
                crypto: settings.crypto.map_or_else(Crypto::compiled_in, Ok)?,
                keys,
                signer: ArcSwapOption::new(signer.map(Arc::new)),
                issuer: settings.issuer.into(),
                audiences: boxed(settings.audiences),
                client_id: settings.client_id.map(Into::into),
                lifetime: settings.lifetime,
                accepted_lifetime: settings.accepted_lifetime.unwrap_or(settings.lifetime.max(MAX_LIFETIME)),
                leeway: settings.leeway,
                max_token_bytes: settings.max_token_bytes,
                types: boxed(settings.types),
                accept_missing_type: settings.accept_missing_type,
                single_audience: settings.single_audience,
                required: boxed(settings.required),
                profile,
                clock: settings.clock,
                cache: settings.cache,
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

fn boxed(texts: Vec<String>) -> Box<[Box<str>]> {
    texts.into_iter().map(Into::into).collect()
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
    let longest = if settings.insecure_lifetime { MAX_ACCEPTED } else { MAX_LIFETIME };
    if settings.lifetime < Duration::from_secs(1) || settings.lifetime > longest {
        return error(
            ConfigErrorKind::Lifetime,
            "an access token must live from 1 second to 15 minutes; `insecure_lifetime` takes up to 24 hours",
        );
    }
    if settings
        .accepted_lifetime
        .is_some_and(|accepted| accepted < settings.lifetime || accepted > MAX_ACCEPTED)
    {
        return error(
            ConfigErrorKind::Lifetime,
            "the accepted lifetime must be at least that of the own tokens, and at most 24 hours",
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
