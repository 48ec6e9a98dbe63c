//! The demo and its session module, driven in a real browser.
//!
//! Starts the built example `demo`, and `tls`, on a free port and lets `tests/browser/demo.mjs` sign in, reload,
//! refresh from two tabs, revoke, replay a stolen token and sign out in headless Chromium. Cookie flags, what a
//! page's script can read, and whether a page fits a phone are facts only a browser can tell.
//!
//! `tests/browser/session.mjs` does the same with `session.js` alone, in many tabs, with answers lost, clocks wrong and
//! logins that race. `tests/browser/session.test.mjs` tries its rules one by one, against a browser made of fakes, and
//! `dpop.test.mjs` those of its proofs. `dpop.mjs` carries what a thief could copy out of the browser, and tries it.
//!
//! Needs Node.js 20, and, but for the tests against fakes, Chromium and playwright-core. Where one is missing the test
//! says so and passes; with `REQUIRE_PARTS=1` it fails instead. `scripts/test.sh` installs all three.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use program::{Program, existing, find_node, manifest_dir, skip, target_dir};

#[test]
fn the_demo_works_in_a_browser() {
    works_in_a_browser("demo");
}

#[test]
fn the_demo_works_in_a_browser_over_tls() {
    works_in_a_browser("tls");
}

#[test]
fn the_session_module_works_in_a_browser() {
    let parts = match Parts::find("demo", "session.mjs") {
        Ok(parts) => parts,
        Err(missing) => return skip(&missing),
    };
    let retry = "4500";
    // Of the two lifetimes, one ends by itself while the test waits, and the other never does.
    let demo = Program::start(&parts.demo, &[("RETRY_WINDOW_MS", retry), ("ACCESS_TTL_SECS", "900")]);
    let short_lived = Program::start(&parts.demo, &[("ACCESS_TTL_SECS", "4")]);
    parts.run(&[
        ("BASE_URL", demo.url.as_ref()),
        ("SHORT_LIVED_URL", short_lived.url.as_ref()),
        ("RETRY_WINDOW_MS", retry.as_ref()),
    ]);
}

#[test]
fn the_session_module_binds_its_tokens_in_a_browser() {
    let parts = match Parts::find("demo", "dpop.mjs") {
        Ok(parts) => parts,
        Err(missing) => return skip(&missing),
    };
    let demo = Program::start(
        &parts.demo,
        &[("DPOP", "1"), ("RETRY_WINDOW_MS", "4500"), ("ACCESS_TTL_SECS", "900")],
    );
    parts.run(&[("BASE_URL", demo.url.as_ref())]);
}

#[test]
fn the_session_module_keeps_its_rules() {
    works_against_fakes("session.test.mjs");
}

#[test]
fn the_session_module_proves_its_key() {
    works_against_fakes("dpop.test.mjs");
}

fn works_against_fakes(script: &str) {
    let (node, script) = match find_node().and_then(|node| Ok((node, find_script(script)?))) {
        Ok(parts) => parts,
        Err(missing) => return skip(&missing),
    };
    succeeds(Command::new(node).arg("--test").arg(script));
}

fn works_in_a_browser(example: &str) {
    let parts = match Parts::find(example, "demo.mjs") {
        Ok(parts) => parts,
        Err(missing) => return skip(&missing),
    };
    // Short windows, so that a rotation and a theft can be waited for: tokens are held for 4 seconds.
    let demo = Program::start(&parts.demo, &[("RETRY_WINDOW_MS", "6000")]);
    let screenshots = target_dir().join("screenshots").join(example);
    parts.run(&[("BASE_URL", demo.url.as_ref()), ("SCREENSHOTS", screenshots.as_ref())]);
}

/// What a test needs besides itself.
struct Parts {
    demo: PathBuf,
    script: PathBuf,
    node: PathBuf,
    chromium: PathBuf,
    playwright_dir: PathBuf,
}

impl Parts {
    fn find(example: &str, script: &str) -> Result<Self, String> {
        Ok(Self {
            demo: program::built(example)?,
            script: find_script(script)?,
            node: find_node()?,
            chromium: find_chromium()?,
            playwright_dir: find_playwright()?,
        })
    }

    fn run(&self, settings: &[(&str, &OsStr)]) {
        succeeds(
            Command::new(&self.node)
                .arg(&self.script)
                .env("CHROMIUM", &self.chromium)
                .env("PLAYWRIGHT_DIR", &self.playwright_dir)
                .envs(settings.iter().copied()),
        );
    }
}

fn succeeds(command: &mut Command) {
    let status = command
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("{} did not start: {error}", command.get_program().to_string_lossy()));
    assert!(status.success(), "the test failed ({status}); its last lines are above");
}

fn find_script(name: &str) -> Result<PathBuf, String> {
    // A packaged crate comes without them.
    existing(manifest_dir().join("tests/browser").join(name)).map_err(|path| format!("no {path}"))
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
