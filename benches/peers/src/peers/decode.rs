//! A layer as it is written by hand around `jsonwebtoken::decode`: key and rules are made once, nothing is boxed, the
//! claims are typed and shared.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Extensions, HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::request::{Sent, Who, inner};
use crate::tokens::{AUDIENCE, Claims, ISSUER, Tokens};

pub fn service(
    tokens: &Tokens,
) -> impl Service<Sent, Response = Response<Full<Bytes>>, Error = Infallible> + use<> {
    DecodeLayer::new(tokens).layer(inner(who))
}

fn who(extensions: &Extensions) -> Option<Who> {
    extensions.get::<Arc<Claims>>().map(|claims| (claims.sub.clone(), claims.email.clone()))
}

/// The key, and what a token must be like.
pub struct Rules {
    pub algorithm: Algorithm,
    pub key: DecodingKey,
    validation: Validation,
}

impl Rules {
    pub fn new(tokens: &Tokens) -> Self {
        let algorithm = tokens.algorithm.as_str().parse().unwrap();
        let jwk = serde_json::from_value(tokens.jwk()).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        Self { algorithm, key: DecodingKey::from_jwk(&jwk).unwrap(), validation }
    }

    pub fn decode(&self, token: &str) -> Option<Claims> {
        jsonwebtoken::decode(token, &self.key, &self.validation).ok().map(|data| data.claims)
    }

    fn check(&self, headers: &HeaderMap) -> Option<Claims> {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { self.decode(token.trim_start_matches(' ')) } else { None }
    }
}

#[derive(Clone)]
pub struct DecodeLayer {
    rules: Arc<Rules>,
}

impl DecodeLayer {
    pub fn new(tokens: &Tokens) -> Self {
        Self { rules: Arc::new(Rules::new(tokens)) }
    }
}

impl<S> Layer<S> for DecodeLayer {
    type Service = Decode<S>;

    fn layer(&self, inner: S) -> Decode<S> {
        Decode { inner, rules: Arc::clone(&self.rules) }
    }
}

#[derive(Clone)]
pub struct Decode<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S, B, R> Service<Request<B>> for Decode<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.rules.check(request.headers()) {
            Some(claims) => {
                request.extensions_mut().insert(Arc::new(claims));
                Answer::Inner { future: self.inner.call(request) }
            }
            None => Answer::Refused,
        }
    }
}

pin_project! {
    #[project = AnswerProjected]
    pub enum Answer<F> {
        Inner { #[pin] future: F },
        Refused,
    }
}

impl<F, R, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Poll::Ready(match self.project() {
            AnswerProjected::Inner { future } => ready!(future.poll(cx)),
            AnswerProjected::Refused => Ok(refusal()),
        })
    }
}

fn refusal<R: Default>() -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
