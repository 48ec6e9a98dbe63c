//! Proof of possession (DPoP, RFC 9449): access tokens that are bound to a key of the client, so that a stolen token is
//! of no use.
//!
//! With each request the client sends a proof in the header `DPoP`: a small JWT, signed with its own key, over the
//! method, the URL, the time and the access token. The token names that key's [`Thumbprint`](crate::Thumbprint)
//! (`cnf.jkt`).
//!
//! ```
//! use tower_jwt_auth::{ConfigError, Dpop, NonceKeys};
//!
//! # fn set_up(nonce_secret: &[u8]) -> Result<Dpop, ConfigError> {
//! // What clients write in front of the path, whatever a proxy makes of it on the way here.
//! Dpop::builder("https://www.example/api")
//!     .nonces(NonceKeys::new(nonce_secret)?)
//!     .required()
//!     .build()
//! # }
//! # set_up(&[7; 32]).unwrap();
//! ```
//!
//! A proof is checked in this order, and each step refuses by itself:
//!
//! 1. there is one header `DPoP`, and one only;
//! 2. size, compact form, `typ`, `alg`, the public key in `jwk`, and the signature by it;
//! 3. `jti`, `htm`, `htu`, `iat`, and `ath` where there is an access token (RFC 9449, section 4.3);
//! 4. `nonce`, where [nonces](DpopBuilder::nonces) are asked for;
//! 5. it was not used before.
//!
//! [`JwtAuthLayer::dpop`](crate::JwtAuthLayer::dpop) then compares its key with that of the token, and
//! [`AuthServiceBuilder::dpop`](crate::AuthServiceBuilder::dpop) binds sessions to the key that was shown at the login.
//! Pages of another origin read the challenge, `DPoP-Nonce` and the `Date` that their clock is set by only where
//! `Access-Control-Expose-Headers` names them.
//!
//! | attack | what happens |
//! |---|---|
//! | a copied access token, alone or as `Bearer` | 401: no proof, or `bound` |
//! | with a proof of another key | 401: `other_key` |
//! | with a copied proof | 401: it was used, or is for another URL, method or token, or is too old |
//! | a copied refresh token or cookie | 401 or 400; it can end its session by a logout, and do nothing else |
//! | proofs made ahead, by whoever has the key for a moment | 401 where nonces are asked for |
//! | so many proofs that no room is left | 503; none is forgotten, so none is accepted twice |
//!
//! - The URL in a proof is compared with the [base URLs](Dpop::builder) that the service states, never with `Host` or
//!   `X-Forwarded-*`. Query and fragment do not count, and `OPTIONS *` matches no proof.
//! - Proofs are remembered in this process. One that was used on one node can be used once on every other, and once
//!   more after a restart, for as long as it is young enough: 70 seconds by default. A
//!   [`ReplayLayer`](crate::ReplayLayer) and [`replays`](crate::AuthServiceBuilder::replays) remember them in a store
//!   that all nodes share.
//! - A client whose clock is wrong by more than the window is refused, with nonces as well.

mod builder;
mod error;
mod key;
mod memory;
mod nonce;
mod proof;
mod refusal;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};

use crate::clock::Clock;
use crate::dpop::memory::{Remembered, ReplayMemory};
use crate::dpop::nonce::{Known, Nonces};
use crate::dpop::proof::{Presented, Rules};

pub use builder::DpopBuilder;
pub(crate) use error::{ProofError, ProofErrorKind};
pub use key::{ProofKey, ProveError, ProveErrorKind};
pub use nonce::NonceKeys;
pub(crate) use proof::Proof;

/// Where the proof of a request is (RFC 9449, section 4.1).
const HEADER: &str = "dpop";

/// How a service checks proofs of possession. Clones share what they remember.
#[derive(Clone)]
pub struct Dpop(Arc<Inner>);

struct Inner {
    rules: Rules,
    algs: String,
    nonces: Option<Nonces>,
    required: bool,
    memory: ReplayMemory,
    clock: Arc<dyn Clock>,
}

impl Dpop {
    /// Proofs for a service that clients reach at this URL: `https://api.example`, or `https://www.example/api` where a
    /// proxy takes `/api` off the path. A slash at its end does not count. http does only on this machine.
    pub fn builder(base_url: impl Into<String>) -> DpopBuilder {
        DpopBuilder::new(base_url.into())
    }

    /// Whether a request comes with a proof.
    pub(crate) fn has_proof(headers: &HeaderMap) -> bool {
        headers.contains_key(HEADER)
    }

    /// Decides over the proof of a request, all but whether it was used before: for that there is
    /// [`remember`](Self::remember). `path` is the one that the service sees.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        method: &Method,
        path: &str,
        token: Option<&[u8]>,
    ) -> Result<Proof, ProofError> {
        let error = |kind, detail: &'static str| Err(ProofError::new(kind, detail));
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return error(ProofErrorKind::Missing, "there is no header `DPoP`");
        };
        if values.next().is_some() {
            return error(ProofErrorKind::Repeated, "there are several headers `DPoP`");
        }
        let Ok(text) = value.to_str() else {
            return error(ProofErrorKind::Malformed, "the header `DPoP` is not ASCII");
        };
        let now = self.0.clock.now();
        let request = Presented { method: method.as_str(), path, token };
        let mut proof = Proof::verify(text, &self.0.rules, &request, now)?;
        if let Some(nonces) = &self.0.nonces {
            let Some(nonce) = &proof.nonce else {
                return error(ProofErrorKind::NonceMissing, "`nonce` is missing");
            };
            match nonces.check(nonce, now) {
                Known::Current => {}
                Known::Previous => proof.nonce_is_previous = true,
                Known::Unknown => {
                    return error(ProofErrorKind::NonceUnknown, "`nonce` is an old one, or none of ours");
                }
            }
        }
        Ok(proof)
    }

    /// Lets a good proof pass once, in this process.
    pub(crate) fn remember(&self, proof: &Proof) -> Result<(), ProofError> {
        match self.0.memory.remember(&proof.id, self.0.clock.now(), proof.expires) {
            Remembered::New => Ok(()),
            Remembered::Seen => Err(ProofError::replayed()),
            Remembered::Full => {
                Err(ProofError::new(ProofErrorKind::MemoryFull, "the memory for proofs is full"))
            }
        }
    }

    /// For how long another memory, of several nodes, has to keep a proof: with the leeway, so that it is not forgotten
    /// while a node whose clock is behind still takes it.
    pub(crate) fn keep_for(&self, proof: &Proof) -> Duration {
        let left = proof.expires.saturating_duration_since(self.0.clock.now());
        left.max(Duration::from_millis(1)).saturating_add(self.0.rules.leeway)
    }

    /// The names of the algorithms, as a challenge has them in `algs` (RFC 9449, section 7.1).
    pub(crate) fn algs(&self) -> &str {
        &self.0.algs
    }

    /// Whether no token passes without a proof.
    pub(crate) fn is_required(&self) -> bool {
        self.0.required
    }

    /// The nonce for the next proof, the value of `DPoP-Nonce`; `None` if none is asked for.
    pub(crate) fn next_nonce(&self) -> Option<HeaderValue> {
        let nonces = self.0.nonces.as_ref()?;
        HeaderValue::try_from(nonces.current(self.0.clock.now())).ok()
    }
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("rules", &self.0.rules)
            .field("nonces", &self.0.nonces)
            .field("required", &self.0.required)
            .field("memory", &self.0.memory)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::test_util::ManualClock;

    const URL: &str = "https://api.example/orders";
    const TOKEN: &str = "an-access-token";

    fn builder(clock: &ManualClock) -> DpopBuilder {
        Dpop::builder("https://api.example").clock(clock.clone())
    }

    fn headers(proofs: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for proof in proofs {
            headers.append("dpop", HeaderValue::from_bytes(proof).unwrap());
        }
        headers
    }

    fn check(dpop: &Dpop, proofs: &[&[u8]]) -> Result<Proof, ProofErrorKind> {
        dpop.check(&headers(proofs), &Method::POST, "/orders", Some(TOKEN.as_bytes()))
            .map_err(|error| error.kind())
    }

    fn prove(key: &ProofKey, nonce: Option<&str>, now: Timestamp) -> String {
        key.prove("POST", URL, Some(TOKEN), nonce, now).unwrap()
    }

    #[test]
    fn row_66_there_is_exactly_one_header() {
        let clock = ManualClock::new();
        let dpop = builder(&clock).build().unwrap();
        let key = ProofKey::generate().unwrap();
        let good = prove(&key, None, clock.now());
        let good = good.as_bytes();
        for (row, proofs, expected) in [
            ("one", &[good][..], Ok(key.thumbprint())),
            ("none", &[], Err(ProofErrorKind::Missing)),
            ("twice the same", &[good, good], Err(ProofErrorKind::Repeated)),
            ("another before", &[b"a", good], Err(ProofErrorKind::Repeated)),
            ("an empty one behind", &[good, b""], Err(ProofErrorKind::Repeated)),
            ("an empty one", &[b""], Err(ProofErrorKind::Malformed)),
            ("not ASCII", &[b"\xc3\xa9.a.a"], Err(ProofErrorKind::Malformed)),
        ] {
            assert_eq!(check(&dpop, proofs).map(|proof| proof.thumbprint), expected, "{row}");
        }
    }

    #[test]
    fn the_request_decides_which_proof_is_good() {
        let clock = ManualClock::new();
        let dpop = builder(&clock).add_url("https://www.example/api").build().unwrap();
        let key = ProofKey::generate().unwrap();
        let good = prove(&key, None, clock.now());
        let behind =
            key.prove("POST", "https://www.example/api/orders", Some(TOKEN), None, clock.now()).unwrap();
        let (post, token) = (Method::POST, Some(TOKEN.as_bytes()));
        for (row, proof, method, path, token, expected) in [
            ("good", &good, &post, "/orders", token, None),
            ("the other URL", &behind, &post, "/orders", token, None),
            ("no token", &good, &post, "/orders", None, None),
            ("another method", &good, &Method::GET, "/orders", token, Some(ProofErrorKind::Method)),
            ("another path", &good, &post, "/orders/1", token, Some(ProofErrorKind::Target)),
            ("another token", &good, &post, "/orders", Some(&b"a"[..]), Some(ProofErrorKind::TokenHash)),
        ] {
            // What the request says of its host is not asked.
            let mut headers = headers(&[proof.as_bytes()]);
            headers.insert("host", HeaderValue::from_static("evil.example"));
            headers.insert("x-forwarded-host", HeaderValue::from_static("evil.example"));
            let decided = dpop.check(&headers, method, path, token);
            assert_eq!(decided.err().map(|error| error.kind()), expected, "{row}");
        }
    }

    #[test]
    fn row_67_nonces_where_they_are_asked_for() {
        let clock = ManualClock::new();
        let dpop = builder(&clock).nonces(NonceKeys::new([1; 32]).unwrap()).build().unwrap();
        let key = ProofKey::generate().unwrap();
        let nonce = dpop.next_nonce().unwrap();
        let nonce = nonce.to_str().unwrap();
        let decide = |nonce: Option<&str>| {
            let proof = prove(&key, nonce, clock.now());
            check(&dpop, &[proof.as_bytes()]).map(|proof| proof.nonce_is_previous)
        };
        assert_eq!(decide(None), Err(ProofErrorKind::NonceMissing));
        assert_eq!(decide(Some("")), Err(ProofErrorKind::NonceUnknown));
        assert_eq!(decide(Some(&nonce.repeat(9))), Err(ProofErrorKind::NonceUnknown));
        assert_eq!(decide(Some(nonce)), Ok(false));
        clock.advance(Duration::from_secs(300));
        assert_eq!(decide(Some(nonce)), Ok(true));
        clock.advance(Duration::from_secs(300));
        assert_eq!(decide(Some(nonce)), Err(ProofErrorKind::NonceUnknown));

        // It comes last: a proof that is bad in another way, too, is told of that.
        let old = prove(&key, None, clock.now().saturating_sub(Duration::from_secs(70)));
        assert_eq!(check(&dpop, &[old.as_bytes()]).unwrap_err(), ProofErrorKind::TooOld);

        let without = builder(&clock).build().unwrap();
        assert_eq!(without.next_nonce(), None);
        let proof = prove(&key, Some("of another server"), clock.now());
        assert!(check(&without, &[proof.as_bytes()]).is_ok());
    }

    #[test]
    fn a_proof_passes_once() {
        let clock = ManualClock::new();
        let dpop = builder(&clock).build().unwrap();
        let key = ProofKey::generate().unwrap();
        let text = prove(&key, None, clock.now());
        let proof = check(&dpop, &[text.as_bytes()]).unwrap();
        assert!(dpop.remember(&proof).is_ok());
        let again = dpop.clone();
        for second in 0..70 {
            let proof = check(&again, &[text.as_bytes()]).unwrap();
            assert_eq!(again.remember(&proof).unwrap_err().kind(), ProofErrorKind::Replayed, "{second}");
            clock.advance(Duration::from_secs(1));
        }
        assert_eq!(check(&dpop, &[text.as_bytes()]).unwrap_err(), ProofErrorKind::TooOld);
        clock.advance(Duration::from_secs(600));
        assert!(dpop.remember(&check(&dpop, &[prove(&key, None, clock.now()).as_bytes()]).unwrap()).is_ok());
        clock.step_back(Duration::from_secs(640));
        let proof = check(&dpop, &[text.as_bytes()]).unwrap();
        assert_eq!(
            dpop.remember(&proof).unwrap_err().kind(),
            ProofErrorKind::Replayed,
            "the clock went back"
        );
    }

    #[test]
    fn a_full_memory_is_no_fault_of_the_proof() {
        let clock = ManualClock::new();
        let dpop = builder(&clock).capacity(1).build().unwrap();
        let key = ProofKey::generate().unwrap();
        let proofs = [(); 2].map(|()| check(&dpop, &[prove(&key, None, clock.now()).as_bytes()]).unwrap());
        assert!(dpop.remember(&proofs[0]).is_ok());
        assert_eq!(dpop.remember(&proofs[1]).unwrap_err().kind(), ProofErrorKind::MemoryFull);
        assert_eq!(dpop.remember(&proofs[0]).unwrap_err().kind(), ProofErrorKind::Replayed);
    }

    #[test]
    fn another_memory_keeps_a_proof_for_as_long_as_a_slow_node_takes_it() {
        let clock = ManualClock::new();
        let dpop = builder(&clock).build().unwrap();
        let text = prove(&ProofKey::generate().unwrap(), None, clock.now());
        let proof = check(&dpop, &[text.as_bytes()]).unwrap();
        assert_eq!(dpop.keep_for(&proof), Duration::from_secs(80));
        clock.advance(Duration::from_secs(69));
        assert_eq!(dpop.keep_for(&proof), Duration::from_secs(11));
        clock.advance(Duration::from_secs(1000));
        assert_eq!(dpop.keep_for(&proof), Duration::from_millis(10_001));
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = NonceKeys::new([0xab; 32]).unwrap();
        let text = format!("{:?}", builder(&ManualClock::new()).nonces(keys).build().unwrap());
        assert!(!text.contains("171") && text.contains("https://api.example"), "{text}");
    }
}
