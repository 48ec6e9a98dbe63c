//! The manual: pages to read, without items.
//!
//! | page | what it answers |
//! |---|---|
//! | [`rotation`] | when does a refresh token rotate, who is logged out by what, and why; with drawn timelines |
//! | [`threat_model`] | what does each part protect against, and what does it not |
//! | [`deployment`] | proxies, limits and time-outs, CORS, cookies across sites, HTTPS |
//! | [`operation`] | several nodes, exchange of keys, sizes of stores, back-ups, what a 503 means, what to alert on |
//! | [`migration`] | how to get here from JWTs written by hand, and from session cookies |
//! | [`testing`] | how to test a service that uses the crate |
//! | [`identity_providers`] | settings for the tokens of Keycloak, Auth0, Okta, Cognito, Google and Entra |
//! | [`observability`] | events, counters, and a hook: all names, and what to alert on |
//! | [`features`] | each feature of the crate on a page |

pub mod deployment;
pub mod features;
pub mod identity_providers;
pub mod migration;
pub mod observability;
pub mod operation;
pub mod rotation;
pub mod testing;
pub mod threat_model;
