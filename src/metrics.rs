//! Counters through the crate `metrics`, with the feature of that name; without it nothing is compiled in. Their names
//! and labels are stable, and listed in `manual::observability`. No label holds an id, a subject or anything that a
//! client can choose.

#![cfg_attr(not(feature = "metrics"), allow(unused_variables))]

macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => { count!($name $(, $label => $value)*; 1) };
    ($name:literal $(, $label:literal => $value:expr)*; $by:expr) => {
        #[cfg(feature = "metrics")]
        ::metrics::counter!($name $(, $label => $value)*).increment($by)
    };
}

/// A request was refused for its token, by a layer or an extractor.
pub(crate) fn rejected(layer: &'static str, reason: &'static str) {
    count!("tower_jwt_auth_requests_rejected_total", "layer" => layer, "reason" => reason);
}

/// Something happened to a session.
pub(crate) fn session(event: &'static str) {
    count!("tower_jwt_auth_session_events_total", "event" => event);
}

/// Sessions ended before their time.
pub(crate) fn sessions_ended(why: &'static str, sessions: u64) {
    count!("tower_jwt_auth_sessions_ended_total", "why" => why; sessions);
}

/// A route of the service refused a request.
pub(crate) fn refused(route: &'static str, reason: &'static str) {
    count!("tower_jwt_auth_service_refused_total", "route" => route, "reason" => reason);
}

/// A store was asked a second time.
pub(crate) fn retried() {
    count!("tower_jwt_auth_store_retries_total");
}

/// The keys of an issuer were fetched, or not.
#[cfg(feature = "jwks")]
pub(crate) fn keys_fetched(outcome: &'static str) {
    count!("tower_jwt_auth_jwks_fetches_total", "outcome" => outcome);
}

/// Something outside did not answer.
pub(crate) fn unavailable(what: &'static str) {
    count!("tower_jwt_auth_unavailable_total", "what" => what);
}
