-- Forgets revocations that lie in some pages, and are no longer needed.
WITH at AS MATERIALIZED (
    SELECT coalesce($3, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
), old AS MATERIALIZED (
    SELECT r.key
    FROM tower_jwt_auth.revocations AS r, at
    WHERE r.ctid >= $1::text::tid AND r.ctid < $2::text::tid AND forget_at < now
    FOR UPDATE OF r SKIP LOCKED
)
DELETE FROM tower_jwt_auth.revocations AS r USING old WHERE r.key = old.key
