//! The `WWW-Authenticate` challenge (RFC 6750, section 3): made once, not per request.

use http::HeaderValue;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::reject::RejectionKind;

/// The challenges of one realm, ready to be sent.
#[derive(Debug)]
pub(crate) struct Challenge {
    bare: HeaderValue,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
}

impl Challenge {
    /// The realm becomes a quoted-string, so it must be of the characters that need no escape there.
    pub(crate) fn new(realm: &str) -> Result<Self, ConfigError> {
        let plain = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if realm.is_empty() || !realm.bytes().all(plain) {
            return Err(bad_realm());
        }
        let value = |kind: RejectionKind| {
            let text = match kind.error_code() {
                // Nothing was sent: no error (RFC 6750, section 3.1). A bare scheme would be no challenge.
                None => format!(r#"Bearer realm="{realm}""#),
                Some(error) => {
                    format!(
                        r#"Bearer realm="{realm}", error="{error}", error_description="{}""#,
                        kind.description()
                    )
                }
            };
            HeaderValue::try_from(text).map_err(|error| bad_realm().with_source(error))
        };
        Ok(Self {
            bare: value(RejectionKind::Missing)?,
            invalid_request: value(RejectionKind::InvalidRequest)?,
            invalid_token: value(RejectionKind::InvalidToken)?,
        })
    }

    /// The realm where none is set.
    pub(crate) fn standard() -> Self {
        Self {
            bare: HeaderValue::from_static(r#"Bearer realm="api""#),
            invalid_request: HeaderValue::from_static(
                r#"Bearer realm="api", error="invalid_request", error_description="the credentials are malformed""#,
            ),
            invalid_token: HeaderValue::from_static(
                r#"Bearer realm="api", error="invalid_token", error_description="the access token is not valid""#,
            ),
        }
    }

    pub(crate) fn bearer(&self, kind: RejectionKind) -> HeaderValue {
        match kind {
            RejectionKind::Missing => self.bare.clone(),
            RejectionKind::InvalidRequest => self.invalid_request.clone(),
            RejectionKind::InvalidToken => self.invalid_token.clone(),
        }
    }
}

fn bad_realm() -> ConfigError {
    ConfigError::new(ConfigErrorKind::Limit, "the realm must be printable ASCII without quote and backslash")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_challenges_are_those_of_the_realm_api() {
        let (made, standard) = (Challenge::new("api").unwrap(), Challenge::standard());
        for kind in [RejectionKind::Missing, RejectionKind::InvalidRequest, RejectionKind::InvalidToken] {
            assert_eq!(made.bearer(kind), standard.bearer(kind));
        }
    }

    #[test]
    fn row_16_values_need_no_escape() {
        for realm in ["", "a\"b", "a\\b", "a\r\nb", "é", "a\0b"] {
            assert!(Challenge::new(realm).is_err(), "{realm:?}");
        }
        assert!(Challenge::new("my api, version 2").is_ok());
    }
}
