//! `GET /sessions` and `DELETE /sessions/{id}`.

use std::sync::Arc;

use http::request::Parts;

use crate::service::answer::{self, Answer};
use crate::service::core::Core;
use crate::service::routes::owner::required_bearer;
use crate::service::routes::{Refusal, device, refuse};
use crate::session::SessionId;

pub(super) async fn list(core: Arc<Core>, parts: &Parts) -> Result<Answer, Refusal> {
    let owner = required_bearer(&core, parts).await?;
    let sessions = core.list(&owner.subject).await?;
    Ok(answer::session_list(&sessions, owner.session_id))
}

pub(super) async fn end(core: Arc<Core>, id: &str, parts: &Parts) -> Result<Answer, Refusal> {
    let owner = required_bearer(&core, parts).await?;
    // Sessions are found by subject and id: another subject's is not there.
    let Ok(id) = id.parse::<SessionId>() else { return Err(refuse(answer::not_found())) };
    let client = device(&core, parts);
    let ended = core.end(owner.subject, id, "by its owner", client).await?;
    if ended { Ok(answer::done(None)) } else { Err(refuse(answer::not_found())) }
}
