//! Two accounts, their password hashes, and the check of a login.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{Error, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use serde::{Deserialize, Serialize};
use tower_jwt_auth::{Authenticator, AuthnError, ClientInfo, Identity};

/// What the access tokens carry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) email: String,
    pub(crate) role: String,
}

/// The body of a login.
#[derive(Deserialize)]
pub(crate) struct PasswordLogin {
    pub(crate) email: String,
    pub(crate) password: String,
}

/// Everybody who can log in.
pub(crate) struct Accounts {
    by_email: HashMap<&'static str, Account>,
    /// Hashed for unknown users: they must take as long as a wrong password.
    nobody: Arc<str>,
    hashes: Arc<AtomicU64>,
}

struct Account {
    id: &'static str,
    role: &'static str,
    hash: Arc<str>,
}

impl Accounts {
    pub(crate) fn new() -> Result<Self, Error> {
        let account = |id, role, password| Ok::<_, Error>(Account { id, role, hash: hash(password)? });
        Ok(Self {
            by_email: HashMap::from([
                ("ada@example.com", account("user-ada", "admin", "correct horse")?),
                ("bob@example.com", account("user-bob", "user", "battery staple")?),
            ]),
            nobody: hash("nobody's password")?,
            hashes: Arc::default(),
        })
    }

    /// How many passwords were hashed for logins.
    #[allow(dead_code)] // Read by the test that unknown users cost a hash, too.
    pub(crate) fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }
}

fn hash(password: &str) -> Result<Arc<str>, Error> {
    let salt = SaltString::generate(&mut OsRng);
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string().into())
}

fn matches(password: &str, hash: &str) -> Result<bool, Error> {
    match Argon2::default().verify_password(password.as_bytes(), &PasswordHash::new(hash)?) {
        Ok(()) => Ok(true),
        Err(Error::Password) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Authenticator for Accounts {
    type Credentials = PasswordLogin;
    type Claims = User;

    async fn authenticate(&self, login: PasswordLogin, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
        let account = self.by_email.get(login.email.as_str());
        let hash = Arc::clone(account.map_or(&self.nobody, |account| &account.hash));
        let hashes = Arc::clone(&self.hashes);
        // Made to be slow: not on a thread that serves requests.
        let good = tokio::task::spawn_blocking(move || {
            hashes.fetch_add(1, Ordering::Relaxed);
            matches(&login.password, &hash)
        })
        .await
        .map_err(AuthnError::unavailable)?
        .map_err(|error| AuthnError::unavailable(error.to_string()))?;
        match account {
            Some(account) if good => {
                let user = User { email: login.email, role: account.role.to_owned() };
                Ok(Identity::new(account.id, user))
            }
            _ => Err(AuthnError::Refused),
        }
    }
}
