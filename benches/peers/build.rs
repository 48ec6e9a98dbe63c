//! The name of the compiler, for the line above the tables.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap();
    let output = Command::new(rustc).arg("--version").output().unwrap();
    println!("cargo::rustc-env=RUSTC_VERSION={}", String::from_utf8(output.stdout).unwrap().trim());
    println!("cargo::rerun-if-changed=build.rs");
}
