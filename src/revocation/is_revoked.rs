//! [`About`]: the question whether a token is revoked under one of its names.

use crate::clock::Timestamp;
use crate::revocation::known_revocations::Near;
use crate::revocation::seen::Seen;
use crate::store::{RevocationKey, StoreError};
use crate::store_cache::{Endings, Finding, Inquiry, Moment, twice};
use crate::token::Registered;

/// The names under which a token may be revoked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) subject: RevocationKey,
    pub(super) token: Option<RevocationKey>,
    pub(super) issued_at: Timestamp,
}

impl Named {
    pub(super) fn of(registered: &Registered) -> Self {
        let issuer = registered.issuer();
        Self {
            subject: RevocationKey::subject(issuer, registered.subject()),
            token: registered.token_id().map(|token_id| RevocationKey::token(issuer, token_id)),
            issued_at: registered.issued_at(),
        }
    }
}

/// What is decided over a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Good,
    Revoked,
    /// It cannot be said now.
    Unavailable,
}

impl Sight {
    /// Of the same token under two names.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (Self::Good, Self::Good) => Self::Good,
            _ => Self::Unavailable,
        }
    }
}

/// A token's question, under one of its names.
pub(super) struct About<'t> {
    pub(super) near: &'t Near,
    pub(super) key: &'t RevocationKey,
    pub(super) issued_at: Timestamp,
}

impl Inquiry for About<'_> {
    type Key = RevocationKey;
    type Seen = Seen;
    type Sight = Sight;

    const UNAVAILABLE: Sight = Sight::Unavailable;

    fn key(&self) -> &RevocationKey {
        self.key
    }

    /// No revocation is taken back, so one that was told counts as one that was answered, and whatever was told since.
    fn find(&self, seen: &Seen, _: Moment) -> Option<Finding<Sight>> {
        if seen.refuses(self.issued_at) {
            let as_of = seen.asked_at.max(seen.told_at)?;
            return Some(Finding { sight: Sight::Revoked, as_of, is_final: true });
        }
        let as_of = seen.asked_at.filter(|_| self.stands(seen))?;
        Some(Finding { sight: Sight::Good, as_of, is_final: false })
    }

    async fn look(&self) -> Seen {
        let cache = &self.near.cache;
        let (asked_at, told) = (cache.now(), cache.endings().told());
        let unknown = Seen { not_before: None, told_at: None, told, asked_at: None, failed_at: None };
        match twice(|| self.near.settings().store.not_before(self.key)).await {
            Ok(not_before) => Seen { not_before, asked_at: Some(asked_at), ..unknown },
            Err(error) => {
                report(&error);
                Seen { failed_at: Some(cache.now()), ..unknown }
            }
        }
    }

    fn merge(&self, seen: &mut Seen, answer: Seen) {
        seen.merge(answer, self.is_outdated(&answer));
    }

    /// Whoever asks under a name is told the same.
    fn shares(&self, _: &Seen) -> bool {
        true
    }

    /// If the token is revoked, or nothing more was told of its name since the store was asked.
    fn stands(&self, answer: &Seen) -> bool {
        answer.refuses(self.issued_at) || !self.is_outdated(answer)
    }

    fn read(&self, answer: &Seen) -> Sight {
        match (answer.refuses(self.issued_at), answer.failed_at) {
            (true, _) => Sight::Revoked,
            (false, None) => Sight::Good,
            (false, Some(_)) => Sight::Unavailable,
        }
    }
}

impl About<'_> {
    /// Whether more was told of the name since the store was asked.
    fn is_outdated(&self, answer: &Seen) -> bool {
        self.near.cache.endings().since(Endings::place_of(self.key.as_bytes()), answer.told)
    }
}

fn report(error: &StoreError) {
    tracing::error!(
        name: "unavailable", target: "tower_jwt_auth::revocation",
        error = error as &(dyn std::error::Error + 'static),
        "the store could not say whether a token is revoked"
    );
}
