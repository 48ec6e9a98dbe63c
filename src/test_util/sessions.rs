//! Sessions and presented tokens, as a service would make them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;
use crate::session::{
    Attempt, ClientInfo, NewSession, Presented, Record, SecretDigest, SessionId, SubjectDigest,
};
use crate::store::Creation;
use crate::thumbprint::Thumbprint;

/// A number that no other call in this process got: sessions and attempts must not meet by chance.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A call of the service like no other.
pub fn fresh_attempt() -> Attempt {
    Attempt::from_bytes(sixteen(unique()))
}

fn sixteen(number: u64) -> [u8; 16] {
    (u128::from(number) << 8).to_be_bytes()
}

/// A session of `subject` with its own id, secret and attempt, whose credentials were checked at `authenticated_at`.
pub fn new_session(subject: &str, authenticated_at: Timestamp) -> NewSession {
    let number = unique();
    let mut secret = [0xa5; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    NewSession {
        subject: subject.to_owned(),
        session_id: SessionId::from_bytes(sixteen(number)),
        secret_digest: SecretDigest::from_bytes(secret),
        authenticated_at,
        attempt: fresh_attempt(),
        scopes: vec!["orders:read".to_owned(), "orders:write".to_owned()],
        client_id: Some("web".to_owned()),
        acr: Some("urn:example:two-factor".to_owned()),
        key: Some(Thumbprint::from_bytes([9; 32])),
        claims: b"{}".to_vec(),
        client: ClientInfo::default().with_user_agent("test").with_label("Ada's phone"),
    }
}

/// The token of `session` at `generation`, presented by a new call of the service.
pub fn present(session: &NewSession, generation: u32) -> Presented {
    Presented {
        subject: SubjectDigest::of(&session.subject),
        session_id: session.session_id,
        generation,
        secret_digest: session.secret_digest,
        attempt: fresh_attempt(),
    }
}

/// The record of a creation that must have succeeded.
///
/// # Panics
///
/// If it was refused.
#[track_caller]
pub fn created(creation: Creation) -> Record {
    match creation {
        Creation::Created { record, .. } => record,
        refused => panic!("not created: {refused:?}"),
    }
}
