//! [`Verifier`]: from the text of a token to [`Verified`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::secret::from_base64url;
use crate::token::claims::ReadClaims;
use crate::token::claims_set::{self, RawRegistered};
use crate::token::config::Core;
use crate::token::crypto;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::header::Header;
use crate::token::json::{NumericDate, Text};
use crate::token::verified::{Registered, Verified};

/// Verifies access tokens of one configuration, whose own claims are of type `C`. Cheap to clone.
///
/// Made by [`TokenConfig::verifier`](crate::TokenConfig::verifier); the rules are listed in the
/// [crate documentation](crate#what-is-checked).
pub struct Verifier<C> {
    core: Arc<Core>,
    // `fn() -> C`: Send and Sync whatever `C` is.
    claims: PhantomData<fn() -> C>,
}

impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), claims: PhantomData }
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
        Self { core, claims: PhantomData }
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
        if !header.has_type("at+jwt") {
            return Err(TokenError::new(TokenErrorKind::Type, "`typ` is not `at+jwt`"));
        }
        let kid = header.kid.as_ref().map(|Text(kid)| &**kid);
        let key = core
            .keys
            .find(kid)
            .ok_or_else(|| TokenError::new(TokenErrorKind::UnknownKey, "no key has the token's key id"))?;
        if !key.algorithm().is_named(&header.alg.0) {
            return Err(TokenError::new(TokenErrorKind::Algorithm, "`alg` is not the algorithm of the key"));
        }

        let signature = decode(compact.signature)?;
        let signed = compact.signing_input.as_bytes();
        if !crypto::verify(core.provider, key.algorithm(), key.material(), signed, &signature) {
            return Err(TokenError::new(TokenErrorKind::Signature, "the signature is not by the key"));
        }

        let json = decode(compact.payload)?;
        let (registered, claims) = claims_set::parse::<C>(&json)?;
        Ok(Verified::new(check(core, registered, core.clock.now())?, claims))
    }

    pub(crate) fn max_token_bytes(&self) -> usize {
        self.core.max_token_bytes
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
    if expires_at.saturating_duration_since(issued_at) > core.lifetime {
        return error(TokenErrorKind::Lifetime, "the token lives longer than the configured lifetime");
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
