//! The cases of the bearer layer.

use std::convert::Infallible;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::{Algorithm, JwtAuthLayer};

use super::{CACHE, User, config, drive, request, token};

pub struct Case {
    pub name: &'static str,
    /// One request, from its making to the end of its answer.
    pub run: Box<dyn FnMut()>,
}

async fn answer(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    black_box(&request);
    let mut response = Response::new(Full::from("[]"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The bare inner service first.
pub fn cases(algorithm: Algorithm) -> Vec<Case> {
    let (remembering, forgetting) = (config(algorithm, CACHE), config(algorithm, 0));
    let layered = |config: &tower_jwt_auth::TokenConfig| {
        JwtAuthLayer::new(config.verifier::<User>()).layer(service_fn(answer))
    };
    let good = format!("Bearer {}", token(&remembering, 1));
    let unknown = URL_SAFE_NO_PAD
        .encode(format!(r#"{{"alg":"{}","typ":"at+jwt","kid":"key-2025-01"}}"#, algorithm.as_str()));
    let unknown = format!("Bearer {unknown}.{}", good.split_once('.').unwrap().1);
    let long = format!("Bearer {}", "x".repeat(9000));
    let alphabet = good.replace('.', "!");
    let repeated = layered(&remembering);
    vec![
        case("bare", service_fn(answer), Some(&good)),
        case("repeated", repeated.clone(), Some(&good)),
        case("new", layered(&forgetting), Some(&good)),
        case("no token", repeated.clone(), None),
        case("wrong scheme", repeated.clone(), Some("Basic dXNlcjpwYXNz")),
        case("oversize", repeated.clone(), Some(&long)),
        case("bad alphabet", repeated.clone(), Some(&alphabet)),
        case("unknown kid", repeated, Some(&unknown)),
    ]
}

fn case<S>(name: &'static str, mut service: S, authorization: Option<&str>) -> Case
where
    S: Service<Request<()>> + 'static,
{
    let request = request(authorization);
    let run = move || drop(black_box(drive(&mut service, request.clone())));
    Case { name, run: Box::new(run) }
}
