//! The `WWW-Authenticate` challenge (RFC 6750, section 3): made once, not per request.

use http::HeaderValue;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::reject::{Demand, RejectionKind};

/// The challenges of one realm. Those for tokens are ready to be sent.
#[derive(Debug)]
pub(crate) struct Challenge {
    realm: Box<str>,
    /// Where the metadata of the protected resource is (RFC 9728, section 5.1).
    resource_metadata: Option<Box<str>>,
    bare: HeaderValue,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
}

impl Challenge {
    /// Realm and URL become quoted-strings, so they must be of the characters that need no escape there.
    pub(crate) fn new(realm: &str, resource_metadata: Option<&str>) -> Result<Self, ConfigError> {
        if !is_plain(realm) {
            return Err(bad_realm());
        }
        if !resource_metadata.is_none_or(is_plain) {
            return Err(bad_url());
        }
        let value = |kind: RejectionKind| {
            HeaderValue::try_from(text(realm, resource_metadata, kind, None))
                .map_err(|error| bad_realm().with_source(error))
        };
        Ok(Self {
            realm: realm.into(),
            resource_metadata: resource_metadata.map(Into::into),
            bare: value(RejectionKind::Missing)?,
            invalid_request: value(RejectionKind::InvalidRequest)?,
            invalid_token: value(RejectionKind::InvalidToken)?,
        })
    }

    /// The realm where none is set.
    pub(crate) fn standard() -> Self {
        Self {
            realm: "api".into(),
            resource_metadata: None,
            bare: HeaderValue::from_static(r#"Bearer realm="api""#),
            invalid_request: HeaderValue::from_static(
                r#"Bearer realm="api", error="invalid_request", error_description="the credentials are malformed""#,
            ),
            invalid_token: HeaderValue::from_static(
                r#"Bearer realm="api", error="invalid_token", error_description="the access token is not valid""#,
            ),
        }
    }

    /// The same with another realm.
    pub(super) fn with_realm(&self, realm: &str) -> Result<Self, ConfigError> {
        Self::new(realm, self.resource_metadata.as_deref())
    }

    /// The same with the URL of a resource's metadata.
    pub(super) fn with_resource_metadata(&self, url: &str) -> Result<Self, ConfigError> {
        Self::new(&self.realm, Some(url))
    }

    /// What other credentials cannot mend has no challenge.
    pub(crate) fn bearer(&self, kind: RejectionKind, demand: Option<&Demand>) -> Option<HeaderValue> {
        match kind {
            RejectionKind::Missing => Some(self.bare.clone()),
            RejectionKind::InvalidRequest => Some(self.invalid_request.clone()),
            RejectionKind::InvalidToken => Some(self.invalid_token.clone()),
            RejectionKind::InsufficientScope
            | RejectionKind::Denied
            | RejectionKind::InsufficientAuthentication => {
                HeaderValue::try_from(text(&self.realm, self.resource_metadata.as_deref(), kind, demand)).ok()
            }
            RejectionKind::CrossSite
            | RejectionKind::Unavailable
            | RejectionKind::NoBearerLayer
            | RejectionKind::OtherClaims => None,
        }
    }

    /// The challenge to a request that brought no credentials.
    pub(crate) fn bare(&self) -> HeaderValue {
        self.bare.clone()
    }
}

/// Each parameter once, as a quoted-string (RFC 6750, section 3).
fn text(
    realm: &str,
    resource_metadata: Option<&str>,
    kind: RejectionKind,
    demand: Option<&Demand>,
) -> String {
    // Always a realm: a bare scheme would be no challenge. No error where nothing was sent (section 3.1).
    let error = kind.error_code().map_or_else(String::new, |error| {
        format!(r#", error="{error}", error_description="{}""#, kind.description())
    });
    let metadata =
        resource_metadata.map_or_else(String::new, |url| format!(r#", resource_metadata="{url}""#));
    let mut text = format!(r#"Bearer realm="{realm}"{metadata}{error}"#);
    if let Some(demand) = demand {
        demand.write(&mut text);
    }
    text
}

/// Whether a text can stand in a quoted-string as it is.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.bytes().all(plain)
}

fn bad_url() -> ConfigError {
    ConfigError::new(
        ConfigErrorKind::Limit,
        "the URL of the metadata must be printable ASCII without quote and backslash",
    )
}

fn bad_realm() -> ConfigError {
    ConfigError::new(ConfigErrorKind::Limit, "the realm must be printable ASCII without quote and backslash")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_challenges_are_those_of_the_realm_api() {
        let (made, standard) = (Challenge::new("api", None).unwrap(), Challenge::standard());
        for kind in [RejectionKind::Missing, RejectionKind::InvalidRequest, RejectionKind::InvalidToken] {
            assert_eq!(made.bearer(kind, None), standard.bearer(kind, None));
        }
    }

    #[test]
    fn row_16_values_need_no_escape() {
        for realm in ["", "a\"b", "a\\b", "a\r\nb", "é", "a\0b"] {
            assert!(Challenge::new(realm, None).is_err(), "{realm:?}");
            assert!(Challenge::new("api", Some(realm)).is_err(), "{realm:?}");
        }
        assert!(Challenge::new("my api, version 2", Some("https://a.example/x")).is_ok());
    }
}
