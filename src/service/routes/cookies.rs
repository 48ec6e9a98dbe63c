//! The refresh cookie: the sessions that the cookies of a request name, and the cookie of an answer.

use http::HeaderValue;

use crate::service::answer;
use crate::service::core::Core;
use crate::service::events;
use crate::service::operations::Grant;
use crate::service::routes::{Refusal, refuse};
use crate::session::RefreshToken;

/// The genuine refresh tokens among cookie values: one for each session, of its highest generation.
///
/// A sibling host can plant cookies of our name. Values without a genuine tag are dropped; what is left is ours.
pub(super) fn genuine(core: &Core, values: &[&str]) -> Vec<RefreshToken> {
    let mut tokens: Vec<RefreshToken> = Vec::new();
    let mut unreadable = None;
    for value in values {
        let token = match core.codec.parse(value) {
            Ok(token) => token,
            Err(why) => {
                unreadable = unreadable.or(Some(why));
                continue;
            }
        };
        let same =
            |held: &&mut RefreshToken| held.session_id == token.session_id && held.subject == token.subject;
        match tokens.iter_mut().find(same) {
            Some(held) if held.generation < token.generation => *held = token,
            Some(_) => {}
            None => tokens.push(token),
        }
    }
    // One event, however many there are: a request must not fill the log.
    if let Some(why) = unreadable {
        events::refused("cookie", why.as_str());
    }
    tokens
}

/// More sessions in the cookies of one request are nobody's doing but an attacker's: none is looked up or ended, as
/// each would be a question to the store.
const MAX_SESSIONS: usize = 8;

/// Whether the cookies name more sessions than are looked up or ended.
pub(super) fn are_too_many(tokens: &[RefreshToken]) -> bool {
    tokens.len() > MAX_SESSIONS
}

/// 400: no order of them means anything.
pub(super) fn several_sessions(route: &'static str) -> Refusal {
    events::refused(route, "several_sessions");
    refuse(answer::invalid_request())
}

/// The one session that the cookies name. Of several, those that have ended do not count; if more than one is left, no
/// order of them means anything, so none counts.
pub(super) async fn single(
    core: &Core,
    mut tokens: Vec<RefreshToken>,
    route: &'static str,
) -> Result<Option<RefreshToken>, Refusal> {
    if tokens.len() > 1 && !are_too_many(&tokens) {
        let mut live = Vec::new();
        for token in tokens {
            if core.is_live(&token).await? {
                live.push(token);
            }
        }
        tokens = live;
    }
    if tokens.len() > 1 {
        return Err(several_sessions(route));
    }
    Ok(tokens.pop())
}

pub(super) fn set_cookie(core: &Core, grant: &Grant) -> Option<HeaderValue> {
    core.cookie.set(grant.refresh_token(), grant.keep_for?)
}
