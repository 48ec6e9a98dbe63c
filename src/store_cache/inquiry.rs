//! [`Inquiry`]: what a request wants to know of a store, and how it reads what the store answers.

use crate::store_cache::Moment;

/// What is remembered of the answers to one question.
pub(crate) trait Remembered: Copy {
    /// When the store was asked that answered.
    fn asked_at(&self) -> Option<Moment>;

    /// When the store was asked that did not answer.
    fn failed_at(&self) -> Option<Moment>;

    fn fail(&mut self, at: Moment);
}

/// What the memory says of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finding<S> {
    pub(crate) sight: S,
    /// When it was true for certain.
    pub(crate) as_of: Moment,
    /// Whether it stays true, so that it counts as long as the store does not answer.
    pub(crate) is_final: bool,
}

/// A question, and how its answers are read: the part of a decision that depends on what is asked. The other part, how
/// old they may be and who asks when, is the [`Cache`](crate::store_cache::Cache)'s.
pub(crate) trait Inquiry {
    type Key;
    type Seen: Remembered;
    /// What is decided over a token.
    type Sight: Copy;

    /// It cannot be said now.
    const UNAVAILABLE: Self::Sight;

    fn key(&self) -> &Self::Key;

    /// What the memory says of the token of a request that came then; `None` if it says nothing, or if that may no
    /// longer be true for what was told since.
    fn find(&self, seen: &Self::Seen, came: Moment) -> Option<Finding<Self::Sight>>;

    /// Asks the store. How many [endings](crate::store_cache::Endings) were told is counted before it is asked, never
    /// after.
    fn look(&self) -> impl Future<Output = Self::Seen> + Send;

    /// Puts an answer to what is remembered. What was told since the store was asked must not be lost by it.
    fn merge(&self, seen: &mut Self::Seen, answer: Self::Seen);

    /// Whether the answer to the same question of another request is one to this.
    fn shares(&self, answer: &Self::Seen) -> bool;

    /// Whether an answer counts, whatever was told since the store was asked.
    fn stands(&self, answer: &Self::Seen) -> bool;

    /// What the store's own answer says of the token.
    fn read(&self, answer: &Self::Seen) -> Self::Sight;
}
