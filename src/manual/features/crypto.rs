//! `aws-lc-rs`, `rust-crypto`, or a backend of your own: who computes signatures.
//!
//! Tokens, and proofs of possession, are signed and verified by a provider of `jsonwebtoken`. Refresh tokens, nonces
//! and digests are HMAC-SHA-256 and SHA-256 of the crates `hmac` and `sha2`, whatever the backend.
//!
//! | | `aws-lc-rs` (default) | `rust-crypto` |
//! |---|---|---|
//! | written in | C and assembler, behind Rust | Rust |
//! | to build | a C compiler | nothing |
//! | longest RSA key | 8192 bits | 4096 bits |
//! | keys are prepared once | yes | no |
//! | RSA that signs | constant time | the crate `rsa` 0.9, for which RUSTSEC-2023-0071 reports a timing side channel, without a fix |
//! | take it | unless something speaks against it | where there is no C compiler, or for WebAssembly and its like; sign with EdDSA or ES256 then |
//!
//! The algorithms are the same: HS, RS and PS with 256, 384 and 512 bits, ES256, ES384 and EdDSA (Ed25519). One key is
//! for one of them.
//!
//! ```toml
//! tower-jwt-auth = { version = "0.1", default-features = false, features = ["rust-crypto", "moka"] }
//! ```
//!
//! With both features on, aws-lc-rs it is. Another crate of the program may switch on the other backend in
//! `jsonwebtoken`: this crate names its provider in each call, and never asks for the one of the process, which panics
//! when there are two or none.
//!
//! # A backend of your own
//!
//! For a certified module, or one that keeps keys in hardware: a `CryptoProvider` of `jsonwebtoken` 11, as a
//! [`Crypto`]. It is given twice, to the key and to the configuration. A verifying key needs none.
//!
//! ```
//! # #[cfg(feature = "aws-lc-rs")] {
//! use jsonwebtoken::crypto::aws_lc;
//! use tower_jwt_auth::{AccessGrant, Algorithm, Crypto, Issuer, KeyForm, NoClaims, SigningKey, TokenConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
//! // In place of the one that `jsonwebtoken` brings: a `static` of your own.
//! let crypto = Crypto::new(&aws_lc::DEFAULT_PROVIDER);
//! let config = TokenConfig::builder()
//!     .key(SigningKey::read_with(crypto, Algorithm::EdDsa, KeyForm::Pem(pem.as_bytes()))?)
//!     .issuer("https://www.shop.example")
//!     .audience("api")
//!     .crypto(crypto)
//!     .build()?;
//! let token = Issuer::new(&config)?.issue(&AccessGrant::new("ada"), &NoClaims {})?;
//! assert_eq!(config.verifier::<NoClaims>().verify(token.expose())?.subject(), "ada");
//! # Ok(())
//! # }
//! # main().unwrap();
//! # }
//! ```
//!
//! - Of the provider are used the factories of signers and verifiers and, in the key utilities, the two functions that
//!   compute the public half of a key; `tests/backends/tests/given.rs` counts the calls.
//! - `read_with` signs and verifies once with the key, so a wrong pair is found at start.
//! - [`DpopBuilder::crypto`](crate::DpopBuilder::crypto) takes it for proofs. The
//!   [`client`](crate::manual::features::client) makes its proofs by the compiled-in backend only:
//!   `SessionBuilder::dpop` is an error without one.
//!
//! # Without a backend
//!
//! Everything compiles. What needs signatures says at start that there is no backend
//! ([`ConfigErrorKind::Crypto`](crate::ConfigErrorKind::Crypto)): [`SigningKey`], and
//! [`build`](crate::TokenConfigBuilder::build). [`KeySet::from_jwks`](crate::KeySet::from_jwks) and
//! [`RefreshKeys`](crate::RefreshKeys) work. Points on curves are then left to the provider to check.
//!
//! `scripts/backends.sh` tests both backends at once, a given one, and none. `tests/signatures.rs` holds signatures
//! that others have made, and `benches/README.md` what each algorithm costs.
//!
//! [`Crypto`]: crate::Crypto
//! [`SigningKey`]: crate::SigningKey
