//! The bearer layer: validates the access token of each request, and injects it.
//!
//! For each request, in this order:
//!
//! 1. the bearer credential of the header `Authorization`, or of a header or cookie that was added; none: 401 with a
//!    challenge without error;
//! 2. a malformed, repeated or too long one: 400 `invalid_request`; one of a cookie, with a request that another site
//!    may have made: 403 `cross_site`;
//! 3. [`Verifier::verify`](crate::Verifier::verify); refused: 401 `invalid_token`, the same text for each reason;
//! 4. one [`AuthContext`](crate::AuthContext) into the request's extensions, the credential marked sensitive for layers
//!    that print headers, and the inner service is called.
//!
//! [`JwtAuthLayer::optional`] lets requests without a token pass, [`JwtAuthLayer::observe`] all of them. Answers of
//! one's own are made by [`JwtAuthLayer::map_rejection`].
//!
//! A refused request never reaches the inner service. The inner service needs no `Clone`, is called in place, and its
//! error type is left alone; nothing is boxed and nothing awaited on the way.
//!
//! A layer that is there or not, by a setting: [`observe`](JwtAuthLayer::observe) keeps the type and lets all pass.
//! Through tower's `option_layer` both ways need one type of body, which `MapResponseBodyLayer` of tower-http makes:
//! `option_layer(enabled.then(|| (MapResponseBodyLayer::new(Body::new), bearer)))`.
//!
//! A layer outside that prints headers sees the credential unmarked: put it inside, or
//! `SetSensitiveRequestHeadersLayer` of tower-http further out.
//!
//! Put CORS outside: a preflight carries no credentials by design and would be refused. A browser client on another
//! origin reads the challenge only with `Access-Control-Expose-Headers: WWW-Authenticate`. Put limits outside, too: a
//! refused request leaves the permit that `poll_ready` took with the inner service.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{AccessGrant, Issuer, JwtAuthLayer, NoClaims, SigningKey, TokenConfig, Verified};
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
//!     .service(service_fn(async |request: Request<Full<Bytes>>| {
//!         let user = Verified::<NoClaims>::of(request.extensions()).expect("the layer ran");
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(user.subject().to_owned())))
//!     }));
//!
//! let refused = service.clone().oneshot(Request::new(Full::default())).await?;
//! assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//!
//! let token = Issuer::new(&config)?.issue(&AccessGrant::new("ada"), &NoClaims {})?;
//! let mut request = Request::new(Full::default());
//! request.headers_mut().insert("authorization", format!("Bearer {}", token.expose()).parse()?);
//! assert_eq!(service.oneshot(request).await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```

mod layer;
mod service;

pub use layer::JwtAuthLayer;
pub use service::JwtAuth;
