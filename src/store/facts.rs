//! The facts of a session as bytes, for stores that do not look into them: JSON, so that later versions can add to
//! them. What a store must compare by itself (ids, digests, times) it keeps beside them.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::session::{ClientInfo, NewSession, SecretDigest, SessionFacts, SessionId, SubjectDigest};
use crate::store::{StoreError, StoreErrorKind};

#[derive(Serialize, Deserialize)]
struct Facts<'a> {
    #[serde(borrow)]
    subject: Cow<'a, str>,
    authenticated_at: i64,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    scopes: Cow<'a, [String]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jkt: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<Cow<'a, str>>,
}

/// All of a new session but what the other columns hold, and but its claims.
pub(super) fn encode(session: &NewSession) -> Result<Vec<u8>, StoreError> {
    let borrowed = |text: &'_ Option<String>| text.clone().map(Cow::Owned);
    let facts = Facts {
        subject: Cow::Borrowed(&session.subject),
        authenticated_at: session.authenticated_at.as_unix_millis(),
        scopes: Cow::Borrowed(&session.scopes),
        client_id: borrowed(&session.client_id),
        acr: borrowed(&session.acr),
        jkt: session.key.map(|key| Cow::Owned(key.to_string())),
        user_agent: borrowed(&session.client.user_agent),
        address: session.client.address,
        label: borrowed(&session.client.label),
    };
    serde_json::to_vec(&facts)
        .map_err(|error| corrupt("a session cannot be written as JSON").with_source(error))
}

/// What a store keeps beside the facts and the claims.
pub(super) struct Kept {
    pub(super) subject: SubjectDigest,
    pub(super) session_id: SessionId,
    pub(super) secret_digest: SecretDigest,
    pub(super) created_at: Timestamp,
    pub(super) absolute_expires_at: Timestamp,
}

/// # Errors
///
/// The bytes are no facts, or those of another subject.
pub(super) fn decode(facts: &[u8], claims: Vec<u8>, kept: &Kept) -> Result<SessionFacts, StoreError> {
    let facts: Facts<'_> = serde_json::from_slice(facts)
        .map_err(|error| corrupt("the facts of a session cannot be read").with_source(error))?;
    if SubjectDigest::of(&facts.subject) != kept.subject {
        return Err(corrupt("a session is kept under the name of another subject"));
    }
    // A key that cannot be read must not make a session that is bound to none.
    let key = facts.jkt.map(|jkt| jkt.parse()).transpose();
    let key = key.map_err(|_| corrupt("the key that a session is bound to cannot be read"))?;
    let client = ClientInfo {
        user_agent: facts.user_agent.map(Cow::into_owned),
        address: facts.address,
        label: facts.label.map(Cow::into_owned),
    };
    Ok(SessionFacts {
        subject: facts.subject.into_owned(),
        session_id: kept.session_id,
        secret_digest: kept.secret_digest,
        created_at: kept.created_at,
        authenticated_at: Timestamp::from_unix_millis(facts.authenticated_at),
        absolute_expires_at: kept.absolute_expires_at,
        scopes: facts.scopes.into_owned(),
        client_id: facts.client_id.map(Cow::into_owned),
        acr: facts.acr.map(Cow::into_owned),
        key,
        claims,
        client,
    })
}

fn corrupt(message: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Attempt;
    use crate::thumbprint::Thumbprint;

    fn kept() -> Kept {
        Kept {
            subject: SubjectDigest::of("ada"),
            session_id: SessionId::from_bytes([1; 16]),
            secret_digest: SecretDigest::from_bytes([2; 32]),
            created_at: Timestamp::from_unix_seconds(10),
            absolute_expires_at: Timestamp::from_unix_seconds(20),
        }
    }

    /// Facts without a member were written before it was there; a member that is not known was written by a later
    /// version.
    #[test]
    fn facts_of_other_versions_are_read() {
        for (name, members, acr) in [
            ("before `acr`", "", None),
            ("with `acr`", r#","acr":"x""#, Some("x")),
            ("later", r#","acr":"x","later":[1]"#, Some("x")),
        ] {
            let json = format!(r#"{{"subject":"ada","authenticated_at":5000,"client_id":"web"{members}}}"#);
            let facts = decode(json.as_bytes(), b"{}".to_vec(), &kept()).unwrap();
            assert_eq!(facts.acr.as_deref(), acr, "{name}");
            assert_eq!(facts.client_id.as_deref(), Some("web"), "{name}");
            assert_eq!(facts.authenticated_at, Timestamp::from_unix_seconds(5), "{name}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_is_no_session_without_one() {
        for jkt in [r#""""#, r#""x""#, "1", "{}"] {
            let json = format!(r#"{{"subject":"ada","authenticated_at":5000,"jkt":{jkt}}}"#);
            decode(json.as_bytes(), b"{}".to_vec(), &kept()).unwrap_err();
        }
    }

    #[test]
    fn facts_come_back_as_they_were_written() {
        for (acr, key) in
            [(None, None), (Some("urn:example:two-factor"), Some(Thumbprint::from_bytes([4; 32])))]
        {
            let session = NewSession {
                subject: "ada".to_owned(),
                session_id: SessionId::from_bytes([1; 16]),
                secret_digest: SecretDigest::from_bytes([2; 32]),
                authenticated_at: Timestamp::from_unix_millis(-1),
                attempt: Attempt::from_bytes([3; 16]),
                scopes: vec!["a".to_owned()],
                client_id: None,
                acr: acr.map(ToOwned::to_owned),
                key,
                claims: Vec::new(),
                client: ClientInfo::default().with_label("Ada's phone"),
            };
            let bytes = encode(&session).unwrap();
            // What is not there is not written.
            assert_eq!(String::from_utf8_lossy(&bytes).contains("acr"), acr.is_some());
            assert_eq!(String::from_utf8_lossy(&bytes).contains("jkt"), key.is_some());
            let facts = decode(&bytes, Vec::new(), &kept()).unwrap();
            assert_eq!((facts.acr.as_deref(), facts.key), (acr, key));
            assert_eq!((facts.authenticated_at, &facts.scopes), (session.authenticated_at, &session.scopes));
            assert_eq!(facts.client, session.client);
        }
    }
}
