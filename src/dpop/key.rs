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

    /// A new key for ES256, ES384 or EdDSA.
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
        let thumbprint = public.thumbprint().ok_or_else(no_jwk)?;
        let algorithm = form.algorithm().as_str();
        let header = base64url(format!(r#"{{"typ":"dpop+jwt","alg":"{algorithm}","jwk":{jwk}}}"#).as_bytes());
        Ok(Self { form, private: private.to_vec().into(), signing, thumbprint, header })
    }

    /// The key in a short form, private half included: for a storage that nobody else can read. The bytes are wiped
    /// when they are dropped.
    pub fn expose_bytes(&self) -> impl AsRef<[u8]> + use<> {
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
    /// `url` is no http or https URL, or has a user name; the operating system gives no random bytes; the backend
    /// fails.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::secret::from_base64url;
    use crate::test_util::ManualClock;

    const NOW: Timestamp = ManualClock::START;

    fn parts(proof: &str) -> [Value; 2] {
        let mut segments = proof.split('.').map(|segment| from_base64url(segment).unwrap());
        [(); 2].map(|()| serde_json::from_slice(&segments.next().unwrap()).unwrap())
    }

    #[test]
    fn a_proof_says_what_it_is_for() {
        let key = ProofKey::generate().unwrap();
        let url = "https://api.example/a%20b?token=secret#here";
        let nonce = "a \"nonce\"\\\n";
        let proof = key.prove("P\"OST", url, Some("token"), Some(nonce), NOW).unwrap();
        let [header, claims] = parts(&proof);
        assert_eq!((&header["typ"], &header["alg"]), (&"dpop+jwt".into(), &"ES256".into()));
        let members: Vec<_> = header["jwk"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["crv", "kty", "x", "y"], "nothing but the public key");
        assert_eq!(claims["htm"], "P\"OST");
        assert_eq!(claims["htu"], "https://api.example/a%20b");
        assert_eq!(claims["iat"], NOW.as_unix_seconds());
        assert_eq!(claims["ath"], base64url(&sha256(b"token")));
        assert_eq!(claims["nonce"], nonce);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 22);

        let other = key.prove("GET", "https://api.example", None, None, NOW).unwrap();
        let [_, bare] = parts(&other);
        assert_ne!(bare["jti"], claims["jti"]);
        assert_eq!((bare.get("ath"), bare.get("nonce")), (None, None));
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
            let key = ProofKey::generate_with(algorithm).unwrap();
            let read = ProofKey::from_bytes(key.expose_bytes().as_ref()).unwrap();
            assert_eq!((read.algorithm(), read.thumbprint()), (algorithm, key.thumbprint()));
            assert_eq!(read.expose_bytes().as_ref(), key.expose_bytes().as_ref());
            assert_ne!(ProofKey::generate_with(algorithm).unwrap().thumbprint(), key.thumbprint());
        }
        for &algorithm in Algorithm::ALL {
            let made = matches!(algorithm, Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa);
            assert_eq!(ProofKey::generate_with(algorithm).is_ok(), made, "{algorithm:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_key() {
        let good = ProofKey::generate().unwrap().expose_bytes().as_ref().to_vec();
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        for (row, bytes) in [
            ("none", Vec::new()),
            ("a version alone", vec![1]),
            ("another version", changed(0, 2)),
            ("no kind", changed(1, 0)),
            ("a kind of another length", changed(1, 2)),
            ("an unknown kind", changed(1, 4)),
            ("cut", good[..good.len() - 1].to_vec()),
            ("longer", [&good[..], &[0]].concat()),
            ("zero", [&[1, 1][..], &[0; 32]].concat()),
            ("above the order of the group", [&[1, 1][..], &[0xff; 32]].concat()),
        ] {
            assert_eq!(ProofKey::from_bytes(&bytes).unwrap_err().kind(), ConfigErrorKind::Key, "{row}");
        }
    }

    #[test]
    fn urls_that_no_proof_is_made_for() {
        let key = ProofKey::generate().unwrap();
        for url in ["", "/a", "ftp://api.example", "https://ada:secret@api.example/", "https://api.example/é"]
        {
            let error = key.prove("GET", url, None, None, NOW).unwrap_err();
            assert_eq!(error.kind(), ProveErrorKind::Url, "{url}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }

    #[test]
    fn debug_shows_the_public_half_alone() {
        let key = ProofKey::from_bytes(&[&[1, 3][..], &[0xab; 32]].concat()).unwrap();
        let text = format!("{key:?}");
        assert!(text.contains(&key.thumbprint().to_string()) && !text.contains("171"), "{text}");
        assert!(!text.contains(&base64url(&[0xab; 32])), "{text}");
    }
}
