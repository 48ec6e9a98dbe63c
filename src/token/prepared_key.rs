//! [`Prepared`]: a key as the backend aws-lc-rs takes it, read once. `jsonwebtoken` reads a key anew for each
//! signature, which is a sixth of the cost of RSA.

use std::fmt;

use crate::token::algorithm::Algorithm;
use crate::token::material::PublicMaterial;

/// Without the feature `aws-lc-rs` there is none.
#[derive(Clone)]
pub(crate) struct Prepared(imp::Key);

impl Prepared {
    /// `None` for what has to be left to `jsonwebtoken`.
    pub(crate) fn new(algorithm: Algorithm, material: &PublicMaterial) -> Option<Self> {
        imp::Key::new(algorithm, material).map(Self)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature)
    }
}

/// Nothing of the key.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

#[cfg(feature = "aws-lc-rs")]
mod imp {
    use aws_lc_rs::hmac;
    use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};

    use super::{Algorithm, PublicMaterial};
    use crate::secret::ExposeSecret;

    #[derive(Clone)]
    pub(super) enum Key {
        Hmac(Box<hmac::Key>),
        Public(ParsedPublicKey),
    }

    impl Key {
        pub(super) fn new(algorithm: Algorithm, material: &PublicMaterial) -> Option<Self> {
            let rule: &'static dyn VerificationAlgorithm = match algorithm {
                Algorithm::Hs256 => return Self::hmac(hmac::HMAC_SHA256, material),
                Algorithm::Hs384 => return Self::hmac(hmac::HMAC_SHA384, material),
                Algorithm::Hs512 => return Self::hmac(hmac::HMAC_SHA512, material),
                Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
                Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
                Algorithm::EdDsa => &signature::ED25519,
            };
            ParsedPublicKey::new(rule, material.encoded()?).ok().map(Self::Public)
        }

        fn hmac(rule: hmac::Algorithm, material: &PublicMaterial) -> Option<Self> {
            let PublicMaterial::Hmac(secret) = material else { return None };
            Some(Self::Hmac(Box::new(hmac::Key::new(rule, secret.expose_secret()))))
        }

        pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
            match self {
                // In constant time.
                Self::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
                Self::Public(key) => key.verify_sig(message, signature).is_ok(),
            }
        }
    }
}

#[cfg(not(feature = "aws-lc-rs"))]
mod imp {
    use super::{Algorithm, PublicMaterial};

    #[derive(Clone)]
    pub(super) enum Key {}

    impl Key {
        pub(super) fn new(_: Algorithm, _: &PublicMaterial) -> Option<Self> {
            None
        }

        pub(super) fn verify(&self, _: &[u8], _: &[u8]) -> bool {
            match *self {}
        }
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use super::*;
    use crate::token::{KeyForm, SigningKey};

    #[test]
    fn every_algorithm_is_decided_as_jsonwebtoken_decides_it() {
        for &algorithm in Algorithm::ALL {
            let pem = match algorithm.as_str() {
                "ES256" => include_bytes!("../../tests/fixtures/keys/p256.pkcs8.pem").as_slice(),
                "ES384" => include_bytes!("../../tests/fixtures/keys/p384.pkcs8.pem"),
                "EdDSA" => include_bytes!("../../tests/fixtures/keys/ed25519.pkcs8.pem"),
                _ => include_bytes!("../../tests/fixtures/keys/rsa.pkcs8.pem"),
            };
            let form = match algorithm.as_str() {
                "HS256" | "HS384" | "HS512" => KeyForm::Secret(&[7; 64]),
                _ => KeyForm::Pem(pem),
            };
            let key = SigningKey::read(algorithm, form).unwrap();
            let good = key.sign(b"message").unwrap();
            let mut flipped = good.clone();
            flipped[9] ^= 1;
            let longer = [&*good, &[0]].concat();
            for (row, message, signature, expected) in [
                ("good", &b"message"[..], &*good, true),
                ("another message", b"massage", &*good, false),
                ("a flipped bit", b"message", &*flipped, false),
                ("cut", b"message", &good[..good.len() - 1], false),
                ("longer", b"message", &*longer, false),
                ("none", b"message", &[], false),
                ("zeros", b"message", &vec![0; good.len()], false),
            ] {
                let decided = key.verifying_key().decide_both_ways(message, signature);
                assert_eq!(decided, Some([expected; 2]), "{} {row}", algorithm.as_str());
            }
        }
    }
}
