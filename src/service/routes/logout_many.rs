//! `POST /logout/all` and `POST /logout/others`.

use std::sync::Arc;

use http::request::Parts;

use crate::reject::RejectionKind;
use crate::service::answer::{self, Answer};
use crate::service::core::Core;
use crate::service::routes::owner::{BearerRefusal, For, bearer_owner, cookie_owner, rejected};
use crate::service::routes::{Refusal, device, refuse};
use crate::session::{RefreshToken, SubjectDigest};

/// What `logout_many` leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    None,
    Own,
}

pub(super) async fn logout_many(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    carries_cookie: bool,
    parts: &Parts,
    keep: Keep,
) -> Result<Answer, Refusal> {
    let owner = match bearer_owner(&core, parts, For::AllSessions).await {
        Ok(owner) => owner,
        // Without a bearer token a cookie will do, if a refresh would answer it.
        Err(BearerRefusal::Rejected(rejection))
            if rejection.kind() == RejectionKind::Missing && carries_cookie =>
        {
            cookie_owner(&core, tokens.clone(), parts).await?
        }
        Err(BearerRefusal::Rejected(rejection)) => return Err(refuse(rejected(rejection))),
        Err(BearerRefusal::Session(error)) => return Err(error.into()),
    };
    let except = (keep == Keep::Own).then_some(owner.session_id);
    // The cookie of somebody else, who is still logged in, stays.
    let subject = SubjectDigest::of(&owner.subject);
    let own_cookie = carries_cookie && tokens.iter().all(|token| token.subject == subject);
    Arc::clone(&core).end_all(owner.subject, except, device(&core, parts)).await?;
    let clear = keep == Keep::None && own_cookie;
    Ok(answer::done(if clear { core.cookie.clear() } else { None }))
}
