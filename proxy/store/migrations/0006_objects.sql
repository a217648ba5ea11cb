-- Which credential holds a file or a batch, and which client key it belongs to.
CREATE TABLE objects (
    client          TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    fingerprint     TEXT    NOT NULL,
    alias           TEXT    NOT NULL,
    media_type      TEXT    NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    deleted_unix_ms INTEGER,
    PRIMARY KEY (client, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_in_order ON objects (client, kind, created_unix_ms DESC, id DESC);
