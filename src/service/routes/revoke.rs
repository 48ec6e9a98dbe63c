//! `POST /revoke`.

use std::sync::Arc;

use http::request::Parts;

use crate::secret::ExposeSecret as _;
use crate::service::answer::{self, Answer};
use crate::service::core::Core;
use crate::service::events;
use crate::service::refresh_token_forms::{Form, looks_like_jwt};
use crate::service::routes::token_in_body::malformed_form;
use crate::service::routes::{Refusal, device, refuse};

/// Revocation (RFC 7009). Hints and client ids are ignored: there is one type of token, and whoever holds one may end
/// its session.
pub(super) async fn revoke(core: Arc<Core>, parts: &Parts, body: &[u8]) -> Result<Answer, Refusal> {
    let mut form = Form::parse(body).map_err(|why| malformed_form("revoke", why))?;
    let token = form.take_secret("token").ok_or_else(|| malformed_form("revoke", "the form has no token"))?;
    match core.codec.parse(token.expose_secret()) {
        Ok(token) => {
            let client = device(&core, parts);
            core.end_by_tokens(vec![token], client).await?;
        }
        // It stays good until it expires: to say that it were revoked would be a lie (section 2.2.1).
        Err(_) if looks_like_jwt(token.expose_secret()) => {
            events::refused("revoke", "unsupported_token_type");
            return Err(refuse(answer::unsupported_token_type()));
        }
        // A client could do nothing about the error (section 2.2).
        Err(why) => events::refused("revoke", why.as_str()),
    }
    Ok(answer::revoked())
}
