//! Tasks of stores, which need a runtime.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::{ConfigError, ConfigErrorKind};

/// # Errors
///
/// It is not called within a tokio runtime.
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>, ConfigError> {
    let runtime = Handle::try_current().map_err(|error| {
        let why = "it works by a task: call this within a tokio runtime";
        ConfigError::new(ConfigErrorKind::Runtime, why).with_source(error)
    })?;
    Ok(runtime.spawn(task))
}
