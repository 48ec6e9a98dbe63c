//! [`Endpoint`]: the session service's address, and the requests that are sent to it.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use serde_json::{Value, json};

use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::tokens::Tokens;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::url;

const SESSION_REQUEST: HeaderName = HeaderName::from_static("x-session-request");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How the refresh token travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carrier {
    /// In the bodies of requests and answers.
    Body,
    /// In the cookie of this name.
    Cookie(String),
}

/// The session service's address, and how it is spoken to.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Without a slash at its end.
    base: String,
    pub(super) carrier: Carrier,
    pub(super) user_agent: Option<HeaderValue>,
}

impl Endpoint {
    pub(super) fn new(base: &str) -> Result<Self, ConfigError> {
        let form =
            "the base must be the URL of a session service's mount point, such as https://app.example/auth";
        let bad = || ConfigError::new(ConfigErrorKind::Path, form);
        let (_, _, path) = url::split(base).ok_or_else(bad)?;
        let base = base.strip_suffix('/').unwrap_or(base);
        if path.contains(['?', '#']) || format!("{base}/refresh").parse::<Uri>().is_err() {
            return Err(bad());
        }
        Ok(Self { base: base.to_owned(), carrier: Carrier::Body, user_agent: None })
    }

    /// `scheme://host[:port]`.
    pub(super) fn origin(&self) -> &str {
        let after_scheme = self.base.find("://").map_or(0, |at| at + 3);
        let end = self.base[after_scheme..].find('/').map_or(self.base.len(), |at| after_scheme + at);
        &self.base[..end]
    }

    /// Whether a request is one of those that the session makes itself: they carry no access token.
    pub(super) fn is_own(&self, uri: &Uri) -> bool {
        let base = &self.base.as_bytes()[self.origin().len()..];
        let path = uri.path().as_bytes().strip_prefix(base);
        matches!(path, Some(b"/login" | b"/refresh" | b"/logout" | b"/revoke"))
    }

    pub(super) fn login(
        &self,
        mut credentials: Value,
        held: Option<&Tokens>,
    ) -> Result<Request<Bytes>, ClientError> {
        match (&self.carrier, &mut credentials) {
            (Carrier::Body, Value::Object(members)) => {
                members.insert("delivery".to_owned(), "body".into());
            }
            (Carrier::Body, _) => {
                let detail = "the credentials must be a JSON object: the service reads in it how to deliver";
                return Err(ClientError::new(ClientErrorKind::Credentials, detail));
            }
            (Carrier::Cookie(_), _) => {}
        }
        self.with_cookie(self.post("/login", Some(&credentials)), held)
    }

    pub(super) fn refresh(&self, held: &Tokens) -> Result<Request<Bytes>, ClientError> {
        self.with_token("/refresh", held)
    }

    pub(super) fn logout(&self, held: &Tokens) -> Result<Request<Bytes>, ClientError> {
        self.with_token("/logout", held)
    }

    /// Ends all sessions of the user, or all others: authorized by the access token.
    pub(super) fn logout_many(&self, path: &str, authorization: HeaderValue) -> Request<Bytes> {
        let mut request = self.post(path, None);
        request.headers_mut().insert(AUTHORIZATION, authorization);
        request
    }

    fn with_token(&self, path: &str, held: &Tokens) -> Result<Request<Bytes>, ClientError> {
        match self.carrier {
            Carrier::Body => {
                Ok(self.post(path, Some(&json!({ "refresh_token": held.expose_refresh_token() }))))
            }
            Carrier::Cookie(_) => self.with_cookie(self.post(path, None), Some(held)),
        }
    }

    fn with_cookie(
        &self,
        mut request: Request<Bytes>,
        held: Option<&Tokens>,
    ) -> Result<Request<Bytes>, ClientError> {
        if let (Carrier::Cookie(name), Some(held)) = (&self.carrier, held) {
            let value = HeaderValue::try_from(format!("{name}={}", held.expose_refresh_token()));
            let mut value = value.map_err(|_| {
                ClientError::new(
                    ClientErrorKind::Storage,
                    "the stored refresh token cannot stand in a cookie",
                )
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(COOKIE, value);
        }
        Ok(request)
    }

    fn post(&self, path: &str, body: Option<&Value>) -> Request<Bytes> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let has_body = body.is_some();
        let mut request = Request::new(body.unwrap_or_default());
        *request.method_mut() = Method::POST;
        // It was parsed when the session was built.
        *request.uri_mut() = format!("{}{path}", self.base).parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, JSON);
        // What a client sends that is no browser: the service's cross-site check asks for it.
        headers.insert(SESSION_REQUEST, HeaderValue::from_static("1"));
        if has_body {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if let Some(agent) = &self.user_agent {
            headers.insert(USER_AGENT, agent.clone());
        }
        request
    }
}

/// Of an access token, also as its `token_type`.
pub(super) fn scheme(is_bound: bool) -> &'static str {
    if is_bound { "DPoP" } else { "Bearer" }
}

/// The header of an access token, if it can stand in one.
pub(super) fn authorization(token: &str, is_bound: bool) -> Option<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = || HeaderValue::try_from(format!("{} {token}", scheme(is_bound))).ok();
    let mut value = is_token.then(header).flatten()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;

    fn held() -> Tokens {
        Tokens::new("old", "kept", Timestamp::from_unix_millis(0), Duration::from_secs(1))
    }

    #[test]
    fn bases() {
        for (base, origin) in [
            ("https://app.example/auth", Some("https://app.example")),
            ("https://app.example/auth/", Some("https://app.example")),
            ("https://app.example", Some("https://app.example")),
            ("http://localhost:3000/a/b", Some("http://localhost:3000")),
            ("https://app.example/auth?x", None),
            ("https://app.example/auth#x", None),
            ("https://user@app.example/auth", None),
            ("app.example/auth", None),
            ("/auth", None),
            ("", None),
        ] {
            let endpoint = Endpoint::new(base).ok();
            assert_eq!(endpoint.as_ref().map(Endpoint::origin), origin, "{base}");
        }
    }

    #[test]
    fn own_requests() {
        let endpoint = Endpoint::new("https://app.example/auth/").unwrap();
        for (uri, expected) in [
            ("https://app.example/auth/refresh", true),
            ("https://app.example/auth/login?x", true),
            ("https://app.example/auth/logout", true),
            ("https://app.example/auth/logout/all", false),
            ("https://app.example/auth/sessions", false),
            ("https://app.example/refresh", false),
        ] {
            assert_eq!(endpoint.is_own(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn secrets_are_marked_in_requests() {
        let mut endpoint = Endpoint::new("https://app.example/auth").unwrap();
        assert!(endpoint.refresh(&held()).unwrap().body().starts_with(b"{\"refresh_token\":\"kept\""));
        endpoint.carrier = Carrier::Cookie("c".into());
        let request = endpoint.refresh(&held()).unwrap();
        assert_eq!(request.headers()[COOKIE], "c=kept");
        assert!(request.headers()[COOKIE].is_sensitive() && request.body().is_empty());
        assert!(authorization("t", false).unwrap().is_sensitive());
        assert!(authorization("t", true).unwrap().is_sensitive());
    }
}
