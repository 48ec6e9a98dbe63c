//! What the compiler says to a newcomer who forgets something that matters.
//!
//! The texts are those of one compiler. On any other the test says that it was skipped and passes, also with
//! `REQUIRE_PARTS=1`: a compiler is not a part that scripts/test.sh can bring. To take over new texts after a look at each: `TRYBUILD=overwrite`.

// One text lists the stores that there are: with the default features only. scripts/test.sh has a stage for that.
#![cfg(all(feature = "moka", not(any(feature = "redis", feature = "postgres"))))]
// `allow-expect-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::expect_used)]

use std::env;
use std::io::Write;
use std::process::Command;

/// The compiler that the texts in `tests/compile_fail` are from.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn the_compiler_says_what_to_do() {
    let compiler = compiler();
    if !compiler.starts_with(COMPILER) {
        return skip(&format!("the texts are from {COMPILER}x, this is {compiler}"));
    }
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

/// The version of the compiler that cargo uses, and so trybuild.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    String::from_utf8(output.stdout).expect("a version is text").trim().to_owned()
}

fn skip(why: &str) {
    // To the real standard error: what a passing test prints is swallowed.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
