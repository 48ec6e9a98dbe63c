-- Keeps a new session, under the lock of its subject. No row: it is refused.
WITH same AS MATERIALIZED (
    SELECT * FROM tower_jwt_auth.sessions WHERE subject = $1 AND session_id = $2
), allowed AS MATERIALIZED (
    SELECT WHERE NOT EXISTS (SELECT FROM same) AND ($12 IS NULL OR $5 > $12)
), ranked AS MATERIALIZED (
    SELECT session_id, live, row_number() OVER (ORDER BY live, last_used_at, session_id) AS place, count(*) OVER () AS total
    FROM (
        SELECT session_id, last_used_at, $9 < least(idle_expires_at, absolute_expires_at) AS live
        FROM tower_jwt_auth.sessions, allowed
        WHERE subject = $1 AND ended_at IS NULL
    ) AS kept
), evicted AS (
    UPDATE tower_jwt_auth.sessions AS s SET ended_at = $9, ended_row = 0, ended_by = $4
    FROM ranked
    -- One that ended since keeps its own end.
    WHERE s.subject = $1 AND s.session_id = ranked.session_id AND s.ended_at IS NULL AND place <= total - $8 + 1
    RETURNING s.session_id, live, place
), made AS (
    INSERT INTO tower_jwt_auth.sessions (
        subject, session_id, secret_digest, generation, issue, minted_at, handed_at, last_used_at, idle_expires_at,
        attempt, created_at, absolute_expires_at, facts, claims
    )
    SELECT $1, $2, $3, 0, 0, $9, $9, $9,
        least($9 + least($6, 9223372036854775807 - $9), $9 + least($7, 9223372036854775807 - $9)),
        $4, $9, $9 + least($7, 9223372036854775807 - $9), $10, $11
    FROM allowed
    RETURNING *
)
SELECT
    session_id, secret_digest, generation, issue, minted_at, handed_at, used_at, last_used_at, idle_expires_at, attempt,
    created_at, absolute_expires_at, facts, claims,
    coalesce((SELECT array_agg(session_id ORDER BY place) FROM evicted WHERE live), '{}') AS evicted,
    -- To other nodes.
    (
        SELECT count(pg_notify(
            'tower_jwt_auth_ended', 'ended ' || encode($1, 'hex') || ' ' || encode(evicted.session_id, 'hex')
        )::text)
        FROM evicted
    ) AS told
FROM (
    SELECT * FROM made
    UNION ALL
    SELECT * FROM same WHERE ended_at IS NULL AND secret_digest = $3
) AS session
