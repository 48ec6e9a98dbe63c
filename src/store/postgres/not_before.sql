-- Before which time tokens must have been issued to be refused. No row if none are.
SELECT not_before
FROM tower_jwt_auth.revocations
WHERE key = $1 AND forget_at >= coalesce($2, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
