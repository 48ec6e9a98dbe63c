//! [`TokenConfigBuilder`]: the settings one by one.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::clock::Clock;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::config::given::{HasAudience, HasIssuer, HasKey, Missing, Set};
use crate::token::config::limits::{MAX_LIFETIME, check};
use crate::token::config::settings::Settings;
use crate::token::config::{Core, FOREIGN, TokenConfig};
use crate::token::crypto::Crypto;
use crate::token::issuer::Signer;
use crate::token::key::{SigningKey, VerifyingKey};
use crate::token::keyset::{KeySet, KeySetHandle};
use crate::token::profile::Profile;

/// Builds a [`TokenConfig`]. Its parameters say whether the key `K`, the issuer `I` and the audience `A` are given.
#[must_use = "a builder does nothing until `build` is called"]
pub struct TokenConfigBuilder<K, I, A> {
    settings: Box<Settings>,
    state: State<K, I, A>,
}

/// What is given, at compile time only.
type State<K, I, A> = PhantomData<fn() -> (K, I, A)>;

impl TokenConfigBuilder<Missing, Missing, Missing> {
    pub(super) fn new() -> Self {
        Self { settings: Box::new(Settings::default()), state: PhantomData }
    }
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

    /// The keys of a handle that somebody else fills: that of a `RemoteJwks` (feature `jwks`), or a [`KeySetHandle`] of
    /// one's own. They are all the keys there are, so the configuration verifies only. A second one replaces the first.
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

    /// Refuses tokens without this claim, registered or not, whatever it says: `null`, too. (`iss`, `sub`, `aud`, `exp`
    /// and `iat` always must be there.)
    pub fn require_claim(mut self, name: impl Into<String>) -> Self {
        self.settings.required.push(name.into());
        self
    }

    /// Refuses tokens in which this claim is not this text. For what an issuer tells its tokens apart by, as
    /// `token_use` of `access`, or for a tenant or a subject. Of the registered claims, `client_id` and `sub` can be
    /// asked for. The application's type sees the others, too.
    pub fn require_value(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.required_values.push((name.into(), value.into()));
        self
    }

    /// Where an issuer elsewhere names the service or the client that its tokens are for, if not in `aud`: `client_id`,
    /// or a claim of its own. The claim must be there and have one of the [audiences](Self::audience); a token with
    /// `aud` is accepted only if that has one of them as well.
    ///
    /// For a configuration that only verifies, as is [`scope_claim`](Self::scope_claim): the manual has a
    /// [table](crate::manual::identity_providers) of who needs what.
    pub fn audience_claim(mut self, name: impl Into<String>) -> Self {
        self.settings.audience_claim = Some(name.into());
        self
    }

    /// Where an issuer elsewhere writes the scopes, if not in `scope`: in a text with spaces between them, or in an
    /// array of texts. With `scope`, that may be an array, too; with another one, `scope` says nothing. The
    /// application's type sees the claim, too, if it is not `scope`.
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
    /// The application's claims are not counted. Memory is taken as tokens come. From the first time that it is used
    /// up, a token is remembered when it comes a second time, so that many which come once do not push out those in
    /// use.
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
