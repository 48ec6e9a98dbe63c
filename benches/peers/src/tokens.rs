//! One set of keys, one kind of token, and the types that the claims are read into.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_jwt_auth::{
    AccessGrant, Algorithm, Clock, Issuer, KeyForm, SigningKey, SystemClock, Timestamp, TokenConfig,
};

pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];
pub const ISSUER: &str = "https://auth.analytical.example";
pub const AUDIENCE: &str = "https://api.analytical.example";
pub const SUBJECT: &str = "user-00000001";
pub const EMAIL: &str = "ada.lovelace@analytical.example";

/// In a file, as a server in another language reads it, too.
pub const SECRET: &[u8] = include_bytes!("../hs256.secret").trim_ascii();
/// A run may take longer than tokens commonly live.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
pub const KID: &str = "key-2026-11";

/// A struct of the application's nine texts, and of what else an implementation wants to read. Flat, not nested: serde
/// buffers what is flattened, and that would burden those who read all claims into one type.
macro_rules! claims {
    ($(#[$attribute:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $(pub $field: $type,)*
            pub email: String,
            pub name: String,
            pub role: String,
            pub tenant: String,
            pub department: String,
            pub locale: String,
            pub plan: String,
            pub region: String,
            pub avatar: String,
        }
    };
}
pub(crate) use claims;

claims! {
    /// What the application adds to the registered claims.
    User {}
}

claims! {
    /// All claims of a token, as the users of the peers write them down.
    Claims {
        iss: String,
        sub: String,
        aud: Audience,
        exp: u64,
        iat: u64,
        jti: String,
        scope: String,
    }
}

/// RFC 7519 allows both.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

impl User {
    fn ada() -> Self {
        let text = str::to_owned;
        Self {
            email: text(EMAIL),
            name: text("Ada Lovelace"),
            role: text("editor"),
            tenant: text("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
            department: text("research"),
            locale: text("en-GB"),
            plan: text("professional"),
            region: text("eu-west-2"),
            avatar: text("https://cdn.analytical.example/avatars/7c9e6679.webp"),
        }
    }
}

/// The tokens of one algorithm.
pub struct Tokens {
    pub algorithm: Algorithm,
    pub good: String,
    /// In order but for its key, which nobody knows.
    pub unknown_kid: String,
    pub bad_signature: String,
    /// Tokens that every implementation must refuse: this proves that all check the same.
    pub wrong: Vec<String>,
}

impl Tokens {
    pub fn new(algorithm: Algorithm) -> Self {
        let issued = |kid: &str, issuer: &str, audience: &str, age: u64| {
            let config = TokenConfig::builder()
                .key(key(algorithm).with_kid(kid))
                .issuer(issuer)
                .audience(audience)
                .insecure_lifetime(LIFETIME)
                .clock(Late(Duration::from_secs(age)))
                .build()
                .unwrap();
            let scopes = ["orders:read", "orders:write", "profile"];
            let grant = AccessGrant::new(SUBJECT).with_scopes(scopes);
            Issuer::new(&config).unwrap().issue(&grant, &User::ada()).unwrap().expose().to_owned()
        };
        let good = issued(KID, ISSUER, AUDIENCE, 0);
        let bad_signature = with_other_signature(&good);
        let wrong = vec![
            issued(KID, "https://other.example", AUDIENCE, 0),
            issued(KID, ISSUER, "https://other.example", 0),
            issued(KID, ISSUER, AUDIENCE, 30 * 24 * 3600),
            bad_signature.clone(),
        ];
        let unknown_kid = issued("key-2019-01", ISSUER, AUDIENCE, 0);
        Self { algorithm, good, unknown_kid, bad_signature, wrong }
    }

    /// How this crate is configured for them.
    pub fn config(&self, cache_bytes: usize) -> TokenConfig {
        TokenConfig::builder()
            .key(key(self.algorithm).with_kid(KID))
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .insecure_lifetime(LIFETIME)
            .cache_bytes(cache_bytes)
            .build()
            .unwrap()
    }

    /// The key that the peers check with.
    pub fn jwk(&self) -> Value {
        let mut jwk = match self.algorithm {
            Algorithm::Hs256 => json!({ "kty": "oct", "k": base64url(SECRET) }),
            Algorithm::Es256 => fixture(include_str!("../../../tests/fixtures/keys/p256.public.jwk")),
            Algorithm::EdDsa => fixture(include_str!("../../../tests/fixtures/keys/ed25519.public.jwk")),
            _ => fixture(include_str!("../../../tests/fixtures/keys/rsa.public.jwk")),
        };
        jwk["kid"] = json!(KID);
        jwk["alg"] = json!(self.algorithm.as_str());
        jwk
    }

    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }
}

/// Tokens of HS256 of any size and number.
pub struct Padded {
    bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct Padding {
    padding: String,
}

impl Padded {
    /// Of about this many bytes each, from 300.
    pub fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    pub fn config(&self, cache_bytes: usize) -> TokenConfig {
        TokenConfig::builder()
            .key(key(Algorithm::Hs256).with_kid(KID))
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .insecure_lifetime(LIFETIME)
            .max_token_bytes(16 * 1024)
            .cache_bytes(cache_bytes)
            .build()
            .unwrap()
    }

    pub fn tokens(&self, count: usize) -> Vec<String> {
        let issuer = Issuer::new(&self.config(0)).unwrap();
        let issue = |n: usize, scopes: &[&str], padding: usize| {
            let grant = AccessGrant::new(format!("user-{n:08}")).with_scopes(scopes.iter().copied());
            let claims = Padding { padding: "x".repeat(padding) };
            issuer.issue(&grant, &claims).unwrap().expose().to_owned()
        };
        // A short token has no room for scopes.
        let scopes: &[&str] =
            if self.bytes < 500 { &[] } else { &["orders:read", "orders:write", "profile"] };
        let padding = self.bytes.saturating_sub(issue(0, scopes, 0).len()) * 3 / 4;
        (0..count).map(|n| issue(n, scopes, padding)).collect()
    }
}

/// A clock that is late: what is issued by it has expired when it is late enough.
struct Late(Duration);

impl Clock for Late {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_sub(self.0)
    }
}

fn key(algorithm: Algorithm) -> SigningKey {
    let form = match algorithm {
        Algorithm::Hs256 => KeyForm::Secret(SECRET),
        Algorithm::Es256 => KeyForm::Pem(include_bytes!("../../../tests/fixtures/keys/p256.pkcs8.pem")),
        Algorithm::EdDsa => KeyForm::Pem(include_bytes!("../../../tests/fixtures/keys/ed25519.pkcs8.pem")),
        _ => KeyForm::Pem(include_bytes!("../../../tests/fixtures/keys/rsa.pkcs8.pem")),
    };
    SigningKey::read(algorithm, form).unwrap()
}

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// One letter in the middle of the signature is another one.
fn with_other_signature(token: &str) -> String {
    let at = usize::midpoint(token.rfind('.').unwrap(), token.len());
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}
