//! Requests in the making, and answers that are checked on arrival for what must hold of every answer.

use std::fmt::Debug;

use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, ORIGIN, PRAGMA, RETRY_AFTER, SET_COOKIE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::{NAME, OWN, PASSWORD};
use crate::support::tokens::json_of;

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A request without any header.
pub fn bare(method: Method, path: &str) -> Ask {
    Ask { method, path: path.to_owned(), headers: HeaderMap::new(), body: Bytes::new() }
}

/// A POST as a page of the application makes it.
pub fn post(path: &str) -> Ask {
    bare(Method::POST, path).header(ORIGIN, OWN)
}

impl Ask {
    /// Adds a header beside those of the same name.
    pub fn header(mut self, name: impl TryInto<HeaderName>, value: impl AsRef<[u8]>) -> Self {
        let name = name.try_into().ok().unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    /// The refresh cookie, under its default name.
    pub fn cookie(self, token: &str) -> Self {
        self.header(COOKIE, format!("{NAME}={token}"))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION, format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE, content_type)
    }

    pub fn untyped(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub fn request(self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().unwrap();
        *request.headers_mut() = self.headers;
        request
    }
}

pub fn credentials(user: &str) -> Value {
    json!({ "user": user, "password": PASSWORD })
}

/// An answer that is what every answer must be.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub async fn of<B: Body<Data = Bytes, Error: Debug>>(response: Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body }.checked()
    }

    /// Rows 75 and 95 of the requirements, B5 of the corpus, and the shape of errors: they neither set nor clear the
    /// cookie, and say what the contract says beside the body.
    #[track_caller]
    fn checked(self) -> Self {
        let header = |name: HeaderName| self.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header(CACHE_CONTROL), Some("no-store"), "{self:?}");
        assert_eq!(header(PRAGMA), Some("no-cache"), "{self:?}");
        assert_eq!(header(X_CONTENT_TYPE_OPTIONS), Some("nosniff"), "{self:?}");
        assert!(self.set_cookies().len() <= 1, "{self:?}");
        assert_eq!(self.headers.contains_key(WWW_AUTHENTICATE), self.challenged(), "{self:?}");
        assert_eq!(self.headers.contains_key(ALLOW), self.status == 405, "{self:?}");
        assert_eq!(self.headers.contains_key(RETRY_AFTER), self.status == 503, "{self:?}");
        if self.status == StatusCode::NO_CONTENT || (self.status == StatusCode::OK && self.body.is_empty()) {
            assert!(self.body.is_empty() && !self.headers.contains_key(CONTENT_TYPE), "{self:?}");
        } else {
            assert_eq!(header(CONTENT_TYPE), Some("application/json"), "{self:?}");
        }
        if self.status.as_u16() >= 400 {
            assert!(self.set_cookies().is_empty(), "a refusal with a cookie: {self:?}");
            let body = self.value();
            let mut names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["error", "error_description"]);
            assert!(body["error"].is_string() && body["error_description"].is_string());
        }
        self
    }

    /// 401 always has a challenge; 400 on routes that take a bearer token, where that was malformed; 403 where it lacks
    /// a scope.
    fn challenged(&self) -> bool {
        let has = self.headers.contains_key(WWW_AUTHENTICATE);
        let lacks_scope = self.status == 403 && self.value()["error"] == "insufficient_scope";
        self.status == 401 || lacks_scope || (self.status == 400 && has)
    }

    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A refusal: the status, and the code in the body.
    #[track_caller]
    pub fn refused(self, status: u16, error: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.value()["error"].as_str()), (status, Some(error)), "{self:?}");
        self
    }

    pub fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub fn set_cookie(&self) -> Option<SetCookie> {
        self.set_cookies().first().map(|text| SetCookie::parse(text))
    }

    /// The text of the access token of a 200.
    #[track_caller]
    pub fn access(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.value()["access_token"].as_str().unwrap().to_owned()
    }

    /// The claims of the access token of a 200.
    #[track_caller]
    pub fn claims(&self) -> Value {
        json_of(self.access().split('.').nth(1).unwrap())
    }

    /// The refresh token of a 200 that sets the cookie.
    #[track_caller]
    pub fn refresh(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.set_cookie().expect("a 200 that sets the cookie").value
    }
}

/// `Set-Cookie`, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct SetCookie {
    pub name: String,
    pub value: String,
    /// In lower case; the empty text for one without a value.
    pub attributes: Vec<(String, String)>,
}

impl SetCookie {
    /// Each attribute once (RFC 6265bis, section 4.1.1).
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<(String, String)> = parts
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut names: Vec<_> = attributes.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), attributes.len(), "an attribute twice: {text}");
        Self { name: name.to_owned(), value: value.to_owned(), attributes }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub fn max_age(&self) -> u64 {
        self.attribute("max-age").unwrap().parse().unwrap()
    }
}
