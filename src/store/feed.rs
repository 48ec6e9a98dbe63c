//! [`SessionFeed`]: tells who listens that sessions have ended, as soon as a store knows.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::clock::Timestamp;
use crate::session::{Decision, OnReuse, Presented, SessionId, SessionPolicy, SubjectDigest};
use crate::store::{Creation, RevocationKey, Rotation};

/// What has become of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// One has ended.
    Ended {
        /// Whose it was.
        subject: SubjectDigest,
        /// Which.
        session_id: SessionId,
    },
    /// All of a subject have ended but one.
    AllEnded {
        /// Whose they were.
        subject: SubjectDigest,
        /// The one that goes on.
        except: Option<SessionId>,
    },
    /// A call whose purpose is to end sessions, `revoke` or `revoke_subject`, failed, and may have ended some all the
    /// same; or it is known that some ended, and not which.
    Uncertain {
        /// Whose they are.
        subject: SubjectDigest,
    },
    /// A `create` or a `rotate` of a subject failed, and may have ended sessions all the same: those above the limit,
    /// or those of a token that was reused. Seldom true, so that a layer that is to trust what it knows while a store
    /// does not answer ([`trust_for`](crate::LiveSessionsLayer::trust_for)) does.
    Unanswered {
        /// Whose they are.
        subject: SubjectDigest,
    },
    /// The access tokens of one are replaced by a later one, and count no more.
    Replaced {
        /// Whose it is.
        subject: SubjectDigest,
        /// Which.
        session_id: SessionId,
    },
    /// Tokens are refused that were issued before a time.
    TokensRevoked {
        /// Which tokens.
        key: RevocationKey,
        /// The time.
        not_before: Timestamp,
    },
    /// A call that was to revoke tokens failed, and may have done it all the same.
    TokensUncertain {
        /// Which tokens.
        key: RevocationKey,
    },
}

/// Tells the [live sessions layers](crate::LiveSessionsLayer) of this process what a store has ended. Clones are the
/// same.
///
/// A store has one, gives it by [`SessionStore::feed`](crate::SessionStore::feed), and tells it of the outcome of each
/// of its operations before this returns: the `tell_` methods know what is of interest. Of an operation that fails or
/// is dropped it tells that, too, by [`unless_settled`](Self::unless_settled). What other nodes have ended it tells as
/// it hears of it, by [`send`](Self::send).
#[derive(Clone, Default)]
pub struct SessionFeed {
    listeners: Arc<Mutex<Vec<Weak<dyn Listen>>>>,
}

/// A call that has no answer yet: of [`SessionFeed::unless_settled`].
#[derive(Debug)]
#[must_use = "it tells at once that the call failed"]
pub struct Unsettled<'f> {
    feed: &'f SessionFeed,
    change: Option<SessionChange>,
}

impl Unsettled<'_> {
    /// The call was answered, and what it did is told by itself.
    pub fn settle(mut self) {
        self.change = None;
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if let Some(change) = &self.change {
            self.feed.send(change);
        }
    }
}

/// Who wants to know.
pub(crate) trait Listen: Send + Sync {
    /// Is called within an operation of the store, so it must not wait for anything.
    fn changed(&self, change: &SessionChange);
}

impl SessionFeed {
    /// One that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells who listens.
    pub fn send(&self, change: &SessionChange) {
        // Not under the lock: a listener may listen to more.
        let listeners: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        for listener in listeners {
            listener.changed(change);
        }
    }

    /// What a creation has ended.
    pub fn tell_created(&self, creation: &Creation) {
        if let Creation::Created { record, evicted } = creation {
            let subject = record.subject_digest();
            for session_id in evicted {
                self.send(&SessionChange::Ended { subject, session_id: *session_id });
            }
        }
    }

    /// What a rotation has ended, or replaced.
    pub fn tell_rotation(&self, presented: &Presented, policy: &SessionPolicy, rotation: &Rotation) {
        let (subject, session_id) = (presented.subject, presented.session_id);
        let change = match rotation.decision {
            Decision::Reused if policy.on_reuse() == OnReuse::Subject => {
                SessionChange::AllEnded { subject, except: None }
            }
            Decision::Reused | Decision::Superseded => SessionChange::Ended { subject, session_id },
            Decision::Reissued(state) if state.issue > 0 => SessionChange::Replaced { subject, session_id },
            _ => return,
        };
        self.send(&change);
    }

    /// That one session was revoked, if there was one.
    pub fn tell_revoked(&self, subject: &SubjectDigest, session_id: &SessionId, ended: bool) {
        if ended {
            self.send(&SessionChange::Ended { subject: *subject, session_id: *session_id });
        }
    }

    /// That all sessions of a subject were revoked.
    pub fn tell_revoked_subject(&self, subject: &SubjectDigest, except: Option<&SessionId>) {
        self.send(&SessionChange::AllEnded { subject: *subject, except: except.copied() });
    }

    /// Tells this unless it is [settled](Unsettled::settle): for a call whose answer may be lost, or not be waited for.
    ///
    /// ```
    /// use tower_jwt_auth::{SessionChange, SessionFeed, StoreError, SubjectDigest};
    ///
    /// async fn end_all(feed: &SessionFeed, subject: SubjectDigest) -> Result<(), StoreError> {
    ///     let unsettled = feed.unless_settled(SessionChange::Uncertain { subject });
    ///     // Ask the server here. If it fails, or this future is dropped, what is known of the subject is asked again.
    ///     unsettled.settle();
    ///     feed.tell_revoked_subject(&subject, None);
    ///     Ok(())
    /// }
    /// # let _ = end_all;
    /// ```
    pub fn unless_settled(&self, change: SessionChange) -> Unsettled<'_> {
        Unsettled { feed: self, change: Some(change) }
    }

    /// That tokens are refused that were issued before a time.
    pub fn tell_tokens_revoked(&self, key: &RevocationKey, not_before: Timestamp) {
        self.send(&SessionChange::TokensRevoked { key: *key, not_before });
    }

    /// Tells this one, too, as long as somebody else holds it.
    pub(crate) fn listen(&self, listener: Weak<dyn Listen>) {
        let mut listeners = self.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(listener);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Listen>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFeed").field("listeners", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<SessionChange>>);

    impl Listen for Told {
        fn changed(&self, change: &SessionChange) {
            self.0.lock().unwrap().push(change.clone());
        }
    }

    #[test]
    fn a_call_tells_that_it_failed_unless_it_is_settled() {
        let (feed, told) = (SessionFeed::new(), Arc::new(Told::default()));
        let listener = Arc::downgrade(&told);
        feed.listen(listener);
        let change = SessionChange::Uncertain { subject: SubjectDigest::of("ada") };
        feed.unless_settled(change.clone()).settle();
        assert_eq!(*told.0.lock().unwrap(), []);
        drop(feed.unless_settled(change.clone()));
        assert_eq!(*told.0.lock().unwrap(), [change]);
    }
}
