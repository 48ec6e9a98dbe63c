//! [`Origins`]: who may see the access token.

use std::fmt;
use std::sync::Arc;

use http::Uri;

use crate::client::proof::Place;
use crate::csrf::canonical_origin;
use crate::error::ConfigError;
use crate::url::{self, Scheme};

/// An origin in parts, so that comparing allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// https, or http on this machine unless `insecure`.
    pub(super) fn parse(text: &str, insecure: bool) -> Result<Self, ConfigError> {
        let canonical = canonical_origin(text, insecure)?;
        // It has the form that was checked.
        let parts = url::split(&canonical).and_then(|(scheme, authority, _)| {
            let host = url::host(authority)?.to_owned();
            let port = authority[host.len()..].strip_prefix(':').and_then(|port| port.parse().ok());
            Some(Self { scheme, host, port: port.unwrap_or(default_port(scheme)) })
        });
        parts.ok_or_else(|| {
            ConfigError::new(crate::error::ConfigErrorKind::Origin, "an origin is not understood")
        })
    }

    pub(super) fn is_of(&self, uri: &Uri) -> bool {
        let scheme = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ => return false,
        };
        let Some(authority) = uri.authority() else { return false };
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => Some(default_port(scheme)),
            // One that is no number is read in more ways than one; so is `user@host`, which begins with no host.
            Some(port) => port.strip_prefix(':').and_then(|port| port.parse().ok()),
            None => None,
        };
        scheme == self.scheme && authority.host().eq_ignore_ascii_case(&self.host) && port == Some(self.port)
    }
}

/// `scheme://host[:port]`, without a default port.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default_port(self.scheme) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Whether a URI is a path alone. One that begins with two slashes names a host to some.
pub(super) fn is_relative(uri: &Uri) -> bool {
    uri.authority().is_none() && uri.scheme().is_none() && !uri.path().starts_with("//")
}

/// Those that are sent the access token. Compared exactly: neither a subdomain nor another port is the same.
#[derive(Debug)]
pub(super) struct Origins(Vec<Arc<Place>>);

impl Origins {
    pub(super) fn new(origins: Vec<Origin>) -> Self {
        Self(origins.into_iter().map(|origin| Arc::new(Place::new(origin))).collect())
    }

    /// Which of them a request goes to. A URI that names no host goes to `relative`, if that is known.
    pub(super) fn find(&self, uri: &Uri, relative: Option<&Origin>) -> Option<&Arc<Place>> {
        if is_relative(uri) {
            return self.get(relative?);
        }
        self.0.iter().find(|place| place.origin.is_of(uri))
    }

    pub(super) fn get(&self, origin: &Origin) -> Option<&Arc<Place>> {
        self.0.iter().find(|place| place.origin == *origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_exactly() {
        let origins = Origins::new(vec![
            Origin::parse("https://Api.example", false).unwrap(),
            Origin::parse("http://localhost:3000", false).unwrap(),
            Origin::parse("http://[::1]:8080", false).unwrap(),
        ]);
        for (uri, expected) in [
            ("https://api.example/x", true),
            ("https://API.example:443/x?y", true),
            ("HTTPS://api.example/", true),
            ("https://api.example:8443/x", false),
            ("https://api.example:0443/x", true),
            ("http://api.example/x", false),
            ("https://www.api.example/", false),
            ("https://api.example.evil.example/", false),
            ("https://api.example./", false),
            ("https://evil.example/https://api.example/", false),
            ("https://user@api.example/", false),
            ("https://api.example@evil.example/", false),
            ("https://evil.example@api.example/", false),
            ("https://api.example:99999/", false),
            ("https://api.example:/", false),
            ("wss://api.example/", false),
            ("http://localhost:3000/", true),
            ("http://localhost/", false),
            ("http://127.0.0.1:3000/", false),
            ("http://[::1]:8080/x", true),
            ("/x", false),
            ("*", false),
            ("api.example:443", false),
        ] {
            assert_eq!(origins.find(&uri.parse().unwrap(), None).is_some(), expected, "{uri}");
        }
    }

    #[test]
    fn a_relative_uri_goes_where_the_layer_says() {
        let own = Origin::parse("https://api.example", false).unwrap();
        let other = Origin::parse("https://other.example", false).unwrap();
        let origins = Origins::new(vec![own.clone()]);
        let uri = "/package.Service/Method".parse().unwrap();
        assert!(origins.find(&uri, Some(&own)).is_some());
        assert!(origins.find(&uri, Some(&other)).is_none());
        assert!(origins.find(&"//evil.example/x".parse().unwrap(), Some(&own)).is_none());
        assert!(origins.find(&"https://other.example/".parse().unwrap(), Some(&own)).is_none());
    }

    #[test]
    fn plain_http_needs_this_machine() {
        assert!(Origin::parse("http://api.example", false).is_err());
        assert!(Origin::parse("http://api.example", true).is_ok());
        assert!(Origin::parse("https://api.example/path", false).is_err());
    }
}
