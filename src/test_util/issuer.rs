//! [`TestIssuer`]: good tokens, and bad ones with one fault each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::{Clock, SystemClock};
use crate::error::ConfigError;
use crate::secret::{base64url, from_base64url, hmac_sha256, sha256};
use crate::token::{AccessGrant, Claims, Issuer, ReadClaims, SigningKey, TokenConfig, Verified, Verifier};

/// How far past its bound a time lies that is refused for it: a test may take so long, or wait for a machine.
const MARGIN: Duration = Duration::from_secs(600);

/// An issuer for tests: with its [`config`](Self::config) or [`verifier`](Self::verifier) in the service under test, it
/// signs tokens that the service accepts, and for each rule of verification one that breaks this rule only.
///
/// Its key is made of the name of the issuer: it is the same in each run, and two issuers never share one. It is no
/// secret.
///
/// ```
/// use tower_jwt_auth::test_util::TestIssuer;
/// use tower_jwt_auth::{AccessGrant, NoClaims};
///
/// let issuer = TestIssuer::new();
/// let verifier = issuer.verifier::<NoClaims>();
/// assert!(verifier.verify(&issuer.token(&NoClaims {})).is_ok());
///
/// let grant = AccessGrant::new("ada").with_scopes(["orders:read"]);
/// assert!(issuer.verified_for(&grant, &NoClaims {}).has_scope("orders:read"));
///
/// for (fault, token) in issuer.bad_tokens(&NoClaims {}) {
///     assert!(verifier.verify(&token).is_err(), "{fault}");
/// }
/// ```
///
/// # Panics
///
/// A method panics where a test cannot go on: [`new`](Self::new) without a cryptographic backend, and each that signs
/// if the claims are no JSON object or repeat a registered name, or if the grant cannot be signed.
#[derive(Clone)]
pub struct TestIssuer {
    issuer: String,
    audience: String,
    clock: Arc<dyn Clock>,
    key: SigningKey,
    config: TokenConfig,
}

impl TestIssuer {
    /// The `iss` of its tokens, if no other was set.
    pub const ISSUER: &str = "https://issuer.test";

    /// The `aud` of its tokens, if no other was set.
    pub const AUDIENCE: &str = "test-api";

    /// The `sub` of its tokens, if no grant names another.
    pub const SUBJECT: &str = "test-user";

    /// A text that is no token at all.
    pub const GARBAGE: &str = "garbage";

    /// An issuer by the clock of the system. Its tokens live for 15 minutes.
    ///
    /// # Panics
    ///
    /// Without the features `aws-lc-rs` and `rust-crypto` there is nothing to sign with.
    #[track_caller]
    pub fn new() -> Self {
        Self::of(Self::ISSUER.to_owned(), Self::AUDIENCE.to_owned(), Arc::new(SystemClock))
    }

    /// Signs and verifies by this clock: a [`ManualClock`](crate::test_util::ManualClock), whose clone the test moves.
    /// Verifiers made before keep theirs.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::of(self.issuer, self.audience, Arc::new(clock))
    }

    /// Replaces `iss`, and with it the key: for services that trust several issuers ([`Verifier::several`]). Verifiers
    /// made before keep theirs.
    ///
    /// # Panics
    ///
    /// If it is neither an https URL nor an http one of this machine.
    #[must_use]
    #[track_caller]
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        Self::of(issuer.into(), self.audience, self.clock)
    }

    /// Replaces `aud`. Verifiers made before keep theirs.
    ///
    /// # Panics
    ///
    /// If it is empty.
    #[must_use]
    #[track_caller]
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        Self::of(self.issuer, audience.into(), self.clock)
    }

    #[track_caller]
    fn of(issuer: String, audience: String, clock: Arc<dyn Clock>) -> Self {
        let key = must("a test issuer cannot be made", key_of(&issuer));
        let config = TokenConfig::builder()
            .key(key.clone())
            .issuer(issuer.as_str())
            .audience(audience.as_str())
            .clock(Arc::clone(&clock))
            .build();
        let config = must("a test issuer cannot be made", config);
        Self { issuer, audience, clock, key, config }
    }

    /// The configuration, for an [`AuthService`](crate::AuthService) or a verifier with settings of its own.
    pub fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// What accepts the good tokens and refuses the bad ones, for a [`JwtAuthLayer`](crate::JwtAuthLayer).
    pub fn verifier<C: ReadClaims>(&self) -> Verifier<C> {
        self.config.verifier()
    }

    /// A good token about [`SUBJECT`](Self::SUBJECT), without scopes.
    #[track_caller]
    pub fn token<C: Claims>(&self, claims: &C) -> String {
        self.token_for(&AccessGrant::new(Self::SUBJECT), claims)
    }

    /// A good token about whom and with what the grant says.
    #[track_caller]
    pub fn token_for<C: Claims>(&self, grant: &AccessGrant, claims: &C) -> String {
        let issuer = must("the configuration does not sign", Issuer::new(&self.config));
        must("these cannot be the claims of a token", issuer.issue(grant, claims)).expose().to_owned()
    }

    /// What a service behind the layer finds in a request with [`token`](Self::token): for
    /// [`AuthContext::for_test`](crate::AuthContext::for_test), in tests of a handler without the layer.
    #[track_caller]
    pub fn verified<C: Claims>(&self, claims: &C) -> Verified<C> {
        self.verified_for(&AccessGrant::new(Self::SUBJECT), claims)
    }

    /// As [`verified`](Self::verified), of [`token_for`](Self::token_for).
    #[track_caller]
    pub fn verified_for<C: Claims>(&self, grant: &AccessGrant, claims: &C) -> Verified<C> {
        let token = self.token_for(grant, claims);
        must("the claims do not read back as their type", self.verifier().verify(&token))
    }

    /// All bad tokens, each with the name of its fault: what a service has to refuse, in one loop. They are those of
    /// the methods below, which carry these claims, and [`GARBAGE`](Self::GARBAGE).
    #[track_caller]
    pub fn bad_tokens<C: Claims>(&self, claims: &C) -> Vec<(&'static str, String)> {
        vec![
            ("expired", self.expired(claims)),
            ("not_yet_valid", self.not_yet_valid(claims)),
            ("long_lived", self.long_lived(claims)),
            ("without_expiry", self.without_expiry(claims)),
            ("without_subject", self.without_subject(claims)),
            ("wrong_audience", self.wrong_audience(claims)),
            ("wrong_issuer", self.wrong_issuer(claims)),
            ("wrong_type", self.wrong_type(claims)),
            ("wrong_algorithm", self.wrong_algorithm(claims)),
            ("unsigned", self.unsigned(claims)),
            ("unknown_key", self.unknown_key(claims)),
            ("forged", self.forged(claims)),
            ("tampered", self.tampered(claims)),
            ("garbage", Self::GARBAGE.to_owned()),
        ]
    }

    /// Its `exp` has passed, also with the leeway for clocks that differ.
    #[track_caller]
    pub fn expired<C: Claims>(&self, claims: &C) -> String {
        let expiry = self.clock.now().saturating_sub(MARGIN).as_unix_seconds();
        let lifetime = i64::try_from(self.config.lifetime().as_secs()).unwrap_or(i64::MAX);
        self.draft(claims).claim("iat", expiry.saturating_sub(lifetime)).claim("exp", expiry).sign()
    }

    /// Its `nbf` lies in the future, also with the leeway for clocks that differ.
    #[track_caller]
    pub fn not_yet_valid<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).claim("nbf", self.clock.now().saturating_add(MARGIN).as_unix_seconds()).sign()
    }

    /// From `iat` to `exp` it is a year.
    #[track_caller]
    pub fn long_lived<C: Claims>(&self, claims: &C) -> String {
        let year = Duration::from_secs(365 * 24 * 3600);
        self.draft(claims).claim("exp", self.clock.now().saturating_add(year).as_unix_seconds()).sign()
    }

    /// It has no `exp`.
    #[track_caller]
    pub fn without_expiry<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).without_claim("exp").sign()
    }

    /// It has no `sub`.
    #[track_caller]
    pub fn without_subject<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).without_claim("sub").sign()
    }

    /// It is for another service of the same issuer.
    #[track_caller]
    pub fn wrong_audience<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).claim("aud", format!("{}-other", self.audience)).sign()
    }

    /// It names another issuer, and is signed with the key of this one.
    #[track_caller]
    pub fn wrong_issuer<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).claim("iss", self.other_issuer()).sign()
    }

    /// Its `typ` is `JWT`, as that of an ID token.
    #[track_caller]
    pub fn wrong_type<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).header("typ", "JWT").sign()
    }

    /// Its `alg` is HS256, and its secret the public key, which everybody knows (RFC 8725, section 2.1).
    #[track_caller]
    pub fn wrong_algorithm<C: Claims>(&self, claims: &C) -> String {
        let jwk = self.key.verifying_key().to_jwk().unwrap_or_default();
        let jwk: serde_json::Value = must("a public key is a JWK", serde_json::from_str(&jwk));
        let public = jwk["x"].as_str().and_then(from_base64url).unwrap_or_default();
        let input = self.draft(claims).header("alg", "HS256").signing_input();
        let signature = base64url(&hmac_sha256(&public, &[input.as_bytes()]));
        format!("{input}.{signature}")
    }

    /// Its `alg` is `none`, and its signature empty (RFC 8725, section 2.1).
    #[track_caller]
    pub fn unsigned<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).header("alg", "none").signing_input() + "."
    }

    /// It is signed with a key that no verifier knows, and names it.
    #[track_caller]
    pub fn unknown_key<C: Claims>(&self, claims: &C) -> String {
        let other = self.other_key();
        self.draft(claims).header("kid", other.kid()).sign_with(&other)
    }

    /// It is signed with another key than the one it names.
    #[track_caller]
    pub fn forged<C: Claims>(&self, claims: &C) -> String {
        self.draft(claims).sign_with(&self.other_key())
    }

    /// Its subject was changed after it was signed.
    #[track_caller]
    pub fn tampered<C: Claims>(&self, claims: &C) -> String {
        let draft = self.draft(claims);
        let good = draft.sign();
        let signature = good.rsplit('.').next().unwrap_or_default();
        draft.claim("sub", "test-admin").signing_input() + "." + signature
    }

    fn other_issuer(&self) -> String {
        format!("{}.other", self.issuer)
    }

    #[track_caller]
    fn other_key(&self) -> SigningKey {
        must("a test issuer cannot be made", key_of(&self.other_issuer()))
    }

    /// A good token, to be changed.
    #[track_caller]
    fn draft<C: Claims>(&self, claims: &C) -> Draft<'_> {
        let token = self.token(claims);
        let mut segments = token.split('.').map(|segment| {
            let json = from_base64url(segment).unwrap_or_default();
            serde_json::from_slice::<Members>(&json)
        });
        let mut segment =
            || must("a token has header and claims", segments.next().unwrap_or_else(|| Ok(Members::new())));
        Draft { key: &self.key, header: segment(), claims: segment() }
    }
}

impl Default for TestIssuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The value of `Authorization` for a token (RFC 6750, section 2.1), marked sensitive.
///
/// ```
/// use http::{Request, header::AUTHORIZATION};
/// use tower_jwt_auth::NoClaims;
/// use tower_jwt_auth::test_util::{TestIssuer, bearer};
///
/// let token = TestIssuer::new().token(&NoClaims {});
/// let request = Request::get("/orders").header(AUTHORIZATION, bearer(&token)).body(()).unwrap();
/// assert!(request.headers()[AUTHORIZATION].is_sensitive());
/// ```
///
/// # Panics
///
/// If the token has characters that cannot stand in a header.
#[track_caller]
pub fn bearer(token: &str) -> HeaderValue {
    let mut value = must("this cannot stand in a header", HeaderValue::try_from(format!("Bearer {token}")));
    value.set_sensitive(true);
    value
}

/// The key of an issuer. The seed is a digest, so that issuers of different names have different ones.
fn key_of(issuer: &str) -> Result<SigningKey, ConfigError> {
    SigningKey::ed25519_seed(&sha256(issuer.as_bytes()))
}

/// A failure here is one of the test.
#[track_caller]
fn must<T, E: fmt::Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Raw, so that no number of the application's loses a digit.
type Members = BTreeMap<String, Box<RawValue>>;

/// A token before it is signed.
struct Draft<'a> {
    key: &'a SigningKey,
    header: Members,
    claims: Members,
}

impl Draft<'_> {
    #[track_caller]
    fn header(mut self, name: &str, value: impl Serialize) -> Self {
        put(&mut self.header, name, value);
        self
    }

    #[track_caller]
    fn claim(mut self, name: &str, value: impl Serialize) -> Self {
        put(&mut self.claims, name, value);
        self
    }

    fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    #[track_caller]
    fn signing_input(&self) -> String {
        let segment = |members: &Members| {
            base64url(must("a token serializes", serde_json::to_string(members)).as_bytes())
        };
        format!("{}.{}", segment(&self.header), segment(&self.claims))
    }

    #[track_caller]
    fn sign(&self) -> String {
        self.sign_with(self.key)
    }

    #[track_caller]
    fn sign_with(&self, key: &SigningKey) -> String {
        let input = self.signing_input();
        let signature = must("the key does not sign", key.sign(input.as_bytes()).ok_or("no signature"));
        format!("{input}.{}", base64url(&signature))
    }
}

#[track_caller]
fn put(members: &mut Members, name: &str, value: impl Serialize) {
    members.insert(name.to_owned(), must("a claim serializes", to_raw_value(&value)));
}
