use std::sync::Arc;

use super::*;
use crate::session::client_info::ClientInfo;
use crate::session::policy::{OnReuse, Retry};
use crate::session::record::SessionFacts;

const RETRY: Duration = Duration::from_secs(30);
const HOLD: Duration = Duration::from_secs(20);
const MILLI: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

// Made, and given again 7 seconds later, so that the two windows have different ends.
const MINTED: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
const HANDED: Timestamp = Timestamp::from_unix_millis(1_700_000_007_000);

const THEIRS: Attempt = Attempt::from_bytes([1; 16]);
const OURS: Attempt = Attempt::from_bytes([2; 16]);

/// Each field has a value that no row would put there.
const STATE: RotationState = RotationState {
    generation: 5,
    minted_at: MINTED,
    handed_at: HANDED,
    used_at: Some(Timestamp::from_unix_millis(1_700_000_003_000)),
    issue: 3,
    attempt: THEIRS,
    last_used_at: Timestamp::from_unix_millis(1_700_000_001_000),
    idle_expires_at: Timestamp::from_unix_millis(1_700_000_000_000 + 5 * 24 * 3_600_000),
};

/// The same, with a newest token that nobody was seen to use.
const UNUSED: RotationState = RotationState { used_at: None, ..STATE };

fn until_used() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::UntilUsed { retry: RETRY, hold: HOLD })
}

fn within() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Within { retry: RETRY, hold: HOLD })
}

fn strict() -> SessionPolicy {
    SessionPolicy::default().with_retry(Retry::Strict)
}

fn absolute_end() -> Timestamp {
    MINTED.saturating_add(20 * DAY)
}

fn record(state: RotationState) -> Record {
    Record {
        facts: Arc::new(SessionFacts {
            subject: "ada".to_owned(),
            session_id: SessionId::from_bytes([3; 16]),
            secret_digest: SecretDigest::from_bytes([4; 32]),
            created_at: MINTED.saturating_sub(10 * DAY),
            authenticated_at: MINTED.saturating_sub(10 * DAY),
            absolute_expires_at: absolute_end(),
            scopes: Vec::new(),
            client_id: None,
            acr: None,
            key: None,
            claims: Vec::new(),
            client: ClientInfo::default(),
        }),
        state,
    }
}

fn present(generation: u32) -> Presented {
    Presented {
        subject: SubjectDigest::of("ada"),
        session_id: SessionId::from_bytes([3; 16]),
        generation,
        secret_digest: SecretDigest::from_bytes([4; 32]),
        attempt: OURS,
    }
}

fn sent_again(generation: u32) -> Presented {
    Presented { attempt: THEIRS, ..present(generation) }
}

fn foreign_secret(generation: u32) -> Presented {
    Presented { secret_digest: SecretDigest::from_bytes([5; 32]), ..present(generation) }
}

fn recovered(generation: u32, now: Timestamp) -> Decision {
    Decision::Recovered(RotationState {
        generation,
        minted_at: now,
        handed_at: now,
        used_at: Some(now),
        last_used_at: now,
        ..STATE
    })
}

fn rotated(now: Timestamp, idle_expires_at: Timestamp) -> Decision {
    Decision::Rotated(RotationState {
        generation: 6,
        minted_at: now,
        handed_at: now,
        used_at: None,
        attempt: OURS,
        last_used_at: now,
        idle_expires_at,
        ..STATE
    })
}

fn reissued(now: Timestamp) -> Decision {
    Decision::Reissued(RotationState { handed_at: now, ..STATE })
}

/// Each row: its name, policy, presented token, time, and the decision over a record with [`STATE`].
type Row = (&'static str, SessionPolicy, Presented, Timestamp, Decision);

#[track_caller]
fn check(rows: &[Row]) {
    check_over(STATE, rows);
}

#[track_caller]
fn check_over(state: RotationState, rows: &[Row]) {
    for (name, policy, presented, now, expected) in rows {
        assert_eq!(decide(Some(&record(state)), presented, policy, *now), *expected, "{name}");
    }
}

#[test]
fn row_1_unknown() {
    let none = Decision::Unknown(Unknown::NoSession);
    assert_eq!(decide(None, &present(5), &within(), HANDED), none, "no such session, or it was ended");
    let mismatch = Decision::Unknown(Unknown::Mismatch);
    let subject = Presented { subject: SubjectDigest::of("eve"), ..present(5) };
    let session = Presented { session_id: SessionId::from_bytes([9; 16]), ..present(5) };
    check(&[
        ("subject differs", within(), subject, HANDED, mismatch),
        ("session differs", within(), session, HANDED, mismatch),
        ("secret differs, newest token", within(), foreign_secret(5), HANDED, mismatch),
        ("secret differs, newer token", within(), foreign_secret(6), HANDED, mismatch),
        ("secret differs, parent", within(), foreign_secret(4), HANDED, mismatch),
        ("secret differs, old token ends nothing", within(), foreign_secret(0), HANDED, mismatch),
        ("secret differs, expired", within(), foreign_secret(5), absolute_end(), mismatch),
    ]);
}

#[test]
fn row_2_expired() {
    let (idle_end, expired) = (STATE.idle_expires_at, Decision::Expired);
    let before = idle_end.saturating_sub(MILLI);
    check(&[
        (
            "a millisecond before",
            within(),
            present(5),
            before,
            rotated(before, before.saturating_add(7 * DAY)),
        ),
        ("at the idle expiry", within(), present(5), idle_end, expired),
        ("much later", strict(), present(5), idle_end.saturating_add(400 * DAY), expired),
        ("newer token", within(), present(6), idle_end, expired),
        ("parent", within(), present(4), idle_end, expired),
        ("parent, sent again", within(), sent_again(4), idle_end, expired),
        ("old token ends nothing", within(), present(0), idle_end, expired),
    ]);

    // An idle expiry past the absolute one is none of ours, and does not count.
    let late = record(RotationState { idle_expires_at: absolute_end().saturating_add(DAY), ..STATE });
    let decide_at = |now| decide(Some(&late), &present(5), &within(), now);
    assert_eq!(decide_at(absolute_end()), expired, "at the absolute expiry");
    let before = absolute_end().saturating_sub(MILLI);
    assert_eq!(decide_at(before), rotated(before, absolute_end()), "a millisecond before the absolute one");
}

#[test]
fn row_3_recovered() {
    let later = HANDED.saturating_add(DAY);
    check(&[
        ("one write lost", within(), present(6), HANDED, recovered(6, HANDED)),
        ("many writes lost", within(), present(1005), later, recovered(1005, later)),
        ("the last generation", within(), present(u32::MAX), later, recovered(u32::MAX, later)),
        ("the attempt changes nothing", within(), sent_again(6), later, recovered(6, later)),
        ("strict", strict(), present(6), HANDED, recovered(6, HANDED)),
    ]);
}

#[test]
fn row_4_current() {
    let current = Decision::Current(STATE);
    check(&[
        ("just handed out", within(), present(5), HANDED, current),
        ("the attempt changes nothing", within(), sent_again(5), HANDED, current),
        (
            "hold nearly over",
            within(),
            present(5),
            HANDED.saturating_add(HOLD).saturating_sub(MILLI),
            current,
        ),
        (
            "clock stepped back",
            within(),
            present(5),
            HANDED.saturating_sub(HOLD).saturating_add(MILLI),
            current,
        ),
    ]);
}

#[test]
fn row_5_rotated() {
    let hold_over = HANDED.saturating_add(HOLD);
    let far_back = HANDED.saturating_sub(HOLD);
    let no_hold = within().with_retry(Retry::Within { retry: RETRY, hold: Duration::ZERO });
    let long_idle = within().with_idle_lifetime(25 * DAY);
    let short_idle = within().with_idle_lifetime(DAY);
    let week = 7 * DAY;
    check(&[
        ("hold over", within(), present(5), hold_over, rotated(hold_over, hold_over.saturating_add(week))),
        ("clock far back", within(), present(5), far_back, rotated(far_back, far_back.saturating_add(week))),
        ("strict, at once", strict(), present(5), HANDED, rotated(HANDED, HANDED.saturating_add(week))),
        ("no hold, at once", no_hold, present(5), HANDED, rotated(HANDED, HANDED.saturating_add(week))),
        (
            "idle expiry up to the absolute one",
            long_idle,
            present(5),
            hold_over,
            rotated(hold_over, absolute_end()),
        ),
        (
            "idle expiry drawn in",
            short_idle,
            present(5),
            hold_over,
            rotated(hold_over, hold_over.saturating_add(DAY)),
        ),
    ]);

    let last = record(RotationState { generation: u32::MAX, ..STATE });
    let decision = decide(Some(&last), &present(u32::MAX), &within(), hold_over);
    assert_eq!(decision, Decision::Expired, "no generation is left");
}

#[test]
fn row_6_reissued() {
    let nearly_over = MINTED.saturating_add(RETRY).saturating_sub(MILLI);
    let stepped_back = MINTED.saturating_sub(RETRY).saturating_add(MILLI);
    let later = MINTED.saturating_add(DAY);
    let no_hold = within().with_retry(Retry::Within { retry: RETRY, hold: Duration::ZERO });
    check(&[
        ("just made", within(), present(4), MINTED, reissued(MINTED)),
        ("retry nearly over", within(), present(4), nearly_over, reissued(nearly_over)),
        ("clock stepped back", within(), present(4), stepped_back, reissued(stepped_back)),
        ("without hold", no_hold, present(4), nearly_over, reissued(nearly_over)),
        ("the same attempt, a day later", within(), sent_again(4), later, reissued(later)),
        ("the same attempt, strict", strict(), sent_again(4), MINTED, reissued(MINTED)),
        ("the same attempt, strict, a day later", strict(), sent_again(4), later, reissued(later)),
    ]);
}

#[test]
fn row_7_superseded() {
    let superseded = Decision::Superseded;
    // The window counts from when the token was made: that it was handed out again since does not move it.
    check(&[
        ("retry over", within(), present(4), MINTED.saturating_add(RETRY), superseded),
        ("clock far back", within(), present(4), MINTED.saturating_sub(RETRY), superseded),
        ("a day later", within(), present(4), MINTED.saturating_add(DAY), superseded),
        ("strict, at once", strict(), present(4), MINTED, superseded),
    ]);
    let first = record(RotationState { generation: 1, ..STATE });
    assert_eq!(decide(Some(&first), &present(0), &strict(), MINTED), superseded, "the first token");
}

#[test]
fn row_8_reused() {
    let reused = Decision::Reused;
    let session_only = within().with_on_reuse(OnReuse::Session);
    check(&[
        ("at once", within(), present(3), MINTED, reused),
        ("the first token", within(), present(0), MINTED, reused),
        ("a day later", within(), present(3), MINTED.saturating_add(DAY), reused),
        ("the attempt changes nothing", within(), sent_again(3), MINTED, reused),
        ("strict", strict(), present(3), MINTED, reused),
        ("what ends is for the store to read", session_only, present(3), MINTED, reused),
    ]);
}

#[test]
fn until_used_is_within_once_the_token_was_used() {
    let (hold_over, retry_over) = (HANDED.saturating_add(HOLD), MINTED.saturating_add(RETRY));
    let (nearly_over, later) = (retry_over.saturating_sub(MILLI), MINTED.saturating_add(DAY));
    check(&[
        ("row 3", until_used(), present(6), HANDED, recovered(6, HANDED)),
        ("row 4", until_used(), present(5), HANDED, Decision::Current(STATE)),
        (
            "row 5, and the issue stays",
            until_used(),
            present(5),
            hold_over,
            rotated(hold_over, hold_over.saturating_add(7 * DAY)),
        ),
        ("row 6", until_used(), present(4), nearly_over, reissued(nearly_over)),
        ("row 6, the same attempt", until_used(), sent_again(4), later, reissued(later)),
        ("row 7", until_used(), present(4), retry_over, Decision::Superseded),
        ("row 8", until_used(), present(3), MINTED, Decision::Reused),
    ]);
}

#[test]
fn until_used_an_unused_token_is_current_and_then_in_use() {
    let used = |now| Decision::Current(RotationState { used_at: Some(now), ..UNUSED });
    let (hold_over, later) = (HANDED.saturating_add(HOLD), HANDED.saturating_add(DAY));
    let far_back = HANDED.saturating_sub(DAY);
    let fresh = |now: Timestamp| rotated(now, now.saturating_add(7 * DAY));
    check_over(
        UNUSED,
        &[
            ("just handed out", until_used(), present(5), HANDED, used(HANDED)),
            ("hold over", until_used(), present(5), hold_over, used(hold_over)),
            ("a day later", until_used(), present(5), later, used(later)),
            ("the attempt changes nothing", until_used(), sent_again(5), later, used(later)),
            ("clock far back", until_used(), present(5), far_back, used(far_back)),
            ("within, hold", within(), present(5), HANDED, Decision::Current(UNUSED)),
            ("within, hold over", within(), present(5), hold_over, fresh(hold_over)),
            ("strict", strict(), present(5), HANDED, fresh(HANDED)),
            ("row 2", until_used(), present(5), STATE.idle_expires_at, Decision::Expired),
            ("row 3", until_used(), present(6), HANDED, recovered(6, HANDED)),
            ("row 8", until_used(), present(3), HANDED, Decision::Reused),
        ],
    );
    let last = RotationState { generation: u32::MAX, ..UNUSED };
    let current = Decision::Current(RotationState { used_at: Some(later), ..last });
    check_over(last, &[("the last generation", until_used(), present(u32::MAX), later, current)]);
}

#[test]
fn until_used_the_predecessor_of_an_unused_token_is_answered_for_ever() {
    let again =
        |now, issue| Decision::Reissued(RotationState { minted_at: now, handed_at: now, issue, ..UNUSED });
    let retry_over = MINTED.saturating_add(RETRY);
    let nearly_over = retry_over.saturating_sub(MILLI);
    let (later, far_back) = (MINTED.saturating_add(DAY), MINTED.saturating_sub(RETRY));
    let stepped_back = far_back.saturating_add(MILLI);
    let plain = |now| Decision::Reissued(RotationState { handed_at: now, ..UNUSED });
    check_over(
        UNUSED,
        &[
            ("just made", until_used(), present(4), MINTED, again(MINTED, 3)),
            ("retry nearly over", until_used(), present(4), nearly_over, again(nearly_over, 3)),
            ("retry over: a replacement", until_used(), present(4), retry_over, again(retry_over, 4)),
            ("a day later: a replacement", until_used(), present(4), later, again(later, 4)),
            ("the same attempt replaces nothing", until_used(), sent_again(4), later, again(later, 3)),
            ("clock stepped back", until_used(), present(4), stepped_back, again(stepped_back, 3)),
            ("clock far back: a replacement", until_used(), present(4), far_back, again(far_back, 4)),
            ("within, in time", within(), present(4), nearly_over, plain(nearly_over)),
            ("within, late", within(), present(4), retry_over, Decision::Superseded),
            ("strict", strict(), present(4), MINTED, Decision::Superseded),
            ("strict, the same attempt", strict(), sent_again(4), later, plain(later)),
        ],
    );
    let often = RotationState { issue: u32::MAX, ..UNUSED };
    let state = RotationState { minted_at: later, handed_at: later, ..often };
    check_over(often, &[("no issue is left", until_used(), present(4), later, Decision::Reissued(state))]);
}

#[test]
fn only_rows_5_and_6_hand_a_token_out() {
    for (decision, row, name, granted, hands_out) in [
        (Decision::Unknown(Unknown::NoSession), 0, "unknown", false, false),
        (Decision::Unknown(Unknown::Mismatch), 1, "unknown", false, false),
        (Decision::Expired, 2, "expired", false, false),
        (Decision::Recovered(STATE), 3, "recovered", true, false),
        (Decision::Current(STATE), 4, "current", true, false),
        (Decision::Rotated(STATE), 5, "rotated", true, true),
        (Decision::Reissued(STATE), 6, "reissued", true, true),
        (Decision::Superseded, 7, "superseded", false, false),
        (Decision::Reused, 8, "reused", false, false),
    ] {
        assert_eq!((decision.row(), decision.as_str()), (row, name));
        assert_eq!(decision.state(), granted.then_some(&STATE), "{name}");
        assert_eq!(decision.hands_out(), hands_out, "{name}");
    }
}
