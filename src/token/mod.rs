//! Access tokens: signed by an [`Issuer`], checked by a [`Verifier`], both made from one [`TokenConfig`].
//!
//! The form is the JWT profile of RFC 9068: header `typ: at+jwt`, claims `iss sub aud exp iat jti`, with `client_id`
//! and `scope` where given, `sid` and `gen` for tokens of a session, with `reissue` where one was replaced, `auth_time`
//! and `acr` where the authentication is told, and the application's own claims beside them.
//!
//! A token is verified in this order, and each step refuses by itself:
//!
//! 1. size, then the compact form: three canonical base64url segments (RFC 7515, section 7.1);
//! 2. the header: JSON without duplicates, no `crit`, `b64`, `enc`, `zip` or nested `cty`, the expected `typ`;
//! 3. the key: found by `kid`, and bound to the one algorithm that `alg` must name (RFC 8725, section 3.1);
//! 4. the signature, by `jsonwebtoken`'s cryptography; nothing of the claims is read before (of several issuers, below,
//!    `iss` alone);
//! 5. the claims: one JSON object without duplicates, every registered claim of its type, then issuer, audience,
//!    subject, times and lifetime;
//! 6. the application's claims `C`, read in the same pass.
//!
//! Checks of the application's own ([`Verifier::add_check`]) come last.
//!
//! A verifier of several issuers ([`Verifier::several`]) first chooses one of them:
//!
//! 1. size, by the largest maximum of them all, then the compact form;
//! 2. the payload: one JSON object, of which `iss` alone is read, once and a string; it decides nothing yet;
//! 3. the issuer: the one of exactly that name, or the token is refused.
//!
//! Then the token is verified from the start, in the order above, by that issuer's rules as if there were no other: its
//! own maximum of size, `typ`, keys, audiences, times and checks. So a key is found by issuer and `kid` (RFC 8725,
//! section 3.8).
//!
//! A token that was accepted is remembered, up to 32 MiB of them ([`TokenConfigBuilder::cache_bytes`]), and is answered
//! at its next sight as it would be without: the whole token is compared, its key must be in the set of that moment,
//! times and checks are decided anew. What is saved is reading it, and the signature.
//!
//! Nothing here knows HTTP: [`Verifier::verify`] takes a `&str`, so it serves WebSocket messages and queues as well.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tower_jwt_auth::{AccessGrant, Issuer, SigningKey, TokenConfig};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { email: String }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TokenConfig::builder()
//!     .key(SigningKey::hs256(b"an example secret, at least 32 bytes long")?)
//!     .issuer("https://app.example")
//!     .audience("api")
//!     .build()?;
//!
//! let grant = AccessGrant::new("user-1").with_scopes(["orders:read"]);
//! let token = Issuer::new(&config)?.issue(&grant, &User { email: "ada@example.com".into() })?;
//!
//! let user = config.verifier::<User>().verify(token.expose())?;
//! assert_eq!(user.email, "ada@example.com");
//! assert_eq!(user.subject(), "user-1");
//! assert!(user.has_scope("orders:read"));
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod application_claims;
mod cache;
mod claim_rules;
mod claims_set;
mod compact;
mod config;
mod crypto;
mod error;
mod header;
mod issuer;
mod json;
mod jwk;
mod key;
mod key_rotation;
mod keyset;
mod material;
mod one_issuer;
mod packed_texts;
mod prepared_key;
mod profile;
mod several;
mod verified;
mod verifier;

pub use algorithm::Algorithm;
pub(crate) use application_claims::ClaimsJson;
pub use application_claims::{Claims, NoClaims, ReadClaims};
pub(crate) use compact::{Compact, decode};
pub use config::{HasAudience, HasIssuer, HasKey, Missing, Set, TokenConfig, TokenConfigBuilder};
pub use crypto::Crypto;
pub use error::{TokenError, TokenErrorKind};
pub(crate) use header::is_type;
pub(crate) use issuer::is_scope;
pub use issuer::{AccessGrant, AccessToken, Issuer};
pub(crate) use json::{Checked, Names, NumericDate, Text, describe};
pub(crate) use jwk::Jwk;
#[cfg(feature = "jwks")]
pub(crate) use jwk::is_object;
pub use key::{SigningKey, VerifyingKey};
pub use key_rotation::{KeyRotation, KeyRotationStep};
pub use keyset::{KeySet, KeySetHandle, SkippedKey};
#[cfg(feature = "jwks")]
pub(crate) use keyset::{Skipped, WeakKeySet, report};
pub use material::KeyForm;
pub(crate) use one_issuer::Bound;
pub use verified::{AnyVerified, Registered, Verified};
pub use verifier::Verifier;
