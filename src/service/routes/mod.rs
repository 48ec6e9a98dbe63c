//! The routes: from a request to its answer.
//!
//! A request is looked up in [`table`], let in by [`admission`], and its body is held against [`body_rule`]; then the
//! file of its route answers it. [`cookies`], [`owner`] and [`token_in_body`] are what several routes have in common.

mod admission;
mod body_rule;
mod cookies;
mod login;
mod logout;
mod logout_many;
mod owner;
mod refresh;
mod revoke;
mod sessions;
mod table;
mod token_in_body;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

use crate::service::answer::{self, Answer};
use crate::service::core::Core;
use crate::service::error::SessionError;
use crate::session::ClientInfo;

pub(super) use self::admission::{Admitted, admit};
pub(super) use self::body_rule::{BodyRule, accepts};
use self::logout_many::Keep;
use self::table::Route;
pub(super) use self::table::is_mount_point;

/// What each route answers to a request that was let in.
pub(super) async fn answer(core: Arc<Core>, admitted: Admitted, parts: Parts, body: Bytes) -> Answer {
    let responder = Arc::clone(&core.responder);
    let Admitted { route, tokens, carries_cookie, may_clear_cookie } = admitted;
    let outcome = match route {
        Route::Login => login::login(core, tokens, &parts, &body).await,
        Route::Refresh => refresh::refresh(core, tokens, carries_cookie, &parts, &body).await,
        Route::Logout => logout::logout(core, tokens, carries_cookie, may_clear_cookie, &parts, &body).await,
        Route::Revoke => revoke::revoke(core, &parts, &body).await,
        Route::LogoutAll => logout_many::logout_many(core, tokens, carries_cookie, &parts, Keep::None).await,
        Route::LogoutOthers => {
            logout_many::logout_many(core, tokens, carries_cookie, &parts, Keep::Own).await
        }
        Route::Sessions => sessions::list(core, &parts).await,
        Route::Jwks => Ok(answer::jwks(core.keys.load().to_jwks())),
        Route::Session(id) => sessions::end(core, &id, &parts).await,
    };
    outcome.unwrap_or_else(|refusal| match refusal {
        Refusal::Answer(answer) => *answer,
        Refusal::Session(error) => answer::session_error(error.kind(), responder.challenge()),
    })
}

/// Why a route ended early.
pub(super) enum Refusal {
    Answer(Box<Answer>),
    Session(SessionError),
}

impl<E: Into<SessionError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Session(error.into())
    }
}

pub(super) fn refuse(answer: Answer) -> Refusal {
    Refusal::Answer(Box::new(answer))
}

/// Who asks. Only the application's hook wants to know.
fn device(core: &Core, parts: &Parts) -> Option<ClientInfo> {
    core.hook.is_set().then(|| ClientInfo::of(parts))
}
