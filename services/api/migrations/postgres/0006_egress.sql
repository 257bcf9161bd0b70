-- Details of audit rows, and how far a job's reports of what it tried to reach have come.

-- JSON, and part of the chain where it is not empty.
ALTER TABLE audit ADD COLUMN detail text NOT NULL DEFAULT '';

CREATE TABLE audit_reports (
  source text COLLATE "C" PRIMARY KEY,           -- a job's id
  epoch  bigint NOT NULL,
  number bigint NOT NULL
);
