//! The roads of the routes, from an admitted request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::ORIGIN;
use http::request::Parts;

use crate::csrf::{self, CrossSite};
use crate::dpop::ProofError;
use crate::extract::{Scheme, credential};
use crate::reject::{Protocol, Rejection, RejectionKind};
use crate::secret::{ExposeSecret as _, SecretString};
use crate::service::answer::{self, Answer};
use crate::service::authenticator::{AuthnError, ErasedError};
use crate::service::body::Unread;
use crate::service::by_token::{self, Asked};
use crate::service::core::{Core, Grant, twice};
use crate::service::delivery::{Delivery, Handover};
use crate::service::error::SessionError;
use crate::service::events;
use crate::service::proof::{self, BadProof};
use crate::service::request::{Media, genuine, media};
use crate::service::route::{NoRoute, Route};
use crate::session::{Attempt, ClientInfo, RefreshToken, SessionId, SubjectDigest};
use crate::token::Bound;

/// A request that was let in: its route exists, and no other site made it.
pub(super) struct Admitted {
    route: Route,
    /// The genuine refresh tokens of its cookies, one a session.
    tokens: Vec<RefreshToken>,
    carries_cookie: bool,
    may_clear_cookie: bool,
}

/// Route and method, then the cross-site check, then the cookies' tags: all without I/O and before the body.
pub(super) fn admit(core: &Core, parts: &Parts) -> Result<Admitted, Box<Answer>> {
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

/// What is to be done about the body.
pub(super) enum BodyRule {
    /// JSON, or 415.
    Json,
    /// None is needed; one that is sent must be JSON.
    JsonOrNone,
    /// None is needed; one that is sent must be JSON or a form.
    JsonFormOrNone,
    /// A form, or 415.
    Form,
    /// Not looked at.
    Unread,
}

impl BodyRule {
    fn takes(&self, media: Media) -> bool {
        match self {
            Self::Json | Self::JsonOrNone => media == Media::Json,
            Self::Form => media == Media::Form,
            Self::JsonFormOrNone | Self::Unread => true,
        }
    }

    fn is_content_with_none(&self) -> bool {
        matches!(self, Self::JsonOrNone | Self::JsonFormOrNone | Self::Unread)
    }

    fn description(&self) -> &'static str {
        match self {
            Self::Json | Self::JsonOrNone => "the body must be application/json",
            Self::Form => "the body must be application/x-www-form-urlencoded",
            Self::JsonFormOrNone | Self::Unread => {
                "the body must be application/json or application/x-www-form-urlencoded"
            }
        }
    }
}

impl Admitted {
    pub(super) fn body_rule(&self, delivery: Delivery) -> BodyRule {
        match self.route {
            Route::Login => BodyRule::Json,
            Route::Revoke => BodyRule::Form,
            Route::Refresh | Route::Logout if delivery.uses_body() => BodyRule::JsonFormOrNone,
            Route::Refresh | Route::Logout | Route::LogoutAll | Route::LogoutOthers => BodyRule::JsonOrNone,
            Route::Sessions | Route::Session(_) | Route::Jwks => BodyRule::Unread,
        }
    }

    pub(super) fn unsupported_media_type(&self, rule: &BodyRule) -> Answer {
        events::bad_body(self.route.name(), rule.description());
        answer::unsupported_media_type(rule.description())
    }

    pub(super) fn unread(&self, unread: &Unread) -> Answer {
        match unread {
            Unread::TooLarge => {
                events::bad_body(self.route.name(), "it is longer than 16 KiB");
                answer::body_too_large()
            }
            Unread::Broken => {
                events::bad_body(self.route.name(), "it broke off");
                answer::invalid_request()
            }
        }
    }
}

/// Whether the body may be of this type, before it is read.
pub(super) fn accepts(rule: &BodyRule, parts: &Parts, certainly_not_empty: bool) -> bool {
    rule.is_content_with_none() && !certainly_not_empty
        || matches!(rule, BodyRule::Unread)
        || media(&parts.headers).is_some_and(|media| rule.takes(media))
}

pub(super) async fn answer(core: Arc<Core>, admitted: Admitted, parts: Parts, body: Bytes) -> Answer {
    let responder = Arc::clone(&core.responder);
    let Admitted { route, tokens, carries_cookie, may_clear_cookie } = admitted;
    let road = match route {
        Route::Login => login(core, tokens, &parts, &body).await,
        Route::Refresh => match Asked::of(&core, &parts, &body, carries_cookie) {
            Ok(Some(asked)) => by_token::refresh(core, asked, &parts).await,
            Ok(None) => refresh(core, tokens, &parts).await,
            Err(refusal) => Err(refusal),
        },
        Route::Logout => match by_token::logout(&core, &parts, &body, carries_cookie) {
            Ok(Some(token)) => logout(Arc::clone(&core), named(&core, &token), false, &parts).await,
            Ok(None) => logout(core, tokens, may_clear_cookie, &parts).await,
            Err(refusal) => Err(refusal),
        },
        Route::Revoke => by_token::revoke(core, &parts, &body).await,
        Route::LogoutAll => logout_many(core, tokens, carries_cookie, &parts, Keep::None).await,
        Route::LogoutOthers => logout_many(core, tokens, carries_cookie, &parts, Keep::Own).await,
        Route::Sessions => sessions(core, &parts).await,
        Route::Jwks => Ok(answer::jwks(core.keys.load().to_jwks())),
        Route::Session(id) => end_session(core, &id, &parts).await,
    };
    road.unwrap_or_else(|refusal| match refusal {
        Refusal::Answer(answer) => *answer,
        Refusal::Session(error) => answer::session_error(error.kind(), responder.challenge()),
    })
}

/// Why a road ended early.
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

async fn login(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    parts: &Parts,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let (handover, credentials) = by_token::login(&core, parts, body)?;
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
    let grant = Arc::clone(&core).open(identity, client, tokens).await?;
    let answer = match handover {
        Handover::Cookie => answer::granted(&grant, set_cookie(&core, &grant)),
        Handover::Body => answer::granted_in_body(&grant, None),
    };
    Ok(answer::with_nonce(answer, core.nonce_after(proof.as_ref())))
}

async fn refresh(core: Arc<Core>, tokens: Vec<RefreshToken>, parts: &Parts) -> Result<Answer, Refusal> {
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

/// The session that a token in the body names, if it is genuine.
fn named(core: &Core, token: &SecretString) -> Vec<RefreshToken> {
    let token = core.codec.parse(token.expose_secret());
    token.map_err(|why| events::refused("logout", why.as_str())).into_iter().collect()
}

/// Ends every session whose token was presented: whoever holds one genuine token of a session may end it. A client
/// that presents none but a bearer token ends the session of that. It is 204 in any case: nobody is told more.
async fn logout(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    clear: bool,
    parts: &Parts,
) -> Result<Answer, Refusal> {
    if tokens.is_empty() {
        match bearer_owner(&core, parts).await {
            Ok(Owner { subject, session_id: Some(id) }) => {
                Arc::clone(&core).end(subject, id, "logout", device(&core, parts)).await?;
            }
            Ok(_) => events::refused("logout", "no_session"),
            // Nothing at all was presented: nothing is to be ended.
            Err(BearerRefusal::Rejected(rejection)) if rejection.kind() == RejectionKind::Missing => {}
            Err(BearerRefusal::Rejected(rejection)) => events::refused("logout", rejection.reason()),
            Err(BearerRefusal::Session(error)) => return Err(error.into()),
        }
    }
    Arc::clone(&core).end_by_tokens(tokens, device(&core, parts)).await?;
    Ok(answer::done(if clear { core.cookie.clear() } else { None }))
}

/// What `logout_many` leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    None,
    Own,
}

async fn logout_many(
    core: Arc<Core>,
    tokens: Vec<RefreshToken>,
    carries_cookie: bool,
    parts: &Parts,
    keep: Keep,
) -> Result<Answer, Refusal> {
    let owner = match bearer_owner(&core, parts).await {
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
    let except = if keep == Keep::Own { owner.session_id } else { None };
    // The cookie of somebody else, who is still logged in, stays.
    let subject = SubjectDigest::of(&owner.subject);
    let own_cookie = carries_cookie && tokens.iter().all(|token| token.subject == subject);
    Arc::clone(&core).end_all(owner.subject, except, device(&core, parts)).await?;
    let clear = keep == Keep::None && own_cookie;
    Ok(answer::done(if clear { core.cookie.clear() } else { None }))
}

async fn sessions(core: Arc<Core>, parts: &Parts) -> Result<Answer, Refusal> {
    let owner = required_bearer(&core, parts).await?;
    let sessions = core.list(&owner.subject).await?;
    Ok(answer::session_list(&sessions, owner.session_id))
}

async fn end_session(core: Arc<Core>, id: &str, parts: &Parts) -> Result<Answer, Refusal> {
    let owner = required_bearer(&core, parts).await?;
    // Sessions are found by subject and id: another subject's is not there.
    let Ok(id) = id.parse::<SessionId>() else { return Err(refuse(answer::not_found())) };
    let client = device(&core, parts);
    let ended = core.end(owner.subject, id, "by its owner", client).await?;
    if ended { Ok(answer::done(None)) } else { Err(refuse(answer::not_found())) }
}

/// Who a request is from.
struct Owner {
    subject: String,
    session_id: Option<SessionId>,
}

enum BearerRefusal {
    Rejected(Rejection),
    Session(SessionError),
}

async fn required_bearer(core: &Core, parts: &Parts) -> Result<Owner, Refusal> {
    bearer_owner(core, parts).await.map_err(|refusal| match refusal {
        BearerRefusal::Rejected(rejection) => refuse(rejected(rejection)),
        BearerRefusal::Session(error) => error.into(),
    })
}

/// As the bearer layer checks, and that the session still lives: the store is at hand here.
async fn bearer_owner(core: &Core, parts: &Parts) -> Result<Owner, BearerRefusal> {
    let responder = &core.responder;
    let rejected = |rejection| BearerRefusal::Rejected(rejection);
    let accepts_dpop = core.proofs.is_some();
    let credential = credential(&parts.headers, accepts_dpop, core.verifier.max_token_bytes())
        .map_err(|bad| rejected(Rejection::of_credential(bad, Protocol::Http, responder)))?
        .ok_or_else(|| {
            rejected(Rejection::new(RejectionKind::Missing, "missing", Protocol::Http, responder))
        })?;
    let scheme = credential.scheme();
    let rejected = |rejection: Rejection| rejected(rejection.with_scheme(scheme));
    let reject = |kind, reason| rejected(Rejection::new(kind, reason, Protocol::Http, responder));
    let bound = match (scheme, &core.proofs) {
        (Scheme::Bearer, Some(proofs)) if proofs.dpop.is_required() => {
            return Err(reject(RejectionKind::InvalidToken, "bearer_scheme"));
        }
        (Scheme::Bearer, _) => Bound::Refused,
        (Scheme::Dpop, _) => Bound::Accepted,
    };
    let token = credential
        .token()
        .map_err(|bad| rejected(Rejection::of_credential(bad, Protocol::Http, responder)))?;
    let verified = core
        .verifier
        .verify_as(token, bound)
        .map_err(|error| rejected(Rejection::of_token(&error, Protocol::Http, responder)))?;
    if let (Scheme::Dpop, Some(proofs)) = (scheme, &core.proofs) {
        let Some(key) = verified.registered().key_thumbprint() else {
            return Err(reject(RejectionKind::InvalidToken, "not_bound"));
        };
        let refused = |error: &ProofError| rejected(error.rejection(&proofs.dpop, Protocol::Http, responder));
        let proof = proofs.check(core, parts, Some(credential.bytes())).map_err(|error| refused(&error))?;
        if proof.thumbprint != key {
            return Err(reject(RejectionKind::InvalidToken, "other_key"));
        }
        proofs.remember(&proof).await.map_err(|bad| match bad {
            BadProof::Proof(error) => refused(&error),
            BadProof::Store(error) => BearerRefusal::Session(error.into()),
        })?;
    }
    let subject = verified.subject().to_owned();
    let Some(sid) = verified.session_id() else { return Ok(Owner { subject, session_id: None }) };
    let ended = || reject(RejectionKind::InvalidToken, "session_ended");
    let session_id = sid.parse().map_err(|_| ended())?;
    let unavailable = |error| BearerRefusal::Session(SessionError::from(error));
    let live = core.live(&SubjectDigest::of(&subject), &session_id).await.map_err(unavailable)?;
    let Some(record) = live else { return Err(ended()) };
    let registered = verified.registered();
    if registered.reissue() < record.state.issue {
        return Err(reject(RejectionKind::InvalidToken, "replaced"));
    }
    core.note_use(registered, &record).await;
    Ok(Owner { subject, session_id: Some(session_id) })
}

async fn cookie_owner(core: &Core, tokens: Vec<RefreshToken>, parts: &Parts) -> Result<Owner, Refusal> {
    let dead = || refuse(answer::invalid_grant(core.responder.challenge()));
    let token = single(core, tokens, "logout").await?.ok_or_else(dead)?;
    let attempt = Attempt::random().map_err(|error| SessionError::unavailable("random bytes", error))?;
    let record = core.answered(&token.present(attempt)).await?.ok_or_else(dead)?;
    if let Some(key) = record.facts.key {
        let proof = proof::shown(core, parts, "logout")?;
        if proof.as_ref().map(|proof| proof.thumbprint) != Some(key) {
            events::refused("logout", "other_key");
            return Err(dead());
        }
        proof::used(core, proof.as_ref(), "logout").await?;
    }
    Ok(Owner { subject: record.facts.subject.clone(), session_id: Some(record.facts.session_id) })
}

/// More sessions in the cookies of one request are nobody's doing but an attacker's: none is looked up.
const MAX_SESSIONS: usize = 8;

/// The one session that the cookies name. Of several, those that have ended do not count; if more than one is left, no
/// order of them means anything, so none counts.
async fn single(
    core: &Core,
    mut tokens: Vec<RefreshToken>,
    route: &'static str,
) -> Result<Option<RefreshToken>, Refusal> {
    if tokens.len() > 1 && tokens.len() <= MAX_SESSIONS {
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

fn rejected(rejection: Rejection) -> Answer {
    events::refused("bearer", rejection.reason());
    let mut answer = rejection.to_response();
    answer.extensions_mut().insert(rejection);
    answer
}

/// Who asks. Only the application's hook wants to know.
pub(super) fn device(core: &Core, parts: &Parts) -> Option<ClientInfo> {
    core.hook.is_set().then(|| ClientInfo::of(parts))
}

fn set_cookie(core: &Core, grant: &Grant) -> Option<HeaderValue> {
    core.cookie.set(grant.refresh_token(), grant.keep_for?)
}
