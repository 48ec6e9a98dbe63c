//! [`ProofKey`]: the client's half, which makes proofs.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::dpop::target::Target;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::{ExposeSecret, SecretSlice, base64url, random, sha256};
use crate::thumbprint::Thumbprint;
use crate::token::{Algorithm, Crypto, SigningKey};

/// The form of [`ProofKey::expose_bytes`].
const VERSION: u8 = 1;
/// A scalar above the order of P-256 comes once in 2^32 times, of P-384 once in 2^190.
const TRIES: usize = 4;

/// The key that a client proves its possession of (RFC 9449, section 4).
///
/// ```
/// use tower_jwt_auth::{Clock, ProofKey, SystemClock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = ProofKey::generate()?;
/// let proof = key.prove("GET", "https://api.example/orders?page=2", Some("access-token"), None, SystemClock.now())?;
/// assert_eq!(proof.split('.').count(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ProofKey {
    form: Form,
    private: SecretSlice<u8>,
    signing: SigningKey,
    thumbprint: Thumbprint,
    /// The header of every proof, in base64url.
    header: String,
}

/// The claims of a proof (RFC 9449, section 4.2).
#[derive(Serialize)]
struct Claims<'a> {
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

impl ProofKey {
    /// A new key for ES256, which every server takes.
    ///
    /// # Errors
    ///
    /// No cryptographic backend is compiled in; the operating system gives no random bytes.
    pub fn generate() -> Result<Self, ConfigError> {
        Self::generate_with(Algorithm::Es256)
    }

    /// A new key for ES256, ES384 or `EdDSA`.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate); another algorithm.
    pub fn generate_with(algorithm: Algorithm) -> Result<Self, ConfigError> {
        let form = Form::of(algorithm)?;
        Crypto::compiled_in()?;
        let mut tries = 1;
        loop {
            let bytes = Zeroizing::new(random::<48>().map_err(|error| {
                ConfigError::new(ConfigErrorKind::Key, "no key could be made").with_source(error)
            })?);
            match Self::of(form, &bytes[..form.length()]) {
                Err(_) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    /// The key that [`expose_bytes`](Self::expose_bytes) wrote.
    ///
    /// # Errors
    ///
    /// The bytes are none of its; no cryptographic backend is compiled in.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        let bad = || ConfigError::new(ConfigErrorKind::Key, "the bytes are no key for proofs");
        let [VERSION, code, private @ ..] = bytes else { return Err(bad()) };
        let form = Form::ALL.into_iter().find(|form| form.code() == *code).ok_or_else(bad)?;
        if private.len() != form.length() {
            return Err(bad());
        }
        Self::of(form, private)
    }

    fn of(form: Form, private: &[u8]) -> Result<Self, ConfigError> {
        let signing = SigningKey::from_private_bytes(Crypto::compiled_in()?, form.algorithm(), private)?;
        let public = signing.verifying_key();
        let no_jwk = || ConfigError::new(ConfigErrorKind::Key, "the key has no public half");
        let jwk = public.to_bare_jwk().ok_or_else(no_jwk)?;
        let thumbprint = public.to_thumbprint().ok_or_else(no_jwk)?;
        let algorithm = form.algorithm().as_str();
        let header = base64url(format!(r#"{{"typ":"dpop+jwt","alg":"{algorithm}","jwk":{jwk}}}"#).as_bytes());
        Ok(Self { form, private: private.to_vec().into(), signing, thumbprint, header })
    }

    /// The key in a short form, private half included: for a storage that nobody else can read. The bytes are wiped when
    /// they are dropped.
    pub fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        let private = self.private.expose_secret();
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + private.len()));
        bytes.push(VERSION);
        bytes.push(self.form.code());
        bytes.extend_from_slice(private);
        bytes
    }

    /// The algorithm that proofs are signed with.
    pub fn algorithm(&self) -> Algorithm {
        self.form.algorithm()
    }

    /// The thumbprint, to which tokens are bound.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// A new proof for one request, the value of the header `DPoP`. `url` is that of the request, of which query and
    /// fragment are left out; `token` is the access token that goes with it; `nonce` is what the server gave last in
    /// `DPoP-Nonce`.
    ///
    /// # Errors
    ///
    /// `url` is no http or https URL, or has a user name; the operating system gives no random bytes; the backend fails.
    pub fn prove(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<String, ProveError> {
        let htu = &url[..url.find(['?', '#']).unwrap_or(url.len())];
        if Target::parse(htu).is_none() {
            return Err(ProveError { kind: ProveErrorKind::Url });
        }
        let jti = random::<16>().map_err(|_| ProveError { kind: ProveErrorKind::Randomness })?;
        let claims = Claims {
            jti: &base64url(&jti),
            htm: method,
            htu,
            iat: now.as_unix_seconds(),
            ath: token.map(|token| base64url(&sha256(token.as_bytes()))),
            nonce,
        };
        let failed = || ProveError { kind: ProveErrorKind::Signing };
        let claims = serde_json::to_vec(&claims).map_err(|_| failed())?;
        let input = format!("{}.{}", self.header, base64url(&claims));
        let signature = self.signing.sign(input.as_bytes()).ok_or_else(failed)?;
        Ok(format!("{input}.{}", base64url(&signature)))
    }
}

/// What is public of it.
impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofKey")
            .field("algorithm", &self.algorithm())
            .field("thumbprint", &self.thumbprint)
            .finish_non_exhaustive()
    }
}

/// A kind of key that can be made of random bytes.
#[derive(Clone, Copy)]
enum Form {
    P256,
    P384,
    Ed25519,
}

impl Form {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::Ed25519];

    fn of(algorithm: Algorithm) -> Result<Self, ConfigError> {
        Self::ALL.into_iter().find(|form| form.algorithm() == algorithm).ok_or_else(|| {
            ConfigError::new(ConfigErrorKind::Key, "a key for proofs is made for ES256, ES384 or EdDSA")
        })
    }

    const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::Ed25519 => Algorithm::EdDsa,
        }
    }

    /// What it is called in the bytes.
    const fn code(self) -> u8 {
        match self {
            Self::P256 => 1,
            Self::P384 => 2,
            Self::Ed25519 => 3,
        }
    }

    /// Bytes of the scalar, or of the seed.
    const fn length(self) -> usize {
        match self {
            Self::P256 | Self::Ed25519 => 32,
            Self::P384 => 48,
        }
    }
}

/// A proof could not be made.
#[derive(Debug)]
pub struct ProveError {
    kind: ProveErrorKind,
}

/// Why a proof could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProveErrorKind {
    /// The URL is no http or https URL in ASCII, or has a user name.
    Url,
    /// The operating system gave no random bytes.
    Randomness,
    /// The cryptographic backend could not sign.
    Signing,
}

impl ProveError {
    /// Why.
    pub fn kind(&self) -> ProveErrorKind {
        self.kind
    }
}

impl fmt::Display for ProveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ProveErrorKind::Url => "a proof is made for an absolute http or https URL without a user name",
            ProveErrorKind::Randomness => "the operating system gave no random bytes",
            ProveErrorKind::Signing => "the proof could not be signed",
        })
    }
}

impl Error for ProveError {}
