//! The threat model: what each part protects against, what it does not, and what is left to you.
//!
//! - [What there is to protect](#what-there-is-to-protect)
//! - [The attackers at a glance](#the-attackers-at-a-glance)
//! - One by one: [a script in the page](#a-script-in-the-page-xss), [another site](#another-site), [the
//!   network](#the-network), [a reader of logs](#a-reader-of-logs), [a reader of the
//!   store](#a-reader-of-the-store-or-its-back-ups), [a thief of a device or a
//!   cookie](#a-thief-of-a-device-a-cookie-or-a-token), [a client that means harm](#a-client-that-means-harm), [guessed
//!   passwords](#guessed-passwords), [a leaked key](#a-leaked-key), [a node taken over](#a-node-that-was-taken-over),
//!   [denial of service](#denial-of-service)
//! - [A list to tick off](#a-list-to-tick-off)
//!
//! # What there is to protect
//!
//! | asset | where it is | who holds it can |
//! |---|---|---|
//! | signing key ([`SigningKey`]) | memory of each node that issues tokens | be anybody, at every service that takes these tokens |
//! | secret of the refresh tokens ([`RefreshKeys`]) | memory of each node with an [`AuthService`] | nothing alone; with one token of a session, make later ones of it |
//! | refresh token | a cookie that no script reads, or the memory or storage of a client that is no browser | be the user until the session ends, unless it is bound to a key |
//! | access token | memory of the client; each request | be the user for up to 15 minutes, unless it is bound to a key |
//! | key of a client ([`ProofKey`]) | the client | use the tokens that are bound to it, if it has those, too |
//! | record of a session | the store | read who uses the application, from where, and with which claims |
//! | password, or whatever the user logs in with | not in this crate: your [`Authenticator`] sees it | log in |
//!
//! The crate takes for granted that TLS works, that your process runs the code you wrote, that the random source of the
//! system is good, and that the browser keeps its own rules about cookies and origins.
//!
//! # The attackers at a glance
//!
//! | who | what stands in the way, by default | what does not | what you do |
//! |---|---|---|---|
//! | a script in the page | `HttpOnly` cookie, access tokens of 15 minutes | the script acts as the user while the page is open | a Content Security Policy; [`Dpop`] |
//! | another site | `SameSite=Strict`, the check of `Sec-Fetch-Site` and `Origin` | routes of your own that a cookie opens | guard those by a check of their own |
//! | a host below the same domain | `same-site` requests are refused | it can plant a cookie, unless the name is `__Host-` | [`CookiePolicy::host_prefix`] |
//! | the network | `Secure` cookie, https issuers and origins | anything, if TLS is left out | TLS, HSTS |
//! | a reader of logs | no secret is printed | what your other layers print | order the layers; see below |
//! | a reader of the store or a back-up | no token is kept, only digests of secrets | names, addresses, claims | encrypt; after a restore, change [`RefreshKeys`] |
//! | a thief of a cookie | rotation and detection of reuse | a thief whose victim never comes back | [`Dpop`], short lifetimes, a list of sessions |
//! | a thief of an access token | 15 minutes | those 15 minutes | [`LiveSessionsLayer`], [`Dpop`] |
//! | a client that means harm | audience, scopes, bounds of all sizes | what its scopes allow | ask for scopes and roles on each route |
//! | a guesser of passwords | one answer for every wrong login | the guessing itself: **logins are not limited** | limits, see below |
//! | a thief of the signing key | short lives; the key can be exchanged in flight | everything, until it is exchanged | keep it well, know how to exchange it |
//! | a node that was taken over | nothing | everything that the node may do | new keys, all sessions ended |
//! | denial of service | bounds, and checks without I/O first | floods | limits and time-outs in front |
//!
//! # A script in the page (XSS)
//!
//! The refresh cookie is `HttpOnly`: a script can use it, by calling `/auth/refresh` as the page does, but never read
//! it or carry it away. What it gets from there is an access token, which it can carry away, good for 15 minutes. While
//! the page is open it can get new ones and do what the user can do. No storage of tokens changes that.
//!
//! With [`Dpop`] the access token is bound to a key, which the browser module keeps where scripts can use it and not
//! read it: what is carried away is worth nothing. A script can still sign proofs while it runs, and without
//! [nonces](crate::DpopBuilder::nonces) it can sign some for later, by a wrong `iat`. With nonces it cannot.
//!
//! To you: a Content Security Policy, no HTML made of texts, [`StepUpLayer`] in front of what must not be done by a
//! script (it asks for a recent login), and a logout that works.
//!
//! # Another site
//!
//! A bearer token in a header is never sent by a browser of itself, so routes behind [`JwtAuthLayer`] are safe by that
//! alone. What a browser sends of itself is the cookie. `POST /login` and every unsafe request with the refresh cookie
//! pass only if `Sec-Fetch-Site` or `Origin` says that the page is one of yours
//! ([`add_origin`](crate::AuthServiceBuilder::add_origin)); a client that sends neither has to say `X-Session-Request:
//! 1`, which no other site can make a browser send. The login is checked, too, so that nobody is logged into the
//! account of another. An access token in a cookie ([`TokenCookie`]) is guarded by the same rule.
//!
//! Sibling hosts are other sites here: `same-site` is refused, unless
//! [`trust_same_site`](crate::AuthServiceBuilder::trust_same_site) and the origin is named. A sibling that was taken
//! over can set cookies for the whole domain, and so plant a session of its own in a browser. Two sessions in one
//! request are a 400; where there is only the planted one, the user works in the attacker's account. With nine in a
//! request nothing is looked up: a logout by the cookie alone is a 400, too, and a login leaves the old session alive.
//! [`CookiePolicy::host_prefix`] closes it.
//!
//! Not covered: [`Sessions::open`](crate::Sessions::open) called from a route of yours (the route has to check where
//! the request comes from, as by `CsrfLayer` of tower-http), and clickjacking (`frame-ancestors`).
//!
//! # The network
//!
//! The cookie is `Secure`, issuer and origins must be https or on this machine, and answers with tokens are
//! `Cache-Control: no-store`. Whatever loosens this is called `insecure_`: search for that word before each release.
//! Tokens are looked for in headers and cookies, never in the URL.
//!
//! Not covered: TLS itself, HSTS, and the way from a proxy to you. `PostgresStore::open` connects without TLS; give
//! `PostgresStore::builder` a pool that does. For Redis there is `rediss://`, with a TLS feature of the crate
//! `redis`. `X-Forwarded-*` and `Host` are never believed; [`ClientAddress`] is what your server or your layer says it
//! is.
//!
//! # A reader of logs
//!
//! No token, key or secret is in a `Debug`, a `Display`, an event or a counter of this crate;
//! `tests/no_secret_in_logs.rs` prints all it can and searches it. [`JwtAuthLayer`] marks the credential as sensitive
//! for layers behind it, and [`strip_token`](crate::JwtAuthLayer::strip_token) takes it away from them.
//!
//! Not covered: a layer or proxy in front that prints headers (put `SetSensitiveRequestHeadersLayer` of tower-http
//! outside of it, for `authorization`, `cookie` and `dpop`), and what you print of bodies. Events hold session ids, and
//! some the subject: no secrets, but personal data.
//!
//! # A reader of the store, or its back-ups
//!
//! The store has the SHA-256 of each session's secret. To make a token of it one needs the secret itself, which only
//! tokens hold, and the key of [`RefreshKeys`], which only the nodes hold. So a copy of the database lets nobody in,
//! and neither does the key without a token. A tag that is genuine over a secret that is not is the event `mismatch`:
//! somebody has the key.
//!
//! What the reader does learn is in clear: subjects, claims, scopes, user agents, addresses, times. Keep claims few.
//!
//! Who can *write* to the store can end sessions, and bring back ended ones. Claims and scopes of a session come from
//! its record, so they can be changed there, too. [`Authenticator::renew`](crate::Authenticator::renew) takes the
//! claims from your own tables at each refresh; the scopes stay those of the record.
//!
//! A back-up that is restored brings back sessions that ended since, also those that ended for a theft. Change all of
//! [`RefreshKeys`] with it: that ends every session. A failover can lose an ending in the same way, see `RedisStore`
//! and `PostgresStore` for how to have it wait for a replica.
//!
//! # A thief of a device, a cookie or a token
//!
//! **A copied refresh token** is found out when thief and owner have both refreshed with it, further apart than the
//! retry window: the session ends, or all of the subject. The drawings are in [`rotation`]. What is not found out:
//!
//! - A thief whose victim never comes back, as from a device that was thrown away. The thief's refreshes keep the
//!   session from idling out; it ends with its [absolute lifetime](crate::SessionPolicy::with_absolute_lifetime), 30
//!   days by default.
//! - A thief who refreshes within 30 seconds of the owner, each time anew.
//!
//! Both are closed by [`Dpop`]: without the client's key the token refreshes nothing. All that it is still good for is
//! a logout.
//!
//! **A copied access token** is good until it expires: 15 minutes, and 30 seconds of leeway, also after a logout.
//! Behind a [`LiveSessionsLayer`] it ends with its session, at once in the process that ended it, and elsewhere after
//! `max_staleness` or when the store tells of it. The layer does not see that a token was copied, only that its session
//! is over.
//!
//! **A stolen device** is its owner to the service. Give users the list of their sessions (`GET /sessions`,
//! `DELETE /sessions/{id}`, `POST /logout/others`), and shorten
//! [`with_idle_lifetime`](crate::SessionPolicy::with_idle_lifetime) where devices are shared.
//!
//! **A changed password** ends nothing by itself: call [`Sessions::end_all`](crate::Sessions::end_all). **An account
//! that was closed** goes on refreshing with the claims of its login, unless `renew` says [`AuthnError::Refused`].
//!
//! # A client that means harm
//!
//! It can send whatever it likes. Tokens are checked in a fixed [order](crate::token) before anything of them is
//! believed: one algorithm for each key, no `none`, no key out of the token, exact issuer, audience, type. With
//! [`Verifier::several`](crate::Verifier::several) a key counts for its own issuer only. Sizes are bounded: 8 KiB for a
//! token, 16 KiB for a body, 64 KiB for cookies.
//!
//! The routes of the service take an access token only with a live session. Which sessions its user has, and their end,
//! is open to each of them, unless [`require_scope`](crate::AuthServiceBuilder::require_scope) asks for more. Tokens
//! that are revoked by name are refused there with [`revocations`](crate::AuthServiceBuilder::revocations).
//!
//! What a client may do with a good token is up to your routes: [`RequireScopeLayer`], [`RequireLayer`], and for tokens
//! of others the hints in [`identity_providers`]. A token that was issued with too much says too much for as long as it
//! lives. Any holder of one refresh token of a live session, even an old one, can end that session (with
//! [`OnReuse::Subject`](crate::OnReuse::Subject), all sessions of the user). That is nuisance, not access.
//!
//! # Guessed passwords
//!
//! The crate hashes no password and counts no attempt. A wrong password, an unknown user and a locked account have one
//! answer; that they also take the same time is up to your [`Authenticator`] (hash against a dummy). What to add:
//!
//! - By address, in front: a limit in the proxy, or a tower layer around the service that can answer 429. Which address
//!   counts depends on your proxies, and so no default would be right. Let it hold for whatever reaches the service,
//!   not for the one path `/auth/login`: the login has [another](crate::service) one.
//! - By account, in the authenticator: slow down, or ask for a second factor. An outright lock lets a stranger lock
//!   users out.
//! - For the processor: bound how many hashes are computed at once. The others get a 503 with `Retry-After` at once,
//!   instead of a queue that nobody waits in.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::Mutex;
//!
//! use serde::{Deserialize, Serialize};
//! use tokio::sync::Semaphore;
//! use tower_jwt_auth::{Authenticator, AuthnError, ClientInfo, Identity};
//!
//! #[derive(Deserialize)]
//! struct Login { email: String, password: String }
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { email: String }
//!
//! struct Accounts {
//!     /// As many hashes at once as there are processors to spare.
//!     hashing: Semaphore,
//!     /// In a real service bounded, shared by all nodes, and forgetting after a while.
//!     failures: Mutex<HashMap<String, u32>>,
//! }
//!
//! impl Accounts {
//!     fn failures_of(&self, email: &str) -> u32 {
//!         self.failures.lock().unwrap().get(email).copied().unwrap_or_default()
//!     }
//! }
//!
//! impl Authenticator for Accounts {
//!     type Credentials = Login;
//!     type Claims = User;
//!
//!     async fn authenticate(&self, login: Login, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
//!         if self.failures_of(&login.email) >= 10 {
//!             return Err(AuthnError::Refused);
//!         }
//!         let Ok(_permit) = self.hashing.try_acquire() else {
//!             return Err(AuthnError::unavailable("too many logins at once"));
//!         };
//!         // Elsewhere a hash, in `spawn_blocking`, also for a user that there is not.
//!         if login.password != "correct horse" {
//!             *self.failures.lock().unwrap().entry(login.email).or_default() += 1;
//!             return Err(AuthnError::Refused);
//!         }
//!         self.failures.lock().unwrap().remove(&login.email);
//!         Ok(Identity::new("user-1", User { email: login.email }))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let accounts = Accounts { hashing: Semaphore::new(2), failures: Mutex::default() };
//! let login = |password: &str| Login { email: "ada@example.com".into(), password: password.into() };
//! for _ in 0..10 {
//!     let outcome = accounts.authenticate(login("12345"), &ClientInfo::default()).await;
//!     assert!(matches!(outcome, Err(AuthnError::Refused)));
//! }
//! // The right one comes too late, and looks like a wrong one.
//! let outcome = accounts.authenticate(login("correct horse"), &ClientInfo::default()).await;
//! assert!(matches!(outcome, Err(AuthnError::Refused)));
//! # }
//! ```
//!
//! # A leaked key
//!
//! **The signing key.** Its thief makes access tokens for anybody, and no check of this crate tells them from real
//! ones. There is no protection but another key. What limits the damage, and what does not:
//!
//! - Sign with an asymmetric key. Services that only verify then hold nothing worth stealing. With HS256 each of them
//!   can issue.
//! - Exchange keys as a habit, so that it works on the day: [`KeyRotation`] says when each step is safe. After a leak
//!   do not wait for it: [`add_key`](crate::TokenConfig::add_key), [`sign_with`](crate::TokenConfig::sign_with) and
//!   [`remove_key`](crate::TokenConfig::remove_key) in one go, on every node. Access tokens of the old key are refused,
//!   and clients refresh: the refresh tokens are made by another secret, so nobody is logged out. Verifiers elsewhere
//!   take the old key until they fetch the set again.
//! - [`require_claim("sid")`](crate::TokenConfigBuilder::require_claim) together with a [`LiveSessionsLayer`] makes the
//!   forger name a session of the same subject that lives. (Tokens without `sid` pass that layer, or the forger would
//!   leave it out.) Session ids are no secret, so this is a hurdle, and no wall.
//!
//! **The secret of the refresh tokens** makes no token of a session whose secret is not known. Together with a copied
//! token it makes later generations, which look like those that a failover lost: the owner's next refresh is then
//! `superseded` or `reused`. Exchange it as [`RefreshKeys`] says, or at once, which ends all sessions.
//!
//! **The nonce secret of DPoP** lets clients make proofs ahead again, and nothing else.
//!
//! # A node that was taken over
//!
//! It has the signing key, the secret of the refresh tokens, the connection to the store, and each password that is
//! typed meanwhile. Nothing in the crate withstands that. Afterwards: new signing key, new [`RefreshKeys`], new
//! credentials of the store; all sessions end with the second.
//!
//! Until then less is lost where the parts are apart: logins and sessions in one small service, which alone has the
//! keys, and verifiers that have public keys (`GET /jwks.json`, `RemoteJwks`) and, for a [`LiveSessionsLayer`], an
//! account of the database of their own.
//!
//! # Denial of service
//!
//! Cheap things come first: route, origin, tag of the refresh token, size and type of the body, and only then the
//! store. A forged refresh token costs one HMAC, a forged access token one signature check at most, and only accepted
//! tokens are remembered, in bounded memory. An unknown key id lets `RemoteJwks` fetch, but only once per interval, and
//! no request waits for it. A subject has 50 sessions at most; one more ends the longest unused. A store that hangs
//! is a 503 after two of its time-outs, four seconds by default; one that hangs in the middle of a login takes longer.
//!
//! Proofs of DPoP are remembered up to a number, one for all clients, and beyond it every request with a proof is 503.
//! One client with a session and a key can fill it, at 1,200 good requests a second by default, each of which costs it
//! a signature: a limit on requests by client has to stay below.
//!
//! Not covered, and to be put in front:
//!
//! - Floods: `GlobalConcurrencyLimitLayer` and `LoadShedLayer` of tower, outside of the layers of this crate, or the
//!   proxy.
//! - Bodies that come slowly: the service bounds their size, not their time. `TimeoutLayer` of tower-http, or of the
//!   server.
//! - Logins, as above: they are the one costly thing that a stranger can ask for.
//! - [`MokaStore`] without [`max_subjects`](crate::MokaStoreBuilder::max_subjects) grows with the number of users; with
//!   it, the longest untouched are logged out. `RedisStore` needs `noeviction`, or Redis logs users out when it is
//!   full.
//!
//! # A list to tick off
//!
//! - [ ] TLS to the clients, to the store and between proxies; HSTS.
//! - [ ] No `insecure_` in what is deployed.
//! - [ ] A Content Security Policy; `frame-ancestors`.
//! - [ ] A limit on logins, by address and by account; passwords hashed with a bound on how many at once.
//! - [ ] [`Sessions::end_all`](crate::Sessions::end_all) when a password or a second factor changes; `renew` for
//!   accounts that are closed.
//! - [ ] [`LiveSessionsLayer`] where 15 minutes after a logout are too long; [`Dpop`] where a copied cookie must be
//!   worthless.
//! - [ ] [`CookiePolicy::host_prefix`] where other hosts share the domain.
//! - [ ] A time-out and a limit in front; `CsrfLayer` on routes of yours that a cookie opens.
//! - [ ] An alert on `reused`, `superseded`, `mismatch` and `unavailable`: [`observability`].
//! - [ ] An exchange of the signing key and of [`RefreshKeys`] that was tried out.
//! - [ ] Revocations that survive a crash and a failover of the store.
//!
//! [`AuthService`]: crate::AuthService
//! [`Authenticator`]: crate::Authenticator
//! [`AuthnError::Refused`]: crate::AuthnError::Refused
//! [`ClientAddress`]: crate::ClientAddress
//! [`CookiePolicy::host_prefix`]: crate::CookiePolicy::host_prefix
//! [`Dpop`]: crate::Dpop
//! [`JwtAuthLayer`]: crate::JwtAuthLayer
//! [`KeyRotation`]: crate::KeyRotation
//! [`LiveSessionsLayer`]: crate::LiveSessionsLayer
//! [`MokaStore`]: crate::MokaStore
//! [`ProofKey`]: crate::ProofKey
//! [`RefreshKeys`]: crate::RefreshKeys
//! [`RequireLayer`]: crate::RequireLayer
//! [`RequireScopeLayer`]: crate::RequireScopeLayer
//! [`SigningKey`]: crate::SigningKey
//! [`StepUpLayer`]: crate::StepUpLayer
//! [`TokenCookie`]: crate::TokenCookie
//! [`identity_providers`]: crate::manual::identity_providers
//! [`observability`]: crate::manual::observability
//! [`rotation`]: crate::manual::rotation
