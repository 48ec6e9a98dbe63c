//! [`DynStore`]: a session store without its type.

use std::pin::Pin;

use crate::clock::Timestamp;
use crate::session::{
    Attempt, NewSession, Presented, Record, SecretDigest, SessionId, SessionPolicy, SubjectDigest,
};
use crate::store::{Creation, Rotation, SessionFeed, SessionStore, StoreError};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`SessionStore`] without its type: what the service holds. One box a call.
pub(crate) trait DynStore: Send + Sync {
    fn now(&self) -> BoxFuture<'_, Result<Timestamp, StoreError>>;
    fn create<'a>(
        &'a self,
        session: &'a NewSession,
        policy: &'a SessionPolicy,
    ) -> BoxFuture<'a, Result<Creation, StoreError>>;
    fn rotate<'a>(
        &'a self,
        presented: &'a Presented,
        policy: &'a SessionPolicy,
    ) -> BoxFuture<'a, Result<Rotation, StoreError>>;
    fn get<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        session_id: &'a SessionId,
    ) -> BoxFuture<'a, Result<Option<Record>, StoreError>>;
    fn list<'a>(&'a self, subject: &'a SubjectDigest) -> BoxFuture<'a, Result<Vec<Record>, StoreError>>;
    fn revoke<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        session_id: &'a SessionId,
        proof: Option<&'a SecretDigest>,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    fn revoke_subject<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        except: Option<&'a SessionId>,
        policy: &'a SessionPolicy,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;
    fn mark_used<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        session_id: &'a SessionId,
        generation: u32,
        issue: u32,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    fn feed(&self) -> Option<&SessionFeed>;
}

impl<S: SessionStore> DynStore for S {
    fn now(&self) -> BoxFuture<'_, Result<Timestamp, StoreError>> {
        Box::pin(SessionStore::now(self))
    }

    fn create<'a>(
        &'a self,
        session: &'a NewSession,
        policy: &'a SessionPolicy,
    ) -> BoxFuture<'a, Result<Creation, StoreError>> {
        Box::pin(SessionStore::create(self, session, policy))
    }

    fn rotate<'a>(
        &'a self,
        presented: &'a Presented,
        policy: &'a SessionPolicy,
    ) -> BoxFuture<'a, Result<Rotation, StoreError>> {
        Box::pin(SessionStore::rotate(self, presented, policy))
    }

    fn get<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        session_id: &'a SessionId,
    ) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(SessionStore::get(self, subject, session_id))
    }

    fn list<'a>(&'a self, subject: &'a SubjectDigest) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        Box::pin(SessionStore::list(self, subject))
    }

    fn revoke<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        session_id: &'a SessionId,
        proof: Option<&'a SecretDigest>,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(SessionStore::revoke(self, subject, session_id, proof, attempt))
    }

    fn revoke_subject<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        except: Option<&'a SessionId>,
        policy: &'a SessionPolicy,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(SessionStore::revoke_subject(self, subject, except, policy, attempt))
    }

    fn mark_used<'a>(
        &'a self,
        subject: &'a SubjectDigest,
        session_id: &'a SessionId,
        generation: u32,
        issue: u32,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(SessionStore::mark_used(self, subject, session_id, generation, issue))
    }

    fn feed(&self) -> Option<&SessionFeed> {
        SessionStore::feed(self)
    }
}
