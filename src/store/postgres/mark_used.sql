UPDATE tower_jwt_auth.sessions
SET used_at = coalesce($4, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
WHERE subject = $1 AND session_id = $2 AND generation = $3 AND used_at IS NULL AND ended_at IS NULL
