//! Where an issuer says that its keys are (RFC 8414; OpenID Connect Discovery 1.0).

use serde::Deserialize;

use crate::remote_jwks::error::{FetchError, FetchErrorKind};
use crate::token::is_object;
use crate::url;

/// Where an issuer's metadata stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetadataForm {
    /// `{issuer}/.well-known/openid-configuration` (OpenID Connect Discovery, section 4): what nearly all providers
    /// have.
    OpenId,
    /// `https://{host}/.well-known/oauth-authorization-server{path}` (RFC 8414, section 3).
    OAuth,
}

/// Where the keys come from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The key set itself.
    Keys(String),
    /// The metadata of an issuer, which names the key set.
    Issuer { issuer: String, form: MetadataForm },
}

impl Origin {
    /// The issuer, or the place of the keys, as a log may show it: without a query.
    pub(super) fn name(&self) -> &str {
        let (Self::Keys(name) | Self::Issuer { issuer: name, .. }) = self;
        name.split(['?', '#']).next().unwrap_or_default()
    }
}

/// The place of the metadata; `None` if the issuer is no URL with a host.
pub(super) fn metadata_location(issuer: &str, form: MetadataForm) -> Option<String> {
    let (scheme, authority, path) = url::split(issuer)?;
    if path.contains(['?', '#']) {
        return None;
    }
    let scheme = match scheme {
        url::Scheme::Https => "https",
        url::Scheme::Http => "http",
    };
    // A slash at the end of the issuer is none of the place.
    let path = path.strip_suffix('/').unwrap_or(path);
    Some(match form {
        MetadataForm::OpenId => format!("{scheme}://{authority}{path}/.well-known/openid-configuration"),
        MetadataForm::OAuth => format!("{scheme}://{authority}/.well-known/oauth-authorization-server{path}"),
    })
}

/// The place of the keys, if the metadata is that of the issuer, byte for byte: another one could not be trusted with
/// it (RFC 8414, section 3.3; OpenID Connect Discovery, section 4.3).
pub(super) fn keys_location(metadata: &str, issuer: &str) -> Result<String, FetchError> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }
    let read = if is_object(metadata) { serde_json::from_str::<Metadata>(metadata).ok() } else { None };
    let metadata = read.ok_or_else(|| {
        FetchError::new(
            FetchErrorKind::Document,
            "the metadata is no JSON object with `issuer` and `jwks_uri`",
        )
    })?;
    if metadata.issuer == issuer {
        Ok(metadata.jwks_uri)
    } else {
        Err(FetchError::new(
            FetchErrorKind::Issuer,
            "the metadata names another issuer than the one that was asked for",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_metadata() {
        for (issuer, open_id, oauth) in [
            (
                "https://idp.example",
                "https://idp.example/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://idp.example/",
                "https://idp.example/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://idp.example:8443/realms/a",
                "https://idp.example:8443/realms/a/.well-known/openid-configuration",
                "https://idp.example:8443/.well-known/oauth-authorization-server/realms/a",
            ),
            (
                "http://127.0.0.1:3000/a/",
                "http://127.0.0.1:3000/a/.well-known/openid-configuration",
                "http://127.0.0.1:3000/.well-known/oauth-authorization-server/a",
            ),
        ] {
            assert_eq!(metadata_location(issuer, MetadataForm::OpenId).as_deref(), Some(open_id));
            assert_eq!(metadata_location(issuer, MetadataForm::OAuth).as_deref(), Some(oauth));
        }
        for issuer in ["", "accounts.example", "https://idp.example?x=1", "https://idp.example#x", "ftp://a"]
        {
            assert_eq!(metadata_location(issuer, MetadataForm::OpenId), None, "{issuer}");
        }
    }

    #[test]
    fn j11_metadata_of_another_issuer_is_not_used() {
        let text = |issuer: &str| {
            format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://idp.example/keys","jwks_uri2":1}}"#)
        };
        let issuer = "https://idp.example/a";
        assert_eq!(keys_location(&text(issuer), issuer).unwrap(), "https://idp.example/keys");
        for other in [
            "https://idp.example/a/",
            "https://idp.example/A",
            "https://IDP.example/a",
            "https://idp.example",
            "https://evil.example/a",
            "http://idp.example/a",
            "",
        ] {
            assert_eq!(
                keys_location(&text(other), issuer).unwrap_err().kind(),
                FetchErrorKind::Issuer,
                "{other}"
            );
        }
        for document in [
            "",
            "[]",
            r#"["https://idp.example/a","https://idp.example/keys"]"#,
            "{}",
            "<html>",
            r#"{"issuer":"https://idp.example/a"}"#,
            r#"{"issuer":1,"jwks_uri":""}"#,
        ] {
            let error = keys_location(document, issuer).unwrap_err();
            assert_eq!(error.kind(), FetchErrorKind::Document, "{document}");
        }
    }
}
