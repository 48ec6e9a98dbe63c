//! [`Sources`]: further places than `Authorization` where a token may stand, for layers that are told so.

use http::header::{AUTHORIZATION, COOKIE, Entry, UPGRADE};
use http::{HeaderMap, HeaderName, Method};

use crate::cookie;
use crate::csrf::{self, CsrfPolicy, canonical_origin};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::extract::bearer::{
    BadCredential, Credential, credential, has_repeated, is_credential, token_or_credential,
};

/// A cookie that holds an access token, for [`JwtAuthLayer::add_cookie`](crate::JwtAuthLayer::add_cookie).
///
/// A browser sends a cookie along by itself, also with requests that another site made it send. So a token of a cookie
/// counts only if the request is safe (GET, HEAD, OPTIONS; not a WebSocket's), or comes from one of the origins that
/// are named here, by the same rule that guards [`AuthService`](crate::AuthService); else the answer is 403. A client
/// that is no browser sends `X-Session-Request: 1`, or better the header `Authorization`.
///
/// Set the cookie `HttpOnly`, `Secure` and `SameSite`, with a name that begins with `__Host-`: no sibling host can
/// plant one of that name. Two cookies of the name are a 400.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_jwt_auth::{
///     AccessGrant, Issuer, JwtAuthLayer, NoClaims, SigningKey, TokenConfig, TokenCookie,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = TokenConfig::builder()
///     .key(SigningKey::ed25519_seed(&[7; 32])?)
///     .issuer("https://app.example")
///     .audience("api")
///     .build()?;
/// let service = JwtAuthLayer::new(config.verifier::<NoClaims>())
///     .add_cookie(TokenCookie::new("__Host-access", "https://app.example")?)?
///     .layer(service_fn(async |_: Request<()>| {
///         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
///     }));
///
/// let token = Issuer::new(&config)?.issue(&AccessGrant::new("ada"), &NoClaims {})?;
/// let post = |origin| {
///     Request::post("/orders")
///         .header("cookie", format!("__Host-access={}", token.expose()))
///         .header("origin", origin)
///         .body(())
/// };
/// assert_eq!(service.clone().oneshot(post("https://app.example")?).await?.status(), 200);
/// assert_eq!(service.oneshot(post("https://evil.example")?).await?.status(), 403);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TokenCookie {
    name: String,
    csrf: CsrfPolicy,
}

impl TokenCookie {
    /// The cookie of this name, with requests of pages of this origin: `https://host[:port]`, or http on this machine.
    ///
    /// # Errors
    ///
    /// The name is none for a cookie (RFC 6265bis, section 4.1.1), or the origin is malformed.
    pub fn new(name: impl Into<String>, origin: &str) -> Result<Self, ConfigError> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                "the cookie's name must be 1 to 64 letters, digits or the signs of a token of RFC 9110",
            ));
        }
        let origins = vec![canonical_origin(origin, false)?];
        Ok(Self { name, csrf: CsrfPolicy { origins, trust_same_site: false } })
    }

    /// A further origin.
    ///
    /// # Errors
    ///
    /// It is malformed.
    pub fn add_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.csrf.origins.push(canonical_origin(origin, false)?);
        Ok(self)
    }
}

/// Where a token is looked for, besides `Authorization`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    headers: Vec<HeaderName>,
    cookies: Vec<TokenCookie>,
    /// Of `Authorization`, besides `Bearer`.
    accepts_dpop: bool,
}

/// What may be a token, and where it stood.
#[derive(Clone, Copy)]
pub(crate) struct Found<'h> {
    pub(crate) credential: Credential<'h>,
    pub(crate) place: Place,
}

/// Names no header or cookie itself, so that the request can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Authorization,
    Header(usize),
    Cookie(usize),
}

impl Sources {
    pub(crate) fn add_header(&mut self, name: HeaderName) -> Result<(), ConfigError> {
        let bad = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Limit, message));
        if name == AUTHORIZATION {
            return bad("`Authorization` is always read: name another header, or none");
        }
        if name == COOKIE {
            return bad("a token in a cookie needs protection against other sites: use `add_cookie`");
        }
        if self.headers.contains(&name) {
            return bad("this header is read already");
        }
        self.headers.push(name);
        Ok(())
    }

    pub(crate) fn add_cookie(&mut self, cookie: TokenCookie) -> Result<(), ConfigError> {
        if self.cookies.iter().any(|held| held.name == cookie.name) {
            return Err(ConfigError::new(ConfigErrorKind::Cookie, "this cookie is read already"));
        }
        self.cookies.push(cookie);
        Ok(())
    }

    pub(crate) fn accept_dpop(&mut self) {
        self.accepts_dpop = true;
    }

    /// What may be the one token of a request. Two, even the same one, are an error (RFC 6750, section 2).
    pub(crate) fn find<'h>(
        &self,
        method: &Method,
        headers: &'h HeaderMap,
        max_bytes: usize,
    ) -> Result<Option<Found<'h>>, BadCredential> {
        let mut found = credential(headers, self.accepts_dpop, max_bytes)?
            .map(|credential| Found { credential, place: Place::Authorization });
        let mut put = |new: Found<'h>| match found.replace(new) {
            Some(_) => Err(BadCredential::Repeated),
            None => Ok(()),
        };
        for (at, name) in self.headers.iter().enumerate() {
            for value in headers.get_all(name) {
                put(Found {
                    credential: token_or_credential(value.as_bytes(), max_bytes)?,
                    place: Place::Header(at),
                })?;
            }
        }
        for (at, cookie) in self.cookies.iter().enumerate() {
            let values = cookie::values(&cookie.name, headers).map_err(|_| BadCredential::TooLarge)?;
            // An empty value is what is left of a cookie that was cleared by hand.
            for value in values.into_iter().filter(|value| !value.is_empty()) {
                let credential = Credential::bearer(value.as_bytes(), max_bytes)?;
                put(Found { credential, place: Place::Cookie(at) })?;
            }
        }
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if let Some(Found { place: Place::Cookie(at), .. }) = found
            // The handshake of a WebSocket is a GET that no other rule of a browser stops.
            && (!is_safe || headers.contains_key(UPGRADE))
        {
            csrf::check(headers, &self.cookies[at].csrf).map_err(BadCredential::CrossSite)?;
        }
        Ok(found)
    }

    /// Layers further in that print headers leave the credentials out.
    pub(crate) fn hide(&self, headers: &mut HeaderMap) {
        let are_single = !has_repeated(headers);
        for name in [&AUTHORIZATION, &COOKIE].into_iter().chain(&self.headers) {
            if are_single {
                headers.get_mut(name).into_iter().for_each(|value| value.set_sensitive(true));
            } else if let Ok(Entry::Occupied(mut values)) = headers.try_entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }

    /// Takes the token of a request out of it.
    pub(crate) fn strip(&self, place: Place, headers: &mut HeaderMap) {
        match place {
            Place::Authorization => drop(headers.remove(AUTHORIZATION)),
            Place::Header(at) => drop(headers.remove(&self.headers[at])),
            Place::Cookie(at) => cookie::remove(&self.cookies[at].name, headers),
        }
    }

    /// Takes all out that may be a token, where it cannot be told which is. Credentials of other schemes stay.
    pub(crate) fn strip_all(&self, headers: &mut HeaderMap) {
        if headers
            .get_all(AUTHORIZATION)
            .iter()
            .any(|value| is_credential(value.as_bytes(), self.accepts_dpop))
        {
            self.strip(Place::Authorization, headers);
        }
        (0..self.headers.len()).for_each(|at| self.strip(Place::Header(at), headers));
        (0..self.cookies.len()).for_each(|at| self.strip(Place::Cookie(at), headers));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::csrf::CrossSite;

    const OWN: &str = "https://app.example";

    fn sources() -> Sources {
        let mut sources = Sources::default();
        sources.add_header(HeaderName::from_static("x-token")).unwrap();
        sources.add_cookie(TokenCookie::new("__Host-access", OWN).unwrap()).unwrap();
        sources
    }

    fn find(
        method: &Method,
        pairs: &[(&'static str, &'static str)],
    ) -> Result<Option<(String, Place)>, BadCredential> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let found = sources().find(method, &headers, 64)?;
        found.map(|found| Ok((found.credential.token()?.to_owned(), found.place))).transpose()
    }

    #[test]
    fn one_token_wherever_it_stands() {
        let some = |place| Ok(Some(("a.b.c".to_owned(), place)));
        let (post, get) = (Method::POST, Method::GET);
        for (row, method, pairs, expected) in [
            ("nothing", &get, &[][..], Ok(None)),
            ("Authorization", &post, &[("authorization", "Bearer a.b.c")], some(Place::Authorization)),
            ("a header, bare", &post, &[("x-token", "a.b.c")], some(Place::Header(0))),
            ("a header, with scheme", &post, &[("x-token", "bearer a.b.c")], some(Place::Header(0))),
            (
                "another scheme beside",
                &post,
                &[("authorization", "Basic x"), ("x-token", "a.b.c")],
                some(Place::Header(0)),
            ),
            ("a header that is empty", &post, &[("x-token", "")], Err(BadCredential::Malformed)),
            (
                "a header with another scheme",
                &post,
                &[("x-token", "Basic a.b.c")],
                Err(BadCredential::Malformed),
            ),
            (
                "a header twice",
                &post,
                &[("x-token", "a.b.c"), ("x-token", "a.b.c")],
                Err(BadCredential::Repeated),
            ),
            (
                "row 6 two places, the same token",
                &post,
                &[("authorization", "Bearer a.b.c"), ("x-token", "a.b.c")],
                Err(BadCredential::Repeated),
            ),
            (
                "row 6 header and cookie",
                &get,
                &[("cookie", "__Host-access=a.b.c"), ("authorization", "Bearer a.b.c")],
                Err(BadCredential::Repeated),
            ),
            ("a cookie", &get, &[("cookie", "x=1; __Host-access=a.b.c")], some(Place::Cookie(0))),
            (
                "a cookie in a second header",
                &get,
                &[("cookie", "x=1"), ("cookie", "__Host-access=a.b.c")],
                some(Place::Cookie(0)),
            ),
            ("a cookie of another name", &get, &[("cookie", "__host-access=a.b.c; access=a.b.c")], Ok(None)),
            ("a cookie that was cleared", &get, &[("cookie", "__Host-access=")], Ok(None)),
            (
                "a cookie in quotes",
                &get,
                &[("cookie", "__Host-access=\"a.b.c\"")],
                Err(BadCredential::Malformed),
            ),
            (
                "a cookie twice",
                &get,
                &[("cookie", "__Host-access=a.b.c; __Host-access=d.e.f")],
                Err(BadCredential::Repeated),
            ),
            (
                "a long header",
                &get,
                &[("x-token", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")],
                Err(BadCredential::TooLarge),
            ),
        ] {
            assert_eq!(find(method, pairs), expected, "{row}");
        }
    }

    #[test]
    fn a_token_of_a_cookie_counts_for_ones_own_pages_only() {
        let cookie = ("cookie", "__Host-access=a.b.c");
        let refused = |why| Err(BadCredential::CrossSite(why));
        let ok = Ok(Some(("a.b.c".to_owned(), Place::Cookie(0))));
        for (row, method, pairs, expected) in [
            ("a safe request", Method::GET, vec![cookie, ("sec-fetch-site", "cross-site")], ok.clone()),
            (
                "a WebSocket of another site",
                Method::GET,
                vec![cookie, ("upgrade", "websocket"), ("origin", "https://evil.example")],
                refused(CrossSite::Origin),
            ),
            (
                "a WebSocket of one's own",
                Method::GET,
                vec![cookie, ("upgrade", "websocket"), ("origin", OWN)],
                ok.clone(),
            ),
            (
                "a WebSocket over HTTP/2",
                Method::CONNECT,
                vec![cookie, ("origin", "https://evil.example")],
                refused(CrossSite::Origin),
            ),
            (
                "another site",
                Method::POST,
                vec![cookie, ("sec-fetch-site", "cross-site")],
                refused(CrossSite::FetchMetadata),
            ),
            (
                "another origin",
                Method::POST,
                vec![cookie, ("origin", "https://evil.example")],
                refused(CrossSite::Origin),
            ),
            ("one's own origin", Method::DELETE, vec![cookie, ("origin", OWN)], ok.clone()),
            ("nothing tells", Method::POST, vec![cookie], refused(CrossSite::Unknown)),
            ("no browser", Method::POST, vec![cookie, ("x-session-request", "1")], ok),
            (
                "the header needs no such care",
                Method::POST,
                vec![("authorization", "Bearer a.b.c"), ("origin", "https://evil.example")],
                Ok(Some(("a.b.c".to_owned(), Place::Authorization))),
            ),
        ] {
            assert_eq!(find(&method, &pairs), expected, "{row}");
        }
    }

    #[test]
    fn what_is_stripped_is_the_token_only() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; __Host-access=t; b=2"));
        headers.append("cookie", HeaderValue::from_static("c=3"));
        sources().strip(Place::Cookie(0), &mut headers);
        let left: Vec<_> = headers.get_all("cookie").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(left, ["a=1; b=2", "c=3"]);
        assert!(headers.get_all("cookie").iter().all(HeaderValue::is_sensitive));

        headers.insert("cookie", HeaderValue::from_static("__Host-access=t"));
        sources().strip(Place::Cookie(0), &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn places_that_are_none() {
        let mut sources = sources();
        for name in ["authorization", "cookie", "x-token"] {
            assert!(sources.add_header(HeaderName::from_static(name)).is_err(), "{name}");
        }
        assert!(sources.add_cookie(TokenCookie::new("__Host-access", OWN).unwrap()).is_err());
        for (name, origin) in
            [("", OWN), ("a b", OWN), ("a=b", OWN), ("a", "*"), ("a", "http://app.example"), ("a", "null")]
        {
            assert!(TokenCookie::new(name, origin).is_err(), "{name} {origin}");
        }
    }
}
