//! What the verifier accepts, `jsonwebtoken::decode` accepts, too, and reads the same claims: strictness is only added.
//!
//! `decode` is asked with the strictest `Validation` there is for a configuration. It needs the process-wide provider,
//! so these tests are of builds with exactly one backend. Two things it does not know are left out: the name `Ed25519`
//! for `EdDSA` (RFC 9864), and header members such as `jwk` of a type that they must not have, which we never look at.
#![cfg(any(
    all(feature = "aws-lc-rs", not(feature = "rust-crypto")),
    all(feature = "rust-crypto", not(feature = "aws-lc-rs"))
))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/oracles.rs"]
mod oracles;
mod support;

use std::cell::Cell;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, Validation, decode};
use oracles::REGISTERED;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use support::tokens::{AUDIENCE, ISSUER, LEEWAY, Object, SUBJECT, Signer, ed25519_public, quoted};
use tower_jwt_auth::{Clock, SystemClock, TokenConfig, TokenErrorKind, Verifier};

type AnyClaims = Map<String, Value>;

/// One key, as we and as `decode` hold it.
struct Both {
    signer: Signer,
    ours: Verifier<AnyClaims>,
    key: DecodingKey,
    validation: Validation,
}

impl Both {
    fn of(signer: Signer) -> Self {
        // `decode` has no clock but the system's.
        let config = TokenConfig::builder()
            .key(signer.key())
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .add_audience("second")
            .leeway(Duration::from_secs(LEEWAY.unsigned_abs()))
            .build()
            .unwrap();
        let (algorithm, key) = match &signer {
            Signer::Hs256(secret) => (jsonwebtoken::Algorithm::HS256, DecodingKey::from_secret(secret)),
            Signer::Ed25519(seed) => {
                (jsonwebtoken::Algorithm::EdDSA, DecodingKey::from_ed_der(&ed25519_public(seed)))
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE, "second"]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY.unsigned_abs();
        validation.validate_nbf = true;
        Self { signer, ours: config.verifier(), key, validation }
    }

    /// Whether we accept the token. If so, `decode` does, and says the same.
    #[track_caller]
    fn agree(&self, token: &str) -> bool {
        let Ok(verified) = self.ours.verify(token) else { return false };
        let theirs = decode::<AnyClaims>(token, &self.key, &self.validation);
        let theirs = theirs.unwrap_or_else(|error| panic!("only we accept {token}: {error}")).claims;
        let registered = verified.registered();
        assert_eq!(theirs["iss"], registered.issuer());
        assert_eq!(theirs["sub"], registered.subject());
        for (name, ours) in [
            ("jti", registered.token_id()),
            ("client_id", registered.client_id()),
            ("sid", registered.session_id()),
            ("acr", registered.acr()),
        ] {
            assert_eq!(theirs.get(name), ours.map(Value::from).as_ref(), "{name}");
        }
        assert_eq!(theirs.get("gen"), registered.generation().map(Value::from).as_ref());
        let reissue = theirs.get("reissue").map_or(Some(0), Value::as_u64);
        assert_eq!(reissue, Some(registered.reissue().into()));
        let scope = theirs.get("scope").map_or("", |scope| scope.as_str().unwrap());
        assert!(scope.split(' ').filter(|word| !word.is_empty()).eq(registered.scopes()));
        assert_eq!(theirs.contains_key("auth_time"), registered.authenticated_at().is_some());
        let dates = [
            ("exp", Some(registered.expires_at())),
            ("iat", Some(registered.issued_at())),
            ("auth_time", registered.authenticated_at()),
        ];
        for (name, ours) in dates.into_iter().filter_map(|(name, date)| date.map(|date| (name, date))) {
            // Ours is that number, rounded to a millisecond against the token.
            #[allow(clippy::cast_precision_loss)]
            let distance = theirs[name].as_f64().unwrap() - ours.as_unix_millis() as f64 / 1000.0;
            assert!(distance.abs() < 0.001, "{name}: {distance}");
        }
        let others = theirs.iter().filter(|(name, _)| !REGISTERED.contains(&name.as_str()));
        assert!(others.eq(verified.claims().iter()), "{theirs:?}");
        true
    }
}

/// Runs over both keys, each input once; at least one in twenty must be accepted, and one in twenty must not.
#[track_caller]
fn agree_on<S: Strategy>(inputs: S, token: impl Fn(&Signer, &S::Value) -> Option<String>) {
    const CASES: u32 = 400;
    for both in Signer::both().map(Both::of) {
        let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
        let accepted = Cell::new(0);
        let outcome = TestRunner::new(config).run(&inputs, |input| {
            let agreed = token(&both.signer, &input).is_some_and(|token| both.agree(&token));
            accepted.set(accepted.get() + u32::from(agreed));
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{failure}");
        }
        let (alg, accepted) = (both.signer.alg(), accepted.get());
        assert!(
            (CASES / 20..=CASES - CASES / 20).contains(&accepted),
            "{alg}: {accepted} of {CASES} accepted"
        );
    }
}

fn now() -> i64 {
    SystemClock.now().as_unix_seconds()
}

/// Good now, whenever that is.
fn claims() -> Object {
    Object::default()
        .with("iss", quoted(ISSUER))
        .with("aud", quoted(AUDIENCE))
        .with("sub", quoted(SUBJECT))
        .with("exp", (now() + 600).to_string())
        .with("iat", now().to_string())
        .with("jti", r#""jti-of-the-token""#)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A date in seconds and milliseconds from now. None is so near to a limit that it passes between the two questions,
/// nor so near that `decode`, which rounds to the nearest second, may have it on the other side.
fn date() -> impl Strategy<Value = (i64, u32)> {
    (
        select(vec![-1000, -895, -600, -40, -20, -5, 0, 5, 20, 40, 600, 890, 1000]),
        prop_oneof![Just(0), 1..1000_u32],
    )
}

fn numeric((offset, millis): (i64, u32)) -> String {
    let seconds = now() + offset;
    if millis == 0 { seconds.to_string() } else { format!("{seconds}.{millis:03}") }
}

#[test]
fn any_own_claims() {
    let own = vec((any::<String>(), any_json()), 0..4);
    // One in three is signed for somebody else, so that not all are good.
    agree_on((own, select(vec![ISSUER, ISSUER, "https://other.example"])), |signer, (own, issuer)| {
        let mut claims = claims().with("iss", quoted(issuer));
        for (name, value) in own {
            if !REGISTERED.contains(&name.as_str()) {
                // Names are raw JSON in an `Object`.
                let quoted = quoted(name);
                claims = claims.and(&quoted[1..quoted.len() - 1], value.to_string());
            }
        }
        Some(signer.with_claims(claims.json()))
    });
}

#[test]
fn any_dates() {
    let dates = (date(), date(), proptest::option::of(date()));
    agree_on(dates, |signer, (exp, iat, nbf)| {
        let mut claims = claims().with("exp", numeric(*exp)).with("iat", numeric(*iat));
        if let Some(nbf) = nbf {
            claims = claims.with("nbf", numeric(*nbf));
        }
        Some(signer.with_claims(claims.json()))
    });
}

#[test]
fn any_registered_claims() {
    let name = select(REGISTERED.to_vec());
    let text = || select(vec![ISSUER, AUDIENCE, "second", SUBJECT, "third", "", "a b", "\u{e9}"]);
    let value = prop_oneof![
        3 => text().prop_map(Value::from),
        1 => vec(text(), 0..4).prop_map(Value::from),
        1 => any_json(),
        1 => select(vec![json!(0), json!(-1), json!(1.5), json!(u64::MAX), json!(1e19), json!(u32::MAX), json!(7)]),
    ];
    let change = (name, value, any::<bool>());
    agree_on(vec(change, 0..3), |signer, changes| {
        let mut claims = claims();
        for (name, value, repeat) in changes {
            let json = value.to_string();
            claims = if *repeat { claims.and(name, json) } else { claims.with(name, json) };
        }
        Some(signer.with_claims(claims.json()))
    });
}

#[test]
fn any_header() {
    let members = select(vec![
        ("typ", r#""AT+JWT""#),
        ("typ", r#""application/at+jwt""#),
        ("typ", r#""JWT""#),
        ("typ", "7"),
        ("alg", r#""none""#),
        ("alg", r#""HS256""#),
        ("alg", r#""EdDSA""#),
        ("alg", r#""hs256""#),
        (r"\u0061lg", r#""HS256""#),
        ("kid", r#""k2""#),
        ("kid", r#""\u006b1""#),
        ("kid", "null"),
        ("cty", r#""json""#),
        ("cty", r#""JWT""#),
        ("crit", r#"["x"]"#),
        ("b64", "true"),
        ("jku", r#""https://e.example""#),
        ("x5u", r#""https://e.example""#),
        ("x5c", r#"["AA=="]"#),
        ("x5t", r#""AA""#),
        ("unknown", r#"{"a":[1,2,{"b":null}]}"#),
    ]);
    agree_on(vec((members, any::<bool>()), 0..3), |signer, members| {
        let mut header = signer.header();
        for (name, json) in members.iter().filter(|(_, repeat)| !repeat).map(|(member, _)| *member) {
            header = header.with(name, json);
        }
        for (name, json) in members.iter().filter(|(_, repeat)| *repeat).map(|(member, _)| *member) {
            header = header.and(name, json);
        }
        Some(signer.compact(header.json(), claims().json()))
    });
}

#[test]
fn any_mutation() {
    let script =
        prop_oneof![1 => Just(Vec::new()), 3 => vec(any::<u8>(), 3..=3), 1 => vec(any::<u8>(), 6..12)];
    agree_on(script, |signer, script| {
        let token = signer.with_claims(claims().json());
        String::from_utf8(oracles::edited(token.as_bytes(), script)).ok()
    });
}

/// The other direction does not hold, by intent: some of what only `decode` accepts, and why we do not. This also shows
/// that the `Validation` above accepts anything at all.
#[test]
fn only_decode_accepts() {
    for both in Signer::both().map(Both::of) {
        let signer = &both.signer;
        let header = |header: Object| signer.compact(header.json(), claims().json());
        let set = |claims: Object| signer.with_claims(claims.json());
        let two_issuers = format!(r#"["https://other.example","{ISSUER}"]"#);
        for (row, token, kind) in [
            ("L1", header(signer.header().with("crit", r#"["x"]"#)), TokenErrorKind::Header),
            ("L2", header(signer.header().with("typ", r#""dpop+jwt""#)), TokenErrorKind::Type),
            ("L3", header(signer.header().and("x", "1").and("x", "2")), TokenErrorKind::Header),
            ("L4", set(claims().and("roles", "1").and("roles", "2")), TokenErrorKind::Claims),
            ("L8", set(claims().with("iss", two_issuers)), TokenErrorKind::Claims),
            ("L12", set(claims().with("exp", "18446744073709551615")), TokenErrorKind::Claims),
            ("L14", set(claims().with("iat", r#""x""#)), TokenErrorKind::Claims),
            ("row 64", set(claims().with("cnf", "{}")), TokenErrorKind::Bound),
        ] {
            assert!(decode::<AnyClaims>(&token, &both.key, &both.validation).is_ok(), "{row}");
            assert_eq!(both.ours.verify(&token).unwrap_err().kind(), kind, "{row}");
        }
    }
}
