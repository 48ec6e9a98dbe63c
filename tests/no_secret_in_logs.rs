//! Everything that the crate logs at trace level, and everything that it prints of itself with `Debug` and `Display`,
//! over a run of the whole road: searched for the tokens, signatures and keys that the run made.
#![cfg(all(feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use support::ManualClock;
use support::requests::{bearer, send};
use support::tokens::{AUDIENCE, ISSUER, base64url};
use tower::ServiceExt;
use tower_jwt_auth::{
    AccessGrant, Algorithm, AuthService, ClientInfo, Identity, Issuer, JwtAuthLayer, KeyForm, KeySet,
    MokaStore, NoClaims, NoLogin, RefreshKeys, SigningKey, TokenConfig, VerifyingKey,
};
use tracing_subscriber::fmt::MakeWriter;

/// All that was printed, one way or the other.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<String>>);

impl Printed {
    fn add(&self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }

    fn debug(&self, value: &impl Debug) {
        self.add(&format!("{value:?}\n{value:#?}\n"));
    }

    fn error(&self, error: &(impl Error + 'static)) {
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = next {
            self.add(&format!("{error}\n{error:?}\n"));
            next = error.source();
        }
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Printed {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What must not be found, with a word for the message.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 16, "{what} is too short to be searched for");
        self.0.push((what, text.to_owned()));
    }

    /// The bytes in the ways in which a program may print them.
    fn add_bytes(&mut self, what: &'static str, bytes: &[u8]) {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = digits.concat();
        let list = format!("{bytes:?}");
        for text in [base64url(bytes), hex, list.trim_matches(['[', ']']).to_owned()] {
            self.add(what, &text);
        }
    }

    fn add_token(&mut self, what: &'static str, token: &str) {
        self.add(what, token);
        if let Some((signed, signature)) = token.rsplit_once('.') {
            self.add(what, signature);
            self.add(what, signed.rsplit_once('.').unwrap().1);
        }
    }

    #[track_caller]
    fn assert_absent(&self, printed: &str) {
        for (what, text) in &self.0 {
            assert!(!printed.contains(text), "{what} was printed");
        }
    }
}

fn refresh_request(token: &str) -> Request<Full<Bytes>> {
    Request::post("/auth/refresh")
        .header("cookie", format!("__Secure-refresh_token={token}"))
        .header("x-session-request", "1")
        .body(Full::default())
        .unwrap()
}

async fn collect(response: Response<tower_jwt_auth::AuthBody>) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// Keys whose text was spoiled on the way: a blank line in it, another end.
fn spoiled_keys(seed: &[u8; 32], printed: &Printed, secrets: &mut Secrets) {
    let pkcs8 = base64::engine::general_purpose::STANDARD.encode(support::tokens::pkcs8(seed));
    secrets.add("a private key in PEM", &pkcs8);
    for (begin, blank, end) in [
        ("PRIVATE KEY", "\n\n", "PRIVATE KEY"),
        ("PRIVATE KEY", "\r\n\r\n", "PRIVATE KEY"),
        ("PRIVATE KEY", "\n", "KEY"),
    ] {
        let text = format!("-----BEGIN {begin}-----\n{pkcs8}{blank}-----END {end}-----\n");
        printed.error(&SigningKey::ed25519_pem(text).unwrap_err());
    }
    printed.error(&KeySet::from_jwks(&format!(r#"{{"keys":"{pkcs8}"}}"#)).unwrap_err());
}

#[tokio::test]
async fn nothing_that_is_printed_holds_a_secret() {
    let printed = Printed::default();
    support::events::on_every_thread();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(printed.clone())
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut secrets = Secrets::default();

    // Keys, in forms that are read and forms that are not.
    let hmac: Vec<u8> = (0x21..0x61).collect();
    let seed: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 % 251).unwrap());
    let refresh: Vec<u8> = (0x40..0x70).rev().collect();
    secrets.add_bytes("an HMAC key", &hmac);
    secrets.add("an HMAC key", std::str::from_utf8(&hmac).unwrap());
    secrets.add_bytes("a private key", &seed);
    secrets.add_bytes("the refresh key", &refresh);
    let hs256 = SigningKey::hs256(&hmac).unwrap();
    let ed25519 = SigningKey::ed25519_seed(&seed).unwrap();
    let keys = RefreshKeys::new(&refresh).unwrap();
    for key in [&hs256, &ed25519] {
        printed.debug(key);
        printed.debug(key.verifying_key());
    }
    printed.debug(&keys);
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","d":"{}","x":"AA"}}"#, base64url(seed));
    let text = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", base64url(seed));
    for form in
        [KeyForm::Jwk(&jwk), KeyForm::Pem(text.as_bytes()), KeyForm::Der(&seed), KeyForm::Base64(&jwk)]
    {
        printed.debug(&form);
        printed.error(&SigningKey::read(Algorithm::EdDsa, form).unwrap_err());
        printed.error(&VerifyingKey::read(Algorithm::EdDsa, form).unwrap_err());
    }
    spoiled_keys(&seed, &printed, &mut secrets);
    printed.error(&KeySet::from_jwks(&format!(r#"{{"keys":[{jwk}]}}"#)).unwrap_err());

    // Tokens, good and bad.
    let clock = ManualClock::new();
    for key in [hs256, ed25519] {
        let builder = TokenConfig::builder().key(key).issuer(ISSUER).audience(AUDIENCE).clock(clock.clone());
        printed.debug(&builder);
        let config = builder.build().unwrap();
        let issuer = Issuer::new(&config).unwrap();
        let verifier = config.verifier::<NoClaims>();
        let layer = JwtAuthLayer::new(verifier.clone());
        let token = issuer.issue(&AccessGrant::new("ada"), &NoClaims {}).unwrap();
        secrets.add_token("an access token", token.expose());
        printed.debug(&token);
        printed.debug(&(&config, &issuer, &verifier, &layer));
        printed.debug(&verifier.verify(token.expose()).unwrap());
        printed.debug(&send(&layer, bearer(token.expose())).await);
        for bad in
            [format!("{}A", token.expose()), token.expose().replacen('.', ".A", 1), token.expose().to_owned()]
        {
            clock.advance(Duration::from_secs(1000));
            printed.error(&verifier.verify(&bad).unwrap_err());
            printed.debug(&send(&layer, bearer(&bad)).await.rejection);
        }

        // Sessions, through every row that is reached from outside.
        let store = MokaStore::builder().clock(clock.clone()).build();
        let auth = AuthService::builder(&config, keys.clone(), store.clone(), NoLogin::<NoClaims>::new());
        printed.debug(&auth);
        let auth = auth.add_origin(ISSUER).build().unwrap();
        let granted =
            auth.sessions().open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await.unwrap();
        let first = granted.refresh_token().to_owned();
        secrets.add_token("a refresh token", &first);
        secrets.add_token("an access token", granted.access_token().expose());
        printed.debug(&(&auth, &auth.sessions(), &granted, &store));
        let mut newest = first.clone();
        for wait in [0, 25, 0, 3600] {
            clock.advance(Duration::from_secs(wait));
            let answer = collect(auth.clone().oneshot(refresh_request(&newest)).await.unwrap()).await;
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            secrets.add_token("an access token", body["access_token"].as_str().unwrap());
            if let Some(cookie) = answer.headers().get(SET_COOKIE) {
                assert!(cookie.is_sensitive());
                let cookie = cookie.to_str().unwrap();
                newest = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
                secrets.add_token("a refresh token", &newest);
            }
        }
        for token in [&first, &newest, &format!("{}A", &first[1..]), &"A".repeat(140)] {
            let answer = collect(auth.clone().oneshot(refresh_request(token)).await.unwrap()).await;
            assert_eq!(answer.status(), 401);
            printed.debug(answer.body());
        }
    }

    let printed = printed.0.lock().unwrap().clone();
    for name in [
        "tower_jwt_auth::bearer",
        "tower_jwt_auth::session",
        "tower_jwt_auth::service",
        "tower_jwt_auth::keys",
    ] {
        assert!(printed.contains(name), "the run logged nothing of {name}");
    }
    assert!(
        printed.contains("reused") || printed.contains("an old refresh token was presented"),
        "{printed}"
    );
    secrets.assert_absent(&printed);
}

#[test]
#[should_panic(expected = "a key was printed")]
fn the_search_can_find() {
    let mut secrets = Secrets::default();
    secrets.add_bytes("a key", &[7; 32]);
    secrets.assert_absent(&format!("Key({:?})", [7; 32]));
}
