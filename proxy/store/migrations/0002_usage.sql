-- What was used and what it cost, by the hour. Each process writes sums of its own, under a name of its own.
CREATE TABLE usage (
    hour_unix_ms          INTEGER NOT NULL,
    client                TEXT    NOT NULL,
    credential            TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    tier                  TEXT    NOT NULL,
    writer                TEXT    NOT NULL,
    requests              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    abandoned             INTEGER NOT NULL,
    partial               INTEGER NOT NULL,
    unpriced              INTEGER NOT NULL,
    priced                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    thinking_tokens       INTEGER NOT NULL,
    cache_read_tokens     INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    web_searches          INTEGER NOT NULL,
    cost_micro_usd        INTEGER NOT NULL,
    PRIMARY KEY (hour_unix_ms, client, credential, model, tier, writer)
) STRICT, WITHOUT ROWID;
