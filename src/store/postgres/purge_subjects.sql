-- Forgets subjects that lie in some pages: those without sessions whose marks are no longer needed.
WITH at AS MATERIALIZED (
    SELECT coalesce($3, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
), old AS MATERIALIZED (
    SELECT s.subject
    FROM tower_jwt_auth.subjects AS s, at
    WHERE s.ctid >= $1::text::tid AND s.ctid < $2::text::tid AND now >= forget_at
        AND NOT EXISTS (SELECT FROM tower_jwt_auth.sessions AS kept WHERE kept.subject = s.subject)
    FOR UPDATE OF s SKIP LOCKED
)
DELETE FROM tower_jwt_auth.subjects AS s USING old WHERE s.subject = old.subject
