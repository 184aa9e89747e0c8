-- Who may ask the collector, and change it. Of a token only its BLAKE3 digest
-- is kept: it is 32 random bytes, which nobody finds by trying. Rows are never
-- removed and names never used again, so that the audit names one operator.
CREATE TABLE operators (
    name       TEXT    PRIMARY KEY,
    role       TEXT    NOT NULL,
    token_hash BLOB    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT
) STRICT;

-- Every change that an operator made, written with the change itself; and what
-- was refused for want of a role, counted for each operator, route and day.
-- Nothing here is ever updated but that count.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    operator TEXT    NOT NULL,
    role     TEXT    NOT NULL,
    -- Such as `operator-created`; `refused` where nothing was changed.
    action   TEXT    NOT NULL,
    object   TEXT    NOT NULL,
    reason   TEXT,
    -- JSON.
    detail   TEXT    NOT NULL,
    -- How often in a row, and when last.
    count    INTEGER NOT NULL,
    last_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_refused ON audit (operator, object, at) WHERE action = 'refused';
