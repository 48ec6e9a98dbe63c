//! The demo, driven in a real browser.
//!
//! Starts the built example `demo`, and `tls`, on a free port and lets `tests/browser/demo.mjs` sign in, reload,
//! refresh from two tabs, revoke, replay a stolen token and sign out in headless Chromium. Cookie flags, what a
//! page's script can read, and whether a page fits a phone are facts only a browser can tell.
//!
//! Needs Node.js 20, Chromium and playwright-core. Where one is missing the test says so and passes;
//! with `REQUIRE_PARTS=1` it fails instead. `scripts/test.sh` installs all three.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use std::env;
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

fn works_in_a_browser(example: &str) {
    let parts = match Parts::find(example) {
        Ok(parts) => parts,
        Err(missing) => return skip(&missing),
    };
    // Short windows, so that a rotation and a theft can be waited for: tokens are held for 4 seconds.
    let demo = Program::start(&parts.demo, &[("RETRY_WINDOW_MS", "6000")]);

    let status = Command::new(&parts.node)
        .arg(&parts.script)
        .env("BASE_URL", &demo.url)
        .env("CHROMIUM", &parts.chromium)
        .env("PLAYWRIGHT_DIR", &parts.playwright_dir)
        .env("SCREENSHOTS", target_dir().join("screenshots").join(example))
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
    fn find(example: &str) -> Result<Self, String> {
        Ok(Self {
            demo: program::built(example)?,
            script: find_script()?,
            node: find_node()?,
            chromium: find_chromium()?,
            playwright_dir: find_playwright()?,
        })
    }
}

fn find_script() -> Result<PathBuf, String> {
    // A packaged crate comes without it.
    existing(manifest_dir().join("tests/browser/demo.mjs")).map_err(|path| format!("no {path}"))
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
