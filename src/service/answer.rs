//! The answers of the routes.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;
use crate::reject::{Challenge, DPOP_NONCE, json_response, never_store};
use crate::service::error::SessionErrorKind;
use crate::service::identity::SessionInfo;
use crate::service::operations::Grant;
use crate::session::SessionId;

pub(super) type Answer = Response<Bytes>;

/// 200 with the access token, and the refresh token in the cookie if the client is to be given it.
pub(super) fn granted(grant: &Grant, set_cookie: Option<HeaderValue>) -> Answer {
    let mut answer = tokens(grant, None, None);
    if let Some(set_cookie) = set_cookie {
        answer.headers_mut().insert(SET_COOKIE, set_cookie);
    }
    answer
}

/// 200 with both tokens in the body. `scope` is named where it is not the one that was asked for.
pub(super) fn granted_in_body(grant: &Grant, scope: Option<&str>) -> Answer {
    tokens(grant, Some(grant.refresh_token()), scope)
}

/// The tokens of RFC 6749, section 5.1, and the application's claims.
fn tokens(grant: &Grant, refresh_token: Option<&str>, scope: Option<&str>) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        access_token: &'a str,
        token_type: &'static str,
        expires_in: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        refresh_token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<&'a str>,
        user: &'a RawValue,
    }
    json(&Body {
        access_token: grant.access.expose(),
        token_type: if grant.is_bound { "DPoP" } else { "Bearer" },
        expires_in: grant.access.expires_in().as_secs(),
        refresh_token,
        scope,
        user: grant.user.raw(),
    })
}

/// 200 without a body (RFC 7009, section 2.2).
pub(super) fn revoked() -> Answer {
    let mut answer = Response::new(Bytes::new());
    never_store(answer.headers_mut());
    answer
}

/// 200 with a subject's sessions.
pub(super) fn session_list(sessions: &[SessionInfo], current: SessionId) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        sessions: Vec<Item<'a>>,
    }
    #[derive(Serialize)]
    struct Item<'a> {
        id: String,
        created_at: String,
        last_used_at: String,
        user_agent: Option<&'a str>,
        address: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<&'a str>,
        current: bool,
    }
    let sessions = sessions.iter().map(|session| Item {
        id: session.id().to_string(),
        created_at: rfc3339(session.created_at()),
        last_used_at: rfc3339(session.last_used_at()),
        user_agent: session.client().user_agent.as_deref(),
        address: session.client().address.map(|address| address.to_string()),
        label: session.client().label.as_deref(),
        current: session.id() == current,
    });
    json(&Body { sessions: sessions.collect() })
}

/// 200 with the public keys (RFC 7517, section 8.5.2). They are no secret, and the same for everybody.
pub(super) fn jwks(text: String) -> Answer {
    let mut answer = Response::new(Bytes::from(text));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// 204: done, nothing to say.
pub(super) fn done(set_cookie: Option<HeaderValue>) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    never_store(answer.headers_mut());
    if let Some(set_cookie) = set_cookie {
        answer.headers_mut().insert(SET_COOKIE, set_cookie);
    }
    answer
}

pub(super) fn invalid_request() -> Answer {
    json_response(StatusCode::BAD_REQUEST, "invalid_request", "the request is malformed")
}

pub(super) fn bad_body() -> Answer {
    json_response(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        "the body is not the JSON that is expected here",
    )
}

pub(super) fn bad_form() -> Answer {
    json_response(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        "a parameter is missing, repeated or not of UTF-8",
    )
}

pub(super) fn cookie_only() -> Answer {
    json_response(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        "a browser is given its refresh token in a cookie only",
    )
}

/// The proof is none (RFC 9449, section 5).
pub(super) fn invalid_dpop_proof() -> Answer {
    json_response(StatusCode::BAD_REQUEST, "invalid_dpop_proof", "the DPoP proof is not valid")
}

/// The proof is to be made again with this nonce (RFC 9449, section 8).
pub(super) fn use_dpop_nonce(nonce: Option<HeaderValue>) -> Answer {
    let answer = json_response(
        StatusCode::BAD_REQUEST,
        "use_dpop_nonce",
        "the DPoP proof needs the nonce of this answer",
    );
    with_nonce(answer, nonce)
}

/// The same answer, with a nonce for the next proof. All answers here are never to be stored.
pub(super) fn with_nonce(mut answer: Answer, nonce: Option<HeaderValue>) -> Answer {
    if let Some(nonce) = nonce {
        answer.headers_mut().insert(DPOP_NONCE, nonce);
    }
    answer
}

/// As [`invalid_grant`], to OAuth clients (RFC 6749, section 5.2).
pub(super) fn oauth_invalid_grant() -> Answer {
    json_response(StatusCode::BAD_REQUEST, "invalid_grant", SESSION_ENDED)
}

pub(super) fn unsupported_grant_type() -> Answer {
    json_response(
        StatusCode::BAD_REQUEST,
        "unsupported_grant_type",
        "the one grant type here is refresh_token",
    )
}

pub(super) fn invalid_scope() -> Answer {
    json_response(StatusCode::BAD_REQUEST, "invalid_scope", "the scope goes beyond what was granted")
}

pub(super) fn unsupported_token_type() -> Answer {
    json_response(
        StatusCode::BAD_REQUEST,
        "unsupported_token_type",
        "access tokens are not revoked here, they expire",
    )
}

const SESSION_ENDED: &str = "the session has ended, log in again";

/// One answer to every refresh token that is not good, so that it tells nothing about why.
pub(super) fn invalid_grant(challenge: &Challenge) -> Answer {
    unauthorized("invalid_grant", SESSION_ENDED, challenge)
}

/// One answer to every wrong credential, so that it does not tell which users there are.
pub(super) fn invalid_credentials(challenge: &Challenge) -> Answer {
    unauthorized("invalid_credentials", "the credentials are not valid", challenge)
}

fn unauthorized(error: &str, description: &str, challenge: &Challenge) -> Answer {
    let mut answer = json_response(StatusCode::UNAUTHORIZED, error, description);
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge.bare());
    answer
}

/// `unknown`: nothing tells where the request comes from.
pub(super) fn cross_site(unknown: bool) -> Answer {
    let description = if unknown {
        "no Origin header; a client that is no browser sends X-Session-Request: 1"
    } else {
        "the request comes from another site"
    };
    json_response(StatusCode::FORBIDDEN, "cross_site", description)
}

pub(super) fn not_found() -> Answer {
    json_response(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
}

pub(super) fn method_not_allowed(allow: HeaderValue) -> Answer {
    let mut answer =
        json_response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the method is not allowed here");
    answer.headers_mut().insert(ALLOW, allow);
    answer
}

pub(super) fn body_too_large() -> Answer {
    json_response(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large")
}

pub(super) fn headers_too_large() -> Answer {
    json_response(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", "the cookies are too large")
}

pub(super) fn unsupported_media_type(description: &'static str) -> Answer {
    json_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", description)
}

/// 503: nothing was changed, and a retry may succeed.
pub(super) fn unavailable() -> Answer {
    let mut answer = json_response(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "the service cannot answer now, try again",
    );
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

pub(super) fn server_error() -> Answer {
    json_response(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the service is not set up correctly")
}

/// The answer to a failed operation on sessions.
pub(super) fn session_error(kind: SessionErrorKind, challenge: &Challenge) -> Answer {
    match kind {
        SessionErrorKind::Refused => invalid_grant(challenge),
        // To be tried again with credentials that are checked anew.
        SessionErrorKind::RevokedMeanwhile | SessionErrorKind::Unavailable => unavailable(),
        SessionErrorKind::InvalidIdentity => server_error(),
    }
}

fn json<T: Serialize>(body: &T) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let mut answer = Response::new(Bytes::from(body));
            never_store(answer.headers_mut());
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
        // Strings, numbers and checked JSON always serialize.
        Err(_) => server_error(),
    }
}

/// RFC 3339, in UTC. A moment that a calendar cannot name (a test's clock may) is the epoch.
fn rfc3339(moment: Timestamp) -> String {
    let nanos = i128::from(moment.as_unix_millis()) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&Rfc3339).unwrap_or_default()
}
