//! The service's tracing events: stable targets and names, listed in `manual::observability`. None holds a token.

use std::error::Error;

use http::HeaderValue;

use crate::dpop::ProofError;
use crate::metrics;
use crate::service::hook::SessionEventKind;
use crate::session::{Decision, Record, SessionId, Unknown};

/// Which session a rotation was about, and what the rule said. What is "reported" by the rule is a warning.
pub(super) fn rotation(decision: &Decision, session_id: SessionId, record: Option<&Record>) {
    let session = session_id;
    metrics::session(SessionEventKind::of(decision).map_or("current", SessionEventKind::as_str));
    if let Decision::Superseded | Decision::Reused = decision {
        metrics::sessions_ended(decision.as_str(), 1);
    }
    let subject = record.map(|record| record.facts.subject.as_str()).unwrap_or_default();
    match decision {
        Decision::Current(_) => tracing::debug!(
            name: "current", target: "tower_jwt_auth::session", %session,
            "a refresh token was presented that is not rotated yet"
        ),
        Decision::Rotated(state) => tracing::info!(
            name: "rotated", target: "tower_jwt_auth::session", %session, generation = state.generation,
            "a refresh token was rotated"
        ),
        Decision::Reissued(state) => tracing::info!(
            name: "reissued", target: "tower_jwt_auth::session", %session, generation = state.generation,
            "a refresh token was given again"
        ),
        Decision::Recovered(state) => tracing::warn!(
            name: "recovered", target: "tower_jwt_auth::session", %session, subject, generation = state.generation,
            "the store had lost rotations of a session: did it fail over?"
        ),
        Decision::Expired => tracing::info!(
            name: "expired", target: "tower_jwt_auth::session", %session,
            "an expired session was presented"
        ),
        Decision::Superseded => tracing::warn!(
            name: "superseded", target: "tower_jwt_auth::session", %session, subject,
            "a replaced refresh token was presented late: theft, a very late retry, or a restored cookie jar; the session was ended"
        ),
        Decision::Reused => tracing::warn!(
            name: "reused", target: "tower_jwt_auth::session", %session, subject,
            "an old refresh token was presented: two parties hold this session, or a copy was restored; sessions were ended"
        ),
        Decision::Unknown(Unknown::Mismatch) => tracing::warn!(
            name: "mismatch", target: "tower_jwt_auth::session", %session, subject,
            "a genuine tag on a token that the session never had: is the refresh key known to somebody else?"
        ),
        Decision::Unknown(_) => tracing::info!(
            name: "unknown", target: "tower_jwt_auth::session", %session,
            "a session that does not exist (any more) was presented"
        ),
    }
}

pub(super) fn opened(session: SessionId, evicted: &[SessionId]) {
    metrics::session("opened");
    tracing::info!(name: "opened", target: "tower_jwt_auth::session", %session, "a session was opened");
    for session in evicted {
        metrics::session("evicted");
        metrics::sessions_ended("evicted", 1);
        tracing::info!(
            name: "evicted", target: "tower_jwt_auth::session", %session,
            "the subject had too many sessions: the longest unused was ended"
        );
    }
}

pub(super) fn ended(session: SessionId, why: &'static str) {
    metrics::session("ended");
    metrics::sessions_ended(why, 1);
    tracing::info!(name: "ended", target: "tower_jwt_auth::session", %session, why, "a session was ended");
}

pub(super) fn ended_all(subject: &str, sessions: u64) {
    metrics::session("ended_all");
    metrics::sessions_ended("ended_all", sessions);
    tracing::info!(
        name: "ended_all", target: "tower_jwt_auth::session", subject, sessions,
        "the sessions of a subject were ended"
    );
}

/// A request that was answered with an error.
pub(super) fn refused(route: &'static str, reason: &'static str) {
    metrics::refused(route, reason);
    tracing::info!(name: "refused", target: "tower_jwt_auth::service", route, reason, "a request was refused");
}

/// A body that is not what its route expects. The detail names fields, no values.
pub(super) fn bad_body(route: &'static str, detail: &str) {
    metrics::refused(route, "body");
    tracing::info!(name: "refused", target: "tower_jwt_auth::service", route, reason = "body", detail, "a body was refused");
}

/// A proof that does not count.
pub(super) fn bad_proof(route: &'static str, error: &ProofError) {
    let reason = error.kind().as_str();
    metrics::refused(route, reason);
    tracing::info!(
        name: "refused", target: "tower_jwt_auth::service", route, reason, detail = error.detail(),
        "a DPoP proof was refused"
    );
}

/// A request that another site may have made.
pub(super) fn cross_site(route: &'static str, reason: &'static str, origin: Option<&HeaderValue>) {
    metrics::refused(route, reason);
    tracing::info!(
        name: "refused", target: "tower_jwt_auth::service", route, reason, ?origin,
        "a request was refused, as another site may have made it: an origin of one's own is named by `add_origin`, a \
         client that is no browser sends `X-Session-Request: 1`"
    );
}

/// The store failed once, and is asked again within the request.
pub(super) fn retried(error: &(dyn Error + 'static)) {
    metrics::retried();
    tracing::warn!(name: "retried", target: "tower_jwt_auth::service", what = "store", error, "the store is asked again");
}

/// Something outside did not work: the answer is 503.
pub(super) fn unavailable(what: &'static str, error: &(dyn Error + 'static)) {
    metrics::unavailable(what);
    tracing::error!(name: "unavailable", target: "tower_jwt_auth::service", what, error, "answered with 503");
}

/// A fault of the application or its configuration.
///
/// A text, not an error: the sources of some errors quote values of claims.
pub(super) fn fault(what: &'static str, error: &str) {
    tracing::error!(name: "fault", target: "tower_jwt_auth::service", what, error, "the application must be mended");
}
