-- Readers do not wait for the writer.
PRAGMA journal_mode = WAL;
-- A commit is on the disk when it returns: a logout outlives a power cut.
PRAGMA synchronous = FULL;

-- Two processes may start at once.
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS session (
    subject_digest      BLOB NOT NULL,
    session_id          BLOB NOT NULL,
    -- SessionFacts
    subject             TEXT NOT NULL,
    secret_digest       BLOB NOT NULL,
    created_at          INTEGER NOT NULL,
    authenticated_at    INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    scopes              TEXT NOT NULL, -- a JSON array
    client_id           TEXT,
    acr                 TEXT,
    key                 BLOB,
    claims              BLOB NOT NULL, -- whatever the bytes are
    user_agent          TEXT,
    address             TEXT,
    label               TEXT,
    -- RotationState
    generation          INTEGER NOT NULL,
    minted_at           INTEGER NOT NULL,
    handed_at           INTEGER NOT NULL,
    used_at             INTEGER,
    issue               INTEGER NOT NULL,
    attempt             BLOB NOT NULL,
    last_used_at        INTEGER NOT NULL,
    idle_expires_at     INTEGER NOT NULL,
    -- An ended session stays for a while, for calls that are sent again.
    ended_at            INTEGER,
    ended_by            BLOB, -- the attempt of the call that named this session and ended it
    ended_as            TEXT, -- what that call decided, if it was a rotation
    PRIMARY KEY (subject_digest, session_id)
) STRICT;

CREATE INDEX IF NOT EXISTS session_by_expiry ON session (idle_expires_at);
CREATE INDEX IF NOT EXISTS session_by_end ON session (ended_at) WHERE ended_at IS NOT NULL;

-- One row each time that all sessions of a subject were ended.
CREATE TABLE IF NOT EXISTS mark (
    subject_digest BLOB NOT NULL,
    attempt        BLOB NOT NULL,
    revoked_before INTEGER NOT NULL, -- sessions authenticated then or earlier are refused
    ended          INTEGER NOT NULL, -- what was answered: how many sessions it ended
    forget_at      INTEGER NOT NULL,
    PRIMARY KEY (subject_digest, attempt)
) STRICT;

COMMIT;
