//! Operation: what the nodes of a service share, and what changes while it runs.
//!
//! - [Several nodes](#several-nodes), and [what a node reads at its start](#what-a-node-reads-at-its-start)
//! - [A new signing key](#a-new-signing-key), and [a new refresh secret](#a-new-refresh-secret)
//! - [Sizes of stores](#sizes-of-stores)
//! - [Back-ups](#back-ups): a restore, and a leak
//! - [Start and stop](#start-and-stop)
//! - [Time-outs, and what a 503 means](#time-outs-and-what-a-503-means)
//! - [Health checks](#health-checks), and [alerts](#alerts)
//! - [Before you go live](#before-you-go-live)
//!
//! # Several nodes
//!
//! Any node answers any request: no sticky sessions.
//!
//! | must be the same on all | or else |
//! |---|---|
//! | signing keys, and verifying keys during an exchange. The key id is made of the key, if it is given none | 401 where a key is unknown |
//! | issuer, audience | 401 |
//! | the secrets of [`RefreshKeys`], the issuer and the [`name`] of the service, which are part of the tag | 401: the session is lost for the client |
//! | the store: server, database, prefix or schema | as with no session |
//! | [`SessionPolicy`] | a session follows the rule of the node that it meets |
//! | [`path`], [`CookiePolicy`], [`Delivery`], origins | cookies that are not found, or twice there |
//! | DPoP on all or none, its URLs and [`NonceKeys`]; and a [`ReplayStore`](crate::ReplayStore), if a proof is to be good once on all | 401 or 400; a nonce is asked for once more; a proof is good once on each node |
//! | the application's claims: a new member has a default | tokens of sessions that are older are refused, or a refresh is a 500. Sessions live up to 30 days |
//!
//! **Clocks.** Windows and ends of sessions are by the clock of the store's server, for all nodes. Access tokens are
//! made and judged by the clocks of the nodes: [`leeway`] allows a difference of 30 seconds. Proofs allow 10, and are
//! good for a minute. Keep the clocks of all by NTP, those of the clients of DPoP as well as may be.
//!
//! **Ends of sessions.** The store is the same, so a refresh is refused everywhere at once. An access token is good
//! until it expires, unless a [`LiveSessionsLayer`] stands behind the bearer layer. It then hears of other nodes by
//! `store.listen(url)`; where a message is lost, `max_staleness` is the bound: how long you would let an ended session
//! pass in that case. Each session in use costs each node one read of the store in that time. 30 seconds do for nodes
//! that listen, 5 to 10 for those that do not. `cargo run --example two_nodes` shows two processes.
//!
//! **One clean-up.** A [`PurgeTask`] may run on one node or on all at once; for [`PostgresStore`] there must be one
//! somewhere.
//!
//! **New versions.** Nodes of two versions may run side by side while they are rolled out, with one rule:
//! [`Retry::UntilUsed`] begins when all nodes know it and all verifiers report use. [`PostgresStore::migrate`] brings
//! tables of an older version to the new one, and refuses to work on those of a newer one.
//!
//! # What a node reads at its start
//!
//! A directory that the deployment fills is enough for all exchanges on this page: a roll-out changes files, and no
//! code.
//!
//! ```
//! use std::path::Path;
//! use std::time::Duration;
//! use std::{fs, io};
//! use tower_jwt_auth::{RefreshKeys, SigningKey, TokenConfig, VerifyingKey};
//!
//! /// `signing.pem` and `refresh.secret`; in `verify/` public keys, and in `accept/` secrets, for an exchange.
//! fn settings(from: &Path) -> Result<(TokenConfig, RefreshKeys), Box<dyn std::error::Error>> {
//!     let files = |name: &str| -> io::Result<Vec<Vec<u8>>> {
//!         fs::read_dir(from.join(name))?.map(|entry| fs::read(entry?.path())).collect()
//!     };
//!     let mut config = TokenConfig::builder()
//!         .key(SigningKey::ed25519_pem(fs::read(from.join("signing.pem"))?)?)
//!         .issuer("https://www.shop.example")
//!         .audience("api")
//!         .lifetime(Duration::from_secs(15 * 60));
//!     for pem in files("verify")? {
//!         config = config.add_verifying_key(VerifyingKey::ed25519_pem(pem)?);
//!     }
//!     let mut keys = RefreshKeys::new(fs::read(from.join("refresh.secret"))?)?;
//!     for secret in files("accept")? {
//!         keys = keys.add_accepted(secret)?;
//!     }
//!     Ok((config.build()?, keys))
//! }
//! # let _ = settings;
//! ```
//!
//! `openssl genpkey -algorithm ed25519 -out signing.pem` makes a key, `openssl pkey -in signing.pem -pubout` its public
//! half, and `openssl rand -out refresh.secret 32` a secret.
//!
//! # A new signing key
//!
//! A verifier must know a key before the first token is signed with it, and know the old one until its last token has
//! expired. [`KeyRotation`] computes when. Three roll-outs, on any number of nodes:
//!
//! ```text
//!               roll-out 1                    roll-out 2                       roll-out 3
//!  node A  ───────┬─────────────────────────────┬────────────────────────────────┬─────────
//!  node B  ──────────┬─────────────────────────────┬────────────────────────────────┬──────
//!                    │                          │  │                             │
//!  published     old │ old, new                 │  │ old, new                    │     new
//!  signs         old │ old                      │  │ new                         │     new
//!                    │<────── propagation ─────>│  │<─ life of a token, leeway ─>│
//!                    │                             │
//!              published_at                   signing_since
//!          the last node has it          the last node does it
//! ```
//!
//! 1. All nodes get the new key to verify with: `.key(old).add_verifying_key(new)`. It is in `GET /auth/jwks.json` now.
//!    When the last node has it, wait for the *propagation*: the longest time that a verifier keeps a set. The answer
//!    says five minutes (`Cache-Control: max-age=300`), to which a [`RemoteJwks`] keeps. Where nobody but these nodes
//!    verifies, there is nothing to wait for.
//! 2. All nodes sign with the new one: `.key(new).add_verifying_key(old)`. When the last one does, wait for the life of
//!    a token and the leeway: 15 minutes and 30 seconds.
//! 3. The old one goes: `.key(new)`.
//!
//! ```
//! use std::time::Duration;
//! use tower_jwt_auth::{Clock, KeyRotation, KeyRotationStep, SigningKey, SystemClock, TokenConfig};
//!
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! # let (old, new) = (SigningKey::ed25519_seed(&[1; 32])?, SigningKey::ed25519_seed(&[2; 32])?);
//! # let builder = || TokenConfig::builder().issuer("https://www.shop.example").audience("api");
//! let before = builder().key(old.clone()).add_verifying_key(new.verifying_key().clone()).build()?;
//! let after = builder().key(new).add_verifying_key(old.verifying_key().clone()).build()?;
//!
//! // Both moments are notes of whoever rolls out; nothing keeps them.
//! let now = SystemClock.now();
//! let published_at = now.saturating_sub(Duration::from_secs(3600));
//! let rotation = KeyRotation::begin(&before, published_at, Duration::from_secs(300));
//! assert_eq!(rotation.next_step(now), KeyRotationStep::Sign);
//! let rotation = rotation.signing_since(now);
//! let until = now.saturating_add(after.lifetime() + Duration::from_secs(30));
//! assert_eq!(rotation.next_step(now), KeyRotationStep::WaitToRemove { until });
//! # Ok(())
//! # }
//! ```
//!
//! - Without a restart the same steps are [`add_key`], [`sign_with`] and [`remove_key`], on each node: a configuration
//!   is of one process, and a node that starts in between must be given what the others have.
//! - Both roll-outs in one go cost 401s: node A signs what node B does not know yet. A client that refreshes after a
//!   401 gets over it.
//! - Sessions do not notice: refresh tokens know nothing of these keys.
//! - HMAC keys and public keys do not go into one configuration. A change from HS256 to EdDSA is one roll-out, with
//!   401s while it lasts.
//! - **A key that has leaked** goes at once, without step 1: `.key(new)` on all nodes. Its tokens are refused from then
//!   on, the remembered ones, too; clients refresh. A verifier elsewhere believes the old key until it fetches again,
//!   after five minutes or when it sees a token of the new one: restart it if that is too long.
//!
//! `tests/key_rotation.rs` holds that no token is refused meanwhile, and
//! `cargo run --example issuer_and_resource --features jwks-hyper` exchanges keys under load, with two processes.
//!
//! # A new refresh secret
//!
//! Each refresh token names its secret, and [`RefreshKeys`] signs with one and accepts any number:
//!
//! ```
//! # use tower_jwt_auth::{AuthService, ClientInfo, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys, SigningKey};
//! # use tower_jwt_auth::TokenConfig;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = TokenConfig::builder()
//! #     .key(SigningKey::ed25519_seed(&[7; 32])?)
//! #     .issuer("https://www.shop.example")
//! #     .audience("api")
//! #     .build()?;
//! # let store = MokaStore::new();
//! # let service = |keys| {
//! #     AuthService::builder(&config, keys, store.clone(), NoLogin::<NoClaims>::new())
//! #         .add_origin("https://www.shop.example")
//! #         .build()
//! #         .map(|auth| auth.sessions())
//! # };
//! # let (old, new) = ([1; 32], [2; 32]);
//! // Roll-out 1: all nodes know it.
//! let first = RefreshKeys::new(old)?.add_accepted(new)?;
//! // Roll-out 2: all nodes sign with it. Then wait for the idle lifetime: 7 days by default.
//! let second = RefreshKeys::new(new)?.add_accepted(old)?;
//! // Roll-out 3.
//! let third = RefreshKeys::new(new)?;
//! # let [first, second, third] = [service(first)?, service(second)?, service(third)?];
//!
//! // Nodes of the first two read each other's tokens.
//! let token = first.open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await?;
//! let token = second.refresh(token.refresh_token()).await?;
//! assert!(first.refresh(token.refresh_token()).await.is_ok());
//! assert!(third.refresh(token.refresh_token()).await.is_ok(), "it is signed anew");
//! # let old = first.open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await?;
//! # assert!(third.refresh(old.refresh_token()).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! Each roll-out begins when the last node has done the one before. A node that is given a token of a secret that it
//! does not know tells so: `refused` with the route `cookie` and the reason `unknown_key`, for a token in a body
//! `refresh` and the same. In an exchange there is none of these.
//!
//! Why the idle lifetime is long enough: each rotation hands out a token of the new secret, and a session that does not
//! rotate for so long has ended. The first two roll-outs in one go end sessions: a node without the new secret answers
//! its tokens with 401, and clients forget them.
//!
//! **A secret that has leaked** forges nothing by itself: a token also needs the secret of its session, of which the
//! store has a digest only. Exchange it by the steps above. To put the new secret in the place of the old one at once
//! ends all sessions.
//!
//! [`NonceKeys`] go the same way, with two nonce periods (10 minutes) to wait.
//!
//! # Sizes of stores
//!
//! Bytes a session, for one session a subject, with two scopes and a device, and without claims of the application. Add
//! the JSON of yours, which is at most 4 KiB. `scripts/bench.sh bytes` measures it, with `SESSIONS` of your number:
//!
//! | store | at 1,000,000 sessions |
//! |---|---:|
//! | Redis | 624 |
//! | PostgreSQL, tables and indexes | 701 |
//! | moka | 1,434 |
//!
//! **How many there are.** A login makes a session; a logout ends it; one that nobody uses goes after the idle lifetime
//! and a day, which is 8 days by default. So there are about as many as devices in use, and those of the logins of the
//! last 8 days that were left behind. A subject has 50 at most ([`sessions_per_subject`]).
//!
//! | beside them | size |
//! |---|---|
//! | a revocation of a token or of a subject | one small entry, for 25 hours |
//! | a proof in Redis ([`ReplayLayer`]) | one small key a request, for about a minute and a half |
//! | verified tokens, in each verifier | up to 32 MiB ([`cache_bytes`](crate::TokenConfigBuilder::cache_bytes)) |
//! | live sessions, in each layer | about 130 bytes a session (`scripts/bench.sh live`), up to 100,000 of them |
//! | proofs, in each process | about 4 MB for 100,000 |
//!
//! ## Redis
//!
//! - `maxmemory` above the sum, with room for what Redis copies while it writes a snapshot or its log anew; and
//!   `maxmemory-policy noeviction`. Any other policy logs users out, and forgets that sessions were ended. The event
//!   `eviction_policy` warns of it.
//! - Full, it refuses logins and rotations: 503. Sessions can still be ended, as that frees memory
//!   (`tests/redis_faults.rs`).
//! - Nothing is to be cleaned up: each key has its time to live.
//!
//! ## PostgreSQL
//!
//! - There is no index but the primary keys, on purpose: a rotation writes a new version of its row into the same page,
//!   which has room for it (`fillfactor = 70`), and touches no index. Do not add one on a column that rotations write.
//! - A [`PurgeTask`] every ten minutes. It deletes page by page, passes over what is locked, and may run on several
//!   nodes. Without one the tables grow for ever.
//! - Old versions of rows are autovacuum's. On a large table let it come sooner:
//!   `ALTER TABLE tower_jwt_auth.sessions SET (autovacuum_vacuum_scale_factor = 0.02)`. Transactions that stay open for
//!   hours, of whatever application, keep it from its work.
//! - Connections: 16 at most for each process by [`PostgresStore::open`], and one more where it listens.
//!
//! # Back-ups
//!
//! Sessions are worth a back-up only if a login of everybody is a calamity. The keys and the secret are worth one,
//! apart from the store.
//!
//! ## After a restore
//!
//! The store is as it was then. By [the rule of rotation](crate::session::decide):
//!
//! | what has happened since | after the restore |
//! |---|---|
//! | a session was rotated | its token is newer than the record, which the tag proves: it is accepted (`recovered`, row 3), and the record follows. Nobody is logged out |
//! | a session was opened | it is unknown: a new login |
//! | **a session was ended**: a logout, a changed password, a theft | **it is back**, until its idle lifetime ends |
//! | a token was stolen and found out | it is back as well. It ends again when an old token is presented after a newer one |
//! | tokens were revoked by name | those revocations are lost; they mattered for 25 hours |
//! | a session was refreshed and is idle since | its idle end is that of the back-up, so it may end sooner |
//!
//! If a session must not come back, end them all: give the nodes a new secret without the old one
//! (`RefreshKeys::new(new)`, in one roll-out), and everybody logs in. If it is known which users ended sessions,
//! [`Sessions::end_all`] for each of them is enough. A rise of `recovered` tells of a store that lost writes, also
//! where nobody has restored it: a failover does that.
//!
//! ## When a back-up leaks
//!
//! Nobody gets in by it. The store has no refresh token and no access token: of a session's secret it has the SHA-256,
//! and the secret has 32 random bytes. Even with the secret of [`RefreshKeys`] beside it no token can be made. What is
//! in the clear are personal data: the subject, the scopes, the claims of the application, user agent, address and
//! label. Treat the back-up as such, and change nothing of the keys unless they were in it.
//!
//! Somebody who can *write* to the store can bring ended sessions back, and change the scopes and claims that the next
//! refresh puts into an access token.
//!
//! # Start and stop
//!
//! At start, in this order; each step fails loudly, before the first request:
//!
//! 1. read keys and secrets; build [`TokenConfig`] and [`AuthService`], which check their settings;
//! 2. the store: [`PostgresStore::migrate`], or [`RedisStore::check`];
//! 3. `store.listen(url)`, whose task is kept as long as the server runs. Nothing need wait for it;
//! 4. the keys of an issuer elsewhere: [`RemoteJwks::wait_ready`] within a time limit, or start without and answer 503;
//! 5. the [`PurgeTask`], and then the socket.
//!
//! To stop: take the node out of the proxy, take no new connections, let the requests that run come to their end
//! (`axum::serve(..).with_graceful_shutdown(..)`), then drop the tasks. (A proxy that finds a node away by itself tries
//! another one where the connection was refused. Where a `POST` had been sent already it answers 502, as nginx does,
//! and the client sends it again.) A refresh that is cut off is answered when the client sends it again. With
//! [`MokaStore`] all sessions end with the process, and so do the proofs that it remembers: one that is younger than
//! about 70 seconds is good once more after a restart, unless a [`ReplayLayer`] has it.
//!
//! # Time-outs, and what a 503 means
//!
//! The stores of this crate give an operation two seconds, and the service asks twice. So a store that is gone is a 503
//! after 4 seconds at most. A login takes two operations, ending all sessions three: a store that is slow but answers
//! can take longer.
//!
//! A 503 of the service has `Retry-After: 1` and means: nobody was logged out, the cookie is as it was, try again. The
//! clients of this crate do. (The operation may have been carried out; the same try again is answered all the same.)
//!
//! | 503 of | because |
//! |---|---|
//! | `/auth/..` | the store did not answer; or the [`Authenticator`] said [`Unavailable`]; or the sessions of the user were ended while the login was under way |
//! | the bearer layer | the keys of a [`RemoteJwks`] were never fetched; or the memory for proofs is full |
//! | [`LiveSessionsLayer`], [`RevocationsLayer`], [`ReplayLayer`] | the store did not answer. [`trust_for`] lets the first two go by the last answer for a while: the last that *this node* had, so a session that comes to a node for the first time is a 503 |
//!
//! Without these last layers a good access token passes while the store is down. So users who are signed in notice an
//! outage after up to 15 minutes, when they have to refresh.
//!
//! # Health checks
//!
//! - *Alive*: a route that answers "ok" without asking anything, outside of the bearer layer, as `/health` of
//!   `examples/demo`.
//! - *Ready*: [`RemoteJwks::is_ready`], where keys are fetched. `GET /auth/jwks.json` shows that the service is
//!   mounted, and asks no store.
//! - Do not take a node out of service because the store is down. It is down for all of them, and they still let access
//!   tokens pass, unless a layer stands there that asks the store. Ask [`SessionStore::now`] for a dashboard or an
//!   alert, not for the balancer.
//! - [`ListenTask::is_joined`], [`RemoteJwks::last_error`] and [`MokaStore::evicted_sessions`] tell of what still
//!   works, and not as it should.
//!
//! # Alerts
//!
//! Names are those of [events and counters](crate::manual::observability).
//!
//! | on | means |
//! |---|---|
//! | `unavailable` | something did not answer; its `what` or `layer` says for whom |
//! | `fault`, `no_bearer_layer`, `other_claims`, `hook_panicked` | the program is to be mended |
//! | `reused`, `superseded`: more than usual | thefts; or clients that lose what they are given, such as one that keeps the old cookie |
//! | `mismatch`: any | somebody has the secret of the refresh tokens, and makes tokens with it |
//! | `recovered`: more than a few | the store loses writes |
//! | `refused` with `origin` or `sec_fetch_site`: more than usual | an attack by another site, or an origin that was forgotten |
//! | `refused` with `credentials`: more than usual | passwords are tried |
//! | `retried`: more than usual | the store is at its limits, before anything fails |
//! | `eviction_policy`, `session_evicted` | sessions are dropped, or will be |
//! | `push_lost` without `push_joined` after it | ends of sessions arrive late |
//! | `purge_failed` again and again | the tables grow |
//! | `keys_not_fetched` with many `failures` | the keys of the issuer grow old |
//!
//! # Before you go live
//!
//! - Keys and secrets are random, come from the deployment's secrets, and are on no page, image or repository. A second
//!   person can find them.
//! - No method that begins with `insecure_` is called outside of development.
//! - [`add_origin`] names the pages, with `https://` and nothing else. [`trust_same_site`] only if they are on a
//!   sibling host.
//! - The browser's tools show `Set-Cookie` with `Secure; HttpOnly; SameSite=Strict` and the path that the browser sees;
//!   the reload of a page keeps the user signed in.
//! - The store is shared by all nodes, durable (`appendonly yes`; `synchronous_commit` not `off`), with a password and
//!   TLS. Redis has `noeviction`; PostgreSQL a [`PurgeTask`].
//! - Logins are limited in number somewhere. Passwords are hashed.
//! - A time limit is around the service, CORS outside of it, and headers with tokens are hidden from logs, those of the
//!   proxy, too.
//! - A password that is changed ends the other sessions: [`Sessions::end_all`].
//! - If ends are to count at once and not after 15 minutes: [`LiveSessionsLayer`], with the store listening.
//! - Clocks are kept by NTP.
//! - Events are collected, and somebody sees the alerts.
//! - The exchange of a signing key and of the secret was tried once, and so was a restore.
//! - The client survives an outage: stop the store for a minute, start it, and nobody is logged out.
//!
//! [`AuthService`]: crate::AuthService
//! [`Authenticator`]: crate::Authenticator
//! [`CookiePolicy`]: crate::CookiePolicy
//! [`Delivery`]: crate::Delivery
//! [`KeyRotation`]: crate::KeyRotation
//! [`ListenTask::is_joined`]: crate::ListenTask::is_joined
//! [`LiveSessionsLayer`]: crate::LiveSessionsLayer
//! [`MokaStore`]: crate::MokaStore
//! [`MokaStore::evicted_sessions`]: crate::MokaStore::evicted_sessions
//! [`NonceKeys`]: crate::NonceKeys
//! [`PostgresStore`]: crate::PostgresStore
//! [`PostgresStore::migrate`]: crate::PostgresStore::migrate
//! [`PostgresStore::open`]: crate::PostgresStore::open
//! [`PurgeTask`]: crate::PurgeTask
//! [`RedisStore::check`]: crate::RedisStore::check
//! [`RefreshKeys`]: crate::RefreshKeys
//! [`RemoteJwks`]: crate::RemoteJwks
//! [`RemoteJwks::is_ready`]: crate::RemoteJwks::is_ready
//! [`RemoteJwks::last_error`]: crate::RemoteJwks::last_error
//! [`RemoteJwks::wait_ready`]: crate::RemoteJwks::wait_ready
//! [`ReplayLayer`]: crate::ReplayLayer
//! [`Retry::UntilUsed`]: crate::Retry::UntilUsed
//! [`RevocationsLayer`]: crate::RevocationsLayer
//! [`SessionPolicy`]: crate::SessionPolicy
//! [`SessionStore::now`]: crate::SessionStore::now
//! [`Sessions::end_all`]: crate::Sessions::end_all
//! [`TokenConfig`]: crate::TokenConfig
//! [`Unavailable`]: crate::AuthnError::Unavailable
//! [`add_key`]: crate::TokenConfig::add_key
//! [`add_origin`]: crate::AuthServiceBuilder::add_origin
//! [`leeway`]: crate::TokenConfigBuilder::leeway
//! [`name`]: crate::AuthServiceBuilder::name
//! [`path`]: crate::AuthServiceBuilder::path
//! [`remove_key`]: crate::TokenConfig::remove_key
//! [`sessions_per_subject`]: crate::SessionPolicy::with_sessions_per_subject
//! [`sign_with`]: crate::TokenConfig::sign_with
//! [`trust_for`]: crate::LiveSessionsLayer::trust_for
//! [`trust_same_site`]: crate::AuthServiceBuilder::trust_same_site
