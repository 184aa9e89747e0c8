-- What is judged is a node, or a container on it. `container` is the container's id, and
-- empty where it is the node itself.

ALTER TABLE reports ADD COLUMN container TEXT NOT NULL DEFAULT '';
-- Of a container: the digest of what was found beside its merged tree.
ALTER TABLE reports ADD COLUMN beside TEXT;
ALTER TABLE decisions ADD COLUMN container TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN container TEXT NOT NULL DEFAULT '';

-- The newest full sweeps of one subject, among the reports of all on its node.
CREATE INDEX reports_full ON reports (node, container, chain, sequence) WHERE sweep = 'full';

-- The reports of one subject in a period.
DROP INDEX reports_received;
CREATE INDEX reports_received ON reports (node, container, received_at);

-- A subject has at most one action that is not over.
DROP INDEX actions_live;
CREATE UNIQUE INDEX actions_live ON actions (node, container) WHERE state IN ('held', 'proposed', 'dispatched');
DROP INDEX actions_node;
CREATE INDEX actions_subject ON actions (node, container, created_at);

-- Where each subject stands.
CREATE TABLE subjects (
    node               TEXT    NOT NULL,
    container          TEXT    NOT NULL,
    -- Counts up with every change: what was worked out for an older one is stale.
    generation         INTEGER NOT NULL,
    state              TEXT    NOT NULL,
    note               TEXT,
    since              INTEGER NOT NULL,
    last_seen          INTEGER,
    -- When its newest report came; `last_seen` counts signs of life as well.
    reported_at        INTEGER,
    -- Its newest report.
    report_id          INTEGER,
    -- The last full sweep that found it congruent.
    verified_report_id INTEGER,
    decision_id        INTEGER,
    decision_key       TEXT,
    policy_error       TEXT,
    -- The group that the node is enrolled in; none where its enrolment was revoked.
    group_name         TEXT,
    -- What the decision that stands asks for; none where there is none, or policy failed.
    verdict            TEXT,
    -- JSON: which container it is, as its node says; none of nodes.
    identity           TEXT,
    PRIMARY KEY (node, container)
) STRICT;
INSERT INTO subjects (node, container, generation, state, note, since, last_seen, reported_at, report_id,
    verified_report_id, decision_id, decision_key, policy_error, group_name, verdict)
    SELECT node, '', generation, state, note, since, last_seen, reported_at, report_id, verified_report_id,
    decision_id, decision_key, policy_error, group_name, verdict FROM nodes;
DROP TABLE nodes;
-- Of nodes alone. Each has all that lists are filtered by, so that rows are read only of
-- what is listed. None has what every report or sign of life changes.
CREATE INDEX nodes_listed ON subjects (node, group_name, state, verdict, lower(node))
    WHERE group_name IS NOT NULL AND container = '';
CREATE INDEX nodes_in_state ON subjects (state, node, group_name, verdict)
    WHERE group_name IS NOT NULL AND container = '';
CREATE INDEX nodes_revoked ON subjects (node) WHERE group_name IS NULL AND container = '';
CREATE INDEX containers_listed ON subjects (node, container) WHERE container <> '';

ALTER TABLE node_states RENAME TO subject_states;
ALTER TABLE subject_states ADD COLUMN container TEXT NOT NULL DEFAULT '';
DROP INDEX node_states_node;
CREATE INDEX subject_states_subject ON subject_states (node, container, at);
DROP INDEX node_states_report;
CREATE INDEX subject_states_report ON subject_states (report_id) WHERE report_id IS NOT NULL;
