-- What outlives a restart of what the pool knows about its credentials.
CREATE TABLE health (
    fingerprint   TEXT    NOT NULL,
    limit_class   TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    cause         TEXT    NOT NULL,
    since_unix_ms INTEGER NOT NULL,
    until_unix_ms INTEGER,
    rung          INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, limit_class, model)
) STRICT, WITHOUT ROWID;
