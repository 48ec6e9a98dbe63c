//! Proofs of possession (DPoP, RFC 9449) with the requests of a session, and the nonces that servers want in them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};

use crate::client::answer::wants_nonce;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::origin::Origin;
use crate::client::shared_state::Shared;
use crate::client::tokens_in_use::Held;
use crate::clock::Timestamp;
use crate::dpop::ProofKey;
use crate::timer;

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// No nonce that is longer is remembered: it would be in every request.
const MAX_NONCE_BYTES: usize = 1024;

/// An origin that is sent the access token, with the nonce that it gave last (RFC 9449, section 8).
#[derive(Debug)]
pub(super) struct Place {
    pub(super) origin: Origin,
    /// Never held across an await.
    nonce: Mutex<Option<Arc<str>>>,
}

impl Place {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, nonce: Mutex::default() }
    }

    fn nonce(&self) -> Option<Arc<str>> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers the nonce of an answer, and says which it is.
    pub(super) fn note(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let nonce: Arc<str> = nonce(headers)?.into();
        *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&nonce));
        Some(nonce)
    }

    /// What a proof calls a request to here.
    fn url(&self, uri: &Uri) -> String {
        format!("{}{}", self.origin, uri.path())
    }
}

/// The one nonce of an answer, in the characters that it may have (RFC 9449, section 8.1).
fn nonce(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(DPOP_NONCE).iter();
    let nonce = values.next()?.to_str().ok()?;
    let is_one = values.next().is_none() && (1..=MAX_NONCE_BYTES).contains(&nonce.len());
    (is_one && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'))
        .then_some(nonce)
}

/// What a request was sent with.
pub(super) struct With {
    pub(super) held: Arc<Held>,
    /// That of its proof.
    pub(super) nonce: Option<Arc<str>>,
}

/// A session, and where one request goes that is sent its token.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Arc<Place>,
}

impl Route {
    /// Puts the access token into a request, with a proof if it is bound to a key. If there can be none, the request is
    /// left as it is.
    pub(super) fn authorize<B>(
        &self,
        request: &mut Request<B>,
        held: &Arc<Held>,
    ) -> Result<With, ClientError> {
        let url = |uri: &Uri| self.place.url(uri);
        let nonce = self.shared.authorize(request, held, Some(&self.place), url)?;
        Ok(With { held: Arc::clone(held), nonce })
    }
}

impl Shared {
    /// Says which nonce it was sent with.
    fn authorize<B>(
        &self,
        request: &mut Request<B>,
        held: &Held,
        place: Option<&Place>,
        url: impl FnOnce(&Uri) -> String,
    ) -> Result<Option<Arc<str>>, ClientError> {
        let mut nonce = None;
        if let Some(key) = held.tokens.proof_key() {
            nonce = place.and_then(Place::nonce);
            let url = url(request.uri());
            let token = Some(held.tokens.expose_access_token());
            let proof = self.prove(key, request.method(), &url, token, nonce.as_deref())?;
            request.headers_mut().insert(DPOP, proof);
        }
        request.headers_mut().insert(AUTHORIZATION, held.authorization.clone());
        Ok(nonce)
    }

    /// For a request that no layer sends. The opening of a WebSocket is an HTTP request, and a proof calls it so.
    pub(super) fn authorize_alone<B>(
        &self,
        request: &mut Request<B>,
        held: &Held,
    ) -> Result<(), ClientError> {
        let url = request.uri().to_string();
        let url = url.strip_prefix("ws").map_or_else(|| url.clone(), |rest| format!("http{rest}"));
        let place = url.parse().ok().and_then(|uri| self.origins.find(&uri, None));
        self.authorize(request, held, place.map(|place| &**place), |_| url).map(drop)
    }

    fn prove(
        &self,
        key: &ProofKey,
        method: &Method,
        url: &str,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> Result<HeaderValue, ClientError> {
        let error = ClientError::new(ClientErrorKind::Proof, "a proof of possession could not be made");
        let proof = match key.prove(method.as_str(), url, token, nonce, self.now()) {
            Ok(proof) => proof,
            Err(source) => return Err(error.with_source(source.into())),
        };
        let mut value = HeaderValue::try_from(proof).map_err(|_| error)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The key of a new login.
    pub(super) fn new_key(&self) -> Result<Option<Arc<ProofKey>>, ClientError> {
        if !self.with_dpop {
            return Ok(None);
        }
        let key = ProofKey::generate().map_err(|source| {
            ClientError::new(ClientErrorKind::Proof, "a key for proofs of possession could not be made")
                .with_source(source.into())
        })?;
        Ok(Some(Arc::new(key)))
    }

    /// As [`exchange`](Self::exchange); with a key, with a proof by it, and once more at once if the server wants its
    /// nonce in it. Both together take no longer than `patience`.
    pub(super) async fn exchange_with_proof(
        &self,
        request: Request<Bytes>,
        key: Option<&ProofKey>,
        token: Option<&str>,
        patience: Duration,
    ) -> Result<(Response<Bytes>, Timestamp), ClientError> {
        let Some(key) = key else { return self.exchange(request, patience).await };
        let until = timer::now() + patience;
        let proved = |mut request: Request<Bytes>| {
            let (url, nonce) = (self.own.url(request.uri()), self.own.nonce());
            let proof = self.prove(key, request.method(), &url, token, nonce.as_deref())?;
            request.headers_mut().insert(DPOP, proof);
            Ok::<_, ClientError>(request)
        };
        let (answer, sent) = self.exchange(proved(request.clone())?, patience).await?;
        if self.own.note(answer.headers()).is_none() || !wants_nonce(&answer) {
            return Ok((answer, sent));
        }
        let left = until.saturating_duration_since(timer::now());
        let (answer, sent) = self.exchange(proved(request)?, left).await?;
        self.own.note(answer.headers());
        Ok((answer, sent))
    }
}

/// Whether a challenge refuses a proof for the want of a nonce (RFC 9449, section 9).
pub(super) fn is_nonce_challenge(challenge: &str) -> bool {
    let mut words = challenge.split([' ', ',']);
    words.any(|word| word.eq_ignore_ascii_case("DPoP")) && challenge.contains("use_dpop_nonce")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_that_are_remembered() {
        let place = Place::new(Origin::parse("https://api.example", false).unwrap());
        let long = "n".repeat(MAX_NONCE_BYTES + 1);
        for (values, expected) in [
            (&["one"][..], Some("one")),
            (&[], None),
            (&[""], None),
            (&["a b"], None),
            (&["a\"b"], None),
            (&["a\\b"], None),
            (&["two", "three"], None),
            (&[&*long], None),
            (&["eyJ7S_zG.eyJH0-Z.HX4w-7v~!#"], Some("eyJ7S_zG.eyJH0-Z.HX4w-7v~!#")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(DPOP_NONCE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(place.note(&headers).as_deref(), expected, "{values:?}");
        }
        // What cannot be one takes the last one's place no more than an answer without.
        assert_eq!(place.nonce().as_deref(), Some("eyJ7S_zG.eyJH0-Z.HX4w-7v~!#"));
    }

    #[test]
    fn the_url_of_a_request() {
        for (origin, uri, expected) in [
            ("https://api.example", "https://api.example/a/b?c=d", "https://api.example/a/b"),
            ("https://api.example", "https://API.example:443", "https://api.example/"),
            ("https://api.example:8443", "https://api.example:8443/x", "https://api.example:8443/x"),
            ("http://[::1]:80", "http://[::1]/x", "http://[::1]/x"),
            (
                "http://localhost:3000",
                "/package.Service/Method",
                "http://localhost:3000/package.Service/Method",
            ),
        ] {
            let place = Place::new(Origin::parse(origin, false).unwrap());
            assert_eq!(place.url(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn challenges() {
        for (challenge, expected) in [
            (r#"DPoP error="use_dpop_nonce", error_description="x""#, true),
            (r#"Bearer realm="x", dpop algs="ES256",error="use_dpop_nonce""#, true),
            (r#"DPoP error="invalid_token""#, false),
            (r#"DPoP error="invalid_dpop_proof""#, false),
            (r#"Bearer error="use_dpop_nonce""#, false),
            ("", false),
        ] {
            assert_eq!(is_nonce_challenge(challenge), expected, "{challenge}");
        }
    }
}
