//! What a request brings along: refresh tokens in cookies, the type of its body, the client behind it.

use std::net::IpAddr;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{Extensions, HeaderMap};

use crate::service::core::Core;
use crate::service::events;
use crate::session::{ClientInfo, RefreshToken};

/// The address of the client's connection. A server, or a layer outside, puts it into the request's extensions, and
/// the session list shows it.
///
/// Behind a proxy the connection is the proxy's: read the forwarded header there only if the proxy overwrites what
/// clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientInfo {
    /// The user agent of these headers, and the [`ClientAddress`] of these extensions.
    pub fn from_request(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let mut info = Self::default();
        if let Some(agent) = headers.get(USER_AGENT) {
            info = info.with_user_agent(String::from_utf8_lossy(agent.as_bytes()));
        }
        if let Some(ClientAddress(address)) = extensions.get() {
            info = info.with_address(*address);
        }
        info
    }

    pub(super) fn of(parts: &Parts) -> Self {
        Self::from_request(&parts.headers, &parts.extensions)
    }
}

/// The genuine refresh tokens among cookie values: one for each session, of its highest generation.
///
/// A sibling host can plant cookies of our name. Values without a genuine tag are dropped; what is left is ours.
pub(super) fn genuine(core: &Core, values: &[&str]) -> Vec<RefreshToken> {
    let mut tokens: Vec<RefreshToken> = Vec::new();
    let mut unreadable = None;
    for value in values {
        let token = match core.codec.parse(value) {
            Ok(token) => token,
            Err(why) => {
                unreadable = unreadable.or(Some(why));
                continue;
            }
        };
        let same =
            |held: &&mut RefreshToken| held.session_id == token.session_id && held.subject == token.subject;
        match tokens.iter_mut().find(same) {
            Some(held) if held.generation < token.generation => *held = token,
            Some(_) => {}
            None => tokens.push(token),
        }
    }
    // One event, however many there are: a request must not fill the log.
    if let Some(why) = unreadable {
        events::refused("cookie", why.as_str());
    }
    tokens
}

/// The types of bodies that some route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// What the request says once, and of the whole body, that it is. Parameters such as a charset may follow.
pub(super) fn media(headers: &HeaderMap) -> Option<Media> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Some(Media::Json)
    } else if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Some(Media::Form)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn x6_content_types() {
        for (value, expected) in [
            ("application/json", Some(Media::Json)),
            ("Application/JSON; charset=utf-8", Some(Media::Json)),
            ("application/json ;x=y", Some(Media::Json)),
            ("text/plain", None),
            ("application/json, text/plain", None),
            ("application/jsonx", None),
            ("application/x-www-form-urlencoded", Some(Media::Form)),
            ("application/X-WWW-Form-urlencoded;charset=UTF-8", Some(Media::Form)),
            ("application/x-www-form-urlencoded, application/json", None),
            ("multipart/form-data; boundary=application/json", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(media(&headers), expected, "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        twice.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert_eq!((media(&twice), media(&HeaderMap::new())), (None, None));
    }
}
