//! A connection of the pool for the length of one operation.

use deadpool_postgres::{ClientWrapper, Object, Pool, PoolError};

/// Goes back to the pool only if its operation came to its end. One that failed or was given up may have a transaction
/// open or an answer under way: its connection is closed, and the server undoes what was not committed.
pub(super) struct Lease(Option<Object>);

impl Lease {
    pub(super) async fn of(pool: &Pool) -> Result<Self, PoolError> {
        pool.get().await.map(Some).map(Self)
    }

    /// There as long as the lease is.
    pub(super) fn client(&self) -> Option<&ClientWrapper> {
        self.0.as_deref()
    }

    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
