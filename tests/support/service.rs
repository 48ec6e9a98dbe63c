//! A service with two accounts, a clock and a store that fails when told to.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod exchange;
mod faults;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use tower_jwt_auth::{
    Attempt, AuthService, AuthServiceBuilder, Authenticator, AuthnError, ClientInfo, Clock, Identity,
    NewSession, Record, RefreshKeys, Retry, SecretDigest, SessionId, SessionInfo, SessionPolicy,
    SessionStore, SigningKey, SubjectDigest, Timestamp, TokenConfig,
};

pub use self::exchange::{Answer, Ask, SetCookie, bare, credentials, post};
pub use self::faults::{Fault, FaultStore, Gate, Op, PATIENCE};
use crate::support::ManualClock;

pub const OWN: &str = "https://app.example";
pub const NAME: &str = "__Secure-refresh_token";
pub const PASSWORD: &str = "correct horse battery staple";
pub const REFRESH_SECRET: [u8; 32] = *b"refresh-secret-of-the-test-world";
pub const SIGNING_SECRET: [u8; 32] = *b"signing-secret-of-the-test-world";

/// The claims of an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub email: String,
    pub role: String,
}

impl User {
    pub fn named(name: &str) -> Self {
        Self { email: format!("{name}@app.example"), role: "member".to_owned() }
    }
}

#[derive(Deserialize)]
pub struct PasswordLogin {
    user: String,
    password: String,
}

type Shape = Box<dyn Fn(Identity<User>) -> Identity<User> + Send>;

/// Ada and Bob, with one password. Counts how often it is asked.
#[derive(Default)]
pub struct Accounts {
    pub calls: AtomicUsize,
    pub outage: AtomicBool,
    gate: Mutex<Option<Gate>>,
    shape: Mutex<Option<Shape>>,
}

impl Accounts {
    /// The next login waits behind a gate, after its credentials were found good.
    pub fn hold(&self) -> Gate {
        let gate = Gate::default();
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    /// Changes the identities of logins from now on.
    pub fn shape(&self, shape: impl Fn(Identity<User>) -> Identity<User> + Send + 'static) {
        *self.shape.lock().unwrap() = Some(Box::new(shape));
    }
}

impl Authenticator for Accounts {
    type Credentials = PasswordLogin;
    type Claims = User;

    async fn authenticate(&self, login: PasswordLogin, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.outage.load(Ordering::SeqCst) {
            return Err(AuthnError::unavailable("the user database is down"));
        }
        if !matches!(&*login.user, "ada" | "bob") || login.password != PASSWORD {
            return Err(AuthnError::Refused);
        }
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let identity = Identity::new(&*login.user, User::named(&login.user));
        Ok(match &*self.shape.lock().unwrap() {
            Some(shape) => shape(identity),
            None => identity,
        })
    }
}

/// The same accounts, asked again at each refresh.
pub struct Renewing {
    pub accounts: Arc<Accounts>,
    pub renewals: AtomicUsize,
    answer: Mutex<Renewal>,
    gate: Mutex<Option<Gate>>,
}

#[derive(Debug, Clone)]
pub enum Renewal {
    Role(String),
    Refused,
    Unavailable,
}

impl Renewing {
    /// The next renewal waits behind a gate.
    pub fn hold(&self) -> Gate {
        let gate = Gate::default();
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    pub fn answer(&self, renewal: Renewal) {
        *self.answer.lock().unwrap() = renewal;
    }

    pub fn count(&self) -> usize {
        self.renewals.load(Ordering::SeqCst)
    }
}

impl Authenticator for Renewing {
    type Credentials = PasswordLogin;
    type Claims = User;

    async fn authenticate(
        &self,
        login: PasswordLogin,
        client: &ClientInfo,
    ) -> Result<Identity<User>, AuthnError> {
        self.accounts.authenticate(login, client).await
    }

    async fn renew(&self, _: &SessionInfo, claims: User) -> Result<User, AuthnError> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        match self.answer.lock().unwrap().clone() {
            Renewal::Role(role) => Ok(User { role, ..claims }),
            Renewal::Refused => Err(AuthnError::Refused),
            Renewal::Unavailable => Err(AuthnError::unavailable("the user database is down")),
        }
    }
}

/// A service and everything around it that a test moves.
pub struct World {
    pub clock: ManualClock,
    pub store: Arc<FaultStore>,
    pub accounts: Arc<Accounts>,
    pub config: TokenConfig,
    pub auth: AuthService<User>,
}

/// The configuration of a world's access tokens.
pub fn config(clock: &ManualClock) -> TokenConfig {
    TokenConfig::builder()
        .key(SigningKey::hs256(SIGNING_SECRET).unwrap())
        .issuer(OWN)
        .audience("api")
        .clock(clock.clone())
        .build()
        .unwrap()
}

pub fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

/// The windows of the default policy, and moments on either side of them.
pub const RETRY: Duration = Duration::from_secs(30);
pub const HOLD: Duration = Duration::from_secs(20);

impl World {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(settings: impl FnOnce(AuthServiceBuilder<User>) -> AuthServiceBuilder<User>) -> Self {
        let accounts = Arc::new(Accounts::default());
        let clock = ManualClock::new();
        let config = config(&clock);
        Self::build(clock, config, Arc::clone(&accounts), accounts, settings)
    }

    /// With a hook at each refresh, which makes everybody an admin.
    pub fn renewing() -> (Self, Arc<Renewing>) {
        let clock = ManualClock::new();
        let config = config(&clock);
        Self::renewing_with(clock, config)
    }

    pub fn renewing_with(clock: ManualClock, config: TokenConfig) -> (Self, Arc<Renewing>) {
        let accounts = Arc::new(Accounts::default());
        let renewing = Arc::new(Renewing {
            accounts: Arc::clone(&accounts),
            renewals: AtomicUsize::new(0),
            answer: Mutex::new(Renewal::Role("admin".to_owned())),
            gate: Mutex::default(),
        });
        let world = Self::build(clock, config, accounts, Arc::clone(&renewing), |builder| builder);
        (world, renewing)
    }

    pub fn build<A: Authenticator<Claims = User>>(
        clock: ManualClock,
        config: TokenConfig,
        accounts: Arc<Accounts>,
        authenticator: A,
        settings: impl FnOnce(AuthServiceBuilder<User>) -> AuthServiceBuilder<User>,
    ) -> Self {
        let store = Arc::new(FaultStore::new(&clock));
        let keys = RefreshKeys::new(REFRESH_SECRET).unwrap();
        let builder = AuthService::builder(&config, keys, Arc::clone(&store), authenticator).add_origin(OWN);
        let auth = settings(builder).build().unwrap();
        Self { clock, store, accounts, config, auth }
    }

    pub async fn send(&self, ask: Ask) -> Answer {
        Answer::of(self.auth.clone().oneshot(ask.request()).await.unwrap()).await
    }

    pub async fn login(&self, user: &str) -> Answer {
        self.send(post("/auth/login").json(&credentials(user))).await.expect(200)
    }

    /// A refresh as a page of the application makes it.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.send(post("/auth/refresh").cookie(token)).await
    }

    /// A refresh that is due: past the window in which a token is not rotated again.
    pub async fn rotate(&self, token: &str) -> Answer {
        self.clock.advance(HOLD);
        self.refresh(token).await
    }

    /// The live sessions of a user, as the store keeps them.
    pub async fn records(&self, user: &str) -> Vec<Record> {
        self.store.inner.list(&SubjectDigest::of(user)).await.unwrap()
    }

    /// The generation of the one live session of a user; `None` if there is no session.
    pub async fn generation(&self, user: &str) -> Option<u32> {
        let records = self.records(user).await;
        assert!(records.len() <= 1, "several sessions of {user}");
        records.first().map(|record| record.state.generation)
    }

    pub fn seconds(&self) -> u64 {
        self.clock.now().as_unix_seconds().unsigned_abs()
    }
}

/// A session of Ada's under an id that a token of hers bears, with another secret.
pub fn session_with(session_id: SessionId) -> NewSession {
    NewSession {
        subject: "ada".to_owned(),
        session_id,
        secret_digest: SecretDigest::from_bytes([7; 32]),
        authenticated_at: Timestamp::from_unix_seconds(i64::MAX / 2000),
        attempt: Attempt::from_bytes([7; 16]),
        scopes: Vec::new(),
        client_id: None,
        acr: None,
        key: None,
        claims: b"{}".to_vec(),
        client: ClientInfo::default(),
    }
}
