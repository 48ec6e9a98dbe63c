//! The example `tonic` as a user runs it: the login and the session list beside the gRPC services, on one port.
//! `grpc_interop.rs` calls it by clients of other languages.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "../examples/tonic/greeter.rs"]
#[allow(dead_code)]
mod greeter;
#[path = "support/program.rs"]
mod program;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::greeter::Text;
use crate::program::{Program, built, skip};

const ADA: &str = r#"{"name":"ada","password":"correct horse"}"#;
const BOB: &str = r#"{"name":"bob","password":"battery staple"}"#;

async fn send(request: Request<Full<Bytes>>, only_http2: bool) -> Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).http2_only(only_http2).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

async fn login(server: &Program, credentials: &'static str, only_http2: bool) -> Response<Bytes> {
    let request = Request::post(format!("{}/auth/login", server.url))
        .header("x-session-request", "1")
        .header("content-type", "application/json")
        .body(Full::from(credentials))
        .unwrap();
    send(request, only_http2).await
}

fn token(login: &Response<Bytes>) -> String {
    assert_eq!(login.status(), StatusCode::OK, "{login:?}");
    let body: Value = serde_json::from_slice(login.body()).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

async fn call(channel: &Channel, path: &'static str, token: &str) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(Text::new("Hello"));
    let credentials = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
    request.metadata_mut().insert("authorization", credentials);
    let codec = ProstCodec::<Text, Text>::default();
    Ok(client.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner().text)
}

#[tokio::test]
async fn the_login_is_on_the_port_of_the_services() {
    let Ok(example) = built("tonic") else { return skip("the example tonic is not built") };
    let server = Program::start(&example, &[]);

    let wrong = login(&server, r#"{"name":"ada","password":"battery staple"}"#, true).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let (bob, ada) = (login(&server, BOB, true).await, login(&server, ADA, false).await);
    assert_eq!((bob.version(), ada.version()), (Version::HTTP_2, Version::HTTP_11));
    let (bob, ada) = (token(&bob), token(&ada));

    let channel = Channel::from_shared(server.url.clone()).unwrap().connect().await.unwrap();
    let (greet, stop) = ("/example.Greeter/Greet", "/example.Admin/Stop");
    assert_eq!(call(&channel, greet, &bob).await.unwrap(), "Hello, bob!");
    assert_eq!(call(&channel, greet, "x.y.z").await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(call(&channel, stop, &bob).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(call(&channel, stop, &ada).await.unwrap(), "stopped by ada");

    // A path of nobody is no way round the layer.
    let nobody = "/example.Nobody/Call";
    assert_eq!(call(&channel, nobody, "x.y.z").await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(call(&channel, nobody, &ada).await.unwrap_err().code(), Code::Unimplemented);

    for only_http2 in [true, false] {
        let list = Request::get(format!("{}/auth/sessions", server.url))
            .header("authorization", format!("Bearer {ada}"))
            .body(Full::default())
            .unwrap();
        let list: Value = serde_json::from_slice(send(list, only_http2).await.body()).unwrap();
        assert_eq!(list["sessions"][0]["address"], "127.0.0.1", "{list}");
    }
}
