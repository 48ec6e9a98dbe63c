//! Where the demo keeps its sessions: in memory, or on the server that `STORE` names.

use std::error::Error;
use std::time::Duration;

#[cfg(feature = "postgres")]
use tower_jwt_auth::PostgresStore;
#[cfg(feature = "redis")]
use tower_jwt_auth::RedisStore;
use tower_jwt_auth::{MokaStore, PurgeTask};

const TEN_MINUTES: Duration = Duration::from_secs(600);

pub(crate) enum Store {
    Moka(MokaStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
}

/// Opens the store, and sees to it that it is ready: the server answers, the tables are there. Expired sessions are
/// forgotten as long as the task is kept; Redis forgets by itself.
#[cfg_attr(not(any(feature = "redis", feature = "postgres")), allow(clippy::unused_async))]
pub(crate) async fn open(url: Option<&str>) -> Result<(Store, Option<PurgeTask>), Box<dyn Error>> {
    let Some(url) = url else {
        let store = MokaStore::new();
        let purge = PurgeTask::spawn(store.clone(), TEN_MINUTES)?;
        return Ok((Store::Moka(store), Some(purge)));
    };
    match url.split_once("://").map(|(scheme, _)| scheme) {
        #[cfg(feature = "redis")]
        Some("redis" | "rediss") => {
            let store = RedisStore::open(url)?;
            store.check().await?;
            Ok((Store::Redis(store), None))
        }
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => {
            let store = PostgresStore::open(url)?;
            store.migrate().await?;
            let purge = PurgeTask::spawn(store.clone(), TEN_MINUTES)?;
            Ok((Store::Postgres(store), Some(purge)))
        }
        _ => Err(
            "STORE must be redis://.. or postgres://.., and the demo be built with --features redis,postgres"
                .into(),
        ),
    }
}
