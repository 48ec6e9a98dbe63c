//! The keys of a verifier: an immutable set, and a handle that exchanges it while requests run.
//!
//! ```
//! use tower_jwt_auth::{KeySet, VerifyingKey};
//!
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! let text = r#"{"keys":[
//!     {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
//!     {"kty":"AKP","kid":"b","alg":"ML-DSA-44","pub":""}
//! ]}"#;
//! let set = KeySet::from_jwks(text)?;
//! assert_eq!(set.keys().len(), 1);
//! assert_eq!(set.skipped()[0].reason(), "its kind (kty) is not supported");
//! # Ok(())
//! # }
//! ```

use std::fmt;
#[cfg(feature = "jwks")]
use std::sync::Weak;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::algorithm::{Algorithm, Family};
use crate::token::cache::FoundKey;
use crate::token::json::describe;
use crate::token::jwk::{self, Jwk};
use crate::token::key::VerifyingKey;

/// Longer key ids are refused in a configuration and never found in a token.
const MAX_KID_BYTES: usize = 256;

/// More keys than anybody needs: a set is searched for each token.
const MAX_KEYS: usize = 100;

/// Longer texts are not read.
const MAX_JWKS_BYTES: usize = 512 * 1024;

/// An immutable set of keys: at least one, every key id once, never HMAC keys beside public keys. (Only the handle of a
/// `RemoteJwks` has one without keys, before the first fetch.)
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Box<[VerifyingKey]>,
    skipped: Box<[SkippedKey]>,
}

/// A key of a JWK set that is not used. The others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    position: usize,
    kid: Option<String>,
    reason: &'static str,
}

/// All that is not used of a set.
pub(crate) type Skipped = Box<[SkippedKey]>;

impl SkippedKey {
    /// Where it stands in the set, from 0.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Its key id, if it has a readable one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Why it is not used.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl KeySet {
    /// A set of these keys.
    ///
    /// # Errors
    ///
    /// There is none, or more than 100; two have the same key id, or one has none or a longer one than 256 bytes; HMAC
    /// keys and public keys are mixed.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        let keys: Box<[_]> = keys.into_iter().collect();
        let bad = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Key, message));
        let Some(first) = keys.first() else {
            return bad("a verifier needs at least one key");
        };
        if keys.len() > MAX_KEYS {
            return bad("a verifier can have at most 100 keys");
        }
        if keys.iter().any(|key| key.algorithm().is_symmetric() != first.algorithm().is_symmetric()) {
            return bad("HMAC keys and public keys must not be in one configuration: use one for each");
        }
        for (at, key) in keys.iter().enumerate() {
            if !is_kid(key.kid()) {
                return bad("a key id must have 1 to 256 bytes");
            }
            if keys[..at].iter().any(|other| other.kid() == key.kid()) {
                return bad("two keys have the same key id: give each its own with `with_kid`");
            }
        }
        Ok(Self { keys, skipped: Box::default() })
    }

    /// The public keys of a JWK set (RFC 7517, section 5). RSA keys that do not name their algorithm are for RS256.
    ///
    /// Each key is read by itself: one that cannot be used is skipped and named in [`skipped`](Self::skipped) and in
    /// an event. HMAC keys and private keys are never used from a set, and of usable keys with the same id none is.
    ///
    /// # Errors
    ///
    /// The text is no JWK set, is longer than 512 KiB, has more than 100 keys, or none that can be used.
    pub fn from_jwks(text: &str) -> Result<Self, ConfigError> {
        Self::from_jwks_for(text, Algorithm::Rs256)
    }

    /// As [`from_jwks`](Self::from_jwks), with another algorithm for RSA keys that do not name theirs.
    ///
    /// # Errors
    ///
    /// As [`from_jwks`](Self::from_jwks), or the algorithm is none for RSA.
    pub fn from_jwks_for(text: &str, rsa: Algorithm) -> Result<Self, ConfigError> {
        let set = Self::read_jwks(text, rsa);
        match &set {
            Ok(set) => report(&set.skipped),
            Err((skipped, _)) => report(skipped.as_deref().unwrap_or_default()),
        }
        set.map_err(|(_, error)| error)
    }

    /// As [`from_jwks_for`](Self::from_jwks_for), and reports no key. An error comes with those that were skipped, if
    /// it came to that.
    pub(crate) fn read_jwks(text: &str, rsa: Algorithm) -> Result<Self, (Option<Skipped>, ConfigError)> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let error = |message: &'static str| ConfigError::new(ConfigErrorKind::Key, message);
        let bad = |message| (None, error(message));
        if rsa.family() != Family::Rsa {
            return Err(bad("the algorithm for RSA keys must be one for RSA"));
        }
        if text.len() > MAX_JWKS_BYTES {
            return Err(bad("the JWK set is longer than 512 KiB"));
        }
        if !jwk::is_object(text) {
            return Err(bad("the text is no JWK set"));
        }
        let document: Document<'_> = serde_json::from_str(text)
            .map_err(|reason| (None, error("the text is no JWK set").with_source(describe(&reason))))?;
        if document.keys.len() > MAX_KEYS {
            return Err(bad("the JWK set has more than 100 keys"));
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (position, text) in document.keys.iter().enumerate() {
            match read_member(text.get(), rsa) {
                Ok(key) => keys.push((position, key)),
                Err((kid, reason)) => skipped.push(SkippedKey { position, kid, reason }),
            }
        }
        drop_repeated(&mut keys, &mut skipped);
        skipped.sort_by_key(|skipped| skipped.position);
        let skipped = skipped.into_boxed_slice();
        if keys.is_empty() {
            return Err((Some(skipped), error("the JWK set has no key that can be used")));
        }
        match Self::new(keys.into_iter().map(|(_, key)| key)) {
            Ok(set) => Ok(Self { skipped, ..set }),
            Err(error) => Err((Some(skipped), error)),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// What was not used of the JWK set that this one was read from.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The public keys as a JWK set: what `GET /jwks.json` answers. HMAC keys are never in it, nor private members.
    pub fn to_jwks(&self) -> String {
        let keys: Vec<_> = self.keys.iter().filter_map(VerifyingKey::to_jwk).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// The key with this id; without an id, the only key there is.
    pub(crate) fn find(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        match (kid, &*self.keys) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid() == kid),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl KeySet {
    /// Whether a token whose key was found so would find the same one now.
    pub(crate) fn still_finds(&self, key: FoundKey) -> bool {
        (key.by_id || self.keys.len() == 1) && self.keys.iter().any(|held| held.identity() == key.identity)
    }
}

/// Tells of the keys of a JWK set that are not used.
pub(crate) fn report(skipped: &[SkippedKey]) {
    for skipped in skipped {
        tracing::warn!(
            name: "key_skipped", target: "tower_jwt_auth::keys", position = skipped.position,
            kid = skipped.kid.as_deref(), reason = skipped.reason, "a key of a JWK set is not used"
        );
    }
}

fn read_member(text: &str, rsa: Algorithm) -> Result<VerifyingKey, (Option<String>, &'static str)> {
    let jwk = Jwk::parse(text)
        .map_err(|_| (readable_kid(text), "it is no JWK, or a member is repeated or has the wrong type"))?;
    let kid = jwk.kid.as_deref();
    if kid.is_some_and(|kid| !is_kid(kid)) {
        return Err((None, "its key id is empty or too long"));
    }
    let skip = |reason| (kid.map(str::to_owned), reason);
    if jwk.is_secret() {
        return Err(skip("it is a shared or private key, which must not be in a set"));
    }
    let algorithm = jwk.algorithm(rsa).map_err(skip)?;
    let material = jwk.public(algorithm).map_err(skip)?;
    material.check(algorithm).map_err(skip)?;
    let key = VerifyingKey::of(algorithm, material).map_err(|_| skip("it cannot be used"))?;
    Ok(match kid {
        Some(kid) => key.with_kid(kid),
        None => key,
    })
}

fn is_kid(kid: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&kid.len())
}

/// The id of a key of which nothing else may be readable.
fn readable_kid(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        kid: String,
    }
    let named = serde_json::from_str::<Named>(text).ok()?;
    (jwk::is_object(text) && is_kid(&named.kid)).then_some(named.kid)
}

/// Of several keys with one id it cannot be said which is meant.
fn drop_repeated(keys: &mut Vec<(usize, VerifyingKey)>, skipped: &mut Vec<SkippedKey>) {
    let kids: Vec<String> = keys.iter().map(|(_, key)| key.kid().to_owned()).collect();
    keys.retain(|(position, key)| {
        let unique = kids.iter().filter(|kid| *kid == key.kid()).count() == 1;
        if !unique {
            let kid = Some(key.kid().to_owned());
            skipped.push(SkippedKey { position: *position, kid, reason: "another key has the same key id" });
        }
        unique
    });
}

/// A key set that can be exchanged while requests run. Clones see the same set. Reading takes no lock.
#[derive(Clone)]
pub struct KeySetHandle {
    inner: Arc<Inner>,
}

struct Inner {
    current: ArcSwap<KeySet>,
    /// Told of a token whose key is not in the set, by whoever fills it from elsewhere.
    on_unknown_key: Option<Box<dyn Fn() + Send + Sync>>,
    /// Held by those who change the set, never by those who read it: two changes at once must not undo each other.
    changing: Mutex<()>,
}

impl KeySetHandle {
    /// A handle that begins with this set.
    pub fn new(set: KeySet) -> Self {
        Self::with_source(set, None)
    }

    /// A handle without keys, which wait for a source that is told when a key is missing.
    #[cfg(feature = "jwks")]
    pub(crate) fn awaiting(on_unknown_key: impl Fn() + Send + Sync + 'static) -> Self {
        let none = KeySet { keys: Box::default(), skipped: Box::default() };
        Self::with_source(none, Some(Box::new(on_unknown_key)))
    }

    fn with_source(set: KeySet, on_unknown_key: Option<Box<dyn Fn() + Send + Sync>>) -> Self {
        let (current, changing) = (ArcSwap::from_pointee(set), Mutex::new(()));
        Self { inner: Arc::new(Inner { current, on_unknown_key, changing }) }
    }

    /// Whether a source elsewhere fills it.
    pub(crate) fn is_fed(&self) -> bool {
        self.inner.on_unknown_key.is_some()
    }

    /// For a source, which must not keep the handle for itself alone.
    #[cfg(feature = "jwks")]
    pub(crate) fn downgrade(&self) -> WeakKeySet {
        WeakKeySet { inner: Arc::downgrade(&self.inner) }
    }

    /// Tells the source, if there is one, of a token whose key is not in the set.
    pub(crate) fn report_unknown_key(&self) {
        if let Some(tell) = &self.inner.on_unknown_key {
            tell();
        }
    }

    /// The set of this moment.
    pub fn load(&self) -> Arc<KeySet> {
        self.inner.current.load_full()
    }

    /// Exchanges the set. Requests that are being verified go on with the one they began with.
    pub fn store(&self, set: KeySet) {
        let _changing = self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.current.store(Arc::new(set));
    }

    /// Looks at the current set while nobody changes it.
    pub(crate) fn hold<R>(&self, look: impl FnOnce(&KeySet) -> R) -> R {
        let _changing = self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
        look(&self.inner.current.load())
    }

    /// Makes the next set from the current one.
    pub(crate) fn change<E>(&self, next: impl FnOnce(&KeySet) -> Result<KeySet, E>) -> Result<(), E> {
        let _changing = self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let set = next(&self.inner.current.load())?;
        self.inner.current.store(Arc::new(set));
        Ok(())
    }

    pub(crate) fn with<R>(&self, read: impl FnOnce(&KeySet) -> R) -> R {
        read(&self.inner.current.load())
    }
}

/// A [`KeySetHandle`] as long as somebody else holds it.
#[cfg(feature = "jwks")]
pub(crate) struct WeakKeySet {
    inner: Weak<Inner>,
}

#[cfg(feature = "jwks")]
impl WeakKeySet {
    pub(crate) fn upgrade(&self) -> Option<KeySetHandle> {
        self.inner.upgrade().map(|inner| KeySetHandle { inner })
    }
}

impl fmt::Debug for KeySetHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySetHandle").field(&self.load()).finish()
    }
}
