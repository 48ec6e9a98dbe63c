-- Ends one session; with a proof only if its secret is that one. Says whether there was one to end.
WITH locked AS MATERIALIZED (
    SELECT * FROM tower_jwt_auth.sessions WHERE subject = $1 AND session_id = $2 FOR UPDATE
), at AS MATERIALIZED (
    SELECT locked.*, coalesce($5, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now FROM locked
), ends AS MATERIALIZED (
    SELECT now, ended_at IS NULL AND coalesce(secret_digest = $3, true) AS ends,
        coalesce(ended_row = 0 AND ended_by = $4 AND abs(now - ended_at) < 60000, false) AS resent
    FROM at
), written AS (
    UPDATE tower_jwt_auth.sessions AS s SET ended_at = now, ended_row = 0, ended_by = $4
    FROM ends
    WHERE ends AND s.subject = $1 AND s.session_id = $2
)
SELECT
    coalesce((SELECT ends OR resent FROM ends), false) AS ended,
    -- To other nodes.
    (
        SELECT pg_notify('tower_jwt_auth_ended', 'ended ' || encode($1, 'hex') || ' ' || encode($2, 'hex'))::text
        FROM ends WHERE ends
    ) AS told
