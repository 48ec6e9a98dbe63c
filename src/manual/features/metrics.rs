//! `metrics`: counters through the crate `metrics`.
//!
//! Without it nothing is counted, and nothing of it is compiled in. With it the crate adds to seven counters, whose
//! names and labels are stable: [`observability`](crate::manual::observability#metrics) lists them. It pulls in the
//! crate `metrics` 0.24, the façade; the exporter is yours, `metrics-exporter-prometheus` for instance. Where none is
//! installed, counting does nothing.
//!
//! Take it for rates and alerts. Events of `tracing` say the same of each case, with the session; the hook
//! [`Events`](crate::Events) is for an application that acts on it.
//!
//! The program's version of `metrics` must be 0.24, too: another one has a recorder of its own, and sees nothing.
//!
//! ```
//! # #[cfg(feature = "metrics")] {
//! use http::{Request, StatusCode};
//! use http_body_util::Full;
//! use metrics_util::debugging::DebuggingRecorder;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # use bytes::Bytes;
//! # use http::Response;
//! # use tower_jwt_auth::{JwtAuthLayer, NoClaims, SigningKey, TokenConfig};
//!
//! # let config = TokenConfig::builder()
//! #     .key(SigningKey::ed25519_seed(&[7; 32]).unwrap())
//! #     .issuer("https://www.shop.example")
//! #     .audience("api")
//! #     .build()
//! #     .unwrap();
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # let service = ServiceBuilder::new()
//! #     .layer(JwtAuthLayer::new(config.verifier::<NoClaims>()))
//! #     .service(service_fn(async |_: Request<Full<Bytes>>| {
//! #         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//! #     }));
//! // For a test; in a program: `PrometheusBuilder::new().install()`.
//! let recorder = DebuggingRecorder::new();
//! let counters = recorder.snapshotter();
//! metrics::with_local_recorder(&recorder, || {
//!     let refused = runtime.block_on(service.oneshot(Request::new(Full::default()))).unwrap();
//!     assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//! });
//!
//! let (key, ..) = counters.snapshot().into_vec().remove(0);
//! assert_eq!(key.key().name(), "tower_jwt_auth_requests_rejected_total");
//! let labels: Vec<_> = key.key().labels().map(|label| (label.key(), label.value())).collect();
//! assert_eq!(labels, [("layer", "bearer"), ("reason", "missing")]);
//! # }
//! ```
//!
//! # In operation
//!
//! Five that are worth a rule, as Prometheus writes it; [alerts](crate::manual::operation#alerts) says what they mean:
//!
//! ```text
//! rate(tower_jwt_auth_unavailable_total[5m]) > 0
//! increase(tower_jwt_auth_session_events_total{event="mismatch"}[1h]) > 0
//! rate(tower_jwt_auth_session_events_total{event=~"reused|superseded"}[15m])      # beside its usual level
//! rate(tower_jwt_auth_service_refused_total{reason="credentials"}[5m])            # beside its usual level
//! increase(tower_jwt_auth_jwks_fetches_total{outcome!~"ok|not_modified"}[1h]) > 10
//! ```
//!
//! # Limits
//!
//! - Counters only: no histogram of durations (a layer of yours around the service knows them), no gauge of sessions.
//! - No label holds an id, a subject or what a client can choose, so the number of series does not grow with clients.
//! - A request that passes is not counted.
//!
//! `tests/metrics.rs` goes through every event and every reason.
