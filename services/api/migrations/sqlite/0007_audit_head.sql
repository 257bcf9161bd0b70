-- Where the audit's chain ends: rows that are cut off its end are missed, and none is removed by mistake.

-- One row: the last row of the audit that was added.
CREATE TABLE audit_head (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  id   INTEGER NOT NULL,                         -- 0: there was none
  hash TEXT NOT NULL                             -- '': the chain has not begun
) STRICT;

INSERT INTO audit_head (one, id, hash) VALUES (
  1,
  coalesce((SELECT max(id) FROM audit), 0),
  coalesce((SELECT hash FROM audit ORDER BY id DESC LIMIT 1), '')
);

CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
BEGIN
  SELECT RAISE(ABORT, 'audit rows are never removed');
END;
