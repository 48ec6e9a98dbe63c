//! Tables in Markdown, with a column for each algorithm.

use std::collections::BTreeMap;

use crate::alternate::Case;
use crate::request::case_name;
use crate::tokens::{ALGORITHMS, Tokens};

/// What was found of each case.
pub struct Figures<T>(BTreeMap<String, T>);

impl<T: Copy> Figures<T> {
    pub fn new(cases: &[Case], figures: Vec<T>) -> Self {
        Self(cases.iter().map(|case| case.name.clone()).zip(figures).collect())
    }

    pub fn of(&self, algorithm: &str, name: &str) -> Option<T> {
        self.0.get(&case_name(algorithm, name)).copied()
    }
}

/// With what this was measured.
pub fn heading() {
    let names = [
        "jsonwebtoken",
        "jwt-authorizer",
        "tower-oauth2-resource-server",
        "aliri_tower",
        "axum-jwt-auth",
        "aws-lc-rs",
        "ring",
    ];
    let versions: Vec<String> = names.map(|name| format!("{name} {}", locked(name).join(", "))).into();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}; {}; {cpus} CPUs.", versions.join("; "), env!("RUSTC_VERSION"));
    println!(
        "Signatures are checked by aws-lc-rs in this crate, in the layer and in tower-oauth2-resource-server; by ring in \
         jwt-authorizer and aliri_tower; by crates of pure Rust in axum-jwt-auth, as it comes."
    );
    let bytes = ALGORITHMS.map(|algorithm| Tokens::new(algorithm).good.len());
    println!("Tokens of {} to {} bytes.", bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
}

/// The versions of a package that this program was built with.
fn locked(name: &str) -> Vec<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    lock.split(&*entry).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

pub fn title(text: &str) {
    println!("\n### {text}\n");
}

pub fn header() {
    line("", ALGORITHMS.map(|algorithm| algorithm.as_str().to_owned()));
    line("---", ALGORITHMS.map(|_| "---:".to_owned()));
}

pub fn row(name: &str, cell: impl Fn(&'static str) -> Option<String>) {
    line(name, ALGORITHMS.map(|algorithm| cell(algorithm.as_str()).unwrap_or_else(|| "-".to_owned())));
}

fn line(first: &str, cells: [String; ALGORITHMS.len()]) {
    println!("| {first} | {} |", cells.join(" | "));
}

/// A small share as a fraction, as it is spoken of; others with two digits.
pub fn ratio(value: f64) -> String {
    match value {
        ..0.001 => "< 1/1000".to_owned(),
        0.001..0.2 => format!("1/{:.0}", 1.0 / value),
        0.2..0.995 => format!("{value:.2}"),
        0.995..9.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
