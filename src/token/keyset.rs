//! The keys of one verifier.

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::key::VerifyingKey;

/// Longer key ids are refused in a configuration and never found in a token.
const MAX_KID_BYTES: usize = 256;

/// An immutable set of keys: at least one, every `kid` once, never HMAC keys beside public keys.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Box<[VerifyingKey]>,
}

impl KeySet {
    pub(crate) fn new(keys: Vec<VerifyingKey>) -> Result<Self, ConfigError> {
        let bad = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Key, message));
        let Some(first) = keys.first() else {
            return bad("a verifier needs at least one key");
        };
        if keys.iter().any(|key| key.algorithm().is_symmetric() != first.algorithm().is_symmetric()) {
            return bad(
                "HMAC keys and public keys must not be in one verifier: use one configuration for each",
            );
        }
        for (at, key) in keys.iter().enumerate() {
            if key.kid().is_empty() || key.kid().len() > MAX_KID_BYTES {
                return bad("a key id must have 1 to 256 bytes");
            }
            if keys[..at].iter().any(|other| other.kid() == key.kid()) {
                return bad("two keys have the same key id: give each its own with `with_kid`");
            }
        }
        Ok(Self { keys: keys.into() })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hmac(kid: &str) -> VerifyingKey {
        VerifyingKey::hs256([1; 32]).unwrap().with_kid(kid)
    }

    fn public(kid: &str) -> VerifyingKey {
        VerifyingKey::ed25519(&[9; 32]).unwrap().with_kid(kid)
    }

    #[test]
    fn row_35_ambiguous_sets_are_refused() {
        for (name, keys) in [
            ("empty", vec![]),
            ("mixed", vec![hmac("a"), public("b")]),
            ("mixed, other order", vec![public("b"), hmac("a")]),
            ("same kid", vec![hmac("a"), hmac("a")]),
            ("empty kid", vec![hmac("")]),
            ("long kid", vec![hmac(&"k".repeat(257))]),
        ] {
            assert_eq!(KeySet::new(keys).unwrap_err().kind(), ConfigErrorKind::Key, "{name}");
        }
    }

    #[test]
    fn a_token_without_kid_finds_the_only_key() {
        let one = KeySet::new(vec![hmac("a")]).unwrap();
        assert!(one.find(None).is_some() && one.find(Some("a")).is_some() && one.find(Some("b")).is_none());
        let two = KeySet::new(vec![hmac("a"), hmac("b")]).unwrap();
        assert!(two.find(None).is_none());
        assert_eq!(two.find(Some("b")).unwrap().kid(), "b");
    }
}
