-- Conversations made at claude.ai that have to be deleted there; written before they are made.
CREATE TABLE owed_deletions (
    conversation  TEXT    NOT NULL PRIMARY KEY,
    fingerprint   TEXT    NOT NULL,
    organization  TEXT    NOT NULL,
    since_unix_ms INTEGER NOT NULL,
    attempts      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
