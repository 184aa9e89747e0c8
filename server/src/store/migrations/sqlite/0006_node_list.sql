-- What lists of nodes are filtered by, and groups that are no more.

-- The group that the node is enrolled in; none where its enrolment was revoked.
ALTER TABLE nodes ADD COLUMN group_name TEXT;
UPDATE nodes SET group_name = (SELECT enrolments.group_name FROM enrolments
    WHERE enrolments.node = nodes.node AND enrolments.revoked_at IS NULL);

-- What the decision that stands asks for; none where there is none, or policy failed.
ALTER TABLE nodes ADD COLUMN verdict TEXT;
UPDATE nodes SET verdict = (SELECT CASE
    WHEN decision LIKE '{"action":"none"%' THEN 'none'
    WHEN decision LIKE '{"action":"observe"%' THEN 'observe'
    WHEN decision LIKE '{"action":"quarantine"%' THEN 'quarantine'
    WHEN decision LIKE '{"action":"replace"%' THEN 'replace' END
    FROM decisions WHERE decisions.id = nodes.decision_id);

-- Each has all that lists are filtered by, so that rows are read only of what is
-- listed. None has what every report or sign of life changes.
CREATE INDEX nodes_listed ON nodes (node, group_name, state, verdict, lower(node)) WHERE group_name IS NOT NULL;
CREATE INDEX nodes_in_state ON nodes (state, node, group_name, verdict) WHERE group_name IS NOT NULL;
CREATE INDEX nodes_revoked ON nodes (node) WHERE group_name IS NULL;

-- The version that ends a group: nothing may be held to it from then on.
ALTER TABLE group_versions ADD COLUMN is_deleted INTEGER NOT NULL DEFAULT 0;
