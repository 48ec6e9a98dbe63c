//! What the fuzz targets share: a clock that stands still, the configuration, its one good token, and edits.
//!
//! Each target holds what it finds against an answer that it works out by itself, in another way than the crate does.
//! A target that could accept nothing would find nothing, so each begins by having its good credential accepted.

#[path = "../../tests/support/oracles.rs"]
pub mod oracles;

use std::convert::Infallible;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{Request, Response};
use http_body_util::Full;
use p256::ecdsa::signature::Signer;
use sha2::{Digest, Sha256};
use tower_jwt_auth::{
    AuthService, Clock, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys, Retry, SessionPolicy, Sessions,
    SigningKey, Timestamp, TokenConfig,
};
use tower_service::Service;

pub const ISSUER: &str = "https://i.example";
pub const AUDIENCE: &str = "api";
pub const KID: &str = "k1";
pub const SUBJECT: &str = "ada";
pub const NOW: i64 = 1_700_000_000;
pub const LEEWAY: i64 = 30;
pub const SECRET: [u8; 32] = *b"signing-secret-of-the-fuzz-world";
pub const COOKIE: &str = "__Secure-refresh_token";

/// A clock that stands still: a run must not depend on when it is made.
#[derive(Debug, Clone, Copy)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(NOW)
    }
}

/// Verifies what [`sign`] signs.
pub fn config() -> TokenConfig {
    TokenConfig::builder()
        .key(SigningKey::hs256(SECRET).expect("a good key").with_kid(KID))
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .clock(StoppedClock)
        .build()
        .expect("a good configuration")
}

/// The one good token: no randomness in it, so that it is the same in each run.
pub static GOOD_TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"{SUBJECT}","exp":{},"iat":{NOW},"jti":"j"}}"#,
        NOW + 600
    );
    sign(br#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#, claims.as_bytes())
});

/// A token of these bytes, whatever they are, under a genuine signature. Not by the crate.
pub fn sign(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET).expect("any length is a key");
    mac.update(message.as_bytes());
    let tag = mac.finalize().into_bytes();
    format!("{message}.{}", base64url(&tag))
}

/// The private half of the key that [`prove`] signs with.
const PROOF_SECRET: [u8; 32] = *b"proving-key-of-the-fuzz-world-01";

static PROOF_KEY: LazyLock<p256::ecdsa::SigningKey> =
    LazyLock::new(|| p256::ecdsa::SigningKey::from_slice(&PROOF_SECRET).expect("a good key"));

/// The public half, as the members of a JWK, in the order of a thumbprint (RFC 7638).
static PROOF_JWK: LazyLock<String> = LazyLock::new(|| {
    let point = PROOF_KEY.verifying_key().to_encoded_point(false);
    let (x, y) = (point.x().expect("a point"), point.y().expect("a point"));
    format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, base64url(x), base64url(y))
});

/// A token that is bound to the key.
pub static BOUND_TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"{SUBJECT}","exp":{},"iat":{NOW},"jti":"j","cnf":{{"jkt":"{}"}}}}"#,
        NOW + 600,
        base64url(&Sha256::digest(PROOF_JWK.as_bytes()))
    );
    sign(br#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#, claims.as_bytes())
});

/// `ath` of the bound token.
pub fn token_hash() -> String {
    base64url(&Sha256::digest(BOUND_TOKEN.as_bytes()))
}

/// A proof with these claims, whatever they are, under a genuine signature. Neither by the crate, nor random.
pub fn prove(claims: &[u8]) -> String {
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{}}}"#, *PROOF_JWK);
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims));
    let signature: p256::ecdsa::Signature = PROOF_KEY.sign(message.as_bytes());
    format!("{message}.{}", base64url(&signature.to_bytes()))
}

/// Without padding.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn from_base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("our own text")
}

/// A service over a store with nobody in it, the sessions behind it, and the runtime that both need.
pub struct World {
    pub runtime: tokio::runtime::Runtime,
    pub service: AuthService<NoClaims>,
    pub sessions: Sessions<NoClaims>,
}

impl World {
    pub fn new() -> Self {
        let keys = RefreshKeys::new(*b"refresh-secret-of-the-fuzz-world").expect("a good key");
        let store = MokaStore::builder().clock(StoppedClock).build();
        let service = AuthService::builder(&config(), keys, store, NoLogin::new())
            .add_origin("https://app.example")
            // The clock stands still: a token that is good must be rotated nevertheless.
            .policy(SessionPolicy::default().with_retry(Retry::Strict))
            .build()
            .expect("a good configuration");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { runtime, sessions: service.sessions(), service }
    }

    /// Opens a session; the text of its refresh token.
    pub fn open(&self, subject: &str) -> String {
        let identity = Identity::new(subject, NoClaims {});
        let granted = self.runtime.block_on(self.sessions.open(identity, &Default::default()));
        granted.expect("a session").refresh_token().to_owned()
    }

    /// How many sessions the subject has.
    pub fn count(&self, subject: &str) -> usize {
        self.runtime.block_on(self.sessions.list(subject)).expect("the store answers").len()
    }

    /// Ends the session of a token. (Not all of the subject: with a stopped clock no later login would be later.)
    pub fn end(&self, token: &str) {
        let ended = self.runtime.block_on(self.sessions.end_by_token(token));
        assert!(ended.expect("the store answers"), "there was no session to end");
    }

    pub fn answer(&self, request: Request<Full<Bytes>>) -> Response<tower_jwt_auth::AuthBody> {
        let answer: Result<_, Infallible> = self.runtime.block_on(self.service.clone().call(request));
        let Ok(answer) = answer;
        answer
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
