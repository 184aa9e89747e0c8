-- Times are microseconds since 1970, UTC. Words are those of the JSON.
-- Nothing here is ever updated but `nodes`, `reports.judged`, `reports.verdict`,
-- an action's place in its life, the outbox, and refusals: those of one code and day
-- are counted, and only the newest of a node are kept.

-- What the collector was configured with, whenever that changed.
CREATE TABLE scopes (
    id            INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    scope         TEXT    NOT NULL
) STRICT;

-- Every report that was acknowledged.
CREATE TABLE reports (
    id              INTEGER PRIMARY KEY,
    node            TEXT    NOT NULL,
    -- Counts a node's chains: a node that was replaced, or lost its state,
    -- begins again with number 1.
    chain           INTEGER NOT NULL,
    sequence        INTEGER NOT NULL,
    digest          TEXT    NOT NULL,
    boot            TEXT    NOT NULL,
    -- The chain's id, as the agent made it.
    chain_id        TEXT    NOT NULL,
    agent_version   TEXT    NOT NULL,
    reported_at     INTEGER NOT NULL,
    received_at     INTEGER NOT NULL,
    -- As the collector gives it, not as claimed.
    state           TEXT    NOT NULL,
    note            TEXT,
    -- Arrived after a report with a higher number: evidence, but no news.
    late            INTEGER NOT NULL,
    -- `full` or `quick`; none where no sweep was completed.
    sweep           TEXT,
    -- When it began and ended, by the node's clock.
    sweep_began_at  INTEGER,
    sweep_ended_at  INTEGER,
    conditional     INTEGER NOT NULL,
    manifest        TEXT,
    manifest_root   TEXT,
    observed_root   TEXT,
    findings_total  INTEGER NOT NULL,
    findings_digest TEXT    NOT NULL,
    -- What policy said of it; none until judged, or where policy failed.
    verdict         TEXT,
    judged          INTEGER NOT NULL,
    UNIQUE (node, chain, sequence)
) STRICT;
CREATE INDEX reports_unjudged ON reports (id) WHERE judged = 0;
CREATE INDEX reports_received ON reports (node, received_at);
CREATE INDEX reports_chain ON reports (node, chain_id);

-- The bytes of each report as they were received, compressed with zstd.
CREATE TABLE report_bodies (
    report_id INTEGER PRIMARY KEY REFERENCES reports (id),
    body      BLOB    NOT NULL
) STRICT;

-- What policy said, with all that it was asked, so that it can be asked again.
CREATE TABLE decisions (
    id              INTEGER PRIMARY KEY,
    node            TEXT    NOT NULL,
    group_name      TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    report_id       INTEGER REFERENCES reports (id),
    state           TEXT    NOT NULL,
    -- None where policy failed; then `error` says how.
    decision        TEXT,
    error           TEXT,
    policy_digest   TEXT    NOT NULL,
    engine          TEXT    NOT NULL,
    input_digest    TEXT    NOT NULL,
    -- JSON, compressed with zstd.
    input           BLOB    NOT NULL
) STRICT;
CREATE INDEX decisions_node ON decisions (node, id);
CREATE INDEX decisions_group ON decisions (group_name, id);

-- Where each node stands.
CREATE TABLE nodes (
    node               TEXT    PRIMARY KEY,
    -- Counts up with every change: what was worked out for an older one is stale.
    generation         INTEGER NOT NULL,
    state              TEXT    NOT NULL,
    note               TEXT,
    since              INTEGER NOT NULL,
    last_seen          INTEGER,
    report_id          INTEGER REFERENCES reports (id),
    -- The last full sweep that found it congruent.
    verified_report_id INTEGER REFERENCES reports (id),
    decision_id        INTEGER REFERENCES decisions (id),
    decision_key       TEXT,
    policy_error       TEXT
) STRICT;

-- Every change of state.
CREATE TABLE node_states (
    id        INTEGER PRIMARY KEY,
    node      TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    state     TEXT    NOT NULL,
    note      TEXT,
    report_id INTEGER REFERENCES reports (id)
) STRICT;
CREATE INDEX node_states_node ON node_states (node, at);

-- Where a node's chain of reports does not hold.
CREATE TABLE chain_notes (
    id       INTEGER PRIMARY KEY,
    node     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    note     TEXT    NOT NULL
) STRICT;
CREATE INDEX chain_notes_node ON chain_notes (node, id);

-- Reports that were refused; equal ones in a row are counted.
CREATE TABLE refusals (
    id       INTEGER PRIMARY KEY,
    node     TEXT    NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    code     TEXT    NOT NULL,
    message  TEXT    NOT NULL
) STRICT;
CREATE INDEX refusals_node ON refusals (node, id);

CREATE TABLE actions (
    id              TEXT    PRIMARY KEY,
    node            TEXT    NOT NULL,
    group_name      TEXT    NOT NULL,
    verdict         TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    decision_id     INTEGER NOT NULL REFERENCES decisions (id),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;
-- A node has at most one action that is not over.
CREATE UNIQUE INDEX actions_live ON actions (node) WHERE state IN ('held', 'proposed', 'dispatched');
CREATE INDEX actions_node ON actions (node, created_at);
CREATE INDEX actions_group ON actions (group_name, created_at);

CREATE TABLE action_history (
    id        INTEGER PRIMARY KEY,
    action_id TEXT    NOT NULL REFERENCES actions (id),
    at        INTEGER NOT NULL,
    state     TEXT    NOT NULL,
    reason    TEXT    NOT NULL
) STRICT;
CREATE INDEX action_history_action ON action_history (action_id, id);

-- Orders. The bytes of one are fixed when its action is proposed. A row stays
-- when its action was delivered or given up; it is deliverable while the action
-- is `proposed`.
CREATE TABLE outbox (
    action_id       TEXT    PRIMARY KEY REFERENCES actions (id),
    webhook         TEXT    NOT NULL,
    body            BLOB    NOT NULL,
    attempts        INTEGER NOT NULL,
    -- A delivery is under way: the platform may or may not have the order.
    in_flight       INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL
) STRICT;

-- Every try to deliver.
CREATE TABLE deliveries (
    id        INTEGER PRIMARY KEY,
    action_id TEXT    NOT NULL REFERENCES actions (id),
    attempt   INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    outcome   TEXT    NOT NULL
) STRICT;
CREATE INDEX deliveries_action ON deliveries (action_id, id);

-- What `/readyz` writes, to see that the store takes writes.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
