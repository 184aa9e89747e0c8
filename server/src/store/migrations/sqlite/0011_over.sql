-- A container that runs no more has no row in `subjects`: its last change of state says that
-- it is over, and which container it was.

ALTER TABLE subject_states ADD COLUMN is_over INTEGER NOT NULL DEFAULT 0;
-- JSON: of what is over, which container it was, as its node said last.
ALTER TABLE subject_states ADD COLUMN identity TEXT;
-- Until now only the note told.
UPDATE subject_states SET is_over = 1 WHERE container <> '' AND note LIKE 'the container runs no more%';

-- What is over on a node, the newest first.
CREATE INDEX subject_states_over ON subject_states (node, id) WHERE is_over;
-- A subject's changes, the newest first: by number, since that is what orders them.
DROP INDEX subject_states_subject;
CREATE INDEX subject_states_subject ON subject_states (node, container, id);
