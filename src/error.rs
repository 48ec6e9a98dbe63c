//! [`ConfigError`]: what is found wrong while a part is being built, never while a request is served.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A configuration that cannot work or is not safe. The text says what to change; it holds no secret.
pub struct ConfigError {
    kind: ConfigErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a [`ConfigError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// A key is too short, of the wrong form, given twice, or does not go with the other keys.
    Key,
    /// No cryptographic backend is compiled in.
    Crypto,
    /// The issuer is not an https URL, or one on this machine; or a verifier of several has none, or one twice.
    Issuer,
    /// The audience is empty, or the identifier of a protected resource is not an https URL, or one on this machine.
    Audience,
    /// The name of a claim is empty, or stands for what another claim says.
    Claim,
    /// A lifetime, leeway or window is out of its bounds, or `Retry::UntilUsed` lacks the reports of use that it needs.
    Lifetime,
    /// An origin is not of the form `scheme://host[:port]`, or there is none; or a base URL for DPoP cannot be used.
    Origin,
    /// The cookie's name or its attributes contradict each other.
    Cookie,
    /// The mount point is not an absolute path.
    Path,
    /// A size or a number is out of its bounds.
    Limit,
    /// There is no tokio runtime in which a task could run.
    Runtime,
    /// A URL, a prefix or a name by which a store finds its data has another form.
    Store,
}

impl ConfigError {
    pub(crate) fn new(kind: ConfigErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the error is about.
    pub fn kind(&self) -> ConfigErrorKind {
        self.kind
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
