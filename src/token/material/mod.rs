//! Key material in one form each, whatever form it came in: PEM, DER, JWK or plain bytes.

mod der;
mod form;
mod pem;
mod private;
mod public;
mod shared_secret;
mod strength;

use crate::error::{ConfigError, ConfigErrorKind};

pub use self::form::KeyForm;
pub(super) use self::private::{PrivateMaterial, RsaNumbers};
pub(super) use self::public::PublicMaterial;

pub(crate) fn bad_key(message: &'static str) -> ConfigError {
    ConfigError::new(ConfigErrorKind::Key, message)
}

fn other_family() -> ConfigError {
    bad_key(
        "the key is of another kind than its algorithm needs: EdDSA an Ed25519 key, ES256 one on P-256, ES384 one on \
         P-384, RS and PS an RSA key, HS a secret",
    )
}
