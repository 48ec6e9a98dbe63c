//! Features: what each brings, what it pulls in, and how to run it.
//!
//! | page | features | take it for |
//! |---|---|---|
//! | [`crypto`] | `aws-lc-rs` (default), `rust-crypto`, or none | signatures: one backend is needed, or one of your own |
//! | [`moka`] | `moka` (default) | sessions in the memory of one process |
//! | [`redis`] | `redis` | sessions on Redis, for any number of nodes |
//! | [`postgres`] | `postgres` | sessions on PostgreSQL, for any number of nodes |
//! | [`axum`] | `axum` | extractors and answers for handlers of axum |
//! | [`client`] | `client`, `reqwest` | a program that keeps a session with such a service |
//! | [`jwks`] | `jwks`, `jwks-hyper` | the keys of an issuer elsewhere |
//! | [`metrics`] | `metrics` | counters |
//! | [`test_util`] | `test-util` | tests of your own service |
//!
//! All are additive, and any combination compiles. Two examples of what to write into `Cargo.toml`:
//!
//! ```toml
//! # A service with logins, on axum and PostgreSQL.
//! tower-jwt-auth = { version = "0.1", features = ["axum", "postgres", "metrics"] }
//!
//! # An API that only verifies the tokens of an identity provider: no store.
//! tower-jwt-auth = { version = "0.1", default-features = false, features = ["aws-lc-rs", "axum", "jwks-hyper"] }
//! ```
//!
//! Without any feature there is the bearer layer, what stands behind it, the session service and DPoP: all but a
//! backend and a store. That is 28 direct dependencies, among them `jsonwebtoken`, tokio (`rt`, `sync`, `time`) and
//! tracing; neither hyper nor axum is one of them. What a feature adds, by the versions in this crate's `Cargo.lock`,
//! the crates behind it included:
//!
//! | feature | more crates | of note |
//! |---|---:|---|
//! | `aws-lc-rs` | 3 | `aws-lc-sys` needs a C compiler to build |
//! | `rust-crypto` | 32 | |
//! | `moka` | 20 | |
//! | `redis` | 44 | TLS comes by a feature of the crate `redis` |
//! | `postgres` | 46 | TLS comes by a pool of your own |
//! | `axum` | 3 | `axum-core`, not axum |
//! | `client` | 1 | |
//! | `reqwest` | 48 | TLS comes by a feature of the crate `reqwest` |
//! | `jwks` | 0 | |
//! | `jwks-hyper` | 21 | rustls with aws-lc-rs, whatever signs |
//! | `metrics` | 2 | |
//! | `test-util` | 0 | |
//!
//! Many of these are in your tree already. `cargo tree -e normal --no-default-features -F redis` lists them.

pub mod axum;
pub mod client;
pub mod crypto;
pub mod jwks;
pub mod metrics;
pub mod moka;
pub mod postgres;
pub mod redis;
pub mod test_util;
