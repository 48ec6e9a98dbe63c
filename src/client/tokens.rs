//! [`Tokens`], and where they are kept.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::{BoxError, schedule};
use crate::clock::Timestamp;
use crate::dpop::ProofKey;
use crate::secret::{ExposeSecret as _, SecretString, base64url, from_base64url, random};

/// The tokens of one session, as a [`TokenStorage`] keeps them.
///
/// Whoever has them has the session. Neither `Debug` nor any error shows them; [`expose_json`](Self::expose_json) does.
#[derive(Clone)]
pub struct Tokens {
    access: SecretString,
    refresh: SecretString,
    expires_at: Timestamp,
    lifetime: Duration,
    user: Option<Arc<str>>,
    login: Option<LoginId>,
    key: Option<Arc<ProofKey>>,
}

/// Which login the tokens come from: a refresh keeps it. Tells whose tokens another process has put into a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LoginId([u8; 12]);

impl LoginId {
    /// `None` without randomness, which is found to differ from any.
    fn random() -> Option<Self> {
        random().ok().map(Self)
    }
}

/// The form in a storage.
#[derive(Serialize, Deserialize)]
struct Stored {
    access_token: String,
    refresh_token: String,
    expires_at_ms: i64,
    lifetime_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dpop_key: Option<String>,
}

impl Tokens {
    /// Tokens that were got in another way. `expires_at` is when the access token stops being good, by the server's
    /// clock; `lifetime` is how long it was good for in all.
    pub fn new(
        access_token: impl Into<String>,
        refresh_token: impl Into<String>,
        expires_at: Timestamp,
        lifetime: Duration,
    ) -> Self {
        Self {
            access: access_token.into().into(),
            refresh: refresh_token.into().into(),
            expires_at,
            lifetime: lifetime.min(schedule::LONGEST),
            user: None,
            login: LoginId::random(),
            key: None,
        }
    }

    /// Tokens that are bound to this key (DPoP): they are sent with proofs by it, and never without.
    #[must_use]
    pub fn with_proof_key(self, key: ProofKey) -> Self {
        self.with_key(Some(Arc::new(key)))
    }

    pub(super) fn with_key(self, key: Option<Arc<ProofKey>>) -> Self {
        Self { key, ..self }
    }

    /// Of the same login, and so bound to the same key.
    pub(super) fn following(self, held: &Self) -> Self {
        Self { login: held.login, key: held.key.clone(), ..self }
    }

    pub(super) fn with_user(self, user: Option<Arc<str>>) -> Self {
        Self { user, ..self }
    }

    /// The access token.
    pub fn expose_access_token(&self) -> &str {
        self.access.expose_secret()
    }

    /// The refresh token; with cookies, the value of the cookie.
    pub fn expose_refresh_token(&self) -> &str {
        self.refresh.expose_secret()
    }

    /// When the access token stops being good, by the server's clock.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// How long the access token was good for in all.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The claims that the server answered with the tokens, as JSON.
    pub fn user_json(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The key that the tokens are bound to; `None` for bearer tokens.
    pub fn proof_key(&self) -> Option<&ProofKey> {
        self.key.as_deref()
    }

    pub(super) fn is_bound(&self) -> bool {
        self.key.is_some()
    }

    /// All of it as JSON, the secrets in plain: for a storage that nobody else can read.
    pub fn expose_json(&self) -> String {
        let stored = Stored {
            access_token: self.access.expose_secret().to_owned(),
            refresh_token: self.refresh.expose_secret().to_owned(),
            expires_at_ms: self.expires_at.as_unix_millis(),
            lifetime_ms: u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX),
            user: self.user.as_deref().map(ToOwned::to_owned),
            login: self.login.map(|LoginId(id)| base64url(&id)),
            dpop_key: self.key.as_ref().map(|key| base64url(key.expose_bytes().as_ref())),
        };
        // Strings and numbers always serialize.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// What [`expose_json`](Self::expose_json) wrote.
    ///
    /// # Errors
    ///
    /// [`Storage`](ClientErrorKind::Storage) for any other text, and for a key that this build cannot use. The error
    /// does not quote it.
    pub fn from_json(text: &str) -> Result<Self, ClientError> {
        // The parser's own error may quote a token.
        let stored: Stored = serde_json::from_str(text)
            .map_err(|_| ClientError::new(ClientErrorKind::Storage, "the stored text holds no tokens"))?;
        let expires_at = Timestamp::from_unix_millis(stored.expires_at_ms);
        let lifetime = Duration::from_millis(stored.lifetime_ms);
        let tokens = Self::new(stored.access_token, stored.refresh_token, expires_at, lifetime);
        let login = stored.login.and_then(|id| from_base64url(&id)?.try_into().ok()).map(LoginId);
        let tokens = Self { login, ..tokens }.with_user(stored.user.map(Into::into));
        // Without its key a token is of no use: what cannot be read must not make bearer tokens of them.
        let key = stored.dpop_key.as_deref().map(read_key).transpose()?;
        Ok(match key {
            Some(key) => tokens.with_proof_key(key),
            None => tokens,
        })
    }

    /// Whether both come from one login, as far as can be told.
    pub(super) fn is_of_login(&self, other: &Self) -> bool {
        (self.login.is_some() && self.login == other.login)
            || self.refresh.expose_secret() == other.refresh.expose_secret()
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.access.expose_secret() == other.access.expose_secret()
            && self.refresh.expose_secret() == other.refresh.expose_secret()
            && self.proof_key().map(ProofKey::thumbprint) == other.proof_key().map(ProofKey::thumbprint)
    }
}

fn read_key(text: &str) -> Result<ProofKey, ClientError> {
    let error = || ClientError::new(ClientErrorKind::Storage, "the stored key for proofs cannot be used");
    let bytes = from_base64url(text).map(Zeroizing::new).ok_or_else(error)?;
    ProofKey::from_bytes(&bytes).map_err(|source| error().with_source(source.into()))
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Where a [`Session`](crate::client::Session) keeps its tokens.
///
/// New tokens are saved before any request uses them: a process that ends in between must not come back with a refresh
/// token that the server has replaced, which would look like theft. A storage that several processes share is read
/// before each refresh and each write, so that one takes over what another got.
///
/// Implement it with `async fn`. A call that takes longer than nine seconds is given up: its future is dropped, and
/// must not write any more. If [`save`](Self::save) fails the session goes on with the tokens in memory, tells of it
/// ([`Event::StorageFailed`](crate::client::Event)), and saves again before the next refresh.
///
/// ```
/// use std::path::PathBuf;
/// use tower_jwt_auth::client::{TokenStorage, Tokens};
///
/// struct File(PathBuf);
///
/// impl TokenStorage for File {
///     async fn load(&self) -> Result<Option<Tokens>, Box<dyn std::error::Error + Send + Sync>> {
///         match std::fs::read_to_string(&self.0) {
///             Ok(text) => Ok(Some(Tokens::from_json(&text)?)),
///             Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
///             Err(error) => Err(error.into()),
///         }
///     }
///
///     async fn save(&self, tokens: Option<&Tokens>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///         // Readable by its owner only, and replaced as a whole: the example `client` shows how.
///         # let _ = tokens;
///         Ok(())
///     }
/// }
/// ```
pub trait TokenStorage: Send + Sync + 'static {
    /// The tokens that were saved last, if any.
    fn load(&self) -> impl Future<Output = Result<Option<Tokens>, BoxError>> + Send;

    /// Replaces them; `None` forgets them.
    fn save(&self, tokens: Option<&Tokens>) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<T: TokenStorage> TokenStorage for Arc<T> {
    fn load(&self) -> impl Future<Output = Result<Option<Tokens>, BoxError>> + Send {
        (**self).load()
    }

    fn save(&self, tokens: Option<&Tokens>) -> impl Future<Output = Result<(), BoxError>> + Send {
        (**self).save(tokens)
    }
}

/// Tokens in the memory of the process.
#[derive(Debug, Default)]
pub struct MemoryStorage(Mutex<Option<Tokens>>);

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl TokenStorage for MemoryStorage {
    async fn load(&self) -> Result<Option<Tokens>, BoxError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, tokens: Option<&Tokens>) -> Result<(), BoxError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tokens.cloned();
        Ok(())
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`TokenStorage`] without its type.
pub(super) trait DynStorage: Send + Sync {
    fn load(&self) -> BoxFuture<'_, Result<Option<Tokens>, BoxError>>;
    fn save<'a>(&'a self, tokens: Option<&'a Tokens>) -> BoxFuture<'a, Result<(), BoxError>>;
}

impl<T: TokenStorage> DynStorage for T {
    fn load(&self) -> BoxFuture<'_, Result<Option<Tokens>, BoxError>> {
        Box::pin(TokenStorage::load(self))
    }

    fn save<'a>(&'a self, tokens: Option<&'a Tokens>) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(TokenStorage::save(self, tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        let expires_at = Timestamp::from_unix_millis(1_700_000_000_123);
        Tokens::new("the-access", "the-refresh", expires_at, Duration::from_secs(900))
            .with_user(Some(r#"{"email":"a@b"}"#.into()))
    }

    #[test]
    fn what_is_written_can_be_read() {
        let (tokens, read) = (tokens(), Tokens::from_json(&tokens().expose_json()).unwrap());
        assert!(tokens.same(&read));
        assert_eq!(read.expires_at(), tokens.expires_at());
        assert_eq!(read.lifetime(), tokens.lifetime());
        assert_eq!(read.user_json(), tokens.user_json());
    }

    #[test]
    fn a_key_is_written_and_read() {
        let key = ProofKey::generate().unwrap();
        let tokens = tokens().with_proof_key(key.clone());
        let text = tokens.expose_json();
        let read = Tokens::from_json(&text).unwrap();
        assert!(tokens.same(&read) && tokens.is_of_login(&read));
        assert_eq!(read.proof_key().unwrap().thumbprint(), key.thumbprint());
        assert_eq!(read.proof_key().unwrap().expose_bytes().as_ref(), key.expose_bytes().as_ref());
        // Of a refresh.
        let next = self::tokens().following(&tokens);
        assert_eq!(next.proof_key().unwrap().thumbprint(), key.thumbprint());
        // Another key makes other tokens.
        assert!(!tokens.same(&self::tokens().with_proof_key(ProofKey::generate().unwrap())));
        assert!(!tokens.same(&self::tokens()));
    }

    #[test]
    fn without_a_key_nothing_is_written_of_it() {
        let text = tokens().expose_json();
        assert!(!text.contains("dpop"));
        assert!(Tokens::from_json(&text).unwrap().proof_key().is_none());
        // As it was written before there were keys.
        let old = r#"{"access_token":"a","refresh_token":"r","expires_at_ms":1,"lifetime_ms":2}"#;
        assert!(Tokens::from_json(old).unwrap().proof_key().is_none());
    }

    #[test]
    fn a_key_that_cannot_be_read_makes_no_bearer_tokens() {
        let tokens = tokens().with_proof_key(ProofKey::generate().unwrap());
        let mut json: serde_json::Value = serde_json::from_str(&tokens.expose_json()).unwrap();
        for bad in ["", "AQ", "not base64url", "AQEA"] {
            json["dpop_key"] = bad.into();
            let error = Tokens::from_json(&json.to_string()).unwrap_err();
            assert_eq!(error.kind(), ClientErrorKind::Storage, "{bad}");
        }
    }

    #[test]
    fn no_debug_output_shows_a_key() {
        let key = ProofKey::from_bytes(&[&[1, 1][..], &[0x5a; 32]].concat()).unwrap();
        let tokens = tokens().with_proof_key(key);
        let shown = format!("{tokens:?} {tokens:#?} {:?}", MemoryStorage(Mutex::new(Some(tokens.clone()))));
        for secret in ["WlpaWlpa", "5a5a", "5A5A", "90, 90", "0x5a", "ZZZZ"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_token() {
        assert!(!format!("{:?}", tokens()).contains("the-"));
        for text in
            [r#""the-access""#, r#"{"access_token":"the-access","lifetime_ms":"the-x"}"#, "the-access", ""]
        {
            let error = Tokens::from_json(text).unwrap_err();
            assert_eq!(error.kind(), ClientErrorKind::Storage);
            assert!(!format!("{error} {error:?}").contains("the-"), "{error:?}");
        }
    }
}
