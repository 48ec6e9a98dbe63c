//! [`Arm`]: all that is decided over a token by the rules of its one issuer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::token::cache::{FoundKey, Remembered, TokenCache};
use crate::token::claims::ReadClaims;
use crate::token::claims_set::{self, RawRegistered};
use crate::token::compact::{Compact, Scratch, decode};
use crate::token::config::Core;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::header::Header;
use crate::token::json::{NumericDate, Text};
use crate::token::keyset::KeySet;
use crate::token::verified::{Registered, Verified};

/// Longer headers and payloads than these are decoded on the heap.
const HEADER: usize = 256;
const PAYLOAD: usize = 1536;

/// One issuer as it is trusted: its configuration, keys included, and the application's checks of its tokens.
pub(crate) struct Arm<C> {
    core: Arc<Core>,
    checks: Arc<[Check<C>]>,
    cache: Arc<TokenCache<C>>,
}

pub(crate) type Check<C> = Arc<dyn Fn(&Registered, &C) -> Result<(), Cow<'static, str>> + Send + Sync>;

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for Arm<C> {
    fn clone(&self) -> Self {
        let (core, checks) = (Arc::clone(&self.core), Arc::clone(&self.checks));
        Self { core, checks, cache: Arc::clone(&self.cache) }
    }
}

impl<C> Arm<C> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let cache = TokenCache::new(core.cache);
        Self { core, checks: Arc::new([]), cache }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.core.issuer
    }

    pub(crate) fn audiences(&self) -> &[Box<str>] {
        &self.core.audiences
    }

    pub(crate) fn max_token_bytes(&self) -> usize {
        self.core.max_token_bytes
    }

    /// The same issuer with one more check behind the others.
    pub(crate) fn and(&self, check: &Check<C>) -> Self {
        let checks = self.checks.iter().chain([check]).cloned().collect();
        Self { core: Arc::clone(&self.core), checks, cache: self.cache.anew() }
    }
}

impl<C: ReadClaims> Arm<C> {
    pub(crate) fn verify(&self, token: &str) -> Result<Verified<C>, TokenError> {
        self.recall(token).unwrap_or_else(|| self.verify_anew(token))
    }

    /// What is decided over a token that was accepted before; `None` for any other.
    pub(crate) fn recall(&self, token: &str) -> Option<Result<Verified<C>, TokenError>> {
        let core = &*self.core;
        let now = core.clock.now();
        let Remembered { verified, not_before, key, .. } = self.cache.get(token, now)?;
        if !core.keys.with(|keys| keys.still_finds(key)) {
            self.cache.forget(token);
            return None;
        }
        let registered = verified.registered();
        let (expires_at, begins) = (registered.expires_at, [Some(registered.issued_at), not_before]);
        if let Err(error) = check_times(expires_at, begins, core.leeway, now) {
            if error.kind() == TokenErrorKind::Expired {
                self.cache.forget(token);
            }
            return Some(Err(error));
        }
        Some(self.run_checks(registered, verified.claims()).map(|()| verified.clone()))
    }

    fn run_checks(&self, registered: &Registered, claims: &C) -> Result<(), TokenError> {
        for check in &*self.checks {
            check(registered, claims).map_err(|reason| TokenError::new(TokenErrorKind::Refused, reason))?;
        }
        Ok(())
    }

    fn verify_anew(&self, token: &str) -> Result<Verified<C>, TokenError> {
        let core = &*self.core;
        let compact = Compact::split(token, core.max_token_bytes)?;

        let mut scratch = Scratch::<HEADER>::new();
        let header = Header::parse(scratch.decode(compact.header)?)?;
        let expected = match &header.typ {
            Some(_) => core.types.iter().any(|typ| header.has_type(typ)),
            None => core.accept_missing_type,
        };
        if !expected {
            return Err(TokenError::new(TokenErrorKind::Type, "`typ` is not that of an access token"));
        }
        let kid = header.kid.as_ref().map(|Text(kid)| &**kid);
        let key = core.keys.with(|keys| check_signature(core, keys, kid, &header.alg.0, &compact))?;

        let mut scratch = Scratch::<PAYLOAD>::new();
        let (registered, names, claims) = claims_set::parse::<C>(scratch.decode(compact.payload)?)?;
        for name in &core.required {
            if !registered.has(name) && !names.contains(name) {
                return Err(TokenError::new(TokenErrorKind::Claims, format!("`{name}` is missing")));
            }
        }
        let (now, not_before) = (core.clock.now(), registered.nbf.map(NumericDate::rounded_up));
        let registered = check(core, registered, not_before, now)?;
        self.run_checks(&registered, &claims)?;
        let verified = Verified::new(registered, claims);
        self.cache.insert(token, Remembered { verified: verified.clone(), not_before, key, at: now });
        Ok(verified)
    }
}

/// The key of this id, its one algorithm, then the signature.
fn check_signature(
    core: &Core,
    keys: &KeySet,
    kid: Option<&str>,
    alg: &str,
    token: &Compact<'_>,
) -> Result<FoundKey, TokenError> {
    let key = keys
        .find(kid)
        .ok_or_else(|| TokenError::new(TokenErrorKind::UnknownKey, "no key has the token's key id"))?;
    if !key.algorithm().is_named(alg) {
        return Err(TokenError::new(TokenErrorKind::Algorithm, "`alg` is not the algorithm of the key"));
    }
    let signature = decode(token.signature)?;
    if key.verify(core.crypto, token.signing_input.as_bytes(), &signature) {
        Ok(FoundKey { identity: key.identity(), by_id: kid.is_some() })
    } else {
        Err(TokenError::new(TokenErrorKind::Signature, "the signature is not by the key"))
    }
}

/// Decides over the registered claims (RFC 9068, section 4; RFC 7519, section 4.1).
fn check(
    core: &Core,
    raw: RawRegistered<'_>,
    not_before: Option<Timestamp>,
    now: Timestamp,
) -> Result<Registered, TokenError> {
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
    check_times(expires_at, [Some(issued_at), not_before], core.leeway, now)?;
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
    leeway: Duration,
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
