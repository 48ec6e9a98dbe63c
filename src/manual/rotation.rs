//! Rotation: when a refresh token is replaced, and who is logged out by what.
//!
//! The rule in code is [`decide`]; its table for implementers is in the documentation of the module [`session`]. This
//! page is for whoever runs it, chooses its settings, or reads its events in a log.
//!
//! - [Why tokens rotate](#why-tokens-rotate)
//! - [Four words](#four-words)
//! - [The table](#the-table)
//! - [Honest clients](#honest-clients): normal use, several tabs, a lost answer, a failover
//! - [Thieves](#thieves): before the owner, after the owner, within the window
//! - [The three modes](#the-three-modes): `Strict`, `Within`, `UntilUsed`
//! - [What ends: `OnReuse`](#what-ends-onreuse)
//! - [Choosing the windows](#choosing-the-windows)
//! - [What is promised, and what is not](#what-is-promised-and-what-is-not)
//!
//! # Why tokens rotate
//!
//! A refresh token lives for days. Whoever copies one could use it for as long, beside its owner, and nobody would see
//! it. So each refresh replaces the token, and the old one is remembered as used. If two parties hold a copy, one of
//! them sooner or later presents a token that the other has already traded in. That is the alarm.
//!
//! The difficulty is that honest clients do the same. Five tabs are restored and refresh at once. An answer is lost in
//! a tunnel, and the client asks again with the token that it still has. A rule that cries theft at each of these
//! throws honest users out every day. The rule here knows the difference by time, or, with [`Retry::UntilUsed`], by
//! use.
//!
//! # Four words
//!
//! - The **generation** counts the rotations of a session. The login gives generation 0. The record in the store holds
//!   the newest one, `g` below; the token that is presented names its own, `p`.
//! - The **successor** of a token is the one of the next generation. It is not drawn at random: session id and secret
//!   stay, the generation goes up, and a tag by [`RefreshKeys`] makes it genuine. So the same successor can be given
//!   twice, though the store keeps no token, only the SHA-256 of the secret.
//! - The **retry window** (30 seconds) begins when a generation is made. Until it closes, the predecessor is answered
//!   with that same generation again.
//! - The **hold window** (20 seconds) begins whenever a generation is given to a client. Until it closes, that token is
//!   answered, and not rotated.
//!
//! # The table
//!
//! The first row that fits decides. The names are those of [`Decision::as_str`] and of the events in the
//! [log](crate::manual::observability).
//!
//! | # | what is presented | name | what the client gets | what happens to the session |
//! |---|---|---|---|---|
//! | 1 | a token of no session there is, or with another secret or subject | `unknown`; `mismatch` in the log if there is such a session | 401 | nothing |
//! | 2 | any token of a session that has expired | `expired` | 401 | nothing |
//! | 3 | one that is newer than the record: the store lost rotations | `recovered` | an access token | the record catches up |
//! | 4 | the newest, given out less than `hold` ago | `current` | an access token | nothing |
//! | 5 | the newest, later than that | `rotated` | an access token and the successor | generation + 1, idle time begins anew |
//! | 6 | the one before, and the newest is younger than `retry` | `reissued` | an access token and the newest, again | `hold` begins anew |
//! | 7 | the one before, later than that | `superseded` | 401 | it ends |
//! | 8 | any older one | `reused` | 401 | it ends, and by default all sessions of its subject with it |
//!
//! Before the table, the tag is checked, without the store. A token that was made up, cut or altered is a 401 and can
//! end nothing.
//!
//! Row 4 sets no cookie. Answers overtake each other, and a late one would put an older token back into the browser. No
//! refusal sets or clears the cookie either: it may belong to an older session than the one that the cookie is of now.
//!
//! Row 6 has one more door: a call that the service or a database driver sends again by itself is the same
//! [`Attempt`], and gets the same answer, in every mode and however late.
//!
//! # Honest clients
//!
//! The drawings use the defaults: `retry` 30 seconds, `hold` 20 seconds, access tokens of 15 minutes. `R4` is the
//! refresh token of generation 4. `A4` is an access token that came with it: each answer has a new one. Times are
//! minutes and seconds.
//!
//! Normal use. The browser refreshes shortly before the access token runs out, and at each page load:
//!
//! ```text
//!  time    browser                                   service
//!  -----   ---------------------------------------   -------------------------------------
//!  00:00   POST /login                          -->  opens the session: g = 0
//!          <-- A0, cookie R0
//!  13:20   POST /refresh, R0                    -->  row 5, rotated: g = 1
//!          <-- A1, cookie R1
//!  13:25   page reloaded: POST /refresh, R1     -->  row 4, current: given out 5 s ago
//!          <-- A1, no cookie
//!  26:40   POST /refresh, R1                    -->  row 5, rotated: g = 2
//!          <-- A2, cookie R2
//! ```
//!
//! Several tabs. All read one cookie jar, and all send what is in it:
//!
//! ```text
//!  time        tab 1               tab 2               tab 3               service, g = 4
//!  ---------   -----------------   -----------------   -----------------   ------------------------
//!  40:00.000   R4 -->              R4 -->              R4 -->
//!  40:00.020                                                               tab 2: row 5, g = 5
//!  40:00.021                                                               tab 1: row 6, R5 again
//!  40:00.090   <-- A5, cookie R5   <-- A5, cookie R5
//!  40:01.000   reload: R5 -->                                              row 4, current: held
//!              <-- A5, no cookie
//!  40:02.500                                                               tab 3 was slow: row 6
//!                                                      <-- A5, cookie R5
//! ```
//!
//! Whoever comes first rotates, the others get the same successor, and in the end the jar holds R5. The reload at 40:01
//! shows what `hold` is for: had it rotated to R6, the R4 of the slow tab would have been two generations behind, which
//! is row 8.
//!
//! A lost answer. The service has rotated, and the client does not know:
//!
//! ```text
//!  time    client                               service, g = 4
//!  -----   ----------------------------------   -----------------------------------------
//!  40:00   POST /refresh, R4               -->  row 5, rotated: g = 5
//!                  x-- A5, cookie R5            lost on the way
//!  40:09   gives up, asks again with R4    -->  row 6, reissued: g is 9 s old
//!          <-- A5, cookie R5                    the same R5
//! ```
//!
//! A client that asks again after 30 seconds or more is too late in the default mode: row 7, and a new login. Clients
//! that stay away for long, as a phone without reception, are what [`Retry::UntilUsed`] is for.
//!
//! A failover that loses a rotation. A replica is promoted that had not heard of it yet:
//!
//! ```text
//!  time    browser               primary store           replica
//!  -----   -------------------   ---------------------   ----------------------------------
//!  40:00   R4 -->                row 5, rotated: g = 5   g = 4
//!          <-- A5, cookie R5
//!  40:01                         is lost                 is promoted with g = 4
//!  53:20   R5 ------------------------------------->     row 3, recovered: g = 5
//!          <-- A5, no cookie                             the tag proves that R5 was made
//!  66:40   R5 ------------------------------------->     row 5, rotated: g = 6
//!          <-- A6, cookie R6
//! ```
//!
//! Nobody is logged out. A failover can also lose a login, which is then `unknown` and a new login, and it can lose the
//! *end* of a session, which then lives again. Only the second is a matter of security: the documentation of each store
//! says how to have it wait for a replica.
//!
//! # Thieves
//!
//! A thief has copied the cookie, and nothing else. What happens depends on who refreshes first.
//!
//! Before the owner:
//!
//! ```text
//!  time    owner            thief                     service, g = 4
//!  -----   --------------   -----------------------   ------------------------------------------
//!  40:00                    copies R4
//!  40:05                    R4 -->                    row 5, rotated: g = 5
//!                           <-- A5, R5
//!  46:40   R4 -->                                     row 7, superseded: the session ends
//!          <-- 401                                    event: superseded
//!  52:00                    R5 -->                    row 1, unknown
//!                           <-- 401
//!  55:05                    A5 runs out               with a LiveSessionsLayer refused since 46:40
//! ```
//!
//! The thief had the session for as long as the owner stayed away. If the thief refreshes twice in that time, the
//! owner's token is two generations behind: row 8, `reused`, and all sessions of the subject end.
//!
//! After the owner:
//!
//! ```text
//!  time    owner            thief                     service, g = 4
//!  -----   --------------   -----------------------   ------------------------------------------
//!  40:00                    copies R4
//!  46:40   R4 -->                                     row 5, rotated: g = 5
//!          <-- A5, R5
//!  52:00                    R4 -->                    row 7, superseded: the session ends
//!                           <-- 401                   event: superseded
//!  60:00   R5 -->                                     row 1, unknown
//!          <-- 401, logs in again
//! ```
//!
//! The thief got nothing. The owner has to log in again all the same: the service cannot know which of the two is
//! which. After two rotations of the owner it would have been row 8.
//!
//! Within the window. The thief is as quick as an honest second tab, and cannot be told from one:
//!
//! ```text
//!  time    owner            thief                     service, g = 4
//!  -----   --------------   -----------------------   ------------------------------------------
//!  46:39                    copies R4
//!  46:40   R4 -->                                     row 5, rotated: g = 5
//!          <-- A5, R5
//!  46:50                    R4 -->                    row 6, reissued: both hold R5
//!                           <-- A5, R5
//!  60:00   R5 -->                                     row 5, rotated: g = 6
//!          <-- A6, R6
//!  61:10                    R5 -->                    row 7, superseded: the session ends
//!                           <-- 401
//! ```
//!
//! The window gave the thief one access token, and a copy of R5 that is worth as much as the copy of R4 was. To go on,
//! the thief must hit the window at every rotation: the first two refreshes that lie `retry` or more apart end the
//! session. The window counts from the rotation, and an answer within it does not make it longer. The browser module
//! draws the moment of each refresh at random from about a minute. Who can watch the owner's traffic does not have to
//! guess: against such a thief tokens are bound to a key ([`Dpop`]).
//!
//! The first of these drawings, played with the function itself:
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_jwt_auth::test_util::{new_session, present};
//! use tower_jwt_auth::{Decision, Record, SessionPolicy, Timestamp, decide};
//!
//! let policy = SessionPolicy::default();
//! let login = Timestamp::from_unix_seconds(1_800_000_000);
//! let session = new_session("ada", login);
//! let mut record = Record::open(&session, &policy, login);
//!
//! // What a store does: it decides, and writes what the decision says, in one step.
//! let mut refresh = |generation: u32, at: u64| -> Decision {
//!     let now = login.saturating_add(Duration::from_secs(at));
//!     let decision = decide(Some(&record), &present(&session, generation), &policy, now);
//!     if let Some(state) = decision.state() {
//!         record.state = *state;
//!     }
//!     decision
//! };
//!
//! // The owner refreshes, has R1, and it is copied. The thief is first.
//! assert_eq!(refresh(0, 800).as_str(), "rotated");
//! assert_eq!(refresh(1, 1000).as_str(), "rotated");
//!
//! // The thief's R2 was made 600 seconds ago, and the owner comes with R1.
//! assert_eq!(refresh(1, 1600), Decision::Superseded);
//!
//! // Had the thief refreshed once more before that, R1 would be two generations old.
//! assert_eq!(refresh(2, 1500).as_str(), "rotated");
//! assert_eq!(refresh(1, 1600), Decision::Reused);
//! ```
//!
//! # The three modes
//!
//! [`Retry`] says when the successor is given again.
//!
//! | what is presented, after R4 was traded in for R5 | `Strict` | `Within` (default) | `UntilUsed` |
//! |---|---|---|---|
//! | R4, a moment later: a second tab | ends the session | R5 again | R5 again |
//! | R4, nine seconds later: a lost answer | ends the session | R5 again | R5 again |
//! | R4, an hour later, and nobody has used A5 or R5 | ends the session | ends the session | R5 again, and earlier A5 are refused |
//! | R4, an hour later, and somebody has | ends the session | ends the session | ends the session |
//! | R5, a moment later | R6 | R5 stays | R5 stays |
//! | R5, a quarter of an hour later, and nobody has used A5 or R5 | R6 | R6 | R5 stays once, and is in use from then on |
//! | R5, a quarter of an hour later, and somebody has | R6 | R6 | R6 |
//! | R3 | ends all sessions | ends all sessions | ends all sessions |
//!
//! `Strict` is for a client that sends one request at a time and never loses an answer, as between two programs in one
//! data centre. A browser is not such a client.
//!
//! `UntilUsed` answers a late retry by a better sign than time. An honest client whose answer was lost has not used
//! what it never got:
//!
//! ```text
//!  time      client                              service, g = 4
//!  -------   ---------------------------------   ------------------------------------------------
//!  0:40:00   R4 -->                              row 5, rotated: g = 5, unused
//!                  x-- A5, cookie R5             lost, and the device goes to sleep
//!  9:15:00   R4 -->                              row 6, reissued: still unused
//!            <-- A5 (reissue 1), cookie R5       a replacement: the A5 of 0:40:00 is refused
//!  9:15:01   GET /api/orders, A5 (reissue 1)     the LiveSessionsLayer reports it: g = 5 is in use
//!  9:20:00   a copy of R4 -->                    row 7, superseded: the session ends
//! ```
//!
//! The replacement is there because of a thief who refreshes and keeps the access token back. The owner then comes with
//! the older token and is answered, as nothing was used; but the thief's access token is worth nothing from that moment
//! on. If the thief does use it before, the owner's next refresh ends the session.
//!
//! It has a price: use has to be seen. Each service that takes the access tokens has a [`LiveSessionsLayer`] with
//! [`report_use`](crate::LiveSessionsLayer::report_use), and the builder is told so by
//! [`use_is_reported`](crate::AuthServiceBuilder::use_is_reported), or it refuses the policy. Where one verifier does
//! not report, a token in use counts as unused, and its predecessor is answered for as long as the session lives. And
//! an owner who refreshes but never uses what it gets can be followed by a thief.
//!
//! # What ends: `OnReuse`
//!
//! [`OnReuse`] is about row 8 only. Row 7 always ends one session, since a client that lost an answer and came back
//! late, or a browser that was restored from an old copy of its profile, looks the same.
//!
//! ```text
//!  sessions of ada        R2 of the laptop is presented, and the record there is at g = 6
//!  -------------------    -----------------------------------------------------------------
//!                         OnReuse::Subject (default)        OnReuse::Session
//!  laptop,  g = 6         ends                              ends
//!  phone,   g = 31        ends                              goes on
//!  office,  g = 2         ends                              goes on
//! ```
//!
//! `Subject` assumes that whoever copied one token may have copied others. `Session` keeps the damage small where old
//! copies are likely to turn up, as in back-ups of devices. It also matters for mischief: whoever holds one old but
//! genuine token of a session that lives can end sessions with it, though never enter one. `Subject` stops no new
//! login. Access tokens that were given before go on until they expire, unless a [`LiveSessionsLayer`] looks at them.
//!
//! To tell the user, listen to [`SessionEventKind::Reused`] and [`SessionEventKind::Superseded`] by
//! [`AuthServiceBuilder::events`](crate::AuthServiceBuilder::events).
//!
//! # Choosing the windows
//!
//! Let T be the longest delay of a request plus that of its answer, and S the difference between the clocks of those
//! who decide. Redis and PostgreSQL decide by their own clock, so there S is that between a primary and its replica.
//!
//! - `hold` must be longer than T + S.
//! - `retry` must be longer than T + S, plus, for each answer that may be lost in a row, the time after which the
//!   client gives up and one round trip. The clients of this crate give a refresh up after 9 seconds and ask again at
//!   once. (In `UntilUsed` lost answers need not be counted.)
//! - `hold` is at most `retry`, and `retry` at most 10 minutes. A longer window is more room for a thief.
//!
//! Settings are checked when the service is built:
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_jwt_auth::test_util::TestIssuer;
//! use tower_jwt_auth::{AuthService, MokaStore, NoClaims, NoLogin, OnReuse, RefreshKeys, Retry, SessionPolicy};
//!
//! let seconds = Duration::from_secs;
//! let issuer = TestIssuer::new();
//! let build = |policy: SessionPolicy| {
//!     let keys = RefreshKeys::new([7; 32])?;
//!     AuthService::builder(issuer.config(), keys, MokaStore::new(), NoLogin::<NoClaims>::new())
//!         .add_origin("https://app.example")
//!         .policy(policy)
//!         .build()
//! };
//!
//! // Slow links, two weeks of absence at most, and one session at a time to lose.
//! let policy = SessionPolicy::default()
//!     .with_retry(Retry::Within { retry: seconds(90), hold: seconds(45) })
//!     .with_idle_lifetime(seconds(14 * 24 * 3600))
//!     .with_absolute_lifetime(seconds(90 * 24 * 3600))
//!     .with_on_reuse(OnReuse::Session);
//! assert!(build(policy).is_ok());
//!
//! // A hold that outlives the retry window would refuse an honest second tab.
//! let policy = SessionPolicy::default();
//! assert!(build(policy.clone().with_retry(Retry::Within { retry: seconds(20), hold: seconds(30) })).is_err());
//!
//! // Until-used, and nobody has said that use is reported.
//! assert!(build(policy.with_retry(Retry::UntilUsed { retry: seconds(30), hold: seconds(20) })).is_err());
//! ```
//!
//! # What is promised, and what is not
//!
//! Promised, for windows of that size (`tests/rotation_model.rs` searches every interleaving of a small world for a
//! counterexample, and shows with altered rules that it would find one):
//!
//! - A client with one cookie jar that keeps what it was given is never logged out by tabs, by answers that overtake
//!   each other, by a lost answer that is asked for again in time, or by a failover that loses rotations.
//! - Of thief and owner who refresh more than `retry` apart, never both get a token rotated after the theft (with
//!   `UntilUsed`: if both use what they get).
//! - A store that does not answer ends nothing: 503, and the cookie stays.
//! - Once a session has ended, no refresh token of it is good for anything, whatever is under way; unless the store
//!   itself forgets that it ended.
//!
//! Not promised:
//!
//! - That a theft is seen at once. It is seen when the second of the two refreshes. A thief whose victim never comes
//!   back keeps the session until it is as old as [`absolute_lifetime`](crate::SessionPolicy::absolute_lifetime)
//!   allows, 30 days by default.
//! - That a thief within the window is seen: see [above](#thieves).
//! - That it is known who the thief is. Both have to log in again, which only who has the credentials can.
//! - That access tokens end with the session. They run for up to 15 minutes more (and the leeway of 30 seconds), unless
//!   a [`LiveSessionsLayer`] stands in front.
//! - That a jar which was set back is forgiven. A restored virtual machine or a copied browser profile is a second
//!   holder of the token, by all that the service can see.
//!
//! [`Attempt`]: crate::Attempt
//! [`Decision::as_str`]: crate::Decision::as_str
//! [`Dpop`]: crate::Dpop
//! [`LiveSessionsLayer`]: crate::LiveSessionsLayer
//! [`OnReuse`]: crate::OnReuse
//! [`RefreshKeys`]: crate::RefreshKeys
//! [`Retry`]: crate::Retry
//! [`Retry::UntilUsed`]: crate::Retry::UntilUsed
//! [`SessionEventKind::Reused`]: crate::SessionEventKind::Reused
//! [`SessionEventKind::Superseded`]: crate::SessionEventKind::Superseded
//! [`decide`]: crate::decide
//! [`session`]: crate::session
