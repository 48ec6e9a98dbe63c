//! Authorization behind the bearer layer: what a good token must allow.
//!
//! [`RequireScopeLayer`] refuses requests whose token lacks a scope, with 403 and a challenge that names what is needed
//! (RFC 6750, section 3.1), in the realm and the protocol of the bearer layer before it. Scopes compare as a whole and
//! with case: `read:all` is not `read`.
//!
//! Without a bearer layer before it every request is answered with 500, and the log names the mistake.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     AccessGrant, Issuer, JwtAuthLayer, NoClaims, RequireScopeLayer, SigningKey, TokenConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TokenConfig::builder()
//!     .key(SigningKey::ed25519_seed(&[7; 32])?)
//!     .issuer("https://app.example")
//!     .audience("api")
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
//!     .layer(RequireScopeLayer::all(["orders:write"])?)
//!     .service(service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))));
//!
//! let token = Issuer::new(&config)?.issue(&AccessGrant::new("ada").with_scopes(["orders:read"]), &NoClaims {})?;
//! let request = Request::get("/")
//!     .header("authorization", format!("Bearer {}", token.expose()))
//!     .body(Full::default())?;
//! let refused = service.oneshot(request).await?;
//! assert_eq!(refused.status(), StatusCode::FORBIDDEN);
//! # Ok(())
//! # }
//! ```

mod scope;

pub use scope::{RequireScope, RequireScopeLayer};
