//! The metadata of a protected resource (RFC 9728): which authorization servers its clients ask for tokens.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::{Map, Value};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::reject::{ResponseBody, ResponseFuture, json_response};
use crate::token::is_scope;
use crate::url::{is_https_or_loopback, split};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const METHODS: &str = "GET, HEAD, OPTIONS";

/// What a protected resource says of itself (RFC 9728, section 2).
///
/// ```
/// use tower_jwt_auth::{ProtectedResource, ProtectedResourceLayer};
///
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// let resource = ProtectedResource::new("https://api.example/mcp")?
///     .add_authorization_server("https://id.example")?
///     .add_scope("mcp:use")?
///     .with_name("Tools of the example");
/// assert_eq!(resource.metadata_url(), "https://api.example/.well-known/oauth-protected-resource/mcp");
///
/// // Outside of the layer that asks for tokens, which names the URL: `JwtAuthLayer::resource_metadata`.
/// let metadata = ProtectedResourceLayer::new(&resource);
/// # let _ = metadata;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it does nothing until a layer is told of it"]
pub struct ProtectedResource {
    identifier: String,
    /// Scheme and authority; the rest of the identifier follows.
    origin_len: usize,
    authorization_servers: Vec<String>,
    scopes: Vec<String>,
    bearer_methods: Vec<String>,
    name: Option<String>,
    documentation: Option<String>,
    jwks_uri: Option<String>,
}

impl ProtectedResource {
    /// The resource of this identifier: the URL that clients use, which they compare with that in the document byte
    /// for byte (RFC 9728, section 3.3). Tokens come in headers, as for [`JwtAuthLayer`](crate::JwtAuthLayer).
    ///
    /// # Errors
    ///
    /// It is not an https URL, or one on this machine; or it has a fragment (RFC 9728, section 1.2), a user name, or
    /// characters that a URL must percent-encode.
    pub fn new(identifier: impl Into<String>) -> Result<Self, ConfigError> {
        let identifier = identifier.into();
        let bad = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Audience, message));
        if identifier.contains('#') {
            return bad(
                "the identifier of a protected resource has no fragment: leave out `#` and what follows",
            );
        }
        match split(&identifier) {
            Some((_, _, tail)) if is_safe_url(&identifier) => Ok(Self {
                origin_len: identifier.len() - tail.len(),
                identifier,
                authorization_servers: Vec::new(),
                scopes: Vec::new(),
                bearer_methods: vec!["header".to_owned()],
                name: None,
                documentation: None,
                jwks_uri: None,
            }),
            _ => bad("the identifier of a protected resource must be an https URL, or http on this machine"),
        }
    }

    /// Adds the issuer of an authorization server whose tokens are good here (`authorization_servers`).
    ///
    /// # Errors
    ///
    /// It is not an https URL, or one on this machine; it has a query or a fragment (RFC 8414, section 2); or it was
    /// added before.
    pub fn add_authorization_server(mut self, issuer: impl Into<String>) -> Result<Self, ConfigError> {
        let issuer = issuer.into();
        let bad = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Issuer, message));
        if !is_safe_url(&issuer) || issuer.contains(['?', '#']) {
            return bad(
                "an authorization server must be an https URL without query and fragment, or http on \
                        this machine",
            );
        }
        if self.authorization_servers.contains(&issuer) {
            return bad("the authorization server was added before: name it once");
        }
        self.authorization_servers.push(issuer);
        Ok(self)
    }

    /// Adds a scope that clients may ask for (`scopes_supported`).
    ///
    /// # Errors
    ///
    /// It is no word of printable ASCII without quote and backslash (RFC 6749, section 3.3), or was added before.
    pub fn add_scope(mut self, scope: impl Into<String>) -> Result<Self, ConfigError> {
        let scope = scope.into();
        if !is_scope(&scope) {
            return Err(limit("a scope must be a word of printable ASCII without quote and backslash"));
        }
        if self.scopes.contains(&scope) {
            return Err(limit("the scope was added before: name it once"));
        }
        self.scopes.push(scope);
        Ok(self)
    }

    /// Replaces the ways to send a token (`bearer_methods_supported`), at first `header` alone. None says that bearer
    /// tokens are not accepted.
    ///
    /// # Errors
    ///
    /// One is neither `header` nor `body` nor `query` (RFC 6750, section 2).
    pub fn with_bearer_methods<I: IntoIterator<Item: AsRef<str>>>(
        mut self,
        methods: I,
    ) -> Result<Self, ConfigError> {
        self.bearer_methods = methods.into_iter().map(|method| method.as_ref().to_owned()).collect();
        if !self.bearer_methods.iter().all(|method| matches!(method.as_str(), "header" | "body" | "query")) {
            return Err(limit("a token is sent by `header`, `body` or `query`"));
        }
        Ok(self)
    }

    /// A name to show to people (`resource_name`).
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The page for developers (`resource_documentation`).
    ///
    /// # Errors
    ///
    /// It is not an https URL, or one on this machine.
    pub fn with_documentation(mut self, url: impl Into<String>) -> Result<Self, ConfigError> {
        self.documentation = Some(checked(url.into(), "the documentation must be an https URL")?);
        Ok(self)
    }

    /// Where the keys of the resource itself are (`jwks_uri`): those with which it signs its answers, not those of the
    /// tokens, which are the authorization server's.
    ///
    /// # Errors
    ///
    /// It is not an https URL, or one on this machine.
    pub fn with_jwks_uri(mut self, url: impl Into<String>) -> Result<Self, ConfigError> {
        self.jwks_uri = Some(checked(url.into(), "the `jwks_uri` must be an https URL")?);
        Ok(self)
    }

    /// The identifier, as it was given.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The path of the document, without the query that the identifier may have.
    pub fn metadata_path(&self) -> String {
        format!("{WELL_KNOWN}{}", self.path_and_query().0)
    }

    /// The URL of the document: the well-known path stands between the host and the path of the identifier, and a
    /// query stays at the end (RFC 9728, section 3.1).
    pub fn metadata_url(&self) -> String {
        let (origin, (path, query)) = (&self.identifier[..self.origin_len], self.path_and_query());
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        format!("{origin}{WELL_KNOWN}{path}{query}")
    }

    /// The path is empty where it is the root.
    fn path_and_query(&self) -> (&str, Option<&str>) {
        let tail = &self.identifier[self.origin_len..];
        let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
        (if path == "/" { "" } else { path }, query)
    }

    /// A list that is empty is left out, all but the ways to send a token, where nothing means none.
    fn document(&self) -> Bytes {
        let mut fields = Map::new();
        fields.insert("resource".to_owned(), self.identifier.as_str().into());
        fields.insert("bearer_methods_supported".to_owned(), self.bearer_methods.as_slice().into());
        let lists =
            [("authorization_servers", &self.authorization_servers), ("scopes_supported", &self.scopes)];
        for (name, list) in lists {
            if !list.is_empty() {
                fields.insert(name.to_owned(), list.as_slice().into());
            }
        }
        let texts = [
            ("resource_name", &self.name),
            ("resource_documentation", &self.documentation),
            ("jwks_uri", &self.jwks_uri),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                fields.insert(name.to_owned(), text.as_str().into());
            }
        }
        Value::Object(fields).to_string().into()
    }
}

/// Of the characters of a URL only (RFC 3986, section 2), and safe on the way.
fn is_safe_url(url: &str) -> bool {
    let is_encoded =
        |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    is_https_or_loopback(url)
        && !url.contains(['"', '\\', '<', '>', '^', '`', '{', '|', '}'])
        && url.split('%').skip(1).all(is_encoded)
}

fn checked(url: String, message: &'static str) -> Result<String, ConfigError> {
    if is_safe_url(&url) { Ok(url) } else { Err(limit(message)) }
}

fn limit(message: &'static str) -> ConfigError {
    ConfigError::new(ConfigErrorKind::Limit, message)
}

/// Answers at the metadata's path, and passes all other requests on. It stands outside of
/// [`JwtAuthLayer`](crate::JwtAuthLayer), as the metadata is for clients that have no token yet. Cheap to clone.
///
/// GET and HEAD are answered with the document, which may be cached for an hour and read by pages of any origin;
/// OPTIONS with what a browser asks beforehand; other methods with 405. A query that the identifier does not have is
/// ignored.
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct ProtectedResourceLayer {
    served: Arc<Served>,
}

#[derive(Debug)]
struct Served {
    path: Box<str>,
    query: Option<Box<str>>,
    document: Bytes,
}

impl ProtectedResourceLayer {
    /// A layer that serves what this resource says of itself. The document is made here, once.
    pub fn new(resource: &ProtectedResource) -> Self {
        let served = Served {
            path: resource.metadata_path().into(),
            query: resource.path_and_query().1.map(Into::into),
            document: resource.document(),
        };
        Self { served: Arc::new(served) }
    }
}

impl<S> Layer<S> for ProtectedResourceLayer {
    type Service = ProtectedResourceService<S>;

    fn layer(&self, inner: S) -> ProtectedResourceService<S> {
        ProtectedResourceService { inner, served: Arc::clone(&self.served) }
    }
}

impl Served {
    fn is_at(&self, uri: &Uri) -> bool {
        uri.path() == &*self.path && (self.query.is_none() || uri.query() == self.query.as_deref())
    }

    fn answer(&self, method: &Method) -> Response<Bytes> {
        let mut response = match *method {
            Method::GET => found(self.document.clone()),
            Method::HEAD => {
                let mut response = found(Bytes::new());
                // What GET would say of its body (RFC 9110, section 9.3.2).
                response.headers_mut().insert(CONTENT_LENGTH, self.document.len().into());
                response
            }
            Method::OPTIONS => preflight(),
            _ => {
                let description = "the metadata is read by GET";
                json_response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", description)
            }
        };
        let headers = response.headers_mut();
        if !matches!(*method, Method::GET | Method::HEAD) {
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

fn found(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Clients of the Model Context Protocol send a header of their own, so that browsers ask beforehand.
fn preflight() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

/// A service behind the metadata of its resource. Made by [`ProtectedResourceLayer`].
#[derive(Clone)]
pub struct ProtectedResourceService<S> {
    inner: S,
    served: Arc<Served>,
}

impl<S> ProtectedResourceService<S> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for ProtectedResourceService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.served.is_at(request.uri()) {
            return ResponseFuture::refused(self.served.answer(request.method()));
        }
        ResponseFuture::inner(self.inner.call(request))
    }
}

impl<S: fmt::Debug> fmt::Debug for ProtectedResourceService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedResourceService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
