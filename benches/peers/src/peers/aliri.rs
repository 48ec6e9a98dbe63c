//! `aliri_tower`: its layer for tokens, without the one for scopes.

use std::convert::Infallible;

use aliri::jwa::Algorithm;
use aliri::jwt::{Audience, Audiences, CoreClaims, CoreValidator, Issuer, IssuerRef, Subject, SubjectRef};
use aliri_clock::UnixTime;
use aliri_oauth2::{Authority, HasScope, Scope};
use aliri_tower::Oauth2Authorizer;
use bytes::Bytes;
use http::{Extensions, Response};
use http_body_util::Full;
use serde_json::json;
use tower::{Layer, Service};

use crate::request::{Sent, Who, inner};
use crate::tokens::{AUDIENCE, ISSUER, Tokens, claims};

claims! {
    /// Its own types for the registered claims.
    Claims {
        iss: Issuer,
        sub: Subject,
        aud: Audiences,
        exp: UnixTime,
        iat: UnixTime,
        jti: String,
        scope: Scope,
    }
}

impl CoreClaims for Claims {
    fn nbf(&self) -> Option<UnixTime> {
        None
    }

    fn exp(&self) -> Option<UnixTime> {
        Some(self.exp)
    }

    fn aud(&self) -> &Audiences {
        &self.aud
    }

    fn iss(&self) -> Option<&IssuerRef> {
        Some(&self.iss)
    }

    fn sub(&self) -> Option<&SubjectRef> {
        Some(&self.sub)
    }
}

impl HasScope for Claims {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// `None` for an algorithm that it does not know.
pub fn service(
    tokens: &Tokens,
) -> Option<impl Service<Sent, Response = Response<Full<Bytes>>, Error = Infallible> + use<>> {
    let algorithm: Algorithm = serde_json::from_value(json!(tokens.algorithm.as_str())).ok()?;
    let validator = CoreValidator::default()
        .add_approved_algorithm(algorithm)
        .add_allowed_audience(Audience::from_static(AUDIENCE))
        .require_issuer(Issuer::from_static(ISSUER))
        .check_expiration();
    let authority = Authority::new(serde_json::from_str(&tokens.jwks()).unwrap(), validator);
    let authorizer =
        Oauth2Authorizer::new().with_claims::<Claims>().with_terse_error_handler::<Full<Bytes>>();
    Some(authorizer.jwt_layer(authority).layer(inner(who)))
}

fn who(extensions: &Extensions) -> Option<Who> {
    let claims = extensions.get::<Claims>()?;
    Some((claims.sub.to_string(), claims.email.clone()))
}
