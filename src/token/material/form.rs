//! [`KeyForm`]: the forms that a key may come in.

use std::fmt;

/// A key as it comes: a text or bytes, and how to read them.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum KeyForm<'a> {
    /// The bytes of an HMAC key.
    Secret(&'a [u8]),
    /// An HMAC key in base64: either alphabet, with or without padding.
    Base64(&'a str),
    /// PEM (RFC 7468): PKCS#8, PKCS#1 or SEC1 for a private key, SPKI or PKCS#1 for a public one.
    Pem(&'a [u8]),
    /// The same in DER.
    Der(&'a [u8]),
    /// One JWK (RFC 7517).
    Jwk(&'a str),
}

/// The name of the form, not the key.
impl fmt::Debug for KeyForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Base64(_) => "Base64(..)",
            Self::Pem(_) => "Pem(..)",
            Self::Der(_) => "Der(..)",
            Self::Jwk(_) => "Jwk(..)",
        })
    }
}
