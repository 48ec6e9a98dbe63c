//! Events, metrics, and a hook.
//!
//! # Events
//!
//! `tracing` events with these targets and names, stable; none holds a token, a key or a secret. (A formatter may print
//! the message of an event and not its name.)
//!
//! | target | name | level | fields |
//! |---|---|---|---|
//! | `tower_jwt_auth::authorize` | `rejected` | debug without a token, error for a fault of the wiring, else info | `reason`: as below, or `insufficient_scope`, `denied`, `insufficient_user_authentication`, `unavailable`, `no_bearer_layer`, `other_claims` |
//! | | `no_bearer_layer` | error | |
//! | | `other_claims` | error | `asked`, `layer` |
//! | | `unavailable` | error | `error` |
//! | `tower_jwt_auth::keys` | `key_skipped` | warn | `position`, `kid`, `reason` |
//! | `tower_jwt_auth::bearer` | `rejected` | debug without a token, else info | `reason`: `missing`, `malformed_credential`, `repeated_credential`, `too_large`, for a cookie `no_origin`, `origin` or `sec_fetch_site`, a [`TokenErrorKind`], or, with [`dpop`], `bearer_scheme`, `not_bound`, `other_key` and the rule that a proof breaks: `proof_missing`, `proof_repeated`, `proof_too_large`, `proof_malformed`, `proof_type`, `proof_algorithm`, `proof_key`, `proof_private_key`, `proof_signature`, `proof_claims`, `proof_method`, `proof_target`, `proof_too_old`, `proof_too_new`, `proof_token_hash`, `proof_nonce_missing`, `proof_nonce_unknown`, `proof_replayed`, `proof_memory_full` |
//! | | `observed` | info | `reason`, as in `rejected` |
//! | | `bad_token` | debug | `reason`: a [`TokenErrorKind`]; `detail`: the rule that it breaks |
//! | | `bad_proof` | debug | `reason`: as in `rejected`; `detail`: the rule that a DPoP proof breaks |
//! | | `application_claims` | warn | `claims`, `detail` |
//! | | `no_bearer_layer` | warn | |
//! | | `other_claims` | warn | `asked`, `layer` |
//! | `tower_jwt_auth::session` | `opened`, `ended`, `evicted` | info | `session`, `why` |
//! | | `ended_all` | info | `subject`, `sessions` |
//! | | `rotated`, `reissued`, `expired`, `unknown` | info | `session`, `generation` |
//! | | `current` | debug | `session` |
//! | | `recovered`, `superseded`, `reused`, `mismatch` | warn | `session`, `subject` |
//! | `tower_jwt_auth::service` | `refused` | info | `route`, `reason`: `body`, `credentials`, `no_origin`, `origin`, `sec_fetch_site`, `no_token`, `several_sessions`, `revoked_meanwhile`, `no_session`, `session_ended`, `replaced`, `revoked`, `insufficient_scope`, `browser`, `cookie_and_token`, `invalid_scope`, `unsupported_grant_type`, `unsupported_token_type`, `other_key`, or as in `rejected`; for the route `cookie`, and for a token in a body, `malformed`, `unknown_key` (of a secret that this node does not know) or `bad_tag`; `detail`, `origin` |
//! | | `retried` | warn | `what`, `error` |
//! | | `unavailable`, `fault` | error | `what`, `error` |
//! | | `hook_panicked` | error | `event` |
//! | `tower_jwt_auth::client` | `signed_in`, `signed_out`, `expired` | info | |
//! | | `refreshed` | debug | |
//! | | `refresh_failed` | warn, or error for an answer that is not a session service's | `error` |
//! | | `storage_failed` | error | `error` |
//! | `tower_jwt_auth::remote_jwks` | `keys_fetched` | info | `of`: the issuer, or the place of the keys; `keys`, `skipped` |
//! | | `keys_not_fetched` | warn | `of`; `reason`: a `FetchErrorKind`; `detail`; `cause`: what the HTTP client says, in its own words; `failures`: one after another |
//! | `tower_jwt_auth::live` | `rejected` | info, error for a fault of the wiring | `reason`: `session_ended`, `replaced`, `unavailable`, `no_bearer_layer` |
//! | | `unavailable` | error | `error` |
//! | | `use_not_reported` | warn | `error` |
//! | `tower_jwt_auth::revocation` | `rejected` | info, error for a fault of the wiring | `reason`: `revoked`, `unavailable`, `no_bearer_layer` |
//! | | `unavailable` | error | `error` |
//! | | `revoked` | info | `what`: `token`, `subject` |
//! | | `not_revoked` | error | `what`, `error` |
//! | `tower_jwt_auth::replay` | `rejected` | info, error for a fault of the wiring | `reason`: `proof_replayed`, `unavailable`, `no_bearer_layer` |
//! | | `unavailable` | error | `error` |
//! | `tower_jwt_auth::store` | `session_evicted` | warn | `sessions` |
//! | | `eviction_policy` | warn | `policy` |
//! | | `push_joined` | info | |
//! | | `push_lost` | warn | `error` |
//! | | `purged` | debug | `sessions` |
//! | | `purge_failed` | warn | `error` |
//!
//! # Metrics
//!
//! Counters with the feature `metrics`, stable as well. No label holds an id or what a client can choose.
//!
//! | name | labels |
//! |---|---|
//! | `tower_jwt_auth_requests_rejected_total` | `layer`: `bearer`, `live`, `revocation`, `replay`, or `authorize` (other layers and extractors behind it); `reason`, as in the events `rejected` |
//! | `tower_jwt_auth_session_events_total` | `event`: the names of `tower_jwt_auth::session`; [`SessionEventKind`] lists them, all but `current` |
//! | `tower_jwt_auth_sessions_ended_total` | `why`: as in the event `ended`, or `evicted`, `ended_all`, `superseded`, `reused` (the session itself, of all that it ends) |
//! | `tower_jwt_auth_service_refused_total` | `route`, `reason`, as in the events `refused` |
//! | `tower_jwt_auth_jwks_fetches_total` | `outcome`: `ok`, `not_modified`, or the `reason` of `keys_not_fetched` |
//! | `tower_jwt_auth_store_retries_total` | |
//! | `tower_jwt_auth_unavailable_total` | `what`, as in the events `unavailable` |
//!
//! An application that wants more than counts, as to send a mail when a session was stolen, gives the service a hook:
//! [`AuthServiceBuilder::events`](crate::AuthServiceBuilder::events).
//!
//! [`SessionEventKind`]: crate::SessionEventKind
//! [`TokenErrorKind`]: crate::TokenErrorKind
//! [`dpop`]: crate::dpop
