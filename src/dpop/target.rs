//! Where a request goes: `htu` of a proof against the request's path (RFC 9449, section 4.3, check 9).
//!
//! What a request says of its host (`Host`, `X-Forwarded-*`) is what its sender wrote, so it is not asked: the service
//! states the URLs under which it is reached ([`Base`]).
//!
//! 1. `htu` is an absolute http or https URL in ASCII: without a user name, without control characters or spaces, each
//!    `%` followed by two hexadecimal digits, a port if there is a colon. Query and fragment are left out.
//! 2. Both sides are normalised (RFC 3986, sections 6.2.2 and 6.2.3): scheme and host in lower case, an IPv6 address in
//!    its one form, no default port, no empty path, percent-encodings in upper case or, of what needs none, decoded,
//!    and after that no dot segments. The request's path is normalised before it is put behind a base, so that it never
//!    leaves it. Slashes stay as they are: `%2F` is no `/`, and `//` is not one.
//! 3. They match if scheme, host, port and path are those of one base with the request's path.
//!
//! A request without a path of its own matches nothing: `OPTIONS *`, and `CONNECT` with an authority alone.

use std::net::Ipv6Addr;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::url::{self, Scheme};

/// A URL under which the service is reached: what stands before the path that it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base(Target);

/// An absolute URL in its normal form, without query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Scheme, host, and a port other than the default one.
    origin: String,
    path: String,
}

impl Target {
    pub(crate) fn parse(htu: &str) -> Option<Self> {
        Self::of(htu).map(|(_, _, target)| target)
    }

    /// With its scheme, and its host as [`url::is_loopback`] takes it.
    fn of(text: &str) -> Option<(Scheme, String, Self)> {
        let rest = text.find("://")? + 3;
        let end = text[rest..].find(['/', '?', '#']).map_or(text.len(), |at| rest + at);
        let (origin, tail) = text.split_at(end);
        let origin = origin.to_ascii_lowercase();
        let (scheme, authority, _) = url::split(&origin)?;
        let host = url::host(authority)?;
        let port = authority[host.len()..].strip_prefix(':').map(str::parse::<u16>).transpose().ok()?;
        let host = match host.strip_prefix('[').map(|address| address.strip_suffix(']')) {
            Some(address) => format!("[{}]", address?.parse::<Ipv6Addr>().ok()?),
            None if host.contains([']', ':']) => return None,
            None => host.to_owned(),
        };
        let (name, default_port) = match scheme {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        let port = port.filter(|port| *port != default_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = match &tail[..tail.find(['?', '#']).unwrap_or(tail.len())] {
            "" => "/".to_owned(),
            path => normal_path(path)?,
        };
        // What is left out, too: it would not be in a URL.
        let is_ascii = tail.bytes().all(|byte| byte.is_ascii_graphic());
        is_ascii.then(|| (scheme, host.clone(), Self { origin: format!("{name}://{host}{port}"), path }))
    }
}

impl Base {
    /// # Errors
    ///
    /// No https URL, or one on this machine; it has a query, a fragment or a user name; it is no URL.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let bad = |message: &'static str| ConfigError::new(ConfigErrorKind::Origin, message);
        let (scheme, host, mut target) = Target::of(text).ok_or_else(|| {
            bad("a base URL for DPoP is `https://host`, `https://host:port` or one of these with a path")
        })?;
        if text.contains(['?', '#']) {
            return Err(bad("a base URL for DPoP has no query and no fragment"));
        }
        if scheme == Scheme::Http && !url::is_loopback(&host) {
            return Err(bad("a base URL for DPoP must be https, or http on this machine"));
        }
        if target.path.ends_with('/') {
            target.path.pop();
        }
        Ok(Self(target))
    }

    /// Whether `htu` names the request to this path, as the service sees it, query or not.
    pub(crate) fn leads_to(&self, htu: &Target, path: &str) -> bool {
        // The cheap question first.
        htu.origin == self.0.origin
            && normal_path(path.split_once('?').map_or(path, |(path, _)| path))
                .is_some_and(|path| htu.path.strip_prefix(&*self.0.path) == Some(&*path))
    }
}

/// A path in its normal form; `None` if it does not begin with a slash, or is none.
fn normal_path(path: &str) -> Option<String> {
    let decoded = normal_encodings(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut is_open = false;
    for segment in decoded.strip_prefix('/')?.split('/') {
        // Behind a dot segment at the end the path ends with a slash.
        is_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    if is_open {
        segments.push("");
    }
    Some(format!("/{}", segments.join("/")))
}

/// Percent-encodings in upper case; those of unreserved characters (RFC 3986, section 2.3) decoded.
fn normal_encodings(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !byte.is_ascii_graphic() {
                return None;
            }
            normal.push(char::from(byte));
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        let decoded = char::from_u32(high * 16 + low)?;
        if decoded.is_ascii_alphanumeric() || matches!(decoded, '-' | '.' | '_' | '~') {
            normal.push(decoded);
        } else {
            normal.push('%');
            for digit in [high, low] {
                normal.extend(char::from_digit(digit, 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(base: &str, htu: &str, path: &str) -> bool {
        let base = Base::parse(base).unwrap();
        Target::parse(htu).is_some_and(|htu| base.leads_to(&htu, path))
    }

    #[test]
    #[allow(clippy::too_many_lines)] // A table.
    fn row_66_htu_against_the_path_of_the_request() {
        for (row, base, htu, path, expected) in [
            ("the same", "https://api.example", "https://api.example/a", "/a", true),
            ("no path", "https://api.example", "https://api.example", "/", true),
            ("a query, which is left out", "https://api.example", "https://api.example/a?b=/c", "/a", true),
            ("a query without a path", "https://api.example", "https://api.example?b", "/", true),
            ("a fragment", "https://api.example", "https://api.example/a#b?c", "/a", true),
            ("a query of the request", "https://api.example", "https://api.example/a", "/a?x=%zz", true),
            ("upper case", "https://API.example", "HTTPS://Api.EXAMPLE/a", "/a", true),
            ("the default port", "https://api.example:443", "https://api.example/a", "/a", true),
            (
                "the default port the other way",
                "https://api.example",
                "https://api.example:443/a",
                "/a",
                true,
            ),
            ("zeros before the port", "https://api.example:8443", "https://api.example:08443/a", "/a", true),
            ("encodings in lower case", "https://api.example", "https://api.example/a%2fb", "/a%2Fb", true),
            (
                "what needs no encoding",
                "https://api.example",
                "https://api.example/%7Eada%2D",
                "/~ada-",
                true,
            ),
            ("the other way", "https://api.example", "https://api.example/~ada-", "/%7eada%2d", true),
            (
                "an encoding of more bytes",
                "https://api.example",
                "https://api.example/%c3%a9",
                "/%C3%A9",
                true,
            ),
            ("dot segments", "https://api.example", "https://api.example/a/../b/./c", "/b/c", true),
            ("encoded ones", "https://api.example", "https://api.example/a/%2e%2E/b", "/b", true),
            ("those of the request", "https://api.example", "https://api.example/b", "/a/../b", true),
            ("above the root", "https://api.example", "https://api.example/../../a", "/a", true),
            ("an open end", "https://api.example", "https://api.example/a/b/..", "/a/", true),
            ("slashes beside dots", "https://api.example", "https://api.example/a//../b", "/a/b", true),
            ("two slashes", "https://api.example", "https://api.example//a", "//a", true),
            ("a path of the base", "https://www.example/api", "https://www.example/api/a", "/a", true),
            ("with a slash behind", "https://www.example/api/", "https://www.example/api/a", "/a", true),
            ("the base itself", "https://www.example/api", "https://www.example/api/", "/", true),
            (
                "a base in another spelling",
                "https://www.example/x/../%61pi",
                "https://www.example/api/a",
                "/a",
                true,
            ),
            ("this machine", "http://127.0.0.1:3000", "http://127.0.0.1:3000/a", "/a", true),
            ("IPv6", "http://[::1]:3000", "http://[::1]:3000/a", "/a", true),
            ("IPv6 in another spelling", "https://[2001:db8::1]", "https://[2001:DB8:0:0::1]/a", "/a", true),
            ("another host", "https://api.example", "https://evil.example/a", "/a", false),
            ("a longer host", "https://api.example", "https://api.example.evil.example/a", "/a", false),
            ("a dot behind the host", "https://api.example", "https://api.example./a", "/a", false),
            ("another scheme", "https://api.example", "http://api.example/a", "/a", false),
            ("another port", "https://api.example", "https://api.example:8443/a", "/a", false),
            ("the port of the other scheme", "https://api.example", "https://api.example:80/a", "/a", false),
            ("another path", "https://api.example", "https://api.example/b", "/a", false),
            ("another case of the path", "https://api.example", "https://api.example/A", "/a", false),
            ("a slash behind", "https://api.example", "https://api.example/a/", "/a", false),
            ("a longer path", "https://api.example", "https://api.example/a/b", "/a", false),
            ("an encoded slash", "https://api.example", "https://api.example/a%2Fb", "/a/b", false),
            ("an encoded percent sign", "https://api.example", "https://api.example/%2541", "/A", false),
            ("a reserved character", "https://api.example", "https://api.example/a%3Bb", "/a;b", false),
            ("two slashes for one", "https://api.example", "https://api.example//a", "/a", false),
            ("no path of the base", "https://www.example/api", "https://www.example/a", "/a", false),
            ("the base and no slash", "https://www.example/api", "https://www.example/api", "/", false),
            (
                "a longer segment of the base",
                "https://www.example/api",
                "https://www.example/api2/a",
                "/a",
                false,
            ),
            (
                "a request that leaves the base",
                "https://www.example/api",
                "https://www.example/a",
                "/../a",
                false,
            ),
            ("an htu that leaves it", "https://www.example/api", "https://www.example/api/../a", "/a", false),
            ("OPTIONS *", "https://api.example", "https://api.example/*", "*", false),
            ("OPTIONS * and no path", "https://api.example", "https://api.example", "*", false),
            ("CONNECT", "https://api.example", "https://api.example", "", false),
            (
                "CONNECT with an authority",
                "https://api.example",
                "https://api.example",
                "api.example:443",
                false,
            ),
            (
                "a bad encoding in the request",
                "https://api.example",
                "https://api.example/%zz",
                "/%zz",
                false,
            ),
            ("a request that is not ASCII", "https://api.example", "https://api.example/%C3%A9", "/é", false),
        ] {
            assert_eq!(leads(base, htu, path), expected, "{row}");
        }
    }

    #[test]
    fn texts_that_are_no_target() {
        for (row, htu) in [
            ("empty", ""),
            ("a path", "/a"),
            ("no scheme", "//api.example/a"),
            ("another scheme", "ftp://api.example/a"),
            ("a scheme alone", "https://"),
            ("no host", "https:///a"),
            ("a port alone", "https://:443/a"),
            ("an empty port", "https://api.example:/a"),
            ("no number", "https://api.example:port/a"),
            ("a port too large", "https://api.example:65536/a"),
            ("a signed port", "https://api.example:+443/a"),
            ("a user name", "https://user@api.example/a"),
            ("a password", "https://user:secret@api.example/a"),
            ("an empty user name", "https://@api.example/a"),
            ("an encoding in the host", "https://api%2Eexample/a"),
            ("a backslash in the host", r"https://api.example\@evil.example/a"),
            ("a bracket", "https://[::1/a"),
            ("brackets around a name", "https://[api.example]/a"),
            ("a zone", "https://[fe80::1%25eth0]/a"),
            ("behind the brackets", "https://[::1]a/a"),
            ("IPv6 without brackets", "https://::1/a"),
            ("a bad encoding", "https://api.example/%zz"),
            ("a cut encoding", "https://api.example/%4"),
            ("a percent sign at the end", "https://api.example/%"),
            ("a percent sign and a sign", "https://api.example/%+1"),
            ("a space", "https://api.example/a b"),
            ("a space before", " https://api.example/a"),
            ("a line break", "https://api.example/a\n"),
            ("a NUL", "https://api.example/a\0"),
            ("a tab in the host", "https://api\t.example/a"),
            ("a host that is not ASCII", "https://äpi.example/a"),
            ("a path that is not ASCII", "https://api.example/é"),
            ("a query that is not ASCII", "https://api.example/a?é"),
            ("not ASCII behind the percent sign", "https://api.example/%é"),
        ] {
            assert_eq!(Target::parse(htu), None, "{row}");
        }
    }

    #[test]
    fn base_urls_are_those_of_a_service() {
        for (url, expected) in [
            ("https://api.example", Some(("https://api.example", ""))),
            ("https://api.example/", Some(("https://api.example", ""))),
            ("https://WWW.example:443/Api/", Some(("https://www.example", "/Api"))),
            ("http://localhost:3000/x", Some(("http://localhost:3000", "/x"))),
            ("http://[0:0:0:0:0:0:0:1]", Some(("http://[::1]", ""))),
            ("http://api.example", None),
            ("http://127.0.0.1.evil.example", None),
            ("https://api.example?x", None),
            ("https://api.example/#", None),
            ("https://user@api.example", None),
            ("https://api.example/%zz", None),
            ("wss://api.example", None),
            ("api.example", None),
            ("*", None),
            ("", None),
        ] {
            let base = Base::parse(url);
            let parts = base.as_ref().ok().map(|Base(base)| (&*base.origin, &*base.path));
            assert_eq!(parts, expected, "{url}");
            assert!(base.is_ok() || base.is_err_and(|error| error.kind() == ConfigErrorKind::Origin));
        }
    }
}
