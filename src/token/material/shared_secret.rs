//! The bytes of an HMAC key, as they are or in base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::IgnoredAny;

use crate::error::ConfigError;
use crate::secret::{ExposeSecret, SecretSlice};
use crate::token::material::bad_key;
use crate::token::material::der::{is_private_der, is_public_der};

/// The bytes of a secret. A key in another form would be one that is known to others: most often a public key.
pub(super) fn hmac_secret(secret: SecretSlice<u8>) -> Result<SecretSlice<u8>, ConfigError> {
    let bytes = secret.expose_secret();
    let is_pem = bytes.windows(11).any(|part| part == b"-----BEGIN ");
    let is_json =
        bytes.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    if is_pem || is_json {
        return Err(bad_key(
            "the secret is the text of a PEM or JWK key: read it with `KeyForm::Pem` or `KeyForm::Jwk`",
        ));
    }
    if is_public_der(bytes) || is_private_der(bytes) {
        return Err(bad_key("the secret is a key in DER: read it with `KeyForm::Der`"));
    }
    Ok(secret)
}

pub(super) fn decode_base64(text: &str) -> Result<SecretSlice<u8>, ConfigError> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.trim();
    [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
        .map(Into::into)
        .ok_or_else(|| bad_key("the secret is not base64"))
}
