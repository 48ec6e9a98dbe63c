//! [`Arm`]: all that is decided over a token by the rules of its one issuer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::thumbprint::Thumbprint;
use crate::token::cache::{FoundKey, Remembered, TokenCache};
use crate::token::claims::ReadClaims;
use crate::token::claims_set::{ClaimsSet, Confirmation, OneOrMany};
use crate::token::compact::{Compact, Scratch};
use crate::token::config::Core;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::header::Header;
use crate::token::json::{NumericDate, Text};
use crate::token::keyset::KeySet;
use crate::token::texts::Texts;
use crate::token::verified::{Registered, Verified};

/// Longer ones than these are decoded on the heap.
const HEADER: usize = 256;
const PAYLOAD: usize = 1536;
/// That of an RSA key of 4096 bits, with the room that the decoder asks for.
const SIGNATURE: usize = 513;

/// What becomes of a token that is bound to a key by `cnf.jkt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// It is refused: nobody looks whether the key was shown.
    Refused,
    /// It is accepted: whoever asks compares the key with [`Registered::key_thumbprint`].
    Accepted,
}

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
    /// What is decided over a token that was accepted before; `None` for any other.
    pub(crate) fn recall(&self, token: &[u8], bound: Bound) -> Option<Result<Verified<C>, TokenError>> {
        let core = &*self.core;
        let Remembered { verified, begins, key, at } = self.cache.get(token)?;
        let now = core.clock.now();
        if self.cache.is_stale(at, now) || !core.keys.with(|keys| keys.still_finds(key)) {
            self.cache.forget(token);
            return None;
        }
        let registered = verified.registered();
        if bound == Bound::Refused && registered.is_bound() {
            return Some(Err(not_shown()));
        }
        if let Err(error) = check_times(begins, registered.expires_at, core.leeway, now) {
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

    /// What is decided over a token at first sight.
    pub(crate) fn verify_anew(&self, token: &str, bound: Bound) -> Result<Verified<C>, TokenError> {
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
        let key = core
            .keys
            .with(|keys| check_signature(core, keys, kid, &header.alg.0, &compact))
            .inspect_err(|error| {
                if error.kind() == TokenErrorKind::UnknownKey && kid.is_some() {
                    core.keys.report_unknown_key();
                }
            })?;

        let mut scratch = Scratch::<PAYLOAD>::new();
        let mut set = ClaimsSet::watching(core.profile.watched());
        let claims = set.read::<C>(scratch.decode(compact.payload)?)?;
        for name in &core.required {
            if !set.has(name) {
                return Err(TokenError::new(TokenErrorKind::Claims, format!("`{name}` is missing")));
            }
        }
        let now = core.clock.now();
        let (registered, begins) = check(core, &set, bound, now)?;
        self.run_checks(&registered, &claims)?;
        let verified = Verified::new(registered, claims);
        self.cache.insert(token.as_bytes(), Remembered { verified: verified.clone(), begins, key, at: now });
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
    let Some(key) = keys.find(kid) else {
        return Err(match keys.keys() {
            [] => TokenError::new(TokenErrorKind::NoKeys, "the keys of the issuer are not there yet"),
            _ => TokenError::new(TokenErrorKind::UnknownKey, "no key has the token's key id"),
        });
    };
    if !key.algorithm().is_named(alg) {
        return Err(TokenError::new(TokenErrorKind::Algorithm, "`alg` is not the algorithm of the key"));
    }
    let mut scratch = Scratch::<SIGNATURE>::new();
    let signature = scratch.decode(token.signature)?;
    if key.verify(core.crypto, token.signing_input.as_bytes(), signature) {
        Ok(FoundKey { identity: key.identity(), by_id: kid.is_some() })
    } else {
        Err(TokenError::new(TokenErrorKind::Signature, "the signature is not by the key"))
    }
}

/// Decides over the registered claims (RFC 9068, section 4; RFC 7519, section 4.1), and tells from when the token is good.
fn check(
    core: &Core,
    set: &ClaimsSet<'_>,
    bound: Bound,
    now: Timestamp,
) -> Result<(Registered, Timestamp), TokenError> {
    let raw = &set.registered;
    let error = |kind, detail: &'static str| Err(TokenError::new(kind, detail));

    match &raw.iss {
        None => return error(TokenErrorKind::Claims, "`iss` is missing"),
        Some(Text(iss)) if **iss != *core.issuer => {
            return error(TokenErrorKind::Issuer, "`iss` is not the configured issuer");
        }
        Some(_) => {}
    }
    check_audience(core, set)?;
    match &raw.sub {
        None => return error(TokenErrorKind::Claims, "`sub` is missing"),
        Some(Text(sub)) if sub.is_empty() => return error(TokenErrorKind::Claims, "`sub` is empty"),
        Some(_) => {}
    }
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
    let begins = raw.nbf.map_or(issued_at, |nbf| nbf.rounded_up().max(issued_at));
    check_times(begins, expires_at, core.leeway, now)?;
    let jkt = match &raw.cnf {
        None => None,
        Some(Confirmation::Thumbprint(Text(jkt))) if jkt.parse::<Thumbprint>().is_ok() => Some(&**jkt),
        Some(_) => {
            return error(TokenErrorKind::Bound, "the token is bound to something that cannot be checked");
        }
    };
    if jkt.is_some() && bound == Bound::Refused {
        return Err(not_shown());
    }
    core.profile.check_values(set)?;

    // In the order of the places in `Registered`.
    let texts = [&raw.sub, &raw.scope, &raw.jti, &raw.client_id, &raw.sid, &raw.acr, &None];
    let mut texts = texts.map(|text| text.as_ref().map(|Text(text)| &**text));
    texts[Registered::JKT] = jkt;
    let scope = core.profile.scope(set)?;
    texts[Registered::SCOPE] = scope.as_deref();
    let registered = Registered {
        issuer: Arc::clone(&core.issuer),
        texts: Texts::new(texts),
        generation: raw.generation,
        reissue: raw.reissue.unwrap_or_default(),
        authenticated_at: raw.auth_time.map(NumericDate::rounded_down),
        issued_at,
        expires_at,
    };
    Ok((registered, begins))
}

fn not_shown() -> TokenError {
    TokenError::new(TokenErrorKind::Bound, "the token is bound to a key that was not shown")
}

/// `aud`, and the claim that stands in for it where an issuer writes none. Where a token has both, both must name this
/// service (RFC 7519, section 4.1.3).
fn check_audience(core: &Core, set: &ClaimsSet<'_>) -> Result<(), TokenError> {
    let missing = |name| TokenError::new(TokenErrorKind::Claims, format!("`{name}` is missing"));
    let names_us = |name: &str, aud: &OneOrMany<'_>| {
        let error = |detail| Err(TokenError::new(TokenErrorKind::Audience, detail));
        if !core.audiences.iter().any(|audience| aud.contains(audience)) {
            return error(format!("`{name}` does not name this service"));
        }
        if core.single_audience && aud.len() > 1 {
            return error(format!("`{name}` names other services, too"));
        }
        Ok(())
    };
    let aud = set.registered.aud.as_ref();
    match core.profile.audience(set) {
        None => names_us("aud", aud.ok_or_else(|| missing("aud"))?),
        Some((name, stand_in)) => {
            names_us(name, &stand_in.ok_or_else(|| missing(name))?)?;
            aud.map_or(Ok(()), |aud| names_us("aud", aud))
        }
    }
}

/// `exp` names the first moment at which the token is no longer good.
fn check_times(
    begins: Timestamp,
    expires_at: Timestamp,
    leeway: Duration,
    now: Timestamp,
) -> Result<(), TokenError> {
    if now >= expires_at.saturating_add(leeway) {
        return Err(TokenError::new(TokenErrorKind::Expired, "the token has expired"));
    }
    if now.saturating_add(leeway) < begins {
        return Err(TokenError::new(TokenErrorKind::NotYetValid, "the token is not valid yet"));
    }
    Ok(())
}
