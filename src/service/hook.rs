//! [`Events`]: what happens to sessions, told to the application.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::session::{ClientInfo, Decision, SessionId, Unknown};

/// Is told what happens to sessions, as for a mail when one was stolen. Given to
/// [`AuthServiceBuilder::events`](crate::AuthServiceBuilder::events); any `Fn(&SessionEvent)` is one.
///
/// Called after the store has done its part and before the answer, also for what [`Sessions`](crate::Sessions) does
/// from code. It must not block: whatever takes time goes to a task or a channel. A panic of it is caught and logged,
/// and changes nothing about the answer.
///
/// ```
/// use tokio::sync::mpsc;
/// use tower_jwt_auth::{SessionEvent, SessionEventKind};
///
/// let (mails, mut to_be_sent) = mpsc::channel(100);
/// let hook = move |event: &SessionEvent<'_>| {
///     if event.kind() == SessionEventKind::Reused
///         && let Some(subject) = event.subject()
///     {
///         // A full channel loses a mail, and never holds a refresh up.
///         let _ = mails.try_send(subject.to_owned());
///     }
/// };
/// # let _ = (&hook as &dyn tower_jwt_auth::Events, to_be_sent.try_recv());
/// ```
pub trait Events: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &SessionEvent<'_>);
}

impl<F: Fn(&SessionEvent<'_>) + Send + Sync + 'static> Events for F {
    fn event(&self, event: &SessionEvent<'_>) {
        self(event);
    }
}

/// What happened to a session. Holds no token and no secret.
#[derive(Debug, Clone)]
pub struct SessionEvent<'a> {
    pub(super) kind: SessionEventKind,
    pub(super) session: Option<SessionId>,
    pub(super) subject: Option<&'a str>,
    pub(super) opened_from: Option<&'a ClientInfo>,
    pub(super) client: Option<&'a ClientInfo>,
    pub(super) why: Option<&'static str>,
    pub(super) sessions: Option<u64>,
}

/// The kinds of [`SessionEvent`]; the same as the names of the `tracing` events about sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionEventKind {
    /// A session was opened.
    Opened,
    /// A session was ended, as the subject had too many.
    Evicted,
    /// A refresh token was replaced.
    Rotated,
    /// The successor of a refresh token was given again: a retry, a second tab, a lost answer.
    Reissued,
    /// The store had lost rotations.
    Recovered,
    /// A replaced refresh token was presented late, and the session was ended: perhaps theft.
    Superseded,
    /// An old refresh token was presented, and sessions were ended: two parties hold it.
    Reused,
    /// A token with a genuine tag that the session never had: is the refresh key known to somebody else?
    Mismatch,
    /// An expired session was presented.
    Expired,
    /// A session that does not exist (any more) was presented.
    Unknown,
    /// A session was ended: by a logout, a login that replaced it, its owner, or the application.
    Ended,
    /// All sessions of a subject were ended, but perhaps one.
    EndedAll,
}

impl SessionEventKind {
    /// `None` for a token that was just handed out and is presented again: nothing happened.
    pub(super) fn of(decision: &Decision) -> Option<Self> {
        Some(match decision {
            Decision::Current(_) => return None,
            Decision::Rotated(_) => Self::Rotated,
            Decision::Reissued(_) => Self::Reissued,
            Decision::Recovered(_) => Self::Recovered,
            Decision::Expired => Self::Expired,
            Decision::Superseded => Self::Superseded,
            Decision::Reused => Self::Reused,
            Decision::Unknown(Unknown::Mismatch) => Self::Mismatch,
            Decision::Unknown(_) => Self::Unknown,
        })
    }

    /// The name, as in the `tracing` events and the counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Evicted => "evicted",
            Self::Rotated => "rotated",
            Self::Reissued => "reissued",
            Self::Recovered => "recovered",
            Self::Superseded => "superseded",
            Self::Reused => "reused",
            Self::Mismatch => "mismatch",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::Ended => "ended",
            Self::EndedAll => "ended_all",
        }
    }
}

impl fmt::Display for SessionEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'a> SessionEvent<'a> {
    pub(super) fn new(kind: SessionEventKind) -> Self {
        Self {
            kind,
            session: None,
            subject: None,
            opened_from: None,
            client: None,
            why: None,
            sessions: None,
        }
    }

    /// What happened.
    pub fn kind(&self) -> SessionEventKind {
        self.kind
    }

    /// The session; `None` where it is about all sessions of a subject.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session
    }

    /// Who the session belongs to, where known: a refresh token alone does not say it, as at a logout by cookie.
    pub fn subject(&self) -> Option<&'a str> {
        self.subject
    }

    /// The device that the session was opened from, where known.
    pub fn opened_from(&self) -> Option<&'a ClientInfo> {
        self.opened_from
    }

    /// The device of the request that this happened in; `None` for what was done from code.
    pub fn client(&self) -> Option<&'a ClientInfo> {
        self.client
    }

    /// Why a session was ended, in a few fixed words.
    pub fn why(&self) -> Option<&'static str> {
        self.why
    }

    /// How many sessions were ended, where all were.
    pub fn sessions(&self) -> Option<u64> {
        self.sessions
    }
}

/// The application's hook, if it has one.
#[derive(Default)]
pub(super) struct Hook(Option<Box<dyn Events>>);

impl Hook {
    pub(super) fn new(events: impl Events) -> Self {
        Self(Some(Box::new(events)))
    }

    /// Whether anybody listens.
    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// A panic of the application's must not lose a session that was opened, or an answer to a rotation.
    pub(super) fn call(&self, event: &SessionEvent<'_>) {
        let Some(events) = &self.0 else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| events.event(event))) {
            // What it carries may panic when it is dropped; what that carries is not even dropped.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
                mem::forget(again);
            }
            tracing::error!(
                name: "hook_panicked", target: "tower_jwt_auth::service", event = event.kind.as_str(),
                "the application's hook for events panicked"
            );
        }
    }
}
