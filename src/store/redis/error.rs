//! Which [`StoreError`] an error of Redis is.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::{StoreError, StoreErrorKind};

pub(super) fn is_no_script(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT") || error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

pub(super) fn store_error(error: RedisError) -> StoreError {
    use StoreErrorKind::{Corrupt, Timeout, Unavailable};
    let (kind, message) = match (error.kind(), error.code()) {
        _ if error.is_timeout() => (Timeout, "Redis did not answer in time"),
        (_, Some("OOM")) => (Unavailable, "the memory of Redis is full: raise `maxmemory`"),
        (_, Some("READONLY")) => (Unavailable, "this Redis is a replica, which takes no writes"),
        (_, Some("NOPERM" | "NOAUTH" | "WRONGPASS")) | (ErrorKind::AuthenticationFailed, _) => (
            Unavailable,
            "Redis refuses the account: it needs GET, EVALSHA, SCRIPT LOAD and the scripts' commands on the keys of the prefix",
        ),
        (_, Some("WRONGTYPE" | "VERSION")) | (ErrorKind::Parse | ErrorKind::UnexpectedReturnType, _) => {
            (Corrupt, "what Redis holds was not written by this version of the store")
        }
        (ErrorKind::Server(ServerErrorKind::ResponseError), _) => {
            (Corrupt, "a script failed in Redis: it is older than 7.0, or holds what the store did not write")
        }
        _ => (Unavailable, "Redis cannot be reached"),
    };
    StoreError::new(kind, message).with_source(error)
}
