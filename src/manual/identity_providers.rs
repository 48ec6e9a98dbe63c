//! Tokens of identity providers.
//!
//! What is checked by default is the profile of RFC 9068. Most providers are older than it: these settings of
//! [`TokenConfigBuilder`] are for their access tokens. `tests/providers.rs` holds tokens of each. Keys come by
//! [`remote_jwks`] from the issuer, and [`accept_lifetime`](crate::TokenConfigBuilder::accept_lifetime), up to 24
//! hours, is due where tokens live longer than 15 minutes: the last column has what is usual.
//!
//! | provider | issuer | audience | settings | lifetime |
//! |---|---|---|---|---|
//! | Keycloak | `https://host/realms/realm` | the API's name, by an audience mapper; never `account`, which the tokens of other clients have, too | `accept_type("JWT")`, `require_value("typ", "Bearer")` | 5 minutes |
//! | Auth0 | `https://tenant.auth0.com/`, slash included | the identifier of the API | none for an API with the RFC 9068 profile, else `accept_type("JWT")` | 24 hours |
//! | Okta, custom server | `https://org.okta.com/oauth2/default` | `api://default` | `accept_missing_type()`, `scope_claim("scp")`, `require_claim("cid")` | an hour |
//! | Cognito | `https://cognito-idp.region.amazonaws.com/pool` | the id of the app client | `accept_missing_type()`, `audience_claim("client_id")`, `require_value("token_use", "access")` | an hour |
//! | Google, ID tokens of service accounts | `https://accounts.google.com` | the URL of the service | `accept_type("JWT")`, `require_value("sub", ..)` or a check of several | an hour |
//! | Entra, access tokens of version 2 | `https://login.microsoftonline.com/tenant/v2.0` | the id of the application | `accept_type("JWT")`, `scope_claim("scp")`, `require_claim("azp")` | 60 to 90 minutes |
//!
//! - Who may have a token at all is the provider's affair, and often it is *anybody*: on Google anybody gets a token
//!   for any audience, so the subject must be asked for; in Entra any application of the tenant gets one for the API,
//!   without `scp` and `roles`, unless assignment is required there. Ask for a scope or a role on each route.
//! - ID tokens are refused by `typ`, `cid`, `token_use` and `azp` respectively; Auth0's by the audience alone, so an
//!   API must not bear the name of a client. Those of Google are all there is.
//! - Roles are in `realm_access.roles` and `resource_access.<client>.roles` (Keycloak), `permissions` (Auth0, if RBAC
//!   adds them), `cognito:groups` (Cognito), `roles` (Entra), and with Okta in a claim that the server is told to add.
//! - Auth0's `permissions` are what the user may do, and `scope` what the client was granted of it. A service with
//!   clients of others asks for both. (`scope_claim("permissions")` is for one that has none.)
//! - Keycloak writes `sub` only with the scope `basic`. Entra writes version 2 for applications with
//!   `requestedAccessTokenVersion` 2, and its `common` is the issuer of no token.
//! - [`Registered::client_id`](crate::Registered::client_id) reads `client_id` only: `azp` and `cid` are for the
//!   application's type.
//!
//! A token that is refused says why in the event `bad_token`, and [`Verifier::verify`](crate::Verifier::verify) says it
//! of one that is at hand.
//!
//! Roles are the application's: read them by its claims type, and ask for them by [`RequireLayer`].
//!
//! ```
//! use serde::Deserialize;
//! use tower_jwt_auth::{RequireLayer, Verified};
//!
//! // Both are left out for users without roles. Without a default, their tokens would be refused.
//! #[derive(Default, Deserialize)]
//! struct Roles { #[serde(default)] roles: Vec<String> }
//!
//! /// Claims of Keycloak.
//! #[derive(Deserialize)]
//! struct User { #[serde(default)] realm_access: Roles }
//!
//! let clerks = RequireLayer::new(|user: &Verified<User>| {
//!     user.realm_access.roles.iter().any(|role| role == "clerk")
//! });
//! # let _ = clerks;
//! ```
//!
//! [`RequireLayer`]: crate::RequireLayer
//! [`TokenConfigBuilder`]: crate::TokenConfigBuilder
//! [`remote_jwks`]: crate::remote_jwks
