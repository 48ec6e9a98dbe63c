//! A session as a row of the table `session`, and back.

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Result, Row, named_params};
use tower_jwt_auth::{
    Attempt, ClientInfo, Decision, Record, RotationState, SecretDigest, SessionFacts, SessionId,
    SubjectDigest, Thumbprint, Timestamp,
};

/// A session that is kept: alive, or ended a short while ago.
pub(crate) struct Kept {
    pub(crate) record: Record,
    pub(crate) end: Option<End>,
}

/// How a session ended.
#[derive(Default)]
pub(crate) struct End {
    /// The call that named the session and ended it. None where it ended along with others, or made room.
    pub(crate) by: Option<Attempt>,
    /// What that call decided, if it was a rotation.
    pub(crate) decision: Option<Decision>,
}

/// Reads a row. One that this program cannot have written is an error: a session that cannot be read is not one that
/// is not there.
pub(crate) fn read(row: &Row<'_>) -> Result<Kept> {
    let time = |column| row.get(column).map(Timestamp::from_unix_millis);

    let mut client = ClientInfo::default();
    client.user_agent = row.get("user_agent")?;
    client.label = row.get("label")?;
    if let Some(address) = row.get::<_, Option<String>>("address")? {
        client.address = Some(address.parse().map_err(FromSqlError::other)?);
    }
    let scopes: String = row.get("scopes")?;
    let facts = SessionFacts {
        subject: row.get("subject")?,
        session_id: SessionId::from_bytes(row.get("session_id")?),
        secret_digest: SecretDigest::from_bytes(row.get("secret_digest")?),
        created_at: time("created_at")?,
        authenticated_at: time("authenticated_at")?,
        absolute_expires_at: time("absolute_expires_at")?,
        scopes: serde_json::from_str(&scopes).map_err(FromSqlError::other)?,
        client_id: row.get("client_id")?,
        acr: row.get("acr")?,
        key: row.get::<_, Option<_>>("key")?.map(Thumbprint::from_bytes),
        claims: row.get("claims")?,
        client,
    };
    let state = RotationState {
        generation: row.get("generation")?,
        minted_at: time("minted_at")?,
        handed_at: time("handed_at")?,
        used_at: row.get::<_, Option<_>>("used_at")?.map(Timestamp::from_unix_millis),
        issue: row.get("issue")?,
        attempt: Attempt::from_bytes(row.get("attempt")?),
        last_used_at: time("last_used_at")?,
        idle_expires_at: time("idle_expires_at")?,
    };
    let decision = match row.get::<_, Option<String>>("ended_as")?.as_deref() {
        None => None,
        Some("superseded") => Some(Decision::Superseded),
        Some("reused") => Some(Decision::Reused),
        Some(_) => return Err(FromSqlError::InvalidType.into()),
    };
    let by = row.get::<_, Option<_>>("ended_by")?.map(Attempt::from_bytes);
    let end = row.get::<_, Option<i64>>("ended_at")?.map(|_| End { by, decision });
    Ok(Kept { record: Record { facts: facts.into(), state }, end })
}

/// Writes a new row.
pub(crate) fn insert(db: &Connection, record: &Record) -> Result<()> {
    let (facts, state) = (&record.facts, &record.state);
    let mut statement = db.prepare_cached(
        "INSERT INTO session (
             subject_digest, session_id, subject, secret_digest, created_at, authenticated_at, absolute_expires_at,
             scopes, client_id, acr, key, claims, user_agent, address, label, generation, minted_at, handed_at, used_at,
             issue, attempt, last_used_at, idle_expires_at
         ) VALUES (
             :subject_digest, :session_id, :subject, :secret_digest, :created_at, :authenticated_at,
             :absolute_expires_at, :scopes, :client_id, :acr, :key, :claims, :user_agent, :address, :label, :generation,
             :minted_at, :handed_at, :used_at, :issue, :attempt, :last_used_at, :idle_expires_at
         )",
    )?;
    statement.execute(named_params! {
        ":subject_digest": record.subject_digest().as_bytes(),
        ":session_id": facts.session_id.as_bytes(),
        ":subject": facts.subject,
        ":secret_digest": facts.secret_digest.as_bytes(),
        ":created_at": facts.created_at.as_unix_millis(),
        ":authenticated_at": facts.authenticated_at.as_unix_millis(),
        ":absolute_expires_at": facts.absolute_expires_at.as_unix_millis(),
        ":scopes": serde_json::json!(facts.scopes).to_string(),
        ":client_id": facts.client_id,
        ":acr": facts.acr,
        ":key": facts.key.as_ref().map(Thumbprint::as_bytes),
        ":claims": facts.claims,
        ":user_agent": facts.client.user_agent,
        ":address": facts.client.address.map(|address| address.to_string()),
        ":label": facts.client.label,
        ":generation": state.generation,
        ":minted_at": state.minted_at.as_unix_millis(),
        ":handed_at": state.handed_at.as_unix_millis(),
        ":used_at": state.used_at.map(Timestamp::as_unix_millis),
        ":issue": state.issue,
        ":attempt": state.attempt.as_bytes(),
        ":last_used_at": state.last_used_at.as_unix_millis(),
        ":idle_expires_at": state.idle_expires_at.as_unix_millis(),
    })?;
    Ok(())
}

/// Replaces the state of a session, which is all that a rotation changes.
pub(crate) fn update(
    db: &Connection,
    subject: &SubjectDigest,
    session_id: &SessionId,
    state: &RotationState,
) -> Result<()> {
    let mut statement = db.prepare_cached(
        "UPDATE session SET
             generation = :generation, minted_at = :minted_at, handed_at = :handed_at, used_at = :used_at,
             issue = :issue, attempt = :attempt, last_used_at = :last_used_at, idle_expires_at = :idle_expires_at
         WHERE subject_digest = :subject_digest AND session_id = :session_id",
    )?;
    statement.execute(named_params! {
        ":generation": state.generation,
        ":minted_at": state.minted_at.as_unix_millis(),
        ":handed_at": state.handed_at.as_unix_millis(),
        ":used_at": state.used_at.map(Timestamp::as_unix_millis),
        ":issue": state.issue,
        ":attempt": state.attempt.as_bytes(),
        ":last_used_at": state.last_used_at.as_unix_millis(),
        ":idle_expires_at": state.idle_expires_at.as_unix_millis(),
        ":subject_digest": subject.as_bytes(),
        ":session_id": session_id.as_bytes(),
    })?;
    Ok(())
}
