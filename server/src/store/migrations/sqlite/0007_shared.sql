-- What collectors that share one store agree by. With SQLite there is only ever one.

-- Counts up with every change of what collectors keep in memory: enrolments, groups
-- and operators.
CREATE TABLE shared (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO shared (id, generation) VALUES (1, 0);

-- The generation that an enrolment was made or revoked with.
ALTER TABLE enrolments ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
CREATE INDEX enrolments_generation ON enrolments (generation);

-- Who does the leader's work. Whoever takes it over counts the token up: what was
-- begun with an older one writes nothing any more.
CREATE TABLE leases (
    name   TEXT    PRIMARY KEY,
    holder TEXT    NOT NULL,
    token  INTEGER NOT NULL,
    -- Counts up while the holder is well.
    beat   INTEGER NOT NULL
) STRICT;

-- The last batch that each collector committed, so that one that lost its connection
-- at a commit can find out.
CREATE TABLE writers (
    id    TEXT    PRIMARY KEY,
    batch INTEGER NOT NULL,
    at    INTEGER NOT NULL
) STRICT;

-- Conditions as both SQLite and PostgreSQL read them.
DROP INDEX reports_unjudged;
CREATE INDEX reports_unjudged ON reports (id) WHERE NOT judged;
