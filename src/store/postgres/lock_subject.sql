-- What opens a session and what ends all sessions of a subject begin with this, and exclude each other until they
-- commit. Gives the time, and when all sessions were ended last.
INSERT INTO tower_jwt_auth.subjects AS s (subject, forget_at)
VALUES ($1, coalesce($2, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) + 3600000)
ON CONFLICT (subject) DO UPDATE SET forget_at = greatest(s.forget_at, excluded.forget_at)
RETURNING
    coalesce($2, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now,
    revoked_before, revoked_at, revoked_by, revoked_sessions
