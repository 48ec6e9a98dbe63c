//! [`Issuer`]: signs access tokens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::{ExposeSecret, SecretString, base64url, random};
use crate::thumbprint::Thumbprint;
use crate::token::application_claims::{Claims, ClaimsJson};
use crate::token::config::{Core, TokenConfig};
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::NumericDate;
use crate::token::key::SigningKey;

/// Longer names of an authentication are not signed.
const MAX_ACR_BYTES: usize = 255;

/// Signs access tokens of one configuration (RFC 9068), with the key that the configuration signs with at the moment.
/// Cheap to clone.
#[derive(Clone)]
pub struct Issuer {
    core: Arc<Core>,
}

/// A signing key with its header, which is the same for all of its tokens.
pub(crate) struct Signer {
    key: SigningKey,
    header: String,
}

impl Signer {
    pub(crate) fn new(key: SigningKey) -> Result<Self, ConfigError> {
        #[derive(Serialize)]
        struct Header<'a> {
            alg: &'a str,
            typ: &'a str,
            kid: &'a str,
        }
        let header =
            serde_json::to_vec(&Header { alg: key.algorithm().as_str(), typ: "at+jwt", kid: key.kid() })
                .map_err(|error| {
                    ConfigError::new(ConfigErrorKind::Key, "the key id is no text").with_source(error)
                })?;
        Ok(Self { key, header: base64url(&header) })
    }

    pub(crate) fn kid(&self) -> &str {
        self.key.kid()
    }

    /// The compact form around a payload (RFC 7515, section 7.1).
    fn sign(&self, payload: &str) -> Option<String> {
        let mut token = format!("{}.{}", self.header, base64url(payload.as_bytes()));
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url(&signature));
        Some(token)
    }
}

/// Who an access token is for: everything but the application's claims, the times and the token's id.
#[derive(Debug, Clone, Default)]
pub struct AccessGrant {
    subject: String,
    scopes: Vec<String>,
    client_id: Option<String>,
    session: Option<(String, u32)>,
    reissue: u32,
    authenticated_at: Option<Timestamp>,
    acr: Option<String>,
    key: Option<Thumbprint>,
    not_after: Option<Timestamp>,
}

impl AccessGrant {
    /// A token about `subject` (`sub`), which must not be empty.
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..Self::default() }
    }

    /// `scope`: each a word of printable ASCII without space, quote and backslash (RFC 6749, section 3.3).
    #[must_use]
    pub fn with_scopes<I: IntoIterator<Item: AsRef<str>>>(mut self, scopes: I) -> Self {
        self.scopes = scopes.into_iter().map(|scope| scope.as_ref().to_owned()).collect();
        self
    }

    /// `client_id`, instead of the one of the configuration.
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// `sid` and `gen`: the session that the token belongs to, and the generation of its refresh token.
    #[must_use]
    pub fn with_session(mut self, session_id: impl Into<String>, generation: u32) -> Self {
        self.session = Some((session_id.into(), generation));
        self
    }

    /// `reissue`: how often access tokens of the session were replaced for a late retry
    /// ([`RotationState::issue`](crate::RotationState::issue)). Not written for 0.
    #[must_use]
    pub fn with_reissue(mut self, issue: u32) -> Self {
        self.reissue = issue;
        self
    }

    /// `auth_time`: when the user last proved who they are (RFC 9068, section 2.2.1). In whole seconds, rounded down;
    /// from 1970 to the year 9999.
    #[must_use]
    pub fn with_authenticated_at(mut self, moment: Timestamp) -> Self {
        self.authenticated_at = Some(moment);
        self
    }

    /// `acr`: how the user proved who they are, which a service may demand (RFC 9470). One word of at most 255 bytes,
    /// of printable ASCII without space, quote and backslash, so that it can stand in the list of a challenge.
    #[must_use]
    pub fn with_acr(mut self, acr: impl Into<String>) -> Self {
        self.acr = Some(acr.into());
        self
    }

    /// `cnf.jkt`: binds the token to a key, which whoever sends it must prove to have (RFC 9449, section 6.1).
    #[must_use]
    pub fn with_key(mut self, thumbprint: Thumbprint) -> Self {
        self.key = Some(thumbprint);
        self
    }

    /// The token ends then at the latest, however long tokens live.
    #[must_use]
    pub fn with_not_after(mut self, end: Timestamp) -> Self {
        self.not_after = Some(end);
        self
    }
}

/// A signed access token. Its text is a secret: it shows only through [`expose`](Self::expose).
#[derive(Clone)]
pub struct AccessToken {
    text: SecretString,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl AccessToken {
    /// The text of the token, to be sent to the client and nowhere else.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// `exp`.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// `exp` - `iat`, in whole seconds: the `expires_in` of RFC 6749, section 5.1.
    pub fn expires_in(&self) -> Duration {
        self.expires_at.saturating_duration_since(self.issued_at)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Registered<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: Audience<'a>,
    exp: i64,
    iat: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reissue: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

#[derive(Serialize)]
struct Confirmation {
    jkt: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Many(&'a [Box<str>]),
}

impl Issuer {
    /// An issuer for a configuration that has a signing key.
    ///
    /// # Errors
    ///
    /// The configuration only verifies: it was given no [`key`](crate::TokenConfigBuilder::key).
    pub fn new(config: &TokenConfig) -> Result<Self, ConfigError> {
        if config.core.signer.load().is_none() {
            return Err(ConfigError::new(
                ConfigErrorKind::Key,
                "this configuration can only verify: give its builder a signing key with `.key(..)`",
            ));
        }
        Ok(Self { core: Arc::clone(&config.core) })
    }

    /// Signs a token now.
    ///
    /// # Errors
    ///
    /// [`UnsuitableClaims`](TokenErrorKind::UnsuitableClaims) if the claims are no JSON object, repeat a registered
    /// name, or make the token longer than the configuration accepts, if the subject is empty, if a scope or the `acr`
    /// is no word, or if `auth_time` is out of its bounds; [`Signing`](TokenErrorKind::Signing) if the key or the
    /// random source fails.
    pub fn issue<C: Claims>(&self, grant: &AccessGrant, claims: &C) -> Result<AccessToken, TokenError> {
        self.issue_json(grant, &ClaimsJson::of(claims)?)
    }

    /// The time that tokens are issued at.
    pub(crate) fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    pub(crate) fn issue_json(
        &self,
        grant: &AccessGrant,
        claims: &ClaimsJson,
    ) -> Result<AccessToken, TokenError> {
        let core = &*self.core;
        let unsuitable = |detail: &'static str| TokenError::new(TokenErrorKind::UnsuitableClaims, detail);
        if grant.subject.is_empty() {
            return Err(unsuitable("the subject is empty"));
        }
        if !grant.scopes.iter().all(|scope| is_scope(scope)) {
            return Err(unsuitable("a scope must be a word of printable ASCII without quote and backslash"));
        }
        if grant.acr.as_ref().is_some_and(|acr| acr.len() > MAX_ACR_BYTES || !is_scope(acr)) {
            return Err(unsuitable(
                "the `acr` must be a word of at most 255 bytes of printable ASCII without quote and backslash",
            ));
        }
        let auth_time = grant.authenticated_at.map(Timestamp::as_unix_seconds);
        if auth_time.is_some_and(|seconds| !NumericDate::SECONDS.contains(&seconds)) {
            return Err(unsuitable("the authentication must be from 1970 to the year 9999"));
        }

        // Whole seconds, both rounded down: the token is never good for longer than it may be.
        let now = core.clock.now();
        let end = Timestamp::from_unix_seconds(now.as_unix_seconds()).saturating_add(core.lifetime);
        let end = grant.not_after.map_or(end, |not_after| end.min(not_after));
        let iat = now.as_unix_seconds();
        let exp = end.as_unix_seconds();
        if exp < iat {
            return Err(unsuitable("the token would have ended before it begins"));
        }

        let jti =
            random::<16>().map_err(|error| TokenError::new(TokenErrorKind::Signing, error.to_string()))?;
        let registered = Registered {
            iss: &core.issuer,
            sub: &grant.subject,
            aud: match &*core.audiences {
                [one] => Audience::One(one),
                many => Audience::Many(many),
            },
            exp,
            iat,
            jti: base64url(&jti),
            client_id: grant.client_id.as_deref().or(core.client_id.as_deref()),
            scope: &grant.scopes.join(" "),
            sid: grant.session.as_ref().map(|(id, _)| id.as_str()),
            generation: grant.session.as_ref().map(|(_, generation)| *generation),
            reissue: (grant.reissue > 0).then_some(grant.reissue),
            auth_time,
            acr: grant.acr.as_deref(),
            cnf: grant.key.map(|thumbprint| Confirmation { jkt: thumbprint.to_string() }),
        };
        let payload = merge(&registered, claims)?;

        let signer = core.signer.load_full();
        let token = signer
            .and_then(|signer| signer.sign(&payload))
            .ok_or_else(|| TokenError::new(TokenErrorKind::Signing, "the key could not sign"))?;
        if token.len() > core.max_token_bytes {
            return Err(unsuitable("with these claims the token is longer than the configured maximum"));
        }
        Ok(AccessToken {
            text: token.into(),
            issued_at: Timestamp::from_unix_seconds(iat),
            expires_at: Timestamp::from_unix_seconds(exp),
        })
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("issuer", &self.core.issuer).finish_non_exhaustive()
    }
}

/// One object of both. The application's text is taken over as it is, so that no number loses a digit.
fn merge(registered: &Registered<'_>, claims: &ClaimsJson) -> Result<String, TokenError> {
    let mut json = serde_json::to_string(registered)
        .map_err(|error| TokenError::json(TokenErrorKind::Signing, "the claims do not serialize", error))?;
    let own = claims.as_str().strip_prefix('{').unwrap_or_default().trim_start();
    if !own.starts_with('}') {
        json.pop();
        json.push(',');
        json.push_str(own);
    }
    Ok(json)
}

/// A scope-token of RFC 6749, section 3.3.
pub(crate) fn is_scope(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}
