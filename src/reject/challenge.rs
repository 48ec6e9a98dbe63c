//! The `WWW-Authenticate` challenge (RFC 6750, section 3): made once, not per request.

use http::HeaderValue;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::extract::Scheme;
use crate::reject::{Demand, RejectionKind};

/// The challenges of one realm. Those for tokens are ready to be sent.
#[derive(Debug)]
pub(crate) struct Challenge {
    told: Told,
    bare: HeaderValue,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
}

/// What every challenge tells.
#[derive(Debug, Clone)]
struct Told {
    realm: Box<str>,
    /// Where the metadata of the protected resource is (RFC 9728, section 5.1).
    resource_metadata: Option<Box<str>>,
    dpop: Option<DpopOffer>,
}

/// The scheme `DPoP` where it is accepted (RFC 9449, section 7.1).
#[derive(Debug, Clone)]
pub(crate) struct DpopOffer {
    /// The algorithms of proofs, with spaces between.
    pub(crate) algs: Box<str>,
    /// Whether it is the only one.
    pub(crate) is_required: bool,
}

impl Challenge {
    /// Realm, URL and algorithms become quoted-strings, so they must be of the characters that need no escape there.
    fn new(told: Told) -> Result<Self, ConfigError> {
        if !is_plain(&told.realm) {
            return Err(bad_realm());
        }
        if !told.resource_metadata.as_deref().is_none_or(is_plain) {
            return Err(bad_url());
        }
        let value = |kind: RejectionKind| {
            HeaderValue::try_from(told.text(kind, Scheme::Bearer, None))
                .map_err(|error| bad_realm().with_source(error))
        };
        let (bare, invalid_request, invalid_token) = (
            value(RejectionKind::Missing)?,
            value(RejectionKind::InvalidRequest)?,
            value(RejectionKind::InvalidToken)?,
        );
        Ok(Self { told, bare, invalid_request, invalid_token })
    }

    pub(super) fn of_realm(realm: &str) -> Result<Self, ConfigError> {
        Self::new(Told { realm: realm.into(), resource_metadata: None, dpop: None })
    }

    /// The realm where none is set.
    pub(crate) fn standard() -> Self {
        Self {
            told: Told { realm: "api".into(), resource_metadata: None, dpop: None },
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
        Self::new(Told { realm: realm.into(), ..self.told.clone() })
    }

    /// The same with the URL of a resource's metadata.
    pub(super) fn with_resource_metadata(&self, url: &str) -> Result<Self, ConfigError> {
        Self::new(Told { resource_metadata: Some(url.into()), ..self.told.clone() })
    }

    /// The same with the scheme `DPoP`.
    pub(super) fn with_dpop(&self, offer: DpopOffer) -> Result<Self, ConfigError> {
        Self::new(Told { dpop: Some(offer), ..self.told.clone() })
    }

    /// The challenge to a request that came with a credential of this scheme. What other credentials cannot mend has
    /// none.
    pub(crate) fn to(
        &self,
        kind: RejectionKind,
        scheme: Scheme,
        demand: Option<&Demand>,
    ) -> Option<HeaderValue> {
        match (kind, scheme) {
            (RejectionKind::Missing, _) => Some(self.bare.clone()),
            (RejectionKind::InvalidRequest, Scheme::Bearer) => Some(self.invalid_request.clone()),
            (RejectionKind::InvalidToken, Scheme::Bearer) => Some(self.invalid_token.clone()),
            (
                RejectionKind::InvalidRequest
                | RejectionKind::InvalidToken
                | RejectionKind::InvalidProof
                | RejectionKind::NonceNeeded
                | RejectionKind::InsufficientScope
                | RejectionKind::Denied
                | RejectionKind::InsufficientAuthentication,
                _,
            ) => HeaderValue::try_from(self.told.text(kind, scheme, demand)).ok(),
            (
                RejectionKind::CrossSite
                | RejectionKind::Unavailable
                | RejectionKind::NoBearerLayer
                | RejectionKind::OtherClaims,
                _,
            ) => None,
        }
    }

    /// The challenge to a request that brought no credentials.
    pub(crate) fn bare(&self) -> HeaderValue {
        self.bare.clone()
    }
}

impl Told {
    /// A challenge for each scheme that is accepted, the one that was tried first. Only that one tells of an error (RFC
    /// 9449, section 7.2), and none does where nothing was sent (RFC 6750, section 3.1). Whoever has sent a proof is
    /// not asked to do without.
    fn text(&self, kind: RejectionKind, scheme: Scheme, demand: Option<&Demand>) -> String {
        let error = kind.error_code().map_or_else(String::new, |error| {
            let mut text = format!(r#", error="{error}", error_description="{}""#, kind.description());
            if let Some(demand) = demand {
                demand.write(&mut text);
            }
            text
        });
        let bearer = |error: &str| format!("Bearer {}{error}", self.parameters());
        let Some(DpopOffer { algs, is_required }) = &self.dpop else { return bearer(&error) };
        let dpop = |error: &str| format!(r#"DPoP {}{error}, algs="{algs}""#, self.parameters());
        match scheme {
            Scheme::Bearer if !is_required => format!("{}, {}", bearer(&error), dpop("")),
            _ => dpop(&error),
        }
    }

    /// Always a realm: a bare scheme would be no challenge. Each parameter once, as a quoted-string (RFC 6750, section
    /// 3).
    fn parameters(&self) -> String {
        let metadata = self
            .resource_metadata
            .as_deref()
            .map_or_else(String::new, |url| format!(r#", resource_metadata="{url}""#));
        format!(r#"realm="{}"{metadata}"#, self.realm)
    }
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
        let (made, standard) = (Challenge::of_realm("api").unwrap(), Challenge::standard());
        for kind in [RejectionKind::Missing, RejectionKind::InvalidRequest, RejectionKind::InvalidToken] {
            let of = |challenge: &Challenge| challenge.to(kind, Scheme::Bearer, None);
            assert_eq!(of(&made), of(&standard));
        }
    }

    #[test]
    fn row_16_values_need_no_escape() {
        for realm in ["", "a\"b", "a\\b", "a\r\nb", "é", "a\0b"] {
            assert!(Challenge::of_realm(realm).is_err(), "{realm:?}");
            assert!(Challenge::standard().with_resource_metadata(realm).is_err(), "{realm:?}");
        }
        let challenge = Challenge::of_realm("my api, version 2").unwrap();
        assert!(challenge.with_resource_metadata("https://a.example/x").is_ok());
    }

    #[test]
    fn row_24_only_the_scheme_that_was_tried_tells_of_an_error() {
        let offer = |is_required| DpopOffer { algs: "ES256 EdDSA".into(), is_required };
        let beside = Challenge::standard().with_dpop(offer(false)).unwrap();
        let alone = Challenge::standard().with_dpop(offer(true)).unwrap();
        let bad = r#"error="invalid_token", error_description="the access token is not valid""#;
        let proof = r#"error="invalid_dpop_proof", error_description="the DPoP proof is not valid""#;
        let dpop = r#"DPoP realm="api", algs="ES256 EdDSA""#;
        for (challenge, kind, scheme, expected) in [
            (&beside, RejectionKind::Missing, Scheme::Bearer, format!(r#"Bearer realm="api", {dpop}"#)),
            (
                &beside,
                RejectionKind::InvalidToken,
                Scheme::Bearer,
                format!(r#"Bearer realm="api", {bad}, {dpop}"#),
            ),
            (
                &beside,
                RejectionKind::InvalidToken,
                Scheme::Dpop,
                format!(r#"DPoP realm="api", {bad}, algs="ES256 EdDSA""#),
            ),
            (
                &beside,
                RejectionKind::InvalidProof,
                Scheme::Dpop,
                format!(r#"DPoP realm="api", {proof}, algs="ES256 EdDSA""#),
            ),
            (&alone, RejectionKind::Missing, Scheme::Bearer, dpop.to_owned()),
            (
                &alone,
                RejectionKind::InvalidToken,
                Scheme::Bearer,
                format!(r#"DPoP realm="api", {bad}, algs="ES256 EdDSA""#),
            ),
        ] {
            assert_eq!(challenge.to(kind, scheme, None).unwrap(), expected, "{kind:?} {scheme:?}");
        }
    }
}
