-- Histories of conversations that were named again, until their time is over. What was said rests here.
CREATE TABLE conversations (
    owner           TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    dialect         TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    project_path    TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    system          TEXT    NOT NULL,
    messages        TEXT    NOT NULL,
    message_count   INTEGER NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    used_unix_ms    INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT;
CREATE INDEX conversations_by_use ON conversations (used_unix_ms);
CREATE INDEX conversations_of_owner ON conversations (owner, used_unix_ms);

-- Folders clients work in.
CREATE TABLE projects (
    owner           TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    path            TEXT    NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    updated_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX projects_in_order ON projects (owner, updated_unix_ms DESC, id DESC);

-- What requests that belong together used.
CREATE TABLE sessions (
    owner           TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    project_id      TEXT,
    title           TEXT,
    model           TEXT,
    system_prompt   TEXT,
    messages        INTEGER NOT NULL,
    tokens          INTEGER NOT NULL,
    micro_usd       INTEGER NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    updated_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_in_order ON sessions (owner, updated_unix_ms DESC, id DESC);
CREATE INDEX sessions_by_use ON sessions (updated_unix_ms);
