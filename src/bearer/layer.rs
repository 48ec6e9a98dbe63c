//! [`JwtAuthLayer`]: the settings, and the wrapping.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Response};
use tower_layer::Layer;

use crate::bearer::service::JwtAuth;
use crate::dpop::Dpop;
use crate::error::ConfigError;
use crate::extract::{Sources, TokenCookie};
use crate::protected_resource::ProtectedResource;
use crate::reject::{Rejection, Responder};
use crate::token::Verifier;

/// Wraps a service so that only requests with a good bearer token reach it; see the [module's rules](crate::bearer).
/// Cheap to clone, and good for any number of services and stacks.
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct JwtAuthLayer<C> {
    pub(super) settings: Arc<Settings<C>>,
}

pub(super) struct Settings<C> {
    pub(super) verifier: Verifier<C>,
    pub(super) responder: Arc<Responder>,
    pub(super) sources: Sources,
    pub(super) dpop: Option<Dpop>,
    pub(super) mode: Mode,
    pub(super) strips: bool,
}

/// What becomes of requests without a good token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All are refused.
    Required,
    /// Those without a token pass, those with a bad one are refused.
    Optional,
    /// All pass.
    Observe,
}

impl<C> JwtAuthLayer<C> {
    /// A layer that accepts what this verifier accepts. The realm of its challenges is `api`.
    pub fn new(verifier: Verifier<C>) -> Self {
        let responder = Arc::new(Responder::standard());
        let settings = Settings {
            verifier,
            responder,
            sources: Sources::default(),
            dpop: None,
            mode: Mode::Required,
            strips: false,
        };
        Self { settings: Arc::new(settings) }
    }

    /// Lets requests without a token pass, as [`Outcome::Anonymous`](crate::Outcome::Anonymous). A bad token is
    /// refused.
    pub fn optional(self) -> Self {
        self.with(|settings| settings.mode = Mode::Optional)
    }

    /// Lets all requests pass; what was found is in the [`AuthContext`](crate::AuthContext). For services that decide
    /// themselves, and for a look at what a layer would refuse before it does.
    pub fn observe(self) -> Self {
        self.with(|settings| settings.mode = Mode::Observe)
    }

    /// Replaces the realm of the challenges.
    ///
    /// # Errors
    ///
    /// The text is empty, or has other characters than printable ASCII without quote and backslash.
    pub fn with_realm(self, realm: &str) -> Result<Self, ConfigError> {
        let responder = Arc::new(self.settings.responder.with_realm(realm)?);
        Ok(self.with(|settings| settings.responder = responder))
    }

    /// Names the metadata of this resource in each challenge, as `resource_metadata` (RFC 9728, section 5.1): a client
    /// that was refused learns which authorization server to ask. Layers and extractors behind this one name it, too.
    /// The document itself is served by [`ProtectedResourceLayer`](crate::ProtectedResourceLayer).
    ///
    /// # Errors
    ///
    /// The URL cannot stand in a header; [`ProtectedResource`] makes no such URL.
    pub fn resource_metadata(self, resource: &ProtectedResource) -> Result<Self, ConfigError> {
        let url = resource.metadata_url();
        let responder = Arc::new(self.settings.responder.with_resource_metadata(&url)?);
        Ok(self.with(|settings| settings.responder = responder))
    }

    /// Replaces the answers to refused requests: a problem in JSON (RFC 9457), a page, a redirect to the login.
    ///
    /// The function is given the reason and the request, and its answer is also that of scope layers and extractors
    /// behind this one. It is asked about gRPC calls, too, whose clients understand no other answer than
    /// [`Rejection::to_response`]: leave those alone. A 401 needs a [`challenge`](Rejection::challenge).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Response, StatusCode, header};
    /// # use tower_jwt_auth::{JwtAuthLayer, NoClaims, SigningKey, TokenConfig};
    /// use tower_jwt_auth::{Protocol, RejectionKind};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let config = TokenConfig::builder()
    /// #     .key(SigningKey::ed25519_seed(&[7; 32])?)
    /// #     .issuer("https://app.example")
    /// #     .audience("api")
    /// #     .build()?;
    /// let pages = JwtAuthLayer::new(config.verifier::<NoClaims>()).map_rejection(|rejection, request| {
    ///     let mut answer = rejection.to_response();
    ///     let is_page = rejection.protocol() == Protocol::Http && request.uri.path().starts_with("/pages/");
    ///     if is_page && rejection.kind() == RejectionKind::Missing {
    ///         *answer.status_mut() = StatusCode::SEE_OTHER;
    ///         answer.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static("/login"));
    ///         *answer.body_mut() = Bytes::new();
    ///     }
    ///     answer
    /// });
    /// # let _ = pages;
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_rejection<F, T>(self, respond: F) -> Self
    where
        F: Fn(&Rejection, &Parts) -> Response<T> + Send + Sync + 'static,
        T: Into<Bytes> + 'static,
    {
        let respond = move |rejection: &Rejection, parts: &Parts| respond(rejection, parts).map(Into::into);
        let responder = Arc::new(self.settings.responder.with_respond(respond));
        self.with(|settings| settings.responder = responder)
    }

    /// Looks for the token in this header, too: alone, or with the scheme `Bearer`. For proxies that use a name of
    /// their own. A request with two tokens is refused, wherever they stand.
    ///
    /// # Errors
    ///
    /// The header is `Authorization`, which is always read, or `Cookie`, or was added before.
    pub fn add_header(self, name: HeaderName) -> Result<Self, ConfigError> {
        let mut sources = self.settings.sources.clone();
        sources.add_header(name)?;
        Ok(self.with(|settings| settings.sources = sources))
    }

    /// Looks for the token in this cookie, too. A request with two tokens is refused, wherever they stand.
    ///
    /// # Errors
    ///
    /// A cookie of this name was added before.
    pub fn add_cookie(self, cookie: TokenCookie) -> Result<Self, ConfigError> {
        let mut sources = self.settings.sources.clone();
        sources.add_cookie(cookie)?;
        Ok(self.with(|settings| settings.sources = sources))
    }

    /// Accepts tokens that are bound to a key, with the scheme `DPoP` and a proof in the header of that name (RFC
    /// 9449): beside bearer tokens, or [instead of them](crate::DpopBuilder::required). See [`dpop`](crate::dpop).
    ///
    /// A proof is for one URL, so this layer must see the path that the client has sent: put it around routers that cut
    /// some off the front, or name that part in the URL of the settings.
    ///
    /// # Errors
    ///
    /// The challenges would be none; there are no settings for which that is so.
    pub fn dpop(self, dpop: &Dpop) -> Result<Self, ConfigError> {
        let responder = Arc::new(self.settings.responder.with_dpop(dpop.offer())?);
        Ok(self.with(|settings| {
            settings.responder = responder;
            settings.sources.accept_dpop();
            settings.dpop = Some(dpop.clone());
        }))
    }

    /// Takes the token out of the requests that pass, so that services behind cannot use it or send it on. Other
    /// credentials than tokens stay.
    pub fn strip_token(self) -> Self {
        self.with(|settings| settings.strips = true)
    }

    fn with(self, change: impl FnOnce(&mut Settings<C>)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        Self { settings: Arc::new(settings) }
    }
}

impl<S, C> Layer<S> for JwtAuthLayer<C> {
    type Service = JwtAuth<S, C>;

    fn layer(&self, inner: S) -> JwtAuth<S, C> {
        JwtAuth::new(inner, Arc::clone(&self.settings))
    }
}

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for JwtAuthLayer<C> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings) }
    }
}

impl<C> Clone for Settings<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            responder: Arc::clone(&self.responder),
            sources: self.sources.clone(),
            dpop: self.dpop.clone(),
            mode: self.mode,
            strips: self.strips,
        }
    }
}

impl<C> fmt::Debug for JwtAuthLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthLayer").field("verifier", &self.settings.verifier).finish_non_exhaustive()
    }
}
