-- Who may join, and who has.

-- Join tokens: what each hashes to, never the token.
CREATE TABLE join_tokens (
    id             TEXT    PRIMARY KEY,
    hash           BLOB    NOT NULL UNIQUE,
    group_name     TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    created_by     TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    expires_at     INTEGER NOT NULL,
    is_reusable    INTEGER NOT NULL,
    max_per_minute INTEGER,
    -- JSON: networks in CIDR notation; none for everywhere.
    networks       TEXT    NOT NULL,
    revoked_at     INTEGER,
    -- How often it was brought and refused.
    refused        INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Which keys have joined with a token, and for which node they asked first.
CREATE TABLE join_uses (
    token_id TEXT    NOT NULL REFERENCES join_tokens (id),
    key      TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (token_id, key)
) STRICT;
CREATE INDEX join_uses_at ON join_uses (token_id, at);

CREATE TABLE enrolments (
    id            TEXT    PRIMARY KEY,
    node          TEXT    NOT NULL,
    group_name    TEXT    NOT NULL,
    -- The fingerprint of the node's key.
    key           TEXT    NOT NULL UNIQUE,
    -- The key, as SPKI in DER.
    public_key    BLOB    NOT NULL,
    -- Secret: 32 bytes that the node shares.
    seal_key      BLOB    NOT NULL,
    enrolled_at   INTEGER NOT NULL,
    -- The id of the join token.
    admitted_by   TEXT    NOT NULL,
    agent_version TEXT    NOT NULL,
    revoked_at    INTEGER,
    revoked_by    TEXT,
    revoked_why   TEXT
) STRICT;
-- A name has at most one live enrolment.
CREATE UNIQUE INDEX enrolments_live ON enrolments (node) WHERE revoked_at IS NULL;
CREATE INDEX enrolments_node ON enrolments (node, enrolled_at);
