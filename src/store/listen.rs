//! [`ListenTask`]: hears what other nodes end, and tells it to the feed of a store.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock::Timestamp;
use crate::error::ConfigError;
use crate::secret::from_base64url;
use crate::session::{SessionId, SubjectDigest};
use crate::store::{RevocationKey, SessionChange, SessionFeed, runtime};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// How long nothing may be heard before the connection is asked for a sign of life.
pub(super) const QUIET: Duration = Duration::from_secs(15);

/// How long connecting, and each question after it, may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two attempts: twice as long each time, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A task that hears what other nodes end, until this is dropped, so that the [live sessions
/// layers](crate::LiveSessionsLayer) over clones of its store refuse it within milliseconds. Made by `listen` of
/// `RedisStore` and `PostgresStore`.
///
/// A connection that is lost is made anew, which the events `push_lost` and `push_joined` tell. What is ended meanwhile
/// is noticed as without this task: when the store is asked again.
#[must_use = "the task ends when this is dropped"]
pub struct ListenTask {
    task: JoinHandle<()>,
    joined: watch::Receiver<bool>,
}

impl ListenTask {
    /// Whether it hears at the moment, as far as it knows.
    pub fn is_joined(&self) -> bool {
        *self.joined.borrow()
    }

    /// Waits until it hears.
    pub async fn joined(&self) {
        // An error means that the task is gone, with its runtime: then nobody waits any more either.
        let _ = self.joined.clone().wait_for(|joined| *joined).await;
    }

    /// Runs `listen`, which returns when it hears nothing any more, again and again.
    ///
    /// # Errors
    ///
    /// It is not called within a tokio runtime.
    pub(super) fn spawn<F, L>(feed: SessionFeed, listen: L) -> Result<Self, ConfigError>
    where
        L: Fn(Ear) -> F + Send + 'static,
        F: Future<Output = BoxError> + Send,
    {
        let (sender, joined) = watch::channel(false);
        let ear = Ear { feed, joined: sender };
        let task = runtime::spawn(async move {
            let mut pause = Duration::from_millis(100);
            loop {
                let error = listen(ear.clone()).await;
                if ear.joined.send_replace(false) {
                    pause = Duration::from_millis(100);
                }
                tracing::warn!(
                    name: "push_lost", target: "tower_jwt_auth::store", error = &*error as &(dyn Error + 'static),
                    "what other nodes end is not heard of: the store is asked as often as without"
                );
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        })?;
        Ok(Self { task, joined })
    }
}

impl Drop for ListenTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for ListenTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenTask").field("is_joined", &self.is_joined()).finish_non_exhaustive()
    }
}

/// What a connection tells what it hears.
#[derive(Clone)]
pub(super) struct Ear {
    feed: SessionFeed,
    joined: watch::Sender<bool>,
}

impl Ear {
    pub(super) fn joined(&self) {
        self.joined.send_replace(true);
        tracing::info!(
            name: "push_joined", target: "tower_jwt_auth::store", "what other nodes end is heard of from now on"
        );
    }

    /// A message of another node. What is none of ours is passed over. The worst that can be said there is that
    /// sessions have ended or that tokens are revoked, which is believed until the store is asked again, and that it
    /// must be asked.
    pub(super) fn hear(&self, message: &str) {
        if let Some(change) = read(message) {
            self.feed.send(&change);
        }
    }
}

/// Within the time that a question may take.
pub(super) async fn soon<T, E: Into<BoxError>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    match timeout(LIMIT, work).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err("there was no answer in time".into()),
    }
}

/// `ended SUBJECT SESSION`, `all SUBJECT [SESSION]` or `replaced SUBJECT SESSION`, with the subject's digest in
/// base64url or in hexadecimal and the session in hexadecimal; or `tokens KEY NOT_BEFORE`, with the key in hexadecimal
/// and the time in milliseconds.
fn read(message: &str) -> Option<SessionChange> {
    let mut words = message.split(' ');
    let kind = words.next()?;
    let (subject, rest) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    if kind == "tokens" {
        let key = RevocationKey::from_bytes(from_hex(subject)?);
        let not_before = Timestamp::from_unix_millis(rest?.parse().ok()?);
        return Some(SessionChange::TokensRevoked { key, not_before });
    }
    let subject =
        if subject.len() == 32 { from_hex(subject)? } else { from_base64url(subject)?.try_into().ok()? };
    let subject = SubjectDigest::from_bytes(subject);
    let session_id = rest.map(|id| from_hex(id).map(SessionId::from_bytes));
    Some(match (kind, session_id) {
        ("ended", Some(Some(session_id))) => SessionChange::Ended { subject, session_id },
        ("replaced", Some(Some(session_id))) => SessionChange::Replaced { subject, session_id },
        ("all", None) => SessionChange::AllEnded { subject, except: None },
        ("all", Some(except @ Some(_))) => SessionChange::AllEnded { subject, except },
        _ => return None,
    })
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    let mut bytes = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let subject = SubjectDigest::from_bytes([0xab; 16]);
        let session_id = SessionId::from_bytes([0x01; 16]);
        let (s, i) = ("ab".repeat(16), "01".repeat(16));
        let base64 = "q6urq6urq6urq6urq6urqw";
        let tokens = |not_before| SessionChange::TokensRevoked {
            key: RevocationKey::from_bytes([0xab; 16]),
            not_before: Timestamp::from_unix_millis(not_before),
        };
        for (message, expected) in [
            (format!("ended {s} {i}"), Some(SessionChange::Ended { subject, session_id })),
            (format!("ended {base64} {i}"), Some(SessionChange::Ended { subject, session_id })),
            (format!("replaced {s} {i}"), Some(SessionChange::Replaced { subject, session_id })),
            (format!("all {s}"), Some(SessionChange::AllEnded { subject, except: None })),
            (format!("all {s} {i}"), Some(SessionChange::AllEnded { subject, except: Some(session_id) })),
            (format!("tokens {s} 1234"), Some(tokens(1234))),
            (format!("tokens {s} 0"), Some(tokens(0))),
            (format!("tokens {s} {}", i64::MAX), Some(tokens(i64::MAX))),
            (format!("tokens {s} {}", i64::MIN), Some(tokens(i64::MIN))),
            ("tokens".into(), None),
            (format!("tokens {s}"), None),
            (format!("tokens {s} "), None),
            (format!("tokens {s} 1234 "), None),
            (format!("tokens {s} 1234 5"), None),
            (format!("tokens {s} 12.5"), None),
            (format!("tokens {s} 1e3"), None),
            (format!("tokens {s} {i}"), None),
            (format!("tokens {s} 9223372036854775808"), None),
            (format!("tokens {s} -9223372036854775809"), None),
            (format!("tokens {base64} 1234"), None),
            (format!("tokens {} 1234", "0g".repeat(16)), None),
            (format!("tokens  {s}"), None),
            (String::new(), None),
            ("ended".into(), None),
            (format!("ended {s}"), None),
            (format!("ended {s} {i} {i}"), None),
            (format!("ended {s} 01"), None),
            (format!("ended {s} {}", "0g".repeat(16)), None),
            (format!("ended {s} {}", "é".repeat(16)), None),
            (format!("all {s} "), None),
            (format!("all  {i}"), None),
            (format!("other {s} {i}"), None),
            (format!("ended {} {i}", &base64[1..]), None),
        ] {
            assert_eq!(read(&message), expected, "{message}");
        }
    }
}
