//! `tower-oauth2-resource-server`, with one tenant of a static key set.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Extensions, Response};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;
use tower_oauth2_resource_server::validation::ClaimsValidationSpec;

use crate::request::{Sent, Who, complete, inner};
use crate::tokens::{AUDIENCE, Claims, ISSUER, Tokens};

pub fn service(
    tokens: &Tokens,
) -> impl Service<Sent, Response = Response<Full<Bytes>>, Error = Infallible> + use<> {
    // What the peer recommends asks for `nbf` as well, which these tokens do not have.
    let claims = ClaimsValidationSpec::new().iss(ISSUER).aud(&vec![AUDIENCE.to_owned()]).exp(true);
    let tenant = TenantConfiguration::static_builder(tokens.jwks())
        .claims_validation(claims)
        // HS256 is not among those allowed by default.
        .allowed_algorithms(&[tokens.algorithm.as_str().parse().unwrap()])
        .build()
        .unwrap();
    let server = OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant).build();
    complete(server).unwrap().into_layer().layer(inner(who))
}

fn who(extensions: &Extensions) -> Option<Who> {
    extensions.get::<Claims>().map(|claims| (claims.sub.clone(), claims.email.clone()))
}
