//! What clients of several nodes saw while servers failed, and whether it could have been so: no revocation is lost, no
//! session forks, no honest client is refused.
//!
//! Moments are numbers of one counter, so "before" is known whatever the clocks say. A call that failed may have happened
//! or not, also later.

// As in `mod.rs`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt;

use tower_jwt_auth::SessionId;

/// One call, with its repetitions by the same attempt.
#[derive(Debug, Clone)]
pub struct Event {
    pub began: u64,
    pub ended: u64,
    pub what: What,
}

/// A call and its outcome, `None` if it failed.
#[derive(Debug, Clone)]
pub enum What {
    Login {
        subject: usize,
        session: SessionId,
        /// After the store gave its time, and before the session was made.
        checked: u64,
        outcome: Option<Login>,
    },
    Refresh {
        session: SessionId,
        presented: u32,
        outcome: Option<Refresh>,
    },
    Logout {
        session: SessionId,
        outcome: Option<bool>,
    },
    EndAll {
        subject: usize,
        except: Option<SessionId>,
        outcome: Option<u64>,
    },
}

#[derive(Debug, Clone)]
pub enum Login {
    Opened {
        evicted: Vec<SessionId>,
        /// The first answer was lost, and with it which sessions were evicted: the second names none.
        is_second_answer: bool,
    },
    Refused,
}

#[derive(Debug, Clone, Copy)]
pub enum Refresh {
    Granted {
        /// Of the rule.
        row: u8,
        /// Which token the client has now.
        generation: u32,
    },
    /// By this row of the rule.
    Refused(u8),
}

/// Row 1: there is no such session.
const NO_SESSION: u8 = 0;
const ROTATED: u8 = 5;

#[derive(Debug, Default)]
pub struct History {
    pub events: Vec<Event>,
    /// From when to when writes may have been lost that were confirmed.
    pub lossy: Vec<(u64, u64)>,
    /// A revocation is confirmed only when it cannot be lost.
    pub revocations_are_safe: bool,
    /// How many sessions a subject can have.
    pub cap: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    pub violations: Vec<String>,
    /// How often what happened.
    pub counts: BTreeMap<String, usize>,
    /// What a failover explains, and nothing else would.
    pub exempt: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "calls: {:?}", self.counts)?;
        writeln!(f, "exempt, as lost by a failover: {:?}", self.exempt)?;
        write!(f, "violations: {:#?}", self.violations)
    }
}

/// Where a session comes from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    subject: usize,
    checked: u64,
    login: &'a Event,
}

impl Event {
    /// What happened, in a few words: the names that [`Report::counts`] has.
    pub fn name(&self) -> String {
        match &self.what {
            What::Login { outcome: Some(Login::Opened { evicted, .. }), .. } if !evicted.is_empty() => {
                "login, evicting".into()
            }
            What::Login { outcome: Some(Login::Opened { .. }), .. } => "login".into(),
            What::Login { outcome: Some(Login::Refused), .. } => "login refused".into(),
            What::Refresh { outcome: Some(Refresh::Granted { row, .. }), .. } => {
                format!("refresh granted by row {row}")
            }
            What::Refresh { outcome: Some(Refresh::Refused(row)), .. } => {
                format!("refresh refused by row {row}")
            }
            What::Logout { outcome: Some(_), .. } => "logout".into(),
            What::EndAll { outcome: Some(_), .. } => "end of all".into(),
            What::Login { .. } => "login failed".into(),
            What::Refresh { .. } => "refresh failed".into(),
            What::Logout { .. } => "logout failed".into(),
            What::EndAll { .. } => "end of all failed".into(),
        }
    }

    fn is_confirmed(&self) -> bool {
        matches!(
            &self.what,
            What::Logout { outcome: Some(_), .. }
                | What::EndAll { outcome: Some(_), .. }
                | What::Login { outcome: Some(_), .. }
        )
    }
}

impl History {
    pub fn check(&self) -> Report {
        let mut report = Report::default();
        let mut origins = BTreeMap::new();
        let mut refreshes: BTreeMap<SessionId, Vec<(&Event, u32, Refresh)>> = BTreeMap::new();
        for event in &self.events {
            *report.counts.entry(event.name()).or_default() += 1;
            match &event.what {
                What::Login { subject, session, checked, outcome } => {
                    origins.insert(*session, Origin { subject: *subject, checked: *checked, login: event });
                    if matches!(outcome, Some(Login::Refused))
                        && !self.explains_refused_login(event, *subject)
                    {
                        report.violations.push(format!("a login was refused: {event:?}"));
                    }
                }
                What::Refresh { session, presented, outcome: Some(outcome) } => {
                    refreshes.entry(*session).or_default().push((event, *presented, *outcome));
                }
                _ => (),
            }
        }
        for (session, refreshes) in &refreshes {
            let Some(origin) = origins.get(session) else {
                report.violations.push(format!("no login made {session}"));
                continue;
            };
            self.check_revocations(*session, *origin, refreshes, &mut report);
            self.check_line(refreshes, &mut report);
            for (event, _, outcome) in refreshes {
                if let Refresh::Refused(row) = outcome {
                    self.check_refusal(*session, *origin, event, *row, &mut report);
                }
            }
        }
        report
    }

    /// Whether what this call wrote may be gone although it was confirmed.
    fn may_be_lost(&self, event: &Event) -> bool {
        self.lossy.iter().any(|(from, to)| event.ended > *from && event.began < *to)
    }

    /// Nothing is granted that begins after the end of the session was confirmed.
    fn check_revocations(
        &self,
        session: SessionId,
        origin: Origin<'_>,
        refreshes: &[(&Event, u32, Refresh)],
        report: &mut Report,
    ) {
        let ends = |event: &&Event| match &event.what {
            What::Logout { session: ended, .. } => *ended == session,
            What::EndAll { subject, except, .. } => {
                *subject == origin.subject && *except != Some(session) && origin.checked < event.began
            }
            What::Login { outcome: Some(Login::Opened { evicted, .. }), .. } => evicted.contains(&session),
            _ => false,
        };
        for end in self.events.iter().filter(|event| event.is_confirmed()).filter(ends) {
            let granted = |(event, _, outcome): &&(&Event, u32, Refresh)| {
                event.began > end.ended && matches!(outcome, Refresh::Granted { .. })
            };
            let Some((later, ..)) = refreshes.iter().find(granted) else { continue };
            let is_safe = self.revocations_are_safe && !matches!(end.what, What::Login { .. });
            if !is_safe && self.may_be_lost(end) {
                *report.exempt.entry("ends of sessions").or_default() += 1;
            } else {
                report.violations.push(format!("a lost end of a session: {end:?}, then {later:?}"));
            }
        }
    }

    /// Every generation has one successor; what was granted does not go back; what was refused stays refused.
    fn check_line(&self, refreshes: &[(&Event, u32, Refresh)], report: &mut Report) {
        let mut rotated: BTreeMap<u32, &Event> = BTreeMap::new();
        for (event, presented, outcome) in refreshes {
            let Refresh::Granted { row, generation } = outcome else { continue };
            if *row == ROTATED
                && let Some(other) = rotated.insert(*generation, event)
            {
                if self.may_be_lost(other) || self.may_be_lost(event) {
                    *report.exempt.entry("rotations").or_default() += 1;
                } else {
                    report.violations.push(format!("a fork: {other:?} and {event:?}"));
                }
            }
            let is_next = *generation == *presented || *generation == *presented + 1;
            if !is_next {
                report.violations.push(format!("a token of no successor: {event:?}"));
            }
            for (earlier, _, before) in refreshes.iter().filter(|(earlier, ..)| earlier.ended < event.began) {
                match before {
                    Refresh::Granted { generation: older, .. } if older > generation => {
                        report
                            .violations
                            .push(format!("back to an older token: {earlier:?}, then {event:?}"));
                    }
                    Refresh::Refused(_) if self.may_be_lost(earlier) => {
                        *report.exempt.entry("refusals").or_default() += 1;
                    }
                    Refresh::Refused(_) => {
                        report.violations.push(format!("refused, then granted: {earlier:?}, then {event:?}"));
                    }
                    Refresh::Granted { .. } => (),
                }
            }
        }
    }

    /// An honest client is told that its session is unknown, and only when something ended it.
    fn check_refusal(
        &self,
        session: SessionId,
        origin: Origin<'_>,
        refused: &Event,
        row: u8,
        report: &mut Report,
    ) {
        let logins = self.events.iter().filter(|event| {
            event.began < refused.ended
                && matches!(event.what, What::Login { subject, .. } if subject == origin.subject)
        });
        let may_be_full = logins.count() > self.cap;
        let ends = |event: &Event| match &event.what {
            What::Logout { session: ended, .. } => *ended == session,
            What::EndAll { subject, except, outcome } => {
                let is_before_login = outcome.is_some() && event.ended < origin.login.began;
                *subject == origin.subject && *except != Some(session) && !is_before_login
            }
            What::Login { outcome: Some(Login::Opened { evicted, .. }), .. }
                if evicted.contains(&session) =>
            {
                true
            }
            What::Login {
                subject,
                outcome: None | Some(Login::Opened { is_second_answer: true, .. }),
                ..
            } => *subject == origin.subject && may_be_full,
            _ => false,
        };
        let is_explained = self.events.iter().any(|event| event.began < refused.ended && ends(event));
        if row == NO_SESSION && is_explained {
            return;
        }
        if row == NO_SESSION && self.may_be_lost(origin.login) {
            *report.exempt.entry("new sessions").or_default() += 1;
        } else {
            report.violations.push(format!("an honest client was refused: {refused:?}"));
        }
    }

    /// A login loses to an end of all sessions that it overlaps, or that failed and may still happen.
    fn explains_refused_login(&self, login: &Event, of: usize) -> bool {
        self.events.iter().any(|event| match &event.what {
            What::EndAll { subject, outcome, .. } => {
                *subject == of
                    && event.began < login.ended
                    && (outcome.is_none() || event.ended > login.began)
            }
            _ => false,
        })
    }
}
