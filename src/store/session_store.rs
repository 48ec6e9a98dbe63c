//! [`SessionStore`]: what a place for sessions can be asked, and what must hold.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::session::{
    Attempt, NewSession, Presented, Record, SecretDigest, SessionId, SessionPolicy, SubjectDigest,
};
use crate::store::{Creation, Rotation, SessionFeed, StoreError};

/// A place for sessions. Implement it with `async fn`; the package `examples/sqlite_store` shows how, step by step, and
/// [`store_contract!`](crate::store_contract) (feature `test-util`) tests all of what stands here.
///
/// Each operation is atomic, and all times are by one clock: the store's own. What must hold:
///
/// - [`rotate`](Self::rotate) answers as [`decide`](crate::decide) does, and writes what the decision says in the
///   same step as it reads the record. Two calls never decide over the same state.
/// - Once [`revoke`](Self::revoke) or [`revoke_subject`](Self::revoke_subject) has returned, no rotation of an ended
///   session succeeds, whatever is in flight.
/// - `revoke_subject` and [`create`](Self::create) of one subject exclude each other.
/// - A login that begins after `revoke_subject` has returned is not refused for it. Where both can fall into one
///   millisecond, `revoke_subject` returns a little later, or [`now`](Self::now) gives a later time.
/// - A call that is sent again with the same attempt changes nothing more, and gives the same outcome: a `create` its
///   session (with nothing evicted), a rotation the same token (as `Reissued`), a call that ended sessions what it
///   answered, for a minute at least. A `create` that arrives again in the minute after its session was ended, in
///   whatever way, does not bring it back.
/// - An operation whose future is dropped happens completely or not at all; it may still happen afterwards.
/// - A store that cannot answer says so with an error, and then nothing is revoked.
///
/// [`mark_used`](Self::mark_used) is called by a [live sessions layer](crate::LiveSessionsLayer::report_use), and by
/// the service where an access token comes to its own routes; [`purge_expired`](Self::purge_expired) by a
/// [`PurgeTask`](crate::PurgeTask) only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session store",
    label = "does not implement `SessionStore`",
    note = "use `MokaStore` (feature `moka`), or implement `SessionStore` with `async fn` for a type of your own",
    note = "the futures must be `Send`: no `Rc`, `RefCell` or lock guard may be held across an `.await`"
)]
pub trait SessionStore: Send + Sync + 'static {
    /// The time by the store's clock.
    fn now(&self) -> impl Future<Output = Result<Timestamp, StoreError>> + Send;

    /// Keeps a new session.
    ///
    /// If there is one with the same id and the same secret, it is this session, and the call was sent again. Refused
    /// if the id is taken by a session with another secret, if all sessions of the subject were ended at or after the
    /// moment when the session was authenticated, and if this session was ended within the last minute.
    ///
    /// Those above [`SessionPolicy::sessions_per_subject`] end for it: expired ones first (which count towards the
    /// limit as long as they are kept, but are not named as evicted), then by `last_used_at`, then by id.
    fn create(
        &self,
        session: &NewSession,
        policy: &SessionPolicy,
    ) -> impl Future<Output = Result<Creation, StoreError>> + Send;

    /// Presents a refresh token: the rule of rotation, atomically.
    fn rotate(
        &self,
        presented: &Presented,
        policy: &SessionPolicy,
    ) -> impl Future<Output = Result<Rotation, StoreError>> + Send;

    /// One session, expired or not; `None` if there is none or it was ended.
    fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// The sessions of a subject that have not expired, the latest created first.
    fn list(&self, subject: &SubjectDigest) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Ends one session; with a `proof` only if its secret is that one. Says whether there was one to end.
    fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends all sessions of a subject but the one excepted, and refuses those whose credentials were checked before,
    /// for as long as [`SessionPolicy::revocation_memory`] says. Says how many it ended.
    fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Notes that an access token of this generation and this issue was seen in use, if both are the session's newest
    /// and no use was seen before.
    fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets sessions that expired more than a day ago. Says how many; 0 where the engine forgets by itself.
    fn purge_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// What this store tells of the sessions that it ends: one feed for all of its clones. Without one, a
    /// [`LiveSessionsLayer`](crate::LiveSessionsLayer) learns of an end only when it asks again.
    fn feed(&self) -> Option<&SessionFeed> {
        None
    }
}

/// A reference-counted store is a store: a test keeps one handle and gives the service the other.
impl<S: SessionStore> SessionStore for Arc<S> {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        S::now(self).await
    }

    async fn create(&self, session: &NewSession, policy: &SessionPolicy) -> Result<Creation, StoreError> {
        S::create(self, session, policy).await
    }

    async fn rotate(&self, presented: &Presented, policy: &SessionPolicy) -> Result<Rotation, StoreError> {
        S::rotate(self, presented, policy).await
    }

    async fn get(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
    ) -> Result<Option<Record>, StoreError> {
        S::get(self, subject, session_id).await
    }

    async fn list(&self, subject: &SubjectDigest) -> Result<Vec<Record>, StoreError> {
        S::list(self, subject).await
    }

    async fn revoke(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        proof: Option<&SecretDigest>,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        S::revoke(self, subject, session_id, proof, attempt).await
    }

    async fn revoke_subject(
        &self,
        subject: &SubjectDigest,
        except: Option<&SessionId>,
        policy: &SessionPolicy,
        attempt: &Attempt,
    ) -> Result<u64, StoreError> {
        S::revoke_subject(self, subject, except, policy, attempt).await
    }

    async fn mark_used(
        &self,
        subject: &SubjectDigest,
        session_id: &SessionId,
        generation: u32,
        issue: u32,
    ) -> Result<(), StoreError> {
        S::mark_used(self, subject, session_id, generation, issue).await
    }

    async fn purge_expired(&self) -> Result<u64, StoreError> {
        S::purge_expired(self).await
    }

    fn feed(&self) -> Option<&SessionFeed> {
        S::feed(self)
    }
}
