-- Records are removed when they are old enough, by what the configuration says.

-- Of each kind: everything that came before `until` may be gone, and how many rows are.
CREATE TABLE removals (
    kind  TEXT    PRIMARY KEY,
    until INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT;

-- A node refers to what it stands on, as before; but no index is kept of that, which
-- every report would change. What is removed looks at the nodes itself.
CREATE TABLE nodes_anew (
    node               TEXT    PRIMARY KEY,
    -- Counts up with every change: what was worked out for an older one is stale.
    generation         INTEGER NOT NULL,
    state              TEXT    NOT NULL,
    note               TEXT,
    since              INTEGER NOT NULL,
    last_seen          INTEGER,
    -- Its newest report.
    report_id          INTEGER,
    -- The last full sweep that found it congruent.
    verified_report_id INTEGER,
    decision_id        INTEGER,
    decision_key       TEXT,
    policy_error       TEXT,
    -- When its newest report came; `last_seen` counts signs of life as well.
    reported_at        INTEGER,
    -- The group that the node is enrolled in; none where its enrolment was revoked.
    group_name         TEXT,
    -- What the decision that stands asks for; none where there is none, or policy failed.
    verdict            TEXT
) STRICT;
INSERT INTO nodes_anew (node, generation, state, note, since, last_seen, report_id, verified_report_id,
    decision_id, decision_key, policy_error, reported_at, group_name, verdict)
    SELECT node, generation, state, note, since, last_seen, report_id, verified_report_id, decision_id,
    decision_key, policy_error, reported_at, group_name, verdict FROM nodes;
DROP TABLE nodes;
ALTER TABLE nodes_anew RENAME TO nodes;
CREATE INDEX nodes_listed ON nodes (node, group_name, state, verdict, lower(node)) WHERE group_name IS NOT NULL;
CREATE INDEX nodes_in_state ON nodes (state, node, group_name, verdict) WHERE group_name IS NOT NULL;
CREATE INDEX nodes_revoked ON nodes (node) WHERE group_name IS NULL;

-- Whether anything refers to what is to be removed.
CREATE INDEX decisions_report ON decisions (report_id) WHERE report_id IS NOT NULL;
CREATE INDEX node_states_report ON node_states (report_id) WHERE report_id IS NOT NULL;
CREATE INDEX first_values_report ON first_values (report_id);
CREATE INDEX actions_decision ON actions (decision_id);
CREATE INDEX reports_findings ON reports (findings_digest) WHERE findings_total > 0;

-- With the number, so that a report is found among the many of its chain.
DROP INDEX reports_chain;
CREATE INDEX reports_chain ON reports (node, chain_id, sequence);
