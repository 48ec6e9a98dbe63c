//! What the run says, as Markdown.

use std::collections::BTreeMap;

use crate::request::case_name;
use crate::tokens::ALGORITHMS;

/// What the cases are called, and most of them in the tables as well.
pub mod names {
    pub const BARE: &str = "bare service";
    pub const BARE_07: &str = "bare service, body of axum 0.7";
    pub const BARE_HANDLER: &str = "bare handler of axum 0.8";
    pub const REPEATED: &str = "this crate, repeated token";
    pub const NEW: &str = "this crate, new token";
    pub const DECODE: &str = "layer over `jsonwebtoken::decode`";
    pub const JWT_AUTHORIZER: &str = "`jwt-authorizer`";
    pub const RESOURCE_SERVER: &str = "`tower-oauth2-resource-server`";
    pub const ALIRI: &str = "`aliri_tower`";
    pub const AXUM_JWT_AUTH: &str = "`axum-jwt-auth`";
    pub const NO_TOKEN: &str = "this crate, no token";
    pub const OTHER_SCHEME: &str = "this crate, wrong scheme";
    pub const OVERSIZE: &str = "this crate, 9,000 characters";
    pub const ALPHABET: &str = "this crate, bad alphabet";
    pub const UNKNOWN_KID: &str = "this crate, unknown key";
    pub const DECODE_NO_TOKEN: &str = "layer over `jsonwebtoken::decode`, no token";
    pub const DECODE_SIGNATURE: &str = "layer over `jsonwebtoken::decode`, bad signature";
    pub const SIGNATURE: &str = "bare signature";
    pub const DECODE_ALONE: &str = "`jsonwebtoken::decode`";
    pub const VERIFY_NEW: &str = "`Verifier::verify`, new token";
    pub const VERIFY_REPEATED: &str = "`Verifier::verify`, repeated token";
}
use names::*;

pub struct Figure {
    pub nanoseconds: f64,
    pub allocations: usize,
}

/// By the name of the case.
pub type Figures = BTreeMap<String, Figure>;

/// Each with what it is wrapped around.
const ACCEPTED: [(&str, &str); 7] = [
    (REPEATED, BARE),
    (NEW, BARE),
    (DECODE, BARE),
    (JWT_AUTHORIZER, BARE_07),
    (RESOURCE_SERVER, BARE),
    (ALIRI, BARE),
    (AXUM_JWT_AUTH, BARE_HANDLER),
];
const REFUSED: [&str; 7] =
    [NO_TOKEN, OTHER_SCHEME, OVERSIZE, ALPHABET, UNKNOWN_KID, DECODE_NO_TOKEN, DECODE_SIGNATURE];

pub fn print(figures: &Figures, bytes: &[usize]) {
    let figure = |algorithm: &str, name: &str| figures.get(&case_name(algorithm, name));
    let time = |algorithm: &str, name: &str| figure(algorithm, name).map(|figure| figure.nanoseconds);
    let count = |algorithm: &str, name: &str| figure(algorithm, name).map(|figure| figure.allocations);
    let added =
        |algorithm: &str, name: &str, bare: &str| Some(time(algorithm, name)? - time(algorithm, bare)?);

    heading(bytes);

    title("Added to a request, as a share of what a layer over `jsonwebtoken::decode` adds");
    println!("Less than 1 is less than that layer adds to the same request. What a service takes without");
    println!(
        "authentication is taken off. `axum-jwt-auth` is an extractor: it is compared with its own handler.\n"
    );
    header();
    for (name, bare) in ACCEPTED {
        row(name, |algorithm| Some(ratio(added(algorithm, name, bare)? / added(algorithm, DECODE, BARE)?)));
    }

    title("Refused requests");
    println!("The whole time of a request, to that of the bare service, which answers it.\n");
    header();
    for name in REFUSED {
        row(name, |algorithm| Some(ratio(time(algorithm, name)? / time(algorithm, BARE)?)));
    }
    row("this crate, unknown key, to a new token of HS256", |algorithm| {
        Some(ratio(time(algorithm, UNKNOWN_KID)? / time("HS256", NEW)?))
    });

    title("One new token, without a layer");
    println!(
        "First to `jsonwebtoken::decode`; then what is left when the bare signature check is taken off.\n"
    );
    header();
    for name in [VERIFY_NEW, VERIFY_REPEATED, SIGNATURE] {
        row(name, |algorithm| Some(ratio(time(algorithm, name)? / time(algorithm, DECODE_ALONE)?)));
    }
    for name in [VERIFY_NEW, DECODE_ALONE] {
        row(&format!("{name}, less the signature, µs"), |algorithm| {
            Some(format!("{:.2}", added(algorithm, name, SIGNATURE)? / 1000.0))
        });
    }

    title("Allocations added to a request");
    println!("Those of the bare service, the copy of the request among them, are taken off.\n");
    header();
    for (name, bare) in ACCEPTED.into_iter().chain(REFUSED.map(|name| (name, BARE))) {
        row(name, |algorithm| {
            let added = count(algorithm, name)? as i64 - count(algorithm, bare)? as i64;
            Some(added.to_string())
        });
    }
    for name in [BARE, BARE_07, BARE_HANDLER] {
        row(&format!("{name}, all of its own"), |algorithm| Some(count(algorithm, name)?.to_string()));
    }
}

/// With what this was measured.
fn heading(bytes: &[usize]) {
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
    println!("Tokens of {} to {} bytes.", bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
}

/// The versions of a package that this program was built with.
fn locked(name: &str) -> Vec<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    lock.split(&*entry).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

fn title(text: &str) {
    println!("\n### {text}\n");
}

fn header() {
    line("", ALGORITHMS.map(|algorithm| algorithm.as_str().to_owned()));
    line("---", ALGORITHMS.map(|_| "---:".to_owned()));
}

fn row(name: &str, cell: impl Fn(&'static str) -> Option<String>) {
    line(name, ALGORITHMS.map(|algorithm| cell(algorithm.as_str()).unwrap_or_else(|| "-".to_owned())));
}

fn line(first: &str, cells: [String; ALGORITHMS.len()]) {
    println!("| {first} | {} |", cells.join(" | "));
}

/// A small share as a fraction, as it is spoken of; others with two digits.
fn ratio(value: f64) -> String {
    match value {
        ..0.001 => "< 1/1000".to_owned(),
        0.001..0.2 => format!("1/{:.0}", 1.0 / value),
        0.2..0.995 => format!("{value:.2}"),
        0.995..9.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
