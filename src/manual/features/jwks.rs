//! `jwks`, `jwks-hyper`: the keys of an issuer elsewhere.
//!
//! `jwks` brings [`RemoteJwks`], a task that fetches a JWK set and keeps it current, through any HTTP client that is a
//! tower service. It adds no dependency. `jwks-hyper` is `jwks`, and [`JwksClient`]: hyper over rustls with aws-lc-rs,
//! HTTP/1, and the certificate authorities of Mozilla's list, which is compiled in. It needs a C compiler, whatever
//! signs.
//!
//! Take it for an API that verifies the tokens of an identity provider, or of a service of this crate in another
//! process. The settings that providers need are in [`identity_providers`](crate::manual::identity_providers).
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_jwt_auth::{NoClaims, RemoteJwks, TokenConfig};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = tower::service_fn(async |_: Request<Full<Bytes>>| {
//! #     let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
//! #     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(keys)))
//! # });
//! // `client`: `JwksClient::new()?` (feature `jwks-hyper`), or your own.
//! let keys = RemoteJwks::builder(client)
//!     .longest_age(Duration::from_secs(3600))     // a key that was withdrawn is believed no longer than this
//!     .spawn_at("https://auth.shop.example/auth/jwks.json")?;
//! if tokio::time::timeout(Duration::from_secs(30), keys.wait_ready()).await.is_err() {
//!     return Err(format!("no keys: {:?}", keys.last_error()).into());
//! }
//! let config = TokenConfig::builder()
//!     .key_source(keys.handle())
//!     .issuer("https://auth.shop.example")
//!     .audience("api")
//!     .build()?;
//! let verifier = config.verifier::<NoClaims>();
//! # let _ = verifier;
//! # Ok(())
//! # }
//! ```
//!
//! With [`spawn_for`] the issuer's metadata says where the keys are: that of OpenID Connect, or of RFC 8414 by
//! [`metadata_form`]. A service of this crate has no metadata: give [`spawn_at`] its `/auth/jwks.json`.
//!
//! ```no_run
//! # #[cfg(feature = "jwks-hyper")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::{JwksClient, RemoteJwks};
//!
//! let keys = RemoteJwks::builder(JwksClient::new()?).spawn_for("https://idp.example/realms/shop")?;
//! // In a network with an authority of its own, and only that one:
//! let own = JwksClient::with_root_certificates(std::fs::read("authority.pem")?)?;
//! let keys_of_own = RemoteJwks::builder(own).spawn_at("https://auth.internal/auth/jwks.json")?;
//! # let _ = (keys, keys_of_own);
//! # Ok(())
//! # }
//! ```
//!
//! # In operation
//!
//! | setting | default | |
//! |---|---|---|
//! | [`interval`] | 30 seconds | least time between two fetches, however many tokens of unknown keys come |
//! | [`standard_age`] | an hour | how long keys are kept if `Cache-Control` says nothing |
//! | [`longest_age`] | 24 hours | how long at most, whatever it says |
//! | [`timeout`] | 10 seconds | for one document |
//!
//! | what happens | what follows |
//! |---|---|
//! | no keys yet | 503 with `Retry-After` (gRPC: 14), and no request waits |
//! | a fetch fails, or the document is broken | the last keys stay; it tries again after 1, 2, 4 seconds, up to the interval. Event `keys_not_fetched`, and [`last_error`] |
//! | a token of an unknown key | 401, and the task fetches. The next such token passes, if the key is there |
//! | a key is gone from the set | its tokens are refused with the fetch, the remembered ones, too |
//! | a key of a kind that is not known | it is skipped (event `key_skipped`), and the others are used |
//! | a redirect | followed within the origin, and no further |
//! | the runtime of the task ends | the keys grow old: [`last_error`] says so. Spawn it on the runtime that lives longest |
//!
//! Outages never make a key expire: a withdrawn one is believed as long as fetches fail. Set an alert on
//! `keys_not_fetched`.
//!
//! # Limits
//!
//! - A configuration with [`key_source`](crate::TokenConfigBuilder::key_source) only verifies. A service that signs has
//!   its own; [`Verifier::several`](crate::Verifier::several) takes tokens of both.
//! - https only; http to this machine by [`insecure_http`], for tests. [`JwksClient`] knows no proxy variables: bring a
//!   client of your own where the way out is through a proxy.
//! - At most 100 keys and 512 KiB. No HMAC keys, and no private ones.
//!
//! Shown by `cargo run --example issuer_and_resource --features jwks-hyper`. Tested: `tests/remote_jwks.rs`,
//! `tests/remote_jwks_oidc.rs` (a real OpenID provider), `tests/remote_jwks_sockets.rs` (TLS).
//!
//! [`JwksClient`]: crate::JwksClient
//! [`RemoteJwks`]: crate::RemoteJwks
//! [`insecure_http`]: crate::RemoteJwksBuilder::insecure_http
//! [`interval`]: crate::RemoteJwksBuilder::interval
//! [`last_error`]: crate::RemoteJwks::last_error
//! [`longest_age`]: crate::RemoteJwksBuilder::longest_age
//! [`metadata_form`]: crate::RemoteJwksBuilder::metadata_form
//! [`spawn_at`]: crate::RemoteJwksBuilder::spawn_at
//! [`spawn_for`]: crate::RemoteJwksBuilder::spawn_for
//! [`standard_age`]: crate::RemoteJwksBuilder::standard_age
//! [`timeout`]: crate::RemoteJwksBuilder::timeout
