//! [`CookiePolicy`]: how the refresh cookie is named, set, cleared and found.
//!
//! Set and clear come from one template: a browser ignores a deletion whose name, path or `Secure` differ, and the
//! cookie would outlive the logout.
//!
//! | form | name | when |
//! |---|---|---|
//! | default | `__Secure-refresh_token`, Path = the mount point | the refresh token travels with no other request |
//! | [`host_prefix`](CookiePolicy::host_prefix) | `__Host-refresh_token`, Path=/ | other hosts below the same domain are not trusted (they could plant a cookie of the narrow form), or pages rendered on the server at `/` need it |
//! | [`insecure_without_secure`](CookiePolicy::insecure_without_secure) | `refresh_token` | development over plain http in a browser that wants it |
//!
//! ```
//! use tower_jwt_auth::{CookiePolicy, SameSite};
//!
//! let policy = CookiePolicy::default().host_prefix().with_same_site(SameSite::Lax);
//! assert_eq!(policy.name(), "__Host-refresh_token");
//! ```

use std::time::Duration;

use cookie::Cookie;
use http::header::{COOKIE, Entry};
use http::{HeaderMap, HeaderValue};

use crate::error::{ConfigError, ConfigErrorKind};

/// Browsers keep no cookie for longer (RFC 6265bis, section 5.5).
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 3600);

/// More bytes in the `Cookie` headers of one request are refused unread.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Where a browser sends the cookie along (RFC 6265bis, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SameSite {
    /// Only with requests that the site itself makes.
    #[default]
    Strict,
    /// Also when a user follows a link to the site.
    Lax,
    /// Always: for a page of an allowed origin that is embedded in another site. It does not open the service to pages
    /// of other sites, which are refused by `Sec-Fetch-Site` and `Origin` all the same.
    None,
}

/// The form of the refresh cookie. Always `HttpOnly` and without `Domain`; `Secure` and `SameSite=Strict` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookiePolicy {
    name: String,
    host_prefix: bool,
    secure: bool,
    same_site: SameSite,
    partitioned: bool,
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self {
            name: "refresh_token".to_owned(),
            host_prefix: false,
            secure: true,
            same_site: SameSite::Strict,
            partitioned: false,
        }
    }
}

impl CookiePolicy {
    /// Replaces the name behind the prefix: letters, digits, `_` and `-`. By default `refresh_token`.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The `__Host-` form: no other host can plant the cookie, and it is sent with every request to this one.
    #[must_use]
    pub fn host_prefix(mut self) -> Self {
        self.host_prefix = true;
        self
    }

    /// Replaces `SameSite`. [`SameSite::None`] needs `Secure`.
    #[must_use]
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// One cookie for each site that embeds the application (CHIPS). Needs `Secure`.
    #[must_use]
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// No `Secure` and no prefix: whoever can read the connection can steal the session. For development only.
    #[must_use]
    pub fn insecure_without_secure(mut self) -> Self {
        self.secure = false;
        self
    }

    /// The name of the cookie, with its prefix.
    pub fn name(&self) -> String {
        let prefix = match (self.secure, self.host_prefix) {
            (false, _) => "",
            (true, true) => "__Host-",
            (true, false) => "__Secure-",
        };
        format!("{prefix}{}", self.name)
    }

    /// Checks the policy, and fixes it to a path.
    pub(crate) fn at(&self, mount: &str) -> Result<CookieTemplate, ConfigError> {
        let error = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Cookie, message));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(allowed) {
            return error("the cookie's name must be 1 to 64 letters, digits, `_` or `-`");
        }
        if !self.secure && (self.same_site == SameSite::None || self.partitioned || self.host_prefix) {
            return error("SameSite=None, Partitioned and the `__Host-` prefix need a Secure cookie");
        }
        let path = if self.host_prefix { "/" } else { mount };
        Ok(CookieTemplate { name: self.name(), path: path.to_owned(), policy: self.clone() })
    }
}

/// Makes and finds the cookie of one service.
#[derive(Debug)]
pub(crate) struct CookieTemplate {
    name: String,
    path: String,
    policy: CookiePolicy,
}

/// The `Cookie` headers are longer than anything reasonable: 431.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CookiesTooLarge;

impl CookieTemplate {
    /// `Set-Cookie` for a token, which is base64url: no character of it needs care.
    pub(crate) fn set(&self, token: &str, max_age: Duration) -> Option<HeaderValue> {
        let seconds = i64::try_from(max_age.min(MAX_AGE).as_secs()).unwrap_or(i64::MAX);
        header(&self.template(token).max_age(time::Duration::seconds(seconds)).build())
    }

    /// `Set-Cookie` that makes a browser forget the cookie.
    pub(crate) fn clear(&self) -> Option<HeaderValue> {
        header(&self.template("").removal().build())
    }

    fn template<'c>(&'c self, value: &'c str) -> cookie::CookieBuilder<'c> {
        let same_site = match self.policy.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        };
        let builder = Cookie::build((self.name.as_str(), value))
            .path(self.path.as_str())
            .http_only(true)
            .secure(self.policy.secure)
            .same_site(same_site);
        if self.policy.partitioned { builder.partitioned(true) } else { builder }
    }

    /// All values of the cookie in a request, in the order in which they stand there, which means nothing. HTTP/2
    /// splits cookies over several headers: all are read.
    ///
    /// Names compare exactly, and nothing is trimmed from them: a browser would let a sibling host set a cookie whose
    /// name is ours behind white space of some kind, as that name has no prefix to protect.
    pub(crate) fn values<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, CookiesTooLarge> {
        values(&self.name, headers)
    }
}

/// As [`CookieTemplate::values`], of any cookie.
pub(crate) fn values<'h>(name: &str, headers: &'h HeaderMap) -> Result<Vec<&'h str>, CookiesTooLarge> {
    let total: usize = headers.get_all(COOKIE).iter().map(HeaderValue::len).sum();
    if total > MAX_HEADER_BYTES {
        return Err(CookiesTooLarge);
    }
    Ok(headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| pairs(header.as_bytes()))
        .filter_map(|pair| value_of(name, pair))
        // A value that is no text is none that was ever set; it must not hide one that was.
        .filter_map(|value| std::str::from_utf8(value).ok())
        .collect())
}

/// Takes a cookie out of a request, wherever it stands.
pub(crate) fn remove(name: &str, headers: &mut HeaderMap) {
    let Ok(Entry::Occupied(mut cookies)) = headers.try_entry(COOKIE) else { return };
    let mut is_empty = true;
    for header in cookies.iter_mut() {
        let kept: Vec<_> = pairs(header.as_bytes()).filter(|pair| value_of(name, pair).is_none()).collect();
        // Parts of a header value are one.
        let mut value =
            HeaderValue::from_bytes(&kept.join(&b"; "[..])).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        is_empty &= value.is_empty();
        *header = value;
    }
    if is_empty {
        cookies.remove_entry_mult();
    }
}

/// Pairs are separated by a semicolon and one space (RFC 6265bis, section 4.2.1).
fn pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = header.split(|byte| *byte == b';').enumerate();
    pairs.map(|(at, pair)| if at == 0 { pair } else { pair.strip_prefix(b" ").unwrap_or(pair) })
}

fn value_of<'p>(name: &str, pair: &'p [u8]) -> Option<&'p [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn header(cookie: &Cookie<'_>) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(cookie.to_string()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn text(value: Option<HeaderValue>) -> String {
        value.unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn row_91_and_92_forms() {
        let day = Duration::from_secs(86_400);
        for (policy, expected) in [
            (
                CookiePolicy::default(),
                "__Secure-refresh_token=t; HttpOnly; SameSite=Strict; Secure; Path=/auth; Max-Age=86400",
            ),
            (
                CookiePolicy::default().host_prefix().with_same_site(SameSite::Lax),
                "__Host-refresh_token=t; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400",
            ),
            (
                CookiePolicy::default().with_same_site(SameSite::None).partitioned().with_name("r"),
                "__Secure-r=t; HttpOnly; SameSite=None; Partitioned; Secure; Path=/auth; Max-Age=86400",
            ),
            (
                CookiePolicy::default().insecure_without_secure(),
                "refresh_token=t; HttpOnly; SameSite=Strict; Path=/auth; Max-Age=86400",
            ),
        ] {
            let template = policy.at("/auth").unwrap();
            assert_eq!(text(template.set("t", day)), expected);
            assert!(template.set("t", day).unwrap().is_sensitive());
        }
    }

    #[test]
    fn row_94_a_deletion_repeats_what_a_browser_compares() {
        for policy in [
            CookiePolicy::default(),
            CookiePolicy::default().host_prefix(),
            CookiePolicy::default().with_same_site(SameSite::None).partitioned(),
            CookiePolicy::default().insecure_without_secure(),
        ] {
            let template = policy.at("/auth").unwrap();
            let set = text(template.set("t", Duration::from_secs(9)));
            let clear = text(template.clear());
            let attributes = |text: &str| {
                let mut parts: Vec<_> = text.split("; ").map(ToOwned::to_owned).collect();
                parts.retain(|part| !part.starts_with("Max-Age") && !part.starts_with("Expires"));
                parts[0] = parts[0].split('=').next().unwrap().to_owned();
                parts
            };
            assert_eq!(attributes(&set), attributes(&clear));
            assert!(clear.contains("Max-Age=0; Expires="), "{clear}");
            let year: i32 =
                clear.rsplit_once("Expires=").unwrap().1.split(' ').nth(3).unwrap().parse().unwrap();
            assert!(year < 2026, "{clear}");
        }
    }

    #[test]
    fn row_93_loose_forms_need_secure() {
        let insecure = || CookiePolicy::default().insecure_without_secure();
        for policy in [
            insecure().with_same_site(SameSite::None),
            insecure().partitioned(),
            insecure().host_prefix(),
            CookiePolicy::default().with_name(""),
            CookiePolicy::default().with_name("a;b"),
            CookiePolicy::default().with_name("é"),
        ] {
            assert_eq!(policy.at("/auth").unwrap_err().kind(), ConfigErrorKind::Cookie);
        }
    }

    #[test]
    fn row_99_max_age_is_bounded() {
        let template = CookiePolicy::default().at("/auth").unwrap();
        let year_and_more = template.set("t", Duration::from_secs(u64::MAX));
        assert!(text(year_and_more).ends_with("Max-Age=34560000"));
    }

    #[test]
    fn rows_97_98_and_k4_finding() {
        let template = CookiePolicy::default().host_prefix().with_name("r").at("/auth").unwrap();
        let many = vec!["x=1"; 500].join("; ") + "; __Host-r=good";
        for (name, values, expected) in [
            ("none", &[][..], &[][..]),
            ("others only", &["a=1; b=2"], &[]),
            ("one", &["a=1; __Host-r=good; b=2"], &["good"]),
            ("K4 other case", &["__host-r=x; __HOST-r=y; r=z; refresh=w"], &[]),
            (
                "K4 white space before it",
                &["a=1;  __Host-r=x; \t__Host-r=y; __Host-r =z", " __Host-r=w"],
                &[],
            ),
            ("no space between pairs", &["a=1;__Host-r=good;b=2"], &["good"]),
            ("K2 twice", &["__Host-r=one; __Host-r=two"], &["one", "two"]),
            ("row 97 two headers", &["a=1; __Host-r=one", "__Host-r=two"], &["one", "two"]),
            ("K7 quoted stays quoted", &["__Host-r=\"q\""], &["\"q\""]),
            ("K7 percent stays", &["__Host-r=%2e"], &["%2e"]),
            ("K8 broken pairs beside it", &["; =; novalue; =x; __Host-r=good"], &["good"]),
            ("K5 behind 500 others", &[&many], &["good"]),
        ] {
            assert_eq!(template.values(&headers(values)).unwrap(), expected, "{name}");
        }
        let mut raw = HeaderMap::new();
        raw.append(COOKIE, HeaderValue::from_bytes(b"a=\xff; __Host-r=good").unwrap());
        assert_eq!(template.values(&raw).unwrap(), ["good"], "bytes that are no text beside it");
    }

    #[test]
    fn k5_a_large_header_is_refused_unread() {
        let template = CookiePolicy::default().at("/auth").unwrap();
        let half = "a".repeat(40 * 1024);
        assert_eq!(template.values(&headers(&[&half, &half])), Err(CookiesTooLarge));
    }
}
