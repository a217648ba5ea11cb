-- The keys of clients, as digests, with what each of them may.
CREATE TABLE client_keys (
    name            TEXT    NOT NULL PRIMARY KEY,
    digest          TEXT    NOT NULL UNIQUE,
    rules           TEXT    NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    revoked_unix_ms INTEGER
) STRICT, WITHOUT ROWID;

-- What a client has spent of its budget in the period it is in.
CREATE TABLE spending (
    client          TEXT    NOT NULL PRIMARY KEY,
    period          TEXT    NOT NULL,
    began_unix_ms   INTEGER NOT NULL,
    micro_usd       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who ordered what, for ever.
CREATE TABLE audit (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    at_unix_ms      INTEGER NOT NULL,
    actor           TEXT    NOT NULL,
    action          TEXT    NOT NULL,
    target          TEXT    NOT NULL,
    remote          TEXT    NOT NULL,
    request_id      TEXT    NOT NULL
) STRICT;

-- Answers to orders that may be sent twice. The key and the request are digests.
CREATE TABLE idempotency (
    owner           TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    request         TEXT    NOT NULL,
    nonce           TEXT    NOT NULL,
    at_unix_ms      INTEGER NOT NULL,
    status          INTEGER,
    body            TEXT    NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (at_unix_ms);
