//! [`SessionBuilder`]: the settings of a session, and what is checked of them.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use crate::client::endpoint::{Carrier, Endpoint};
use crate::client::origin::{Origin, Origins};
use crate::client::proof::Place;
use crate::client::session::Session;
use crate::client::shared_state::Shared;
use crate::client::tokens::DynStorage;
use crate::clock::{Clock, SystemClock};
use crate::cookie::CookiePolicy;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::Crypto;
use crate::transport::Transport;

/// Settings of a [`Session`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct SessionBuilder {
    base: String,
    transport: Transport,
    storage: Box<dyn DynStorage>,
    clock: Box<dyn Clock>,
    carrier: Carrier,
    user_agent: Option<String>,
    origins: Vec<(String, bool)>,
    with_dpop: bool,
}

impl SessionBuilder {
    pub(super) fn new(base: &str, storage: Box<dyn DynStorage>, transport: Transport) -> Self {
        Self {
            base: base.to_owned(),
            transport,
            storage,
            clock: Box::new(SystemClock),
            carrier: Carrier::Body,
            user_agent: None,
            origins: Vec::new(),
            with_dpop: false,
        }
    }

    /// An origin besides the session service's own whose requests are sent the access token: `https://host[:port]`, or
    /// http on this machine. Compared exactly; a redirect to anywhere else goes without.
    pub fn add_origin(mut self, origin: &str) -> Self {
        self.origins.push((origin.to_owned(), false));
        self
    }

    /// As [`add_origin`](Self::add_origin), also for http on another machine, and needed if the session service itself
    /// is there: everyone on the way can read the tokens.
    pub fn insecure_add_origin(mut self, origin: &str) -> Self {
        self.origins.push((origin.to_owned(), true));
        self
    }

    /// Keeps the refresh token as a browser does, for a service with `Delivery::Cookie`: the cookie of this policy's
    /// name.
    pub fn cookie(mut self, cookie: &CookiePolicy) -> Self {
        self.carrier = Carrier::Cookie(cookie.name());
        self
    }

    /// Binds the tokens of each login to a key of its own (DPoP, RFC 9449), for a service that asks for proofs of
    /// possession: a stolen token is then of no use without the key.
    ///
    /// The key is made at the login, and kept in the [`TokenStorage`](crate::client::TokenStorage) as a part of the
    /// [`Tokens`](crate::client::Tokens). Tokens that are there without one go on as bearer tokens until the next
    /// login, and those with one need their proofs also in a session that was built without this. A service that
    /// answers such a login with a bearer token is [`Unexpected`](crate::client::ClientErrorKind::Unexpected).
    pub fn dpop(mut self) -> Self {
        self.with_dpop = true;
        self
    }

    /// What the session list of the user calls this client.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Replaces the system's clock, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A base that is no URL, or not https and not on this machine; an origin of another form; a user agent that cannot
    /// stand in a header; [`dpop`](Self::dpop) without a cryptographic backend.
    pub fn build(self) -> Result<Session, ConfigError> {
        let mut endpoint = Endpoint::new(&self.base)?;
        endpoint.carrier = self.carrier;
        endpoint.user_agent = match self.user_agent.map(HeaderValue::try_from) {
            Some(Ok(agent)) => Some(agent),
            Some(Err(error)) => {
                let message = "the user agent cannot stand in a header: use printable ASCII";
                return Err(ConfigError::new(ConfigErrorKind::Limit, message).with_source(error));
            }
            None => None,
        };
        if self.with_dpop {
            Crypto::compiled_in()?;
        }
        let added = self.origins.iter().map(|(origin, insecure)| Origin::parse(origin, *insecure));
        let mut origins = added.collect::<Result<Vec<_>, _>>()?;
        let own = Origin::parse(endpoint.origin(), true)?;
        if !origins.contains(&own) {
            // Without a word of the user it must be safe.
            origins.push(Origin::parse(endpoint.origin(), false)?);
        }
        let origins = Origins::new(origins);
        let own = origins.get(&own).cloned().unwrap_or_else(|| Arc::new(Place::new(own)));
        let (transport, storage, clock) = (self.transport, self.storage, self.clock);
        let shared = Shared::new(endpoint, (own, origins), self.with_dpop, transport, storage, clock);
        Ok(Session { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder").field("base", &self.base).finish_non_exhaustive()
    }
}
