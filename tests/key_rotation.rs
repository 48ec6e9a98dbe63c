//! Keys that change while tokens are issued and verified: exchanged sets, the rules of a change, and a whole rotation.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/keys.rs"]
mod fixtures;
mod support;

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use fixtures::{issue, refused, signing_key, verify, verifying};
use support::tokens::{SUBJECT, builder};
use support::{DAY, HOUR, MINUTE, ManualClock, SECOND};
use tower_jwt_auth::{
    AccessGrant, Algorithm, Clock, ConfigErrorKind, Issuer, KeyRotation, KeyRotationStep, KeySet, NoClaims,
    SigningKey, Timestamp, TokenConfig, TokenErrorKind, VerifyingKey,
};

use Algorithm::{EdDsa, Ps256, Rs256};
use KeyRotationStep::{Remove, Sign, WaitToRemove, WaitToSign};

const THREADS: usize = 4;
const MILLISECOND: Duration = Duration::from_millis(1);

/// An Ed25519 key of its own for each name.
fn key(kid: &str) -> SigningKey {
    let mut seed = [0x5e; 32];
    seed[..kid.len()].copy_from_slice(kid.as_bytes());
    SigningKey::ed25519_seed(&seed).unwrap().with_kid(kid)
}

fn public(kid: &str) -> VerifyingKey {
    key(kid).verifying_key().clone()
}

fn config(kid: &str, clock: &ManualClock) -> TokenConfig {
    builder(key(kid), clock).build().unwrap()
}

fn token(kid: &str, clock: &ManualClock) -> String {
    issue(&config(kid, clock))
}

fn kids(config: &TokenConfig) -> Vec<String> {
    config.keys().load().keys().iter().map(|key| key.kid().to_owned()).collect()
}

/// Waits, without sleeping, until every counter has grown by `by`. False if a thread has ended, which is by a panic.
fn wait_for(counters: &[AtomicUsize], by: usize, threads: &[ScopedJoinHandle<'_, ()>]) -> bool {
    for (counter, before) in
        counters.iter().zip(counters.iter().map(|counter| counter.load(Ordering::SeqCst)))
    {
        while counter.load(Ordering::SeqCst) < before + by {
            if threads.iter().any(ScopedJoinHandle::is_finished) {
                return false;
            }
            thread::yield_now();
        }
    }
    true
}

/// Ends the threads of a scope also when the test fails, so that it does not wait for them for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// ── the handle ──

#[test]
fn a_key_of_both_sets_is_never_missed_while_the_set_is_exchanged() {
    let clock = ManualClock::new();
    let config = verifying(public("common"), &clock);
    let sets = [["common", "first"], ["second", "common"]].map(|kids| KeySet::new(kids.map(public)).unwrap());
    let [common, first, second] = ["common", "first", "second"].map(|kid| token(kid, &clock));
    let counters: [AtomicUsize; THREADS] = Default::default();
    let [missed, found] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        let threads: Vec<_> = counters
            .iter()
            .map(|counter| {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        assert_eq!(verify(&config, &common).as_deref(), Ok(SUBJECT));
                        match verify(&config, &first) {
                            Ok(_) => found.fetch_add(1, Ordering::SeqCst),
                            Err(TokenErrorKind::UnknownKey) => missed.fetch_add(1, Ordering::SeqCst),
                            Err(kind) => panic!("{kind:?}"),
                        };
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            for set in &sets {
                (0..50).for_each(|_| sets.iter().for_each(|set| config.keys().store(set.clone())));
                config.keys().store(set.clone());
                if !wait_for(&counters, 2, &threads) {
                    return;
                }
            }
        }
    });
    assert!(missed.into_inner() > 0 && found.into_inner() > 0, "the sets did not change under the threads");

    config.keys().store(sets[1].clone());
    assert_eq!(verify(&config, &first), Err(TokenErrorKind::UnknownKey), "a removed key");
    assert_eq!(verify(&config, &second).as_deref(), Ok(SUBJECT));
    assert_eq!(verify(&config, &common).as_deref(), Ok(SUBJECT));
}

#[test]
fn verifiers_and_issuers_that_were_made_before_follow_the_configuration() {
    let clock = ManualClock::new();
    let config = config("old", &clock);
    let (verifier, issuer, copy) =
        (config.verifier::<NoClaims>(), Issuer::new(&config).unwrap(), config.clone());
    let issue = || issuer.issue(&AccessGrant::new(SUBJECT), &NoClaims {}).unwrap().expose().to_owned();
    let check = |token: &str| verifier.verify(token).map(drop).map_err(|error| error.kind());
    let old = issue();
    copy.add_key(public("new")).unwrap();
    copy.sign_with(key("new")).unwrap();
    let new = issue();
    assert_eq!((check(&old), check(&new)), (Ok(()), Ok(())));
    copy.remove_key("old").unwrap();
    assert_eq!((check(&old), check(&new)), (Err(TokenErrorKind::UnknownKey), Ok(())));
    assert_eq!(check(&token("old", &clock)), Err(TokenErrorKind::UnknownKey));
    assert_eq!(kids(&config), ["new"]);
}

#[test]
fn a_request_goes_on_with_the_set_that_it_began_with() {
    let clock = ManualClock::new();
    let config = config("old", &clock);
    let held = config.keys().load();
    config.add_key(public("new")).unwrap();
    assert_eq!((held.keys().len(), kids(&config)), (1, vec!["old".to_owned(), "new".to_owned()]));
}

// ── the rules of a change ──

#[test]
fn keys_that_are_not_added_leave_everything_as_it_was() {
    let clock = ManualClock::new();
    let config = config("a", &clock);
    config.add_key(public("b")).unwrap();
    for (row, key, word) in [
        ("the id of the signing key", public("c").with_kid("a"), "same key id"),
        ("the id of another key", public("c").with_kid("b"), "same key id"),
        ("the same key again", public("b"), "same key id"),
        ("no id", public("c").with_kid(""), "key id"),
        ("an id of 257 bytes", public("c").with_kid("k".repeat(257)), "key id"),
        ("row 35, an HMAC key", VerifyingKey::hs256([0x80; 32]).unwrap(), "must not be in one configuration"),
    ] {
        refused(config.add_key(key), word, row);
        assert_eq!(kids(&config), ["a", "b"], "{row}");
    }
    for number in 2..100 {
        config.add_key(public("c").with_kid(number.to_string())).unwrap();
    }
    refused(config.add_key(public("c")), "100 keys", "the 101st key");
    let hmac = builder(SigningKey::hs256([0x80; 32]).unwrap(), &clock).build().unwrap();
    refused(hmac.add_key(public("a")), "must not be in one configuration", "row 35, the other way");
    hmac.add_key(VerifyingKey::hs256([0x81; 32]).unwrap()).unwrap();
}

#[test]
fn only_a_published_key_signs() {
    let clock = ManualClock::new();
    let config = config("a", &clock);
    config.add_key(public("b")).unwrap();
    config.add_key(signing_key(Rs256).with_kid("rsa").verifying_key().clone()).unwrap();
    for (row, key) in [
        ("not published", key("c")),
        ("another key under a published id", key("c").with_kid("b")),
        ("a published key under another id", key("b").with_kid("c")),
        ("a published key under its thumbprint", signing_key(EdDsa)),
        ("a published key for another algorithm", signing_key(Ps256).with_kid("rsa")),
    ] {
        refused(config.sign_with(key), "publish the key", row);
        assert_eq!(verify(&verifying(public("a"), &clock), &issue(&config)).as_deref(), Ok(SUBJECT), "{row}");
    }
    for kid in ["b", "a", "a"] {
        config.sign_with(key(kid)).unwrap();
        assert_eq!(verify(&verifying(public(kid), &clock), &issue(&config)).as_deref(), Ok(SUBJECT));
    }
    config.sign_with(signing_key(Rs256).with_kid("rsa")).unwrap();
    assert_eq!(verify(&config, &issue(&config)).as_deref(), Ok(SUBJECT));
}

#[test]
fn a_configuration_that_only_verified_signs_once_it_has_a_key() {
    let clock = ManualClock::new();
    let config = verifying(public("a"), &clock);
    let error = Issuer::new(&config).unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Key);
    assert!(error.to_string().contains("can only verify"), "{error}");
    config.sign_with(key("a")).unwrap();
    assert_eq!(verify(&config, &issue(&config)).as_deref(), Ok(SUBJECT));
}

#[test]
fn the_signing_key_and_the_last_key_stay() {
    let clock = ManualClock::new();
    let config = config("a", &clock);
    config.add_key(public("b")).unwrap();
    refused(config.remove_key("a"), "sign with another one first", "the signing key");
    assert_eq!(kids(&config), ["a", "b"]);
    config.sign_with(key("b")).unwrap();
    refused(config.remove_key("b"), "sign with another one first", "the signing key");
    refused(config.remove_key("nobody"), "there is no key of this id", "a mistyped id");
    config.remove_key("a").unwrap();
    assert_eq!(kids(&config), ["b"]);
    for kid in ["c", "", "B", "b "] {
        // Whatever it answers, it does not touch the others.
        drop(config.remove_key(kid));
        assert_eq!(kids(&config), ["b"], "{kid:?}");
    }
    let last = verifying(public("a"), &clock);
    refused(last.remove_key("a"), "at least one key", "the last key");
    assert_eq!(kids(&last), ["a"]);
}

#[test]
fn no_change_is_lost_among_changes_at_once() {
    let (clock, any) = (ManualClock::new(), public("x"));
    let named = |kid: String| any.clone().with_kid(kid);
    for _ in 0..20 {
        let config = config("first", &clock);
        (0..THREADS).for_each(|thread| config.add_key(named(format!("out{thread}"))).unwrap());
        let barrier = Barrier::new(THREADS);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (config, barrier, named) = (&config, &barrier, &named);
                scope.spawn(move || {
                    for at in 0..20 {
                        let key = named(format!("{thread}-{at}"));
                        barrier.wait();
                        config.add_key(key).unwrap();
                    }
                    config.remove_key(&format!("out{thread}")).unwrap();
                });
            }
        });
        let added = |thread| (0..20).map(move |at| format!("{thread}-{at}"));
        let expected: BTreeSet<_> = (0..THREADS).flat_map(added).chain(["first".to_owned()]).collect();
        assert_eq!(kids(&config).into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn of_keys_with_one_id_that_are_added_at_once_one_is_taken() {
    let clock = ManualClock::new();
    for _ in 0..50 {
        let config = config("first", &clock);
        let (barrier, taken) = (Barrier::new(THREADS), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (config, barrier, taken) = (&config, &barrier, &taken);
                scope.spawn(move || {
                    let key = public(&thread.to_string()).with_kid("one");
                    barrier.wait();
                    match config.add_key(key) {
                        Ok(()) => drop(taken.fetch_add(1, Ordering::SeqCst)),
                        result => refused(result, "same key id", "a later one"),
                    }
                });
            }
        });
        assert_eq!((taken.into_inner(), kids(&config)), (1, vec!["first".to_owned(), "one".to_owned()]));
    }
}

// ── when a step is safe ──

/// Tokens live 15 minutes, clocks may differ by 30 seconds.
const OVERLAP: Duration = Duration::from_secs(930);

#[test]
fn steps_over_time() {
    let clock = ManualClock::new();
    let config = config("old", &clock);
    let start = clock.now();
    let at = |after: Duration| start.saturating_add(after);
    let before = |after: Duration| start.saturating_sub(after);
    let begun = KeyRotation::begin(&config, start, 5 * MINUTE);
    assert_eq!(begun.published_at(), start);
    let wait = WaitToSign { until: at(5 * MINUTE) };
    for (row, now, step) in [
        ("at once", start, wait),
        ("a moment too early", at(5 * MINUTE).saturating_sub(MILLISECOND), wait),
        ("on time", at(5 * MINUTE), Sign),
        ("late", at(DAY), Sign),
        ("the clock stepped back before it began", before(HOUR), wait),
        ("the clock at the epoch", Timestamp::from_unix_seconds(0), wait),
        ("the clock at its end", Timestamp::from_unix_millis(i64::MAX), Sign),
        ("the clock at its beginning", Timestamp::from_unix_millis(i64::MIN), wait),
    ] {
        assert_eq!(begun.next_step(now), step, "{row}");
    }
    // Signed late, by an hour.
    let signing = begun.signing_since(at(HOUR));
    assert_eq!(signing.published_at(), start);
    let wait = WaitToRemove { until: at(HOUR + OVERLAP) };
    for (row, now, step) in [
        ("at once", at(HOUR), wait),
        ("a moment too early", at(HOUR + OVERLAP).saturating_sub(MILLISECOND), wait),
        ("on time", at(HOUR + OVERLAP), Remove),
        ("late", at(DAY), Remove),
        ("the clock stepped back before it signed", at(MINUTE), wait),
        ("the clock stepped back before it was published", before(DAY), wait),
    ] {
        assert_eq!(signing.next_step(now), step, "{row}");
    }
    // A moment that is set again counts from there.
    assert_eq!(
        signing.signing_since(at(2 * HOUR)).next_step(at(HOUR + OVERLAP)),
        WaitToRemove { until: at(2 * HOUR + OVERLAP) }
    );
}

#[test]
fn waits_follow_the_configuration_and_never_overflow() {
    let clock = ManualClock::new();
    let start = clock.now();
    let long =
        builder(key("old"), &clock).insecure_lifetime(12 * HOUR).leeway(Duration::ZERO).build().unwrap();
    let short = builder(key("old"), &clock).lifetime(SECOND).leeway(5 * MINUTE).build().unwrap();
    for (config, overlap) in [(long, 12 * HOUR), (short, 5 * MINUTE + SECOND)] {
        let rotation = KeyRotation::begin(&config, start, Duration::ZERO);
        assert_eq!(rotation.next_step(start), Sign, "nobody else verifies");
        let until = start.saturating_add(overlap);
        assert_eq!(rotation.signing_since(start).next_step(start), WaitToRemove { until });
        let never = KeyRotation::begin(&config, start, Duration::MAX);
        let end = Timestamp::from_unix_millis(i64::MAX);
        assert_eq!(never.next_step(start.saturating_add(365 * DAY)), WaitToSign { until: end });
    }
}

/// The moments are exact: a step sooner, and a good token would be refused.
#[test]
fn at_the_moment_to_remove_the_last_token_of_the_old_key_has_just_expired() {
    let clock = ManualClock::new();
    // A fraction of a second must not make it too early.
    for millis in [0, 1, 999] {
        clock.set(Timestamp::from_unix_millis(ManualClock::START.as_unix_millis() + millis));
        let config = config("old", &clock);
        config.add_key(public("new")).unwrap();
        let last = issue(&config);
        config.sign_with(key("new")).unwrap();
        let rotation = KeyRotation::begin(&config, clock.now(), Duration::ZERO).signing_since(clock.now());
        let WaitToRemove { until } = rotation.next_step(clock.now()) else { panic!("{rotation:?}") };
        clock.set(until.saturating_sub(SECOND));
        assert_eq!(verify(&config, &last).as_deref(), Ok(SUBJECT), "{millis}");
        assert_ne!(rotation.next_step(clock.now()), Remove);
        clock.set(until);
        assert_eq!(verify(&config, &last), Err(TokenErrorKind::Expired), "{millis}");
        assert_eq!(rotation.next_step(clock.now()), Remove);
    }
}

// ── whole rotations ──

/// Another process: keeps the JWK set that it fetched for five minutes, beginning at its own moment.
struct Remote {
    config: TokenConfig,
    fetched: Timestamp,
}

impl Remote {
    const KEEPS: Duration = Duration::from_secs(300);

    fn new(of: &TokenConfig, clock: &ManualClock, age: Duration) -> Self {
        let keys = KeySet::from_jwks(&of.keys().load().to_jwks()).unwrap();
        let config = verifying(keys.keys()[0].clone(), clock);
        Self { config, fetched: clock.now().saturating_sub(age) }
    }

    fn verify(&mut self, of: &TokenConfig, token: &str, now: Timestamp) {
        if now.saturating_duration_since(self.fetched) >= Self::KEEPS {
            self.config.keys().store(KeySet::from_jwks(&of.keys().load().to_jwks()).unwrap());
            self.fetched = now;
        }
        assert_eq!(
            verify(&self.config, token).as_deref(),
            Ok(SUBJECT),
            "{now:?}, fetched {:?}",
            self.fetched
        );
    }
}

/// Takes the steps that are due, as an application would; `None` once the old key is gone.
fn step(
    config: &TokenConfig,
    rotation: KeyRotation,
    now: Timestamp,
    old: &str,
    new: &str,
) -> Option<KeyRotation> {
    match rotation.next_step(now) {
        Sign => {
            config.sign_with(key(new)).unwrap();
            Some(rotation.signing_since(now))
        }
        Remove => {
            config.remove_key(old).unwrap();
            None
        }
        _ => Some(rotation),
    }
}

#[test]
fn every_live_token_is_good_everywhere_through_two_rotations() {
    let clock = ManualClock::new();
    let config = config("k0", &clock);
    // Remotes that fetched at different moments of the five minutes; one of them just before the rotation begins.
    let mut remotes = [0, 60, 299].map(|age| Remote::new(&config, &clock, Duration::from_secs(age)));
    // With the moments at which they expire.
    let mut live: Vec<(String, Timestamp)> = Vec::new();
    let mut rotations = Vec::new();
    for (old, new) in [("k0", "k1"), ("k1", "k2")] {
        config.add_key(public(new)).unwrap();
        let began = clock.now();
        let mut last_of_old = None;
        let mut rotation = Some(KeyRotation::begin(&config, began, Remote::KEEPS));
        while let Some(under_way) = rotation {
            rotation = step(&config, under_way, clock.now(), old, new);
            if rotation != Some(under_way) {
                last_of_old = last_of_old.or(live.last().cloned());
            }
            live.push((issue(&config), clock.now().saturating_add(15 * MINUTE)));
            live.retain(|(_, end)| clock.now() < *end);
            last_of_old = last_of_old.filter(|(_, end)| clock.now() < *end);
            for (token, _) in live.first().into_iter().chain(live.last()).chain(&last_of_old) {
                assert_eq!(verify(&config, token).as_deref(), Ok(SUBJECT), "{:?}", clock.now());
                for remote in &mut remotes {
                    remote.verify(&config, token, clock.now());
                }
            }
            clock.advance(30 * SECOND);
        }
        rotations.push(clock.now().saturating_duration_since(began));
    }
    assert_eq!(rotations, [Remote::KEEPS + OVERLAP + 30 * SECOND; 2]);
    assert_eq!(kids(&config), ["k2"]);
    assert_eq!(verify(&config, &token("k0", &clock)), Err(TokenErrorKind::UnknownKey));
}

#[test]
fn no_token_is_refused_under_load() {
    let clock = ManualClock::new();
    let config = config("old", &clock);
    config.add_key(public("new")).unwrap();
    let counters: [AtomicUsize; THREADS] = Default::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        let threads: Vec<_> = counters
            .iter()
            .map(|counter| {
                scope.spawn(|| {
                    let mut before = issue(&config);
                    while !stop.load(Ordering::SeqCst) {
                        // A token is used across one step, and then replaced, as clients do.
                        let token = issue(&config);
                        assert_eq!(verify(&config, &before).as_deref(), Ok(SUBJECT));
                        assert_eq!(verify(&config, &token).as_deref(), Ok(SUBJECT));
                        before = token;
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let mut rotation = Some(KeyRotation::begin(&config, clock.now(), 5 * MINUTE));
        while let Some(under_way) = rotation {
            // Everybody has got a token of now before the clock moves on by a part of a token's life.
            if !wait_for(&counters, 3, &threads) {
                return;
            }
            clock.advance(2 * MINUTE);
            rotation = step(&config, under_way, clock.now(), "old", "new");
        }
        wait_for(&counters, 3, &threads);
    });
    assert_eq!(kids(&config), ["new"]);
}
