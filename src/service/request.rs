//! What a request brings along: the type of its body, and the client behind it.

use std::net::IpAddr;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{Extensions, HeaderMap};

use crate::session::ClientInfo;

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
