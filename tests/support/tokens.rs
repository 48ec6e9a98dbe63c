//! Tokens of any shape, signed without the crate under test. Knows nothing above floor 1.
//!
//! The signer uses HMAC and the cryptographic backend directly: a fault in the crate's own signing or encoding cannot
//! hide the same fault in its verification.

// As the parent module, and compiled into test binaries that export nothing.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::CryptoProvider;
use sha2::Sha256;
use tower_jwt_auth::{Set, SigningKey, TokenConfig, TokenConfigBuilder};

use crate::support::ManualClock;

pub const ISSUER: &str = "https://i.example";
pub const AUDIENCE: &str = "api";
pub const KID: &str = "k1";
pub const SUBJECT: &str = "user-1";
/// The second at which a new [`ManualClock`] stands.
pub const NOW: i64 = ManualClock::START.as_unix_seconds();
pub const LEEWAY: i64 = 30;

/// The secret behind a token: the key of a family, not yet bound to a header.
#[derive(Debug, Clone)]
pub enum Signer {
    Hs256(Vec<u8>),
    Ed25519([u8; 32]),
}

impl Signer {
    /// The key that [`config`] makes of the same family; `k1` of the corpus.
    pub fn hs256() -> Self {
        Self::Hs256((0x80..0xa0).collect())
    }

    pub fn ed25519() -> Self {
        Self::Ed25519([0xed; 32])
    }

    /// Every table runs over both.
    pub fn both() -> [Self; 2] {
        [Self::hs256(), Self::ed25519()]
    }

    pub fn alg(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The crate's key for the same secret.
    pub fn key(&self) -> SigningKey {
        match self {
            Self::Hs256(secret) => SigningKey::hs256(secret),
            Self::Ed25519(seed) => SigningKey::ed25519_seed(seed),
        }
        .unwrap()
        .with_kid(KID)
    }

    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Hs256(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
            Self::Ed25519(seed) => {
                let key = EncodingKey::from_ed_der(&pkcs8(seed));
                let signer = (provider().signer_factory)(&jsonwebtoken::Algorithm::EdDSA, &key).unwrap();
                signer.try_sign(message).unwrap()
            }
        }
    }

    /// A token in compact form with these bytes as header and payload, whatever they are.
    pub fn compact(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", base64url(header), base64url(payload));
        let signature = base64url(self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// The header of a good token.
    pub fn header(&self) -> Object {
        Object::default().with("alg", quoted(self.alg())).with("typ", r#""at+jwt""#).with("kid", quoted(KID))
    }

    /// A good token but for its header.
    pub fn with_header(&self, header: impl AsRef<[u8]>) -> String {
        self.compact(header, claims().json())
    }

    /// A good token but for its claims.
    pub fn with_claims(&self, claims: impl AsRef<[u8]>) -> String {
        self.compact(self.header().json(), claims)
    }

    pub fn good(&self) -> String {
        self.with_claims(claims().json())
    }
}

/// PKCS#8 around an Ed25519 seed (RFC 8410, section 7).
pub fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    const PREFIX: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    [&PREFIX[..], seed].concat()
}

/// The public half of an Ed25519 seed.
pub fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    let curve = jsonwebtoken::jwk::EllipticCurve::Ed25519;
    let public = (provider().key_utils.ed_pub_components_from_private_key)(&pkcs8(seed), &curve);
    public.unwrap().try_into().unwrap()
}

fn provider() -> &'static CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    #[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
    return &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
    #[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
    panic!("tests that sign need a cryptographic backend");
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn from_base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The JSON of one segment of a token.
pub fn json_of(segment: &str) -> serde_json::Value {
    serde_json::from_slice(&from_base64url(segment)).unwrap()
}

pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A JSON object of raw parts, so that it can be one that no serializer makes: repeated and escaped names, `1e400`.
#[derive(Debug, Clone, Default)]
pub struct Object(Vec<(String, String)>);

impl Object {
    /// Puts a member in, in the place of one with the same name.
    pub fn with(mut self, name: &str, json: impl Into<String>) -> Self {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = json.into(),
            None => self.0.push((name.into(), json.into())),
        }
        self
    }

    /// Puts a member behind the others, whether or not there is one with the same name.
    pub fn and(mut self, name: &str, json: impl Into<String>) -> Self {
        self.0.push((name.into(), json.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != name);
        assert!(self.0.len() < before, "there is no `{name}` to take out");
        self
    }

    pub fn json(&self) -> String {
        let members: Vec<_> = self.0.iter().map(|(name, json)| format!(r#""{name}":{json}"#)).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// The claims of a good token: issued now, for ten minutes.
pub fn claims() -> Object {
    Object::default()
        .with("iss", quoted(ISSUER))
        .with("aud", quoted(AUDIENCE))
        .with("sub", quoted(SUBJECT))
        .with("exp", (NOW + 600).to_string())
        .with("iat", NOW.to_string())
        .with("jti", r#""jti-of-the-token""#)
}

pub type CompleteBuilder = TokenConfigBuilder<Set, Set, Set>;

/// The configuration of the corpus, before `build`.
pub fn builder(key: SigningKey, clock: &ManualClock) -> CompleteBuilder {
    TokenConfig::builder()
        .key(key)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .leeway(Duration::from_secs(LEEWAY.unsigned_abs()))
        .clock(clock.clone())
}

pub fn config(signer: &Signer, clock: &ManualClock) -> TokenConfig {
    builder(signer.key(), clock).build().unwrap()
}
