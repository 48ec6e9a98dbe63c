//! `POST /logout`: by the cookies, by a token in the body, or by a bearer token.

use std::sync::Arc;

use http::request::Parts;

use crate::reject::RejectionKind;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::service::answer::{self, Answer};
use crate::service::core::Core;
use crate::service::events;
use crate::service::refresh_token_forms::Form;
use crate::service::request::{Media, media};
use crate::service::routes::cookies::{are_too_many, several_sessions};
use crate::service::routes::owner::{BearerRefusal, For, Owner, bearer_owner};
use crate::service::routes::token_in_body::{malformed_form, one_credential, token_in_json};
use crate::service::routes::{Refusal, device};
use crate::session::RefreshToken;

pub(super) async fn logout(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    carries_cookie: bool,
    may_clear_cookie: bool,
    parts: &Parts,
    body: &[u8],
) -> Result<Answer, Refusal> {
    match token_in_body(&core, parts, body, carries_cookie)? {
        Some(token) => end(Arc::clone(&core), named(&core, &token), false, parts).await,
        // Which of them is the client's own nobody can tell, but for a bearer token.
        None if are_too_many(&tokens) => {
            if !end_by_bearer(&core, parts).await? {
                return Err(several_sessions("logout"));
            }
            Ok(answer::done(if may_clear_cookie { core.cookie.clear() } else { None }))
        }
        None => end(core, tokens, may_clear_cookie, parts).await,
    }
}

/// Ends every session whose token was presented: whoever holds one genuine token of a session may end it. A client
/// that presents none but a bearer token ends the session of that. It is 204 in any case: nobody is told more.
async fn end(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    clear: bool,
    parts: &Parts,
) -> Result<Answer, Refusal> {
    if tokens.is_empty() {
        end_by_bearer(&core, parts).await?;
    }
    Arc::clone(&core).end_by_tokens(tokens, device(&core, parts)).await?;
    Ok(answer::done(if clear { core.cookie.clear() } else { None }))
}

/// Whether there was a bearer token of a session that lives.
async fn end_by_bearer(core: &Arc<Core>, parts: &Parts) -> Result<bool, Refusal> {
    match bearer_owner(core, parts, For::Itself).await {
        Ok(Owner { subject, session_id }) => {
            Arc::clone(core).end(subject, session_id, "logout", device(core, parts)).await?;
            return Ok(true);
        }
        // Nothing at all was presented: nothing is to be ended.
        Err(BearerRefusal::Rejected(rejection)) if rejection.kind() == RejectionKind::Missing => {}
        Err(BearerRefusal::Rejected(rejection)) => events::refused("logout", rejection.reason()),
        Err(BearerRefusal::Session(error)) => return Err(error.into()),
    }
    Ok(false)
}

/// The token that a logout brings in its body.
fn token_in_body(
    core: &Core,
    parts: &Parts,
    body: &[u8],
    carries_cookie: bool,
) -> Result<Option<SecretString>, Refusal> {
    if !core.delivery.uses_body() {
        return Ok(None);
    }
    let token = match media(&parts.headers) {
        Some(Media::Json) => token_in_json("logout", body)?,
        Some(Media::Form) => {
            let mut form = Form::parse(body).map_err(|why| malformed_form("logout", why))?;
            form.take_secret("refresh_token")
        }
        None => None,
    };
    one_credential("logout", token.is_some(), carries_cookie)?;
    Ok(token)
}

/// The session that a token in the body names, if it is genuine.
fn named(core: &Core, token: &SecretString) -> Vec<RefreshToken> {
    let token = core.codec.parse(token.expose_secret());
    token.map_err(|why| events::refused("logout", why.as_str())).into_iter().collect()
}
