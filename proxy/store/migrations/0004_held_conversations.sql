-- Conversations kept at claude.ai that can be gone on with. What was said in them is here as a digest only.
CREATE TABLE held_conversations (
    conversation  TEXT    NOT NULL PRIMARY KEY,
    fingerprint   TEXT    NOT NULL,
    organization  TEXT    NOT NULL,
    history       TEXT    NOT NULL,
    parent        TEXT    NOT NULL,
    used_unix_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
