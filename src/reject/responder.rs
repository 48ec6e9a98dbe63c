//! [`Responder`]: how the refusals of one bearer layer, and of what stands behind it, are answered.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::error::ConfigError;
use crate::reject::{Challenge, DpopOffer, Rejection};

type Respond = dyn Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync;

/// The challenges of a realm, and the application's own answers where it has some.
#[derive(Clone)]
pub(crate) struct Responder {
    challenge: Arc<Challenge>,
    respond: Option<Arc<Respond>>,
}

impl Responder {
    /// The realm `api`, and the answers of the crate.
    pub(crate) fn standard() -> Self {
        Self { challenge: Arc::new(Challenge::standard()), respond: None }
    }

    pub(crate) fn new(realm: &str) -> Result<Self, ConfigError> {
        Ok(Self { challenge: Arc::new(Challenge::of_realm(realm)?), respond: None })
    }

    pub(crate) fn with_realm(&self, realm: &str) -> Result<Self, ConfigError> {
        Ok(Self { challenge: Arc::new(self.challenge.with_realm(realm)?), respond: self.respond.clone() })
    }

    pub(crate) fn with_resource_metadata(&self, url: &str) -> Result<Self, ConfigError> {
        let challenge = Arc::new(self.challenge.with_resource_metadata(url)?);
        Ok(Self { challenge, respond: self.respond.clone() })
    }

    pub(crate) fn with_dpop(&self, offer: DpopOffer) -> Result<Self, ConfigError> {
        Ok(Self { challenge: Arc::new(self.challenge.with_dpop(offer)?), respond: self.respond.clone() })
    }

    pub(crate) fn with_respond(
        &self,
        respond: impl Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { challenge: Arc::clone(&self.challenge), respond: Some(Arc::new(respond)) }
    }

    pub(crate) fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// Whether the application makes answers of its own.
    pub(crate) fn asks_application(&self) -> bool {
        self.respond.is_some()
    }

    /// The answer to a refused request, with the reason in its extensions for layers further out.
    pub(super) fn answer(&self, rejection: &Rejection, request: &Parts) -> Response<Bytes> {
        let mut response = match &self.respond {
            Some(respond) => respond(rejection, request),
            None => rejection.to_response(),
        };
        response.extensions_mut().insert(rejection.detached());
        response
    }
}
