//! `POST /refresh`: by the cookie, or by a token in the body.

use std::sync::Arc;

use http::request::Parts;

use crate::secret::{ExposeSecret as _, SecretString};
use crate::service::answer::{self, Answer};
use crate::service::core::{Core, no_randomness};
use crate::service::error::{SessionError, SessionErrorKind};
use crate::service::events;
use crate::service::proof;
use crate::service::refresh_token_forms::{BadForm, RefreshForm, Scope};
use crate::service::request::{Media, media};
use crate::service::routes::cookies::{set_cookie, single};
use crate::service::routes::token_in_body::{malformed_form, one_credential, token_in_json};
use crate::service::routes::{Refusal, device, refuse};
use crate::session::{Attempt, RefreshToken};

pub(super) async fn refresh(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    carries_cookie: bool,
    parts: &Parts,
    body: &[u8],
) -> Result<Answer, Refusal> {
    match Asked::of(&core, parts, body, carries_cookie)? {
        Some(asked) => by_token(core, asked, parts).await,
        None => by_cookie(core, tokens, parts).await,
    }
}

/// By the cookie; the answer sets a new one where the token was rotated.
async fn by_cookie(core: Arc<Core>, tokens: Vec<RefreshToken>, parts: &Parts) -> Result<Answer, Refusal> {
    let token = single(&core, tokens, "refresh").await?.ok_or_else(|| {
        events::refused("refresh", "no_token");
        refuse(answer::invalid_grant(core.responder.challenge()))
    })?;
    let client = device(&core, parts);
    let (holder, proof) = proof::holder(&core, token, parts).await?;
    let grant = Arc::clone(&core).refresh(holder, client).await?;
    Ok(answer::with_nonce(
        answer::granted(&grant, set_cookie(&core, &grant)),
        core.nonce_after(proof.as_ref()),
    ))
}

/// A refresh by a token in the body.
enum Asked {
    Json(SecretString),
    Form(RefreshForm),
}

impl Asked {
    /// `None` where the body brings no token, so that the cookie decides.
    fn of(core: &Core, parts: &Parts, body: &[u8], carries_cookie: bool) -> Result<Option<Self>, Refusal> {
        if !core.delivery.uses_body() {
            return Ok(None);
        }
        let asked = match media(&parts.headers) {
            Some(Media::Json) => token_in_json("refresh", body)?.map(Self::Json),
            Some(Media::Form) if !body.is_empty() || !carries_cookie => {
                Some(Self::Form(RefreshForm::parse(body).map_err(|bad| match bad {
                    BadForm::Malformed(why) => malformed_form("refresh", why),
                    BadForm::UnsupportedGrantType => {
                        events::refused("refresh", "unsupported_grant_type");
                        refuse(answer::unsupported_grant_type())
                    }
                })?))
            }
            Some(Media::Form) | None => None,
        };
        one_credential("refresh", asked.is_some(), carries_cookie)?;
        Ok(asked)
    }
}

/// By the token alone: no cookie is set.
async fn by_token(core: Arc<Core>, asked: Asked, parts: &Parts) -> Result<Answer, Refusal> {
    match asked {
        Asked::Json(token) => rotate(core, &token, None, parts).await,
        // OAuth has its own status for it (RFC 6749, section 5.2).
        Asked::Form(form) => {
            rotate(core, &form.token, form.scope.as_deref(), parts).await.map_err(|refusal| match refusal {
                Refusal::Session(error) if error.kind() == SessionErrorKind::Refused => {
                    refuse(answer::oauth_invalid_grant())
                }
                other => other,
            })
        }
    }
}

async fn rotate(
    core: Arc<Core>,
    token: &SecretString,
    scope: Option<&str>,
    parts: &Parts,
) -> Result<Answer, Refusal> {
    let token = core.codec.parse(token.expose_secret()).map_err(|why| {
        events::refused("refresh", why.as_str());
        SessionError::refused()
    })?;
    let (holder, proof) = proof::holder(&core, token, parts).await?;
    // The scope of a session never changes; one that is asked for is checked before anything does.
    let mut granted = None;
    if let Some(asked) = scope {
        let attempt = Attempt::random().map_err(no_randomness)?;
        if let Some(record) = core.answered(&holder.present(attempt)).await? {
            let scopes = &record.facts.scopes;
            granted = Some(match Scope::compare(asked, scopes) {
                Scope::Wider => {
                    events::refused("refresh", "invalid_scope");
                    return Err(refuse(answer::invalid_scope()));
                }
                Scope::Narrower => Some(scopes.join(" ")),
                Scope::Same => None,
            });
        }
    }
    let client = device(&core, parts);
    let grant = Arc::clone(&core).refresh(holder, client).await?;
    let told = match (scope, granted) {
        (None, _) => None,
        (Some(_), Some(differs)) => differs,
        // The rule would have refused when the scope was to be checked, and grants now: the next try is checked.
        (Some(_), None) => {
            return Err(
                SessionError::unavailable("scope", "the session changed while it was refreshed").into()
            );
        }
    };
    Ok(answer::with_nonce(answer::granted_in_body(&grant, told.as_deref()), core.nonce_after(proof.as_ref())))
}
