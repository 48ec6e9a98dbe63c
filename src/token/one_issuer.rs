//! [`OneIssuer`]: the way of a token through the rules of the one issuer that it is held against.

use std::borrow::Cow;
use std::sync::Arc;

use crate::token::application_claims::ReadClaims;
use crate::token::cache::{FoundKey, Remembered, TokenCache};
use crate::token::claim_rules;
use crate::token::claims_set::ClaimsSet;
use crate::token::compact::{Compact, Scratch};
use crate::token::config::Core;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::header::Header;
use crate::token::json::Text;
use crate::token::keyset::KeySet;
use crate::token::verified::{Registered, Verified};

/// Longer ones than these are decoded on the heap.
const HEADER: usize = 256;
const PAYLOAD: usize = 1536;
/// That of an RSA key of 4096 bits, with the room that the decoder asks for.
const SIGNATURE: usize = 513;

/// What becomes of a token that is bound to a key by `cnf.jkt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// It is refused: nobody looks whether the key was shown.
    Refused,
    /// It is accepted: whoever asks compares the key with [`Registered::key_thumbprint`].
    Accepted,
}

/// One issuer as it is trusted: its configuration, keys included, and the application's checks of its tokens.
pub(crate) struct OneIssuer<C> {
    core: Arc<Core>,
    checks: Arc<[Check<C>]>,
    cache: Arc<TokenCache<C>>,
}

pub(crate) type Check<C> = Arc<dyn Fn(&Registered, &C) -> Result<(), Cow<'static, str>> + Send + Sync>;

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for OneIssuer<C> {
    fn clone(&self) -> Self {
        let (core, checks) = (Arc::clone(&self.core), Arc::clone(&self.checks));
        Self { core, checks, cache: Arc::clone(&self.cache) }
    }
}

impl<C> OneIssuer<C> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let cache = TokenCache::new(core.cache);
        Self { core, checks: Arc::new([]), cache }
    }

    pub(crate) fn name(&self) -> &str {
        &self.core.issuer
    }

    pub(crate) fn audiences(&self) -> &[Box<str>] {
        &self.core.audiences
    }

    pub(crate) fn max_token_bytes(&self) -> usize {
        self.core.max_token_bytes
    }

    /// The same issuer with one more check behind the others.
    pub(crate) fn and(&self, check: &Check<C>) -> Self {
        let checks = self.checks.iter().chain([check]).cloned().collect();
        Self { core: Arc::clone(&self.core), checks, cache: self.cache.anew() }
    }
}

impl<C: ReadClaims> OneIssuer<C> {
    /// What is decided over a token that was accepted before; `None` for any other.
    pub(crate) fn recall(&self, token: &[u8], bound: Bound) -> Option<Result<Verified<C>, TokenError>> {
        let core = &*self.core;
        let Remembered { verified, begins, key, at } = self.cache.get(token)?;
        let now = core.clock.now();
        if self.cache.is_stale(at, now) || !core.keys.with(|keys| keys.still_finds(key)) {
            self.cache.forget(token);
            return None;
        }
        let registered = verified.registered();
        if bound == Bound::Refused && registered.is_bound() {
            return Some(Err(claim_rules::not_shown()));
        }
        if let Err(error) = claim_rules::check_times(begins, registered.expires_at, core.leeway, now) {
            if error.kind() == TokenErrorKind::Expired {
                self.cache.forget(token);
            }
            return Some(Err(error));
        }
        Some(self.run_checks(registered, verified.claims()).map(|()| verified.clone()))
    }

    fn run_checks(&self, registered: &Registered, claims: &C) -> Result<(), TokenError> {
        for check in &*self.checks {
            check(registered, claims).map_err(|reason| TokenError::new(TokenErrorKind::Refused, reason))?;
        }
        Ok(())
    }

    /// What is decided over a token at first sight.
    pub(crate) fn verify_anew(&self, token: &str, bound: Bound) -> Result<Verified<C>, TokenError> {
        let core = &*self.core;
        let compact = Compact::split(token, core.max_token_bytes)?;

        let mut scratch = Scratch::<HEADER>::new();
        let header = Header::parse(scratch.decode(compact.header)?)?;
        let expected = match &header.typ {
            Some(_) => core.types.iter().any(|typ| header.has_type(typ)),
            None => core.accept_missing_type,
        };
        if !expected {
            return Err(TokenError::new(TokenErrorKind::Type, "`typ` is not that of an access token"));
        }
        let kid = header.kid.as_ref().map(|Text(kid)| &**kid);
        let key = core
            .keys
            .with(|keys| check_signature(core, keys, kid, &header.alg.0, &compact))
            .inspect_err(|error| {
                if error.kind() == TokenErrorKind::UnknownKey && kid.is_some() {
                    core.keys.report_unknown_key();
                }
            })?;

        let mut scratch = Scratch::<PAYLOAD>::new();
        let mut set = ClaimsSet::watching(core.profile.watched());
        let claims = set.read::<C>(scratch.decode(compact.payload)?)?;
        for name in &core.required {
            if !set.has(name) {
                return Err(TokenError::new(TokenErrorKind::Claims, format!("`{name}` is missing")));
            }
        }
        let now = core.clock.now();
        let (registered, begins) = claim_rules::check(core, &set, bound, now)?;
        self.run_checks(&registered, &claims)?;
        let verified = Verified::new(registered, claims);
        self.cache.insert(token.as_bytes(), Remembered { verified: verified.clone(), begins, key, at: now });
        Ok(verified)
    }
}

/// The key of this id, its one algorithm, then the signature.
fn check_signature(
    core: &Core,
    keys: &KeySet,
    kid: Option<&str>,
    alg: &str,
    token: &Compact<'_>,
) -> Result<FoundKey, TokenError> {
    let Some(key) = keys.find(kid) else {
        return Err(match keys.keys() {
            [] => TokenError::new(TokenErrorKind::NoKeys, "the keys of the issuer are not there yet"),
            _ => TokenError::new(TokenErrorKind::UnknownKey, "no key has the token's key id"),
        });
    };
    if !key.algorithm().is_named(alg) {
        return Err(TokenError::new(TokenErrorKind::Algorithm, "`alg` is not the algorithm of the key"));
    }
    let mut scratch = Scratch::<SIGNATURE>::new();
    let signature = scratch.decode(token.signature)?;
    if key.verify(core.crypto, token.signing_input.as_bytes(), signature) {
        Ok(FoundKey { identity: key.identity(), by_id: kid.is_some() })
    } else {
        Err(TokenError::new(TokenErrorKind::Signature, "the signature is not by the key"))
    }
}

#[cfg(all(test, feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::token::{AccessGrant, Issuer, KeySetHandle, NoClaims, SigningKey, TokenConfig};

    /// Or every stranger could make us fetch.
    #[test]
    fn only_an_unknown_key_id_is_told_to_the_source_of_keys() {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let keys = KeySetHandle::awaiting(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let builder = || TokenConfig::builder().issuer("https://i.example").audience("api");
        let key = |seed: u8, kid: &str| SigningKey::ed25519_seed(&[seed; 32]).unwrap().with_kid(kid);
        let own = Issuer::new(&builder().key(key(1, "one")).build().unwrap()).unwrap();
        let token = own.issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap();
        let verifier = builder().key_source(&keys).build().unwrap().verifier::<NoClaims>();
        for (seed, kid, expected, reports) in [
            (2, "one", Some(TokenErrorKind::Signature), 0),
            (1, "two", Some(TokenErrorKind::UnknownKey), 1),
            (1, "one", None, 1),
        ] {
            keys.store(KeySet::new([key(seed, kid).verifying_key().clone()]).unwrap());
            let refused = verifier.verify(token.expose()).err().map(|error| error.kind());
            assert_eq!((refused, told.load(Ordering::SeqCst)), (expected, reports), "{seed} {kid}");
        }
    }
}
