-- Ends all sessions of a subject but the one excepted, under its lock. Says how many there were.
WITH locked AS MATERIALIZED (
    SELECT session_id FROM tower_jwt_auth.sessions
    WHERE subject = $1 AND ended_at IS NULL AND session_id IS DISTINCT FROM $2
    ORDER BY session_id
    FOR UPDATE
), gone AS (
    DELETE FROM tower_jwt_auth.sessions AS s USING locked
    WHERE s.subject = $1 AND s.session_id = locked.session_id
    RETURNING s.session_id
), counted AS MATERIALIZED (
    SELECT count(*) AS ended FROM gone
), written AS (
    -- The clock may have stepped back: a mark never moves to an earlier time.
    UPDATE tower_jwt_auth.subjects SET
        revoked_before = greatest(revoked_before, $3),
        revoked_at = $3,
        revoked_by = $4,
        revoked_sessions = ended,
        forget_at = greatest(forget_at, $3 + least($5, 9223372036854775807 - $3))
    FROM counted
    WHERE subject = $1
)
SELECT
    ended,
    -- To other nodes.
    pg_notify('tower_jwt_auth_ended', concat_ws(' ', 'all', encode($1, 'hex'), encode($2, 'hex')))::text AS told
FROM counted
