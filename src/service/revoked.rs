//! Whether an access token was revoked by its own name, or by its subject's.

use crate::service::core::twice;
use crate::store::{DynRevocations, RevocationKey, StoreError};
use crate::token::Registered;

/// Asks the store under each name, at each request: what these routes do to sessions is not to be had with an answer of
/// before.
pub(super) async fn is_revoked(
    store: &dyn DynRevocations,
    registered: &Registered,
) -> Result<bool, StoreError> {
    let issuer = registered.issuer();
    let subject = RevocationKey::subject(issuer, registered.subject());
    let token = registered.token_id().map(|token_id| RevocationKey::token(issuer, token_id));
    for key in [Some(subject), token].into_iter().flatten() {
        let not_before = twice(|| store.not_before(&key)).await?;
        if not_before.is_some_and(|not_before| registered.issued_at() < not_before) {
            return Ok(true);
        }
    }
    Ok(false)
}
