-- Responses clients may continue from or read again, until their time is over.
CREATE TABLE responses (
    id              TEXT    NOT NULL PRIMARY KEY,
    owner           TEXT    NOT NULL,
    previous_id     TEXT,
    conversation    TEXT    NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    expires_unix_ms INTEGER NOT NULL,
    size_bytes      INTEGER NOT NULL,
    input           TEXT    NOT NULL,
    response        TEXT    NOT NULL
) STRICT;
CREATE INDEX responses_by_expiry ON responses (expires_unix_ms);
