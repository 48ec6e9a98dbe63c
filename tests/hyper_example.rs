//! The example `hyper` under what a server on the internet meets: large bodies, clients that say nothing, more of them
//! than it may have files open, and the end. `curl.rs` and `examples.rs` look at what it serves.

#![cfg(unix)]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{built, skip};

const LOGIN: &str = r#"{"name":"ada","password":"correct horse"}"#;

/// Only for a server that never answers: the test would hang.
const PATIENCE: Duration = Duration::from_secs(40);

/// Ended when dropped, so that a failed assertion leaves no server behind.
struct Server {
    process: Child,
    address: String,
    log: Lines<BufReader<ChildStderr>>,
}

impl Server {
    /// With at most so many open files.
    fn start(files: u32) -> Option<Self> {
        let Ok(example) = built("hyper") else {
            skip("the example hyper is not built");
            return None;
        };
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n $0 && exec \"$1\"", &files.to_string()])
            .arg(example)
            .env("ADDR", "127.0.0.1:0")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        let mut server = Self { process, address: String::new(), log: BufReader::new(stderr).lines() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        address.unwrap_or_else(|| panic!("{line:?}")).clone_into(&mut server.address);
        Some(server)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes until the server closes the connection.
    fn answer(&self, said: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(said).unwrap();
        rest(stream)
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        self.answer(format!("{}{body}", head(path, headers, body.len())).as_bytes())
    }

    fn token(&self) -> String {
        let answer = self.post("/auth/login", "", LOGIN);
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn terminate(&self) {
        // By the shell's own: not every machine has the program.
        let killed =
            Command::new("sh").args(["-c", "kill -s TERM $0", &self.process.id().to_string()]).status();
        assert!(killed.unwrap().success());
    }

    fn end(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of a request that asks the server to close the connection afterwards.
fn head(path: &str, headers: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Session-Request: 1\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn bodies_are_bounded() {
    let Some(server) = Server::start(256) else { return };
    let bearer = format!("Authorization: Bearer {}\r\n", server.token());
    let (most, more) = ("x".repeat(64 * 1024), "x".repeat(64 * 1024 + 1));
    for (name, path, headers, body, status) in [
        ("the most", "/", &*bearer, &*most, "200"),
        ("more", "/", &bearer, &more, "413"),
        ("more than the service takes", "/auth/login", "", &most, "413"),
        ("more than anybody takes", "/auth/login", "", &more, "413"),
        ("without a token", "/", "", "x", "401"),
    ] {
        let answer = server.post(path, headers, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
    }
    assert!(server.post("/", &bearer, &most).ends_with("\r\n\r\nada noted 65536 bytes\n"));
}

/// The version of HTTP is in the first bytes, and hyper's own limits begin behind them.
#[test]
fn who_asks_for_nothing_is_sent_away() {
    let Some(server) = Server::start(256) else { return };
    thread::scope(|scope| {
        for (name, said) in [
            ("nothing", &b""[..]),
            ("the first letter", b"P"),
            ("half a preface", b"PRI * HTTP/2.0\r\n"),
            ("half a head", b"GET / HTTP/1.1\r\nHost: localhost\r\n"),
            ("no request over HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ] {
            let server = &server;
            scope.spawn(move || {
                let mut stream = server.connect();
                stream.write_all(said).unwrap();
                let read = stream.read_to_end(&mut Vec::new());
                assert!(read.is_ok(), "{name}: {read:?}");
            });
        }
        let drips = head("/auth/login", "", LOGIN.len());
        let answer = server.answer(format!("{drips}{{").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 408 "), "half a body: {answer}");
    });
}

#[test]
fn connections_without_number_do_not_end_the_server() {
    let Some(mut server) = Server::start(32) else { return };
    let many: Vec<_> = (0..40).map(|_| server.connect()).collect();
    let line = server.log.next().unwrap().unwrap();
    assert!(line.contains("a connection was not accepted"), "{line}");
    drop(many);
    assert!(server.post("/auth/login", "", LOGIN).starts_with("HTTP/1.1 200 "));
}

#[test]
fn requests_under_way_are_answered_at_the_end() {
    let Some(mut server) = Server::start(256) else { return };
    let mut stream = server.connect();
    stream.write_all(head("/auth/login", "Expect: 100-continue\r\n", LOGIN.len()).as_bytes()).unwrap();
    // Said when the service reads the body: the request is under way.
    let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut said = vec![0; expected.len()];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(said, expected);

    let silent = server.connect();
    server.terminate();
    let asked = Instant::now();
    while TcpStream::connect(&server.address).is_ok() {
        assert!(asked.elapsed() < PATIENCE, "it goes on");
        thread::yield_now();
    }
    stream.write_all(LOGIN.as_bytes()).unwrap();
    assert!(rest(stream).starts_with("HTTP/1.1 200 "));
    assert!(server.end().success());
    drop(silent);
}
