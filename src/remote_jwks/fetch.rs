//! One fetch: a GET for a JSON document, within bounds of time, size, and origin.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use tokio::time::timeout;

use crate::remote_jwks::error::{FetchError, FetchErrorKind};
use crate::transport::Transport;
use crate::url;

/// More than any key set that is read, and than any metadata.
const MAX_DOCUMENT_BYTES: usize = 512 * 1024;

const MAX_REDIRECTS: usize = 3;

/// Where documents come from, and under which bounds.
pub(super) struct Fetcher {
    pub(super) transport: Transport,
    /// For one document, its redirects included.
    pub(super) timeout: Duration,
    /// Whether http is allowed on this machine.
    pub(super) insecure_http: bool,
}

/// What a server wants to be told when the document is fetched again (RFC 9110, section 13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        // One of the same second as the answer would not tell of a further change in that second (RFC 9110, section
        // 8.8.2.2).
        let last_modified = headers
            .get(header::LAST_MODIFIED)
            .filter(|modified| headers.get(header::DATE).is_some_and(|answered| answered != *modified));
        Self { etag: headers.get(header::ETAG).cloned(), last_modified: last_modified.cloned() }
    }

    fn write(&self, headers: &mut HeaderMap) {
        let conditions =
            [(header::IF_NONE_MATCH, &self.etag), (header::IF_MODIFIED_SINCE, &self.last_modified)];
        for (name, value) in conditions {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// The validators of the last document, which are asked with only where it came from: another one may have an equal
/// tag.
#[derive(Clone, Copy)]
pub(super) struct Conditions<'k> {
    pub(super) of: &'k Uri,
    pub(super) validators: &'k Validators,
}

pub(super) enum Fetched {
    Document { text: String, end: Uri, validators: Validators, max_age: Option<Duration> },
    NotModified { max_age: Option<Duration> },
}

impl Fetcher {
    /// Whether a document may be fetched from there (RFC 8414, section 3; OpenID Connect Discovery, section 3).
    pub(super) fn check(&self, location: &str) -> Result<Uri, FetchError> {
        let allowed = match url::split(location) {
            Some((url::Scheme::Https, ..)) => true,
            Some((url::Scheme::Http, ..)) => self.insecure_http && url::is_https_or_loopback(location),
            None => false,
        };
        let uri = allowed.then(|| location.parse::<Uri>().ok()).flatten();
        uri.ok_or_else(|| {
            FetchError::new(FetchErrorKind::Location, "the place that is named is no https URL")
        })
    }

    pub(super) async fn get(
        &self,
        location: &str,
        known: Option<Conditions<'_>>,
    ) -> Result<Fetched, FetchError> {
        match timeout(self.timeout, self.follow(location, known)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchError::new(FetchErrorKind::Unreachable, "there was no whole answer in time")),
        }
    }

    async fn follow(&self, location: &str, known: Option<Conditions<'_>>) -> Result<Fetched, FetchError> {
        let mut uri = self.check(location)?;
        for _ in 0..=MAX_REDIRECTS {
            let validators = known.filter(|known| *known.of == uri).map(|known| known.validators);
            let response = self.send(&uri, validators).await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return read(response, uri, validators.is_some_and(|known| *known != Validators::default()));
            }
            let target = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = target.and_then(|target| within_origin(&uri, target));
            uri = next.ok_or_else(|| {
                FetchError::new(
                    FetchErrorKind::Redirect,
                    "a redirect that leaves the origin, or leads nowhere",
                )
            })?;
        }
        Err(FetchError::new(FetchErrorKind::Redirect, "too many redirects"))
    }

    async fn send(&self, uri: &Uri, validators: Option<&Validators>) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri.clone();
        // RFC 7517, section 8.5.1; most send the second, and metadata is that.
        let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers_mut().insert(header::ACCEPT, accepted);
        if let Some(validators) = validators {
            validators.write(request.headers_mut());
        }
        self.transport.send(request, MAX_DOCUMENT_BYTES).await.map_err(|source| {
            FetchError::new(FetchErrorKind::Unreachable, "the server could not be asked").with_source(source)
        })
    }
}

/// `end` is where it came from; `is_conditional` whether there was a condition that an unmodified document meets.
fn read(response: Response<Bytes>, end: Uri, is_conditional: bool) -> Result<Fetched, FetchError> {
    let max_age = max_age(response.headers());
    match response.status() {
        StatusCode::OK => {
            let validators = Validators::of(response.headers());
            let text = String::from_utf8(response.into_body().into())
                .map_err(|_| FetchError::new(FetchErrorKind::Document, "the document is not UTF-8"))?;
            Ok(Fetched::Document { text, end, validators, max_age })
        }
        StatusCode::NOT_MODIFIED if is_conditional => Ok(Fetched::NotModified { max_age }),
        StatusCode::NOT_MODIFIED => {
            Err(FetchError::new(FetchErrorKind::Status, "nothing was asked that could be unmodified"))
        }
        status => Err(FetchError::new(FetchErrorKind::Status, "the server answered with an error")
            .with_status(status)
            .with_retry_after(retry_after(response.headers()))),
    }
}

/// A redirect's target, if it is of the same scheme, host and port: an URL, an absolute path, or one beside the place
/// that it came from (RFC 3986, section 4.2).
fn within_origin(from: &Uri, target: &str) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let target = target.split_once('#').map_or(target, |(target, _fragment)| target);
    let is_url = url::split(target).is_some();
    let absolute = match target {
        "" => return None,
        _ if is_url => target.to_owned(),
        _ if target.starts_with("//") || target.starts_with('?') => return None,
        _ if target.starts_with('/') => format!("{scheme}://{authority}{target}"),
        // A scheme, or a way up.
        _ if target.contains(':') || target.split('/').any(|step| step == "..") => return None,
        _ => {
            let (folder, _) = from.path().rsplit_once('/')?;
            format!("{scheme}://{authority}{folder}/{target}")
        }
    };
    let uri = absolute.parse::<Uri>().ok()?;
    let port =
        |uri: &Uri| uri.port_u16().or_else(|| Some(if uri.scheme_str()? == "https" { 443 } else { 80 }));
    let is_same = uri.scheme_str() == Some(scheme)
        && uri.host().is_some_and(|host| host.eq_ignore_ascii_case(authority.host()))
        && port(&uri) == port(from)
        && !uri.authority()?.as_str().contains('@');
    is_same.then_some(uri)
}

/// `max-age` (RFC 9111, section 5.2.2.1). `no-store` and `no-cache` leave nothing to be fresh.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut found = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                return Some(Duration::ZERO);
            }
            if name.eq_ignore_ascii_case("max-age") {
                found = found.or(seconds(argument.trim_matches('"')));
            }
        }
    }
    // How old it was when it came (RFC 9111, section 4.2.3).
    let age = headers.get(header::AGE).and_then(|value| seconds(value.to_str().ok()?)).unwrap_or_default();
    found.map(|found: Duration| found.saturating_sub(age))
}

/// `Retry-After`, in seconds (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    seconds(headers.get(header::RETRY_AFTER)?.to_str().ok()?)
}

/// Digits only; more of them than a number holds are a long time.
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_within_the_origin() {
        let from = "https://idp.example:8443/a/keys".parse().unwrap();
        for (target, expected) in [
            ("/other", Some("https://idp.example:8443/other")),
            ("https://idp.example:8443/other?x=1", Some("https://idp.example:8443/other?x=1")),
            ("https://idp.example/other", None),
            ("http://idp.example:8443/other", None),
            ("https://evil.example/keys", None),
            ("https://idp.example:8443@evil.example/keys", None),
            ("//evil.example/keys", None),
            ("https://IDP.example:8443/other", Some("https://IDP.example:8443/other")),
            ("https://me@idp.example:8443/other", None),
            ("keys2", Some("https://idp.example:8443/a/keys2")),
            ("./keys2", Some("https://idp.example:8443/a/./keys2")),
            ("../keys", None),
            ("javascript:alert(1)", None),
            ("?x", None),
            ("#x", None),
            ("", None),
        ] {
            let expected = expected.map(|uri| uri.parse::<Uri>().unwrap());
            assert_eq!(within_origin(&from, target), expected, "{target}");
        }
        let from = "https://idp.example/keys".parse().unwrap();
        assert!(within_origin(&from, "https://idp.example:443/other").is_some(), "the port of https");
        assert!(within_origin(&from, "https://idp.example:80/other").is_none());
        assert!(within_origin(&from, "http://idp.example:443/other").is_none());
    }

    #[test]
    fn freshness() {
        for (value, expected) in [
            ("max-age=60", Some(60)),
            ("public, Max-Age=\"60\", must-revalidate", Some(60)),
            ("max-age=60, max-age=5", Some(60)),
            ("max-age=99999999999999999999", Some(u64::from(u32::MAX))),
            ("no-store, max-age=60", Some(0)),
            ("no-cache", Some(0)),
            ("s-maxage=60", None),
            ("max-age=-1", None),
            ("max-age=", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{value}");
        }
        for (age, expected) in [("40", 20), ("60", 0), ("100", 0), ("x", 60)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
            headers.insert(header::AGE, HeaderValue::from_static(age));
            assert_eq!(max_age(&headers), Some(Duration::from_secs(expected)), "{age}");
        }
    }
}
