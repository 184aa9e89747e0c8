-- The manifests that were imported. One root may come in several files, with
-- other contracts or signatures, so that the file's digest names each. A file
-- lies in the folder of manifests before its row stands here.
CREATE TABLE manifests (
    digest       TEXT    PRIMARY KEY,
    root         TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    version      TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    bytes        INTEGER NOT NULL,
    entries      INTEGER NOT NULL,
    -- The keys that its signatures name; nobody checked them. JSON.
    claimed      TEXT    NOT NULL,
    baked_at     INTEGER NOT NULL,
    expires_at   INTEGER,
    imported_at  INTEGER NOT NULL,
    imported_by  TEXT    NOT NULL,
    -- No group may accept it from then on.
    withdrawn_at INTEGER,
    withdrawn_by TEXT
) STRICT;
CREATE INDEX manifests_root ON manifests (root);
CREATE INDEX manifests_imported ON manifests (imported_at);

-- Every version of every group that is not declared in the configuration; the
-- highest stands.
CREATE TABLE group_versions (
    name        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    operator    TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    -- JSON.
    description TEXT    NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;
