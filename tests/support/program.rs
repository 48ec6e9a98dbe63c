//! Programs that tests run: the examples, found where cargo built them and ended when dropped, and Node.js.

// Each test file compiles its own copy of this module and uses a part of it; a helper that fails fails its test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::env;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The oldest Node.js that the scripts of the tests run on.
const NODE_MAJOR: u32 = 20;
const START_LIMIT: Duration = Duration::from_secs(30);
const ANNOUNCEMENT: &str = "listening on ";

/// The path of a built example. `cargo test --test NAME` builds none, a plain `cargo test` all.
pub fn built(example: &str) -> Result<PathBuf, String> {
    let profile_dir = env::current_exe()
        .ok()
        .and_then(|test| Some(test.parent()?.parent()?.to_path_buf()))
        .ok_or("the build directory of this test is unknown")?;
    let program = profile_dir.join("examples").join(format!("{example}{}", env::consts::EXE_SUFFIX));
    existing(program).map_err(|path| format!("{path} is not built (cargo build --example {example})"))
}

pub fn existing(path: PathBuf) -> Result<PathBuf, String> {
    if path.exists() { Ok(path) } else { Err(path.display().to_string()) }
}

pub fn find_node() -> Result<PathBuf, String> {
    let node = env::var_os("NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from);
    let output = Command::new(&node)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("no Node.js ({}: {error})", node.display()))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let version = version.trim();
    let major = version
        .strip_prefix('v')
        .and_then(|rest| rest.split('.').next())
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE_MAJOR => Ok(node),
        _ => Err(format!("Node.js {NODE_MAJOR} or newer is needed, {} is {version:?}", node.display())),
    }
}

pub fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn target_dir() -> PathBuf {
    // `join` keeps an absolute CARGO_TARGET_DIR as it is.
    manifest_dir().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Says why a test does not run; with `REQUIRE_PARTS=1` it fails instead.
pub fn skip(missing: &str) {
    let how = "scripts/test.sh installs what is needed";
    assert!(
        env::var_os("REQUIRE_PARTS").is_none_or(|value| value != "1"),
        "REQUIRE_PARTS=1, but {missing}: {how}"
    );
    tell(format_args!("SKIPPED: {missing}: {how}"));
}

/// Writes to the real standard error: the macros' output is swallowed when a test passes, and a
/// skipped test that looks like a passed one helps nobody.
fn tell(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs an example that is expected to end by itself.
pub fn run(program: &Path, settings: &[(&str, &str)]) -> Output {
    command(program, settings)
        .output()
        .unwrap_or_else(|error| panic!("{} did not start: {error}", program.display()))
}

fn command(program: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.env("ADDR", "127.0.0.1:0").envs(settings.iter().copied()).stdin(Stdio::null());
    command
}

/// A running example, ended when dropped, so that a failed assertion leaves no server behind.
pub struct Program {
    process: Child,
    pub url: String,
}

impl Program {
    /// Starts an example on a free port, and waits until it has said where it listens.
    pub fn start(program: &Path, settings: &[(&str, &str)]) -> Self {
        let process = command(program, settings)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", program.display()));
        // Owned before anything can fail, so that the guard already holds.
        let mut program = Self { process, url: String::new() };
        let Some(stdout) = program.process.stdout.take() else { panic!("the program's output is not piped") };
        program.url = announced_url(&lines_of(stdout));
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads to the end, also when nobody listens any more: a program whose output is not drained would
/// block, or fail on a closed pipe.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

fn announced_url(lines: &Receiver<String>) -> String {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(url) = line.strip_prefix(ANNOUNCEMENT) {
                    return url.trim().to_owned();
                }
            }
            Err(RecvTimeoutError::Timeout) => panic!("the program named no address within {START_LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the program ended before it named its address"),
        }
    }
}
