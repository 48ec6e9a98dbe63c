-- The tables of the session store, version 2. `PostgresStore::migrate` runs this; whoever runs their own migrations
-- takes this file, with another schema or a prefix before the tables' names if they like, and tells the store.
-- Can be run again, and brings version 1 to this one. All times are milliseconds since 1970, by the clock of the server.

CREATE SCHEMA IF NOT EXISTS tower_jwt_auth;

CREATE TABLE IF NOT EXISTS tower_jwt_auth.migrations (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- One row for each subject that signed in lately. Locked first by what opens a session and by what ends all.
CREATE TABLE IF NOT EXISTS tower_jwt_auth.subjects (
    subject bytea PRIMARY KEY,         -- the first 16 bytes of the SHA-256 of it
    revoked_before bigint,             -- credentials checked at or before this open no session
    revoked_at bigint,                 -- when all sessions were ended last
    revoked_by bytea,                  -- by which call
    revoked_sessions bigint,           -- how many there were
    forget_at bigint NOT NULL
);

-- New in version 2: a role that is not the owner must be given its rights on this one, too.
CREATE TABLE IF NOT EXISTS tower_jwt_auth.revocations (
    key bytea PRIMARY KEY,             -- of one token, or of all of a subject: 16 bytes
    not_before bigint NOT NULL,        -- tokens issued before this are refused
    forget_at bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS tower_jwt_auth.sessions (
    subject bytea NOT NULL,
    session_id bytea NOT NULL,
    secret_digest bytea NOT NULL,      -- the SHA-256 of the secret in the refresh token
    generation bigint NOT NULL,        -- of the newest refresh token
    issue bigint NOT NULL,
    minted_at bigint NOT NULL,
    handed_at bigint NOT NULL,
    used_at bigint,
    last_used_at bigint NOT NULL,
    idle_expires_at bigint NOT NULL,
    attempt bytea NOT NULL,            -- the call that made this generation
    created_at bigint NOT NULL,
    absolute_expires_at bigint NOT NULL,
    facts bytea NOT NULL,              -- subject, scopes and device: JSON in UTF-8
    claims bytea NOT NULL,             -- of the application
    ended_at bigint,                   -- an ended session is remembered for a minute
    ended_row smallint,                -- the row of the rule that ended it; 0 for a revocation
    ended_by bytea,                    -- the call that ended it
    PRIMARY KEY (subject, session_id)
) WITH (fillfactor = 70);
-- No other index: one on a column that rotation writes would make every rotation write to the index, too.

INSERT INTO tower_jwt_auth.migrations (version) VALUES (1), (2) ON CONFLICT DO NOTHING;
