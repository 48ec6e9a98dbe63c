//! `POST /login`.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;

use crate::service::answer::{self, Answer};
use crate::service::authenticator::{AuthnError, ErasedError};
use crate::service::core::{Core, twice};
use crate::service::delivery::{Delivery, Handover, NoHandover, handover, take_wish};
use crate::service::error::SessionError;
use crate::service::events;
use crate::service::proof;
use crate::service::routes::cookies::{are_too_many, set_cookie};
use crate::service::routes::{Refusal, refuse};
use crate::session::{ClientInfo, RefreshToken};

pub(super) async fn login(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    parts: &Parts,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let (handover, credentials) = delivered(&core, parts, body)?;
    let client = ClientInfo::of(parts);
    let proof = proof::shown(&core, parts, "login")?;
    // Before the credentials are checked: if all sessions of the subject are ended meanwhile, this login loses.
    let began = twice(|| core.store.now()).await?;
    let identity = match core.authenticator.login(&credentials, &client).await {
        Ok(identity) => identity,
        Err(ErasedError::NotCredentials(detail)) => {
            events::bad_body("login", &detail);
            return Err(refuse(answer::bad_body()));
        }
        Err(ErasedError::Authn(AuthnError::Refused)) => {
            events::refused("login", "credentials");
            return Err(refuse(answer::invalid_credentials(core.responder.challenge())));
        }
        Err(ErasedError::Authn(AuthnError::Unavailable(error))) => {
            return Err(SessionError::unavailable("authenticator", error).into());
        }
        Err(ErasedError::Claims(error)) => return Err(error.into()),
    };
    let checked_at = identity.authenticated_at.map_or(began, |moment| moment.min(began));
    let mut identity = identity.with_authenticated_at(checked_at);
    if let Some(proof) = &proof {
        // Only now, so that nobody without credentials can fill the memory of proofs.
        proof::used(&core, Some(proof), "login").await?;
        identity = identity.with_key(proof.thumbprint);
    }
    // Nobody is kept from a login by cookies that another host planted.
    let old = if are_too_many(&tokens) { Vec::new() } else { tokens };
    let grant = Arc::clone(&core).open(identity, client, old).await?;
    let answer = match handover {
        Handover::Cookie => answer::granted(&grant, set_cookie(&core, &grant)),
        Handover::Body => answer::granted_in_body(&grant, None),
    };
    Ok(answer::with_nonce(answer, core.nonce_after(proof.as_ref())))
}

/// How a login is answered, and its credentials without what they say about that.
fn delivered<'b>(core: &Core, parts: &Parts, body: &'b [u8]) -> Result<(Handover, Cow<'b, [u8]>), Refusal> {
    if core.delivery == Delivery::Cookie {
        return Ok((Handover::Cookie, Cow::Borrowed(body)));
    }
    let malformed = |detail: &str| {
        events::bad_body("login", detail);
        refuse(answer::bad_body())
    };
    let (wish, credentials) = take_wish(body).map_err(|detail| malformed(&detail))?;
    match handover(core.delivery, wish, &parts.headers) {
        Ok(handover) => Ok((handover, credentials)),
        Err(NoHandover::NoCookies) => Err(malformed("no cookies are delivered here")),
        Err(NoHandover::Browser) => {
            events::refused("login", "browser");
            Err(refuse(answer::cookie_only()))
        }
    }
}
