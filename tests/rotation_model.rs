//! The rule of rotation, searched: every interleaving of a small world is played against the real [`decide`].
//!
//! Time passes in ticks of a second. Three worlds are searched, each to its end:
//!
//! - *One honest browser*: a cookie jar, and two or three requests at once. A request takes up to 1 tick and an answer
//!   up to 2, which makes T, the longest delay of both together, 3. Answers overtake each other, get lost and are asked
//!   for again, the clocks of the servers differ, and a failover takes the store back to what it was. Is the browser
//!   ever refused?
//! - *A thief*, who copied the jar at any moment. The refreshes of thief and owner are further apart than the `retry`
//!   window. Does each of them ever get a token rotated after the theft?
//! - *A thief in step*, where use is looked at (until-used), and the thief chooses when to use what a refresh gave. Does
//!   the thief ever use it without the owner being refused at the next refresh?
//!
//! The answer has to be "never" to all, and that is worth as much as the search is able to find: so the same searches
//! run over altered rules and over windows that are too short, and there each must find its counterexample. One is
//! shown as a trail of steps, and played again with whole records before it counts.
//!
//! What needs other times and numbers than a few ticks follows at the end.

// Clippy's exception for tests does not reach their helpers.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tower_jwt_auth::{
    Attempt, ClientInfo, Decision, NewSession, Presented, Record, Retry, RotationState, SecretDigest,
    SessionFacts, SessionId, SessionPolicy, SubjectDigest, Timestamp, decide,
};

// ----------------------------------------------------------------------------------------------------
// The search
// ----------------------------------------------------------------------------------------------------

/// What can happen next in a state, and the state after it: `None` if it is what must never happen.
type Steps<S> = Vec<(Step, Option<S>)>;

/// One thing that happens, in either world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Tick,
    /// The browser sends what is in its jar.
    Send {
        token: u8,
    },
    /// The browser gave up waiting for the answer to `lost`, and sends what is in its jar then.
    SendAgain {
        lost: u8,
        token: u8,
    },
    /// A server, whose clock shows `at`, decides.
    Handle {
        by: Party,
        token: u8,
        at: i8,
        says: &'static str,
        answer_lost: bool,
    },
    /// The answer arrives, and its access token is used.
    Arrive {
        token: u8,
        issue: u8,
        at: i8,
        in_jar: bool,
    },
    /// The store is back at the last state that it had in this generation.
    FailOver {
        generation: u8,
    },
    Theft {
        token: u8,
    },
    Refresh {
        by: Party,
        says: &'static str,
    },
    /// An access token is used, and accepted.
    Use {
        by: Party,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Party {
    Owner,
    Thief,
}

#[derive(Debug)]
enum Found<S> {
    /// All states were seen, and it never happens.
    Never { states: usize },
    /// The shortest way to it: each step with the state that it was taken in.
    Counterexample(Vec<(S, Step)>),
}

impl<S: Debug> Found<S> {
    /// `at_least` so many states must have been seen: fewer, and it is not the search that was meant.
    #[track_caller]
    fn never(self, at_least: usize) {
        match self {
            Self::Never { states } => assert!(states >= at_least, "only {states} states"),
            Self::Counterexample(trail) => {
                let lines: Vec<_> =
                    trail.iter().map(|(before, step)| format!("{step:?}\n  in {before:?}")).collect();
                panic!("a counterexample:\n{}", lines.join("\n"));
            }
        }
    }

    #[track_caller]
    fn counterexample(self) -> Vec<Step> {
        match self {
            Self::Counterexample(trail) => trail.into_iter().map(|(_, step)| step).collect(),
            Self::Never { states } => panic!("no counterexample in {states} states"),
        }
    }
}

/// Breadth first, so that a counterexample is a shortest one.
fn search<S: Copy + Eq + Hash>(name: &str, start: S, next_steps: impl Fn(S, &mut Steps<S>)) -> Found<S> {
    let began = Instant::now();
    let mut seen = HashSet::<S, BuildHasherDefault<FastHasher>>::default();
    seen.insert(start);
    // Each state with the index of the one it was reached from.
    let mut states = vec![(start, 0)];
    let mut steps = Vec::new();
    let mut index = 0;
    while index < states.len() {
        let state = states[index].0;
        steps.clear();
        next_steps(state, &mut steps);
        for &(step, next) in &steps {
            let Some(next) = next else {
                println!("{name}: counterexample after {} states", states.len());
                return Found::Counterexample(trail(&states, index, step, next_steps));
            };
            if seen.insert(next) {
                states.push((next, index));
            }
        }
        index += 1;
    }
    println!("{name}: never, {} states, {:.1} s", states.len(), began.elapsed().as_secs_f64());
    Found::Never { states: states.len() }
}

/// The way to the state at `index`, and `last` from there. The steps are found again here, as keeping one for each
/// state costs more than the few that are needed.
fn trail<S: Copy + Eq>(
    states: &[(S, usize)],
    mut index: usize,
    last: Step,
    next_steps: impl Fn(S, &mut Steps<S>),
) -> Vec<(S, Step)> {
    let mut trail = vec![(states[index].0, last)];
    while index > 0 {
        let (reached, before) = states[index];
        let mut steps = Vec::new();
        next_steps(states[before].0, &mut steps);
        let (step, _) = steps.into_iter().find(|(_, next)| *next == Some(reached)).unwrap();
        trail.push((states[before].0, step));
        index = before;
    }
    trail.reverse();
    trail
}

/// A multiplication a field. The hasher of std withstands keys that somebody chose to collide; nobody chose these, and
/// without optimisation it takes most of the time of a search over a million states.
#[derive(Default)]
struct FastHasher(u64);

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    // What the lengths of arrays and the discriminants of enums come as.
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    // The set reads the low bits, and the multiplication leaves its best ones on top.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

// ----------------------------------------------------------------------------------------------------
// The server
// ----------------------------------------------------------------------------------------------------

/// The real [`decide`], or one that was altered.
type Rule = fn(&Record, &Presented, &SessionPolicy, Timestamp) -> Decision;

const START: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);
const TICK: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Before every window.
const LONG_AGO: i8 = -100;

/// The attempts are never the same in a search: nothing is resent below the browser.
const EARLIER_CALL: Attempt = attempt(0);
const THIS_CALL: Attempt = attempt(1);

const fn attempt(number: u8) -> Attempt {
    Attempt::from_bytes([number; 16])
}

static FACTS: LazyLock<Arc<SessionFacts>> = LazyLock::new(|| {
    Arc::new(SessionFacts {
        subject: "ada".to_owned(),
        session_id: SessionId::from_bytes([2; 16]),
        secret_digest: SecretDigest::from_bytes([3; 32]),
        created_at: START,
        authenticated_at: START,
        absolute_expires_at: START.saturating_add(30 * DAY),
        scopes: Vec::new(),
        client_id: None,
        acr: None,
        key: None,
        claims: Vec::new(),
        client: ClientInfo::default(),
    })
});

static TOKEN: LazyLock<Presented> = LazyLock::new(|| Presented {
    subject: SubjectDigest::of(&FACTS.subject),
    session_id: FACTS.session_id,
    generation: 0,
    secret_digest: FACTS.secret_digest,
    attempt: THIS_CALL,
});

fn real(record: &Record, presented: &Presented, policy: &SessionPolicy, now: Timestamp) -> Decision {
    decide(Some(record), presented, policy, now)
}

/// Rotates although the token was just handed out.
fn without_row_4(record: &Record, presented: &Presented, policy: &SessionPolicy, now: Timestamp) -> Decision {
    match real(record, presented, policy, now) {
        Decision::Current(_) => {
            let no_hold = Retry::Within { retry: policy.retry_window(), hold: Duration::ZERO };
            real(record, presented, &policy.clone().with_retry(no_hold), now)
        }
        decision => decision,
    }
}

/// Takes a token newer than the record for a forgery.
fn without_row_3(record: &Record, presented: &Presented, policy: &SessionPolicy, now: Timestamp) -> Decision {
    match real(record, presented, policy, now) {
        Decision::Recovered(_) => Decision::Reused,
        decision => decision,
    }
}

/// Answers the parent of the newest token with that token, however late.
fn parent_stays_valid(
    record: &Record,
    presented: &Presented,
    policy: &SessionPolicy,
    now: Timestamp,
) -> Decision {
    match real(record, presented, policy, now) {
        Decision::Superseded => Decision::Reissued(RotationState { handed_at: now, ..record.state }),
        decision => decision,
    }
}

/// Answers the parent of a token that nobody used, however late, and counts the window from when that token was made.
fn unused_window_stays(
    record: &Record,
    presented: &Presented,
    policy: &SessionPolicy,
    now: Timestamp,
) -> Decision {
    match real(record, presented, policy, now) {
        Decision::Reissued(state) => {
            Decision::Reissued(RotationState { minted_at: record.state.minted_at, ..state })
        }
        decision => decision,
    }
}

/// Answers the parent for as long as `retry` after the token was first used.
fn window_from_first_use(
    record: &Record,
    presented: &Presented,
    policy: &SessionPolicy,
    now: Timestamp,
) -> Decision {
    let state = record.state;
    let is_recent = |since: Timestamp| now.abs_diff(since) < policy.retry_window();
    match real(record, presented, policy, now) {
        Decision::Superseded if !state.used_at.is_some_and(is_recent) => Decision::Superseded,
        Decision::Superseded | Decision::Reissued(_) => {
            let issue = state.issue + u32::from(!is_recent(state.minted_at));
            Decision::Reissued(RotationState { handed_at: now, issue, ..state })
        }
        decision => decision,
    }
}

fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

/// Windows of so many ticks.
fn within(retry: u32, hold: u32) -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Within { retry: TICK * retry, hold: TICK * hold })
}

fn until_used(retry: u32, hold: u32) -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::UntilUsed { retry: TICK * retry, hold: TICK * hold })
}

fn timestamp(tick: i8) -> Timestamp {
    Timestamp::from_unix_millis(START.as_unix_millis() + i64::from(tick) * 1000)
}

fn tick(timestamp: Timestamp) -> i8 {
    i8::try_from(timestamp.as_unix_seconds() - START.as_unix_seconds()).unwrap()
}

/// A record, as far as the searches move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kept {
    generation: u8,
    minted: i8,
    handed: i8,
    used: Option<i8>,
    issue: u8,
}

impl Kept {
    /// A session that is older than every window.
    const START: Self =
        Self { generation: 0, minted: LONG_AGO, handed: LONG_AGO, used: Some(LONG_AGO), issue: 0 };

    fn of(state: &RotationState) -> Self {
        Self {
            generation: u8::try_from(state.generation).unwrap(),
            minted: tick(state.minted_at),
            handed: tick(state.handed_at),
            used: state.used_at.map(tick),
            issue: u8::try_from(state.issue).unwrap(),
        }
    }

    fn record(self) -> Record {
        Record {
            facts: Arc::clone(&FACTS),
            state: RotationState {
                generation: u32::from(self.generation),
                minted_at: timestamp(self.minted),
                handed_at: timestamp(self.handed),
                used_at: self.used.map(timestamp),
                issue: u32::from(self.issue),
                attempt: EARLIER_CALL,
                last_used_at: START,
                idle_expires_at: FACTS.absolute_expires_at,
            },
        }
    }

    /// The access token of this generation and this issue is used.
    fn seen_in_use(mut self, generation: u8, issue: u8, now: i8) -> Self {
        if (generation, issue) == (self.generation, self.issue) && self.used.is_none() {
            self.used = Some(now);
        }
        self
    }
}

/// The rule, and what it goes by.
struct Server {
    rule: Rule,
    policy: SessionPolicy,
}

impl Server {
    fn ask(&self, record: &Record, token: u8, now: i8) -> Decision {
        self.ask_by(THIS_CALL, record, token, now)
    }

    fn ask_by(&self, attempt: Attempt, record: &Record, token: u8, now: i8) -> Decision {
        let presented = Presented { generation: u32::from(token), attempt, ..*TOKEN };
        (self.rule)(record, &presented, &self.policy, timestamp(now))
    }

    /// Plays the steps of a trail again, with the whole state as the rule returned it where the search keeps five
    /// fields, and returns the last decision.
    fn replay(&self, trail: &[Step]) -> Decision {
        let mut record = Kept::START.record();
        let mut past = vec![record.state];
        let mut last = None;
        for (number, step) in (1..).zip(trail) {
            match *step {
                Step::Handle { token, at, says, .. } => {
                    let decision = self.ask_by(attempt(number), &record, token, at);
                    assert_eq!(decision.as_str(), says, "{step:?} in {trail:#?}");
                    if let Some(state) = decision.state() {
                        record.state = *state;
                        past.push(*state);
                    }
                    last = Some(decision);
                }
                Step::FailOver { generation } => {
                    let of_generation = |state: &&RotationState| state.generation == u32::from(generation);
                    record.state = *past.iter().rev().find(of_generation).unwrap();
                }
                Step::Arrive { token, issue, at, .. } => {
                    mark_used(&mut record.state, u32::from(token), u32::from(issue), at);
                    past.push(record.state);
                }
                Step::Tick
                | Step::Send { .. }
                | Step::SendAgain { .. }
                | Step::Theft { .. }
                | Step::Refresh { .. }
                | Step::Use { .. } => {}
            }
        }
        last.unwrap()
    }
}

/// As a store does.
fn mark_used(state: &mut RotationState, generation: u32, issue: u32, at: i8) {
    if (generation, issue) == (state.generation, state.issue) {
        state.used_at.get_or_insert(timestamp(at));
    }
}

// ----------------------------------------------------------------------------------------------------
// One honest browser
// ----------------------------------------------------------------------------------------------------

const LONGEST_REQUEST: i8 = 1;
const LONGEST_ANSWER: i8 = 2;
/// What is on its way at the horizon arrives before this.
const AFTER_THE_HORIZON: i8 = 6;

/// A browser's world: how it is set up.
struct Browser {
    server: Server,
    /// How many requests and answers are under way at most: 3 is the most that [`InFlight`] holds.
    at_once: usize,
    /// Requests are sent before this.
    horizon: i8,
    /// How many answers get lost.
    losses: u8,
    /// How long after the decision a request is sent again whose answer was lost.
    again_after: i8,
    /// How many generations a failover may take back: 2 is the most that [`BrowserState`] holds.
    lost_writes: usize,
    /// How much the clock of one server is ahead of the other's.
    skew: i8,
    /// The answer of row 4 sets the cookie, as it never should.
    cookie_in_row_4: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BrowserState {
    now: i8,
    kept: Kept,
    jar: u8,
    in_flight: InFlight,
    losses: u8,
    given_up: Option<GivenUp>,
    /// What a failover goes back to, the oldest first.
    history: [Option<Kept>; 2],
    failed_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct GivenUp {
    due: i8,
    token: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Message {
    due: i8,
    kind: Kind,
    token: u8,
    /// Of the access token in an answer.
    issue: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Request,
    Answer,
    AnswerWithCookie,
}

/// Sorted, so that the same messages are the same state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct InFlight([Option<Message>; 3]);

impl InFlight {
    fn len(&self) -> usize {
        self.0.iter().filter(|message| message.is_some()).count()
    }

    fn with(mut self, message: Message) -> Self {
        // The empty places are sorted to the front.
        assert!(self.0[0].is_none(), "no more than three messages are in flight");
        self.0[0] = Some(message);
        self.0.sort_unstable();
        self
    }

    fn without(mut self, place: usize) -> Self {
        self.0[place] = None;
        self.0.sort_unstable();
        self
    }

    fn due(&self, now: i8) -> impl Iterator<Item = (usize, Message)> {
        let due_now = move |(place, message): (usize, &Option<Message>)| {
            message.filter(|message| message.due == now).map(|message| (place, message))
        };
        self.0.iter().enumerate().filter_map(due_now)
    }
}

impl Browser {
    fn new(rule: Rule, policy: SessionPolicy) -> Self {
        Self {
            server: Server { rule, policy },
            at_once: 2,
            horizon: 12,
            losses: 0,
            again_after: 2,
            lost_writes: 0,
            skew: 0,
            cookie_in_row_4: false,
        }
    }

    /// Is it ever refused?
    fn search(&self, name: &str) -> Found<BrowserState> {
        let start = BrowserState {
            now: 0,
            kept: Kept::START,
            jar: 0,
            in_flight: InFlight([None; 3]),
            losses: 0,
            given_up: None,
            history: [None; 2],
            failed_over: false,
        };
        search(name, start, |state, steps| self.next_steps(state, steps))
    }

    /// The trail to a refusal, which [`Server::replay`] must come to as well.
    #[track_caller]
    fn counterexample(&self, name: &str) -> Vec<Step> {
        let trail = self.search(name).counterexample();
        let last = self.server.replay(&trail);
        assert!(last.state().is_none(), "{last:?} is no refusal: {trail:#?}");
        trail
    }

    fn next_steps(&self, state: BrowserState, steps: &mut Steps<BrowserState>) {
        self.send(state, steps);
        for (place, message) in state.in_flight.due(state.now) {
            let rest = BrowserState { in_flight: state.in_flight.without(place), ..state };
            match message.kind {
                Kind::Request => self.handle(rest, message.token, steps),
                Kind::Answer => arrive(rest, message, false, steps),
                Kind::AnswerWithCookie => arrive(rest, message, true, steps),
            }
        }
        fail_over(state, steps);
        self.wait(state, steps);
    }

    fn send(&self, state: BrowserState, steps: &mut Steps<BrowserState>) {
        let token = state.jar;
        let step = match state.given_up {
            None if state.in_flight.len() < self.at_once && state.now < self.horizon => Step::Send { token },
            Some(GivenUp { due, token: lost }) if due == state.now => Step::SendAgain { lost, token },
            _ => return,
        };
        for delay in 0..=LONGEST_REQUEST {
            let request = Message { due: state.now + delay, kind: Kind::Request, token, issue: 0 };
            let in_flight = state.in_flight.with(request);
            steps.push((step, Some(BrowserState { in_flight, given_up: None, ..state })));
        }
    }

    fn handle(&self, state: BrowserState, token: u8, steps: &mut Steps<BrowserState>) {
        let clocks = [state.now, state.now + self.skew];
        for &at in if self.skew == 0 { &clocks[..1] } else { &clocks[..] } {
            let decision = self.server.ask(&state.kept.record(), token, at);
            let step = |answer_lost| {
                let says = decision.as_str();
                Step::Handle { by: Party::Owner, token, at, says, answer_lost }
            };
            let Some(kept) = decision.state().map(Kept::of) else {
                steps.push((step(false), None));
                continue;
            };
            let next = BrowserState { kept, history: self.history(&state, kept), ..state };
            let sets_cookie = decision.hands_out() || self.cookie_in_row_4;
            let kind = if sets_cookie { Kind::AnswerWithCookie } else { Kind::Answer };
            for delay in 0..=LONGEST_ANSWER {
                let (due, token, issue) = (state.now + delay, kept.generation, kept.issue);
                let answer = Message { due, kind, token, issue };
                let in_flight = state.in_flight.with(answer);
                steps.push((step(false), Some(BrowserState { in_flight, ..next })));
            }
            if state.losses < self.losses && state.given_up.is_none() {
                let given_up = Some(GivenUp { due: state.now + self.again_after, token });
                let lost = BrowserState { losses: state.losses + 1, given_up, ..next };
                steps.push((step(true), Some(lost)));
            }
        }
    }

    /// What a failover can go back to after a decision: the last state of as many generations as writes can be lost.
    fn history(&self, before: &BrowserState, kept: Kept) -> [Option<Kept>; 2] {
        let replaced = Some(before.kept);
        match (self.lost_writes, before.history) {
            (0, history) => history,
            (_, history) if kept.generation == before.kept.generation => history,
            (1, _) | (_, [None, _]) => [replaced, None],
            (_, [oldest, None]) => [oldest, replaced],
            (_, [_, newer]) => [newer, replaced],
        }
    }

    /// Time passes once all that is due has happened.
    fn wait(&self, state: BrowserState, steps: &mut Steps<BrowserState>) {
        let due = state.in_flight.due(state.now).next().is_some()
            || state.given_up.is_some_and(|given_up| given_up.due == state.now);
        if !due && state.now < self.horizon + AFTER_THE_HORIZON {
            steps.push((Step::Tick, Some(BrowserState { now: state.now + 1, ..state })));
        }
    }
}

fn fail_over(state: BrowserState, steps: &mut Steps<BrowserState>) {
    if let ([Some(kept), _], false) = (state.history, state.failed_over) {
        let next = BrowserState { kept, history: [None; 2], failed_over: true, ..state };
        steps.push((Step::FailOver { generation: kept.generation }, Some(next)));
    }
}

fn arrive(state: BrowserState, answer: Message, in_jar: bool, steps: &mut Steps<BrowserState>) {
    let Message { token, issue, .. } = answer;
    let kept = state.kept.seen_in_use(token, issue, state.now);
    let jar = if in_jar { token } else { state.jar };
    let step = Step::Arrive { token, issue, at: state.now, in_jar };
    steps.push((step, Some(BrowserState { kept, jar, ..state })));
}

#[test]
fn strict_refuses_two_tabs() {
    let trail = Browser::new(real, strict()).counterexample("strict");
    assert!(matches!(
        trail[..],
        [
            Step::Send { token: 0 },
            Step::Send { token: 0 },
            Step::Handle { token: 0, says: "rotated", .. },
            Step::Handle { token: 0, says: "superseded", .. },
        ]
    ));
}

#[test]
fn three_requests_at_once_are_never_refused() {
    let browser = Browser { at_once: 3, horizon: 10, ..Browser::new(real, within(8, 4)) };
    browser.search("within, 3 at once").never(50_000);
}

/// A parallel request that is handled after two others is two generations behind.
#[test]
fn without_row_4_a_request_at_once_is_refused() {
    let trail = Browser::new(without_row_4, within(8, 4)).counterexample("no row 4");
    assert!(trail.iter().all(|step| *step != Step::Tick), "no time has to pass: {trail:#?}");
}

/// A late answer puts an older token back into the jar.
#[test]
fn with_a_cookie_in_row_4_an_old_token_comes_back() {
    let browser = Browser { cookie_in_row_4: true, ..Browser::new(real, within(8, 4)) };
    let trail = browser.counterexample("cookie in row 4");
    let in_jar: Vec<_> = trail
        .iter()
        .filter_map(|step| match step {
            Step::Arrive { token, in_jar: true, .. } => Some(*token),
            _ => None,
        })
        .collect();
    assert!(!in_jar.is_sorted(), "the jar never went back: {trail:#?}");
}

/// The browser gives an answer up after 2 ticks, and asks again at once.
fn with_a_lost_answer(policy: SessionPolicy) -> Browser {
    Browser { losses: 1, ..Browser::new(real, policy) }
}

#[test]
fn a_lost_answer_is_given_again() {
    let browser = Browser { horizon: 16, ..with_a_lost_answer(within(8, 4)) };
    browser.search("within, an answer lost").never(100_000);
}

/// A give-up after 2 ticks and one more round trip of 3 do not fit into 6.
#[test]
fn a_retry_window_that_is_too_short_for_a_lost_answer_is_found() {
    let trail = with_a_lost_answer(within(6, 4)).counterexample("retry 6, an answer lost");
    let lost = |step: &&Step| matches!(step, Step::Handle { answer_lost: true, .. });
    assert_eq!(trail.iter().filter(lost).count(), 1, "{trail:#?}");
    assert!(matches!(trail.last(), Some(Step::Handle { says: "superseded", .. })), "{trail:#?}");
}

/// T is 3, and `hold` must be more.
#[test]
fn a_hold_window_that_is_too_short_is_found() {
    let trail = Browser::new(real, within(8, 3)).counterexample("hold 3");
    assert!(matches!(trail.last(), Some(Step::Handle { says: "reused", .. })), "{trail:#?}");
}

#[test]
fn clocks_that_differ_need_longer_windows() {
    let skewed = |policy| Browser { skew: 1, ..Browser::new(real, policy) };
    skewed(within(8, 4)).counterexample("clocks differ, hold 4");
    // With a lost answer as well.
    let browser = Browser { losses: 1, ..skewed(within(9, 5)) };
    browser.search("clocks differ, hold 5, retry 9").never(150_000);
}

#[test]
fn a_failover_that_loses_one_write_is_survived() {
    let browser = Browser { lost_writes: 1, ..Browser::new(real, within(8, 4)) };
    browser.search("failover, one write lost").never(400_000);
}

#[test]
fn a_failover_that_loses_two_writes_is_survived() {
    let browser = Browser { lost_writes: 2, horizon: 13, ..Browser::new(real, within(8, 4)) };
    browser.search("failover, two writes lost").never(1_300_000);
}

#[test]
fn without_row_3_a_failover_refuses_the_newest_token() {
    let browser = Browser { lost_writes: 1, ..Browser::new(without_row_3, within(8, 4)) };
    let trail = browser.counterexample("no row 3, failover");
    assert!(trail.contains(&Step::FailOver { generation: 0 }), "{trail:#?}");
}

/// Two answers lost, in a row or not, and asked for again however much later: with 7 and 12 long after the window.
fn until_used_with_lost_answers(rule: Rule, again_after: i8) -> Browser {
    // Whatever is asked for again twice is asked for in time.
    let horizon = 12.max(2 * again_after - 2);
    Browser { losses: 2, again_after, horizon, ..Browser::new(rule, until_used(8, 4)) }
}

#[test]
fn until_used_late_retries_are_answered() {
    for (again_after, at_least) in [(2, 90_000), (7, 55_000), (12, 200_000)] {
        let browser = until_used_with_lost_answers(real, again_after);
        browser.search(&format!("until used, again after {again_after}")).never(at_least);
    }
    // In the other mode that is too late.
    let browser = Browser { again_after: 9, ..with_a_lost_answer(within(8, 4)) };
    browser.counterexample("within, again after 9");
}

#[test]
fn until_used_three_requests_at_once_are_never_refused() {
    for (again_after, at_least) in [(2, 140_000), (9, 90_000)] {
        let browser = Browser { losses: 1, again_after, ..Browser::new(real, until_used(8, 4)) };
        let browser = Browser { at_once: 3, horizon: 10, ..browser };
        browser.search(&format!("until used, 3 at once, again after {again_after}")).never(at_least);
    }
}

#[test]
fn until_used_a_failover_that_loses_one_write_is_survived() {
    let browser = Browser { lost_writes: 1, ..Browser::new(real, until_used(8, 4)) };
    browser.search("until used, failover").never(350_000);
}

/// Of two late requests one is answered and its answer used, and the other comes after that.
#[test]
fn until_used_without_a_new_window_a_request_at_once_is_refused() {
    let trail =
        until_used_with_lost_answers(unused_window_stays, 7).counterexample("until used, no new window");
    assert!(matches!(trail.last(), Some(Step::Handle { says: "superseded", .. })), "{trail:#?}");
}

// ----------------------------------------------------------------------------------------------------
// A thief
// ----------------------------------------------------------------------------------------------------

/// A thief's world: how it is set up.
struct Robbery {
    server: Server,
    /// Thief and owner refresh more than this many ticks apart.
    apart: i8,
    horizon: i8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RobberyState {
    now: i8,
    kept: Kept,
    ended: bool,
    owner: Holder,
    /// From the theft on.
    thief: Option<Holder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Holder {
    token: u8,
    /// Whether a token was rotated for this one after the theft.
    rotated: bool,
    last_refresh: i8,
}

impl Robbery {
    fn new(rule: Rule, policy: SessionPolicy, apart: i8) -> Self {
        Self { server: Server { rule, policy }, apart, horizon: 28 }
    }

    /// Do both ever rotate after the theft?
    fn search(&self, name: &str) -> Found<RobberyState> {
        let owner = Holder { token: 0, rotated: false, last_refresh: LONG_AGO };
        let start = RobberyState { now: 0, kept: Kept::START, ended: false, owner, thief: None };
        search(name, start, |state, steps| self.next_steps(state, steps))
    }

    /// The trail to where both have rotated, which [`Server::replay`] must come to as well.
    #[track_caller]
    fn counterexample(&self, name: &str) -> Vec<Step> {
        let trail = self.search(name).counterexample();
        let last = self.server.replay(&trail);
        assert!(matches!(last, Decision::Rotated(_)), "{last:?} rotates nothing: {trail:#?}");
        let theft = trail.iter().position(|step| matches!(step, Step::Theft { .. })).unwrap();
        for party in [Party::Owner, Party::Thief] {
            let rotates =
                |step: &Step| matches!(step, Step::Handle { by, says: "rotated", .. } if *by == party);
            assert!(trail[theft..].iter().any(rotates), "{party:?} rotates nothing: {trail:#?}");
        }
        trail
    }

    fn next_steps(&self, state: RobberyState, steps: &mut Steps<RobberyState>) {
        match state.thief {
            None => {
                let holder = Holder { last_refresh: LONG_AGO, ..state.owner };
                let next = RobberyState { owner: holder, thief: Some(holder), ..state };
                steps.push((Step::Theft { token: holder.token }, Some(next)));
                self.refresh(state, Party::Owner, state.owner, None, steps);
            }
            Some(thief) => {
                self.refresh(state, Party::Owner, state.owner, Some(thief), steps);
                self.refresh(state, Party::Thief, thief, Some(state.owner), steps);
            }
        }
        if state.now < self.horizon {
            steps.push((Step::Tick, Some(RobberyState { now: state.now + 1, ..state })));
        }
    }

    fn refresh(
        &self,
        state: RobberyState,
        by: Party,
        mut holder: Holder,
        other: Option<Holder>,
        steps: &mut Steps<RobberyState>,
    ) {
        let (now, token) = (state.now, holder.token);
        let too_early = holder.last_refresh >= now
            || other.is_some_and(|other| i16::from(now) - i16::from(other.last_refresh) <= self.apart.into());
        if state.ended || too_early {
            return;
        }
        let decision = self.server.ask(&state.kept.record(), token, now);
        let mut next = state;
        holder.last_refresh = now;
        if let Some(kept) = decision.state().map(Kept::of) {
            // Both use what they get.
            next.kept = kept.seen_in_use(kept.generation, kept.issue, now);
            holder.token = kept.generation;
            holder.rotated |= other.is_some() && kept.generation > state.kept.generation;
        } else {
            next.ended = true;
        }
        match by {
            Party::Owner => next.owner = holder,
            Party::Thief => next.thief = Some(holder),
        }
        let both = holder.rotated && other.is_some_and(|other| other.rotated);
        let step = Step::Handle { by, token, at: now, says: decision.as_str(), answer_lost: false };
        steps.push((step, (!both).then_some(next)));
    }
}

#[test]
fn thief_and_owner_never_both_rotate_in_strict() {
    Robbery::new(real, strict(), 0).search("thief, strict").never(500_000);
}

#[test]
fn thief_and_owner_never_both_rotate_within_the_windows() {
    Robbery::new(real, within(8, 4), 8).search("thief, within").never(50_000);
}

/// Both use what they get, and then it is the same.
#[test]
fn thief_and_owner_never_both_rotate_until_used() {
    Robbery::new(real, until_used(8, 4), 8).search("thief, until used").never(50_000);
}

/// Thief and owner stay in lock-step for ever.
#[test]
fn where_the_parent_stays_valid_both_rotate() {
    Robbery::new(parent_stays_valid, within(8, 4), 8).counterexample("thief, the parent stays valid");
    Robbery::new(parent_stays_valid, strict(), 0).counterexample("thief, the parent stays valid, strict");
}

/// What a thief can do, as the window is there for honest retries: refreshes less than `retry` apart go on together.
#[test]
fn inside_the_retry_window_both_rotate() {
    // With 7 as with 8 the next refresh of the other comes 8 ticks later at the earliest, and the window has closed.
    Robbery::new(real, within(8, 4), 7).search("thief, 8 ticks apart").never(100_000);
    Robbery::new(real, within(8, 4), 6).counterexample("thief, 7 ticks apart");
}

// ----------------------------------------------------------------------------------------------------
// A thief in step
// ----------------------------------------------------------------------------------------------------

/// Which access tokens are accepted, as to their issue.
#[derive(Debug, Clone, Copy)]
enum Accepts {
    /// None of an older issue than the session's.
    TheNewestIssue,
    /// None of the newest generation and an older issue.
    OlderGenerations,
    All,
}

impl Accepts {
    /// Of a token that is so many generations and issues behind.
    fn accepts(self, generations: u8, issues: u8) -> bool {
        match self {
            Self::TheNewestIssue => issues == 0,
            Self::OlderGenerations => generations > 0 || issues == 0,
            Self::All => true,
        }
    }
}

/// A thief's world in which use is looked at: how it is set up. All in it is relative to the record and to now, up to
/// where nothing changes any more, so that there is no horizon.
struct Pursuit {
    server: Server,
    accepts: Accepts,
    /// Thief and owner refresh more than this many ticks apart.
    apart: u8,
    /// Whether the owner uses at once what it gets, and otherwise never.
    owner_uses: bool,
    /// How often the owner is granted a refresh after the thief used what the thief's refresh gave: that often must
    /// never be.
    limit: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PursuitState {
    minted_ago: u8,
    handed_ago: u8,
    used_ago: Option<u8>,
    owner: Follower,
    /// From the theft on.
    thief: Option<Follower>,
    /// The thief has used what the thief's refresh gave, and the owner was not granted a refresh since.
    thief_has_used: bool,
    count: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Follower {
    /// How many generations behind.
    token: u8,
    access: Option<Access>,
    refreshed_ago: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Access {
    generations_behind: u8,
    issues_behind: u8,
    /// From a refresh of the one who has it, and not copied with the jar.
    is_own: bool,
}

impl Follower {
    /// Who gets the newest of both.
    fn refreshed() -> Self {
        let access = Access { generations_behind: 0, issues_behind: 0, is_own: true };
        Self { token: 0, access: Some(access), refreshed_ago: 0 }
    }

    /// What others get makes older. More than two behind is as two are.
    fn behind(mut self, generations: u8, issues: u8) -> Self {
        self.token = (self.token + generations).min(2);
        if let Some(access) = &mut self.access {
            access.generations_behind = (access.generations_behind + generations).min(2);
            access.issues_behind = (access.issues_behind + issues).min(2);
        }
        self
    }

    fn older(self, longest: u8) -> Self {
        Self { refreshed_ago: (self.refreshed_ago + 1).min(longest), ..self }
    }
}

impl Pursuit {
    /// The newest generation and the newest issue, as far as the searches tell them apart.
    const NEWEST: u8 = 10;

    fn new(rule: Rule, accepts: Accepts, limit: u8) -> Self {
        let server = Server { rule, policy: until_used(8, 4) };
        Self { server, accepts, apart: 8, owner_uses: true, limit }
    }

    /// Beyond every window.
    fn longest(&self) -> u8 {
        u8::try_from(self.server.policy.retry_window().as_secs()).unwrap().max(self.apart) + 2
    }

    fn search(&self, name: &str) -> Found<PursuitState> {
        let longest = self.longest();
        let start = PursuitState {
            minted_ago: longest,
            handed_ago: longest,
            used_ago: Some(longest),
            owner: Follower { token: 0, access: None, refreshed_ago: longest },
            thief: None,
            thief_has_used: false,
            count: 0,
        };
        search(name, start, |state, steps| self.next_steps(state, steps))
    }

    /// The trail, which [`replay`](Self::replay) must find to be one, too.
    #[track_caller]
    fn counterexample(&self, name: &str) -> Vec<Step> {
        let trail = self.search(name).counterexample();
        assert_eq!(self.replay(&trail), self.limit, "{trail:#?}");
        trail
    }

    fn next_steps(&self, state: PursuitState, steps: &mut Steps<PursuitState>) {
        let longest = self.longest();
        if state.thief.is_none() {
            let access = state.owner.access.map(|access| Access { is_own: false, ..access });
            let thief = Follower { token: state.owner.token, access, refreshed_ago: longest };
            let next = PursuitState { thief: Some(thief), ..state };
            steps.push((Step::Theft { token: 0 }, Some(next)));
        }
        for by in [Party::Owner, Party::Thief] {
            self.refresh(state, by, steps);
            self.use_access(state, by, steps);
        }
        let older = |ago: u8| (ago + 1).min(longest);
        let next = PursuitState {
            minted_ago: older(state.minted_ago),
            handed_ago: older(state.handed_ago),
            used_ago: state.used_ago.map(older),
            owner: state.owner.older(longest),
            thief: state.thief.map(|thief| thief.older(longest)),
            ..state
        };
        steps.push((Step::Tick, Some(next)));
    }

    fn refresh(&self, state: PursuitState, by: Party, steps: &mut Steps<PursuitState>) {
        let (me, other) = match (by, state.thief) {
            (Party::Owner, thief) => (state.owner, thief),
            (Party::Thief, Some(thief)) => (thief, Some(state.owner)),
            (Party::Thief, None) => return,
        };
        if me.refreshed_ago == 0 || other.is_some_and(|other| other.refreshed_ago <= self.apart) {
            return;
        }
        let tick = |ago: u8| -i8::try_from(ago).unwrap();
        let kept = Kept {
            generation: Self::NEWEST,
            minted: tick(state.minted_ago),
            handed: tick(state.handed_ago),
            used: state.used_ago.map(tick),
            issue: Self::NEWEST,
        };
        let decision = self.server.ask(&kept.record(), Self::NEWEST - me.token, 0);
        // A refusal ends the session, and with it this world.
        let Some(kept) = decision.state().map(Kept::of) else { return };
        let ago = |tick: i8| u8::try_from(-tick).unwrap();
        let (generations, issues) = (kept.generation - Self::NEWEST, kept.issue - Self::NEWEST);
        let mut next = PursuitState {
            minted_ago: ago(kept.minted),
            handed_ago: ago(kept.handed),
            used_ago: kept.used.map(ago),
            owner: state.owner.behind(generations, issues),
            thief: state.thief.map(|thief| thief.behind(generations, issues)),
            ..state
        };
        match by {
            Party::Thief => next.thief = Some(Follower::refreshed()),
            Party::Owner => {
                next.owner = Follower::refreshed();
                if self.owner_uses {
                    next.used_ago.get_or_insert(0);
                } else {
                    next.owner.access = None;
                }
                if state.thief_has_used {
                    next.count += 1;
                    next.thief_has_used = false;
                    // Each of the thief's tokens counts once.
                    if let Some(access) = next.thief.as_mut().and_then(|thief| thief.access.as_mut()) {
                        access.is_own = false;
                    }
                }
            }
        }
        let step = Step::Refresh { by, says: decision.as_str() };
        steps.push((step, (next.count < self.limit).then_some(next)));
    }

    fn use_access(&self, state: PursuitState, by: Party, steps: &mut Steps<PursuitState>) {
        let me = if by == Party::Owner { Some(state.owner) } else { state.thief };
        let Some(access) = me.and_then(|me| me.access) else { return };
        let (generations, issues) = (access.generations_behind, access.issues_behind);
        if self.accepts.accepts(generations, issues) {
            let mut next = state;
            if (generations, issues) == (0, 0) {
                next.used_ago.get_or_insert(0);
            }
            next.thief_has_used |= by == Party::Thief && access.is_own;
            steps.push((Step::Use { by }, Some(next)));
        }
    }

    /// Plays a trail again, with whole records, numbers that count from 0 and a time that goes on. Says how often the
    /// owner was granted a refresh after the thief used what the thief's refresh gave.
    fn replay(&self, trail: &[Step]) -> u8 {
        struct Player {
            token: u8,
            access: Option<(u32, u32)>,
            is_own: bool,
            refreshed: i8,
        }
        let player = |token, access| Player { token, access, is_own: false, refreshed: LONG_AGO };
        let mut record = Kept::START.record();
        let (mut now, mut count, mut thief_has_used) = (0_i8, 0, false);
        let (mut owner, mut thief) = (player(0, None), None);
        for (number, step) in (1..).zip(trail) {
            match *step {
                Step::Tick => now += 1,
                Step::Theft { .. } => thief = Some(player(owner.token, owner.access)),
                Step::Refresh { by, says } => {
                    let (me, other) = match by {
                        Party::Owner => (&mut owner, thief.as_ref()),
                        Party::Thief => (thief.as_mut().unwrap(), Some(&owner)),
                    };
                    assert!(other.is_none_or(|other| i16::from(now) - i16::from(other.refreshed) > 8));
                    let decision = self.server.ask_by(attempt(number), &record, me.token, now);
                    assert_eq!(decision.as_str(), says, "{step:?} in {trail:#?}");
                    record.state = *decision.state().unwrap();
                    let (generation, issue) = (record.state.generation, record.state.issue);
                    let token = u8::try_from(generation).unwrap();
                    *me = Player { token, access: Some((generation, issue)), is_own: true, refreshed: now };
                    if by == Party::Owner {
                        count += u8::from(thief_has_used);
                        if let Some(thief) = thief.as_mut().filter(|_| thief_has_used) {
                            thief.is_own = false;
                        }
                        thief_has_used = false;
                        if self.owner_uses {
                            mark_used(&mut record.state, generation, issue, now);
                        } else {
                            owner.access = None;
                        }
                    }
                }
                Step::Use { by } => {
                    let me = if by == Party::Owner { &owner } else { thief.as_ref().unwrap() };
                    let (generation, issue) = me.access.unwrap();
                    let behind = |newest: u32, own: u32| u8::try_from(newest - own).unwrap();
                    let generations = behind(record.state.generation, generation);
                    assert!(self.accepts.accepts(generations, behind(record.state.issue, issue)));
                    thief_has_used |= by == Party::Thief && me.is_own;
                    mark_used(&mut record.state, generation, issue, now);
                }
                _ => panic!("{step:?} is of another world"),
            }
        }
        count
    }
}

#[test]
fn a_thief_in_step_is_found_at_the_first_use() {
    Pursuit::new(real, Accepts::TheNewestIssue, 1).search("thief in step").never(1_000);
}

/// The thief rotates, and uses the access token when the owner has got a replacement and rotated that: once.
#[test]
fn a_thief_in_step_whose_older_generations_are_accepted_is_found_at_the_second_use() {
    let accepts = Accepts::OlderGenerations;
    Pursuit::new(real, accepts, 1).counterexample("thief in step, older generations");
    Pursuit::new(real, accepts, 2).search("thief in step, older generations, twice").never(1_000);
}

#[test]
fn a_thief_in_step_goes_on_where_replaced_tokens_are_accepted() {
    let trail = Pursuit::new(real, Accepts::All, 2).counterexample("thief in step, no issue");
    assert!(trail.iter().any(|step| matches!(step, Step::Refresh { by: Party::Owner, says: "reissued" })));
}

/// The thief rotates, waits, and uses the access token less than the window before the owner's refresh.
#[test]
fn a_thief_in_step_goes_on_where_the_window_counts_from_the_first_use() {
    let rule = window_from_first_use;
    Pursuit::new(rule, Accepts::TheNewestIssue, 2).counterexample("thief in step, window from first use");
}

/// What is left to a thief, and documented: the owner never uses what it gets, and the thief does.
#[test]
fn a_thief_in_step_goes_on_beside_an_owner_who_uses_nothing() {
    let absent = |limit| Pursuit { owner_uses: false, ..Pursuit::new(real, Accepts::TheNewestIssue, limit) };
    for limit in [1, 2, 3] {
        absent(limit).counterexample("thief in step, the owner uses nothing");
    }
}

// ----------------------------------------------------------------------------------------------------
// Other times and numbers
// ----------------------------------------------------------------------------------------------------

const HOUR: Duration = Duration::from_secs(3600);

/// A session that was opened at [`START`].
fn opened(policy: &SessionPolicy) -> Record {
    let session = NewSession {
        subject: FACTS.subject.clone(),
        session_id: FACTS.session_id,
        secret_digest: FACTS.secret_digest,
        authenticated_at: START,
        attempt: EARLIER_CALL,
        scopes: Vec::new(),
        client_id: None,
        acr: None,
        key: None,
        claims: Vec::new(),
        client: ClientInfo::default(),
    };
    Record::open(&session, policy, START)
}

fn present(generation: u32) -> Presented {
    Presented { generation, ..*TOKEN }
}

/// Decides, and keeps what a store would keep.
fn apply(record: &mut Record, presented: Presented, policy: &SessionPolicy, now: Timestamp) -> Decision {
    let decision = decide(Some(record), &presented, policy, now);
    if let Some(state) = decision.state() {
        record.state = *state;
    }
    decision
}

#[test]
fn the_retry_window_does_not_slide() {
    let policy = SessionPolicy::default();
    let mut record = opened(&policy);
    let minted_at = START.saturating_add(HOUR);
    assert_eq!(apply(&mut record, present(0), &policy, minted_at).as_str(), "rotated");
    let rotated = record.state;
    let other_call = Presented { attempt: attempt(7), ..present(0) };

    let mut now = minted_at;
    while now < minted_at.saturating_add(policy.retry_window()) {
        assert_eq!(apply(&mut record, other_call, &policy, now).as_str(), "reissued", "{now:?}");
        // The clock of `hold` starts again, as the client has the token from now on. Nothing else does.
        assert_eq!(record.state, RotationState { handed_at: now, ..rotated }, "{now:?}");
        now = now.saturating_add(Duration::from_millis(100));
    }
    assert_eq!(apply(&mut record, other_call, &policy, now), Decision::Superseded);
}

#[test]
fn until_used_an_unused_token_is_given_again_as_long_as_the_session_lives() {
    let policy = until_used(30, 20);
    let mut record = opened(&policy);
    assert_eq!(apply(&mut record, present(0), &policy, START).as_str(), "current");
    let minted_at = START.saturating_add(HOUR);
    assert_eq!(apply(&mut record, present(0), &policy, minted_at).as_str(), "rotated");
    let end = record.state.idle_expires_at;
    let (mut now, mut late) = (minted_at.saturating_add(HOUR), 0);
    while now < end {
        let call = attempt(u8::try_from(late % 200).unwrap() + 10);
        assert_eq!(
            apply(&mut record, Presented { attempt: call, ..present(0) }, &policy, now).as_str(),
            "reissued"
        );
        late += 1;
        assert_eq!((record.state.issue, record.state.idle_expires_at), (late, end), "{now:?}");
        now = now.saturating_add(HOUR);
    }
    assert_eq!(apply(&mut record, present(0), &policy, now), Decision::Expired);
}

#[test]
fn a_session_in_use_ends_with_its_absolute_lifetime() {
    let policy = SessionPolicy::default();
    let mut record = opened(&policy);
    let end = START.saturating_add(policy.absolute_lifetime());
    let last_moment = end.saturating_sub(Duration::from_millis(1));
    let mut now = START;
    while now < last_moment {
        now = now.saturating_add(HOUR).min(last_moment);
        let presented = present(record.state.generation);
        assert_eq!(apply(&mut record, presented, &policy, now).as_str(), "rotated", "{now:?}");
        assert_eq!(
            record.state.idle_expires_at,
            now.saturating_add(policy.idle_lifetime()).min(end),
            "{now:?}"
        );
    }
    for generation in [0, record.state.generation - 1, record.state.generation, u32::MAX] {
        assert_eq!(
            decide(Some(&record), &present(generation), &policy, end),
            Decision::Expired,
            "{generation}"
        );
    }
}

#[test]
fn the_last_generation_is_the_end_of_a_session() {
    let policy = SessionPolicy::default();
    let mut record = opened(&policy);
    let mut now = START.saturating_add(HOUR);
    record.state.generation = u32::MAX - 1;
    assert_eq!(apply(&mut record, present(u32::MAX - 1), &policy, now).as_str(), "rotated");
    assert_eq!(record.state.generation, u32::MAX);
    assert_eq!(apply(&mut record, present(u32::MAX - 1), &policy, now).as_str(), "reissued");
    assert_eq!(apply(&mut record, present(u32::MAX), &policy, now).as_str(), "current");
    now = now.saturating_add(HOUR);
    assert_eq!(apply(&mut record, present(u32::MAX), &policy, now), Decision::Expired);
    let other_call = Presented { attempt: attempt(7), ..present(u32::MAX - 1) };
    assert_eq!(apply(&mut record, other_call, &policy, now), Decision::Superseded);
    assert_eq!(apply(&mut record, present(u32::MAX - 2), &policy, now), Decision::Reused);
    assert_eq!(apply(&mut record, present(0), &policy, now), Decision::Reused);
}

/// The clock is back by an hour, and then goes on as ever.
#[test]
fn a_clock_that_steps_back_opens_the_windows_twice_at_most() {
    let policy = SessionPolicy::default();
    let mut record = opened(&policy);
    let rotated_at = START.saturating_add(2 * HOUR);
    assert_eq!(apply(&mut record, present(0), &policy, rotated_at).as_str(), "rotated");
    let other_call = Presented { attempt: attempt(7), ..present(0) };

    let step = Duration::from_millis(250);
    let (mut held, mut answered_again) = (Duration::ZERO, Duration::ZERO);
    let mut now = rotated_at.saturating_sub(HOUR);
    while now < rotated_at.saturating_add(HOUR) {
        match decide(Some(&record), &present(1), &policy, now) {
            Decision::Current(_) => held += step,
            decision => assert_eq!(decision.as_str(), "rotated", "{now:?}"),
        }
        match decide(Some(&record), &other_call, &policy, now) {
            Decision::Reissued(_) => answered_again += step,
            decision => assert_eq!(decision, Decision::Superseded, "{now:?}"),
        }
        now = now.saturating_add(step);
    }
    for (open, window) in [(held, policy.hold_window()), (answered_again, policy.retry_window())] {
        assert!(open > window && open <= 2 * window, "{open:?} for a window of {window:?}");
    }
}

/// A connection that resends, or a service that repeats itself, is no second client.
#[test]
fn the_same_attempt_is_answered_again_in_strict() {
    let policy = strict();
    let mut record = opened(&policy);
    let rotated_at = START.saturating_add(HOUR);
    assert_eq!(apply(&mut record, present(0), &policy, rotated_at).as_str(), "rotated");
    let rotated = record.state;
    for later in [Duration::ZERO, TICK, DAY] {
        let now = rotated_at.saturating_add(later);
        let again = RotationState { handed_at: now, ..rotated };
        assert_eq!(apply(&mut record, present(0), &policy, now), Decision::Reissued(again), "{later:?}");
    }
    let other_call = Presented { attempt: attempt(7), ..present(0) };
    assert_eq!(apply(&mut record, other_call, &policy, rotated_at), Decision::Superseded);
}

/// Whatever a store kept and a clock shows: no panic, and what is granted is in order.
#[test]
fn extreme_numbers_and_times_do_not_panic() {
    let generations = [0, 1, 2, u32::MAX - 1, u32::MAX];
    let times =
        [i64::MIN, -1, START.as_unix_millis(), i64::MAX - 1, i64::MAX].map(Timestamp::from_unix_millis);
    for policy in [strict(), SessionPolicy::default(), within(u32::MAX, u32::MAX), until_used(30, 20)] {
        let mut record = opened(&policy);
        record.facts = Arc::new(SessionFacts {
            absolute_expires_at: Timestamp::from_unix_millis(i64::MAX - 1),
            ..(*FACTS).as_ref().clone()
        });
        for (generation, minted_at, handed_at, idle_expires_at) in combinations(&generations, &times) {
            record.state =
                RotationState { generation, minted_at, handed_at, idle_expires_at, ..record.state };
            for used_at in [None, Some(minted_at)] {
                record.state.used_at = used_at;
                for (p, now) in generations.iter().flat_map(|p| times.map(|now| (*p, now))) {
                    check_order(&record, p, &policy, now);
                }
            }
        }
    }
}

type Combination = (u32, Timestamp, Timestamp, Timestamp);

fn combinations(generations: &[u32], times: &[Timestamp]) -> Vec<Combination> {
    let mut all = Vec::new();
    for &generation in generations {
        for &minted in times {
            for &handed in times {
                all.extend(times.iter().map(|&idle| (generation, minted, handed, idle)));
            }
        }
    }
    all
}

fn check_order(record: &Record, p: u32, policy: &SessionPolicy, now: Timestamp) {
    let decision = decide(Some(record), &present(p), policy, now);
    let question = || format!("{p} at {now:?} of {:?}: {decision:?}", record.state);
    assert_eq!(decision == Decision::Expired, must_expire(record, p, policy, now), "{}", question());
    let Some(state) = decision.state() else { return };
    let g = record.state.generation;
    let rotated = matches!(decision, Decision::Rotated(_));
    assert_eq!(state.generation, if rotated { g + 1 } else { g.max(p) }, "{}", question());
    assert!(p == state.generation || p + 1 == state.generation, "{}", question());
    if rotated {
        assert!(state.idle_expires_at <= record.facts.absolute_expires_at, "{}", question());
    } else {
        assert_eq!(state.idle_expires_at, record.state.idle_expires_at, "{}", question());
    }
}

/// By age, or because no generation is left to rotate to.
fn must_expire(record: &Record, p: u32, policy: &SessionPolicy, now: Timestamp) -> bool {
    let is_unused = policy.is_until_used() && record.state.used_at.is_none();
    let held = is_unused || now.abs_diff(record.state.handed_at) < policy.hold_window();
    record.is_expired(now) || (p == u32::MAX && record.state.generation == u32::MAX && !held)
}
