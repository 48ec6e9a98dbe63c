//! What `tonic-prost-build` makes from this file, by hand, so that the example needs no `protoc`:
//!
//! ```proto
//! package example;
//! message Text { string text = 1; }
//! service Greeter {
//!   rpc Greet (Text) returns (Text);
//!   rpc Repeat (Text) returns (stream Text);
//!   rpc Chat (stream Text) returns (stream Text);
//! }
//! service Admin { rpc Stop (Text) returns (Text); }
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

impl Text {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

pub(crate) type Texts = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;
type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// The service as its implementor sees it.
pub(crate) trait Greeter: Send + Sync + 'static {
    fn greet(&self, request: Request<Text>) -> impl Future<Output = Result<Response<Text>, Status>> + Send;
    fn repeat(&self, request: Request<Text>) -> impl Future<Output = Result<Response<Texts>, Status>> + Send;
    fn chat(
        &self,
        request: Request<Streaming<Text>>,
    ) -> impl Future<Output = Result<Response<Texts>, Status>> + Send;
}

pub(crate) struct GreeterServer<G>(Arc<G>);

impl<G> GreeterServer<G> {
    pub(crate) fn new(greeter: G) -> Self {
        Self(Arc::new(greeter))
    }
}

impl<G> Clone for GreeterServer<G> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<G> NamedService for GreeterServer<G> {
    const NAME: &'static str = "example.Greeter";
}

impl<G: Greeter> Service<http::Request<Body>> for GreeterServer<G> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let greeter = Arc::clone(&self.0);
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Text, Text>::default());
            let path = request.uri().path().to_owned();
            Ok(match path.rsplit('/').next() {
                Some("Greet") => {
                    let greet = service_fn(move |request| {
                        let greeter = Arc::clone(&greeter);
                        async move { greeter.greet(request).await }
                    });
                    grpc.unary(greet, request).await
                }
                Some("Repeat") => {
                    let repeat = service_fn(move |request| {
                        let greeter = Arc::clone(&greeter);
                        async move { greeter.repeat(request).await }
                    });
                    grpc.server_streaming(repeat, request).await
                }
                Some("Chat") => {
                    let chat = service_fn(move |request| {
                        let greeter = Arc::clone(&greeter);
                        async move { greeter.chat(request).await }
                    });
                    grpc.streaming(chat, request).await
                }
                _ => unimplemented(),
            })
        })
    }
}

pub(crate) trait Admin: Send + Sync + 'static {
    fn stop(&self, request: Request<Text>) -> impl Future<Output = Result<Response<Text>, Status>> + Send;
}

pub(crate) struct AdminServer<A>(Arc<A>);

impl<A> AdminServer<A> {
    pub(crate) fn new(admin: A) -> Self {
        Self(Arc::new(admin))
    }
}

impl<A> Clone for AdminServer<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A> NamedService for AdminServer<A> {
    const NAME: &'static str = "example.Admin";
}

impl<A: Admin> Service<http::Request<Body>> for AdminServer<A> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let admin = Arc::clone(&self.0);
        Box::pin(async move {
            if request.uri().path() != "/example.Admin/Stop" {
                return Ok(unimplemented());
            }
            let stop = service_fn(move |request| {
                let admin = Arc::clone(&admin);
                async move { admin.stop(request).await }
            });
            Ok(Grpc::new(ProstCodec::<Text, Text>::default()).unary(stop, request).await)
        })
    }
}

fn unimplemented() -> http::Response<Body> {
    Status::unimplemented("there is no such method").into_http()
}
