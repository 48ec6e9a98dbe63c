//! The cache of verified tokens: a verifier with it decides, at every moment, as one without it does.

#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};
use tower_jwt_auth::test_util::ManualClock;
use tower_jwt_auth::{
    AccessGrant, Clock, Issuer, KeySet, KeySetHandle, NoClaims, SigningKey, TokenConfig, TokenErrorKind,
    Verified, Verifier,
};

use support::tokens::Signer;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts how often it is read, which is once for each token that is not remembered.
#[derive(Serialize)]
struct Counted {
    name: String,
}

static READ: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            name: String,
        }
        READ.fetch_add(1, Ordering::SeqCst);
        Plain::deserialize(deserializer).map(|Plain { name }| Self { name })
    }
}

fn key(seed: u8, kid: &str) -> SigningKey {
    SigningKey::ed25519_seed(&[seed; 32]).unwrap().with_kid(kid)
}

fn config(clock: &ManualClock, key: SigningKey, bytes: usize) -> TokenConfig {
    TokenConfig::builder()
        .key(key)
        .issuer("https://app.example")
        .audience("api")
        .clock(clock.clone())
        .cache_bytes(bytes)
        .build()
        .unwrap()
}

fn issue(config: &TokenConfig, subject: &str) -> String {
    Issuer::new(config).unwrap().issue(&AccessGrant::new(subject), &NoClaims {}).unwrap().expose().to_owned()
}

/// Whether two are one and the same in memory: the second came from the cache.
fn is_same<C>(one: &Verified<C>, other: &Verified<C>) -> bool {
    std::ptr::eq(one.registered(), other.registered())
}

const BYTES: usize = 1024 * 1024;

#[test]
fn a_repeated_token_is_read_once_and_its_claims_are_shared() {
    let clock = ManualClock::default();
    let config = config(&clock, key(1, "a"), BYTES);
    let issuer = Issuer::new(&config).unwrap();
    let token = issuer.issue(&AccessGrant::new("ada"), &Counted { name: "Ada".to_owned() }).unwrap();
    let verifier = config.verifier::<Counted>();
    let before = READ.load(Ordering::SeqCst);
    let first = verifier.verify(token.expose()).unwrap();
    let second = verifier.clone().verify(token.expose()).unwrap();
    assert!(is_same(&first, &second) && second.name == "Ada");
    assert_eq!(READ.load(Ordering::SeqCst) - before, 1);
    // Another verifier has its own.
    assert!(!is_same(&first, &config.verifier::<Counted>().verify(token.expose()).unwrap()));
}

#[test]
fn with_no_bytes_nothing_is_remembered() {
    let config = config(&ManualClock::default(), key(1, "a"), 0);
    let (token, verifier) = (issue(&config, "ada"), config.verifier::<NoClaims>());
    assert!(!is_same(&verifier.verify(&token).unwrap(), &verifier.verify(&token).unwrap()));
}

#[test]
fn a_token_that_differs_in_one_character_is_another() {
    let config = config(&ManualClock::default(), key(1, "a"), BYTES);
    let (token, verifier) = (issue(&config, "ada"), config.verifier::<NoClaims>());
    verifier.verify(&token).unwrap();
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        assert!(verifier.verify(&other).is_err(), "{at}");
        // Not because it is not remembered: a refusal is not, either.
        assert!(verifier.verify(&other).is_err(), "{at}");
    }
    // The same signature behind something else, and the token with something before it.
    let signature = token.rsplit_once('.').unwrap().1;
    assert!(verifier.verify(&format!("e30.e30.{signature}")).is_err());
    assert!(verifier.verify(&format!("x{token}")).is_err());
    assert!(verifier.verify(signature).is_err());
    assert!(verifier.verify("").is_err());
}

#[test]
fn times_are_checked_at_every_hit() {
    let clock = ManualClock::default();
    let config = config(&clock, key(1, "a"), BYTES);
    let (token, verifier) = (issue(&config, "ada"), config.verifier::<NoClaims>());
    let kind = || verifier.verify(&token).map(drop).map_err(|error| error.kind());
    assert_eq!(kind(), Ok(()));
    // 15 minutes and the leeway of 30 seconds: the last moment, and the next.
    clock.advance(15 * MINUTE + Duration::from_millis(29_999));
    assert_eq!(kind(), Ok(()));
    clock.advance(Duration::from_millis(1));
    assert_eq!(kind(), Err(TokenErrorKind::Expired));
    clock.step_back(17 * MINUTE);
    assert_eq!(kind(), Err(TokenErrorKind::NotYetValid));
}

#[test]
fn a_removed_key_takes_its_tokens_along_at_once() {
    let clock = ManualClock::default();
    let config = config(&clock, key(1, "a"), BYTES);
    let (token, verifier) = (issue(&config, "ada"), config.verifier::<NoClaims>());
    let first = verifier.verify(&token).unwrap();
    let set = |keys: &[SigningKey]| KeySet::new(keys.iter().map(|key| key.verifying_key().clone())).unwrap();
    config.keys().store(set(&[key(2, "b")]));
    assert_eq!(verifier.verify(&token).unwrap_err().kind(), TokenErrorKind::UnknownKey);
    // Another key by the same id.
    config.keys().store(set(&[key(2, "a")]));
    assert_eq!(verifier.verify(&token).unwrap_err().kind(), TokenErrorKind::Signature);
    // The same key by another id.
    config.keys().store(set(&[key(1, "c")]));
    assert_eq!(verifier.verify(&token).unwrap_err().kind(), TokenErrorKind::UnknownKey);
    // Back, and read anew.
    config.keys().store(set(&[key(1, "a")]));
    let again = verifier.verify(&token).unwrap();
    assert!(!is_same(&first, &again));
    // The same set read again, as from a URL, costs nothing.
    config.keys().store(KeySet::from_jwks(&set(&[key(1, "a"), key(3, "d")]).to_jwks()).unwrap());
    assert!(is_same(&again, &verifier.verify(&token).unwrap()));
}

#[test]
fn the_same_key_by_another_id_is_another() {
    let config = config(&ManualClock::default(), key(1, "a"), BYTES);
    let (token, verifier) = (issue(&config, "ada"), config.verifier::<NoClaims>());
    verifier.verify(&token).unwrap();
    config.keys().store(KeySet::new([key(1, "c").verifying_key().clone()]).unwrap());
    assert_eq!(verifier.verify(&token).unwrap_err().kind(), TokenErrorKind::UnknownKey);
}

#[test]
fn without_a_key_id_the_key_must_still_be_the_only_one() {
    // A token whose header has no `kid`, as other issuers write it.
    let clock = ManualClock::default();
    let config = config(&clock, key(1, "a"), BYTES);
    let token = without_kid(&issue(&config, "ada"), 1);
    let verifier = config.verifier::<NoClaims>();
    let first = verifier.verify(&token).unwrap();
    assert!(is_same(&first, &verifier.verify(&token).unwrap()));
    config.add_key(key(2, "b").verifying_key().clone()).unwrap();
    assert_eq!(verifier.verify(&token).unwrap_err().kind(), TokenErrorKind::UnknownKey);
}

#[test]
fn checks_run_for_every_request_and_a_new_one_begins_anew() {
    let config = config(&ManualClock::default(), key(1, "a"), BYTES);
    let (token, verifier) = (issue(&config, "ada"), config.verifier::<NoClaims>());
    let plain = verifier.verify(&token).unwrap();
    let (passes, runs) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let checked = {
        let (passes, runs) = (passes.clone(), runs.clone());
        verifier.clone().add_check(move |_, _| {
            runs.fetch_add(1, Ordering::SeqCst);
            if passes.load(Ordering::SeqCst) { Ok(()) } else { Err("not today".into()) }
        })
    };
    let first = checked.verify(&token).unwrap();
    assert!(!is_same(&plain, &first) && is_same(&first, &checked.verify(&token).unwrap()));
    passes.store(false, Ordering::SeqCst);
    assert_eq!(checked.verify(&token).unwrap_err().kind(), TokenErrorKind::Refused);
    passes.store(true, Ordering::SeqCst);
    assert!(is_same(&first, &checked.verify(&token).unwrap()));
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    // The one without it is as it was.
    assert!(is_same(&plain, &verifier.verify(&token).unwrap()));
}

#[test]
fn an_entry_has_a_life_of_its_own() {
    let clock = ManualClock::default();
    let config = TokenConfig::builder()
        .key(key(1, "a"))
        .issuer("https://app.example")
        .audience("api")
        .clock(clock.clone())
        .cache_life(MINUTE)
        .build()
        .unwrap();
    let (token, verifier) = (issue(&config, "ada"), config.verifier::<NoClaims>());
    let first = verifier.verify(&token).unwrap();
    clock.advance(Duration::from_millis(59_999));
    assert!(is_same(&first, &verifier.verify(&token).unwrap()));
    clock.advance(Duration::from_millis(1));
    assert!(!is_same(&first, &verifier.verify(&token).unwrap()));
}

#[test]
fn several_issuers_remember_each_their_own() {
    let clock = ManualClock::default();
    let of = |issuer: &str, seed| {
        TokenConfig::builder()
            .key(key(seed, "a"))
            .issuer(issuer)
            .audience("api")
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let (ours, theirs) = (of("https://app.example", 1), of("https://partner.example", 2));
    let both = Verifier::<NoClaims>::several([ours.verifier(), theirs.verifier()]).unwrap();
    for config in [&ours, &theirs] {
        let token = issue(config, "ada");
        let first = both.verify(&token).unwrap();
        assert_eq!(first.registered().issuer(), config.issuer());
        assert!(is_same(&first, &both.verify(&token).unwrap()));
    }
    let token = issue(&theirs, "ada");
    both.verify(&token).unwrap();
    theirs.keys().store(KeySet::new([key(3, "a").verifying_key().clone()]).unwrap());
    assert_eq!(both.verify(&token).unwrap_err().kind(), TokenErrorKind::Signature);
}

#[test]
fn it_keeps_within_its_bytes() {
    let config = config(&ManualClock::default(), key(1, "a"), 64 * 1024);
    let verifier = config.verifier::<NoClaims>();
    let tokens: Vec<_> = (0..400).map(|n| issue(&config, &format!("user-{n}"))).collect();
    let first: Vec<_> = tokens.iter().map(|token| verifier.verify(token).unwrap()).collect();
    let remembered =
        tokens.iter().zip(&first).filter(|(token, first)| is_same(first, &verifier.verify(token).unwrap()));
    // Each takes some 700 bytes. Those that are verified anew push others out meanwhile.
    let remembered = remembered.count();
    assert!((1..=110).contains(&remembered), "{remembered}");
}

#[test]
fn once_it_was_full_a_token_is_remembered_at_its_second_sight() {
    let config = config(&ManualClock::default(), key(1, "a"), 64 * 1024);
    let verifier = config.verifier::<NoClaims>();
    let verify = |token: &str| verifier.verify(token).unwrap();
    let used = issue(&config, "in use");
    let first = verify(&used);
    assert!(is_same(&first, &verify(&used)), "there is room");

    for n in 0..1000 {
        verify(&issue(&config, &format!("user-{n}")));
    }
    assert!(is_same(&first, &verify(&used)), "many that came once did not push it out");

    let late = issue(&config, "late");
    let (one, two, three) = (verify(&late), verify(&late), verify(&late));
    assert!(!is_same(&one, &two) && is_same(&two, &three));
}

#[test]
fn a_token_that_is_put_in_twice_made_room_for_nothing() {
    let config = config(&ManualClock::default(), key(1, "a"), 1024 * 1024);
    let verifier = config.verifier::<NoClaims>();
    // Many at once see none of it remembered, and each puts it in.
    let token = issue(&config, "ada");
    std::thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(|| verifier.verify(&token).unwrap()))));
    let other = issue(&config, "bob");
    assert!(
        is_same(&verifier.verify(&other).unwrap(), &verifier.verify(&other).unwrap()),
        "at its first sight"
    );
}

/// What can happen to a verifier, or around it.
#[derive(Debug, Clone)]
enum Step {
    Verify(usize),
    Advance(u64),
    GoBack(u64),
    Keys(Vec<u8>),
    Check(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..12_usize).prop_map(Step::Verify),
        2 => (0..600_000_u64).prop_map(Step::Advance),
        1 => (0..600_000_u64).prop_map(Step::GoBack),
        2 => prop::sample::subsequence(vec![1_u8, 2, 3, 4], 1..=3).prop_map(Step::Keys),
        1 => any::<bool>().prop_map(Step::Check),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Keys 1 and 4 have one id. The tokens: three by each key, issued at different times, one without a key id.
    #[test]
    fn a_hit_answers_as_a_miss_would(steps in steps()) {
        let clock = ManualClock::default();
        let named = |seed: u8| key(seed, &format!("k{}", seed % 3));
        let mut tokens = Vec::new();
        for seed in 1..=4 {
            let config = config(&clock, named(seed), 0);
            for n in 0..3_u64 {
                clock.advance(Duration::from_secs(n * 100));
                let token = issue(&config, &format!("user-{seed}-{n}"));
                tokens.push(if n == 2 { without_kid(&token, seed) } else { token });
            }
        }
        let passes = Arc::new(AtomicBool::new(true));
        let verifier = |bytes| {
            let config = config(&clock, named(1), bytes);
            let passes = passes.clone();
            let verifier = config.verifier::<NoClaims>().add_check(move |token, _| {
                if passes.load(Ordering::SeqCst) || token.subject().ends_with('0') { Ok(()) } else { Err("no".into()) }
            });
            (verifier, config.keys().clone())
        };
        let ((with, its_keys), (without, other_keys)): ((_, KeySetHandle), (_, KeySetHandle)) =
            (verifier(BYTES), verifier(0));
        for step in steps {
            match step {
                Step::Verify(n) => {
                    let told = |verifier: &Verifier<NoClaims>| {
                        verifier.verify(&tokens[n]).map(|token| token.subject().to_owned()).map_err(|error| error.kind())
                    };
                    prop_assert_eq!(told(&with), told(&without), "at {:?}", clock.now());
                }
                Step::Advance(millis) => clock.advance(Duration::from_millis(millis)),
                Step::GoBack(millis) => clock.step_back(Duration::from_millis(millis)),
                Step::Keys(seeds) => {
                    // 1 and 4 cannot be in one set.
                    let seeds = seeds.iter().filter(|seed| **seed != 4 || !seeds.contains(&1));
                    let set = KeySet::new(seeds.map(|seed| named(*seed).verifying_key().clone())).unwrap();
                    its_keys.store(set.clone());
                    other_keys.store(set);
                }
                Step::Check(passing) => passes.store(passing, Ordering::SeqCst),
            }
        }
    }
}

/// The same claims, signed again under a header without a key id.
fn without_kid(token: &str, seed: u8) -> String {
    let payload = BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap();
    Signer::Ed25519([seed; 32]).compact(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, payload)
}
