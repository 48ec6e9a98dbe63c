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

/// The sessions that the cookies name, or 400 if they are too many.
pub(super) fn bounded(tokens: Vec<RefreshToken>, route: &'static str) -> Result<Vec<RefreshToken>, Refusal> {
    if tokens.len() <= MAX_SESSIONS {
        return Ok(tokens);
    }
    events::refused(route, "several_sessions");
    Err(refuse(answer::invalid_request()))
}

/// The one session that the cookies name. Of several, those that have ended do not count; if more than one is left, no
/// order of them means anything, so none counts.
pub(super) async fn single(
    core: &Core,
    tokens: Vec<RefreshToken>,
    route: &'static str,
) -> Result<Option<RefreshToken>, Refusal> {
    let mut tokens = bounded(tokens, route)?;
    if tokens.len() > 1 {
        let mut live = Vec::new();
        for token in tokens {
            if core.is_live(&token).await? {
                live.push(token);
            }
        }
        tokens = live;
    }
    if tokens.len() > 1 {
        events::refused(route, "several_sessions");
        return Err(refuse(answer::invalid_request()));
    }
    Ok(tokens.pop())
}

pub(super) fn set_cookie(core: &Core, grant: &Grant) -> Option<HeaderValue> {
    core.cookie.set(grant.refresh_token(), grant.keep_for?)
}
