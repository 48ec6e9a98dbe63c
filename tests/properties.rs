//! What must hold whatever is sent: random and nearly right credentials, held against an answer that is worked out in
//! another way (`support/oracles.rs`). The fuzz targets in `fuzz/` look for the same, for longer.
//!
//! Each property counts what was accepted: inputs that are all refused, or all good, would show nothing.
#![cfg(all(feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/oracles.rs"]
mod oracles;
mod support;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use http::header::{COOKIE, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use oracles::{
    Expected, check_jwk, check_key_set, check_types_agree, edited, sessions_of_cookies,
    status_of_credentials, status_of_sessions,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use support::ManualClock;
use support::requests::{request, send};
use support::service::{NAME, OWN, World, bare, strict};
use support::tokens::{
    AUDIENCE, ISSUER, KID, LEEWAY, NOW, SUBJECT, Signer, base64url, claims, config, ed25519_public,
    from_base64url,
};
use tower_jwt_auth::{ClientInfo, Identity, JwtAuthLayer, KeySet, NoClaims, SessionErrorKind, SkippedKey};

const CASES: u32 = 400;

/// Runs a property over so many inputs. It says of each whether it was accepted, and at least one in twenty must be, and
/// one in twenty must not.
#[track_caller]
fn property<S: Strategy>(cases: u32, inputs: S, test: impl Fn(S::Value) -> bool) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let accepted = Cell::new(0);
    let outcome = TestRunner::new(config).run(&inputs, |input| {
        accepted.set(accepted.get() + u32::from(test(input)));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let accepted = accepted.get();
    assert!((cases / 20..=cases - cases / 20).contains(&accepted), "{accepted} of {cases} were accepted");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Steps for [`edited`]; often none at all, so that the good one is among the inputs.
fn script() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(Vec::new()),
        3 => vec(any::<u8>(), 3..=3),
        1 => vec(any::<u8>(), 6..12),
    ]
}

// ── the header `Authorization` ──

/// A value in parts: `TOKEN` stands for the good token.
fn credential() -> impl Strategy<Value = Vec<u8>> {
    let scheme = select(vec!["Bearer", "bearer", "BEARER", " Bearer", "Basic", "Bearerx", "Bear", ""]);
    let separator = select(vec![" ", " ", "  ", "\t", "", ",", "="]);
    let token = prop_oneof![
        4 => Just(b"TOKEN".to_vec()),
        1 => "[A-Za-z0-9._~+/-]{0,9}={0,2}".prop_map(String::into_bytes),
        1 => vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..9),
    ];
    let end = select(vec!["", "", "", " ", "\t", "=", ", Bearer x", " x"]);
    (scheme, separator, token, end).prop_map(|(scheme, separator, token, end)| {
        [scheme.as_bytes(), separator.as_bytes(), &token, end.as_bytes()].concat()
    })
}

#[test]
fn a_request_reaches_the_service_only_with_the_one_good_credential() {
    let signer = Signer::hs256();
    let good = signer.good();
    let layer = JwtAuthLayer::new(config(&signer, &ManualClock::new()).verifier::<NoClaims>());
    let values = prop_oneof![
        6 => vec(credential(), 1..=1),
        1 => vec(credential(), 0..3),
        4 => Just(vec![b"Bearer TOKEN".to_vec()]),
    ];
    let runtime = runtime();
    property(CASES, (values, script()), |(values, script)| {
        let token = edited(good.as_bytes(), &script);
        let values: Vec<HeaderValue> = values
            .iter()
            .filter_map(|value| {
                let mut bytes = value.clone();
                if let Some(at) = value.windows(5).position(|part| part == b"TOKEN") {
                    bytes.splice(at..at + 5, token.iter().copied());
                }
                HeaderValue::from_bytes(&bytes).ok()
            })
            .collect();
        let answer = runtime.block_on(send(&layer, request(&values)));
        let expected = status_of_credentials(&values, &good, 8192);
        assert_eq!(answer.status.as_u16(), expected, "{values:?}");
        let accepted = expected == 200;
        assert_eq!(answer.calls, usize::from(accepted));
        assert_eq!(answer.subject.as_deref(), accepted.then_some(SUBJECT));
        assert_eq!(answer.headers.contains_key(WWW_AUTHENTICATE), !accepted);
        assert!(!answer.headers.contains_key(SET_COOKIE));
        accepted
    });
}

// ── header and claims under a genuine signature ──

/// Dates at and beside every limit: the leeway of 30 seconds, the longest life of 900.
fn date() -> impl Strategy<Value = String> {
    let offset = select(vec![-901, -900, -31, -30, -29, 0, 29, 30, 31, 600, 899, 900, 901]);
    (offset, prop_oneof![Just(0), 1..1000_u32]).prop_map(|(offset, millis)| match millis {
        0 => (NOW + offset).to_string(),
        _ => format!("{}.{millis:03}", NOW + offset),
    })
}

/// Values that a claim has, may have, or must not have.
fn claim_value() -> impl Strategy<Value = String> {
    prop_oneof![
        date(),
        select(vec![ISSUER, AUDIENCE, SUBJECT, "", "a b", " a  b "]).prop_map(|text| json!(text).to_string()),
        select(vec![
            r#"["api"]"#,
            r#"["b","api"]"#,
            r#"["api",7]"#,
            "[]",
            "null",
            "true",
            "-1",
            "1e400",
            "1e9",
            "7",
            "1.7000002e9",
            r#""\ud800""#,
            r#""\u0061pi""#,
            r#"{"jkt":"x"}"#,
            "4294967296",
            "0.0",
        ])
        .prop_map(str::to_owned),
    ]
}

#[test]
fn a_signed_token_is_accepted_only_by_the_rules() {
    let config = config(&Signer::hs256(), &ManualClock::new());
    let (bare, mapped) = (config.verifier::<NoClaims>(), config.verifier::<Map<String, Value>>());
    let names = select(vec![
        "iss",
        "aud",
        "sub",
        "exp",
        "iat",
        "nbf",
        "jti",
        "client_id",
        "scope",
        "sid",
        "gen",
        "reissue",
        "auth_time",
        "acr",
        "cnf",
        "roles",
        r"\u0065xp",
    ]);
    let members = select(vec![
        ("typ", r#""AT+JWT""#),
        ("typ", r#""application/at+jwt""#),
        ("typ", r#""JWT""#),
        ("alg", r#""none""#),
        ("alg", r#""HS384""#),
        ("crit", "[]"),
        ("b64", "true"),
        ("enc", r#""A""#),
        ("cty", r#""jwt""#),
        ("kid", r#""k2""#),
        ("jku", r#""https://e.example""#),
        ("jwk", "{}"),
        (r"\u0061lg", r#""HS256""#),
    ]);
    let dates = proptest::option::of((date(), date()));
    let changes = vec((names, claim_value(), any::<bool>()), 0..3);
    let inputs = (dates, changes, vec(members, 0..2));
    let expected =
        Expected { issuer: ISSUER, audience: AUDIENCE, kid: KID, now: NOW, leeway: LEEWAY, lifetime: 900 };
    property(5 * CASES, inputs, |(dates, changes, members)| {
        let signer = Signer::hs256();
        let mut claims = claims();
        if let Some((exp, iat)) = dates {
            claims = claims.with("exp", exp).with("iat", iat);
        }
        for (name, json, repeat) in changes {
            claims = if repeat { claims.and(name, json) } else { claims.with(name, json) };
        }
        let mut header = signer.header();
        for (name, json) in members {
            header = header.with(name, json);
        }
        let (header, claims) = (header.json(), claims.json());
        let token = signer.compact(&header, &claims);
        let verified = mapped.verify(&token);
        check_types_agree(bare.verify(&token).is_ok(), verified.is_ok(), claims.as_bytes());
        let Ok(verified) = verified else { return false };
        expected.check(header.as_bytes(), claims.as_bytes(), &verified);
        true
    });
}

// ── JWK sets ──

const RSA: &str = "6rielFgFIDwrhs_skXPXeBICf3bFE6iMRJcN8IgFfD3Bpx90G1O1zjD9KbjG_Wl4RiK6j8Pel3AiGmFxjJYjsbDhI7TFewp3QdTZAQa66kjYCsgUHfbFwQF-37dnsM8ZZs2upks3DNXn8DLDE7LCKB9qF8_hw_-l_dghuXL96PTQT-hd9IfIkHbNFc02eL56Di8rEmzm-VTGXSve-7AY-QLib8mYDljRPvQ32TQEMFZSYMtXsqZaD2K1d0sRynfbazBOJOrPucGZJl-VItBhwfmnUXUEqoqCZTenBZoPzEcz1_3Zhzw-W7KvSPL7GiUWlhq6w7Jli-2Usr2F63XJDQ";

/// A good public key of each kind, none with a key id.
fn public_keys() -> Vec<Value> {
    vec![
        json!({"kty": "RSA", "n": RSA, "e": "AQAB"}),
        json!({"kty": "RSA", "n": RSA, "e": "AQAB", "alg": "PS384"}),
        json!({"kty": "EC", "crv": "P-256", "x": "NyohseSu2dVSfw6k3LtwH__xMZNitrCwHS8MeahMDfc",
               "y": "JWQDBJXj0Zmw3YKkRGxnU8aM61mL5DKTzCefrzOoMbw"}),
        json!({"kty": "EC", "crv": "P-384", "x": "Aqv8KJ9im824tFh3Fgd98XGxudpEzr8RkxHFZdw52pZ1PjF729CnbBqaxGKfwMKv",
               "y": "oI4Vjf3Zott3DnaAGSmr4p1RSKc0tF_quUJcStxW1qsoz7vj6rBvc60cSvWI3OLH"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(ed25519_public(&[0xed; 32]))}),
    ]
}

/// A good key, with perhaps one member replaced; and whether it is as it was.
fn jwk() -> impl Strategy<Value = (Value, bool)> {
    let name = select(vec![
        "kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops", "d", "k", "p", "oth", "unknown",
    ]);
    let value = prop_oneof![
        select(vec![
            json!(null),
            json!(7),
            json!(""),
            json!("sig"),
            json!("enc"),
            json!(["verify"]),
            json!(["sign"]),
            json!("RS256"),
            json!("ES256"),
            json!("EdDSA"),
            json!("HS256"),
            json!("RSA"),
            json!("EC"),
            json!("oct"),
            json!("P-256"),
            json!("P-384"),
            json!("Ed25519"),
            json!("AQ"),
            json!("Aw=="),
            json!({}),
        ]),
        vec(any::<u8>(), 31..34).prop_map(|bytes| json!(base64url(bytes))),
        // Points of small order, by their first byte.
        select(vec![0, 1, 0xec]).prop_map(|first: u8| {
            let fill = if first == 0xec { 0xff } else { 0 };
            let mut point = [fill; 32];
            point[0] = first;
            json!(base64url(point))
        }),
    ];
    (select(public_keys()), proptest::option::of((name, value))).prop_map(|(mut key, change)| match change {
        Some((name, value)) => {
            key[name] = value;
            (key, false)
        }
        None => (key, true),
    })
}

#[test]
fn a_key_set_reads_back_as_it_was_written_and_loses_no_good_key() {
    let kids = proptest::option::weighted(0.8, select(vec!["a", "b", "c", "\u{e9}\"\\", ""]));
    let keys = vec((jwk(), kids), 0..5);
    property(CASES, keys, |keys| {
        let mut count_of_kid: BTreeMap<&str, usize> = BTreeMap::new();
        let mut members = Vec::new();
        for ((key, _), kid) in &keys {
            let mut key = key.clone();
            if let Some(kid) = kid {
                key["kid"] = json!(kid);
                *count_of_kid.entry(kid).or_default() += 1;
            }
            members.push(key);
        }
        let text = json!({"keys": &members}).to_string();
        // Each with its own id and nothing changed: these must be in the set.
        let good: Vec<&str> = keys
            .iter()
            .filter(|((_, is_good), _)| *is_good)
            .filter_map(|(_, kid)| kid.filter(|kid| !kid.is_empty() && count_of_kid[kid] == 1))
            .collect();
        let Ok(set) = KeySet::from_jwks(&text) else {
            assert!(good.is_empty(), "a good key was lost: {text}");
            return false;
        };
        assert_eq!(set.keys().len() + set.skipped().len(), keys.len(), "{text}");
        for kid in good {
            assert!(set.keys().iter().any(|key| key.kid() == kid), "a good key was lost: {text}");
        }
        let skipped: BTreeSet<_> = set.skipped().iter().map(SkippedKey::position).collect();
        for (at, member) in members.iter().enumerate() {
            let is_private = ["d", "p", "k", "oth"].iter().any(|name| !member[name].is_null());
            assert!(!is_private || skipped.contains(&at), "a private key in a set: {member}");
        }
        check_key_set(&set);
        true
    });
}

#[test]
fn a_key_that_reads_by_itself_reads_in_a_set() {
    property(CASES, jwk(), |(key, is_good)| {
        check_jwk(&key.to_string());
        is_good
    });
}

// ── refresh tokens ──

#[test]
fn a_changed_refresh_token_is_refused_and_ends_nothing() {
    let world = World::with(|builder| builder.policy(strict()));
    let runtime = runtime();
    let sessions = world.auth.sessions();
    let identity = Identity::new("ada", support::service::User::named("ada"));
    let opened = runtime.block_on(sessions.open(identity, &ClientInfo::default())).unwrap();
    let good = RefCell::new(opened.refresh_token().to_owned());
    property(CASES, (script(), any::<bool>()), |(script, of_bytes)| {
        let text = good.borrow().clone();
        let changed = if of_bytes {
            base64url(edited(&from_base64url(&text), &script))
        } else {
            // What is no UTF-8 cannot be asked for as a text.
            String::from_utf8_lossy(&edited(text.as_bytes(), &script)).into_owned()
        };
        let refreshed = runtime.block_on(sessions.refresh(&changed));
        let accepted = changed == text;
        if accepted {
            let next = refreshed.expect("the good token").refresh_token().to_owned();
            assert_ne!(next, text);
            good.replace(next);
        } else {
            assert_eq!(refreshed.expect_err(&changed).kind(), SessionErrorKind::Refused);
            assert!(!runtime.block_on(sessions.end_by_token(&changed)).unwrap(), "{changed}");
        }
        assert_eq!(runtime.block_on(sessions.list("ada")).unwrap().len(), 1, "{changed}");
        accepted
    });
}

// ── the header `Cookie` ──

/// A pair, or what looks like one: `NAME`, `ADA` and `BOB` stand for the cookie's name and two good tokens.
fn pair() -> impl Strategy<Value = &'static str> {
    select(vec![
        "NAME=ADA",
        "NAME=ADA",
        "NAME=BOB",
        "NAME=",
        "NAME",
        "NAME=x",
        "NAME=\"ADA\"",
        "NAME =ADA",
        "NAME= ADA",
        "name=ADA",
        "xNAME=ADA",
        "NAMEx=ADA",
        "NAME==ADA",
        "a=b",
        "=ADA",
        "ADA",
        "",
        " NAME=ADA",
        "\tNAME=ADA",
    ])
}

#[test]
fn a_refresh_finds_the_one_session_among_the_cookies() {
    let world = World::with(|builder| builder.policy(strict()));
    let runtime = runtime();
    let sessions = world.auth.sessions();
    let open = |user: &str| {
        let identity = Identity::new(user, support::service::User::named(user));
        runtime.block_on(sessions.open(identity, &ClientInfo::default())).unwrap().refresh_token().to_owned()
    };
    let good = RefCell::new(["ada", "bob"].map(open));
    let headers = vec((vec(pair(), 0..4), select(vec!["; ", ";", ";  "])), 0..3);
    property(CASES, (headers, script()), |(headers, script)| {
        let mut tokens = good.borrow().clone();
        let mut ask = bare(Method::POST, "/auth/refresh").header("origin", OWN);
        let mut values = Vec::new();
        for (pairs, separator) in headers {
            let ada = edited(tokens[0].as_bytes(), &script);
            let text = pairs.join(separator).replace("NAME", NAME).replace("BOB", &tokens[1]);
            let bytes = text.split("ADA").map(str::as_bytes).collect::<Vec<_>>().join(&ada[..]);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                ask = ask.header(COOKIE, value.as_bytes());
                values.push(value);
            }
        }
        let presented = sessions_of_cookies(&values, NAME, &tokens);
        let expected = status_of_sessions(&presented);
        // `send` checks that no refusal has a `Set-Cookie`.
        let answer = runtime.block_on(world.send(ask));
        assert_eq!(answer.status.as_u16(), expected, "{values:?}");
        if let Some(cookie) = answer.set_cookie() {
            let whose = presented.iter().position(|presented| *presented).unwrap();
            assert_ne!(cookie.value, tokens[whose]);
            tokens[whose] = cookie.value;
        }
        for user in ["ada", "bob"] {
            assert_eq!(runtime.block_on(sessions.list(user)).unwrap().len(), 1, "{user}: {values:?}");
        }
        good.replace(tokens);
        expected == 200
    });
}
