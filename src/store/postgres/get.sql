SELECT
    session_id, secret_digest, generation, issue, minted_at, handed_at, used_at, last_used_at, idle_expires_at, attempt,
    created_at, absolute_expires_at, facts, claims
FROM tower_jwt_auth.sessions
WHERE subject = $1 AND session_id = $2 AND ended_at IS NULL
