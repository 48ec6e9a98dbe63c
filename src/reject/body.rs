//! [`ResponseBody`]: the inner service's body, or our own.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response of [`JwtAuth`](crate::JwtAuth): the inner body `B` untouched, or the body of a refusal.
    ///
    /// Opaque, so that what is inside can change. An empty body of our own says so at once: over HTTP/2 the headers
    /// then end the stream, which is what makes a refused gRPC call "Trailers-Only".
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Own { data: Option<Bytes> },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }
}

/// An empty body. Asks nothing of `B`, so that layers outside can make one.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self { kind: Kind::Own { data: None } }
    }
}

impl<B> From<Bytes> for ResponseBody<B> {
    fn from(data: Bytes) -> Self {
        Self { kind: Kind::Own { data: (!data.is_empty()).then_some(data) } }
    }
}

impl<B: Body> Body for ResponseBody<B>
where
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Own { data } => Poll::Ready(data.take().map(|data| Ok(Frame::data(data.into())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { data } => data.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { data } => SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64)),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner { .. } => "ResponseBody(inner)",
            Kind::Own { .. } => "ResponseBody(refusal)",
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn ends_and_sizes_are_exact() {
        type Any = ResponseBody<Full<Bytes>>;
        for (name, mut body, size) in [
            ("empty", Any::default(), 0),
            ("from nothing", Any::from(Bytes::new()), 0),
            ("refusal", Any::from(Bytes::from_static(b"abc")), 3),
            ("inner", Any::inner(Full::from("abcd")), 4),
        ] {
            assert_eq!(body.is_end_stream(), size == 0, "{name}");
            assert_eq!(body.size_hint().exact(), Some(size), "{name}");
            if size > 0 {
                let frame = body.frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap().len() as u64, size, "{name}");
            }
            assert!(body.frame().await.is_none() && body.is_end_stream(), "{name}");
        }
    }
}
