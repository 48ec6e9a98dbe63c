-- Forgets what lies in some pages: sessions that expired more than a day ago, and ends that are not told again any
-- more. What is locked is in use. Says how many sessions had expired.
WITH at AS MATERIALIZED (
    SELECT coalesce($3, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
), old AS MATERIALIZED (
    SELECT s.subject, s.session_id
    FROM tower_jwt_auth.sessions AS s, at
    WHERE s.ctid >= $1::text::tid AND s.ctid < $2::text::tid
        AND (abs(now - ended_at) >= 60000 OR ended_at IS NULL AND now - 86400000 >= least(idle_expires_at, absolute_expires_at))
    FOR UPDATE OF s SKIP LOCKED
), gone AS (
    DELETE FROM tower_jwt_auth.sessions AS s USING old
    WHERE s.subject = old.subject AND s.session_id = old.session_id
    RETURNING s.ended_at
)
SELECT count(*) FILTER (WHERE ended_at IS NULL) AS purged FROM gone
