//! Keys in PEM: the one key of a text, and what its label says that it is.

use zeroize::Zeroizing;

use crate::error::ConfigError;
use crate::token::material::bad_key;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PemLabel {
    Pkcs8,
    Pkcs1Private,
    Sec1,
    Spki,
    Pkcs1Public,
}

/// The one key of a PEM text. `openssl ecparam` writes the curve's parameters before it.
pub(super) fn pem_block(text: &[u8]) -> Result<(PemLabel, Zeroizing<Vec<u8>>), ConfigError> {
    // Without the reader's own error: it quotes the text, which may be a private key with a blank line in it.
    let blocks = pem::parse_many(text).map_err(|_| {
        bad_key("the text is no PEM (RFC 7468): is there a blank line in it, or is a line cut?")
    })?;
    let mut keys = blocks.into_iter().filter(|block| block.tag() != "EC PARAMETERS");
    let (Some(block), None) = (keys.next(), keys.next()) else {
        return Err(bad_key("the PEM text must hold exactly one key"));
    };
    let encrypted = || bad_key("the private key is encrypted: decrypt it first");
    if block.headers().get("DEK-Info").is_some() {
        return Err(encrypted());
    }
    let label = match block.tag() {
        "PRIVATE KEY" => PemLabel::Pkcs8,
        "RSA PRIVATE KEY" => PemLabel::Pkcs1Private,
        "EC PRIVATE KEY" => PemLabel::Sec1,
        "PUBLIC KEY" => PemLabel::Spki,
        "RSA PUBLIC KEY" => PemLabel::Pkcs1Public,
        "ENCRYPTED PRIVATE KEY" => return Err(encrypted()),
        "CERTIFICATE" => return Err(bad_key("the PEM text holds a certificate; give its public key")),
        _ => {
            return Err(bad_key(
                "the PEM text holds no key: expected PRIVATE KEY, PUBLIC KEY or their older forms",
            ));
        }
    };
    Ok((label, Zeroizing::new(block.into_contents())))
}
