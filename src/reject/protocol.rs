//! [`Protocol`]: the protocol of a request, by which its refusal is worded.

use http::{HeaderMap, Method, header};

/// The protocol that a request speaks, as far as its refusal depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Anything but the following.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// gRPC-Web in base64.
    GrpcWebText,
}

impl Protocol {
    /// By the method and the content type of a request: gRPC is always POST, and an answer to another method may be
    /// cached by its status. Asked only when refusing.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if method != Method::POST {
            return Self::Http;
        }
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |prefix: &str| {
            essence.len() >= prefix.len()
                && essence[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
                && matches!(essence.get(prefix.len()), None | Some(b'+'))
        };
        if is("application/grpc") {
            Self::Grpc
        } else if is("application/grpc-web") {
            Self::GrpcWeb
        } else if is("application/grpc-web-text") {
            Self::GrpcWebText
        } else {
            Self::Http
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn protocols_by_content_type() {
        for (content_type, expected) in [
            ("application/json", Protocol::Http),
            ("", Protocol::Http),
            ("application/grpc", Protocol::Grpc),
            ("application/grpc+proto", Protocol::Grpc),
            ("Application/gRPC; charset=x", Protocol::Grpc),
            ("application/grpcx", Protocol::Http),
            ("application/grpc-web", Protocol::GrpcWeb),
            ("application/grpc-web+proto", Protocol::GrpcWeb),
            ("application/grpc-web-text+proto", Protocol::GrpcWebText),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(Protocol::of(&Method::POST, &headers), expected, "{content_type}");
            assert_eq!(Protocol::of(&Method::GET, &headers), Protocol::Http, "{content_type}");
        }
    }
}
