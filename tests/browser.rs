//! The demo, driven in a real browser.
//!
//! Starts the built example `demo` on a free port and lets `tests/browser/demo.mjs` sign in, reload,
//! refresh from two tabs and sign out in headless Chromium. Cookie flags, what a page's script can
//! read, and whether a page fits a phone are facts only a browser can tell.
//!
//! Needs Node.js 20, Chromium and playwright-core. Where one is missing the test says so and passes;
//! with `REQUIRE_PARTS=1` it fails instead. `scripts/test.sh` installs all three.

use std::env;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const NODE_MAJOR: u32 = 20;
const START_LIMIT: Duration = Duration::from_secs(30);
const ANNOUNCEMENT: &str = "listening on ";

#[test]
fn the_demo_works_in_a_browser() {
    let parts = match Parts::find() {
        Ok(parts) => parts,
        Err(missing) => return skip(&missing),
    };
    let demo = Demo::start(&parts.demo);

    let status = Command::new(&parts.node)
        .arg(&parts.script)
        .env("BASE_URL", &demo.url)
        .env("CHROMIUM", &parts.chromium)
        .env("PLAYWRIGHT_DIR", &parts.playwright_dir)
        .env("SCREENSHOTS", target_dir().join("screenshots"))
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("{} did not start: {error}", parts.node.display()));

    assert!(status.success(), "the browser test failed ({status}); its last lines are above");
}

/// What the test needs besides itself.
struct Parts {
    demo: PathBuf,
    script: PathBuf,
    node: PathBuf,
    chromium: PathBuf,
    playwright_dir: PathBuf,
}

impl Parts {
    fn find() -> Result<Self, String> {
        Ok(Self {
            demo: find_demo()?,
            script: find_script()?,
            node: find_node()?,
            chromium: find_chromium()?,
            playwright_dir: find_playwright()?,
        })
    }
}

fn find_demo() -> Result<PathBuf, String> {
    let profile_dir = env::current_exe()
        .ok()
        .and_then(|test| Some(test.parent()?.parent()?.to_path_buf()))
        .ok_or("the build directory of this test is unknown")?;
    let demo = profile_dir.join("examples").join(format!("demo{}", env::consts::EXE_SUFFIX));
    // `cargo test --test browser` builds no examples.
    existing(demo).map_err(|path| format!("{path} is not built (cargo build --example demo)"))
}

fn find_script() -> Result<PathBuf, String> {
    // A packaged crate comes without it.
    existing(manifest_dir().join("tests/browser/demo.mjs")).map_err(|path| format!("no {path}"))
}

fn find_node() -> Result<PathBuf, String> {
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

fn find_chromium() -> Result<PathBuf, String> {
    if let Some(chromium) = env::var_os("CHROMIUM") {
        return existing(chromium.into()).map_err(|path| format!("no Chromium at {path}"));
    }
    ["/usr/bin/chromium", "/usr/bin/chromium-browser"]
        .into_iter()
        .find_map(|path| existing(path.into()).ok())
        .ok_or_else(|| "no Chromium".to_owned())
}

fn find_playwright() -> Result<PathBuf, String> {
    let dir = env::var_os("PLAYWRIGHT_DIR").map_or_else(|| target_dir().join("parts/browser"), PathBuf::from);
    existing(dir.join("node_modules/playwright-core"))
        .map(|_| dir)
        .map_err(|path| format!("no playwright-core at {path}"))
}

fn existing(path: PathBuf) -> Result<PathBuf, String> {
    if path.exists() { Ok(path) } else { Err(path.display().to_string()) }
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target_dir() -> PathBuf {
    // `join` keeps an absolute CARGO_TARGET_DIR as it is.
    manifest_dir().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn skip(missing: &str) {
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

/// A running demo, ended when dropped, so that a failed assertion leaves no server behind.
struct Demo {
    process: Child,
    url: String,
}

impl Demo {
    fn start(program: &Path) -> Self {
        let process = Command::new(program)
            .env("ADDR", "127.0.0.1:0")
            .current_dir(manifest_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", program.display()));
        // Owned before anything can fail, so that the guard already holds.
        let mut demo = Self { process, url: String::new() };
        let Some(stdout) = demo.process.stdout.take() else { panic!("the demo's output is not piped") };
        demo.url = announced_url(&lines_of(stdout));
        demo
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads to the end, also when nobody listens any more: a demo whose output is not drained would
/// block, or fail on a closed pipe.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            tell(format_args!("demo: {line}"));
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
            Err(RecvTimeoutError::Timeout) => panic!("the demo named no address within {START_LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the demo ended before it named its address"),
        }
    }
}
