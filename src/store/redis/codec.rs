//! How numbers go to the scripts and sessions come back: see `prelude.lua` for the layout.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::{Attempt, NewSession, Record, RotationState, SecretDigest, SessionId, SubjectDigest};
use crate::store::facts::{self, Kept};
use crate::store::{StoreError, StoreErrorKind};

/// The arguments of a script in one string, big-endian.
#[derive(Default)]
pub(super) struct Packed(Vec<u8>);

impl Packed {
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    pub(super) fn number(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn double(self, number: f64) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Milliseconds as Lua counts them: whole up to 2^53, which is the year 287396.
#[allow(clippy::cast_precision_loss)]
pub(super) fn double(time: Timestamp) -> f64 {
    time.as_unix_millis() as f64
}

/// Saturates at both ends.
#[allow(clippy::cast_possible_truncation)]
fn timestamp(number: f64) -> Timestamp {
    Timestamp::from_unix_millis(number as i64)
}

/// A length that is added to a time: what is below a millisecond is dropped.
#[allow(clippy::cast_precision_loss)]
pub(super) fn lifetime(duration: Duration) -> f64 {
    duration.as_millis() as f64
}

/// A length that whole milliseconds are compared with: `<` says the same of the next whole millisecond.
#[allow(clippy::cast_precision_loss)]
pub(super) fn window(duration: Duration) -> f64 {
    duration.as_nanos().div_ceil(1_000_000) as f64
}

/// What follows the state of a new session: the facts and the claims, each after its length.
pub(super) fn facts(session: &NewSession) -> Result<Vec<u8>, StoreError> {
    let facts = facts::encode(session)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| corrupt());
    let packed = Packed::default().number(length(&facts)?).raw(&facts);
    Ok(packed.number(length(&session.claims)?).raw(&session.claims).bytes())
}

pub(super) fn session_id(bytes: &[u8]) -> Result<SessionId, StoreError> {
    bytes.try_into().map(SessionId::from_bytes).map_err(|_| corrupt())
}

/// A session as it is kept.
pub(super) fn record(subject: &SubjectDigest, id: &[u8], value: &[u8]) -> Result<Record, StoreError> {
    let mut reader = Reader(value);
    if reader.take::<1>()? != [1] {
        return Err(corrupt());
    }
    let (generation, issue) = (reader.number()?, reader.number()?);
    let (minted_at, handed_at) = (reader.time()?, reader.time()?);
    let used_at = reader.time()?;
    let state = RotationState {
        generation,
        minted_at,
        handed_at,
        used_at: (used_at.as_unix_millis() != i64::MIN).then_some(used_at),
        issue,
        last_used_at: reader.time()?,
        idle_expires_at: reader.time()?,
        attempt: Attempt::from_bytes(reader.take()?),
    };
    let (created_at, absolute_expires_at) = (reader.time()?, reader.time()?);
    let kept = Kept {
        subject: *subject,
        session_id: session_id(id)?,
        secret_digest: SecretDigest::from_bytes(reader.take()?),
        created_at,
        absolute_expires_at,
    };
    let (facts, claims) = (reader.bytes()?, reader.bytes()?);
    if !reader.0.is_empty() {
        return Err(corrupt());
    }
    Ok(Record { facts: Arc::new(facts::decode(facts, claims.to_vec(), &kept)?), state })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u32, StoreError> {
        self.take().map(u32::from_be_bytes)
    }

    /// As many as the number before them says.
    fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let length = self.number()? as usize;
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(head)
    }

    fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.take().map(f64::from_be_bytes).map(timestamp)
    }
}

fn corrupt() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "what Redis holds was not written by this version of the store")
}
