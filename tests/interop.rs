//! Tokens and keys, exchanged with libraries that share no code with this one: jose on Node.js, joserfc on Python.
//!
//! Each library runs in one process (`tests/interop`) that makes keys, signs and verifies as it is asked to. A
//! fault that our two halves share, in the encoding of a key or of a signature, shows only against somebody else.
//! Every key is used in both directions, and in each direction there are tokens that must be refused, and for the
//! right reason: otherwise a peer that refuses or accepts everything would pass.
//!
//! Where a library is missing its test says so and passes; with `REQUIRE_PARTS=1` it fails instead.
//! `scripts/test.sh` installs both.
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/program.rs"]
mod program;
mod support;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_jwt_auth::{
    AccessGrant, Algorithm, Issuer, KeyForm, KeySet, SigningKey, Timestamp, TokenConfig, TokenConfigBuilder,
    TokenErrorKind, Verified, VerifyingKey,
};

use peer::{Answer, Made, Peer, TheirKey};
use program::skip;
use support::tokens::{AUDIENCE, ISSUER, NOW, SUBJECT, base64url, from_base64url, json_of};
use support::{MINUTE, ManualClock};

const TYPE: &str = "at+jwt";
const LIFETIME: i64 = 600;
/// The peers make a key of each, and one for ES512, which is not supported and must not spoil the set.
const MORE_NAMES: [&str; 2] = ["Ed25519", "ES512"];

#[test]
fn tokens_and_keys_are_exchanged_with_jose() {
    match Peer::jose() {
        Ok(peer) => exchange(peer),
        Err(missing) => skip(&missing),
    }
}

#[test]
fn tokens_and_keys_are_exchanged_with_joserfc() {
    match Peer::joserfc() {
        Ok(peer) => exchange(peer),
        Err(missing) => skip(&missing),
    }
}

fn exchange(mut peer: Peer) {
    let names: Vec<_> = Algorithm::ALL.iter().copied().map(Algorithm::as_str).chain(MORE_NAMES).collect();
    let made: Made = peer.ask(&json!({ "do": "generate", "algorithms": names }));
    let theirs: Vec<_> = made.keys.iter().filter(|key| key.alg != "ES512").collect();
    assert_eq!(theirs.len(), 13);

    we_verify_what_they_sign(&mut peer, &made.jwks, &theirs);
    they_verify_what_we_sign(&mut peer, our_keys(&made.jwks, &theirs));
}

/// What happens to a token between its two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Good,
    /// For this audience among others.
    SeveralAudiences,
    /// An Ed25519 key signs under the other of its two names.
    OtherName,
    FlippedBit,
    /// Another `alg` is written into the header.
    RenamedAlgorithm,
    /// The same key signs with another algorithm of its family.
    OtherAlgorithm,
    OtherAudience,
    OtherIssuer,
    OtherType,
    Expired,
}

impl Case {
    const ALL: [Self; 10] = [
        Self::Good,
        Self::SeveralAudiences,
        Self::OtherName,
        Self::FlippedBit,
        Self::RenamedAlgorithm,
        Self::OtherAlgorithm,
        Self::OtherAudience,
        Self::OtherIssuer,
        Self::OtherType,
        Self::Expired,
    ];

    fn refused_by_us(self) -> Option<TokenErrorKind> {
        match self {
            Self::Good | Self::SeveralAudiences | Self::OtherName => None,
            Self::FlippedBit => Some(TokenErrorKind::Signature),
            Self::RenamedAlgorithm | Self::OtherAlgorithm => Some(TokenErrorKind::Algorithm),
            Self::OtherAudience => Some(TokenErrorKind::Audience),
            Self::OtherIssuer => Some(TokenErrorKind::Issuer),
            Self::OtherType => Some(TokenErrorKind::Type),
            Self::Expired => Some(TokenErrorKind::Expired),
        }
    }

    fn issuer(self) -> &'static str {
        if self == Self::OtherIssuer { "https://other.example" } else { ISSUER }
    }

    fn audiences(self) -> &'static [&'static str] {
        match self {
            Self::OtherAudience => &["other"],
            Self::SeveralAudiences => &["other", AUDIENCE],
            _ => &[AUDIENCE],
        }
    }

    /// The second at which the token is looked at.
    fn seen_at(self) -> i64 {
        if self == Self::Expired { NOW + LIFETIME + 60 } else { NOW }
    }

    fn tamper(self, token: String) -> String {
        let (message, signature) = token.rsplit_once('.').unwrap();
        match self {
            Self::FlippedBit => {
                let mut signature = from_base64url(signature);
                let middle = signature.len() / 2;
                signature[middle] ^= 1;
                format!("{message}.{}", base64url(signature))
            }
            Self::RenamedAlgorithm => {
                let (header, rest) = token.split_once('.').unwrap();
                let mut header = json_of(header);
                header["alg"] = other(header["alg"].as_str().unwrap()).into();
                format!("{}.{rest}", base64url(header.to_string()))
            }
            _ => token,
        }
    }
}

/// Another algorithm: where there is one, with the same kind of key.
fn other(alg: &str) -> &'static str {
    match alg {
        "HS256" => "HS384",
        "HS384" => "HS512",
        "HS512" => "HS256",
        "RS256" => "PS256",
        "RS384" => "PS384",
        "RS512" => "PS512",
        "PS256" => "RS256",
        "PS384" => "RS384",
        "PS512" => "RS512",
        "ES256" => "ES384",
        _ => "ES256",
    }
}

fn is_of_one_family(alg: &str) -> bool {
    alg.starts_with("HS") || alg.starts_with("RS") || alg.starts_with("PS")
}

/// Claims of an application, in characters of one to four bytes, and such as JSON escapes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    #[serde(rename = "größe")]
    size: f64,
}

impl User {
    fn sample() -> Self {
        Self { name: "Zoë \"Ζωή\" \\ 曹\t🦀\u{2028}\u{7f}</script>".into(), size: 1.75 }
    }
}

fn we_verify_what_they_sign(peer: &mut Peer, jwks: &str, theirs: &[&TheirKey]) {
    let published = KeySet::from_jwks(jwks).unwrap();
    let skipped: Vec<_> = published.skipped().iter().map(|key| (key.kid().unwrap(), key.reason())).collect();
    assert_eq!(skipped, [(&*format!("{}-ES512", peer.name), "its curve is not supported")]);
    for key in theirs.iter().filter(|key| !key.algorithm().is_symmetric()) {
        let read = published.keys().iter().find(|read| read.kid() == key.kid).unwrap();
        assert_eq!(
            read.thumbprint().map(|print| print.to_string()),
            key.thumbprint,
            "{} {}",
            peer.name,
            key.alg
        );
    }

    let symmetric = theirs.iter().filter(|key| key.algorithm().is_symmetric());
    let shared = symmetric.map(|key| VerifyingKey::read(key.algorithm(), KeyForm::Jwk(&key.jwk)).unwrap());
    let shared = KeySet::new(shared).unwrap();

    for key in theirs {
        let keys = if key.algorithm().is_symmetric() { &shared } else { &published };
        for case in Case::ALL {
            let Some(token) = their_token(peer, key, case) else { continue };
            let row = format!("{} {} {case:?}", peer.name, key.alg);
            match (verify(keys, &token, case.seen_at()), case.refused_by_us()) {
                (Ok(user), None) => {
                    assert_eq!(*user.claims(), User::sample(), "{row}");
                    assert_eq!(user.subject(), SUBJECT, "{row}");
                    assert_eq!(user.registered().issuer(), ISSUER, "{row}");
                    assert_eq!(user.expires_at().as_unix_seconds(), NOW + LIFETIME, "{row}");
                    assert!(user.has_scope("orders:write"), "{row}");
                }
                (verified, expected) => assert_eq!(verified.err(), expected, "{row}"),
            }
        }
    }
}

fn verify(keys: &KeySet, token: &str, now: i64) -> Result<Verified<User>, TokenErrorKind> {
    let clock = ManualClock::at(Timestamp::from_unix_seconds(now));
    let builder = TokenConfig::builder().issuer(ISSUER).audience(AUDIENCE).clock(clock);
    builder.add_key_set(keys).build().unwrap().verifier().verify(token).map_err(|error| error.kind())
}

fn their_token(peer: &mut Peer, key: &TheirKey, case: Case) -> Option<String> {
    let alg = match (case, key.alg.as_str()) {
        (Case::OtherName, "EdDSA") => "Ed25519",
        (Case::OtherName, "Ed25519") => "EdDSA",
        (Case::OtherAlgorithm, alg) if is_of_one_family(alg) => other(alg),
        (Case::OtherName | Case::OtherAlgorithm, _) => return None,
        (_, alg) => alg,
    };
    let mut claims = serde_json::to_value(User::sample()).unwrap();
    for (name, value) in registered(case).as_object().unwrap() {
        claims[name] = value.clone();
    }
    let typ = if case == Case::OtherType { "JWT" } else { TYPE };
    let request = json!({
        "do": "sign", "jwk": key.jwk, "alg": alg, "kid": key.kid, "typ": typ, "claims": claims,
    });
    Some(case.tamper(peer.ask(&request)))
}

fn registered(case: Case) -> Value {
    let aud = match case.audiences() {
        [one] => json!(one),
        several => json!(several),
    };
    json!({
        "iss": case.issuer(), "aud": aud, "sub": SUBJECT, "iat": NOW, "exp": NOW + LIFETIME,
        "scope": "orders:read orders:write",
    })
}

/// A key that we sign with, and what the peer gets to verify with: a JWK set, or the shared key as a JWK.
struct OurKey {
    origin: String,
    key: SigningKey,
    /// The same key and key id, for the [`other`] algorithm.
    sibling: Option<SigningKey>,
    given: String,
}

fn our_keys(jwks: &str, theirs: &[&TheirKey]) -> Vec<OurKey> {
    // Their private JWK, verified with the set that they published themselves, where its `kid` finds it.
    let from_jwk = theirs.iter().map(|their| {
        let key = SigningKey::read(their.algorithm(), KeyForm::Jwk(&their.jwk)).unwrap();
        let given = match their.alg.as_str() {
            alg if alg.starts_with("HS") => their.jwk.clone(),
            // We sign as `EdDSA`, and they take the name in a JWK literally.
            "Ed25519" => KeySet::new([key.verifying_key().clone()]).unwrap().to_jwks(),
            _ => jwks.to_owned(),
        };
        OurKey { origin: format!("{} from a JWK", their.alg), key, sibling: None, given }
    });
    // Their private key in PEM, verified with the set that we publish.
    let pems: Vec<_> =
        theirs.iter().filter_map(|their| Some((their.algorithm(), their.pem.as_ref()?))).collect();
    let read = |algorithm, pem: &str| SigningKey::read(algorithm, KeyForm::Pem(pem.as_bytes())).unwrap();
    let published =
        KeySet::new(pems.iter().map(|(alg, pem)| read(*alg, pem).verifying_key().clone())).unwrap().to_jwks();
    let from_pem = pems.iter().map(|(algorithm, pem)| {
        let key = read(*algorithm, pem);
        let alg = algorithm.as_str();
        let sibling = is_of_one_family(alg).then(|| read(algorithm_of(other(alg)), pem).with_kid(key.kid()));
        OurKey { origin: format!("{alg} from PEM"), key, sibling, given: published.clone() }
    });
    // A secret of ours.
    let secret: Vec<u8> = (0x40..0x80).collect();
    let read = |algorithm| SigningKey::read(algorithm, KeyForm::Secret(&secret)).unwrap().with_kid("shared");
    let symmetric = Algorithm::ALL.iter().copied().filter(|algorithm| algorithm.is_symmetric());
    let from_secret = symmetric.map(|algorithm| {
        let alg = algorithm.as_str();
        let given = json!({ "kty": "oct", "k": base64url(&secret), "alg": alg, "kid": "shared" }).to_string();
        let sibling = Some(read(algorithm_of(other(alg))));
        OurKey { origin: format!("{alg} from a secret"), key: read(algorithm), sibling, given }
    });
    from_jwk.chain(from_pem).chain(from_secret).collect()
}

fn they_verify_what_we_sign(peer: &mut Peer, keys: Vec<OurKey>) {
    assert_eq!(keys.len(), 13 + 10 + 3);
    for OurKey { origin, key, sibling, given } in keys {
        for case in Case::ALL {
            let signer = match case {
                // We have one name and one type.
                Case::OtherName | Case::OtherType => None,
                Case::OtherAlgorithm => sibling.as_ref(),
                _ => Some(&key),
            };
            let Some(signer) = signer else { continue };
            let answer: Answer = peer.ask(&json!({
                "do": "verify", "keys": given, "token": case.tamper(our_token(signer.clone(), case)),
                "issuer": ISSUER, "audience": AUDIENCE, "typ": TYPE, "now": case.seen_at(),
            }));
            let row = format!("{} {origin} {case:?}", peer.name);
            match (answer, case.refused_by_us()) {
                (Answer::Claims(mut claims), None) => {
                    assert!(claims.as_object_mut().unwrap().remove("jti").unwrap().is_string(), "{row}");
                    let mut expected = registered(case);
                    expected["name"] = json!(User::sample().name);
                    expected["größe"] = json!(User::sample().size);
                    assert_eq!(claims, expected, "{row}");
                }
                (Answer::Refused(reason), Some(kind)) => {
                    let reasons = (peer.reasons)(kind);
                    assert!(
                        reasons.contains(&&*reason),
                        "{row}: refused as {reason}, not as one of {reasons:?}"
                    );
                }
                (answer, _) => panic!("{row}: {answer:?}"),
            }
        }
    }
}

fn our_token(key: SigningKey, case: Case) -> String {
    let (first, rest) = case.audiences().split_first().unwrap();
    let builder =
        TokenConfig::builder().key(key).issuer(case.issuer()).audience(*first).lifetime(10 * MINUTE);
    let builder = rest.iter().copied().fold(builder, TokenConfigBuilder::add_audience);
    let config = builder.clock(ManualClock::at(Timestamp::from_unix_seconds(NOW))).build().unwrap();
    let grant = AccessGrant::new(SUBJECT).with_scopes(["orders:read", "orders:write"]);
    Issuer::new(&config).unwrap().issue(&grant, &User::sample()).unwrap().expose().to_owned()
}

fn algorithm_of(alg: &str) -> Algorithm {
    Algorithm::from_name(alg).unwrap()
}
