//! [`PurgeTask`]: forgets expired sessions now and then.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::store::{SessionStore, runtime};

/// A task that calls [`SessionStore::purge_expired`] at once and then every so often, until this is dropped. A purge
/// that fails is reported with the event `purge_failed`, and tried again the next time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use std::time::Duration;
/// use tower_jwt_auth::{MokaStore, PurgeTask};
///
/// let store = MokaStore::new();
/// let purge = PurgeTask::spawn(store.clone(), Duration::from_secs(600))?;
/// // Kept as long as the server runs.
/// drop(purge);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct PurgeTask(JoinHandle<()>);

impl PurgeTask {
    /// Starts the task.
    ///
    /// # Errors
    ///
    /// `every` is less than a second; or this is not called within a tokio runtime.
    pub fn spawn(store: impl SessionStore, every: Duration) -> Result<Self, ConfigError> {
        if every < Duration::from_secs(1) {
            let why = "expired sessions are forgotten once a second at most";
            return Err(ConfigError::new(ConfigErrorKind::Limit, why));
        }
        let task = runtime::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match store.purge_expired().await {
                    Ok(sessions) => tracing::debug!(
                        name: "purged", target: "tower_jwt_auth::store", sessions, "expired sessions are forgotten"
                    ),
                    Err(error) => tracing::warn!(
                        name: "purge_failed", target: "tower_jwt_auth::store", error = %error,
                        "expired sessions could not be forgotten"
                    ),
                }
            }
        })?;
        Ok(Self(task))
    }
}

impl Drop for PurgeTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
