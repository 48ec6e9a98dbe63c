//! What the session service's answers mean.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cookie::Cookie;
use http::header::{DATE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::endpoint::{Carrier, Endpoint, authorization, scheme};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::proof::is_nonce_challenge;
use crate::client::schedule;
use crate::client::tokens::Tokens;
use crate::clock::Timestamp;
use crate::dpop::ProofKey;

const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What an answer with tokens is one to.
pub(super) enum Asked<'a> {
    /// A login, with a proof by this key if there is one.
    Login(Option<Arc<ProofKey>>),
    /// A refresh of these, with a proof if they are bound.
    Refresh(&'a Tokens),
}

impl Endpoint {
    /// The tokens of an answer, bound to the key that a proof was sent of. `sent` is when the request left, by the
    /// server's clock: the access token's life is counted from there, so that it never seems longer than it is.
    pub(super) fn tokens(
        &self,
        answer: &Response<Bytes>,
        asked: Asked<'_>,
        sent: Timestamp,
    ) -> Result<Tokens, ClientError> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
            token_type: String,
            expires_in: u64,
            refresh_token: Option<String>,
            user: Option<Box<RawValue>>,
        }
        let unexpected =
            |detail| ClientError::new(ClientErrorKind::Unexpected, detail).with_status(answer.status());
        // The parser's own error may quote a token.
        let granted: Granted = serde_json::from_slice(answer.body())
            .map_err(|_| unexpected("the answer does not hold the tokens of RFC 6749, section 5.1"))?;
        let is_bound = match &asked {
            Asked::Login(key) => key.is_some(),
            Asked::Refresh(held) => held.is_bound(),
        };
        if !granted.token_type.eq_ignore_ascii_case(scheme(is_bound)) {
            return Err(unexpected(if is_bound {
                "the access token is not bound to the key whose proof was sent: the service needs DPoP"
            } else {
                "the access token is no bearer token"
            }));
        }
        if granted.expires_in == 0 {
            return Err(unexpected("the access token has no life"));
        }
        if authorization(&granted.access_token, is_bound).is_none() {
            return Err(unexpected("the access token cannot stand in a header"));
        }
        let refresh = match &self.carrier {
            Carrier::Body => granted.refresh_token.ok_or_else(|| {
                unexpected(
                    "no refresh token in the body: the service needs `Delivery::Body` or `Delivery::Both`, or the \
                     session `with_cookie`",
                )
            })?,
            Carrier::Cookie(name) => set_cookie(name, answer.headers())
                .or_else(|| match &asked {
                    Asked::Login(_) => None,
                    Asked::Refresh(held) => Some(held.expose_refresh_token().to_owned()),
                })
                .ok_or_else(|| unexpected("the answer sets no refresh cookie of the name that is expected"))?,
        };
        let lifetime = Duration::from_secs(granted.expires_in).min(schedule::LONGEST);
        let user = granted.user.map(|user| Arc::from(user.get()));
        let expires_at = sent.saturating_add(lifetime);
        let tokens = Tokens::new(granted.access_token, refresh, expires_at, lifetime).with_user(user);
        Ok(match asked {
            Asked::Login(key) => tokens.with_key(key),
            Asked::Refresh(held) => tokens.following(held),
        })
    }
}

/// The value that the last `Set-Cookie` of this name gives it.
fn set_cookie(name: &str, headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = values.filter_map(|value| Cookie::parse(value).ok());
    let value = cookies.rfind(|cookie| cookie.name() == name)?.value().to_owned();
    (!value.is_empty()).then_some(value)
}

/// What an answer to a refresh means.
pub(super) enum Meaning {
    Granted,
    /// The session has ended: the one answer that ends it here, too.
    Ended,
    /// The server did not answer it; another try may.
    Failed(ClientError),
}

pub(super) fn meaning(answer: &Response<Bytes>) -> Meaning {
    match answer.status() {
        StatusCode::OK => Meaning::Granted,
        // 400 is the answer of RFC 6749, section 5.2. A 401 of something in between says nothing of the session.
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED if has_error(answer, "invalid_grant") => {
            Meaning::Ended
        }
        _ => Meaning::Failed(failure(answer)),
    }
}

fn has_error(answer: &Response<Bytes>, code: &str) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    serde_json::from_slice::<Refusal>(answer.body()).is_ok_and(|refusal| refusal.error == code)
}

/// Whether a proof was refused for the want of a nonce: 400 where tokens are asked for (RFC 9449, section 8), 401 with
/// a challenge where one is used (section 9).
pub(super) fn wants_nonce(answer: &Response<Bytes>) -> bool {
    match answer.status() {
        StatusCode::BAD_REQUEST => has_error(answer, "use_dpop_nonce"),
        StatusCode::UNAUTHORIZED => {
            let mut challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter();
            challenges.any(|challenge| challenge.to_str().is_ok_and(is_nonce_challenge))
        }
        _ => false,
    }
}

/// The error of an answer that is no success.
pub(super) fn failure(answer: &Response<Bytes>) -> ClientError {
    let status = answer.status();
    let error = if status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
    {
        ClientError::unavailable("the server cannot answer now")
    } else {
        ClientError::new(ClientErrorKind::Unexpected, "the server gave an answer that is not expected")
    };
    error.with_status(status).with_retry_after(retry_after(answer.headers()))
}

/// In seconds (RFC 9110, section 10.2.3), five minutes at most.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// How far the server's clock is ahead of this one, in milliseconds; negative if it is behind. The server's is in whole
/// seconds: a difference that they explain is none.
pub(super) fn skew(headers: &HeaderMap, sent: Timestamp, received: Timestamp) -> Option<i64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let date = i64::try_from(date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()?;
    let (sent, received) = (sent.as_unix_millis(), received.as_unix_millis());
    if date.saturating_add(1000) >= sent && date <= received {
        return Some(0);
    }
    let middle = sent.midpoint(received);
    Some(date.saturating_add(500).saturating_sub(middle))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap()
    }

    fn held() -> Tokens {
        Tokens::new("old", "kept", Timestamp::from_unix_millis(0), Duration::from_secs(1))
    }

    #[test]
    fn only_a_definite_refusal_ends_a_session() {
        let invalid_grant = r#"{"error":"invalid_grant","error_description":"x"}"#;
        for (status, body, expected) in [
            (200, "", "granted"),
            (401, invalid_grant, "ended"),
            (400, invalid_grant, "ended"),
            (401, r#"{"error":"other"}"#, "unexpected"),
            (400, r#"{"error":"invalid_dpop_proof"}"#, "unexpected"),
            (400, r#"{"error":"use_dpop_nonce"}"#, "unexpected"),
            (401, "", "unexpected"),
            (401, "<html>log in to the proxy</html>", "unexpected"),
            (403, invalid_grant, "unexpected"),
            (404, invalid_grant, "unexpected"),
            (204, "", "unexpected"),
            (302, "", "unexpected"),
            (408, "", "unavailable"),
            (429, invalid_grant, "unavailable"),
            (500, invalid_grant, "unavailable"),
            (502, "", "unavailable"),
            (503, "", "unavailable"),
            (504, "", "unavailable"),
        ] {
            let meaning = match meaning(&answer(status, body)) {
                Meaning::Granted => "granted",
                Meaning::Ended => "ended",
                Meaning::Failed(error) if error.kind() == ClientErrorKind::Unavailable => "unavailable",
                Meaning::Failed(_) => "unexpected",
            };
            assert_eq!(meaning, expected, "{status} {body}");
        }
    }

    #[test]
    fn answers_that_hold_no_tokens() {
        let endpoint = Endpoint::new("https://app.example/auth").unwrap();
        let good = r#"{"access_token":"a","token_type":"bearer","expires_in":900,"refresh_token":"r"}"#;
        let read = |body: &str| {
            endpoint.tokens(&answer(200, body), Asked::Login(None), Timestamp::from_unix_millis(5))
        };
        let tokens = read(good).unwrap();
        assert_eq!((tokens.expose_access_token(), tokens.expose_refresh_token()), ("a", "r"));
        assert_eq!(tokens.expires_at(), Timestamp::from_unix_millis(900_005));
        for body in [
            "",
            "[]",
            r#"{"access_token":"a","token_type":"bearer","expires_in":900}"#,
            r#"{"access_token":"a","token_type":"DPoP","expires_in":900,"refresh_token":"r"}"#,
            r#"{"access_token":"a","token_type":"bearer","expires_in":0,"refresh_token":"r"}"#,
            r#"{"access_token":"a","token_type":"bearer","expires_in":-1,"refresh_token":"r"}"#,
            r#"{"access_token":"a","token_type":"bearer","refresh_token":"r"}"#,
            r#"{"access_token":"a\r\nx","token_type":"bearer","expires_in":900,"refresh_token":"r"}"#,
            r#"{"access_token":"","token_type":"bearer","expires_in":900,"refresh_token":"r"}"#,
        ] {
            assert_eq!(read(body).unwrap_err().kind(), ClientErrorKind::Unexpected, "{body}");
        }
        // Nothing overflows.
        let long = good.replace("900", "18446744073709551615");
        assert_eq!(read(&long).unwrap().lifetime(), schedule::LONGEST);
    }

    #[test]
    fn an_answer_is_of_the_kind_that_was_asked_for() {
        let endpoint = Endpoint::new("https://app.example/auth").unwrap();
        let key = Arc::new(ProofKey::generate().unwrap());
        let bound = held().with_key(Some(Arc::clone(&key)));
        let bearer = held();
        for (token_type, is_bound) in
            [("Bearer", false), ("bearer", false), ("DPoP", true), ("dpop", true), ("DPOP", true)]
        {
            let body = format!(
                r#"{{"access_token":"a","token_type":"{token_type}","expires_in":900,"refresh_token":"r"}}"#
            );
            for (asked, sent) in [
                (Asked::Login(None), false),
                (Asked::Login(Some(Arc::clone(&key))), true),
                (Asked::Refresh(&bearer), false),
                (Asked::Refresh(&bound), true),
            ] {
                let tokens = endpoint.tokens(&answer(200, &body), asked, Timestamp::from_unix_millis(5));
                if sent == is_bound {
                    let thumbprint = tokens.unwrap().proof_key().map(ProofKey::thumbprint);
                    assert_eq!(thumbprint, sent.then(|| key.thumbprint()), "{token_type}");
                } else {
                    assert_eq!(tokens.unwrap_err().kind(), ClientErrorKind::Unexpected, "{token_type}");
                }
            }
        }
        for token_type in ["", "N_A", "Bearer ", "DPoP,Bearer"] {
            let body = format!(
                r#"{{"access_token":"a","token_type":"{token_type}","expires_in":900,"refresh_token":"r"}}"#
            );
            let read = |asked| endpoint.tokens(&answer(200, &body), asked, Timestamp::from_unix_millis(5));
            assert!(read(Asked::Refresh(&bearer)).is_err() && read(Asked::Refresh(&bound)).is_err());
        }
    }

    #[test]
    fn answers_that_want_a_nonce() {
        let nonce = r#"{"error":"use_dpop_nonce"}"#;
        let challenge = r#"DPoP error="use_dpop_nonce""#;
        for (status, body, challenge, expected) in [
            (400, nonce, "", true),
            (401, "", challenge, true),
            (400, "", challenge, false),
            (401, nonce, "Bearer", false),
            (400, r#"{"error":"invalid_dpop_proof"}"#, "", false),
            (400, "use_dpop_nonce", "", false),
            (200, nonce, challenge, false),
            (503, nonce, challenge, false),
        ] {
            let mut answer = answer(status, body);
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            assert_eq!(wants_nonce(&answer), expected, "{status} {body} {challenge}");
        }
    }

    #[test]
    fn a_cookie_is_kept_until_another_is_set() {
        let mut endpoint = Endpoint::new("https://app.example/auth").unwrap();
        endpoint.carrier = Carrier::Cookie("__Secure-refresh_token".into());
        let body = r#"{"access_token":"a","token_type":"bearer","expires_in":900}"#;
        let held = held();
        for (set, expected) in [
            (None, "kept"),
            (Some("__Secure-refresh_token=new; HttpOnly; Path=/auth"), "new"),
            (Some("other=x; HttpOnly"), "kept"),
            (Some("__secure-refresh_token=x"), "kept"),
            (Some("__Secure-refresh_token=; Max-Age=0"), "kept"),
        ] {
            let mut answer = answer(200, body);
            if let Some(set) = set {
                answer.headers_mut().insert(SET_COOKIE, HeaderValue::from_static(set));
            }
            let asked = Asked::Refresh(&held);
            let tokens = endpoint.tokens(&answer, asked, Timestamp::from_unix_millis(0)).unwrap();
            assert_eq!(tokens.expose_refresh_token(), expected, "{set:?}");
        }
        let login = Asked::Login(None);
        assert!(endpoint.tokens(&answer(200, body), login, Timestamp::from_unix_millis(0)).is_err());
    }

    #[test]
    fn retry_after_is_bounded() {
        for (value, expected) in
            [("2", Some(2)), ("0", Some(0)), ("999999", Some(300)), ("-1", None), ("x", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn the_difference_of_the_clocks() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let date = 784_111_777_000;
        for (sent, received, expected) in [
            (date, date, 0),
            (date - 2000, date + 2000, 0),
            (date + 900, date + 950, 0),
            (date + 61_400, date + 61_600, -61_000),
            (date - 3_600_500, date - 3_599_500, 3_600_500),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
            let at = Timestamp::from_unix_millis;
            assert_eq!(skew(&headers, at(sent), at(received)), Some(expected), "{sent}");
        }
        assert_eq!(
            skew(&HeaderMap::new(), Timestamp::from_unix_millis(0), Timestamp::from_unix_millis(0)),
            None
        );
    }
}
