-- Row 5 of the rule, which is what nearly every call is: a plain update. No row: it is another case, for rotate.sql. A
-- call that had to wait for the session sees its new state, and finds the generation gone.
UPDATE tower_jwt_auth.sessions SET
    generation = generation + 1,
    minted_at = now,
    handed_at = now,
    used_at = NULL,
    last_used_at = now,
    attempt = $5,
    idle_expires_at = least(now + least($7, 9223372036854775807 - now), absolute_expires_at)
FROM (SELECT coalesce($8, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now) AS clock
WHERE subject = $1 AND session_id = $2 AND generation = $3 AND generation < 4294967295
    AND secret_digest = $4 AND ended_at IS NULL
    AND now < least(idle_expires_at, absolute_expires_at) AND abs(now - handed_at) >= $6
    AND (used_at IS NOT NULL OR NOT $9)
RETURNING
    now, session_id, secret_digest, generation, issue, minted_at, handed_at, used_at, last_used_at, idle_expires_at,
    attempt, created_at, absolute_expires_at, facts, claims
