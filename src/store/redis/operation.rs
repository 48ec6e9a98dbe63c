//! How an operation goes to the server: one script on one key, in time, and where it ends something safely.

use ::redis::aio::ConnectionLike;
use ::redis::{FromRedisValue, Pipeline, RedisResult, Script};

use super::error::{is_no_script, store_error};
use super::{RedisStore, codec};
use crate::secret::base64url;
use crate::session::SubjectDigest;
use crate::store::{StoreError, StoreErrorKind};

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// Of the one hash of a subject.
    pub(super) fn key(&self, subject: &SubjectDigest) -> String {
        format!("{}:{}", self.settings.prefix, base64url(subject.as_bytes()))
    }

    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.settings.timeout, answer).await {
            Ok(answer) => answer.map_err(store_error),
            Err(_) => Err(StoreError::new(StoreErrorKind::Timeout, "Redis did not answer in time")),
        }
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let mut call = script.key(key);
        for argument in arguments {
            call.arg(*argument);
        }
        let mut connection = self.connection.clone();
        let answer = self.in_time(call.invoke_async(&mut connection)).await?;
        self.check_once();
        Ok(answer)
    }

    /// Runs a script that ends sessions or revokes tokens: its effect is on as many replicas as were asked for before
    /// this returns.
    pub(super) async fn run_safely<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let Some(replicas) = self.settings.replicas else { return self.run(script, key, arguments).await };
        let mut both = Pipeline::with_capacity(2);
        let call = both.cmd("EVALSHA").arg(script.get_hash()).arg(1).arg(key);
        for argument in arguments {
            call.arg(*argument);
        }
        let milliseconds = u64::try_from(replicas.timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        both.cmd("WAIT").arg(replicas.count).arg(milliseconds);
        let mut connection = self.connection.clone();
        let answer = async {
            match both.query_async::<(T, u32)>(&mut connection).await {
                Err(error) if is_no_script(&error) => {
                    script.load_async(&mut connection).await?;
                    both.query_async(&mut connection).await
                }
                answer => answer,
            }
        };
        let (answer, reached) = self.in_time(answer).await?;
        if reached < replicas.count {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "too few replicas of Redis confirmed what was ended or revoked",
            ));
        }
        Ok(answer)
    }

    /// The time that scripts decide by: none, and they ask the server; in tests the one given.
    pub(super) fn clock(&self) -> f64 {
        self.settings.clock.as_ref().map_or(f64::NAN, |clock| codec::double(clock.now()))
    }
}
