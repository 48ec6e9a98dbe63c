//! [`Verifier`]: from the text of a token to [`Verified`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::secret::from_base64url;
use crate::token::claims::ReadClaims;
use crate::token::claims_set::{self, RawRegistered};
use crate::token::config::Core;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::header::Header;
use crate::token::json::{NumericDate, Text};
use crate::token::keyset::KeySet;
use crate::token::verified::{Registered, Verified};

/// Verifies access tokens of one configuration, whose own claims are of type `C`. Cheap to clone.
///
/// Made by [`TokenConfig::verifier`](crate::TokenConfig::verifier); the rules are listed in the
/// [crate documentation](crate#what-is-checked).
pub struct Verifier<C> {
    core: Arc<Core>,
    checks: Arc<[Check<C>]>,
}

type Check<C> = Arc<dyn Fn(&Registered, &C) -> Result<(), Cow<'static, str>> + Send + Sync>;

impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), checks: Arc::clone(&self.checks) }
    }
}

impl<C> fmt::Debug for Verifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.core.issuer)
            .field("audiences", &self.core.audiences)
            .finish_non_exhaustive()
    }
}

impl<C: ReadClaims> Verifier<C> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, checks: Arc::new([]) }
    }

    /// Adds a check of one's own, which runs last, for each token: over the registered claims and the application's.
    /// The reason it gives is for the log only; the client is told what every bad token is told.
    ///
    /// ```
    /// # use tower_jwt_auth::{NoClaims, SigningKey, TokenConfig};
    /// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// # let config = TokenConfig::builder()
    /// #     .key(SigningKey::ed25519_seed(&[1; 32])?)
    /// #     .issuer("https://app.example")
    /// #     .audience("api")
    /// #     .build()?;
    /// let verifier = config.verifier::<NoClaims>().add_check(|registered, _| {
    ///     if registered.subject().starts_with("user-") { Ok(()) } else { Err("not a user".into()) }
    /// });
    /// # let _ = verifier;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn add_check<F>(mut self, check: F) -> Self
    where
        F: Fn(&Registered, &C) -> Result<(), Cow<'static, str>> + Send + Sync + 'static,
    {
        self.checks = self.checks.iter().cloned().chain([Arc::new(check) as Check<C>]).collect();
        self
    }

    /// Verifies the text of a token: `eyJ...`, without scheme or spaces around it.
    ///
    /// Takes no lock, does no I/O and never blocks.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks, in the order of the crate documentation.
    pub fn verify(&self, token: &str) -> Result<Verified<C>, TokenError> {
        let core = &*self.core;
        if token.len() > core.max_token_bytes {
            return Err(TokenError::new(
                TokenErrorKind::TooLarge,
                "the token is longer than the configured maximum",
            ));
        }
        let compact = Compact::split(token)?;

        let json = decode(compact.header)?;
        let header = Header::parse(&json)?;
        let expected = match &header.typ {
            Some(_) => core.types.iter().any(|typ| header.has_type(typ)),
            None => core.accept_missing_type,
        };
        if !expected {
            return Err(TokenError::new(TokenErrorKind::Type, "`typ` is not that of an access token"));
        }
        let kid = header.kid.as_ref().map(|Text(kid)| &**kid);
        core.keys.with(|keys| check_signature(core, keys, kid, &header.alg.0, &compact))?;

        let json = decode(compact.payload)?;
        let (registered, names, claims) = claims_set::parse::<C>(&json)?;
        for name in &core.required {
            if !registered.has(name) && !names.contains(name) {
                return Err(TokenError::new(TokenErrorKind::Claims, format!("`{name}` is missing")));
            }
        }
        let registered = check(core, registered, core.clock.now())?;
        for check in &*self.checks {
            check(&registered, &claims).map_err(|reason| TokenError::new(TokenErrorKind::Refused, reason))?;
        }
        Ok(Verified::new(registered, claims))
    }

    pub(crate) fn max_token_bytes(&self) -> usize {
        self.core.max_token_bytes
    }
}

/// The key of this id, its one algorithm, then the signature.
fn check_signature(
    core: &Core,
    keys: &KeySet,
    kid: Option<&str>,
    alg: &str,
    token: &Compact<'_>,
) -> Result<(), TokenError> {
    let key = keys
        .find(kid)
        .ok_or_else(|| TokenError::new(TokenErrorKind::UnknownKey, "no key has the token's key id"))?;
    if !key.algorithm().is_named(alg) {
        return Err(TokenError::new(TokenErrorKind::Algorithm, "`alg` is not the algorithm of the key"));
    }
    let signature = decode(token.signature)?;
    if key.verify(core.crypto, token.signing_input.as_bytes(), &signature) {
        Ok(())
    } else {
        Err(TokenError::new(TokenErrorKind::Signature, "the signature is not by the key"))
    }
}

/// The three segments of the compact form (RFC 7515, section 7.1).
struct Compact<'a> {
    signing_input: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    fn split(token: &'a str) -> Result<Self, TokenError> {
        let bad = || TokenError::new(TokenErrorKind::Malformed, "the token does not have three segments");
        let (signing_input, signature) = token.rsplit_once('.').ok_or_else(bad)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(bad)?;
        if payload.contains('.') {
            return Err(bad());
        }
        Ok(Self { signing_input, header, payload, signature })
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, TokenError> {
    from_base64url(segment)
        .ok_or_else(|| TokenError::new(TokenErrorKind::Malformed, "a segment is not canonical base64url"))
}

/// Decides over the registered claims (RFC 9068, section 4; RFC 7519, section 4.1).
fn check(core: &Core, raw: RawRegistered<'_>, now: Timestamp) -> Result<Registered, TokenError> {
    let error = |kind, detail: &'static str| Err(TokenError::new(kind, detail));

    match raw.iss {
        None => return error(TokenErrorKind::Claims, "`iss` is missing"),
        Some(Text(iss)) if *iss != *core.issuer => {
            return error(TokenErrorKind::Issuer, "`iss` is not the configured issuer");
        }
        Some(_) => {}
    }
    match raw.aud {
        None => return error(TokenErrorKind::Claims, "`aud` is missing"),
        Some(aud) if !core.audiences.iter().any(|audience| aud.contains(audience)) => {
            return error(TokenErrorKind::Audience, "`aud` does not name this service");
        }
        Some(aud) if core.single_audience && aud.len() > 1 => {
            return error(TokenErrorKind::Audience, "`aud` names other services, too");
        }
        Some(_) => {}
    }
    let subject = match raw.sub {
        None => return error(TokenErrorKind::Claims, "`sub` is missing"),
        Some(Text(sub)) if sub.is_empty() => return error(TokenErrorKind::Claims, "`sub` is empty"),
        Some(sub) => boxed(sub),
    };
    let (Some(exp), Some(iat)) = (raw.exp, raw.iat) else {
        return error(TokenErrorKind::Claims, "`exp` or `iat` is missing");
    };
    let (expires_at, issued_at) = (exp.rounded_down(), iat.rounded_up());
    if issued_at > expires_at {
        return error(TokenErrorKind::Claims, "`iat` is later than `exp`");
    }
    if expires_at.saturating_duration_since(issued_at) > core.accepted_lifetime {
        return error(TokenErrorKind::Lifetime, "the token lives longer than is accepted");
    }
    check_times(expires_at, [Some(issued_at), raw.nbf.map(NumericDate::rounded_up)], core.leeway, now)?;
    if raw.is_bound {
        return error(TokenErrorKind::Bound, "the token is bound to a key that was not shown");
    }

    Ok(Registered {
        issuer: Arc::clone(&core.issuer),
        subject,
        scope: raw.scope.map(boxed).unwrap_or_default(),
        jti: raw.jti.map(boxed),
        client_id: raw.client_id.map(boxed),
        session_id: raw.sid.map(boxed),
        generation: raw.generation,
        authenticated_at: raw.auth_time.map(NumericDate::rounded_down),
        acr: raw.acr.map(boxed),
        issued_at,
        expires_at,
    })
}

/// `exp` names the first moment at which the token is no longer good; beginnings are good from their moment on.
fn check_times(
    expires_at: Timestamp,
    beginnings: [Option<Timestamp>; 2],
    leeway: std::time::Duration,
    now: Timestamp,
) -> Result<(), TokenError> {
    if now >= expires_at.saturating_add(leeway) {
        return Err(TokenError::new(TokenErrorKind::Expired, "the token has expired"));
    }
    if beginnings.into_iter().flatten().any(|beginning| now.saturating_add(leeway) < beginning) {
        return Err(TokenError::new(TokenErrorKind::NotYetValid, "the token is not valid yet"));
    }
    Ok(())
}

fn boxed(Text(text): Text<'_>) -> Box<str> {
    match text {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => text.into_boxed_str(),
    }
}
