//! What the builder was told so far, and what is so where it was told nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::token::cache::CacheBounds;
use crate::token::config::limits::MAX_LIFETIME;
use crate::token::crypto::Crypto;
use crate::token::key::{SigningKey, VerifyingKey};
use crate::token::keyset::KeySetHandle;

#[allow(clippy::struct_excessive_bools)] // Independent switches, each with its method.
pub(super) struct Settings {
    pub(super) signing: Option<SigningKey>,
    pub(super) verifying: Vec<VerifyingKey>,
    pub(super) source: Option<KeySetHandle>,
    pub(super) issuer: String,
    pub(super) insecure_issuer: bool,
    pub(super) audiences: Vec<String>,
    pub(super) client_id: Option<String>,
    pub(super) lifetime: Duration,
    pub(super) insecure_lifetime: bool,
    pub(super) accepted_lifetime: Option<Duration>,
    pub(super) leeway: Duration,
    pub(super) max_token_bytes: usize,
    pub(super) types: Vec<String>,
    pub(super) accept_missing_type: bool,
    pub(super) single_audience: bool,
    pub(super) required: Vec<String>,
    pub(super) audience_claim: Option<String>,
    pub(super) scope_claim: Option<String>,
    pub(super) required_values: Vec<(String, String)>,
    pub(super) crypto: Option<Crypto>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cache: CacheBounds,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            signing: None,
            verifying: Vec::new(),
            source: None,
            issuer: String::new(),
            insecure_issuer: false,
            audiences: Vec::new(),
            client_id: None,
            lifetime: MAX_LIFETIME,
            insecure_lifetime: false,
            accepted_lifetime: None,
            types: vec!["at+jwt".to_owned()],
            accept_missing_type: false,
            single_audience: false,
            required: Vec::new(),
            audience_claim: None,
            scope_claim: None,
            required_values: Vec::new(),
            crypto: None,
            leeway: Duration::from_secs(30),
            max_token_bytes: 8 * 1024,
            clock: Arc::new(SystemClock),
            cache: CacheBounds { bytes: 32 * 1024 * 1024, life: MAX_LIFETIME },
        }
    }
}
