//! [`Demand`]: what a refused token would have needed, for the challenge.

use std::fmt::Write as _;
use std::time::Duration;

/// The parameters that tell a client what to ask its authorization server for. Of characters that need no escape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Demand {
    /// Scopes with spaces between (RFC 6750, section 3).
    pub(crate) scope: Option<Box<str>>,
    /// Authentication contexts with spaces between, the preferred one first (RFC 9470, section 3).
    pub(crate) acr_values: Option<Box<str>>,
    /// How long ago the authentication may have been (RFC 9470, section 3).
    pub(crate) max_age: Option<Duration>,
}

impl Demand {
    /// The parameters behind those of every challenge.
    pub(super) fn write(&self, challenge: &mut String) {
        let texts = [("scope", &self.scope), ("acr_values", &self.acr_values)];
        for (name, text) in texts {
            if let Some(text) = text {
                // Writing to a string does not fail.
                let _ = write!(challenge, r#", {name}="{text}""#);
            }
        }
        if let Some(max_age) = self.max_age {
            let _ = write!(challenge, r#", max_age="{}""#, max_age.as_secs());
        }
    }
}
