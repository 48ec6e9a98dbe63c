//! The small JSON bodies of errors.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// As in [`json_response`], of literals.
macro_rules! body {
    ($error:expr, $description:expr) => {
        concat!(r#"{"error":""#, $error, r#"","error_description":""#, $description, r#""}"#)
    };
}

/// `{"error":..,"error_description":..}`, of fixed texts that need no escape; never to be stored.
pub(crate) fn json_response(status: StatusCode, error: &str, description: &str) -> Response<Bytes> {
    response(status, format!(r#"{{"error":"{error}","error_description":"{description}"}}"#).into())
}

/// The answer with this JSON; never to be stored.
pub(super) fn response(status: StatusCode, json: Bytes) -> Response<Bytes> {
    let mut response = Response::new(json);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    never_store(headers);
    response
}

/// For answers that no cache may keep and no browser may guess the type of. `Pragma` for RFC 6749, section 5.1.
pub(crate) fn never_store(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
