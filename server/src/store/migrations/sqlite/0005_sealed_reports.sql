-- What reports name by digest, and the ledgers.

-- Sets of findings: the JSON, compressed with zstd. Many reports name the same one.
CREATE TABLE finding_sets (
    digest TEXT    PRIMARY KEY,
    count  INTEGER NOT NULL,
    body   BLOB    NOT NULL
) STRICT;

-- First values, in the order in which they were recorded; never changed.
CREATE TABLE first_values (
    id          INTEGER PRIMARY KEY,
    -- The instance: the chain of its node's reports, and the stack that it runs.
    chain_id    TEXT    NOT NULL,
    root        TEXT    NOT NULL,
    path        BLOB    NOT NULL,
    value       TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    report_id   INTEGER NOT NULL REFERENCES reports (id),
    UNIQUE (chain_id, root, path)
) STRICT;

-- When its newest report came; `last_seen` counts signs of life as well.
ALTER TABLE nodes ADD COLUMN reported_at INTEGER;
UPDATE nodes SET reported_at = last_seen;
