-- The rule of rotation, as `decide` has it. The session is locked first; the time is taken and the rule decides when
-- the lock is there. 17 and 18 are rows 7 and 8, told again. What will end all sessions locks them all, in an order that
-- all calls keep, so that none waits for one that waits for it.
WITH ends_all AS MATERIALIZED (
    SELECT FROM tower_jwt_auth.sessions
    WHERE $9 AND subject = $1 AND session_id = $2 AND secret_digest = $4 AND $3 < generation - 1 AND ended_at IS NULL
), locked AS MATERIALIZED (
    SELECT * FROM tower_jwt_auth.sessions
    WHERE subject = $1 AND session_id = ANY (CASE WHEN EXISTS (SELECT FROM ends_all)
        THEN ARRAY(SELECT session_id FROM tower_jwt_auth.sessions WHERE subject = $1 AND ended_at IS NULL)
        ELSE ARRAY[$2]
    END)
    ORDER BY session_id
    FOR UPDATE
), at AS MATERIALIZED (
    SELECT locked.*, coalesce($10, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now,
        $11 AND used_at IS NULL AS unused
    FROM locked
    WHERE session_id = $2
), ruled AS MATERIALIZED (
    SELECT at.*, CASE
        WHEN ended_at IS NOT NULL THEN
            CASE WHEN ended_row > 0 AND ended_by = $5 AND abs(now - ended_at) < 60000 THEN 10 + ended_row ELSE 0 END
        WHEN secret_digest <> $4 THEN 1
        WHEN now >= least(idle_expires_at, absolute_expires_at) THEN 2
        WHEN $3 > generation THEN 3
        WHEN $3 = generation THEN
            CASE
                WHEN unused OR abs(now - handed_at) < $7 THEN 4
                WHEN generation = 4294967295 THEN 2
                ELSE 5
            END
        WHEN $3 = generation - 1 THEN
            CASE WHEN unused OR abs(now - minted_at) < $6 OR attempt = $5 THEN 6 ELSE 7 END
        ELSE 8
    END AS rule
    FROM at
), written AS (
    UPDATE tower_jwt_auth.sessions AS s SET
        generation = CASE rule WHEN 3 THEN $3 WHEN 5 THEN ruled.generation + 1 ELSE ruled.generation END,
        issue = CASE
            WHEN rule = 6 AND unused AND ruled.attempt <> $5 AND abs(now - ruled.minted_at) >= $6
                THEN least(ruled.issue + 1, 4294967295)
            ELSE ruled.issue
        END,
        minted_at = CASE WHEN rule IN (3, 5) OR rule = 6 AND unused THEN now ELSE ruled.minted_at END,
        handed_at = CASE WHEN rule IN (3, 5, 6) THEN now ELSE ruled.handed_at END,
        used_at = CASE WHEN rule = 3 OR rule = 4 AND unused THEN now WHEN rule = 5 THEN NULL ELSE ruled.used_at END,
        last_used_at = CASE WHEN rule IN (3, 5) THEN now ELSE ruled.last_used_at END,
        attempt = CASE rule WHEN 5 THEN $5 ELSE ruled.attempt END,
        idle_expires_at = CASE rule
            WHEN 5 THEN least(now + least($8, 9223372036854775807 - now), ruled.absolute_expires_at)
            ELSE ruled.idle_expires_at
        END,
        ended_at = CASE WHEN rule IN (7, 8) THEN now END,
        ended_row = CASE WHEN rule IN (7, 8) THEN rule END,
        ended_by = CASE WHEN rule IN (7, 8) THEN $5 END
    FROM ruled
    WHERE s.subject = $1 AND s.session_id = $2 AND (rule IN (3, 5, 6, 7, 8) OR rule = 4 AND unused)
), others AS (
    UPDATE tower_jwt_auth.sessions AS s SET ended_at = now, ended_row = 0, ended_by = $5
    FROM ruled
    WHERE rule = 8 AND $9 AND s.subject = $1 AND s.session_id <> $2 AND s.ended_at IS NULL
)
SELECT
    coalesce(rule, 0)::int AS rule,
    coalesce(now, $10, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now,
    session_id, secret_digest, generation, issue, minted_at, handed_at, used_at, last_used_at, idle_expires_at, attempt,
    created_at, absolute_expires_at, facts, claims,
    -- To other nodes.
    (
        SELECT pg_notify(
            'tower_jwt_auth_ended',
            CASE
                WHEN rule = 8 AND $9 THEN 'all ' || encode($1, 'hex')
                WHEN rule = 6 THEN 'replaced ' || encode($1, 'hex') || ' ' || encode($2, 'hex')
                ELSE 'ended ' || encode($1, 'hex') || ' ' || encode($2, 'hex')
            END
        )::text
        FROM ruled
        WHERE rule IN (7, 8) OR rule = 6 AND unused AND ruled.attempt <> $5 AND abs(now - ruled.minted_at) >= $6
    ) AS told
FROM (SELECT) AS one LEFT JOIN ruled ON true
