//! [`DpopBuilder`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::dpop::memory::ReplayMemory;
use crate::dpop::nonce::{NonceKeys, Nonces};
use crate::dpop::proof::Rules;
use crate::dpop::target::Base;
use crate::dpop::{Dpop, Inner};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::{Algorithm, Crypto};

const MAX_AGE: Duration = Duration::from_secs(5 * 60);
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Builds a [`Dpop`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct DpopBuilder {
    urls: Vec<String>,
    algorithms: Vec<Algorithm>,
    max_age: Duration,
    leeway: Duration,
    nonces: Option<NonceKeys>,
    nonce_period: Duration,
    capacity: usize,
    required: bool,
    clock: Arc<dyn Clock>,
    crypto: Option<Crypto>,
}

impl DpopBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            urls: vec![url],
            algorithms: vec![
                Algorithm::Es256,
                Algorithm::Es384,
                Algorithm::EdDsa,
                Algorithm::Rs256,
                Algorithm::Ps256,
            ],
            max_age: Duration::from_secs(60),
            leeway: Duration::from_secs(10),
            nonces: None,
            nonce_period: Duration::from_secs(5 * 60),
            capacity: 100_000,
            required: false,
            clock: Arc::new(SystemClock),
            crypto: None,
        }
    }

    /// One more URL under which the service is reached.
    pub fn add_url(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// The algorithms that proofs may be signed with, the preferred one first: by default ES256, ES384, EdDSA, RS256
    /// and PS256. All must be asymmetric.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How old a proof may be: by default 60 seconds, at most 5 minutes.
    ///
    /// A client whose clock is further behind than this and the [`leeway`](Self::leeway) together is refused. With
    /// [`nonces`](Self::nonces) nobody can make proofs in advance that are good later.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// How far the clocks of clients may differ, on top of the age: by default 10 seconds, at most a minute.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Asks for a nonce of the server's in every proof (RFC 9449, section 9). All nodes of a service need the same
    /// keys.
    pub fn nonces(mut self, keys: NonceKeys) -> Self {
        self.nonces = Some(keys);
        self
    }

    /// How long a nonce is given out: by default 5 minutes, from one minute to one hour. It is accepted for as long
    /// again.
    pub fn nonce_period(mut self, period: Duration) -> Self {
        self.nonce_period = period;
        self
    }

    /// How many proofs are remembered at most: by default `100_000`, which is enough for 1200 requests a second, and
    /// takes about 4 MB once it is used.
    ///
    /// When so many proofs were seen that could be used again, a request with a new one is refused with 503 until the
    /// oldest have ended. None is ever accepted twice. Only who has a session and its key can use it up, and one such
    /// client can use it up for all: it takes more requests a second than those above. Let a limit in front forbid
    /// that.
    pub fn capacity(mut self, proofs: usize) -> Self {
        self.capacity = proofs;
        self
    }

    /// Accepts no tokens that are not bound to a key: there is no `Bearer` beside `DPoP`.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The clock that proofs and nonces are judged by; the system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A cryptographic backend of one's own, instead of the compiled-in one.
    pub fn crypto(mut self, crypto: Crypto) -> Self {
        self.crypto = Some(crypto);
        self
    }

    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// What the methods above name as out of bounds; a URL that is not https, or http on this machine, or that has a
    /// query, a fragment or a user name; no cryptographic backend.
    pub fn build(self) -> Result<Dpop, ConfigError> {
        self.check()?;
        let bases = self.urls.iter().map(|url| Base::parse(url)).collect::<Result<_, _>>()?;
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for algorithm in self.algorithms {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        // Clients that compare names may know only the one of RFC 9864.
        let names = |algorithm: &Algorithm| match algorithm {
            Algorithm::EdDsa => "EdDSA Ed25519",
            other => other.as_str(),
        };
        let algs = algorithms.iter().map(names).collect::<Vec<_>>().join(" ");
        Ok(Dpop(Arc::new(Inner {
            rules: Rules {
                crypto: self.crypto.map_or_else(Crypto::compiled_in, Ok)?,
                algorithms: algorithms.into(),
                bases,
                max_age: self.max_age,
                leeway: self.leeway,
            },
            algs,
            nonces: self.nonces.map(|keys| Nonces::new(keys, self.nonce_period)),
            required: self.required,
            memory: ReplayMemory::new(self.capacity),
            clock: self.clock,
        })))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let error = |kind, message: &'static str| Err(ConfigError::new(kind, message));
        if self.algorithms.is_empty() {
            return error(ConfigErrorKind::Key, "no algorithm is left for proofs: name at least one");
        }
        if self.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            return error(
                ConfigErrorKind::Key,
                "a proof must not be signed with a shared secret (HS256, HS384, HS512): name asymmetric algorithms",
            );
        }
        if self.max_age < Duration::from_secs(1) || self.max_age > MAX_AGE {
            return error(ConfigErrorKind::Lifetime, "the age of a proof must be from 1 second to 5 minutes");
        }
        if self.leeway > MAX_LEEWAY {
            return error(ConfigErrorKind::Lifetime, "the leeway of a proof must be at most one minute");
        }
        if !(Duration::from_secs(60)..=Duration::from_secs(60 * 60)).contains(&self.nonce_period) {
            return error(ConfigErrorKind::Lifetime, "the nonce period must be from one minute to one hour");
        }
        if self.capacity == 0 {
            return error(
                ConfigErrorKind::Limit,
                "with a capacity of 0 every proof is refused: remember at least one",
            );
        }
        Ok(())
    }
}

impl fmt::Debug for DpopBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopBuilder")
            .field("urls", &self.urls)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;

    fn builder() -> DpopBuilder {
        Dpop::builder("https://api.example")
    }

    #[test]
    fn what_cannot_work_is_not_built() {
        use ConfigErrorKind::{Key, Lifetime, Limit, Origin};
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let milli = Duration::from_millis(1);
        for (row, builder, expected) in [
            ("the defaults", builder(), None),
            ("http", Dpop::builder("http://api.example"), Some(Origin)),
            ("http on this machine", Dpop::builder("http://localhost:3000"), None),
            ("a second URL that is none", builder().add_url("www.example"), Some(Origin)),
            ("a URL with a query", builder().add_url("https://www.example/?a"), Some(Origin)),
            ("no algorithm", builder().algorithms([]), Some(Key)),
            ("a symmetric one", builder().algorithms([Algorithm::Es256, Algorithm::Hs256]), Some(Key)),
            ("one", builder().algorithms([Algorithm::Ps512]), None),
            ("no age", builder().max_age(Duration::ZERO), Some(Lifetime)),
            ("the greatest age", builder().max_age(5 * 60 * second), None),
            ("beyond it", builder().max_age(5 * 60 * second + milli), Some(Lifetime)),
            ("no leeway", builder().leeway(Duration::ZERO), None),
            ("the greatest leeway", builder().leeway(60 * second), None),
            ("beyond it", builder().leeway(60 * second + milli), Some(Lifetime)),
            ("a short period", builder().nonce_period(59 * second), Some(Lifetime)),
            ("the shortest", builder().nonce_period(60 * second), None),
            ("the longest", builder().nonce_period(hour), None),
            ("beyond it", builder().nonce_period(hour + milli), Some(Lifetime)),
            ("no memory", builder().capacity(0), Some(Limit)),
        ] {
            assert_eq!(builder.build().err().map(|error| error.kind()), expected, "{row}");
        }
    }

    #[test]
    fn row_66_the_algorithms_are_named_in_order() {
        assert_eq!(builder().build().unwrap().algs(), "ES256 ES384 EdDSA Ed25519 RS256 PS256");
        let twice = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::EdDsa];
        let dpop = builder().algorithms(twice).required().build().unwrap();
        assert_eq!((dpop.algs(), dpop.is_required()), ("EdDSA Ed25519 ES256", true));
        assert!(!builder().build().unwrap().is_required());
    }
}
