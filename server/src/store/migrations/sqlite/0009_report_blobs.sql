-- Large bodies of reports lie as blobs.

-- Each blob that was put or is to be, before it is: none is there that is not named here.
CREATE TABLE report_blobs (
    name      TEXT    PRIMARY KEY,
    -- The report whose body it is; none yet, or none any more.
    report_id INTEGER REFERENCES reports (id),
    -- When it was to be put; 0 once it is to be removed, which no report takes back.
    at        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX report_blobs_report ON report_blobs (report_id) WHERE report_id IS NOT NULL;
CREATE INDEX report_blobs_unnamed ON report_blobs (at) WHERE report_id IS NULL;
