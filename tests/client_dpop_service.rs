//! Both ends of a bound session: the client of this crate against its service and its layer, with nonces.

#![cfg(all(feature = "client", feature = "moka", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::json;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::client::{MemoryStorage, Session, SessionLayer};
use tower_jwt_auth::test_util::ManualClock;
use tower_jwt_auth::{
    AuthLayer, AuthService, Authenticator, AuthnError, ClientInfo, CookiePolicy, Delivery, Dpop, Identity,
    JwtAuthLayer, MokaStore, NoClaims, NonceKeys, RefreshKeys, SigningKey, TokenConfig, Verified,
};

const OWN: &str = "https://app.example";

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// Lets everybody in.
struct Everybody;

impl Authenticator for Everybody {
    type Credentials = Name;
    type Claims = NoClaims;

    async fn authenticate(&self, login: Name, _: &ClientInfo) -> Result<Identity<NoClaims>, AuthnError> {
        Ok(Identity::new(login.name, NoClaims {}))
    }
}

type Site = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

/// A service below `/auth`, and a resource elsewhere that only bound tokens open.
fn site(clock: &ManualClock, delivery: Delivery) -> Site {
    let config = TokenConfig::builder()
        .key(SigningKey::ed25519_seed(&[7; 32]).unwrap())
        .issuer(OWN)
        .audience("api")
        .clock(clock.clone())
        .build()
        .unwrap();
    let dpop = Dpop::builder(OWN)
        .nonces(NonceKeys::new([9; 32]).unwrap())
        .required()
        .clock(clock.clone())
        .build()
        .unwrap();
    let store = MokaStore::builder().clock(clock.clone()).build();
    let auth = AuthService::builder(&config, RefreshKeys::new([8; 32]).unwrap(), store, Everybody)
        .add_origin(OWN)
        .delivery(delivery)
        .dpop(&dpop)
        .build()
        .unwrap();
    let resource = service_fn(async |request: Request<Full<Bytes>>| {
        let user = Verified::<NoClaims>::of(request.extensions()).unwrap();
        assert_eq!(request.headers()[AUTHORIZATION].as_bytes().get(..5), Some(&b"DPoP "[..]));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(user.subject().to_owned())))
    });
    let api = JwtAuthLayer::new(config.verifier::<NoClaims>()).dpop(&dpop).unwrap().layer(resource);
    let site = AuthLayer::new(auth).layer(api);
    let collected = service_fn(move |request: Request<Full<Bytes>>| {
        let site = site.clone();
        async move {
            let (parts, body) = site.oneshot(request).await?.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::from_parts(parts, Full::new(body)))
        }
    });
    BoxCloneSyncService::new(collected)
}

#[tokio::test]
async fn a_bound_session_from_login_to_logout() {
    for delivery in [Delivery::Body, Delivery::Cookie] {
        let clock = ManualClock::new();
        let site = site(&clock, delivery);
        let mut builder = Session::builder(&format!("{OWN}/auth"), MemoryStorage::new(), site.clone())
            .dpop()
            .clock(clock.clone());
        if delivery == Delivery::Cookie {
            builder = builder.cookie(&CookiePolicy::default());
        }
        let session = builder.build().unwrap();
        let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(site.clone());
        let get = async || {
            let request = Request::get(format!("{OWN}/orders?page=2")).body(Full::default()).unwrap();
            let answer = client.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            (
                status,
                String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap(),
            )
        };
        assert_eq!(get().await.0, 401);
        session.login(&json!({ "name": "ada" })).await.unwrap();
        let ada = (200, "ada".to_owned());
        assert_eq!(get().await, ada);
        // Nonces change, tokens expire, and are refreshed with a proof, too.
        for _ in 0..4 {
            clock.advance(Duration::from_secs(16 * 60));
            assert_eq!(get().await, ada, "{delivery:?}");
            assert_eq!(get().await, ada, "{delivery:?}");
        }
        session.logout().await.unwrap();
        assert_eq!(get().await.0, 401);
    }
}
