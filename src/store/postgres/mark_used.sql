UPDATE tower_jwt_auth.sessions
SET used_at = coalesce($5, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
WHERE subject = $1 AND session_id = $2 AND generation = $3 AND issue = $4 AND used_at IS NULL AND ended_at IS NULL
