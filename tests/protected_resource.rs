//! The metadata of a protected resource (RFC 9728), and the challenges that lead to it.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::task::Poll;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use support::ManualClock;
use support::readiness::OneShotReadiness;
use support::requests::{bearer, request};
use support::tokens::{Signer, config};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    ConfigErrorKind, JwtAuthLayer, NoClaims, ProtectedResource, ProtectedResourceLayer, RequireScopeLayer,
};
use tower_test::mock;

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;

/// Identifier, path and URL of the metadata.
const URLS: &[(&str, &str, &str)] = &[
    (
        "https://api.example",
        "/.well-known/oauth-protected-resource",
        "https://api.example/.well-known/oauth-protected-resource",
    ),
    (
        "https://api.example/",
        "/.well-known/oauth-protected-resource",
        "https://api.example/.well-known/oauth-protected-resource",
    ),
    (
        "https://api.example/mcp",
        "/.well-known/oauth-protected-resource/mcp",
        "https://api.example/.well-known/oauth-protected-resource/mcp",
    ),
    (
        "https://api.example/mcp/",
        "/.well-known/oauth-protected-resource/mcp/",
        "https://api.example/.well-known/oauth-protected-resource/mcp/",
    ),
    (
        "https://api.example:8443/a/b%20c",
        "/.well-known/oauth-protected-resource/a/b%20c",
        "https://api.example:8443/.well-known/oauth-protected-resource/a/b%20c",
    ),
    (
        "https://api.example?tenant=1",
        "/.well-known/oauth-protected-resource",
        "https://api.example/.well-known/oauth-protected-resource?tenant=1",
    ),
    (
        "https://api.example/?tenant=1",
        "/.well-known/oauth-protected-resource",
        "https://api.example/.well-known/oauth-protected-resource?tenant=1",
    ),
    (
        "https://API.example/mcp?tenant=1&x=/y?z",
        "/.well-known/oauth-protected-resource/mcp",
        "https://API.example/.well-known/oauth-protected-resource/mcp?tenant=1&x=/y?z",
    ),
    (
        "http://[::1]:3000/mcp",
        "/.well-known/oauth-protected-resource/mcp",
        "http://[::1]:3000/.well-known/oauth-protected-resource/mcp",
    ),
];

fn resource(identifier: &str) -> ProtectedResource {
    ProtectedResource::new(identifier).unwrap().add_authorization_server("https://id.example").unwrap()
}

fn bearer_layer() -> JwtAuthLayer<NoClaims> {
    JwtAuthLayer::new(config(&Signer::ed25519(), &ManualClock::new()).verifier())
}

fn at(method: Method, uri: &str) -> Req {
    Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
}

fn inner() -> impl Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|_: Req| ready(Ok(Response::new(Full::from("inner")))))
}

/// The metadata is public, the rest asks for a token.
async fn send(resource: &ProtectedResource, request: Req) -> Response<Bytes> {
    let service = ServiceBuilder::new()
        .layer(ProtectedResourceLayer::new(resource))
        .layer(bearer_layer().resource_metadata(resource).unwrap())
        .service(inner());
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

fn challenge<B>(response: &Response<B>) -> &str {
    response.headers()[WWW_AUTHENTICATE].to_str().unwrap()
}

fn named_url<B>(response: &Response<B>) -> String {
    let (_, rest) = challenge(response).split_once(r#"resource_metadata=""#).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn rows_21_and_22_the_challenge_leads_to_the_document_of_the_same_resource() {
    for (identifier, path, url) in URLS {
        let resource = resource(identifier);
        assert_eq!((resource.metadata_path(), resource.metadata_url()), ((*path).into(), (*url).into()));

        let refused = send(&resource, at(Method::POST, "/mcp")).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{identifier}");
        let named = named_url(&refused);
        assert_eq!(named, *url);

        // As HTTP/1 sends it, and as HTTP/2 does.
        let uri: Uri = named.parse().unwrap();
        for uri in [uri.path_and_query().unwrap().as_str(), &named] {
            let found = send(&resource, at(Method::GET, uri)).await;
            assert_eq!(found.status(), StatusCode::OK, "{identifier}");
            let document: Value = serde_json::from_slice(found.body()).unwrap();
            assert_eq!(document["resource"], *identifier);
            let bytes = format!(r#""resource":"{identifier}""#);
            assert!(str::from_utf8(found.body()).unwrap().contains(&bytes), "byte for byte");
        }
    }
}

#[tokio::test]
async fn the_document_holds_what_was_set() {
    let plain = ProtectedResource::new("https://api.example/mcp").unwrap();
    let path = plain.metadata_path();
    let document = |response: Response<Bytes>| serde_json::from_slice::<Value>(response.body()).unwrap();
    let expected = json!({"resource": "https://api.example/mcp", "bearer_methods_supported": ["header"]});
    assert_eq!(document(send(&plain, at(Method::GET, &path)).await), expected);

    let full = resource("https://api.example/mcp")
        .add_authorization_server("https://other.example/tenant")
        .and_then(|resource| resource.add_scope("mcp:use")?.add_scope("mcp:admin"))
        .and_then(|resource| resource.with_bearer_methods(["header", "body"]))
        .and_then(|resource| resource.with_documentation("https://api.example/docs#start"))
        .and_then(|resource| resource.with_jwks_uri("https://api.example/jwks.json"))
        .unwrap()
        .with_name("The \"tools\"");
    let expected = json!({
        "resource": "https://api.example/mcp",
        "authorization_servers": ["https://id.example", "https://other.example/tenant"],
        "scopes_supported": ["mcp:use", "mcp:admin"],
        "bearer_methods_supported": ["header", "body"],
        "resource_name": "The \"tools\"",
        "resource_documentation": "https://api.example/docs#start",
        "jwks_uri": "https://api.example/jwks.json",
    });
    let found = send(&full, at(Method::GET, &path)).await;
    assert_eq!(found.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(found.headers()[CACHE_CONTROL], "public, max-age=3600");
    assert_eq!(found.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(found.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let length = found.body().len().to_string();
    assert_eq!(document(found), expected);

    let head = send(&full, at(Method::HEAD, &path)).await;
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    assert_eq!(head.headers()[CONTENT_LENGTH], length);
    assert_eq!(head.headers()[CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let resource = resource("https://api.example/mcp");
    let path = resource.metadata_path();
    let preflight = send(&resource, at(Method::OPTIONS, &path)).await;
    assert_eq!((preflight.status(), preflight.body().len()), (StatusCode::NO_CONTENT, 0));
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
    ] {
        assert_eq!(preflight.headers()[name], value);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let refused = send(&resource, at(method, &path)).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[ALLOW], "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn all_else_passes() {
    let known = "/.well-known/oauth-protected-resource";
    for (identifier, uri, is_document) in [
        ("https://api.example/mcp", format!("{known}/mcp"), true),
        ("https://api.example/mcp", format!("{known}/mcp?x=1"), true),
        ("https://api.example/mcp", format!("{known}/mcp/"), false),
        ("https://api.example/mcp", format!("{known}/mcp2"), false),
        ("https://api.example/mcp", known.to_owned(), false),
        ("https://api.example/mcp", "/mcp".to_owned(), false),
        ("https://api.example", known.to_owned(), true),
        ("https://api.example?t=1", format!("{known}?t=1"), true),
        ("https://api.example?t=1", format!("{known}?t=2"), false),
        ("https://api.example?t=1", known.to_owned(), false),
    ] {
        let service = ProtectedResourceLayer::new(&resource(identifier)).layer(inner());
        let response = service.oneshot(at(Method::GET, &uri)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body != "inner", is_document, "{identifier} {uri}");
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let resource = resource("https://api.example/mcp");
    let layer = ProtectedResourceLayer::new(&resource);
    let (mut service, mut handle) = mock::spawn_layer::<Req, Res, _>(layer.clone());
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));
    let found = service.call(at(Method::GET, &resource.metadata_path())).await.unwrap();
    assert_eq!(found.status(), StatusCode::OK);
    assert!(handle.poll_request().is_pending(), "the inner service was called");

    let mut service = layer.layer(OneShotReadiness::default());
    service.ready().await.unwrap().call(at(Method::GET, "/mcp")).await.unwrap();
    assert_eq!(service.into_inner().calls, 1);
}

#[tokio::test]
async fn row_21_each_challenge_names_the_metadata() {
    let resource = resource("https://api.example/mcp");
    let named = r#"resource_metadata="https://api.example/.well-known/oauth-protected-resource/mcp""#;
    let service = ServiceBuilder::new()
        .layer(bearer_layer().resource_metadata(&resource).unwrap())
        .layer(RequireScopeLayer::all(["mcp:use"]).unwrap())
        .service(inner());
    for (request, status, rest) in [
        (at(Method::POST, "/"), 401, ""),
        (
            bearer("x.y.z"),
            401,
            r#", error="invalid_token", error_description="the access token is not valid""#,
        ),
        (
            request(&["Bearer"]),
            400,
            r#", error="invalid_request", error_description="the credentials are malformed""#,
        ),
        (
            bearer(&Signer::ed25519().good()),
            403,
            r#", error="insufficient_scope", error_description="the access token lacks a scope", scope="mcp:use""#,
        ),
    ] {
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(challenge(&response), format!(r#"Bearer realm="api", {named}{rest}"#));
    }
}

#[tokio::test]
async fn neither_setting_of_the_challenge_loses_the_other() {
    let resource = resource("https://api.example/mcp");
    let own = |layer: JwtAuthLayer<NoClaims>| layer.map_rejection(|rejection, _| rejection.to_response());
    let realm = |layer: JwtAuthLayer<NoClaims>| layer.with_realm("tools").unwrap();
    let metadata = |layer: JwtAuthLayer<NoClaims>| layer.resource_metadata(&resource).unwrap();
    let url = resource.metadata_url();
    for layer in [
        metadata(realm(bearer_layer())),
        realm(metadata(bearer_layer())),
        own(realm(metadata(bearer_layer()))),
        realm(own(metadata(bearer_layer()))),
        metadata(own(realm(bearer_layer()))),
    ] {
        let response = layer.layer(inner()).oneshot(at(Method::GET, "/")).await.unwrap();
        assert_eq!(challenge(&response), format!(r#"Bearer realm="tools", resource_metadata="{url}""#));
    }
}

#[tokio::test]
async fn a_token_at_the_metadata_is_not_looked_at() {
    let resource = resource("https://api.example/mcp");
    let mut request = at(Method::GET, &resource.metadata_path());
    request.headers_mut().insert(AUTHORIZATION, "Bearer x.y.z".parse().unwrap());
    assert_eq!(send(&resource, request).await.status(), StatusCode::OK);
}

#[test]
fn what_is_no_resource_is_refused_when_it_is_set() {
    for bad in [
        "",
        "api.example",
        "http://api.example/mcp",
        "https://api.example/mcp#part",
        "https://api.example/#",
        "https://user@api.example/",
        "https://api.example/a b",
        "https://api.example/a\"b",
        "https://api.example/a\\b",
        "https://api.example/{id}",
        "https://api.example/%zz",
        "https://api.example/%2",
        "https://api.example/%é",
        "https://",
    ] {
        let error = ProtectedResource::new(bad).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Audience, "{bad}");
    }
    let resource = || resource("https://api.example");
    for bad in ["", "http://id.example", "https://id.example?a", "https://id.example#a", "https://id.example"]
    {
        let error = resource().add_authorization_server(bad).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Issuer, "{bad}");
    }
    let twice = resource().add_scope("a").unwrap().add_scope("a");
    for result in [
        twice,
        resource().add_scope(""),
        resource().add_scope("a b"),
        resource().with_bearer_methods(["cookie"]),
        resource().with_documentation("ftp://api.example"),
        resource().with_jwks_uri("/jwks.json"),
    ] {
        assert_eq!(result.unwrap_err().kind(), ConfigErrorKind::Limit);
    }
}
