//! The page: a few files that are part of the program.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

/// With `dpop` the page binds its tokens to a key.
pub(crate) fn router(dpop: bool) -> Router {
    let mut index = include_str!("index.html").to_owned();
    if dpop {
        index = index.replace(r#"<meta name="dpop" content="off">"#, r#"<meta name="dpop" content="on">"#);
    }
    Router::new()
        .route("/", get(move || async move { file("text/html; charset=utf-8", index) }))
        .route("/app.js", get(async || script(include_str!("app.js"))))
        .route("/dom.js", get(async || script(include_str!("dom.js"))))
        .route("/dpop.js", get(async || script(include_str!("dpop.js"))))
        .route("/session.js", get(async || script(include_str!("session.js"))))
        .route("/theft.js", get(async || script(include_str!("theft.js"))))
        .route("/timeline.js", get(async || script(include_str!("timeline.js"))))
        .route("/style.css", get(async || file("text/css; charset=utf-8", include_str!("style.css"))))
        // Browsers ask for it by themselves.
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
}

fn script(text: &'static str) -> Response {
    file("text/javascript; charset=utf-8", text)
}

fn file(content_type: &'static str, text: impl IntoResponse) -> Response {
    // A page that holds tokens runs no script but its own, and is framed by nobody.
    let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
