//! [`Frames`]: a body that only passes if nothing about it is assumed.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};

/// Two frames of data and trailers, or an error between them. No `Default`, and an error that is no `Error`.
#[derive(Debug)]
pub struct Frames(Vec<Result<Frame<Bytes>, Broke>>);

#[derive(Debug, PartialEq)]
pub struct Broke;

impl Frames {
    pub fn new(breaks: bool) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let end = if breaks { Err(Broke) } else { Ok(Frame::trailers(trailers)) };
        Self(vec![end, Ok(Frame::data("b".into())), Ok(Frame::data("a".into()))])
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Broke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        Poll::Ready(self.0.pop())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
