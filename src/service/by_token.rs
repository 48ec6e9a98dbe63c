//! The roads of refresh tokens in bodies, where the service delivers them so: no cookie is set here, and only the token
//! itself authenticates.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::ORIGIN;
use http::request::Parts;

use crate::secret::{ExposeSecret as _, SecretString};
use crate::service::answer::{self, Answer};
use crate::service::core::Core;
use crate::service::delivery::{Delivery, Handover, take_wish};
use crate::service::error::{SessionError, SessionErrorKind};
use crate::service::events;
use crate::service::presented::{BadForm, Form, RefreshForm, Scope, in_json, looks_like_jwt};
use crate::service::proof;
use crate::service::request::{Media, media};
use crate::service::roads::{Refusal, device, refuse};
use crate::session::Attempt;

/// How a login is answered, and its credentials without what they say about that.
pub(super) fn login<'b>(
    core: &Core,
    parts: &Parts,
    body: &'b [u8],
) -> Result<(Handover, Cow<'b, [u8]>), Refusal> {
    if core.delivery == Delivery::Cookie {
        return Ok((Handover::Cookie, Cow::Borrowed(body)));
    }
    let malformed = |detail: &str| {
        events::bad_body("login", detail);
        refuse(answer::bad_body())
    };
    let (wish, credentials) = take_wish(body).map_err(|detail| malformed(&detail))?;
    let handover = match (core.delivery, wish) {
        (Delivery::Body, Some(Handover::Cookie)) => return Err(malformed("no cookies are delivered here")),
        (Delivery::Body, _) | (_, Some(Handover::Body)) => Handover::Body,
        (_, Some(Handover::Cookie) | None) => Handover::Cookie,
    };
    // What a page is given, every script in it can take away.
    let is_browser = parts.headers.contains_key(ORIGIN) || parts.headers.contains_key("sec-fetch-site");
    if core.delivery == Delivery::Both && handover == Handover::Body && is_browser {
        events::refused("login", "browser");
        return Err(refuse(answer::cookie_only()));
    }
    Ok((handover, credentials))
}

/// A refresh by a token in the body.
pub(super) enum Asked {
    Json(SecretString),
    Form(RefreshForm),
}

impl Asked {
    /// `None` where the body brings no token, so that the cookie decides.
    pub(super) fn of(
        core: &Core,
        parts: &Parts,
        body: &[u8],
        carries_cookie: bool,
    ) -> Result<Option<Self>, Refusal> {
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

pub(super) async fn refresh(core: Arc<Core>, asked: Asked, parts: &Parts) -> Result<Answer, Refusal> {
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
        let attempt = Attempt::random().map_err(|error| SessionError::unavailable("random bytes", error))?;
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

/// The token that a logout brings in its body.
pub(super) fn logout(
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

fn token_in_json(route: &'static str, body: &[u8]) -> Result<Option<SecretString>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    in_json(body).map_err(|detail| {
        events::bad_body(route, &detail);
        refuse(answer::bad_body())
    })
}

fn malformed_form(route: &'static str, why: &'static str) -> Refusal {
    events::bad_body(route, why);
    refuse(answer::bad_form())
}

/// With a token and a cookie there is no telling which one is meant.
fn one_credential(route: &'static str, has_token: bool, carries_cookie: bool) -> Result<(), Refusal> {
    if has_token && carries_cookie {
        events::refused(route, "cookie_and_token");
        return Err(refuse(answer::invalid_request()));
    }
    Ok(())
}
