//! What each answers to requests with a fault, and to some without: a table, and no times.
//!
//! All are configured as for the benchmarks, as their documentation shows it: one key of HS256, the issuer, the audience.

use std::fmt::Debug;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm as Named, EncodingKey};
use peers::peers::{aliri, axum_jwt_auth, decode, jwt_authorizer, ours, resource_server};
use peers::request::{Sent, drive, prepared};
use peers::tokens::{SECRET, Tokens};
use serde_json::{Value, json};
use tower::Service;
use tower_jwt_auth::Algorithm;

/// The answer to a request.
type Answer = (StatusCode, HeaderMap);

/// A name, the request, and what must hold of the answer.
type Row = (&'static str, Sent, fn(&Answer) -> bool);

const NAMES: [&str; 6] = [
    "this crate",
    "layer over `jsonwebtoken::decode`",
    "`jwt-authorizer`",
    "`tower-oauth2-resource-server`",
    "`aliri_tower`",
    "`axum-jwt-auth`",
];

fn main() {
    let tokens = Tokens::new(Algorithm::Hs256);
    let columns = [
        ask(ours::service(&tokens, ours::CACHE), &tokens),
        ask(decode::service(&tokens), &tokens),
        ask(jwt_authorizer::service(&tokens), &tokens),
        ask(resource_server::service(&tokens), &tokens),
        ask(aliri::service(&tokens).unwrap(), &tokens),
        ask(axum_jwt_auth::service(&tokens), &tokens),
    ];
    println!("| | {} |", NAMES.join(" | "));
    println!("| --- |{}", " --- |".repeat(NAMES.len()));
    for (at, (name, ..)) in rows(&tokens).iter().enumerate() {
        let cells: Vec<_> = columns.iter().map(|column| if column[at] { "yes" } else { "no" }).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    // What does not hold for this crate is a fault of this crate.
    assert!(columns[0].iter().all(|holds| *holds));
}

fn ask<S, B>(mut service: S, tokens: &Tokens) -> Vec<bool>
where
    S: Service<Sent, Response = Response<B>, Error: Debug>,
{
    let holds = |(_, request, holds): Row| {
        let (parts, _) = drive(&mut service, request).into_parts();
        holds(&(parts.status, parts.headers))
    };
    rows(tokens).into_iter().map(holds).collect()
}

fn rows(tokens: &Tokens) -> Vec<Row> {
    let good = tokens.good.as_str();
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let (header, claims) = (object(header), object(claims));
    let with_header = |name: &str, value: Value| signed(&with(&header, name, value), &claims.to_string());
    let with_claim = |name: &str, value: Value| signed(&header, &with(&claims, name, value).to_string());
    let without_claim = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name).unwrap();
        signed(&header, &claims.to_string())
    };
    let later = claims["iat"].as_u64().unwrap() + 3600;
    let year = claims["iat"].as_u64().unwrap() + 365 * 24 * 3600;
    let twice = claims.to_string().replacen('{', r#"{"role":"admin","#, 1);
    let mut repeated = bearer(good);
    repeated.headers_mut().append(AUTHORIZATION, format!("Bearer {good}").parse().unwrap());

    vec![
        ("accepts: a good token", bearer(good), passed),
        ("accepts: the scheme in small letters (RFC 9110, 11.1)", prepared(Some(&format!("bearer {good}"))), passed),
        (
            "refuses: another `typ`, as an ID token has (RFC 9068, 4)",
            bearer(&with_header("typ", json!("JWT"))),
            refused,
        ),
        ("refuses: an unknown `crit` (RFC 7515, 4.1.11)", bearer(&critical(&header, &claims)), refused),
        ("refuses: no `exp`", bearer(&without_claim("exp")), refused),
        ("refuses: no `aud`", bearer(&without_claim("aud")), refused),
        ("refuses: no `iss`", bearer(&without_claim("iss")), refused),
        ("refuses: issued in an hour", bearer(&with_claim("iat", json!(later))), refused),
        ("refuses: lives for a year", bearer(&with_claim("exp", json!(year))), refused),
        ("refuses: a claim that stands twice (RFC 7519, 4)", bearer(&signed(&header, &twice)), refused),
        (
            "refuses: bound to a key that was not shown (RFC 9449, 7.2)",
            bearer(&with_claim("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }))),
            refused,
        ),
        (
            "refuses: a signature with a bit set behind its end",
            bearer(&good.replace(signature, &respelt(signature))),
            refused,
        ),
        ("refuses: `Authorization` twice", repeated, refused),
        ("a bad token: 401 with a challenge (RFC 6750, 3)", bearer(&tokens.bad_signature), challenged),
        ("no token: 401 with a challenge", prepared(None), challenged),
        ("no token: a challenge without an error (RFC 6750, 3.1)", prepared(None), challenged_without_error),
    ]
}

fn passed((status, _): &Answer) -> bool {
    *status == StatusCode::OK
}

/// With whatever status: a 500 lets nobody in.
fn refused((status, _): &Answer) -> bool {
    !status.is_success()
}

fn challenged((status, headers): &Answer) -> bool {
    *status == StatusCode::UNAUTHORIZED && headers.contains_key(WWW_AUTHENTICATE)
}

fn challenged_without_error(answer: &Answer) -> bool {
    let names = |challenge: &http::HeaderValue| challenge.to_str().unwrap().contains("error");
    challenged(answer) && !answer.1.get_all(WWW_AUTHENTICATE).iter().any(names)
}

fn bearer(token: &str) -> Sent {
    prepared(Some(&format!("Bearer {token}")))
}

fn object(segment: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[name] = value;
    object
}

fn critical(header: &Value, claims: &Value) -> String {
    let header = with(header, "crit", json!(["https://extension.example"]));
    signed(&with(&header, "https://extension.example", json!(true)), &claims.to_string())
}

fn signed(header: &Value, claims: &str) -> String {
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let input = format!("{}.{}", encode(&header.to_string()), encode(claims));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Named::HS256, &EncodingKey::from_secret(SECRET)).unwrap();
    let signature = signer.sign(input.as_bytes());
    format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// The same bytes by another last letter: 256 bits end in the middle of it.
fn respelt(signature: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = signature.split_at(signature.len() - 1);
    let at = LETTERS.iter().position(|letter| *letter == last.as_bytes()[0]).unwrap();
    format!("{rest}{}", char::from(LETTERS[at | 1]))
}
