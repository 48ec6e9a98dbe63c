//! curl, which speaks HTTP/2 without asking first.

// Each test file compiles its own copy of this module and uses a part of it; a helper that fails fails its test.
#![allow(dead_code, unreachable_pub, clippy::unused_self, clippy::unwrap_used)]

use std::process::{Command, Stdio};

pub struct Curl(());

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    pub body: String,
}

impl Curl {
    pub fn find() -> Result<Self, String> {
        let output = Command::new("curl").arg("--version").stdin(Stdio::null()).output();
        match output {
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains("HTTP2") => Ok(Self(())),
            Ok(_) => Err("this curl knows no HTTP/2".to_owned()),
            Err(error) => Err(format!("no curl: {error}")),
        }
    }

    pub fn get(&self, url: &str, headers: &[&str]) -> Answer {
        Self::run(&["--http2-prior-knowledge", url], headers)
    }

    pub fn post(&self, url: &str, headers: &[&str], body: &str) -> Answer {
        Self::run(&["--http2-prior-knowledge", "--data-binary", body, url], headers)
    }

    pub fn get_http1(&self, url: &str, headers: &[&str]) -> Answer {
        Self::run(&["--http1.1", url], headers)
    }

    fn run(arguments: &[&str], headers: &[&str]) -> Answer {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--write-out",
                "\n%{http_code} %{http_version}",
            ])
            .args(headers.iter().flat_map(|header| ["--header", header]))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, last) = text.rsplit_once('\n').unwrap();
        let (status, version) = last.split_once(' ').unwrap();
        Answer { status: status.parse().unwrap(), version: version.to_owned(), body: body.to_owned() }
    }
}
