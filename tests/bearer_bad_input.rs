//! Requests that must not pass the bearer layer, and the few beside them that must: the tables 1 to 4 of the corpus of
//! bad inputs, as far as they concern HS256 and `EdDSA`. The first word of a row's name is its number there.
//!
//! Every row goes through the layer twice, as an HTTP request and as a gRPC call, and the whole answer is compared:
//! with every header and every byte of the body fixed there is no room for a library's error text, a key id or a claim.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use support::ManualClock;
use support::requests::{Answer, as_grpc, bearer, request, send};
use support::tokens::{
    ISSUER, KID, LEEWAY, NOW, Object, SUBJECT, Signer, base64url, builder, claims, config, ed25519_public,
    from_base64url, quoted,
};
use tower_jwt_auth::{
    AccessGrant, Issuer, JwtAuthLayer, NoClaims, RejectionKind, SigningKey, Timestamp, TokenConfig,
    VerifyingKey,
};

type Layer = JwtAuthLayer<NoClaims>;
type Req = Request<Full<bytes::Bytes>>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Pass,
    /// `401-bare`
    Bare,
    /// `400-ir`, for this reason
    BadRequest(&'static str),
    /// `401-it`, for this reason
    BadToken(&'static str),
}
use Expected::{BadRequest, BadToken, Bare, Pass};

const BARE: &str = r#"Bearer realm="api""#;
const INVALID_REQUEST: &str =
    r#"Bearer realm="api", error="invalid_request", error_description="the credentials are malformed""#;
const INVALID_TOKEN: &str =
    r#"Bearer realm="api", error="invalid_token", error_description="the access token is not valid""#;

/// Compares the answer to an HTTP request, all of it.
#[track_caller]
fn assert_http(row: &str, answer: &Answer, expected: Expected) {
    let (status, challenge, error, description, kind, reason) = match expected {
        Pass => {
            assert_eq!(answer.status, StatusCode::OK, "{row}: {:?}", answer.rejection);
            assert_eq!((answer.calls, &*answer.body), (1, &b"inner"[..]), "{row}");
            assert!(answer.subject.is_some() && answer.rejection.is_none(), "{row}");
            return;
        }
        Bare => (401, BARE, "unauthorized", "an access token is required", RejectionKind::Missing, "missing"),
        BadRequest(reason) => {
            let (error, text) = ("invalid_request", "the credentials are malformed");
            (400, INVALID_REQUEST, error, text, RejectionKind::InvalidRequest, reason)
        }
        BadToken(reason) => {
            let (error, text) = ("invalid_token", "the access token is not valid");
            (401, INVALID_TOKEN, error, text, RejectionKind::InvalidToken, reason)
        }
    };
    assert_eq!((answer.calls, answer.subject.as_deref()), (0, None), "{row}: the inner service was called");
    assert_eq!(answer.status, status, "{row}");
    assert_eq!(answer.body, format!(r#"{{"error":"{error}","error_description":"{description}"}}"#), "{row}");
    assert_headers(
        row,
        answer,
        &[
            ("cache-control", "no-store"),
            ("content-type", "application/json"),
            ("pragma", "no-cache"),
            ("www-authenticate", challenge),
            ("x-content-type-options", "nosniff"),
        ],
    );
    let rejection = answer.rejection.as_ref().expect(row);
    assert_eq!((rejection.kind(), rejection.reason()), (kind, reason), "{row}");
}

/// Compares the answer to a gRPC call, all of it.
#[track_caller]
fn assert_grpc(row: &str, answer: &Answer, expected: Expected) {
    let message = match expected {
        Pass => return assert_http(row, answer, expected),
        Bare => "an access token is required",
        BadRequest(_) => "the credentials are malformed",
        BadToken(_) => "the access token is not valid",
    };
    assert_eq!((answer.calls, answer.status), (0, StatusCode::OK), "{row}, gRPC");
    assert!(answer.body.is_empty(), "{row}, gRPC");
    let headers = [("content-type", "application/grpc"), ("grpc-message", message), ("grpc-status", "16")];
    assert_headers(row, answer, &headers);
}

#[track_caller]
fn assert_headers(row: &str, answer: &Answer, expected: &[(&str, &str)]) {
    let mut headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    headers.sort_unstable();
    assert_eq!(headers, expected, "{row}");
}

async fn run(layer: &Layer, rows: Vec<(&str, Req, Expected)>) {
    for (row, request, expected) in rows {
        assert_http(row, &send(layer, request.clone()).await, expected);
        assert_grpc(row, &send(layer, as_grpc(request)).await, expected);
    }
}

/// Runs rows that are tokens, for the layer of the signer's own configuration.
async fn run_tokens<N: AsRef<str>>(signer: &Signer, rows: Vec<(N, String, Expected)>) {
    run_tokens_on(&layer(&config(signer, &ManualClock::new())), signer, rows).await;
}

async fn run_tokens_on<N: AsRef<str>>(layer: &Layer, signer: &Signer, rows: Vec<(N, String, Expected)>) {
    for (row, token, expected) in rows {
        let row = format!("{} ({})", row.as_ref(), signer.alg());
        run(layer, vec![(row.as_str(), bearer(&token), expected)]).await;
    }
}

fn layer(config: &TokenConfig) -> Layer {
    JwtAuthLayer::new(config.verifier())
}

const HEADER: Expected = BadToken("header");
const ALGORITHM: Expected = BadToken("algorithm");
const SIGNATURE: Expected = BadToken("signature");
const MALFORMED: Expected = BadToken("malformed");
const UNKNOWN_KEY: Expected = BadToken("unknown_key");
const TYPE: Expected = BadToken("type");
const CLAIMS: Expected = BadToken("claims");
const NOT_B64TOKEN: Expected = BadRequest("malformed_credential");
const TOO_LARGE: Expected = BadRequest("too_large");
const REPEATED: Expected = BadRequest("repeated_credential");

// ── section 1: the header Authorization ──

#[tokio::test]
async fn section_1_the_authorization_header() {
    for signer in Signer::both() {
        let good = signer.good();
        let text = |before: &str, after: &str| request(&[format!("{before}{good}{after}")]);
        let with_uri = |mut request: Req| {
            *request.uri_mut() = format!("/?access_token={good}").parse().unwrap();
            request
        };
        let with_header = |name: &'static str, value: String| {
            let mut request = request::<&str>(&[]);
            request.headers_mut().insert(name, HeaderValue::try_from(value).unwrap());
            request
        };
        let rows = vec![
            ("A1 no header", request::<&str>(&[]), Bare),
            ("A2 empty", request(&[""]), Bare),
            ("A3 another scheme", request(&["Basic dTpw"]), Bare),
            ("A4 Bearer", text("Bearer ", ""), Pass),
            ("A4 bearer", text("bearer ", ""), Pass),
            ("A4 BEARER", text("BEARER ", ""), Pass),
            ("A4 bEaReR", text("bEaReR ", ""), Pass),
            ("A5 nothing", request(&["Bearer"]), NOT_B64TOKEN),
            ("A5 a space", request(&["Bearer "]), NOT_B64TOKEN),
            ("A6 two spaces", text("Bearer  ", ""), Pass),
            ("A7 a tab", text("Bearer\t", ""), NOT_B64TOKEN),
            ("A7 a space and a tab", text("Bearer \t", ""), NOT_B64TOKEN),
            ("A8 no space", text("Bearer", ""), Bare),
            ("A8 Bearerx", text("Bearerx ", ""), Bare),
            ("A9 quoted", text("Bearer \"", "\""), NOT_B64TOKEN),
            ("A9 a parameter", text("Bearer token=", ""), NOT_B64TOKEN),
            ("A10 twice the same", request(&[format!("Bearer {good}"), format!("Bearer {good}")]), REPEATED),
            ("A10 different", request(&[format!("Bearer {good}"), "Bearer x.y.z".into()]), REPEATED),
            ("A10 another scheme first", request(&["Basic dTpw".into(), format!("Bearer {good}")]), REPEATED),
            ("A10 joined with a comma", text("Bearer x.y.z, Bearer ", ""), NOT_B64TOKEN),
            ("A11 header good, another in the query", with_uri(text("Bearer ", "")), Pass),
            ("A11 header bad, a good one in the query", with_uri(request(&["Bearer x.y.z"])), MALFORMED),
            ("A12 only in the query", with_uri(request::<&str>(&[])), Bare),
            ("A13 64 KiB", request(&[format!("Bearer {}", "a".repeat(65536))]), TOO_LARGE),
            ("A13 a byte too long", request(&[format!("Bearer {}", "a".repeat(8193))]), TOO_LARGE),
            ("A13 as long as may be", request(&[format!("Bearer {}", "a".repeat(8192))]), MALFORMED),
            (
                "A13 64 KiB of what is no token",
                request(&[format!("Bearer {}", "\"".repeat(65536))]),
                TOO_LARGE,
            ),
            ("A14 four dots", request(&["Bearer ...."]), MALFORMED),
            ("A14 8000 dots", request(&[format!("Bearer {}", ".".repeat(8000))]), MALFORMED),
            (
                "A14 10 000 dots are over the cap",
                request(&[format!("Bearer {}", ".".repeat(10_000))]),
                TOO_LARGE,
            ),
            ("A15 trailing space", text("Bearer ", " "), Pass),
            ("A15 trailing tab", text("Bearer ", "\t"), Pass),
            ("A16 padding", text("Bearer ", "=="), MALFORMED),
            ("A17 Proxy-Authorization", with_header("proxy-authorization", format!("Bearer {good}")), Bare),
            ("A17 a cookie", with_header("cookie", format!("access_token={good}; token={good}")), Bare),
            ("A17 X-Authorization", with_header("x-authorization", format!("Bearer {good}")), Bare),
            ("A18 DPoP", text("DPoP ", ""), Bare),
            ("row 3 something after the token", text("Bearer ", " x"), NOT_B64TOKEN),
            ("row 3 not ASCII", request(&[b"Bearer \xc3\xa9.e.e".as_slice()]), NOT_B64TOKEN),
            ("row 10 obs-text", request(&[b"Bearer a.b.\xff".as_slice()]), NOT_B64TOKEN),
        ];
        run(&layer(&config(&signer, &ManualClock::new())), rows).await;
    }
}

#[tokio::test]
async fn a14_a_mebibyte_of_dots_takes_linear_time() {
    let clock = ManualClock::new();
    let config = builder(Signer::hs256().key(), &clock).max_token_bytes(1024 * 1024).build().unwrap();
    let dots = request(&[format!("Bearer {}", ".".repeat(1024 * 1024))]);
    let start = Instant::now();
    run(&layer(&config), vec![("A14 dots", dots, MALFORMED)]).await;
    // A quadratic scan of so much takes minutes; a linear one milliseconds, with much room for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// All of the header is read before the signature is checked, so that its cost is an attacker's to choose.
#[tokio::test]
async fn h18_a_header_of_many_names_takes_linear_time() {
    let signer = Signer::hs256();
    let config = builder(signer.key(), &ManualClock::new()).max_token_bytes(1024 * 1024).build().unwrap();
    let names: Vec<_> = (0..20_000).map(|number| format!(r#""n{number:x}":1,"#)).collect();
    let names = names.concat();
    let header = signer.header().json().replacen('{', &format!("{{{names}"), 1);
    let nested = signer.header().with("x", format!(r#"{{{names}"last":1}}"#)).json();
    for header in [header, nested] {
        let token = signer.with_header(header);
        let start = Instant::now();
        run_tokens_on(&layer(&config), &signer, vec![("H18 many names", token, Pass)]).await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?} for two requests with a header of 20 000 names");
    }
}

// ── section 2: the JOSE header ──

#[tokio::test]
async fn section_2_algorithms() {
    for signer in Signer::both() {
        let header = signer.header();
        let alg = |json: &str| signer.with_header(header.clone().with("alg", json).json());
        let other = if signer.alg() == "HS256" { "EdDSA" } else { "HS256" };
        let no_signature = |json: &str| {
            let token = alg(json);
            format!("{}.", token.rsplit_once('.').unwrap().0)
        };
        let mut rows = vec![];
        for none in ["none", "None", "NONE", "nOnE", ""] {
            rows.push((format!("H1 {none:?}, signature empty"), no_signature(&quoted(none)), ALGORITHM));
            rows.push((format!("H1 {none:?}, signature kept"), alg(&quoted(none)), ALGORITHM));
        }
        rows.push((
            "H2 alg missing".into(),
            signer.with_header(header.clone().without("alg").json()),
            HEADER,
        ));
        for json in ["null", r#"["HS256"]"#, r#"["EdDSA"]"#, "1", "{}", "true"] {
            rows.push((format!("H2 alg {json}"), alg(json), HEADER));
        }
        for name in [
            "hs256", "HS256 ", " HS256", "eddsa", "EDDSA", "EdDSA ", "ed25519", "ES256", "HS384", "Ed448",
            other,
        ] {
            rows.push((format!("H2 alg {name:?}"), alg(&quoted(name)), ALGORITHM));
        }
        rows.push(("H2 alg with a NUL".into(), alg(r#""HS256\u0000""#), ALGORITHM));
        rows.push((
            "H2 escaped, but the same".into(),
            alg(&quoted(signer.alg()).replace('S', r"\u0053")),
            Pass,
        ));
        run_tokens(&signer, rows).await;
    }
    let renamed = Signer::ed25519().header().with("alg", quoted("Ed25519")).json();
    let rows = vec![("L28 the name of RFC 9864", Signer::ed25519().with_header(renamed), Pass)];
    run_tokens(&Signer::ed25519(), rows).await;
}

/// The classic confusion: what everybody may know of a public key is used as an HMAC secret.
#[tokio::test]
async fn h3_the_public_key_is_no_hmac_secret() {
    let signer = Signer::ed25519();
    let Signer::Ed25519(seed) = &signer else { unreachable!() };
    let public = ed25519_public(seed);
    let x = base64url(public);
    let spki =
        [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &public].concat();
    let body = STANDARD.encode(&spki);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    // That it is the PEM of the key in use, and not of some other, makes the row worth something.
    assert_eq!(VerifyingKey::ed25519_pem(&pem).unwrap().kid(), VerifyingKey::ed25519(&public).unwrap().kid());

    let mut rows = vec![];
    for (form, secret) in [
        ("PEM", pem.clone().into_bytes()),
        ("PEM without its last line break", pem.trim_end().as_bytes().to_vec()),
        ("DER", spki),
        ("raw point", public.to_vec()),
        ("base64url of the point", x.clone().into_bytes()),
        ("JWK", format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).into_bytes()),
    ] {
        let forger = Signer::Hs256(secret);
        rows.push((format!("H3 {form}, HS256"), forger.good(), ALGORITHM));
        let honest_header = signer.header().json();
        rows.push((format!("H3 {form}, says EdDSA"), forger.with_header(honest_header), SIGNATURE));
    }
    run_tokens(&signer, rows).await;
}

/// HMAC and public keys in one configuration are refused when it is built (`tokens.rs`); here are two configurations.
#[tokio::test]
async fn h4_a_key_of_another_issuer_is_not_found_by_its_kid() {
    let clock = ManualClock::new();
    let (hmac, public) = (Signer::hs256(), Signer::ed25519());
    let h1 = layer(&builder(hmac.key().with_kid("h1"), &clock).build().unwrap());
    let k1 = layer(&builder(public.key(), &clock).build().unwrap());
    let h1_by_public = public.with_header(public.header().with("kid", r#""h1""#).json());
    let k1_by_hmac = hmac.good();
    run_tokens_on(
        &h1,
        &hmac,
        vec![("H4 EdDSA under the kid of an HMAC key", h1_by_public.clone(), ALGORITHM)],
    )
    .await;
    run_tokens_on(&h1, &hmac, vec![("H4 the kid of the other issuer", k1_by_hmac.clone(), UNKNOWN_KEY)])
        .await;
    run_tokens_on(&k1, &public, vec![("H4 HS256 under the kid of a public key", k1_by_hmac, ALGORITHM)])
        .await;
    run_tokens_on(&k1, &public, vec![("H4 the kid of the other issuer", h1_by_public, UNKNOWN_KEY)]).await;
}

#[tokio::test]
async fn h5_h6_row_42_members_that_must_be_understood() {
    for signer in Signer::both() {
        let h = |name: &str, json: &str| signer.with_header(signer.header().with(name, json).json());
        let crit = |json: &str| signer.with_header(signer.header().with("crit", json).with("x", "1").json());
        let b64 = signer.header().with("crit", r#"["b64"]"#).with("b64", "false").json();
        let and = |name: &str, json: &str| signer.with_header(signer.header().and(name, json).json());
        let rows = vec![
            ("H5 crit with a present name", crit(r#"["x"]"#), HEADER),
            ("H5 crit empty", crit("[]"), HEADER),
            ("H5 crit registered name", crit(r#"["alg"]"#), HEADER),
            ("H5 crit repeated", crit(r#"["x","x"]"#), HEADER),
            ("H5 crit absent name", crit(r#"["absent"]"#), HEADER),
            ("H5 crit null", crit("null"), HEADER),
            ("H5 crit through an escape", h(r"\u0063rit", r#"["x"]"#), HEADER),
            ("H6 crit b64", signer.with_header(b64), HEADER),
            ("H6 b64 false alone", h("b64", "false"), HEADER),
            ("H6 b64 true", h("b64", "true"), HEADER),
            ("row 31 repeated alg", and("alg", &quoted(signer.alg())), HEADER),
            ("row 31 repeated kid", and("kid", &quoted(KID)), HEADER),
            ("row 31 repeated through an escape", and(r"\u0074yp", &quoted("at+jwt")), HEADER),
            ("row 31 repeated unknown name", and("x", r#"1,"x":1"#), HEADER),
            ("row 31 repeated deep inside", h("x", r#"[{"a":1,"a":1}]"#), HEADER),
            ("row 42 enc", h("enc", r#""A128GCM""#), HEADER),
            ("row 42 zip", h("zip", r#""DEF""#), HEADER),
            ("row 42 cty JWT", h("cty", r#""JWT""#), HEADER),
            ("row 42 cty, as a media type", h("cty", r#""application/jwt""#), HEADER),
        ];
        run_tokens(&signer, rows).await;
    }
}

#[tokio::test]
async fn h7_h8_h9_keys_that_a_token_brings_along_are_never_used() {
    for signer in Signer::both() {
        let attacker = Signer::Ed25519([0xaa; 32]);
        let x = base64url(ed25519_public(&[0xaa; 32]));
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
        let header = |member: &str, json: &str| signer.header().with(member, json);
        let says_eddsa = header("alg", &quoted("EdDSA")).with("jwk", &*jwk);
        // Where the configured key is an HMAC key, the attacker's `alg` alone is reason enough.
        let refused = if signer.alg() == "EdDSA" { SIGNATURE } else { ALGORITHM };
        let mut rows = vec![
            ("H7 jwk of the attacker, who signed", attacker.with_header(says_eddsa.json()), refused),
            ("H7 the same, no kid", attacker.with_header(says_eddsa.without("kid").json()), refused),
            ("H7 jwk beside our signature", signer.with_header(header("jwk", &jwk).json()), Pass),
        ];
        for (member, json) in [
            ("x5c", r#"["AA=="]"#),
            ("x5t", r#""AA""#),
            ("jku", r#""https://evil.example/jwks""#),
            ("jku", r#""http://127.0.0.1/""#),
            ("jku", r#""http://169.254.169.254/latest/""#),
            ("x5u", r#""https://evil.example/chain""#),
            ("x5u", r#""file:///dev/null""#),
            ("x5u", r#""http://127.0.0.1/""#),
        ] {
            let header = header(member, json).json();
            rows.push(("H8 H9 signed by another", attacker.with_header(&header), SIGNATURE));
            rows.push(("H8 H9 signed by the key", signer.with_header(&header), Pass));
        }
        run_tokens(&signer, rows).await;
    }
}

#[tokio::test]
async fn h10_h11_h12_key_ids() {
    for signer in Signer::both() {
        let kid = |json: &str| signer.with_header(signer.header().with("kid", json).json());
        let empty = Signer::Hs256(vec![]);
        let path = empty.header().with("kid", quoted("../../../dev/null")).json();
        let rows = vec![
            ("H10 kid is a path, empty HMAC key", empty.with_header(path), UNKNOWN_KEY),
            ("H10 our kid, empty HMAC key", empty.with_header(signer.header().json()), SIGNATURE),
            ("H11 kid number", kid("1"), HEADER),
            ("H11 kid object", kid("{}"), HEADER),
            ("H11 kid array", kid(r#"["k1"]"#), HEADER),
            ("H11 kid null", kid("null"), HEADER),
            ("H11 kid empty", kid(r#""""#), UNKNOWN_KEY),
            ("H11 kid in another case", kid(r#""K1""#), UNKNOWN_KEY),
            ("H11 kid with a NUL", kid(r#""k1\u0000""#), UNKNOWN_KEY),
            ("H11 kid of 4000 bytes", kid(&quoted(&"k".repeat(4000))), UNKNOWN_KEY),
            ("H11 kid escaped, but the same", kid(r#""\u006b1""#), Pass),
            ("H12 no kid, one key", signer.with_header(signer.header().without("kid").json()), Pass),
        ];
        run_tokens(&signer, rows).await;
    }
}

#[tokio::test]
async fn h14_h15_h16_types_and_encryption() {
    for signer in Signer::both() {
        let h = |name: &str, json: &str| signer.with_header(signer.header().with(name, json).json());
        let pbes2 = signer.header().with("alg", r#""PBES2-HS512+A256KW""#).with("p2c", "2147483648").json();
        let mut rows = vec![
            ("H14 typ missing", signer.with_header(signer.header().without("typ").json()), TYPE),
            ("H14 typ number", h("typ", "1"), HEADER),
            ("H14 typ null", h("typ", "null"), HEADER),
            ("H16 five parts", "eyJhbGciOiJkaXIifQ.AA.AA.AA.AA".to_owned(), MALFORMED),
            ("H16 PBES2 with p2c of 2^31", signer.with_header(pbes2), ALGORITHM),
            // A member that nobody knows is ignored (RFC 7515, section 4); what counts is that nothing is derived.
            ("H16 p2c in a signed token", h("p2c", "2147483648"), Pass),
        ];
        for typ in [
            "JWT",
            "id_token+jwt",
            "dpop+jwt",
            "logout+jwt",
            "at+jwt;x=1",
            "at+jwt ",
            "at",
            "",
            "text/at+jwt",
        ] {
            rows.push(("H14 typ of another kind", h("typ", &quoted(typ)), TYPE));
        }
        for typ in ["AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            rows.push(("H15 typ in another spelling", h("typ", &quoted(typ)), Pass));
        }
        run_tokens(&signer, rows).await;
    }
}

#[tokio::test]
async fn h12_kid_missing_with_several_keys() {
    let clock = ManualClock::new();
    for (signer, second) in [
        (Signer::hs256(), VerifyingKey::hs256([1; 32]).unwrap()),
        (Signer::ed25519(), VerifyingKey::ed25519(&ed25519_public(&[1; 32])).unwrap()),
    ] {
        let two = layer(&builder(signer.key(), &clock).add_verifying_key(second).build().unwrap());
        let without = signer.with_header(signer.header().without("kid").json());
        let rows = vec![("H12 no kid", without, UNKNOWN_KEY), ("H12 with its kid", signer.good(), Pass)];
        run_tokens_on(&two, &signer, rows).await;
    }
}

#[tokio::test]
async fn h17_h18_headers_that_are_no_json() {
    for signer in Signer::both() {
        let json = signer.header().json();
        let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bytes =
            |before: &[u8], after: &[u8]| signer.with_header([before, json.as_bytes(), after].concat());
        let x = |value: &[u8]| {
            let (start, _) = json.split_at(json.len() - 1);
            signer.with_header([start.as_bytes(), br#","x":"#, value, b"}"].concat())
        };
        let deep = |levels: usize| [b"[".repeat(levels), b"]".repeat(levels)].concat();
        let rows = vec![
            ("H17 UTF-16", signer.with_header(utf16), HEADER),
            ("H17 BOM", bytes(b"\xef\xbb\xbf", b""), HEADER),
            ("H17 invalid UTF-8", x(b"\"\xff\""), HEADER),
            ("H17 overlong UTF-8", x(b"\"\xc0\xaf\""), HEADER),
            ("H17 a lone surrogate", x(br#""\ud800""#), HEADER),
            ("H17 a lone surrogate, deep inside", x(br#"[{"y":["\udc00"]}]"#), HEADER),
            ("H17 NUL after the object", bytes(b"", b"\0"), HEADER),
            ("H17 trailing text", bytes(b"", b" x"), HEADER),
            ("H17 two objects", bytes(b"", b"{}"), HEADER),
            ("H17 an array around it", bytes(b"[", b"]"), HEADER),
            ("H17 empty", signer.with_header(""), HEADER),
            ("H17 null", signer.with_header("null"), HEADER),
            ("H17 a string", signer.with_header(r#""HS256""#), HEADER),
            ("H18 as deep as the cap lets", x(&deep(2500)), HEADER),
            ("H18 100 000 levels", x(&deep(100_000)), TOO_LARGE),
            ("H18 5 MB", x(format!("\"{}\"", "x".repeat(5_000_000)).as_bytes()), TOO_LARGE),
        ];
        run_tokens(&signer, rows).await;

        let wide = builder(signer.key(), &ManualClock::new()).max_token_bytes(1024 * 1024).build().unwrap();
        let rows = vec![
            ("H18 100 000 levels of arrays below the cap", x(&deep(100_000)), HEADER),
            ("H18 60 000 levels of objects below the cap", x(&br#"{"a":"#.repeat(60_000)), HEADER),
        ];
        run_tokens_on(&layer(&wide), &signer, rows).await;
    }
}

// ── section 3: the signature and the compact form ──

#[tokio::test]
async fn s1_every_other_signature() {
    for signer in Signer::both() {
        let good = signer.good();
        let (message, signature) = good.rsplit_once('.').unwrap();
        let signature = from_base64url(signature);
        let with = |signature: &[u8]| format!("{message}.{}", base64url(signature));
        assert_eq!(with(&signature), good);
        let mut rows = vec![("S1 empty".to_owned(), format!("{message}."), SIGNATURE)];
        for bit in 0..signature.len() * 8 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            rows.push((format!("S1 bit {bit}"), with(&flipped), SIGNATURE));
        }
        for length in 1..signature.len() {
            rows.push((format!("S1 cut to {length} bytes"), with(&signature[..length]), SIGNATURE));
        }
        for byte in [0, 1, 0xff] {
            rows.push(("S1 a byte longer".into(), with(&[&signature[..], &[byte]].concat()), SIGNATURE));
        }
        rows.push(("S1 all zero".into(), with(&vec![0; signature.len()]), SIGNATURE));
        run_tokens(&signer, rows).await;
    }
}

#[tokio::test]
async fn s2_s3_s8_other_forms() {
    for signer in Signer::both() {
        let good = signer.good();
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
        let dots = |parts: &[&str]| parts.join(".");
        let flattened =
            format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#);
        let general = format!(
            r#"{{"payload":"{payload}","signatures":[{{"protected":"{header}","signature":"{signature}"}}]}}"#
        );
        // The last character of 32 or 64 bytes has spare bits; the next one in the alphabet sets one.
        let spare = {
            let last = char::from(signature.as_bytes()[signature.len() - 1]);
            let next = char::from(u8::try_from(u32::from(last)).unwrap() + 1);
            format!("{header}.{payload}.{}{next}", &signature[..signature.len() - 1])
        };
        let rows = vec![
            ("S2 one segment", header.to_owned(), MALFORMED),
            ("S2 two segments", dots(&[header, payload]), MALFORMED),
            ("S2 four segments", dots(&[header, payload, signature, signature]), MALFORMED),
            ("S2 five segments", dots(&[header, "", "", payload, signature]), MALFORMED),
            ("S2 leading dot", format!(".{good}"), MALFORMED),
            ("S2 trailing dot", format!("{good}."), MALFORMED),
            ("S2 only dots", "..".into(), HEADER),
            ("S2 header empty", dots(&["", payload, signature]), HEADER),
            ("S2 payload empty", dots(&[header, "", signature]), SIGNATURE),
            ("S3 padding in a segment", dots(&[&format!("{header}="), payload, signature]), NOT_B64TOKEN),
            ("S3 padding at the end", format!("{good}="), MALFORMED),
            (
                "S3 + in a segment",
                dots(&[&format!("{}+", &header[..header.len() - 1]), payload, signature]),
                MALFORMED,
            ),
            ("S3 / in the signature", format!("{}/", &good[..good.len() - 1]), MALFORMED),
            ("S3 ~ in a segment", dots(&[header, &format!("{payload}~"), signature]), SIGNATURE),
            ("S3 a space inside", dots(&[header, &format!(" {payload}"), signature]), NOT_B64TOKEN),
            ("S3 a tab inside", dots(&[header, &format!("\t{payload}"), signature]), NOT_B64TOKEN),
            ("S3 %2E for a dot", good.replace('.', "%2E"), NOT_B64TOKEN),
            ("S3 unicode full stops", good.replace('.', "\u{3002}"), NOT_B64TOKEN),
            ("S3 quotes around", format!("\"{good}\""), NOT_B64TOKEN),
            ("S3 spare bits", spare, MALFORMED),
            ("S8 flattened JSON", flattened.clone(), NOT_B64TOKEN),
            ("S8 general JSON", general, NOT_B64TOKEN),
            ("S8 JSON with a compact token inside", format!(r#"{{"token":"{good}"}}"#), NOT_B64TOKEN),
            ("S8 JSON in base64url", base64url(flattened), MALFORMED),
        ];
        run_tokens(&signer, rows).await;
    }
    // A header value cannot hold these at all: the request is refused before any layer (row 10).
    for text in ["Bearer a.b\n.c", "Bearer a.b\r\n.c", "Bearer a.b\0.c"] {
        assert!(HeaderValue::from_bytes(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn s7_eddsa_signatures_have_one_form() {
    /// The order of the group, 2^252 + 27742317777372353535851937790883648493, little-endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let signer = Signer::ed25519();
    let good = signer.good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut signature = from_base64url(signature);
    let mut rows = vec![];
    // S < 2^253, so that S + L to S + 7 L fit into 32 bytes.
    for times in 1..=7 {
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        rows.push((format!("S7 S + {times} L"), format!("{message}.{}", base64url(&signature)), SIGNATURE));
    }
    run_tokens(&signer, rows).await;
}

#[tokio::test]
async fn s9_s10_s11_signatures_of_something_else() {
    let clock = ManualClock::new();
    for signer in Signer::both() {
        let (a, b) = (signer.good(), signer.with_claims(claims().with("sub", r#""root""#).json()));
        let [a, b] = [&a, &b].map(|token| token.split('.').collect::<Vec<_>>());
        let mut rows = vec![
            ("S9 the payload of another".to_owned(), [a[0], b[1], a[2]].join("."), SIGNATURE),
            ("S9 the signature of another".to_owned(), [a[0], a[1], b[2]].join("."), SIGNATURE),
        ];
        for secret in ["", "secret", "changeme", "password", "0123456789abcdef"] {
            let guesser = Signer::Hs256(secret.into());
            rows.push((format!("S11 {secret:?}"), guesser.with_header(signer.header().json()), SIGNATURE));
        }
        run_tokens(&signer, rows).await;
    }

    // S10: the old key is accepted as long as it is listed, and not a moment longer.
    for (old, new) in [
        (Signer::hs256(), SigningKey::hs256([2; 32]).unwrap().with_kid("k2")),
        (Signer::ed25519(), SigningKey::ed25519_seed(&[2; 32]).unwrap().with_kid("k2")),
    ] {
        let overlap = builder(new.clone(), &clock).add_verifying_key(old.key().verifying_key().clone());
        let overlap = layer(&overlap.build().unwrap());
        run_tokens_on(&overlap, &old, vec![("S10 during the overlap", old.good(), Pass)]).await;
        let ended = layer(&builder(new.clone(), &clock).build().unwrap());
        let under_the_new_kid = old.with_header(old.header().with("kid", r#""k2""#).json());
        let no_kid = old.with_header(old.header().without("kid").json());
        let rows = vec![
            ("S10 after it", old.good(), UNKNOWN_KEY),
            ("S10 after it, under the new kid", under_the_new_kid, SIGNATURE),
            ("S10 after it, without kid", no_kid, SIGNATURE),
        ];
        run_tokens_on(&ended, &old, rows).await;
    }
}

// ── section 4: claims ──

#[tokio::test]
async fn section_4_times() {
    let expired = BadToken("expired");
    let early = BadToken("not_yet_valid");
    for signer in Signer::both() {
        let with = |name: &str, json: &str| signer.with_claims(claims().with(name, json).json());
        let at = |name: &str, second: i64| with(name, &second.to_string());
        let window =
            |iat: &str, exp: &str| signer.with_claims(claims().with("iat", iat).with("exp", exp).json());
        let past = (NOW - 300).to_string();
        let mut rows = vec![
            ("C1 exp missing", signer.with_claims(claims().without("exp").json()), CLAIMS),
            ("C2 exp = now - leeway", window(&past, &(NOW - LEEWAY).to_string()), expired),
            ("C2 exp = now - leeway + 1", window(&past, &(NOW - LEEWAY + 1).to_string()), Pass),
            ("C3 half a second left", window(&past, &format!("{}.5", NOW - LEEWAY)), Pass),
            ("C3 half a second over", window(&past, &format!("{}.5", NOW - LEEWAY - 1)), expired),
            ("C3 a fraction that rounds up", window(&past, &format!("{}.9999", NOW - LEEWAY - 1)), expired),
            ("C4 nbf = now + leeway", at("nbf", NOW + LEEWAY), Pass),
            ("C4 nbf a second later", at("nbf", NOW + LEEWAY + 1), early),
            ("C4 nbf half a second later", with("nbf", &format!("{}.5", NOW + LEEWAY)), early),
            ("C4 nbf in a week", at("nbf", NOW + 604_800), early),
            ("C5 iat = now + leeway", at("iat", NOW + LEEWAY), Pass),
            ("C5 iat a second later", at("iat", NOW + LEEWAY + 1), early),
            ("C5 iat missing", signer.with_claims(claims().without("iat").json()), CLAIMS),
            ("C5 iat > exp", window(&(NOW + 20).to_string(), &(NOW + 19).to_string()), CLAIMS),
            (
                "row 55 lives a second too long",
                window(&NOW.to_string(), &(NOW + 901).to_string()),
                BadToken("lifetime"),
            ),
            ("row 55 lives as long as may be", window(&NOW.to_string(), &(NOW + 900).to_string()), Pass),
            ("row 55 lives for a century", at("exp", NOW + 3_155_760_000), BadToken("lifetime")),
            ("row 53 exp in another notation", with("exp", &format!("{}e2", NOW / 100 + 6)), Pass),
        ];
        for json in [
            "\"1700000600\"",
            "null",
            "true",
            "[1700000600]",
            "{}",
            "-1",
            "-1700000600",
            "NaN",
            "Infinity",
            "1e400",
            "1e308",
            "18446744073709551616",
            "18446744073709551615",
            "1700000600000",
            "0x65f00000",
            "01700000600",
            "+1700000600",
            "1700000600.",
            "",
        ] {
            rows.push(("C1 exp of another type or out of bounds", with("exp", json), CLAIMS));
            rows.push(("C4 nbf of another type or out of bounds", with("nbf", json), CLAIMS));
            rows.push(("C5 iat of another type or out of bounds", with("iat", json), CLAIMS));
        }
        run_tokens(&signer, rows).await;

        let no_leeway = builder(signer.key(), &ManualClock::new()).leeway(Duration::ZERO).build().unwrap();
        let rows = vec![
            ("C2 exp = now, leeway 0", window(&past, &NOW.to_string()), expired),
            ("C2 exp a second later, leeway 0", window(&past, &(NOW + 1).to_string()), Pass),
            ("C4 nbf = now, leeway 0", at("nbf", NOW), Pass),
            ("C4 nbf = now.4, leeway 0", with("nbf", &format!("{NOW}.4")), early),
        ];
        run_tokens_on(&layer(&no_leeway), &signer, rows).await;
    }
}

#[tokio::test]
async fn section_4_who_and_for_whom() {
    for signer in Signer::both() {
        let with = |name: &str, json: &str| signer.with_claims(claims().with(name, json).json());
        let without = |name: &str| signer.with_claims(claims().without(name).json());
        let mut rows = vec![
            ("C6 iss missing", without("iss"), CLAIMS),
            ("C7 aud missing", without("aud"), CLAIMS),
            ("C7 aud []", with("aud", "[]"), BadToken("audience")),
            ("C8 several, one is ours", with("aud", r#"["evil","api"]"#), Pass),
            ("C9 sub missing", without("sub"), CLAIMS),
            ("C9 sub empty", with("sub", r#""""#), CLAIMS),
            ("C9 sub of 1 MB", with("sub", &quoted(&"s".repeat(1_000_000))), TOO_LARGE),
            ("C9 sub with NUL and bidi characters", with("sub", r#""a\u0000b\u202ec""#), Pass),
            (
                "C14 a refresh token",
                signer.compact(signer.header().with("typ", r#""refresh+jwt""#).json(), claims().json()),
                TYPE,
            ),
            (
                "C14 a logout token",
                signer.compact(
                    signer.header().with("typ", r#""logout+jwt""#).json(),
                    claims().with("events", "{}").json(),
                ),
                TYPE,
            ),
            (
                "C14 an ID token",
                signer.compact(
                    signer.header().with("typ", r#""JWT""#).json(),
                    claims().with("nonce", r#""n""#).json(),
                ),
                TYPE,
            ),
            ("C15 cnf.jkt", with("cnf", r#"{"jkt":"x"}"#), BadToken("bound")),
            ("C15 cnf x5t#S256", with("cnf", r#"{"x5t#S256":"x"}"#), BadToken("bound")),
            ("C15 cnf null", with("cnf", "null"), BadToken("bound")),
        ];
        for iss in [
            "https://i.example/",
            "https://I.example",
            "HTTPS://i.example",
            "http://i.example",
            "https://i.example ",
            "i.example",
            "",
        ] {
            rows.push(("C6 iss of another", with("iss", &quoted(iss)), BadToken("issuer")));
        }
        for json in ["null", "1", "{}", r#"["https://i.example"]"#, r#"["evil","https://i.example"]"#] {
            rows.push(("C6 iss of another type", with("iss", json), CLAIMS));
        }
        for aud in ["other", "api2", "ap", "evil api", "api evil", "API", "", "api "] {
            rows.push(("C7 aud of another", with("aud", &quoted(aud)), BadToken("audience")));
            rows.push(("C7 aud of others", with("aud", &format!("[{}]", quoted(aud))), BadToken("audience")));
        }
        for json in ["1", "{}", "null", r#"{"0":"api"}"#, r#"["api",7]"#, r#"["api",null]"#, r#"[["api"]]"#] {
            rows.push(("C7 aud of another type", with("aud", json), CLAIMS));
        }
        for name in ["sub", "jti", "client_id", "scope", "sid"] {
            for json in ["1", "null", "{}", r#"["a"]"#, "true"] {
                rows.push(("C9 C12 a text of another type", with(name, json), CLAIMS));
            }
        }
        for json in [r#""1""#, "null", "-1", "1.5", "4294967296"] {
            rows.push(("gen of another type", with("gen", json), CLAIMS));
            rows.push(("reissue of another type", with("reissue", json), CLAIMS));
        }
        run_tokens(&signer, rows).await;
    }
}

#[tokio::test]
async fn section_4_the_claims_set() {
    for signer in Signer::both() {
        let good = claims();
        let json = good.json();
        let and = |name: &str, value: &str| signer.with_claims(good.clone().and(name, value).json());
        let bytes =
            |before: &[u8], after: &[u8]| signer.with_claims([before, json.as_bytes(), after].concat());
        let x = |value: &[u8]| {
            let (start, _) = json.split_at(json.len() - 1);
            signer.with_claims([start.as_bytes(), br#","x":"#, value, b"}"].concat())
        };
        let later = (NOW + 700).to_string();
        let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let rows = vec![
            ("C10 exp twice", and("exp", &later), CLAIMS),
            ("C10 exp twice, the same", and("exp", &(NOW + 600).to_string()), CLAIMS),
            ("C10 exp twice through an escape", and(r"\u0065xp", &later), CLAIMS),
            ("C10 sub twice", and("sub", r#""root""#), CLAIMS),
            ("C10 iss twice", and("iss", &quoted(ISSUER)), CLAIMS),
            ("C10 aud twice", and("aud", r#""api""#), CLAIMS),
            (
                "C10 a claim of nobody twice",
                signer.with_claims(good.clone().and("x", "1").and("x", "1").json()),
                CLAIMS,
            ),
            ("C11 empty", signer.with_claims(""), CLAIMS),
            ("C11 a string", signer.with_claims(r#""x""#), CLAIMS),
            ("C11 null", signer.with_claims("null"), CLAIMS),
            ("C11 two objects", bytes(b"", b"{}"), CLAIMS),
            ("C11 trailing text", bytes(b"", b" x"), CLAIMS),
            ("C11 NUL behind", bytes(b"", b"\0"), CLAIMS),
            ("C11 an array around it", bytes(b"[", b"]"), CLAIMS),
            (
                "L5 a positional array",
                signer.with_claims(format!(r#"[{},{NOW},"user-1","{ISSUER}","api"]"#, NOW + 600)),
                CLAIMS,
            ),
            ("row 30 BOM", bytes(b"\xef\xbb\xbf", b""), CLAIMS),
            ("row 30 UTF-16", signer.with_claims(utf16), CLAIMS),
            ("row 30 invalid UTF-8 in a claim of nobody", x(b"\"\xff\""), CLAIMS),
            ("row 30 a raw control character", x(b"\"\x01\""), CLAIMS),
            ("C13 white space around is JSON", bytes(b" \n", b"\n "), Pass),
            (
                "C13 __proto__ and constructor",
                and("__proto__", r#"{"admin":true},"constructor":{"prototype":{}}"#),
                Pass,
            ),
            ("C13 numbers beyond 2^53", and("big", "9007199254740993"), Pass),
            ("C13 numbers beyond any type", and("big", "123456789012345678901234567890"), Pass),
        ];
        run_tokens(&signer, rows).await;
    }
}

#[tokio::test]
async fn c17_a_clock_that_is_wrong_causes_no_panic() {
    for signer in Signer::both() {
        let clock = ManualClock::new();
        let config = config(&signer, &clock);
        let token = Issuer::new(&config).unwrap().issue(&AccessGrant::new(SUBJECT), &NoClaims {}).unwrap();
        let layer = layer(&config);
        for (row, now, expected) in [
            ("C17 right", Timestamp::from_unix_seconds(NOW), Pass),
            ("C17 an hour back", Timestamp::from_unix_seconds(NOW - 3600), BadToken("not_yet_valid")),
            ("C17 right again", Timestamp::from_unix_seconds(NOW), Pass),
            ("C17 an hour ahead", Timestamp::from_unix_seconds(NOW + 3600), BadToken("expired")),
            ("C17 1970", Timestamp::from_unix_seconds(0), BadToken("not_yet_valid")),
            ("C17 before 1970", Timestamp::from_unix_seconds(-1), BadToken("not_yet_valid")),
            ("C17 the first moment", Timestamp::from_unix_millis(i64::MIN), BadToken("not_yet_valid")),
            ("C17 the last moment", Timestamp::from_unix_millis(i64::MAX), BadToken("expired")),
        ] {
            clock.set(now);
            run(&layer, vec![(row, bearer(token.expose()), expected)]).await;
        }
    }
}

/// The table is worth nothing if its good token passes for another reason than being good.
#[tokio::test]
async fn the_good_token_of_the_tables_passes_with_its_subject() {
    for signer in Signer::both() {
        let answer = send(&layer(&config(&signer, &ManualClock::new())), bearer(&signer.good())).await;
        assert_http("good", &answer, Pass);
        assert_eq!(answer.subject.as_deref(), Some(SUBJECT));
        assert_eq!(Object::default().json(), "{}");
    }
}
