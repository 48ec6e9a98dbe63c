//! Which is earlier in one millisecond: a login, or the end of all sessions of its subject.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Timestamp;

/// Keeps logins and marks of "all sessions ended" apart that fall into one millisecond: the time shown after a mark is
/// later than the mark, and a mark is not earlier than any time shown before it.
pub(super) struct Marks {
    /// The latest time that [`SessionStore::now`](crate::SessionStore::now) has shown.
    shown: AtomicI64,
    /// The latest mark.
    marked: AtomicI64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { shown: AtomicI64::new(i64::MIN), marked: AtomicI64::new(i64::MIN) }
    }
}

impl Marks {
    pub(super) fn show(&self, now: Timestamp) -> Timestamp {
        let (now, marked) = (now.as_unix_millis(), self.marked.load(Ordering::SeqCst));
        let shown = if is_behind(now, marked) { now } else { now.max(marked.saturating_add(1)) };
        raise(&self.shown, shown);
        Timestamp::from_unix_millis(shown)
    }

    pub(super) fn mark(&self, now: Timestamp) -> Timestamp {
        let (now, shown) = (now.as_unix_millis(), self.shown.load(Ordering::SeqCst));
        let mark = if is_behind(now, shown) { now } else { now.max(shown) };
        raise(&self.marked, mark);
        Timestamp::from_unix_millis(mark)
    }
}

/// Further apart than a second the clock stepped back, and a time of before says nothing.
fn is_behind(now: i64, before: i64) -> bool {
    before.saturating_sub(now) > 1_000
}

/// Never lowers the time, unless the clock stepped back.
fn raise(time: &AtomicI64, to: i64) {
    if is_behind(to, time.load(Ordering::SeqCst)) {
        time.store(to, Ordering::SeqCst);
    } else {
        time.fetch_max(to, Ordering::SeqCst);
    }
}
