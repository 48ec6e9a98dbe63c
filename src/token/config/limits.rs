//! How long an access token may live, how far clocks may differ, and the other bounds of a
//! [`TokenConfig`](crate::TokenConfig).

use std::time::Duration;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::config::settings::Settings;
use crate::url::is_https_or_loopback;

/// The longest life of an access token without an `insecure_` call: a stolen one is good for that long.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The longest life of an access token at all.
const MAX_ACCEPTED: Duration = Duration::from_secs(24 * 3600);

/// "A few minutes" of RFC 7519, section 4.1.4.
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);

pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
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
