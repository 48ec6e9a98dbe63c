//! The check against cross-site requests, a pure function of the headers.
//!
//! It runs where a browser authenticates by itself: for `POST /login`, for every unsafe request that carries the
//! refresh cookie, and for those whose access token came in a cookie; not where only a bearer header or a token in the
//! body authenticates, which no browser sends by itself. In this order:
//!
//! 1. `Sec-Fetch-Site: same-origin`: pass. `cross-site`: refuse. `same-site`: refuse, unless siblings are trusted and
//!    the `Origin` is one of ours.
//! 2. Any other value, `none` included, counts as absent. An `Origin`: pass exactly if it is one of ours; `null` and
//!    repeated ones are not.
//! 3. Neither: no browser of today, or a client that says so with `X-Session-Request: 1`, which no other site can
//!    make a browser send.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::url::{self, Scheme};

/// Whose requests are our own.
#[derive(Debug, Clone, Default)]
pub(crate) struct CsrfPolicy {
    pub(crate) origins: Vec<String>,
    pub(crate) trust_same_site: bool,
}

/// Why a request may be another site's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrossSite {
    /// The browser says so.
    FetchMetadata,
    /// The origin is not ours.
    Origin,
    /// Nothing tells where it comes from.
    Unknown,
}

impl CrossSite {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::FetchMetadata => "sec_fetch_site",
            Self::Origin => "origin",
            Self::Unknown => "no_origin",
        }
    }
}

pub(crate) fn check(headers: &HeaderMap, policy: &CsrfPolicy) -> Result<(), CrossSite> {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let site = sites.next().map(HeaderValue::as_bytes);
    if sites.next().is_some() {
        return Err(CrossSite::FetchMetadata);
    }
    match site {
        Some(b"same-origin") => return Ok(()),
        Some(b"cross-site") => return Err(CrossSite::FetchMetadata),
        Some(b"same-site") if !policy.trust_same_site || !headers.contains_key(ORIGIN) => {
            return Err(CrossSite::FetchMetadata);
        }
        _ => {}
    }

    let mut origins = headers.get_all(ORIGIN).iter();
    if let Some(origin) = origins.next() {
        let ours = policy.origins.iter().any(|own| own.as_bytes() == origin.as_bytes());
        return if ours && origins.next().is_none() { Ok(()) } else { Err(CrossSite::Origin) };
    }

    let mut marks = headers.get_all("x-session-request").iter();
    if marks.next().is_some_and(|mark| mark.as_bytes() == b"1") { Ok(()) } else { Err(CrossSite::Unknown) }
}

/// The spelling that browsers send in `Origin`: scheme and host in lower case, no default port, no path.
pub(crate) fn canonical_origin(origin: &str, insecure: bool) -> Result<String, ConfigError> {
    let bad = |message: &'static str| ConfigError::new(ConfigErrorKind::Origin, message);
    let lower = origin.to_ascii_lowercase();
    let form =
        "an origin is `scheme://host` or `scheme://host:port` with http or https, and nothing behind it";
    let (scheme, authority, tail) = url::split(&lower).ok_or_else(|| bad(form))?;
    if !tail.is_empty() {
        return Err(bad(form));
    }
    let host = url::host(authority).ok_or_else(|| bad(form))?;
    if scheme == Scheme::Http && !url::is_loopback(host) && !insecure {
        return Err(bad(
            "an origin must be https, or http on this machine; `insecure_add_origin` takes any http one",
        ));
    }
    let default_port = match scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    Ok(lower.strip_suffix(default_port).map_or_else(|| lower.clone(), ToOwned::to_owned))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderName, Request, Response, StatusCode};
    use tower::{Layer, ServiceExt, service_fn};
    use tower_http::csrf::CsrfLayer;

    use super::*;

    const OWN: &str = "https://app.example";
    const SIBLING: &str = "https://www.app.example";

    fn policy(trust_same_site: bool) -> CsrfPolicy {
        CsrfPolicy { origins: vec![OWN.to_owned(), SIBLING.to_owned()], trust_same_site }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    const SITE: &str = "sec-fetch-site";
    const MARK: (&str, &str) = ("x-session-request", "1");

    #[test]
    fn rows_102_to_106() {
        let (metadata, origin, unknown) =
            (Err(CrossSite::FetchMetadata), Err(CrossSite::Origin), Err(CrossSite::Unknown));
        for (row, pairs, expected) in [
            ("row 103 same-origin", &[(SITE, "same-origin")][..], Ok(())),
            ("row 103 none counts as absent", &[(SITE, "none")], unknown),
            ("row 103 none with our origin", &[(SITE, "none"), ("origin", OWN)], Ok(())),
            ("row 102 X1 cross-site", &[(SITE, "cross-site")], metadata),
            ("row 102 X2 same-site", &[(SITE, "same-site"), ("origin", SIBLING)], metadata),
            ("row 102 the mark does not help", &[(SITE, "cross-site"), MARK], metadata),
            ("X4 our origin, but cross-site", &[(SITE, "cross-site"), ("origin", OWN)], metadata),
            ("two values", &[(SITE, "same-origin"), (SITE, "cross-site")], metadata),
            ("row 104 our origin", &[("origin", OWN)], Ok(())),
            ("row 104 foreign origin", &[("origin", "https://evil.example")], origin),
            ("row 104 other scheme", &[("origin", "http://app.example")], origin),
            ("row 104 other port", &[("origin", "https://app.example:8443")], origin),
            ("row 104 longer host", &[("origin", "https://app.example.evil.example")], origin),
            ("row 104 other case", &[("origin", "https://APP.example")], origin),
            ("row 104 nothing", &[], unknown),
            ("row 104 the mark", &[MARK], Ok(())),
            ("row 104 another mark", &[("x-session-request", "true")], unknown),
            ("row 104 foreign origin with the mark", &[("origin", "https://evil.example"), MARK], origin),
            ("row 105 unknown value", &[(SITE, "same-galaxy")], unknown),
            ("row 105 unknown value, our origin", &[(SITE, "same-galaxy"), ("origin", OWN)], Ok(())),
            ("row 105 other case", &[(SITE, "Same-Origin")], unknown),
            ("row 106 null", &[("origin", "null")], origin),
            ("row 106 null, same-site unknown", &[(SITE, ""), ("origin", "null")], origin),
            ("two origins", &[("origin", OWN), ("origin", OWN)], origin),
        ] {
            assert_eq!(check(&headers(pairs), &policy(false)), expected, "{row}");
        }
    }

    #[test]
    fn siblings_pass_when_trusted_and_named() {
        let trusted = policy(true);
        assert_eq!(check(&headers(&[(SITE, "same-site"), ("origin", SIBLING)]), &trusted), Ok(()));
        assert_eq!(
            check(&headers(&[(SITE, "same-site"), ("origin", "https://other.app.example")]), &trusted),
            Err(CrossSite::Origin)
        );
        assert_eq!(check(&headers(&[(SITE, "same-site"), MARK]), &trusted), Err(CrossSite::FetchMetadata));
        assert_eq!(
            check(&headers(&[(SITE, "cross-site"), ("origin", OWN)]), &trusted),
            Err(CrossSite::FetchMetadata)
        );
    }

    /// Every combination of values, against tower-http's layer. Where they differ is listed here, each on purpose.
    #[tokio::test]
    async fn differs_from_tower_http_only_where_listed() {
        let layer = CsrfLayer::new().add_trusted_origin(OWN).unwrap().add_trusted_origin(SIBLING).unwrap();
        let sites =
            [None, Some("same-origin"), Some("same-site"), Some("cross-site"), Some("none"), Some("other")];
        let origins = [
            None,
            Some(OWN),
            Some(SIBLING),
            Some("null"),
            Some("https://evil.example"),
            Some("http://app.example"),
        ];
        let mut differences = Vec::new();
        for site in sites {
            for origin in origins {
                let mut pairs = Vec::new();
                pairs.extend(site.map(|site| (SITE, site)));
                pairs.extend(origin.map(|origin| ("origin", origin)));
                let headers = headers(&pairs);
                let ours = check(&headers, &policy(false)).is_ok();
                let mut request =
                    Request::post("/auth/refresh").header("host", "app.example").body(()).unwrap();
                request.headers_mut().extend(headers);
                let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
                let theirs = layer.layer(inner).oneshot(request).await.unwrap().status() == StatusCode::OK;
                if ours != theirs {
                    assert!(theirs, "we are nowhere laxer: {site:?} {origin:?}");
                    differences.push((site, origin));
                }
            }
        }
        let expected = [
            // No word about where it comes from: they take it for no browser, we ask for X-Session-Request.
            (None, None),
            // They compare the host only; we the scheme, too.
            (None, Some("http://app.example")),
            // A trusted origin outvotes what the browser says; not here.
            (Some("same-site"), Some(OWN)),
            (Some("same-site"), Some(SIBLING)),
            (Some("cross-site"), Some(OWN)),
            (Some("cross-site"), Some(SIBLING)),
            // `none` is a user's own doing, as an address typed in; it never makes such a request by itself.
            (Some("none"), None),
            (Some("none"), Some("null")),
            (Some("none"), Some("https://evil.example")),
            (Some("none"), Some("http://app.example")),
        ];
        let missing: Vec<_> = expected.iter().filter(|pair| !differences.contains(pair)).collect();
        let unlisted: Vec<_> = differences.iter().filter(|pair| !expected.contains(pair)).collect();
        assert!(missing.is_empty() && unlisted.is_empty(), "missing {missing:?}, unlisted {unlisted:?}");
    }

    #[test]
    fn origins_are_spelled_as_browsers_do() {
        for (origin, expected) in [
            ("https://app.example", Some("https://app.example")),
            ("https://App.Example:443", Some("https://app.example")),
            ("https://app.example:8443", Some("https://app.example:8443")),
            ("http://localhost:3000", Some("http://localhost:3000")),
            ("http://127.0.0.1:80", Some("http://127.0.0.1")),
            ("http://[::1]:3000", Some("http://[::1]:3000")),
            ("http://app.example", None),
            ("https://app.example/", None),
            ("https://app.example/path", None),
            ("https://user@app.example", None),
            ("app.example", None),
            ("null", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(canonical_origin(origin, false).ok().as_deref(), expected, "{origin}");
        }
        assert_eq!(canonical_origin("http://10.0.0.5:3000", true).unwrap(), "http://10.0.0.5:3000");
    }
}
