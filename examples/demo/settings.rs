//! What the environment says.
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | where to listen; port 0 takes a free one |
//! | `ACCESS_TTL_SECS` | 60 | life of an access token, at most 900; short here, so that a rotation is soon seen |
//! | `RETRY_WINDOW_MS` | 30000 | how long a replaced refresh token is answered; a new one is held for two thirds of it; 0 is strict |
//! | `IDLE_TTL_SECS` | 604800 | life of a session that is not refreshed |
//! | `ABSOLUTE_TTL_SECS` | 2592000 | life of any session |
//! | `SECRET` | random | 32 bytes or more, from which all keys are derived: the same for all processes of one site |
//! | `STORE` | in memory | `redis://..` or `postgres://..`, with `--features redis,postgres` |
//! | `INSECURE_COOKIES` | | `1` for browsers that refuse Secure cookies on loopback http |
//! | `DPOP` | | `1` binds sessions and tokens to a key of the browser's |

use std::env;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tower_jwt_auth::{Retry, SessionPolicy};

pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    pub(crate) access_lifetime: Duration,
    pub(crate) policy: SessionPolicy,
    /// A URL, which may hold a password.
    pub(crate) store: Option<String>,
    pub(crate) insecure_cookies: bool,
    pub(crate) dpop: bool,
    secret: Vec<u8>,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, String> {
        let retry = Duration::from_millis(number("RETRY_WINDOW_MS", 30_000)?);
        let retry =
            if retry.is_zero() { Retry::Strict } else { Retry::Within { retry, hold: retry * 2 / 3 } };
        Ok(Self {
            address: read("ADDR", "127.0.0.1:3000")?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 3000))),
            access_lifetime: seconds("ACCESS_TTL_SECS", 60)?,
            policy: SessionPolicy::default()
                .with_retry(retry)
                .with_idle_lifetime(seconds("IDLE_TTL_SECS", 7 * 24 * 3600)?)
                .with_absolute_lifetime(seconds("ABSOLUTE_TTL_SECS", 30 * 24 * 3600)?),
            store: env::var("STORE").ok(),
            insecure_cookies: is_on("INSECURE_COOKIES"),
            dpop: is_on("DPOP"),
            secret: secret()?,
        })
    }

    /// A key for one purpose. Processes with the same `SECRET` derive the same ones.
    pub(crate) fn derive(&self, purpose: &str) -> Result<[u8; 32], String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).map_err(|error| error.to_string())?;
        mac.update(purpose.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }
}

fn secret() -> Result<Vec<u8>, String> {
    match env::var("SECRET") {
        Ok(text) if text.len() >= 32 => Ok(text.into_bytes()),
        Ok(_) => Err("SECRET must have 32 bytes or more; leave it out for a random one".to_owned()),
        Err(_) => {
            let mut bytes = vec![0; 32];
            getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
            Ok(bytes)
        }
    }
}

fn is_on(name: &str) -> bool {
    env::var(name).is_ok_and(|value| value == "1")
}

fn seconds(name: &str, default: u64) -> Result<Duration, String> {
    number(name, default).map(Duration::from_secs)
}

fn number(name: &str, default: u64) -> Result<u64, String> {
    Ok(read(name, "a whole number")?.unwrap_or(default))
}

fn read<T: FromStr>(name: &str, form: &str) -> Result<Option<T>, String> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .map(Some)
            .map_err(|_| format!("{name} is not understood: {text:?} is not of the form {form}")),
        Err(_) => Ok(None),
    }
}
