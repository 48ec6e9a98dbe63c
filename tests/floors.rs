//! The floors of the house: who may import whom, who reads the clock, and what of `jsonwebtoken` is used.
//!
//! Reads the sources as text. Comments, strings and `#[cfg(test)]` modules are left out first; then every path that
//! starts at the crate, at a parent module or at another crate is looked at, whether it stands in a `use` or not.

// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of the crate may import of the others, from the ground up.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Floor 0 knows nothing of JWT, HTTP or stores, and its parts nothing of each other.
    ("clock", &[]),
    ("secret", &[]),
    ("error", &[]),
    ("url", &[]),
    ("metrics", &[]),
    ("timer", &[]),
    ("transport", &[]),
    ("thumbprint", &["secret"]),
    // Floor 1: the two security decisions, which never see each other.
    ("token", &["clock", "secret", "error", "url", "thumbprint"]),
    ("session", &["clock", "secret", "error", "url", "thumbprint"]),
    // Floor 2. A store knows only sessions.
    ("store", &["clock", "secret", "error", "url", "thumbprint", "session"]),
    ("cookie", &["clock", "secret", "error", "url", "token", "session"]),
    ("csrf", &["error", "url"]),
    ("extract", &["clock", "secret", "error", "url", "token", "session", "cookie", "csrf"]),
    ("reject", &["clock", "secret", "error", "url", "metrics", "token", "session", "extract"]),
    // It carries the name of a proof to those who ask a store about it.
    ("context", &["clock", "secret", "error", "url", "token", "session", "store", "extract", "reject"]),
    // What those roads share that may have to wait before they decide.
    ("gate", &["context", "reject"]),
    ("store_cache", &["timer"]),
    // Pages without code.
    ("manual", &[]),
    // What a resource says of itself. On this floor, as the bearer layer names its URL.
    ("protected_resource", &["error", "url", "token", "reject"]),
    // Proofs of possession, the synchronous part. It knows of the stores what a proof is called.
    ("dpop", &["clock", "secret", "error", "url", "thumbprint", "token", "store", "extract", "reject"]),
    ("test_util", &["clock", "secret", "error", "url", "thumbprint", "token", "session", "store"]),
    // Floor 3: the roads, which do not import each other. The bearer road knows no store.
    (
        "bearer",
        &[
            "clock",
            "secret",
            "error",
            "url",
            "token",
            "session",
            "extract",
            "cookie",
            "context",
            "reject",
            "dpop",
            "protected_resource",
        ],
    ),
    (
        "authorize",
        &["clock", "secret", "error", "url", "metrics", "token", "extract", "context", "reject", "gate"],
    ),
    (
        "service",
        &[
            "clock",
            "secret",
            "error",
            "url",
            "metrics",
            "token",
            "session",
            "store",
            "extract",
            "cookie",
            "csrf",
            "context",
            "reject",
            "dpop",
            "thumbprint",
        ],
    ),
    (
        "live",
        &[
            "clock",
            "metrics",
            "timer",
            "token",
            "session",
            "store",
            "context",
            "reject",
            "gate",
            "store_cache",
        ],
    ),
    (
        "revocation",
        &["clock", "metrics", "timer", "token", "store", "context", "reject", "gate", "store_cache"],
    ),
    ("replay", &["metrics", "store", "context", "reject", "gate"]),
    ("client", &["clock", "secret", "error", "url", "timer", "transport", "cookie", "csrf", "token", "dpop"]),
    ("remote_jwks", &["clock", "secret", "error", "url", "metrics", "timer", "transport", "token"]),
    // Floor 4: glue without decisions.
    ("axum", &["token", "session", "context", "reject", "service"]),
];

/// Parts that are pure and synchronous, and the store, which knows no HTTP.
const NO_HTTP: &[&str] = &["clock", "secret", "error", "url", "token", "session", "store"];
const NO_ASYNC: &[&str] = &["clock", "secret", "error", "url", "token", "session", "dpop"];
const HTTP_CRATES: &[&str] = &[
    "http",
    "http_body",
    "http_body_util",
    "hyper",
    "axum",
    "tower",
    "tower_http",
    "tower_layer",
    "tower_service",
    "cookie",
];
const ASYNC_CRATES: &[&str] = &["tokio", "moka", "futures", "futures_util"];

/// All that is used of `jsonwebtoken`: keys, and a provider that is named. Not its functions, which ask for the
/// provider of the process.
const OF_JSONWEBTOKEN: &[&str] = &[
    "jsonwebtoken::Algorithm",
    "jsonwebtoken::DecodingKey",
    "jsonwebtoken::EncodingKey",
    "jsonwebtoken::crypto::CryptoProvider",
    "jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER",
    "jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER",
    "jsonwebtoken::jwk::EllipticCurve",
];
const PROCESS_DEFAULT: &[&str] =
    &["get_default", "install_default", "from_crate_features", "decode_header", "insecure_decode"];

#[test]
fn the_floors_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let (mut faults, mut seen, mut paths) = (Vec::new(), BTreeSet::new(), 0);
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        if name.ends_with("/tests.rs") {
            continue;
        }
        let source = File::read(&name, &fs::read_to_string(file).unwrap());
        paths += source.paths.len();
        seen.insert(source.unit().to_owned());
        faults.extend(source.faults());
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    // A scanner that sees nothing finds nothing.
    let known: BTreeSet<_> =
        MAY_IMPORT.iter().map(|(unit, _)| (*unit).to_owned()).chain(["lib".into()]).collect();
    assert_eq!(seen, known, "the parts of the crate and those that the rules name");
    assert!(files.len() > 40 && paths > 300, "{} files, {paths} paths", files.len());
}

/// One idea a file, and text that is read without turning the head.
#[test]
fn no_file_is_long_and_no_comment_is_wide() {
    const LINES: usize = 400;
    const COLUMNS: usize = 120;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    collect(&root, &mut files);
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().display();
        let source = fs::read_to_string(file).unwrap();
        let lines = source.lines().count();
        if lines > LINES {
            faults.push(format!("{name}: {lines} lines"));
        }
        for (at, line) in source.lines().enumerate() {
            let comment = line.trim_start();
            // A row of a table cannot be wrapped, nor can a key in an example.
            let text = comment.trim_start_matches(['/', '!']);
            let is_whole = text.starts_with(" |") || text.starts_with(" #") || text.contains("-----BEGIN");
            if comment.starts_with("//") && !is_whole && line.chars().count() > COLUMNS && text.contains(' ')
            {
                faults.push(format!("{name}:{}: {} columns", at + 1, line.chars().count()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(files.len() > 40, "{} files", files.len());
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// One source file, as far as the rules look at it.
struct File {
    name: String,
    tokens: Vec<String>,
    /// Absolute: `crate::token::key`, `http::HeaderMap`, also for those that were written with `super`.
    paths: Vec<String>,
}

impl File {
    fn read(name: &str, source: &str) -> Self {
        let tokens = without_test_modules(&tokens(source));
        let paths = paths(&tokens, &module_of(name));
        Self { name: name.to_owned(), tokens, paths }
    }

    /// The part of the crate that the file belongs to: a module at the root.
    fn unit(&self) -> &str {
        self.name.split('/').next().unwrap().trim_end_matches(".rs")
    }

    fn faults(&self) -> Vec<String> {
        let unit = self.unit();
        let mut faults = Vec::new();
        let rules: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
        for path in &self.paths {
            let mut segments = path.split("::");
            let (first, second) = (segments.next().unwrap(), segments.next());
            if first == "crate" && unit != "lib" {
                match (second, rules.get(unit)) {
                    (Some(target), Some(_)) if target == unit => {}
                    // A macro that calls itself has no other name.
                    (Some("store_contract"), _) if unit == "test_util" => {}
                    (Some(target), Some(allowed)) if allowed.contains(&target) => {}
                    (Some(target), _) if rules.contains_key(target) => {
                        faults.push(format!("`{unit}` must not import `{target}`: {path}"));
                    }
                    _ => faults.push(format!(
                        "a path must name the module, not what the crate's root exports: {path}"
                    )),
                }
            }
            if first == "jsonwebtoken"
                && !OF_JSONWEBTOKEN
                    .iter()
                    .any(|allowed| path == allowed || path.starts_with(&format!("{allowed}::")))
            {
                faults.push(format!("not of `jsonwebtoken`: {path}"));
            }
            if (NO_HTTP.contains(&unit) && HTTP_CRATES.contains(&first))
                || (NO_ASYNC.contains(&unit) && ASYNC_CRATES.contains(&first))
            {
                faults.push(format!("`{unit}` must not import the crate `{first}`: {path}"));
            }
        }
        for at in 0..self.tokens.len() {
            let token = |offset: usize| self.tokens.get(at + offset).map_or("", String::as_str);
            let before = if at > 0 { self.tokens[at - 1].as_str() } else { "" };
            let reads_clock = match token(0) {
                "SystemTime" | "Instant" => token(1) == "::" && token(2) == "now" || token(1) == "as",
                "elapsed" => before == ".",
                "now_utc" | "now_local" => true,
                _ => false,
            };
            // A timer's clock tells no time of day.
            if reads_clock && unit != "clock" && unit != "timer" {
                faults.push(format!("only `clock` reads the time: {} {} {}", token(0), token(1), token(2)));
            }
            if PROCESS_DEFAULT.contains(&token(0)) {
                faults.push(format!("asks for the provider of the process: {}", token(0)));
            }
            if NO_ASYNC.contains(&unit) && matches!(token(0), "async" | "await") {
                faults.push(format!("`{unit}` is synchronous: {}", token(0)));
            }
        }
        faults.into_iter().map(|fault| format!("src/{}: {fault}", self.name)).collect()
    }
}

/// The module that a file is, as a path: `token/mod.rs` is `crate::token`.
fn module_of(name: &str) -> Vec<String> {
    let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
    let mut module = vec!["crate".to_owned()];
    module.extend(stem.split('/').filter(|part| *part != "lib").map(str::to_owned));
    module
}

/// Words, `::` and single characters; without comments, strings, characters and lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let is_word = |at: usize| chars.get(at).is_some_and(|char| char.is_alphanumeric() || *char == '_');
    let starts = |at: usize, text: &str| {
        text.chars().enumerate().all(|(offset, char)| chars.get(at + offset) == Some(&char))
    };
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some(end) = end_of_raw_string(&chars, at) {
            at = end;
        } else if chars[at] == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if chars[at] == '\'' && (starts(at + 1, "\\") || chars.get(at + 2) == Some(&'\'')) {
            // A character: an escape, or one between quotes. Else it is a lifetime, and only its quote goes.
            at += if starts(at + 1, "\\") { 3 } else { 2 };
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else if is_word(at) {
            let start = at;
            while is_word(at) {
                at += 1;
            }
            tokens.push(chars[start..at].iter().collect());
        } else if starts(at, "::") {
            tokens.push("::".into());
            at += 2;
        } else {
            if !chars[at].is_whitespace() && chars[at] != '\'' {
                tokens.push(chars[at].into());
            }
            at += 1;
        }
    }
    tokens
}

/// Where the raw string ends that starts here, with or without `b`.
fn end_of_raw_string(chars: &[char], at: usize) -> Option<usize> {
    let in_a_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    let mut quote = at + usize::from(chars[at] == 'b');
    if in_a_word || chars.get(quote) != Some(&'r') {
        return None;
    }
    quote += 1;
    let hashes = chars[quote..].iter().take_while(|char| **char == '#').count();
    quote += hashes;
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|char| **char == '#').count() == hashes
    };
    let end = (quote + 1..chars.len()).find(|at| closes(*at)).map_or(chars.len(), |end| end + 1 + hashes);
    Some(end)
}

/// Takes out `#[cfg(test)] mod name { .. }`, further attributes between included.
fn without_test_modules(tokens: &[String]) -> Vec<String> {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token == text);
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if CFG_TEST.iter().enumerate().all(|(offset, text)| is(at + offset, text)) {
            let mut item = at + CFG_TEST.len();
            while is(item, "#") {
                item = end_of_group(tokens, item + 1);
            }
            if is(item, "mod") && is(item + 2, "{") {
                at = end_of_group(tokens, item + 2);
                continue;
            }
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    kept
}

/// The place behind the bracket that closes the one here.
fn end_of_group(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// All paths of more than one segment or below a keyword that names a module, groups written out.
fn paths(tokens: &[String], module: &[String]) -> Vec<String> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token == text);
    let (mut found, mut module, mut depth) = (Vec::new(), module.to_vec(), 0);
    // The depths of braces at which the inline modules around this place began.
    let mut inline = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => {
                if at >= 2 && is(at - 2, "mod") {
                    module.push(tokens[at - 1].clone());
                    inline.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
            }
            _ => {}
        }
        // Behind a `::` that has something before it; at the start of a path it only says that a crate is meant.
        let behind_segment =
            at > 1 && is(at - 1, "::") && (tokens[at - 2] == ">" || is_segment(&tokens[at - 2]));
        let goes_on = behind_segment || at > 0 && is(at - 1, ".");
        // `pub(crate)` and `pub(super)` are no paths; `pub(in crate::x)` is one.
        let visibility = at >= 2 && is(at - 1, "(") && is(at - 2, "pub") && is(at + 1, ")");
        let renamed = (is(at + 1, "as") || is(at + 1, ";")) && at > 0 && is(at - 1, "use");
        let starts = matches!(token.as_str(), "crate" | "super" | "self") && is(at + 1, "::")
            || token == "crate" && !visibility
            || renamed
            || is_name(token) && is(at + 1, "::");
        if starts && !goes_on && !visibility && !in_group(tokens, at) {
            expand(tokens, at, "", &mut found);
        }
        for path in found.iter_mut().filter(|path| path.starts_with("super") || path.starts_with("self")) {
            *path = absolute(path, &module);
        }
    }
    found
}

fn is_name(token: &str) -> bool {
    token.starts_with(|char: char| char.is_alphabetic() || char == '_')
}

/// Whether `::` behind this continues a path.
fn is_segment(token: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "as", "break", "dyn", "else", "for", "if", "impl", "in", "match", "move", "mut", "return", "use",
        "where", "while",
    ];
    is_name(token) && !KEYWORDS.contains(&token)
}

/// Whether this place is within the group of a path, whose beginning has written it out already.
fn in_group(tokens: &[String], at: usize) -> bool {
    let mut depth = 0;
    for place in (0..at).rev() {
        match tokens[place].as_str() {
            "}" => depth += 1,
            "{" if depth > 0 => depth -= 1,
            "{" => return place > 0 && tokens[place - 1] == "::" || in_group(tokens, place),
            ";" if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

/// Writes out the path that starts here, behind `prefix`. Answers the place behind it.
fn expand(tokens: &[String], at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let Some(token) = tokens.get(at) else { return at };
    let join =
        |segment: &str| if prefix.is_empty() { segment.to_owned() } else { format!("{prefix}::{segment}") };
    let next = |at: usize| tokens.get(at).map_or("", String::as_str);
    if token == "{" {
        let mut at = at + 1;
        while at < tokens.len() && tokens[at] != "}" {
            at = expand(tokens, at, prefix, found);
            while !matches!(next(at), "," | "}" | "") {
                at += 1;
            }
            at += usize::from(next(at) == ",");
        }
        return at + 1;
    }
    // `use a::{self}` is the path of `a`.
    let path = if token == "self" && !prefix.is_empty() { prefix.to_owned() } else { join(token) };
    if next(at + 1) == "::" && (is_name(next(at + 2)) || matches!(next(at + 2), "{" | "*")) {
        return expand(tokens, at + 2, &path, found);
    }
    found.push(path);
    at + 1
}

/// A path that starts at `self` or `super`, from the root.
fn absolute(path: &str, module: &[String]) -> String {
    let mut module = module.to_vec();
    let mut segments = path.split("::").peekable();
    while let Some(step) = segments.next_if(|segment| matches!(*segment, "self" | "super")) {
        if step == "super" && module.len() > 1 {
            module.pop();
        }
    }
    module.extend(segments.map(str::to_owned));
    module.join("::")
}

#[test]
fn the_scanner_finds_what_is_forbidden() {
    for (file, source, expected) in [
        ("token/key.rs", "use crate::session::Record;", "`token` must not import `session`"),
        ("session/mod.rs", "fn f() { crate::token::Claims::x() }", "`session` must not import `token`"),
        ("token/mod.rs", "use crate::{error::E, store::{MokaStore, x}};", "`token` must not import `store`"),
        ("store/moka.rs", "use crate::token;", "`store` must not import `token`"),
        ("store/moka.rs", "use super::super::reject::Rejection;", "`store` must not import `reject`"),
        ("reject/mod.rs", "use super::bearer::JwtAuth;", "`reject` must not import `bearer`"),
        ("bearer/layer.rs", "use crate::service::AuthService;", "`bearer` must not import `service`"),
        (
            "bearer/layer.rs",
            "fn f(_: &dyn crate::store::SessionStore) {}",
            "`bearer` must not import `store`",
        ),
        ("service/mod.rs", "type X = crate::bearer::JwtAuth<(), ()>;", "`service` must not import `bearer`"),
        ("clock.rs", "use crate::error::ConfigError;", "`clock` must not import `error`"),
        ("extract.rs", "mod a { use super::super::reject::x; }", "`extract` must not import `reject`"),
        ("bearer/mod.rs", "use crate::MokaStore;", "not what the crate's root exports"),
        ("bearer/mod.rs", "use crate::*;", "not what the crate's root exports"),
        ("bearer/mod.rs", "use crate as root;", "not what the crate's root exports"),
        ("bearer/mod.rs", "use crate::{self as root};", "not what the crate's root exports"),
        ("token/key.rs", "use http::HeaderMap;", "must not import the crate `http`"),
        ("token/key.rs", "fn f() { tokio::spawn(x) }", "must not import the crate `tokio`"),
        ("session/id.rs", "use {std::fmt, ::http::Uri};", "must not import the crate `http`"),
        ("token/key.rs", "fn f(x: &dyn ::http_body::Body) {}", "must not import the crate `http_body`"),
        ("token/key.rs", "use http as h;", "must not import the crate `http`"),
        ("token/key.rs", "async fn f() {}", "`token` is synchronous"),
        ("store/mod.rs", "use http::Uri;", "must not import the crate `http`"),
        ("token/key.rs", "let x = SystemTime::now();", "only `clock` reads the time"),
        ("service/mod.rs", "let x = std::time::Instant::now();", "only `clock` reads the time"),
        ("service/mod.rs", "let x = start.elapsed();", "only `clock` reads the time"),
        ("service/mod.rs", "use std::time::SystemTime as Other;", "only `clock` reads the time"),
        ("client/state.rs", "let x = tokio::time::Instant::now();", "only `clock` reads the time"),
        (
            "token/key.rs",
            "use jsonwebtoken::{DecodingKey, decode};",
            "not of `jsonwebtoken`: jsonwebtoken::decode",
        ),
        ("token/key.rs", "jsonwebtoken::encode(a, b, c)", "not of `jsonwebtoken`"),
        ("token/key.rs", "use jsonwebtoken::crypto::{self};", "not of `jsonwebtoken`"),
        ("token/key.rs", "jsonwebtoken::crypto::sign(a, b, c)", "not of `jsonwebtoken`"),
        ("token/key.rs", "use jsonwebtoken::*;", "not of `jsonwebtoken`"),
        ("token/key.rs", "use jsonwebtoken as jwt;", "not of `jsonwebtoken`"),
        ("token/key.rs", "provider.install_default();", "asks for the provider of the process"),
        ("token/key.rs", "CryptoProvider::get_default()", "asks for the provider of the process"),
        // What looks like an end of the text before it, and is none.
        ("token/key.rs", "let a = \"\\\"\"; use http::Uri;", "must not import the crate `http`"),
        ("token/key.rs", "let a = '\"'; use http::Uri; let b = '\"';", "must not import the crate `http`"),
        ("token/key.rs", "let a = '\\''; use http::Uri;", "must not import the crate `http`"),
        ("token/key.rs", "let a = r#\"\"#; use http::Uri;", "must not import the crate `http`"),
        ("token/key.rs", "fn f<'a>(x: &'a str) { http::x::<'a>() }", "must not import the crate `http`"),
        ("token/key.rs", "/* /* */ */ use http::Uri;", "must not import the crate `http`"),
        (
            "token/key.rs",
            "#[cfg(test)] mod tests { use a::b; } use http::Uri;",
            "must not import the crate `http`",
        ),
        ("token/key.rs", "#[cfg(not(test))] mod x { use http::Uri; }", "must not import the crate `http`"),
    ] {
        let faults = File::read(file, source).faults();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{file}: {source}\n{faults:?}");
    }
}

#[test]
fn the_scanner_lets_pass_what_is_allowed() {
    for (file, source) in [
        ("token/key.rs", "use crate::{error::{ConfigError, ConfigErrorKind}, token::crypto};"),
        ("token/key.rs", "pub(crate) struct X; pub(super) fn f() {} pub(in crate::token) fn g() {}"),
        ("token/config.rs", "mod sealed { impl super::Sealed for super::super::X {} }"),
        ("store/moka.rs", "use crate::session::{Decision, Record}; use super::SessionStore;"),
        ("clock.rs", "let x = SystemTime::now();"),
        ("token/key.rs", "// use http::Uri;\n/// use crate::session::X;\n/* SystemTime::now() */"),
        (
            "token/key.rs",
            r##"let a = "use http::Uri;"; let b = r#"crate::session " x"#; let c = b"http::x";"##,
        ),
        (
            "token/key.rs",
            "#[cfg(test)]\n#[allow(x)]\nmod tests { use http::Uri; fn f() { Instant::now(); } }",
        ),
        ("token/key.rs", "use jsonwebtoken::{DecodingKey, EncodingKey}; jsonwebtoken::Algorithm::HS256;"),
        ("token/key.rs", "engine.decode(text); Self::decode(x); fn decode() {}"),
        ("session/id.rs", "let x = clock.now(); Clock::now(&clock);"),
        ("lib.rs", "pub use bearer::JwtAuth; pub use crate::service::AuthService;"),
    ] {
        let faults = File::read(file, source).faults();
        assert!(faults.is_empty(), "{file}: {source}\n{faults:?}");
    }
}
