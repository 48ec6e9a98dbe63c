//! Who a request is from: by its bearer token, or by its cookie.

use http::request::Parts;

use crate::dpop::ProofError;
use crate::extract::{Scheme, credential};
use crate::reject::{Protocol, Rejection, RejectionKind};
use crate::service::answer::{self, Answer};
use crate::service::core::{Core, no_randomness};
use crate::service::error::SessionError;
use crate::service::events;
use crate::service::proof::{self, BadProof};
use crate::service::revoked::is_revoked;
use crate::service::routes::cookies::single;
use crate::service::routes::{Refusal, refuse};
use crate::session::{Attempt, RefreshToken, SessionId, SubjectDigest};
use crate::token::{Bound, NoClaims, Verified};

/// Who a request is from.
pub(super) struct Owner {
    pub(super) subject: String,
    pub(super) session_id: SessionId,
}

/// What the owner is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// To end the own session: whoever has a token of it may.
    Itself,
    /// To see all sessions of the subject, or to end them: the scope that the service was told is needed.
    AllSessions,
}

pub(super) enum BearerRefusal {
    Rejected(Rejection),
    Session(SessionError),
}

pub(super) async fn required_bearer(core: &Core, parts: &Parts) -> Result<Owner, Refusal> {
    bearer_owner(core, parts, For::AllSessions).await.map_err(|refusal| match refusal {
        BearerRefusal::Rejected(rejection) => refuse(rejected(rejection)),
        BearerRefusal::Session(error) => error.into(),
    })
}

/// As the bearer layer checks, and that the session still lives: the store is at hand here. A token of no session was
/// made for something else than to manage sessions.
pub(super) async fn bearer_owner(core: &Core, parts: &Parts, wish: For) -> Result<Owner, BearerRefusal> {
    let (verified, scheme) = verified(core, parts).await?;
    let registered = verified.registered();
    let reject = |kind, reason| BearerRefusal::Rejected(rejection(core, kind, reason).with_scheme(scheme));
    let unavailable = |error| BearerRefusal::Session(SessionError::from(error));
    if wish == For::AllSessions && !may_manage(core, |scope| registered.has_scope(scope)) {
        return Err(BearerRefusal::Rejected(lacks_scope(core, scheme)));
    }
    let no_session = || reject(RejectionKind::InvalidToken, "no_session");
    let session_id: SessionId =
        verified.session_id().ok_or_else(no_session)?.parse().map_err(|_| no_session())?;
    if let Some(revocations) = &core.revocations
        && is_revoked(&**revocations, registered).await.map_err(unavailable)?
    {
        return Err(reject(RejectionKind::InvalidToken, "revoked"));
    }
    let subject = verified.subject().to_owned();
    let live = core.live(&SubjectDigest::of(&subject), &session_id).await.map_err(unavailable)?;
    let Some(record) = live else { return Err(reject(RejectionKind::InvalidToken, "session_ended")) };
    if registered.reissue() < record.state.issue {
        return Err(reject(RejectionKind::InvalidToken, "replaced"));
    }
    core.note_use(registered, &record).await;
    Ok(Owner { subject, session_id })
}

/// The token of a request, whose proof, if it needs one, is used up.
async fn verified(core: &Core, parts: &Parts) -> Result<(Verified<NoClaims>, Scheme), BearerRefusal> {
    let responder = &core.responder;
    let rejected = |rejection| BearerRefusal::Rejected(rejection);
    let accepts_dpop = core.proofs.is_some();
    let credential = credential(&parts.headers, accepts_dpop, core.verifier.max_token_bytes())
        .map_err(|bad| rejected(Rejection::of_credential(bad, Protocol::Http, responder)))?
        .ok_or_else(|| rejected(rejection(core, RejectionKind::Missing, "missing")))?;
    let scheme = credential.scheme();
    let rejected = |rejection: Rejection| rejected(rejection.with_scheme(scheme));
    let reject = |kind, reason| rejected(rejection(core, kind, reason));
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
    Ok((verified, scheme))
}

/// Who the cookie is of, for all sessions of the subject.
pub(super) async fn cookie_owner(
    core: &Core,
    tokens: Vec<RefreshToken>,
    parts: &Parts,
) -> Result<Owner, Refusal> {
    let dead = || refuse(answer::invalid_grant(core.responder.challenge()));
    let token = single(core, tokens, "logout").await?.ok_or_else(dead)?;
    let attempt = Attempt::random().map_err(no_randomness)?;
    let record = core.answered(&token.present(attempt)).await?.ok_or_else(dead)?;
    if let Some(key) = record.facts.key {
        let proof = proof::shown(core, parts, "logout")?;
        if proof.as_ref().map(|proof| proof.thumbprint) != Some(key) {
            events::refused("logout", "other_key");
            return Err(dead());
        }
        proof::used(core, proof.as_ref(), "logout").await?;
    }
    if !may_manage(core, |scope| record.facts.scopes.iter().any(|held| held == scope)) {
        return Err(refuse(rejected(lacks_scope(core, Scheme::Bearer))));
    }
    Ok(Owner { subject: record.facts.subject.clone(), session_id: record.facts.session_id })
}

fn rejection(core: &Core, kind: RejectionKind, reason: &'static str) -> Rejection {
    Rejection::new(kind, reason, Protocol::Http, &core.responder)
}

/// Whether all sessions are shown to, or ended by, whoever `has` these scopes.
fn may_manage(core: &Core, has: impl FnOnce(&str) -> bool) -> bool {
    core.scope.as_ref().and_then(|needed| needed.scope.as_deref()).is_none_or(has)
}

fn lacks_scope(core: &Core, scheme: Scheme) -> Rejection {
    let rejection = rejection(core, RejectionKind::InsufficientScope, "insufficient_scope");
    rejection.with_demand(core.scope.clone()).with_scheme(scheme)
}

pub(super) fn rejected(rejection: Rejection) -> Answer {
    events::refused("bearer", rejection.reason());
    let mut answer = rejection.to_response();
    answer.extensions_mut().insert(rejection);
    answer
}
