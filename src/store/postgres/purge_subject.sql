-- What a subject leaves behind, before a session is opened: sessions forgotten by their age, and ends too old to be
-- told again.
DELETE FROM tower_jwt_auth.sessions
WHERE subject = $1
    AND (abs($2 - ended_at) >= 60000 OR ended_at IS NULL AND $2 - 86400000 >= least(idle_expires_at, absolute_expires_at))
