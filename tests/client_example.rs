//! The example `client` against the example `demo`: a session over several processes, in a file of its owner only.

#![cfg(unix)]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use program::{Program, built, skip, target_dir};
use serde_json::Value;

/// A directory of the test's own.
struct Place {
    client: PathBuf,
    demo: Program,
    directory: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Place {
    fn new(name: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let (client, demo) = match (built("client"), built("demo")) {
            (Ok(client), Ok(demo)) => (client, demo),
            (Err(missing), _) | (_, Err(missing)) => {
                skip(&missing);
                return None;
            }
        };
        let directory = target_dir().join("tmp").join(format!("client-{name}-{}", std::process::id()));
        Some(Self { client, demo: Program::start(&demo, settings), directory })
    }

    fn file(&self) -> PathBuf {
        self.directory.join("state/session.json")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.client);
        command.args(arguments).env("BASE_URL", &self.demo.url).env("SESSION_FILE", self.file());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What it says, or how it fails.
    fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = self.command(arguments).spawn().unwrap();
        // One that asks for nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (said, failed) = (text(output.stdout), text(output.stderr));
        let stored = fs::read_to_string(self.file()).unwrap_or_default();
        if let Ok(stored) = serde_json::from_str::<Value>(&stored) {
            for name in ["access_token", "refresh_token"] {
                let token = stored[name].as_str().unwrap();
                assert!(!said.contains(token) && !failed.contains(token), "a token was shown");
            }
        }
        if output.status.success() { Ok(said) } else { Err(failed) }
    }

    fn refresh_token(&self) -> String {
        let stored: Value = serde_json::from_str(&fs::read_to_string(self.file()).unwrap()).unwrap();
        stored["refresh_token"].as_str().unwrap().to_owned()
    }
}

const ADA: &str = "ada@example.com";
const PASSWORD: &str = "correct horse\n";

#[test]
fn a_session_lives_in_a_file_of_its_owner_only() {
    let Some(place) = Place::new("owner", &[]) else { return };
    assert!(place.run(&["me"], "").unwrap_err().contains("nobody is signed in"));
    assert!(place.run(&["login", ADA], "wrong\n").unwrap_err().contains("refused"));
    assert!(!place.file().exists());
    place.run(&["login", ADA], PASSWORD).unwrap();

    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(place.file()), mode(place.directory.join("state"))), (0o600, 0o700));
    let entries = fs::read_dir(place.directory.join("state")).unwrap().count();
    assert_eq!(entries, 1, "nothing is left beside it");

    let me: Value = serde_json::from_str(&place.run(&["me"], "").unwrap()).unwrap();
    assert_eq!(me["email"], ADA);
    let sessions: Value = serde_json::from_str(&place.run(&["sessions"], "").unwrap()).unwrap();
    let agent = sessions["sessions"][0]["user_agent"].as_str().unwrap();
    assert!(agent.starts_with("tower-jwt-auth-example/"), "{agent}");

    fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
    assert!(place.run(&["watch"], "").unwrap_err().contains("can be read by others"));
    fs::set_permissions(place.file(), Permissions::from_mode(0o600)).unwrap();

    place.run(&["logout"], "").unwrap();
    assert!(!place.file().exists());
    assert!(place.run(&["watch"], "").unwrap_err().contains("nobody is signed in"));
}

/// Ended when dropped.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_refreshes_without_a_request_and_from_one_process_to_the_next() {
    // A token for two seconds, and no hold that would keep it from being rotated.
    let settings = [("ACCESS_TTL_SECS", "2"), ("RETRY_WINDOW_MS", "2000")];
    let Some(place) = Place::new("watch", &settings) else { return };
    place.run(&["login", ADA], PASSWORD).unwrap();
    let first = place.refresh_token();
    let mut watching = Watching(place.command(&["watch"]).spawn().unwrap());
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("watching"));
    // Some refreshes are answered without a new refresh token, while the server holds the one there is.
    while place.refresh_token() == first {
        assert_eq!(lines.next().as_deref(), Some("refreshed"));
    }
    // Another process with the same file, at the same time.
    place.run(&["me"], "").unwrap();
    drop(watching);
    place.run(&["me"], "").unwrap();
    place.run(&["logout-everywhere"], "").unwrap();
    assert!(place.run(&["me"], "").unwrap_err().contains("nobody is signed in"));
}
