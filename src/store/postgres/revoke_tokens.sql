-- Refuses tokens that were issued before a time, and remembers it for a while: the later of two times and the later of
-- two ends stay, unless what is there was to be forgotten already.
WITH at AS MATERIALIZED (
    SELECT coalesce($4, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
), written AS (
    INSERT INTO tower_jwt_auth.revocations AS kept (key, not_before, forget_at)
    SELECT $1, $2, now + least($3, 9223372036854775807 - now) FROM at
    ON CONFLICT (key) DO UPDATE SET
        not_before = CASE
            WHEN kept.forget_at < (SELECT now FROM at) THEN excluded.not_before
            ELSE greatest(kept.not_before, excluded.not_before)
        END,
        forget_at = greatest(kept.forget_at, excluded.forget_at)
    RETURNING not_before
)
SELECT
    -- To other nodes.
    pg_notify('tower_jwt_auth_ended', concat_ws(' ', 'tokens', encode($1, 'hex'), not_before))::text AS told
FROM written
