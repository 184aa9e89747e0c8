-- Records are removed when they are old enough, by what the configuration says.

-- Of each kind: everything that came before `until` may be gone, and how many rows are.
CREATE TABLE removals (
    kind  TEXT   PRIMARY KEY,
    until BIGINT NOT NULL,
    count BIGINT NOT NULL
);

-- A node refers to what it stands on, as before; but no index is kept of that, which
-- every report would change. What is removed looks at the nodes itself.
ALTER TABLE nodes DROP CONSTRAINT nodes_report_id_fkey;
ALTER TABLE nodes DROP CONSTRAINT nodes_verified_report_id_fkey;
ALTER TABLE nodes DROP CONSTRAINT nodes_decision_id_fkey;

-- Whether anything refers to what is to be removed.
CREATE INDEX decisions_report ON decisions (report_id) WHERE report_id IS NOT NULL;
CREATE INDEX node_states_report ON node_states (report_id) WHERE report_id IS NOT NULL;
CREATE INDEX first_values_report ON first_values (report_id);
CREATE INDEX actions_decision ON actions (decision_id);
CREATE INDEX reports_findings ON reports (findings_digest) WHERE findings_total > 0;

-- With the number, so that a report is found among the many of its chain.
DROP INDEX reports_chain;
CREATE INDEX reports_chain ON reports (node, chain_id, sequence);
