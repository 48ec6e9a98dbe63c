//! Refusals of gRPC calls: HTTP 200 with the status in the headers and no body ("Trailers-Only" of the gRPC protocol
//! over HTTP/2). The status is never derived from an HTTP status.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use crate::reject::{Protocol, RejectionKind};

pub(crate) fn response(protocol: Protocol, kind: RejectionKind) -> Response<Bytes> {
    let content_type = match protocol {
        Protocol::GrpcWeb => "application/grpc-web",
        Protocol::GrpcWebText => "application/grpc-web-text",
        Protocol::Grpc | Protocol::Http => "application/grpc",
    };
    let status = match kind {
        // UNAUTHENTICATED
        RejectionKind::Missing
        | RejectionKind::InvalidRequest
        | RejectionKind::InvalidToken
        | RejectionKind::InvalidProof
        | RejectionKind::NonceNeeded
        | RejectionKind::InsufficientAuthentication => "16",
        // PERMISSION_DENIED
        RejectionKind::InsufficientScope | RejectionKind::Denied | RejectionKind::CrossSite => "7",
        // UNAVAILABLE
        RejectionKind::Unavailable => "14",
        // INTERNAL
        RejectionKind::NoBearerLayer | RejectionKind::OtherClaims => "13",
    };
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("grpc-status", HeaderValue::from_static(status));
    // Of characters that need no percent-encoding.
    headers.insert("grpc-message", HeaderValue::from_static(kind.description()));
    response
}
