//! What is asked of the registered claims: issuer, audience, subject, times, lifetime, and the key that a token is
//! bound to.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::thumbprint::Thumbprint;
use crate::token::claims_set::{ClaimsSet, Confirmation, OneOrMany};
use crate::token::config::Core;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::{NumericDate, Text};
use crate::token::one_issuer::Bound;
use crate::token::packed_texts::Texts;
use crate::token::verified::Registered;

/// Decides over the registered claims (RFC 9068, section 4; RFC 7519, section 4.1), and tells from when the token is
/// good.
pub(super) fn check(
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

pub(super) fn not_shown() -> TokenError {
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
pub(super) fn check_times(
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
