//! What a refused gRPC call is on the wire: "Trailers-Only", one HEADERS frame that ends the stream, and no DATA frame
//! (row 111). Read by a client that knows nothing but frames (RFC 9113, section 4).

#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower::{ServiceBuilder, service_fn};
use tower_jwt_auth::{JwtAuthLayer, NoClaims, RequireScopeLayer, SigningKey, TokenConfig};

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const STREAM: u32 = 1;

/// Only for a server that never answers: the test would hang.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Wire(TcpStream);

impl Wire {
    async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut wire = Self(stream);
        wire.send(SETTINGS, 0, 0, &[]).await;
        wire
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn receive(&mut self) -> Frame {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Frame { kind: head[3], flags: head[4], stream, payload }
    }

    /// The frames of the answer, to the one that ends it.
    async fn answer(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = timeout(PATIENCE, self.receive()).await.unwrap();
            match frame.kind {
                SETTINGS if frame.flags == 0 => self.send(SETTINGS, 1, 0, &[]).await,
                _ if frame.stream == STREAM => {
                    let is_last = frame.kind == RST_STREAM || frame.flags & END_STREAM != 0;
                    frames.push(frame);
                    if is_last {
                        return frames;
                    }
                }
                _ => {}
            }
        }
    }
}

/// A POST to `/example.Greeter/Greet` in HPACK without compression (RFC 7541, section 6.2.2).
fn header_block(content_type: &str, authorization: Option<&str>) -> Vec<u8> {
    fn literal(block: &mut Vec<u8>, text: &str) {
        // Lengths below 127 fit one byte.
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
    // :method POST, :scheme http
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", "/example.Greeter/Greet"),
        (":authority", "localhost"),
        ("content-type", content_type),
        ("te", "trailers"),
    ]
    .into_iter()
    .chain(authorization.map(|value| ("authorization", value)))
    {
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    block
}

async fn server(layer: impl Fn(TokenConfig) -> Stack) -> SocketAddr {
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&[7; 32]).unwrap())
        .issuer("https://app.example")
        .audience("api")
        .build()
        .unwrap();
    let stack = layer(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let inner = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("reached")))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let io = TokioIo::new(stream);
            match stack.clone() {
                Stack::Bearer(bearer) => {
                    let service = ServiceBuilder::new().layer(bearer).service(inner);
                    tokio::spawn(builder.serve_connection(io, TowerToHyperService::new(service)));
                }
                Stack::Scope(scope) => {
                    let service = ServiceBuilder::new().layer(scope).service(inner);
                    tokio::spawn(builder.serve_connection(io, TowerToHyperService::new(service)));
                }
            }
        }
    });
    address
}

#[derive(Clone)]
enum Stack {
    Bearer(JwtAuthLayer<NoClaims>),
    Scope(RequireScopeLayer),
}

#[tokio::test]
async fn row_111_a_refusal_is_one_headers_frame_that_ends_the_stream() {
    let bearer = server(|config| Stack::Bearer(JwtAuthLayer::new(config.verifier()))).await;
    let scope = server(|_| Stack::Scope(RequireScopeLayer::all(["a"]).unwrap())).await;
    for (row, address, content_type, authorization) in [
        ("no token", bearer, "application/grpc", None),
        ("a bad token", bearer, "application/grpc+proto", Some("Bearer x")),
        ("gRPC-Web", bearer, "application/grpc-web+proto", None),
        ("gRPC-Web in base64", bearer, "application/grpc-web-text", Some("Bearer x")),
        ("no bearer layer", scope, "application/grpc", None),
    ] {
        for ends_itself in [true, false] {
            let mut wire = Wire::connect(address).await;
            let flags = if ends_itself { END_HEADERS | END_STREAM } else { END_HEADERS };
            wire.send(HEADERS, flags, STREAM, &header_block(content_type, authorization)).await;
            let frames = wire.answer().await;
            let [frame] = &*frames else { panic!("{row}: {frames:?}") };
            assert_eq!((frame.kind, frame.flags & END_STREAM), (HEADERS, END_STREAM), "{row}: {frame:?}");
            assert!(!frame.payload.is_empty(), "{row}");
        }
    }
}

/// That the reader would see a DATA frame if there were one.
#[tokio::test]
async fn an_http_refusal_has_a_body() {
    let bearer = server(|config| Stack::Bearer(JwtAuthLayer::new(config.verifier()))).await;
    let mut wire = Wire::connect(bearer).await;
    let block = header_block("application/json", None);
    wire.send(HEADERS, END_HEADERS | END_STREAM, STREAM, &block).await;
    let kinds: Vec<_> = wire.answer().await.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [HEADERS, DATA]);
}
