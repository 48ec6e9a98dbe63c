//! Bytes that must not be seen: randomness, digests, tags and comparison in constant time.
//!
//! Keys are kept in [`secrecy`]'s containers, which wipe their memory and print nothing. Encoding is base64url
//! without padding (RFC 4648, section 5); decoding refuses non-zero spare bits, so a value has one spelling.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(crate) use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// SHA-256 (FIPS 180-4).
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// An HMAC-SHA-256 (RFC 2104) over all parts, one after the other.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

/// Whether `tag` is the HMAC-SHA-256 over all parts; takes the same time wherever they differ.
pub(crate) fn hmac_sha256_matches(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    mac(key, parts).verify_slice(tag).is_ok()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // The key as a whole block (RFC 2104, section 2): this way there is no length that could be an error.
    let mut block = Zeroizing::new([0; 64]);
    if key.len() > block.len() {
        block[..32].copy_from_slice(&sha256(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Comparison in constant time for a given length.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// The operating system gave no random bytes.
#[derive(Debug)]
pub(crate) struct NoRandomness(getrandom::Error);

impl std::fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the operating system gave no random bytes: {}", self.0)
    }
}

impl std::error::Error for NoRandomness {}

/// base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a base64url text, or `None` for anything that is not the one canonical spelling of some bytes.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The same into a buffer, with how many bytes they are; also `None` if the buffer is too small.
pub(crate) fn from_base64url_to(text: &str, buffer: &mut [u8]) -> Option<usize> {
    URL_SAFE_NO_PAD.decode_slice(text, buffer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_the_test_cases_of_rfc_4231() {
        // Cases 2 (key shorter than the block) and 6 (key longer than the block).
        let case_2 = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(case_2[..], hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
        let long = hmac_sha256(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(long[..], hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"));
        assert!(hmac_sha256_matches(b"Jefe", &[b"what do ya want for nothing?"], &case_2));
        assert!(!hmac_sha256_matches(b"Jefe", &[b"what do ya want for nothing!"], &case_2));
        assert!(!hmac_sha256_matches(b"Jefe", &[b"what do ya want for nothing?"], &case_2[..31]));
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn only_canonical_base64url_decodes() {
        assert_eq!(from_base64url("AQ"), Some(vec![1]));
        assert_eq!(from_base64url_to("AQ", &mut [0; 3]), Some(1));
        assert_eq!(from_base64url_to("AQID", &mut [0; 2]), None);
        for text in ["AR", "AQ==", "AQ ", "A+", "A/", "A", "AQ\n"] {
            assert_eq!(from_base64url(text), None, "{text:?}");
            assert_eq!(from_base64url_to(text, &mut [0; 64]), None, "{text:?}");
        }
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }
}
