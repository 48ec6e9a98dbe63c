//! Which requests are let in, before their bodies are read.

use http::header::ORIGIN;
use http::request::Parts;

use crate::csrf::{self, CrossSite};
use crate::service::answer::{self, Answer};
use crate::service::core::Core;
use crate::service::events;
use crate::service::routes::cookies::genuine;
use crate::service::routes::table::{NoRoute, Route};
use crate::session::RefreshToken;

/// A request that was let in: its route exists, and no other site made it.
pub(in crate::service) struct Admitted {
    pub(super) route: Route,
    /// The genuine refresh tokens of its cookies, one a session.
    pub(super) tokens: Vec<RefreshToken>,
    pub(super) carries_cookie: bool,
    pub(super) may_clear_cookie: bool,
}

/// Route and method, then the cross-site check, then the cookies' tags: all without I/O and before the body.
pub(in crate::service) fn admit(core: &Core, parts: &Parts) -> Result<Admitted, Box<Answer>> {
    let revokes = core.delivery.uses_body();
    let route = Route::find(&core.path, parts.uri.path(), &parts.method, revokes).map_err(|none| {
        Box::new(match none {
            NoRoute::NotFound => answer::not_found(),
            NoRoute::MethodNotAllowed(allow) => answer::method_not_allowed(allow),
        })
    })?;
    if route == Route::Login && !core.authenticator.has_login() {
        return Err(Box::new(answer::not_found()));
    }
    // A revocation goes by the token in the body alone, which no browser sends by itself.
    let uses_cookie = core.delivery.uses_cookie() && route != Route::Revoke;
    let values = if uses_cookie { core.cookie.values(&parts.headers) } else { Ok(Vec::new()) };
    let values = values.map_err(|_| Box::new(answer::headers_too_large()))?;
    let carries_cookie = !values.is_empty();
    let site = csrf::check(&parts.headers, &core.csrf);
    if let Err(why) = site
        && route.is_unsafe()
        && (carries_cookie || route == Route::Login)
    {
        events::cross_site(route.name(), why.as_str(), parts.headers.get(ORIGIN));
        return Err(Box::new(answer::cross_site(why == CrossSite::Unknown)));
    }
    Ok(Admitted {
        route,
        tokens: genuine(core, &values),
        carries_cookie,
        // A page elsewhere can send a user's browser to the logout without the cookie, which is SameSite; the answer
        // must not make the browser forget it.
        may_clear_cookie: uses_cookie && !matches!(site, Err(CrossSite::FetchMetadata | CrossSite::Origin)),
    })
}
