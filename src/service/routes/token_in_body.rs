//! What the routes that take a token in the body have in common.

use crate::secret::SecretString;
use crate::service::answer;
use crate::service::events;
use crate::service::refresh_token_forms::in_json;
use crate::service::routes::{Refusal, refuse};

pub(super) fn token_in_json(route: &'static str, body: &[u8]) -> Result<Option<SecretString>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    in_json(body).map_err(|detail| {
        events::bad_body(route, &detail);
        refuse(answer::bad_body())
    })
}

pub(super) fn malformed_form(route: &'static str, why: &'static str) -> Refusal {
    events::bad_body(route, why);
    refuse(answer::bad_form())
}

/// With a token and a cookie there is no telling which one is meant.
pub(super) fn one_credential(
    route: &'static str,
    has_token: bool,
    carries_cookie: bool,
) -> Result<(), Refusal> {
    if has_token && carries_cookie {
        events::refused(route, "cookie_and_token");
        return Err(refuse(answer::invalid_request()));
    }
    Ok(())
}
