//! Sets of keys: what is used of a JWK set (section F of the requirements, J1 to J9 of the corpus), and what is given
//! out, by `KeySet::to_jwks` and by `GET /auth/jwks.json`.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/keys.rs"]
mod fixtures;
mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fixtures::{changed, fixture, issue, jwk, refused, secret, signing_key, thumbprint, verify};
use serde_json::{Value, json};
use support::ManualClock;
use support::tokens::{
    AUDIENCE, ISSUER, KID, Object, SUBJECT, Signer, base64url, builder, claims, ed25519_public,
    from_base64url, quoted,
};
use tower_jwt_auth::{Algorithm, KeyForm, KeySet, SkippedKey, TokenConfig, TokenErrorKind, VerifyingKey};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use Algorithm::{EdDsa, Es256, Es384, Hs256, Ps256, Ps512, Rs256, Rs384};

/// The text of a set of these keys.
fn set_of<T: AsRef<str>>(keys: &[T]) -> String {
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// A public key that can be used, with this id.
fn good(kid: &str) -> String {
    changed("ed25519.public.jwk", &json!({"kid": kid}))
}

fn kids(set: &KeySet) -> Vec<&str> {
    set.keys().iter().map(VerifyingKey::kid).collect()
}

/// Verifies with the keys of this set, by the clock of the token corpus.
fn config_of(set: &KeySet) -> TokenConfig {
    let builder = TokenConfig::builder().add_key_set(set).issuer(ISSUER).audience(AUDIENCE);
    builder.clock(ManualClock::new()).build().unwrap()
}

// ── events ──

/// Target and name, level, fields.
type Seen = (String, Level, Vec<String>);

/// The events of the thread.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Seen>>>);

impl Visit for Capture {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "message" {
            self.0.lock().unwrap().last_mut().unwrap().2.push(format!("{}={value:?}", field.name()));
        }
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let name = format!("{} {}", metadata.target(), metadata.name());
        self.0.lock().unwrap().push((name, *metadata.level(), Vec::new()));
        event.record(&mut self.clone());
    }
}

/// What `read` gives, and the fields of the events, which must be about skipped keys.
fn with_events<T>(read: impl FnOnce() -> T) -> (T, Vec<Vec<String>>) {
    let capture = Capture::default();
    support::events::on_every_thread();
    let subscriber = tracing_subscriber::registry().with(capture.clone());
    let result = tracing::subscriber::with_default(subscriber, read);
    let events = std::mem::take(&mut *capture.0.lock().unwrap());
    for (name, level, _) in &events {
        assert_eq!((&**name, *level), ("tower_jwt_auth::keys key_skipped", Level::WARN));
    }
    (result, events.into_iter().map(|(_, _, fields)| fields).collect())
}

// ── what is used of a set ──

/// Of two primes k * M + 65537^a mod M, where M is the product of the primes up to 701.
const ROCA: &str = "64W6meHBEEtznd2SjrIeW0koyL6SOi2uI9Nnc5Eq1e_G2JikhXvp2g8oO0Vs6CApqueQ0VuV05dGxv5nOtH1aui3F3Z-yXxG6GJAn-KdyBDnjkEmV-aBQrWc-_Dyjm0F5iXpY70UtJQfS-kcSUGwPshpW3nSTYciON2fpScANW6HnHhntI5Sjy25-i3baZJ18_uiVOMr2slLlAMWsIXmflRP2fWSH9hUCCOq1km7tS3fCZpjJ3vV5jwFkTNTtIrDS7Y0PAl-QqEbyoCXGbmMh9sOVJyYoAQiLEYIMhVzaZqAvk2YHSK3c6NoALaklP9kankYxBVVVZY8QFO7APKKtQ";

#[test]
fn row_68_row_69_row_70_row_71_a_key_that_cannot_be_used_is_skipped_and_the_others_are_used() {
    let public = |file: &str, changes: Value| changed(&format!("{file}.public.jwk"), &changes);
    let private = |file: &str| changed(&format!("{file}.private.jwk"), &json!({"kid": "x"}));
    let oct = |more: &str| format!(r#"{{"kty":"oct","kid":"x","k":"{}"{more}}}"#, base64url(secret()));
    let x = |bytes: &[u8]| public("ed25519", json!({"kid": "x", "x": base64url(bytes)}));
    let rsa = |n: &[u8], e: &[u8]| public("rsa", json!({"kid": "x", "n": base64url(n), "e": base64url(e)}));
    let own_n = from_base64url(jwk("rsa.public.jwk")["n"].as_str().unwrap());
    let ed_x = from_base64url(jwk("ed25519.public.jwk")["x"].as_str().unwrap());
    let mut identity = [0; 32];
    identity[0] = 1;
    let (named, nameless) = (Some("x"), None);
    for (row, key, kid, why) in [
        ("J3 kty AKP", r#"{"kty":"AKP","kid":"x","alg":"ML-DSA-44","pub":""}"#.into(), named, "kty"),
        ("J3 kty missing", r#"{"kid":"x"}"#.into(), named, "kty"),
        ("J3 X25519", public("ed25519", json!({"kid": "x", "crv": "X25519"})), named, "curve"),
        ("J3 secp256k1", public("p256", json!({"kid": "x", "crv": "secp256k1"})), named, "curve"),
        ("J3 P-521", public("p256", json!({"kid": "x", "crv": "P-521"})), named, "curve"),
        ("J3 alg ES256K", public("p256", json!({"kid": "x", "alg": "ES256K"})), named, "alg"),
        ("J3 alg none", public("rsa", json!({"kid": "x", "alg": "none"})), named, "alg"),
        ("row 68 x missing", public("ed25519", json!({"kid": "x", "x": null})), named, "missing"),
        ("row 68 e missing", public("rsa", json!({"kid": "x", "e": null})), named, "missing"),
        ("row 68 crv missing", public("p256", json!({"kid": "x", "crv": null})), named, "curve"),
        ("J4 use", public("p256", json!({"kid": "x", "use": "enc"})), named, "use"),
        ("J4 key_ops", public("rsa", json!({"kid": "x", "key_ops": ["encrypt"]})), named, "key_ops"),
        ("J4 alg to encrypt", public("rsa", json!({"kid": "x", "alg": "RSA-OAEP"})), named, "alg"),
        ("J4 alg of another kind", public("p256", json!({"kid": "x", "alg": "RS256"})), named, "kind"),
        ("J4 alg of another curve", public("p256", json!({"kid": "x", "alg": "ES384"})), named, "kind"),
        ("J4 RSA called HS256", public("rsa", json!({"kid": "x", "alg": "HS256"})), named, "kind"),
        ("J5 oct", oct(""), named, "shared or private"),
        ("J5 oct with alg", oct(r#","alg":"HS256","use":"sig""#), named, "shared or private"),
        ("J5 oct without k", r#"{"kty":"oct","kid":"x","alg":"HS256"}"#.into(), named, "shared or private"),
        ("J6 private RSA", private("rsa"), named, "shared or private"),
        ("J6 private EC", private("p384"), named, "shared or private"),
        ("J6 private Ed25519", private("ed25519"), named, "shared or private"),
        ("J6 one member", public("rsa", json!({"kid": "x", "p": "AQ"})), named, "shared or private"),
        ("J7 512 bits", rsa(&own_n[..64], &[3]), named, "2048"),
        ("J7 1024 bits", rsa(&[0xff; 128], &[3]), named, "2048"),
        ("J7 e = 1", rsa(&own_n, &[1]), named, "exponent"),
        ("J7 e even", rsa(&own_n, &[2]), named, "exponent"),
        ("J7 n = 0", rsa(&[0], &[3]), named, "2048"),
        ("J7 ROCA", rsa(&from_base64url(ROCA), &[1, 0, 1]), named, "ROCA"),
        ("J7 16384 bits", rsa(&[0xff; 2048], &[3]), named, "2048"),
        ("J8 x empty", x(&[]), named, "32 bytes"),
        ("J8 x short", x(&ed_x[..31]), named, "32 bytes"),
        ("J9 x long", x(&[&ed_x[..], &[0]].concat()), named, "32 bytes"),
        ("J9 small order", x(&identity), named, "small order"),
        (
            "row 71 off the curve",
            public("p256", json!({"kid": "x", "x": base64url([1; 32])})),
            named,
            "curve",
        ),
        ("row 71 length", public("p384", json!({"kid": "x", "x": base64url([1; 47])})), named, "length"),
        ("no base64url", public("ed25519", json!({"kid": "x", "x": "*".repeat(43)})), named, "base64url"),
        ("L25 use an array", public("p256", json!({"kid": "x", "use": ["sig"]})), named, "wrong type"),
        (
            "L25 key_ops a string",
            public("p256", json!({"kid": "x", "key_ops": "verify"})),
            named,
            "wrong type",
        ),
        ("alg null", good("x").replacen('{', r#"{"alg":null,"#, 1), named, "wrong type"),
        ("a member twice", good("x").replacen('{', r#"{"kty":"EC","#, 1), named, "repeated"),
        ("L25 kid a number", public("p256", json!({"kid": 5})), nameless, "wrong type"),
        ("kid twice", good("x").replacen('{', r#"{"kid":"y","#, 1), nameless, "repeated"),
        ("kid empty", good(""), nameless, "key id"),
        ("kid of 257 bytes", good(&"k".repeat(257)), nameless, "key id"),
        (
            "kid of 257 bytes, and private",
            private("rsa").replace("\"x\"", &quoted(&"k".repeat(257))),
            nameless,
            "key id",
        ),
        ("L25 a number", "7".into(), nameless, "no JWK"),
        ("null", "null".into(), nameless, "no JWK"),
        ("an array", r#"["OKP"]"#.into(), nameless, "no JWK"),
        ("a set in a set", set_of(&[good("x")]), nameless, "kty"),
    ] {
        let text = set_of(&[good("first"), key, good("last")]);
        let (set, events) = with_events(|| KeySet::from_jwks(&text));
        let set = set.unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(kids(&set), ["first", "last"], "{row}");
        let [skipped] = set.skipped() else { panic!("{row}: {:?}", set.skipped()) };
        assert_eq!((skipped.position(), skipped.kid()), (1, kid), "{row}");
        assert!(skipped.reason().contains(why), "{row}: {}", skipped.reason());
        let mut fields = vec!["position=1".to_owned(), format!("reason={:?}", skipped.reason())];
        fields.extend(kid.map(|kid| format!("kid={kid:?}")));
        let [mut event] = <[_; 1]>::try_from(events).unwrap_or_else(|events| panic!("{row}: {events:?}"));
        event.sort();
        fields.sort();
        assert_eq!(event, fields, "{row}");
    }
}

#[test]
fn nothing_is_skipped_or_reported_of_a_good_set() {
    let keys = ["rsa", "p256", "p384", "ed25519"].map(|name| fixture(&format!("{name}.public.jwk")));
    let (set, events) = with_events(|| KeySet::from_jwks(&set_of(&keys)).unwrap());
    assert!(set.skipped().is_empty() && events.is_empty(), "{:?} {events:?}", set.skipped());
    let found: Vec<_> = set.keys().iter().map(|key| (key.algorithm(), key.kid().to_owned())).collect();
    let names = [(Rs256, "rsa"), (Es256, "p256"), (Es384, "p384"), (EdDsa, "ed25519")];
    assert_eq!(found, names.map(|(alg, name)| (alg, thumbprint(&jwk(&format!("{name}.public.jwk"))))));
}

#[test]
fn j1_j2_texts_that_are_no_set_are_errors() {
    let key = good("a");
    for (row, text, word) in [
        ("J1 empty", String::new(), "no JWK set"),
        ("J1 HTML", "<!doctype html><title>503</title>".into(), "no JWK set"),
        ("J1 array of keys", format!("[{key}]"), "no JWK set"),
        // serde takes the one element of an array for the one field.
        ("J1 array in an array", format!("[[{key}]]"), "no JWK set"),
        ("J1 no keys", "{}".into(), "no JWK set"),
        ("J1 keys null", r#"{"keys":null}"#.into(), "no JWK set"),
        ("J1 keys an object", r#"{"keys":{}}"#.into(), "no JWK set"),
        ("J1 keys a text", r#"{"keys":"a"}"#.into(), "no JWK set"),
        ("J1 a key, no set", key.clone(), "no JWK set"),
        ("J1 keys twice", format!(r#"{{"keys":[{key}],"keys":[]}}"#), "no JWK set"),
        ("J1 cut", set_of(&[&key])[..60].into(), "no JWK set"),
        ("J1 text behind it", set_of(&[&key]) + "x", "no JWK set"),
        ("J1 byte order mark", format!("\u{feff}{}", set_of(&[&key])), "no JWK set"),
        ("J1 null", "null".into(), "no JWK set"),
        ("J2 no key", r#"{"keys":[]}"#.into(), "no key that can be used"),
        (
            "J5 HMAC keys only",
            set_of(&[r#"{"kty":"oct","k":"AAAA","alg":"HS256"}"#]),
            "no key that can be used",
        ),
        ("row 70 one id twice", set_of(&[good("a"), good("a")]), "no key that can be used"),
    ] {
        refused(KeySet::from_jwks(&text), word, row);
    }
    let more = format!(r#" {{"x":[{{}}],"keys" : [ {key} ] ,"y":null}} "#);
    assert_eq!(kids(&KeySet::from_jwks(&more).unwrap()), ["a"], "other members mean nothing");
}

#[test]
fn row_70_of_eligible_keys_with_one_id_none_is_used() {
    let p256 = |changes: Value| changed("p256.public.jwk", &changes);
    let own = thumbprint(&jwk("ed25519.public.jwk"));
    for (row, keys, used, skipped) in [
        ("two", vec![good("a"), p256(json!({"kid": "a"})), good("b")], vec!["b"], vec![0, 1]),
        (
            "three, apart",
            vec![good("a"), good("b"), p256(json!({"kid": "a"})), good("a")],
            vec!["b"],
            vec![0, 2, 3],
        ),
        ("one key twice", vec![good("b"), good("a"), good("a")], vec!["b"], vec![1, 2]),
        (
            "the other is not eligible",
            vec![good("a"), p256(json!({"kid": "a", "use": "enc"}))],
            vec!["a"],
            vec![1],
        ),
        ("ids differ in case", vec![good("a"), good("A")], vec!["a", "A"], vec![]),
        (
            "an id like another key's thumbprint",
            vec![fixture("ed25519.public.jwk"), p256(json!({"kid": own})), good("b")],
            vec!["b"],
            vec![0, 1],
        ),
        (
            "a thumbprint twice",
            vec![fixture("p384.public.jwk"), good("b"), fixture("p384.public.jwk")],
            vec!["b"],
            vec![0, 2],
        ),
    ] {
        let (set, events) = with_events(|| KeySet::from_jwks(&set_of(&keys)).unwrap());
        assert_eq!(kids(&set), used, "{row}");
        let positions: Vec<_> = set.skipped().iter().map(SkippedKey::position).collect();
        assert_eq!(positions, skipped, "{row}");
        assert_eq!(events.len(), skipped.len(), "{row}");
    }
}

#[test]
fn caps_of_a_set() {
    let keys: Vec<_> = (0..101).map(|number| good(&number.to_string())).collect();
    assert_eq!(KeySet::from_jwks(&set_of(&keys[..100])).unwrap().keys().len(), 100);
    refused(KeySet::from_jwks(&set_of(&keys)), "100 keys", "101 keys");
    let mut with_bad = keys[..100].to_vec();
    with_bad.push("{}".into());
    refused(KeySet::from_jwks(&set_of(&with_bad)), "100 keys", "100 keys, and one that cannot be used");

    let text = set_of(&[good("a")]);
    let padded = |bytes: usize| format!("{text}{}", " ".repeat(bytes - text.len()));
    assert!(KeySet::from_jwks(&padded(512 * 1024)).is_ok());
    refused(KeySet::from_jwks(&padded(512 * 1024 + 1)), "512 KiB", "a byte more");
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(kids(&KeySet::from_jwks(&set_of(&[deep, good("a")])).unwrap()), ["a"], "L26 deep nesting");

    let key = || VerifyingKey::read(EdDsa, KeyForm::Jwk(&good("a"))).unwrap();
    let keys =
        |count: usize| (0..count).map(|number| key().with_kid(format!("k{number}"))).collect::<Vec<_>>();
    assert!(KeySet::new(keys(100)).is_ok());
    refused(KeySet::new(keys(101)), "100 keys", "101 keys");
    refused(KeySet::new([]), "at least one key", "none");
    refused(KeySet::new([key(), key()]), "same key id", "one id twice");
    refused(KeySet::new([key().with_kid("")]), "key id", "no id");
    refused(KeySet::new([key().with_kid("k".repeat(257))]), "key id", "a long id");
    assert!(KeySet::new([key().with_kid("k".repeat(256))]).is_ok());
    let hmac = VerifyingKey::hs256(secret()).unwrap();
    refused(KeySet::new([key(), hmac.clone()]), "must not be in one configuration", "row 35");
    refused(KeySet::new([hmac, key()]), "must not be in one configuration", "row 35");
}

#[test]
fn rsa_keys_without_alg_are_for_the_named_algorithm_and_the_others_for_theirs() {
    let rsa = |kid: &str, alg: Value| {
        let mut jwk = jwk("rsa.public.jwk");
        jwk["kid"] = kid.into();
        if !alg.is_null() {
            jwk["alg"] = alg;
        }
        jwk.to_string()
    };
    let text =
        set_of(&[rsa("a", Value::Null), rsa("b", json!("RS384")), rsa("c", json!("PS512")), good("d")]);
    let of = |set: KeySet| set.keys().iter().map(VerifyingKey::algorithm).collect::<Vec<_>>();
    assert_eq!(of(KeySet::from_jwks(&text).unwrap()), [Rs256, Rs384, Ps512, EdDsa]);
    assert_eq!(of(KeySet::from_jwks_for(&text, Ps256).unwrap()), [Ps256, Rs384, Ps512, EdDsa]);
    for &algorithm in Algorithm::ALL {
        let is_rsa = ["RS", "PS"].iter().any(|prefix| algorithm.as_str().starts_with(prefix));
        match KeySet::from_jwks_for(&text, algorithm) {
            Ok(set) => assert!(is_rsa && of(set)[0] == algorithm, "{algorithm:?}"),
            result => {
                assert!(!is_rsa, "{algorithm:?}");
                refused(result, "must be one for RSA", algorithm.as_str());
            }
        }
    }
    // It is the key's one algorithm: tokens of the other padding are refused.
    let clock = ManualClock::new();
    let token = |algorithm| issue(&builder(signing_key(algorithm).with_kid("a"), &clock).build().unwrap());
    for (set, own, other) in
        [(KeySet::from_jwks(&text), Rs256, Ps256), (KeySet::from_jwks_for(&text, Ps256), Ps256, Rs256)]
    {
        let config = config_of(&set.unwrap());
        assert_eq!(verify(&config, &token(own)).as_deref(), Ok(SUBJECT));
        assert_eq!(verify(&config, &token(other)), Err(TokenErrorKind::Algorithm));
    }
}

#[test]
fn row_69_key_ops_that_allow_more_than_to_verify() {
    for ops in [json!(["verify"]), json!(["verify", "encrypt"])] {
        let key =
            changed("p256.public.jwk", &json!({"kid": "a", "use": "sig", "key_ops": ops, "alg": "ES256"}));
        assert_eq!(kids(&KeySet::from_jwks(&set_of(&[key])).unwrap()), ["a"]);
    }
}

/// With such a key and R the neutral point, S = 0, anybody signs anything, in either backend: L22.
#[test]
fn l20_l21_l22_no_token_passes_for_a_bad_ed25519_key_and_none_panics() {
    let header =
        Object::default().with("alg", quoted("EdDSA")).with("typ", quoted("at+jwt")).with("kid", quoted(KID));
    let message = format!("{}.{}", base64url(header.json()), base64url(claims().json()));
    let mut forged = [0; 64];
    forged[0] = 1;
    let token = format!("{message}.{}", base64url(forged));
    let signer = Signer::ed25519();
    let (genuine, Signer::Ed25519(seed)) = (signer.good(), &signer) else { unreachable!() };
    let own = ed25519_public(seed);
    // 2 is the y-coordinate of no point: a backend finds that out for each token.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    let mut points: Vec<Vec<u8>> = (0..64).map(|bytes| vec![1; bytes]).collect();
    points.extend([own[..31].to_vec(), [&own[..], &[0]].concat(), vec![0; 32], no_point.to_vec()]);
    points
        .extend((0..=255).map(|last| [&own[..31], &[last]].concat()).filter(|point| point != own.as_slice()));
    for x in points {
        let key = changed("ed25519.public.jwk", &json!({"kid": KID, "x": base64url(&x)}));
        let set = KeySet::from_jwks(&set_of(&[key, good("other")])).unwrap();
        let config = config_of(&set);
        for token in [&token, &genuine] {
            assert!(verify(&config, token).is_err(), "{x:?}");
        }
    }
    let key = changed("ed25519.public.jwk", &json!({"kid": KID, "x": base64url(own)}));
    let config = config_of(&KeySet::from_jwks(&set_of(&[key])).unwrap());
    assert_eq!(verify(&config, &genuine).as_deref(), Ok(SUBJECT));
    assert_eq!(verify(&config, &token), Err(TokenErrorKind::Signature));
}

// ── what is given out ──

/// No member but those of public keys, and no secret in any spelling.
#[track_caller]
fn assert_public(text: &str, secrets: &[&[u8]]) {
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document.as_object().unwrap().len(), 1, "{text}");
    for key in document["keys"].as_array().unwrap() {
        for name in key.as_object().unwrap().keys() {
            let public = ["kty", "use", "alg", "kid", "crv", "x", "y", "n", "e"].contains(&&**name);
            assert!(public, "{name} in {text}");
        }
    }
    for secret in secrets {
        for part in [
            base64url(secret),
            STANDARD.encode(secret),
            format!("{secret:02x?}").replace(['[', ']', ',', ' '], ""),
        ] {
            assert!(!text.contains(&part), "{text}");
        }
    }
}

fn secrets() -> Vec<Vec<u8>> {
    let mut secrets = vec![secret()];
    for name in ["rsa", "p256", "p384", "ed25519"] {
        let jwk = jwk(&format!("{name}.private.jwk"));
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            secrets.extend(jwk[member].as_str().map(from_base64url));
        }
    }
    assert_eq!(secrets.len(), 1 + 6 + 3);
    secrets
}

#[test]
fn a_set_gives_out_its_public_members_and_reads_them_back() {
    let secrets = secrets();
    let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
    let public = Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_symmetric());
    let keys: Vec<_> = public
        .enumerate()
        .map(|(at, algorithm)| signing_key(algorithm).verifying_key().clone().with_kid(format!("k{at}\"\\é")))
        .collect();
    let set = KeySet::new(keys).unwrap();
    let text = set.to_jwks();
    assert_public(&text, &secrets);
    let again = KeySet::from_jwks(&text).unwrap();
    assert!(again.skipped().is_empty(), "{:?}", again.skipped());
    let facts = |set: &KeySet| -> Vec<_> {
        set.keys().iter().map(|key| (key.kid().to_owned(), key.algorithm(), key.thumbprint())).collect()
    };
    assert_eq!(facts(&again), facts(&set));
    assert_eq!(again.to_jwks(), text);
    for key in set.keys() {
        assert_public(&set_of(&[key.to_jwk().unwrap()]), &secrets);
    }

    for algorithm in [Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let key = signing_key(algorithm).verifying_key().clone();
        assert_eq!(KeySet::new([key.clone()]).unwrap().to_jwks(), r#"{"keys":[]}"#);
        assert_eq!((key.to_jwk(), key.thumbprint()), (None, None));
    }
}

#[test]
fn no_debug_output_shows_a_secret() {
    for &algorithm in Algorithm::ALL {
        let key = signing_key(algorithm).with_kid("shown");
        let config = builder(key.clone(), &ManualClock::new()).build().unwrap();
        let form = KeyForm::Secret(&[0x80, 0x81]);
        let text = format!("{key:?} {:?} {config:?} {:?} {form:?}", key.verifying_key(), config.keys());
        assert!(text.contains("shown") && text.ends_with(" Secret(..)"), "{text}");
        for part in ["128, 129", "8081", &base64url(secret())[..8], "EncodingKey", "DecodingKey"] {
            assert!(!text.contains(part), "{text}");
        }
    }
}
