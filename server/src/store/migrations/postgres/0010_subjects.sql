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
ALTER TABLE nodes RENAME TO subjects;
ALTER TABLE subjects DROP CONSTRAINT nodes_pkey;
ALTER TABLE subjects ADD COLUMN container TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE subjects ADD PRIMARY KEY (node, container);
-- JSON: which container it is, as its node says; none of nodes.
ALTER TABLE subjects ADD COLUMN identity TEXT;
-- Of nodes alone. Each has all that lists are filtered by, so that rows are read only of
-- what is listed. None has what every report or sign of life changes.
DROP INDEX nodes_listed;
CREATE INDEX nodes_listed ON subjects (node, group_name, state, verdict, lower(node))
    WHERE group_name IS NOT NULL AND container = '';
DROP INDEX nodes_in_state;
CREATE INDEX nodes_in_state ON subjects (state, node, group_name, verdict)
    WHERE group_name IS NOT NULL AND container = '';
DROP INDEX nodes_revoked;
CREATE INDEX nodes_revoked ON subjects (node) WHERE group_name IS NULL AND container = '';
CREATE INDEX containers_listed ON subjects (node, container) WHERE container <> '';

ALTER TABLE node_states RENAME TO subject_states;
ALTER TABLE subject_states ADD COLUMN container TEXT NOT NULL DEFAULT '';
DROP INDEX node_states_node;
CREATE INDEX subject_states_subject ON subject_states (node, container, at);
DROP INDEX node_states_report;
CREATE INDEX subject_states_report ON subject_states (report_id) WHERE report_id IS NOT NULL;
