-- Details of audit rows, and how far a job's reports of what it tried to reach have come.

-- JSON, and part of the chain where it is not empty.
ALTER TABLE audit ADD COLUMN detail TEXT NOT NULL DEFAULT '';

CREATE TABLE audit_reports (
  source TEXT PRIMARY KEY,                       -- a job's id
  epoch  INTEGER NOT NULL,
  number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
